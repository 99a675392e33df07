//! The kernel's walk on the host: an image read from its bytes, judged by the same code.

use foobar_ebpf::abi::image::{Entry, Header, Leaf};
use foobar_ebpf::packet::{self, Packet, Scratch};
use foobar_ebpf::policy::{self, Image, Judgement};

use super::fragments::HostFragments;
use crate::firewall::generation::Generation;

/// A generation that judges frames on the host, with a table of fragments of its own.
#[derive(Debug)]
pub struct Walk {
    flags: u32,
    header: Option<Header>,
    entries: Vec<Entry>,
    fragments: HostFragments,
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
        Self { flags: generation.flags, header, entries, fragments: HostFragments::new() }
    }

    /// Judges a frame that arrived on a logical interface.
    pub fn judge(&self, frame: &[u8], interface: u32) -> Judgement {
        let mut scratch = Scratch::EMPTY;
        policy::judge(packet::parse(frame, &mut scratch), interface, self.flags, self, &self.fragments)
    }
}

impl Image for Walk {
    fn first_match(&self, packet: &Packet, interface: u32) -> Option<Leaf> {
        let entry = self.entries.iter().find(|entry| policy::matches(entry, packet, interface))?;
        Some(entry.leaf)
    }

    fn policy(&self) -> Option<Leaf> {
        self.header.as_ref().map(|header| header.policy)
    }
}
