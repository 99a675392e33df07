//! The real program on single frames, attached to nothing: `BPF_PROG_TEST_RUN`. Shares no
//! map with a running agent and needs neither pins nor interfaces.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use aya::maps::{Array, MapData, PerCpuArray, PerCpuValues, ProgramArray};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use foobar_ebpf::abi::{INTERFACE_ENTRIES, InterfaceSlot, map, program};

use super::bans::BanMaps;
use super::counters;
use super::error::KernelError;
use super::loader::{self, CounterMap, Instance};
use super::message::{AnswerOutcome, InterfaceOutcome, Named};
use super::sys;
use super::value::Plain;
use crate::firewall::generation::Generation;

/// Test runs arrive on the namespace's loopback, which is always interface 1.
const TEST_RUN_IFINDEX: u32 = 1;

/// An answer may be longer than what it answers: by an IPv6 and an ICMPv6 header.
const ANSWER_GROWTH_BYTES: usize = 48;

const NOT_RUN: &str = "the kernel does not run the frame";

/// One generation, loaded for test runs.
pub struct Bed {
    pub(super) instance: Instance,
    interfaces: Array<MapData, Plain<InterfaceSlot>>,
    outcomes: CounterMap,
    answers: CounterMap,
    answer_limit: PerCpuArray<MapData, u64>,
    rules: CounterMap,
    services: CounterMap,
    over: CounterMap,
    rule_names: Vec<String>,
    service_names: Vec<String>,
    limit_names: Vec<String>,
}

/// A [`Bed`]'s program.
pub struct Runner {
    program: OwnedFd,
}

impl Runner {
    /// Judges a frame; gives the XDP return code, or `None` where the kernel does not run frames of its
    /// length.
    ///
    /// # Errors
    /// When the kernel fails.
    pub fn run(&self, frame: &[u8]) -> Result<Option<u32>, KernelError> {
        sys::test_run(self.program.as_fd(), frame)
    }
}

/// What one run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The XDP return code.
    pub action: u32,
    /// Mean time of one run, as the kernel measured it.
    pub duration: Duration,
}

impl Bed {
    /// Loads a generation.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn new(generation: &Generation) -> Result<Self, KernelError> {
        let mut instance = Instance::load(Some(generation), None)?;
        instance.judge()?;
        Ok(Self {
            interfaces: instance.take_array(map::INTERFACES)?,
            outcomes: instance.take_counters(map::OUTCOMES)?,
            answers: instance.take_counters(map::ANSWERS)?,
            answer_limit: instance.take_per_cpu(map::ANSWER_LIMIT)?,
            rules: instance.take_counters(map::RULES)?,
            services: instance.take_counters(map::SERVICES)?,
            over: instance.take_counters(map::OVER)?,
            rule_names: generation.rules.clone(),
            service_names: generation.service_names(),
            limit_names: generation.limits.clone(),
            instance,
        })
    }

    /// Lets frames arrive on this logical interface from now on.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn arrive_on(&mut self, logical: u32) -> Result<(), KernelError> {
        self.arrive_at(logical, 0)
    }

    /// As [`Bed::arrive_on`], where the interface has a hardware address, see
    /// [`InterfaceSlot::station`].
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn arrive_at(&mut self, logical: u32, station: u64) -> Result<(), KernelError> {
        arrive_at(&mut self.interfaces, logical, station)
    }

    /// Judges a frame `repeat` times.
    ///
    /// # Errors
    /// When the kernel does not run it: it refuses frames shorter than an Ethernet header.
    pub fn run(&mut self, frame: &[u8], repeat: u32) -> Result<Ran, KernelError> {
        test_run(self.instance.judge()?, frame, repeat)
    }

    /// The program for a thread of its own, which judges by the same maps.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub fn runner(&mut self) -> Result<Runner, KernelError> {
        let program = self.instance.judge()?.fd().map_err(KernelError::bpf("cannot use the program"))?;
        let program = program.as_fd().try_clone_to_owned();
        let program = program.map_err(|source| KernelError::System { what: NOT_RUN, source })?;
        Ok(Runner { program })
    }

    /// Judges a frame once, and gives what has become of it: with `XDP_TX`, the answer.
    ///
    /// # Errors
    /// As for [`Bed::run`].
    pub fn run_out(&mut self, frame: &[u8]) -> Result<(Ran, Vec<u8>), KernelError> {
        let mut out = vec![0; frame.len() + ANSWER_GROWTH_BYTES];
        let options = TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), ..Default::default() };
        let result = self.instance.judge()?.test_run(options).map_err(KernelError::bpf(NOT_RUN))?;
        out.truncate(result.data_size_out as usize);
        Ok((Ran { action: result.return_value, duration: result.duration }, out))
    }

    /// Answers that a CPU may send at once.
    ///
    /// # Errors
    /// When the kernel does not say how many CPUs there are.
    pub fn burst(&self) -> Result<u64, KernelError> {
        Ok(loader::allowance()?.burst())
    }

    /// Lets every CPU send as many answers at once as after a rest.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn rest(&mut self) -> Result<(), KernelError> {
        self.limit_answers(0)
    }

    /// Lets no CPU send an answer any more.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn exhaust(&mut self) -> Result<(), KernelError> {
        self.limit_answers(u64::MAX / 2)
    }

    /// Writes `abi::map::ANSWER_LIMIT`.
    fn limit_answers(&mut self, used_until_ns: u64) -> Result<(), KernelError> {
        const WHAT: &str = "cannot set the limit of answers";
        let cpus = aya::util::nr_cpus().map_err(|(_, source)| KernelError::System { what: WHAT, source })?;
        let values = PerCpuValues::try_from(vec![used_until_ns; cpus]);
        let values = values.map_err(|source| KernelError::System { what: WHAT, source })?;
        self.answer_limit.set(0, values, 0).map_err(KernelError::bpf(WHAT))
    }

    /// The tables of bans that runs are judged by.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn bans(&self) -> Result<BanMaps, KernelError> {
        self.instance.bans()
    }

    /// What became of the answers to rejected packets.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn answers(&self) -> Result<Vec<AnswerOutcome>, KernelError> {
        counters::read_answers(&self.answers)
    }

    /// Runs the program that does nothing instead: what a measurement subtracts.
    ///
    /// # Errors
    /// As for [`Bed::run`].
    pub fn run_empty(&mut self, frame: &[u8], repeat: u32) -> Result<Ran, KernelError> {
        test_run(self.instance.program(program::PASS)?, frame, repeat)
    }

    /// What all runs so far came to, by logical interface.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn outcomes(&self, logical: u32) -> Result<Vec<InterfaceOutcome>, KernelError> {
        counters::read_outcomes(&self.outcomes, std::iter::once(logical))
    }

    /// Hits by rule, the policy last.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn rules(&self) -> Result<Vec<Named>, KernelError> {
        counters::read_named(&self.rules, &self.rule_names)
    }

    /// Packets over their rules' rates, by rule with a rate.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn over(&self) -> Result<Vec<Named>, KernelError> {
        counters::read_named(&self.over, &self.limit_names)
    }

    /// Messages by service.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn services(&self) -> Result<Vec<Named>, KernelError> {
        counters::read_named(&self.services, &self.service_names)
    }

    /// Instructions that the verifier walked through to accept the judging program.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn verified_instructions(&mut self) -> Result<u32, KernelError> {
        let info = self.instance.judge()?.info().map_err(KernelError::bpf("cannot examine the program"))?;
        info.verified_instruction_count().ok_or(KernelError::Missing("count of verified instructions"))
    }
}

/// The program that interfaces run, with generations in its slots that share no map with it: what
/// each of them counts tells which one judged.
pub struct RootBed {
    instance: Instance,
    generations: ProgramArray<MapData>,
    control: Array<MapData, u64>,
    outcomes: CounterMap,
}

impl RootBed {
    /// Loads it without any generation.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn new() -> Result<Self, KernelError> {
        let mut instance = Instance::load(None, None)?;
        instance.program(program::ROOT)?;
        let generations =
            instance.ebpf.take_map(map::GENERATIONS).ok_or(KernelError::Missing(map::GENERATIONS))?;
        Ok(Self {
            generations: generations.try_into().map_err(KernelError::bpf("unexpected map"))?,
            control: instance.take_array(map::CONTROL)?,
            outcomes: instance.take_counters(map::OUTCOMES)?,
            instance,
        })
    }

    /// Puts a generation into a slot.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn enter(&mut self, slot: u32, generation: &mut Bed) -> Result<(), KernelError> {
        let judge = generation.instance.judge()?.fd().map_err(KernelError::bpf("cannot use the program"))?;
        self.generations.set(slot, judge, 0).map_err(KernelError::bpf("cannot switch the generation"))
    }

    /// Writes a word of the control map, see `abi::control`.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn control(&mut self, word: u32, value: u64) -> Result<(), KernelError> {
        self.control.set(word, value, 0).map_err(KernelError::bpf("cannot write a word of control"))
    }

    /// Lets a frame arrive `repeat` times.
    ///
    /// # Errors
    /// As for [`Bed::run`].
    pub fn run(&mut self, frame: &[u8], repeat: u32) -> Result<Ran, KernelError> {
        test_run(self.instance.program(program::ROOT)?, frame, repeat)
    }

    /// What the program itself counted, by logical interface.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn outcomes(&self, logical: u32) -> Result<Vec<InterfaceOutcome>, KernelError> {
        counters::read_outcomes(&self.outcomes, std::iter::once(logical))
    }
}

/// Enters the interface on which test runs arrive.
pub(super) fn arrive_at(
    interfaces: &mut Array<MapData, Plain<InterfaceSlot>>,
    logical: u32,
    station: u64,
) -> Result<(), KernelError> {
    let slot = InterfaceSlot { ifindex: TEST_RUN_IFINDEX, interface: logical, station };
    interfaces
        .set(TEST_RUN_IFINDEX & (INTERFACE_ENTRIES - 1), Plain(slot), 0)
        .map_err(KernelError::bpf("cannot enter an interface"))
}

pub(super) fn test_run(program: &mut Xdp, frame: &[u8], repeat: u32) -> Result<Ran, KernelError> {
    let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::default() };
    let result = program.test_run(options).map_err(KernelError::bpf(NOT_RUN))?;
    Ok(Ran { action: result.return_value, duration: result.duration })
}
