//! How many checks or tests passed and failed: the closing line of every task that judges.

use std::fmt;

/// A count of passed and failed checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Tally {
    /// Counts one check.
    pub(crate) fn count(&mut self, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }

    /// Reads such a line as [`Tally`] prints itself.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (passed, failed) = line.trim().split_once(" passed, ")?;
        let (passed, failed) = (passed.parse().ok()?, failed.strip_suffix(" failed")?.parse().ok()?);
        Some(Self { passed, failed })
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_line_and_no_other() {
        let tally = Tally { passed: 12, failed: 3 };
        assert_eq!(Tally::parse(&format!("{tally}\n")), Some(tally));
        assert_eq!(Tally::parse("test result: ok. 12 passed; 3 failed; 0 ignored"), None);
        assert_eq!(Tally::parse("twelve passed, 3 failed"), None);
    }
}
