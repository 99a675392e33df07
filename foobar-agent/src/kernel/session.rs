//! The datapath as one agent holds it: shared maps, the program that is attached, the
//! generations, and the counters that follow names from one generation to the next.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::{fs, io};

use aya::maps::{Array, MapData};
use aya::programs::Xdp;
use aya_obj::programs::XdpAttachType;
use foobar_ebpf::abi::{INTERFACE_ENTRIES, INTERFACE_PROBES, INTERFACES_MAX, InterfaceSlot, map, program};

use super::error::KernelError;
use super::foreign::Survey;
use super::generations::{Generations, Hits};
use super::ledger::Rows;
use super::loader::{CounterMap, Instance};
use super::log::Diagnostics;
use super::message::{Attached, Confirmed, Counters, Found, Installed, LogLevel, Manner, Places, Standing};
use super::pins::{self, Pins};
use super::upgrade::{self, Own, Taken};
use super::value::Plain;
use super::{attach, counters, ledger, link, preflight, replace};
use crate::config::model::AttachMode;
use crate::firewall::generation::Generation;
use crate::net::Interface;

/// Shared maps whose descriptors the agent may have, to read and to write.
const LENT_MAPS: [&str; 1] = [map::EVENTS];

pub(super) struct Session {
    pins: Rc<Pins>,
    survey: Survey,
    state_dir: PathBuf,
    root: Xdp,
    /// The kernel's number of `root`.
    root_id: u32,
    generations: Generations,
    interfaces: Array<MapData, Plain<InterfaceSlot>>,
    outcomes: CounterMap,
    answers: CounterMap,
    samples: CounterMap,
    logical: Vec<u32>,
    /// Links that another version's datapath had before this start.
    taken: Vec<Taken>,
    _diagnostics: Diagnostics,
}

impl Session {
    /// Opens what an earlier agent left, or makes it; where that fails, what was made is removed.
    pub(super) fn open(places: &Places, survey: Survey) -> Result<(Self, Found), KernelError> {
        preflight::check()?;
        let pins = Rc::new(Pins::open(&places.pin_dir)?);
        let mut links = pins.linked()?;
        let fresh = links.is_empty() && !pins.root().exists();
        let attached = !links.is_empty();
        for other in pins.of_other_versions()? {
            links.extend(other.linked()?);
        }
        match Self::open_at(&pins, places, survey) {
            Ok(mut session) => {
                let returned = session.generations.return_overdue(&session.pins)?;
                let standing = session.standing()?;
                let judging = attached && standing.generation != 0;
                Ok((session, Found { fresh, links, judging, returned, standing }))
            }
            Err(error) => {
                if fresh && let Err(left) = pins.remove_all() {
                    tracing::warn!("{left}");
                }
                Err(error)
            }
        }
    }

    fn open_at(pins: &Rc<Pins>, places: &Places, survey: Survey) -> Result<Self, KernelError> {
        fs::create_dir_all(&places.state_dir).map_err(KernelError::io("cannot create", &places.state_dir))?;
        upgrade::adopt(pins)?;
        let mut instance = Instance::load(None, Some(pins))?;
        let root = open_root(&mut instance, pins)?;
        let root_id = root.info().map_err(KernelError::bpf("cannot examine the datapath"))?.id();
        Ok(Self {
            generations: Generations::open(&mut instance, pins, &places.state_dir)?,
            interfaces: instance.take_array(map::INTERFACES)?,
            outcomes: instance.take_counters(map::OUTCOMES)?,
            answers: instance.take_counters(map::ANSWERS)?,
            samples: instance.take_counters(map::SAMPLES)?,
            _diagnostics: Diagnostics::start(&mut instance.ebpf)?,
            pins: Rc::clone(pins),
            survey,
            state_dir: places.state_dir.clone(),
            root,
            root_id,
            logical: vec![0],
            taken: Vec::new(),
        })
    }

    /// Makes a generation the one that judges; on an error the old one goes on.
    pub(super) fn install(
        &mut self,
        generation: Generation,
        manner: Manner,
    ) -> Result<Installed, KernelError> {
        self.generations.install(generation, manner, &self.pins)
    }

    /// Lets what is on trial judge for good.
    pub(super) fn confirm(&mut self) -> Result<Confirmed, KernelError> {
        self.generations.confirm(&self.pins)
    }

    /// Has the generation before judge again; gives its number.
    pub(super) fn roll_back(&mut self) -> Result<u64, KernelError> {
        self.generations.roll_back(&self.pins)
    }

    /// Makes the return of a generation last whose successor was not confirmed in time; gives its number.
    pub(super) fn return_overdue(&mut self) -> Result<Option<u64>, KernelError> {
        self.generations.return_overdue(&self.pins)
    }

    /// What judges, what could come back, and what waits for a confirmation.
    pub(super) fn standing(&self) -> Result<Standing, KernelError> {
        self.generations.standing()
    }

    /// Everything is attached that should be: what is left of other versions goes, its counts stay.
    pub(super) fn finish_upgrade(&mut self) -> Result<(), KernelError> {
        upgrade::finish(&self.pins, self.generations.ledger())?;
        self.taken.clear();
        Ok(())
    }

    /// Does what the next installation can have done before.
    pub(super) fn look_ahead(&mut self) {
        self.generations.look_ahead(&self.pins);
    }

    /// Attaches to an interface; what is attached there in a mode that fits goes on. Somebody else's
    /// program is refused, or on demand replaced.
    pub(super) fn attach(
        &mut self,
        interface: &Interface,
        logical: u32,
        mode: AttachMode,
        replace: bool,
    ) -> Result<Attached, KernelError> {
        let station = interface.station.unwrap_or_default();
        self.enter(InterfaceSlot { ifindex: interface.ifindex, interface: logical, station })?;
        let pin = self.pins.link(interface.ifindex);
        let Some(present) = interface.xdp else {
            return attach::attach(&mut self.root, interface, mode, &pin);
        };
        let Some(own) = Own::find(&self.pins, interface, present)? else {
            if replace {
                return replace::take(&mut self.root, &self.survey, interface, present, mode, &pin);
            }
            return Err(self.survey.refuse(interface, present));
        };
        let root = self.root.fd().map_err(KernelError::bpf("cannot use the datapath"))?;
        if let Some(taken) = own.take(root, &pin, present.program == self.root_id)? {
            tracing::info!("{}: {}", interface.name, taken.in_words());
            self.taken.push(taken);
        }
        let before = present.mode;
        if before.satisfies(mode) {
            let program = self.root_id;
            return Ok(Attached { program, mode: before, native_refused: None, before: Some(before) });
        }
        attach::attach_anew(&mut self.root, interface, (before, mode), &pin)
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
        for pins in self.pins.of_every_version()? {
            link::release(&pins.link(ifindex))?;
        }
        Ok(())
    }

    /// Forgets the pin of an interface that is gone: its link is dead.
    pub(super) fn forget(&mut self, ifindex: u32) -> Result<(), KernelError> {
        pins::remove_file(&self.pins.link(ifindex))
    }

    /// Reads every counter.
    pub(super) fn read(&self) -> Result<Counters, KernelError> {
        let outcomes = counters::read_outcomes(&self.outcomes, self.logical.iter().copied())?;
        let answers = counters::read_answers(&self.answers)?;
        let samples = counters::read_samples(&self.samples)?;
        let Hits { generation, image_bytes, rows: Rows { rules, services, over } } =
            self.generations.read()?;
        Ok(Counters {
            generation,
            standing: self.standing()?,
            image_bytes,
            outcomes,
            answers,
            rules,
            services,
            over,
            samples,
        })
    }

    /// Switches the datapath's diagnostics.
    pub(super) fn set_log_level(&mut self, level: LogLevel) -> Result<(), KernelError> {
        self.generations.switch.set_log_level(level)
    }

    /// Has the datapath sample packets for those who watch.
    pub(super) fn sample(&mut self, watched: u64) -> Result<(), KernelError> {
        self.generations.switch.sample(watched)
    }

    /// The names of a generation's rules by slot; none, where it is not loaded.
    pub(super) fn rule_names(&self, generation: u64) -> Vec<String> {
        self.generations.rule_names(generation)
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
        self.generations.forget();
        ledger::remove_all(&self.state_dir)
    }

    /// Removes what this opening made, where it found nothing. What other versions left is theirs again.
    pub(super) fn undo(&mut self) -> Result<(), KernelError> {
        for taken in self.taken.drain(..) {
            taken.give_back()?;
        }
        self.pins.remove_all()?;
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
