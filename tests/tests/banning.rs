//! Bans of real traffic: they cut what is established, outlast the agent and a reboot, end on time without
//! it, and spare whom the configuration names.
//!
//! `FOOBAR_NC` and `FOOBAR_NMAP` name the programs `nc` and `nmap`; `cargo xtask test` sets them.
#![expect(clippy::unwrap_used, reason = "a test file; its helpers are not recognised as tests")]

mod bans;
