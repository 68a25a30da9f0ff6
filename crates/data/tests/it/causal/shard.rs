//! A shard: many keys under one context, so that a deleted key needs no tombstone of its own.

use super::keys::{Key, KeyOp};
use super::world::{Draw, Subject, actor};
use data::WallInterval;
use data::causal::{Causal, Context, HybridClock, Losers, Minter, Object, Stamp, Store, Write};
use data::table::Seed;
use std::collections::{BTreeMap, BTreeSet};

type Name = &'static str;

struct Copy {
    keys: BTreeMap<Name, Object>,
    context: Context,
    minter: Minter,
    clock: HybridClock,
}

impl Copy {
    fn new(replica: usize) -> Copy {
        Copy {
            keys: BTreeMap::new(),
            context: Context::new(),
            minter: Minter::new(actor(replica), 0),
            clock: HybridClock::new(Stamp(0), 1 << 40),
        }
    }
    fn join(&mut self, key: Name, store: &Object, theirs: &Context) {
        let object = self.keys.entry(key).or_default();
        object.join(&self.context, store, theirs, &mut Losers::default());
        if object.is_bottom() {
            self.keys.remove(key);
        }
    }
    fn apply(&mut self, key: Name, delta: &Causal<Object>) {
        if let Some(stamp) = delta.newest_stamp() {
            self.clock.observe(stamp, WallInterval::default()).expect("in time");
        }
        self.join(key, &delta.store, &delta.context);
        self.context.merge(&delta.context);
    }
    /// Takes over another copy: its context only after every key.
    fn take(&mut self, keys: &BTreeMap<Name, Object>, context: &Context) {
        let names: BTreeSet<Name> = self.keys.keys().chain(keys.keys()).copied().collect();
        for name in names {
            self.join(name, keys.get(name).unwrap_or(&Object::default()), context);
        }
        self.context.merge(context);
    }
    fn hash(&self) -> u64 {
        let hashes = self.keys.iter().map(|(key, object)| object.state_hash(Seed(5, 6), key.as_bytes()));
        hashes.fold(0, u64::wrapping_add)
    }
    fn write(&mut self, key: Name, operation: &KeyOp, n: usize) -> Causal<Object> {
        let stamp = self.clock.mint(WallInterval::default()).expect("in time");
        let mut write = Write::new(&mut self.minter, stamp);
        let nothing = Object::default();
        let object = self.keys.get(key).unwrap_or(&nothing);
        let delta = Key::mutate(object, &mut write, operation, n);
        self.apply(key, &delta);
        delta
    }
}

/// Every key of a shard is what it would be with a context of its own, after losses, repeats and exchanges of copies.
#[test]
fn one_context_serves_all_keys() {
    for seed in 0..150 {
        let mut draw = Draw(seed);
        let mut copies: Vec<Copy> = (0..3).map(Copy::new).collect();
        // The same keys with contexts of their own.
        let mut alone: Vec<BTreeMap<Name, Causal<Object>>> = vec![BTreeMap::new(); 3];
        let mut deltas: Vec<(Name, Causal<Object>)> = Vec::new();
        for n in 0..60 {
            let at = draw.below(3);
            match draw.below(3) {
                0 => {
                    let key = draw.pick(&["j", "k", "l"]);
                    let delta = copies[at].write(key, &Key::draw(&mut draw), n);
                    alone[at].entry(key).or_default().merge(&delta);
                    deltas.push((key, delta));
                }
                1 if !deltas.is_empty() => {
                    let (key, delta) = draw.pick(&deltas);
                    copies[at].apply(key, &delta);
                    alone[at].entry(key).or_default().merge(&delta);
                }
                2 if draw.below(4) == 0 => {
                    let (keys, context) =
                        (copies[(at + 1) % 3].keys.clone(), copies[(at + 1) % 3].context.clone());
                    copies[at].take(&keys, &context);
                    for (key, state) in alone[(at + 1) % 3].clone() {
                        alone[at].entry(key).or_default().merge(&state);
                    }
                }
                _ => {}
            }
            for (key, state) in &alone[at] {
                let held = copies[at].keys.get(key).cloned().unwrap_or_default();
                assert_eq!(held, state.store, "seed {seed}, {key}");
            }
        }
        for round in 0..6 {
            let (keys, context) = (copies[round % 3].keys.clone(), copies[round % 3].context.clone());
            copies.iter_mut().for_each(|copy| copy.take(&keys, &context));
        }
        assert!(copies.iter().all(|copy| copy.keys == copies[0].keys && copy.hash() == copies[0].hash()));
    }
}

/// A delete leaves nothing behind, and still an old copy, or an old delta, does not bring the key back (LL-05,
/// LL-17).
#[test]
fn a_deleted_key_is_gone_and_stays_gone() {
    let (mut a, mut b) = (Copy::new(0), Copy::new(1));
    let set = a.write("k", &KeyOp::Set("10", data::Expiry::Never), 0);
    let add = a.write("k", &KeyOp::Member("m"), 1);
    b.apply("k", &add);
    b.apply("k", &set);
    let (old_keys, old_context) = (b.keys.clone(), b.context.clone());
    let delete = a.write("k", &KeyOp::Delete, 2);
    assert!(a.keys.is_empty());
    a.apply("k", &set);
    a.take(&old_keys, &old_context);
    assert!(a.keys.is_empty());
    b.apply("k", &delete);
    assert!(b.keys.is_empty());
}

/// An old delete arrives after the key was made anew: the new one stays (LL-10).
#[test]
fn a_key_made_anew_outlives_the_old_delete() {
    let (mut a, mut b) = (Copy::new(0), Copy::new(1));
    let set = a.write("k", &KeyOp::Set("10", data::Expiry::Never), 0);
    b.apply("k", &set);
    let delete = b.write("k", &KeyOp::Delete, 1);
    a.apply("k", &delete);
    let anew = a.write("k", &KeyOp::Set("20", data::Expiry::Never), 2);
    a.apply("k", &delete);
    b.apply("k", &anew);
    b.apply("k", &delete);
    for copy in [&a, &b] {
        let text = copy.keys["k"].as_text().and_then(|text| text.shown().map(|text| text.into_owned()));
        assert_eq!(text.as_deref(), Some(&b"20"[..]));
    }
}

/// A delta of one member or of the expiry does not look at the rest of the key: were its context to name another
/// member, that one would stay. So EXPIRE, SADD and HSET cost what they touch, however large the key is.
#[test]
fn a_delta_visits_what_it_names() {
    let mut a = Copy::new(0);
    let first = a.write("k", &KeyOp::Member("m"), 0);
    a.write("k", &KeyOp::Field("f"), 1);
    for operation in [KeyOp::Member("n"), KeyOp::Expire(2_000), KeyOp::NoMember("n"), KeyOp::Field("f")] {
        let mut delta = a.write("k", &operation, 2);
        delta.context.merge(&first.context);
        a.apply("k", &delta);
        assert!(a.keys["k"].as_set().is_some_and(|set| set.entry(b"m").is_some()), "{operation:?}");
    }
    a.write("k", &KeyOp::Delete, 3);
    assert!(a.keys.is_empty());
}

/// A hundred thousand clients write one key through three replicas: what the key carries is of the size of three
/// (LL-13).
#[test]
fn metadata_is_bounded_by_replicas() {
    let mut copies: Vec<Copy> = (0..3).map(Copy::new).collect();
    for client in 0..100_000 {
        let operation = match client % 7 {
            0 => KeyOp::Set("10", data::Expiry::Never),
            1 => KeyOp::Member("m"),
            2 => KeyOp::Expire(2_000),
            _ => KeyOp::Increment,
        };
        let delta = copies[client % 3].write("k", &operation, client);
        copies[(client + 1) % 3].apply("k", &delta);
        copies[(client + 2) % 3].apply("k", &delta);
    }
    for copy in &copies {
        let whole = Causal { store: copy.keys["k"].clone(), context: Context::new() };
        let length = super::world::bytes(&whole).len();
        assert!(length < 130, "{length} bytes");
        assert_eq!(copy.context.ranges().count(), 3, "a context without holes is a vector");
    }
}
