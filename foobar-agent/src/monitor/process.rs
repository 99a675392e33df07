//! What the agent's own process takes of the host, read from `/proc/self`. Knows nothing of
//! any other process.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

/// Clock ticks a second in `/proc/PID/stat` (`USER_HZ`): part of the kernel's ABI and 100 on
/// every architecture that has a BPF compiler in its kernel.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU, memory and descriptors of this process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessSnapshot {
    /// User and system time of all threads, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub open_descriptors: u64,
    /// Threads.
    pub threads: u64,
}

impl ProcessSnapshot {
    /// Reads the figures of the calling process.
    ///
    /// # Errors
    /// Where `/proc` is not mounted or reads as no kernel writes it.
    pub fn read() -> io::Result<Self> {
        let descriptors = fs::read_dir("/proc/self/fd")?.count();
        // The folder itself was open while it was counted.
        let open_descriptors = u64::try_from(descriptors).unwrap_or(u64::MAX).saturating_sub(1);
        let status = fs::read_to_string("/proc/self/status")?;
        let stat = fs::read_to_string("/proc/self/stat")?;
        let parsed = || {
            Some(Self {
                cpu_seconds: cpu_seconds(&stat)?,
                resident_bytes: status_field(&status, "VmRSS:")?.saturating_mul(1024),
                open_descriptors,
                threads: status_field(&status, "Threads:")?,
            })
        };
        parsed().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unexpected text in /proc/self"))
    }
}

/// Fields 14 and 15 of proc(5) `stat`. The command's name, field 2, may hold anything, so
/// fields are counted from the last parenthesis.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

fn status_field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_threads_and_descriptors() {
        let before = ProcessSnapshot::read().unwrap();
        assert!(before.resident_bytes > 64 * 1024);
        assert!(before.threads >= 1);
        assert!(before.open_descriptors >= 3);
    }

    #[test]
    fn a_name_with_parentheses_and_spaces_shifts_no_field() {
        let stat = "7 (a) 1 (b) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 1 1 1";
        assert!((cpu_seconds(stat).unwrap() - 3.0).abs() < f64::EPSILON);
    }
}
