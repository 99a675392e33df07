//! One rule of many is changed in the file of a running agent: how long until a packet meets the new one.
//! Packets of that rule arrive all the time; the clock runs from the signal to the first that passes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use foobar_tests::agent::Agent;
use foobar_tests::bpffs::Bpffs;
use foobar_tests::chance::Chance;
use foobar_tests::corpus::{Action, Corpus, Families, Probe, Shape};
use foobar_tests::frame::{Frame, Mac};
use foobar_tests::wire::Wire;
use foobar_tests::{Host, Link};
use serde::Serialize;

use super::Volume;
use super::table::{Table, milliseconds, thousands};
use super::tool::Tool;

/// Between two packets.
const INTERVAL: Duration = Duration::from_micros(200);
/// Longest wait for a change, and for its absence.
const LIMIT: Duration = Duration::from_secs(20);
const QUIET: Duration = Duration::from_millis(50);
/// Where an IPv4 source address lies in a frame without tags, in octets.
const SOURCE: std::ops::Range<usize> = 26..30;

/// Times of one ruleset.
#[derive(Debug, Serialize)]
pub(super) struct Change {
    rules: usize,
    /// Milliseconds, ordered.
    runs: Vec<f64>,
}

pub(super) fn run(tool: &Tool, volume: Volume) -> Result<Change> {
    let (rules, rounds) = volume.pick((1000, 1), (10_000, 9));
    eprintln!("changing one rule of {}", thousands(rules as u64));
    let mut corpus = Corpus::new(Shape::Mixed, Families::V4, rules);
    let (place, probe) = changed_rule(&corpus).context("every rule is shadowed")?;
    let (receiver, sender) = (Host::new("receiver")?, Host::new("sender")?);
    Link::between((&receiver, "eth0"), (&sender, "eth0"))?;
    receiver.address("eth0", "192.0.2.1/24")?;
    let folder = receiver.session().directory("change")?;
    let bpffs = Bpffs::mount(&folder.join("bpf"))?;
    let mut config = |action| {
        corpus.rules[place].action = action;
        corpus.toml(&["eth0"])
    };
    let (closed, open) = (config(Action::Drop), config(Action::Allow));
    let agent = Agent::start_in(&tool.agent, &receiver, &folder, Some(bpffs), &closed)?;
    let station = receiver.mac("eth0")?;
    let frame = probe.frame(&Frame::new(Mac([2, 0, 0, 0, 0, 1]), station));
    let (out, seen) = (Wire::open(&sender, "eth0")?, Wire::open(&receiver, "eth0")?);
    let mut runs = Vec::new();
    for _ in 0..rounds {
        out.send(&frame)?;
        let early = seen.receive(QUIET, |bytes| is_of(bytes, &frame))?;
        ensure!(early.is_none(), "a packet passed before its rule was changed");
        agent.write(&open)?;
        runs.push(until_seen(&agent, &out, &seen, &frame)?.as_secs_f64() * 1e3);
        agent.write(&closed)?;
        agent.reload()?;
        // What arrived until then is not of the next round.
        while seen.receive(QUIET, |bytes| is_of(bytes, &frame))?.is_some() {}
    }
    runs.sort_by(f64::total_cmp);
    Ok(Change { rules, runs })
}

/// A rule in the middle that decides about the packets that it names, and such a packet.
fn changed_rule(corpus: &Corpus) -> Option<(usize, Probe)> {
    let mut chance = Chance::new(3);
    (corpus.rules.len() / 2..corpus.rules.len()).step_by(3).find_map(|place| {
        let probe = corpus.matching(place, &mut chance);
        (corpus.first_match(&probe) == Some(place)).then_some((place, probe))
    })
}

fn until_seen(agent: &Agent<'_>, out: &Wire, seen: &Wire, frame: &[u8]) -> Result<Duration> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let sending = scope.spawn(|| -> Result<()> {
            while !done.load(Ordering::Relaxed) {
                out.send(frame)?;
                thread::sleep(INTERVAL);
            }
            Ok(())
        });
        let start = Instant::now();
        let first = agent.hang_up().and_then(|()| seen.receive(LIMIT, |bytes| is_of(bytes, frame)));
        let took = start.elapsed();
        done.store(true, Ordering::Relaxed);
        let sent = sending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        first?.context("no packet passed after the change").map_err(|error| agent.explain(&error))?;
        sent?;
        Ok(took)
    })
}

fn is_of(bytes: &[u8], frame: &[u8]) -> bool {
    bytes.get(SOURCE).is_some_and(|source| frame.get(SOURCE) == Some(source))
}

pub(super) fn table(change: &Change) -> Table {
    let mut table = Table::new(&["rules", "min", "median", "max"]);
    let figures = [0, change.runs.len() / 2, change.runs.len().saturating_sub(1)];
    let mut row = vec![thousands(change.rules as u64)];
    row.extend(figures.map(|at| change.runs.get(at).map_or_else(String::new, |ms| milliseconds(*ms))));
    table.push(row);
    table
}
