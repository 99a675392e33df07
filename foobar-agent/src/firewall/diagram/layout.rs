//! From diagrams to the units of an image. Where a nibble is looked at by more than one node, the
//! nodes become one table; all others are tests. What a node leads to lies close behind it.

use foobar_ebpf::abi::image::{Edge, TABLE_CHILDREN, Test, UNITS_MAX, Unit};
use thiserror::Error;

use super::store::{Node, NodeId, Store, TooManyNodes};

/// Why diagrams cannot be an image.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum LayoutError {
    /// More units than an edge can number.
    #[error("more than {UNITS_MAX} units")]
    TooManyUnits,
    /// No room for the nodes that tables begin in the middle of.
    #[error(transparent)]
    TooManyNodes(#[from] TooManyNodes),
}

/// In the place of a node that is not written yet, and between tables.
const BLANK: Unit = Unit([Edge::NONE; 8]);

/// An image in the making: each node of a store is laid out once.
pub struct Layout<'s, E> {
    store: &'s mut Store,
    units: Vec<Unit>,
    /// By number of a node.
    placed: Vec<Option<Edge>>,
    /// A unit that the alignment of a table has left over.
    spare: Option<usize>,
    end: E,
}

impl<'s, E: Fn(NodeId) -> Edge> Layout<'s, E> {
    /// An image that begins with so many blank units. `end` says what an end of a diagram is there.
    pub fn new(store: &'s mut Store, blank_units: usize, end: E) -> Self {
        let placed = vec![None; store.len()];
        Self { store, units: vec![BLANK; blank_units], placed, spare: None, end }
    }

    /// The units.
    pub fn finish(self) -> Vec<Unit> {
        self.units
    }

    /// Lays out a diagram; the edge leads to it.
    ///
    /// # Errors
    /// When the image would be too large.
    pub fn place(&mut self, id: NodeId) -> Result<Edge, LayoutError> {
        if id.as_end().is_some() {
            return Ok((self.end)(id));
        }
        let index = id.number() as usize;
        if let Some(&Some(edge)) = self.placed.get(index) {
            return Ok(edge);
        }
        let node = self.store.node(id);
        let nibble = Nibble::of(&node);
        let decides_again = |id| self.store.decides(id, nibble);
        let edge = if decides_again(node.miss) || node.mask & !nibble.mask() == 0 && decides_again(node.hit) {
            self.place_table(id, nibble)?
        } else {
            self.place_test(&node)?
        };
        if self.placed.len() <= index {
            self.placed.resize(self.store.len(), None);
        }
        self.placed[index] = Some(edge);
        Ok(edge)
    }

    fn place_test(&mut self, node: &Node) -> Result<Edge, LayoutError> {
        let at = match self.spare.take() {
            Some(at) => at,
            None => self.reserve(1)?,
        };
        let (hit, miss) = (self.place(node.hit)?, self.place(node.miss)?);
        self.units[at] = Unit::of_test(Test { mask: node.mask, value: node.value, hit, miss, padding: 0 });
        Ok(Edge::test(node.word, unit(at)))
    }

    fn place_table(&mut self, id: NodeId, nibble: Nibble) -> Result<Edge, LayoutError> {
        // On a cache line of its own.
        if self.units.len() % 2 == 1 {
            self.spare = Some(self.reserve(1)?);
        }
        let at = self.reserve(2)?;
        for value in 0..TABLE_CHILDREN {
            let child = self.store.given(id, nibble, value)?;
            let edge = self.place(child)?;
            let child = value as usize;
            self.units[at + child / 8].0[child % 8] = edge;
        }
        Ok(Edge::table(nibble.word, nibble.shift, unit(at)))
    }

    fn reserve(&mut self, count: usize) -> Result<usize, LayoutError> {
        let at = self.units.len();
        if at + count > UNITS_MAX {
            return Err(LayoutError::TooManyUnits);
        }
        self.units.resize(at + count, BLANK);
        Ok(at)
    }
}

fn unit(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Four bits of a word of the key.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Nibble {
    word: u32,
    shift: u32,
}

impl Nibble {
    /// The first that a node looks at.
    fn of(node: &Node) -> Self {
        Self { word: node.word, shift: node.mask.ilog2() / 4 * 4 }
    }

    fn mask(self) -> u64 {
        0xf << self.shift
    }
}

impl Store {
    /// Whether a node looks at this nibble first.
    fn decides(&self, id: NodeId, nibble: Nibble) -> bool {
        id.as_end().is_none() && Nibble::of(&self.node(id)) == nibble
    }

    /// Where a diagram that looks at a nibble first goes on where that has a value.
    fn given(&mut self, mut id: NodeId, nibble: Nibble, value: u32) -> Result<NodeId, TooManyNodes> {
        let value = u64::from(value) << nibble.shift;
        while self.decides(id, nibble) {
            let node = self.node(id);
            id = if (node.value ^ value) & node.mask & nibble.mask() == 0 {
                self.test(node.word, node.mask & !nibble.mask(), node.value, node.hit, node.miss)?
            } else {
                node.miss
            };
        }
        Ok(id)
    }
}
