//! The datapath of foobar, in the part that kernel and host share.
//!
//! `packet` reads a frame into a [`packet::Packet`], `policy` judges it, by rules through `key` and
//! `classifier`, which walks a ruleset's image; `ban` knows who is banned, `fragment` has later fragments follow their
//! first one, `limit` holds rules to their rates, `reject` answers what is rejected; `abi` is what crosses between kernel and agent, `verdict` the words for what was decided.
//! None of it knows a map or a helper: the same code is compiled for the kernel (`main.rs`)
//! and for tests, `explain` and fuzzing on the host.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

pub mod abi;
mod atomic;
pub mod ban;
pub mod classifier;
pub mod fragment;
pub mod key;
pub mod limit;
pub mod packet;
pub mod policy;
pub mod reject;
pub mod service;
pub mod state;
pub mod verdict;
