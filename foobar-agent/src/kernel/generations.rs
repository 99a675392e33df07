//! The generations that are loaded: the one that judges, the one before it, and for a time one on trial.
//! Owns the order of writes to the datapath's [`Switch`], and how counts follow names from one generation
//! to the next. Knows no interface.
//!
//! What is loaded is in the ledger, which of it judges is what the kernel says: an agent that dies between
//! two writes is understood by the next one, which does what was left to do.

use std::path::Path;
use std::time::Duration;

use foobar_ebpf::abi::{GENERATION_ACTIVE, GENERATION_FALLBACK};

use super::error::KernelError;
use super::ledger::{Carried, Ledger, Names, Rows};
use super::loaded::{self, Loaded};
use super::loader::{Constants, Instance, Make};
use super::message::{Confirmed, Installed, Manner, Standing, Trial};
use super::pins::Pins;
use super::switch::Switch;
use super::sys;
use crate::firewall::generation::Generation;

/// Largest image for which room is kept ahead; it is that much memory besides.
const AHEAD_IMAGE_BYTES_MAX: u32 = 16 << 20;

pub(super) struct Generations {
    pub(super) switch: Switch,
    ledger: Ledger,
    /// Those in the ledger, oldest first.
    loaded: Vec<Loaded>,
    /// The one that judges, unless a deadline has passed.
    active: Option<u64>,
    /// The one before it.
    fallback: Option<u64>,
    /// What loaded generations that do not judge have counted; `None` while more than one may.
    resting: Option<Carried>,
    ahead: Option<Ahead>,
}

/// A generation without an image: maps and a program for one that differs from what judges in its
/// rules alone, which is what most reloads bring.
struct Ahead {
    constants: Constants,
    instance: Instance,
}

/// What is counted, by rule with the policy last, and by service.
pub(super) struct Hits {
    pub(super) generation: u64,
    pub(super) image_bytes: u64,
    pub(super) rows: Rows,
}

impl Generations {
    /// Takes up what an earlier agent left, and finishes what it had begun.
    pub(super) fn open(instance: &mut Instance, pins: &Pins, state_dir: &Path) -> Result<Self, KernelError> {
        let ledger = Ledger::open(state_dir)?;
        let loaded = ledger.loaded().iter();
        let loaded =
            loaded.filter_map(|names| Loaded::from_pins(names.clone(), &pins.generation(names.number)));
        let mut generations = Self {
            loaded: loaded.collect(),
            switch: Switch::open(instance)?,
            ledger,
            active: None,
            fallback: None,
            resting: None,
            ahead: None,
        };
        let (active, fallback) = generations.programs()?;
        // A trial that had not begun to judge is none.
        if generations.switch.deadline_ns()?.is_some() && (fallback.is_none() || active == fallback) {
            generations.switch.set_deadline(None)?;
        }
        generations.settle(pins)?;
        Ok(generations)
    }

    fn programs(&self) -> Result<(Option<u32>, Option<u32>), KernelError> {
        Ok((self.switch.program(GENERATION_ACTIVE)?, self.switch.program(GENERATION_FALLBACK)?))
    }

    /// Asks the kernel what judges, and lets go of what can no longer judge: its counts go to the sums.
    fn settle(&mut self, pins: &Pins) -> Result<(), KernelError> {
        let (active, fallback) = self.programs()?;
        let number = |id| self.loaded.iter().find(|loaded| Some(loaded.id) == id).map(|l| l.names.number);
        let numbers = (number(active), number(fallback).filter(|_| active != fallback));
        (self.active, self.fallback) = numbers;
        let kept = |number| Some(number) == self.active || Some(number) == self.fallback;
        let gone: Vec<u64> =
            self.ledger.loaded().iter().map(|names| names.number).filter(|number| !kept(*number)).collect();
        // From then on the counters of what does not judge stand still.
        sys::wait_for_running_programs();
        for number in gone {
            let at = self.loaded.iter().position(|loaded| loaded.names.number == number);
            let last = at.map_or_else(Rows::default, |at| last_counts(&self.loaded.remove(at)));
            self.ledger.retire(number, last);
        }
        let kept: Vec<u64> = self.ledger.loaded().iter().map(|names| names.number).collect();
        if let Err(error) = pins.keep_generations(&kept) {
            tracing::warn!("{error}");
        }
        self.resting = if self.trial()?.is_some() { None } else { Some(self.count_resting(self.active)?) };
        Ok(())
    }

    /// Makes a generation the one that judges; the one before stays loaded, so that it can come back.
    /// Everything that can fail comes before the one write that switches.
    pub(super) fn install(
        &mut self,
        generation: Generation,
        manner: Manner,
        pins: &Pins,
    ) -> Result<Installed, KernelError> {
        if let Some(trial) = self.trial()? {
            return Err(KernelError::OnTrial { generation: trial.generation });
        }
        let limit = match manner {
            Manner::Trial(_) if self.active.is_none() => return Err(KernelError::NothingBefore),
            Manner::UnlessTheSame if self.judges_by(&generation, pins) => {
                let generation = self.active.unwrap_or(0);
                return Ok(Installed { generation, unchanged: true, deadline_ns: None });
            }
            Manner::Trial(limit) => Some(limit),
            Manner::Anew | Manner::UnlessTheSame => None,
        };
        let next = self.load(generation, pins)?;
        let number = next.names.number;
        self.loaded.push(next);
        let deadline_ns = match self.enter(number, limit) {
            Ok(deadline_ns) => deadline_ns,
            Err(error) => {
                self.settle(pins)?;
                return Err(error);
            }
        };
        self.settle(pins)?;
        Ok(Installed { generation: number, unchanged: false, deadline_ns })
    }

    /// Loads and pins a generation, and writes it down.
    fn load(&mut self, generation: Generation, pins: &Pins) -> Result<Loaded, KernelError> {
        let constants = Constants::of(&generation);
        let ahead = self.ahead.take().filter(|ahead| ahead.constants == constants);
        let mut instance = match ahead {
            Some(ahead) => ahead.instance,
            None => Instance::ahead(&constants, pins)?,
        };
        let number = self.ledger.next_number();
        instance.write_image(&generation, number)?;
        loaded::pin(&mut instance, &pins.generation(number))?;
        let (services, image_bytes) = (generation.service_names(), generation.image_bytes().len());
        let Generation { rules, limits, .. } = generation;
        let names = Names { number, rules, services, limits, make: Some(Make::of(constants)) };
        let loaded = Loaded::new(instance, names.clone(), image_bytes)?;
        self.ledger.announce(names)?;
        Ok(loaded)
    }

    /// The writes of a switch. First the way back, then its deadline, then the switch itself.
    fn enter(&mut self, number: u64, limit: Option<Duration>) -> Result<Option<u64>, KernelError> {
        if let Some(before) = self.find(self.active) {
            self.switch.enter(GENERATION_FALLBACK, &before.program)?;
        }
        let deadline_ns = limit.map(|limit| sys::boot_now_ns().saturating_add(nanoseconds(limit)));
        if deadline_ns.is_some() {
            self.switch.set_deadline(deadline_ns)?;
        }
        let switched = self.find(Some(number)).map_or_else(
            || Err(KernelError::NothingBefore),
            |next| self.switch.enter(GENERATION_ACTIVE, &next.program),
        );
        if let Err(error) = switched {
            self.switch.set_deadline(None)?;
            if let Some(before) = self.find(self.fallback) {
                self.switch.enter(GENERATION_FALLBACK, &before.program)?;
            }
            return Err(error);
        }
        Ok(deadline_ns)
    }

    fn find(&self, number: Option<u64>) -> Option<&Loaded> {
        self.loaded.iter().find(|loaded| Some(loaded.names.number) == number)
    }

    /// Whether what judges is what this generation would come to, program included.
    fn judges_by(&self, generation: &Generation, pins: &Pins) -> bool {
        let make = Make::of(Constants::of(generation));
        self.find(self.active)
            .is_some_and(|active| active.is_made_of(generation, &make, &pins.generation(active.names.number)))
    }

    /// What waits for a confirmation.
    pub(super) fn trial(&self) -> Result<Option<Trial>, KernelError> {
        let Some(deadline_ns) = self.switch.deadline_ns()? else { return Ok(None) };
        let (Some(generation), Some(before)) = (self.active, self.fallback) else { return Ok(None) };
        Ok(Some(Trial { generation, before, deadline_ns }))
    }

    /// What judges, what could come back, and what waits for a confirmation.
    pub(super) fn standing(&self) -> Result<Standing, KernelError> {
        Ok(Standing { generation: self.active.unwrap_or(0), before: self.fallback, trial: self.trial()? })
    }

    /// Lets what is on trial judge for good.
    pub(super) fn confirm(&mut self, pins: &Pins) -> Result<Confirmed, KernelError> {
        if let Some(generation) = self.return_overdue(pins)? {
            return Ok(Confirmed::TooLate(generation));
        }
        let Some(trial) = self.trial()? else { return Ok(Confirmed::NoTrial) };
        self.switch.set_deadline(None)?;
        self.settle(pins)?;
        Ok(Confirmed::Kept(trial.generation))
    }

    /// Where a deadline has passed, the datapath has gone back by itself: makes that last. Gives the
    /// generation that judges again.
    pub(super) fn return_overdue(&mut self, pins: &Pins) -> Result<Option<u64>, KernelError> {
        match self.trial()? {
            Some(trial) if sys::boot_now_ns() >= trial.deadline_ns => self.give_up(&trial, pins).map(Some),
            _ => Ok(None),
        }
    }

    /// The generation before judges again; what judged until now can come back in its place, unless it was
    /// on trial.
    pub(super) fn roll_back(&mut self, pins: &Pins) -> Result<u64, KernelError> {
        if let Some(trial) = self.trial()? {
            return self.give_up(&trial, pins);
        }
        let (Some(active), Some(before)) = (self.find(self.active), self.find(self.fallback)) else {
            return Err(KernelError::NothingBefore);
        };
        let number = before.names.number;
        self.switch.enter(GENERATION_ACTIVE, &before.program)?;
        self.switch.enter(GENERATION_FALLBACK, &active.program)?;
        self.settle(pins)?;
        Ok(number)
    }

    /// What is on trial judges no more. Until the deadline is taken away, either slot leads to the same.
    fn give_up(&mut self, trial: &Trial, pins: &Pins) -> Result<u64, KernelError> {
        let before = self.find(Some(trial.before)).ok_or(KernelError::NothingBefore)?;
        self.switch.enter(GENERATION_ACTIVE, &before.program)?;
        self.switch.set_deadline(None)?;
        self.switch.clear(GENERATION_FALLBACK)?;
        self.settle(pins)?;
        Ok(trial.before)
    }

    /// Loads, while nobody waits, what the next generation will be judged by if only its rules differ.
    pub(super) fn look_ahead(&mut self, pins: &Pins) {
        let make = self.find(self.active).and_then(|active| active.names.make.clone());
        let constants = make.map(|make| make.constants);
        let small = constants.filter(|constants| constants.image_bytes <= AHEAD_IMAGE_BYTES_MAX);
        let Some(constants) = small.filter(|_| self.ahead.is_none()) else { return };
        match Instance::ahead(&constants, pins) {
            Ok(instance) => self.ahead = Some(Ahead { constants, instance }),
            // The next reload does the same, and says what is wrong.
            Err(error) => tracing::debug!("nothing was loaded ahead: {error}"),
        }
    }

    /// Reads the counters of what judges: with what the other loaded generations have counted under the
    /// same names, and with what earlier ones did.
    pub(super) fn read(&self) -> Result<Hits, KernelError> {
        // A deadline that has passed is one that the agent has not yet looked at.
        let overdue = self.trial()?.filter(|trial| sys::boot_now_ns() >= trial.deadline_ns);
        let judging = overdue.map_or(self.active, |trial| Some(trial.before));
        let Some(live) = self.find(judging) else {
            return Ok(Hits { generation: 0, image_bytes: 0, rows: Rows::default() });
        };
        let mut rows = live.read()?;
        match &self.resting {
            Some(resting) => resting.add_to(&mut rows),
            None => self.count_resting(judging)?.add_to(&mut rows),
        }
        self.ledger.add_carried(&mut rows);
        Ok(Hits { generation: live.names.number, image_bytes: live.image_bytes, rows })
    }

    /// The names of a generation's rules by slot; none, where it is not loaded.
    pub(super) fn rule_names(&self, number: u64) -> Vec<String> {
        self.find(Some(number)).map(|loaded| loaded.names.rules.clone()).unwrap_or_default()
    }

    /// What every loaded generation but one has counted.
    fn count_resting(&self, judging: Option<u64>) -> Result<Carried, KernelError> {
        let mut counts = Carried::default();
        for other in self.loaded.iter().filter(|loaded| Some(loaded.names.number) != judging) {
            counts.add(other.read()?);
        }
        Ok(counts)
    }

    /// What was written down, for whoever takes over what another version counted.
    pub(super) fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Forgets every generation: their pins are gone.
    pub(super) fn forget(&mut self) {
        self.loaded.clear();
        (self.active, self.fallback, self.ahead) = (None, None, None);
        self.ledger.clear();
    }

    /// Forgets every generation, and removes what was written down since the opening made it.
    pub(super) fn undo(&mut self) -> Result<(), KernelError> {
        self.forget();
        self.ledger.remove_new()
    }
}

/// The switch has happened: what goes wrong here is said and does not undo it.
fn last_counts(loaded: &Loaded) -> Rows {
    loaded.read().unwrap_or_else(|error| {
        tracing::error!("the counts of generation {} are lost: {error}", loaded.names.number);
        Rows::default()
    })
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
