//! The nodes of all diagrams, each there once. Owns the canonical form; knows no rules.

use std::collections::HashMap;

use hashbrown::HashTable;
use thiserror::Error;

/// A node or an end, by number. Equal numbers of one [`Store`] mean equal functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

impl NodeId {
    const END: u32 = 1 << 31;
    /// The end where no rule matches: greater than every other.
    pub const NOTHING: Self = Self(u32::MAX);

    /// An end: a rule's slot, or whatever else the diagram tells apart.
    pub fn end(value: u32) -> Self {
        Self(value | Self::END)
    }

    pub(super) fn number(self) -> u32 {
        self.0
    }

    /// The value of an end; [`NodeId::NOTHING`] has one, too, which is the greatest.
    pub fn as_end(self) -> Option<u32> {
        (self.0 & Self::END != 0).then_some(self.0 & !Self::END)
    }
}

/// A test of some bits of one word of the key: a run of decisions, most significant first, all of
/// which leave to `miss`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Index of the word.
    pub word: u32,
    /// Bits that are compared, one at least.
    pub mask: u64,
    /// What they must be.
    pub value: u64,
    /// Where they are.
    pub hit: NodeId,
    /// Where one of them is not.
    pub miss: NodeId,
}

impl Node {
    /// Where in the order of the whole key this node decides first: 0 is the most significant bit
    /// of the first word.
    pub fn position(&self) -> u32 {
        self.word * u64::BITS + self.mask.leading_zeros()
    }
}

/// The least and greatest end that a node leads to.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    least: u32,
    greatest: u32,
}

/// More nodes than a compilation may make.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("more than {0} nodes")]
pub struct TooManyNodes(pub usize);

/// All nodes, each there once.
#[derive(Debug)]
pub struct Store {
    nodes: Vec<Node>,
    bounds: Vec<Bounds>,
    unique: HashTable<u32>,
    limit: usize,
}

impl Store {
    /// An empty store that holds so many nodes at most.
    pub fn new(limit: usize) -> Self {
        Self { nodes: Vec::new(), bounds: Vec::new(), unique: HashTable::new(), limit }
    }

    /// Makes room for so many more nodes.
    pub(super) fn reserve(&mut self, nodes: usize) {
        let nodes = nodes.min(self.limit.saturating_sub(self.nodes.len()));
        self.nodes.reserve(nodes);
        self.bounds.reserve(nodes);
        let known = &self.nodes;
        self.unique.reserve(nodes, |&index| hash(&known[index as usize]));
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many nodes there may be.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Sets how many nodes there may be; gives what it was.
    pub fn set_limit(&mut self, limit: usize) -> usize {
        std::mem::replace(&mut self.limit, limit)
    }

    /// The node of a number that is no end.
    pub fn node(&self, id: NodeId) -> Node {
        self.nodes[id.0 as usize]
    }

    /// The least end that a diagram leads to.
    pub fn least(&self, id: NodeId) -> u32 {
        id.as_end().unwrap_or_else(|| self.bounds[id.0 as usize].least)
    }

    /// The greatest end that a diagram leads to.
    pub fn greatest(&self, id: NodeId) -> u32 {
        id.as_end().unwrap_or_else(|| self.bounds[id.0 as usize].greatest)
    }

    /// Whether every packet reaches an end that is not [`NodeId::NOTHING`].
    pub fn is_complete(&self, id: NodeId) -> bool {
        self.greatest(id) != NodeId::NOTHING.0 & !NodeId::END
    }

    /// The diagram with other ends.
    ///
    /// # Errors
    /// When the store is full.
    pub fn with_ends(
        &mut self,
        root: NodeId,
        end: impl Fn(NodeId) -> NodeId,
    ) -> Result<NodeId, TooManyNodes> {
        self.with_ends_known(root, &end, &mut HashMap::new())
    }

    fn with_ends_known(
        &mut self,
        id: NodeId,
        end: &impl Fn(NodeId) -> NodeId,
        known: &mut HashMap<NodeId, NodeId>,
    ) -> Result<NodeId, TooManyNodes> {
        if id.as_end().is_some() {
            return Ok(end(id));
        }
        if let Some(&done) = known.get(&id) {
            return Ok(done);
        }
        let node = self.node(id);
        let hit = self.with_ends_known(node.hit, end, known)?;
        let miss = self.with_ends_known(node.miss, end, known)?;
        let done = self.test(node.word, node.mask, node.value, hit, miss)?;
        known.insert(id, done);
        Ok(done)
    }

    /// The diagram that goes to `hit` where the bits of `mask` have their `value`, else to `miss`.
    /// Both must decide later than `mask` does.
    ///
    /// # Errors
    /// When the store is full.
    pub fn test(
        &mut self,
        word: u32,
        mask: u64,
        value: u64,
        hit: NodeId,
        miss: NodeId,
    ) -> Result<NodeId, TooManyNodes> {
        if hit == miss || mask == 0 {
            return Ok(hit);
        }
        let value = value & mask;
        if let Some((below_mask, below_value, end)) = self.chain(word, hit, miss) {
            return self.intern(Node {
                word,
                mask: mask | below_mask,
                value: value | below_value,
                hit: end,
                miss,
            });
        }
        // The last decision, seen the other way round, may begin a chain of its own.
        let last = mask & mask.wrapping_neg();
        if let Some((below_mask, below_value, end)) = self.chain(word, miss, hit) {
            let turned = Node {
                word,
                mask: last | below_mask,
                value: !value & last | below_value,
                hit: end,
                miss: hit,
            };
            let turned = self.intern(turned)?;
            return self.test(word, mask & !last, value, turned, miss);
        }
        if mask == last && value == 0 {
            return self.intern(Node { word, mask, value: mask, hit: miss, miss: hit });
        }
        self.intern(Node { word, mask, value, hit, miss })
    }

    /// If a decision of this word whose other side is `miss` can go on with `next` as one chain: that
    /// chain's bits, their values, and where it ends.
    fn chain(&self, word: u32, next: NodeId, miss: NodeId) -> Option<(u64, u64, NodeId)> {
        if next.as_end().is_some() {
            return None;
        }
        let node = self.node(next);
        if node.word != word {
            return None;
        }
        if node.miss == miss {
            return Some((node.mask, node.value, node.hit));
        }
        let is_turnable = node.mask.is_power_of_two() && node.hit == miss;
        is_turnable.then_some((node.mask, !node.value & node.mask, node.miss))
    }

    fn intern(&mut self, node: Node) -> Result<NodeId, TooManyNodes> {
        let hash = hash(&node);
        let nodes = &self.nodes;
        if let Some(&known) = self.unique.find(hash, |&index| nodes[index as usize] == node) {
            return Ok(NodeId(known));
        }
        if self.nodes.len() >= self.limit.min(NodeId::END as usize) {
            return Err(TooManyNodes(self.limit));
        }
        let bounds = Bounds {
            least: self.least(node.hit).min(self.least(node.miss)),
            greatest: self.greatest(node.hit).max(self.greatest(node.miss)),
        };
        #[expect(clippy::cast_possible_truncation, reason = "below the limit, which is below 2^31")]
        let index = self.nodes.len() as u32;
        self.nodes.push(node);
        self.bounds.push(bounds);
        let nodes = &self.nodes;
        self.unique.insert_unique(hash, index, |&index| self::hash(&nodes[index as usize]));
        Ok(NodeId(index))
    }
}

/// Mixes by folded multiplication: keys are our own numbers, nobody can choose them to collide.
fn hash(node: &Node) -> u64 {
    let edges = u64::from(node.hit.0) << 32 | u64::from(node.miss.0);
    let bits = fold(node.mask ^ 0x9e37_79b9_7f4a_7c15, node.value ^ 0xbf58_476d_1ce4_e5b9);
    fold(bits ^ edges, 0x94d0_49bb_1331_11eb ^ u64::from(node.word))
}

/// The two halves of the 128-bit product, folded.
pub(super) fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    let (high, low) = ((product >> 64) as u64, product as u64);
    high ^ low
}
