//! `ban list`: a page after the other, as there may be a million.

use std::io::{self, Write};

use anyhow::anyhow;
use serde_json::{Map, Value};

use super::arguments::ListOptions;
use crate::ban::{BanSeen, Subject, SubjectError};
use crate::cli::print::{Style, now_seconds, span};
use crate::cli::{Failure, Output};
use crate::control::bans::BanQuery;

pub(super) fn list(options: &ListOptions, style: Style) -> Output {
    let subject = match &options.subject {
        Some(text) => {
            let subject: Result<Subject, SubjectError> = text.parse();
            Some(subject.map_err(|error| Failure::Usage(error.into()))?.to_string())
        }
        None => None,
    };
    let mut query = BanQuery { subject, after: None };
    let mut out = io::stdout().lock();
    let mut listed = 0;
    loop {
        let page = options.target.ask(async |client| client.bans(&query).await)?;
        let wanted = |ban: &BanSeen| options.reason.as_ref().is_none_or(|reason| *reason == ban.reason);
        let bans: Vec<BanSeen> = page.bans.into_iter().filter(wanted).collect();
        let text = if options.json { objects(&bans, listed)? } else { table(&bans, style) };
        listed += bans.len();
        match out.write_all(text.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(String::new()),
            written => written.map_err(|error| anyhow!("cannot write: {error}"))?,
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    Ok(match (options.json, listed) {
        (true, 0) => "[]\n".to_owned(),
        (true, _) => "\n]\n".to_owned(),
        (false, 0) => "nobody is banned\n".to_owned(),
        (false, _) => String::new(),
    })
}

/// Elements of one array, which begins with the first page that has any.
fn objects(bans: &[BanSeen], listed: usize) -> serde_json::Result<String> {
    let mut text = String::new();
    for (index, ban) in bans.iter().enumerate() {
        text += if listed + index == 0 { "[\n  " } else { ",\n  " };
        text += &serde_json::to_string(ban)?;
    }
    Ok(text)
}

fn table(bans: &[BanSeen], style: Style) -> String {
    if bans.is_empty() {
        return String::new();
    }
    let now = now_seconds();
    let rows = bans.iter().map(|ban| {
        vec![
            ban.subject.clone(),
            ban.reason.clone(),
            format!("{} ago", span(now - ban.since_seconds)),
            left(ban),
            style.count(ban.packets),
            ban.last_packet_seconds.map_or_else(|| "-".to_owned(), |last| format!("{} ago", span(last))),
            about(ban),
        ]
    });
    style.table(&["BANNED", "REASON", "SINCE", "LEFT", ">PACKETS", "LAST", "ABOUT"], rows)
}

/// How much longer.
pub(in crate::cli) fn left(ban: &BanSeen) -> String {
    ban.left_seconds.map_or_else(|| "forever".to_owned(), |left| span(left.ceil()))
}

/// What was said and seen.
pub(in crate::cli) fn about(ban: &BanSeen) -> String {
    let evidence = evidence(&ban.evidence);
    match (ban.text.as_str(), evidence.as_str()) {
        ("", evidence) => evidence.to_owned(),
        (text, "") => text.to_owned(),
        (text, evidence) => format!("{text}; {evidence}"),
    }
}

fn evidence(evidence: &Map<String, Value>) -> String {
    let word = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    let parts: Vec<String> = evidence.iter().map(|(name, value)| format!("{name} {}", word(value))).collect();
    parts.join(", ")
}
