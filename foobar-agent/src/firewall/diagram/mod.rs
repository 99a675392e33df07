//! Decision diagrams over the bits of a packet's key: what rules mean, in a canonical form.
//!
//! A diagram is a binary decision diagram in the order of [`foobar_ebpf::key`], reduced, with
//! chains: a run of decisions with one common way out is one node (R. E. Bryant, *Chain reduction
//! for binary and zero-suppressed decision diagrams*, 2018). Nodes are shared: in one [`Store`] two
//! diagrams mean the same if and only if they are the same number.
//!
//! ```text
//! Rule ─► space (sets of values ─► diagram) ─► merge (least end wins) ─► forest ─► layout ─► image
//! ```

mod forest;
mod layout;
mod merge;
mod space;
mod store;

pub use forest::{Forest, Trees};
pub use layout::{Layout, LayoutError};
pub use merge::{Cut, Merger, Which};
pub use store::{Node, NodeId, Store, TooManyNodes};
