//! Frames as bytes: what goes on the wire is exactly what a test wrote down. Every field has a default
//! that makes a well-formed packet; lengths and checksums are computed. What must be malformed is made
//! by changing or cutting the bytes.

mod ip;
mod transport;

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result};

pub use ip::{Fragment, Packet};
pub use transport::{Transport, tcp_flags};

/// A hardware address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// All stations.
    pub const BROADCAST: Self = Self([0xff; 6]);
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.map(|byte| format!("{byte:02x}")).join(":"))
    }
}

impl FromStr for Mac {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let bytes: Result<Vec<u8>, _> =
            text.trim().split(':').map(|byte| u8::from_str_radix(byte, 16)).collect();
        let bytes = bytes.ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).with_context(|| format!("not a hardware address: {text:?}"))
    }
}

/// An Ethernet frame around a packet.
#[derive(Clone, Debug)]
pub struct Frame {
    source: Mac,
    destination: Mac,
    /// Tag protocol and tag, outermost first.
    tags: Vec<(u16, u16)>,
}

/// Ethertype of a VLAN tag (802.1Q).
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// Ethertype of a service tag (802.1ad).
pub const ETHERTYPE_SERVICE_VLAN: u16 = 0x88a8;

impl Frame {
    /// From one station to another.
    pub fn new(source: Mac, destination: Mac) -> Self {
        Self { source, destination, tags: Vec::new() }
    }

    /// Adds a tag inside those already there.
    #[must_use]
    pub fn vlan(self, id: u16) -> Self {
        self.tag(ETHERTYPE_VLAN, id)
    }

    /// As [`Frame::vlan`], with any tag protocol.
    #[must_use]
    pub fn tag(mut self, ethertype: u16, tag: u16) -> Self {
        self.tags.push((ethertype, tag));
        self
    }

    /// The frame around an IP packet.
    pub fn packet(&self, packet: &Packet) -> Vec<u8> {
        self.raw(packet.ethertype(), &packet.bytes())
    }

    /// The frame around anything.
    pub fn raw(&self, ethertype: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = [self.destination.0, self.source.0].concat();
        for (protocol, tag) in &self.tags {
            bytes.extend(protocol.to_be_bytes());
            bytes.extend(tag.to_be_bytes());
        }
        bytes.extend(ethertype.to_be_bytes());
        bytes.extend(payload);
        bytes
    }
}

/// The internet checksum (RFC 1071): the ones' complement of the ones' complement sum.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let bytes = parts.concat();
    let words = bytes.chunks(2).map(|word| (u32::from(word[0]) << 8) | u32::from(*word.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 1071 section 3.
    #[test]
    fn the_checksum_is_that_of_the_rfc() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&[&bytes]), !0xddf2);
        assert_eq!(checksum(&[&bytes[..4], &bytes[4..]]), !0xddf2);
    }

    #[test]
    fn a_frame_has_its_tags_between_addresses_and_ethertype() {
        let frame = Frame::new("02:00:00:00:00:01".parse().unwrap(), Mac::BROADCAST);
        let bytes = frame.tag(ETHERTYPE_SERVICE_VLAN, 7).vlan(9).raw(0x0806, b"x");
        assert_eq!(
            bytes,
            [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1], &[0x88, 0xa8, 0, 7, 0x81, 0, 0, 9, 8, 6], b"x"].concat()
        );
    }

    #[test]
    fn a_hardware_address_reads_back_as_written() {
        let mac = Mac([0x02, 0xfc, 0, 0xab, 0xcd, 0x01]);
        assert_eq!(mac.to_string().parse::<Mac>().unwrap(), mac);
        assert!("02:fc:00".parse::<Mac>().is_err());
    }
}
