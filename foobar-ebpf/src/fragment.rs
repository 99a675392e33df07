//! Later fragments follow their first one: the judgement of a first fragment is kept, and taken
//! by those that come after. Pure; the table itself is behind [`FragmentTable`].
//!
//! Who can send fragments of a datagram can write here, and no more than that: an entry speaks
//! for fragments with the same addresses, number, protocol and interface, and a later fragment is
//! nothing without a first one that the rules let through. What was forgotten, or came before its
//! first one, is judged by itself.

use crate::abi::fragment::{FirstFragment, FragmentKey, LIFETIME_NS};
use crate::packet::{Packet, Parsed};
use crate::policy::Judgement;
use crate::state::Clock;
use crate::verdict::Verdict;

/// Where judgements of first fragments are kept, a bounded number of them.
pub trait FragmentTable {
    /// What was kept under this key last.
    fn get(&self, key: &FragmentKey) -> Option<FirstFragment>;
    /// Keeps a judgement in the place of an earlier one, at the cost of the least recently used
    /// entry where all are taken.
    fn put(&self, key: &FragmentKey, first: FirstFragment);
}

/// The judgement of a later fragment's first one, if that is still known.
#[inline(always)]
pub fn follow<T: FragmentTable + Clock>(parsed: &Parsed, interface: u32, table: &T) -> Option<Judgement> {
    let first = table.get(&key(parsed, interface))?;
    if table.now_ns().saturating_sub(first.judged_at_ns) >= LIFETIME_NS {
        return None;
    }
    Some(Judgement::of_first(Verdict::from_word(first.verdict), first.rule))
}

/// Keeps the judgement of a first fragment for the later ones.
#[inline(always)]
pub fn remember<T: FragmentTable + Clock>(parsed: &Parsed, interface: u32, table: &T, judgement: &Judgement) {
    let first = FirstFragment {
        judged_at_ns: table.now_ns(),
        rule: judgement.slot(),
        verdict: judgement.verdict as u32,
    };
    table.put(&key(parsed, interface), first);
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "logical interfaces are fewer than 64")]
fn key(parsed: &Parsed, interface: u32) -> FragmentKey {
    let Parsed { packet: Packet { source, destination, .. }, datagram, .. } = parsed;
    FragmentKey {
        source: [source.high, source.low],
        destination: [destination.high, destination.low],
        identification: datagram.identification,
        interface: interface as u16,
        protocol: u16::from(datagram.protocol),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::HashMap;

    use super::*;
    use crate::packet::{Datagram, Quote, Status};
    use crate::verdict::Reason;

    #[derive(Default)]
    struct Table {
        entries: RefCell<HashMap<FragmentKey, FirstFragment>>,
        now_ns: Cell<u64>,
    }

    impl FragmentTable for Table {
        fn get(&self, key: &FragmentKey) -> Option<FirstFragment> {
            self.entries.borrow().get(key).copied()
        }

        fn put(&self, key: &FragmentKey, first: FirstFragment) {
            self.entries.borrow_mut().insert(*key, first);
        }
    }

    impl Clock for Table {
        fn now_ns(&self) -> u64 {
            self.now_ns.get()
        }
    }

    #[test]
    fn a_first_fragment_is_followed_until_reassembly_gives_up() {
        let (table, parsed) = (
            Table::default(),
            Parsed {
                status: Status::Packet,
                packet: Packet::NONE,
                datagram: Datagram { identification: 7, protocol: 17 },
                quote: Quote::NONE,
            },
        );
        let judgement = Judgement::without_rule(Verdict::Reject, Reason::Essential);
        assert_eq!(follow(&parsed, 1, &table), None);
        table.now_ns.set(5);
        remember(&parsed, 1, &table, &judgement);
        let followed = Some(Judgement::without_rule(Verdict::Reject, Reason::Fragment));
        for now_ns in [5, 4, LIFETIME_NS, LIFETIME_NS + 4] {
            table.now_ns.set(now_ns);
            assert_eq!(follow(&parsed, 1, &table), followed, "at {now_ns}");
        }
        table.now_ns.set(LIFETIME_NS + 5);
        assert_eq!(follow(&parsed, 1, &table), None);
        // The number means another datagram by now.
        remember(&parsed, 1, &table, &judgement);
        assert_eq!(follow(&parsed, 1, &table), followed);
    }
}
