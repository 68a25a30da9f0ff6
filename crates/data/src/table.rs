//! The state of one shard of a plain keyspace: keys, values, expiry.
//!
//! Every replica applies the same operations with the same function, so equal histories give equal states. Keys are walked
//! in the order of their seeded hash: a scan's cursor is a place in that order, so it survives growth, shrinking and a
//! failover to another replica with the same seed.
//!
//! | file | role |
//! |---|---|
//! | `store` | key to entry: index, entries and order of expiries, kept in step |
//! | `index` | hash to handles in hash order: buckets of a cache line, grown and shrunk a piece at a time |
//! | `entry` | the layout of a key with its value in a slot |
//! | `memory` | pages of equal slots, named by 32-bit handles |
//! | `outside` | collections and long strings, by number |
//! | `apply` | what each operation does, and what is kept to take it back |
//! | `undo` | taking operations back |
//! | `collections` | the part of both that works on hashes, lists, sets and sorted sets |
//! | `snapshot` | the walk that writes the state of one moment while writers go on |
//! | `moment` | the state of a moment that a reader holds open |
//! | `before` | images of what an operation is about to change, for the row log |
//! | `image` | whole values for the physical log, and their digests |
//! | `range` | sums over ranges of keys, by which copies are compared |

mod apply;
mod before;
mod collections;
mod entry;
mod image;
mod index;
mod memory;
mod moment;
mod outside;
mod range;
mod seeded;
mod snapshot;
mod store;
mod undo;

use crate::codec::{DecodeError, Reader};
use crate::moments::Moments;
use crate::operation::{Expiry, Operation};
use crate::value::{Value, ValueRef};
use siphasher::sip::SipHasher13;

pub use image::digest;
pub use moment::TableMoment;
pub use range::{HashRange, RangeSum};
pub use seeded::{Seeded, set_collection_seed};
pub use undo::Undo;

use entry::Content;
use outside::Body;
use snapshot::Walk;
use store::Store;

/// Seed of a hash table, drawn by whoever owns randomness: flooding needs the seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seed(pub u64, pub u64);

/// A key's value as a reader sees it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Found<'a> {
    pub value: ValueRef<'a>,
    pub expires_at_ms: Option<i64>,
}

/// A string never grows beyond this: 512 MB, as in Redis. Commands refuse it first.
pub const STRING_LEN_MAX: usize = 512 << 20;

/// Bits of a hash that a scan cursor leaves out, so that clients which keep cursors in a double read them exactly.
const CURSOR_SHIFT: u32 = 16;

/// All keys of one shard.
///
/// Expired keys count and are found like others until an `Expire` operation removes them: callers judge.
pub struct Table {
    seed: Seed,
    store: Store,
    walk: Option<Walk>,
    moments: Moments<moment::Kept, Store>,
}

impl Table {
    pub fn new(seed: Seed) -> Table {
        Table { seed, store: Store::new(seed), walk: None, moments: Moments::default() }
    }
    pub fn seed(&self) -> Seed {
        self.seed
    }
    /// Number of keys.
    pub fn len(&self) -> usize {
        self.store.len()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    pub fn get(&self, key: &[u8]) -> Option<Found<'_>> {
        self.get_hashed(self.hash(key), key)
    }
    /// A key's place in the walk order.
    pub fn hash(&self, key: &[u8]) -> u64 {
        hash_key(self.seed, key)
    }
    /// First half of a batched look-up: asks the processor for the index line of a key that is about to be looked up.
    pub fn prefetch(&self, hash: u64) {
        self.store.prefetch_index(hash);
    }
    /// Second half of a batched look-up, some dozens of nanoseconds after [`Table::prefetch`]: asks for the key's entry.
    pub fn prefetch_entry(&self, hash: u64) {
        self.store.prefetch_entry(hash);
    }
    /// As [`Table::get`], with the hash that [`Table::hash`] gave for this key.
    pub fn get_hashed(&self, hash: u64, key: &[u8]) -> Option<Found<'_>> {
        self.store.get(hash, key)
    }
    /// As [`Table::get_hashed`], and notes that the key was read.
    pub fn get_touched(&self, hash: u64, key: &[u8], now_seconds: u32) -> Option<Found<'_>> {
        self.store.get_touched(hash, key, now_seconds)
    }

    /// Applies an operation that may have to be taken back: what it replaced is moved into the result.
    pub fn apply(&mut self, operation: &Operation<'_>, now_seconds: u32) -> Undo {
        Undo(self.change::<true>(operation, now_seconds))
    }
    /// Applies an operation that is known to be committed: what it replaced is dropped.
    pub fn apply_committed(&mut self, operation: &Operation<'_>, now_seconds: u32) {
        self.change::<false>(operation, now_seconds);
    }
    /// As [`Table::apply`], with the hash of the operation's first key: for batches that prefetched by it.
    pub fn apply_hashed(&mut self, hash: u64, operation: &Operation<'_>, now_seconds: u32) -> Undo {
        Undo(self.change_hashed::<true>(hash, operation, now_seconds))
    }
    /// As [`Table::apply_committed`], with the hash of the operation's first key.
    pub fn apply_committed_hashed(&mut self, hash: u64, operation: &Operation<'_>, now_seconds: u32) {
        self.change_hashed::<false>(hash, operation, now_seconds);
    }

    /// One step of a walk over all keys. Starts with 0; the answer is the cursor of the next step, 0 at the end. A key
    /// that exists during the whole walk is shown exactly once, whatever else happens to the table. Cursors lie below
    /// 2^48.
    pub fn scan(&self, cursor: u64, each: &mut dyn FnMut(&[u8], Found<'_>)) -> u64 {
        if cursor >> (64 - CURSOR_SHIFT) != 0 {
            return 0; // Not a cursor of ours.
        }
        let from = cursor << CURSOR_SHIFT;
        self.store.step(from, each).map_or(0, |next| next >> CURSOR_SHIFT)
    }
    /// Some key, chosen by `draw`; every key has about the same chance.
    pub fn random(&self, draw: u64) -> Option<(&[u8], Found<'_>)> {
        self.store.random(draw)
    }
    /// Bytes of memory that a key takes: its entry, its value and its share of the index.
    pub fn memory_usage(&self, key: &[u8]) -> Option<usize> {
        self.store.memory_usage(self.hash(key), key)
    }
    /// Bytes of memory of the whole table; collections are estimated.
    pub fn bytes(&self) -> usize {
        self.store.bytes() + self.walk.as_ref().map_or(0, Walk::bytes) + self.moments.bytes()
    }
    /// Notes that a key was read.
    pub fn touch(&self, key: &[u8], now_seconds: u32) {
        self.touch_hashed(self.hash(key), key, now_seconds);
    }
    pub fn touch_hashed(&self, hash: u64, key: &[u8], now_seconds: u32) {
        self.store.touch(hash, key, now_seconds);
    }
    /// When the key was last read ([`Table::touch`]) or written, in the caller's seconds.
    pub fn last_access_seconds(&self, key: &[u8]) -> Option<u32> {
        self.store.last_access(self.hash(key), key)
    }
    /// Up to `max` keys whose expiry is not after `now_ms`, earliest first. Costs what it finds.
    pub fn expiring(&self, now_ms: i64, max: usize, each: &mut dyn FnMut(&[u8], i64)) {
        self.store.expiring(now_ms, max, each);
    }
    pub fn keys_with_expiry(&self) -> usize {
        self.store.keys_with_expiry()
    }

    /// Puts back one key of a snapshot; one that is there already is replaced.
    pub fn insert_loaded(&mut self, key: &[u8], value: Value, expires_at_ms: Option<i64>) {
        let expiry = expires_at_ms.map_or(Expiry::Never, Expiry::At);
        let hash = self.prepare(key);
        let content = match &value {
            Value::String(text) => Content::Text(text),
            _ => Content::Body(Body::from(value)),
        };
        self.store.put(hash, key, content, expiry, 0, false);
    }
    /// Puts back all keys of a piece of a snapshot ([`Table::snapshot_step`] ends pieces between keys).
    pub fn load(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        while !reader.is_empty() {
            let key = reader.bytes()?;
            let expires_at_ms = reader.option(|r| r.i64())?;
            let value = Value::decode(reader)?;
            self.insert_loaded(key, value, expires_at_ms);
        }
        Ok(())
    }

    /// A keyed sum over all keys, values, member orders and expiries: equal for equal states under one seed, however they
    /// came about. Computed by a walk: for checks, not for hot paths.
    pub fn state_hash(&self) -> u64 {
        self.range_sum(HashRange::default()).sum
    }
}

fn hash_key(seed: Seed, key: &[u8]) -> u64 {
    SipHasher13::new_with_keys(seed.0, seed.1).hash(key)
}
