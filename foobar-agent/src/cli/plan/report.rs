//! What `plan` found, in the words and names that it is printed with: as it is, with `--json`.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use foobar_ebpf::packet::{self, Scratch};
use foobar_ebpf::verdict::Verdict;
use serde::Serialize;

use super::packets::Packets;
use super::side::Side;
use crate::explain::describe::Description;
use crate::explain::judge::{Cause, Judged};
use crate::firewall::meaning::Example;
use crate::firewall::numbers::InterfaceNumbers;
use crate::firewall::walk::Walk;
use crate::plan::{Plan, Verdicts, packet_of};

/// Said in the place of an example that both sides turn out to judge alike.
const ONLY_ESSENTIALS: &str = "rules differ about packets that essentials pass, and others were not found";

/// The object of `--json`.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) rules: Rules,
    /// The default, where it changes; null: no `[firewall]`.
    pub(super) default: Option<Pair<Option<&'static str>>>,
    pub(super) essentials: Essentials,
    /// Where the firewall is, where that changes; empty: where a default route leads.
    pub(super) interfaces: Option<Pair<Vec<String>>>,
    /// `same`, `differ`, or `unknown`: of any packet, by rules and default.
    pub(super) verdicts: &'static str,
    /// Why it is unknown.
    pub(super) unknown: Option<String>,
    /// A packet that gets another verdict.
    pub(super) example: Option<PacketChange>,
    pub(super) packets: Option<PacketReport>,
    #[serde(skip)]
    pub(super) is_empty: bool,
}

/// A value before and after.
#[derive(Serialize)]
pub(super) struct Pair<T> {
    pub(super) old: T,
    pub(super) new: T,
}

/// Rules that differ.
#[derive(Serialize)]
pub(super) struct Rules {
    pub(super) added: Vec<RuleReport>,
    pub(super) removed: Vec<RuleReport>,
    pub(super) changed: Vec<ChangedRule>,
    pub(super) renamed: Vec<Pair<RuleReport>>,
    /// The first rule that comes before or after others than it did.
    pub(super) reordered_from: Option<RuleReport>,
}

/// A rule.
#[derive(Serialize)]
pub(super) struct RuleReport {
    pub(super) rule: String,
    pub(super) place: String,
    pub(super) action: &'static str,
}

/// A rule that does something else.
#[derive(Serialize)]
pub(super) struct ChangedRule {
    pub(super) old: RuleReport,
    pub(super) new: RuleReport,
    /// A packet that only one of the two matches.
    pub(super) example: Option<MatchChange>,
}

/// A packet that a rule matches no more, or did not.
#[derive(Serialize)]
pub(super) struct MatchChange {
    pub(super) packet: String,
    pub(super) interface: Option<String>,
    pub(super) matches_now: bool,
}

/// Essentials that are turned on or off.
#[derive(Serialize)]
pub(super) struct Essentials {
    pub(super) off: Vec<&'static str>,
    pub(super) on: Vec<&'static str>,
}

/// A packet, and what both sides make of it.
#[derive(Serialize)]
pub(super) struct PacketChange {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<u64>,
    pub(super) packet: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) interface: Option<String>,
    pub(super) old: Decided,
    pub(super) new: Decided,
}

/// What one side decides, and by which rule.
#[derive(Serialize)]
pub(super) struct Decided {
    pub(super) verdict: &'static str,
    pub(super) rule: Option<String>,
    pub(super) reason: &'static str,
    pub(super) place: Option<String>,
}

/// The packets of a capture.
#[derive(Serialize)]
pub(super) struct PacketReport {
    pub(super) judged: u64,
    /// How many get another verdict.
    pub(super) changed_count: u64,
    /// The first of them.
    pub(super) changed: Vec<PacketChange>,
    /// All of them, by what decides before and after; most first.
    pub(super) totals: Vec<Total>,
}

/// How many packets change alike.
#[derive(Serialize)]
pub(super) struct Total {
    pub(super) packets: u64,
    pub(super) old: Decided,
    pub(super) new: Decided,
}

impl Report {
    pub(super) fn new(
        old: &Side,
        new: &Side,
        plan: &Plan,
        packets: Option<&Packets>,
        numbers: &InterfaceNumbers,
    ) -> Self {
        let (verdicts, unknown, example) = match &plan.verdicts {
            Verdicts::Same => ("same", None, None),
            Verdicts::Differ(example) => {
                let change = example_change(old, new, example, numbers);
                if change.old.verdict == change.new.verdict {
                    ("unknown", Some(ONLY_ESSENTIALS.to_owned()), None)
                } else {
                    ("differ", None, Some(change))
                }
            }
            Verdicts::Begin | Verdicts::End => ("differ", None, None),
            Verdicts::Unknown(error) => ("unknown", Some(error.to_string()), None),
        };
        let word = |verdict: Option<Verdict>| verdict.map(Verdict::as_str);
        let moved = old.interfaces != new.interfaces;
        Self {
            rules: Rules::new(old, new, plan),
            default: plan.default.map(|[old, new]| Pair { old: word(old), new: word(new) }),
            essentials: Essentials { off: plan.essentials_off.clone(), on: plan.essentials_on.clone() },
            interfaces: moved.then(|| Pair { old: old.interfaces.clone(), new: new.interfaces.clone() }),
            verdicts,
            unknown,
            example,
            packets: packets.map(|packets| PacketReport::new(old, new, packets)),
            is_empty: plan.is_empty() && !moved,
        }
    }
}

impl Rules {
    fn new(old: &Side, new: &Side, plan: &Plan) -> Self {
        let before = |slot: &usize| RuleReport::new(old, *slot);
        let after = |slot: &usize| RuleReport::new(new, *slot);
        let changes = &plan.rules;
        Self {
            added: changes.added.iter().map(after).collect(),
            removed: changes.removed.iter().map(before).collect(),
            changed: changes
                .changed
                .iter()
                .map(|changed| ChangedRule {
                    old: before(&changed.old),
                    new: after(&changed.new),
                    example: changed.example.as_ref().map(|example| MatchChange {
                        packet: words(example),
                        interface: example.interface.clone(),
                        matches_now: example.verdicts[1].as_str() == new.action(changed.new),
                    }),
                })
                .collect(),
            renamed: changes
                .renamed
                .iter()
                .map(|renamed| Pair { old: before(&renamed.old), new: after(&renamed.new) })
                .collect(),
            reordered_from: changes.reordered.as_ref().map(after),
        }
    }
}

impl RuleReport {
    fn new(side: &Side, slot: usize) -> Self {
        let place = side.place(slot).unwrap_or_default();
        Self { rule: side.name(slot).to_owned(), place, action: side.action(slot) }
    }
}

impl PacketReport {
    fn new(old: &Side, new: &Side, packets: &Packets) -> Self {
        let changed = packets.changed.iter().map(|packet| PacketChange {
            index: Some(packet.index),
            packet: packet.words.clone(),
            interface: None,
            old: Decided::new(old, &packet.old),
            new: Decided::new(new, &packet.new),
        });
        // What is malformed in different ways is told apart by the judges, and here in one word.
        let mut by_text: BTreeMap<String, Total> = BTreeMap::new();
        for ([before, after], &packets) in &packets.totals {
            let (old, new) = (Decided::new(old, before), Decided::new(new, after));
            let total = by_text.entry(format!("{old} → {new}"));
            total.or_insert(Total { packets: 0, old, new }).packets += packets;
        }
        let mut totals: Vec<_> = by_text.into_values().collect();
        totals.sort_by_key(|total| Reverse(total.packets));
        Self {
            judged: packets.judged,
            changed_count: packets.totals.values().sum(),
            changed: changed.collect(),
            totals,
        }
    }
}

impl Decided {
    fn new(side: &Side, judged: &Judged) -> Self {
        let slot = judged.slot.map(|slot| slot as usize);
        let place = slot.and_then(|slot| side.place(slot));
        // The policy is no rule: it has no place.
        let rule = slot.filter(|_| place.is_some()).map(|slot| side.name(slot).to_owned());
        Self { verdict: judged.verdict.as_str(), rule, reason: judged.cause.family(), place }
    }
}

/// An example, judged by the walk on the host, which needs no privilege.
fn example_change(old: &Side, new: &Side, example: &Example, numbers: &InterfaceNumbers) -> PacketChange {
    let frame = packet_of(example).frame();
    let interface = example.interface.as_deref().and_then(|name| numbers.get(name)).unwrap_or_default();
    let decided = |side: &Side| {
        let judgement = Walk::new(&side.generation).judge(&frame.bytes, interface);
        let cause = Cause::Judged(judgement.reason);
        Decided::new(side, &Judged { verdict: judgement.verdict, cause, slot: judgement.rule() })
    };
    PacketChange {
        index: None,
        packet: words(example),
        interface: example.interface.clone(),
        old: decided(old),
        new: decided(new),
    }
}

fn words(example: &Example) -> String {
    let frame = packet_of(example).frame();
    let parsed = *packet::parse(frame.bytes.as_slice(), &mut Scratch::EMPTY.clone());
    Description { frame: &frame, parsed: &parsed }.to_string()
}
