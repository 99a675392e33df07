//! The generation that judges: its installation by one write, its counters, and how counts
//! follow names from one generation to the next. Knows no interface.

use std::fs;
use std::path::Path;

use aya::maps::{Map, MapData, PerCpuArray, ProgramArray};
use aya::programs::ProgramInfo;
use foobar_ebpf::abi::{GENERATION_ACTIVE, map};

use super::counters;
use super::error::KernelError;
use super::ledger::{Ledger, Names};
use super::loader::{Constants, CounterMap, Instance};
use super::message::Named;
use super::pins::{self, Pins};
use super::sys;
use crate::firewall::generation::Generation;

/// Largest image for which room is kept ahead; it is that much memory besides.
const AHEAD_IMAGE_BYTES_MAX: u32 = 16 << 20;

pub(super) struct Generations {
    slots: ProgramArray<MapData>,
    ledger: Ledger,
    /// The counters of the generation that judges, if one does.
    live: Option<Live>,
    ahead: Option<Ahead>,
}

/// The counters of one generation.
struct Live {
    rules: CounterMap,
    services: CounterMap,
    image_bytes: u64,
    /// Of its program; unknown where an earlier agent loaded it.
    constants: Option<Constants>,
}

/// A generation without an image: maps and a program for one that differs from what judges in its
/// rules alone, which is what most reloads bring.
struct Ahead {
    constants: Constants,
    instance: Instance,
}

/// What the program of a generation is pinned as, by which it is known again: opening programs by number needs
/// `CAP_SYS_ADMIN`.
const JUDGE: &str = "judge";

/// Hits by rule, the policy last, and messages by service.
pub(super) struct Hits {
    pub(super) generation: u64,
    pub(super) image_bytes: u64,
    pub(super) rules: Vec<Named>,
    pub(super) services: Vec<Named>,
}

impl Generations {
    /// Takes up what an earlier agent left.
    pub(super) fn open(instance: &mut Instance, pins: &Pins, state_dir: &Path) -> Result<Self, KernelError> {
        let slots = instance.ebpf.take_map(map::GENERATIONS).ok_or(KernelError::Missing(map::GENERATIONS))?;
        let Map::ProgramArray(data) = &slots else { return Err(KernelError::Missing(map::GENERATIONS)) };
        let judging = sys::lookup_u32(data.fd(), GENERATION_ACTIVE)?;
        let mut generations = Self {
            ledger: Ledger::open(state_dir)?,
            live: None,
            ahead: None,
            slots: slots.try_into().map_err(KernelError::bpf("unexpected map"))?,
        };
        if let Some(program) = judging {
            generations.take_up(pins, program)?;
        }
        Ok(generations)
    }

    /// Finds the counters of the program that judges. An agent that died between announcing a
    /// generation and promoting it has left two: the kernel says which one it is.
    fn take_up(&mut self, pins: &Pins, program: u32) -> Result<(), KernelError> {
        let judged = Pinned::open(pins, self.ledger.judging().number);
        let pending = self.ledger.pending().and_then(|names| Pinned::open(pins, names.number));
        if let Some(pending) = pending.filter(|pending| pending.program == program) {
            let (rules, services) = match &judged {
                Some(judged) => judged.live.read(self.ledger.judging())?,
                None => Default::default(),
            };
            self.ledger.promote(rules, services);
            self.live = Some(pending.live);
        } else {
            self.ledger.withdraw();
            self.live = judged.filter(|judged| judged.program == program).map(|judged| judged.live);
        }
        Ok(())
    }

    /// Makes a generation the one that judges. Everything that can fail comes before the one
    /// write that switches; after it nothing does.
    pub(super) fn install(&mut self, generation: Generation, pins: &Pins) -> Result<(), KernelError> {
        let constants = Constants::of(&generation);
        let ahead = self.ahead.take().filter(|ahead| ahead.constants == constants);
        let mut instance = match ahead {
            Some(ahead) => ahead.instance,
            None => Instance::ahead(&constants, pins)?,
        };
        instance.write_image(&generation)?;
        let number = self.ledger.next_number();
        let folder = pins.generation(number);
        // An agent that died between making the folder and announcing it has left one.
        pins::remove(&folder)?;
        fs::create_dir(&folder).map_err(KernelError::io("cannot create", &folder))?;
        for name in [map::RULES, map::SERVICES, map::IMAGE] {
            instance.pin_map(name, &folder)?;
        }
        let pin = folder.join(JUDGE);
        instance.judge()?.pin(&pin).map_err(KernelError::bpf("cannot pin the program"))?;
        let next = Live {
            rules: instance.take_counters(map::RULES)?,
            services: instance.take_counters(map::SERVICES)?,
            image_bytes: generation.image_bytes().len() as u64,
            constants: Some(constants),
        };
        let services = generation.service_names();
        self.ledger.announce(Names { number, rules: generation.rules, services })?;
        let judge = instance.judge()?.fd().map_err(KernelError::bpf("cannot use the program"))?;
        if let Err(error) = self.slots.set(GENERATION_ACTIVE, judge, 0) {
            self.ledger.withdraw();
            return Err(KernelError::bpf("cannot switch the generation")(error));
        }
        let previous = self.live.replace(next);
        self.conclude(previous);
        if let Err(error) = pins.keep_generation(Some(number)) {
            tracing::warn!("{error}");
        }
        Ok(())
    }

    /// Loads, while nobody waits, what the next generation will be judged by if only its rules differ.
    pub(super) fn look_ahead(&mut self, pins: &Pins) {
        let constants = self.live.as_ref().and_then(|live| live.constants.clone());
        let small = constants.filter(|constants| constants.image_bytes <= AHEAD_IMAGE_BYTES_MAX);
        let Some(constants) = small else { return };
        match Instance::ahead(&constants, pins) {
            Ok(instance) => self.ahead = Some(Ahead { constants, instance }),
            // The next reload does the same, and says what is wrong.
            Err(error) => tracing::debug!("nothing was loaded ahead: {error}"),
        }
    }

    /// Adds what the generation before counted. The switch has happened: what goes wrong here
    /// is said and does not undo it.
    fn conclude(&mut self, previous: Option<Live>) {
        let (rules, services) = match previous {
            Some(previous) => {
                sys::wait_for_running_programs();
                previous.read(self.ledger.judging()).unwrap_or_else(|error| {
                    tracing::error!("the counts of the last generation are lost: {error}");
                    Default::default()
                })
            }
            None => Default::default(),
        };
        self.ledger.promote(rules, services);
    }

    /// Reads the counters, with what earlier generations counted under the same names.
    pub(super) fn read(&self) -> Result<Hits, KernelError> {
        let Some(live) = &self.live else {
            return Ok(Hits { generation: 0, image_bytes: 0, rules: Vec::new(), services: Vec::new() });
        };
        let names = self.ledger.judging();
        let (mut rules, mut services) = live.read(names)?;
        self.ledger.add_carried(&mut rules, &mut services);
        Ok(Hits { generation: names.number, image_bytes: live.image_bytes, rules, services })
    }

    /// Forgets every generation: their pins are gone.
    pub(super) fn forget(&mut self) {
        (self.live, self.ahead) = (None, None);
        self.ledger.clear();
    }

    /// Forgets every generation, and removes what was written down since the opening made it.
    pub(super) fn undo(&mut self) -> Result<(), KernelError> {
        self.forget();
        self.ledger.remove_new()
    }
}

/// Counters that an earlier agent left.
struct Pinned {
    live: Live,
    /// The kernel's number of the program that counts there.
    program: u32,
}

impl Pinned {
    fn open(pins: &Pins, number: u64) -> Option<Self> {
        let folder = pins.generation(number);
        let data = |name: &str| MapData::from_pin(folder.join(name)).ok();
        let counters = |data| PerCpuArray::try_from(Map::from_map_data(data).ok()?).ok();
        let rules = data(map::RULES)?;
        let program = ProgramInfo::from_pin(folder.join(JUDGE)).ok()?.id();
        let image = data(map::IMAGE)?.info().ok()?;
        let image_bytes = u64::from(image.value_size());
        let live = Live {
            rules: counters(rules)?,
            services: counters(data(map::SERVICES)?)?,
            image_bytes,
            constants: None,
        };
        Some(Self { live, program })
    }
}

impl Live {
    fn read(&self, names: &Names) -> Result<(Vec<Named>, Vec<Named>), KernelError> {
        Ok((
            counters::read_named(&self.rules, &names.rules)?,
            counters::read_named(&self.services, &names.services)?,
        ))
    }
}
