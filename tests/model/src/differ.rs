//! Model and walk on the same pairs of rulesets and frames; where they differ, the smallest case.

use std::collections::BTreeMap;
use std::time::Duration;

use foobar_agent::firewall::compile::compile;
use foobar_agent::firewall::numbers::InterfaceNumbers;
use foobar_agent::firewall::ruleset::Ruleset;
use foobar_agent::firewall::walk::Walk;
use foobar_tests::chance::Chance;

use crate::draft::{Draft, INTERFACES, load};
use crate::pools::Aim;
use crate::shrink::Case;
use crate::{Judged, Memory, Model, Reason, Verdict};

/// The compiled ruleset on the host, and the numbers of its interfaces. It remembers first
/// fragments.
#[derive(Debug)]
pub struct Host {
    walk: Walk,
    numbers: InterfaceNumbers,
}

impl Host {
    /// Compiles a ruleset.
    ///
    /// # Errors
    /// What the compiler says of a ruleset that it refuses.
    pub fn new(ruleset: Option<&Ruleset>) -> Result<Self, String> {
        let mut numbers = InterfaceNumbers::default();
        // Numbers do not depend on which interfaces a ruleset names.
        for name in INTERFACES {
            numbers.number(name).map_err(|error| error.to_string())?;
        }
        let generation = compile(ruleset, &[], &mut numbers).map_err(|error| error.to_string())?;
        Ok(Self { walk: Walk::new(&generation), numbers })
    }

    /// What the walk says of a frame.
    pub fn judge(&self, frame: &[u8], interface: &str) -> Judged {
        let judgement = self.walk.judge(frame, self.numbers.get(interface).unwrap_or_default());
        Judged {
            verdict: judgement.verdict,
            reason: judgement.reason,
            rule: judgement.rule().map(|slot| slot as usize),
        }
    }
}

/// How many frames came to which end: whoever compares must know that the comparison reached it.
pub type Reached = BTreeMap<(Verdict, Reason), u64>;

/// Draws a ruleset and so many frames for it, and judges each by both.
///
/// # Errors
/// The smallest case in which they differ, or the file that the agent refuses.
pub fn compare(chance: &mut Chance, actions: &[&'static str], frames: usize) -> Result<Reached, String> {
    let draft = Draft::draw(chance, actions);
    let ruleset = load(&draft.toml()).map_err(|error| format!("{error}\n{}", draft.toml()))?;
    let host = Host::new(ruleset.as_ref())?;
    let (model, mut memory) = (Model::new(ruleset.as_ref()), Memory::default());
    let arrivals = Aim::new(ruleset.as_ref()).arrivals(chance, frames);
    let mut reached = Reached::new();
    for (number, (frame, interface)) in arrivals.iter().enumerate() {
        let judged = model.judge_in_turn(frame, interface, &mut memory, Duration::ZERO);
        if judged != host.judge(frame, interface) {
            return Err(report(Case { draft, arrivals: arrivals[..=number].to_vec() }));
        }
        *reached.entry((judged.verdict, judged.reason)).or_default() += 1;
    }
    Ok(reached)
}

/// The first two judgements in a case that differ.
fn difference(case: &Case) -> Option<(Judged, Judged)> {
    let ruleset = load(&case.draft.toml()).ok()?;
    let host = Host::new(ruleset.as_ref()).ok()?;
    let (model, mut memory) = (Model::new(ruleset.as_ref()), Memory::default());
    let mut judgements = case.arrivals.iter().map(|(frame, interface)| {
        (model.judge_in_turn(frame, interface, &mut memory, Duration::ZERO), host.judge(frame, interface))
    });
    judgements.find(|(model, host)| model != host)
}

fn report(case: Case) -> String {
    let case = case.shrink(|case| difference(case).is_some());
    match difference(&case) {
        Some((model, host)) => format!("model: {model:?}\nhost:  {host:?}\n{}", case.describe()),
        None => format!("a difference that is gone\n{}", case.describe()),
    }
}
