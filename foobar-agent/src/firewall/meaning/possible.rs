//! Which keys packets have: what rules can be written about need not exist. Knows the order in which a
//! packet is judged, and no rule.

use foobar_ebpf::key::{META, meta};

use crate::firewall::diagram::{Merger, NodeId, Store, TooManyNodes, Which};

/// End of the diagram: DHCP, as the essential of this name lets it pass before the rules.
pub(super) const DHCP: u32 = 0;
/// End of the diagram: any other packet.
pub(super) const ORDINARY: u32 = 1;

const TCP: u8 = 6;
const UDP: u8 = 17;
/// DCCP, SCTP, UDP-Lite.
const OTHERS_WITH_PORTS: [u8; 3] = [33, 132, 136];

/// What packets of a family there are: the end is [`NodeId::NOTHING`] where there is none with that key,
/// such as one of AH that is no fragment: its key is that of what lies behind AH.
pub(super) fn diagram(store: &mut Store, is_ipv4: bool) -> Result<NodeId, TooManyNodes> {
    let no_ports = [(meta::PORT, 0), (meta::FROM_PORT, 0)];
    let no_flags = [(meta::TCP_FLAGS, 0)];
    let ordinary = NodeId::end(ORDINARY);
    let fields = [&[(meta::HAS_TRANSPORT, 0)][..], &no_ports, &no_flags].concat();
    let mut kinds = vec![having(store, &fields, ordinary)?];
    kinds.push(having(store, &of(TCP), ordinary)?);
    for protocol in [UDP].into_iter().chain(OTHERS_WITH_PORTS) {
        kinds.push(having(store, &[&of(protocol)[..], &no_flags].concat(), ordinary)?);
    }
    let icmp = of(if is_ipv4 { 1 } else { 58 });
    kinds.push(having(store, &[&icmp[..], &no_ports[1..], &no_flags].concat(), ordinary)?);
    // RFC 2131 §4.1, RFC 8415 §7.2: from server to client.
    let (server, client) = if is_ipv4 { (67, 68) } else { (547, 546) };
    let ports = [(meta::PORT, client), (meta::FROM_PORT, server)];
    kinds.push(having(store, &[&of(UDP)[..], &ports, &no_flags].concat(), NodeId::end(DHCP))?);
    Merger::new(Which::Least).all(store, kinds)
}

/// A packet of a protocol whose transport header was read.
fn of(protocol: u8) -> [(meta::Field, u64); 2] {
    [(meta::HAS_TRANSPORT, 1), (meta::PROTOCOL, protocol.into())]
}

/// All fields have their values: `end`.
fn having(store: &mut Store, fields: &[(meta::Field, u64)], end: NodeId) -> Result<NodeId, TooManyNodes> {
    let (mut mask, mut value) = (0, 0);
    for (field, wanted) in fields {
        mask |= ((1 << field.bits) - 1) << field.shift;
        value |= wanted << field.shift;
    }
    store.test(u32::try_from(META).unwrap_or(u32::MAX), mask, value, end, NodeId::NOTHING)
}
