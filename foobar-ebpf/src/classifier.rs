//! The walk from a packet's key to the first rule that matches, through the diagrams of an
//! image. The same code in the kernel and on the host; how an image is read is behind [`Image`].

use crate::abi::image::{Edge, Roots, Test};
use crate::key::{Key, WORDS_USED};

/// An image as the walk reads it. `None` where the image does not hold what is asked for, which
/// no image does that the agent made.
pub trait Image {
    /// How many diagrams there are, one at least.
    fn diagrams(&self) -> u32;
    /// Where a diagram starts.
    fn roots(&self, diagram: u32) -> Option<Roots>;
    /// The test at a unit.
    fn test(&self, unit: u32) -> Option<&Test>;
    /// A child of the table at a unit.
    fn child(&self, unit: u32, nibble: u32) -> Option<Edge>;
}

/// Every step goes on to a less significant nibble.
const STEPS_MAX: usize = WORDS_USED * 16;

/// The end that a packet reaches: a rule or the policy.
///
/// Each diagram holds some of the rules and gives the first of them that matches; slots are in
/// the order of judgement, so the least of them is the first of all.
#[inline(always)]
pub fn classify<I: Image>(image: &I, key: &mut Key) -> Option<Edge> {
    let end = walk(image, key, 0)?;
    let mut first = key.forget(end);
    let mut diagram = 1;
    while diagram < image.diagrams() {
        let end = walk(image, key, diagram)?;
        first = key.forget(if end.index() < first.index() { end } else { first });
        diagram += 1;
    }
    Some(first)
}

#[inline(always)]
fn walk<I: Image>(image: &I, key: &Key, diagram: u32) -> Option<Edge> {
    let roots = image.roots(diagram)?;
    let mut edge = if key.is_ipv4() { roots.ipv4 } else { roots.ipv6 };
    for _ in 0..STEPS_MAX {
        if edge.is_end() {
            return Some(edge);
        }
        edge = if edge.is_test() {
            let test = image.test(edge.index())?;
            if key.words[edge.test_word()] & test.mask == test.value { test.hit } else { test.miss }
        } else {
            let (word, shift) = edge.table_nibble();
            #[expect(clippy::cast_possible_truncation, reason = "a nibble")]
            image.child(edge.index(), (key.words[word] >> shift) as u32 & 0xf)?
        };
    }
    if edge.is_end() { Some(edge) } else { None }
}
