//! The image of this generation, read where it lies in its map.

use foobar_ebpf::abi::image::{Edge, Header, Roots, Test, UNIT_BYTES};
use foobar_ebpf::classifier::Image;

use super::maps;

pub(super) struct MapImage {
    /// Null where nothing is judged.
    header: *const Header,
}

impl MapImage {
    #[inline(always)]
    pub(super) fn of_generation() -> Self {
        Self { header: maps::image() }
    }

    /// What lies at an offset, if it lies inside.
    #[inline(always)]
    fn at<T>(&self, offset: u32) -> Option<*const T> {
        // Both sides are constants but for the offset: the verifier learns its bound.
        if offset > maps::image_bytes().wrapping_sub(size_of::<T>() as u32) {
            return None;
        }
        // SAFETY: inside the map's one value, which is as large as the constant says.
        Some(unsafe { self.header.cast::<u8>().add(offset as usize).cast() })
    }
}

impl Image for MapImage {
    #[inline(always)]
    fn diagrams(&self) -> u32 {
        maps::diagrams()
    }

    #[inline(always)]
    fn roots(&self, diagram: u32) -> Option<Roots> {
        // SAFETY: an image begins with its header, and lives as long as the program.
        let header = unsafe { self.header.as_ref() }?;
        header.roots.get(diagram as usize).copied()
    }

    #[inline(always)]
    fn test(&self, unit: u32) -> Option<&Test> {
        // SAFETY: inside the image, aligned as units are, and any bytes are a test.
        self.at::<Test>(unit * UNIT_BYTES as u32).map(|test| unsafe { &*test })
    }

    #[inline(always)]
    fn child(&self, unit: u32, nibble: u32) -> Option<Edge> {
        let offset = unit * UNIT_BYTES as u32 + nibble * size_of::<Edge>() as u32;
        // SAFETY: inside the image, aligned to 4, and any bytes are an edge.
        self.at::<Edge>(offset).map(|edge| unsafe { *edge })
    }
}
