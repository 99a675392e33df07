//! The kernel's walk on the host: an image read from its units, judged by the same code.

use foobar_ebpf::abi::image::{Edge, HEADER_UNITS, Header, NOTES_A_UNIT, Note, Roots, Test, Unit};
use foobar_ebpf::abi::limit::Meter;
use foobar_ebpf::classifier::Image;
use foobar_ebpf::key::Key;
use foobar_ebpf::packet::{self, Scratch};
use foobar_ebpf::policy::{self, Judgement};

use super::state::HostState;
use crate::firewall::generation::Generation;

/// A generation that judges frames on the host, with a table of fragments of its own: it knows no first
/// fragment that another walk or the kernel has judged.
#[derive(Debug)]
pub struct Walk {
    flags: u32,
    units: Vec<Unit>,
    state: HostState,
}

impl Walk {
    /// Takes up the image.
    pub fn new(generation: &Generation) -> Self {
        Self { flags: generation.flags, units: generation.image.clone(), state: HostState::new() }
    }

    /// Judges a frame that arrived on a logical interface.
    pub fn judge(&self, frame: &[u8], interface: u32) -> Judgement {
        let (mut scratch, mut key) = (Scratch::EMPTY, Key::EMPTY);
        let parsed = packet::parse(frame, &mut scratch);
        policy::judge(parsed, interface, self.flags, Some(self), &self.state, &mut key)
    }

    fn header(&self) -> Option<&Header> {
        self.units.first_chunk().map(Unit::as_header)
    }
}

impl Image for Walk {
    fn diagrams(&self) -> u32 {
        self.header().map_or(0, |header| header.diagrams)
    }

    fn roots(&self, diagram: u32) -> Option<Roots> {
        self.header()?.roots.get(diagram as usize).copied()
    }

    fn test(&self, unit: u32) -> Option<&Test> {
        self.units.get(unit as usize).map(Unit::as_test)
    }

    fn child(&self, unit: u32, nibble: u32) -> Option<Edge> {
        let child = nibble as usize;
        self.units.get(unit as usize + child / 8).map(|half| half.0[child % 8])
    }

    fn stage(&self, limit: u32, diagram: u32) -> Option<Roots> {
        let stage = self.units.get(HEADER_UNITS + limit as usize).map(Unit::as_stage)?;
        stage.get(diagram as usize).copied()
    }

    fn note(&self, slot: u32) -> Option<Note> {
        let (unit, slot) = (slot as usize / NOTES_A_UNIT, slot as usize % NOTES_A_UNIT);
        self.units.get(self.header()?.notes as usize + unit).map(|unit| unit.as_notes()[slot])
    }

    fn meter(&self, meter: u32) -> Option<&Meter> {
        self.units.get((self.header()?.meters + meter) as usize).map(Unit::as_meter)
    }
}
