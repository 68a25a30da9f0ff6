//! A table is what the model says, after any operations, taken back or not.

use crate::model::{State, operation, state, step};
use data::Operation;
use data::table::{Seed, Table};
use proptest::collection::vec;
use proptest::prelude::*;

fn operations() -> impl Strategy<Value = Vec<Operation<'static>>> {
    vec(operation(), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Leader and follower agree with the model after every operation.
    #[test]
    fn apply_does_what_the_model_does(operations in operations()) {
        let (mut leader, mut follower) = (Table::new(Seed(1, 2)), Table::new(Seed(3, 4)));
        let mut model = State::new();
        for operation in &operations {
            let Some(next) = step(&model, operation) else { continue };
            model = next;
            drop(leader.apply(operation, 7));
            let hash = operation.keys().next().map_or(0, |key| follower.hash(key));
            follower.apply_committed_hashed(hash, operation, 7);
            prop_assert_eq!(leader.len(), model.len());
            prop_assert_eq!(&state(&leader), &model, "after {:?}", operation);
        }
        prop_assert_eq!(&state(&follower), &model);
        let expiring = model.values().filter(|(_, expiry)| expiry.is_some()).count();
        prop_assert_eq!(leader.keys_with_expiry(), expiring);
        for key in model.keys() {
            prop_assert_eq!(leader.memory_usage(key).is_some(), true);
        }
    }

    /// Any tail of a history can be taken back exactly, members' order and expiry index included.
    #[test]
    fn undo_is_the_exact_inverse(committed in operations(), uncommitted in operations()) {
        let mut table = Table::new(Seed(1, 2));
        let mut model = State::new();
        for operation in &committed {
            let Some(next) = step(&model, operation) else { continue };
            model = next;
            table.apply_committed(operation, 0);
        }
        let before = (table.state_hash(), due(&table, i64::MAX), table.keys_with_expiry());
        let mut undos = Vec::new();
        let mut later = model.clone();
        for operation in &uncommitted {
            let Some(next) = step(&later, operation) else { continue };
            undos.push((later, table.apply(operation, 0), operation));
            later = next;
        }
        while let Some((earlier, undo, operation)) = undos.pop() {
            table.undo(undo);
            prop_assert_eq!(&state(&table), &earlier, "after taking back {:?}", operation);
        }
        prop_assert_eq!((table.state_hash(), due(&table, i64::MAX), table.keys_with_expiry()), before);
    }

    /// Operations that do not fit what they meet change nothing, alike on leader and follower. Debug builds assert.
    #[cfg(not(debug_assertions))]
    #[test]
    fn misfits_change_nothing(operations in operations()) {
        let (mut leader, mut follower) = (Table::new(Seed(1, 2)), Table::new(Seed(3, 4)));
        let mut model = State::new();
        for operation in &operations {
            model = step(&model, operation).unwrap_or(model);
            let before = leader.state_hash();
            let undo = leader.apply(operation, 0);
            leader.undo(undo);
            prop_assert_eq!(leader.state_hash(), before);
            drop(leader.apply(operation, 0));
            follower.apply_committed(operation, 0);
            prop_assert_eq!(&state(&leader), &model, "after {:?}", operation);
        }
        prop_assert_eq!(&state(&follower), &model);
    }

    /// The expiry index shows the due keys and no others, earliest first.
    #[test]
    fn expiring_shows_what_is_due(operations in operations(), now in 0..100i64) {
        let mut table = Table::new(Seed(1, 2));
        let mut model = State::new();
        for operation in &operations {
            let Some(next) = step(&model, operation) else { continue };
            model = next;
            table.apply_committed(operation, 0);
        }
        let mut wanted: Vec<_> = model
            .iter()
            .filter_map(|(key, (_, expiry))| expiry.filter(|at| *at <= now).map(|at| (at, key.clone())))
            .collect();
        wanted.sort();
        let mut shown = due(&table, now);
        prop_assert!(shown.is_sorted_by_key(|(at, _)| *at));
        shown.sort();
        prop_assert_eq!(shown, wanted);
    }
}

fn due(table: &Table, now_ms: i64) -> Vec<(i64, Vec<u8>)> {
    let mut due = Vec::new();
    table.expiring(now_ms, usize::MAX, &mut |key, at| due.push((at, key.to_vec())));
    due.sort();
    due
}

/// Equal states have equal hashes however they came about; any difference shows.
#[test]
fn the_state_hash_is_of_the_state_alone() {
    let set = |key: u32, value: u32| Operation::Set {
        key: key.to_string().into_bytes().into(),
        value: value.to_string().into_bytes().into(),
        expiry: data::Expiry::Never,
    };
    let (mut a, mut b) = (Table::new(Seed(1, 2)), Table::new(Seed(1, 2)));
    for n in 0..500 {
        a.apply_committed(&set(n, n), 1);
        b.apply_committed(&set(499 - n, 0), 2);
    }
    assert_ne!(a.state_hash(), b.state_hash());
    for n in (0..500).rev() {
        b.apply_committed(&set(n, n), 3);
    }
    assert_eq!(a.state_hash(), b.state_hash());
    b.apply_committed(&Operation::ExpireAt { key: b"7".into(), at_ms: Some(1) }, 0);
    assert_ne!(a.state_hash(), b.state_hash());
}

/// The memory of a table that was emptied key by key returns to about nothing.
#[test]
fn accounted_memory_returns() {
    let mut table = Table::new(Seed(1, 2));
    let empty = table.bytes();
    let key = |n: u32| n.to_string().into_bytes();
    for n in 0..20_000u32 {
        let value = vec![b'x'; (n % 3000) as usize];
        let set = Operation::Set { key: key(n).into(), value: value.into(), expiry: data::Expiry::Never };
        table.apply_committed(&set, 0);
        let add = Operation::SetAdd {
            key: format!("set{}", n % 100).into_bytes().into(),
            members: vec![key(n).into()],
        };
        table.apply_committed(&add, 0);
    }
    assert!(table.bytes() > 30_000_000, "{}", table.bytes());
    for n in 0..20_000 {
        table.apply_committed(&Operation::Delete { key: key(n).into() }, 0);
        let gone = Operation::Delete { key: format!("set{}", n % 100).into_bytes().into() };
        table.apply_committed(&gone, 0);
    }
    assert!(table.is_empty());
    assert!(table.bytes() < empty + 300_000, "{}", table.bytes());
}

/// A shard moves between threads with its core, and may be read by several.
#[test]
fn tables_are_send_and_sync() {
    fn check<T: Send + Sync>() {}
    check::<Table>();
    check::<data::table::Undo>();
}

/// Keys and values around the limits of a slot are kept alike inline, outside and far outside.
#[test]
fn every_length_is_kept() {
    let lens = [0, 1, 7, 8, 9, 500, 512, 1000, 2020, 2028, 2036, 2040, 2048, 2100, 70_000];
    let mut table = Table::new(Seed(1, 2));
    let mut model = State::new();
    for key_len in lens {
        for value_len in lens {
            for expires in [None, Some(5)] {
                let mut key = vec![b'k'; key_len];
                key.extend_from_slice(format!("{value_len}{expires:?}").as_bytes());
                let value = vec![b'v'; value_len];
                model.insert(key.clone(), (crate::model::Plain::String(value.clone()), None));
                let expiry = data::Expiry::Never;
                let set = Operation::Set { key: key.clone().into(), value: value.clone().into(), expiry };
                table.apply_committed(&set, 0);
                let at = Operation::ExpireAt { key: key.clone().into(), at_ms: expires };
                let undo = table.apply(&at, 0);
                assert_eq!(table.get(&key).map(|found| found.expires_at_ms), Some(expires));
                table.undo(undo);
                let renamed = Operation::Rename { from: key.into(), to: b"other".into() };
                let undo = table.apply(&renamed, 0);
                table.undo(undo);
            }
        }
    }
    assert_eq!(state(&table), model);
}
