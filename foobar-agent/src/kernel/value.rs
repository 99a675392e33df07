//! The ABI's plain structs as aya wants them: marked as plain bytes.

use foobar_ebpf::abi::{Counter, InterfaceSlot};

/// A value of a map, laid out as the datapath lays it out.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Plain<T>(pub(super) T);

// SAFETY: a `repr(C)` struct of integers without implicit padding (its size
// is asserted beside it), so any byte pattern is a value and no byte is uninitialised.
unsafe impl aya::Pod for Plain<Counter> {}
// SAFETY: as above.
unsafe impl aya::Pod for Plain<InterfaceSlot> {}
