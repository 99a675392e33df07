//! Frames: the parser is total, what it says of a packet is consistent, and the host's walk decides
//! about every one as its reason says.

use std::sync::LazyLock;

use foobar_agent::config;
use foobar_agent::firewall::compile::compile;
use foobar_agent::firewall::generation::Generation;
use foobar_agent::firewall::numbers::InterfaceNumbers;
use foobar_agent::firewall::walk::Walk;
use foobar_ebpf::packet::{Packet, Parsed, Scratch, Status, TransportKind, parse};
use foobar_ebpf::service::begins_http_request;
use foobar_ebpf::verdict::{Reason, Verdict};

/// Every field that rules can ask for, and both families.
const RULES: &str = r#"
[firewall]
interfaces = ["eth0", "eth1"]
default = "drop"

[[firewall.rules]]
name = "banned"
action = "drop"
from = ["203.0.113.0/24", "2001:db8:bad::/48"]
[[firewall.rules]]
name = "web"
action = "allow"
protocol = "tcp"
port = [80, "8000-9000"]
tcp_flags = "syn/syn,ack"
[[firewall.rules]]
name = "inner"
action = "allow"
interface = "eth1"
protocol = ["udp", "sctp"]
from_port = "1024-65535"
[[firewall.rules]]
name = "echo"
action = "allow"
protocol = ["icmp", "icmpv6"]
icmp_type = "echo-request"
[[firewall.rules]]
name = "elsewhere"
action = "allow"
from = ["!10.0.0.0/9"]
to = ["ff00::/8", "255.255.255.255"]
"#;

struct Judge {
    generation: Generation,
    walk: Walk,
    /// Without a ruleset nothing is judged.
    idle: Walk,
}

static JUDGE: LazyLock<Judge> = LazyLock::new(|| {
    let mut numbers = InterfaceNumbers::default();
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let path = folder.path().join("foobar.toml");
    std::fs::write(&path, RULES).unwrap_or_else(|error| panic!("{error}"));
    let config = config::load(&path).unwrap_or_else(|errors| panic!("{errors}")).config;
    let mut made = |ruleset| compile(ruleset, &[], &mut numbers).unwrap_or_else(|error| panic!("{error}"));
    let (generation, idle) = (made(config.firewall.ruleset.as_ref()), made(None));
    Judge { walk: Walk::new(&generation), idle: Walk::new(&idle), generation }
});

fn parsed(frame: &[u8]) -> Parsed {
    let mut scratch = Scratch::EMPTY;
    *parse(frame, &mut scratch)
}

/// A frame as it came.
///
/// # Panics
/// If what may never happen does.
pub fn packet(frame: &[u8]) {
    let whole = parsed(frame);
    match whole.status {
        Status::Packet => check_packet(frame, &whole),
        Status::Foreign => assert_eq!(whole.packet, Packet::NONE),
        Status::Malformed(reason) => {
            assert_eq!(whole.packet, Packet::NONE);
            assert!(reason.is_malformed(), "malformed because of {reason:?}");
        }
    }
    for interface in 0..4 {
        check_judgement(frame, interface, whole.status);
    }
}

fn check_packet(frame: &[u8], whole: &Parsed) {
    let packet = &whole.packet;
    let transport = &packet.transport;
    assert_eq!(packet.source.is_ipv4_mapped(), packet.destination.is_ipv4_mapped(), "two families");
    if packet.later_fragment {
        assert_eq!(transport.kind, TransportKind::Opaque, "a later fragment has no ports");
    }
    if transport.kind == TransportKind::Opaque {
        let ports = (transport.source_port, transport.destination_port, transport.tcp_flags);
        assert_eq!(ports, (0, 0, 0), "fields of a header that is not there");
    }
    if transport.kind == TransportKind::Tcp {
        let end = usize::from(transport.payload_offset) + usize::from(transport.payload_bytes);
        assert!(end <= frame.len(), "a payload that ends at {end} of {} bytes", frame.len());
        begins_http_request(frame, transport);
    }
    // Padding is not read, so it changes nothing.
    let padded = [frame, &[0xa5; 9]].concat();
    assert_eq!(parsed(&padded), *whole, "bytes behind the packet were read");
    // A packet that lost its end is malformed, or was not what rules see of it.
    let cut = parsed(&frame[..frame.len() - 1]);
    if cut.status == Status::Packet {
        assert_eq!(cut, *whole, "a cut frame is another packet");
    }
}

fn check_judgement(frame: &[u8], interface: u32, status: Status) {
    let Judge { generation, walk, idle } = &*JUDGE;
    let judged = walk.judge(frame, interface);
    let slots = u32::try_from(generation.rules.len()).unwrap_or(u32::MAX);
    match judged.reason {
        Reason::Rule | Reason::Policy => assert!(judged.rule().is_some(), "{judged:?}"),
        // Whatever decided about the first fragment, an essential too.
        Reason::Fragment => {}
        _ => assert_eq!(judged.rule(), None, "{judged:?}"),
    }
    assert!(judged.rule().is_none_or(|slot| slot < slots), "{judged:?} of {slots} rules");
    let idle = idle.judge(frame, interface);
    assert_eq!(idle.verdict, Verdict::Allow, "judged without a ruleset: {idle:?}");
    match status {
        Status::Foreign => assert_eq!((judged.verdict, judged.reason), (Verdict::Allow, Reason::Foreign)),
        Status::Malformed(reason) => assert_eq!((judged.verdict, judged.reason), (Verdict::Drop, reason)),
        Status::Packet => assert!(!judged.reason.is_malformed() && judged.reason != Reason::Foreign),
    }
}
