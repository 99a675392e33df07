//! The host's [`State`](foobar_ebpf::state::State): what the kernel keeps in maps, in plain collections of
//! one walk's own.

use std::time::Instant;

use foobar_ebpf::abi::flow::{Bucket, FlowCount, Header};
use foobar_ebpf::abi::image::Edge;
use foobar_ebpf::classifier::Image;
use foobar_ebpf::flow::FlowTable;
use foobar_ebpf::flow::shared::Shared;
use foobar_ebpf::key::Key;
use foobar_ebpf::limit::Limits;
use foobar_ebpf::packet::{Packet, Parsed};
use foobar_ebpf::socket::Sockets;
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

/// A walk knows no flow: nothing left before.
impl FlowTable for HostState {
    fn now_seconds(&self) -> u32 {
        0
    }

    fn header(&self) -> Option<&Header> {
        None
    }

    fn bucket(&self, _bucket: u32) -> Option<&Bucket> {
        None
    }

    fn scratch(&self) -> Option<&Shared> {
        None
    }

    fn count(&self, _count: FlowCount) {}
}

/// Nor a socket: the host that is asked about may be another.
impl Sockets for HostState {
    fn hold(&self, _packet: &Packet) -> bool {
        false
    }
}

/// No rate is ever exceeded here.
impl Limits for HostState {
    fn settle<I: Image>(&self, _image: &I, _parsed: &Parsed, _key: &Key, end: Edge) -> Edge {
        end
    }
}
