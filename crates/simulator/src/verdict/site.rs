//! What clients of multi-leader keyspaces saw: judged as in leaderless ones with stand-ins, each element, increment and value by
//! itself, in the end; an answer is never shown before its question, and no transaction in part, at any time.
//!
//! Source: DESIGN section 8; bugs: ML-04, ML-06, ML-11, ML-13, TC-83, TC-84

use super::{always, quorum};
use crate::history::{Did, Operation, Outcome};
use crate::invariants::Violation;
use crate::world::Quorums;

pub const SURVIVES: &str = "acknowledged writes reach all sites";
pub const ONCE: &str = "increments count once at each site";
pub const DELETED: &str = "what was deleted at a site does not return";
pub const WHOLE: &str = "transactions are shown whole at every site";
pub const CAUSES: &str = "no effect is shown before its cause";

/// `healed`: since when no fault was under way and all sites were equal.
pub fn judge(operations: &[&Operation], promise: Quorums, healed: u64) -> Result<u64, Violation> {
    match operations.first().map(|it| &it.did) {
        Some(Did::Observe { .. }) => return causes(operations),
        Some(Did::Transfer | Did::Total { .. }) => return whole(operations),
        _ => {}
    }
    quorum::judge(operations, promise, healed).map_err(|violation| {
        let property = match violation.property {
            quorum::SURVIVES => SURVIVES,
            quorum::ONCE => ONCE,
            quorum::DELETED => DELETED,
            other => other,
        };
        Violation { property, ..violation }
    })
}

fn causes(operations: &[&Operation]) -> Result<u64, Violation> {
    for operation in operations.iter().filter(|it| it.outcome == Outcome::Ok) {
        if let Did::Observe { answer, question, .. } = operation.did
            && answer > question
        {
            let text =
                format!("answer {answer} was shown by {}, and then only question {question}", operation.node);
            return always(CAUSES, text);
        }
    }
    Ok(0)
}

/// What is moved between accounts is never missing, nor there twice.
fn whole(operations: &[&Operation]) -> Result<u64, Violation> {
    for operation in operations.iter().filter(|it| it.outcome == Outcome::Ok) {
        if let Did::Total { seen } = operation.did
            && seen != 0
        {
            return always(
                WHOLE,
                format!("the accounts of {} add up to {seen} on {}", operation.key, operation.node),
            );
        }
    }
    Ok(0)
}
