//! What else the shapes draw by chance: addresses, ports, shares.

use crate::chance::Chance;

impl Chance {
    /// 128 bits.
    pub(super) fn wide(&mut self) -> u128 {
        u128::from(self.number()) << 64 | u128::from(self.number())
    }

    /// A port between two, both included.
    pub(super) fn port(&mut self, first: u16, last: u16) -> u16 {
        let span = u64::from(last.saturating_sub(first)) + 1;
        first.saturating_add(u16::try_from(self.number() % span).unwrap_or(0))
    }

    /// True `percent` times in a hundred.
    pub(super) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// The value whose share of all shares the draw falls into.
    pub(super) fn weighted<T: Copy>(&mut self, of: &[(usize, T)]) -> T {
        let mut left = self.below(of.iter().map(|(share, _)| share).sum());
        for &(share, value) in of {
            if left < share {
                return value;
            }
            left -= share;
        }
        of[0].1
    }
}
