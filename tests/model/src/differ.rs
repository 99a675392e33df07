//! Model and walk on the same pairs of rulesets and frames; where they differ, the smallest case.

use std::collections::BTreeMap;

use foobar_agent::firewall::compile::compile;
use foobar_agent::firewall::numbers::InterfaceNumbers;
use foobar_agent::firewall::ruleset::Ruleset;
use foobar_agent::firewall::walk::Walk;
use foobar_tests::chance::Chance;

use crate::draft::{Draft, INTERFACES, load};
use crate::pools::Aim;
use crate::shrink::Case;
use crate::{Judged, Model, Reason, Verdict};

/// The compiled ruleset on the host, and the numbers of its interfaces.
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
    let (model, aim) = (Model::new(ruleset.as_ref()), Aim::new(ruleset.as_ref()));
    let mut reached = Reached::new();
    for _ in 0..frames {
        let (frame, interface) = (aim.frame(chance), chance.one(&INTERFACES));
        let judged = model.judge(&frame, interface);
        if judged != host.judge(&frame, interface) {
            return Err(report(Case { draft, arrivals: vec![(frame, interface)] }));
        }
        *reached.entry((judged.verdict, judged.reason)).or_default() += 1;
    }
    Ok(reached)
}

/// Both judgements of a case of one frame, if it can be judged at all.
fn judgements(case: &Case) -> Option<(Judged, Judged)> {
    let (frame, interface) = case.arrivals.first()?;
    let ruleset = load(&case.draft.toml()).ok()?;
    let host = Host::new(ruleset.as_ref()).ok()?;
    Some((Model::new(ruleset.as_ref()).judge(frame, interface), host.judge(frame, interface)))
}

fn report(case: Case) -> String {
    let case = case.shrink(|case| judgements(case).is_some_and(|(model, host)| model != host));
    match judgements(&case) {
        Some((model, host)) => format!("model: {model:?}\nhost:  {host:?}\n{}", case.describe()),
        None => format!("a difference that is gone\n{}", case.describe()),
    }
}
