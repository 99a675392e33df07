//! The image of this generation, read where it lies in its map, and the walk over its entries.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_loop;
use foobar_ebpf::abi::image::{Entry, Header, Leaf, NO_LOG, NO_RATE};
use foobar_ebpf::packet::Packet;
use foobar_ebpf::policy::{self, Image};

use super::maps;

/// The verifier follows a loop turn by turn. Up to here that is cheap and gives the fastest
/// code; a longer walk goes through `bpf_loop` (Linux 5.17), whose body is verified once.
const UNROLLED_ENTRIES: u32 = 32;

/// In the place of a leaf where none was reached.
const NOWHERE: Leaf = Leaf { rule: 0, verdict: 0, over_rate: NO_RATE, log: NO_LOG };

pub(super) struct MapImage {
    image: Option<(*const Header, u32)>,
}

impl MapImage {
    #[inline(always)]
    pub(super) fn of_generation() -> Self {
        Self { image: maps::image() }
    }
}

/// How many entries follow the header: a constant for the verifier.
#[inline(always)]
fn entries(image_bytes: u32) -> u32 {
    image_bytes.saturating_sub(size_of::<Header>() as u32) / size_of::<Entry>() as u32
}

/// The entry at an index.
///
/// # Safety
/// `header` must point to an image of `image_bytes` bytes that outlives the entry.
#[inline(always)]
unsafe fn entry<'a>(header: *const Header, image_bytes: u32, index: u32) -> Option<&'a Entry> {
    if index >= entries(image_bytes) {
        return None;
    }
    // SAFETY: entries follow the header in the same value, as many as its size says; they are
    // aligned to 8 as the value is.
    Some(unsafe { &*header.add(1).cast::<Entry>().add(index as usize) })
}

impl Image for MapImage {
    #[inline(always)]
    fn first_match(&self, packet: &Packet, interface: u32) -> Option<Leaf> {
        let (header, image_bytes) = self.image?;
        if entries(image_bytes) <= UNROLLED_ENTRIES {
            let mut index = 0;
            loop {
                // SAFETY: the map gave the image, which lives as long as the program.
                let entry = unsafe { entry(header, image_bytes, index) }?;
                if policy::matches(entry, packet, interface) {
                    return Some(entry.leaf);
                }
                index += 1;
            }
        }
        let mut walk = Walk { header, packet, interface, found: 0, leaf: NOWHERE };
        // SAFETY: `step` is of the type that the helper calls, and `walk` outlives the call.
        unsafe {
            bpf_loop(entries(image_bytes), step as *mut c_void, (&raw mut walk).cast(), 0);
        }
        if walk.found == 0 { None } else { Some(walk.leaf) }
    }

    #[inline(always)]
    fn policy(&self) -> Option<Leaf> {
        // SAFETY: the map gave a valid, aligned pointer, and an image begins with its header.
        self.image.map(|(header, _)| unsafe { (*header).policy })
    }
}

/// What a turn of the long walk needs.
struct Walk {
    header: *const Header,
    packet: *const Packet,
    interface: u32,
    /// 1 when an entry has matched.
    found: u32,
    /// That entry's leaf, copied: from an index the compiler makes an address before it checks
    /// the index, which the verifier refuses.
    leaf: Leaf,
}

/// One turn of the long walk; 1 ends it.
extern "C" fn step(index: u32, walk: *mut Walk) -> i64 {
    // SAFETY: `first_match` passes its own, and everything that it points to outlives the walk.
    unsafe {
        let walk = &mut *walk;
        match entry(walk.header, maps::image_bytes(), index) {
            Some(entry) if policy::matches(entry, &*walk.packet, walk.interface) => {
                (walk.found, walk.leaf) = (1, entry.leaf);
                1
            }
            Some(_) => 0,
            None => 1,
        }
    }
}
