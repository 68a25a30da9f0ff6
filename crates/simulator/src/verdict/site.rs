//! What clients of multi-leader keyspaces saw: judged as in leaderless ones with stand-ins, each element, increment and value by
//! itself, in the end; and an answer is never shown before its question, at any time.
//!
//! Source: DESIGN section 8; bugs: ML-04, ML-06, ML-11, ML-13

use super::{always, quorum};
use crate::history::{Did, Operation, Outcome};
use crate::invariants::Violation;
use crate::world::Quorums;

pub const SURVIVES: &str = "acknowledged writes reach all sites";
pub const ONCE: &str = "increments count once at each site";
pub const DELETED: &str = "what was deleted at a site does not return";
pub const CAUSES: &str = "no effect is shown before its cause";

/// `healed`: since when no fault was under way and all sites were equal.
pub fn judge(operations: &[&Operation], promise: Quorums, healed: u64) -> Result<u64, Violation> {
    if let Some(Did::Observe { .. }) = operations.first().map(|it| &it.did) {
        return causes(operations);
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
