//! The datapath in the kernel, seen from the rest of the agent: messages in, counters out.
//!
//! This is the only module that knows aya, and with `foobar-ebpf` the only one with `unsafe`
//! code. What it offers is plain: [`Handle`] sends serialisable messages to a worker of its
//! own, so that the worker can be moved to a small privileged process.
//!
//! ```text
//! Handle ──Request──► worker ─► session ─┬─ pins      where maps, programs and links outlive us
//!        ◄──Reply────                    ├─ loader    object ─► maps and programs of a generation
//!                                        ├─ attach    links on interfaces
//!                                        └─ counters  per-CPU values ─► sums
//! ```
#![expect(unsafe_code, reason = "maps are bytes, and two system calls have no safe wrapper")]

mod attach;
mod counters;
mod error;
mod generations;
mod ledger;
mod loader;
mod log;
mod message;
pub mod offline;
mod pins;
mod preflight;
mod session;
mod sys;
mod value;
mod worker;

pub use error::KernelError;
pub use message::{
    Attached, AttachedMode, CounterSample, Counters, Generation, InterfaceOutcome, LogLevel, Named,
};
pub use session::Places;
pub use worker::Handle;
