//! Every order tried, without a thought: the judges must say the same of thousands of tiny histories.

use crate::rig::{Random, add, members, remove, tiny_register, verdict};
use checker::{Action, Model, NEVER, Operation, Status, Value, judge};
use std::collections::BTreeMap;

/// Whether some order of the operations (those of unknown outcome as one likes) is accepted by `apply` from `state`.
fn some_order<S: Clone>(left: &[&Operation], state: &S, apply: &dyn Fn(&Operation, &S) -> Option<S>) -> bool {
    if left.iter().all(|it| it.status == Status::Info) {
        return true;
    }
    (0..left.len()).any(|at| {
        let next = left[at];
        let may_come = left.iter().all(|other| other.end >= next.start);
        let rest: Vec<&Operation> =
            left.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, it)| *it).collect();
        may_come && apply(next, state).is_some_and(|state| some_order(&rest, &state, apply))
    })
}

fn happened(history: &[Operation]) -> Vec<&Operation> {
    history.iter().filter(|it| it.status != Status::Fail).collect()
}

fn register(operation: &Operation, state: &Option<Value>) -> Option<Option<Value>> {
    match &operation.action {
        // What a read without an answer saw means nothing.
        Action::Read { seen } => (operation.end == NEVER || seen == state).then(|| state.clone()),
        Action::Write { value } => Some(value.clone()),
        Action::Swap { expected, value } => (expected == state).then(|| Some(value.clone())),
        _ => None,
    }
}

pub fn is_linearizable_register(history: &[Operation]) -> bool {
    some_order(&happened(history), &None, &register)
}

fn compare_registers(seed: u64, values: Option<i64>) {
    let mut random = Random(seed);
    let mut bad = 0;
    for number in 0..6_000 {
        let history = tiny_register(&mut random, values);
        let expected = is_linearizable_register(&history);
        let verdict = verdict(Model::Register, &history);
        assert!(verdict.undecided.is_empty());
        assert_eq!(verdict.is_good(), expected, "history {number}: {history:#?}");
        bad += usize::from(!expected);
    }
    assert!((1_000..5_000).contains(&bad), "{bad} of 6000 are bad: one side is hardly tried");
}

#[test]
fn registers_with_unique_values() {
    compare_registers(0x5eed_0001, None);
}

#[test]
fn registers_whose_values_repeat() {
    compare_registers(0x5eed_0002, Some(2));
    compare_registers(0x5eed_0003, Some(3));
}

#[test]
fn one_element_that_comes_and_goes() {
    let mut random = Random(0x5eed_0004);
    let mut bad = 0;
    let present = |operation: &Operation, state: &bool| match &operation.action {
        Action::Add { .. } => Some(true),
        Action::Remove { .. } => Some(false),
        Action::Members { seen } => (operation.end == NEVER || seen.is_empty() != *state).then_some(*state),
        _ => None,
    };
    for number in 0..6_000 {
        let history: Vec<Operation> = (0..2 + random.below(6))
            .map(|client| {
                let start = random.below(20);
                let action = match random.below(5) {
                    0 | 1 => add(1),
                    2 => remove(1),
                    3 => members(&[1]),
                    _ => members(&[]),
                };
                let status = [Status::Info, Status::Fail, Status::Ok, Status::Ok, Status::Ok];
                let status = status[random.below(5) as usize];
                Operation::new(client, "k", action, start, start + random.below(12), status)
            })
            .collect();
        let expected = some_order(&happened(&history), &false, &present);
        assert_eq!(verdict(Model::Set, &history).is_good(), expected, "history {number}: {history:#?}");
        bad += usize::from(!expected);
    }
    assert!((1_000..5_000).contains(&bad), "{bad} of 6000 are bad");
}

/// Increments by one and reads. Only what cannot be is reported; and of what cannot be, nearly all.
#[test]
fn counters() {
    let mut random = Random(0x5eed_0005);
    let (mut bad, mut missed) = (0, 0);
    let count = |operation: &Operation, state: &i64| match operation.action {
        Action::Increment { result, .. } => {
            let after = state + 1;
            (operation.end == NEVER || result.is_none_or(|it| it == after)).then_some(after)
        }
        Action::Count { seen } => (operation.end == NEVER || seen == *state).then_some(*state),
        _ => None,
    };
    for number in 0..6_000 {
        let mut at = 0i64;
        let history: Vec<Operation> = (0..2 + random.below(6))
            .map(|client| {
                let start = client * 3 + random.below(6);
                let lie = if random.one_in(5) { random.below(3) as i64 - 1 } else { 0 };
                let action = if random.one_in(3) {
                    Action::Count { seen: at + lie }
                } else {
                    at += 1;
                    Action::Increment { by: 1, result: (!random.one_in(4)).then_some(at + lie) }
                };
                let status = [Status::Info, Status::Fail, Status::Ok, Status::Ok, Status::Ok, Status::Ok];
                let status = status[random.below(6) as usize];
                Operation::new(client, "k", action, start, start + random.below(8), status)
            })
            .collect();
        let expected = some_order(&happened(&history), &0, &count);
        let is_good = verdict(Model::Counter, &history).is_good();
        assert!(is_good || !expected, "history {number} is good: {history:#?}");
        bad += usize::from(!expected);
        missed += usize::from(is_good && !expected);
    }
    assert!((1_000..5_000).contains(&bad), "{bad} of 6000 are bad");
    assert!(missed * 100 <= bad, "{missed} of {bad} bad histories were missed");
}

/// All orders of the values of a key, against the definitions of the guarantees.
#[test]
fn sessions() {
    let mut random = Random(0x5eed_0006);
    let mut bad = 0;
    for number in 0..6_000 {
        let history = tiny_sessions(&mut random);
        let expected = some_versions(&history);
        let is_good = judge(&history, Model::Session, &Default::default()).is_good();
        assert_eq!(is_good, expected, "history {number}: {history:#?}");
        bad += usize::from(!expected);
    }
    assert!((1_000..5_000).contains(&bad), "{bad} of 6000 are bad");
}

/// Two or three sequential sessions on one register of unique values; what is read is any value already begun.
fn tiny_sessions(random: &mut Random) -> Vec<Operation> {
    let mut written = Vec::new();
    let mut history = Vec::new();
    for at in 0..3 + random.below(6) {
        let client = random.below(3);
        let status = if random.one_in(5) { Status::Info } else { Status::Ok };
        let pick = random.below(written.len() as u64 + 1) as usize;
        let seen = written.get(pick).map(|it: &i64| Value::from(*it));
        let action = match random.below(5) {
            0 | 1 => Action::Write { value: Some((at as i64).into()) },
            2 => Action::Swap { expected: seen, value: (at as i64).into() },
            _ => Action::Read { seen },
        };
        if !matches!(action, Action::Read { .. }) {
            written.push(at as i64);
        }
        history.push(Operation::new(client, "k", action, at * 10, at * 10 + 5, status));
    }
    history
}

fn some_versions(history: &[Operation]) -> bool {
    let written: Vec<i64> = history.iter().filter_map(wrote).collect();
    let mut order = Vec::new();
    some_permutation(&written, &mut order, &|order| keeps_guarantees(history, order))
}

fn wrote(operation: &Operation) -> Option<i64> {
    match &operation.action {
        Action::Write { value: Some(Value::Integer(it)) } => Some(*it),
        Action::Swap { value: Value::Integer(it), .. } => Some(*it),
        _ => None,
    }
}

fn some_permutation(all: &[i64], order: &mut Vec<i64>, accept: &dyn Fn(&[i64]) -> bool) -> bool {
    if order.len() == all.len() {
        return accept(order);
    }
    all.iter().any(|it| {
        if order.contains(it) {
            return false;
        }
        order.push(*it);
        let is_found = some_permutation(all, order, accept);
        order.pop();
        is_found
    })
}

fn keeps_guarantees(history: &[Operation], order: &[i64]) -> bool {
    let places: BTreeMap<i64, usize> = order.iter().enumerate().map(|(at, it)| (*it, at + 1)).collect();
    let place = |value: &Option<Value>| match value {
        Some(Value::Integer(it)) => places[it],
        _ => 0,
    };
    let saw = |it: &Operation| match &it.action {
        Action::Read { seen } if it.is_ok() => Some(place(seen)),
        Action::Swap { expected, .. } if it.is_ok() => Some(place(expected)),
        _ => None,
    };
    let pair = |one: &Operation, other: &Operation| {
        let wrote_one = wrote(one).filter(|_| one.is_ok()).map(|it| places[&it]);
        let wrote_other = wrote(other).map(|it| places[&it]);
        let (saw_one, saw_other) = (saw(one), saw(other));
        let before = |one: Option<usize>, other: Option<usize>| one.zip(other).is_none_or(|(a, b)| a < b);
        let not_after = |one: Option<usize>, other: Option<usize>| one.zip(other).is_none_or(|(a, b)| a <= b);
        before(wrote_one, wrote_other)
            && before(saw_one, wrote_other)
            && not_after(wrote_one, saw_other)
            && not_after(saw_one, saw_other)
    };
    let swaps = history.iter().all(|it| match &it.action {
        Action::Swap { expected, .. } => place(expected) < wrote(it).map_or(0, |it| places[&it]),
        _ => true,
    });
    swaps
        && (0..history.len()).all(|at| {
            let later = history[at + 1..].iter().filter(|other| other.session == history[at].session);
            later.into_iter().all(|other| pair(&history[at], other))
        })
}
