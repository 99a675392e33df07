//! The worker: one thread that owns the session and answers messages in their order.

use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::error::KernelError;
use super::message::{Attached, Counters, Found, Installed, LogLevel, Manner, Places, Reply, Request};
use super::session::Session;
use crate::config::model::AttachMode;
use crate::firewall::generation::Generation;
use crate::net::Interface;

/// Requests that may wait; the control thread sends one at a time.
const QUEUE: usize = 16;

type Envelope = (Request, oneshot::Sender<Result<Reply, KernelError>>);

/// Speaks to the worker. The worker ends when its handle is dropped; what is attached stays.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: mpsc::Sender<Envelope>,
}

impl Handle {
    /// Starts the worker. It touches nothing before [`Handle::open`].
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn start() -> Result<Self, KernelError> {
        let (requests, inbox) = mpsc::channel(QUEUE);
        thread::Builder::new()
            .name("kernel".to_owned())
            .spawn(move || work(inbox))
            .map_err(|source| KernelError::System { what: "cannot start the kernel worker", source })?;
        Ok(Self { requests })
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

    /// Lets the generation that is on trial judge for good; gives its number.
    ///
    /// # Errors
    /// When nothing is on trial, or no longer.
    pub async fn confirm(&self) -> Result<u64, KernelError> {
        self.ask_what_judges(Request::Confirm).await
    }

    /// Has the generation before judge again, and ends a trial; gives its number.
    ///
    /// # Errors
    /// When there is none.
    pub async fn roll_back(&self) -> Result<u64, KernelError> {
        self.ask_what_judges(Request::RollBack).await
    }

    async fn ask_what_judges(&self, request: Request) -> Result<u64, KernelError> {
        match self.ask(request).await? {
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

    async fn ask(&self, request: Request) -> Result<Reply, KernelError> {
        let (answer, reply) = oneshot::channel();
        self.requests.send((request, answer)).await.map_err(|_| KernelError::WorkerGone)?;
        reply.await.map_err(|_| KernelError::WorkerGone)?
    }
}

fn work(mut inbox: mpsc::Receiver<Envelope>) {
    let mut session: Option<Session> = None;
    while let Some((request, answer)) = inbox.blocking_recv() {
        let installs = matches!(request, Request::Install { .. });
        let reply = answer_to(&mut session, request);
        let installed = installs && reply.is_ok();
        // The asker may have gone; the work is done all the same.
        drop(answer.send(reply));
        if let Some(session) = session.as_mut().filter(|_| installed) {
            session.look_ahead();
        }
    }
}

fn answer_to(opened: &mut Option<Session>, request: Request) -> Result<Reply, KernelError> {
    match (request, opened.as_mut()) {
        (Request::Open(places), _) => {
            // What an earlier opening holds locked must be free.
            *opened = None;
            let (session, found) = Session::open(&places)?;
            *opened = Some(session);
            Ok(Reply::Opened(found))
        }
        (_, None) => Err(KernelError::NotOpen),
        (Request::Attach { interface, logical, mode, replace }, Some(session)) => {
            session.attach(&interface, logical, mode, replace).map(Reply::Attached)
        }
        (Request::Read, Some(session)) => session.read().map(Reply::Counters),
        (Request::Install { generation, manner }, Some(session)) => {
            session.install(generation, manner).map(Reply::Installed)
        }
        (Request::Confirm, Some(session)) => session.confirm().map(Reply::Judges),
        (Request::RollBack, Some(session)) => session.roll_back().map(Reply::Judges),
        (Request::ReturnOverdue, Some(session)) => session.return_overdue().map(Reply::Returned),
        (Request::FinishUpgrade, Some(session)) => session.finish_upgrade().map(|()| Reply::Done),
        (Request::Release { ifindex }, Some(session)) => session.release(ifindex).map(|()| Reply::Done),
        (Request::Forget { ifindex }, Some(session)) => session.forget(ifindex).map(|()| Reply::Done),
        (Request::SetLogLevel(level), Some(session)) => session.set_log_level(level).map(|()| Reply::Done),
        (Request::Detach, Some(session)) => session.detach().map(|()| Reply::Done),
        (Request::Undo, Some(session)) => session.undo().map(|()| Reply::Done),
    }
}
