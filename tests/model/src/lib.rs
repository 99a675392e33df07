//! A second implementation of `docs/rules.md`, to compare foobar with: written from that page alone,
//! deliberately naive, and slow. It shares the words ([`Verdict`], [`Reason`]) and the validated
//! ruleset with the agent, and nothing of the datapath: neither parser nor image nor walk.
//!
//! ```text
//! draft ─► TOML ─► config::load ─► Ruleset ─┬─► Model                       ┐
//!                                           └─► compile ─► walk, or kernel  ┴─► the same?
//! ```
//!
//! A crate of its own because the harness beside it (`foobar-tests`) links nothing of the agent.

pub mod differ;
pub mod draft;
mod judge;
pub mod nft;
pub mod pools;
mod read;
pub mod shrink;

pub use foobar_ebpf::verdict::{Reason, Verdict};
pub use judge::{Judged, Memory, Model};
pub use read::Outline;
