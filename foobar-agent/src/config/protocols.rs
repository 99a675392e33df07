//! `protocol` of a rule, and the names of protocols. A name is its number, in either family.

use super::reader::Value;
use super::suggest::quoted;

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const DCCP: u8 = 33;
pub(crate) const ICMPV6: u8 = 58;
pub(super) const SCTP: u8 = 132;
pub(super) const UDPLITE: u8 = 136;
/// Skipped on the way to what a rule sees, in either family.
const AH: u8 = 51;
/// IP within IP as IANA assigned the name; Linux's tunnels of that name are [`IPENCAP`].
const IPIP: u8 = 94;
const IPENCAP: u8 = 4;

/// Names of protocol numbers as in `/etc/protocols`, which has them from IANA's registry
/// "Assigned Internet Protocol Numbers": number, usual name, other names. Built in, so that a
/// configuration means the same on every host.
const PROTOCOLS: &[(u8, &str, &[&str])] = &[
    (0, "hopopt", &["HOPOPT"]),
    (ICMP, "icmp", &["ICMP"]),
    (2, "igmp", &["IGMP"]),
    (3, "ggp", &["GGP"]),
    (IPENCAP, "ipencap", &["IP-ENCAP"]),
    (5, "st", &["ST"]),
    (TCP, "tcp", &["TCP"]),
    (8, "egp", &["EGP"]),
    (9, "igp", &["IGP"]),
    (12, "pup", &["PUP"]),
    (UDP, "udp", &["UDP"]),
    (20, "hmp", &["HMP"]),
    (22, "xns-idp", &["XNS-IDP"]),
    (27, "rdp", &["RDP"]),
    (29, "iso-tp4", &["ISO-TP4"]),
    (DCCP, "dccp", &["DCCP"]),
    (36, "xtp", &["XTP"]),
    (37, "ddp", &["DDP"]),
    (38, "idpr-cmtp", &["IDPR-CMTP"]),
    (41, "ipv6", &["IPv6"]),
    (43, "ipv6-route", &["IPv6-Route"]),
    (44, "ipv6-frag", &["IPv6-Frag"]),
    (45, "idrp", &["IDRP"]),
    (46, "rsvp", &["RSVP"]),
    (47, "gre", &["GRE"]),
    (50, "esp", &["ESP", "IPSEC-ESP"]),
    (AH, "ah", &["AH", "IPSEC-AH"]),
    (57, "skip", &["SKIP"]),
    (ICMPV6, "icmpv6", &["ipv6-icmp", "IPv6-ICMP", "ICMPv6"]),
    (59, "ipv6-nonxt", &["IPv6-NoNxt"]),
    (60, "ipv6-opts", &["IPv6-Opts"]),
    (73, "rspf", &["RSPF", "CPHB"]),
    (81, "vmtp", &["VMTP"]),
    (88, "eigrp", &["EIGRP"]),
    (89, "ospf", &["OSPF", "OSPFIGP"]),
    (93, "ax.25", &["AX.25"]),
    (IPIP, "ipip", &["IPIP"]),
    (97, "etherip", &["ETHERIP"]),
    (98, "encap", &["ENCAP"]),
    (103, "pim", &["PIM"]),
    (108, "ipcomp", &["IPCOMP"]),
    (112, "vrrp", &["VRRP"]),
    (115, "l2tp", &["L2TP"]),
    (124, "isis", &["ISIS"]),
    (SCTP, "sctp", &["SCTP"]),
    (133, "fc", &["FC"]),
    (135, "mobility-header", &["Mobility-Header"]),
    (UDPLITE, "udplite", &["UDPLite"]),
    (137, "mpls-in-ip", &["MPLS-in-IP"]),
    (138, "manet", &["MANET"]),
    (139, "hip", &["HIP"]),
    (140, "shim6", &["Shim6"]),
    (141, "wesp", &["WESP"]),
    (142, "rohc", &["ROHC"]),
    (143, "ethernet", &["Ethernet"]),
];

/// Words that are no protocol, although they look like one, and what to write instead.
/// `/etc/protocols` has some of them.
const NO_PROTOCOL: &[(&str, &str)] = &[
    ("ip", "remove the key: absent, it is any protocol; number 0 is `hopopt`"),
    ("IP", "remove the key: absent, it is any protocol; number 0 is `hopopt`"),
    ("any", "remove the key: absent, it is any protocol"),
    ("all", "remove the key: absent, it is any protocol"),
    ("ipv4", "for the address family, write from = \"0.0.0.0/0\"; for IPv4 within IP, `ipencap`"),
    ("IPv4", "for the address family, write from = \"0.0.0.0/0\"; for IPv4 within IP, `ipencap`"),
    ("icmp6", "did you mean `icmpv6`?"),
];

/// The usual name of a protocol, else its number.
pub(super) fn protocol_name(number: u8) -> String {
    usual_name(number).map_or_else(|| number.to_string(), str::to_owned)
}

/// The usual name of a protocol that has one.
pub(super) fn usual_name(number: u8) -> Option<&'static str> {
    PROTOCOLS.iter().find(|&&(named, ..)| named == number).map(|&(_, name, _)| name)
}

/// Protocol numbers in file order, each once. `None` without the key; empty if all of it is wrong.
pub(super) fn read(value: Option<Value<'_>>) -> Option<Vec<u8>> {
    let mut numbers = Vec::new();
    for number in value?.one_or_list().into_iter().filter_map(protocol) {
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    Some(numbers)
}

fn protocol(value: Value<'_>) -> Option<u8> {
    let Some(text) = value.as_str() else {
        if value.is_integer() {
            let number = u8::try_from(value.integer(0, 255)?).ok()?;
            check_meaning(value, number, None);
            return Some(number);
        }
        value.wrong_type("a protocol's name, or its number");
        return None;
    };
    if value.negates(text) {
        return None;
    }
    let host_names = value.report().source().host_names();
    let refused = NO_PROTOCOL.iter().find(|(word, _)| *word == text);
    let number = match refused {
        Some(_) => None,
        None => built_in(text).or_else(|| decimal_u8(text)).or_else(|| host_names.protocol(text)),
    };
    if let Some(number) = number {
        check_meaning(value, number, Some(text));
    } else {
        let known = names().chain(host_names.protocol_names());
        let hint = refused
            .map(|(_, hint)| (*hint).to_owned())
            .or_else(|| value.report().did_you_mean(text, known))
            .unwrap_or_else(|| "write its number, from 0 to 255".to_owned());
        value.error(format!("{} is no known protocol", quoted(text)), hint);
    }
    number
}

/// Warns of numbers that hardly mean what somebody wanted.
fn check_meaning(value: Value<'_>, number: u8, name: Option<&str>) {
    match (number, name) {
        (AH, _) => value.warning(
            "an authentication header is skipped: no rule sees it, but for later fragments",
            "name the protocol behind it",
        ),
        (IPIP, Some(name)) => value.warning(
            format!("{} is protocol {IPIP}, as IANA assigned it", quoted(name)),
            format!(
                "the tunnels that Linux calls ipip are {IPENCAP}, `ipencap`; write {IPIP} if you mean {IPIP}"
            ),
        ),
        (41, Some(name)) => value.warning(
            format!("{} is protocol 41, IPv6 within another packet", quoted(name)),
            "for the address family write from = \"::/0\"; write 41 if you mean the tunnels",
        ),
        _ => {}
    }
}

pub(super) fn built_in(text: &str) -> Option<u8> {
    let named = |&&(_, name, others): &&(u8, &str, &[&str])| name == text || others.contains(&text);
    PROTOCOLS.iter().find(named).map(|&(number, ..)| number)
}

pub(super) fn decimal_u8(text: &str) -> Option<u8> {
    decimal(text).and_then(|number| u8::try_from(number).ok())
}

/// Digits alone: no sign, no space.
pub(super) fn decimal(text: &str) -> Option<u16> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Every built-in name.
pub(super) fn names<'n>() -> impl Iterator<Item = &'n str> {
    PROTOCOLS.iter().flat_map(|&(_, name, others)| std::iter::once(name).chain(others.iter().copied()))
}
