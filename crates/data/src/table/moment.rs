//! The table as it was at a moment that a reader holds open.
// catalogue: J16

use super::store::Store;
use super::{Found, Table, hash_key};
use crate::Index;
use crate::moments::Moment;
use crate::value::{Blob, Value};
use alloc::vec::Vec;

/// A key's value as it was, and its expiry.
pub(super) type Kept = (Value, Option<i64>);

/// How often a random choice is made anew that met a key which was changed since.
const RANDOM_TRIES: u64 = 100;

/// All keys at one moment. Whatever happens to the table, it shows the same.
pub struct TableMoment<'t> {
    table: &'t Table,
    moment: &'t Moment<Kept, Store>,
}

impl Table {
    /// Begins to keep the state of now for readers, under an id that was never used before; `index` is that of the newest operation
    /// in it. Operations that may yet be taken back are part of it: see [`Table::end_moments`].
    pub fn open_moment(&mut self, id: u64, index: Index) {
        self.moments.open(id, index, self.store.len());
    }
    pub fn close_moment(&mut self, id: u64) {
        self.moments.close(id);
    }
    /// `None`: it was closed; or it ended, as too much was changed since, or as what it shows was taken back.
    pub fn moment(&self, id: u64) -> Option<TableMoment<'_>> {
        self.moments.get(id).map(|moment| TableMoment { table: self, moment })
    }
    /// Operations behind this index are taken back: moments that show them end.
    pub fn end_moments(&mut self, through: Index) {
        self.moments.end_behind(through);
    }
    /// Bytes that are kept for moments, about.
    pub fn moment_bytes(&self) -> usize {
        self.moments.bytes()
    }
    pub(super) fn keep_for_moments(&mut self, hash: u64) {
        let store = &self.store;
        let bytes = || {
            let mut bytes = 0;
            store.with_hash(hash, &mut |key, _| bytes += store.memory_usage(hash, key).unwrap_or(0));
            bytes
        };
        self.moments.before_change(hash, bytes, || {
            let mut kept = Vec::new();
            store.with_hash(hash, &mut |key, found| {
                kept.push((Blob::from(key), (found.value.to_value(), found.expires_at_ms)));
            });
            kept
        });
    }
}

fn found((value, expires_at_ms): &Kept) -> Found<'_> {
    Found { value: value.as_ref(), expires_at_ms: *expires_at_ms }
}

impl<'t> TableMoment<'t> {
    /// The newest entry that it shows.
    pub fn index(&self) -> Index {
        self.moment.index()
    }
    /// Bytes that are kept for it, about.
    pub fn bytes(&self) -> usize {
        self.moment.bytes()
    }
    /// Number of keys.
    pub fn len(&self) -> usize {
        self.moment.keys()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    fn store(&self) -> &'t Store {
        self.moment.flushed().map_or(&self.table.store, |flushed| flushed)
    }
    pub fn get(&self, key: &[u8]) -> Option<Found<'t>> {
        let hash = self.table.hash(key);
        match self.moment.at(hash) {
            Some(kept) => kept.iter().find(|(name, _)| **name == *key).map(|(_, kept)| found(kept)),
            None => self.store().get(hash, key),
        }
    }
    /// As [`Table::scan`].
    pub fn scan(&self, cursor: u64, each: &mut dyn FnMut(&[u8], Found<'_>)) -> u64 {
        if cursor >> (64 - super::CURSOR_SHIFT) != 0 {
            return 0; // Not a cursor of ours.
        }
        let from = cursor << super::CURSOR_SHIFT;
        let seed = self.table.seed();
        let next = self.store().step(from, &mut |key, found| {
            if !self.moment.is_changed(hash_key(seed, key)) {
                each(key, found);
            }
        });
        for (_, (key, kept)) in self.moment.changed(from, next) {
            each(key, found(kept));
        }
        next.map_or(0, |next| next >> super::CURSOR_SHIFT)
    }
    /// Some key, chosen by `draw`. One that was changed since has a smaller chance than others.
    pub fn random(&self, draw: u64) -> Option<(&'t [u8], Found<'t>)> {
        let store: &'t Store = self.store();
        let drawn = (0..RANDOM_TRIES).map(|n| draw.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let unchanged = drawn
            .filter_map(|draw| store.random(draw))
            .find(|(key, _)| !self.moment.is_changed(self.table.hash(key)));
        let kept = || self.moment.changed(0, None).next().map(|(_, (key, kept))| (&**key, found(kept)));
        unchanged.or_else(kept)
    }
    /// Bytes of memory that the key takes, where it is unchanged.
    pub fn memory_usage(&self, key: &[u8]) -> Option<usize> {
        let hash = self.table.hash(key);
        if self.moment.is_changed(hash) { None } else { self.store().memory_usage(hash, key) }
    }
    pub fn last_access_seconds(&self, key: &[u8]) -> Option<u32> {
        let hash = self.table.hash(key);
        if self.moment.is_changed(hash) { None } else { self.store().last_access(hash, key) }
    }
}
