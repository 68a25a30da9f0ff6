//! The register with siblings: a write replaces what it saw, concurrent writes are kept side by side.
//!
//! Source: dotted version vector sets, Preguica, Baquero, Almeida, Fonte, Goncalves (2010, 2012). Also the flag where
//! enabling wins (the value is `()`), the members of sets, scores and expiries: whatever lives until somebody who saw
//! it removes it.

use super::codec::{Decoder, Encoder, Legend};
use super::context::Context;
use super::dot::{Dot, Mark, Write};
use super::stamp::Stamp;
use super::store::{Causal, Losers, Store};
use crate::codec::DecodeError;
use crate::value::Blob;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Debug;

/// What a sibling can be.
pub trait Payload: Clone + PartialEq + Debug {
    fn encode(&self, encoder: &mut Encoder<'_, '_>);
    /// # Errors
    /// When the bytes are not what `encode` writes.
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError>;
}

impl Payload for () {
    fn encode(&self, _: &mut Encoder<'_, '_>) {}
    fn decode(_: &mut Decoder<'_>) -> Result<(), DecodeError> {
        Ok(())
    }
}

impl Payload for Blob {
    fn encode(&self, encoder: &mut Encoder<'_, '_>) {
        encoder.bytes(self);
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Blob, DecodeError> {
        Ok(decoder.bytes()?.into())
    }
}

/// Concurrent values of one thing, usually one.
///
/// Invariant: ascending by dot. Their number is bounded by true concurrency: a write removes all that its minter
/// holds, so each actor has one sibling at most, unless clients write with contexts that they read long ago (LL-12).
#[derive(Clone, PartialEq, Debug)]
pub struct Siblings<V> {
    entries: Vec<(Dot, Stamp, V)>,
}

/// A flag: enabling is a write, disabling clears. A concurrent enabling survives.
pub type Flag = Siblings<()>;

impl<V> Default for Siblings<V> {
    fn default() -> Siblings<V> {
        Siblings { entries: Vec::new() }
    }
}

impl<V: Payload> Siblings<V> {
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
    /// Ascending by dot.
    pub fn iter(&self) -> impl Iterator<Item = (Mark, &V)> {
        self.entries.iter().map(|(dot, stamp, value)| (Mark { stamp: *stamp, dot: *dot }, value))
    }
    /// What a plain read shows: of several the one with the highest mark.
    pub fn highest(&self) -> Option<(Mark, &V)> {
        self.iter().max_by_key(|(mark, _)| *mark)
    }
    /// What a reader has seen, to be echoed by a write that replaces exactly that.
    // catalogue: K10
    pub fn seen(&self) -> Context {
        self.entries.iter().map(|entry| entry.0).collect()
    }
    /// Replaces all that is held here.
    pub fn write(&self, write: &mut Write<'_>, value: V) -> Causal<Siblings<V>> {
        Siblings::write_over(self.seen(), write, value)
    }
    /// Replaces exactly what a context names: dots of this register that a client read, perhaps elsewhere.
    pub fn write_over(seen: Context, write: &mut Write<'_>, value: V) -> Causal<Siblings<V>> {
        Siblings::one_over(seen, write.mark(), value)
    }
    /// The same under a mark that was minted already.
    pub(super) fn one_over(seen: Context, mark: Mark, value: V) -> Causal<Siblings<V>> {
        let Mark { stamp, dot } = mark;
        let mut context = seen;
        context.insert(dot);
        Causal { store: Siblings { entries: vec![(dot, stamp, value)] }, context }
    }
    /// Removes the siblings of which the test is true.
    pub(super) fn clear_where(&self, mut test: impl FnMut(&V) -> bool) -> Causal<Siblings<V>> {
        let context = self.entries.iter().filter(|entry| test(&entry.2)).map(|entry| entry.0).collect();
        Causal { store: Siblings::default(), context }
    }
}

impl<V: Payload> Store for Siblings<V> {
    /// A sibling stays if both hold it, or if the side without it has not heard of it.
    fn join(&mut self, own: &Context, other: &Self, theirs: &Context, _: &mut Losers) {
        let other_has = |dot: Dot| other.entries.binary_search_by_key(&dot, |entry| entry.0).is_ok();
        self.entries.retain(|(dot, ..)| other_has(*dot) || !theirs.contains(*dot));
        for entry in &other.entries {
            if let Err(at) = self.entries.binary_search_by_key(&entry.0, |own| own.0)
                && !own.contains(entry.0)
            {
                // Most values have no other beside them.
                self.entries.reserve_exact(1);
                self.entries.insert(at, entry.clone());
            }
        }
    }
    fn is_bottom(&self) -> bool {
        self.is_empty()
    }
    fn is_alive(&self) -> bool {
        !self.is_empty()
    }
    fn newest(&self) -> Option<Mark> {
        self.highest().map(|(mark, _)| mark)
    }
    fn clear(&self, _: &mut Write<'_>) -> Causal<Self> {
        self.clear_where(|_| true)
    }
    fn note(&self, legend: &mut Legend) {
        self.iter().for_each(|(mark, _)| legend.mark(mark));
    }
    fn encode(&self, encoder: &mut Encoder<'_, '_>) {
        encoder.number(self.entries.len() as u64);
        for (mark, value) in self.iter() {
            encoder.mark(mark);
            value.encode(encoder);
        }
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let mut entries: Vec<(Dot, Stamp, V)> = Vec::new();
        for _ in 0..decoder.count()? {
            let Mark { stamp, dot } = decoder.mark()?;
            if entries.last().is_some_and(|last| last.0 >= dot) {
                return Err(DecodeError::Invalid("order of siblings"));
            }
            entries.push((dot, stamp, V::decode(decoder)?));
        }
        Ok(Siblings { entries })
    }
}
