//! The datapath of another version, older or newer, is taken over while it judges, with its counts; and given
//! back where the start fails after all.

use std::fs;
use std::path::PathBuf;

use foobar_ebpf::abi::DATAPATH_VERSION;
use foobar_tests::{Agent, Metrics};

use super::{Bench, LIMIT, RULES, rule, words};

/// Makes what one version left in the folders of an agent what another would have left.
pub(crate) fn change_version(bench: &Bench, from: u32, to: u32) {
    let (pins, state) = (bench.folder.join("bpf/foobar"), bench.folder.join("state"));
    fs::rename(pins.join(format!("datapath-v{from}")), pins.join(format!("datapath-v{to}"))).unwrap();
    fs::rename(ledger(&state, from), ledger(&state, to)).unwrap();
}

fn ledger(state: &std::path::Path, version: u32) -> PathBuf {
    state.join(if version == 1 { "datapath.json".to_owned() } else { format!("datapath-v{version}.json") })
}

/// Packets that passed on the interface, by the counter that lives in the kernel.
fn allowed(metrics: &Metrics) -> u64 {
    metrics.count("foobar_xdp_packets_total", &[("interface", "eth0"), ("verdict", "allow")])
}

/// An agent that has judged, and stopped.
fn judged_and_stopped(bench: &Bench) -> PathBuf {
    let agent = bench.start(RULES);
    bench.send(&bench.syn(80), 3);
    agent.metrics_until("all are counted", LIMIT, |now| rule(now, "web") == 3).unwrap();
    // Of two generations, so that some counts are in the ledger and some in the kernel.
    agent.write(&RULES.replace("port = 80", "port = [80, 82]")).unwrap();
    agent.reload().unwrap();
    bench.send(&bench.syn(82), 2);
    agent.metrics_until("all are counted", LIMIT, |now| rule(now, "web") == 5).unwrap();
    let config = agent.config().to_owned();
    assert!(agent.stop().unwrap().success());
    config
}

fn expect_taken_over(bench: &Bench, agent: &Agent<'_>, from: u32) {
    let said = agent.output();
    let words = format!(
        "eth0: taken over from {}/bpf/foobar/datapath-v{from}, from one packet",
        bench.folder.display()
    );
    assert!(said.contains(&words), "no {words:?} in:\n{said}");
    let pins = bench.pins("foobar");
    assert!(
        pins.iter().all(|pin| pin.to_str().unwrap().contains(&format!("/datapath-v{DATAPATH_VERSION}/"))),
        "{pins:?}"
    );
    assert!(!ledger(&bench.folder.join("state"), from).exists());
    assert!(!bench.passes(81, 80) && bench.passes(80, 80));
}

#[test]
fn an_older_and_a_newer_version_are_taken_over_with_their_counts() {
    let bench = Bench::new();
    judged_and_stopped(&bench);
    let mut expected = 5;
    for from in [1, DATAPATH_VERSION - 1, DATAPATH_VERSION + 1] {
        change_version(&bench, DATAPATH_VERSION, from);
        assert!(!bench.passes(81, 80), "it judges, whatever it is called");
        expected += 1;
        let agent = bench.start(RULES);
        expect_taken_over(&bench, &agent, from);
        expected += 3;
        let counted = |now: &Metrics| (rule(now, "web"), allowed(now)) == (expected, expected);
        agent.metrics_until("counts go on", LIMIT, counted).unwrap();
        assert!(agent.stop().unwrap().success());
    }
}

#[test]
fn a_start_that_fails_gives_back_what_it_took() {
    let bench = Bench::new();
    let config = judged_and_stopped(&bench);
    let other = DATAPATH_VERSION - 1;
    change_version(&bench, DATAPATH_VERSION, other);
    let (pins, state) = (bench.pins("foobar"), bench.folder.join("state"));
    let before = fs::read(ledger(&state, other)).unwrap();
    let absent = fs::read_to_string(&config).unwrap().replace("[\"eth0\"]", "[\"eth0\", \"eth7\"]");
    fs::write(&config, absent).unwrap();
    let mut command = bench.host.command(foobar_tests::agent::binary().unwrap()).unwrap();
    command.args(["run", "--strict", "--config"]).arg(&config);
    let failed = bench.run_to_end(command);
    assert_eq!(failed.code, Some(3), "{}", failed.output);
    assert!(failed.output.contains("taken over from"), "{}", failed.output);
    let sorted = |mut paths: Vec<PathBuf>| {
        paths.sort();
        paths
    };
    assert_eq!(sorted(bench.pins("foobar")), sorted(pins));
    assert_eq!(fs::read(ledger(&state, other)).unwrap(), before);
    assert!(!ledger(&state, DATAPATH_VERSION).exists());
    assert!(!bench.passes(81, 80) && bench.passes(82, 80));
    // The other version's agent would go on with it; so does this one with what is wanted.
    let agent = bench.start(RULES);
    expect_taken_over(&bench, &agent, other);
}

#[test]
fn detach_removes_every_version() {
    let bench = Bench::new();
    judged_and_stopped(&bench);
    change_version(&bench, DATAPATH_VERSION, DATAPATH_VERSION + 1);
    let detach = bench.ask(&["detach"]);
    assert!(detach.status.success(), "{}", words(&detach));
    assert!(!bench.has_program() && bench.pins("foobar").is_empty() && bench.passes(81, 80));
    assert!(!ledger(&bench.folder.join("state"), DATAPATH_VERSION + 1).exists());
    let agent = bench.start(RULES);
    assert!(!bench.passes(81, 80));
    agent.metrics_until("counts begin anew", LIMIT, |now| rule(now, "web") == 1).unwrap();
}
