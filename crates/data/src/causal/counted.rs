//! A register plus a counter: what a string is, and a member's score.
//!
//! A write replaces the siblings and the increments that it saw; a concurrent increment survives and counts on top of
//! whatever value is shown.

use super::amount::Amount;
use super::codec::{Decoder, Encoder, Legend};
use super::context::Context;
use super::counter::Counter;
use super::dot::{Mark, Write};
use super::siblings::{Payload, Siblings};
use super::store::{Causal, Losers, Store};
use crate::codec::DecodeError;
use crate::value::Blob;
use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;
use core::str::from_utf8;

#[derive(Clone, PartialEq, Debug)]
pub struct Counted<V> {
    register: Siblings<V>,
    counter: Counter,
}

/// A string.
pub type Text = Counted<Blob>;

impl<V: Payload> Default for Counted<V> {
    fn default() -> Counted<V> {
        Counted { register: Siblings::default(), counter: Counter::default() }
    }
}

impl<V: Payload> Counted<V> {
    pub fn siblings(&self) -> &Siblings<V> {
        &self.register
    }
    pub fn counter(&self) -> &Counter {
        &self.counter
    }
    /// What a reader has seen, as the delta that removes exactly that.
    pub fn seen(&self) -> Causal<Counted<V>> {
        Causal {
            store: Counted { register: Siblings::default(), counter: self.counter.seen().store },
            context: self.register.seen(),
        }
    }
    /// Replaces all that is held here, increments too.
    pub fn write(&self, write: &mut Write<'_>, value: V) -> Causal<Counted<V>> {
        Counted::write_over(self.seen(), write, value)
    }
    /// Replaces exactly what [`Counted::seen`] told a reader, perhaps elsewhere and long ago.
    // catalogue: K10
    pub fn write_over(seen: Causal<Counted<V>>, write: &mut Write<'_>, value: V) -> Causal<Counted<V>> {
        let written = Siblings::write_over(seen.context, write, value);
        written.map(|register| Counted { register, counter: seen.store.counter })
    }
    pub fn add(&self, write: &mut Write<'_>, amount: Amount) -> Causal<Counted<V>> {
        self.counter.add(write, amount).map(|counter| Counted { counter, ..Counted::default() })
    }
}

impl Text {
    /// With one version in place of all.
    pub(super) fn with_one(&self, mark: Mark, value: Blob) -> Text {
        let register = Siblings::one_over(Context::new(), mark, value).store;
        Text { register, counter: self.counter.clone() }
    }
    /// What GET shows: the highest sibling, plus the increments if it is a number. Increments beside a value that is
    /// none stay hidden until a write replaces it or them.
    pub fn shown(&self) -> Option<Cow<'_, [u8]>> {
        self.with_added(self.register.highest().map(|(_, value)| value))
    }
    /// All that a reader may be shown, the highest first: each sibling as [`Text::shown`] would show it if it were the
    /// highest.
    // catalogue: K12
    pub fn versions(&self) -> Vec<Cow<'_, [u8]>> {
        let mut siblings: Vec<_> = self.register.iter().collect();
        siblings.sort_by_key(|(mark, _)| core::cmp::Reverse(*mark));
        if siblings.is_empty() {
            return self.shown().into_iter().collect();
        }
        siblings.into_iter().filter_map(|(_, value)| self.with_added(Some(value))).collect()
    }
    /// How many of them there are.
    pub fn versions_count(&self) -> usize {
        self.register.len().max(usize::from(self.counter.is_alive()))
    }
    fn with_added<'t>(&'t self, base: Option<&'t Blob>) -> Option<Cow<'t, [u8]>> {
        let added = self.counter.is_alive().then(|| self.counter.value());
        let shown = match (base, added) {
            (None, None) => return None,
            (Some(base), None) => return Some(Cow::Borrowed(base)),
            (None, Some(added)) => match added.as_whole() {
                Some(sum) => format!("{sum}"),
                None => format!("{}", added.as_float()),
            },
            (Some(original), Some(added)) => match (integer(original), added.as_whole()) {
                (Some(base), Some(sum)) => format!("{}", i128::from(base).wrapping_add(sum)),
                _ => match float(original) {
                    Some(base) => format!("{}", Amount::float(base)?.plus(added).as_float()),
                    None => return Some(Cow::Borrowed(original)),
                },
            },
        };
        Some(Cow::Owned(shown.into_bytes()))
    }
}

/// A decimal integer written in the one way that Redis accepts.
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    let text = from_utf8(text).ok()?;
    let value: i64 = text.parse().ok()?;
    (format!("{value}") == text).then_some(value)
}

pub(super) fn float(text: &[u8]) -> Option<f64> {
    from_utf8(text).ok()?.parse().ok().filter(|value: &f64| value.is_finite())
}

impl<V: Payload> Store for Counted<V> {
    const MAY_REMAIN: bool = true;

    fn join(&mut self, own: &Context, other: &Self, theirs: &Context, losers: &mut Losers) {
        self.register.join(own, &other.register, theirs, losers);
        self.counter.join(own, &other.counter, theirs, losers);
    }
    fn is_bottom(&self) -> bool {
        self.register.is_bottom() && self.counter.is_bottom()
    }
    fn is_alive(&self) -> bool {
        self.register.is_alive() || self.counter.is_alive()
    }
    fn newest(&self) -> Option<Mark> {
        self.register.newest().max(self.counter.newest())
    }
    fn clear(&self, _: &mut Write<'_>) -> Causal<Self> {
        self.seen()
    }
    fn residue(&self, dots: &mut Context) {
        self.counter.residue(dots);
    }
    fn collect(&mut self, dots: &Context) {
        self.counter.collect(dots);
    }
    fn note(&self, legend: &mut Legend) {
        self.register.note(legend);
        self.counter.note(legend);
    }
    fn encode(&self, encoder: &mut Encoder<'_, '_>) {
        self.register.encode(encoder);
        self.counter.encode(encoder);
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Counted { register: Siblings::decode(decoder)?, counter: Counter::decode(decoder)? })
    }
}
