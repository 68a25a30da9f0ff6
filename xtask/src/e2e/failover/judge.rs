//! Lost, doubled, stale: what the checkers say of a history and of what was there in the end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Result;
use checker::{Action, Kind, Model, Settings, Status, Value};

use super::history::{Event, History, Operation, Outcome, Register, list_key, once_key};

/// What a reader finds when all is over.
#[derive(Clone, Default)]
pub struct FinalState {
    pub counter: i64,
    /// Value per (client, number) of the keys used once; 0 for none.
    pub once: BTreeMap<(u32, u64), i64>,
    /// Items per client, in the order of its list.
    pub lists: BTreeMap<u32, Vec<u64>>,
    pub registers: BTreeMap<Register, i64>,
}

/// What is asked of a history. That registers are linearizable implies all that sessions are promised.
const MODELS: [Model; 3] = [Model::Register, Model::Set, Model::Counter];
const SHOWN: usize = 10;

#[derive(Default, Debug)]
pub struct Verdict {
    /// Acknowledged writes that are not there.
    pub lost: u64,
    /// Writes that happened twice.
    pub doubled: u64,
    /// Reads of something older than what was known before they began.
    pub stale: u64,
    /// Writes that happened though they were refused, answers that no order explains.
    pub other: u64,
    /// For a person: what contradicts what, and one line per model.
    pub reports: Vec<String>,
}

impl Verdict {
    pub fn violations(&self) -> u64 {
        self.lost + self.doubled + self.stale + self.other
    }
}

pub fn judge(operations: &[checker::Operation]) -> Verdict {
    let mut whole = Verdict::default();
    for model in MODELS {
        let verdict = checker::judge(operations, model, &Settings::default());
        for (kind, count) in &verdict.counts {
            *match kind {
                Kind::Lost | Kind::Vanished | Kind::LostUpdate | Kind::TooLow => &mut whole.lost,
                Kind::Duplicated | Kind::TooHigh => &mut whole.doubled,
                Kind::Stale => &mut whole.stale,
                _ => &mut whole.other,
            } += count;
        }
        // Nothing said is nothing shown.
        whole.other += verdict.undecided.len() as u64;
        whole.reports.push(verdict.report(operations, SHOWN, |at| format!("line {}", at + 1)));
    }
    whole
}

/// The history as the checkers read it, with the final reads behind it if there were any.
pub fn recorded(history: &History, end: Option<&FinalState>) -> Vec<checker::Operation> {
    let mut operations: Vec<checker::Operation> = history.events.iter().map(operation).collect();
    let last = history.events.iter().map(|event| event.answered_us).max().unwrap_or(0);
    if let Some(end) = end {
        let reader = history.events.iter().map(|event| event.client).max().unwrap_or(0) + 1;
        operations.extend(final_reads(end, u64::from(reader), (last + 1) * 1000));
    }
    operations
}

pub fn write(operations: &[checker::Operation], path: &Path) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for operation in operations {
        checker::format::write(&mut file, operation)?;
    }
    Ok(file.flush()?)
}

fn seen(value: i64) -> Option<Value> {
    (value != 0).then(|| Value::from(value))
}

fn operation(event: &Event) -> checker::Operation {
    let (status, answer) = match event.outcome {
        Outcome::Ok(answer) => (Status::Ok, answer),
        Outcome::Refused => (Status::Fail, 0),
        Outcome::Unknown => (Status::Info, 0),
    };
    let result = (status == Status::Ok).then_some(answer);
    let (key, action) = match event.operation {
        Operation::Count => ("counter".to_owned(), Action::Increment { by: 1, result }),
        Operation::Once { number } => (once_key(event.client, number), Action::Increment { by: 1, result }),
        Operation::Append { number } => {
            (list_key(event.client), Action::Append { element: Value::from(number as i64) })
        }
        Operation::Write { register, value } => {
            (register.key(), Action::Write { value: Some(Value::from(value)) })
        }
        Operation::Read { register } => (register.key(), Action::Read { seen: seen(answer) }),
    };
    let (start, end) = (event.asked_us * 1000, event.answered_us * 1000);
    checker::Operation::new(u64::from(event.client), &key, action, start, end, status)
}

fn final_reads(end: &FinalState, reader: u64, from: u64) -> Vec<checker::Operation> {
    let mut reads = vec![("counter".to_owned(), Action::Count { seen: end.counter })];
    for (&(client, number), &seen) in &end.once {
        reads.push((once_key(client, number), Action::Count { seen }));
    }
    for (&client, items) in &end.lists {
        let seen = items.iter().map(|item| Value::from(*item as i64)).collect();
        reads.push((list_key(client), Action::Range { seen }));
    }
    for (register, &value) in &end.registers {
        reads.push((register.key(), Action::Read { seen: seen(value) }));
    }
    let read = |(at, (key, action)): (usize, (String, Action))| {
        let start = from + 2 * at as u64;
        let read = checker::Operation::new(reader, &key, action, start, start + 1, Status::Ok);
        checker::Operation { is_final: true, ..read }
    };
    reads.into_iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const R: Register = Register { owner: 1, generation: 0 };

    fn event(operation: Operation, asked_us: u64, answered_us: u64, outcome: Outcome) -> Event {
        Event { client: 1, operation, asked_us, answered_us, outcome }
    }

    fn verdict(events: Vec<Event>, end: FinalState) -> Verdict {
        judge(&recorded(&History { events, ..History::default() }, Some(&end)))
    }

    fn once(outcome: Outcome, times: i64) -> Verdict {
        let end = FinalState { once: BTreeMap::from([((1, 7), times)]), counter: 0, ..FinalState::default() };
        verdict(vec![event(Operation::Once { number: 7 }, 1, 2, outcome)], end)
    }

    #[test]
    fn a_key_used_once_shows_loss_and_repetition() {
        assert_eq!(once(Outcome::Ok(1), 1).violations(), 0);
        assert_eq!(once(Outcome::Unknown, 0).violations(), 0);
        assert_eq!(once(Outcome::Unknown, 1).violations(), 0);
        assert_eq!(once(Outcome::Ok(1), 0).lost, 1);
        assert_eq!(once(Outcome::Ok(1), 2).doubled, 1);
        assert_eq!(once(Outcome::Unknown, 2).doubled, 1);
        assert_eq!(once(Outcome::Refused, 1).violations(), 1);
    }

    #[test]
    fn a_list_shows_loss_and_repetition() {
        let append = |number| event(Operation::Append { number }, 1, 2, Outcome::Ok(1));
        let end = FinalState { lists: BTreeMap::from([(1, vec![5, 5])]), ..FinalState::default() };
        let verdict = verdict(vec![append(5), append(6)], end);
        assert_eq!((verdict.lost, verdict.doubled), (1, 1));
    }

    #[test]
    fn a_register_shows_what_is_old_and_what_is_gone() {
        let write = |value, asked, answered, outcome| {
            event(Operation::Write { register: R, value }, asked, answered, outcome)
        };
        let read = |value, at| event(Operation::Read { register: R }, at, at + 1, Outcome::Ok(value));
        let judged = |reads: &[Event], last| {
            let mut events = vec![
                write(1, 10, 20, Outcome::Ok(0)),
                write(2, 30, 40, Outcome::Refused),
                write(3, 50, 60, Outcome::Ok(0)),
                write(4, 70, 80, Outcome::Unknown),
            ];
            events.extend_from_slice(reads);
            verdict(events, FinalState { registers: BTreeMap::from([(R, last)]), ..FinalState::default() })
        };
        assert_eq!(judged(&[read(0, 15), read(1, 21), read(3, 90), read(4, 95)], 4).violations(), 0);
        assert_eq!(judged(&[read(3, 90)], 3).violations(), 0, "an unknown write may never happen");
        assert_eq!(judged(&[read(0, 21)], 3).stale, 1, "older than an acknowledged write");
        assert_eq!(judged(&[read(2, 41)], 3).other, 1, "a refused write");
        assert_eq!(judged(&[], 1).lost, 1, "an acknowledged write is gone in the end");
    }
}
