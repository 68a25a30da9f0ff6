//! Convergence: when all is at rest, every copy answers the same.
//!
//! Only reads marked as final count, and only those that say which copy answered: one per key and copy. The members of a
//! set have no order; the elements of a list do.

use crate::model::Key;
use crate::operation::{Action, Operation};
use crate::verdict::{Kind, Verdict};
use std::collections::BTreeSet;

/// Judges one key; whether there was anything to compare.
pub(crate) fn check(key: &Key<'_>, verdict: &mut Verdict) -> bool {
    let answers = || key.operations().filter(|(_, it)| it.is_ok() && it.replica.is_some());
    let Some((first, one)) = answers().next() else { return false };
    let mut is_compared = false;
    for (at, other) in answers().skip(1) {
        is_compared |= other.replica != one.replica;
        if !agree(one, other) {
            verdict.found(Kind::Diverged, key.name, &[first, at], "two copies differ".to_owned());
        }
    }
    is_compared
}

fn agree(one: &Operation, other: &Operation) -> bool {
    match (&one.action, &other.action) {
        (Action::Members { seen: one }, Action::Members { seen: other }) => {
            one.iter().collect::<BTreeSet<_>>() == other.iter().collect::<BTreeSet<_>>()
        }
        (one, other) => one == other,
    }
}
