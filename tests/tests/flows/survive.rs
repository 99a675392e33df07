//! What was there before the agent, and what is there after it.

use super::{Bench, CLOSED, connection, host, listen, server, talks, udp};

#[test]
fn connections_older_than_the_agent_go_on() {
    let bench = Bench::new();
    let (there, here) = (listen(&bench.server, 80), listen(&bench.host, 22));
    let mut connections = Vec::new();
    for to in server(80) {
        connections.push(connection(&bench.host, to, &there));
    }
    for to in host(22) {
        connections.push(connection(&bench.server, to, &here));
    }
    let sockets = host(5000).into_iter().zip(server(53)).map(|(here, there)| {
        let (one, other) = (udp(&bench.host, here), udp(&bench.server, there));
        one.connect(there).unwrap();
        other.connect(here).unwrap();
        (one, other)
    });
    let sockets: Vec<_> = sockets.collect();
    let agent = bench.start(CLOSED);
    for (one, other) in &mut connections {
        assert!(talks(other, one), "{one:?}");
    }
    for (one, other) in &sockets {
        other.send(b"late").unwrap();
        assert_eq!(one.recv(&mut [0; 16]).unwrap(), 4);
    }
    let metrics = agent.metrics().unwrap();
    assert!(metrics.count("foobar_xdp_packets_total", &[("verdict", "allow")]) >= 10, "{metrics}");
}

#[test]
fn flows_outlive_the_agent() {
    let bench = Bench::new();
    let listener = listen(&bench.server, 80);
    let first = bench.start(CLOSED);
    let [to, _] = server(80);
    let (mut one, mut other) = connection(&bench.host, to, &listener);
    first.stop().unwrap();
    assert!(talks(&mut one, &mut other), "without an agent");
    let (mut later, mut its_other) = connection(&bench.host, to, &listener);
    let mut second = bench.start(CLOSED);
    assert!(talks(&mut one, &mut other) && talks(&mut later, &mut its_other), "under the next one");
    second.process().kill().unwrap();
    drop(second);
    let (mut last, mut its_other) = connection(&bench.host, to, &listener);
    assert!(talks(&mut last, &mut its_other) && talks(&mut one, &mut other), "after its death");
    let third = bench.start(CLOSED);
    assert!(talks(&mut last, &mut its_other) && talks(&mut one, &mut other), "under the third");
    assert!(third.control(&["detach"]).unwrap().status.success());
    assert_eq!(bench.pins(), Vec::<String>::new());
}
