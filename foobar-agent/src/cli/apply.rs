//! `foobar-agent apply`, `confirm`, `rollback`: a configuration put in force by somebody who can look
//! whether all goes on, and may be cut off by it.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Output;
use super::arguments::DEFAULT_CONFIG;
use super::print;
use super::target::Target;
use crate::config::Document;
use crate::control::client::Client;
use crate::control::{ApplyReport, ApplyRequest, RollbackReport};

/// Between two looks at a trial that is about to end.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// `foobar-agent apply`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foobar-agent apply                            take /etc/foobar/foobar.toml, as reload does
  foobar-agent apply --confirm 60s              take it, and go back in a minute unless I confirm
  foobar-agent apply new.toml --confirm 5m      try another file
  foobar-agent confirm                          keep it
  foobar-agent rollback                         go back now

With --confirm, the datapath itself goes back to the rules before when the time is over: also when
this session is cut off, and when the agent is dead. The agent, or the next one that starts, then
puts balancer and monitor back, too, and a start or reload does not take the same text again unless
`apply` says so. On a terminal the command waits and asks.

FILE is in force until the next reload, restart or apply: those take the file that the agent was
started with.

Exit codes:
  0  in force
  1  the configuration is wrong; nothing changed
  2  the command line is wrong
  3  no agent runs, or the host refuses; nothing changed. Or nobody confirmed")]
pub(super) struct ApplyOptions {
    /// The configuration
    #[arg(value_name = "FILE", default_value = DEFAULT_CONFIG)]
    file: PathBuf,
    /// Go back after this time (as in 45s, 5m, 1h) unless `foobar-agent confirm` comes [without a time: 60s]
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "60s", value_parser = span)]
    confirm: Option<Duration>,
    /// Ask the agent whose control socket is in this folder [default: where FILE has it]
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Print one JSON object instead of text, and do not ask
    #[arg(long)]
    json: bool,
}

/// `emit` writes to standard output before the command asks.
pub(super) fn apply(options: &ApplyOptions, emit: impl Fn(&str) -> anyhow::Result<()>) -> Output {
    let target = Target::of(options.file.clone(), options.run_dir.clone());
    let mut document = Document::read(&options.file)?;
    document.path = std::path::absolute(&document.path)?;
    let confirm_within_seconds = options.confirm.map(|limit| limit.as_secs());
    let asked_at = Instant::now();
    let request = ApplyRequest { document, confirm_within_seconds };
    let report = target.ask(async |client| client.apply(&request).await)?;
    if options.json {
        return print::json(&report);
    }
    let text = say(&report)?;
    let on_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let Some(limit) = options.confirm.filter(|_| on_terminal) else { return Ok(text) };
    emit(&text)?;
    ask(&target, asked_at + limit, emit)
}

fn say(report: &ApplyReport) -> Result<String, std::fmt::Error> {
    let ApplyReport { generation, before, confirm_within_seconds, warnings } = report;
    let mut text = String::new();
    for warning in warnings {
        writeln!(text, "{warning}")?;
    }
    let Some(seconds) = confirm_within_seconds else {
        writeln!(text, "applied: generation {generation} judges packets")?;
        return Ok(text);
    };
    let before = before.unwrap_or(0);
    let limit = Duration::from_secs(*seconds).as_secs_f64();
    writeln!(
        text,
        "on trial: generation {generation} judges packets, for {}\n  \
         keep it:   foobar-agent confirm\n  \
         end it:    foobar-agent rollback\n\
         Without a confirmation in that time the datapath itself goes back to generation {before}, also if this \
         session is cut off or the agent is dead.",
        print::span(limit)
    )?;
    Ok(text)
}

/// Asks until there is an answer or the time is over.
fn ask(target: &Target, deadline: Instant, emit: impl Fn(&str) -> anyhow::Result<()>) -> Output {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        emit(&format!("Keep it? [y/n, {} left] ", print::span(left.as_secs_f64())))?;
        let stdin = io::stdin();
        let mut descriptors = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        if poll(&mut descriptors, timeout)? == 0 {
            break;
        }
        let mut line = String::new();
        if stdin.lock().read_line(&mut line)? == 0 {
            // Nobody there to ask.
            return Ok("\n".to_owned());
        }
        match line.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => return confirm(target),
            "n" | "no" => return roll_back(target),
            _ => {}
        }
    }
    emit("\n")?;
    ended(target)
}

/// What has come of a trial whose time is over here: it may have been decided elsewhere.
fn ended(target: &Target) -> Output {
    let over = async |client: Client| loop {
        let snapshot = client.snapshot().await?;
        if snapshot.standing.trial.is_none() {
            return Ok(snapshot);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let snapshot = target.ask(over)?;
    let generation = snapshot.generation;
    match snapshot.standing.refused {
        Some(refused) => bail!("it was {}: generation {generation} judges packets again", refused.why),
        None => Ok(format!("confirmed by somebody else: generation {generation} judges packets for good\n")),
    }
}

pub(super) fn confirm(target: &Target) -> Output {
    let report = target.ask(async |client| client.confirm().await)?;
    Ok(format!("confirmed: generation {} judges packets for good\n", report.generation))
}

pub(super) fn roll_back(target: &Target) -> Output {
    let RollbackReport { generation, whole } = target.ask(async |client| client.roll_back().await)?;
    let rest = if whole {
        ", with the configuration that it came with"
    } else {
        "; balancer and monitor stay as they are, because the configuration that it came with is not known"
    };
    Ok(format!("rolled back: generation {generation} judges packets again{rest}\n"))
}

/// "45s", "5m", "1h": a number alone says nothing.
fn span(text: &str) -> Result<Duration, String> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[number.len()..] {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        _ => return Err("a time has a unit: 45s, 5m, 1h".to_owned()),
    };
    let number: u64 =
        number.parse().map_err(|_| "not a whole number with a unit, as in 45s, 5m, 1h".to_owned())?;
    number
        .checked_mul(unit)
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs)
        .ok_or_else(|| "no such time".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_number_and_a_unit() {
        for (text, seconds) in [("45s", 45), ("5m", 300), ("2min", 120), ("1h", 3600)] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["60", "s", "1d", "-1s", "0s", "1.5m", "", "18446744073709551615h"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_trial_says_how_it_is_kept_and_what_comes_otherwise() {
        let report = ApplyReport {
            generation: 8,
            before: Some(7),
            confirm_within_seconds: Some(60),
            ..ApplyReport::default()
        };
        let text = say(&report).unwrap();
        for words in
            ["generation 8", "1 min 0 s", "foobar-agent confirm", "foobar-agent rollback", "generation 7"]
        {
            assert!(text.contains(words), "{text}");
        }
        let text = say(&ApplyReport { generation: 8, ..ApplyReport::default() }).unwrap();
        assert_eq!(text, "applied: generation 8 judges packets\n");
    }
}
