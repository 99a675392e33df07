//! A judgement as one word: what the program of a test run returns in the place of an XDP action,
//! so that whoever asked learns verdict, reason and rule of each packet without reading a map.

use crate::policy::Judgement;
use crate::verdict::{Reason, Verdict};

/// Bits of the rule's slot.
const SLOT_BITS: u32 = 24;
/// In the place of a slot where no rule decided.
const NO_SLOT: u32 = (1 << SLOT_BITS) - 1;
/// Bits of the reason.
const REASON_BITS: u32 = 6;

/// Rule slots, the policy's included, that a report can tell apart.
pub const SLOTS_MAX: u32 = NO_SLOT;

const _: () = assert!(Reason::COUNT <= 1 << REASON_BITS);
const _: () = assert!(Verdict::COUNT <= 1 << (u32::BITS - SLOT_BITS - REASON_BITS));

/// Verdict in the highest bits, then reason, then slot.
#[inline(always)]
pub const fn word(judgement: &Judgement) -> u32 {
    let slot = match judgement.rule() {
        Some(slot) => slot & NO_SLOT,
        None => NO_SLOT,
    };
    (judgement.verdict as u32) << (SLOT_BITS + REASON_BITS) | (judgement.reason as u32) << SLOT_BITS | slot
}

/// Verdict, reason and slot of the deciding rule; `None` where the word holds no judgement.
pub fn from_word(word: u32) -> Option<(Verdict, Reason, Option<u32>)> {
    let verdict = Verdict::try_from(word >> (SLOT_BITS + REASON_BITS)).ok()?;
    let reason = Reason::try_from(word >> SLOT_BITS & ((1 << REASON_BITS) - 1)).ok()?;
    let slot = word & NO_SLOT;
    Some((verdict, reason, (slot != NO_SLOT).then_some(slot)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_judgement_without_a_rule_comes_back_from_its_word() {
        for &verdict in Verdict::ALL {
            for &reason in Reason::ALL {
                let word = word(&Judgement::without_rule(verdict, reason));
                assert_eq!(from_word(word), Some((verdict, reason, None)));
            }
        }
    }

    #[test]
    fn slots_take_their_own_bits_only() {
        let (verdict, reason) = (Verdict::Reject, Reason::Rule);
        let without = word(&Judgement::without_rule(verdict, reason)) & !NO_SLOT;
        for slot in [0, 1, 100_000, SLOTS_MAX - 1] {
            assert_eq!(from_word(without | slot), Some((verdict, reason, Some(slot))));
        }
    }

    #[test]
    fn what_is_no_judgement_is_none() {
        assert_eq!(from_word(u32::MAX), None);
        assert_eq!(from_word(Reason::COUNT << SLOT_BITS), None);
    }
}
