//! Which configurations the agent has been given, written down in `state_dir`: the one in force, the one
//! before it, one on trial, and one that was refused. What the kernel keeps of them are the rules; this is the
//! text of all of it, so that a later start knows what to do.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::config::{self, Diagnostics, Document, Loaded};
use crate::durable;

/// The file in `state_dir`.
const FILE_NAME: &str = "configurations.json";

/// Where a configuration is from: a file, or the agent's own default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    pub(super) document: Option<Document>,
}

impl Origin {
    pub(super) fn path(&self) -> Option<&Path> {
        self.document.as_ref().map(|document| document.path.as_path())
    }

    pub(super) fn load(&self) -> Result<Loaded, Diagnostics> {
        match &self.document {
            Some(document) => document.load(),
            None => Ok(config::embedded_default()),
        }
    }

    /// Whether both say the same, wherever they lie.
    pub(super) fn says_what(&self, other: &Self) -> bool {
        let text = |origin: &Self| origin.document.as_ref().map(|document| document.text.clone());
        text(self) == text(other)
    }

    /// For people.
    pub(super) fn name(&self) -> String {
        self.path().map_or_else(|| "the default configuration".to_owned(), |path| path.display().to_string())
    }
}

/// A configuration that judged for a while and was not kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Refused {
    pub(super) origin: Origin,
    /// What became of it, to complete "… was".
    pub(super) why: String,
    /// When, in seconds since the Unix epoch.
    pub(super) at_seconds: f64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Content {
    /// Not what is on trial, while something is.
    pub(super) in_force: Option<Origin>,
    pub(super) before: Option<Origin>,
    pub(super) trial: Option<Origin>,
    pub(super) refused: Option<Refused>,
}

/// The file and what it says.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    pub(super) content: Content,
}

impl Kept {
    /// Reads the file in `state_dir`; a damaged one is an empty one.
    pub(super) fn open(state_dir: &Path) -> io::Result<Self> {
        let path = state_dir.join(FILE_NAME);
        let content = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!(
                    "{} is damaged ({error}): nothing is known of earlier configurations",
                    path.display()
                );
                Content::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Content::default(),
            Err(error) => return Err(error),
        };
        Ok(Self { path, content })
    }

    /// The files of all that may be put in force again.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        let Content { in_force, before, trial, .. } = &self.content;
        [in_force, before, trial].into_iter().flatten().filter_map(Origin::path)
    }

    /// Writes what it says now.
    pub(super) fn save(&self) -> io::Result<()> {
        durable::replace_private(&self.path, &serde_json::to_vec(&self.content)?)
    }

    /// As [`Kept::save`], where what has happened cannot be undone.
    pub(super) fn save_or_say(&self) {
        if let Err(error) = self.save() {
            tracing::error!(
                "cannot write {}: the next start will know nothing of this change: {error}",
                self.path.display()
            );
        }
    }

    /// A configuration was put in force for good.
    pub(super) fn take(&mut self, origin: Origin) {
        self.content.before = self.content.in_force.clone();
        self.content.trial = None;
        self.resume(origin);
    }

    /// A start goes on with what it found in the kernel.
    pub(super) fn resume(&mut self, origin: Origin) {
        let Content { in_force, refused, .. } = &mut self.content;
        // What was refused is forgotten when another text than before is taken: somebody has decided. A start
        // that passed over what was refused takes the text of before.
        if in_force.as_ref().is_none_or(|before| !before.says_what(&origin)) {
            *refused = None;
        }
        *in_force = Some(origin);
        self.save_or_say();
    }

    /// What was on trial was not kept.
    pub(super) fn refuse_trial(&mut self, why: &str, at_seconds: f64) {
        if let Some(origin) = self.content.trial.take() {
            self.content.refused = Some(Refused { origin, why: why.to_owned(), at_seconds });
            // The kernel keeps no generation before the one that came back.
            self.content.before = None;
            self.save_or_say();
        }
    }

    /// The one in force and the one before it change places; what is left is refused.
    pub(super) fn roll_back(&mut self, at_seconds: f64) {
        let Content { in_force, before, refused, .. } = &mut self.content;
        std::mem::swap(in_force, before);
        *refused = before.clone().map(|origin| Refused { origin, why: "rolled back".to_owned(), at_seconds });
        self.save_or_say();
    }

    /// Why this configuration must not be put in force unasked.
    pub(super) fn objection(&self, origin: &Origin) -> Option<&Refused> {
        self.content.refused.as_ref().filter(|refused| refused.origin.says_what(origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(path: &str, text: &str) -> Origin {
        Origin { document: Some(Document { path: path.into(), text: text.to_owned() }) }
    }

    #[test]
    fn what_was_refused_is_known_by_its_text_until_another_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let mut kept = Kept::open(folder.path()).unwrap();
        kept.take(origin("/a", "good"));
        kept.content.trial = Some(origin("/b", "bad"));
        kept.refuse_trial("not confirmed", 1.0);
        let mut kept = Kept::open(folder.path()).unwrap();
        assert!(kept.objection(&origin("/a", "bad")).is_some());
        assert!(kept.objection(&origin("/b", "good")).is_none());
        assert_eq!(kept.content.in_force, Some(origin("/a", "good")));
        kept.take(origin("/a", "better"));
        assert!(kept.objection(&origin("/a", "bad")).is_none());
        assert_eq!(kept.content.before, Some(origin("/a", "good")));
    }

    #[test]
    fn a_rollback_and_another_one_come_back_to_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let mut kept = Kept::open(folder.path()).unwrap();
        kept.take(origin("/a", "old"));
        kept.take(origin("/a", "new"));
        kept.roll_back(1.0);
        assert!(kept.objection(&origin("/a", "new")).is_some());
        assert_eq!(kept.content.in_force, Some(origin("/a", "old")));
        kept.roll_back(2.0);
        assert!(kept.objection(&origin("/a", "new")).is_none());
        assert_eq!(kept.content.in_force, Some(origin("/a", "new")));
    }
}
