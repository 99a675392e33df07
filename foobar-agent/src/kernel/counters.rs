//! Per-CPU counters to sums.

use foobar_ebpf::abi::answer::Outcome;
use foobar_ebpf::abi::{Counter, INTERFACES_MAX, event, outcome_index};
use foobar_ebpf::verdict::{Reason, Verdict};

use super::error::KernelError;
use super::loader::{CounterMap, clamp_u32};
use super::message::{AnswerOutcome, CounterSample, InterfaceOutcome, Named, Samples};

/// One counter, summed over CPUs.
pub(super) fn read(counters: &CounterMap, index: u32) -> Result<CounterSample, KernelError> {
    let per_cpu = counters.get(&index, 0).map_err(KernelError::bpf("cannot read a counter"))?;
    let mut sum = CounterSample::default();
    for Counter { packets, bytes } in per_cpu.iter().map(|value| value.0) {
        sum += CounterSample { packets, bytes };
    }
    Ok(sum)
}

/// The counters of these names, in their order, from slot 0 on.
pub(super) fn read_named(counters: &CounterMap, names: &[String]) -> Result<Vec<Named>, KernelError> {
    let named = names
        .iter()
        .enumerate()
        .map(|(slot, name)| Ok(Named { name: name.clone(), count: read(counters, clamp_u32(slot))? }));
    named.collect()
}

/// What happened to packets of these logical interfaces; rows of zero are left out.
pub(super) fn read_outcomes(
    counters: &CounterMap,
    interfaces: impl Iterator<Item = u32>,
) -> Result<Vec<InterfaceOutcome>, KernelError> {
    let mut outcomes = Vec::new();
    for interface in interfaces.filter(|interface| *interface < INTERFACES_MAX) {
        for &verdict in Verdict::ALL {
            for &reason in Reason::ALL {
                let count = read(counters, outcome_index(interface, verdict, reason))?;
                if count != CounterSample::default() {
                    outcomes.push(InterfaceOutcome { interface, verdict, reason, count });
                }
            }
        }
    }
    Ok(outcomes)
}

/// What became of samples.
pub(super) fn read_samples(counters: &CounterMap) -> Result<Samples, KernelError> {
    let packets = |outcome: event::Outcome| read(counters, outcome as u32).map(|count| count.packets);
    Ok(Samples {
        emitted: packets(event::Outcome::Emitted)?,
        lost: packets(event::Outcome::Lost)?,
        withheld: packets(event::Outcome::Withheld)?,
    })
}

/// What became of the answers to rejected packets; rows of zero are left out.
pub(super) fn read_answers(counters: &CounterMap) -> Result<Vec<AnswerOutcome>, KernelError> {
    let mut answers = Vec::new();
    for &outcome in Outcome::ALL {
        let count = read(counters, outcome as u32)?;
        if count != CounterSample::default() {
            answers.push(AnswerOutcome { outcome, count });
        }
    }
    Ok(answers)
}
