//! A copy of a shard as readers see it: as it is, or as it was at a moment that one of them holds open.
// catalogue: J16

use super::object::Object;
use super::shard::{Held, ShardCopy};
use super::tree::Span;
use crate::Index;
use crate::moments::Moment;
use crate::value::Blob;

/// What commands that read a copy ask it.
pub trait CausalView {
    fn object(&self, key: &[u8]) -> Option<&Object>;
    /// Keys whose places lie in the span, those without a value too, in the order of places.
    fn entries(&self, span: Span) -> impl Iterator<Item = (u64, &Blob, &Held)>;
    /// Keys with a value, those whose expiry has passed too.
    fn alive(&self) -> u64;
}

impl CausalView for ShardCopy {
    fn object(&self, key: &[u8]) -> Option<&Object> {
        ShardCopy::object(self, key)
    }
    fn entries(&self, span: Span) -> impl Iterator<Item = (u64, &Blob, &Held)> {
        ShardCopy::entries(self, span)
    }
    fn alive(&self) -> u64 {
        ShardCopy::alive(self)
    }
}

/// A copy at one moment.
pub struct CopyMoment<'c> {
    copy: &'c ShardCopy,
    moment: &'c Moment<Held>,
}

impl<'c> CopyMoment<'c> {
    pub(super) fn new(copy: &'c ShardCopy, moment: &'c Moment<Held>) -> CopyMoment<'c> {
        CopyMoment { copy, moment }
    }
    /// The newest log entry that it shows.
    pub fn index(&self) -> Index {
        self.moment.index()
    }
    /// Bytes that are kept for it, about.
    pub fn bytes(&self) -> usize {
        self.moment.bytes()
    }
}

impl CausalView for CopyMoment<'_> {
    fn object(&self, key: &[u8]) -> Option<&Object> {
        match self.moment.at(self.copy.place(key)) {
            Some(kept) => kept.iter().find(|(name, _)| **name == *key).map(|(_, held)| &held.object),
            None => self.copy.object(key),
        }
    }
    fn entries(&self, span: Span) -> impl Iterator<Item = (u64, &Blob, &Held)> {
        let unchanged = |(place, ..): &(u64, &Blob, &Held)| !self.moment.is_changed(*place);
        let mut now = self.copy.entries(span).filter(unchanged).peekable();
        let kept = self.moment.changed(span.first, span.last.checked_add(1));
        let mut kept = kept.map(|(place, (key, held))| (place, key, held)).peekable();
        core::iter::from_fn(move || match (now.peek(), kept.peek()) {
            (Some((here, ..)), Some((there, ..))) if there < here => kept.next(),
            (None, Some(_)) => kept.next(),
            _ => now.next(),
        })
    }
    fn alive(&self) -> u64 {
        self.moment.keys() as u64
    }
}
