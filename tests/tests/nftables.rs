//! The same rulesets in nftables, at its ingress hook, and the same frames on a wire: each rule must count
//! the same packets as the model says. What nftables reads in another way is left out of the
//! comparison, and shown to be so: `docs/rules.md` lists it ("Where nftables differs").
//!
//! `FOOBAR_NFT` names the program `nft`; `cargo xtask test` sets it.
#![expect(clippy::unwrap_used, reason = "a test file; its helpers are not recognised as tests")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use foobar_agent::firewall::ruleset::{Essentials, Ruleset};
use foobar_model::draft::{Draft, INTERFACES, load};
use foobar_model::pools::{Aim, Arrival};
use foobar_model::shrink::Case;
use foobar_model::{Model, Outline, Reason, nft};
use foobar_tests::chance::Chance;
use foobar_tests::frame::{ETHERTYPE_SERVICE_VLAN, Fragment, Frame, Mac, Packet, Transport};
use foobar_tests::wire::Wire;
use foobar_tests::{Host, Link, wait};

const RULESETS: u64 = 200;
const FRAMES: usize = 400;
const LIMIT: Duration = Duration::from_secs(20);

type Counts = BTreeMap<String, u64>;

/// Two hosts with a cable an interface; the far one judges by nftables what the near one sends.
struct Field {
    _near: Host,
    far: Host,
    wires: BTreeMap<&'static str, Wire>,
}

impl Field {
    fn new() -> Self {
        let (near, far) = (Host::new("near").unwrap(), Host::new("far").unwrap());
        for host in [&near, &far] {
            // Nothing of the hosts' own is on the wires.
            host.sysctl("net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        }
        let mut wires = BTreeMap::new();
        for name in INTERFACES {
            Link::between((&near, name), (&far, name)).unwrap();
            wires.insert(name, Wire::open(&near, name).unwrap());
        }
        Self { _near: near, far, wires }
    }

    fn nft(&self, arguments: &[&str], input: &str) -> String {
        let program = std::env::var_os("FOOBAR_NFT").unwrap_or_else(|| "nft".into());
        let mut command = self.far.command(&program).unwrap();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("cannot run {} (package nftables, or `cargo xtask test`): {error}", program.display())
        });
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}\n{input}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Lets frames arrive under a ruleset that has counted nothing yet; what each rule counted then.
    fn judge(&self, ruleset: &Ruleset, arrivals: &[Arrival]) -> Counts {
        self.nft(&["-f", "-"], &nft::script(ruleset, &INTERFACES));
        for (frame, interface) in arrivals {
            self.wires[interface].send(frame).unwrap();
        }
        let arrived = || {
            let counts = nft::counters(&self.nft(&["-j", "list", "ruleset"], "")).unwrap();
            Ok((counts[nft::ALL] >= arrivals.len() as u64).then_some(counts))
        };
        let mut counts = wait::until("all frames arrive", LIMIT, arrived).unwrap();
        assert_eq!(counts.remove(nft::ALL), Some(arrivals.len() as u64), "somebody else sends");
        counts.retain(|_, count| *count > 0);
        counts
    }
}

/// What each rule must count, by the model.
fn wanted(ruleset: &Ruleset, arrivals: &[Arrival]) -> Counts {
    let model = Model::new(Some(ruleset));
    let mut counts = Counts::new();
    for (frame, interface) in arrivals {
        let judged = model.judge(frame, interface);
        let name = match judged.reason {
            Reason::Foreign => nft::FOREIGN,
            Reason::Rule => &ruleset.rules[judged.rule.unwrap()].name,
            Reason::Policy => nft::POLICY,
            other => panic!("{other:?} is not compared"),
        };
        *counts.entry(name.to_owned()).or_default() += 1;
    }
    counts
}

/// Whether nftables reads a frame as we do. Each line that says no is a line of `docs/rules.md`.
fn is_read_alike(frame: &[u8]) -> bool {
    let model = Model::new(None);
    let judged = model.judge(frame, INTERFACES[0]);
    if judged.reason.is_malformed() {
        return false;
    }
    let Some(outline) = Outline::of(frame) else { return true };
    let one_tag = matches!(outline.tags.as_slice(), [] | [0x8100 | 0x88a8]);
    let known = outline.headers.iter().all(|number| [0, 43, 44, 60].contains(number));
    let ends_in_header =
        !outline.is_ipv4 && outline.is_later && [0, 43, 44, 51, 60].contains(&outline.protocol);
    let has_transport = [1, 6, 17, 33, 58, 132, 136].contains(&outline.protocol);
    one_tag && known && !ends_in_header && !(outline.is_later && has_transport)
}

fn ruleset(draft: &Draft) -> Option<Ruleset> {
    let mut ruleset = load(&draft.toml()).ok()??;
    ruleset.essentials = Essentials::NONE;
    Some(ruleset)
}

fn differs(field: &Field, case: &Case) -> bool {
    let Some(ruleset) = ruleset(&case.draft) else { return false };
    let same_reading = case.arrivals.iter().all(|(frame, _)| frame.len() >= 14 && is_read_alike(frame));
    same_reading && field.judge(&ruleset, &case.arrivals) != wanted(&ruleset, &case.arrivals)
}

#[test]
fn nftables_and_model_count_the_same() {
    let field = Field::new();
    let mut compared = 0;
    for seed in 1..=RULESETS {
        let mut chance = Chance::new(seed);
        let draft = Draft::draw(&mut chance, &["allow", "drop"]);
        let ruleset = ruleset(&draft).unwrap();
        let mut arrivals = Aim::new(Some(&ruleset)).arrivals(&mut chance, FRAMES);
        arrivals.retain(|(frame, _)| is_read_alike(frame));
        compared += arrivals.len();
        let (found, wanted) = (field.judge(&ruleset, &arrivals), wanted(&ruleset, &arrivals));
        if found != wanted {
            let case = Case { draft, arrivals }.shrink_rules(|case| differs(&field, case));
            panic!("seed {seed}: nftables {found:?}, model {wanted:?}; the smallest:\n{}", case.describe());
        }
    }
    println!("{compared} frames compared with nftables");
    assert!(compared > FRAMES * 75, "only {compared} frames were compared");
}

/// Tells what was read of a packet: a port, else the protocol.
const TELLTALE: &str = r#"
[firewall]
interfaces = ["eth0", "eth1", "eth2"]
default = "drop"
essentials = false
[[firewall.rules]]
name = "port"
action = "allow"
protocol = ["tcp", "udp"]
port = 80
[[firewall.rules]]
name = "tcp"
action = "allow"
protocol = "tcp"
[[firewall.rules]]
name = "udp"
action = "allow"
protocol = "udp"
[[firewall.rules]]
name = "header"
action = "allow"
protocol = [51, 60, 135, 139, 140]
[[firewall.rules]]
name = "source"
action = "allow"
from = ["198.51.100.7", "2001:db8:f::7", "::/1"]
"#;

const MALFORMED: &str = "malformed";

/// What we say of a frame under [`TELLTALE`]: a rule, or one of the words of the other counters.
fn ours(ruleset: &Ruleset, frame: &[u8]) -> String {
    let judged = Model::new(Some(ruleset)).judge(frame, INTERFACES[0]);
    match judged.reason {
        reason if reason.is_malformed() => MALFORMED.to_owned(),
        Reason::Foreign => nft::FOREIGN.to_owned(),
        Reason::Policy => nft::POLICY.to_owned(),
        _ => ruleset.rules[judged.rule.unwrap()].name.clone(),
    }
}

fn packets(transport: &Transport) -> [Packet; 2] {
    [("198.51.100.7", "192.0.2.1"), ("2001:db8:f::7", "2001:db8::1")]
        .map(|(from, to)| Packet::new(from.parse().unwrap(), to.parse().unwrap(), transport.clone()))
}

fn stations() -> Frame {
    Frame::new(Mac([0x02, 0, 0, 0, 0, 7]), Mac([0x02, 0, 0, 0, 0, 1]))
}

/// Name, frame, what we say, what nftables says; with a `|`, what kernels differ in.
type Difference = (String, Vec<u8>, &'static str, &'static str);

fn tagged() -> Vec<Difference> {
    let mut all = Vec::new();
    for packet in packets(&Transport::syn(40_000, 80)) {
        let one = stations().vlan(7);
        let two = stations().tag(ETHERTYPE_SERVICE_VLAN, 7).vlan(8);
        let old = stations().tag(0x9100, 7);
        all.push(("one tag".to_owned(), one.packet(&packet), "port", "port"));
        all.push(("two tags".to_owned(), two.packet(&packet), "port", nft::FOREIGN));
        all.push(("a tag of type 0x9100".to_owned(), old.packet(&packet), "port", nft::FOREIGN));
    }
    all
}

fn headed() -> Vec<Difference> {
    let mut all = Vec::new();
    let segment = packets(&Transport::syn(40_000, 80))[0].bytes().split_off(20);
    let authenticated = [&[6, 4, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1][..], &[0; 12], &segment].concat();
    for packet in packets(&Transport::Raw { protocol: 51, payload: authenticated }) {
        all.push(("AH".to_owned(), stations().packet(&packet), "port", "header"));
    }
    for number in [135, 139, 140] {
        let [_, packet] = packets(&Transport::syn(40_000, 80));
        let packet = packet.extension(number, &[0; 6]);
        all.push((format!("behind header {number}"), stations().packet(&packet), "port", "header"));
    }
    all
}

fn fragmented() -> Vec<Difference> {
    let mut all = Vec::new();
    let later = Fragment { identification: 7, offset_bytes: 1480, more: false };
    // Where a port would lie in a first fragment, there are data here.
    let data = Transport::Raw { protocol: 6, payload: vec![0, 80, 0, 80, 0, 0, 0, 0] };
    let [ipv4, ipv6] = packets(&data).map(|packet| stations().packet(&packet.fragment(later)));
    all.push(("data like a port".to_owned(), ipv4, "tcp", "port|tcp"));
    all.push(("data like a port, IPv6".to_owned(), ipv6.clone(), "tcp", "tcp"));
    let mut labelled = ipv6;
    labelled[16..18].copy_from_slice(&80u16.to_be_bytes());
    all.push(("a flow label like a port".to_owned(), labelled, "tcp", "port|tcp"));
    for packet in packets(&Transport::Raw { protocol: 17, payload: vec![0, 81, 0, 81, 0, 0, 0, 0] }) {
        all.push(("other data".to_owned(), stations().packet(&packet.fragment(later)), "udp", "udp"));
    }
    let [_, packet] = packets(&Transport::Raw { protocol: 60, payload: vec![6, 0, 0, 0, 0, 0, 0, 0] });
    all.push((
        "data like a header".to_owned(),
        stations().packet(&packet.fragment(later)),
        "header",
        "source",
    ));
    all
}

fn broken() -> Vec<Difference> {
    let mut all = Vec::new();
    let mut add = |name: &str, frame, theirs| all.push((name.to_owned(), frame, MALFORMED, theirs));
    let [ipv4, ipv6] = packets(&Transport::syn(40_000, 80));
    for (packet, at) in [(&ipv4, 14 + 20), (&ipv6, 14 + 40)] {
        let mut frame = stations().packet(packet);
        frame[at + 12] = 4 << 4;
        add("TCP data offset 4", frame, "port");
    }
    for packet in packets(&Transport::Raw { protocol: 6, payload: vec![0, 80, 0, 80] }) {
        add("four octets of TCP", stations().packet(&packet), "port");
    }
    for packet in packets(&Transport::Raw { protocol: 17, payload: vec![0, 80, 0, 80, 0xff, 0xff, 0, 0] }) {
        add("a UDP length beyond the packet", stations().packet(&packet), "port");
    }
    let mut frame = stations().packet(&ipv4);
    frame[16..18].copy_from_slice(&1000u16.to_be_bytes());
    add("an IPv4 length beyond the frame", frame, "source");
    let mut frame = stations().packet(&ipv4);
    frame[14] = 0x44;
    add("IHL 4", frame, "source");
    let nine = (0..9).fold(ipv6, |packet, _| packet.extension(60, &[0; 6]));
    add("nine extension headers", stations().packet(&nine), "port");
    let mapped: Packet = Packet::new(
        "::ffff:198.51.100.7".parse().unwrap(),
        "2001:db8::1".parse().unwrap(),
        Transport::syn(40_000, 80),
    );
    add("an IPv4-mapped source", stations().packet(&mapped), "port");
    all
}

/// Should one of these lines not hold any more, `docs/rules.md` must change with it.
#[test]
fn where_nftables_differs() {
    let (field, ruleset) = (Field::new(), load(TELLTALE).unwrap().unwrap());
    let mut wrong = Vec::new();
    for (name, frame, ours, theirs) in [tagged(), headed(), fragmented(), broken()].into_iter().flatten() {
        let counts = field.judge(&ruleset, &[(frame.clone(), INTERFACES[0])]);
        let found = counts.into_keys().collect::<Vec<_>>().join(" ");
        if self::ours(&ruleset, &frame) != ours || theirs.split('|').all(|theirs| found != theirs) {
            let said = self::ours(&ruleset, &frame);
            wrong.push(format!("{name}: we say {said}, nftables {found}; expected {ours}, {theirs}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
