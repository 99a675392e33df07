//! The harness of the tests that need root, and of the demo: hosts that are network namespaces, links
//! between them, real processes inside them, frames as bytes, and the agent with everything around it
//! that a failure needs to be understood at once.
//!
//! It knows the agent only by its binary, its configuration file and what it serves; it links none of
//! its code. Everything it makes is written to a journal first, so that what a killed run leaves
//! behind is found and removed by the next one.
#![expect(
    clippy::missing_errors_doc,
    reason = "every error here is an anyhow chain that names the command or file that failed"
)]

pub mod agent;
pub mod bpffs;
pub mod chance;
pub mod corpus;
pub mod effort;
pub mod frame;
pub mod host;
pub mod http;
pub mod link;
pub mod metrics;
pub mod process;
pub mod session;
mod sys;
pub mod wait;
pub mod wire;

pub use agent::{Agent, Setting};
pub use host::Host;
pub use link::{Bridge, Link};
pub use metrics::Metrics;
pub use process::Process;
