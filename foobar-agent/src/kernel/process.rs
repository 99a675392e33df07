//! The kernel process: the part of the agent that keeps privileges. It owns the session, answers one
//! message after the other, and reads nothing that the network sends.
//!
//! A process of its own, because capabilities, Landlock and seccomp hold for what runs in one memory. The
//! agent starts it before it has a second thread, by its own binary anew (`/proc/self/exe`, so that both
//! are of one build also while an upgrade replaces the file) and not by a fork alone: it has its own layout
//! of addresses, and holds nothing that the agent has read. Its standard input is its end of a socket pair.
//!
//! It ends when the agent's end closes, however the agent ended, and not by a signal of its parent's
//! death: what it has begun it ends, and it tidies up.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{SigSet, Signal};
use rustix::net::{AddressFamily, SocketType, sockopt};

use super::error::KernelError;
use super::message::{Answer, Reply, Request};
use super::session::Session;
use super::wire::{Channel, borrowed};

/// The hidden command by which the agent starts it.
pub const COMMAND: &str = "kernel-process";

/// Meant for the agent: a terminal's Ctrl-C and a service manager reach the whole group. The kernel
/// process goes on until the agent has finished.
const FOR_THE_AGENT: [Signal; 6] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2];

/// A started kernel process that nobody has spoken to.
#[derive(Debug)]
pub struct KernelProcess {
    pub(super) channel: Channel,
    pub(super) child: Child,
}

impl KernelProcess {
    /// Starts it. To be called before the process has a second thread, and while it has its privileges.
    ///
    /// # Errors
    /// When there is no process for it.
    pub fn start() -> Result<Self, KernelError> {
        let start = || -> io::Result<Self> {
            let (ours, its) = UnixStream::pair()?;
            let mut command = Command::new("/proc/self/exe");
            command.arg0("foobar-agent").arg(COMMAND);
            command.stdin(Stdio::from(std::os::fd::OwnedFd::from(its))).stdout(Stdio::null());
            Ok(Self { child: command.spawn()?, channel: Channel::new(ours) })
        };
        start().map_err(KernelError::Start)
    }
}

/// The whole life of the kernel process.
///
/// # Errors
/// When no agent has started it, or the conversation breaks.
pub fn serve() -> anyhow::Result<()> {
    let channel = Channel::new(to_the_agent().map_err(KernelError::NoAgent)?);
    FOR_THE_AGENT.into_iter().collect::<SigSet>().thread_block()?;
    rustix::thread::set_name(c"foobar-kernel")?;
    crate::logging::start();
    work(&channel)?;
    Ok(())
}

/// Standard input, which must be one end of a pair.
fn to_the_agent() -> io::Result<UnixStream> {
    let stdin = io::stdin();
    let stdin = stdin.as_fd();
    let is_pair = sockopt::socket_domain(stdin)? == AddressFamily::UNIX
        && sockopt::socket_type(stdin)? == SocketType::STREAM;
    if !is_pair {
        return Err(io::Error::other("standard input is not the agent's socket"));
    }
    Ok(UnixStream::from(stdin.try_clone_to_owned()?))
}

fn work(channel: &Channel) -> io::Result<()> {
    let mut session: Option<Session> = None;
    while let Some((request, _)) = channel.receive::<Request>()? {
        let installs = matches!(request, Request::Install(_));
        let (reply, descriptors) = match answer_to(&mut session, request) {
            Ok(Answer { reply, descriptors }) => (Ok(reply), descriptors),
            Err(error) => (Err(crate::control::describe(&error.into())), Vec::new()),
        };
        let installed = installs && reply.is_ok();
        channel.send(&reply, &borrowed(&descriptors))?;
        if let Some(session) = session.as_mut().filter(|_| installed) {
            session.look_ahead();
        }
    }
    Ok(())
}

fn answer_to(opened: &mut Option<Session>, request: Request) -> Result<Answer, KernelError> {
    match (request, opened.as_mut()) {
        (Request::Open(places), _) => {
            // What an earlier opening holds locked must be free.
            *opened = None;
            let (session, found) = Session::open(&places)?;
            *opened = Some(session);
            Ok(Reply::Opened(found).into())
        }
        (Request::Ping, _) => Ok(Reply::Done.into()),
        (_, None) => Err(KernelError::NotOpen),
        (Request::Map(name), Some(session)) => {
            session.map(&name).map(|map| Answer { reply: Reply::Done, descriptors: vec![map] })
        }
        (request, Some(session)) => reply_to(session, request).map(Answer::from),
    }
}

fn reply_to(session: &mut Session, request: Request) -> Result<Reply, KernelError> {
    match request {
        Request::Attach { interface, logical, mode } => {
            session.attach(&interface, logical, mode).map(Reply::Attached)
        }
        Request::Read => session.read().map(Reply::Counters),
        Request::Install(generation) => session.install(generation).map(|()| Reply::Done),
        Request::Release { ifindex } => session.release(ifindex).map(|()| Reply::Done),
        Request::Forget { ifindex } => session.forget(ifindex).map(|()| Reply::Done),
        Request::SetLogLevel(level) => session.set_log_level(level).map(|()| Reply::Done),
        Request::Detach => session.detach().map(|()| Reply::Done),
        Request::Undo => session.undo().map(|()| Reply::Done),
        Request::Open(_) | Request::Map(_) | Request::Ping => Ok(Reply::Done),
    }
}
