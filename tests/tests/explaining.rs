//! What `foobar-agent explain` says of packets: of words and digits, of captures that tcpdump made and of
//! captures that nobody should make, without an agent and beside one.
#![expect(clippy::unwrap_used, reason = "a test file; its helpers are not recognised as tests")]

mod explain;
