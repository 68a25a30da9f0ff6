//! What clients of multi-leader keyspaces saw: judged as in leaderless ones with stand-ins, each element, increment and value by
//! itself, in the end; an answer is never shown before its question, and no transaction in part, at any time.
//!
//! Source: DESIGN section 8; bugs: ML-04, ML-06, ML-11, ML-13, TC-83, TC-84, TC-85, TC-86, TC-87

use super::{always, quorum};
use crate::history::{Did, Operation, Outcome};
use crate::invariants::Violation;
use crate::workload::sites::is_ticket;
use crate::world::Quorums;

pub const SURVIVES: &str = "acknowledged writes reach all sites";
pub const ONCE: &str = "increments count once at each site";
pub const DELETED: &str = "what was deleted at a site does not return";
pub const WHOLE: &str = "transactions are shown whole at every site";
pub const ONE_ORDER: &str = "a write has seen the writes of its key before it";
pub const CAUSES: &str = "no effect is shown before its cause";

/// `healed`: since when no fault was under way and all sites were equal.
pub fn judge(operations: &[&Operation], promise: Quorums, healed: u64) -> Result<u64, Violation> {
    match operations.first().map(|it| &it.did) {
        Some(Did::Observe { .. }) => return causes(operations),
        Some(Did::Transfer | Did::Total { .. }) => return whole(operations),
        _ => {}
    }
    if operations.first().is_some_and(|it| is_ticket(&it.key)) {
        in_order(operations)?;
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

/// Where sites agree to each write no two increments are told the same number, and none that began behind another is told a lower
/// one.
fn in_order(operations: &[&Operation]) -> Result<(), Violation> {
    let told = operations.iter().filter(|it| it.outcome == Outcome::Ok);
    let mut told: Vec<(i64, &Operation)> = told
        .filter_map(|it| if let Did::Increment { seen } = it.did { Some((seen, *it)) } else { None })
        .collect();
    told.sort_by_key(|(seen, it)| (*seen, it.start));
    // Going up, nobody may have ended before one of a lower number began.
    let mut begun = 0;
    for (at, (seen, it)) in told.iter().enumerate() {
        if at > 0 && told[at - 1].0 == *seen {
            let (one, other) = (told[at - 1].1.node, it.node);
            return always(ONE_ORDER, format!("{seen} of {} was given on {one} and on {other}", it.key))
                .map(|_| ());
        }
        if it.end < begun {
            let text =
                format!("{seen} of {} was given on {} before a lower number was asked for", it.key, it.node);
            return always(ONE_ORDER, text).map(|_| ());
        }
        begun = begun.max(it.start);
    }
    Ok(())
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
