//! What `explain` prints: a block for one packet, a line each for many, an object each for programs.

use std::collections::BTreeMap;
use std::io::{self, Write};

use foobar_ebpf::packet::{Parsed, Status};
use foobar_ebpf::verdict::{Reason, Verdict};
use serde::Serialize;

use super::options::Why;
use super::rules::Rules;
use crate::cli::print::Style;
use crate::explain::Frame;
use crate::explain::describe::Description;
use crate::explain::judge::{Cause, Judged};

/// One packet, judged.
pub(super) struct Answer<'a> {
    pub(super) index: u64,
    pub(super) frame: &'a Frame,
    pub(super) parsed: &'a Parsed,
    pub(super) judged: Judged,
}

/// The object of `--json`, keys in this order.
#[derive(Serialize)]
struct Object<'a> {
    index: u64,
    verdict: &'static str,
    rule: Option<&'a str>,
    reason: &'static str,
    #[serde(flatten)]
    why: Option<WhyObject<'a>>,
}

/// The keys that `--why` adds.
#[derive(Serialize)]
struct WhyObject<'a> {
    why: Vec<MismatchObject<'a>>,
    /// Rules that `--why` left out.
    why_omitted: usize,
}

#[derive(Serialize)]
struct MismatchObject<'a> {
    rule: &'a str,
    #[serde(flatten)]
    mismatch: crate::explain::why::Mismatch,
}

/// Writes what is asked for.
pub(super) struct Printer<'a> {
    rules: &'a Rules,
    why: Option<Why>,
    /// Of the columns of names and places.
    widths: (usize, usize),
}

impl<'a> Printer<'a> {
    pub(super) fn new(rules: &'a Rules, why: Option<Why>) -> Self {
        Self { rules, why, widths: rules.widths() }
    }

    pub(super) fn rules(&self) -> &'a Rules {
        self.rules
    }

    /// One line of JSON.
    pub(super) fn object(&self, answer: &Answer<'_>, out: &mut impl Write) -> io::Result<()> {
        let Judged { verdict, cause, slot } = answer.judged;
        let why = self.why.map(|why| {
            let (shown, omitted) = self.mismatches(answer, why);
            let object = |(slot, mismatch)| MismatchObject { rule: self.rules.name(slot), mismatch };
            WhyObject { why: shown.into_iter().map(object).collect(), why_omitted: omitted }
        });
        let object = Object {
            index: answer.index,
            verdict: verdict.as_str(),
            // The policy is no rule: it is where none decides.
            rule: slot.filter(|slot| self.rules.is_rule(*slot)).map(|slot| self.rules.name(slot)),
            reason: cause.family(),
            why,
        };
        serde_json::to_writer(&mut *out, &object)?;
        out.write_all(b"\n")
    }

    /// One line of a capture.
    pub(super) fn line(&self, answer: &Answer<'_>, out: &mut impl Write) -> io::Result<()> {
        let Judged { verdict, cause, slot } = answer.judged;
        let (names, places) = self.widths;
        let name = slot.map_or("-", |slot| self.rules.name(slot));
        let place = slot.and_then(|slot| self.rules.place(slot)).unwrap_or("");
        let packet = Description { frame: answer.frame, parsed: answer.parsed };
        let (index, verdict, reason) = (answer.index, verdict.as_str(), cause.as_str());
        writeln!(out, "{index:>7}  {verdict:<6}  {reason:<22}  {name:<names$}  {place:<places$}  {packet}")?;
        self.why_lines(answer, "         ", out)
    }

    /// A block for the only packet.
    pub(super) fn block(&self, answer: &Answer<'_>, out: &mut impl Write) -> io::Result<()> {
        let Judged { verdict, cause, slot } = answer.judged;
        writeln!(out, "packet   {}", Description { frame: answer.frame, parsed: answer.parsed })?;
        if let Some(interface) = &self.rules.interface {
            writeln!(out, "arrives  on {interface}")?;
        }
        writeln!(out, "verdict  {}", verdict.as_str())?;
        writeln!(out, "reason   {}: {}", cause.as_str(), gloss(cause, slot))?;
        if let Some(slot) = slot.filter(|slot| self.rules.is_rule(*slot)) {
            writeln!(out, "rule     {} ({})", self.rules.name(slot), self.rules.place(slot).unwrap_or(""))?;
            if let Some(rate) = self.rules.rate(slot) {
                writeln!(out, "rate     {rate}: taken as not exceeded; over it, the rules below decide")?;
            }
        }
        self.why_lines(answer, "", out)
    }

    fn why_lines(&self, answer: &Answer<'_>, indent: &str, out: &mut impl Write) -> io::Result<()> {
        let Some(why) = self.why else { return Ok(()) };
        let (shown, omitted) = self.mismatches(answer, why);
        let widest =
            |text: &dyn Fn(u32) -> usize| shown.iter().map(|(slot, _)| text(*slot)).max().unwrap_or(0);
        let names = widest(&|slot| self.rules.name(slot).chars().count());
        let places = widest(&|slot| self.rules.place(slot).unwrap_or("").chars().count());
        for (index, (slot, mismatch)) in shown.iter().enumerate() {
            let head = if index == 0 { "not by" } else { "" };
            let (name, place) = (self.rules.name(*slot), self.rules.place(*slot).unwrap_or(""));
            let (field, packet) = (mismatch.field, &mismatch.packet);
            writeln!(out, "{indent}{head:<9}{name:<names$}  {place:<places$}  {field}: {packet}")?;
        }
        if omitted > 0 {
            writeln!(out, "{indent}         … {omitted} more: --why=all")?;
        }
        Ok(())
    }

    /// The rules that the packet passed by, as many as asked for, and how many there are beside.
    fn mismatches(
        &self,
        answer: &Answer<'_>,
        why: Why,
    ) -> (Vec<(u32, crate::explain::why::Mismatch)>, usize) {
        let asked_rules = matches!(answer.judged.cause, Cause::Judged(Reason::Rule | Reason::Policy));
        if !asked_rules || answer.parsed.status != Status::Packet {
            return (Vec::new(), 0);
        }
        let passed_by = self.rules.passed_by(answer.judged.slot, &answer.parsed.packet);
        let shown: Vec<_> = passed_by.take(why.limit()).collect();
        // Each rule before the one that decided is one that did not match.
        let before = answer.judged.slot.map_or(shown.len(), |slot| slot as usize);
        let omitted = before.saturating_sub(shown.len());
        (shown, omitted)
    }
}

/// What a reason means.
fn gloss(cause: Cause, slot: Option<u32>) -> &'static str {
    let Cause::Judged(reason) = cause else {
        return "its headers go on behind what was captured, so its verdict is not known";
    };
    match reason {
        Reason::Rule => "the first rule that matches",
        Reason::Policy if slot.is_none() => "the configuration has no [firewall]: nothing is judged",
        Reason::Policy => "no rule matches: the default",
        Reason::Essential => "passes before the rules, see firewall.essentials",
        Reason::Fragment => "as its first fragment was judged",
        Reason::Foreign => "not IP, and so not judged",
        reason if reason.is_malformed() => "contradicts itself or ends too early",
        _ => "decided before the rules",
    }
}

/// How many packets came to what.
#[derive(Default)]
pub(super) struct Totals {
    packets: BTreeMap<(u32, &'static str, Option<u32>), u64>,
}

impl Totals {
    pub(super) fn add(&mut self, judged: &Judged) {
        let key = (judged.verdict as u32, judged.cause.as_str(), judged.slot);
        *self.packets.entry(key).or_default() += 1;
    }

    /// A table, the most frequent first.
    pub(super) fn table(&self, rules: &Rules, style: Style) -> String {
        if self.packets.is_empty() {
            return "no packets\n".to_owned();
        }
        let mut rows: Vec<_> = self.packets.iter().collect();
        rows.sort_by_key(|(_, packets)| std::cmp::Reverse(**packets));
        let rows = rows.into_iter().map(|(&(verdict, reason, slot), packets)| {
            let verdict = Verdict::try_from(verdict).map_or("", Verdict::as_str);
            let name = slot.map_or("-", |slot| rules.name(slot));
            let place = slot.and_then(|slot| rules.place(slot)).unwrap_or("");
            vec![
                verdict.to_owned(),
                reason.to_owned(),
                name.to_owned(),
                place.to_owned(),
                style.count(*packets),
            ]
        });
        style.table(&["VERDICT", "REASON", "RULE", "PLACE", ">PACKETS"], rows)
    }
}
