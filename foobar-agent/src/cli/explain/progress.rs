//! How far a long capture has been judged, on standard error, where somebody looks.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::cli::print::Style;

/// Before the first line; a capture that takes no longer needs none.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between two lines.
const PAUSE: Duration = Duration::from_millis(200);
/// The clock is read once in so many packets.
const PACKETS_A_LOOK: u64 = 1024;

pub(super) struct Progress {
    is_looked_at: bool,
    /// Bytes of the whole capture, where they are known.
    total_bytes: Option<u64>,
    next: Instant,
    shown: bool,
}

impl Progress {
    pub(super) fn new(total_bytes: Option<u64>, prints_packets: bool) -> Self {
        // Packets that are printed to the same terminal are progress enough.
        let is_looked_at = io::stderr().is_terminal() && !(prints_packets && io::stdout().is_terminal());
        Self { is_looked_at, total_bytes, next: Instant::now() + PATIENCE, shown: false }
    }

    pub(super) fn tick(&mut self, packets: u64, bytes: u64) {
        if !self.is_looked_at || !packets.is_multiple_of(PACKETS_A_LOOK) || Instant::now() < self.next {
            return;
        }
        let count = Style { width: Some(80) }.count(packets);
        let part =
            self.total_bytes.filter(|total| *total > 0).map(|total| format!(" ({} %)", bytes * 100 / total));
        // Progress that cannot be shown is no reason to end.
        let _ = write!(io::stderr(), "\r{count} packets{}\x1b[K", part.unwrap_or_default());
        (self.next, self.shown) = (Instant::now() + PAUSE, true);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
