//! The image of this generation, read where it lies in its map.

use foobar_ebpf::abi::image::{DIAGRAMS_MAX, Edge, HEADER_UNITS, Header, Note, Roots, Test, UNIT_BYTES};
use foobar_ebpf::abi::limit::Meter;
use foobar_ebpf::classifier::Image;

use super::maps;

pub(super) struct MapImage {
    header: *const Header,
}

impl MapImage {
    #[inline(always)]
    pub(super) fn of_generation() -> Option<Self> {
        maps::image().map(|header| Self { header })
    }

    /// Number of the generation.
    #[inline(always)]
    pub(super) fn generation(&self) -> u64 {
        self.header().generation
    }

    #[inline(always)]
    fn header(&self) -> &Header {
        // SAFETY: an image begins with its header, and lives as long as the program.
        unsafe { &*self.header }
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
        self.header().roots.get(diagram as usize).copied()
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

    #[inline(always)]
    fn stage(&self, limit: u32, diagram: u32) -> Option<Roots> {
        let roots = limit * DIAGRAMS_MAX as u32 + diagram;
        let offset = (HEADER_UNITS * UNIT_BYTES) as u32 + roots * size_of::<Roots>() as u32;
        // SAFETY: inside the image, aligned to 4, and any bytes are roots.
        self.at::<Roots>(offset).map(|roots| unsafe { *roots })
    }

    #[inline(always)]
    fn note(&self, slot: u32) -> Option<Note> {
        let offset = self.header().notes * UNIT_BYTES as u32 + slot * size_of::<Note>() as u32;
        // SAFETY: inside the image, aligned to 4, and any bytes are a note.
        self.at::<Note>(offset).map(|note| unsafe { *note })
    }

    #[inline(always)]
    fn meter(&self, meter: u32) -> Option<&Meter> {
        // SAFETY: inside the image, aligned as units are, and any bytes are a meter.
        self.at::<Meter>((self.header().meters + meter) * UNIT_BYTES as u32).map(|meter| unsafe { &*meter })
    }
}
