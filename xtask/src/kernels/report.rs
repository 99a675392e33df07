//! What a machine's console says, as a count: a program that did not run, did not come to its end or
//! ran no test has failed, and so has a kernel that stops half-way.

use std::collections::VecDeque;

use anyhow::{Result, bail, ensure};

use crate::tally::Tally;
use crate::test;

/// How lines of `init.sh` begin, among those of kernel and programs.
const MARK: &str = "foobar: ";

/// The agent's own question to the verifier, which comes first and counts as one test.
const VERIFY: &str = "verify";

/// Lines that a failure shows.
const LINES_SHOWN: usize = 40;

/// What has been said so far.
#[derive(Default)]
pub(super) struct Report {
    release: Option<String>,
    /// What is running.
    current: Option<String>,
    /// Programs that came to their end, with their tests.
    ended: Vec<(String, Tally)>,
    tally: Tally,
    is_done: bool,
    last: VecDeque<String>,
}

impl Report {
    /// Takes a line of the console.
    pub(super) fn read(&mut self, line: &str) {
        self.last.push_back(line.to_owned());
        if self.last.len() > LINES_SHOWN {
            self.last.pop_front();
        }
        if let Some(tally) = test::parse_result(line) {
            self.tally += tally;
        }
        let Some(mark) = line.strip_prefix(MARK) else { return };
        match mark.split(' ').collect::<Vec<_>>()[..] {
            ["Linux", release, "runs"] => self.release = Some(release.to_owned()),
            ["begin", name] => (self.current, self.tally) = (Some(name.to_owned()), Tally::default()),
            ["end", name, code] if self.current.as_deref() == Some(name) => {
                self.end(name, code == "0");
            }
            ["done"] => self.is_done = true,
            _ => {}
        }
    }

    fn end(&mut self, name: &str, succeeded: bool) {
        let mut tally = std::mem::take(&mut self.tally);
        if name == VERIFY {
            tally.count(succeeded);
        } else if !succeeded && tally.failed == 0 {
            tally.failed = 1;
        }
        self.ended.push((name.to_owned(), tally));
        self.current = None;
    }

    /// The count, if the right kernel ran all that it was given to its end.
    ///
    /// # Errors
    /// Says what is missing, with the end of what was said.
    pub(super) fn judge(&self, version: &str, names: &[&str]) -> Result<Tally> {
        let said = || self.last.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        let Some(release) = &self.release else { bail!("it did not come to run a program:\n{}", said()) };
        let fits = release.strip_prefix(version).is_some_and(|rest| rest.starts_with('.'));
        ensure!(fits, "another kernel runs: {release}");
        if !self.is_done {
            let current = self.current.as_deref().unwrap_or("nothing");
            bail!("it stopped while {current} ran:\n{}", said());
        }
        let mut total = Tally::default();
        for name in std::iter::once(&VERIFY).chain(names) {
            let Some((_, tally)) = self.ended.iter().find(|(ended, _)| ended == name) else {
                bail!("{name} did not run:\n{}", said());
            };
            ensure!(*tally != Tally::default(), "{name} ran not one test: it would prove nothing");
            total += *tally;
        }
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "foobar: Linux 6.1.0-48-cloud-amd64 runs\nfoobar: begin verify\nfoobar: end verify 0\n\
        foobar: begin agent\ntest a ... ok\ntest result: ok. 7 passed; 0 failed; 0 ignored; 0 measured\n\
        foobar: end agent 0\nfoobar: done";

    fn judge(console: &str) -> Result<Tally> {
        let mut report = Report::default();
        console.lines().for_each(|line| report.read(line));
        report.judge("6.1", &["agent"])
    }

    #[test]
    fn a_whole_run_is_counted() {
        assert_eq!(judge(WHOLE).unwrap(), Tally { passed: 8, failed: 0 });
        let failed =
            WHOLE.replace("7 passed; 0 failed", "5 passed; 2 failed").replace("agent 0", "agent 101");
        assert_eq!(judge(&failed).unwrap(), Tally { passed: 6, failed: 2 });
        // One that ends badly without naming a test, and a refusal of the verifier.
        let ended = WHOLE.replace("agent 0", "agent 139").replace("verify 0", "verify 3");
        assert_eq!(judge(&ended).unwrap(), Tally { passed: 7, failed: 2 });
    }

    #[test]
    fn whatever_is_missing_is_an_error() {
        for (from, to, error) in [
            ("foobar: done", "Kernel panic - not syncing", "it stopped while nothing ran"),
            ("foobar: end agent 0\nfoobar: done", "Oops", "it stopped while agent ran"),
            ("7 passed", "0 passed", "agent ran not one test"),
            ("begin agent", "begin other", "agent did not run"),
            ("Linux 6.1.", "Linux 6.12.", "another kernel runs: 6.12."),
            ("foobar: Linux", "Linux", "it did not come to run a program"),
        ] {
            let found = judge(&WHOLE.replace(from, to)).unwrap_err().to_string();
            assert!(found.contains(error), "{to}: {found}");
        }
    }
}
