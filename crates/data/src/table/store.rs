//! Key to entry, in hash order.

use super::Found;
use crate::operation::Expiry;
use crate::value::{Blob, Hash, List, Set, Value, ValueRef, ZSet};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

/// A value as the store owns it. Strings can grow in place.
#[derive(Debug)]
pub(super) enum Body {
    Text(Vec<u8>),
    Hash(Box<Hash>),
    List(Box<List>),
    Set(Box<Set>),
    ZSet(Box<ZSet>),
}

impl Body {
    pub(super) fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Body::Text(v) => ValueRef::String(v),
            Body::Hash(v) => ValueRef::Hash(v),
            Body::List(v) => ValueRef::List(v),
            Body::Set(v) => ValueRef::Set(v),
            Body::ZSet(v) => ValueRef::ZSet(v),
        }
    }
    fn bytes(&self) -> usize {
        match self {
            Body::Text(v) => v.capacity(),
            Body::Hash(v) => v.bytes(),
            Body::List(v) => v.bytes(),
            Body::Set(v) => v.bytes(),
            Body::ZSet(v) => v.bytes(),
        }
    }
}

impl From<Value> for Body {
    fn from(value: Value) -> Body {
        match value {
            Value::String(v) => Body::Text(v.into_vec()),
            Value::Hash(v) => Body::Hash(v),
            Value::List(v) => Body::List(v),
            Value::Set(v) => Body::Set(v),
            Value::ZSet(v) => Body::ZSet(v),
        }
    }
}

/// An entry that was taken out of the store: enough to put it back.
#[derive(Debug)]
pub(super) struct Image {
    key: Blob,
    body: Body,
    expires_at_ms: Option<i64>,
    access: AtomicU32,
}

impl Image {
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }
}

/// What [`Store::set`] met.
pub(super) enum Replaced {
    Nothing,
    /// The old entry, where the caller wanted it.
    Entry(Option<Image>),
}

#[derive(Default, Debug)]
pub(super) struct Store {
    entries: BTreeMap<u64, Vec<Image>>,
    expiries: BTreeSet<(i64, u64, Blob)>,
    len: usize,
    bytes: usize,
}

impl Store {
    pub(super) fn len(&self) -> usize {
        self.len
    }
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
    fn find(&self, hash: u64, key: &[u8]) -> Option<&Image> {
        self.entries.get(&hash)?.iter().find(|e| *e.key == *key)
    }
    fn find_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut Image> {
        self.entries.get_mut(&hash)?.iter_mut().find(|e| *e.key == *key)
    }
    pub(super) fn prefetch_index(&self, _hash: u64) {}
    pub(super) fn prefetch_entry(&self, _hash: u64) {}
    pub(super) fn get(&self, hash: u64, key: &[u8]) -> Option<Found<'_>> {
        self.find(hash, key).map(Image::found)
    }
    pub(super) fn touch(&self, hash: u64, key: &[u8], now_seconds: u32) {
        if let Some(e) = self.find(hash, key) {
            e.access.store(now_seconds, Ordering::Relaxed);
        }
    }
    pub(super) fn last_access(&self, hash: u64, key: &[u8]) -> Option<u32> {
        self.find(hash, key).map(|e| e.access.load(Ordering::Relaxed))
    }
    pub(super) fn memory_usage(&self, hash: u64, key: &[u8]) -> Option<usize> {
        self.find(hash, key).map(Image::bytes)
    }
    /// The key becomes a string.
    pub(super) fn set(
        &mut self,
        hash: u64,
        key: &[u8],
        text: &[u8],
        expiry: Expiry,
        now: u32,
        keep: bool,
    ) -> Replaced {
        self.put(hash, key, Body::Text(text.into()), expiry, now, keep)
    }
    /// The key becomes this value.
    pub(super) fn put(
        &mut self,
        hash: u64,
        key: &[u8],
        body: Body,
        expiry: Expiry,
        now: u32,
        keep: bool,
    ) -> Replaced {
        let old = self.take(hash, key);
        let expires_at_ms = match expiry {
            Expiry::Keep => old.as_ref().and_then(|e| e.expires_at_ms),
            Expiry::Never => None,
            Expiry::At(at) => Some(at),
        };
        self.restore(hash, Image { key: key.into(), body, expires_at_ms, access: AtomicU32::new(now) });
        match old {
            None => Replaced::Nothing,
            Some(old) => Replaced::Entry(keep.then_some(old)),
        }
    }
    /// Takes an entry out.
    pub(super) fn take(&mut self, hash: u64, key: &[u8]) -> Option<Image> {
        let list = self.entries.get_mut(&hash)?;
        let at = list.iter().position(|e| *e.key == *key)?;
        let image = list.remove(at);
        if list.is_empty() {
            self.entries.remove(&hash);
        }
        self.len -= 1;
        self.bytes -= image.bytes();
        if let Some(at) = image.expires_at_ms {
            self.expiries.remove(&(at, hash, key.into()));
        }
        Some(image)
    }
    /// Drops an entry; nothing happens when it is absent.
    pub(super) fn remove(&mut self, hash: u64, key: &[u8]) {
        self.take(hash, key);
    }
    /// Whether [`Store::edit`] can work on the key's value in place.
    pub(super) fn is_long(&self, hash: u64, key: &[u8]) -> bool {
        self.find(hash, key).is_some_and(|e| e.body.bytes() > 1024)
    }
    /// Puts an entry back; its key must be absent.
    pub(super) fn restore(&mut self, hash: u64, image: Image) {
        self.len += 1;
        self.bytes += image.bytes();
        if let Some(at) = image.expires_at_ms {
            self.expiries.insert((at, hash, image.key.clone()));
        }
        self.entries.entry(hash).or_default().push(image);
    }
    /// Puts an entry back under another name, which must be absent.
    pub(super) fn restore_as(&mut self, hash: u64, key: &[u8], image: Image) {
        self.restore(hash, Image { key: key.into(), ..image });
    }
    /// Replaces the expiry and returns the old one; `None` when there is no such key.
    pub(super) fn set_expiry(&mut self, hash: u64, key: &[u8], at: Option<i64>) -> Option<Option<i64>> {
        let mut image = self.take(hash, key)?;
        let old = core::mem::replace(&mut image.expires_at_ms, at);
        self.restore(hash, image);
        Some(old)
    }
    /// Works on a collection or a long string in place; `None` when the key is absent or its string is kept inline.
    pub(super) fn edit<R>(
        &mut self,
        hash: u64,
        key: &[u8],
        now: u32,
        edit: impl FnOnce(&mut Body) -> R,
    ) -> Option<R> {
        let image = self.find_mut(hash, key)?;
        let before = image.body.bytes();
        let result = edit(&mut image.body);
        *image.access.get_mut() = now;
        let after = image.body.bytes();
        self.bytes = self.bytes + after - before;
        Some(result)
    }
    pub(super) fn with_hash(&self, hash: u64, each: &mut dyn FnMut(&[u8], Found<'_>)) {
        for e in self.entries.get(&hash).into_iter().flatten() {
            each(&e.key, e.found());
        }
    }
    /// Shows the entries of one step of the walk in hash order and tells where the next step starts.
    pub(super) fn step(&self, from: u64, each: &mut dyn FnMut(u64, &[u8], Found<'_>)) -> Option<u64> {
        let mut next = None;
        for (hash, list) in self.entries.range(from..) {
            if *hash >> 16 != from >> 16 && *hash > from {
                if next.is_some_and(|n: u64| *hash >= n) {
                    return next;
                }
                next = ((*hash >> 16) + 1).checked_shl(16).filter(|n| *n != 0);
            }
            for e in list {
                each(*hash, &e.key, e.found());
            }
        }
        None
    }
    pub(super) fn random(&self, draw: u64) -> Option<(&[u8], Found<'_>)> {
        let at = self.entries.range(draw..).next().or_else(|| self.entries.iter().next());
        at.and_then(|(_, list)| list.first()).map(|e| (&*e.key, e.found()))
    }
    pub(super) fn expiring(&self, now_ms: i64, max: usize, each: &mut dyn FnMut(&[u8], i64)) {
        for (at, _, key) in self.expiries.iter().take(max).take_while(|(at, ..)| *at <= now_ms) {
            each(key, *at);
        }
    }
    pub(super) fn keys_with_expiry(&self) -> usize {
        self.expiries.len()
    }
}

impl Image {
    fn found(&self) -> Found<'_> {
        Found { value: self.body.as_ref(), expires_at_ms: self.expires_at_ms }
    }
    fn bytes(&self) -> usize {
        self.key.len() + self.body.bytes() + size_of::<Image>()
    }
}
