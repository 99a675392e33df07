//! The foobar agent: one process that is a host's firewall, the site's TLS load balancer
//! and the host's monitoring client.
//!
//! ```text
//! file ─► config ─► firewall (ruleset ─► generation image) ─► kernel
//!             ├───► balancer (snapshot ─► every worker core)
//!             └───► monitor, control
//! ```
//!
//! Only `kernel` knows aya, and only it contains `unsafe` code.
#![deny(unsafe_code)]

pub mod balancer;
pub mod cli;
pub mod config;
pub mod control;
pub mod desk;
mod durable;
pub mod explain;
pub mod firewall;
pub mod kernel;
mod logging;
pub mod monitor;
pub mod net;
pub mod plan;
pub mod privileges;
pub mod run;
pub mod samples;
