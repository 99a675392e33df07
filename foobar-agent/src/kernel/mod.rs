//! The datapath in the kernel, seen from the rest of the agent: messages in, counters out.
//!
//! This is the only module that knows aya, and with `foobar-ebpf` the only one with `unsafe`
//! code. What it offers is plain: [`Handle`] sends messages to the kernel process, a small part of
//! the agent that keeps privileges. Messages are owned data without aya types; descriptors come
//! beside them.
//!
//! ```text
//!  agent (worker)   │ wire │   kernel process (process)
//! Handle ──Request──┼──────┼─► session ─┬─ pins      where maps, programs and links outlive us
//!        ◄──Reply───┼──────┼──          ├─ loader    object ─► maps and programs of a generation
//!                   │      │            ├─ attach    links on interfaces (link, foreign)
//!                   │      │            └─ counters  per-CPU values ─► sums
//! ```
#![expect(unsafe_code, reason = "maps are bytes, and some system calls have no safe wrapper")]

mod attach;
mod counters;
mod desk;
mod error;
mod events;
pub mod explain;
mod foreign;
mod generations;
mod ledger;
mod leftovers;
mod link;
mod loaded;
mod loader;
mod log;
mod message;
pub mod offline;
mod pins;
mod preflight;
mod process;
mod replace;
mod session;
mod switch;
mod sys;
pub mod traffic;
mod upgrade;
mod value;
mod wire;
mod worker;

pub use error::KernelError;
pub use events::Events;
pub use foreign::{Holder, Owner, holders};
pub use leftovers::remove_left;
pub use message::{
    AnswerOutcome, Attached, AttachedMode, Confirmed, CounterSample, Counters, Found, Installed,
    InterfaceOutcome, LogLevel, Manner, Named, Places, Samples, Settlement, Standing, Trial,
};
pub use process::{COMMAND, KernelProcess, serve};
pub use sys::boot_now_ns;
pub(crate) use wire::Channel;
pub use worker::{Ending, Handle};
