//! The thread that keeps bans: writes down what is set and lifted, and removes from the kernel's tables what
//! has ended. Nobody waits for it who does not ask to.

use std::sync::Weak;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};
use std::{io, thread};

use super::clock::Now;
use super::door::Shared;
use super::journal::{Journal, Written};
use super::subject::Subject;

/// Between two looks for what has ended. A ban ends without it; it takes room until then.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);
/// Bans that are looked at while others who ban wait: less than a millisecond.
const PART: usize = 4096;

/// What is to be written down.
#[derive(Debug)]
pub(super) enum Change {
    Ban(Subject, Written),
    Unban(Subject),
    /// Answer when all before this is on the disk.
    Flush(SyncSender<io::Result<()>>),
}

/// Starts the thread. It ends when nobody can ban any more.
pub(super) fn start(journal: Journal, inbox: Receiver<Change>, shared: Weak<Shared>) -> io::Result<()> {
    let mut keeper = Keeper { journal, shared, swept: Instant::now(), failing: false };
    thread::Builder::new().name("bans".to_owned()).spawn(move || keeper.work(&inbox)).map(drop)
}

struct Keeper {
    journal: Journal,
    shared: Weak<Shared>,
    swept: Instant,
    failing: bool,
}

impl Keeper {
    fn work(&mut self, inbox: &Receiver<Change>) {
        let opened = self.put_down(Vec::new());
        self.say(&opened);
        loop {
            let first = match inbox.recv_timeout(SWEEP_INTERVAL.saturating_sub(self.swept.elapsed())) {
                Ok(change) => Some(change),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let (mut changes, mut waiting) = (Vec::new(), Vec::new());
            for change in first.into_iter().chain(inbox.try_iter()).take(PART) {
                match change {
                    Change::Flush(answer) => waiting.push(answer),
                    change => changes.push(change),
                }
            }
            if !changes.is_empty() || !waiting.is_empty() {
                let done = self.put_down(changes);
                self.say(&done);
                for answer in waiting {
                    let copy = match &done {
                        Ok(()) => Ok(()),
                        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
                    };
                    let _ = answer.send(copy);
                }
            }
            if self.swept.elapsed() >= SWEEP_INTERVAL {
                self.sweep();
            }
        }
    }

    /// Writes changes, or the whole file anew where that is due.
    fn put_down(&mut self, changes: Vec<Change>) -> io::Result<()> {
        let Some(shared) = self.shared.upgrade() else { return Ok(()) };
        if self.journal.is_stale(shared.count()) {
            // The table has them already. Of those that change meanwhile, the lines come after.
            return self.journal.rewrite(|after| {
                let (page, now) = (shared.page(after, PART), Now::read());
                let written = |(subject, held): (Subject, super::table::Held)| {
                    let until_ms = now.wall_ms_of(held.expires_ns);
                    (subject, Written { since_ms: held.since_ms, until_ms, note: held.note })
                };
                page.into_iter().map(written).collect()
            });
        }
        for change in changes {
            match change {
                Change::Ban(subject, written) => self.journal.ban(subject, &written)?,
                Change::Unban(subject) => self.journal.unban(subject)?,
                Change::Flush(_) => {}
            }
        }
        self.journal.sync()
    }

    /// Says that bans are not written down, once, and that they are again.
    fn say(&mut self, done: &io::Result<()>) {
        match done {
            Err(error) if !self.failing => {
                tracing::error!("bans cannot be written down and would not outlast a reboot: {error}");
            }
            Ok(()) if self.failing => tracing::info!("bans are written down again"),
            _ => {}
        }
        self.failing = done.is_err();
    }

    fn sweep(&mut self) {
        self.swept = Instant::now();
        let Some(shared) = self.shared.upgrade() else { return };
        if let Err(error) = shared.sweep(PART) {
            tracing::warn!("bans that have ended cannot be removed: {error}");
        }
    }
}
