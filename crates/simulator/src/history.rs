//! What clients did and saw.

use crate::reply::Reply;
use checker::{Action, Status, Value};
use data::NodeId;

/// How an operation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Ok,
    /// Surely without effect.
    Fail,
    /// Nobody can say.
    Info,
}

/// What an operation did. Values that are written are unique in a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Did {
    Write {
        value: i64,
    },
    Read {
        value: Option<i64>,
    },
    /// WATCH, GET, then MULTI, SET, EXEC: takes the place of exactly what was read.
    Swap {
        old: Option<i64>,
        new: i64,
    },
    /// INCR; `seen` is the result.
    Increment {
        seen: i64,
    },
    Count {
        seen: i64,
    },
    /// DEL of a counter.
    Clear,
    Add {
        element: i64,
    },
    /// SREM; `gone`: it was found.
    Remove {
        element: i64,
        gone: bool,
    },
    Members {
        seen: Vec<i64>,
    },
    /// What must be refused.
    Misuse,
    Push {
        element: i64,
    },
    Range {
        seen: Vec<i64>,
    },
    Transfer,
    Total {
        seen: i64,
    },
    /// SET with an expiry; each key is written once.
    SetExpiring {
        value: i64,
    },
    ReadExpiring {
        value: Option<i64>,
    },
    /// INCR, alone or in a transaction: nobody else may get `id`.
    Issue {
        id: i64,
    },
    /// The number of the newest answer, then that of the newest question; `copies`: under READONLY, without a token.
    Observe {
        answer: i64,
        question: i64,
        copies: bool,
    },
    /// Any command of the product: only its survival is judged.
    Anything,
}

/// In whose session an operation was, and where it was executed, as RECEIPT says.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Place {
    /// The client, or the copy's answers on one connection; nothing where sessions are not judged.
    pub session: Option<u64>,
    /// Where a write stands in the log, or how far the copy had come that a read was answered from.
    pub index: Option<u64>,
    /// Answered from a follower's copy, however old.
    pub from_copy: bool,
    /// In a session that goes from node to node; whether it took a token along.
    pub roamed: Option<bool>,
    /// How old the answer might be, ms.
    pub staleness_ms_max: Option<u64>,
    /// It took stand-ins to reach the quorum.
    pub is_sloppy: bool,
    /// SADD said that the element was there before.
    pub was_there: bool,
}

impl Place {
    /// What RECEIPT says of a request that a quorum answered.
    pub fn of_quorum(receipt: &Reply) -> Place {
        // A receipt that does not say so promises nothing.
        Place { is_sloppy: receipt.field("sloppy") != Some(&Reply::Integer(0)), ..Place::default() }
    }
    /// What RECEIPT says of a read or a write; nothing when it speaks of something else.
    pub fn told(receipt: &Reply, is_write: bool) -> Option<Place> {
        let says = |name: &str, text: &str| receipt.field(name) == Some(&Reply::Bulk(text.into()));
        if !says("kind", if is_write { "write" } else { "read" }) {
            return None;
        }
        let from_copy = says("role", "follower");
        // A leader reads ahead of what is committed, though no key that is: only a copy's position says what it shows.
        let index = receipt.field("index").and_then(Reply::number).filter(|_| from_copy || is_write);
        let index = index.map(i64::cast_unsigned).filter(|index| *index > 0 || from_copy);
        Some(Place { index, from_copy, ..Place::default() })
    }
}

#[derive(Clone, Debug)]
pub struct Operation {
    pub client: usize,
    pub node: NodeId,
    /// Index into the run's keyspaces.
    pub keyspace: usize,
    pub key: String,
    pub did: Did,
    pub place: Place,
    /// Virtual time in ns; `end` is the greatest there is for what never came back.
    pub start: u64,
    pub end: u64,
    pub outcome: Outcome,
}

impl Operation {
    /// As a judge reads it that knows nothing of the cluster, if there is one for it.
    pub fn recorded(&self) -> Option<checker::Operation> {
        let number = |it: &i64| Value::Integer(*it);
        let numbers = |seen: &[i64]| seen.iter().map(number).collect();
        let action = match &self.did {
            Did::Write { value } => Action::Write { value: Some(number(value)) },
            Did::Read { value } => Action::Read { seen: value.as_ref().map(number) },
            Did::Swap { old, new } => Action::Swap { expected: old.as_ref().map(number), value: number(new) },
            Did::Increment { seen } => Action::Increment { by: 1, result: Some(*seen) },
            Did::Count { seen } => Action::Count { seen: *seen },
            Did::Add { element } => Action::Add { element: number(element) },
            Did::Members { seen } => Action::Members { seen: numbers(seen) },
            Did::Push { element } => Action::Append { element: number(element) },
            Did::Range { seen } => Action::Range { seen: numbers(seen) },
            Did::Issue { id } => Action::Issue { result: number(id) },
            Did::Transfer => Action::Transfer,
            Did::Total { seen } => Action::Balances { seen: vec![*seen] },
            Did::Remove { .. }
            | Did::Clear
            | Did::Misuse
            | Did::SetExpiring { .. }
            | Did::ReadExpiring { .. }
            | Did::Observe { .. }
            | Did::Anything => {
                return None;
            }
        };
        let status = match self.outcome {
            Outcome::Ok => Status::Ok,
            Outcome::Fail => Status::Fail,
            Outcome::Info => Status::Info,
        };
        let key = format!("{}/{}", self.keyspace, self.key);
        let client = self.client as u64;
        let plain = checker::Operation::new(client, &key, action, self.start, self.end, status);
        let Place { session, index, from_copy, .. } = self.place;
        Some(checker::Operation {
            session: session.unwrap_or(client),
            index,
            replica: from_copy.then_some(u64::from(self.node.0)),
            is_stale_read: from_copy,
            ..plain
        })
    }
}

/// First words of replies that mean: surely not applied.
const REFUSALS: [&str; 18] = [
    "CONFLICT",
    "LINEARIZABLE",
    "NOQUORUM",
    "EXCLUSIVE",
    "MISCONF",
    "TOKENLOST",
    "NOREPLICAS",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "READONLY",
    "MOVED",
    "ERR",
    "EXECABORT",
    "LOADING",
    "WRONGTYPE",
    "NOAUTH",
    "OOM",
    "WATCHCHANGED",
];

/// What an error reply says about the effect.
pub fn outcome_of_error(text: &str) -> Outcome {
    let word = text.split(' ').next().unwrap_or_default();
    if REFUSALS.contains(&word) { Outcome::Fail } else { Outcome::Info }
}
