//! Every ban that is in the kernel's tables, with what the kernel does not keep of it. Keeps the kernel's
//! trie right: each prefix knows until when it or one around it is banned, because a packet finds the longest
//! one only.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

use foobar_ebpf::abi::ban::{Ban, flag, kind};

use super::Note;
use super::clock::Now;
use super::subject::Subject;
use crate::kernel::{BanMaps, KernelError};

/// Lengths in the mapped 128-bit space.
const LENGTHS: usize = 129;
/// Length of the block of all IPv4, in which no IPv6 prefix bans anything.
const IPV4_LENGTH: u8 = 96;

/// One ban.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// Milliseconds since the Unix epoch.
    pub(super) since_ms: u64,
    /// Nanoseconds since the boot.
    pub(super) expires_ns: u64,
    pub(super) note: Arc<Note>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Table {
    addresses: BTreeMap<Subject, Held>,
    prefixes: BTreeMap<Subject, Held>,
    /// Prefixes of each length: which are worth looking for around another.
    lengths: [u32; LENGTHS],
    exempt: BTreeSet<Subject>,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            addresses: BTreeMap::new(),
            prefixes: BTreeMap::new(),
            lengths: [0; LENGTHS],
            exempt: BTreeSet::new(),
        }
    }
}

impl Table {
    pub(super) fn get(&self, subject: Subject) -> Option<&Held> {
        self.of(subject).get(&subject)
    }

    /// Addresses, prefixes.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.addresses.len(), self.prefixes.len())
    }

    /// Bans, or bans anew. What was dropped so far stays counted, but for packets that are dropped between a
    /// look and a write here.
    pub(super) fn put(
        &mut self,
        maps: &BanMaps,
        subject: Subject,
        held: Held,
        now: Now,
    ) -> Result<(), KernelError> {
        let before = match self.get(subject) {
            Some(_) => maps.get(subject.prefix())?.unwrap_or_default(),
            None => Ban { since_ns: now.boot_ns, ..Ban::default() },
        };
        let covered_until_ns = self.around(subject).max(held.expires_ns);
        let ban =
            Ban { expires_ns: held.expires_ns, covered_until_ns, reason: held.note.reason as u32, ..before };
        maps.put(subject.prefix(), ban)?;
        self.adopt(subject, held);
        self.refresh_inside(maps, subject)?;
        self.say_kinds(maps)
    }

    /// Takes up what is in the kernel already.
    pub(super) fn adopt(&mut self, subject: Subject, held: Held) {
        if subject.is_address() {
            self.addresses.insert(subject, held);
        } else if self.prefixes.insert(subject, held).is_none() {
            self.lengths[usize::from(subject.length())] += 1;
        }
    }

    /// Bans no more; false where it was not banned.
    pub(super) fn remove(&mut self, maps: &BanMaps, subject: Subject) -> Result<bool, KernelError> {
        if !self.forget(maps, subject)? {
            return Ok(false);
        }
        self.refresh_inside(maps, subject)?;
        self.say_kinds(maps)?;
        Ok(true)
    }

    /// Removes what has ended, among the `limit` bans behind a cursor; gives the next cursor. What such a
    /// prefix covered it covers no more by the clock: nothing around it has to change.
    pub(super) fn sweep(
        &mut self,
        maps: &BanMaps,
        after: Option<Subject>,
        limit: usize,
        now: Now,
    ) -> Result<Option<Subject>, KernelError> {
        let (mut ended, mut last) = (Vec::new(), None);
        let mut seen = 0;
        for (subject, held) in self.behind(after).take(limit) {
            seen += 1;
            last = Some(subject);
            if held.expires_ns <= now.boot_ns {
                ended.push(subject);
            }
        }
        for &subject in &ended {
            self.forget(maps, subject)?;
        }
        if !ended.is_empty() {
            self.say_kinds(maps)?;
        }
        Ok(last.filter(|_| seen == limit))
    }

    /// Bans in order, prefixes first, from behind a cursor on.
    pub(super) fn behind(&self, after: Option<Subject>) -> impl Iterator<Item = (Subject, &Held)> {
        let (from_prefix, from_address) = match after {
            None => (Unbounded, Unbounded),
            Some(after) if after.is_address() => (Excluded(Subject::LAST), Excluded(after)),
            Some(after) => (Excluded(after), Unbounded),
        };
        let prefixes = self.prefixes.range((from_prefix, Unbounded));
        let addresses = self.addresses.range((from_address, Unbounded));
        prefixes.chain(addresses).map(|(subject, held)| (*subject, held))
    }

    /// Bans that hold a subject or lie in it, in order.
    pub(super) fn touching(&self, subject: Subject) -> BTreeSet<Subject> {
        let mut touching: BTreeSet<Subject> = inside(&self.prefixes, subject).collect();
        touching.extend(inside(&self.addresses, subject));
        touching.extend(self.lengths_around(subject).filter(|wider| self.prefixes.contains_key(wider)));
        touching.extend(self.get(subject).map(|_| subject));
        touching
    }

    /// Has exactly these prefixes exempt.
    pub(super) fn set_exempt(
        &mut self,
        maps: &BanMaps,
        wanted: BTreeSet<Subject>,
    ) -> Result<(), KernelError> {
        for gone in self.exempt.difference(&wanted) {
            maps.end_exemption(gone.prefix())?;
        }
        for new in wanted.difference(&self.exempt) {
            maps.exempt(new.prefix(), flag::EXEMPT)?;
        }
        self.exempt = wanted;
        Ok(())
    }

    /// Takes up an exemption that is in the kernel already.
    pub(super) fn adopt_exempt(&mut self, subject: Subject) {
        self.exempt.insert(subject);
    }

    /// Corrects what an agent that died half-way has left.
    pub(super) fn refresh_all(&self, maps: &BanMaps) -> Result<(), KernelError> {
        self.prefixes.keys().try_for_each(|&prefix| self.refresh(maps, prefix))
    }

    /// Tells packets which tables to ask.
    pub(super) fn say_kinds(&self, maps: &BanMaps) -> Result<(), KernelError> {
        let addresses = if self.addresses.is_empty() { 0 } else { kind::ADDRESSES };
        let prefixes = if self.prefixes.is_empty() { 0 } else { kind::PREFIXES };
        maps.set_kinds(addresses | prefixes)
    }

    fn forget(&mut self, maps: &BanMaps, subject: Subject) -> Result<bool, KernelError> {
        if self.get(subject).is_none() {
            return Ok(false);
        }
        maps.remove(subject.prefix())?;
        if subject.is_address() {
            self.addresses.remove(&subject);
        } else if self.prefixes.remove(&subject).is_some() {
            self.lengths[usize::from(subject.length())] -= 1;
        }
        Ok(true)
    }

    fn of(&self, subject: Subject) -> &BTreeMap<Subject, Held> {
        if subject.is_address() { &self.addresses } else { &self.prefixes }
    }

    /// Until when what lies around a subject is banned.
    fn around(&self, subject: Subject) -> u64 {
        let wider = self.lengths_around(subject).filter_map(|wider| self.prefixes.get(&wider));
        wider.map(|held| held.expires_ns).max().unwrap_or(0)
    }

    /// A subject cut to each shorter length of which there are prefixes.
    fn lengths_around(&self, subject: Subject) -> impl Iterator<Item = Subject> {
        let shortest = if subject.prefix().is_ipv4() { IPV4_LENGTH + 1 } else { 0 };
        (shortest..subject.length())
            .filter(|length| self.lengths[usize::from(*length)] > 0)
            .map(move |length| subject.widened(length))
    }

    fn refresh_inside(&self, maps: &BanMaps, subject: Subject) -> Result<(), KernelError> {
        inside(&self.prefixes, subject).try_for_each(|inner| self.refresh(maps, inner))
    }

    /// Has the kernel know until when a prefix or one around it is banned.
    fn refresh(&self, maps: &BanMaps, prefix: Subject) -> Result<(), KernelError> {
        let Some(held) = self.get(prefix) else { return Ok(()) };
        let covered_until_ns = self.around(prefix).max(held.expires_ns);
        match maps.get(prefix.prefix())? {
            Some(ban) if ban.covered_until_ns != covered_until_ns => {
                maps.put(prefix.prefix(), Ban { covered_until_ns, ..ban })
            }
            _ => Ok(()),
        }
    }
}

/// What lies in a subject, without itself. All IPv4 lies in no IPv6 prefix.
fn inside(among: &BTreeMap<Subject, Held>, subject: Subject) -> impl Iterator<Item = Subject> {
    let is_ipv4 = subject.prefix().is_ipv4();
    let range = (!subject.is_address())
        .then(|| among.range((Excluded(subject), Included(subject.last()))).map(|(inner, _)| *inner));
    range.into_iter().flatten().filter(move |inner| inner.prefix().is_ipv4() == is_ipv4)
}
