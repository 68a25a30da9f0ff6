//! Linearizability of registers, key by key: a history is linearizable exactly when that of each key is (Herlihy and
//! Wing, "Linearizability", 1990, theorem 1).
//!
//! Three steps. What one read alone makes impossible has a name: a phantom, a refused write, a write from the future, a
//! value whose successor was already acknowledged. Those reads are set aside, and an order is looked for that explains the
//! rest: by clusters where every value is written once, which always has an answer ([`crate::clusters`]); by a bounded
//! search where values repeat ([`crate::search`]).

use crate::clusters::{self, Conflict};
use crate::model::{Key, Settings};
use crate::operation::{NEVER, Status, Value};
use crate::search::{self, Answer};
use crate::verdict::{Kind, Verdict};
use crate::versions::{Unexplained, Versions, later, seen, written};
use std::collections::BTreeMap;

/// A register's operation, with its values as numbers: 0 is "no value", which is there at first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// Its place in the history.
    pub at: usize,
    pub start: u64,
    /// [`NEVER`] for an unknown outcome: the step may be left out.
    pub end: u64,
    /// What must be there.
    pub needs: Option<u32>,
    pub leaves: Option<u32>,
}

pub(crate) fn check(key: &Key<'_>, settings: &Settings, verdict: &mut Verdict) {
    let versions = Versions::of(key);
    let mut set_aside = Vec::new();
    for (at, operation) in key.operations() {
        let Some(value) = seen(operation) else { continue };
        if let Err(why) = versions.explain(value, operation.start, operation.end) {
            tell(key, at, value, &why, verdict);
            set_aside.push(at);
        }
    }
    let (steps, names) = steps(key, &set_aside);
    let name = |state: u32| show(names[state as usize]);
    if versions.are_unique() {
        if let Err(Conflict { kind, states: (one, other), witnesses }) = clusters::check(&steps, names.len())
        {
            let text = match kind {
                Kind::LostUpdate => format!("{} and {} both took one place", name(one), name(other)),
                _ if one == other => format!("{} took the place of what was never there", name(one)),
                _ => format!("{} and {} were each there before the other", name(one), name(other)),
            };
            verdict.found(kind, key.name, &witnesses, text);
        }
        return;
    }
    match search::explain(&steps, settings.states_max) {
        Answer::Explained => {}
        Answer::GivenUp => verdict.undecided.push(key.name.clone()),
        Answer::Broken { placed, stuck } => {
            let text = format!(
                "no order explains {} operations: the best one places {placed} and then has no place for this",
                steps.len()
            );
            verdict.found(Kind::NotLinearizable, key.name, &[stuck], text);
        }
    }
}

pub(crate) fn show(value: Option<&Value>) -> String {
    value.map_or_else(|| "no value".to_owned(), Value::to_string)
}

/// Reports what one operation saw and could not have seen.
pub(crate) fn tell(
    key: &Key<'_>,
    at: usize,
    value: Option<&Value>,
    why: &Unexplained,
    verdict: &mut Verdict,
) {
    let value = show(value);
    let (kind, witnesses, text) = match why {
        Unexplained::Phantom => (Kind::Phantom, vec![at], format!("{value} was seen and never written")),
        Unexplained::Refused(write) => {
            (Kind::Refused, vec![*write, at], format!("{value} was refused and seen"))
        }
        Unexplained::Early(write) => {
            (Kind::Early, vec![at, *write], format!("{value} was seen before it was written"))
        }
        Unexplained::Stale(write, newer) => {
            // What the last reads miss is lost, not late.
            let kind = if key.history[at].is_final { Kind::Lost } else { Kind::Stale };
            let witnesses = write.iter().copied().chain([*newer, at]).collect();
            (kind, witnesses, format!("{value} was seen after a newer value had been acknowledged"))
        }
    };
    verdict.found(kind, key.name, &witnesses, text);
}

/// The operations that an order must explain, and the values by number.
fn steps<'a>(key: &Key<'a>, set_aside: &[usize]) -> (Vec<Step>, Vec<Option<&'a Value>>) {
    let mut names = vec![None];
    let mut numbers: BTreeMap<&Value, u32> = BTreeMap::new();
    let mut number = |value: Option<&'a Value>| match value {
        None => 0,
        Some(value) => *numbers.entry(value).or_insert_with(|| {
            names.push(Some(value));
            names.len() as u32 - 1
        }),
    };
    let mut steps = Vec::with_capacity(key.places.len());
    let mut set_aside = set_aside.iter().peekable();
    for (at, operation) in key.operations() {
        // Both are in the order of the key's operations.
        let is_set_aside = set_aside.next_if(|it| **it == at).is_some();
        let mut needs = match &operation.action {
            crate::Action::Swap { expected, .. } => Some(number(expected.as_ref())),
            _ => seen(operation).map(&mut number),
        };
        let leaves = written(&operation.action).map(&mut number);
        if is_set_aside {
            // A swap that saw what it could not see has still written.
            needs = None;
        }
        let has_meaning = needs.is_some() || leaves.is_some();
        let end = match operation.status {
            Status::Fail => continue,
            Status::Ok => later(operation.end),
            Status::Info => NEVER,
        };
        if has_meaning && (operation.is_ok() || leaves.is_some()) {
            steps.push(Step { at, start: later(operation.start), end, needs, leaves });
        }
    }
    (steps, names)
}
