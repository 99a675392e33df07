//! The firewall's rules on their way from the configuration to the kernel:
//! addresses, the validated ruleset, and its compilation to a generation image.

pub mod address;
pub mod compile;
pub mod diagram;
pub mod findings;
mod fragments;
pub mod generation;
pub mod meaning;
pub mod numbers;
pub mod rate;
pub mod ruleset;
mod state;
pub mod walk;
