//! Rejected packets of real programs: the answer crosses a veth, and the sender's stack takes it
//! for what it is.
#![expect(clippy::unwrap_used, reason = "a test file; its helpers are not recognised as tests")]

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use foobar_tests::{Agent, Host, Link, Metrics};

const LIMIT: Duration = Duration::from_secs(20);

const RULES: &str = r#"
[firewall]
interfaces = ["eth0"]
default = "reject"
"#;

/// Where a veth end has an XDP program of its own it also takes frames that the other end sends by
/// XDP; the client's agent judges nothing.
const ATTACHED: &str = "[firewall]\ninterfaces = [\"eth0\"]\ndefault = \"allow\"\n";

/// `EHOSTUNREACH` and `EACCES` of Linux: what ICMP type 3 code 13 and ICMPv6 type 1 code 1 are to a
/// connected socket.
const PROHIBITED: [i32; 2] = [113, 13];

fn hosts() -> (Host, Host) {
    let (client, host) = (Host::new("client").unwrap(), Host::new("host").unwrap());
    Link::between((&client, "eth0"), (&host, "eth0")).unwrap();
    for (end, number) in [(&client, 1), (&host, 2)] {
        end.address("eth0", &format!("192.0.2.{number}/24")).unwrap();
        end.address("eth0", &format!("2001:db8::{number}/64")).unwrap();
    }
    (client, host)
}

fn targets(port: u16) -> [SocketAddr; 2] {
    [format!("192.0.2.2:{port}"), format!("[2001:db8::2]:{port}")].map(|text| text.parse().unwrap())
}

/// What a client learns of a connection.
fn connect(client: &Host, to: SocketAddr) -> io::Error {
    client.enter(|| TcpStream::connect_timeout(&to, LIMIT)).unwrap().unwrap_err()
}

/// What a client learns of a datagram.
fn send(client: &Host, to: SocketAddr) -> io::Error {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let learnt = client.enter(|| {
        let socket = UdpSocket::bind(any)?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(LIMIT))?;
        socket.send(b"hello")?;
        socket.recv(&mut [0; 64])
    });
    learnt.unwrap().unwrap_err()
}

fn answers(metrics: &Metrics, kind: &str) -> u64 {
    metrics.count("foobar_firewall_reject_answers_total", &[("kind", kind)])
}

/// Under one way to attach the datapath.
fn clients_are_told(mode: &str) {
    let (client, host) = hosts();
    let rules = RULES.replace("default", &format!("mode = \"{mode}\"\ndefault"));
    let agent = Agent::start(&host, &rules).unwrap();
    let _peer = Agent::start(&client, ATTACHED).unwrap();
    for (to, prohibited) in targets(80).into_iter().zip(PROHIBITED) {
        let refused = connect(&client, to);
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{to}, {mode}: {refused}");
        let unreachable = send(&client, to);
        assert_eq!(unreachable.raw_os_error(), Some(prohibited), "{to}, {mode}: {unreachable}");
    }
    let metrics = agent.metrics().unwrap();
    let sent = ["tcp-rst", "icmp", "icmpv6"].map(|kind| answers(&metrics, kind));
    // The client's own stack sends more to the host than this test does.
    assert!(sent[0] == 2 && sent[1] >= 1 && sent[2] >= 1, "{sent:?} in\n{metrics}");
    let rejected = [("interface", "eth0"), ("verdict", "reject")];
    assert!(metrics.count("foobar_xdp_packets_total", &rejected) >= sent.iter().sum());
}

#[test]
fn clients_are_told_by_the_driver() {
    clients_are_told("native");
}

#[test]
fn clients_are_told_by_the_stack() {
    clients_are_told("generic");
}

/// What was sent so far is the datapath's, not one ruleset's.
#[test]
fn what_was_answered_is_still_counted_after_a_reload() {
    let (client, host) = hosts();
    let agent = Agent::start(&host, RULES).unwrap();
    let _peer = Agent::start(&client, ATTACHED).unwrap();
    let [to, _] = targets(80);
    connect(&client, to);
    agent.write(&RULES.replace("reject", "drop")).unwrap();
    agent.reload().unwrap();
    assert_eq!(answers(&agent.metrics().unwrap(), "tcp-rst"), 1);
    agent.write(RULES).unwrap();
    agent.reload().unwrap();
    connect(&client, to);
    assert_eq!(answers(&agent.metrics().unwrap(), "tcp-rst"), 2);
}

/// Frames for another station get no answer, so the datapath must know which one it is.
#[test]
fn an_interface_that_gets_another_hardware_address_goes_on_answering() {
    let (client, host) = hosts();
    let agent = Agent::start(&host, RULES).unwrap();
    let _peer = Agent::start(&client, ATTACHED).unwrap();
    let [to, _] = targets(80);
    // Before the agent knows: a neighbour that is wrong about who has the address.
    client.ip("neigh replace 192.0.2.2 lladdr 02:00:00:00:00:99 dev eth0 nud permanent").unwrap();
    let waits = client.enter(|| TcpStream::connect_timeout(&to, Duration::from_millis(200))).unwrap();
    assert_eq!(waits.unwrap_err().kind(), ErrorKind::TimedOut);
    let metrics = agent.metrics().unwrap();
    let withheld = metrics.count("foobar_firewall_reject_withheld_total", &[("reason", "station")]);
    assert!(withheld >= 1 && answers(&metrics, "tcp-rst") == 0, "{metrics}");
    host.ip("link set eth0 address 02:00:00:00:00:99").unwrap();
    // A segment that is sent again finds the agent informed.
    assert_eq!(connect(&client, to).kind(), ErrorKind::ConnectionRefused);
}
