//! From the embedded object to programs and maps in the kernel.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use aya::maps::{Array, Map, MapData, PerCpuArray};
use aya::programs::{ProgramError, Xdp};
use aya::{Ebpf, EbpfLoader};
use foobar_ebpf::abi::answer::Allowance;
use foobar_ebpf::abi::limit::{SEED_WORDS, SOURCE_SETS};
use foobar_ebpf::abi::{Counter, SERVICES_MAX, constant, image, map, program, setting};
use object::{Object, ObjectSection, ObjectSymbol};
use serde::{Deserialize, Serialize};

use super::bans::BanMaps;
use super::error::KernelError;
use super::pins::Pins;
use super::sys;
use super::value::Plain;
use crate::firewall::generation::Generation;

/// The object that `cargo xtask build-ebpf` made; empty where it had not.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("FOOBAR_BPF_OBJECT"));

/// Maps that outlive a generation, so that the next one finds them by their pins.
const SHARED_MAPS: [&str; 11] = [
    map::GENERATIONS,
    map::CONTROL,
    map::INTERFACES,
    map::OUTCOMES,
    map::ANSWERS,
    map::LOGS,
    map::EVENTS,
    map::SAMPLES,
    map::SAMPLE_METERS,
    map::SHADOWED,
    map::SHADOW_PAIRS,
];

/// Shared maps that another version's datapath goes on with where it has the same, see
/// [`super::upgrade`]: one that comes to mean something else needs another name.
pub(super) const ADOPTED_MAPS: [&str; 2] = [map::OUTCOMES, map::ANSWERS];

/// As those, in a folder of their own version.
const BAN_MAPS: [&str; 2] = [map::BAN_ADDRESSES, map::BAN_PREFIXES];

/// Bans of an instance that shares none, for test runs.
const BANS_ALONE: u32 = 1024;

/// Offset of `value_size` in `struct bpf_map_def`, after the map's type and key size.
const VALUE_SIZE_OFFSET: u64 = 8;

/// How much of the verifier's log an error shows: its end names the reason.
const LOG_LINES_SHOWN: usize = 30;

/// One loaded instance of the object.
pub(super) struct Instance {
    pub(super) ebpf: Ebpf,
}

/// What an instance shares with others, and what its program returns.
#[derive(Default)]
struct Setup<'a> {
    /// Where shared maps are.
    pins: Option<&'a Pins>,
    /// An image that is in the kernel already, and holds what the generation's does.
    image: Option<&'a Path>,
    /// Whether the program returns its judgement, see `abi::report`, in the place of an XDP action.
    report: bool,
}

/// What a generation's program is loaded with. Two generations that agree in this can be judged by
/// the same program, each with its own image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Constants {
    flags: u32,
    /// Of the map, which has room for a little more than the image.
    pub(super) image_bytes: u32,
    diagrams: u32,
    rule_slots: u32,
    meters: u32,
    sources: bool,
    service_count: u32,
    services: [u32; SERVICES_MAX],
}

/// What a generation's program was made of, and with: two that agree in this are the same program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Make {
    /// A fingerprint of the object.
    object: u64,
    pub(super) constants: Constants,
}

impl Make {
    pub(super) fn of(constants: Constants) -> Self {
        Self { object: fingerprint(OBJECT), constants }
    }
}

/// FNV-1a: of the same bytes the same in every build, and not against somebody who means harm.
fn fingerprint(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

impl Constants {
    pub(super) fn of(generation: &Generation) -> Self {
        let mut services = [0; SERVICES_MAX];
        for (word, (_, service)) in services.iter_mut().zip(&generation.services) {
            *word = service.to_word();
        }
        Self {
            flags: generation.flags,
            image_bytes: room_for(generation.image_bytes().len()),
            diagrams: generation.header().map_or(0, |header| header.diagrams),
            rule_slots: room_for(generation.rules.len()).max(1),
            meters: generation.meters.max(1),
            sources: generation.sources,
            service_count: clamp_u32(generation.services.len()),
            services,
        }
    }
}

/// Rounded up by an eighth at most, so that small changes of the rules keep the size.
fn room_for(size: usize) -> u32 {
    let step = 1 << size.checked_ilog2().map_or(0, |bits| bits.saturating_sub(3));
    clamp_u32(size.next_multiple_of(step))
}

/// How many answers each CPU may send: of all that the kernel has made room for, also those that are
/// not running yet.
pub(super) fn allowance() -> Result<Allowance, KernelError> {
    let cpus = aya::util::nr_cpus()
        .map_err(|(what, source)| KernelError::io("cannot count the CPUs by", what)(source))?;
    Ok(Allowance::of_each(clamp_u32(cpus)))
}

/// Nobody outside this host can know it.
fn secret() -> Result<[u64; SEED_WORDS], KernelError> {
    let mut bytes = [[0; 8]; SEED_WORDS];
    sys::fill_randomly(bytes.as_flattened_mut())?;
    Ok(bytes.map(u64::from_ne_bytes))
}

/// A map of counters.
pub(super) type CounterMap = PerCpuArray<MapData, Plain<Counter>>;

impl Instance {
    /// Creates the maps for a generation, and takes shared maps from their pins where there are any.
    pub(super) fn load(generation: Option<&Generation>, pins: Option<&Pins>) -> Result<Self, KernelError> {
        let constants = generation.map(Constants::of);
        let instance = Self::set_up(constants.as_ref(), &Setup { pins, ..Setup::default() })?;
        if let Some(generation) = generation {
            instance.write_image(generation, 0)?;
        }
        Ok(instance)
    }

    /// Creates the maps for generations of these constants, and has the kernel take their program: all
    /// that can be done before the image is known.
    pub(super) fn ahead(constants: &Constants, pins: &Pins) -> Result<Self, KernelError> {
        let mut instance = Self::set_up(Some(constants), &Setup { pins: Some(pins), ..Setup::default() })?;
        instance.judge()?;
        Ok(instance)
    }

    /// A generation for test runs that tell what each packet came to. Shares at most its image, which
    /// is then the pinned one.
    pub(super) fn load_reporting(generation: &Generation, image: Option<&Path>) -> Result<Self, KernelError> {
        let setup = Setup { image, report: true, ..Setup::default() };
        let instance = Self::set_up(Some(&Constants::of(generation)), &setup)?;
        if image.is_none() {
            instance.write_image(generation, 0)?;
        }
        Ok(instance)
    }

    fn set_up(constants: Option<&Constants>, setup: &Setup<'_>) -> Result<Self, KernelError> {
        if OBJECT.is_empty() {
            return Err(KernelError::NoObject);
        }
        let mut loader = EbpfLoader::new();
        for name in SHARED_MAPS {
            if let Some(pins) = setup.pins {
                loader.map_pin_path(name, pins.map(name));
            }
        }
        for name in BAN_MAPS {
            match setup.pins {
                Some(pins) => loader.map_pin_path(name, pins.map(name)),
                None => loader.map_max_entries(name, BANS_ALONE),
            };
        }
        if let Some(pin) = setup.image {
            loader.map_pin_path(map::IMAGE, pin);
        }
        let mut object = OBJECT.to_vec();
        if constants.is_none_or(|constants| constants.flags & setting::JUDGE == 0) {
            loader.map_max_entries(map::FRAGMENTS, 1);
        }
        let report = if setup.report { setting::REPORT } else { 0 };
        let flags = constants.map_or(0, |constants| constants.flags) | report;
        // The loader keeps a reference until it loads.
        let allowance = allowance()?;
        let seed = secret()?;
        if let Some(constants) = constants {
            let image_bytes = constants.image_bytes.max(clamp_u32(size_of::<image::Header>()));
            set_value_size(&mut object, map::IMAGE, image_bytes)?;
            loader.override_global(constant::FLAGS, &flags, true);
            loader.override_global(constant::IMAGE_BYTES, &constants.image_bytes, true);
            loader.override_global(constant::DIAGRAMS, &constants.diagrams, true);
            loader.override_global(constant::SERVICE_COUNT, &constants.service_count, true);
            loader.override_global(constant::SERVICES, &constants.services, true);
            loader.override_global(constant::ANSWER_INTERVAL_NS, &allowance.interval_ns, true);
            loader.override_global(constant::ANSWER_BURST_NS, &allowance.burst_ns, true);
            loader.override_global(constant::SEED, &seed, true);
            loader.map_max_entries(map::RULES, constants.rule_slots);
            loader.map_max_entries(map::METERS, constants.meters);
            if constants.sources {
                loader.map_max_entries(map::SOURCES, SOURCE_SETS);
            }
        }
        let ebpf = loader.load(&object).map_err(KernelError::bpf("cannot load the datapath"))?;
        Ok(Self { ebpf })
    }

    /// Writes a generation's image into its map, once, before anything judges by it. Its samples bear
    /// the number.
    pub(super) fn write_image(&self, generation: &Generation, number: u64) -> Result<(), KernelError> {
        if generation.image.is_empty() {
            return Ok(());
        }
        let image = self.ebpf.map(map::IMAGE).ok_or(KernelError::Missing(map::IMAGE))?;
        let Map::Array(image) = image else { return Err(KernelError::Missing(map::IMAGE)) };
        let size = image.info().map_err(KernelError::bpf("cannot examine the image"))?.value_size() as usize;
        let mut value = Vec::with_capacity(size);
        value.extend_from_slice(generation.image_bytes());
        value.resize(size.max(value.len()), 0);
        if let Some(place) = value.get_mut(image::GENERATION_OFFSET..).and_then(<[u8]>::first_chunk_mut) {
            *place = number.to_ne_bytes();
        }
        sys::write_only_value(image.fd().as_fd(), &value, size)
    }

    /// Has the kernel verify and take a program.
    pub(super) fn program(&mut self, name: &'static str) -> Result<&mut Xdp, KernelError> {
        let program = self.ebpf.program_mut(name).ok_or(KernelError::Missing(name))?;
        let program: &mut Xdp = program.try_into().map_err(KernelError::bpf("unexpected program"))?;
        match program.load() {
            Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(program),
            Err(ProgramError::LoadError { io_error, verifier_log }) => {
                let log = verifier_log.to_string();
                let lines: Vec<&str> = log.lines().collect();
                let shown = lines.len().saturating_sub(LOG_LINES_SHOWN);
                Err(KernelError::Refused {
                    program: name,
                    source: io_error,
                    log: lines.get(shown..).unwrap_or_default().join("\n"),
                })
            }
            Err(error) => Err(KernelError::bpf("cannot load a program")(error)),
        }
    }

    /// The bans of this instance, which every thread may write.
    pub(super) fn bans(&self) -> Result<BanMaps, KernelError> {
        let [addresses, prefixes] = BAN_MAPS.map(|name| self.descriptor(name));
        Ok(BanMaps::new(addresses?, prefixes?, self.descriptor(map::CONTROL)?))
    }

    /// Another descriptor of a map.
    fn descriptor(&self, name: &'static str) -> Result<OwnedFd, KernelError> {
        let map = self.ebpf.map(name).ok_or(KernelError::Missing(name))?;
        let (Map::Array(data) | Map::HashMap(data) | Map::LpmTrie(data)) = map else {
            return Err(KernelError::Missing(name));
        };
        let descriptor = data.fd().as_fd().try_clone_to_owned();
        descriptor.map_err(|source| KernelError::System { what: "cannot share a map", source })
    }

    /// Takes the counters of this name out of the instance.
    pub(super) fn take_counters(&mut self, name: &'static str) -> Result<CounterMap, KernelError> {
        self.take_per_cpu(name)
    }

    /// Takes an array of plain values of each CPU out of the instance.
    pub(super) fn take_per_cpu<T: aya::Pod>(
        &mut self,
        name: &'static str,
    ) -> Result<PerCpuArray<MapData, T>, KernelError> {
        let map = self.ebpf.take_map(name).ok_or(KernelError::Missing(name))?;
        PerCpuArray::try_from(map).map_err(KernelError::bpf("unexpected map"))
    }

    /// Pins a map under its own name.
    pub(super) fn pin_map(&self, name: &'static str, folder: &Path) -> Result<(), KernelError> {
        let map = self.ebpf.map(name).ok_or(KernelError::Missing(name))?;
        map.pin(folder.join(name)).map_err(KernelError::bpf("cannot pin a map"))
    }

    /// Takes an array of plain values out of the instance.
    pub(super) fn take_array<T: aya::Pod>(
        &mut self,
        name: &'static str,
    ) -> Result<Array<MapData, T>, KernelError> {
        let map = self.ebpf.take_map(name).ok_or(KernelError::Missing(name))?;
        Array::try_from(map).map_err(KernelError::bpf("unexpected map"))
    }

    /// Loads the program that judges.
    pub(super) fn judge(&mut self) -> Result<&mut Xdp, KernelError> {
        self.program(program::GENERATION)
    }
}

/// Gives a map of the object another value size. aya takes sizes from the object, and an
/// image is as large as its rules; the definition lies in the object's `maps` section.
fn set_value_size(object: &mut [u8], name: &'static str, bytes: u32) -> Result<(), KernelError> {
    let offset = {
        let file =
            object::File::parse(&*object).map_err(KernelError::bpf("cannot read the datapath's object"))?;
        let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name));
        let symbol = symbol.ok_or(KernelError::Missing(name))?;
        let section = symbol.section_index().and_then(|index| file.section_by_index(index).ok());
        let section = section.and_then(|section| section.file_range()).ok_or(KernelError::Missing(name))?;
        section.0 + symbol.address() + VALUE_SIZE_OFFSET
    };
    let field = usize::try_from(offset).ok().and_then(|offset| object.get_mut(offset..offset + 4));
    field.ok_or(KernelError::Missing(name))?.copy_from_slice(&bytes.to_ne_bytes());
    Ok(())
}

/// Whether a map is what the object declares under this name.
pub(super) fn is_declared_like(name: &'static str, map: &MapData) -> Result<bool, KernelError> {
    let object =
        aya_obj::Object::parse(OBJECT).map_err(KernelError::bpf("cannot read the datapath's object"))?;
    let declared = object.maps.get(name).ok_or(KernelError::Missing(name))?;
    let there = map.info().map_err(KernelError::bpf("cannot examine a map"))?;
    let kind = there.map_type().map_err(KernelError::bpf("cannot examine a map"))?;
    Ok((declared.map_type(), declared.key_size(), declared.value_size(), declared.max_entries())
        == (kind as u32, there.key_size(), there.value_size(), there.max_entries()))
}

pub(super) fn clamp_u32(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
