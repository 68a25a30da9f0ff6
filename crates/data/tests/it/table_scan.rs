//! Cursors survive growth, shrinking and a change of the replica that answers.

use data::table::{Seed, Table};
use data::{Expiry, Operation};
use std::collections::BTreeMap;

fn key(n: u64) -> Vec<u8> {
    format!("key:{n}").into_bytes()
}
fn set(table: &mut Table, n: u64) {
    let value = n.to_le_bytes().to_vec();
    table.apply_committed(
        &Operation::Set { key: key(n).into(), value: value.into(), expiry: Expiry::Never },
        0,
    );
}
fn delete(table: &mut Table, n: u64) {
    table.apply_committed(&Operation::Delete { key: key(n).into() }, 0);
}

/// Walks while `between` changes the table after every step; counts how often each key was shown.
fn walk(table: &mut Table, mut between: impl FnMut(&mut Table)) -> BTreeMap<Vec<u8>, u32> {
    let mut shown = BTreeMap::new();
    let mut cursor = 0;
    loop {
        cursor = table.scan(cursor, &mut |key, _| *shown.entry(key.to_vec()).or_insert(0) += 1);
        if cursor == 0 {
            return shown;
        }
        between(table);
    }
}

#[test]
fn a_walk_through_growth_shows_every_key_once() {
    let mut table = Table::new(Seed(5, 6));
    (0..2_000).for_each(|n| set(&mut table, n));
    let mut next = 2_000;
    let shown = walk(&mut table, |table| {
        let end = (next + 100).min(40_000);
        (next..end).for_each(|n| set(table, n));
        next = end;
    });
    assert!(next > 3_000, "the table grew during the walk");
    assert!((0..2_000).all(|n| shown.get(&key(n)) == Some(&1)));
    assert!(shown.values().all(|times| *times == 1));
}

#[test]
fn a_walk_through_shrinking_shows_every_kept_key_once() {
    let mut table = Table::new(Seed(5, 6));
    (0..40_000).for_each(|n| set(&mut table, n));
    let mut next = 1_000;
    let shown = walk(&mut table, |table| {
        let end = (next + 300).min(40_000);
        (next..end).for_each(|n| delete(table, n));
        next = end;
    });
    assert_eq!(table.len(), 1_000 + (40_000 - next) as usize);
    assert!((0..1_000).all(|n| shown.get(&key(n)) == Some(&1)));
    assert!(shown.values().all(|times| *times == 1));
}

#[test]
fn a_cursor_goes_on_at_another_replica() {
    let (mut leader, mut follower) = (Table::new(Seed(5, 6)), Table::new(Seed(5, 6)));
    (0..5_000).for_each(|n| set(&mut leader, n));
    // The follower has seen more and dropped it: its table has another shape.
    (0..60_000).rev().for_each(|n| set(&mut follower, n));
    (5_000..60_000).for_each(|n| delete(&mut follower, n));
    let mut shown = BTreeMap::new();
    let mut cursor = 0;
    for turn in 0.. {
        let table = if turn % 2 == 0 { &leader } else { &follower };
        cursor = table.scan(cursor, &mut |key, _| *shown.entry(key.to_vec()).or_insert(0) += 1);
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(shown.len(), 5_000);
    assert!(shown.values().all(|times| *times == 1));
}

#[test]
fn a_foreign_cursor_does_no_harm() {
    let mut table = Table::new(Seed(5, 6));
    (0..5_000).for_each(|n| set(&mut table, n));
    for cursor in [1, 12_345, (1 << 48) - 1, 1 << 48, u64::MAX] {
        let next = table.scan(cursor, &mut |_, _| {});
        assert!(next == 0 || (next > cursor && next < 1 << 48));
    }
}

#[test]
fn one_step_stays_small() {
    let mut table = Table::new(Seed(5, 6));
    (0..50_000).for_each(|n| set(&mut table, n));
    let mut cursor = 0;
    loop {
        let mut keys = 0;
        cursor = table.scan(cursor, &mut |_, _| keys += 1);
        assert!(keys < 64, "{keys} keys in one step");
        if cursor == 0 {
            break;
        }
    }
}

#[test]
fn random_reaches_every_key() {
    let mut table = Table::new(Seed(5, 6));
    assert!(table.random(0).is_none());
    (0..100).for_each(|n| set(&mut table, n));
    let mut seen = BTreeMap::new();
    let mut draw = 0u64;
    for _ in 0..20_000 {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (key, _) = table.random(draw ^ (draw >> 29)).expect("the table has keys");
        *seen.entry(key.to_vec()).or_insert(0u32) += 1;
    }
    assert_eq!(seen.len(), 100);
}

/// Keys that collide under one seed are spread under another: whoever does not know the seed cannot flood a bucket.
#[test]
fn chosen_collisions_do_not_survive_another_seed() {
    let (open, secret) = (Table::new(Seed(0, 0)), Table::new(Seed(0x1234, 0x9876)));
    let flood: Vec<_> = (0..200_000).map(key).filter(|key| open.hash(key) >> 54 == 0).collect();
    assert!(flood.len() > 100);
    let same = flood.iter().filter(|key| secret.hash(key) >> 54 == 0).count();
    assert!(same < 10, "{same} of {} still collide", flood.len());
}
