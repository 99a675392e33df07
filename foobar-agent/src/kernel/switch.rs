//! The slots and words by which the datapath knows what judges. Each is written alone; in which order is
//! the part of whoever switches.

use std::os::fd::AsFd;

use aya::maps::{Array, Map, MapData};
use foobar_ebpf::abi::{control, map};

use super::error::KernelError;
use super::loaded::Programs;
use super::loader::Instance;
use super::message::LogLevel;
use super::sys;

pub(super) struct Switch {
    /// A program array, which aya writes and cannot read.
    slots: MapData,
    /// The same for packets that leave.
    egress_slots: MapData,
    control: Array<MapData, u64>,
}

impl Switch {
    pub(super) fn open(instance: &mut Instance) -> Result<Self, KernelError> {
        let mut slots = |name| match instance.ebpf.take_map(name) {
            Some(Map::ProgramArray(slots)) => Ok(slots),
            _ => Err(KernelError::Missing(name)),
        };
        let (slots, egress_slots) = (slots(map::GENERATIONS)?, slots(map::EGRESS_GENERATIONS)?);
        Ok(Self { slots, egress_slots, control: instance.take_array(map::CONTROL)? })
    }

    /// The kernel's number of the program in a slot.
    pub(super) fn program(&self, slot: u32) -> Result<Option<u32>, KernelError> {
        sys::lookup_u32(self.slots.fd(), slot)
    }

    /// Enters a generation. It records flows before it judges, so that nothing is refused that it lets this
    /// host start; one without flows leaves none to record them.
    pub(super) fn enter(&self, slot: u32, programs: &Programs) -> Result<(), KernelError> {
        if let Some(egress) = &programs.egress {
            sys::set_program(self.egress_slots.fd(), slot, egress.as_fd())?;
        }
        sys::set_program(self.slots.fd(), slot, programs.judge.as_fd())?;
        if programs.egress.is_none() {
            sys::clear_program(self.egress_slots.fd(), slot)?;
        }
        Ok(())
    }

    pub(super) fn clear(&self, slot: u32) -> Result<(), KernelError> {
        sys::clear_program(self.slots.fd(), slot)?;
        sys::clear_program(self.egress_slots.fd(), slot)
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
