//! What is answered, and what is not.

use std::io::ErrorKind;
use std::net::TcpStream;

use super::{Bench, CLOSED, LIMIT, SHORT, WITHOUT, connection, host, listen, server, talks, udp};

#[test]
fn connections_that_the_host_opens_are_answered() {
    let bench = Bench::new();
    let _agent = bench.start(CLOSED);
    let listener = listen(&bench.server, 80);
    for to in server(80) {
        let (mut one, mut other) = connection(&bench.host, to, &listener);
        assert!(talks(&mut one, &mut other), "{to}");
    }
    // Nobody listens: that is an answer, too.
    for to in server(81) {
        let refused = bench.host.enter(|| TcpStream::connect_timeout(&to, LIMIT)).unwrap().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{to}");
    }
}

#[test]
fn connections_that_others_open_are_not() {
    let bench = Bench::new();
    let _agent = bench.start(CLOSED);
    let _listener = listen(&bench.host, 80);
    for to in host(80) {
        let waits = bench.server.enter(|| TcpStream::connect_timeout(&to, SHORT)).unwrap();
        assert_eq!(waits.unwrap_err().kind(), ErrorKind::TimedOut, "{to}");
    }
}

#[test]
fn datagrams_that_the_host_sends_are_answered() {
    let bench = Bench::new();
    let agent = bench.start(CLOSED);
    for (here, there) in host(5000).into_iter().zip(server(53)) {
        let (asks, answers) = (udp(&bench.host, here), udp(&bench.server, there));
        let mut heard = [0; 16];
        // Not before it asked.
        answers.send_to(b"unasked", here).unwrap();
        asks.send_to(b"question", there).unwrap();
        let (_, from) = answers.recv_from(&mut heard).unwrap();
        assert_eq!(from, here);
        answers.send_to(b"answer", from).unwrap();
        let (bytes, from) = asks.recv_from(&mut heard).unwrap();
        assert_eq!((&heard[..bytes], from), (&b"answer"[..], there), "{there}");
    }
    let metrics = agent.metrics().unwrap();
    assert!(metrics.count("foobar_firewall_drops_total", &[("reason", "policy")]) >= 2, "{metrics}");
}

#[test]
fn echo_requests_of_the_host_are_answered() {
    let bench = Bench::new();
    let agent = bench.start(CLOSED);
    for to in server(0) {
        bench.host.run(&["ping", "-c", "2", "-i", "0.2", "-W", "5", &to.ip().to_string()]).unwrap();
    }
    for to in host(0) {
        let lost = bench.server.run(&["ping", "-c", "1", "-W", "1", &to.ip().to_string()]);
        assert!(lost.is_err(), "{to} answers");
    }
    drop(agent);
}

/// So that the others show what flows do, and not what a host does anyway.
#[test]
fn without_flows_nothing_is_answered() {
    let bench = Bench::new();
    let _agent = bench.start(WITHOUT);
    let _listener = listen(&bench.server, 80);
    for to in server(80) {
        let waits = bench.host.enter(|| TcpStream::connect_timeout(&to, SHORT)).unwrap();
        assert_eq!(waits.unwrap_err().kind(), ErrorKind::TimedOut, "{to}");
    }
}
