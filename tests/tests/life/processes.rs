//! The agent is two processes: what happens to the one when the other ends.

use std::fs;
use std::path::Path;

use foobar_tests::{Agent, effort, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Bench, LIMIT, RULES};

/// The kernel process of an agent.
pub(super) fn kernel_process(agent: &Agent<'_>) -> u32 {
    agent.children().unwrap()[0]
}

fn lives(id: u32) -> bool {
    // A process that nobody has waited for yet is dead all the same.
    let state = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    state.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

fn end(id: u32) {
    kill(Pid::from_raw(id.try_into().unwrap()), Signal::SIGKILL).unwrap();
}

#[test]
fn the_kernel_process_ends_with_its_agent_however_that_ends() {
    let bench = Bench::new();
    let mut agent = bench.start(RULES);
    let kernel = kernel_process(&agent);
    assert!(Path::new(&format!("/proc/{kernel}")).exists());
    agent.process().kill().unwrap();
    wait::until("the kernel process ends", LIMIT, || Ok((!lives(kernel)).then_some(()))).unwrap();
    assert!(bench.has_program() && !bench.passes(81, 80));

    drop(agent);
    let agent = bench.start(RULES);
    let kernel = kernel_process(&agent);
    assert!(agent.stop().unwrap().success());
    // A polite end waits for it, but not for long: on a machine that is slow it may still load ahead.
    assert!(!lives(kernel) || !effort::is_whole(), "a polite end waits for it");
    wait::until("the kernel process ends", LIMIT, || Ok((!lives(kernel)).then_some(()))).unwrap();
    assert!(bench.has_program() && !bench.passes(81, 80));
}

#[test]
fn an_agent_whose_kernel_process_dies_says_so_and_ends() {
    let bench = Bench::new();
    let mut agent = bench.start(RULES);
    end(kernel_process(&agent));
    let status = wait::until("the agent ends", LIMIT, || agent.process().ended()).unwrap();
    assert_eq!(status.code(), Some(3), "{}", agent.output());
    for words in ["the kernel process has ended: signal: 9", "the datapath goes on, the agent ends"] {
        assert!(agent.output().contains(words), "no {words:?} in:\n{}", agent.output());
    }
    assert!(bench.has_program() && !bench.passes(81, 80));
    drop(agent);
    let agent = bench.start(RULES);
    assert!(agent.output().contains("the datapath that was attached goes on"), "{}", agent.output());
}

/// It is not for people.
#[test]
fn the_kernel_process_cannot_be_started_by_hand() {
    let output = super::agent_command(&["kernel-process"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("a part of `foobar-agent run`"), "{text}");
}
