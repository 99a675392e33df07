//! SYN cookies of the datapath: real clients against a flood, what the host's settings are meanwhile and
//! afterwards, and answers byte by byte.
#![expect(clippy::unwrap_used, reason = "a test file; its helpers are not recognised as tests")]

mod floods;
