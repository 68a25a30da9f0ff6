//! Key to entry: the index, the entries and the order of expiries, kept in step.

use super::entry::{Content, Entries, Image};
use super::index::{Hashed, Index, Place};
use super::memory::Handle;
use super::outside::Body;
use super::{Found, Seed};
use crate::operation::Expiry;
use alloc::collections::BTreeSet;

/// What [`Store::put`] met.
pub(super) enum Replaced {
    Nothing,
    /// The old entry, where the caller wanted it.
    Entry(Option<Image>),
}

/// Invariant: `index` and `entries` hold the same handles, and `expiries` those of them that expire.
#[derive(Debug)]
pub(super) struct Store {
    index: Index,
    entries: Entries,
    expiries: BTreeSet<(i64, Handle)>,
}

impl Store {
    pub(super) fn new(seed: Seed) -> Store {
        Store { index: Index::default(), entries: Entries::new(seed), expiries: BTreeSet::new() }
    }
    pub(super) fn seed(&self) -> Seed {
        self.entries.seed()
    }
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }
    pub(super) fn bytes(&self) -> usize {
        // Nodes of the tree are about two thirds full.
        let expiries = self.expiries.len() * size_of::<(i64, Handle)>() * 3 / 2;
        self.index.bytes() + self.entries.bytes() + expiries
    }
    pub(super) fn prefetch_index(&self, hash: u64) {
        self.index.prefetch(hash);
    }
    pub(super) fn prefetch_entry(&self, hash: u64) {
        self.index.likely(hash, |handle| self.entries.prefetch(handle));
    }
    fn find(&self, hash: u64, key: &[u8]) -> Option<(Place, Handle)> {
        self.index.find(hash, |handle| self.entries.key(handle) == key)
    }
    pub(super) fn get(&self, hash: u64, key: &[u8]) -> Option<Found<'_>> {
        self.find(hash, key).map(|(_, handle)| self.entries.found(handle))
    }
    pub(super) fn touch(&self, hash: u64, key: &[u8], now_seconds: u32) {
        if let Some((_, handle)) = self.find(hash, key) {
            self.entries.touch(handle, now_seconds);
        }
    }
    pub(super) fn get_touched(&self, hash: u64, key: &[u8], now_seconds: u32) -> Option<Found<'_>> {
        let (_, handle) = self.find(hash, key)?;
        self.entries.touch(handle, now_seconds);
        Some(self.entries.found(handle))
    }
    pub(super) fn last_access(&self, hash: u64, key: &[u8]) -> Option<u32> {
        self.find(hash, key).map(|(_, handle)| self.entries.access(handle))
    }
    pub(super) fn memory_usage(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let (_, handle) = self.find(hash, key)?;
        Some(self.entries.entry_bytes(handle) + self.index.bytes() / self.len().max(1))
    }
    /// Whether [`Store::edit`] can work on the string under this key.
    pub(super) fn is_long(&self, hash: u64, key: &[u8]) -> bool {
        self.find(hash, key).is_some_and(|(_, handle)| self.entries.is_long_text(handle))
    }

    /// The key takes this value; the old entry is kept for the caller if he says so.
    pub(super) fn put(
        &mut self,
        hash: u64,
        key: &[u8],
        content: Content<'_>,
        expiry: Expiry,
        now: u32,
        keep: bool,
    ) -> Replaced {
        let Some((place, handle)) = self.find(hash, key) else {
            let expires_at_ms = if let Expiry::At(at) = expiry { Some(at) } else { None };
            let handle = self.entries.insert(key, content, expires_at_ms, now);
            self.index.insert(hash, handle, &self.entries);
            self.note_expiry(handle, None, expires_at_ms);
            return Replaced::Nothing;
        };
        let old_expiry = self.entries.expires_at_ms(handle);
        let expires_at_ms = match expiry {
            Expiry::Keep => old_expiry,
            Expiry::Never => None,
            Expiry::At(at) => Some(at),
        };
        let copied = if keep { self.entries.image(handle) } else { None };
        if let Content::Text(text) = &content
            && self.entries.set_text_in_place(handle, key, text, expires_at_ms, now)
        {
            self.note_expiry(handle, old_expiry, expires_at_ms);
            return Replaced::Entry(copied);
        }
        self.note_expiry(handle, old_expiry, None);
        let old = if copied.is_some() || !keep {
            self.entries.remove(handle);
            copied
        } else {
            Some(self.entries.take(handle))
        };
        let handle = self.entries.insert(key, content, expires_at_ms, now);
        self.index.replace(place, handle);
        self.note_expiry(handle, None, expires_at_ms);
        Replaced::Entry(old)
    }
    /// Takes an entry out.
    pub(super) fn take(&mut self, hash: u64, key: &[u8]) -> Option<Image> {
        let (place, handle) = self.find(hash, key)?;
        self.index.remove(hash, place, &self.entries);
        self.note_expiry(handle, self.entries.expires_at_ms(handle), None);
        Some(self.entries.take(handle))
    }
    /// Drops an entry; nothing happens when it is absent.
    pub(super) fn remove(&mut self, hash: u64, key: &[u8]) {
        if let Some((place, handle)) = self.find(hash, key) {
            self.index.remove(hash, place, &self.entries);
            self.note_expiry(handle, self.entries.expires_at_ms(handle), None);
            self.entries.remove(handle);
        }
    }
    /// Puts an entry back, under another key if one is given; that key must be absent.
    pub(super) fn restore(&mut self, hash: u64, image: Image, key: Option<&[u8]>) {
        let expires_at_ms = image.expires_at_ms;
        let handle = self.entries.restore(image, key);
        self.index.insert(hash, handle, &self.entries);
        self.note_expiry(handle, None, expires_at_ms);
    }
    /// Replaces the expiry and returns the old one; `None` when there is no such key.
    pub(super) fn set_expiry(&mut self, hash: u64, key: &[u8], at_ms: Option<i64>) -> Option<Option<i64>> {
        let (place, handle) = self.find(hash, key)?;
        let old = self.entries.expires_at_ms(handle);
        if let Some(at) = at_ms
            && self.entries.set_expiry_in_place(handle, at)
        {
            self.note_expiry(handle, old, at_ms);
        } else if old != at_ms {
            self.note_expiry(handle, old, None);
            let mut image = self.entries.take(handle);
            image.expires_at_ms = at_ms;
            let handle = self.entries.restore(image, None);
            self.index.replace(place, handle);
            self.note_expiry(handle, None, at_ms);
        }
        Some(old)
    }
    /// Works on a collection or a long string in place; `None` when the key is absent or holds a short string.
    pub(super) fn edit<R>(
        &mut self,
        hash: u64,
        key: &[u8],
        now: u32,
        edit: impl FnOnce(&mut Body) -> R,
    ) -> Option<R> {
        let (_, handle) = self.find(hash, key)?;
        self.entries.edit(handle, now, edit)
    }
    /// Puts bytes of equal length in the place of a string's, and nothing else: see [`super::Table::damage`].
    pub(super) fn overwrite_text(&mut self, hash: u64, key: &[u8], text: &[u8]) {
        let Some((_, handle)) = self.find(hash, key) else { return };
        let (expires_at_ms, access) = (self.entries.expires_at_ms(handle), self.entries.access(handle));
        if !self.entries.set_text_in_place(handle, key, text, expires_at_ms, access) {
            self.entries.edit(handle, access, |body| {
                if let Body::Text(old) = body {
                    old.copy_from_slice(text);
                }
            });
        }
    }
    fn note_expiry(&mut self, handle: Handle, old: Option<i64>, new: Option<i64>) {
        if old == new {
            return;
        }
        if let Some(at) = old {
            self.expiries.remove(&(at, handle));
        }
        if let Some(at) = new {
            self.expiries.insert((at, handle));
        }
    }

    /// Shows all entries under this hash.
    pub(super) fn with_hash(&self, hash: u64, each: &mut dyn FnMut(&[u8], Found<'_>)) {
        self.index.find(hash, |handle| {
            if self.entries.hash_of(handle) == hash {
                each(self.entries.key(handle), self.entries.found(handle));
            }
            false
        });
    }
    /// Shows the entries of one bucket, those before `from` left out, and tells where the next bucket starts.
    pub(super) fn step(&self, from: u64, each: &mut dyn FnMut(&[u8], Found<'_>)) -> Option<u64> {
        let begin = self.index.bucket_begin(from);
        self.index.bucket(from, |handle| self.entries.prefetch(handle));
        self.index.bucket(from, |handle| {
            // A cursor from before a shrink may point into a bucket: what lies before it was shown already.
            if from == begin || self.entries.hash_of(handle) >= from {
                each(self.entries.key(handle), self.entries.found(handle));
            }
        })
    }
    /// Some entry: one of the first bucket from the place that `draw` names that is not empty.
    pub(super) fn random(&self, draw: u64) -> Option<(&[u8], Found<'_>)> {
        if self.len() == 0 {
            return None;
        }
        let mut from = draw;
        loop {
            let mut count = 0;
            let next = self.index.bucket(from, |_| count += 1);
            if count > 0 {
                // The top bits chose the bucket.
                let chosen = (draw & 0xffff) as usize % count;
                let (mut at, mut handle) = (0, None);
                self.index.bucket(from, |candidate| {
                    if at == chosen {
                        handle = Some(candidate);
                    }
                    at += 1;
                });
                return handle.map(|handle| (self.entries.key(handle), self.entries.found(handle)));
            }
            from = next.unwrap_or(0);
        }
    }
    pub(super) fn expiring(&self, now_ms: i64, max: usize, each: &mut dyn FnMut(&[u8], i64)) {
        for (at, handle) in self.expiries.iter().take(max).take_while(|(at, _)| *at <= now_ms) {
            each(self.entries.key(*handle), *at);
        }
    }
    pub(super) fn keys_with_expiry(&self) -> usize {
        self.expiries.len()
    }
}
