//! What the service manager is told (sd_notify(3)): lines to a socket that it names. Without one, nothing is
//! said and nobody is missed.

use std::cell::RefCell;
use std::env;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Where the service manager listens.
const SOCKET: &str = "NOTIFY_SOCKET";
/// How long it waits for a sign of life before it ends the agent, in microseconds.
const WATCHDOG: &str = "WATCHDOG_USEC";
/// Whose sign of life it waits for; absent, everybody's.
const WATCHDOG_PROCESS: &str = "WATCHDOG_PID";

/// A line to the service manager, where there is one.
#[derive(Debug, Default)]
pub(super) struct Notify {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
    /// What was said last of the agent's state.
    status: RefCell<String>,
}

impl Notify {
    /// As the environment says. To be called with the privileges of the start: Landlock may keep the socket out
    /// of reach later.
    pub(super) fn from_environment() -> Self {
        let Some(name) = env::var_os(SOCKET).filter(|name| !name.is_empty()) else { return Self::default() };
        let connect = || {
            let address = match name.as_bytes().strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name)?,
                None => SocketAddr::from_pathname(&name)?,
            };
            let socket = UnixDatagram::unbound()?;
            socket.connect_addr(&address)?;
            // A service manager that does not read must not stop the agent.
            socket.set_nonblocking(true)?;
            Ok::<_, std::io::Error>(socket)
        };
        let socket = connect().inspect_err(|error| {
            tracing::warn!("the service manager is not told anything: {SOCKET} is {name:?}: {error}");
        });
        Self { socket: socket.ok(), watchdog: watchdog(), status: RefCell::default() }
    }

    /// How often a sign of life is due: twice in the time that is waited for.
    pub(super) fn due(&self) -> Option<Duration> {
        self.socket.as_ref().and(self.watchdog).map(|limit| limit / 2)
    }

    /// The filter is in force, and the agent answers.
    pub(super) fn ready(&self, status: &str) {
        status.clone_into(&mut self.status.borrow_mut());
        self.say(&format!("READY=1\nSTATUS={status}"));
    }

    /// The agent's state; what has been said is not said again.
    pub(super) fn status(&self, status: &str) {
        if *self.status.borrow() != status {
            status.clone_into(&mut self.status.borrow_mut());
            self.say(&format!("STATUS={status}"));
        }
    }

    /// A reload begins; [`Notify::ready`] ends it.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={}\nSTATUS=reloading", now.as_micros()));
    }

    /// The agent is alive.
    pub(super) fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    /// The agent ends.
    pub(super) fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=finishing requests in flight");
    }

    fn say(&self, lines: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(lines.as_bytes()) {
            tracing::debug!("the service manager was not told {lines:?}: {error}");
        }
    }
}

fn watchdog() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    if env::var_os(WATCHDOG_PROCESS).is_some() && number(WATCHDOG_PROCESS) != Some(std::process::id().into())
    {
        return None;
    }
    number(WATCHDOG).filter(|microseconds| *microseconds > 0).map(Duration::from_micros)
}
