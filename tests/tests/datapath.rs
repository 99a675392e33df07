//! The datapath on single frames: the program in the kernel (`BPF_PROG_TEST_RUN`) and the walk on the
//! host must say the same of each, and what the fixture expects.
#![expect(clippy::unwrap_used, reason = "a test file; its helpers are not recognised as tests")]

mod fixtures;
