//! `apply --confirm`: a configuration that cuts its operator off goes away by itself, with the agent and
//! without it; `confirm` keeps it, `rollback` ends it; and what was not kept does not come back unasked.

use std::fs;
use std::path::{Path, PathBuf};

use foobar_tests::{Agent, Metrics, wait};

use super::{Bench, LIMIT, RULES, agent_command, rule, words};

/// The operator comes in by port 80; this lets nobody but port 81 in.
fn cutting_off() -> String {
    RULES.replace("port = 80", "port = 81")
}

/// Writes another configuration for the bench's agent beside its own.
fn candidate(bench: &Bench, agent: &Agent<'_>, config: &str) -> PathBuf {
    let own = fs::read_to_string(agent.config()).unwrap();
    let path = bench.folder.join("candidate.toml");
    fs::write(&path, format!("{config}{}", &own[own.find("\n[host]").unwrap()..])).unwrap();
    path
}

fn apply(bench: &Bench, path: &Path, options: &[&str]) -> String {
    let command = [&["apply", path.to_str().unwrap()], options].concat();
    let output = agent_command(&command).output().unwrap();
    let said = words(&output);
    assert!(output.status.success(), "{said}");
    assert!(bench.has_program());
    said
}

fn generation(agent: &Agent<'_>) -> u64 {
    agent.metrics().unwrap().count("foobar_firewall_generation", &[])
}

#[test]
fn what_cuts_the_operator_off_goes_by_itself_while_the_agent_lives() {
    let bench = Bench::new();
    let agent = bench.start(RULES);
    bench.send(&bench.syn(80), 3);
    agent.metrics_until("all are counted", LIMIT, |now| rule(now, "web") == 3).unwrap();
    let said = apply(&bench, &candidate(&bench, &agent, &cutting_off()), &["--confirm", "2s"]);
    assert!(said.contains("foobar-agent confirm") && said.contains("back to generation 1"), "{said}");
    assert!(!bench.passes(80, 81), "the operator is cut off");
    let status = words(&bench.ask(&["status"]));
    assert!(status.contains("on trial") && status.contains("generation 1 judges again"), "{status}");

    let back = "not confirmed in time: generation 1 judges again";
    wait::until("it is gone", LIMIT, || Ok(agent.output().contains(back).then_some(()))).unwrap();
    assert!(bench.passes(80, 80) && !bench.passes(81, 80));
    assert_eq!(generation(&agent), 1);
    let late = bench.ask(&["confirm"]);
    assert_eq!(late.status.code(), Some(3), "{}", words(&late));
    assert!(words(&late).contains("nothing waits for a confirmation"), "{}", words(&late));
    let status = words(&bench.ask(&["status"]));
    assert!(status.contains("candidate.toml was not confirmed in time"), "{status}");
    // Probes and marks: one was let through while the trial lasted, three afterwards.
    let counted = |now: &Metrics| (rule(now, "web"), rule(now, "policy")) == (3 + 1 + 3, 2);
    agent.metrics_until("counts go on under their names", LIMIT, counted).unwrap();
}

#[test]
fn the_datapath_goes_back_without_an_agent_and_the_next_one_makes_it_last() {
    let bench = Bench::new();
    let mut agent = bench.start(RULES);
    // The operator changed the agent's own file.
    agent.write(&cutting_off()).unwrap();
    let own = agent.config().to_owned();
    apply(&bench, &own, &["--confirm", "2s"]);
    agent.process().kill().unwrap();
    drop(agent);
    assert!(!bench.passes(80, 81), "the operator is cut off");
    let open = || Ok(bench.reaches(80).then_some(()));
    wait::until("port 80 is open again", LIMIT, open).unwrap();
    assert!(!bench.reaches(81));

    // The same file again: what cut the operator off must not come back unasked.
    let agent = bench.start(&cutting_off());
    let said = agent.output();
    assert!(said.contains("has gone back to generation 1 by itself"), "{said}");
    assert!(said.contains("says what was not confirmed in time: it is not taken"), "{said}");
    assert!(bench.passes(80, 80) && !bench.passes(81, 80));
    let reload = agent.control(&["reload"]).unwrap();
    assert_eq!(reload.status.code(), Some(3), "{}", words(&reload));
    assert!(words(&reload).contains("a reload does not take it"), "{}", words(&reload));
    assert!(agent.stop().unwrap().success());

    // As after a reboot: no pin is left.
    assert!(bench.ask(&["detach"]).status.success());
    let agent = bench.start(&cutting_off());
    assert!(bench.passes(80, 80) && !bench.passes(81, 80));
    // Who insists is heard.
    apply(&bench, &own, &[]);
    assert!(!bench.passes(80, 81) && bench.passes(81, 81));
    agent.reload().unwrap();
    assert!(agent.stop().unwrap().success());
    let agent = bench.start(&cutting_off());
    assert!(bench.passes(81, 81), "{}", agent.output());
}

#[test]
fn a_start_in_the_middle_of_a_trial_keeps_it() {
    let bench = Bench::new();
    let mut agent = bench.start(RULES);
    let path = candidate(&bench, &agent, &cutting_off());
    apply(&bench, &path, &["--confirm", "60s"]);
    agent.process().kill().unwrap();
    drop(agent);
    let agent = bench.start(RULES);
    assert!(agent.output().contains("candidate.toml is on trial: it goes on judging"), "{}", agent.output());
    assert!(!bench.passes(80, 81) && bench.passes(81, 81));
    let reload = agent.control(&["reload"]).unwrap();
    assert!(words(&reload).contains("is on trial: keep it with"), "{}", words(&reload));
    let confirmed = agent.control(&["confirm"]).unwrap();
    assert!(words(&confirmed).contains("generation 2 judges packets for good"), "{}", words(&confirmed));
    assert!(bench.passes(81, 81));
    // What `apply` took is in force until the next start or reload, which take the agent's own file.
    agent.reload().unwrap();
    assert!(bench.passes(80, 80) && !bench.passes(81, 80));
}

#[test]
fn a_confirmation_keeps_it_and_a_rollback_goes_back_and_forth() {
    let bench = Bench::new();
    let agent = bench.start(RULES);
    let none = agent.control(&["rollback"]).unwrap();
    assert!(words(&none).contains("nothing to go back to"), "{}", words(&none));
    agent.write(&cutting_off()).unwrap();
    apply(&bench, agent.config(), &["--confirm", "1h"]);
    assert!(words(&agent.control(&["confirm"]).unwrap()).contains("generation 2 judges packets for good"));
    bench.send(&bench.syn(81), 5);
    for (open, shut, generation) in [(80, 81, 1), (81, 80, 2), (80, 81, 1)] {
        let rolled_back = agent.control(&["rollback"]).unwrap();
        let expected = format!("generation {generation} judges packets again, with the configuration");
        assert!(words(&rolled_back).contains(&expected), "{}", words(&rolled_back));
        assert!(bench.passes(open, open) && !bench.passes(shut, open));
    }
    // Marks and probes of three rounds.
    let counted = |now: &Metrics| (rule(now, "web"), rule(now, "policy")) == (5 + 3 * 3, 3);
    agent.metrics_until("counts follow names over every switch", LIMIT, counted).unwrap();
    // What was rolled back is in the agent's file still.
    let reload = agent.control(&["reload"]).unwrap();
    assert!(words(&reload).contains("says what was rolled back"), "{}", words(&reload));
    assert!(agent.stop().unwrap().success());
    let agent = bench.start(&cutting_off());
    assert!(bench.passes(80, 80) && !bench.passes(81, 80));
    // The generation before is still loaded.
    let rolled_back = agent.control(&["rollback"]).unwrap();
    assert!(words(&rolled_back).contains("generation 2 judges packets again"), "{}", words(&rolled_back));
    assert!(bench.passes(81, 81) && !bench.passes(80, 81));
    let counted = |now: &Metrics| (rule(now, "web"), rule(now, "policy")) == (5 + 3 * 3 + 3 + 3, 3 + 1 + 1);
    agent.metrics_until("over a restart, too", LIMIT, counted).unwrap();
}

#[test]
fn a_trial_can_be_ended_at_once_and_nothing_comes_between() {
    let bench = Bench::new();
    let agent = bench.start(RULES);
    let path = candidate(&bench, &agent, &cutting_off());
    apply(&bench, &path, &["--confirm", "1h"]);
    for command in [&["apply", path.to_str().unwrap()][..], &["reload", "--config", path.to_str().unwrap()]] {
        let refused = agent_command(command).output().unwrap();
        assert!(words(&refused).contains("generation 2 is on trial"), "{}", words(&refused));
    }
    assert!(words(&agent.control(&["rollback"]).unwrap()).contains("generation 1 judges packets again"));
    assert!(bench.passes(80, 80) && !bench.passes(81, 80));
    assert!(words(&agent.control(&["rollback"]).unwrap()).contains("nothing to go back to"));
}

/// All of a configuration is on trial, not its rules alone.
#[test]
fn the_monitor_goes_back_with_the_rules() {
    let bench = Bench::new();
    let agent = bench.start(RULES);
    let elsewhere = format!("{RULES}[monitor]\nlisten = [\"127.0.0.1:9978\"]\n");
    apply(&bench, &candidate(&bench, &agent, &elsewhere), &["--confirm", "1h"]);
    let address = "127.0.0.1:9978".parse().unwrap();
    assert_eq!(foobar_tests::http::get(&bench.host, address, "/healthz").unwrap().status, 200);
    assert!(agent.metrics().is_err());
    assert!(
        words(&agent.control(&["rollback"]).unwrap()).contains("with the configuration that it came with")
    );
    assert!(foobar_tests::http::get(&bench.host, address, "/healthz").is_err());
    assert_eq!(generation(&agent), 1);
}

#[test]
fn a_broken_candidate_changes_nothing() {
    let bench = Bench::new();
    let agent = bench.start(RULES);
    let path = candidate(&bench, &agent, &RULES.replace("port = 80", "prot = 80"));
    let output = agent_command(&["apply", path.to_str().unwrap(), "--confirm"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    assert!(words(&output).contains("candidate.toml:9:1: error: "), "{}", words(&output));
    assert!(bench.passes(80, 80));
    assert!(words(&agent.control(&["confirm"]).unwrap()).contains("nothing waits"));
}
