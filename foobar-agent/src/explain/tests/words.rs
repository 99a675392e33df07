//! Words become a frame, and the parser of the datapath finds in it what the words said.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foobar_ebpf::packet::{self, Scratch, Status, TransportKind};
use proptest::prelude::*;

use crate::config::lookup::{self, ICMPV6, TCP};
use crate::explain::Frame;
use crate::explain::describe::{Description, address};
use crate::explain::packet::Packet;
use crate::explain::words::{WordsError, parse};

fn parsed(frame: &Frame) -> packet::Parsed {
    *packet::parse(frame.bytes.as_slice(), &mut Scratch::EMPTY.clone())
}

fn packet(text: &str) -> Packet {
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).packet
}

fn refused(text: &str) -> String {
    let error: WordsError = parse(text).expect_err(text);
    let text = error.to_string();
    assert!(text.contains("\n  hint: ") && text.contains("PROTOCOL [TYPE] from"), "{text}");
    text.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn what_is_not_said_is_usual() {
    let packet = packet("tcp from 203.0.113.9 to 192.0.2.1:443");
    assert_eq!((packet.source_port, packet.destination_port), (49_152, 443));
    assert_eq!((packet.tcp_flags, packet.hop_limit), (0x02, 64));
}

#[test]
fn words_stand_in_any_order_behind_the_protocol() {
    let words = parse("udp on eth0 to [2001:db8::1]:53 ttl 3 from 2001:db8::9").unwrap();
    assert_eq!(words.interface.as_deref(), Some("eth0"));
    assert_eq!(words.packet.source, "2001:db8::9".parse::<IpAddr>().unwrap());
    assert_eq!((words.packet.destination_port, words.packet.hop_limit), (53, 3));
}

#[test]
fn discovery_and_listener_reports_have_the_hop_limit_that_makes_them_count() {
    let hop_limit = |kind| packet(&format!("icmpv6 {kind} from fe80::1 to fe80::2")).hop_limit;
    assert_eq!(hop_limit("neighbor-solicitation"), 255);
    assert_eq!(hop_limit("mldv2-report"), 1);
    assert_eq!(hop_limit("echo-request"), 64);
}

#[test]
fn icmp_errors_quote_a_packet_of_their_receiver() {
    for text in
        ["icmp 3/4 from 203.0.113.9 to 192.0.2.1", "icmpv6 packet-too-big from 2001:db8::9 to 2001:db8::1"]
    {
        let parsed = parsed(&packet(text).frame());
        assert!(parsed.packet.transport.quotes_destination, "{text}");
    }
}

#[test]
fn mistakes_are_named() {
    let cases = [
        ("", "no packet is named"),
        ("tpc from 203.0.113.9 to 192.0.2.1:1", "`tpc` is no known protocol"),
        ("256 from 203.0.113.9 to 192.0.2.1", "`256` is no known protocol"),
        ("tcp to 192.0.2.1:1", "no `from`: a packet has two addresses"),
        ("tcp from 203.0.113.9", "no `to`: a packet has two addresses"),
        ("tcp from to 192.0.2.1:1", "`from` has no value"),
        ("tcp from 203.0.113.9 to 192.0.2.1:1 from 203.0.113.9", "`from` stands there twice"),
        ("tcp from 203.0.113.9 to 192.0.2.1", "a tcp packet goes to a port"),
        ("tcp from 203.0.113.9 to 192.0.2.1:65536", "`65536` is no port"),
        ("tcp from 203.0.113.9 to 192.0.2.1:+1", "`+1` is no port"),
        ("tcp from 203.0.113.9 to 192.0.2.300:1", "`192.0.2.300` is no address"),
        ("tcp from 203.0.113.9 to web1:1", "`web1` is no address"),
        ("tcp from 203.0.113.9 to [2001:db8::1]:1", "203.0.113.9 and 2001:db8::1 are of different families"),
        (
            "tcp from ::ffff:192.0.2.1 to [2001:db8::1]:1",
            "::ffff:192.0.2.1 is an IPv4 address in IPv6 clothes, and malformed on a wire",
        ),
        ("gre from 203.0.113.9:7 to 192.0.2.1", "gre has no ports, and `:7` names one"),
        ("gre from 203.0.113.9 to 192.0.2.1 flags syn", "gre has no flags"),
        ("tcp from 203.0.113.9 to 192.0.2.1:1 flags sny", "`sny` is no TCP flag"),
        ("tcp from 203.0.113.9 to 192.0.2.1:1 ttl 256", "`256` is no TTL"),
        ("tcp syn from 203.0.113.9 to 192.0.2.1:1", "`syn` stands where tcp has nothing"),
        (
            "tcp from 203.0.113.9 to 192.0.2.1:1 please",
            "`please` stands where none of the words of a packet does",
        ),
        ("icmp from 203.0.113.9 to 192.0.2.1", "an icmp packet has a type"),
        ("icmp echo from 203.0.113.9 to 192.0.2.1", "`echo` is no type of icmp"),
        (
            "icmp echo-request from 2001:db8::9 to 2001:db8::1",
            "icmp in IPv6 is only a number: it has no type",
        ),
    ];
    for (text, first_line) in cases {
        assert_eq!(refused(text), first_line, "{text:?}");
    }
}

/// The fields of any packet that words can say.
fn any_packet() -> impl Strategy<Value = Packet> {
    let families = prop_oneof![
        any::<[u32; 2]>().prop_map(|pair| pair.map(|bits| IpAddr::V4(Ipv4Addr::from(bits)))),
        any::<[u128; 2]>().prop_map(|pair| pair.map(|bits| IpAddr::V6(Ipv6Addr::from(bits | 1 << 127)))),
    ];
    let protocols = prop_oneof![prop::sample::select(&[1, 6, 17, 33, 47, 50, 58, 132, 136][..]), any::<u8>()];
    // Extension headers are no protocols: a packet that names one must hold it.
    let protocols = protocols
        .prop_filter("extension header", |number| !matches!(number, 0 | 43 | 44 | 51 | 60 | 135 | 139 | 140));
    let ports = any::<[u16; 2]>();
    (families, protocols, ports, any::<u8>(), any::<(u8, u8)>(), any::<u8>()).prop_map(
        |([source, destination], protocol, [source_port, destination_port], tcp_flags, icmp, hop_limit)| {
            let has_ports = lookup::has_ports(protocol);
            let port = |port| if has_ports { port } else { 0 };
            let mut packet = Packet {
                protocol,
                source,
                destination,
                source_port: port(source_port),
                destination_port: port(destination_port),
                tcp_flags: if protocol == TCP { tcp_flags } else { 0 },
                icmp,
                hop_limit,
                is_later_fragment: false,
                quotes_receiver: true,
            };
            if !packet.has_icmp_type() {
                packet.icmp = (0, 0);
            }
            packet
        },
    )
}

fn in_words(packet: &Packet) -> String {
    let end = |address: IpAddr, port: u16| match (lookup::has_ports(packet.protocol), address) {
        (false, address) => address.to_string(),
        (true, IpAddr::V4(address)) => format!("{address}:{port}"),
        (true, IpAddr::V6(address)) => format!("[{address}]:{port}"),
    };
    let name = lookup::protocol_name(packet.protocol);
    let (kind, code) = packet.icmp;
    let icmp = if packet.has_icmp_type() { format!(" {kind}/{code}") } else { String::new() };
    let (source, destination) =
        (end(packet.source, packet.source_port), end(packet.destination, packet.destination_port));
    let is_tcp = packet.protocol == TCP;
    let flags = if is_tcp { lookup::tcp_flag_names(packet.tcp_flags) } else { String::new() };
    let flags = if is_tcp { format!(" flags {flags}") } else { flags };
    format!("{name}{icmp} from {source} to {destination}{flags} ttl {}", packet.hop_limit)
}

proptest! {
    #[test]
    fn words_frame_and_parser_agree_in_every_field(packet in any_packet()) {
        let text = in_words(&packet);
        let words = parse(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&words.packet, &packet);

        let parsed = parsed(&packet.frame());
        prop_assert_eq!(parsed.status, Status::Packet);
        let found = parsed.packet;
        prop_assert_eq!(address(found.source), packet.source);
        prop_assert_eq!(address(found.destination), packet.destination);
        prop_assert_eq!((found.protocol, found.hop_limit), (packet.protocol, packet.hop_limit));
        let transport = found.transport;
        prop_assert_eq!(transport.source_port, packet.source_port);
        prop_assert_eq!(transport.destination_port, packet.destination_port);
        prop_assert_eq!(transport.tcp_flags, packet.tcp_flags);
        prop_assert_eq!((transport.icmp_kind, transport.icmp_code), packet.icmp);
        prop_assert_eq!(transport.kind == TransportKind::Icmp, packet.has_icmp_type());
    }

    #[test]
    fn what_is_printed_of_a_packet_can_be_typed_again(packet in any_packet()) {
        // The TTL is not printed, and neighbour discovery has one of its own.
        let hop_limit = if packet.protocol == ICMPV6 { packet.hop_limit } else { 64 };
        let packet = Packet { hop_limit, ..packet };
        let frame = packet.frame();
        let text = Description { frame: &frame, parsed: &parsed(&frame) }.to_string();
        let again = parse(&text).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?.packet;
        prop_assert_eq!(Packet { hop_limit, ..again }, packet);
    }

    #[test]
    fn no_words_panic(text in "((tcp|udp|icmp|from|to|on|flags|ttl|1\\.2\\.3\\.4|:|\\[|\\]|::1|/|,|[a-z0-9]{0,3}) ?){0,12}") {
        let _ = parse(&text);
    }
}
