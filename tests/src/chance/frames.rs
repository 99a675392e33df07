//! Frames by chance, drawn from pools of what some test cares about, well-formed ones damaged.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Chance;
use crate::frame::{Fragment, Frame, Mac, Packet, Transport};

/// What fields are drawn from. No pool may be empty.
#[derive(Clone, Debug)]
pub struct Pools {
    /// Sources and destinations of IPv4 packets.
    pub ipv4: [Vec<Ipv4Addr>; 2],
    /// Sources and destinations of IPv6 packets.
    pub ipv6: [Vec<Ipv6Addr>; 2],
    /// Source and destination ports.
    pub ports: [Vec<u16>; 2],
    /// Protocol numbers. Those with ports or types get a fitting header, most of the time.
    pub protocols: Vec<u8>,
    /// ICMP types and codes, of both families.
    pub icmp_types: Vec<(u8, u8)>,
    /// TCP flags.
    pub tcp_flags: Vec<u8>,
}

impl Pools {
    /// What is special to a host whatever its rules: essentials, borders of parsers, famous ports.
    pub fn usual() -> Self {
        let types4 = [0, 3, 4, 5, 8, 11, 12].map(|kind| (kind, 0));
        let types6 = [1, 2, 3, 4, 128, 129, 130, 133, 134, 135, 136, 143].map(|kind| (kind, 0));
        Self {
            ipv4: [
                addresses(&["198.51.100.7", "203.0.113.66", "10.1.2.3", "10.200.0.1", "0.0.0.0"]),
                addresses(&["192.0.2.1", "192.0.2.9", "255.255.255.255"]),
            ],
            ipv6: [
                addresses(&[
                    "2001:db8:f::7",
                    "2001:db8:bad::1",
                    "2001:db8::7",
                    "fe80::7",
                    "fe80::8",
                    "::",
                    "::1",
                ]),
                addresses(&["2001:db8::1", "2001:db8::9", "2001:db8::a", "ff02::1", "::ffff:10.1.2.3"]),
            ],
            ports: [
                vec![53, 67, 80, 547, 1023, 1024, 40_000],
                vec![22, 53, 67, 68, 80, 443, 546, 547, 1024, 8080, 65_535],
            ],
            protocols: vec![6, 6, 6, 17, 17, 1, 58, 132, 33, 136, 0, 2, 4, 43, 44, 47, 50, 51, 59, 60, 255],
            icmp_types: [&types4[..], &types6, &[(3, 4), (1, 4)]].concat(),
            tcp_flags: vec![0x02, 0x12, 0x10, 0x04, 0x14, 0x01, 0x18, 0x00, 0xc2, 0xff],
        }
    }
}

fn addresses<T: std::str::FromStr>(texts: &[&str]) -> Vec<T> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

/// A frame. Fields come from the pools; headers before and around them, and damage, from chance.
pub fn frame(chance: &mut Chance, pools: &Pools) -> Vec<u8> {
    let is_ipv4 = chance.once_in(2);
    let (source, destination) = ends(chance, pools, is_ipv4);
    let transport = transport(chance, pools, is_ipv4, destination);
    let mut packet = Packet::new(source, destination, transport).hop_limit(chance.one(&[64, 255, 1]));
    if !is_ipv4 {
        for _ in 0..chance.one(&[0, 0, 0, 0, 0, 0, 1, 1, 2, 8, 9]) {
            let number = chance.one(&[0, 43, 60, 60, 135, 139, 140, 44, 51]);
            let body = match number {
                // Mostly an atomic or a first fragment, so that the chain goes on.
                44 if !chance.once_in(4) => [0, chance.byte() % 2, 0, 0, 0, chance.byte() % 4].to_vec(),
                _ if chance.once_in(4) => chance.bytes(6),
                _ => vec![0, 80, 0, 80, 0, 80],
            };
            packet = packet.extension(number, &body);
        }
    } else if chance.once_in(4) {
        let octets = chance.below(41);
        packet = packet.options(&chance.bytes(octets));
    }
    if chance.once_in(4) {
        packet = packet.fragment(Fragment {
            identification: u16::from(chance.byte() % 4),
            offset_bytes: chance.one(&[0, 0, 0, 8, 16, 1480, 65_528]),
            more: chance.once_in(2),
        });
    }
    let mut stations = Frame::new(Mac([0x02, 0, 0, 0, 0, 7]), Mac([0x02, 0, 0, 0, 0, 1]));
    for _ in 0..chance.one(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3]) {
        stations = stations.tag(chance.one(&[0x8100, 0x88a8, 0x9100]), chance.word());
    }
    let whole = stations.packet(&packet);
    damaged(chance, whole)
}

fn ends(chance: &mut Chance, pools: &Pools, is_ipv4: bool) -> (IpAddr, IpAddr) {
    if is_ipv4 {
        let [sources, destinations] = &pools.ipv4;
        (chance.one(sources).into(), chance.one(destinations).into())
    } else {
        let [sources, destinations] = &pools.ipv6;
        (chance.one(sources).into(), chance.one(destinations).into())
    }
}

fn transport(chance: &mut Chance, pools: &Pools, is_ipv4: bool, destination: IpAddr) -> Transport {
    let protocol = if chance.once_in(20) { chance.byte() } else { chance.one(&pools.protocols) };
    let from = chance.one(&pools.ports[0]);
    let to = chance.one(&pools.ports[1]);
    let octets = chance.below(40);
    let payload = chance.bytes(octets);
    if chance.once_in(16) {
        // Whatever lies there instead of a header.
        return Transport::Raw { protocol, payload };
    }
    match protocol {
        6 => Transport::Tcp { from, to, flags: chance.one(&pools.tcp_flags), payload },
        17 => Transport::Udp { from, to, payload },
        1 | 58 if (protocol == 1) == is_ipv4 => icmp(chance, pools, destination, payload),
        33 | 132 | 136 => {
            let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
            Transport::Raw { protocol, payload: [ports, vec![0; 8], payload].concat() }
        }
        51 => {
            // An Authentication Header (RFC 4302) of 24 octets before a TCP segment to a port.
            let mut bytes = vec![chance.one(&[6, 6, 17, 51, 59]), 4];
            bytes.extend([0; 22]);
            bytes.extend([from.to_be_bytes(), to.to_be_bytes()].concat());
            bytes.extend([0, 20, 0, 0, 0, 0, 0, 0, 5 << 4, chance.one(&pools.tcp_flags), 0, 0, 0, 0, 0, 0]);
            Transport::Raw { protocol, payload: bytes }
        }
        _ => Transport::Raw { protocol, payload },
    }
}

/// A message; half of them quote a packet of their receiver's, as an error does.
fn icmp(chance: &mut Chance, pools: &Pools, destination: IpAddr, payload: Vec<u8>) -> Transport {
    let (kind, mut code) = chance.one(&pools.icmp_types);
    if chance.once_in(8) {
        code = chance.byte() % 6;
    }
    let body = if chance.once_in(2) {
        let mut quoted = Packet::new(destination, destination, Transport::udp(40_000, 53, &[])).bytes();
        if chance.once_in(3) {
            // Around the least that is a header.
            quoted.truncate(chance.one(&[18, 19, 20, 21, 38, 39, 40, 41]));
        }
        [vec![0; 4], quoted].concat()
    } else {
        [vec![0; 4], payload].concat()
    };
    Transport::Icmp { kind, code, body }
}

/// The same frame as a later fragment, with the same identification, where it is a fragment. Of several
/// Fragment headers, any one.
pub fn later_part(chance: &mut Chance, frame: &[u8]) -> Option<Vec<u8>> {
    let is_tag = |at: usize| matches!(frame.get(at..at + 2), Some([0x81 | 0x91, 0] | [0x88, 0xa8]));
    let mut at = 12;
    while is_tag(at) {
        at += 4;
    }
    let units = 1 + u16::from(chance.byte() % 200);
    let more = chance.once_in(2);
    let (field, value) = match frame.get(at..at + 2)? {
        [0x08, 0] => (at + 8, units | (u16::from(more) << 13)),
        [0x86, 0xdd] => {
            let headers = fragment_headers(&frame[at + 2..]);
            let header = headers.get(chance.below(headers.len().max(1)))?;
            (at + 2 + header + 2, (units << 3) | u16::from(more))
        }
        _ => return None,
    };
    let mut part = frame.to_vec();
    part.get_mut(field..field + 2)?.copy_from_slice(&value.to_be_bytes());
    Some(part)
}

/// Where Fragment headers begin in an IPv6 packet, as far as its chain goes.
fn fragment_headers(packet: &[u8]) -> Vec<usize> {
    let (mut found, mut at) = (Vec::new(), 40);
    let mut number = packet.get(6).copied();
    while let (Some(now), Some([next, units])) = (number, packet.get(at..at + 2)) {
        let octets = match now {
            44 => 8,
            51 => (usize::from(*units) + 2) * 4,
            0 | 43 | 60 | 135 | 139 | 140 => (usize::from(*units) + 1) * 8,
            _ => break,
        };
        if now == 44 {
            found.push(at);
        }
        (number, at) = (Some(*next), at + octets);
    }
    found
}

/// Two thirds of the frames stay as they are.
fn damaged(chance: &mut Chance, mut frame: Vec<u8>) -> Vec<u8> {
    match chance.below(18) {
        0 => frame.truncate(14 + chance.below(frame.len() - 13)),
        1 => frame.extend(chance.bytes(20)),
        2 => {
            let octets = 14 + chance.below(100);
            frame = chance.bytes(octets);
        }
        3..=5 => {
            // In the headers, where it matters.
            for _ in 0..=chance.below(4) {
                let at = chance.below(frame.len().min(80));
                frame[at] =
                    if chance.once_in(2) { chance.byte() } else { frame[at] ^ (1 << chance.below(8)) };
            }
        }
        _ => {}
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_part_keeps_all_but_its_place() {
        let ends = ["2001:db8::7", "2001:db8::1"].map(|text| text.parse().unwrap());
        let [source, destination] = ends;
        let first = Fragment { identification: 0x1234, offset_bytes: 0, more: true };
        let packet =
            Packet::new(source, destination, Transport::syn(1, 2)).extension(60, &[0; 14]).fragment(first);
        let whole = Frame::new(Mac::default(), Mac::default()).vlan(3).packet(&packet);
        let later = later_part(&mut Chance::new(1), &whole).unwrap();
        let changed: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != later[*at]).collect();
        let offset = 18 + 40 + 16 + 2;
        assert!(
            changed.iter().all(|at| [offset, offset + 1].contains(at)) && !changed.is_empty(),
            "{changed:?}"
        );
        assert!(u16::from_be_bytes([later[offset], later[offset + 1]]) >> 3 > 0);
        let foreign = Frame::new(Mac::default(), Mac::default()).raw(0x0806, &[0; 28]);
        assert_eq!(later_part(&mut Chance::new(1), &foreign), None);
    }

    #[test]
    fn a_seed_draws_the_same_frames_again_and_they_are_of_many_kinds() {
        let draw = |seed| {
            let mut chance = Chance::new(seed);
            (0..500).map(|_| frame(&mut chance, &Pools::usual())).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let types: std::collections::BTreeSet<_> =
            draw(7).iter().map(|frame| frame[12..14].to_vec()).collect();
        assert!([[8, 0], [0x86, 0xdd], [0x81, 0]].iter().all(|kind| types.contains(&kind[..])), "{types:?}");
    }
}
