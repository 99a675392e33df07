//! The real program on one frame after the other, with what it decided about each: what `explain`
//! asks. Shares with a running agent nothing, or its image, which nobody writes; needs no interfaces.
//! Its tables are empty at first, and hold afterwards what the frames themselves put there (fragments).

use std::os::fd::AsFd;
use std::path::Path;

use aya::maps::{Array, MapData};
use foobar_ebpf::abi::image::{Edge, Header, MAGIC, UNIT_BYTES, Unit};
use foobar_ebpf::abi::{DATAPATH_VERSION, InterfaceSlot, map, report, setting};
use foobar_ebpf::verdict::{Reason, Verdict};

use super::error::KernelError;
use super::loader::Instance;
use super::offline;
use super::value::Plain;
use super::{pins, preflight, sys};
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
        Self::load(generation, None)
    }

    /// Loads the generation of this number that an agent runs, by its image in the kernel. What the image
    /// does not hold comes from the agent: flags and the rules' names by slot. Gives the whole generation,
    /// without its services.
    ///
    /// # Errors
    /// As for [`Explainer::new`]; [`KernelError::GenerationGone`] where the agent has another one by now.
    pub fn of_running(
        pin_dir: &Path,
        number: u64,
        flags: u32,
        rules: Vec<String>,
    ) -> Result<(Self, Generation), KernelError> {
        preflight::check()?;
        let mut generation = Generation { flags, image: Vec::new(), rules, services: Vec::new() };
        if flags & setting::JUDGE == 0 {
            return Ok((Self::load(&generation, None)?, generation));
        }
        let pin = pins::of_generation(pin_dir, number, map::IMAGE);
        let gone = |source| KernelError::GenerationGone { path: pin.clone(), source: Box::new(source) };
        let pinned = MapData::from_pin(&pin).map_err(gone)?;
        let bytes =
            pinned.info().map_err(KernelError::bpf("cannot examine the image"))?.value_size() as usize;
        generation.image = vec![Unit([Edge::NONE; 8]); bytes / UNIT_BYTES];
        sys::read_only_value(pinned.fd().as_fd(), &mut generation.image, bytes)?;
        let ours = |header: &&Header| (header.magic, header.version) == (MAGIC, DATAPATH_VERSION);
        generation.header().filter(ours).ok_or(KernelError::Missing("image that this version can read"))?;
        Ok((Self::load(&generation, Some(&pin))?, generation))
    }

    fn load(generation: &Generation, image: Option<&Path>) -> Result<Self, KernelError> {
        if u32::try_from(generation.rules.len()).map_or(true, |slots| slots > report::SLOTS_MAX) {
            return Err(KernelError::TooManySlots { most: report::SLOTS_MAX });
        }
        let mut instance = Instance::load_reporting(generation, image)?;
        instance.judge()?;
        Ok(Self { interfaces: instance.take_array(map::INTERFACES)?, instance })
    }

    /// Lets frames arrive on this logical interface from now on.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn arrive_on(&mut self, logical: u32) -> Result<(), KernelError> {
        offline::arrive_at(&mut self.interfaces, logical, 0)
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
