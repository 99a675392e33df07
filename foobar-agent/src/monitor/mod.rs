//! The monitoring client: what the agent knows about itself in one [`snapshot::Snapshot`], and
//! that snapshot as Prometheus metrics over HTTP. Counts nothing itself and never writes to
//! what it reads; runs on the control thread, never on a worker core.

use crate::monitor::snapshot::Snapshot;

pub mod collector;
pub(crate) mod endpoint;
pub mod family;
#[cfg(test)]
pub(crate) mod fixture;
pub mod listeners;
pub mod metrics;
pub mod process;
pub mod server;
pub mod snapshot;
#[cfg(test)]
mod tests;

/// Where snapshots come from: the running agent.
pub trait Source {
    /// Reads every counter afresh.
    fn snapshot(&self) -> impl Future<Output = anyhow::Result<Snapshot>>;
}
