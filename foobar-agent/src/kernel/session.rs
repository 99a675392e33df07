//! The datapath as one agent holds it: shared maps, the program that is attached, the
//! generation that judges, and the counters that follow names from one generation to the next.

use std::path::PathBuf;
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
use super::message::{Attached, Counters, Generation, LogLevel};
use super::pins::Pins;
use super::value::Plain;
use super::{attach, counters, preflight};
use crate::config::model::AttachMode;
use crate::net::Interface;

/// Folders of one agent.
#[derive(Clone, Debug)]
pub struct Places {
    /// Pins, on a BPF file system.
    pub pin_dir: PathBuf,
    /// What must last over a restart.
    pub state_dir: PathBuf,
}

pub(super) struct Session {
    pins: Pins,
    root: Xdp,
    generations: Generations,
    control: Array<MapData, u64>,
    interfaces: Array<MapData, Plain<InterfaceSlot>>,
    outcomes: CounterMap,
    logical: Vec<u32>,
    pub(super) diagnostics: Diagnostics,
}

impl Session {
    /// Opens what an earlier agent left, or makes it.
    pub(super) fn open(places: &Places) -> Result<Self, KernelError> {
        preflight::check()?;
        let pins = Pins::open(&places.pin_dir)?;
        fs::create_dir_all(&places.state_dir).map_err(KernelError::io("cannot create", &places.state_dir))?;
        let mut instance = Instance::load(None, Some(&pins))?;
        Ok(Self {
            root: open_root(&mut instance, &pins)?,
            generations: Generations::open(&mut instance, &pins, places.state_dir.join("datapath.json"))?,
            control: instance.take_array(map::CONTROL)?,
            interfaces: instance.take_array(map::INTERFACES)?,
            outcomes: instance.take_counters(map::OUTCOMES)?,
            diagnostics: Diagnostics::new(&mut instance.ebpf)?,
            pins,
            logical: vec![0],
        })
    }

    /// Makes a generation the one that judges; on an error the old one goes on.
    pub(super) fn install(&mut self, generation: Generation) -> Result<(), KernelError> {
        self.generations.install(generation, &self.pins)
    }

    /// Attaches to an interface; what an earlier agent left there goes on.
    pub(super) fn attach(
        &mut self,
        interface: &Interface,
        logical: u32,
        mode: AttachMode,
    ) -> Result<Attached, KernelError> {
        self.set_logical(interface.ifindex, logical)?;
        let pin = self.pins.link(interface.ifindex);
        let root_id = self.root.info().map_err(KernelError::bpf("cannot examine the datapath"))?.id();
        match interface.xdp {
            Some(present) if present.program == root_id && pin.exists() => {
                Ok(Attached { mode: present.mode, native_refused: None, adopted: true })
            }
            Some(present) => {
                let program = describe_program(present.program);
                Err(KernelError::ForeignProgram { interface: interface.name.clone(), program })
            }
            None => attach::attach(&mut self.root, interface, mode, &pin),
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

    /// Forgets the pin of an interface that is gone.
    pub(super) fn forget(&mut self, ifindex: u32) {
        // The link is dead with its interface; a pin that stays is removed by the next attachment.
        let _ = fs::remove_file(self.pins.link(ifindex));
    }

    /// Reads every counter.
    pub(super) fn read(&self) -> Result<Counters, KernelError> {
        let outcomes = counters::read_outcomes(&self.outcomes, self.logical.iter().copied())?;
        let Hits { generation, rules, services } = self.generations.read()?;
        Ok(Counters { generation, outcomes, rules, services })
    }

    /// Switches the datapath's diagnostics.
    pub(super) fn set_log_level(&mut self, level: LogLevel) -> Result<(), KernelError> {
        self.control
            .set(control::LOG_LEVEL, level as u64, 0)
            .map_err(KernelError::bpf("cannot set the level of diagnostics"))
    }

    /// Removes all that is left where no interface has it.
    pub(super) fn abandon(&mut self) -> Result<(), KernelError> {
        if self.pins.has_links()? { Ok(()) } else { self.detach() }
    }

    /// Takes the datapath off every interface and removes all that it left.
    pub(super) fn detach(&mut self) -> Result<(), KernelError> {
        self.pins.remove_all()?;
        self.generations.remove()
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

fn describe_program(id: u32) -> String {
    let name = aya::programs::loaded_programs()
        .filter_map(Result::ok)
        .find(|program| program.id() == id)
        .and_then(|program| program.name_as_str().map(str::to_owned));
    match name {
        Some(name) if !name.is_empty() => format!("{name:?} (id {id})"),
        _ => format!("with id {id}"),
    }
}
