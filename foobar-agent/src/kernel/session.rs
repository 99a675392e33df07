//! The datapath as one agent holds it: shared maps, the program that is attached, the
//! generation that judges, and the counters that follow names from one generation to the next.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::{fs, io};

use aya::maps::{Array, MapData};
use aya::programs::Xdp;
use aya_obj::programs::XdpAttachType;
use foobar_ebpf::abi::{
    INTERFACE_ENTRIES, INTERFACE_PROBES, INTERFACES_MAX, InterfaceSlot, control, map, program,
};

use super::error::KernelError;
use super::generations::{Generations, Hits};
use super::loader::{CounterMap, Instance};
use super::log::Diagnostics;
use super::message::{Attached, Counters, Found, LogLevel, Places};
use super::pins::{self, Pins};
use super::value::Plain;
use super::{attach, counters, foreign, ledger, link, preflight};
use crate::config::model::AttachMode;
use crate::firewall::generation::Generation;
use crate::net::{Interface, XdpPresent};

/// Shared maps whose descriptors the agent may have, to read and to write.
const LENT_MAPS: [&str; 3] = [map::BAN_ADDRESSES, map::BAN_PREFIXES, map::CONTROL];

pub(super) struct Session {
    pins: Rc<Pins>,
    state_dir: PathBuf,
    root: Xdp,
    /// The kernel's number of `root`.
    root_id: u32,
    generations: Generations,
    control: Array<MapData, u64>,
    interfaces: Array<MapData, Plain<InterfaceSlot>>,
    outcomes: CounterMap,
    answers: CounterMap,
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
                    && let Err(left) = pins.remove_all().and_then(|_| pins.remove_bans())
                {
                    tracing::warn!("{left}");
                }
                Err(error)
            }
        }
    }

    fn open_at(pins: &Rc<Pins>, places: &Places) -> Result<Self, KernelError> {
        fs::create_dir_all(&places.state_dir).map_err(KernelError::io("cannot create", &places.state_dir))?;
        let mut instance = Instance::load(None, Some(pins))?;
        let root = open_root(&mut instance, pins)?;
        let root_id = root.info().map_err(KernelError::bpf("cannot examine the datapath"))?.id();
        Ok(Self {
            generations: Generations::open(&mut instance, pins, &places.state_dir)?,
            control: instance.take_array(map::CONTROL)?,
            interfaces: instance.take_array(map::INTERFACES)?,
            outcomes: instance.take_counters(map::OUTCOMES)?,
            answers: instance.take_counters(map::ANSWERS)?,
            _diagnostics: Diagnostics::start(&mut instance.ebpf)?,
            pins: Rc::clone(pins),
            state_dir: places.state_dir.clone(),
            root,
            root_id,
            logical: vec![0],
        })
    }

    /// Makes a generation the one that judges; on an error the old one goes on.
    pub(super) fn install(&mut self, generation: Generation) -> Result<(), KernelError> {
        self.generations.install(generation, &self.pins)
    }

    /// Does what the next installation can have done before.
    pub(super) fn look_ahead(&mut self) {
        self.generations.look_ahead(&self.pins);
    }

    /// Attaches to an interface; what is attached there in a mode that fits goes on.
    pub(super) fn attach(
        &mut self,
        interface: &Interface,
        logical: u32,
        mode: AttachMode,
    ) -> Result<Attached, KernelError> {
        let station = interface.station.unwrap_or_default();
        self.enter(InterfaceSlot { ifindex: interface.ifindex, interface: logical, station })?;
        let pin = self.pins.link(interface.ifindex);
        match interface.xdp {
            None => attach::attach(&mut self.root, interface, mode, &pin),
            Some(present) if present.program != self.root_id || !pin.exists() => {
                Err(foreign::refuse(&self.pins, interface, present))
            }
            Some(XdpPresent { program, mode: before }) if before.satisfies(mode) => {
                Ok(Attached { program, mode: before, native_refused: None, before: Some(before) })
            }
            Some(XdpPresent { mode: before, .. }) => {
                attach::attach_anew(&mut self.root, interface, (before, mode), &pin)
            }
        }
    }

    /// Enters an interface where the datapath will look for it.
    fn enter(&mut self, interface: InterfaceSlot) -> Result<(), KernelError> {
        let InterfaceSlot { ifindex, interface: logical, .. } = interface;
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
            .set(entry, Plain(interface), 0)
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
        let answers = counters::read_answers(&self.answers)?;
        let Hits { generation, image_bytes, rules, services } = self.generations.read()?;
        Ok(Counters { generation, image_bytes, outcomes, answers, rules, services })
    }

    /// Switches the datapath's diagnostics.
    pub(super) fn set_log_level(&mut self, level: LogLevel) -> Result<(), KernelError> {
        self.control
            .set(control::LOG_LEVEL, level as u64, 0)
            .map_err(KernelError::bpf("cannot set the level of diagnostics"))
    }

    /// The descriptor of a map that the agent uses by itself. Updating a map that is held needs no
    /// capability (Linux 5.19, whatever `kernel.unprivileged_bpf_disabled` says).
    pub(super) fn map(&self, name: &str) -> Result<OwnedFd, KernelError> {
        if !LENT_MAPS.contains(&name) {
            return Err(KernelError::MapWithheld(name.to_owned()));
        }
        let map = MapData::from_pin(self.pins.map(name)).map_err(KernelError::bpf("cannot open a map"))?;
        map.fd().as_fd().try_clone_to_owned().map_err(KernelError::io("cannot lend", self.pins.map(name)))
    }

    /// Takes the datapath off every interface and removes all that it left, of every version.
    pub(super) fn detach(&mut self) -> Result<(), KernelError> {
        for pins in self.pins.of_every_version()? {
            pins.remove_all()?;
        }
        self.pins.remove_bans()?;
        self.generations.forget();
        ledger::remove_all(&self.state_dir)
    }

    /// Removes what this opening made, where it found nothing. What other versions left stays.
    pub(super) fn undo(&mut self) -> Result<(), KernelError> {
        self.pins.remove_all()?;
        self.pins.remove_bans()?;
        self.generations.undo()
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
