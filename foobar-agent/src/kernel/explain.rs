//! The real program on one frame after the other, with what it decided about each: what `explain`
//! asks. Shares no map with a running agent and needs neither pins nor interfaces; its tables are
//! empty at first, and hold afterwards what the frames themselves put there (fragments).

use std::os::fd::AsFd;

use aya::maps::{Array, MapData};
use foobar_ebpf::abi::{InterfaceSlot, map, report};
use foobar_ebpf::verdict::{Reason, Verdict};

use super::error::KernelError;
use super::loader::Instance;
use super::offline;
use super::value::Plain;
use super::{preflight, sys};
use crate::firewall::generation::Generation;

/// What the program decided about a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The decision.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// Slot of the deciding rule, the policy's included.
    pub slot: Option<u32>,
}

/// One generation, loaded to be asked.
pub struct Explainer {
    instance: Instance,
    interfaces: Array<MapData, Plain<InterfaceSlot>>,
}

impl Explainer {
    /// Loads a generation.
    ///
    /// # Errors
    /// When the kernel refuses it, or would: a capability is missing, or type information.
    pub fn new(generation: &Generation) -> Result<Self, KernelError> {
        preflight::check()?;
        if u32::try_from(generation.rules.len()).map_or(true, |slots| slots > report::SLOTS_MAX) {
            return Err(KernelError::TooManySlots { most: report::SLOTS_MAX });
        }
        let mut instance = Instance::load_reporting(generation)?;
        instance.judge()?;
        Ok(Self { interfaces: instance.take_array(map::INTERFACES)?, instance })
    }

    /// Lets frames arrive on this logical interface from now on.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn arrive_on(&mut self, logical: u32) -> Result<(), KernelError> {
        offline::arrive_on(&mut self.interfaces, logical)
    }

    /// Judges a frame; `None` where the kernel does not run frames of its length: those without a
    /// whole Ethernet header, and those beyond 17 pages.
    ///
    /// # Errors
    /// When the kernel fails.
    pub fn judge(&mut self, frame: &[u8]) -> Result<Option<Decision>, KernelError> {
        let program = self.instance.judge()?.fd().map_err(KernelError::bpf("cannot use the program"))?;
        let Some(word) = sys::test_run(program.as_fd(), frame)? else { return Ok(None) };
        let decision =
            report::from_word(word).ok_or(KernelError::Missing("judgement in its return value"))?;
        let (verdict, reason, slot) = decision;
        Ok(Some(Decision { verdict, reason, slot }))
    }
}
