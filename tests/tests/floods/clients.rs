//! Real clients while SYNs arrive as fast as they can be made.

use std::net::TcpStream;
use std::thread;

use foobar_tests::{Agent, wait};

use super::{
    ATTACHED, LIMIT, OPEN, exchange, flooded, hosts, is_armed, listen, netstat, rules, settings, syns,
    targets, until_armed,
};

/// Connections of each family.
const CLIENTS: u64 = 20;

#[test]
fn clients_connect_through_a_flood_that_arms_and_disarms_cookies() {
    let (client, host) = hosts();
    listen(&host, OPEN);
    let agent = Agent::start(&host, &rules("threshold = 500\nhold = 1")).unwrap();
    let _peer = Agent::start(&client, ATTACHED).unwrap();
    let before = settings(&host);
    assert!(!is_armed(&agent.metrics().unwrap()));

    flooded(&client, &host, || {
        until_armed(&agent, true);
        assert_eq!(settings(&host), ["2", "2"]);
        let first = netstat(&host);
        for to in targets(OPEN) {
            let streams: Vec<TcpStream> = thread::scope(|scope| {
                let open = || exchange(&client, to, 1 << 18);
                let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(open)).collect();
                clients.into_iter().map(|client| client.join().unwrap()).collect()
            });
            // What the host's stack made of them.
            let seen = host.run(&["ss", "-Htino", "state", "established"]).unwrap();
            let connections: Vec<_> = seen.lines().filter(|line| line.contains("wscale:")).collect();
            assert!(connections.len() >= streams.len(), "{seen}");
            for connection in connections {
                assert!(connection.contains(" ts sack "), "{connection}");
            }
            // Scaled alike by both ends, or data would not have gone as fast in either direction.
            let at_the_client = client.run(&["ss", "-Htino", "state", "established"]).unwrap();
            assert_eq!(scales(&seen).first(), scales(&at_the_client).first().map(|(a, b)| (*b, *a)).as_ref());
            let queued = host.run(&["ss", "-Htln"]).unwrap();
            let waiting = queued.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap();
            assert!(waiting < 128, "{queued}");
        }
        let last = netstat(&host);
        let moved = |name: &str| last[name] - first[name];
        assert!(moved("SyncookiesRecv") >= 2 * CLIENTS, "{last:?}");
        assert_eq!((moved("ListenOverflows"), moved("TCPReqQFullDrop")), (0, 0), "{last:?}");
        assert!(syns(&agent.metrics().unwrap(), "sent") > 2 * CLIENTS);
    });
    let metrics = until_armed(&agent, false);
    for to in ["armed", "disarmed"] {
        assert_eq!(metrics.count("foobar_syn_cookies_switches_total", &[("to", to)]), 1, "{to}");
    }
    wait::until("settings are as before", LIMIT, || Ok((settings(&host) == before).then_some(()))).unwrap();
    // And the stack alone again.
    let sent = syns(&agent.metrics().unwrap(), "sent");
    for to in targets(OPEN) {
        exchange(&client, to, 1000);
    }
    assert_eq!(syns(&agent.metrics().unwrap(), "sent"), sent);
}

/// Window scales as `ss` shows them, of the other end and of this one; each pair once.
fn scales(text: &str) -> Vec<(u8, u8)> {
    let pairs = text.split_whitespace().filter_map(|word| word.strip_prefix("wscale:")?.split_once(','));
    let mut scales: Vec<_> = pairs.map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap())).collect();
    scales.sort_unstable();
    scales.dedup();
    scales
}

#[test]
fn ports_that_no_rule_allows_or_that_are_excepted_get_no_cookie() {
    let (client, host) = hosts();
    for port in [OPEN, 81, 8080] {
        listen(&host, port);
    }
    let agent = Agent::start(&host, &rules("mode = \"always\"\nexcept = [8080, 9000]")).unwrap();
    let _peer = Agent::start(&client, ATTACHED).unwrap();
    until_armed(&agent, true);
    for to in targets(81) {
        let refused = client.enter(|| TcpStream::connect_timeout(&to, std::time::Duration::from_millis(300)));
        assert!(refused.unwrap().is_err(), "{to}");
    }
    let metrics = agent.metrics().unwrap();
    assert_eq!((syns(&metrics, "sent"), syns(&metrics, "no-listener")), (0, 0));
    for to in targets(8080) {
        exchange(&client, to, 10);
    }
    let metrics = agent.metrics().unwrap();
    assert_eq!((syns(&metrics, "sent"), syns(&metrics, "port")), (0, 2));
    for to in targets(OPEN) {
        exchange(&client, to, 10);
    }
    assert_eq!(syns(&agent.metrics().unwrap(), "sent"), 2);
}

/// What nothing on this host listens to is the business of the stack, which forwards or resets it.
#[test]
fn what_another_host_listens_to_is_not_answered_for_it() {
    let (client, host) = hosts();
    listen(&host, OPEN);
    host.sysctl("net/ipv4/ip_forward", "1").unwrap();
    host.ip("route add 203.0.113.0/24 via 192.0.2.1").unwrap();
    client.ip("route add 203.0.113.0/24 via 192.0.2.2").unwrap();
    let agent = Agent::start(&host, &rules("mode = \"always\"")).unwrap();
    let _peer = Agent::start(&client, ATTACHED).unwrap();
    until_armed(&agent, true);
    let elsewhere = "203.0.113.9:80".parse().unwrap();
    let refused =
        client.enter(|| TcpStream::connect_timeout(&elsewhere, std::time::Duration::from_millis(300)));
    assert!(refused.unwrap().is_err());
    let metrics = agent.metrics().unwrap();
    assert_eq!((syns(&metrics, "sent"), syns(&metrics, "no-listener") >= 1), (0, true), "{metrics}");
    exchange(&client, targets(OPEN)[0], 10);
    assert_eq!(syns(&agent.metrics().unwrap(), "sent"), 1);
}
