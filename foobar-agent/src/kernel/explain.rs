//! The real program on one frame after the other, with what it decided about each: what `explain`
//! asks. Shares with a running agent nothing, or its image, which nobody writes; needs no interfaces.
//! Its tables are empty at first, and hold afterwards what the frames themselves put there (fragments).

use std::os::fd::AsFd;
use std::path::Path;
use std::{fs, io};

use aya::maps::{Array, Map, MapData};
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

/// An image in the kernel that has been read.
#[derive(Clone, Copy)]
struct Shared<'p> {
    pin: &'p Path,
    /// The kernel's number of the map.
    id: u32,
}

impl Shared<'_> {
    /// Gives an instance that took its image from the pin back if that was the one that was read. The
    /// agent may have removed the pin in between; then aya has made a map and pinned it there.
    fn check(self, instance: Instance) -> Result<Instance, KernelError> {
        let Some(Map::Array(image)) = instance.ebpf.map(map::IMAGE) else {
            return Err(KernelError::Missing(map::IMAGE));
        };
        if id_of(image)? == self.id {
            return Ok(instance);
        }
        // An agent writes an image before it pins it: one that nobody wrote is ours.
        if units_of(image)?.iter().all(|unit| *unit == Unit([Edge::NONE; 8])) {
            fs::remove_file(self.pin).map_err(KernelError::io("cannot remove", self.pin))?;
        }
        Err(self.gone(io::Error::other("it went while it was being loaded")))
    }

    fn gone(self, source: impl std::error::Error + Send + Sync + 'static) -> KernelError {
        KernelError::GenerationGone { path: self.pin.to_owned(), source: Box::new(source) }
    }
}

/// The kernel's number of a map.
fn id_of(map: &MapData) -> Result<u32, KernelError> {
    Ok(map.info().map_err(KernelError::bpf("cannot examine the image"))?.id())
}

/// All that an image holds.
pub(super) fn units_of(map: &MapData) -> Result<Vec<Unit>, KernelError> {
    let info = map.info().map_err(KernelError::bpf("cannot examine the image"))?;
    let bytes = info.value_size() as usize;
    let mut units = vec![Unit([Edge::NONE; 8]); bytes / UNIT_BYTES];
    sys::read_only_value(map.fd().as_fd(), &mut units, bytes)?;
    Ok(units)
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
        let mut generation = Generation { flags, rules, ..Generation::default() };
        if flags & setting::JUDGE == 0 {
            return Ok((Self::load(&generation, None)?, generation));
        }
        let pin = pins::of_generation(pin_dir, number, map::IMAGE);
        let gone = |source| KernelError::GenerationGone { path: pin.clone(), source: Box::new(source) };
        let pinned = MapData::from_pin(&pin).map_err(gone)?;
        let read = Shared { pin: &pin, id: id_of(&pinned)? };
        generation.image = units_of(&pinned)?;
        let ours = |header: &&Header| (header.magic, header.version) == (MAGIC, DATAPATH_VERSION);
        generation.header().filter(ours).ok_or(KernelError::Missing("image that this version can read"))?;
        Ok((Self::load(&generation, Some(read))?, generation))
    }

    fn load(generation: &Generation, image: Option<Shared<'_>>) -> Result<Self, KernelError> {
        if u32::try_from(generation.rules.len()).map_or(true, |slots| slots > report::SLOTS_MAX) {
            return Err(KernelError::TooManySlots { most: report::SLOTS_MAX });
        }
        let loaded = Instance::load_reporting(generation, image.map(|image| image.pin));
        let mut instance = match (loaded, image) {
            (Ok(instance), Some(image)) => image.check(instance)?,
            // The generation's folder is gone, and nothing can be pinned there.
            (Err(error), Some(image)) if !image.pin.exists() => return Err(image.gone(error)),
            (loaded, _) => loaded?,
        };
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
    /// whole Ethernet header, and those beyond 17 pages. Of such a frame the tables keep nothing.
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
