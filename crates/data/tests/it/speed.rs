//! What an operation costs and what a key takes: figures for a human, not a verdict.
#![allow(clippy::disallowed_types, reason = "a clock is what this file is for")]

use data::table::{Seed, Table};
use data::{Expiry, Operation};
use std::time::Instant;

const KEYS: u64 = 1_000_000;
const BATCH: usize = 16;

fn key(n: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let digits = n.to_string();
    key[16 - digits.len()..].copy_from_slice(digits.as_bytes());
    key
}

struct Draws(u64);
impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % KEYS
    }
}

fn timed(what: &str, count: u64, work: impl FnOnce()) {
    let start = Instant::now();
    work();
    println!("{what:<34} {:>7.1} ns", start.elapsed().as_nanos() as f64 / count as f64);
}

/// Resident memory of this process in bytes, where the system tells.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

#[test]
#[ignore = "prints figures; run with: cargo test --release -p data --test it audit -- --ignored --nocapture"]
fn an_audit_of_one_range() {
    let mut table = Table::new(Seed(11, 12));
    for n in 0..KEYS {
        let (key, value) = (key(n).to_vec().into(), vec![b'v'; 64].into());
        table.apply_committed(&Operation::Set { key, value, expiry: Expiry::Never }, 1);
    }
    let bits = table.range_bits(2048, 256 << 10);
    let mut range = data::table::HashRange::default();
    let (mut keys, rounds) = (0, 1 << bits);
    let start = Instant::now();
    for _ in 0..rounds {
        range = range.next(bits);
        keys += table.range_sum(range).keys;
    }
    let nanos = start.elapsed().as_nanos() as f64;
    println!(
        "{rounds} ranges of {} keys: {:.1} us each, {:.1} ns per key",
        keys / rounds,
        nanos / 1000.0 / rounds as f64,
        nanos / keys as f64
    );
}

#[test]
#[ignore = "prints figures; run with: cargo test --release -p data --test it speed -- --ignored --nocapture"]
fn get_and_set_per_operation() {
    let before = resident();
    let mut table = Table::new(Seed(11, 12));
    let value = [b'v'; 64];
    let set = |key: &[u8; 16]| Operation::Set {
        key: key.to_vec().into(),
        value: value.to_vec().into(),
        expiry: Expiry::Keep,
    };
    let (mut longest, mut most_bytes) = (0, 0.0f64);
    timed("SET of a new key (with its clock)", KEYS, || {
        for n in 0..KEYS {
            let operation = set(&key(n));
            let start = Instant::now();
            table.apply_committed(&operation, 1);
            longest = longest.max(start.elapsed().as_nanos());
            if n > KEYS / 2 && n % 1000 == 0 {
                most_bytes = most_bytes.max(table.bytes() as f64 / table.len() as f64);
            }
        }
    });
    println!("longest single SET                 {:>7.1} us", longest as f64 / 1000.0);
    println!("accounted bytes per key            {:>7.1}", table.bytes() as f64 / KEYS as f64);
    println!("accounted bytes per key at most    {most_bytes:>7.1}");
    println!("resident bytes per key             {:>7.1}", (resident() - before) as f64 / KEYS as f64);

    let mut draws = Draws(1);
    let keys: Vec<[u8; 16]> = (0..2_000_000).map(|_| key(draws.next())).collect();
    let count = keys.len() as u64;
    let mut sum = 0;
    timed("GET", count, || {
        for key in &keys {
            sum += table.get(key).map_or(0, |found| found.value.len());
        }
    });
    timed("GET, batches of 16 prefetched", count, || {
        for batch in keys.chunks(BATCH) {
            let mut hashes = [0; BATCH];
            for (hash, key) in hashes.iter_mut().zip(batch) {
                *hash = table.hash(key);
                table.prefetch(*hash);
            }
            for hash in hashes {
                table.prefetch_entry(hash);
            }
            for (hash, key) in hashes.iter().zip(batch) {
                sum += table.get_touched(*hash, key, 2).map_or(0, |found| found.value.len());
            }
        }
    });
    assert_eq!(sum, 2 * 64 * keys.len());
    let operations: Vec<Operation<'_>> = keys
        .iter()
        .map(|key| Operation::Set { key: key[..].into(), value: value[..].into(), expiry: Expiry::Keep })
        .collect();
    timed("SET over, committed", count, || operations.iter().for_each(|o| table.apply_committed(o, 3)));
    timed("SET over, with undo", count, || operations.iter().for_each(|o| drop(table.apply(o, 3))));
    timed("SET over, with undo, prefetched", count, || {
        for batch in operations.chunks(BATCH) {
            let mut hashes = [0; BATCH];
            for (hash, key) in hashes.iter_mut().zip(batch.iter().flat_map(Operation::keys)) {
                *hash = table.hash(key);
            }
            hashes.iter().for_each(|hash| table.prefetch(*hash));
            hashes.iter().for_each(|hash| table.prefetch_entry(*hash));
            hashes.iter().zip(batch).for_each(|(hash, o)| drop(table.apply_hashed(*hash, o, 3)));
        }
    });
    timed("whole scan, per key", KEYS, || {
        let (mut cursor, mut seen) = (0, 0u64);
        loop {
            cursor = table.scan(cursor, &mut |_, _| seen += 1);
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen, KEYS);
    });
    timed("snapshot, per key", KEYS, || {
        table.begin_snapshot();
        let mut out = Vec::new();
        while !table.snapshot_step(1 << 16, &mut out) {
            out.clear();
        }
    });
    timed("DELETE", KEYS, || {
        for n in 0..KEYS {
            table.apply_committed(&Operation::Delete { key: key(n)[..].into() }, 0);
        }
    });
    println!("accounted bytes when empty         {:>7}", table.bytes());
}
