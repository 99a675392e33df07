//! Answers of the loaded program byte by byte, in test runs, with what no namespace of this kernel can
//! send: VLAN tags, and IP options. That the cookies themselves are right, the clients show; here they must
//! not depend on what the frame has around the segment.

use std::net::{IpAddr, TcpListener};

use foobar_agent::config;
use foobar_agent::firewall::compile::compile;
use foobar_agent::firewall::numbers::InterfaceNumbers;
use foobar_agent::kernel::offline::Bed;
use foobar_ebpf::abi::cookie::{NO_SCALE, Offer, Outcome};
use foobar_tests::Host;
use foobar_tests::frame::{Frame, Packet, Transport, checksum};

use super::{OPEN, rules};

const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

const OFFER: Offer = Offer { window: 64_000, window_scale: 9, timestamps: true, sack: true, ecn: true };

const SYN: u8 = 2;
const ACK: u8 = 16;
const ECE: u8 = 64;
const CWR: u8 = 128;

/// Bits of our timestamp, above the client's scale.
const SACK: u8 = 0x10;
const ECN: u8 = 0x20;

/// Options as Linux sends them: MSS 1460, SACK, timestamps 7 and 0, nothing, window scale 7.
const LINUX: &[u8] = &[2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0, 1, 3, 3, 7];

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    /// Everything before the IP header.
    link: Vec<u8>,
    sequence: u32,
    acknowledged: u32,
    flags: u8,
    window: u16,
    options: Vec<u8>,
}

/// The loaded program on a host of its own with a listener on its loopback, where test runs arrive.
struct Rig {
    bed: Bed,
    _listener: TcpListener,
}

fn on_a_host(test: impl FnOnce(&mut Rig) + Send) {
    let host = Host::new("rig").unwrap();
    for address in ["192.0.2.2/32", "2001:db8::2/128"] {
        host.address("lo", address).unwrap();
    }
    host.sysctl("net/ipv4/tcp_syncookies", "2").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("foobar.toml");
    std::fs::write(&path, rules("")).unwrap();
    host.enter(|| {
        let config = config::load(&path).unwrap().config;
        let ruleset = config.firewall.ruleset.as_ref();
        let mut numbers = InterfaceNumbers::default();
        let mut generation = compile(ruleset, &[], &mut numbers).unwrap();
        generation.flags |= config.firewall.flags();
        let mut bed = Bed::new(&generation).unwrap();
        bed.arrive_on(1).unwrap();
        bed.arm_cookies(Some(OFFER)).unwrap();
        let mut rig = Rig { bed, _listener: TcpListener::bind(("::", OPEN)).unwrap() };
        test(&mut rig);
    })
    .unwrap();
}

fn stations() -> Frame {
    Frame::new("02:00:00:00:00:07".parse().unwrap(), "02:00:00:00:00:01".parse().unwrap())
}

/// A SYN of either family with these flags and options, and data behind it.
fn syn(is_ipv4: bool, flags: u8, options: &[u8], data: &[u8]) -> Packet {
    let (from, to): (IpAddr, IpAddr) = if is_ipv4 {
        ("198.51.100.7".parse().unwrap(), "192.0.2.2".parse().unwrap())
    } else {
        ("2001:db8:f::7".parse().unwrap(), "2001:db8::2".parse().unwrap())
    };
    let mut options = options.to_vec();
    options.resize(options.len().next_multiple_of(4), 0);
    let offset = u8::try_from(5 + options.len() / 4).unwrap() << 4;
    let [high, low] = OPEN.to_be_bytes();
    let mut segment = vec![0x9c, 0x40, high, low, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    segment.extend([offset, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(options);
    segment.extend(data);
    Packet::new(from, to, Transport::Raw { protocol: 6, payload: segment })
}

impl Rig {
    fn counted(&self, outcome: Outcome) -> u64 {
        self.bed.cookies().unwrap().iter().filter(|row| row.outcome == outcome).map(|row| row.packets).sum()
    }

    /// Has a frame answered; checks what every answer has.
    fn answer(&mut self, frame: &[u8]) -> Answer {
        let before = self.counted(Outcome::Sent);
        let (ran, out) = self.bed.run_out(frame).unwrap();
        assert_eq!(ran.action, XDP_TX, "{frame:02x?}: {:?}", self.bed.cookies());
        assert_eq!(self.counted(Outcome::Sent), before + 1);
        let tags = (12..).step_by(4).take_while(|at| matches!(frame[*at..at + 2], [0x81, 0] | [0x88, 0xa8]));
        let network = 14 + 4 * tags.count();
        let (link, packet) = out.split_at(network);
        assert_eq!(
            (&link[..6], &link[6..12], &link[12..]),
            (&frame[6..12], &frame[..6], &frame[12..network])
        );
        let arrived = &frame[network..];
        let word = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let (segment, addresses) = if packet[0] >> 4 == 4 {
            assert_eq!(packet[0], 0x45, "no options");
            assert_eq!(checksum(&[&packet[..20]]), 0);
            assert_eq!((&packet[12..16], &packet[16..20]), (&arrived[16..20], &arrived[12..16]));
            (&packet[20..usize::from(word(packet, 2))], &packet[12..20])
        } else {
            assert_eq!(packet[6], 6, "no extension headers");
            assert_eq!((&packet[8..24], &packet[24..40]), (&arrived[24..40], &arrived[8..24]));
            (&packet[40..40 + usize::from(word(packet, 4))], &packet[8..40])
        };
        let length = u16::try_from(segment.len()).unwrap().to_be_bytes();
        assert_eq!(checksum(&[addresses, &[0, 6], &length, segment]), 0, "{segment:02x?}");
        assert_eq!((word(segment, 0), word(segment, 2)), (OPEN, 40_000));
        assert_eq!(usize::from(segment[12] >> 4) * 4, segment.len());
        let number = |at: usize| u32::from_be_bytes(*segment[at..].first_chunk().unwrap());
        Answer {
            link: link.to_vec(),
            sequence: number(4),
            acknowledged: number(8),
            flags: segment[13],
            window: word(segment, 14),
            options: segment[20..].to_vec(),
        }
    }

    /// Has a frame passed on to the stack, untouched, and counted so.
    fn pass(&mut self, name: &str, frame: &[u8], outcome: Option<Outcome>) {
        let before = outcome.map(|outcome| self.counted(outcome));
        let (ran, out) = self.bed.run_out(frame).unwrap();
        assert_eq!((ran.action, &out[..]), (XDP_PASS, frame), "{name}");
        assert_eq!(outcome.map(|outcome| self.counted(outcome)), before.map(|count| count + 1), "{name}");
    }

    /// The sequence number of the answer to each frame, which does not change within a minute.
    fn same_cookie(&mut self, frames: &[Vec<u8>]) -> u32 {
        // Some minute is not over before all are asked.
        for _ in 0..3 {
            let cookies: Vec<u32> = frames.iter().map(|frame| self.answer(frame).sequence).collect();
            if cookies.iter().all(|cookie| *cookie == cookies[0]) {
                return cookies[0];
            }
        }
        panic!("cookies differ");
    }
}

#[test]
fn options_are_answered_as_linux_answers_them() {
    on_a_host(|rig| {
        for is_ipv4 in [true, false] {
            let mss: u16 = 65_536u32.saturating_sub(if is_ipv4 { 40 } else { 60 }).try_into().unwrap();
            let [high, low] = mss.to_be_bytes();
            let mut said =
                |flags, options: &[u8]| rig.answer(&stations().packet(&syn(is_ipv4, flags, options, b"")));
            let answer = said(SYN, LINUX);
            assert_eq!((answer.acknowledged, answer.flags, answer.window), (0, SYN | ACK, OFFER.window));
            assert_eq!(answer.options[..8], [2, 4, high, low, 4, 2, 8, 10]);
            // Scale 7 and SACK, no ECN.
            assert_eq!(answer.options[11] & 0x3f, SACK + 7);
            assert_eq!(answer.options[12..], [0, 0, 0, 7, 1, 3, 3, 9]);
            // With ECN, and a scale beyond the largest.
            let answer = said(SYN | ECE | CWR, &[8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 3, 3, 15]);
            assert_eq!(answer.flags, SYN | ACK | ECE);
            assert_eq!(answer.options[4..8], [1, 1, 8, 10]);
            assert_eq!(answer.options[11] & 0x3f, ECN + 14);
            assert_eq!(answer.options[12..], [1, 2, 3, 4, 1, 3, 3, 9]);
            // No scale: its place says so.
            let answer = said(SYN, &[1, 1, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0]);
            assert_eq!(answer.options[11] & 0x3f, SACK + 15);
            assert_eq!(answer.options[12..], [1, 2, 3, 4]);
            // Without timestamps nothing but the MSS survives; what is malformed ends the options.
            for options in [&[][..], &[2, 4, 5, 0xb4, 1, 3, 3, 7, 4, 2], &[8, 10, 1, 2], &[8, 1], &[0, 8, 10]]
            {
                assert_eq!(said(SYN, options).options, [2, 4, high, low], "{options:?}");
            }
        }
    });
}

#[test]
fn what_the_host_does_not_do_is_not_offered() {
    on_a_host(|rig| {
        let frame = stations().packet(&syn(true, SYN | ECE | CWR, LINUX, b""));
        rig.bed.arm_cookies(Some(Offer { timestamps: false, ..OFFER })).unwrap();
        let answer = rig.answer(&frame);
        assert_eq!((answer.options.len(), answer.flags), (4, SYN | ACK));
        rig.bed
            .arm_cookies(Some(Offer { sack: false, ecn: false, window_scale: NO_SCALE, ..OFFER }))
            .unwrap();
        let answer = rig.answer(&frame);
        assert_eq!((answer.options.len(), answer.flags), (16, SYN | ACK));
        assert_eq!((&answer.options[4..8], answer.options[11] & 0x3f), (&[1, 1, 8, 10][..], 15));
    });
}

#[test]
fn tags_ip_options_extension_headers_and_data_change_nothing_about_the_segment() {
    on_a_host(|rig| {
        let destination_options = [6, 0, 1, 4, 0, 0, 0, 0];
        for is_ipv4 in [true, false] {
            let plain = syn(is_ipv4, SYN, LINUX, b"");
            let with_data = syn(is_ipv4, SYN, LINUX, b"GET / HTTP/1.1\r\n\r\n");
            let around = if is_ipv4 {
                // Router alert and no operation; then 40 octets of the latter.
                vec![options(&plain, &[148, 4, 0, 0]), options(&plain, &[1; 40])]
            } else {
                vec![extended(&plain, &destination_options)]
            };
            let tagged = [stations().vlan(7), stations().tag(0x88a8, 0xe007).vlan(9)];
            let mut frames = vec![stations().packet(&plain), stations().packet(&with_data)];
            for link in [stations(), tagged[0].clone(), tagged[1].clone()] {
                frames.push(link.packet(&plain));
                let ethertype = if is_ipv4 { 0x0800 } else { 0x86dd };
                frames.extend(around.iter().map(|packet| link.raw(ethertype, packet)));
            }
            rig.same_cookie(&frames);
        }
    });
}

/// The bytes of an IPv4 packet with options.
fn options(packet: &Packet, options: &[u8]) -> Vec<u8> {
    let bytes = &stations().packet(packet)[14..];
    let mut header = bytes[..20].to_vec();
    header.extend(options);
    header[0] = 0x40 | u8::try_from(header.len() / 4).unwrap();
    let length = u16::try_from(bytes.len() + options.len()).unwrap();
    header[2..4].copy_from_slice(&length.to_be_bytes());
    header[10..12].copy_from_slice(&[0, 0]);
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [&header, &bytes[20..]].concat()
}

/// The bytes of an IPv6 packet with destination options.
fn extended(packet: &Packet, header: &[u8]) -> Vec<u8> {
    let bytes = &stations().packet(packet)[14..];
    let mut ip = bytes[..40].to_vec();
    let length = u16::try_from(bytes.len() - 40 + header.len()).unwrap();
    ip[4..6].copy_from_slice(&length.to_be_bytes());
    ip[6] = 60;
    [&ip, header, &bytes[40..]].concat()
}

#[test]
fn what_can_have_no_cookie_goes_to_the_stack_as_it_came() {
    on_a_host(|rig| {
        for is_ipv4 in [true, false] {
            let frame = |options: &[u8]| stations().packet(&syn(is_ipv4, SYN, options, b""));
            let md5 = [&[19, 18][..], &[9; 16]].concat();
            rig.pass("TCP-MD5", &frame(&md5), Some(Outcome::Unfit));
            rig.pass("TCP-AO", &frame(&[29, 4, 1, 1]), Some(Outcome::Unfit));
            rig.pass("too many options", &frame(&[1; 20]), Some(Outcome::Unfit));
            let broadcast =
                Frame::new("02:00:00:00:00:07".parse().unwrap(), "ff:ff:ff:ff:ff:ff".parse().unwrap());
            rig.pass("a group", &broadcast.packet(&syn(is_ipv4, SYN, LINUX, b"")), Some(Outcome::Unfit));
            for flags in [0, ACK, SYN | ACK, SYN | 4, SYN | 1] {
                rig.pass("no SYN", &stations().packet(&syn(is_ipv4, flags, LINUX, b"")), None);
            }
            let mut closed = frame(LINUX);
            let port = if is_ipv4 { 14 + 20 + 2 } else { 14 + 40 + 2 };
            closed[port..port + 2].copy_from_slice(&8080u16.to_be_bytes());
            rig.pass("no listener", &closed, Some(Outcome::NoListener));
        }
        let frame = stations().packet(&syn(true, SYN, LINUX, b""));
        rig.bed.except_from_cookies(OPEN).unwrap();
        rig.pass("an excepted port", &frame, Some(Outcome::Port));
        rig.bed.arm_cookies(None).unwrap();
        rig.pass("not armed", &frame, Some(Outcome::Idle));
    });
}
