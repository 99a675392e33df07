//! The file in which bans outlast a reboot: a line for each that is set or lifted, appended by a thread of its
//! own, and written anew when most lines mean nothing any more. Times are the wall clock's.
//!
//! ```text
//! {"ban":{"subject":"198.51.100.7","since":1790000000000,"until":1790003600000,"reason":"manual"}}
//! {"unban":"198.51.100.7"}
//! ```

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use foobar_ebpf::abi::ban::BanReason;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Note;
use super::subject::Subject;

/// Name of the file in `state_dir`.
pub(super) const FILE: &str = "bans.jsonl";

/// Lines without meaning that are not worth writing the file anew for.
const DEAD_LINES: usize = 1000;

/// A ban as it is written down.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Written {
    /// Milliseconds since the Unix epoch.
    pub(super) since_ms: u64,
    /// The same; `None`: for ever.
    pub(super) until_ms: Option<u64>,
    pub(super) note: Arc<Note>,
}

/// A line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Ban(BanLine),
    Unban(String),
}

#[derive(Serialize, Deserialize)]
struct BanLine {
    subject: String,
    since: u64,
    until: Option<u64>,
    reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    text: String,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    evidence: Map<String, Value>,
}

/// The open file.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    lines: usize,
}

impl Journal {
    /// Reads what an earlier agent wrote. A file that cannot be read is kept under another name, and said.
    pub(super) fn open(state_dir: &Path) -> (Self, HashMap<Subject, Written>) {
        let path = state_dir.join(FILE);
        let mut read = Read::default();
        let damaged = match read.file(&path) {
            Ok(()) if read.wrong == 0 => None,
            Ok(()) => Some(format!("{} of its lines are no bans, and were left out", read.wrong)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(error.to_string()),
        };
        if let Some(what) = &damaged {
            let aside = path.with_extension("damaged.jsonl");
            let kept = match fs::rename(&path, &aside) {
                Ok(()) => format!("it is kept as {}", aside.display()),
                Err(error) => format!("it cannot be kept aside: {error}"),
            };
            tracing::error!("{}: {what}; {kept}", path.display());
        }
        // What is to be written anew is not opened: a torn line would become part of the next one.
        let whole = damaged.is_none() && !read.torn;
        let file = whole.then(|| File::options().append(true).open(&path).ok()).flatten().map(BufWriter::new);
        (Self { path, file, lines: read.lines }, read.bans)
    }

    /// Whether the file is to be written anew, with so many bans in force.
    pub(super) fn is_stale(&self, bans: usize) -> bool {
        self.file.is_none() || self.lines > 2 * bans + DEAD_LINES
    }

    pub(super) fn ban(&mut self, subject: Subject, ban: &Written) -> io::Result<()> {
        let Written { since_ms, until_ms, note } = ban;
        self.line(&Line::Ban(BanLine {
            subject: subject.to_string(),
            since: *since_ms,
            until: *until_ms,
            reason: note.reason.as_str().to_owned(),
            text: note.text.clone(),
            evidence: note.evidence.clone(),
        }))
    }

    pub(super) fn unban(&mut self, subject: Subject) -> io::Result<()> {
        self.line(&Line::Unban(subject.to_string()))
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        self.lines += 1;
        let written = serde_json::to_writer(&mut *file, line).map_err(io::Error::from);
        let ended = written.and_then(|()| file.write_all(b"\n"));
        self.check(ended)
    }

    /// Has the file on the disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let synced = match &mut self.file {
            Some(file) => file.flush().and_then(|()| file.get_ref().sync_data()),
            None => Ok(()),
        };
        self.check(synced)
    }

    /// Writes the file anew, with the bans that come in pages.
    pub(super) fn rewrite(
        &mut self,
        mut page: impl FnMut(Option<Subject>) -> Vec<(Subject, Written)>,
    ) -> io::Result<()> {
        let next = self.path.with_extension("next");
        self.file = Some(BufWriter::new(File::create(&next)?));
        self.lines = 0;
        let mut after = None;
        loop {
            let bans = page(after);
            let Some((last, _)) = bans.last() else { break };
            after = Some(*last);
            for (subject, ban) in &bans {
                self.ban(*subject, ban)?;
            }
        }
        self.sync()?;
        let renamed = fs::rename(next, &self.path);
        self.check(renamed)
    }

    /// After a failure the file lacks something: it is written anew when there is more to write.
    fn check(&mut self, done: io::Result<()>) -> io::Result<()> {
        if done.is_err() {
            self.file = None;
        }
        done
    }
}

/// What is read of a file.
#[derive(Default)]
struct Read {
    bans: HashMap<Subject, Written>,
    lines: usize,
    wrong: usize,
    /// The last line has no end: an agent died while writing it.
    torn: bool,
    /// The words of the line before: neighbours often share them.
    last: Option<Arc<Note>>,
}

impl Read {
    fn file(&mut self, path: &Path) -> io::Result<()> {
        let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
        let mut line = Vec::new();
        while file.read_until(b'\n', &mut line)? > 0 {
            if line.last() != Some(&b'\n') {
                self.torn = true;
                break;
            }
            self.lines += 1;
            if self.line(&line).is_none() {
                self.wrong += 1;
            }
            line.clear();
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Option<()> {
        match serde_json::from_slice(line).ok()? {
            Line::Unban(subject) => {
                self.bans.remove(&subject.parse().ok()?);
            }
            Line::Ban(BanLine { subject, since, until, reason, text, evidence }) => {
                let reason = BanReason::ALL.iter().copied().find(|known| known.as_str() == reason)?;
                let note = self.share(Note { reason, text, evidence });
                self.bans.insert(subject.parse().ok()?, Written { since_ms: since, until_ms: until, note });
            }
        }
        Some(())
    }

    fn share(&mut self, note: Note) -> Arc<Note> {
        match &self.last {
            Some(last) if **last == note => Arc::clone(last),
            _ => Arc::clone(self.last.insert(Arc::new(note))),
        }
    }
}
