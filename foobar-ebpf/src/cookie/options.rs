//! TCP options: those of a SYN that a cookie can hold, and those of its answer.

use core::sync::atomic::{Ordering, compiler_fence};

use super::SYN_WORDS;
use crate::abi::cookie::NO_SCALE;

/// Option kinds (RFC 9293 §3.1, RFC 7323, RFC 2018, RFC 2385, RFC 5925).
mod kind {
    pub(super) const END: u32 = 0;
    pub(super) const NOTHING: u32 = 1;
    pub(super) const MSS: u32 = 2;
    pub(super) const WINDOW_SCALE: u32 = 3;
    pub(super) const SACK: u32 = 4;
    pub(super) const TIMESTAMPS: u32 = 8;
    pub(super) const MD5: u32 = 19;
    pub(super) const AUTHENTICATION: u32 = 29;
}

/// Lengths of options, kind and length included.
const MSS_BYTES: u32 = 4;
const WINDOW_SCALE_BYTES: u32 = 3;
const SACK_BYTES: u32 = 2;
const TIMESTAMPS_BYTES: u32 = 10;

/// The largest scale; a client that asks for more gets this one (RFC 7323 §2.3).
const SCALE_MAX: u32 = 14;

const HEADER_BYTES: u32 = 20;
/// Options that are read, padding between them included. Clients send 5 to 12; a header has room for 40 of
/// one octet.
const OPTIONS_MAX: usize = 16;

/// What the options of a SYN ask for. Words, so that each is written whole: see [`read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Asked {
    window_scale: u32,
    sack: u32,
    has_timestamp: u32,
    timestamp: u32,
    /// Where the next option begins.
    next: u32,
    /// Where all of them end.
    end: u32,
}

impl Asked {
    /// No options.
    pub const NOTHING: Self =
        Self { window_scale: NO_SCALE as u32, sack: 0, has_timestamp: 0, timestamp: 0, next: 0, end: 0 };

    /// The scale of the client's windows, or [`NO_SCALE`].
    #[inline(always)]
    pub(super) const fn window_scale(&self) -> u32 {
        self.window_scale
    }

    #[inline(always)]
    pub(super) const fn sack(&self) -> bool {
        self.sack != 0
    }

    #[inline(always)]
    pub(super) const fn has_timestamp(&self) -> bool {
        self.has_timestamp != 0
    }

    #[inline(always)]
    pub(super) const fn timestamp(&self) -> u32 {
        self.timestamp
    }
}

/// Reads the options of a SYN as Linux does (`tcp_parse_options`): what is malformed ends them. `false` where
/// no cookie will do: there are too many of them, or segments of the connection carry a signature
/// (TCP-MD5, TCP-AO), which the answer would lack.
///
/// All that one turn of the loop hands to the next lies in `asked`, in a map, so that for the verifier
/// every turn begins alike, whatever the options before were.
#[inline(always)]
pub(super) fn read(syn: &[u32; SYN_WORDS], syn_bytes: u32, asked: &mut Asked) -> bool {
    *asked = Asked { next: HEADER_BYTES, end: syn_bytes, ..Asked::NOTHING };
    for _ in 0..OPTIONS_MAX {
        let (at, end) = (anew(&asked.next), anew(&asked.end));
        if at >= end {
            return true;
        }
        let kind = octet(syn, at);
        match kind {
            kind::END => return true,
            kind::NOTHING => {
                asked.next = at + 1;
                continue;
            }
            _ => {}
        }
        let bytes = octet(syn, at + 1);
        if bytes < 2 || at + bytes > end {
            return true;
        }
        asked.next = at + bytes;
        match (kind, bytes) {
            (kind::WINDOW_SCALE, WINDOW_SCALE_BYTES) => {
                let scale = octet(syn, at + 2);
                asked.window_scale = if scale > SCALE_MAX { SCALE_MAX } else { scale };
            }
            (kind::SACK, SACK_BYTES) => asked.sack = 1,
            (kind::TIMESTAMPS, TIMESTAMPS_BYTES) => {
                let [a, b, c, d] = [2, 3, 4, 5].map(|offset| octet(syn, at + offset));
                asked.timestamp = a << 24 | b << 16 | c << 8 | d;
                asked.has_timestamp = 1;
            }
            (kind::MD5 | kind::AUTHENTICATION, _) => return false,
            _ => {}
        }
    }
    anew(&asked.next) >= anew(&asked.end)
}

/// A number as it lies in memory, where everything is written before: the verifier forgets what it knew
/// of it, and every way that led here becomes one, see [`crate::packet::reader::PacketReader::forget`].
#[inline(always)]
pub(super) fn anew(number: &u32) -> u32 {
    compiler_fence(Ordering::SeqCst);
    // SAFETY: a reference.
    unsafe { core::ptr::from_ref(number).read_volatile() }
}

/// An octet of the header; 0, which ends the options, beyond the longest one.
#[inline(always)]
fn octet(syn: &[u32; SYN_WORDS], at: u32) -> u32 {
    let word = syn.get(at as usize / 4).copied().map_or(0, u32::from_be);
    word >> (24 - 8 * (at % 4)) & 0xff
}

/// The largest segment that fits a packet of `mtu_bytes` with `header_bytes` of IP and TCP.
#[inline(always)]
pub(super) const fn mss(mtu_bytes: u32, header_bytes: u32) -> u32 {
    let mss = mtu_bytes.saturating_sub(header_bytes);
    let mss = if mss > u16::MAX as u32 { u16::MAX as u32 } else { mss };
    kind::MSS << 24 | MSS_BYTES << 16 | mss
}

/// What stands before the two timestamps: SACK or nothing.
#[inline(always)]
pub(super) const fn timestamps_after(sack: bool) -> u32 {
    let before =
        if sack { kind::SACK << 24 | SACK_BYTES << 16 } else { kind::NOTHING << 24 | kind::NOTHING << 16 };
    before | kind::TIMESTAMPS << 8 | TIMESTAMPS_BYTES
}

/// The scale of our windows.
#[inline(always)]
pub(super) const fn window_scale(scale: u8) -> u32 {
    kind::NOTHING << 24 | kind::WINDOW_SCALE << 16 | WINDOW_SCALE_BYTES << 8 | scale as u32
}
