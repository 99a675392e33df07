//! The slots and words by which the datapath knows what judges. Each is written alone; in which order is
//! the part of whoever switches.

use std::os::fd::AsFd;

use aya::maps::{Array, Map, MapData};
use aya::programs::ProgramFd;
use foobar_ebpf::abi::{control, map};

use super::error::KernelError;
use super::loader::Instance;
use super::message::LogLevel;
use super::sys;

pub(super) struct Switch {
    /// A program array, which aya writes and cannot read.
    slots: MapData,
    control: Array<MapData, u64>,
}

impl Switch {
    pub(super) fn open(instance: &mut Instance) -> Result<Self, KernelError> {
        match instance.ebpf.take_map(map::GENERATIONS) {
            Some(Map::ProgramArray(slots)) => Ok(Self { slots, control: instance.take_array(map::CONTROL)? }),
            _ => Err(KernelError::Missing(map::GENERATIONS)),
        }
    }

    /// The kernel's number of the program in a slot.
    pub(super) fn program(&self, slot: u32) -> Result<Option<u32>, KernelError> {
        sys::lookup_u32(self.slots.fd(), slot)
    }

    pub(super) fn enter(&self, slot: u32, program: &ProgramFd) -> Result<(), KernelError> {
        sys::set_program(self.slots.fd(), slot, program.as_fd())
    }

    pub(super) fn clear(&self, slot: u32) -> Result<(), KernelError> {
        sys::clear_program(self.slots.fd(), slot)
    }

    /// Has the datapath sample packets for those who watch.
    pub(super) fn sample(&mut self, watched: u64) -> Result<(), KernelError> {
        self.control.set(control::EVENTS, watched, 0).map_err(KernelError::bpf("cannot set what is sampled"))
    }

    /// Nanoseconds of the boot clock from which on the fallback judges.
    pub(super) fn deadline_ns(&self) -> Result<Option<u64>, KernelError> {
        let word = self.control.get(&control::CONFIRM_DEADLINE_NS, 0);
        let word = word.map_err(KernelError::bpf("cannot read the deadline of a confirmation"))?;
        Ok((word != 0).then_some(word))
    }

    pub(super) fn set_deadline(&mut self, deadline_ns: Option<u64>) -> Result<(), KernelError> {
        self.control
            .set(control::CONFIRM_DEADLINE_NS, deadline_ns.unwrap_or(0), 0)
            .map_err(KernelError::bpf("cannot set the deadline of a confirmation"))
    }

    pub(super) fn set_log_level(&mut self, level: LogLevel) -> Result<(), KernelError> {
        self.control
            .set(control::LOG_LEVEL, level as u64, 0)
            .map_err(KernelError::bpf("cannot set the level of diagnostics"))
    }
}
