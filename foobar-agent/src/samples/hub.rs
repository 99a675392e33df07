//! Reads the datapath's samples and passes them on, in a thread of its own: a burst of samples keeps nobody
//! waiting. Has the datapath sample packets while somebody watches, and only then.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use foobar_ebpf::abi::event::{Cause, Event};
use foobar_ebpf::abi::fragment::NO_RULE;
use foobar_ebpf::verdict::{Reason, Verdict};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use super::sample::{Line, Sample, Scope};
use crate::firewall::numbers::InterfaceNumbers;
use crate::kernel::{Events, Handle, boot_now_ns};

/// Samples that may wait for a watcher.
const QUEUE: usize = 4096;
/// Generations whose names are at hand: samples of the one before may still be on their way.
const GENERATIONS_MAX: usize = 4;

/// Where watchers begin. The thread ends with it.
#[derive(Debug)]
pub struct Hub {
    samples: broadcast::Sender<Arc<Sample>>,
    changes: mpsc::UnboundedSender<Change>,
}

/// A watcher comes or goes.
#[derive(Clone, Copy, Debug)]
struct Change {
    scope: Scope,
    comes: bool,
}

impl Hub {
    /// Starts the thread with the ring buffer's descriptor.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn start(ring: OwnedFd, kernel: Handle, state_dir: PathBuf) -> Result<Self> {
        let (samples, _) = broadcast::channel(QUEUE);
        let (changes, inbox) = mpsc::unbounded_channel();
        let names = Names { kernel, state_dir, rules: BTreeMap::new(), interfaces: BTreeMap::new() };
        let reader = Reader { samples: samples.clone(), names, watchers: [0; Scope::ALL.len()] };
        let work = move || {
            if let Err(error) = reader.run(ring, inbox) {
                tracing::error!("samples of packets cannot be read, and will be missing: {error:#}");
            }
        };
        let spawned = thread::Builder::new().name("samples".to_owned()).spawn(work);
        spawned.context("cannot start the thread that reads samples")?;
        Ok(Self { samples, changes })
    }

    /// Watches from now on. Until it is dropped, the datapath samples what the scope asks for.
    pub fn watch(&self, scope: Scope) -> Watching {
        let samples = self.samples.subscribe();
        // The thread may have ended; then nothing comes, and its last words are in the log.
        let _ = self.changes.send(Change { scope, comes: true });
        Watching { scope, samples, changes: self.changes.clone() }
    }
}

/// What one watcher gets.
#[derive(Debug)]
pub struct Watching {
    scope: Scope,
    samples: broadcast::Receiver<Arc<Sample>>,
    changes: mpsc::UnboundedSender<Change>,
}

impl Watching {
    /// What comes next; `None` when the agent ends.
    pub async fn next(&mut self) -> Option<Line> {
        loop {
            match self.samples.recv().await {
                Ok(sample) if self.scope.holds(&sample) => return Some(Line::Sample((*sample).clone())),
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => return Some(Line::Missed(missed)),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.changes.send(Change { scope: self.scope, comes: false });
    }
}

/// What the thread holds.
struct Reader {
    samples: broadcast::Sender<Arc<Sample>>,
    names: Names,
    /// How many there are of each scope.
    watchers: [usize; Scope::ALL.len()],
}

impl Reader {
    fn run(mut self, ring: OwnedFd, mut inbox: mpsc::UnboundedReceiver<Change>) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        runtime.block_on(async move {
            let mut events = Events::open(ring)?;
            // An agent that was killed may have left its watchers' wish.
            self.names.kernel.sample(Scope::Logged).await?;
            loop {
                tokio::select! {
                    biased;
                    change = inbox.recv() => match change {
                        Some(change) => self.change(change).await,
                        None => return Ok(()),
                    },
                    event = events.next() => self.pass_on(&event?).await,
                }
            }
        })
    }

    /// Has the datapath sample what the most curious watcher asks for.
    async fn change(&mut self, Change { scope, comes }: Change) {
        let count = &mut self.watchers[scope as usize];
        *count = if comes { *count + 1 } else { count.saturating_sub(1) };
        let asked = Scope::ALL.into_iter().rev().find(|scope| self.watchers[*scope as usize] > 0);
        if let Err(error) = self.names.kernel.sample(asked.unwrap_or(Scope::Logged)).await {
            tracing::error!("what the datapath samples cannot be changed: {error}");
        }
    }

    async fn pass_on(&mut self, event: &Event) {
        let sample = self.names.resolve(event).await;
        if sample.logged {
            let Sample { verdict, reason, interface, length_bytes, .. } = &sample;
            let rule = sample.rule.as_deref().unwrap_or("-");
            let packet = sample.describe();
            tracing::info!(
                "{verdict} rule={rule} reason={reason} interface={interface} length={length_bytes} {packet}"
            );
        }
        // Nobody may be watching.
        let _ = self.samples.send(Arc::new(sample));
    }
}

/// Names for what the datapath knows by number.
struct Names {
    kernel: Handle,
    /// Holds the numbers of interfaces.
    state_dir: PathBuf,
    /// By generation.
    rules: BTreeMap<u64, Vec<String>>,
    interfaces: BTreeMap<u32, String>,
}

impl Names {
    async fn resolve(&mut self, event: &Event) -> Sample {
        let word = |number, of: fn(u32) -> Option<&'static str>| of(number).unwrap_or("unknown").to_owned();
        let captured = event.frame.get(..event.captured_bytes as usize).unwrap_or(&event.frame);
        Sample {
            at_ns: since_the_epoch_ns(event.at_ns),
            interface: self.interface(event.interface),
            verdict: word(event.verdict, |number| Verdict::try_from(number).ok().map(Verdict::as_str)),
            reason: word(event.reason, |number| Reason::try_from(number).ok().map(Reason::as_str)),
            rule: self.rule(event.generation, event.rule).await,
            generation: event.generation,
            logged: event.cause == Cause::Log as u32,
            length_bytes: event.length_bytes,
            frame: captured.to_vec(),
        }
    }

    async fn rule(&mut self, generation: u64, slot: u32) -> Option<String> {
        if slot == NO_RULE {
            return None;
        }
        if !self.rules.contains_key(&generation) {
            let names = self.kernel.rule_names(generation).await.unwrap_or_default();
            self.rules.insert(generation, names);
            while self.rules.len() > GENERATIONS_MAX {
                self.rules.pop_first();
            }
        }
        let name = self.rules.get(&generation).and_then(|names| names.get(slot as usize));
        // Of a generation that is gone by now: its number and the rule's place, from 1.
        Some(name.cloned().unwrap_or_else(|| format!("rule {} of generation {generation}", slot + 1)))
    }

    fn interface(&mut self, number: u32) -> String {
        if !self.interfaces.contains_key(&number) {
            let numbers = InterfaceNumbers::load(&self.state_dir);
            let known = numbers.names().filter_map(|name| Some((numbers.get(name)?, name.to_owned())));
            self.interfaces = known.collect();
        }
        // Not kept: it may have a name later.
        self.interfaces.get(&number).cloned().unwrap_or_else(|| format!("interface {number}"))
    }
}

/// A moment of the boot clock by the clock that people read, as that is now.
fn since_the_epoch_ns(at_ns: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ago_ns = boot_now_ns().saturating_sub(at_ns);
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX).saturating_sub(ago_ns)
}
