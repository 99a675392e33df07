//! The datapath as one agent holds it: shared maps, the program that is attached, the
//! generation that judges, and the counters that follow names from one generation to the next.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::{fs, io};

use aya::maps::{Array, MapData, PerCpuArray, ProgramArray};
use aya::programs::Xdp;
use aya_obj::programs::XdpAttachType;
use foobar_ebpf::abi::{
    GENERATION_ACTIVE, INTERFACE_ENTRIES, INTERFACE_PROBES, INTERFACES_MAX, InterfaceSlot, control, map,
    program,
};
use serde::{Deserialize, Serialize};

use super::error::KernelError;
use super::loader::{CounterMap, Instance};
use super::log::Diagnostics;
use super::message::{Attached, CounterSample, Counters, Found, Generation, LogLevel, Named, Places};
use super::pins::{self, Pins};
use super::value::Plain;
use super::{attach, counters, foreign, link, preflight, sys};
use crate::config::model::AttachMode;
use crate::net::{Interface, XdpPresent};

/// The file of the [`Ledger`] in `state_dir`.
pub(super) const LEDGER_NAME: &str = "datapath.json";

/// What pins cannot hold: names. Written whole at each switch.
#[derive(Default, Serialize, Deserialize)]
struct Ledger {
    generation: u64,
    rules: Vec<String>,
    services: Vec<String>,
    /// Counts of earlier generations, by name.
    carried_rules: BTreeMap<String, CounterSample>,
    carried_services: BTreeMap<String, CounterSample>,
}

/// The counters of the generation that judges.
struct Live {
    rules: CounterMap,
    services: CounterMap,
}

pub(super) struct Session {
    pins: Rc<Pins>,
    ledger_path: PathBuf,
    ledger: Ledger,
    root: Xdp,
    /// The kernel's number of `root`.
    root_id: u32,
    generations: ProgramArray<MapData>,
    control: Array<MapData, u64>,
    interfaces: Array<MapData, Plain<InterfaceSlot>>,
    outcomes: CounterMap,
    live: Option<Live>,
    logical: Vec<u32>,
    _diagnostics: Diagnostics,
}

impl Session {
    /// Opens what an earlier agent left, or makes it; where that fails, what was made is removed.
    pub(super) fn open(places: &Places) -> Result<(Self, Found), KernelError> {
        preflight::check()?;
        let pins = Rc::new(Pins::open(&places.pin_dir)?);
        let links = pins.linked()?;
        let found = Found { fresh: links.is_empty() && !pins.root().exists(), links };
        match Self::open_at(&pins, places) {
            Ok(session) => Ok((session, found)),
            Err(error) => {
                if found.fresh
                    && let Err(left) = pins.remove_all()
                {
                    tracing::warn!("{left}");
                }
                Err(error)
            }
        }
    }

    fn open_at(pins: &Rc<Pins>, places: &Places) -> Result<Self, KernelError> {
        fs::create_dir_all(&places.state_dir).map_err(KernelError::io("cannot create", &places.state_dir))?;
        let ledger_path = places.state_dir.join(LEDGER_NAME);
        let ledger = read_ledger(&ledger_path)?;

        let mut instance = Instance::load(None, Some(pins))?;
        let root = open_root(&mut instance, pins)?;
        let root_id = root.info().map_err(KernelError::bpf("cannot examine the datapath"))?.id();
        let generations =
            instance.ebpf.take_map(map::GENERATIONS).ok_or(KernelError::Missing(map::GENERATIONS))?;
        let live = open_live(pins, &ledger);
        Ok(Self {
            generations: generations.try_into().map_err(KernelError::bpf("unexpected map"))?,
            control: instance.take_array(map::CONTROL)?,
            interfaces: instance.take_array(map::INTERFACES)?,
            outcomes: instance.take_counters(map::OUTCOMES)?,
            _diagnostics: Diagnostics::start(&mut instance.ebpf)?,
            pins: Rc::clone(pins),
            ledger_path,
            ledger,
            root,
            root_id,
            live,
            logical: vec![0],
        })
    }

    /// Makes a generation the one that judges: everything that can fail comes before the one
    /// write that switches.
    pub(super) fn install(&mut self, generation: Generation) -> Result<(), KernelError> {
        let mut instance = Instance::load(Some(&generation), Some(&self.pins))?;
        instance.judge()?;
        let number = self.ledger.generation + 1;
        let folder = self.pins.generation(number);
        // An agent that died between making the folder and switching has left one.
        pins::remove(&folder)?;
        fs::create_dir(&folder).map_err(KernelError::io("cannot create", &folder))?;
        for name in [map::RULES, map::SERVICES] {
            instance.pin_map(name, &folder)?;
        }
        let next = Live {
            rules: instance.take_counters(map::RULES)?,
            services: instance.take_counters(map::SERVICES)?,
        };
        let judge = instance.judge()?.fd().map_err(KernelError::bpf("cannot use the program"))?;
        self.generations
            .set(GENERATION_ACTIVE, judge, 0)
            .map_err(KernelError::bpf("cannot switch the generation"))?;

        let services = generation.service_names();
        let previous = self.live.replace(next);
        if let Some(previous) = previous {
            sys::wait_for_running_programs()?;
            self.carry(&previous)?;
        }
        self.ledger.generation = number;
        self.ledger.rules = generation.rules;
        self.ledger.services = services;
        write_ledger(&self.ledger_path, &self.ledger)?;
        self.pins.keep_generation(Some(number))
    }

    /// Adds what a generation counted to the sums by name.
    fn carry(&mut self, previous: &Live) -> Result<(), KernelError> {
        for Named { name, count } in counters::read_named(&previous.rules, &self.ledger.rules)? {
            *self.ledger.carried_rules.entry(name).or_default() += count;
        }
        for Named { name, count } in counters::read_named(&previous.services, &self.ledger.services)? {
            *self.ledger.carried_services.entry(name).or_default() += count;
        }
        Ok(())
    }

    /// Attaches to an interface; what is attached there in a mode that fits goes on.
    pub(super) fn attach(
        &mut self,
        interface: &Interface,
        logical: u32,
        mode: AttachMode,
    ) -> Result<Attached, KernelError> {
        self.set_logical(interface.ifindex, logical)?;
        let pin = self.pins.link(interface.ifindex);
        match interface.xdp {
            None => attach::attach(&mut self.root, interface, mode, &pin),
            Some(present) if present.program != self.root_id || !pin.exists() => {
                Err(foreign::refuse(interface, present))
            }
            Some(XdpPresent { program, mode: before }) if before.satisfies(mode) => {
                Ok(Attached { program, mode: before, native_refused: None, before: Some(before) })
            }
            Some(XdpPresent { mode: before, .. }) => {
                attach::attach_anew(&mut self.root, interface, (before, mode), &pin)
            }
        }
    }

    /// Enters the logical number of an ifindex where the datapath will look for it.
    fn set_logical(&mut self, ifindex: u32, logical: u32) -> Result<(), KernelError> {
        let entries = || (0..INTERFACE_PROBES).map(|probe| (ifindex + probe) & (INTERFACE_ENTRIES - 1));
        let mut free = None;
        for entry in entries() {
            let slot = self.interfaces.get(&entry, 0).map_err(KernelError::bpf("cannot read interfaces"))?.0;
            if slot.ifindex == ifindex {
                free = Some(entry);
                break;
            }
            if free.is_none() && (slot.ifindex == 0 || !self.pins.link(slot.ifindex).exists()) {
                free = Some(entry);
            }
        }
        let source = || io::Error::other("too many interfaces share an entry");
        let entry =
            free.ok_or_else(|| KernelError::System { what: "cannot enter an interface", source: source() })?;
        self.interfaces
            .set(entry, Plain(InterfaceSlot { ifindex, interface: logical }), 0)
            .map_err(KernelError::bpf("cannot enter an interface"))?;
        if !self.logical.contains(&logical) && logical < INTERFACES_MAX {
            self.logical.push(logical);
        }
        Ok(())
    }

    /// Takes the datapath off an interface.
    pub(super) fn release(&mut self, ifindex: u32) -> Result<(), KernelError> {
        link::release(&self.pins.link(ifindex))
    }

    /// Forgets the pin of an interface that is gone: its link is dead.
    pub(super) fn forget(&mut self, ifindex: u32) -> Result<(), KernelError> {
        pins::remove_file(&self.pins.link(ifindex))
    }

    /// Reads every counter.
    pub(super) fn read(&self) -> Result<Counters, KernelError> {
        let outcomes = counters::read_outcomes(&self.outcomes, self.logical.iter().copied())?;
        let with = |mut named: Vec<Named>, carried: &BTreeMap<String, CounterSample>| {
            for row in &mut named {
                row.count += carried.get(&row.name).copied().unwrap_or_default();
            }
            named
        };
        let (rules, services) = match &self.live {
            Some(live) => (
                with(counters::read_named(&live.rules, &self.ledger.rules)?, &self.ledger.carried_rules),
                with(
                    counters::read_named(&live.services, &self.ledger.services)?,
                    &self.ledger.carried_services,
                ),
            ),
            None => (Vec::new(), Vec::new()),
        };
        let generation = if self.live.is_some() { self.ledger.generation } else { 0 };
        Ok(Counters { generation, outcomes, rules, services })
    }

    /// Switches the datapath's diagnostics.
    pub(super) fn set_log_level(&mut self, level: LogLevel) -> Result<(), KernelError> {
        self.control
            .set(control::LOG_LEVEL, level as u64, 0)
            .map_err(KernelError::bpf("cannot set the level of diagnostics"))
    }

    /// Takes the datapath off every interface and removes all that it left.
    pub(super) fn detach(&mut self) -> Result<(), KernelError> {
        self.pins.remove_all()?;
        self.live = None;
        pins::remove_file(&self.ledger_path)
    }
}

/// The attached program: pinned, so that a new agent attaches the same one elsewhere.
fn open_root(instance: &mut Instance, pins: &Pins) -> Result<Xdp, KernelError> {
    let pin = pins.root();
    if !pin.exists() {
        let root = instance.program(program::ROOT)?;
        root.pin(&pin).map_err(KernelError::bpf("cannot pin the datapath"))?;
    }
    Xdp::from_pin(&pin, XdpAttachType::Interface).map_err(KernelError::bpf("cannot open the pinned datapath"))
}

/// The counters of the generation that an earlier agent installed, if they are all there.
fn open_live(pins: &Pins, ledger: &Ledger) -> Option<Live> {
    let folder = pins.generation(ledger.generation);
    let open = |name: &str| -> Option<CounterMap> {
        let data = MapData::from_pin(folder.join(name)).ok()?;
        PerCpuArray::try_from(aya::maps::Map::from_map_data(data).ok()?).ok()
    };
    Some(Live { rules: open(map::RULES)?, services: open(map::SERVICES)? })
}

fn read_ledger(path: &Path) -> Result<Ledger, KernelError> {
    match fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::warn!("{} is damaged ({error}): counters start from zero", path.display());
            Ledger::default()
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ledger::default()),
        Err(error) => Err(KernelError::io("cannot read", path)(error)),
    }
}

/// Whole or not at all: a crash leaves the old file.
fn write_ledger(path: &Path, ledger: &Ledger) -> Result<(), KernelError> {
    let text = serde_json::to_vec(ledger).map_err(KernelError::bpf("cannot write counters"))?;
    let next = path.with_extension("json.next");
    fs::write(&next, text).map_err(KernelError::io("cannot write", &next))?;
    fs::rename(&next, path).map_err(KernelError::io("cannot replace", path))
}
