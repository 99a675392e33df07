//! The balancer's threads: one a core, and one that checks backends.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::mpsc;

use super::error::BalancerError;
use super::health;
use super::worker::{self, Command, Shared, Worker};

/// Running threads. Without their handle the workers end by themselves.
#[derive(Debug)]
pub(super) struct Threads {
    workers: Vec<(mpsc::UnboundedSender<Command>, JoinHandle<()>)>,
    checker: Option<JoinHandle<()>>,
    stop_checker: Arc<AtomicBool>,
    shared: Arc<Shared>,
}

impl Threads {
    /// Starts `cores` workers and the checker, and waits until each has its runtime.
    pub(super) fn start(shared: &Arc<Shared>, cores: usize) -> Result<Self, BalancerError> {
        let mut threads = Self {
            workers: Vec::with_capacity(cores),
            checker: None,
            stop_checker: Arc::default(),
            shared: Arc::clone(shared),
        };
        for core in 0..cores {
            let (commands, received) = mpsc::unbounded_channel();
            let shared = Arc::clone(shared);
            let thread = spawn(&format!("balancer-{core}"), move |runtime| {
                let worker = Rc::new(Worker::new(core, shared));
                runtime.block_on(worker::run(worker, received));
            })?;
            threads.workers.push((commands, thread));
        }
        let (shared, stop) = (Arc::clone(shared), Arc::clone(&threads.stop_checker));
        threads.checker = Some(spawn("balancer-check", move |runtime| {
            runtime.block_on(health::run(shared, stop));
        })?);
        Ok(threads)
    }

    pub(super) fn workers(&self) -> usize {
        self.workers.len()
    }

    pub(super) fn tell(&self, core: usize, command: Command) {
        // A worker ends only when told to; then there is nobody left to tell.
        if let Some((commands, _)) = self.workers.get(core) {
            let _ = commands.send(command);
        }
    }

    pub(super) fn tell_all(&self, command: impl Fn() -> Command) {
        (0..self.workers.len()).for_each(|core| self.tell(core, command()));
    }

    /// Waits for workers that were told to drain, then for the checker.
    pub(super) fn join(mut self) {
        for (commands, thread) in self.workers.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a balancer worker had panicked");
            }
            drop(commands);
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        for (commands, thread) in self.workers.drain(..) {
            drop(commands);
            let _ = thread.join();
        }
        self.stop_checker.store(true, Relaxed);
        self.shared.check.notify_one();
        if let Some(checker) = self.checker.take() {
            let _ = checker.join();
        }
    }
}

/// A thread with a runtime of its own; returns once the runtime stands.
fn spawn(
    name: &str,
    run: impl FnOnce(&LocalRuntime) + Send + 'static,
) -> Result<JoinHandle<()>, BalancerError> {
    let (report, started) = std_mpsc::channel::<io::Result<()>>();
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => {
                let _ = report.send(Ok(()));
                run(&runtime);
            }
            Err(error) => {
                let _ = report.send(Err(error));
            }
        }
    });
    let failed = |source| BalancerError::Thread { thread: name.to_owned(), source };
    let thread = thread.map_err(failed)?;
    started.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended"))).map_err(failed)?;
    Ok(thread)
}
