//! The list: a sequence in which what was inserted concurrently at one place is not interleaved.
//!
//! Source: Weidner, Kleppmann, "The Art of the Fugue: Minimizing Interleaving in Collaborative Text Editing" (2023).
//! Every element is a node of a tree and hangs left or right of its parent; the list is the walk of the tree: left
//! children, the element, right children, siblings by dot. A run typed forwards is a chain of right children, one
//! typed backwards (LPUSH a b c) a chain of left children; either is a subtree, so two runs at one place stand one
//! behind the other, forwards and backwards (ML-21).
//!
//! Two differences from the paper. An insert names visible neighbours only, so no new node ever hangs on a removed
//! one; where removed elements lie between the neighbours, the new one may come before or after what others insert
//! beside those. And the refinement for the rare backward runs of several writers ("FugueMax") is left out: it makes
//! every sibling carry its right neighbour.
//!
//! A removed element leaves its place in the tree behind, without its bytes, as residue.

use super::codec::{Decoder, Encoder, Legend};
use super::context::Context;
use super::dot::{Dot, Mark, Write};
use super::stamp::Stamp;
use super::store::{Causal, Losers, Store};
use crate::codec::DecodeError;
use crate::value::Blob;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// On which side of its parent a node hangs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Side {
    Left,
    Right,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Node {
    /// `None` is the root, which is no element: all hangs on its right.
    parent: Option<Dot>,
    side: Side,
    stamp: Stamp,
    /// `None` once removed, for ever: each element is inserted once.
    value: Option<Blob>,
}

/// An element as a reader sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Element<'a> {
    pub mark: Mark,
    pub value: &'a Blob,
}

/// Elements in a tree. Needs no context: nodes are only added, and lose their bytes once.
///
/// A node whose parent has not arrived is kept and not shown; it appears with its parent. Finding the order costs a
/// walk over all nodes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct List {
    nodes: BTreeMap<Dot, Node>,
}

impl List {
    /// The visible elements in order.
    pub fn elements(&self) -> Vec<Element<'_>> {
        let mut children: BTreeMap<(Option<Dot>, Side), Vec<Dot>> = BTreeMap::new();
        for (dot, node) in &self.nodes {
            children.entry((node.parent, node.side)).or_default().push(*dot);
        }
        let below = |parent, side| children.get(&(parent, side)).into_iter().flatten().rev();
        let mut elements = Vec::new();
        // Chains are as deep as the list is long: a stack of our own. What is to be visited first lies on top.
        enum Visit {
            Subtree(Dot),
            Node(Dot),
        }
        let mut stack: Vec<Visit> = below(None, Side::Right).map(|dot| Visit::Subtree(*dot)).collect();
        while let Some(visit) = stack.pop() {
            match visit {
                Visit::Subtree(dot) => {
                    stack.extend(below(Some(dot), Side::Right).map(|dot| Visit::Subtree(*dot)));
                    stack.push(Visit::Node(dot));
                    stack.extend(below(Some(dot), Side::Left).map(|dot| Visit::Subtree(*dot)));
                }
                Visit::Node(dot) => {
                    if let Some((stamp, value)) = self.nodes.get(&dot).and_then(Node::shown) {
                        elements.push(Element { mark: Mark { stamp, dot }, value });
                    }
                }
            }
        }
        elements
    }
    /// Inserts a run before the visible place `at`, which is at most the length; its elements keep their order.
    pub fn insert<'v>(
        &self,
        write: &mut Write<'_>,
        at: usize,
        values: impl IntoIterator<Item = &'v [u8]>,
    ) -> Causal<List> {
        let elements = self.elements();
        let at = at.min(elements.len());
        let before = at.checked_sub(1).map(|at| elements[at].mark.dot);
        let after = elements.get(at).map(|element| element.mark.dot);
        let (mut parent, mut side) = match after {
            // The right neighbour lies below the left one: what hangs right of the left one could fall behind it.
            Some(after) if self.hangs_below(after, before) => (Some(after), Side::Left),
            _ => (before, Side::Right),
        };
        let mut delta = Causal::<List>::new();
        for value in values {
            let Mark { stamp, dot } = write.mark();
            delta.context.insert(dot);
            delta.store.nodes.insert(dot, Node { parent, side, stamp, value: Some(value.into()) });
            (parent, side) = (Some(dot), Side::Right);
        }
        delta
    }
    /// Pushes one after the other to the head: the last one ends up first.
    pub fn push_front<'v>(
        &self,
        write: &mut Write<'_>,
        values: impl IntoIterator<Item = &'v [u8]>,
    ) -> Causal<List> {
        let first = self.elements().first().map(|element| element.mark.dot);
        let mut parent = first;
        let mut delta = Causal::<List>::new();
        for value in values {
            let side = if parent.is_some() { Side::Left } else { Side::Right };
            let Mark { stamp, dot } = write.mark();
            delta.context.insert(dot);
            delta.store.nodes.insert(dot, Node { parent, side, stamp, value: Some(value.into()) });
            parent = Some(dot);
        }
        delta
    }
    pub fn push_back<'v>(
        &self,
        write: &mut Write<'_>,
        values: impl IntoIterator<Item = &'v [u8]>,
    ) -> Causal<List> {
        self.insert(write, usize::MAX, values)
    }
    /// Removes elements by the dots that [`List::elements`] showed.
    pub fn remove(&self, dots: impl IntoIterator<Item = Dot>) -> Causal<List> {
        let held = dots.into_iter().filter_map(|dot| Some((dot, self.nodes.get(&dot)?)));
        let removed = held.map(|(dot, node)| (dot, Node { value: None, ..*node }));
        Causal { store: List { nodes: removed.collect() }, context: Context::new() }
    }
    /// Puts what a delta's elements hang on beside them, as far as `recent` names it and `spread` does not: where those did not
    /// arrive, nobody would see the new elements either. Returns the dots of what was added.
    pub(super) fn bring_parents(&self, delta: &mut List, recent: &Context, spread: &Context) -> Context {
        let mut brought = Context::new();
        let mut todo: Vec<Dot> = delta.nodes.values().filter_map(|node| node.parent).collect();
        while let Some(dot) = todo.pop() {
            let is_lacking = recent.contains(dot) && !spread.contains(dot) && !delta.nodes.contains_key(&dot);
            let held = self.nodes.get(&dot).filter(|_| is_lacking);
            if let Some(node) = held {
                brought.insert(dot);
                delta.nodes.insert(dot, node.clone());
                todo.extend(node.parent);
            }
        }
        brought
    }
    /// The nodes of which it is true, and all that they hang on.
    fn needed(&self, keep: impl Fn(Dot, &Node) -> bool) -> BTreeSet<Dot> {
        let mut needed = BTreeSet::new();
        for (dot, _) in self.nodes.iter().filter(|(dot, node)| keep(**dot, node)) {
            let mut at = Some(*dot);
            while let Some(dot) = at
                && needed.insert(dot)
            {
                at = self.nodes.get(&dot).and_then(|node| node.parent);
            }
        }
        needed
    }
    fn hangs_below(&self, dot: Dot, ancestor: Option<Dot>) -> bool {
        let mut at = Some(dot);
        while at != ancestor {
            match at.and_then(|dot| self.nodes.get(&dot)) {
                Some(node) => at = node.parent,
                None => return false,
            }
        }
        true
    }
}

impl Node {
    fn shown(&self) -> Option<(Stamp, &Blob)> {
        Some((self.stamp, self.value.as_ref()?))
    }
}

impl Store for List {
    const MAY_REMAIN: bool = true;

    fn join(&mut self, _: &Context, other: &Self, _: &Context, _: &mut Losers) {
        for (dot, node) in &other.nodes {
            match self.nodes.get_mut(dot) {
                Some(held) if node.value.is_none() => held.value = None,
                Some(_) => {}
                None => {
                    self.nodes.insert(*dot, node.clone());
                }
            }
        }
    }
    fn is_bottom(&self) -> bool {
        self.nodes.is_empty()
    }
    fn is_alive(&self) -> bool {
        self.nodes.values().any(|node| node.value.is_some())
    }
    fn newest(&self) -> Option<Mark> {
        let shown = self.nodes.iter().filter_map(|(dot, node)| Some((*dot, node.shown()?.0)));
        shown.map(|(dot, stamp)| Mark { stamp, dot }).max()
    }
    fn clear(&self, _: &mut Write<'_>) -> Causal<Self> {
        self.remove(self.nodes.iter().filter(|(_, node)| node.value.is_some()).map(|(dot, _)| *dot))
    }
    /// Places of removed elements that nothing visible hangs on. Nothing new ever does.
    fn residue(&self, dots: &mut Context) {
        if self.nodes.values().all(|node| node.value.is_some()) {
            return;
        }
        let needed = self.needed(|_, node| node.value.is_some());
        self.nodes.keys().filter(|dot| !needed.contains(dot)).for_each(|dot| dots.insert(*dot));
    }
    fn collect(&mut self, dots: &Context) {
        let needed = self.needed(|dot, node| node.value.is_some() || !dots.contains(dot));
        self.nodes.retain(|dot, _| needed.contains(dot));
    }
    fn note(&self, legend: &mut Legend) {
        for (dot, node) in &self.nodes {
            legend.mark(Mark { stamp: node.stamp, dot: *dot });
            node.parent.into_iter().for_each(|parent| legend.actor(parent.actor));
        }
    }
    /// Runs of one actor are common: the shape byte says when a node is the successor of the one before, hanging on
    /// it.
    fn encode(&self, encoder: &mut Encoder<'_, '_>) {
        encoder.number(self.nodes.len() as u64);
        let mut before: Option<Mark> = None;
        for (dot, node) in &self.nodes {
            let mark = Mark { stamp: node.stamp, dot: *dot };
            let shape = Shape::of(before, mark, node);
            encoder.byte(shape.to_byte());
            if !shape.is_next {
                encoder.mark(mark);
            }
            if !shape.hangs_on_before {
                node.parent.into_iter().for_each(|parent| encoder.dot(parent));
            }
            node.value.iter().for_each(|value| encoder.bytes(value));
            before = Some(mark);
        }
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        const INVALID: DecodeError = DecodeError::Invalid("list node");
        let mut list = List::default();
        let mut before: Option<Mark> = None;
        for _ in 0..decoder.count()? {
            let shape = Shape::from_byte(decoder.byte()?).ok_or(INVALID)?;
            let mark = match (shape.is_next, before) {
                (false, _) => decoder.mark()?,
                (true, Some(before)) => successor(before).ok_or(INVALID)?,
                (true, None) => return Err(INVALID),
            };
            let parent = match (shape.hangs_on_before, before) {
                (true, Some(before)) => Some(before.dot),
                (true, None) => return Err(INVALID),
                (false, _) if shape.has_parent => Some(decoder.dot()?),
                (false, _) => None,
            };
            let value = if shape.has_value { Some(decoder.bytes()?.into()) } else { None };
            let node = Node { parent, side: shape.side, stamp: mark.stamp, value };
            let is_above = before.is_none_or(|before| before.dot < mark.dot);
            if !is_above || Shape::of(before, mark, &node) != shape {
                return Err(INVALID);
            }
            list.nodes.insert(mark.dot, node);
            before = Some(mark);
        }
        Ok(list)
    }
}

/// What the first byte of an encoded node says.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shape {
    side: Side,
    has_parent: bool,
    has_value: bool,
    /// The dot is the one after the last node's, of the same stamp.
    is_next: bool,
    hangs_on_before: bool,
}

impl Shape {
    fn of(before: Option<Mark>, mark: Mark, node: &Node) -> Shape {
        Shape {
            side: node.side,
            has_parent: node.parent.is_some(),
            has_value: node.value.is_some(),
            is_next: before.and_then(successor) == Some(mark),
            hangs_on_before: node.parent.is_some() && node.parent == before.map(|before| before.dot),
        }
    }
    fn to_byte(self) -> u8 {
        let bits =
            [self.side == Side::Right, self.has_parent, self.has_value, self.is_next, self.hangs_on_before];
        bits.into_iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(bit))
    }
    fn from_byte(byte: u8) -> Option<Shape> {
        let bit = |at: u8| byte >> at & 1 == 1;
        let side = if bit(0) { Side::Right } else { Side::Left };
        let shape =
            Shape { side, has_parent: bit(1), has_value: bit(2), is_next: bit(3), hangs_on_before: bit(4) };
        (byte < 32).then_some(shape)
    }
}

/// The mark that follows in a run of one write.
fn successor(mark: Mark) -> Option<Mark> {
    let counter = mark.dot.counter.checked_add(1)?;
    Some(Mark { stamp: mark.stamp, dot: Dot { counter, ..mark.dot } })
}
