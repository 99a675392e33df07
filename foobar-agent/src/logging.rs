//! The log of the agent and of its kernel process: text on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// The level unless told otherwise. A netlink socket that overflows is looked after, and would say
/// so thousands of times.
const DEFAULT_LOG: &str = "info,netlink_proto=error";

/// To standard error, where systemd and a person look; `FOOBAR_LOG` sets the level.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("FOOBAR_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    // A second start in one process, as in tests, keeps the first one's log.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
}
