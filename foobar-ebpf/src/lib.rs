//! The datapath of foobar, in the part that kernel and host share.
//!
//! `abi` is what crosses between them, `packet` reads a frame into a [`packet::Packet`],
//! `policy` walks a ruleset image over that packet. None of it knows a map or a helper:
//! the same code is compiled for the kernel (`main.rs`) and for tests, `explain` and
//! fuzzing on the host.
#![cfg_attr(not(test), no_std)]

pub mod verdict;
