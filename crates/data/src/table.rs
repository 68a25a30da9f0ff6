//! The state of one shard of a plain keyspace: keys, values, expiry.

use crate::operation::{End, Expiry, Operation};
use crate::value::{Blob, Value, ValueRef};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use indexmap::IndexMap;
use siphasher::sip::SipHasher13;

/// Seed of a hash table, drawn by whoever owns randomness: flooding needs the seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seed(pub u64, pub u64);

/// Hasher of the collections within values. Their seed is fixed per process start by the owner of randomness... 
#[derive(Clone, Copy, Default, Debug)]
pub struct Seeded;

impl BuildHasher for Seeded {
    type Hasher = SipHasher13;
    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(0x7465_7263_6574, 0x6861_7368)
    }
}

/// A key's value as a reader sees it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Found<'a> {
    pub value: ValueRef<'a>,
    pub expires_at_ms: Option<i64>,
}

/// What an operation replaced: enough to take it back. Held only for entries that are not committed yet.
#[derive(Debug)]
pub struct Undo(Vec<Step>);

#[derive(Debug)]
enum Step {
    Whole { key: Blob, old: Option<(Value, Option<i64>)> },
}

/// Invariant: `len` counts the keys, expired ones too until an `Expire` operation removes them.
pub struct Table {
    seed: Seed,
    entries: IndexMap<Blob, (Value, Option<i64>), Seeded>,
}
