//! What clients asked and were told, with times.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde_json::json;

/// One operation of one client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// `INCR` of the one shared counter; the answer is its new value.
    Count,
    /// `INCR` of a key that is used once.
    Once { number: u64 },
    /// `RPUSH` to the client's own list.
    Append { number: u64 },
    /// `SET` of a register that only this client writes, with growing values.
    Write { register: Register, value: i64 },
    /// `GET` of anybody's register; the answer is its value, 0 for none.
    Read { register: Register },
}

/// A register is given up after a write whose outcome is unknown: such a write may happen at any later time, and
/// with nothing written after it, reads of one register never go back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Register {
    pub owner: u32,
    pub generation: u32,
}

impl Register {
    pub fn key(self) -> String {
        format!("register:{}:{}", self.owner, self.generation)
    }
}

/// What the client knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It happened; the number that the reply carried.
    Ok(i64),
    /// It did not happen: nothing was sent, or the server said so.
    Refused,
    /// No answer: it may have happened, or may happen yet.
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    pub client: u32,
    pub operation: Operation,
    /// Microseconds since the run began.
    pub asked_us: u64,
    pub answered_us: u64,
    pub outcome: Outcome,
}

/// A whole run, in no particular order.
#[derive(Default)]
pub struct History {
    pub events: Vec<Event>,
    /// Errors that say neither "not applied" nor "unknown", and how often they came.
    pub unexpected: BTreeMap<String, u64>,
}

impl History {
    /// Writes one JSON object per line: `process`, `f`, `key`, `value`, `type` (ok, fail, info), `start`, `end` in µs.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        for event in &self.events {
            let (f, key, argument) = match event.operation {
                Operation::Count => ("add", "counter".to_owned(), Some(1)),
                Operation::Once { number } => ("add", once_key(event.client, number), Some(1)),
                Operation::Append { number } => ("append", list_key(event.client), Some(number as i64)),
                Operation::Write { register, value } => ("write", register.key(), Some(value)),
                Operation::Read { register } => ("read", register.key(), None),
            };
            let (kind, answer) = match event.outcome {
                Outcome::Ok(answer) => ("ok", Some(answer)),
                Outcome::Refused => ("fail", None),
                Outcome::Unknown => ("info", None),
            };
            let line = json!({
                "process": event.client, "f": f, "key": key, "value": argument, "answer": answer,
                "type": kind, "start": event.asked_us, "end": event.answered_us,
            });
            writeln!(file, "{line}")?;
        }
        file.flush()
    }
}

pub fn once_key(client: u32, number: u64) -> String {
    format!("once:{client}:{number}")
}

pub fn list_key(client: u32) -> String {
    format!("list:{client}")
}
