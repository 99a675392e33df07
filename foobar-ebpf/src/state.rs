//! What a judgement knows beside the packet and the rules: a clock, and the tables that packets and the
//! agent write. Each table's trait stands in the module that uses it; this one binds them, so that
//! the walk takes one argument for all. In the kernel they are maps, on the host plain collections.

use crate::ban::BanTable;
use crate::fragment::FragmentTable;
use crate::limit::Limits;

/// Time, as the tables measure it.
pub trait Clock {
    /// Nanoseconds of a clock that does not go back: in the kernel the boot clock.
    fn now_ns(&self) -> u64;
}

/// All that a judgement may look up.
pub trait State: Clock + BanTable + FragmentTable + Limits {}

impl<T: Clock + BanTable + FragmentTable + Limits> State for T {}
