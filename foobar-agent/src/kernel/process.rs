//! The kernel process: the part of the agent that keeps privileges. It owns the session, answers one
//! message after the other, and reads nothing that the network sends.
//!
//! A process of its own, because capabilities, Landlock and seccomp hold for what runs in one memory. The
//! agent starts it before it has a second thread, by its own binary anew (`/proc/self/exe`, so that both
//! are of one build also while an upgrade replaces the file) and not by a fork alone: it has its own layout
//! of addresses, and holds nothing that the agent has read. Its standard input and output are its ends of two
//! socket pairs: for what it is asked about the datapath, and for the desk, which does not wait for the verifier.
//!
//! It ends when the agent's end closes, however the agent ended, and not by a signal of its parent's
//! death: what it has begun it ends, and it tidies up.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::{fs, io};

use nix::sys::signal::{SigSet, Signal};
use rustix::net::{AddressFamily, SocketType, sockopt};

use super::error::KernelError;
use super::foreign::Survey;
use super::message::{Answer, Reply, Request, Settlement};
use super::pins::Pins;
use super::session::Session;
use super::wire::{Channel, borrowed};
use super::{desk, preflight};
use crate::privileges::{self, Files, Kept};

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
    /// Until somebody takes it.
    desk: Option<Channel>,
    pub(super) child: Child,
}

impl KernelProcess {
    /// Starts it. To be called before the process has a second thread, and while it has its privileges.
    ///
    /// # Errors
    /// When there is no process for it.
    pub fn start() -> Result<Self, KernelError> {
        let start = || -> io::Result<Self> {
            let ((ours, its), (our_desk, its_desk)) = (UnixStream::pair()?, UnixStream::pair()?);
            let mut command = Command::new("/proc/self/exe");
            command.arg0("foobar-agent").arg(COMMAND);
            command.stdin(OwnedFd::from(its)).stdout(OwnedFd::from(its_desk));
            let child = command.spawn()?;
            Ok(Self { child, channel: Channel::new(ours), desk: Some(Channel::new(our_desk)) })
        };
        start().map_err(KernelError::Start)
    }

    /// Has it make ready what takes more privileges than it keeps, and give those up. Comes first.
    ///
    /// # Errors
    /// When the host lacks what the datapath needs, or something cannot be given up.
    pub fn settle(&self, settlement: Settlement) -> Result<Kept, KernelError> {
        match exchange(&self.channel, &Request::Settle(settlement))?.reply {
            Reply::Settled(kept) => Ok(kept),
            _ => Err(KernelError::WorkerGone),
        }
    }

    /// Its desk, once.
    pub(crate) fn take_desk(&mut self) -> Option<Channel> {
        self.desk.take()
    }
}

/// The whole life of the kernel process.
///
/// # Errors
/// When no agent has started it, or the conversation breaks.
pub fn serve() -> anyhow::Result<()> {
    let to_the_agent = |end| one_end(end).map(Channel::new).map_err(KernelError::NoAgent);
    let (channel, desk) = (to_the_agent(io::stdin().as_fd())?, to_the_agent(io::stdout().as_fd())?);
    FOR_THE_AGENT.into_iter().collect::<SigSet>().thread_block()?;
    rustix::thread::set_name(c"foobar-kernel")?;
    crate::logging::start();
    Work { desk: Some(desk), survey: Survey::default(), session: None }.serve(&channel)?;
    Ok(())
}

/// One end of a pair.
fn one_end(standard: BorrowedFd<'_>) -> io::Result<UnixStream> {
    let is_pair = sockopt::socket_domain(standard)? == AddressFamily::UNIX
        && sockopt::socket_type(standard)? == SocketType::STREAM;
    if !is_pair {
        return Err(io::Error::other("standard input and output are not the agent's sockets"));
    }
    Ok(UnixStream::from(standard.try_clone_to_owned()?))
}

/// Asks and waits for the answer.
pub(super) fn exchange(channel: &Channel, request: &Request) -> Result<Answer, KernelError> {
    let asked = channel.send(request, &[]).and_then(|()| channel.receive::<Result<Reply, String>>());
    match asked {
        Ok(Some((reply, descriptors))) => {
            reply.map(|reply| Answer { reply, descriptors }).map_err(KernelError::Told)
        }
        Ok(None) => Err(KernelError::WorkerGone),
        Err(error) => {
            tracing::error!("the kernel process does not answer: {error}");
            Err(KernelError::WorkerGone)
        }
    }
}

/// What the kernel process holds.
struct Work {
    /// Until it is served.
    desk: Option<Channel>,
    survey: Survey,
    session: Option<Session>,
}

impl Work {
    fn serve(mut self, channel: &Channel) -> io::Result<()> {
        while let Some((request, _)) = channel.receive::<Request>()? {
            let installs = matches!(request, Request::Install { .. });
            let (reply, descriptors) = match self.answer_to(request) {
                Ok(Answer { reply, descriptors }) => (Ok(reply), descriptors),
                Err(error) => (Err(crate::control::describe(&error.into())), Vec::new()),
            };
            let installed = installs && reply.is_ok();
            channel.send(&reply, &borrowed(&descriptors))?;
            if let Some(session) = self.session.as_mut().filter(|_| installed) {
                session.look_ahead();
            }
        }
        Ok(())
    }

    /// What takes more than the kernel process keeps, and then its being closed in.
    fn settle(&mut self, settlement: &Settlement) -> Result<Kept, KernelError> {
        let Settlement { places, readable, replace } = settlement;
        preflight::check()?;
        self.survey = Survey::take(*replace);
        Pins::prepare(&places.pin_dir)?;
        fs::create_dir_all(&places.state_dir).map_err(KernelError::io("cannot create", &places.state_dir))?;
        let own = [places.pin_dir.as_path(), places.state_dir.as_path()];
        let kept = privileges::become_kernel_process(Files { own: &own, readable })?;
        if let Some(desk) = self.desk.take() {
            desk::serve(desk, readable)?;
        }
        Ok(kept)
    }

    fn answer_to(&mut self, request: Request) -> Result<Answer, KernelError> {
        match (request, self.session.as_mut()) {
            (Request::Settle(settlement), _) => {
                self.settle(&settlement).map(|kept| Reply::Settled(kept).into())
            }
            (Request::Open(places), _) => {
                // What an earlier opening holds locked must be free.
                self.session = None;
                let (session, found) = Session::open(&places, self.survey.clone())?;
                self.session = Some(session);
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
}

fn reply_to(session: &mut Session, request: Request) -> Result<Reply, KernelError> {
    match request {
        Request::Attach { interface, logical, mode, replace } => {
            session.attach(&interface, logical, mode, replace).map(Reply::Attached)
        }
        Request::Read => session.read().map(Reply::Counters),
        Request::Install { generation, manner } => session.install(generation, manner).map(Reply::Installed),
        Request::Confirm => session.confirm().map(Reply::Confirmed),
        Request::RollBack => session.roll_back().map(Reply::Judges),
        Request::ReturnOverdue => session.return_overdue().map(Reply::Returned),
        Request::FinishUpgrade => session.finish_upgrade().map(|()| Reply::Done),
        Request::Release { ifindex } => session.release(ifindex).map(|()| Reply::Done),
        Request::Forget { ifindex } => session.forget(ifindex).map(|()| Reply::Done),
        Request::Sample(watched) => session.sample(watched).map(|()| Reply::Done),
        Request::RuleNames(generation) => Ok(Reply::Names(session.rule_names(generation))),
        Request::SetLogLevel(level) => session.set_log_level(level).map(|()| Reply::Done),
        Request::Detach => session.detach().map(|()| Reply::Done),
        Request::Undo => session.undo().map(|()| Reply::Done),
        Request::Settle(_) | Request::Open(_) | Request::Map(_) | Request::Ping => Ok(Reply::Done),
    }
}
