//! The datapath outlives its agent, however that ends; the next one goes on with it; `detach` ends it.

use super::{Bench, LIMIT, RULES, agent_command, rule};

#[test]
fn a_killed_agents_filter_stays_and_the_next_one_goes_on_with_its_counters() {
    let bench = Bench::new();
    let mut agent = bench.start(RULES);
    bench.send(&bench.syn(80), 3);
    bench.send(&bench.syn(81), 4);
    agent.metrics_until("all are counted", LIMIT, |now| rule(now, "policy") == 4).unwrap();
    agent.process().kill().unwrap();
    drop(agent);
    // Counted while no agent runs: one each by `passes`.
    assert!(!bench.passes(81, 80));

    let agent = bench.start(RULES);
    assert!(agent.output().contains("the datapath that was attached goes on (native)"), "{}", agent.output());
    let metrics = agent.metrics().unwrap();
    assert_eq!((rule(&metrics, "web"), rule(&metrics, "policy")), (4, 5), "{metrics}");
    let allowed = [("interface", "eth0"), ("verdict", "allow")];
    assert_eq!(metrics.count("foobar_xdp_packets_total", &allowed), 4, "{metrics}");
    assert!(!bench.passes(81, 80));
    assert!(agent.stop().unwrap().success());
}

#[test]
fn a_new_configuration_is_taken_at_the_next_start_with_counters_by_name() {
    let bench = Bench::new();
    let agent = bench.start(RULES);
    bench.send(&bench.syn(80), 3);
    agent.metrics_until("all are counted", LIMIT, |now| rule(now, "web") == 3).unwrap();
    assert!(agent.stop().unwrap().success());
    assert!(bench.has_program());

    let first = "[[firewall.rules]]\nname = \"alt\"\naction = \"allow\"\nprotocol = \"tcp\"\nport = 81\n";
    let agent = bench.start(&RULES.replacen("[[firewall.rules]]", &format!("{first}[[firewall.rules]]"), 1));
    assert!(bench.passes(81, 80));
    let counted = |now: &foobar_tests::Metrics| (rule(now, "alt"), rule(now, "web")) == (1, 4);
    agent.metrics_until("counters follow their names", LIMIT, counted).unwrap();
}

#[test]
fn detach_removes_everything_and_a_restart_attaches_again() {
    let bench = Bench::new();
    let agent = bench.start(RULES);
    assert!(bench.has_program() && !bench.pins("foobar").is_empty());
    let output = agent.control(&["detach"]).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!bench.has_program());
    assert!(bench.pins("foobar").is_empty());
    assert!(bench.passes(81, 80), "nothing is judged any more");
    let metrics = agent.metrics().unwrap();
    assert_eq!(metrics.count("foobar_xdp_attached", &[("interface", "eth0")]), 0, "{metrics}");
    assert!(agent.stop().unwrap().success());
    assert!(!bench.has_program());

    let agent = bench.start(RULES);
    assert!(bench.has_program() && !bench.passes(81, 80));
    assert!(agent.stop().unwrap().success());
}

/// An agent that is killed leaves its socket's file; that is no agent.
#[test]
fn commands_say_that_no_agent_runs() {
    let bench = Bench::new();
    let mut agent = bench.start(RULES);
    let config = agent.config().to_owned();
    agent.process().kill().unwrap();
    drop(agent);
    for command in ["status", "rules", "reload"] {
        let output = agent_command(&[command, "--config", config.to_str().unwrap()]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{command}: {said}");
        assert!(said.contains("no agent"), "{command}: {said}");
    }
    assert!(!bench.passes(81, 80));
    // What nobody holds any more can still be removed.
    let detach = agent_command(&["detach", "--config", config.to_str().unwrap()]).output().unwrap();
    assert!(detach.status.success(), "{}", String::from_utf8_lossy(&detach.stderr));
    assert!(!bench.has_program() && bench.pins("foobar").is_empty() && bench.passes(81, 80));
}
