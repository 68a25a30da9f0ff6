//! A moment that a reader holds open shows exactly the state of its beginning, whatever writers do meanwhile.
// catalogue: J16

use crate::model::{Plain, State, operation, state, step};
use data::moments::MOMENT_BYTES_MAX;
use data::table::{Seed, Table, TableMoment, Undo};
use data::{Expiry, Index, Operation};
use proptest::collection::vec;
use proptest::prelude::*;

/// Everything that a moment shows: by a whole scan, and key by key.
fn shown(moment: &TableMoment<'_>) -> State {
    let mut state = State::new();
    let mut cursor = 0;
    loop {
        cursor = moment.scan(cursor, &mut |key, found| {
            let twice = state.insert(key.to_vec(), (Plain::of(found.value), found.expires_at_ms));
            assert!(twice.is_none(), "a scan shows each key once");
        });
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(moment.len(), state.len());
    for (key, (plain, expires_at_ms)) in &state {
        let found = moment.get(key).expect("a key that the scan showed");
        assert_eq!((Plain::of(found.value), found.expires_at_ms), (plain.clone(), *expires_at_ms));
    }
    if let Some((key, _)) = moment.random(7) {
        assert!(state.contains_key(key), "some key of the moment");
    }
    state
}

fn set(key: &str, len: usize) -> Operation<'static> {
    Operation::Set {
        key: key.as_bytes().to_vec().into(),
        value: vec![b'x'; len].into(),
        expiry: Expiry::Never,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Several moments, opened between operations of which some are taken back: a moment that shows what is taken back ends, every
    /// other one goes on.
    #[test]
    fn a_moment_is_the_state_of_its_beginning(
        fill in prop_oneof![0..5u32, 100..400u32],
        writes in vec((operation(), any::<bool>(), 0..4u8), 1..60),
    ) {
        let (mut table, mut model) = (Table::new(Seed(1, 2)), State::new());
        for n in 0..fill {
            let set = set(&format!("fill{n}"), 3);
            model = step(&model, &set).expect("a SET fits");
            table.apply_committed(&set, 0);
        }
        let mut wanted: Vec<(u64, u64, State)> = Vec::new();
        let mut undos: Vec<(u64, State, Undo)> = Vec::new();
        let mut index = 0;
        for (id, (operation, take_back, reader)) in writes.iter().enumerate() {
            let id = id as u64;
            if *reader == 0 {
                table.open_moment(id, Index(index));
                wanted.push((id, index, model.clone()));
            }
            if let Some(next) = step(&model, operation) {
                index += 1;
                undos.push((index, std::mem::replace(&mut model, next), table.apply(operation, 0)));
            }
            if *take_back && let Some((at, earlier, undo)) = undos.pop() {
                table.end_moments(Index(at - 1));
                wanted.retain(|(_, index, _)| *index < at);
                table.undo(undo);
                (index, model) = (at - 1, earlier);
            }
            if *reader == 1 && !wanted.is_empty() {
                let (closed, ..) = wanted.remove(0);
                table.close_moment(closed);
                prop_assert!(table.moment(closed).is_none());
            }
        }
        for (id, index, wanted) in &wanted {
            let moment = table.moment(*id).expect("it did not end");
            prop_assert_eq!(moment.index(), Index(*index));
            prop_assert_eq!(&shown(&moment), wanted);
        }
        prop_assert_eq!(state(&table), model);
        for (id, ..) in &wanted {
            table.close_moment(*id);
        }
        prop_assert_eq!(table.moment_bytes(), 0);
    }
}

/// A scan of a moment goes on while keys are changed and the table grows: each key of the moment is shown once.
#[test]
fn a_scan_goes_on_between_writes() {
    let mut table = Table::new(Seed(3, 4));
    for n in 0..2_000 {
        table.apply_committed(&set(&format!("k{n}"), 5), 0);
    }
    table.open_moment(1, Index(1));
    let (mut cursor, mut found, mut n) = (0, Vec::new(), 0);
    loop {
        let moment = table.moment(1).expect("open");
        cursor = moment.scan(cursor, &mut |key, it| {
            assert_eq!(it.value.len(), 5);
            found.push(key.to_vec());
        });
        if cursor == 0 {
            break;
        }
        table.apply_committed(&set(&format!("k{}", n % 2_000), 9), 0);
        table.apply_committed(
            &Operation::Delete { key: format!("k{}", n * 7 % 2_000).into_bytes().into() },
            0,
        );
        table.apply_committed(&set(&format!("new{n}"), 9), 0);
        n += 1;
    }
    found.sort();
    assert_eq!(found.len(), 2_000);
    found.dedup();
    assert_eq!(found.len(), 2_000);
}

/// What is kept is bounded: the moment that costs too much ends, and frees all of it. One that costs nothing stays.
#[test]
fn a_moment_that_costs_too_much_ends() {
    let mut table = Table::new(Seed(5, 6));
    let part = MOMENT_BYTES_MAX / 8;
    for n in 0..10 {
        table.apply_committed(&set(&format!("k{n}"), part), 0);
    }
    table.open_moment(1, Index(1));
    for n in 0..6 {
        table.apply_committed(&set(&format!("k{n}"), 1), 0);
        // Once for each key, however often it is written.
        table.apply_committed(&set(&format!("k{n}"), 2), 0);
    }
    table.open_moment(2, Index(7));
    assert!(table.moment_bytes() > 5 * part && table.moment_bytes() <= MOMENT_BYTES_MAX);
    for n in 6..10 {
        table.apply_committed(&set(&format!("k{n}"), 1), 0);
    }
    assert!(table.moment(1).is_none());
    let moment = table.moment(2).expect("it costs half of what is allowed");
    assert_eq!((moment.get(b"k0").map(|it| it.value.len()), moment.len()), (Some(2), 10));
    assert_eq!(moment.get(b"k9").map(|it| it.value.len()), Some(part));
    table.apply_committed(&Operation::Flush, 0);
    assert_eq!(table.moment(2).map(|it| it.len()), Some(10));
    table.close_moment(2);
    assert_eq!(table.moment_bytes(), 0);
}
