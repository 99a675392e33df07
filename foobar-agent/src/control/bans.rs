//! Bans on the control socket: what is asked, what is answered, and how the door is asked for it.

use std::sync::Arc;
use std::time::Duration;

use foobar_ebpf::abi::ban::BanReason;
use serde::{Deserialize, Serialize};
use serde_json::Map;

use super::Refusal;
use crate::ban::{BanDoor, BanError, BanSeen, Banned, Note, Subject, TEXT_BYTES_MAX, Term, Ways};
use crate::net;

/// Subjects of one request; more come in several, so that none holds up others.
pub const SUBJECTS_MAX: usize = 10_000;
/// Bans of one answer.
pub const PAGE: usize = 10_000;

/// The body of `POST /v1/bans/add`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BanAdd {
    /// Addresses and prefixes.
    pub subjects: Vec<String>,
    /// How long, in milliseconds; `None`: for ever.
    pub term_ms: Option<u64>,
    /// What somebody says of it.
    #[serde(default)]
    pub text: String,
    /// Also what would be a mistake.
    #[serde(default)]
    pub force: bool,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanAdded {
    /// New ones.
    pub added: usize,
    /// Those that there were, which have this term now.
    pub renewed: usize,
    /// Those that are not banned, and why.
    pub refused: Vec<String>,
    /// Why this would not outlast a reboot.
    pub unwritten: Option<String>,
    /// Whether packets are judged at all.
    pub judged: bool,
}

/// The body of `POST /v1/bans/remove`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BanRemove {
    /// Addresses and prefixes, as they are banned.
    pub subjects: Vec<String>,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanRemoved {
    /// Those that are banned no more.
    pub removed: usize,
    /// Those that were not banned.
    pub absent: Vec<String>,
}

/// The body of `POST /v1/bans/find`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BanQuery {
    /// Only what holds this address or prefix, or lies in it.
    #[serde(default)]
    pub subject: Option<String>,
    /// Only those behind this one.
    #[serde(default)]
    pub after: Option<String>,
}

/// Some of what was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BanPage {
    /// Bans, prefixes first.
    pub bans: Vec<BanSeen>,
    /// Where the next page begins; `None`: there is none.
    pub next: Option<String>,
}

pub(super) fn add(door: &BanDoor, judged: bool, request: BanAdd) -> Result<BanAdded, Refusal> {
    let BanAdd { subjects, term_ms, text, force } = request;
    if text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(format!("the reason has more than {TEXT_BYTES_MAX} bytes, or more than one line").into());
    }
    let subjects = parse(&subjects)?;
    let term = term_ms.map_or(Term::Forever, |term_ms| Term::For(Duration::from_millis(term_ms)));
    let note = Arc::new(Note { reason: BanReason::Manual, text, evidence: Map::new() });
    let ways = Ways { insists: force, shortens: true };
    door.note_own(net::own_addresses());
    let mut report = BanAdded { judged, ..BanAdded::default() };
    for subject in subjects {
        match door.set(subject, term, &note, &ways) {
            Ok(Banned::Added) => report.added += 1,
            Ok(Banned::Renewed | Banned::Kept) => report.renewed += 1,
            Err(error @ (BanError::Protected { .. } | BanError::Everything(_))) => {
                report.refused.push(error.to_string());
            }
            Err(error) => return Err(error.to_string().into()),
        }
    }
    report.unwritten = door.flush().err().map(|error| error.to_string());
    Ok(report)
}

pub(super) fn remove(door: &BanDoor, request: &BanRemove) -> Result<BanRemoved, Refusal> {
    let mut report = BanRemoved::default();
    for subject in parse(&request.subjects)? {
        match door.lift(subject) {
            Ok(true) => report.removed += 1,
            Ok(false) => report.absent.push(subject.to_string()),
            Err(error) => return Err(error.to_string().into()),
        }
    }
    door.flush()
        .map_err(|error| format!("this is not written down, and would not outlast a reboot: {error}"))?;
    Ok(report)
}

pub(super) fn find(door: &BanDoor, request: &BanQuery) -> Result<BanPage, Refusal> {
    let subject = |text: &Option<String>| text.as_deref().map(one).transpose();
    let (wanted, after) = (subject(&request.subject)?, subject(&request.after)?);
    let found = match wanted {
        Some(wanted) => door.touching(wanted, after, PAGE),
        None => door.list(after, PAGE),
    };
    let (bans, next) = found.map_err(|error| Refusal::from(error.to_string()))?;
    Ok(BanPage {
        bans: bans.into_iter().map(|(_, seen)| seen).collect(),
        next: next.map(|next| next.to_string()),
    })
}

fn parse(subjects: &[String]) -> Result<Vec<Subject>, Refusal> {
    if subjects.len() > SUBJECTS_MAX {
        return Err(format!("more than {SUBJECTS_MAX} at once: send them in parts").into());
    }
    subjects.iter().map(|text| one(text)).collect()
}

fn one(text: &str) -> Result<Subject, Refusal> {
    text.parse().map_err(|error: crate::ban::SubjectError| error.to_string().into())
}
