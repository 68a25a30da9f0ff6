//! What each operation does to the table.
//!
//! `KEEP` says whether what is replaced is moved into the [`super::Undo`] or dropped. An operation that does not fit what it
//! meets is a broken invariant of its maker: it asserts in debug builds and changes nothing, on every replica alike.

use super::collections::Trail;
use super::entry::Content;
use super::outside::Body;
use super::store::{Replaced, Store};
use super::undo::{Renamed, Step};
use super::{STRING_LEN_MAX, Table};
use crate::operation::{Expiry, Operation};
use crate::value::{Blob, Value, ValueRef};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

impl Table {
    pub(super) fn change<const KEEP: bool>(&mut self, operation: &Operation<'_>, now: u32) -> Step {
        use Operation as O;
        match operation {
            O::Set { key, value, expiry } => self.set::<KEEP>(self.hash(key), key, value, *expiry, now),
            O::Put { key, value, expiry } => self.put::<KEEP>(key, value, *expiry, now),
            O::Delete { key } => self.delete::<KEEP>(key),
            O::Expire { key, at_ms } => match self.get(key).and_then(|found| found.expires_at_ms) {
                Some(expires_at_ms) if expires_at_ms <= *at_ms => self.delete::<KEEP>(key),
                _ => Step::Nothing,
            },
            O::ExpireAt { key, at_ms } => self.expire_at::<KEEP>(key, *at_ms),
            O::StringWrite { key, offset, bytes } => self.string_write::<KEEP>(key, *offset, bytes, now),
            O::CounterAdd { key, delta } => self.counter_add::<KEEP>(key, *delta, now),
            O::Rename { from, to } => self.rename::<KEEP>(from, to),
            O::Flush => self.flush::<KEEP>(),
            _ => self.change_members(operation, Trail::new(KEEP), now),
        }
    }

    /// As [`Table::change`], sparing the hash where that is worth the while.
    pub(super) fn change_hashed<const KEEP: bool>(
        &mut self,
        hash: u64,
        operation: &Operation<'_>,
        now: u32,
    ) -> Step {
        match operation {
            Operation::Set { key, value, expiry } => self.set::<KEEP>(hash, key, value, *expiry, now),
            _ => self.change::<KEEP>(operation, now),
        }
    }

    fn set<const KEEP: bool>(
        &mut self,
        hash: u64,
        key: &[u8],
        text: &[u8],
        expiry: Expiry,
        now: u32,
    ) -> Step {
        debug_assert_eq!(hash, self.hash(key), "the hash is the key's");
        self.before_change(hash);
        let replaced = self.store.put(hash, key, Content::Text(text), expiry, now, KEEP);
        replaced_step::<KEEP>(key, replaced)
    }

    fn put<const KEEP: bool>(&mut self, key: &[u8], value: &Value, expiry: Expiry, now: u32) -> Step {
        if let Value::String(text) = value {
            return self.set::<KEEP>(self.hash(key), key, text, expiry, now);
        }
        if value.as_ref().is_empty() {
            debug_assert!(false, "collections are never empty");
            return Step::Nothing;
        }
        let hash = self.prepare(key);
        let replaced = self.store.put(hash, key, Content::Body(Body::from(value.clone())), expiry, now, KEEP);
        replaced_step::<KEEP>(key, replaced)
    }

    fn delete<const KEEP: bool>(&mut self, key: &[u8]) -> Step {
        let hash = self.prepare(key);
        if KEEP {
            self.store.take(hash, key).map_or(Step::Nothing, Step::Replaced)
        } else {
            self.store.remove(hash, key);
            Step::Nothing
        }
    }

    fn expire_at<const KEEP: bool>(&mut self, key: &[u8], at_ms: Option<i64>) -> Step {
        let hash = self.prepare(key);
        match self.store.set_expiry(hash, key, at_ms) {
            Some(old) if KEEP && old != at_ms => Step::Expiry { key: key.into(), old },
            _ => Step::Nothing,
        }
    }

    fn string_write<const KEEP: bool>(&mut self, key: &[u8], offset: u64, bytes: &[u8], now: u32) -> Step {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let Some(end) = offset.checked_add(bytes.len()).filter(|end| *end <= STRING_LEN_MAX) else {
            debug_assert!(false, "a string stays below its limit");
            return Step::Nothing;
        };
        let hash = self.prepare(key);
        let old = match self.store.get(hash, key).map(|found| found.value) {
            None => &[],
            Some(ValueRef::String(text)) => text,
            Some(_) => {
                debug_assert!(false, "only strings are written into");
                return Step::Nothing;
            }
        };
        if bytes.is_empty() {
            return Step::Nothing;
        }
        if self.store.is_long(hash, key) {
            return self.write_in_place::<KEEP>(hash, key, offset..end, bytes, now);
        }
        let mut text = Vec::with_capacity(end.max(old.len()));
        text.extend_from_slice(old);
        text.resize(end.max(old.len()), 0);
        text[offset..end].copy_from_slice(bytes);
        let replaced = self.store.put(hash, key, Content::Text(&text), Expiry::Keep, now, KEEP);
        replaced_step::<KEEP>(key, replaced)
    }

    /// Writes into a long string without copying the rest of it.
    fn write_in_place<const KEEP: bool>(
        &mut self,
        hash: u64,
        key: &[u8],
        place: core::ops::Range<usize>,
        bytes: &[u8],
        now: u32,
    ) -> Step {
        let written = self.store.edit(hash, key, now, |body| {
            let Body::Text(text) = body else {
                return Step::Nothing;
            };
            let old_len = text.len();
            let overwritten = place.start.min(old_len)..place.end.min(old_len);
            let old = if KEEP { Blob::from(&text[overwritten.clone()]) } else { Blob::default() };
            if place.end > old_len {
                text.resize(place.end, 0);
            }
            text[place].copy_from_slice(bytes);
            if KEEP {
                Step::Written { key: key.into(), offset: overwritten.start, old, old_len }
            } else {
                Step::Nothing
            }
        });
        written.unwrap_or(Step::Nothing)
    }

    fn counter_add<const KEEP: bool>(&mut self, key: &[u8], delta: i64, now: u32) -> Step {
        let hash = self.prepare(key);
        let old = match self.store.get(hash, key).map(|found| found.value) {
            None => Some(0),
            Some(ValueRef::String(text)) => parse_decimal(text),
            Some(_) => None,
        };
        let Some(sum) = old.and_then(|old| old.checked_add(delta)) else {
            debug_assert!(false, "counters are decimal integers and never overflow");
            return Step::Nothing;
        };
        let mut digits = [0; 20];
        let text = decimal(sum, &mut digits);
        let replaced = self.store.put(hash, key, Content::Text(text), Expiry::Keep, now, KEEP);
        replaced_step::<KEEP>(key, replaced)
    }

    fn rename<const KEEP: bool>(&mut self, from: &[u8], to: &[u8]) -> Step {
        let (from_hash, to_hash) = (self.prepare(from), self.prepare(to));
        let old = if from == to { None } else { self.store.take(to_hash, to) };
        let Some(image) = self.store.take(from_hash, from) else {
            debug_assert!(false, "a key that is renamed exists");
            if let Some(old) = old {
                self.store.restore(to_hash, old, None);
            }
            return Step::Nothing;
        };
        self.store.restore(to_hash, image, Some(to));
        if KEEP && from != to {
            Step::Renamed(Box::new(Renamed { from: from.into(), to: to.into(), old }))
        } else {
            Step::Nothing
        }
    }

    fn flush<const KEEP: bool>(&mut self) -> Step {
        if self.is_empty() {
            return Step::Nothing;
        }
        let contents = Arc::new(core::mem::replace(&mut self.store, Store::new(self.seed)));
        if let Some(walk) = &mut self.walk {
            walk.flushed(&contents);
        }
        self.moments.flushed(&contents, contents.bytes());
        if KEEP { Step::Flushed(contents) } else { Step::Nothing }
    }
}

pub(super) fn replaced_step<const KEEP: bool>(key: &[u8], replaced: Replaced) -> Step {
    match replaced {
        Replaced::Nothing if KEEP => Step::Created { key: key.into() },
        Replaced::Entry(Some(image)) => Step::Replaced(image),
        _ => Step::Nothing,
    }
}

/// The integer that a counter's text means: what [`decimal`] writes, nothing else.
pub(super) fn parse_decimal(text: &[u8]) -> Option<i64> {
    let value: i64 = core::str::from_utf8(text).ok()?.parse().ok()?;
    let mut digits = [0; 20];
    (decimal(value, &mut digits) == text).then_some(value)
}

/// Writes an integer in decimal into the end of `digits`.
pub(super) fn decimal(value: i64, digits: &mut [u8; 20]) -> &[u8] {
    let mut rest = value.unsigned_abs();
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    &digits[at..]
}
