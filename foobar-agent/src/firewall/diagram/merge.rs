//! Two diagrams become one. Of the ends that a packet reaches in both, either the least counts:
//! with rule slots as ends that is first match, in whatever order rules are put together. Or the
//! first diagram's counts wherever it has one.

use hashbrown::HashTable;

use super::store::{self, Node, NodeId, Store, TooManyNodes};

/// Results that are remembered; beyond, all are forgotten, which costs time and no correctness.
const REMEMBERED_MAX: usize = 1 << 22;

/// Which of two ends counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The least.
    Least,
    /// The first diagram's, unless it is [`NodeId::NOTHING`].
    First,
}

/// Merges diagrams of one store one way.
#[derive(Debug)]
pub struct Merger {
    which: Which,
    known: HashTable<(NodeId, NodeId, NodeId)>,
}

impl Merger {
    /// Merges in this way.
    pub fn new(which: Which) -> Self {
        Self { which, known: HashTable::new() }
    }

    /// For every packet the end that counts of all of these. Neighbours are merged first: put next to
    /// each other what shares least.
    ///
    /// # Errors
    /// When the store is full.
    pub fn all(&mut self, store: &mut Store, mut ids: Vec<NodeId>) -> Result<NodeId, TooManyNodes> {
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
    ///
    /// # Errors
    /// When the store is full.
    pub fn merge(&mut self, store: &mut Store, a: NodeId, b: NodeId) -> Result<NodeId, TooManyNodes> {
        let decided = match self.which {
            _ if a == b => Some(a),
            Which::Least if store.greatest(a) <= store.least(b) => Some(a),
            Which::Least if store.greatest(b) <= store.least(a) => Some(b),
            Which::First if store.is_complete(a) => Some(a),
            Which::First if a == NodeId::NOTHING => Some(b),
            _ => None,
        };
        if let Some(decided) = decided {
            return Ok(decided);
        }
        let (a, b) = if self.which == Which::Least && b < a { (b, a) } else { (a, b) };
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
        let cut = Cut::of(store, [a, b])?;
        let hit = self.merge(store, cut.hit[0], cut.hit[1])?;
        let miss = self.merge(store, cut.miss[0], cut.miss[1])?;
        store.test(cut.word, cut.mask, cut.value, hit, miss)
    }
}

/// Diagrams on both sides of a run of decisions that one or more of them begin with.
#[derive(Clone, Copy, Debug)]
pub struct Cut<const N: usize> {
    /// Index of the word that is decided by.
    pub word: u32,
    /// The run's bits.
    pub mask: u64,
    /// Their values.
    pub value: u64,
    /// The diagrams where the bits of `mask` have their `value`.
    pub hit: [NodeId; N],
    /// The diagrams where they have not.
    pub miss: [NodeId; N],
}

impl<const N: usize> Cut<N> {
    /// Of diagrams that are not all ends.
    ///
    /// # Errors
    /// When the store cannot hold the second half of a chain.
    pub fn of(store: &mut Store, ids: [NodeId; N]) -> Result<Self, TooManyNodes> {
        let positions = ids.map(|id| position(store, id));
        let first = positions.iter().copied().min().unwrap_or(u32::MAX);
        let begins = |index: usize| positions[index] == first;
        let Some(lead) = (0..N).find(|&index| begins(index)).map(|index| store.node(ids[index])) else {
            return Ok(Self { word: 0, mask: 0, value: 0, hit: ids, miss: ids });
        };
        // The bits that all of those look at alike, before any of the others looks at one.
        let mut run = lead.mask;
        for (index, &id) in ids.iter().enumerate() {
            run &= !if begins(index) {
                let node = store.node(id);
                below_or_at((lead.mask ^ node.mask) | (lead.value ^ node.value))
            } else {
                same_word_below(store, id, lead.word)
            };
        }
        // None: two decide the same bit first, and want opposite values.
        let mask = if run == 0 { 1 << lead.mask.ilog2() } else { run };
        let mut cut = Self { word: lead.word, mask, value: lead.value & mask, hit: ids, miss: ids };
        for (index, &id) in ids.iter().enumerate().filter(|&(index, _)| begins(index)) {
            let node = store.node(id);
            let behind = rest(store, &node, mask)?;
            let is_alike = node.value & mask == cut.value;
            (cut.hit[index], cut.miss[index]) =
                if is_alike { (behind, node.miss) } else { (node.miss, behind) };
        }
        Ok(cut)
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
