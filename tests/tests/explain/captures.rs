//! Captures: those in `captures/` were made by tcpdump 4.99.3 with libpcap 1.10.3 at one end of a veth,
//! `-Q in`, while the other end sent a SYN to 443 over IPv4 and one to 22 over IPv6, a short question over
//! UDP, and a long one in two fragments. `cooked.pcap` with `-i any --time-stamp-precision=nano`,
//! `short.pcap` with `-s 60`.

use std::fs;

use super::{Bench, RULES, frame, objects, packet, pcap, stored};
use foobar_tests::frame::{Fragment, Transport, tcp_flags};

const ETHERNET: u32 = 1;
const RAW: u32 = 101;

#[test]
fn what_tcpdump_captured_is_judged_packet_by_packet() {
    let bench = Bench::new(RULES);
    let ended = bench.explain(&["--json", "--pcap", stored("short.pcap").to_str().unwrap()]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    // An IPv6 TCP header begins at byte 54 of 60; an IPv4 one, and the addresses, lie before the cut.
    let expected = [
        ("drop", None, "truncated-capture"),
        ("allow", Some("web"), "rule"),
        ("drop", None, "truncated-capture"),
        ("allow", Some("dns"), "rule"),
        ("allow", Some("dns"), "rule"),
    ];
    assert!(ended.out.starts_with(&objects(&expected)), "{}", ended.out);
    assert!(
        ended.out.ends_with("{\"index\":7,\"verdict\":\"allow\",\"rule\":null,\"reason\":\"foreign\"}\n")
    );
}

#[test]
fn a_cooked_capture_is_judged_as_the_frames_that_it_was() {
    let bench = Bench::new(RULES);
    let ended = bench.explain(&["--json", "--pcap", stored("cooked.pcap").to_str().unwrap()]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let expected = [
        ("allow", Some("web"), "rule"),
        ("drop", None, "policy"),
        ("allow", Some("dns"), "rule"),
        ("allow", Some("dns"), "rule"),
    ];
    assert!(ended.out.starts_with(&objects(&expected)), "{}", ended.out);
    assert_eq!(ended.out.lines().count(), 11);
}

#[test]
fn totals_are_counted_by_verdict_reason_and_rule() {
    let bench = Bench::new(RULES);
    let web = frame(&packet(Transport::syn(4000, 443)));
    let other = frame(&packet(Transport::syn(4000, 8080)));
    let capture = pcap(ETHERNET, &[(&web, web.len()), (&other, other.len()), (&web, web.len())]);
    fs::write(bench.path("a.pcap"), &capture).unwrap();
    let ended = bench.explain(&["--pcap", "a.pcap", "--summary"]);
    let expected = "\
VERDICT  REASON  RULE    PLACE         PACKETS
allow    rule    web     web1.toml:11        2
drop     policy  policy                      1
";
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), expected), "{}", ended.err);
    let ended = bench.explain(&["--pcap", "a.pcap"]);
    let lines = "      0  allow   rule                    web     web1.toml:11  tcp from 198.51.100.9:4000 to \
                 192.0.2.1:443 flags syn\n      1  drop    policy                  policy                tcp from \
                 198.51.100.9:4000 to 192.0.2.1:8080 flags syn\n";
    assert!(ended.out.starts_with(lines) && ended.out.ends_with(expected), "{}", ended.out);
}

#[test]
fn a_packet_whose_end_is_missing_is_judged_by_what_is_known() {
    let bench = Bench::new(RULES);
    let payload = vec![7; 1000];
    let whole = frame(&packet(Transport::Tcp { from: 4000, to: 443, flags: tcp_flags::ACK, payload }));
    // Ethernet 14, IPv4 20, and 14 of TCP up to its flags, the last that is judged by. That the rest of its
    // header is there, its lengths say.
    let cuts = [0, 13, 14, 33, 34, 47, 48, 60, whole.len()];
    let records: Vec<_> = cuts.iter().map(|cut| (&whole[..*cut], whole.len())).collect();
    let ended = bench.capture(&pcap(ETHERNET, &records));
    let unknown = ("drop", None, "truncated-capture");
    let known = ("allow", Some("web"), "rule");
    let expected = [unknown, unknown, unknown, unknown, unknown, unknown, known, known, known];
    assert_eq!((ended.code, ended.out), (Some(0), objects(&expected)), "{}", ended.err);

    // Nothing is missing: the frame itself is too short for its length field.
    let malformed = bench.capture(&pcap(ETHERNET, &[(&whole[..60], 60)]));
    assert_eq!((malformed.code, malformed.out), (Some(0), objects(&[("drop", None, "malformed")])));
    // It contradicts itself before the cut.
    let mut bad = whole.clone();
    bad[14] = 0x44;
    let malformed = bench.capture(&pcap(ETHERNET, &[(&bad[..40], bad.len())]));
    assert_eq!((malformed.code, malformed.out), (Some(0), objects(&[("drop", None, "malformed")])));
}

#[test]
fn frames_that_the_kernel_runs_and_frames_that_it_does_not_are_judged_alike() {
    let bench = Bench::new(RULES);
    let long = |to, bytes| frame(&packet(Transport::Udp { from: 4000, to, payload: vec![0; bytes] }));
    // More than a page, the longest IP packet, and one with more padding behind it than any test run takes.
    let (page, longest) = (long(53, 5000), long(53, 65_507));
    let padded = [&longest[..], &vec![0; 30_000]].concat();
    let frames = [&page, &longest, &padded, &vec![0; 14], &vec![0; 13], &vec![]];
    let records: Vec<_> = frames.iter().map(|frame| (&frame[..], frame.len())).collect();
    let ended = bench.capture(&pcap(ETHERNET, &records));
    let (dns, malformed) = (("allow", Some("dns"), "rule"), ("drop", None, "malformed"));
    let expected = [dns, dns, dns, ("allow", None, "foreign"), malformed, malformed];
    assert_eq!((ended.code, ended.out), (Some(0), objects(&expected)), "{}", ended.err);
}

#[test]
fn packets_without_a_link_layer_are_judged() {
    let bench = Bench::new(RULES);
    let web = frame(&packet(Transport::syn(4000, 443)));
    let ended = bench.capture(&pcap(RAW, &[(&web[14..], web.len() - 14), (&[0x15], 1)]));
    let expected = objects(&[("allow", Some("web"), "rule"), ("drop", None, "malformed")]);
    assert_eq!((ended.code, ended.out), (Some(0), expected), "{}", ended.err);
}

#[test]
fn what_stands_before_the_damage_is_judged() {
    let bench = Bench::new(RULES);
    let web = frame(&packet(Transport::syn(4000, 443)));
    let good = pcap(ETHERNET, &[(&web, web.len())]);
    let cut = pcap(ETHERNET, &[(&web, web.len()), (&web, web.len())]);
    let judged = objects(&[("allow", Some("web"), "rule")]);
    for end in [good.len() + 1, good.len() + 15, good.len() + 16, cut.len() - 1] {
        let ended = bench.capture(&cut[..end]);
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), judged.as_str()), "{}", ended.err);
        let wanted = format!("packets.pcap: error: at byte {}: ", good.len());
        assert!(ended.err.starts_with(&wanted), "{}", ended.err);
    }
    assert_eq!(bench.capture(&good).code, Some(0));
    for nothing in [&b""[..], b"no capture, but long enough to be the header of one"] {
        let ended = bench.capture(nothing);
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{}", ended.err);
    }
    let wireless = bench.capture(&pcap(127, &[(&web, web.len())]));
    assert_eq!(wireless.code, Some(1));
    assert!(
        wireless.err.contains("at byte 24: packets of link type 127 cannot be judged"),
        "{}",
        wireless.err
    );
}

#[test]
fn a_capture_may_come_through_a_pipe() {
    let bench = Bench::new(RULES);
    let web = frame(&packet(Transport::syn(4000, 443)));
    let ended = bench.explain_input(&["--json", "--pcap", "-"], &pcap(ETHERNET, &[(&web, web.len())]));
    assert_eq!(
        (ended.code, ended.out),
        (Some(0), objects(&[("allow", Some("web"), "rule")])),
        "{}",
        ended.err
    );
}

#[test]
fn a_later_fragment_follows_its_first_one_in_the_same_capture() {
    let bench = Bench::new(RULES);
    let part = |identification, offset_bytes, transport| {
        let fragment = Fragment { identification, offset_bytes, more: offset_bytes == 0 };
        frame(&packet(transport).fragment(fragment))
    };
    let first = |identification, to| part(identification, 0, Transport::udp(4000, to, &[7; 64]));
    let later =
        |identification| part(identification, 72, Transport::Raw { protocol: 17, payload: vec![7; 16] });
    let frames = [first(1, 53), first(2, 54), later(1), later(2), later(3)];
    let records: Vec<_> = frames.iter().map(|frame| (&frame[..], frame.len())).collect();
    let ended = bench.capture(&pcap(ETHERNET, &records));
    // The third datagram's first fragment is not there: its later one is judged by itself.
    let expected = [
        ("allow", Some("dns"), "rule"),
        ("drop", None, "policy"),
        ("allow", Some("dns"), "fragment"),
        ("drop", None, "fragment"),
        ("drop", None, "policy"),
    ];
    assert_eq!((ended.code, ended.out), (Some(0), objects(&expected)), "{}", ended.err);
    // Every run begins with empty tables.
    let ended = bench.capture(&pcap(ETHERNET, &records[2..3]));
    assert_eq!((ended.code, ended.out), (Some(0), objects(&[("drop", None, "policy")])), "{}", ended.err);
}
