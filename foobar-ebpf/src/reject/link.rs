//! The answer's way back on the link: stations change places, tags and ethertype stay.

use crate::packet::ethernet;

/// An Ethernet header and two tags, of which the stations are the first three words: destination
/// and source, six octets each. Every frame with an IP packet has as many bytes.
pub(crate) const WORDS: usize = 6;
#[expect(clippy::cast_possible_truncation, reason = "a handful")]
pub(crate) const BYTES: u32 = WORDS as u32 * 4;

/// The least that a station may send, without FCS (IEEE 802.3 §3.2.7).
const FRAME_BYTES_MIN: u32 = 60;

/// What is at the beginning of a frame with an IP packet.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    /// The stations as they lie in the frame: destination, source.
    stations: [u32; 3],
    /// Where the IP header begins.
    pub(crate) network_offset: u32,
}

impl Link {
    #[inline(always)]
    pub(crate) fn read(words: &[u32; WORDS]) -> Self {
        let [first, second, third, outer, inner, _] = words.map(u32::from_be);
        let tags = match (is_tag(outer), is_tag(inner)) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => 2,
        };
        #[expect(clippy::cast_possible_truncation, reason = "a handful")]
        let (header_bytes, tag_bytes) = (ethernet::HEADER_BYTES as u32, ethernet::TAG_BYTES as u32);
        Self { stations: [first, second, third], network_offset: header_bytes + tags * tag_bytes }
    }

    /// Whether one of the stations is a group: the lowest bit of its first octet.
    #[inline(always)]
    pub(crate) const fn has_group_address(&self) -> bool {
        let [first, second, _] = self.stations;
        (first >> 24 | second >> 8) & 1 != 0
    }

    /// Whether the frame is for this station; for any, where that is 0.
    #[inline(always)]
    pub(crate) const fn is_for(&self, station: u64) -> bool {
        let [first, second, _] = self.stations;
        station == 0 || station == (first as u64) << 16 | second as u64 >> 16
    }

    #[inline(always)]
    pub(crate) const fn swapped(&self) -> Self {
        let [first, second, third] = self.stations;
        let stations = [second << 16 | third >> 16, third << 16 | first >> 16, first << 16 | second >> 16];
        Self { stations, network_offset: self.network_offset }
    }

    #[inline(always)]
    pub(crate) fn write(&self, words: &mut [u32; WORDS]) {
        for (word, station) in words.iter_mut().zip(self.stations) {
            *word = station.to_be();
        }
    }
}

/// The ethertype is the high half of its word.
#[inline(always)]
const fn is_tag(word: u32) -> bool {
    ethernet::is_tag((word >> 16) as u16)
}

/// The length of a frame that needs `needed_bytes`. One that came whole from a wire is long
/// enough for any; one that was shorter comes from a link without such a minimum.
#[inline(always)]
pub(crate) const fn padded(needed_bytes: u32, arrived_bytes: u32) -> u32 {
    let least = if arrived_bytes < FRAME_BYTES_MIN { arrived_bytes } else { FRAME_BYTES_MIN };
    if needed_bytes < least { least } else { needed_bytes }
}
