//! The agent's side of the kernel process: sends it one message after the other, and knows when it is gone.

use std::os::fd::OwnedFd;
use std::thread;

use foobar_ebpf::abi::event;
use tokio::sync::{mpsc, oneshot, watch};

use super::error::KernelError;
use super::message::{
    Answer, Attached, Confirmed, Counters, Found, Installed, LogLevel, Manner, Places, Reply, Request,
};
use super::process::{KernelProcess, exchange};
use super::wire::Channel;
use crate::config::model::AttachMode;
use crate::firewall::generation::Generation;
use crate::net::Interface;
use crate::samples::Scope;

/// Requests that may wait; the control thread sends one at a time.
const QUEUE: usize = 16;

type Envelope = (Request, oneshot::Sender<Result<Answer, KernelError>>);

/// Speaks to the kernel process, which ends when its last handle is dropped; what is attached stays.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: mpsc::Sender<Envelope>,
    /// Closed when the process has ended.
    alive: watch::Receiver<()>,
}

impl Handle {
    /// Takes up the conversation. The process touches nothing before [`Handle::open`].
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn start(process: KernelProcess) -> Result<Self, KernelError> {
        let (requests, inbox) = mpsc::channel(QUEUE);
        let (living, alive) = watch::channel(());
        let KernelProcess { channel, mut child, .. } = process;
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(work)
                .map_err(|source| KernelError::System { what: "cannot start the kernel worker", source })
        };
        spawn("kernel", Box::new(move || forward(&channel, inbox)))?;
        let wait = move || {
            match child.wait() {
                Ok(status) if status.success() => {}
                Ok(status) => tracing::error!("the kernel process has ended: {status}"),
                Err(error) => tracing::error!("the kernel process is not ours to wait for: {error}"),
            }
            drop(living);
        };
        spawn("kernel-end", Box::new(wait))?;
        Ok(Self { requests, alive })
    }

    /// Returns when the process has ended, which it never does by itself while a handle lives.
    pub async fn gone(&self) {
        let mut alive = self.alive.clone();
        while alive.changed().await.is_ok() {}
    }

    /// Knows, when all handles are gone, that the process has ended, too.
    pub fn ending(&self) -> Ending {
        Ending { alive: self.alive.clone() }
    }

    /// Opens the datapath that an earlier agent left, or makes one, attached nowhere.
    ///
    /// # Errors
    /// When the host lacks what the datapath needs, or what is there cannot be opened.
    pub async fn open(&self, places: Places) -> Result<Found, KernelError> {
        match self.ask(Request::Open(places)).await? {
            Reply::Opened(found) => Ok(found),
            _ => Err(KernelError::WorkerGone),
        }
    }

    /// Makes a generation the one that judges; on an error the old one goes on.
    ///
    /// # Errors
    /// When the kernel refuses it, or another one is on trial.
    pub async fn install(&self, generation: Generation, manner: Manner) -> Result<Installed, KernelError> {
        match self.ask(Request::Install { generation, manner }).await? {
            Reply::Installed(installed) => Ok(installed),
            _ => Err(KernelError::WorkerGone),
        }
    }

    /// Lets the generation that is on trial judge for good.
    ///
    /// # Errors
    /// When the kernel does not write.
    pub async fn confirm(&self) -> Result<Confirmed, KernelError> {
        match self.ask(Request::Confirm).await? {
            Reply::Confirmed(confirmed) => Ok(confirmed),
            _ => Err(KernelError::WorkerGone),
        }
    }

    /// Has the generation before judge again, and ends a trial; gives its number.
    ///
    /// # Errors
    /// When there is none.
    pub async fn roll_back(&self) -> Result<u64, KernelError> {
        match self.ask(Request::RollBack).await? {
            Reply::Judges(generation) => Ok(generation),
            _ => Err(KernelError::WorkerGone),
        }
    }

    /// Where a trial was not confirmed in time, makes the return last that the datapath has done by itself;
    /// gives the number of the generation that judges again.
    ///
    /// # Errors
    /// When the kernel does not write.
    pub async fn return_overdue(&self) -> Result<Option<u64>, KernelError> {
        match self.ask(Request::ReturnOverdue).await? {
            Reply::Returned(generation) => Ok(generation),
            _ => Err(KernelError::WorkerGone),
        }
    }

    /// Removes what is left of other versions, where nothing of theirs is attached any more; their counts
    /// go on in ours.
    ///
    /// # Errors
    /// When a file or pin cannot be written or removed.
    pub async fn finish_upgrade(&self) -> Result<(), KernelError> {
        self.ask(Request::FinishUpgrade).await.map(|_| ())
    }

    /// Attaches the datapath to an interface, or goes on with what is attached in a mode that fits.
    /// Takes the place of somebody else's program only with `replace`.
    ///
    /// # Errors
    /// When the interface does not take it.
    pub async fn attach(
        &self,
        interface: Interface,
        logical: u32,
        mode: AttachMode,
        replace: bool,
    ) -> Result<Attached, KernelError> {
        match self.ask(Request::Attach { interface, logical, mode, replace }).await? {
            Reply::Attached(attached) => Ok(attached),
            _ => Err(KernelError::WorkerGone),
        }
    }

    /// Takes the datapath off an interface.
    ///
    /// # Errors
    /// When the kernel does not let go.
    pub async fn release(&self, ifindex: u32) -> Result<(), KernelError> {
        self.ask(Request::Release { ifindex }).await.map(|_| ())
    }

    /// Forgets an interface that is gone.
    ///
    /// # Errors
    /// When its pin cannot be removed.
    pub async fn forget(&self, ifindex: u32) -> Result<(), KernelError> {
        self.ask(Request::Forget { ifindex }).await.map(|_| ())
    }

    /// Reads every counter.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub async fn counters(&self) -> Result<Counters, KernelError> {
        match self.ask(Request::Read).await? {
            Reply::Counters(counters) => Ok(counters),
            _ => Err(KernelError::WorkerGone),
        }
    }

    /// Switches the datapath's diagnostics.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub async fn set_log_level(&self, level: LogLevel) -> Result<(), KernelError> {
        self.ask(Request::SetLogLevel(level)).await.map(|_| ())
    }

    /// Removes the datapath of every version from the host: links, pins, counters.
    ///
    /// # Errors
    /// When a pin cannot be removed.
    pub async fn detach(&self) -> Result<(), KernelError> {
        self.ask(Request::Detach).await.map(|_| ())
    }

    /// Removes what [`Handle::open`] and what came after it made, where that one found nothing.
    /// What another version of the agent left stays.
    ///
    /// # Errors
    /// When a pin cannot be removed.
    pub async fn undo(&self) -> Result<(), KernelError> {
        self.ask(Request::Undo).await.map(|_| ())
    }

    /// The descriptor of a map that the agent may use by itself: see `session::LENT_MAPS`.
    ///
    /// # Errors
    /// When it may not, or there is no such map.
    pub async fn map(&self, name: &str) -> Result<OwnedFd, KernelError> {
        let mut answer = self.ask_for(Request::Map(name.to_owned())).await?;
        answer.descriptors.pop().ok_or(KernelError::WorkerGone)
    }

    /// The names of a generation's rules by slot, the policy's included; none, where it is not loaded.
    ///
    /// # Errors
    /// When the process is gone.
    pub async fn rule_names(&self, generation: u64) -> Result<Vec<String>, KernelError> {
        match self.ask(Request::RuleNames(generation)).await? {
            Reply::Names(names) => Ok(names),
            _ => Err(KernelError::WorkerGone),
        }
    }

    /// Has the datapath sample what somebody watches.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub async fn sample(&self, scope: Scope) -> Result<(), KernelError> {
        let watched = match scope {
            Scope::Logged => event::watch::NOTHING,
            Scope::Refused => event::watch::REFUSED,
            Scope::All => event::watch::ALL,
        };
        self.ask(Request::Sample(watched)).await.map(|_| ())
    }

    /// Whether the process answers: waits until it has done what it was asked before.
    ///
    /// # Errors
    /// When it is gone.
    pub async fn ping(&self) -> Result<(), KernelError> {
        self.ask(Request::Ping).await.map(|_| ())
    }

    async fn ask(&self, request: Request) -> Result<Reply, KernelError> {
        self.ask_for(request).await.map(|answer| answer.reply)
    }

    async fn ask_for(&self, request: Request) -> Result<Answer, KernelError> {
        let (answer, reply) = oneshot::channel();
        self.requests.send((request, answer)).await.map_err(|_| KernelError::WorkerGone)?;
        reply.await.map_err(|_| KernelError::WorkerGone)?
    }
}

/// The end of the kernel process, to be waited for.
#[derive(Debug)]
pub struct Ending {
    alive: watch::Receiver<()>,
}

impl Ending {
    /// Waits until the process has ended: what it held locked is free then.
    pub async fn wait(mut self) {
        while self.alive.changed().await.is_ok() {}
    }
}

/// Passes on one request after the other. Ends, and closes the channel, with the last handle.
fn forward(channel: &Channel, mut inbox: mpsc::Receiver<Envelope>) {
    while let Some((request, answer)) = inbox.blocking_recv() {
        let answered = exchange(channel, &request);
        let broken = matches!(answered, Err(KernelError::WorkerGone));
        // The asker may have gone; the work was done all the same.
        drop(answer.send(answered));
        if broken {
            return;
        }
    }
}
