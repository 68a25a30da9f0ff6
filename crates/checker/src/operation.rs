//! What a client did and saw: the one thing that every judge reads.

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// The end of an operation that never came back: it may take effect at any later time.
pub const NEVER: u64 = u64::MAX;

/// What was written or seen. Two values are the same when they are equal: a number is no text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Value {
    Integer(i64),
    Text(Arc<str>),
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Integer(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.into())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Integer(number) => write!(f, "{number}"),
            Value::Text(text) => write!(f, "{text:?}"),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Integer(number) => serializer.serialize_i64(*number),
            Value::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl Visitor<'_> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer or a string")
    }
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        i64::try_from(number).map(Value::Integer).map_err(|_| E::custom("an integer beyond 63 bits"))
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.into()))
    }
}

/// How an operation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    /// Surely without effect.
    Fail,
    /// Nobody can say: it may have happened, not happened, or happen yet.
    Info,
}

/// What was asked and, if the status is `Ok`, what came back. Of other operations what came back means nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// A register; `None` is "no value".
    Read {
        seen: Option<Value>,
    },
    /// `None` deletes.
    Write {
        value: Option<Value>,
    },
    /// Takes the place of exactly `expected`.
    Swap {
        expected: Option<Value>,
        value: Value,
    },
    /// A set.
    Add {
        element: Value,
    },
    Remove {
        element: Value,
    },
    Members {
        seen: Vec<Value>,
    },
    /// A list whose elements differ.
    Append {
        element: Value,
    },
    Range {
        seen: Vec<Value>,
    },
    /// A counter; `result` is its value right after.
    Increment {
        by: i64,
        result: Option<i64>,
    },
    Count {
        seen: i64,
    },
    /// Something that nobody else may ever get.
    Issue {
        result: Value,
    },
    /// Moves between accounts of one bank.
    Transfer,
    /// The accounts of a bank, or their one sum.
    Balances {
        seen: Vec<i64>,
    },
}

impl Action {
    /// Whether it only looks.
    pub fn is_read(&self) -> bool {
        use Action::*;
        matches!(self, Read { .. } | Members { .. } | Range { .. } | Count { .. } | Balances { .. })
    }
}

/// One operation of one client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    pub client: u64,
    /// Whose memory it belongs to, for session guarantees; usually the client.
    pub session: u64,
    pub key: Arc<str>,
    pub action: Action,
    /// Nanoseconds on one monotonic clock; `end` is [`NEVER`] for what never came back.
    pub start: u64,
    pub end: u64,
    pub status: Status,
    /// Where in the one order of its keyspace a write stands, or up to where a read's replica had come.
    pub index: Option<u64>,
    /// Which copy answered.
    pub replica: Option<u64>,
    /// Asked of a copy that may lag: nothing is promised of it but what its session and its position say.
    pub is_stale_read: bool,
    /// One of the reads after everything has come to rest.
    pub is_final: bool,
}

impl Operation {
    /// An operation of a client in its own session, about which nothing else is known.
    pub fn new(client: u64, key: &str, action: Action, start: u64, end: u64, status: Status) -> Operation {
        let end = if status == Status::Info { NEVER } else { end };
        Operation {
            client,
            session: client,
            key: key.into(),
            action,
            start,
            end,
            status,
            index: None,
            replica: None,
            is_stale_read: false,
            is_final: false,
        }
    }

    pub fn is_ok(&self) -> bool {
        self.status == Status::Ok
    }

    /// Whether it may have taken effect.
    pub fn may_have_happened(&self) -> bool {
        self.status != Status::Fail
    }
}
