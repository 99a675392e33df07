//! A candidate that judges live packets beside the rules in force, and decides about none: a program in a
//! slot of its own, with an image and counters of its own.

use aya::programs::ProgramFd;
use foobar_ebpf::abi::{GENERATION_SHADOW, setting, shadow};
use foobar_ebpf::verdict::Verdict;

use super::error::KernelError;
use super::ledger::Names;
use super::loaded::Counters;
use super::loader::{Constants, CounterMap, Instance};
use super::message::{CounterSample, ShadowCounts, VerdictPair};
use super::pins::Pins;
use super::switch::Switch;
use super::{counters, sys};
use crate::firewall::generation::Generation;

/// Counts of pairs of verdicts, which go on from one candidate to the next.
type Pairs = Vec<CounterSample>;

/// A candidate that is loaded. It ends with the agent at the latest, so nothing of it is pinned.
pub(super) struct Shadow {
    names: Names,
    counters: Counters,
    before: Pairs,
}

impl Shadow {
    /// Has a candidate judge from now on.
    pub(super) fn start(
        mut generation: Generation,
        pins: &Pins,
        switch: &mut Switch,
        pairs: &CounterMap,
    ) -> Result<Self, KernelError> {
        // It answers nobody and counts no service.
        generation.flags = generation.flags & !setting::REJECT | setting::SHADOW;
        generation.services.clear();
        let mut instance = Instance::ahead(&Constants::of(&generation), pins)?;
        instance.write_image(&generation)?;
        let program = program_of(&mut instance)?;
        let counters = Counters::take(&mut instance)?;
        let names = Names { number: 0, rules: generation.rules, services: Vec::new(), make: None };
        let before = read_pairs(pairs)?;
        switch.enter(GENERATION_SHADOW, &program)?;
        switch.set_shadow(true)?;
        Ok(Self { names, counters, before })
    }

    /// What it has counted.
    pub(super) fn read(&self, pairs: &CounterMap) -> Result<ShadowCounts, KernelError> {
        let (rules, _) = self.counters.read(&self.names)?;
        let since = read_pairs(pairs)?;
        let mut found = Vec::new();
        for &live in Verdict::ALL {
            for &candidate in Verdict::ALL {
                let index = shadow::pair_index(shadow::left(candidate), live).unwrap_or(0) as usize;
                let (Some(now), Some(before)) = (since.get(index), self.before.get(index)) else { continue };
                let count = CounterSample {
                    packets: now.packets.wrapping_sub(before.packets),
                    bytes: now.bytes.wrapping_sub(before.bytes),
                };
                if count != CounterSample::default() {
                    found.push(VerdictPair { live, candidate, count });
                }
            }
        }
        Ok(ShadowCounts { rules, pairs: found })
    }
}

/// Takes a candidate off, also one that an agent has left that died; its counters stand still afterwards.
pub(super) fn end(switch: &mut Switch) -> Result<(), KernelError> {
    switch.set_shadow(false)?;
    switch.clear(GENERATION_SHADOW)?;
    sys::wait_for_running_programs();
    Ok(())
}

fn program_of(instance: &mut Instance) -> Result<ProgramFd, KernelError> {
    const WHAT: &str = "cannot use the candidate's program";
    instance.judge()?.fd().map_err(KernelError::bpf(WHAT))?.try_clone().map_err(KernelError::bpf(WHAT))
}

fn read_pairs(pairs: &CounterMap) -> Result<Pairs, KernelError> {
    (0..shadow::PAIRS).map(|index| counters::read(pairs, index)).collect()
}
