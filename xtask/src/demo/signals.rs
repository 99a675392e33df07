//! Ctrl-C and its like, taken at points of our choosing, so that everything is removed in order.

use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Signals that ask the demo to end; held back until somebody looks.
#[derive(Debug)]
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// From here on, in this thread and those it starts. To be called before any other thread runs.
    pub(crate) fn hold() -> Result<Self> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            set.add(signal);
        }
        set.thread_block().context("cannot hold signals back")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        SignalFd::with_flags(&set, flags).map(Self).context("cannot read signals")
    }

    /// Waits; whether a signal came.
    pub(crate) fn wait(&self, limit: Duration) -> Result<bool> {
        let limit = PollTimeout::try_from(limit).context("too long a wait")?;
        let mut descriptors = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        Ok(poll(&mut descriptors, limit).context("cannot wait for signals")? > 0)
    }

    /// An error, if a signal came: what has been built so far is removed on the way out.
    pub(crate) fn check(&self) -> Result<()> {
        if self.wait(Duration::ZERO)? {
            bail!("interrupted");
        }
        Ok(())
    }
}
