//! What the rules say of given packets, and why: captures, a packet as hex digits, a packet in words.
//! Judges with the real program in the kernel; counts nothing, attaches nothing, asks nobody.
//!
//! ```text
//! capture ─► record ─► link ─┐
//! hex ───────────────────────┼─► Frame ─► judge ─► Judged ─► (cli) a line, a JSON object
//! words ─► packet ───────────┘              └─► why: each rule's first field that did not match
//! ```

pub mod capture;
pub mod describe;
mod frame;
pub mod hex;
mod input;
pub mod judge;
pub mod link;
pub mod packet;
pub mod why;
pub mod words;

pub use frame::Frame;
#[cfg(test)]
mod tests;
