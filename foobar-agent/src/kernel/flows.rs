//! The table of flows as memory of the agent: read without asking the kernel, and changed only where an
//! operator ends a flow.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::time::Duration;

use foobar_ebpf::abi::flow::{BUCKETS, Bucket, CAPACITY, FLOWS_VERSION, Header, MAP_ENTRIES, WAYS};
use foobar_ebpf::flow::tuple::Tuple;
use foobar_ebpf::flow::word::{FlowState, Word};
use foobar_ebpf::packet::Address;
use serde::{Deserialize, Serialize};

use super::error::KernelError;
use super::sys;

/// One flow that this host started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Number of the protocol.
    pub protocol: u8,
    /// How far it is.
    pub state: String,
    /// Ended by an operator: its packets are dropped both ways until it has been idle for its time.
    pub killed: bool,
    /// The address on this side, as on the wire.
    pub local: IpAddr,
    /// The port on this side; of an echo, its identifier.
    pub local_port: u16,
    /// The address on the other side.
    pub remote: IpAddr,
    /// The port on the other side; of an echo, 0.
    pub remote_port: u16,
    /// The logical interface that it left by.
    pub interface: u32,
    /// Since when, in seconds.
    pub age_seconds: u32,
    /// Without a packet, in seconds.
    pub idle_seconds: u32,
    /// Over, if no packet comes, in seconds.
    pub expires_seconds: u32,
}

/// The table, mapped.
#[derive(Debug)]
pub struct FlowTable {
    elements: NonNull<Bucket>,
}

// SAFETY: all that lies there are words that are read and changed in one instruction each.
unsafe impl Send for FlowTable {}
// SAFETY: as above.
unsafe impl Sync for FlowTable {}

/// How many flows the table holds at most.
pub const CAPACITY_FLOWS: u32 = CAPACITY;

const BYTES: usize = MAP_ENTRIES as usize * size_of::<Bucket>();

impl FlowTable {
    /// Maps the table by its descriptor, which need not be kept.
    ///
    /// # Errors
    /// When the kernel does not map it, or it is of another size.
    pub fn open(map: &OwnedFd) -> Result<Self, KernelError> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice. It refuses one beyond the map's end.
        let address = unsafe {
            libc::mmap(std::ptr::null_mut(), BYTES, protection, libc::MAP_SHARED, map.as_raw_fd(), 0)
        };
        if address == libc::MAP_FAILED {
            let source = io::Error::last_os_error();
            return Err(KernelError::System { what: "cannot map the table of flows", source });
        }
        let elements = NonNull::new(address.cast()).ok_or(KernelError::Missing("table of flows"))?;
        Ok(Self { elements })
    }

    fn header(&self) -> &Header {
        // SAFETY: the first element holds it, see `abi::flow`.
        unsafe { self.elements.cast().as_ref() }
    }

    fn buckets(&self) -> &[Bucket] {
        // SAFETY: the elements behind the first one, mapped as long as `self` lives; any bits are a bucket.
        unsafe { std::slice::from_raw_parts(self.elements.as_ptr().add(1), BUCKETS as usize) }
    }

    /// Gives a new table its secret; one that has its secret keeps it, with its flows.
    pub(super) fn take_up(&self) -> Result<(), KernelError> {
        let header = self.header();
        if header.version.load() == u64::from(FLOWS_VERSION) {
            return Ok(());
        }
        let mut random = [[0; 8]; foobar_ebpf::abi::flow::SEEDS];
        sys::fill_randomly(random.as_flattened_mut())?;
        for (seed, bytes) in header.seeds.iter().zip(random) {
            seed.store(u64::from_ne_bytes(bytes));
        }
        header.version.store(FLOWS_VERSION.into());
        Ok(())
    }

    /// How many flows there are.
    pub fn count(&self) -> u32 {
        let now = now_seconds();
        let words = self.buckets().iter().flat_map(|bucket| &bucket.words);
        let live = words.filter(|word| is_live(Word(word.load()), now)).count();
        u32::try_from(live).unwrap_or(u32::MAX)
    }

    /// All flows, in no order.
    pub fn list(&self) -> Vec<Flow> {
        let now = now_seconds();
        let places = self.buckets().iter().flat_map(|bucket| (0..WAYS).map(move |way| (bucket, way)));
        places.filter_map(|(bucket, way)| flow(bucket, way, now)).collect()
    }

    /// Ends flows: their packets are dropped both ways from now on, until they have been idle for their
    /// time. Gives those that it has ended.
    pub fn kill(&self, mut chosen: impl FnMut(&Flow) -> bool) -> Vec<Flow> {
        let now = now_seconds();
        let mut killed = Vec::new();
        for bucket in self.buckets() {
            for way in 0..WAYS {
                let found = flow(bucket, way, now).filter(|flow| !flow.killed && chosen(flow));
                let Some(mut flow) = found else { continue };
                if kill(bucket, way, now) {
                    flow.killed = true;
                    killed.push(flow);
                }
            }
        }
        killed
    }
}

impl Drop for FlowTable {
    fn drop(&mut self) {
        // SAFETY: what `open` mapped, and nothing refers to any more.
        unsafe { libc::munmap(self.elements.as_ptr().cast(), BYTES) };
    }
}

/// Marks the flow in a place. Its packets change the word meanwhile; another flow may take the place.
fn kill(bucket: &Bucket, way: usize, now: u32) -> bool {
    let Some(place) = bucket.words.get(way) else { return false };
    let first = Word(place.load());
    let mut word = first;
    while is_live(word, now) && word.tag() == first.tag() {
        if place.exchange(word.0, word.killed().0) {
            return true;
        }
        word = Word(place.load());
    }
    false
}

fn is_live(word: Word, now: u32) -> bool {
    word.is_flow() && !word.is_over(now)
}

/// The flow in a place, if there is one. What changed while it was read is read again.
fn flow(bucket: &Bucket, way: usize, now: u32) -> Option<Flow> {
    let (place, rest) = (bucket.words.get(way)?, bucket.flows.get(way)?);
    loop {
        let word = Word(place.load());
        if !is_live(word, now) {
            return None;
        }
        let tuple = Tuple { words: rest.tuple.each_ref().map(foobar_ebpf::flow::shared::Shared::load) };
        let started = rest.started.load();
        if Word(place.load()).tag() != word.tag() {
            continue;
        }
        let idle_seconds = now.saturating_sub(word.seen());
        return Some(Flow {
            protocol: tuple.protocol(),
            state: FlowState::try_from(word.state()).map_or("", FlowState::as_str).to_owned(),
            killed: word.is_killed(),
            local: address(tuple.local()),
            local_port: tuple.local_port(),
            remote: address(tuple.remote()),
            remote_port: tuple.remote_port(),
            interface: u32::try_from(started >> 32).unwrap_or_default(),
            age_seconds: now.saturating_sub(u32::try_from(started & 0xffff_ffff).unwrap_or_default()),
            idle_seconds,
            expires_seconds: word.idle_seconds().saturating_sub(idle_seconds),
        });
    }
}

fn address(address: Address) -> IpAddr {
    let bits = u128::from(address.high) << 64 | u128::from(address.low);
    std::net::Ipv6Addr::from(bits).to_canonical()
}

/// Now, as the datapath measures it.
fn now_seconds() -> u32 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    let seconds = Duration::try_from(time).map_or(0, |time| time.as_secs());
    u32::try_from(seconds).unwrap_or(u32::MAX)
}
