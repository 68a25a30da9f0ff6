//! Accounts of a bank: whatever is moved between them, every read sees the same sum.

use crate::model::Key;
use crate::operation::Action;
use crate::verdict::{Kind, Verdict};

/// Judges one bank. Without a total, that of its first read is the right one.
pub(crate) fn check(key: &Key<'_>, total: Option<i64>, verdict: &mut Verdict) {
    let mut expected = total.map(|total| (i128::from(total), None));
    for (at, operation) in key.operations().filter(|(_, it)| it.is_ok()) {
        let Action::Balances { seen } = &operation.action else { continue };
        let sum: i128 = seen.iter().map(|balance| i128::from(*balance)).sum();
        let (right, first) = *expected.get_or_insert((sum, Some(at)));
        if sum != right {
            let witnesses: Vec<usize> = first.into_iter().chain([at]).collect();
            let text = format!("the accounts add up to {sum}, not {right}");
            verdict.found(Kind::Unbalanced, key.name, &witnesses, text);
        }
    }
}
