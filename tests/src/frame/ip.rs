//! IPv4 (RFC 791) and IPv6 (RFC 8200) packets: the family follows from the addresses.

use std::net::IpAddr;

use super::transport::length;
use super::{Transport, checksum};

/// Next-header number of the IPv6 Fragment header.
const FRAGMENT_HEADER: u8 = 44;

/// Which part of a larger packet this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The same in all parts.
    pub identification: u16,
    /// Where this part begins, a multiple of 8.
    pub offset_bytes: u16,
    /// Whether others follow.
    pub more: bool,
}

/// An IP packet.
#[derive(Clone, Debug)]
pub struct Packet {
    source: IpAddr,
    destination: IpAddr,
    hop_limit: u8,
    options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    fragment: Option<Fragment>,
    transport: Transport,
}

impl Packet {
    /// From one address to another of the same family.
    ///
    /// # Panics
    /// If the families differ.
    pub fn new(source: IpAddr, destination: IpAddr, transport: Transport) -> Self {
        assert_eq!(source.is_ipv4(), destination.is_ipv4(), "{source} and {destination} differ in family");
        Self {
            source,
            destination,
            hop_limit: 64,
            options: Vec::new(),
            extensions: Vec::new(),
            fragment: None,
            transport,
        }
    }

    /// TTL or hop limit.
    #[must_use]
    pub fn hop_limit(mut self, hop_limit: u8) -> Self {
        self.hop_limit = hop_limit;
        self
    }

    /// IPv4 options, padded to a multiple of four with the end-of-list option.
    #[must_use]
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self.options.resize(options.len().next_multiple_of(4), 0);
        self
    }

    /// Adds an IPv6 extension header after those already there: its number and what follows its first
    /// two bytes, six bytes or six more than a multiple of eight.
    #[must_use]
    pub fn extension(mut self, number: u8, body: &[u8]) -> Self {
        self.extensions.push((number, body.to_vec()));
        self
    }

    /// Makes it a fragment. With an offset, the transport should be [`Transport::Raw`].
    #[must_use]
    pub fn fragment(mut self, fragment: Fragment) -> Self {
        self.fragment = Some(fragment);
        self
    }

    /// What an Ethernet header says of it.
    pub fn ethertype(&self) -> u16 {
        if self.source.is_ipv4() { 0x0800 } else { 0x86dd }
    }

    /// The bytes, headers first.
    pub fn bytes(&self) -> Vec<u8> {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.bytes_v4(source.octets(), destination.octets())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                self.bytes_v6(&[source.octets(), destination.octets()].concat())
            }
            _ => unreachable!("`new` compared the families"),
        }
    }

    fn bytes_v4(&self, source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
        let addresses = [source, destination].concat();
        let payload = self.transport.bytes(&addresses);
        let header_bytes = 20 + self.options.len();
        let words = u8::try_from(header_bytes / 4).unwrap_or(u8::MAX);
        assert!(words <= 15, "{} bytes of options do not fit an IPv4 header", self.options.len());
        let fragment = self.fragment.map_or(0x4000, |f| (f.offset_bytes / 8) | (u16::from(f.more) << 13));
        let mut header = vec![(4 << 4) | words, 0];
        header.extend(length(header_bytes + payload.len()).to_be_bytes());
        header.extend(self.fragment.map_or(0, |f| f.identification).to_be_bytes());
        header.extend(fragment.to_be_bytes());
        header.extend([self.hop_limit, self.transport.protocol(false), 0, 0]);
        header.extend(addresses);
        header.extend(&self.options);
        let sum = checksum(&[&header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        [header, payload].concat()
    }

    fn bytes_v6(&self, addresses: &[u8]) -> Vec<u8> {
        let mut headers = self.extensions.clone();
        if let Some(Fragment { identification, offset_bytes, more }) = self.fragment {
            let [high, low] = ((offset_bytes & !7) | u16::from(more)).to_be_bytes();
            let [id_high, id_low] = identification.to_be_bytes();
            headers.push((FRAGMENT_HEADER, vec![high, low, 0, 0, id_high, id_low]));
        }
        let last = self.transport.protocol(true);
        let numbers: Vec<u8> = headers.iter().map(|(number, _)| *number).chain([last]).collect();
        let mut payload = Vec::new();
        for ((number, body), next) in headers.iter().zip(&numbers[1..]) {
            // In units of eight bytes beyond the first eight; the Fragment header has no length field.
            let units = if *number == FRAGMENT_HEADER { 0 } else { (body.len() + 2) / 8 - 1 };
            payload.extend([*next, u8::try_from(units).unwrap_or(u8::MAX)]);
            payload.extend(body);
        }
        payload.extend(self.transport.bytes(addresses));
        let mut bytes = vec![6 << 4, 0, 0, 0];
        bytes.extend(length(payload.len()).to_be_bytes());
        bytes.extend([numbers[0], self.hop_limit]);
        bytes.extend(addresses);
        bytes.extend(payload);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(transport: Transport) -> Packet {
        Packet::new("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap(), transport)
    }

    fn v6(transport: Transport) -> Packet {
        Packet::new("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap(), transport)
    }

    #[test]
    fn an_ipv4_header_counts_its_options_and_sums_to_zero() {
        let bytes = v4(Transport::syn(40000, 80)).options(&[7, 3, 4]).hop_limit(9).bytes();
        assert_eq!((bytes[0], bytes.len(), bytes[8], bytes[9]), (0x46, 44, 9, 6));
        assert_eq!(checksum(&[&bytes[..24]]), 0);
        assert_eq!(bytes[24..28], [0x9c, 0x40, 0, 80]);
    }

    #[test]
    fn transport_checksums_cover_the_pseudo_header() {
        let bytes = v6(Transport::udp(1000, 53, b"abc")).bytes();
        assert_eq!(checksum(&[&bytes[8..40], &[0, 17, 0, 11], &bytes[40..]]), 0);
        let bytes = v4(Transport::Icmp { kind: 8, code: 0, body: vec![0; 4] }).bytes();
        assert_eq!(checksum(&[&bytes[20..]]), 0);
    }

    #[test]
    fn extension_headers_are_chained_in_order_and_the_fragment_header_is_last() {
        let fragment = Fragment { identification: 0x1234, offset_bytes: 16, more: true };
        let raw = Transport::Raw { protocol: 17, payload: vec![1; 8] };
        let bytes =
            v6(raw).extension(0, &[1, 4, 0, 0, 0, 0]).extension(60, &[0; 14]).fragment(fragment).bytes();
        assert_eq!(bytes[6], 0);
        assert_eq!(bytes[40..42], [60, 0]);
        assert_eq!(bytes[48..50], [44, 1]);
        assert_eq!(bytes[64..72], [17, 0, 0, 17, 0, 0, 0x12, 0x34]);
        assert_eq!(bytes.len(), 80);
    }

    #[test]
    fn an_ipv4_fragment_says_its_offset_in_units_of_eight() {
        let fragment = Fragment { identification: 7, offset_bytes: 24, more: false };
        let bytes = v4(Transport::Raw { protocol: 6, payload: vec![0; 8] }).fragment(fragment).bytes();
        assert_eq!(bytes[4..8], [0, 7, 0, 3]);
    }
}
