//! The kernel's walk on the host: an image read from its bytes, judged by the same code.

use foobar_ebpf::abi::image::{Entry, Header, Leaf};
use foobar_ebpf::packet::{self, Scratch};
use foobar_ebpf::policy::{self, Image, Judgement};

use crate::kernel::Generation;

/// A generation that judges frames on the host.
#[derive(Clone, Debug)]
pub struct Walk {
    flags: u32,
    header: Option<Header>,
    entries: Vec<Entry>,
}

impl Walk {
    /// Reads the image.
    pub fn new(generation: &Generation) -> Self {
        let (header, rest) = match generation.image.split_first_chunk() {
            Some((header, rest)) => (Some(Header::from_bytes(*header)), rest),
            None => (None, Default::default()),
        };
        let (entries, _) = rest.as_chunks();
        let entries = entries.iter().map(|bytes| Entry::from_bytes(*bytes)).collect();
        Self { flags: generation.flags, header, entries }
    }

    /// Judges a frame that arrived on a logical interface.
    pub fn judge(&self, frame: &[u8], interface: u32) -> Judgement {
        policy::judge(packet::parse(frame, &mut Scratch::EMPTY), interface, self.flags, self)
    }
}

impl Image for Walk {
    fn entries(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    fn entry(&self, index: u32) -> Option<&Entry> {
        self.entries.get(index as usize)
    }

    fn policy(&self) -> Option<&Leaf> {
        self.header.as_ref().map(|header| &header.policy)
    }
}
