//! The host's [`State`](foobar_ebpf::state::State): what the kernel keeps in maps, in plain collections of
//! one walk's own.

use std::time::Instant;

use foobar_ebpf::abi::image::Edge;
use foobar_ebpf::ban::BanTable;
use foobar_ebpf::classifier::Image;
use foobar_ebpf::key::Key;
use foobar_ebpf::limit::Limits;
use foobar_ebpf::packet::{Address, Parsed};
use foobar_ebpf::state::Clock;

use super::fragments::HostFragments;

/// The tables of one walk, all empty at first.
#[derive(Debug)]
pub(super) struct HostState {
    since: Instant,
    pub(super) fragments: HostFragments,
}

impl HostState {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), fragments: HostFragments::new() }
    }
}

impl Clock for HostState {
    fn now_ns(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Nobody is banned for a walk on the host.
impl BanTable for HostState {
    fn is_banned(&self, _: &Address, _: bool) -> bool {
        false
    }
}

/// No rate is ever exceeded here.
impl Limits for HostState {
    fn settle<I: Image>(&self, _image: &I, _parsed: &Parsed, _key: &Key, end: Edge) -> Edge {
        end
    }
}
