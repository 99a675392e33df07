use std::net::IpAddr;

use super::*;
use crate::explain::packet::Packet as Built;

fn sample(protocol: u8, source: &str, destination: &str, ports: (u16, u16)) -> Sample {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let built = Built {
        protocol,
        source: address(source),
        destination: address(destination),
        source_port: ports.0,
        destination_port: ports.1,
        tcp_flags: 2,
        icmp: (8, 0),
        hop_limit: 64,
        is_later_fragment: false,
        quotes_receiver: false,
    };
    let frame = built.frame().bytes;
    Sample {
        interface: "eth0".to_owned(),
        verdict: "drop".to_owned(),
        reason: "rule".to_owned(),
        rule: Some("ssh".to_owned()),
        length_bytes: u32::try_from(frame.len()).unwrap(),
        frame,
        ..Sample::default()
    }
}

fn wants(filter: &str, sample: &Sample) -> bool {
    let filter = Filter::parse(filter).unwrap_or_else(|error| panic!("{error}"));
    filter.wants(sample, &sample.parsed())
}

#[test]
fn what_tcpdump_knows_means_the_same() {
    let tcp = sample(6, "192.0.2.7", "198.51.100.1", (40_000, 22));
    for (filter, wanted) in [
        ("tcp", true),
        ("udp", false),
        ("ip", true),
        ("ip6", false),
        ("proto 6", true),
        ("proto tcp", true),
        ("host 192.0.2.7", true),
        ("host 198.51.100.1", true),
        ("src host 198.51.100.1", false),
        ("src 192.0.2.7", true),
        ("dst 192.0.2.7", false),
        ("192.0.2.7", true),
        ("net 192.0.2.0/24", true),
        ("net 192.0.2.8/29", false),
        ("dst net 0.0.0.0/0", true),
        ("net ::/0", true),
        ("net 2001:db8::/32", false),
        ("port 22", true),
        ("src port 22", false),
        ("dst port 22", true),
        ("port ssh", true),
        ("portrange 20-25", true),
        ("tcp port 22", true),
        ("tcp dst port 22 and src net 192.0.2.0/24", true),
        ("udp port 22", false),
        ("not tcp", false),
        ("!udp", true),
        ("not (udp or port 23)", true),
        ("greater 54", true),
        ("greater 55", false),
        ("less 54", true),
        // Both alike, from left to right, as pcap-filter(7) has it.
        ("tcp or udp and port 23", false),
        ("tcp or (udp and port 23)", true),
        ("port 22 && tcp || udp", true),
    ] {
        assert_eq!(wants(filter, &tcp), wanted, "{filter}");
    }
    let icmp = sample(58, "2001:db8::1", "2001:db8:f::2", (0, 0));
    for (filter, wanted) in [
        ("icmp6", true),
        ("icmp", false),
        ("ip6 net 2001:db8::/32", true),
        ("port 0", false),
        ("ip6 and not tcp", true),
    ] {
        assert_eq!(wants(filter, &icmp), wanted, "{filter}");
    }
}

#[test]
fn what_was_decided_can_be_asked_for() {
    let mut sample = sample(17, "192.0.2.7", "198.51.100.1", (53, 53));
    for (filter, wanted) in [
        ("verdict drop", true),
        ("verdict allow", false),
        ("rule ssh and reason rule", true),
        ("rule web", false),
        ("interface eth0", true),
        ("interface eth1", false),
        ("udp port domain and not verdict allow", true),
        ("reason malformed", false),
    ] {
        assert_eq!(wants(filter, &sample), wanted, "{filter}");
    }
    sample.reason = "malformed-tcp".to_owned();
    sample.frame.truncate(20);
    assert!(wants("reason malformed and reason malformed-tcp and not ip and not port 53", &sample));
}

#[test]
fn an_error_shows_its_place() {
    for (filter, what, marked) in [
        ("", "there is nothing", ""),
        ("tcp port", "a port must follow", ""),
        ("tcp port 70000", "this is no port", "70000"),
        ("host 192.0.2.300", "this is no address", "192.0.2.300"),
        ("net 192.0.2.0/33", "the prefix length does not fit", "192.0.2.0/33"),
        ("tcp udp", "`and` or `or` must stand before", "udp"),
        ("(tcp or udp", "this is never closed", "("),
        ("tcp)", "nothing is open", ")"),
        ("tcp and and udp", "this is no word of a filter", "and"),
        ("verdict dropped", "this is not a verdict; there are allow, drop, reject", "dropped"),
        ("portrange 90-80", "the first port is above", "90-80"),
        ("not", "something must follow", ""),
        ("frobnicate", "this is no word of a filter", "frobnicate"),
        ("rule )", "the name of a rule must stand here", ")"),
    ] {
        let error = Filter::parse(filter).unwrap_err().to_string();
        let lines: Vec<&str> = error.lines().collect();
        assert!(lines[0].contains(what), "{filter}: {error}");
        let carets = lines[2].trim_start().len();
        assert_eq!(carets, marked.len().max(1), "{filter}: {error}");
        let column = lines[2].len() - carets - 2;
        assert!(filter[column..].starts_with(marked), "{filter}: {error}");
    }
    assert!(Filter::parse(&"(".repeat(100_000)).is_err());
    assert!(Filter::parse(&"not ".repeat(100_000)).is_err());
}
