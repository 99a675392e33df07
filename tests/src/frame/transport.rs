//! What an IP packet carries. All numbers in network byte order on the wire (RFC 9293, 768, 792, 4443).

use super::checksum;

/// Bits of the TCP flags byte.
pub mod tcp_flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronises sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Resets the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement field counts.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer counts.
    pub const URG: u8 = 0x20;
}

/// The payload of an IP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A segment without options.
    Tcp {
        /// Source port.
        from: u16,
        /// Destination port.
        to: u16,
        /// See [`tcp_flags`].
        flags: u8,
        /// What follows the header.
        payload: Vec<u8>,
    },
    /// A datagram.
    Udp {
        /// Source port.
        from: u16,
        /// Destination port.
        to: u16,
        /// What follows the header.
        payload: Vec<u8>,
    },
    /// An ICMP message in an IPv4 packet, an ICMPv6 message in an IPv6 packet.
    Icmp {
        /// Its type.
        kind: u8,
        /// Its code.
        code: u8,
        /// What follows the checksum.
        body: Vec<u8>,
    },
    /// Bytes of any protocol, as they are.
    Raw {
        /// The protocol's number.
        protocol: u8,
        /// The bytes.
        payload: Vec<u8>,
    },
}

impl Transport {
    /// The first segment of a connection.
    pub fn syn(from: u16, to: u16) -> Self {
        Self::Tcp { from, to, flags: tcp_flags::SYN, payload: Vec::new() }
    }

    /// A datagram with a payload.
    pub fn udp(from: u16, to: u16, payload: &[u8]) -> Self {
        Self::Udp { from, to, payload: payload.to_vec() }
    }

    /// Its protocol number in an IPv4 or IPv6 packet.
    pub(crate) fn protocol(&self, ipv6: bool) -> u8 {
        match self {
            Self::Tcp { .. } => 6,
            Self::Udp { .. } => 17,
            Self::Icmp { .. } if ipv6 => 58,
            Self::Icmp { .. } => 1,
            Self::Raw { protocol, .. } => *protocol,
        }
    }

    /// Header and payload, with the checksum over them and over the addresses, where the protocol has
    /// them in it.
    pub(crate) fn bytes(&self, addresses: &[u8]) -> Vec<u8> {
        let ipv6 = addresses.len() == 32;
        let (mut bytes, checksum_at, covers_addresses) = match self {
            Self::Tcp { from, to, flags, payload } => {
                let mut bytes = ports(*from, *to);
                bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 5 << 4, *flags, 0xff, 0xff, 0, 0, 0, 0]);
                bytes.extend(payload);
                (bytes, 16, true)
            }
            Self::Udp { from, to, payload } => {
                let mut bytes = ports(*from, *to);
                bytes.extend(length(8 + payload.len()).to_be_bytes());
                bytes.extend([0, 0]);
                bytes.extend(payload);
                (bytes, 6, true)
            }
            Self::Icmp { kind, code, body } => {
                let mut bytes = vec![*kind, *code, 0, 0];
                bytes.extend(body);
                (bytes, 2, ipv6)
            }
            Self::Raw { payload, .. } => return payload.clone(),
        };
        let pseudo_header =
            [addresses, &[0, self.protocol(ipv6)], &length(bytes.len()).to_be_bytes()].concat();
        let sum = checksum(&[if covers_addresses { &pseudo_header } else { &[] }, &bytes]);
        // RFC 768: a computed zero is sent as all ones, because zero says that there is none.
        let sum = if sum == 0 && matches!(self, Self::Udp { .. }) { 0xffff } else { sum };
        bytes[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
        bytes
    }
}

fn ports(from: u16, to: u16) -> Vec<u8> {
    [from.to_be_bytes(), to.to_be_bytes()].concat()
}

/// A length field; more than it can say is a mistake of the test.
pub(super) fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).unwrap_or_else(|_| panic!("{bytes} bytes do not fit a length field of 16 bits"))
}
