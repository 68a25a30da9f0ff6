//! What clients of leaderless keyspaces asked and were told, and how the judges read it.

use std::collections::BTreeMap;

use checker::{Action, Status, Value};

/// One operation of one client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Did {
    /// SADD, SREM with whether something was found, SMEMBERS.
    Add {
        element: i64,
    },
    Remove {
        element: i64,
        found: bool,
    },
    Members {
        seen: Vec<i64>,
    },
    /// INCR; GET of a counter.
    Increment,
    Count {
        seen: i64,
    },
    /// SET, or DEL with `None`, of a register that one client alone writes; GET.
    Write {
        value: Option<i64>,
    },
    Read {
        seen: Option<i64>,
    },
    /// `SET ... GET` of a linearizable register: what was there, and what is.
    Swap {
        old: Option<i64>,
        new: i64,
    },
    /// SETV behind the context of a GETV that showed `saw`; GETV.
    Put {
        value: i64,
        saw: Vec<i64>,
    },
    Look {
        seen: Vec<i64>,
    },
}

impl Did {
    pub fn is_write(&self) -> bool {
        !matches!(self, Did::Members { .. } | Did::Count { .. } | Did::Read { .. } | Did::Look { .. })
    }
}

/// What the client knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Ok,
    /// It did not happen: nothing was sent, or the server said so.
    Refused,
    /// It may have happened, or may happen yet.
    Unknown,
}

#[derive(Clone, Debug)]
pub struct Event {
    pub client: u32,
    /// Its keyspace in [`super::cluster::KEYSPACES`].
    pub keyspace: usize,
    pub key: String,
    pub did: Did,
    /// Microseconds since the run began.
    pub asked_us: u64,
    pub answered_us: u64,
    pub outcome: Outcome,
    /// One of the reads after everything has come to rest.
    pub is_final: bool,
}

impl Event {
    /// Whether it was asked for under WITH LINEARIZABLE: then no stand-in and no stale copy has a part in it.
    pub fn is_agreed(&self) -> bool {
        is_agreed(&self.key)
    }
}

/// Whether all that is asked about this key is asked for under WITH LINEARIZABLE.
pub fn is_agreed(key: &str) -> bool {
    key.starts_with("agreed:")
}

/// A write that was refused for too few copies: when, and what it was told.
#[derive(Clone, Debug)]
pub struct NoQuorum {
    pub asked_us: u64,
    pub is_write: bool,
    pub words: String,
}

/// A whole run, in no particular order.
#[derive(Default)]
pub struct History {
    pub events: Vec<Event>,
    pub no_quorum: Vec<NoQuorum>,
    /// Answers that began with INDETERMINATE.
    pub indeterminate: u64,
    /// Errors that no client of this run should be told, and how often they came.
    pub unexpected: BTreeMap<String, u64>,
}

impl History {
    pub fn merge(&mut self, other: History) {
        self.events.extend(other.events);
        self.no_quorum.extend(other.no_quorum);
        self.indeterminate += other.indeterminate;
        for (words, count) in other.unexpected {
            *self.unexpected.entry(words).or_default() += count;
        }
    }
}

/// An operation as the checkers read it; nothing for versions, which [`super::versions`] judges.
pub fn recorded(event: &Event, keyspace: &str) -> Option<checker::Operation> {
    let action = match &event.did {
        Did::Add { element } => Action::Add { element: Value::from(*element) },
        Did::Remove { element, .. } => Action::Remove { element: Value::from(*element) },
        Did::Members { seen } => Action::Members { seen: seen.iter().map(|it| Value::from(*it)).collect() },
        // What an increment is told is what its minter saw: it counts, and says no more.
        Did::Increment => Action::Increment { by: 1, result: None },
        Did::Count { seen } => Action::Count { seen: *seen },
        Did::Write { value } => Action::Write { value: value.map(Value::from) },
        Did::Read { seen } => Action::Read { seen: seen.map(Value::from) },
        Did::Swap { old, new } => Action::Swap { expected: old.map(Value::from), value: Value::from(*new) },
        Did::Put { .. } | Did::Look { .. } => return None,
    };
    let status = match event.outcome {
        Outcome::Ok => Status::Ok,
        Outcome::Refused => Status::Fail,
        Outcome::Unknown => Status::Info,
    };
    let (start, end) = (event.asked_us * 1000, event.answered_us * 1000);
    let key = format!("{keyspace}/{}", event.key);
    let operation = checker::Operation::new(u64::from(event.client), &key, action, start, end, status);
    Some(checker::Operation { is_final: event.is_final, ..operation })
}
