//! From what a capture's records begin with to the Ethernet frame that the datapath would have seen.
//! The datapath reads no hardware address, so the ones that a record does not have are zero.

use thiserror::Error;

use super::Frame;
use super::capture::Record;

/// Numbers of the registry of link types, and those that systems write in their place.
mod number {
    pub(super) const ETHERNET: u32 = 1;
    /// "Raw IP" as Linux' own number has it in files of other systems, and `OpenBSD`'s.
    pub(super) const RAW_DLT: [u32; 2] = [12, 14];
    pub(super) const RAW: u32 = 101;
    pub(super) const LINUX_SLL: u32 = 113;
    pub(super) const IPV4: u32 = 228;
    pub(super) const IPV6: u32 = 229;
    pub(super) const LINUX_SLL2: u32 = 276;
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// Before the payload of an Ethernet frame: two hardware addresses and the ethertype.
const ETHERNET_HEADER_BYTES: usize = 14;

/// A capture of another kind of network.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "at byte {offset}: packets of link type {link_type} cannot be judged; Ethernet (1), raw IP (101, 228, 229) and \
     Linux cooked captures (113, 276) can"
)]
pub struct UnknownLinkType {
    /// Where the record begins.
    pub offset: u64,
    /// Its link type.
    pub link_type: u32,
}

/// Fills `frame` with what a record is on Ethernet.
///
/// # Errors
/// When its link type has no such form.
pub fn to_ethernet(record: &Record<'_>, frame: &mut Frame) -> Result<(), UnknownLinkType> {
    let bytes = record.bytes;
    // Bytes of the record's own header, and the ethertype; without one, the record begins with Ethernet's.
    let (header_bytes, ethertype) = match record.link_type {
        number::ETHERNET => (0, None),
        number::IPV4 => (0, Some(ETHERTYPE_IPV4)),
        number::IPV6 => (0, Some(ETHERTYPE_IPV6)),
        link_type if link_type == number::RAW || number::RAW_DLT.contains(&link_type) => {
            (0, Some(ethertype_of_ip(bytes)))
        }
        number::LINUX_SLL => (cooked::V1_BYTES, cooked::ethertype(bytes, cooked::V1_PROTOCOL)),
        number::LINUX_SLL2 => (cooked::V2_BYTES, cooked::ethertype(bytes, cooked::V2_PROTOCOL)),
        link_type => return Err(UnknownLinkType { offset: record.offset, link_type }),
    };
    frame.bytes.clear();
    if record.link_type == number::ETHERNET {
        frame.bytes.extend_from_slice(bytes);
        frame.length_bytes = record.length_bytes;
        return Ok(());
    }
    let added = ETHERNET_HEADER_BYTES;
    frame.length_bytes = record.length_bytes.max(header_bytes) - header_bytes + added;
    // A cooked header that was cut off names no ethertype: nothing is known of the frame then.
    if let Some(ethertype) = ethertype {
        frame.bytes.extend_from_slice(&[0; ETHERNET_HEADER_BYTES - 2]);
        frame.bytes.extend_from_slice(&ethertype.to_be_bytes());
        frame.bytes.extend_from_slice(bytes.get(header_bytes..).unwrap_or_default());
    }
    Ok(())
}

/// The ethertype that a packet without a link layer must have had: the version says it. What is of
/// neither version would have come as one of the two, and contradicts either.
fn ethertype_of_ip(bytes: &[u8]) -> u16 {
    match bytes.first().map(|octet| octet >> 4) {
        Some(6) => ETHERTYPE_IPV6,
        _ => ETHERTYPE_IPV4,
    }
}

/// Headers of Linux' cooked captures (`tcpdump -i any`): the protocol is an ethertype, or a small
/// number of the kernel for what is not Ethernet II, which is foreign either way.
mod cooked {
    pub(super) const V1_BYTES: usize = 16;
    pub(super) const V1_PROTOCOL: usize = 14;
    pub(super) const V2_BYTES: usize = 20;
    pub(super) const V2_PROTOCOL: usize = 0;

    pub(super) fn ethertype(bytes: &[u8], offset: usize) -> Option<u16> {
        Some(u16::from_be_bytes(*bytes.get(offset..)?.first_chunk()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: [u8; 4] = [0x45, 0, 0, 20];

    fn convert(link_type: u32, bytes: &[u8], length_bytes: usize) -> Result<Frame, UnknownLinkType> {
        let mut frame = Frame::whole(vec![9; 99]);
        to_ethernet(&Record { offset: 24, link_type, bytes, length_bytes }, &mut frame)?;
        Ok(frame)
    }

    fn ethernet(ethertype: [u8; 2], payload: &[u8]) -> Vec<u8> {
        [&[0; 12][..], &ethertype, payload].concat()
    }

    #[test]
    fn ethernet_stays_as_it_is() {
        let frame = convert(1, &[7; 20], 60).unwrap();
        assert_eq!(frame, Frame { bytes: vec![7; 20], length_bytes: 60 });
    }

    #[test]
    fn raw_packets_get_the_ethertype_of_their_version() {
        for link_type in [12, 14, 101, 228] {
            let frame = convert(link_type, &IP, 4).unwrap();
            assert_eq!(frame, Frame::whole(ethernet([8, 0], &IP)), "{link_type}");
        }
        for link_type in [12, 101, 229] {
            assert_eq!(convert(link_type, &[0x60], 1).unwrap().bytes, ethernet([0x86, 0xdd], &[0x60]));
        }
        // Of another version than the link type says: it comes with that ethertype, and contradicts it.
        assert_eq!(convert(228, &[0x60], 1).unwrap().bytes, ethernet([8, 0], &[0x60]));
        assert_eq!(convert(101, &[], 0).unwrap(), Frame::whole(ethernet([8, 0], &[])));
    }

    #[test]
    fn cooked_headers_give_their_protocol() {
        let first = [&[0; 14][..], &[0x86, 0xdd], &[0x60]].concat();
        assert_eq!(convert(113, &first, first.len()).unwrap(), Frame::whole(ethernet([0x86, 0xdd], &[0x60])));
        let second = [&[0x08, 0x06][..], &[0; 18], &[1, 2]].concat();
        assert_eq!(convert(276, &second, second.len()).unwrap(), Frame::whole(ethernet([8, 6], &[1, 2])));
    }

    #[test]
    fn lengths_on_the_wire_are_ethernets() {
        let cut = [&[0; 14][..], &[8, 0], &IP].concat();
        assert_eq!(convert(113, &cut, 16 + 1500).unwrap().length_bytes, 14 + 1500);
        assert_eq!(convert(101, &IP, 1500).unwrap().length_bytes, 14 + 1500);
        let header_only = convert(113, &[0; 3], 116).unwrap();
        assert_eq!(header_only, Frame { bytes: Vec::new(), length_bytes: 114 });
    }

    #[test]
    fn other_networks_are_refused_by_number() {
        let text = convert(127, &[], 0).unwrap_err().to_string();
        assert!(text.contains("at byte 24") && text.contains("127"), "{text}");
    }
}
