//! The life of an agent: what a start refuses and leaves behind, what a reload changes, what outlives
//! the agent and what the next one finds.
#![expect(clippy::unwrap_used, reason = "a test file; its helpers are not recognised as tests")]

mod life;
