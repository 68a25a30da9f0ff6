//! Long histories have an answer too.

use crate::rig::{Random, verdict};
use checker::{Action, Kind, Model, Operation, Status, Value};

/// Sequential clients on atomic registers: `values` distinct values per key, or each value once. One write in `unknown`
/// has no known outcome.
fn run(
    count: usize,
    keys: u64,
    clients: usize,
    values: Option<u64>,
    unknown: u64,
    seed: u64,
) -> Vec<Operation> {
    let mut random = Random(seed);
    let mut states: Vec<Option<i64>> = vec![None; keys as usize];
    let mut free_at = vec![0u64; clients];
    let mut moments = Vec::new();
    for number in 0..count {
        let client = number % clients;
        let start = free_at[client] + 1 + random.below(50);
        let length = 1 + random.below(1_000);
        free_at[client] = start + length;
        moments.push((start + random.below(length), start, start + length, client));
    }
    moments.sort_unstable();
    let mut history = Vec::new();
    for (number, (_, start, end, client)) in moments.into_iter().enumerate() {
        let key = random.below(keys) as usize;
        let value = values.map_or(number as i64, |values| random.below(values) as i64);
        let (action, mut status) = if random.one_in(2) {
            (Action::Write { value: Some(value.into()) }, Status::Ok)
        } else {
            (Action::Read { seen: states[key].map(Value::from) }, Status::Ok)
        };
        if let Action::Write { .. } = action {
            if random.one_in(unknown) {
                status = Status::Info;
            }
            if status == Status::Ok || random.one_in(2) {
                states[key] = Some(value);
            }
        }
        history.push(Operation::new(client as u64, &format!("key:{key}"), action, start, end, status));
    }
    history
}

/// A read of the value that the key had longest ago, at the very end.
fn with_stale_read(mut history: Vec<Operation>) -> Vec<Operation> {
    let end = history.iter().filter(|it| it.is_ok()).map(|it| it.end).max().unwrap_or(0);
    let first = history.iter().find(|it| matches!(it.action, Action::Write { .. }) && it.is_ok()).unwrap();
    let (key, Action::Write { value }) = (first.key.clone(), first.action.clone()) else { unreachable!() };
    history.push(Operation::new(99, &key, Action::Read { seen: value }, end + 1, end + 2, Status::Ok));
    history
}

#[test]
fn two_hundred_thousand_operations_on_a_thousand_keys() {
    let history = run(200_000, 1_000, 32, None, 40, 0xacdc);
    let good = verdict(Model::Register, &history);
    assert!(good.is_good(), "{}", good.summary());
    assert!(good.unknown > 2_000, "{}", good.summary());
    let bad = verdict(Model::Register, &with_stale_read(history));
    assert_eq!((bad.violation_count(), bad.count(Kind::Stale)), (1, 1));
}

#[test]
fn one_key_with_thousands_of_unknown_writes() {
    let history = run(40_000, 1, 16, None, 5, 0xbeef);
    assert!(verdict(Model::Register, &history).unknown > 3_000);
    assert!(verdict(Model::Register, &history).is_good());
    assert_eq!(verdict(Model::Register, &with_stale_read(history)).violation_count(), 1);
}

/// Values that repeat need the search, and the unknown writes never end.
#[test]
fn values_that_repeat_and_many_unknown_writes() {
    let history = run(40_000, 100, 12, Some(5), 20, 0xfeed);
    let verdict = verdict(Model::Register, &history);
    assert!(verdict.is_good() && verdict.unknown > 500, "{}", verdict.summary());
}

#[test]
fn many_unknown_writes_of_repeated_values_on_one_key() {
    let history = run(10_000, 1, 8, Some(50), 5, 0xf00d);
    let verdict = verdict(Model::Register, &history);
    assert!(verdict.is_good() && verdict.unknown > 500, "{}", verdict.summary());
}
