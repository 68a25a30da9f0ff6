//! A walk that writes the state of one moment while writers go on.
//!
//! The walk passes the keys in hash order. A writer that is about to change a key the walk has not reached yet first
//! writes the key's old form aside, and the walk leaves out that hash when it comes by. So each key is written exactly as
//! it was when the walk began, and a key that was made later is not written at all.

use super::store::Store;
use super::{Found, Table, hash_key};
use crate::codec::Writer;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::{BuildHasherDefault, Hasher};
use hashbrown::HashSet;

/// A key's hash is one already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Invariant: every key of the moment is in exactly one of: written (hash below `from`), `aside` or `out` before (hash in
/// `changed`), or still in the walked store as it was then.
pub(super) struct Walk {
    /// The next hash to visit; `None` behind the last one.
    from: Option<u64>,
    /// Hashes of which a writer changed a key before the walk came by: all keys of the moment with this hash lie in `aside`.
    changed: HashSet<u64, BuildHasherDefault<AsItIs>>,
    /// Old forms of changed keys that were not handed out yet.
    aside: Vec<u8>,
    /// The contents of the moment when a flush took them out of the table.
    flushed: Option<Arc<Store>>,
}

impl Walk {
    pub(super) fn bytes(&self) -> usize {
        let flushed = self.flushed.as_ref().map_or(0, |store| store.bytes());
        self.aside.capacity() + self.changed.capacity() * 9 + flushed
    }
    /// A writer is about to change a key with this hash.
    pub(super) fn before_change(&mut self, store: &Store, hash: u64) {
        if self.flushed.is_some() || self.from.is_none_or(|from| hash < from) || !self.changed.insert(hash) {
            return;
        }
        let aside = &mut self.aside;
        store.with_hash(hash, &mut |key, found| encode_key(aside, key, found));
    }
    /// A flush takes the contents; the walk goes on in them unless it already walks those of an earlier flush.
    pub(super) fn flushed(&mut self, contents: &Arc<Store>) {
        if self.flushed.is_none() && self.from.is_some() {
            self.flushed = Some(Arc::clone(contents));
        }
    }
    /// A flush is taken back. When it came after the beginning of the walk, the walk goes on in the table, whose contents
    /// are again those it walked. When it came before, everything of the moment has been taken back since and lies aside.
    pub(super) fn flush_undone(&mut self, contents: &Arc<Store>) {
        match &self.flushed {
            Some(walked) if Arc::ptr_eq(walked, contents) => self.flushed = None,
            Some(_) => {}
            None => self.from = None,
        }
    }
    fn step(&mut self, live: &Store, budget_bytes: usize, out: &mut Vec<u8>) -> bool {
        let end = out.len().saturating_add(budget_bytes.max(1));
        out.append(&mut self.aside);
        while out.len() < end
            && let Some(from) = self.from
        {
            let changed = &self.changed;
            let store = self.flushed.as_deref().unwrap_or(live);
            self.from = store.step(from, &mut |key, found| {
                if changed.is_empty() || !changed.contains(&hash_key(store.seed(), key)) {
                    encode_key(out, key, found);
                }
            });
        }
        self.from.is_none()
    }
}

/// The form of one key in snapshots: key, expiry, value.
pub(super) fn encode_key(out: &mut Vec<u8>, key: &[u8], found: Found<'_>) {
    let mut w = Writer::new(out);
    w.bytes(key);
    w.option(found.expires_at_ms, |w, at| w.i64(at));
    found.value.encode(&mut w);
}

impl Table {
    /// Begins a walk over the state of this moment, operations that may yet be taken back included: whoever wants a
    /// committed state takes those back first and applies them again after. A walk under way is abandoned.
    pub fn begin_snapshot(&mut self) {
        self.walk =
            Some(Walk { from: Some(0), changed: HashSet::default(), aside: Vec::new(), flushed: None });
    }
    /// Appends the next whole keys, some `budget_bytes` of them (more when one value is larger), and tells whether the
    /// walk is finished. Without a walk it is.
    pub fn snapshot_step(&mut self, budget_bytes: usize, out: &mut Vec<u8>) -> bool {
        let Some(walk) = &mut self.walk else {
            return true;
        };
        let finished = walk.step(&self.store, budget_bytes, out);
        if finished {
            self.walk = None;
        }
        finished
    }
    /// Ends the walk early.
    pub fn abandon_snapshot(&mut self) {
        self.walk = None;
    }
    /// Whether a walk is under way.
    pub fn is_walked(&self) -> bool {
        self.walk.is_some()
    }
    /// Every change of a key goes through here first.
    pub(super) fn before_change(&mut self, hash: u64) {
        if let Some(walk) = &mut self.walk {
            walk.before_change(&self.store, hash);
        }
        if !self.moments.is_empty() {
            self.keep_for_moments(hash);
        }
    }
}
