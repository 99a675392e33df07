//! The walk from a packet's key to the first rule that matches, through the diagrams of an
//! image. The same code in the kernel and on the host; how an image is read is behind [`Image`].

use crate::abi::image::{Edge, Note, Roots, Test};
use crate::abi::limit::Meter;
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
    /// Where a diagram of the rules that follow one with a rate starts, by number of the rate.
    fn stage(&self, limit: u32, diagram: u32) -> Option<Roots>;
    /// What there is to know of a rule, by its slot.
    fn note(&self, slot: u32) -> Option<Note>;
    /// A meter of a rate or of a log.
    fn meter(&self, meter: u32) -> Option<&Meter>;
}

/// Every step goes on to a less significant nibble.
pub const STEPS_MAX: usize = WORDS_USED * 16;

/// The end that a packet reaches: a rule or the policy.
///
/// Each diagram holds some of the rules and gives the first of them that matches; slots are in
/// the order of judgement, so the least of them is the first of all.
#[inline(always)]
pub fn classify<I: Image>(image: &I, key: &Key, is_ipv4: bool) -> Option<Edge> {
    first(image, key, is_ipv4, |diagram| image.roots(diagram))
}

/// The end that a packet reaches among the rules behind one with a rate, which it matches.
#[inline(always)]
pub fn classify_after<I: Image>(image: &I, limit: u32, key: &Key, is_ipv4: bool) -> Option<Edge> {
    first(image, key, is_ipv4, |diagram| image.stage(limit, diagram))
}

#[inline(always)]
fn first<I: Image>(
    image: &I,
    key: &Key,
    is_ipv4: bool,
    roots: impl Fn(u32) -> Option<Roots>,
) -> Option<Edge> {
    let mut first = walk(image, key, is_ipv4, roots(0)?)?;
    let mut diagram = 1;
    while diagram < image.diagrams() {
        let end = walk(image, key, is_ipv4, roots(diagram)?)?;
        if end.index() < first.index() {
            first = end;
        }
        diagram += 1;
    }
    Some(first)
}

#[inline(always)]
fn walk<I: Image>(image: &I, key: &Key, is_ipv4: bool, roots: Roots) -> Option<Edge> {
    let mut edge = if is_ipv4 { roots.ipv4 } else { roots.ipv6 };
    for _ in 0..STEPS_MAX {
        if edge.is_end() {
            return Some(edge);
        }
        edge = step(image, key, edge)?;
    }
    if edge.is_end() { Some(edge) } else { None }
}

/// From an edge that is no end to the next one.
#[inline(always)]
pub fn step<I: Image>(image: &I, key: &Key, edge: Edge) -> Option<Edge> {
    if edge.is_test() {
        let test = image.test(edge.index())?;
        return Some(if key.words[edge.test_word()] & test.mask == test.value {
            test.hit
        } else {
            test.miss
        });
    }
    let (word, shift) = edge.table_nibble();
    #[expect(clippy::cast_possible_truncation, reason = "a nibble")]
    image.child(edge.index(), (key.words[word] >> shift) as u32 & 0xf)
}
