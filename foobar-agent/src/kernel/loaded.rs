//! One generation in the kernel: its program, its image and its counters, by their pins also where an
//! earlier agent loaded it. Knows no other.

use std::fs;
use std::path::Path;

use aya::maps::{Map, MapData, PerCpuArray};
use aya::programs::{ProgramFd, Xdp};
use aya_obj::programs::XdpAttachType;
use foobar_ebpf::abi::image::{Edge, Header, Unit};
use foobar_ebpf::abi::map;

use super::error::KernelError;
use super::explain::units_of;
use super::ledger::{Names, Rows};
use super::loader::{CounterMap, Instance, Make};
use super::{counters, pins};
use crate::firewall::generation::Generation;

/// What the pin of a generation's program is called.
const JUDGE: &str = "judge";

pub(super) struct Loaded {
    pub(super) names: Names,
    pub(super) program: ProgramFd,
    /// The kernel's number of the program.
    pub(super) id: u32,
    pub(super) image_bytes: u64,
    counters: Counters,
}

/// The counters of one generation.
pub(super) struct Counters {
    rules: CounterMap,
    services: CounterMap,
    /// Another version may have none.
    over: Option<CounterMap>,
}

impl Loaded {
    /// Takes what an instance has of its own.
    pub(super) fn new(mut instance: Instance, names: Names, image_bytes: usize) -> Result<Self, KernelError> {
        let (program, id) = opened(instance.judge()?)?;
        let counters = Counters::take(&mut instance)?;
        Ok(Self { names, program, id, image_bytes: image_bytes as u64, counters })
    }

    /// What an earlier agent pinned; `None` where it is gone.
    pub(super) fn from_pins(names: Names, folder: &Path) -> Option<Self> {
        let judge = Xdp::from_pin(folder.join(JUDGE), XdpAttachType::Interface).ok()?;
        let (program, id) = opened(&judge).ok()?;
        let image = MapData::from_pin(folder.join(map::IMAGE)).ok()?;
        let image_bytes = u64::from(image.info().ok()?.value_size());
        Some(Self { names, program, id, image_bytes, counters: Counters::from_pins(folder)? })
    }

    pub(super) fn read(&self) -> Result<Rows, KernelError> {
        self.counters.read(&self.names)
    }

    /// Whether this is what the generation would come to. One that cannot be read is not.
    pub(super) fn is_made_of(&self, generation: &Generation, make: &Make, folder: &Path) -> bool {
        let Names { rules, services, make: ours, .. } = &self.names;
        if ours.as_ref() != Some(make)
            || *rules != generation.rules
            || *services != generation.service_names()
        {
            return false;
        }
        let units = MapData::from_pin(folder.join(map::IMAGE)).ok().and_then(|image| units_of(&image).ok());
        // The map has room for a little more, which is zeroes, and bears the generation's number.
        units.is_some_and(|mut units| {
            if let Some(header) = units.first_chunk_mut() {
                *header = Unit::of_header(Header { generation: 0, ..*Unit::as_header(header) });
            }
            let (image, rest) = units.split_at(generation.image.len().min(units.len()));
            image == generation.image && rest.iter().all(|unit| *unit == Unit([Edge::NONE; 8]))
        })
    }
}

impl Counters {
    pub(super) fn take(instance: &mut Instance) -> Result<Self, KernelError> {
        let (rules, services) = (instance.take_counters(map::RULES)?, instance.take_counters(map::SERVICES)?);
        Ok(Self { rules, services, over: Some(instance.take_counters(map::OVER)?) })
    }

    /// Also those of another version, where they are laid out as ours are.
    pub(super) fn from_pins(folder: &Path) -> Option<Self> {
        let counters = |name: &str| {
            let data = MapData::from_pin(folder.join(name)).ok()?;
            PerCpuArray::try_from(Map::from_map_data(data).ok()?).ok()
        };
        let (rules, services) = (counters(map::RULES)?, counters(map::SERVICES)?);
        Some(Self { rules, services, over: counters(map::OVER) })
    }

    pub(super) fn read(&self, names: &Names) -> Result<Rows, KernelError> {
        let over = self.over.as_ref().map(|over| counters::read_named(over, &names.limits)).transpose()?;
        Ok(Rows {
            rules: counters::read_named(&self.rules, &names.rules)?,
            services: counters::read_named(&self.services, &names.services)?,
            over: over.unwrap_or_default(),
        })
    }
}

/// Pins what an instance has of its own, in a folder that is made for it.
pub(super) fn pin(instance: &mut Instance, folder: &Path) -> Result<(), KernelError> {
    // An agent that died between making the folder and announcing it has left one.
    pins::remove(folder)?;
    fs::create_dir(folder).map_err(KernelError::io("cannot create", folder))?;
    for name in [map::RULES, map::SERVICES, map::OVER, map::IMAGE] {
        instance.pin_map(name, folder)?;
    }
    instance.judge()?.pin(folder.join(JUDGE)).map_err(KernelError::bpf("cannot pin a program"))
}

/// A descriptor and the kernel's number of a program.
fn opened(program: &Xdp) -> Result<(ProgramFd, u32), KernelError> {
    const WHAT: &str = "cannot use the program";
    let fd = program.fd().map_err(KernelError::bpf(WHAT))?.try_clone().map_err(KernelError::bpf(WHAT))?;
    Ok((fd, program.info().map_err(KernelError::bpf(WHAT))?.id()))
}
