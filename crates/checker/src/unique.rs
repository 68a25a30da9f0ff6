//! Things given out, as ids: nobody gets what somebody else got.

use crate::model::Key;
use crate::operation::{Action, Value};
use crate::verdict::{Kind, Verdict};
use std::collections::BTreeMap;

pub(crate) fn check(key: &Key<'_>, verdict: &mut Verdict) {
    let mut owners: BTreeMap<&Value, usize> = BTreeMap::new();
    for (at, operation) in key.operations().filter(|(_, it)| it.is_ok()) {
        if let Action::Issue { result } = &operation.action
            && let Some(other) = owners.insert(result, at)
        {
            verdict.found(Kind::Duplicated, key.name, &[other, at], format!("{result} was given out twice"));
        }
    }
}
