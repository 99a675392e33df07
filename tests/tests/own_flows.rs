//! Flows: under a default of drop, what the host starts is answered, and what it has goes on.
#![expect(clippy::unwrap_used, reason = "a test file; its helpers are not recognised as tests")]

mod flows;
