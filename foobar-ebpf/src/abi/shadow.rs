//! What a candidate that judges beside the live rules leaves for them, and how pairs of verdicts are
//! counted.

use crate::verdict::Verdict;

/// No candidate has judged this packet.
pub const NOTHING: u32 = 0;

/// Entries of [`super::map::SHADOW_PAIRS`].
pub const PAIRS: u32 = Verdict::COUNT * Verdict::COUNT;

/// What a candidate leaves; never [`NOTHING`].
#[inline(always)]
pub const fn left(verdict: Verdict) -> u32 {
    verdict as u32 + 1
}

/// Index in [`super::map::SHADOW_PAIRS`] for what was left and what the live rules decided; `None` where
/// nothing was left.
#[inline(always)]
pub const fn pair_index(left: u32, live: Verdict) -> Option<u32> {
    if left == NOTHING || left > Verdict::COUNT {
        return None;
    }
    Some(live as u32 * Verdict::COUNT + left - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_has_an_entry_of_its_own() {
        let mut seen = [false; PAIRS as usize];
        for &live in Verdict::ALL {
            for &shadow in Verdict::ALL {
                let index = pair_index(left(shadow), live).unwrap() as usize;
                assert!(!std::mem::replace(&mut seen[index], true));
            }
            assert_eq!(pair_index(NOTHING, live), None);
            assert_eq!(pair_index(Verdict::COUNT + 1, live), None);
        }
        assert!(seen.iter().all(|seen| *seen));
    }
}
