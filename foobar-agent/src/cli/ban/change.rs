//! `ban add` and `ban remove`: in parts, so that the agent serves others in between.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::path::Path;

use anyhow::{anyhow, bail};

use super::arguments::{AddOptions, RemoveOptions};
use super::file;
use crate::ban::Subject;
use crate::cli::print::{Style, counted};
use crate::cli::{Failure, Output, here};
use crate::control::bans::{BanAdd, BanAdded, BanRemove, BanRemoved, SUBJECTS_MAX};

/// Refusals that are said one by one.
const REFUSED_SHOWN: usize = 10;

pub(super) fn add(options: &AddOptions) -> Output {
    let subjects = subjects(&options.subjects, options.file.as_deref())?;
    if !options.force {
        spare_own_session(&subjects)?;
    }
    let term_ms = options.term.0.map(|term| u64::try_from(term.as_millis()).unwrap_or(u64::MAX));
    let mut total = BanAdded::default();
    in_parts(&subjects, |part| {
        let wanted = BanAdd { subjects: part, term_ms, text: options.reason.clone(), force: options.force };
        let report = options.target.ask(async |client| client.ban(&wanted).await)?;
        total.added += report.added;
        total.renewed += report.renewed;
        total.refused.extend(report.refused);
        total.unwritten = report.unwritten;
        total.judged = report.judged;
        Ok(())
    })?;
    let mut text = format!("banned {}", counted(total.added, "source"));
    if total.renewed > 0 {
        write!(text, "; {} had one, which has this duration and reason now", total.renewed)?;
    }
    text.push('\n');
    if !total.judged {
        text += "note: this host has no [firewall], so nothing is judged: the ban keeps nobody out until it has\n";
    }
    if let Some(why) = total.unwritten {
        print!("{text}");
        bail!("the ban is in force, and would not outlast a reboot: {why}");
    }
    if total.refused.is_empty() {
        return Ok(text);
    }
    print!("{text}");
    let all = total.refused.len();
    total.refused.truncate(REFUSED_SHOWN);
    let more = if all > REFUSED_SHOWN { format!("\n{all} in all") } else { String::new() };
    bail!("{}{more}", total.refused.join("\n"))
}

pub(super) fn remove(options: &RemoveOptions) -> Output {
    let subjects = subjects(&options.subjects, options.file.as_deref())?;
    let mut total = BanRemoved::default();
    in_parts(&subjects, |part| {
        let wanted = BanRemove { subjects: part };
        let report = options.target.ask(async |client| client.unban(&wanted).await)?;
        total.removed += report.removed;
        total.absent.extend(report.absent);
        Ok(())
    })?;
    let text = format!("lifted {}\n", counted(total.removed, "ban"));
    if total.absent.is_empty() {
        return Ok(text);
    }
    print!("{text}");
    let shown: Vec<&str> = total.absent.iter().map(String::as_str).take(REFUSED_SHOWN).collect();
    let more = if total.absent.len() > shown.len() {
        format!(" and {} more", total.absent.len() - shown.len())
    } else {
        String::new()
    };
    bail!(
        "not banned: {}{more}\n  hint: `foobar-agent ban list ADDRESS` says by what an address is banned",
        shown.join(", ")
    )
}

/// Those of the command line, checked, and those of a file.
fn subjects(named: &[String], file: Option<&Path>) -> anyhow::Result<Vec<String>> {
    let mut subjects = Vec::with_capacity(named.len());
    for text in named {
        let subject: Subject = text
            .parse()
            .map_err(|error| Failure::Usage(anyhow::Error::new::<crate::ban::SubjectError>(error)))?;
        subjects.push(subject.to_string());
    }
    if let Some(file) = file {
        subjects.append(&mut file::read(file)?);
    }
    Ok(subjects)
}

/// A ban would cut the connection by which it was asked for.
fn spare_own_session(subjects: &[String]) -> anyhow::Result<()> {
    let Some(client) = here::session().map(|session| session.client.ip()) else { return Ok(()) };
    let holds = |text: &&String| text.parse().is_ok_and(|subject: Subject| subject.holds(client));
    match subjects.iter().find(holds) {
        Some(subject) => Err(Failure::Usage(anyhow!(
            "{subject} holds {client}, where your SSH session comes from: the ban would cut it\n  hint: \
             --force does it all the same; firewall.never_ban keeps an address from it"
        ))
        .into()),
        None => Ok(()),
    }
}

fn in_parts(
    subjects: &[String],
    mut part: impl FnMut(Vec<String>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let shows = subjects.len() > SUBJECTS_MAX && io::stderr().is_terminal();
    let style = Style { width: Some(80) };
    let mut done = 0;
    for subjects_of_part in subjects.chunks(SUBJECTS_MAX) {
        part(subjects_of_part.to_vec())?;
        done += subjects_of_part.len();
        if shows {
            // Progress that cannot be shown is no reason to end.
            let _ = write!(
                io::stderr(),
                "\r{} of {} ({} %)\x1b[K",
                style.count(done as u64),
                style.count(subjects.len() as u64),
                done * 100 / subjects.len()
            );
        }
    }
    if shows {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    Ok(())
}
