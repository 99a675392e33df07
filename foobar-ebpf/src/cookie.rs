//! The answer to a SYN with a SYN cookie (RFC 4987 §3.6): a SYN-ACK in the frame that brought the SYN,
//! after which this host remembers nothing. The kernel's own code makes the cookie, and completes the
//! connection from the acknowledgement; what is made here is what that code would have sent. Knows no
//! map; shares frames, addresses and refusals with [`crate::reject`].
//!
//! A cookie holds the client's MSS. Window scale, SACK and ECN lie in the low 6 bits of our timestamp,
//! as `cookie_init_timestamp` of Linux puts them there, and come back with the client's echo. Where one side
//! has no timestamps, MSS is all that survives, as in Linux.

mod options;

use crate::abi::cookie::{NO_SCALE, Offer, Outcome};
use crate::packet::{Packet, Scratch, TransportKind};
use crate::reject::link::{self, Link};
use crate::reject::message::{self, Segment, flag};
use crate::reject::{self, Frame, refusal};

pub use options::Asked;

/// Words of an IP header without options or extension headers; IPv4 has half as many.
pub const IP_WORDS: usize = message::IPV6_WORDS;
/// Words of the longest TCP header.
pub const SYN_WORDS: usize = 15;

/// The low bits of a timestamp that tell what a client asked for (`TSBITS` of Linux), and what they say.
mod stamp {
    pub(super) const MASK: u32 = (1 << 6) - 1;
    pub(super) const SACK: u32 = 1 << 4;
    pub(super) const ECN: u32 = 1 << 5;
}

/// Where an answer is put together. In the kernel it lies in a map.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct Memory {
    answer: reject::Memory,
    /// The IP header of the SYN as it came, without options or extension headers.
    ip: [u32; IP_WORDS],
    syn: [u32; SYN_WORDS],
    asked: Asked,
    draft: Draft,
}

/// What the options of an answer came to. Like [`Asked`] in memory, so that for the verifier all ways to
/// put them together become one.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Draft {
    /// Where the IP header begins.
    network_offset: u32,
    /// Of the segment, with its options.
    header_bytes: u32,
    flags: u32,
}

impl Memory {
    /// Before the first answer.
    pub const EMPTY: Self = Self {
        answer: reject::Memory::EMPTY,
        ip: [0; IP_WORDS],
        syn: [0; SYN_WORDS],
        asked: Asked::NOTHING,
        draft: Draft { network_offset: 0, header_bytes: 0, flags: 0 },
    };
}

/// The host that answers, as far as an answer depends on it.
pub trait Host {
    /// The interface's station, as in [`crate::abi::InterfaceSlot`].
    fn station(&self) -> u64;
    /// Bytes of the largest IP packet that the interface takes.
    fn mtu_bytes(&self) -> u32;
    /// Milliseconds of the clock that the host's TCP makes timestamps of.
    fn now_ms(&self) -> u32;
    /// The cookie for a SYN, from its IP header without options and its TCP header with them, as they lie
    /// on the wire in the first bytes of both arrays.
    ///
    /// # Errors
    /// Why there is none: an outcome that passes the SYN on.
    fn cookie(
        &mut self,
        packet: &Packet,
        ip: &[u32; IP_WORDS],
        syn: (&[u32; SYN_WORDS], u32),
    ) -> Result<u32, Outcome>;
}

/// Whether a packet opens a connection: SYN, and nothing that contradicts it.
#[inline(always)]
pub const fn is_opening(packet: &Packet) -> bool {
    const OF: u8 = flag::SYN | flag::ACK | flag::RST | flag::FIN;
    matches!(packet.transport.kind, TransportKind::Tcp) && packet.transport.tcp_flags & OF == flag::SYN
}

/// Turns the frame of a SYN into a SYN-ACK with a cookie, if there is one. Where there is none the frame
/// is as it was, but for [`Outcome::Frame`].
#[inline(always)]
pub fn answer<F: Frame>(
    frame: &mut F,
    scratch: &Scratch,
    offer: Offer,
    host: &mut impl Host,
    memory: &mut Memory,
) -> Outcome {
    let packet = &scratch.parsed().packet;
    // Of a fragmented segment the stack reads the options, which need not all be in its first part.
    if packet.first_fragment {
        return Outcome::Unfit;
    }
    // First, while there is little for the verifier to follow through the loop.
    let syn_bytes = u32::from(packet.transport.payload_offset).saturating_sub(scratch.transport_offset());
    if !frame.load(scratch.transport_offset(), syn_bytes, &mut memory.syn)
        || !options::read(&memory.syn, syn_bytes, &mut memory.asked)
    {
        return Outcome::Unfit;
    }
    if !refusal::is_between_hosts(packet) || !frame.load(0, link::BYTES, &mut memory.answer.link) {
        return Outcome::Unfit;
    }
    let link = Link::read(&memory.answer.link);
    if link.has_group_address() || !link.is_for(host.station()) {
        return Outcome::Unfit;
    }
    memory.draft.network_offset = link.network_offset;
    let ip_bytes = if packet.is_ipv4() { message::IPV4_BYTES } else { message::IPV6_BYTES };
    if !frame.load(options::anew(&memory.draft.network_offset), ip_bytes, &mut memory.ip) {
        return Outcome::Unfit;
    }
    let cookie = match host.cookie(packet, &memory.ip, (&memory.syn, syn_bytes)) {
        Ok(cookie) => cookie,
        Err(outcome) => return outcome,
    };
    link.swapped().write(&mut memory.answer.link);
    syn_ack(packet, cookie, offer, host, memory);
    let place = (options::anew(&memory.draft.network_offset), options::anew(&memory.draft.header_bytes));
    let sent = reject::send(frame, packet, place, message::number::TCP, &mut memory.answer);
    if sent { Outcome::Sent } else { Outcome::Frame }
}

/// Makes the segment.
#[inline(always)]
fn syn_ack(packet: &Packet, cookie: u32, offer: Offer, host: &impl Host, memory: &mut Memory) {
    let ip_bytes = if packet.is_ipv4() { message::IPV4_BYTES } else { message::IPV6_BYTES };
    memory.answer.body = [0; reject::BODY_WORDS];
    memory.answer.body[5] = options::mss(host.mtu_bytes(), ip_bytes + message::TCP_HEADER_BYTES).to_be();
    memory.draft.header_bytes = message::TCP_HEADER_BYTES + 4;
    memory.draft.flags = u32::from(flag::SYN | flag::ACK);
    if offer.timestamps && memory.asked.has_timestamp() {
        append_stamps(offer, host.now_ms(), memory);
    }
    let segment = Segment {
        sequence: cookie,
        acknowledgement: u32::from_be(memory.syn[1]).wrapping_add(1),
        #[expect(clippy::cast_possible_truncation, reason = "flags of one octet")]
        flags: options::anew(&memory.draft.flags) as u8,
        window: offer.window,
    };
    let header_bytes = options::anew(&memory.draft.header_bytes);
    message::tcp(packet, segment, header_bytes, &mut memory.answer.body);
}

/// What goes with a timestamp, and without one not at all.
#[inline(always)]
fn append_stamps(offer: Offer, now_ms: u32, memory: &mut Memory) {
    let Memory { answer: reject::Memory { body, .. }, asked, syn, draft, .. } = memory;
    let scale = if offer.window_scale == NO_SCALE { u32::from(NO_SCALE) } else { asked.window_scale() };
    let mut says = scale;
    if offer.sack && asked.sack() {
        says |= stamp::SACK;
    }
    if offer.ecn && asks_for_ecn(syn) {
        says |= stamp::ECN;
        draft.flags |= u32::from(flag::ECE);
    }
    body[6] = options::timestamps_after(says & stamp::SACK != 0).to_be();
    body[7] = stamped(now_ms, says).to_be();
    body[8] = asked.timestamp().to_be();
    draft.header_bytes += 12;
    if scale != u32::from(NO_SCALE) {
        body[9] = options::window_scale(offer.window_scale).to_be();
        draft.header_bytes += 4;
    }
}

/// The latest time, not after now, whose low bits say this.
#[inline(always)]
const fn stamped(now_ms: u32, says: u32) -> u32 {
    let stamp = now_ms & !stamp::MASK | says;
    if stamp > now_ms { stamp.wrapping_sub(stamp::MASK + 1) } else { stamp }
}

/// Octets 12 and 13 of a TCP header: ECE and CWR (RFC 3168 §6.1.1), and none of the bits before them, of
/// which the nearest asks for accurate ECN (RFC 9768), which a cookie cannot hold.
#[inline(always)]
const fn asks_for_ecn(syn: &[u32; SYN_WORDS]) -> bool {
    const BITS: u32 = 0x0fc0_0000;
    u32::from_be(syn[3]) & BITS == ((flag::ECE | flag::CWR) as u32) << 16
}
