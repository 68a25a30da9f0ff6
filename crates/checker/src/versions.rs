//! The writes of one register by value: which of them can explain a read, and which must have taken its place.

use crate::model::Key;
use crate::operation::{Action, Operation, Status, Value};
use std::collections::BTreeMap;

/// A write as far as times go. Everything is later than what was there at first, which has `start` and `end` 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write {
    pub at: Option<usize>,
    pub start: u64,
    pub end: u64,
}

/// One more than the time, so that 0 is before everything.
pub(crate) fn later(time: u64) -> u64 {
    time.saturating_add(1)
}

/// What an operation leaves behind.
pub(crate) fn written(action: &Action) -> Option<Option<&Value>> {
    match action {
        Action::Write { value } => Some(value.as_ref()),
        Action::Swap { value, .. } => Some(Some(value)),
        _ => None,
    }
}

/// What an operation found there.
pub(crate) fn seen(operation: &Operation) -> Option<Option<&Value>> {
    match &operation.action {
        Action::Read { seen } if operation.is_ok() => Some(seen.as_ref()),
        Action::Swap { expected, .. } if operation.is_ok() => Some(expected.as_ref()),
        _ => None,
    }
}

/// The writes of a register.
pub(crate) struct Versions<'a> {
    /// By value, those that may have happened by their starts, each with the latest end up to it.
    writes: BTreeMap<Option<&'a Value>, Vec<(Write, Write)>>,
    refused: BTreeMap<Option<&'a Value>, usize>,
    /// Acknowledged writes by their starts, each with the first that ended among it and all after it.
    acknowledged: Vec<(u64, Write)>,
}

/// Why nothing can explain a read.
pub(crate) enum Unexplained {
    Phantom,
    Refused(usize),
    Early(usize),
    /// The write that it saw, if not the first value, and the one that took its place.
    Stale(Option<usize>, usize),
}

impl<'a> Versions<'a> {
    pub fn of(key: &Key<'a>) -> Versions<'a> {
        let first = Write { at: None, start: 0, end: 0 };
        let mut writes: BTreeMap<Option<&Value>, Vec<(Write, Write)>> =
            BTreeMap::from([(None, vec![(first, first)])]);
        let mut refused = BTreeMap::new();
        let mut acknowledged = Vec::new();
        for (at, operation) in key.operations() {
            let Some(value) = written(&operation.action) else { continue };
            let write = Write { at: Some(at), start: later(operation.start), end: later(operation.end) };
            match operation.status {
                Status::Fail => {
                    refused.insert(value, at);
                    continue;
                }
                Status::Ok => acknowledged.push((write.start, write)),
                Status::Info => {}
            }
            let same = writes.entry(value).or_default();
            let latest = same.last().map(|(_, latest)| *latest).filter(|latest| latest.end > write.end);
            same.push((write, latest.unwrap_or(write)));
        }
        for at in (1..acknowledged.len()).rev() {
            if acknowledged[at].1.end < acknowledged[at - 1].1.end {
                acknowledged[at - 1].1 = acknowledged[at].1;
            }
        }
        Versions { writes, refused, acknowledged }
    }

    /// Whether no value was written twice, nor the first value written again.
    pub fn are_unique(&self) -> bool {
        self.writes.values().all(|same| same.len() == 1)
    }

    /// The acknowledged write that ended first among those that began after `write` had ended.
    pub fn successor(&self, write: &Write) -> Option<Write> {
        let at = self.acknowledged.partition_point(|(start, _)| *start <= write.end);
        self.acknowledged.get(at).map(|(_, first)| *first)
    }

    /// The write that explains best that `value` was seen by an operation that ended at `end`: the one that ended last.
    pub fn source(&self, value: Option<&Value>, end: u64) -> Result<Write, Unexplained> {
        let Some(same) = self.writes.get(&value) else {
            return Err(self
                .refused
                .get(&value)
                .map_or(Unexplained::Phantom, |at| Unexplained::Refused(*at)));
        };
        let before = same.partition_point(|(write, _)| write.start <= later(end));
        match before.checked_sub(1) {
            Some(last) => Ok(same[last].1),
            None => match same[0].0.at {
                Some(at) => Err(Unexplained::Early(at)),
                None => Err(Unexplained::Phantom),
            },
        }
    }

    /// Whether some write explains what one operation saw, all others left aside. Exact: see the test against all orders.
    pub fn explain(&self, value: Option<&Value>, start: u64, end: u64) -> Result<Write, Unexplained> {
        let source = self.source(value, end)?;
        match self.successor(&source) {
            Some(Write { at: Some(newer), end, .. }) if end < later(start) => {
                Err(Unexplained::Stale(source.at, newer))
            }
            _ => Ok(source),
        }
    }
}
