//! The model against the walk on the host: rulesets by chance, each with frames by chance.
//!
//! `FOOBAR_MODEL_RULESETS` and `FOOBAR_MODEL_SEED` make another run than the usual one: more rulesets,
//! or others.
#![expect(clippy::unwrap_used, reason = "a test file; its helpers are not recognised as tests")]

use std::thread;
use std::time::Instant;

use foobar_model::Reason;
use foobar_model::differ::{Reached, compare};
use foobar_tests::chance::Chance;

/// With [`FRAMES`] each, some twenty seconds in an unoptimised build.
const RULESETS: u64 = 1_000;
const FRAMES: usize = 2_500;
/// Reasons that need more than a frame and rules.
const NEVER: [Reason; 4] = [Reason::Ban, Reason::Flow, Reason::Socket, Reason::Unarmed];
const ACTIONS: [&str; 3] = ["allow", "drop", "reject"];

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

/// Compares on all cores; every pair that was judged, and what went wrong.
fn run(first: u64, rulesets: u64) -> (Reached, Vec<String>) {
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    let (mut reached, mut failures) = (Reached::new(), Vec::new());
    let results: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                scope.spawn(move || {
                    let mut results = Vec::new();
                    for seed in (first..first + rulesets).filter(|seed| seed % threads == worker) {
                        results.push((seed, compare(&mut Chance::new(seed), &ACTIONS, FRAMES)));
                        // The next ones would most likely fail for the same reason.
                        if results.last().is_some_and(|(_, result)| result.is_err()) {
                            break;
                        }
                    }
                    results
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    for (seed, result) in results {
        match result {
            Ok(some) => some.into_iter().for_each(|(end, count)| *reached.entry(end).or_default() += count),
            Err(error) => failures.push(format!("FOOBAR_MODEL_SEED={seed} FOOBAR_MODEL_RULESETS=1\n{error}")),
        }
    }
    (reached, failures)
}

#[test]
fn model_and_walk_agree() {
    let rulesets = number("FOOBAR_MODEL_RULESETS").unwrap_or(RULESETS);
    let begin = Instant::now();
    let (reached, failures) = run(number("FOOBAR_MODEL_SEED").unwrap_or(1), rulesets);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let pairs: u64 = reached.values().sum();
    println!("{pairs} pairs in {:.1?}: {reached:?}", begin.elapsed());
    // A comparison that never came there would prove nothing.
    for reason in Reason::ALL.iter().filter(|reason| !NEVER.contains(reason)) {
        assert!(reached.keys().any(|(_, reached)| reached == reason), "no frame was {}", reason.as_str());
    }
    let by_rules: u64 =
        reached.iter().filter(|((_, reason), _)| *reason == Reason::Rule).map(|(_, n)| n).sum();
    assert!(by_rules > pairs / 5, "{by_rules} of {pairs} matched a rule");
}
