//! Warnings about what is well-formed and yet hardly what somebody meant. Nothing here changes
//! a ruleset, and nothing refuses one. The first two are said wherever a configuration is read;
//! the others take the compiled generation or a look at the host, and are said by `check`.

pub(super) mod essentials;
pub(super) mod exposure;
mod frame;
pub(super) mod impossible;
pub(super) mod presence;
pub(super) mod session;
pub(super) mod shadow;

use foobar_ebpf::policy::Judgement;

use self::frame::Segment;
use crate::firewall::generation::Generation;
use crate::firewall::numbers::InterfaceNumbers;
use crate::firewall::walk::Walk;

/// A number that no interface has: for packets from one that no rule names.
const UNNAMED: u32 = 0;

/// The compiled rules, asked about TCP segments.
pub(super) struct Judge {
    walk: Walk,
    numbers: InterfaceNumbers,
}

impl Judge {
    pub(super) fn new(generation: &Generation, numbers: InterfaceNumbers) -> Self {
        Self { walk: Walk::new(generation), numbers }
    }

    /// The verdict on a segment that arrives on an interface.
    fn judge(&self, segment: &Segment, interface: &str) -> Judgement {
        let number = self.numbers.get(interface).unwrap_or(UNNAMED);
        self.walk.judge(&segment.frame(), number)
    }
}
