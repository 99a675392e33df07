//! A frame as far as it is known: a capture may hold only its beginning.

use std::cell::Cell;

use foobar_ebpf::packet::reader::PacketReader;

/// The bytes of a frame from the Ethernet header on, as many as were captured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// What is known of it.
    pub bytes: Vec<u8>,
    /// How long it was on the wire; never less than what is known.
    pub length_bytes: usize,
}

impl Frame {
    /// A frame of which everything is known.
    pub fn whole(bytes: Vec<u8>) -> Self {
        Self { length_bytes: bytes.len(), bytes }
    }

    /// Whether its end is missing.
    pub fn is_cut(&self) -> bool {
        self.bytes.len() < self.length_bytes
    }

    /// The frame for the parser, which is told afterwards whether it asked for what is missing.
    pub(crate) fn reader(&self) -> CutReader<'_> {
        CutReader { frame: self, missed: Cell::new(false) }
    }
}

/// Reads what was captured, and notes when something else was asked for.
pub(crate) struct CutReader<'a> {
    frame: &'a Frame,
    missed: Cell<bool>,
}

impl CutReader<'_> {
    /// Whether anything that was read lies behind what was captured: what came of it is not the packet's.
    pub(crate) fn missed(&self) -> bool {
        self.missed.get()
    }
}

impl PacketReader for CutReader<'_> {
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let read = self.frame.bytes.as_slice().read::<N>(offset);
        if read.is_none() && offset.saturating_add(N) <= self.frame.length_bytes {
            self.missed.set(true);
        }
        read
    }

    fn length_bytes(&self) -> usize {
        self.frame.length_bytes
    }
}
