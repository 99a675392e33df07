//! The answer to a rejected packet: a TCP reset, else an ICMP or ICMPv6 error, in the frame that
//! brought the packet. Knows no rule and no map; reads and writes through [`Frame`], so that
//! kernel and host make the same answers.
//!
//! Ethernet and IP addresses change places, VLAN tags stay, options and extension headers go.

mod limit;
pub(crate) mod link;
pub(crate) mod message;
pub(crate) mod refusal;

use crate::abi::answer::{Outcome, QUOTE_BYTES_MAX};
use crate::packet::{Packet, Scratch};
use link::Link;

pub use limit::Limit;

/// A frame that becomes its own answer. Bytes are copied as they lie on the wire; `false` where
/// something is not possible.
pub trait Frame {
    /// Bytes of the frame.
    fn length_bytes(&self) -> u32;
    /// Copies `bytes` from `offset` on to the beginning of `to`.
    fn load<const WORDS: usize>(&self, offset: u32, bytes: u32, to: &mut [u32; WORDS]) -> bool;
    /// Copies `bytes` from the beginning of `from` to `offset`.
    fn store<const WORDS: usize>(&mut self, offset: u32, bytes: u32, from: &[u32; WORDS]) -> bool;
    /// Gives the frame another length. What it holds then is written anew from its beginning.
    fn resize(&mut self, length_bytes: u32) -> bool;
}

const QUOTE_WORDS: usize = QUOTE_BYTES_MAX as usize / 4;
/// ICMP header and quote: nothing else behind an IP header is as long.
pub(crate) const BODY_WORDS: usize = message::ICMP_HEADER_WORDS + QUOTE_WORDS;

/// Where an answer is put together, in network byte order. In the kernel it lies in a map.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct Memory {
    pub(crate) link: [u32; link::WORDS],
    /// Ports, sequence and acknowledgement number of the segment that is answered.
    segment: [u32; message::SEGMENT_WORDS],
    ipv4: [u32; message::IPV4_WORDS],
    ipv6: [u32; message::IPV6_WORDS],
    pub(crate) body: [u32; BODY_WORDS],
}

impl Memory {
    /// Before the first answer.
    pub const EMPTY: Self = Self {
        link: [0; link::WORDS],
        segment: [0; message::SEGMENT_WORDS],
        ipv4: [0; message::IPV4_WORDS],
        ipv6: [0; message::IPV6_WORDS],
        body: [0; BODY_WORDS],
    };
}

/// Turns the frame of a rejected packet into its answer, if there may be one.
///
/// `scratch` is what the packet was parsed in, `station` the interface's, as in
/// [`crate::abi::InterfaceSlot`]. `may_answer` asks the [`Limit`], of which it takes one answer,
/// where nothing else is against it. Where there is no answer, the frame may be half changed.
#[inline(always)]
pub fn answer(
    frame: &mut impl Frame,
    scratch: &Scratch,
    station: u64,
    may_answer: impl FnOnce() -> bool,
    memory: &mut Memory,
) -> Outcome {
    let packet = &scratch.parsed().packet;
    let wanted = refusal::of(packet);
    if !wanted.is_sent() {
        return wanted;
    }
    if !frame.load(0, link::BYTES, &mut memory.link) {
        return Outcome::Frame;
    }
    let link = Link::read(&memory.link);
    if link.has_group_address() || !link.is_for(station) {
        return Outcome::Station;
    }
    if !may_answer() {
        return Outcome::Limit;
    }
    link.swapped().write(&mut memory.link);
    // What follows a short answer in a frame of the least length.
    memory.body = [0; BODY_WORDS];
    let body_bytes = if wanted == Outcome::TcpReset {
        reset(frame, scratch, memory)
    } else {
        error(frame, scratch, link.network_offset, memory)
    };
    let protocol = message::protocol(wanted);
    if body_bytes != 0 && send(frame, packet, (link.network_offset, body_bytes), protocol, memory) {
        wanted
    } else {
        Outcome::Frame
    }
}

/// Makes a TCP reset; gives its bytes, 0 where the segment cannot be read.
#[inline(always)]
fn reset<F: Frame>(frame: &F, scratch: &Scratch, memory: &mut Memory) -> u32 {
    if !frame.load(scratch.transport_offset(), message::SEGMENT_BYTES, &mut memory.segment) {
        return 0;
    }
    message::reset(&scratch.parsed().packet, &memory.segment, &mut memory.body);
    message::TCP_HEADER_BYTES
}

/// Makes an ICMP or ICMPv6 error; gives its bytes, 0 where the packet cannot be read.
#[inline(always)]
fn error<F: Frame>(frame: &F, scratch: &Scratch, network_offset: u32, memory: &mut Memory) -> u32 {
    let datagram_bytes = scratch.end_offset().saturating_sub(network_offset);
    let quote_bytes = if datagram_bytes < QUOTE_BYTES_MAX { datagram_bytes } else { QUOTE_BYTES_MAX };
    let Some(quote) = memory.body.last_chunk_mut::<QUOTE_WORDS>() else { return 0 };
    if !frame.load(network_offset, quote_bytes, quote) {
        return 0;
    }
    let body_bytes = message::ICMP_HEADER_BYTES + quote_bytes;
    message::error(&scratch.parsed().packet, body_bytes, &mut memory.body);
    body_bytes
}

/// Puts the answer into the frame: link and body of `memory`, and an IP header of this protocol.
#[inline(always)]
pub(crate) fn send<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    (network_offset, body_bytes): (u32, u32),
    protocol: u32,
    memory: &mut Memory,
) -> bool {
    let is_ipv4 = packet.is_ipv4();
    let header_bytes = if is_ipv4 { message::IPV4_BYTES } else { message::IPV6_BYTES };
    let body_offset = network_offset + header_bytes;
    let length_bytes = link::padded(body_offset + body_bytes, frame.length_bytes());
    if !frame.resize(length_bytes) || !frame.store(0, network_offset, &memory.link) {
        return false;
    }
    let header = if is_ipv4 {
        message::ipv4(packet, protocol, body_bytes, &mut memory.ipv4);
        frame.store(network_offset, header_bytes, &memory.ipv4)
    } else {
        message::ipv6(packet, protocol, body_bytes, &mut memory.ipv6);
        frame.store(network_offset, header_bytes, &memory.ipv6)
    };
    header && frame.store(body_offset, length_bytes - body_offset, &memory.body)
}
