//! The door: through it, and through nothing else, the agent bans. Any thread may hold it.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use foobar_ebpf::abi::ban::{self, Ban, BanReason, flag};

use super::clock::{Now, seconds};
use super::journal::{Journal, Written};
use super::keeper::{self, Change};
use super::table::{Held, Table};
use super::{BanError, BanSeen, BanTotals, Banned, Note, Protected, Subject, Term};
use crate::firewall::address::Prefix;
use crate::kernel::{BanMaps, KernelError};

/// Bans sources. Clones are the same door.
#[derive(Clone, Debug, Default)]
pub struct BanDoor {
    shared: Arc<Shared>,
}

/// What clones share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Once the datapath is open.
    maps: OnceLock<BanMaps>,
    table: Mutex<Table>,
    protected: ArcSwap<Protected>,
    /// To the thread that writes the file.
    changes: OnceLock<Sender<Change>>,
    added: [AtomicU64; BanReason::COUNT as usize],
}

impl BanDoor {
    /// Takes up the bans that are in the kernel and those that were written down, and keeps both from now
    /// on. May take seconds where there are a million.
    ///
    /// # Errors
    /// When the kernel's tables cannot be read or written; nobody is banned through this door then.
    pub fn open(&self, maps: BanMaps, state_dir: &Path, protected: Protected) -> Result<(), BanError> {
        let (journal, written) = Journal::open(state_dir);
        self.shared.restore(&maps, written, &protected)?;
        self.shared.protected.store(Arc::new(protected));
        let (changes, inbox) = mpsc::channel();
        if self.shared.maps.set(maps).is_ok() {
            keeper::start(journal, inbox, Arc::downgrade(&self.shared)).map_err(|source| {
                KernelError::System { what: "cannot start the thread that writes bans down", source }
            })?;
            let _ = self.shared.changes.set(changes);
        }
        Ok(())
    }

    /// Bans an address or a prefix, from the next packet on when this returns. Does not shorten a ban that
    /// there is. Takes microseconds: one system call, on the caller's thread; what lasts is written later.
    ///
    /// # Errors
    /// When it must not be banned, when there is no room, or no datapath yet.
    pub fn ban(&self, subject: Subject, term: Term, note: Note) -> Result<Banned, BanError> {
        self.set(subject, term, &Arc::new(note), &Ways::default())
    }

    /// As [`BanDoor::ban`], in the way asked for.
    ///
    /// # Errors
    /// As for [`BanDoor::ban`].
    pub fn set(
        &self,
        subject: Subject,
        term: Term,
        note: &Arc<Note>,
        ways: &Ways,
    ) -> Result<Banned, BanError> {
        let shared = &*self.shared;
        let maps = shared.maps.get().ok_or(BanError::NotOpen)?;
        if matches!((subject.prefix().is_ipv4(), subject.length()), (true, 96) | (false, 0)) {
            return Err(BanError::Everything(subject));
        }
        if let Some(protection) = shared.protected.load().of(subject, ways.insists) {
            return Err(BanError::Protected { subject, protection });
        }
        let now = Now::read();
        let expires_ns = now.end_of(term);
        let mut table = shared.table();
        let before = table.get(subject).filter(|held| held.expires_ns > now.boot_ns);
        if !ways.shortens && before.is_some_and(|held| held.expires_ns >= expires_ns) {
            return Ok(Banned::Kept);
        }
        let since_ms = before.map_or(now.wall_ms, |held| held.since_ms);
        let banned = if before.is_some() { Banned::Renewed } else { Banned::Added };
        table.put(maps, subject, Held { since_ms, expires_ns, note: Arc::clone(note) }, now)?;
        // In the order of the table, so that the file ends as the table does.
        let until_ms = now.wall_ms_of(expires_ns);
        shared.tell(Change::Ban(subject, Written { since_ms, until_ms, note: Arc::clone(note) }));
        drop(table);
        if banned == Banned::Added {
            shared.added[note.reason as usize].fetch_add(1, Ordering::Relaxed);
        }
        Ok(banned)
    }

    /// Lifts a ban; false where there was none of exactly this subject.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn lift(&self, subject: Subject) -> Result<bool, BanError> {
        self.shared.lift(subject)
    }

    /// Has everything so far on the disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&self) -> io::Result<()> {
        let Some(changes) = self.shared.changes.get() else { return Ok(()) };
        let (answer, done) = mpsc::sync_channel(1);
        let gone = |_| io::Error::other("the thread that writes bans down has ended");
        changes.send(Change::Flush(answer)).map_err(|error| gone(error.to_string()))?;
        done.recv().map_err(|error| gone(error.to_string()))?
    }

    /// Takes another list of what is not to be banned: bans that it forbids are lifted.
    ///
    /// # Errors
    /// When the kernel refuses; the list holds all the same.
    pub fn protect(&self, protected: Protected) -> Result<usize, BanError> {
        let shared = &*self.shared;
        let exempt = protected.exempt().into_iter().map(Subject::from).collect();
        let forbidden = shared.forbidden(&protected);
        shared.protected.store(Arc::new(protected));
        for subject in &forbidden {
            shared.lift(*subject)?;
        }
        let maps = shared.maps.get().ok_or(BanError::NotOpen)?;
        shared.table().set_exempt(maps, exempt)?;
        Ok(forbidden.len())
    }

    /// Notes the host's own addresses.
    pub fn note_own(&self, own: impl IntoIterator<Item = IpAddr>) {
        let protected = self.shared.protected.load().with_own(own);
        self.shared.protected.store(Arc::new(protected));
    }

    /// Bans in order, prefixes first, from behind a cursor on.
    ///
    /// # Errors
    /// When the kernel's tables cannot be read.
    pub fn list(&self, after: Option<Subject>, limit: usize) -> Result<Page, BanError> {
        let held = self.shared.page(after, limit);
        self.shared.see(held, limit)
    }

    /// Bans that hold an address or prefix, or lie in it, in order, from behind a cursor on.
    ///
    /// # Errors
    /// As for [`BanDoor::list`].
    pub fn touching(&self, subject: Subject, after: Option<Subject>, limit: usize) -> Result<Page, BanError> {
        let held: Vec<_> = {
            let table = self.shared.table();
            let touching = table.touching(subject);
            let behind = touching.into_iter().filter(|touching| after.is_none_or(|after| *touching > after));
            let held = behind.filter_map(|subject| Some((subject, table.get(subject)?.clone())));
            held.take(limit).collect()
        };
        self.shared.see(held, limit)
    }

    /// How many there are.
    pub fn totals(&self) -> BanTotals {
        let (addresses, prefixes) = self.shared.table().len();
        let added = BanReason::ALL.iter().zip(&self.shared.added);
        BanTotals {
            addresses: addresses as u64,
            prefixes: prefixes as u64,
            added: added
                .map(|(reason, count)| (reason.as_str().to_owned(), count.load(Ordering::Relaxed)))
                .collect(),
        }
    }
}

/// Some bans, and the cursor behind which there are more.
pub type Page = (Vec<(Subject, BanSeen)>, Option<Subject>);

/// How somebody bans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// Also what would be a mistake.
    pub insists: bool,
    /// A ban that there is gets the new term, also a shorter one.
    pub shortens: bool,
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: Change) {
        if let Some(changes) = self.changes.get() {
            // The thread ends with the agent only.
            let _ = changes.send(change);
        }
    }

    fn lift(&self, subject: Subject) -> Result<bool, BanError> {
        let maps = self.maps.get().ok_or(BanError::NotOpen)?;
        let mut table = self.table();
        let lifted = table.remove(maps, subject)?;
        if lifted {
            self.tell(Change::Unban(subject));
        }
        Ok(lifted)
    }

    /// Brings the kernel's tables, what was written down and what is protected together.
    fn restore(
        &self,
        maps: &BanMaps,
        mut written: HashMap<Subject, Written>,
        protected: &Protected,
    ) -> Result<(), BanError> {
        let now = Now::read();
        let ipv4 = Prefix::from_mapped(u128::from_be_bytes(ban::IPV4.1), 96);
        let (mut complete, mut found) = (false, Vec::new());
        maps.each(|prefix, ban| {
            complete |= ban.flags & flag::COMPLETE != 0;
            found.push((prefix, ban));
        })?;
        let mut table = self.table();
        if !complete {
            maps.exempt(ipv4, flag::EXEMPT)?;
        }
        for (prefix, ban) in found {
            let subject = Subject::from(prefix);
            if ban.flags & flag::EXEMPT == 0 {
                table.adopt(subject, held_of(&ban, written.remove(&subject), now));
            } else if prefix != ipv4 {
                table.adopt_exempt(subject);
            }
        }
        if !complete {
            // The host was booted, or an agent died while it restored: what the kernel does not have is
            // missing. Otherwise it was lifted, or has ended.
            let mut missing: Vec<_> = written.into_iter().collect();
            missing.sort_unstable_by_key(|(subject, _)| *subject);
            for (subject, Written { since_ms, until_ms, note }) in missing {
                let expires_ns = now.boot_ns_of(until_ms);
                if expires_ns > now.boot_ns {
                    table.put(maps, subject, Held { since_ms, expires_ns, note }, now)?;
                }
            }
        }
        for subject in forbidden(&table, protected) {
            table.remove(maps, subject)?;
        }
        table.set_exempt(maps, protected.exempt().into_iter().map(Subject::from).collect::<BTreeSet<_>>())?;
        table.refresh_all(maps)?;
        table.say_kinds(maps)?;
        maps.exempt(ipv4, flag::EXEMPT | flag::COMPLETE)?;
        Ok(())
    }

    fn forbidden(&self, protected: &Protected) -> Vec<Subject> {
        forbidden(&self.table(), protected)
    }

    pub(super) fn page(&self, after: Option<Subject>, limit: usize) -> Vec<(Subject, Held)> {
        let table = self.table();
        table.behind(after).take(limit).map(|(subject, held)| (subject, held.clone())).collect()
    }

    pub(super) fn count(&self) -> usize {
        let (addresses, prefixes) = self.table().len();
        addresses + prefixes
    }

    /// Removes what has ended, a part at a time: nobody who bans waits for all of it.
    pub(super) fn sweep(&self, part: usize) -> Result<(), KernelError> {
        let Some(maps) = self.maps.get() else { return Ok(()) };
        let mut after = None;
        loop {
            after = self.table().sweep(maps, after, part, Now::read())?;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Bans with what the kernel counted of them; those that have ended are left out.
    fn see(&self, held: Vec<(Subject, Held)>, limit: usize) -> Result<Page, BanError> {
        let Some(maps) = self.maps.get() else { return Ok(Page::default()) };
        let now = Now::read();
        let next = held.last().filter(|_| held.len() == limit).map(|(subject, _)| *subject);
        let mut seen = Vec::with_capacity(held.len());
        for (subject, held) in held {
            if held.expires_ns > now.boot_ns {
                let ban = maps.get(subject.prefix())?.unwrap_or_default();
                seen.push((subject, seen_of(subject, &held, &ban, now)));
            }
        }
        Ok((seen, next))
    }
}

fn forbidden(table: &Table, protected: &Protected) -> Vec<Subject> {
    let forbidden = table.behind(None).filter(|(subject, _)| protected.of(*subject, true).is_some());
    forbidden.map(|(subject, _)| subject).collect()
}

/// A ban of the kernel, with the words that were written down; without, with what the kernel knows.
fn held_of(ban: &Ban, written: Option<Written>, now: Now) -> Held {
    let unwritten = || {
        let reason = BanReason::try_from(ban.reason).unwrap_or(BanReason::Manual);
        let since_ms = now.wall_ms_of(ban.since_ns).unwrap_or(now.wall_ms);
        (since_ms, Arc::new(Note::new(reason)))
    };
    let (since_ms, note) = written.map_or_else(unwritten, |written| (written.since_ms, written.note));
    Held { since_ms, expires_ns: ban.expires_ns, note }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since the epoch are exact in a double")]
fn seen_of(subject: Subject, held: &Held, ban: &Ban, now: Now) -> BanSeen {
    let left_ns = (held.expires_ns != ban::FOREVER).then(|| held.expires_ns.saturating_sub(now.boot_ns));
    let last_ns = (ban.packets > 0).then(|| now.boot_ns.saturating_sub(ban.last_hit_ns));
    BanSeen {
        subject: subject.to_string(),
        reason: held.note.reason.as_str().to_owned(),
        text: held.note.text.clone(),
        since_seconds: held.since_ms as f64 / 1000.0,
        left_seconds: left_ns.map(seconds),
        packets: ban.packets,
        last_packet_seconds: last_ns.map(seconds),
        evidence: held.note.evidence.clone(),
    }
}
