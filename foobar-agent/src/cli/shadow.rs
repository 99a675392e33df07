//! `foobar-agent shadow`: what a candidate would decide about live packets, before it decides anything.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::print::{self, Style};
use super::target::Target;
use super::{Output, lists};
use crate::config::Document;
use crate::control::ShadowReport;

/// `foobar-agent shadow`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foobar-agent shadow new.toml          judge every packet by it, too; it decides about none
  foobar-agent shadow                   what would it have decided until now?
  foobar-agent shadow --json | jq '.verdicts[] | select(.live != .candidate)'
  foobar-agent shadow --off             that is enough

Only the rules of FILE are looked at. Each packet is judged twice meanwhile, which costs as much again;
without a candidate it costs nothing. It ends with --off, with a reload and whatever else puts other
rules in force, and with the agent.")]
pub(super) struct ShadowOptions {
    /// The candidate
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Take it off
    #[arg(long, conflicts_with = "file")]
    off: bool,
    #[command(flatten)]
    target: Target,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
}

pub(super) fn shadow(options: &ShadowOptions, style: Style) -> Output {
    let report = match &options.file {
        Some(file) => {
            let mut candidate = Document::read(file)?;
            candidate.path = std::path::absolute(file)?;
            let target = options.target.clone().or_of(file);
            target.ask(async |client| client.shadow(&candidate).await)?
        }
        None if options.off => options.target.ask(async |client| client.end_shadow().await)?,
        None => options.target.ask(async |client| client.shadowed().await)?,
    };
    if options.json {
        return print::json(&report);
    }
    match (&options.file, options.off) {
        (Some(_), _) => Ok(begun(&report)),
        (None, off) => Ok(render(&report, off, print::now_seconds(), style)?),
    }
}

fn begun(report: &ShadowReport) -> String {
    let warnings: Vec<String> = report.warnings.into_iter().map(|warning| format!("{warning}\n")).collect();
    format!(
        "{}{} judges beside the rules in force, and decides about nothing\n  \
         look:    foobar-agent shadow\n  \
         end it:  foobar-agent shadow --off\n",
        warnings.concat(),
        report.configuration
    )
}

fn render(report: &ShadowReport, off: bool, now_seconds: f64, style: Style) -> Result<String, std::fmt::Error> {
    let ShadowReport { configuration, since_seconds, rules, verdicts, .. } = report;
    let packets: u64 = verdicts.iter().map(|row| row.packets).sum();
    let (judged, span) = (if off { "judged" } else { "judges" }, print::span(now_seconds - since_seconds));
    let mut text = format!(
        "{configuration} {judged} beside the rules in force for {span}: {} packets\n\n",
        style.count(packets)
    );
    writeln!(text, "What it would have decided, by rule\n{}", lists::rules(rules, style))?;
    let changed: Vec<_> = verdicts.iter().filter(|row| row.live != row.candidate).collect();
    let same: u64 = verdicts.iter().filter(|row| row.live == row.candidate).map(|row| row.packets).sum();
    if changed.is_empty() {
        writeln!(text, "No verdict would change.")?;
        return Ok(text);
    }
    let rows = changed.iter().map(|row| {
        vec![row.live.clone(), row.candidate.clone(), style.count(row.packets), style.count(row.bytes)]
    });
    let table = style.table(&["IN FORCE", "CANDIDATE", ">PACKETS", ">BYTES"], rows);
    write!(text, "Verdicts that would change\n{table}\nThe same for {} packets.\n", style.count(same))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::VerdictCount;

    #[test]
    fn what_would_change_is_told_apart_from_what_would_not() {
        let pair = |live: &str, candidate: &str, packets| VerdictCount {
            live: live.to_owned(),
            candidate: candidate.to_owned(),
            packets,
            bytes: packets * 60,
        };
        let report = ShadowReport {
            configuration: "new.toml".to_owned(),
            verdicts: vec![pair("allow", "allow", 1000), pair("allow", "drop", 7)],
            ..ShadowReport::default()
        };
        let text = render(&report, false, 61.0, Style { width: None }).unwrap();
        for words in [
            "new.toml judges beside the rules in force for 1 min 1 s: 1007 packets",
            "allow     drop             7    420",
            "The same for 1000 packets.",
        ] {
            assert!(text.contains(words), "no {words:?} in:\n{text}");
        }
        let same = ShadowReport { verdicts: vec![pair("drop", "drop", 3)], ..report };
        let text = render(&same, true, 61.0, Style { width: None }).unwrap();
        assert!(text.contains("judged beside") && text.contains("No verdict would change."), "{text}");
    }
}
