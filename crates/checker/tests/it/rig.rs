//! Short words for histories, and small random ones.

use checker::{Action, Kind, Model, Operation, Settings, Status, Value, Verdict, judge};

pub fn ok(client: u64, action: Action, start: u64, end: u64) -> Operation {
    Operation::new(client, "k", action, start, end, Status::Ok)
}
pub fn failed(client: u64, action: Action, start: u64, end: u64) -> Operation {
    Operation::new(client, "k", action, start, end, Status::Fail)
}
pub fn unknown(client: u64, action: Action, start: u64) -> Operation {
    Operation::new(client, "k", action, start, start, Status::Info)
}
pub fn write(value: i64) -> Action {
    Action::Write { value: Some(value.into()) }
}
pub fn delete() -> Action {
    Action::Write { value: None }
}
pub fn read(value: i64) -> Action {
    Action::Read { seen: Some(value.into()) }
}
pub fn nothing() -> Action {
    Action::Read { seen: None }
}
pub fn swap(expected: i64, value: i64) -> Action {
    Action::Swap { expected: Some(expected.into()), value: value.into() }
}
pub fn add(element: i64) -> Action {
    Action::Add { element: element.into() }
}
pub fn remove(element: i64) -> Action {
    Action::Remove { element: element.into() }
}
pub fn append(element: i64) -> Action {
    Action::Append { element: element.into() }
}
fn values(seen: &[i64]) -> Vec<Value> {
    seen.iter().map(|it| Value::from(*it)).collect()
}
pub fn members(seen: &[i64]) -> Action {
    Action::Members { seen: values(seen) }
}
pub fn range(seen: &[i64]) -> Action {
    Action::Range { seen: values(seen) }
}

pub fn verdict(model: Model, history: &[Operation]) -> Verdict {
    judge(history, model, &Settings::default())
}
pub fn kinds(model: Model, history: &[Operation]) -> Vec<Kind> {
    verdict(model, history).counts.into_keys().collect()
}
#[track_caller]
pub fn good(model: Model, history: &[Operation]) {
    let verdict = verdict(model, history);
    assert!(verdict.is_good(), "{}", verdict.report(history, 10, |at| at.to_string()));
    assert_eq!(verdict.operations(), history.len() as u64, "an operation was passed over");
}
/// Exactly one violation, of this kind, with these operations behind it.
#[track_caller]
pub fn bad(model: Model, history: &[Operation], kind: Kind, witnesses: &[usize]) {
    let verdict = verdict(model, history);
    let report = verdict.report(history, 10, |at| at.to_string());
    assert_eq!(verdict.violation_count(), 1, "{report}");
    assert_eq!(
        (verdict.violations[0].kind, &*verdict.violations[0].witnesses),
        (kind, witnesses),
        "{report}"
    );
}

pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
    pub fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}

/// A tiny history of one register. An atomic register is played at a moment within each operation, and sometimes an
/// answer is made up: about half of the histories are bad. Values repeat if `values` says so.
pub fn tiny_register(random: &mut Random, values: Option<i64>) -> Vec<Operation> {
    let count = 2 + random.below(6);
    // (moment, start, end, client)
    let mut plan: Vec<(u64, u64, u64, u64)> = (0..count)
        .map(|client| {
            let start = random.below(20);
            let length = random.below(12);
            (start + random.below(length + 1), start, start + length, client)
        })
        .collect();
    plan.sort_unstable();
    let (mut state, mut fresh) = (None::<i64>, 0);
    let mut history = Vec::new();
    for (_, start, end, client) in plan {
        fresh += 1;
        let value = values.map_or(fresh, |values| random.below(values as u64) as i64);
        let made_up = random.one_in(6).then(|| random.below(fresh as u64 + 1) as i64).filter(|it| *it > 0);
        let seen = made_up.or(state);
        let status = if random.one_in(4) { Status::Info } else { Status::Ok };
        let happens = status == Status::Ok || random.one_in(2);
        let action = match random.below(5) {
            0 | 1 => write(value),
            2 if values.is_some() && random.one_in(3) => delete(),
            2 => Action::Swap { expected: seen.map(Value::from), value: value.into() },
            _ => Action::Read { seen: seen.map(Value::from) },
        };
        if happens {
            match &action {
                Action::Write { value: Some(Value::Integer(it)) } => state = Some(*it),
                Action::Write { value: None } => state = None,
                Action::Swap { value: Value::Integer(it), .. } => state = Some(*it),
                _ => {}
            }
        }
        if random.one_in(12) {
            history.push(Operation::new(client, "k", action, start, end, Status::Fail));
        } else {
            history.push(Operation::new(client, "k", action, start, end, status));
        }
    }
    history
}
