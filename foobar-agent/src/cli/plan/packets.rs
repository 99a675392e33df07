//! The packets of a capture, judged by both sides.

use std::collections::HashMap;
use std::path::Path;

use super::side::Side;
use crate::cli::explain::for_each_frame;
use crate::explain::Frame;
use crate::explain::describe::Description;
use crate::explain::judge::{Judge, Judged};
use crate::firewall::numbers::InterfaceNumbers;
use crate::kernel::KernelError;
use crate::kernel::explain::Explainer;

/// So many of the packets that would get another verdict are kept.
const KEPT_MAX: usize = 20;

/// A packet that would get another verdict.
pub(super) struct ChangedPacket {
    pub(super) index: u64,
    pub(super) words: String,
    pub(super) old: Judged,
    pub(super) new: Judged,
}

/// Both sides, and what they made of packets so far.
pub(super) struct Packets {
    judges: [Judge; 2],
    pub(super) judged: u64,
    /// The first that would get another verdict.
    pub(super) changed: Vec<ChangedPacket>,
    /// How many would, by what decides before and after: as many entries as rules at most, squared.
    pub(super) totals: HashMap<[Judged; 2], u64>,
}

impl Packets {
    pub(super) fn new(
        old: &Side,
        new: &Side,
        interface: Option<&str>,
        numbers: &mut InterfaceNumbers,
    ) -> Result<Self, KernelError> {
        let only = |side: &Side| match side.interfaces.as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        };
        let interface = interface.map(str::to_owned).or_else(|| only(new)).or_else(|| only(old));
        // A number that no rule has is as good as none.
        let logical = interface.and_then(|name| numbers.number(&name).ok()).unwrap_or_default();
        let judge = |side: &Side| Judge::new(Explainer::new(&side.generation)?, &side.generation, logical);
        Ok(Self {
            judges: [judge(old)?, judge(new)?],
            judged: 0,
            changed: Vec::new(),
            totals: HashMap::new(),
        })
    }

    /// Takes every packet that can be read, also where a later one cannot.
    pub(super) fn judge(&mut self, file: &Path) -> anyhow::Result<()> {
        for_each_frame(file, false, |frame| Ok(self.take(frame)?))
    }

    fn take(&mut self, frame: &Frame) -> Result<(), KernelError> {
        let [old, new] = &mut self.judges;
        let (old, parsed) = old.judge(frame)?;
        let (new, _) = new.judge(frame)?;
        if old.verdict != new.verdict {
            if self.changed.len() < KEPT_MAX {
                let words = Description { frame, parsed: &parsed }.to_string();
                self.changed.push(ChangedPacket { index: self.judged, words, old, new });
            }
            *self.totals.entry([old, new]).or_default() += 1;
        }
        self.judged += 1;
        Ok(())
    }
}
