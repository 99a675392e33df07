//! Two diagrams become one. Of the ends that a packet reaches in both, either the least counts:
//! with rule slots as ends that is first match, in whatever order rules are put together. Or the
//! first diagram's counts wherever it has one.

use hashbrown::HashTable;

use super::store::{self, Node, NodeId, Store, TooManyNodes};

/// Results that are remembered; beyond, all are forgotten, which costs time and no correctness.
const REMEMBERED_MAX: usize = 1 << 22;

/// Which of two ends counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// The least.
    Least,
    /// The first diagram's, unless it is [`NodeId::NOTHING`].
    Over,
}

/// Merges diagrams of one store by one rule.
#[derive(Debug)]
pub(super) struct Merger {
    rule: Rule,
    known: HashTable<(NodeId, NodeId, NodeId)>,
}

impl Merger {
    pub(super) fn new(rule: Rule) -> Self {
        Self { rule, known: HashTable::new() }
    }

    /// The least end of all of these, for every packet. Neighbours are merged first: put next to
    /// each other what shares least.
    pub(super) fn all(&mut self, store: &mut Store, mut ids: Vec<NodeId>) -> Result<NodeId, TooManyNodes> {
        while ids.len() > 1 {
            let mut merged = Vec::with_capacity(ids.len().div_ceil(2));
            for pair in ids.chunks(2) {
                merged.push(match *pair {
                    [a, b] => self.merge(store, a, b)?,
                    _ => pair[0],
                });
            }
            ids = merged;
        }
        Ok(ids.first().copied().unwrap_or(NodeId::NOTHING))
    }

    /// For every packet the end that counts of these two.
    pub(super) fn merge(&mut self, store: &mut Store, a: NodeId, b: NodeId) -> Result<NodeId, TooManyNodes> {
        let decided = match self.rule {
            _ if a == b => Some(a),
            Rule::Least if store.greatest(a) <= store.least(b) => Some(a),
            Rule::Least if store.greatest(b) <= store.least(a) => Some(b),
            Rule::Over if store.is_complete(a) => Some(a),
            Rule::Over if a == NodeId::NOTHING => Some(b),
            _ => None,
        };
        if let Some(decided) = decided {
            return Ok(decided);
        }
        let (a, b) = if self.rule == Rule::Least && b < a { (b, a) } else { (a, b) };
        let hash = store::fold(key(a, b), 0x9e37_79b9_7f4a_7c15);
        if let Some(&(.., result)) = self.known.find(hash, |&(x, y, _)| (x, y) == (a, b)) {
            return Ok(result);
        }
        let result = self.split(store, a, b)?;
        if self.known.len() >= REMEMBERED_MAX {
            self.known.clear();
        }
        self.known
            .insert_unique(hash, (a, b, result), |&(x, y, _)| store::fold(key(x, y), 0x9e37_79b9_7f4a_7c15));
        Ok(result)
    }

    /// Goes on behind the first decision in which the two differ.
    fn split(&mut self, store: &mut Store, a: NodeId, b: NodeId) -> Result<NodeId, TooManyNodes> {
        let cut = Cut::of(store, a, b)?;
        let hit = self.merge(store, cut.hit.0, cut.hit.1)?;
        let miss = self.merge(store, cut.miss.0, cut.miss.1)?;
        store.test(cut.word, cut.mask, cut.value, hit, miss)
    }
}

/// Two diagrams on both sides of a run of decisions that one of them or both begin with.
pub struct Cut {
    /// Index of the word that is decided by.
    pub word: u32,
    /// The run's bits.
    pub mask: u64,
    /// Their values.
    pub value: u64,
    /// Both diagrams where the bits of `mask` have their `value`.
    pub hit: (NodeId, NodeId),
    /// Both where they have not.
    pub miss: (NodeId, NodeId),
}

impl Cut {
    /// Of two diagrams that are not both ends.
    ///
    /// # Errors
    /// When the store cannot hold the second half of a chain.
    pub fn of(store: &mut Store, a: NodeId, b: NodeId) -> Result<Self, TooManyNodes> {
        if position(store, b) < position(store, a) {
            let cut = Self::of(store, b, a)?;
            let turned = |(b, a)| (a, b);
            return Ok(Self { hit: turned(cut.hit), miss: turned(cut.miss), ..cut });
        }
        let node = store.node(a);
        let at = |mask| (node.word, mask, node.value & mask);
        if position(store, a) < position(store, b) {
            // The bits that `a` looks at before `b` looks at any.
            let (word, mask, value) = at(node.mask & !same_word_below(store, b, node.word));
            return Ok(Self { word, mask, value, hit: (rest(store, &node, mask)?, b), miss: (node.miss, b) });
        }
        let other = store.node(b);
        let differing = (node.mask ^ other.mask) | (node.value ^ other.value);
        let common = node.mask & !below_or_at(differing);
        if common != 0 {
            let (word, mask, value) = at(common);
            let hit = (rest(store, &node, mask)?, rest(store, &other, mask)?);
            return Ok(Self { word, mask, value, hit, miss: (node.miss, other.miss) });
        }
        // Both decide the same bit first, and want opposite values.
        let (word, mask, value) = at(1 << node.mask.ilog2());
        Ok(Self {
            word,
            mask,
            value,
            hit: (rest(store, &node, mask)?, other.miss),
            miss: (node.miss, rest(store, &other, mask)?),
        })
    }
}

fn key(a: NodeId, b: NodeId) -> u64 {
    u64::from(a.number()) << 32 | u64::from(b.number())
}

fn position(store: &Store, id: NodeId) -> u32 {
    if id.as_end().is_some() { u32::MAX } else { store.node(id).position() }
}

/// The bits of a word from a node's first one down; none where it looks at another word.
fn same_word_below(store: &Store, id: NodeId, word: u32) -> u64 {
    if id.as_end().is_some() {
        return 0;
    }
    let node = store.node(id);
    if node.word == word { below_or_at(node.mask) } else { 0 }
}

/// The highest bit that is set, and all bits below it.
fn below_or_at(bits: u64) -> u64 {
    if bits == 0 { 0 } else { u64::MAX >> bits.leading_zeros() }
}

/// A node behind the decisions of `run`, which are its first ones, all hit.
fn rest(store: &mut Store, node: &Node, run: u64) -> Result<NodeId, TooManyNodes> {
    store.test(node.word, node.mask & !run, node.value, node.hit, node.miss)
}
