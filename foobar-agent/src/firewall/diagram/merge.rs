//! The union of two diagrams: of the ends that a packet reaches in both, the least counts. With
//! rule slots as ends that is first match, whatever the order in which rules are put together.

use hashbrown::HashTable;

use super::store::{self, Node, NodeId, Store, TooManyNodes};

/// Results that are remembered; beyond, all are forgotten, which costs time and no correctness.
const REMEMBERED_MAX: usize = 1 << 22;

/// Merges diagrams of one store.
#[derive(Debug, Default)]
pub(super) struct Merger {
    known: HashTable<(NodeId, NodeId, NodeId)>,
}

impl Merger {
    /// The least end of all of these, for every packet. Neighbours are merged first: put next to
    /// each other what shares least.
    pub(super) fn all(&mut self, store: &mut Store, mut ids: Vec<NodeId>) -> Result<NodeId, TooManyNodes> {
        while ids.len() > 1 {
            let mut merged = Vec::with_capacity(ids.len().div_ceil(2));
            for pair in ids.chunks(2) {
                merged.push(match *pair {
                    [a, b] => self.least(store, a, b)?,
                    _ => pair[0],
                });
            }
            ids = merged;
        }
        Ok(ids.first().copied().unwrap_or(NodeId::NOTHING))
    }

    /// The least end of both, for every packet.
    pub(super) fn least(&mut self, store: &mut Store, a: NodeId, b: NodeId) -> Result<NodeId, TooManyNodes> {
        if a == b || store.greatest(a) <= store.least(b) {
            return Ok(a);
        }
        if store.greatest(b) <= store.least(a) {
            return Ok(b);
        }
        let (a, b) = if a < b { (a, b) } else { (b, a) };
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
        let (a, b) = if position(store, a) <= position(store, b) { (a, b) } else { (b, a) };
        let node = store.node(a);
        if position(store, a) < position(store, b) {
            // The bits that `a` looks at before `b` looks at any.
            let run = node.mask & !same_word_below(store, b, node.word);
            let hit = rest(store, &node, run)?;
            let hit = self.least(store, hit, b)?;
            let miss = self.least(store, node.miss, b)?;
            return store.test(node.word, run, node.value, hit, miss);
        }
        let other = store.node(b);
        let differing = (node.mask ^ other.mask) | (node.value ^ other.value);
        let run = node.mask & !below_or_at(differing);
        if run != 0 {
            let (hit, other_hit) = (rest(store, &node, run)?, rest(store, &other, run)?);
            let hit = self.least(store, hit, other_hit)?;
            let miss = self.least(store, node.miss, other.miss)?;
            return store.test(node.word, run, node.value, hit, miss);
        }
        // Both decide the same bit first, and want opposite values.
        let first = 1 << node.mask.ilog2();
        let (hit, other_hit) = (rest(store, &node, first)?, rest(store, &other, first)?);
        let hit = self.least(store, hit, other.miss)?;
        let miss = self.least(store, node.miss, other_hit)?;
        store.test(node.word, first, node.value, hit, miss)
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
