//! A whole agent in a namespace, seen from the wire and by its metrics.
#![expect(clippy::unwrap_used, reason = "a test file; its helpers are not recognised as tests")]

use std::net::IpAddr;
use std::time::Duration;

use foobar_tests::frame::{ETHERTYPE_SERVICE_VLAN, Fragment, Frame, Mac, Packet, Transport, tcp_flags};
use foobar_tests::wire::Wire;
use foobar_tests::{Agent, Bridge, Host, Link, Metrics};

const LIMIT: Duration = Duration::from_secs(20);
const RULE_PACKETS: &str = "foobar_firewall_rule_packets_total";

/// A peer on the other end of the agent's interface.
struct Bench {
    peer: Host,
    host: Host,
    wire: Wire,
    frame: Frame,
}

impl Bench {
    fn new() -> Self {
        let (peer, host) = (Host::new("peer").unwrap(), Host::new("host").unwrap());
        Link::between((&peer, "eth0"), (&host, "eth0")).unwrap();
        let frame = Frame::new(peer.mac("eth0").unwrap(), host.mac("eth0").unwrap());
        let wire = Wire::open(&peer, "eth0").unwrap();
        Self { peer, host, wire, frame }
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn v4(transport: Transport) -> Packet {
    Packet::new(address("192.0.2.1"), address("192.0.2.2"), transport)
}

fn v6(transport: Transport) -> Packet {
    Packet::new(address("2001:db8::1"), address("2001:db8::2"), transport)
}

/// Rules by protocol and port, under a default.
fn rules(default: &str, action: &str) -> String {
    format!(
        r#"
[firewall]
interfaces = ["eth0"]
default = "{default}"

[[firewall.rules]]
name = "dns"
action = "{action}"
protocol = "udp"
port = 53

[[firewall.rules]]
name = "web"
action = "{action}"
protocol = "tcp"
port = ["80", "8000-8080"]
tcp_flags = "syn/syn,ack"
"#
    )
}

/// Frames with the rule that must decide them.
fn cases(bench: &Bench) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let later = Fragment { identification: 9, offset_bytes: 1480, more: false };
    let tagged = bench.frame.clone().tag(ETHERTYPE_SERVICE_VLAN, 5).vlan(6);
    let frame = &bench.frame;
    let dns = || Transport::udp(1000, 53, b"?");
    let raw = |protocol| Transport::Raw { protocol, payload: vec![0; 16] };
    vec![
        ("IPv4 UDP", frame.packet(&v4(dns())), "dns"),
        ("IPv6 UDP", frame.packet(&v6(dns())), "dns"),
        ("two VLAN tags", tagged.packet(&v4(dns())), "dns"),
        ("IPv4 options", frame.packet(&v4(dns()).options(&[1, 1, 1])), "dns"),
        ("IPv6 extension header", frame.packet(&v6(dns()).extension(60, &[1, 4, 0, 0, 0, 0])), "dns"),
        ("SYN, first of the range", frame.packet(&v4(Transport::syn(1000, 8000))), "web"),
        ("SYN, last of the range", frame.packet(&v6(Transport::syn(1000, 8080))), "web"),
        ("SYN, beyond the range", frame.packet(&v4(Transport::syn(1000, 8081))), "policy"),
        ("a later fragment has no ports", frame.packet(&v4(raw(17)).fragment(later)), "policy"),
        ("another protocol", frame.packet(&v6(raw(253))), "policy"),
    ]
}

/// Each frame is counted once by its rule, with its verdict, under either default.
#[test]
fn each_frame_is_counted_by_the_rule_that_decided_it() {
    for (default, action) in [("drop", "allow"), ("allow", "drop")] {
        let bench = Bench::new();
        let agent = Agent::start(&bench.host, &rules(default, action)).unwrap();
        for (what, bytes, rule) in cases(&bench) {
            let verdict = if rule == "policy" { default } else { action };
            let before = agent.metrics().unwrap();
            for _ in 0..10 {
                bench.wire.send(&bytes).unwrap();
            }
            let counts = |metrics: &Metrics| {
                let delta = |name, labels: &[_]| metrics.count(name, labels) - before.count(name, labels);
                let interface = [("interface", "eth0"), ("verdict", verdict)];
                [delta(RULE_PACKETS, &[("rule", rule)]), delta("foobar_xdp_packets_total", &interface)]
            };
            agent.metrics_until(what, LIMIT, |now| counts(now)[0] >= 10).unwrap();
            assert_eq!(counts(&agent.metrics().unwrap()), [10, 10], "{what}, default {default}: `{rule}`");
        }
        assert!(agent.stop().unwrap().success());
    }
}

#[test]
fn a_rule_keeps_its_count_when_others_come_before_it() {
    let bench = Bench::new();
    let agent = Agent::start(&bench.host, &rules("drop", "allow")).unwrap();
    let query = bench.frame.packet(&v4(Transport::udp(1000, 53, b"?")));
    bench.wire.send(&query).unwrap();
    agent.metrics_until("one", LIMIT, |now| now.count(RULE_PACKETS, &[("rule", "dns")]) == 1).unwrap();

    let first = "\n[[firewall.rules]]\nname = \"first\"\naction = \"drop\"\nprotocol = \"icmp\"\n";
    let changed = rules("drop", "allow").replacen("\n[[firewall", &format!("{first}\n[[firewall"), 1);
    agent.write(&changed).unwrap();
    agent.reload().unwrap();
    bench.wire.send(&query).unwrap();
    let now =
        agent.metrics_until("two", LIMIT, |now| now.count(RULE_PACKETS, &[("rule", "dns")]) == 2).unwrap();
    assert_eq!(now.count(RULE_PACKETS, &[("rule", "first")]), 0);
}

/// Also proves that the verifier takes the program where a service is configured.
#[test]
fn requests_on_a_service_port_are_counted_and_nothing_else() {
    let bench = Bench::new();
    let service = "[[monitor.service]]\nname = \"shop\"\nport = 8080\nprotocol = \"http\"\n";
    let agent = Agent::start(&bench.host, &format!("{}\n{service}", rules("allow", "allow"))).unwrap();
    let segment = |to, text: &str| {
        let transport =
            Transport::Tcp { from: 1000, to, flags: tcp_flags::ACK, payload: text.as_bytes().to_vec() };
        bench.wire.send(&bench.frame.packet(&v4(transport.clone()))).unwrap();
        bench.wire.send(&bench.frame.packet(&v6(transport))).unwrap();
    };
    for method in ["GET", "POST"] {
        segment(8080, &format!("{method} / HTTP/1.1\r\n"));
    }
    segment(8080, "Host: www.foobar.com\r\n");
    segment(8080, "");
    segment(8081, "GET / HTTP/1.1\r\n");
    let now = agent
        .metrics_until("all are judged", LIMIT, |now| now.count(RULE_PACKETS, &[("rule", "policy")]) >= 10)
        .unwrap();
    assert_eq!(now.count("foobar_service_messages_total", &[("service", "shop")]), 4, "{now}");
}

#[test]
fn an_interface_without_native_support_is_attached_generically_and_counted() {
    let (switch, host) = (Host::new("switch").unwrap(), Host::new("host").unwrap());
    Bridge::new(&switch, "eth0").unwrap().plug(&host, "eth0").unwrap();
    let agent = Agent::start(&switch, &rules("drop", "allow")).unwrap();
    let mode = |mode| [("interface", "eth0"), ("mode", mode)];
    let metrics = agent.metrics().unwrap();
    assert_eq!(metrics.count("foobar_xdp_attached", &mode("generic")), 1, "{metrics}");
    assert_eq!(metrics.count("foobar_xdp_attached", &mode("native")), 0, "{metrics}");

    let frame = Frame::new(host.mac("eth0").unwrap(), Mac::BROADCAST);
    let query = frame.packet(&v4(Transport::udp(1000, 53, b"?")));
    Wire::open(&host, "eth0").unwrap().send(&query).unwrap();
    agent
        .metrics_until("it is counted", LIMIT, |now| now.count(RULE_PACKETS, &[("rule", "dns")]) == 1)
        .unwrap();
}

#[test]
fn an_interface_that_comes_later_is_attached_then() {
    let (peer, host) = (Host::new("peer").unwrap(), Host::new("host").unwrap());
    let agent = Agent::start(&host, &rules("drop", "allow")).unwrap();
    let attached = |metrics: &Metrics| metrics.count("foobar_xdp_attached", &[("interface", "eth0")]);
    let metrics = agent.metrics().unwrap();
    assert_eq!(attached(&metrics), 0);
    assert!(metrics.matching("foobar_xdp_attached", &[("interface", "eth0")]).next().is_some(), "{metrics}");

    for _ in 0..2 {
        let link = Link::between((&peer, "eth0"), (&host, "eth0")).unwrap();
        agent.metrics_until("it is attached", LIMIT, |now| attached(now) == 1).unwrap();
        link.remove().unwrap();
        agent.metrics_until("it is noticed to be gone", LIMIT, |now| attached(now) == 0).unwrap();
    }
}

#[test]
fn a_failed_start_is_understood_without_a_second_run() {
    let host = Host::new("host").unwrap();
    let error =
        Agent::start(&host, "[firewall]\ninterfaces = \"auto\"\ndefault = \"perhaps\"\n").unwrap_err();
    let text = format!("{error:#}");
    for part in ["   3 default = \"perhaps\"", "foobar.toml:3:11", "ip -n "] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

/// The agent's end leaves the datapath on: what it judged stays judged.
#[test]
fn the_firewall_outlives_the_agent() {
    let bench = Bench::new();
    bench.host.address("eth0", "192.0.2.2/24").unwrap();
    bench.peer.address("eth0", "192.0.2.1/24").unwrap();
    let mut agent = Agent::start(&bench.host, &rules("drop", "allow")).unwrap();
    assert!(agent.process().terminate().unwrap().success());
    let arrived = Wire::open(&bench.host, "eth0").unwrap();
    let [refused, admitted] = [54, 53].map(|port| bench.frame.packet(&v4(Transport::udp(1, port, b"?"))));
    bench.wire.send(&refused).unwrap();
    bench.wire.send(&admitted).unwrap();
    // In order: had the first one passed, it would have come first.
    let ours = [&refused[..], &admitted[..]];
    let first = arrived.receive(LIMIT, |frame| ours.contains(&frame)).unwrap();
    assert_eq!(first.as_deref(), Some(&admitted[..]));
}
