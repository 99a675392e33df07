//! Packets that the datapath has sampled, with what became of them: one line of the agent's log where a rule
//! has a `log`, and a stream for those who watch.
//!
//! ```text
//! ring buffer ─► Events ─► hub (its own thread) ─┬─► the agent's log
//!                                                └─► watchers ─► control socket ─► cli ─► filter ─► text, pcapng
//! ```

pub mod filter;
mod hub;
pub mod pcapng;
mod sample;

pub use hub::{Hub, Watching};
pub use sample::{Line, Sample, Scope};
