//! What clients asked and were told, with times.

use std::collections::BTreeMap;

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

pub fn once_key(client: u32, number: u64) -> String {
    format!("once:{client}:{number}")
}

pub fn list_key(client: u32) -> String {
    format!("list:{client}")
}
