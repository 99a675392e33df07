//! A reload changes all or nothing, by command and by signal; and what it says of itself.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use foobar_tests::wait;

use super::{Bench, LIMIT, RULES, rule, words};

#[test]
fn a_command_and_a_signal_change_verdicts() {
    let bench = Bench::new();
    let agent = bench.start(RULES);
    assert!(!bench.passes(81, 80));
    agent.write(&RULES.replace("port = 80", "port = [80, 81]")).unwrap();
    assert!(!bench.passes(81, 80), "a file that nobody took changes nothing");
    agent.reload().unwrap();
    assert!(bench.passes(81, 80));

    agent.write(&RULES.replace("port = 80", "port = [80, 82]")).unwrap();
    agent.hang_up().unwrap();
    let reloaded = |metrics: &foobar_tests::Metrics| metrics.count("foobar_firewall_generation", &[]) == 3;
    agent.metrics_until("the signal is taken", LIMIT, reloaded).unwrap();
    assert!(!bench.passes(81, 80) && bench.passes(82, 80));
    assert!(agent.stop().unwrap().success());
}

#[test]
fn a_broken_file_changes_nothing_and_says_where_it_is_broken() {
    let bench = Bench::new();
    let agent = bench.start(RULES);
    // Line 6 of the file, after an empty first line.
    agent.write(&RULES.replace("\"web\"\naction = \"allow\"", "\"web\"\naction = \"allw\"")).unwrap();
    let output = agent.control(&["reload"]).unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    assert!(words(&output).contains("foobar.toml:7:10: error: "), "{}", words(&output));
    assert!(bench.passes(80, 80) && !bench.passes(81, 80));

    agent.hang_up().unwrap();
    let what = "the agent logs the refusal of the signal's reload, too";
    let refusals = || agent.output().matches("reload refused, nothing changed").count();
    wait::until(what, LIMIT, || Ok((refusals() == 2).then_some(()))).unwrap();
    let metrics = agent.metrics().unwrap();
    assert_eq!(metrics.count("foobar_firewall_generation", &[]), 1, "{metrics}");
    assert_eq!(metrics.count("foobar_config_last_reload_successful", &[]), 0, "{metrics}");
    assert!(bench.passes(80, 80) && !bench.passes(81, 80));

    agent.write(RULES).unwrap();
    agent.reload().unwrap();
    assert_eq!(agent.metrics().unwrap().count("foobar_config_last_reload_successful", &[]), 1);
}

/// An interface that refuses, or a port in use, refuses the whole reload.
#[test]
fn what_the_host_refuses_changes_nothing_either() {
    let bench = Bench::new();
    let agent = bench.start(RULES);
    let taken = bench.host.enter(|| std::net::TcpListener::bind("127.0.0.1:9000")).unwrap().unwrap();
    let wider = RULES.replace("port = 80", "port = [80, 81]");
    agent.write(&format!("{wider}[monitor]\nlisten = [\"127.0.0.1:9977\", \"127.0.0.1:9000\"]\n")).unwrap();
    let output = agent.control(&["reload"]).unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", words(&output));
    assert!(words(&output).contains("127.0.0.1:9000"), "{}", words(&output));
    assert!(!bench.passes(81, 80));
    drop(taken);
    agent.reload().unwrap();
    assert!(bench.passes(81, 80));
}

#[test]
fn counters_follow_names_and_the_command_shows_what_is_scraped() {
    let bench = Bench::new();
    let agent = bench.start(RULES);
    bench.send(&bench.syn(80), 7);
    bench.send(&bench.syn(81), 5);
    agent.metrics_until("all are counted", LIMIT, |now| rule(now, "policy") >= 5).unwrap();
    let before = "[[firewall.rules]]\nname = \"before\"\naction = \"drop\"\nprotocol = \"tcp\"\nport = 81\n";
    agent.write(&RULES.replacen("[[firewall.rules]]", &format!("{before}[[firewall.rules]]"), 1)).unwrap();
    agent.reload().unwrap();
    bench.send(&bench.syn(80), 2);
    bench.send(&bench.syn(81), 3);
    let metrics = agent.metrics_until("all are counted", LIMIT, |now| rule(now, "before") >= 3).unwrap();

    let output = agent.control(&["rules", "--json"]).unwrap();
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let row = |row: &serde_json::Value| {
        let number = |key: &str| row[key].as_u64().unwrap();
        (row["name"].as_str().unwrap().to_owned(), number("packets"), number("bytes"))
    };
    let rows: Vec<_> = rows.as_array().unwrap().iter().map(row).collect();
    let bytes = bench.syn(80).len() as u64;
    let expected = [("before", 3), ("web", 9), ("policy", 5)];
    assert_eq!(rows, expected.map(|(name, packets)| (name.to_owned(), packets, packets * bytes)));
    for (name, packets, bytes) in rows {
        assert_eq!(rule(&metrics, &name), packets);
        assert_eq!(metrics.count("foobar_firewall_rule_bytes_total", &[("rule", &name)]), bytes);
    }
}

/// By interface and verdict, by reason, by rule: each says the same of what was sent, and no more.
#[test]
fn every_kind_of_frame_is_counted_exactly() {
    let bench = Bench::new();
    let agent = bench.start(RULES);
    let mut short = bench.syn(80);
    short.truncate(50);
    bench.send(&bench.syn(80), 11);
    bench.send(&bench.syn(81), 12);
    bench.send(&short, 13);
    bench.send(&bench.frame().raw(0x0806, &[0; 28]), 14);
    bench.send(&bench.frame().clone().vlan(1).vlan(2).vlan(3).raw(0x0800, &[0; 40]), 15);
    let drops = |now: &foobar_tests::Metrics, reason: &str| {
        now.matching("foobar_firewall_drops_total", &[("reason", reason)]).map(|row| row.value).sum::<f64>()
    };
    let done = |now: &foobar_tests::Metrics| drops(now, "malformed-vlan") >= 15.0;
    let now = agent.metrics_until("the last kind is counted", LIMIT, done).unwrap();
    let packets =
        |verdict| now.count("foobar_xdp_packets_total", &[("interface", "eth0"), ("verdict", verdict)]);
    assert_eq!((rule(&now, "web"), rule(&now, "policy")), (11, 12), "{now}");
    assert_eq!((packets("allow"), packets("drop")), (11 + 14, 12 + 13 + 15), "{now}");
    assert_eq!(now.count("foobar_firewall_drops_total", &[("reason", "policy")]), 12, "{now}");
    assert_eq!(now.count("foobar_firewall_drops_total", &[("reason", "malformed-ip-length")]), 13, "{now}");
    assert_eq!(now.count("foobar_firewall_drops_total", &[("reason", "malformed-vlan")]), 15, "{now}");
    let attached = now.count("foobar_xdp_attached", &[("interface", "eth0"), ("mode", "native")]);
    assert_eq!(attached, 1, "{now}");
}

/// ebpfsentinel empties its tables before it fills them anew: meanwhile the policy decides alone. Here
/// each packet of a stream that does not pause meets the rule, whichever generation it meets.
#[test]
fn no_packet_meets_a_ruleset_that_is_half_there() {
    let bench = Bench::new();
    let agent = bench.start(RULES);
    let frame = bench.syn(80);
    let sent = AtomicU64::new(0);
    let reloading = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let reloads = scope.spawn(|| {
            let reloaded = (0..10u16).try_for_each(|number| {
                agent.write(&RULES.replace("port = 80", &format!("port = [80, {}]", 100 + number)))?;
                agent.reload().map(drop)
            });
            reloading.store(false, Ordering::Relaxed);
            reloaded
        });
        while reloading.load(Ordering::Relaxed) {
            bench.send(&frame, 1);
            sent.fetch_add(1, Ordering::Relaxed);
        }
        reloads.join().unwrap().unwrap();
    });
    let sent = sent.into_inner();
    let metrics = agent.metrics_until("all are counted", LIMIT, |now| rule(now, "web") >= sent).unwrap();
    assert_eq!((rule(&metrics, "web"), rule(&metrics, "policy")), (sent, 0), "{metrics}");
    assert_eq!(metrics.count("foobar_firewall_generation", &[]), 11);
    assert!(sent > 100, "only {sent} packets met ten reloads");
}
