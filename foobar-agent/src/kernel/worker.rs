//! The worker: one thread that owns the session and answers messages in their order.

use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::bans::BanMaps;
use super::error::KernelError;
use super::message::{Attached, Counters, Found, LogLevel, Places, Reply, Request};
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
    /// When the kernel refuses it.
    pub async fn install(&self, generation: Generation) -> Result<(), KernelError> {
        self.ask(Request::Install(generation)).await.map(|_| ())
    }

    /// Attaches the datapath to an interface, or goes on with what is attached in a mode that fits.
    ///
    /// # Errors
    /// When the interface does not take it.
    pub async fn attach(
        &self,
        interface: Interface,
        logical: u32,
        mode: AttachMode,
    ) -> Result<Attached, KernelError> {
        match self.ask(Request::Attach { interface, logical, mode }).await? {
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

    /// The tables of bans, to be written by whoever bans.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub async fn bans(&self) -> Result<BanMaps, KernelError> {
        match self.ask(Request::Bans).await? {
            Reply::Bans(maps) => Ok(maps),
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
        let installs = matches!(request, Request::Install(_));
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
        (Request::Attach { interface, logical, mode }, Some(session)) => {
            session.attach(&interface, logical, mode).map(Reply::Attached)
        }
        (Request::Read, Some(session)) => session.read().map(Reply::Counters),
        (Request::Bans, Some(session)) => session.bans().map(Reply::Bans),
        (Request::Install(generation), Some(session)) => session.install(generation).map(|()| Reply::Done),
        (Request::Release { ifindex }, Some(session)) => session.release(ifindex).map(|()| Reply::Done),
        (Request::Forget { ifindex }, Some(session)) => session.forget(ifindex).map(|()| Reply::Done),
        (Request::SetLogLevel(level), Some(session)) => session.set_log_level(level).map(|()| Reply::Done),
        (Request::Detach, Some(session)) => session.detach().map(|()| Reply::Done),
        (Request::Undo, Some(session)) => session.undo().map(|()| Reply::Done),
    }
}
