//! A snapshot is exactly the state of the moment it began, whatever writers do meanwhile.

use crate::model::{State, operation, state, step};
use data::codec::Reader;
use data::table::{Seed, Table};
use data::{Expiry, Operation};
use proptest::collection::vec;
use proptest::prelude::*;

fn loaded(bytes: &[u8]) -> Table {
    let mut table = Table::new(Seed(9, 9));
    table.load(&mut Reader::new(bytes)).expect("a snapshot loads");
    table
}

/// More keys than the operations touch, so that the walk takes many steps.
fn filled(keys: u32) -> (Table, State) {
    let (mut table, mut model) = (Table::new(Seed(1, 2)), State::new());
    for n in 0..keys {
        let key = format!("fill{n}").into_bytes();
        let set =
            Operation::Set { key: key.clone().into(), value: key.clone().into(), expiry: Expiry::Never };
        table.apply_committed(&set, 0);
        model.insert(key.clone(), (crate::model::Plain::String(key), None));
    }
    (table, model)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_snapshot_is_the_state_of_its_beginning(
        fill in prop_oneof![0..5u32, 100..600u32],
        earlier in vec(operation(), 0..30),
        later in vec((operation(), 0..3usize, any::<bool>()), 0..60),
    ) {
        let (mut table, mut model) = filled(fill);
        for operation in &earlier {
            if let Some(next) = step(&model, operation) {
                model = next;
                table.apply_committed(operation, 0);
            }
        }
        let wanted = model.clone();
        table.begin_snapshot();
        let mut bytes = Vec::new();
        let mut finished = false;
        let mut undos: Vec<(State, data::table::Undo)> = Vec::new();
        for (operation, steps, take_back) in &later {
            if let Some(next) = step(&model, operation) {
                undos.push((std::mem::replace(&mut model, next), table.apply(operation, 0)));
            }
            if *take_back && let Some((earlier, undo)) = undos.pop() {
                table.undo(undo);
                model = earlier;
            }
            for _ in 0..*steps {
                finished = finished || table.snapshot_step(64, &mut bytes);
            }
        }
        while !finished {
            finished = table.snapshot_step(64, &mut bytes);
        }
        prop_assert_eq!(state(&loaded(&bytes)), wanted);
        prop_assert_eq!(state(&table), model);
    }

    /// Operations from before the walk may be taken back during it, a flush among them.
    #[test]
    fn taking_back_older_operations_does_not_disturb_a_walk(
        uncommitted in vec(operation(), 1..30),
        flush_at in 0..30usize,
    ) {
        let (mut table, mut model) = filled(100);
        let first = model.clone();
        let mut undos = Vec::new();
        for (at, operation) in uncommitted.iter().enumerate() {
            let operation = if at == flush_at { &Operation::Flush } else { operation };
            if let Some(next) = step(&model, operation) {
                model = next;
                undos.push(table.apply(operation, 0));
            }
        }
        table.begin_snapshot();
        let mut bytes = Vec::new();
        let mut finished = false;
        while let Some(undo) = undos.pop() {
            table.undo(undo);
            finished = finished || table.snapshot_step(16, &mut bytes);
        }
        while !finished {
            finished = table.snapshot_step(64, &mut bytes);
        }
        prop_assert_eq!(state(&loaded(&bytes)), model);
        prop_assert_eq!(state(&table), first);
    }

    /// No bytes make a table panic; what loads is a state like any other.
    #[test]
    fn damaged_snapshots_are_refused_or_read(
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        operations in vec(operation(), 1..20),
    ) {
        let (mut table, mut model) = filled(5);
        for operation in &operations {
            if let Some(next) = step(&model, operation) {
                model = next;
                table.apply_committed(operation, 0);
            }
        }
        table.begin_snapshot();
        let mut bytes = Vec::new();
        while !table.snapshot_step(usize::MAX, &mut bytes) {}
        for (at, byte) in &flips {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] ^= byte;
            }
        }
        let mut damaged = Table::new(Seed(1, 2));
        let _ = damaged.load(&mut Reader::new(&bytes));
        state(&damaged);
    }
}

#[test]
fn a_step_stays_near_its_budget() {
    let (mut table, _) = filled(5_000);
    table.begin_snapshot();
    let mut bytes = Vec::new();
    while !table.snapshot_step(1_000, &mut bytes) {
        assert!(bytes.len() < 4_000, "{} bytes in one step", bytes.len());
        bytes.clear();
    }
    assert!(!table.is_walked());
}

#[test]
fn an_abandoned_walk_leaves_nothing_behind() {
    let (mut table, _) = filled(5_000);
    table.begin_snapshot();
    table.snapshot_step(100, &mut Vec::new());
    for n in 0..5_000 {
        table.apply_committed(&Operation::Delete { key: format!("fill{n}").into_bytes().into() }, 0);
    }
    let walking = table.bytes();
    table.abandon_snapshot();
    assert!(table.bytes() < walking);
    assert!(table.snapshot_step(1, &mut Vec::new()));
}
