//! The worker: one thread that owns the session and answers messages in their order.

use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::error::KernelError;
use super::message::{Attached, Counters, Generation, LogLevel, Reply, Request};
use super::session::{Places, Session};
use crate::config::model::AttachMode;
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
    /// Opens the datapath and starts the worker.
    ///
    /// # Errors
    /// When the host lacks what the datapath needs, or what an earlier agent left cannot be opened.
    pub fn start(places: Places) -> Result<Self, KernelError> {
        let (requests, inbox) = mpsc::channel(QUEUE);
        let (opened, result) = std::sync::mpsc::channel();
        thread::Builder::new()
            .name("kernel".to_owned())
            .spawn(move || work(&places, inbox, &opened))
            .map_err(|source| KernelError::System { what: "cannot start the kernel worker", source })?;
        result.recv().map_err(|_| KernelError::WorkerGone)??;
        Ok(Self { requests })
    }

    /// Makes a generation the one that judges; on an error the old one goes on.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub async fn install(&self, generation: Generation) -> Result<(), KernelError> {
        self.ask(Request::Install(generation)).await.map(|_| ())
    }

    /// Attaches the datapath to an interface, or goes on with what an earlier agent attached.
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
            Reply::Done | Reply::Counters(_) => Err(KernelError::WorkerGone),
        }
    }

    /// Forgets an interface that is gone.
    ///
    /// # Errors
    /// When the worker has ended.
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
            Reply::Done | Reply::Attached(_) => Err(KernelError::WorkerGone),
        }
    }

    /// Switches the datapath's diagnostics.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub async fn set_log_level(&self, level: LogLevel) -> Result<(), KernelError> {
        self.ask(Request::SetLogLevel(level)).await.map(|_| ())
    }

    /// Removes what a start that failed has made. What an earlier agent left on an interface, this
    /// start has only opened: it stays in force.
    ///
    /// # Errors
    /// When a pin cannot be removed.
    pub async fn abandon(&self) -> Result<(), KernelError> {
        self.ask(Request::Abandon).await.map(|_| ())
    }

    /// Removes the datapath from the host: links, pins, counters.
    ///
    /// # Errors
    /// When a pin cannot be removed.
    pub async fn detach(&self) -> Result<(), KernelError> {
        self.ask(Request::Detach).await.map(|_| ())
    }

    async fn ask(&self, request: Request) -> Result<Reply, KernelError> {
        let (answer, reply) = oneshot::channel();
        self.requests.send((request, answer)).await.map_err(|_| KernelError::WorkerGone)?;
        reply.await.map_err(|_| KernelError::WorkerGone)?
    }
}

fn work(
    places: &Places,
    mut inbox: mpsc::Receiver<Envelope>,
    opened: &std::sync::mpsc::Sender<Result<(), KernelError>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().build() {
        Ok(runtime) => runtime,
        Err(source) => {
            let error = KernelError::System { what: "cannot start the kernel worker", source };
            let _ = opened.send(Err(error));
            return;
        }
    };
    runtime.block_on(async move {
        let mut session = match Session::open(places) {
            Ok(session) => session,
            Err(error) => {
                let _ = opened.send(Err(error));
                return;
            }
        };
        let _ = opened.send(Ok(()));
        loop {
            tokio::select! {
                envelope = inbox.recv() => match envelope {
                    // The asker may have gone; the work is done all the same.
                    Some((request, answer)) => drop(answer.send(answer_to(&mut session, request))),
                    None => return,
                },
                passed = session.diagnostics.pass_on() => if let Err(error) = passed {
                    tracing::warn!("the datapath's diagnostics cannot be read: {error}");
                    return;
                },
            }
        }
    });
}

fn answer_to(session: &mut Session, request: Request) -> Result<Reply, KernelError> {
    match request {
        Request::Install(generation) => session.install(generation).map(|()| Reply::Done),
        Request::Attach { interface, logical, mode } => {
            session.attach(&interface, logical, mode).map(Reply::Attached)
        }
        Request::Forget { ifindex } => {
            session.forget(ifindex);
            Ok(Reply::Done)
        }
        Request::Read => session.read().map(Reply::Counters),
        Request::SetLogLevel(level) => session.set_log_level(level).map(|()| Reply::Done),
        Request::Abandon => session.abandon().map(|()| Reply::Done),
        Request::Detach => session.detach().map(|()| Reply::Done),
    }
}
