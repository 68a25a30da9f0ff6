//! Sums over ranges: each key lies in one range, a change shows in its range and nowhere else, and so does failing memory.
// catalogue: B5

use data::codec::{Reader, Writer};
use data::table::{HashRange, RangeSum, Seed, Table};
use data::{Expiry, Operation};

fn table(keys: u64) -> Table {
    let mut table = Table::new(Seed(5, 6));
    for n in 0..keys {
        set(&mut table, n, &format!("value {n}"));
    }
    table
}
fn set(table: &mut Table, n: u64, value: &str) {
    let (key, value) = (format!("key:{n}").into_bytes(), value.as_bytes());
    let operation = Operation::Set { key: key.into(), value: value.into(), expiry: Expiry::Never };
    table.apply_committed(&operation, 0);
}
fn sums(table: &Table, bits: u8) -> Vec<RangeSum> {
    (0..1 << bits).map(|prefix| table.range_sum(HashRange::new(bits, prefix))).collect()
}
fn whole(sums: &[RangeSum]) -> RangeSum {
    sums.iter().fold(RangeSum::default(), |all, it| RangeSum {
        keys: all.keys + it.keys,
        sum: all.sum.wrapping_add(it.sum),
    })
}

#[test]
fn each_key_lies_in_one_range_however_the_table_is_cut() {
    for keys in [0, 1, 7, 1000, 20_000] {
        let table = table(keys);
        let all = table.range_sum(HashRange::default());
        assert_eq!((all.keys, all.sum), (keys, table.state_hash()));
        for bits in [1, 3, 10, 13] {
            assert_eq!(whole(&sums(&table, bits)), all, "{keys} keys in 2^{bits} ranges");
        }
    }
}

#[test]
fn a_change_shows_in_one_range() {
    let mut changed = table(5000);
    let before = sums(&changed, 6);
    set(&mut changed, 77, "another");
    let differs = |a: &[RangeSum], b: &[RangeSum]| a.iter().zip(b).filter(|(a, b)| a != b).count();
    assert_eq!(differs(&before, &sums(&changed, 6)), 1);
    set(&mut changed, 77, "value 77");
    assert_eq!(before, sums(&changed, 6), "the sum is of the state alone");
}

#[test]
fn a_flipped_bit_of_memory_is_seen() {
    for draw in 0..200u64 {
        let mut table = table(300);
        set(&mut table, 1, &"long ".repeat(500));
        set(&mut table, 2, "12");
        let before = table.state_hash();
        assert!(table.damage(draw << 56 | draw));
        assert_ne!(table.state_hash(), before);
        assert_eq!(table.len(), 300);
    }
    assert!(!table(0).damage(7));
}

#[test]
fn ranges_follow_each_other_and_come_round() {
    let mut range = HashRange::default().next(2);
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(range.to_string());
        range = range.next(2);
    }
    assert_eq!(seen, ["1 of 4", "2 of 4", "3 of 4", "4 of 4"]);
    assert_eq!(HashRange::new(1, 0).next(3).to_string(), "5 of 8", "a table that has grown");
    assert_eq!(
        HashRange::new(3, 4).next(1).to_string(),
        "2 of 2",
        "one that has shrunk: some keys come twice"
    );
    assert!(
        HashRange::new(1, 1).covers(HashRange::new(3, 5))
            && !HashRange::new(3, 5).covers(HashRange::new(1, 1))
    );
}

#[test]
fn a_range_from_the_wire_is_one_or_it_is_refused() {
    let mut bytes = Vec::new();
    HashRange::new(20, 77).encode(&mut Writer::new(&mut bytes));
    assert_eq!(HashRange::decode(&mut Reader::new(&bytes)), Ok(HashRange::new(20, 77)));
    for (bits, prefix) in [(21u8, 0u32), (255, 0), (3, 8), (0, 1)] {
        let mut bytes = vec![bits];
        bytes.extend_from_slice(&prefix.to_le_bytes());
        assert!(HashRange::decode(&mut Reader::new(&bytes)).is_err(), "{bits} {prefix}");
    }
}
