//! A plan for people.

use std::fmt::{self, Display, Write};

use super::report::{ChangedRule, Decided, PacketChange, PacketReport, Report, RuleReport, Rules, Total};
use crate::cli::print::counted;

pub(super) fn text(report: &Report) -> String {
    let mut text = String::new();
    // A string takes whatever is written to it.
    let _ = write(report, &mut text);
    text
}

fn write(report: &Report, out: &mut String) -> fmt::Result {
    rules(&report.rules, out)?;
    if let Some(default) = &report.default {
        let word = |word: Option<&'static str>| word.unwrap_or("none: nothing is judged");
        writeln!(out, "~ default: {} → {}", word(default.old), word(default.new))?;
    }
    for name in &report.essentials.off {
        writeln!(out, "- essential {name}: no longer passes before the rules")?;
    }
    for name in &report.essentials.on {
        writeln!(out, "+ essential {name}: passes before the rules")?;
    }
    if let Some(interfaces) = &report.interfaces {
        let named = |names: &[String]| if names.is_empty() { "auto".to_owned() } else { names.join(", ") };
        writeln!(out, "~ interfaces: {} → {}", named(&interfaces.old), named(&interfaces.new))?;
    }
    if !out.is_empty() {
        out.push('\n');
    }
    verdicts(report, out)?;
    report.packets.as_ref().map_or(Ok(()), |packets| {
        out.push('\n');
        capture(packets, out)
    })
}

fn rules(rules: &Rules, out: &mut String) -> fmt::Result {
    for rule in &rules.removed {
        writeln!(out, "- {rule}")?;
    }
    for rule in &rules.added {
        writeln!(out, "+ {rule}")?;
    }
    for changed in &rules.changed {
        changed_rule(changed, out)?;
    }
    for renamed in &rules.renamed {
        writeln!(out, "= {} was {} and does the same", renamed.new, renamed.old.rule)?;
    }
    match &rules.reordered_from {
        Some(rule) => writeln!(out, "↕ rules stand in another order from {rule} on"),
        None => Ok(()),
    }
}

impl Display for RuleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.action, self.rule, self.place)
    }
}

fn changed_rule(changed: &ChangedRule, out: &mut String) -> fmt::Result {
    let (old, new) = (&changed.old, &changed.new);
    if old.action == new.action {
        writeln!(out, "~ {new} matches other packets")?;
    } else {
        writeln!(out, "~ {new} was {}", old.action)?;
    }
    let Some(example) = &changed.example else { return Ok(()) };
    let now = if example.matches_now { "now matches" } else { "no longer matches" };
    writeln!(out, "    {now} {}{}", example.packet, on(example.interface.as_deref()))
}

fn on(interface: Option<&str>) -> String {
    interface.map_or_else(String::new, |interface| format!(" on {interface}"))
}

fn verdicts(report: &Report, out: &mut String) -> fmt::Result {
    match (report.verdicts, &report.example) {
        ("same", _) if report.is_empty => writeln!(out, "Nothing changes: neither rules nor interfaces."),
        ("same", _) if report.essentials.on.is_empty() && report.essentials.off.is_empty() => {
            writeln!(out, "No packet's verdict changes.")
        }
        ("same", _) => {
            writeln!(out, "Rules and default give every packet the verdict that they gave before.")
        }
        ("unknown", _) => {
            let why = report.unknown.as_deref().unwrap_or_default();
            writeln!(
                out,
                "Whether verdicts change cannot be told: {why}; a capture can be tried with --pcap."
            )
        }
        (_, Some(example)) => {
            writeln!(out, "Verdicts change. One packet of those that are judged otherwise:")?;
            packet(example, out)
        }
        _ => writeln!(out, "Verdicts change: only one side has a [firewall] and judges at all."),
    }
}

fn packet(change: &PacketChange, out: &mut String) -> fmt::Result {
    let index = change.index.map_or_else(String::new, |index| format!("{index}: "));
    writeln!(out, "  {index}{}{}", change.packet, on(change.interface.as_deref()))?;
    writeln!(out, "    {} → {}", change.old, change.new)
}

impl Display for Decided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = self.rule.as_deref().unwrap_or(self.reason);
        write!(f, "{} by {by}", self.verdict)?;
        self.place.as_ref().map_or(Ok(()), |place| write!(f, " ({place})"))
    }
}

fn capture(packets: &PacketReport, out: &mut String) -> fmt::Result {
    let judged = usize::try_from(packets.judged).unwrap_or(usize::MAX);
    let changed = packets.changed_count;
    writeln!(out, "Of {} in the capture, {changed} would get another verdict.", counted(judged, "packet"))?;
    for change in &packets.changed {
        packet(change, out)?;
    }
    let more = changed.saturating_sub(packets.changed.len() as u64);
    if more == 0 {
        return Ok(());
    }
    writeln!(out, "  … {more} more; in all:")?;
    packets
        .totals
        .iter()
        .try_for_each(|Total { packets, old, new }| writeln!(out, "  {packets:>9}  {old} → {new}"))
}
