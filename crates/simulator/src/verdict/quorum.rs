//! What clients of leaderless keyspaces saw. Nobody orders writes there, so no judge of orders can say anything; what is
//! promised is said of each element, increment and value by itself.
//!
//! | property | strict | sloppy |
//! |---|---|---|
//! | what was acknowledged before a read began is seen by it | every read | reads after the end of faults |
//! | what was removed does not return | every read | reads after the end of faults |
//! | increments count once | every read | reads after the end of faults |
//! | reads do not go back (blocking repair) | every read | |
//! | stand-ins do not count, by the receipt | every request `WITH SLOPPY off` | the same |
//! | a write is told what it did | every SADD | every SADD |
//! | nothing is seen that nobody wrote, or that was refused | every read | every read |
//!
//! Source: DESIGN §9; bugs: LL-04, LL-05, LL-06, LL-07, LL-08, LL-15, LL-16, LL-24

use super::always;
use crate::history::{Did, Operation, Outcome};
use crate::invariants::Violation;
use crate::workload::quorum::is_strict;
use crate::world::Quorums;
use std::collections::BTreeMap;

pub const READS_MEET: &str = "reads see what was acknowledged before";
pub const SURVIVES: &str = "acknowledged writes survive in leaderless keyspaces";
pub const DELETED: &str = "what was deleted does not return";
pub const ONCE: &str = "increments count once";
pub const FORWARD: &str = "quorum reads do not go back";
pub const STRICT: &str = "strict requests count no stand-ins";
pub const TOLD: &str = "a write is told what it did";
pub const INVENTED: &str = "quorum reads show what was written";

/// `healed`: since when no fault was under way and all copies were equal.
pub fn judge(operations: &[&Operation], promise: Quorums, healed: u64) -> Result<u64, Violation> {
    // A read that may be judged, and whether it is one of the last ones.
    let counts = |it: &Operation| it.outcome == Outcome::Ok && (promise.strict || it.start >= healed);
    match operations.first().map(|it| &it.did) {
        Some(Did::Add { .. } | Did::Remove { .. } | Did::Members { .. }) => {
            sets(operations, promise, healed, &counts)
        }
        Some(Did::Increment { .. } | Did::Count { .. } | Did::Clear) => {
            counters(operations, promise, healed, &counts)
        }
        _ => registers(operations, healed, &counts),
    }?;
    let stood_in = operations.iter().find(|it| it.outcome == Outcome::Ok && it.place.is_sloppy);
    if let Some(found) = stood_in.filter(|it| is_strict(&it.key)) {
        return always(
            STRICT,
            format!("{:?} on {} from {} counted stand-ins", found.did, found.node, found.start),
        );
    }
    Ok(0)
}

type Counts<'c> = dyn Fn(&Operation) -> bool + 'c;

fn late(read: &Operation, healed: u64) -> &'static str {
    if read.start >= healed { SURVIVES } else { READS_MEET }
}

#[derive(Default)]
struct Element<'a> {
    add: Option<&'a Operation>,
    removes: Vec<&'a Operation>,
}

fn sets(
    operations: &[&Operation],
    promise: Quorums,
    healed: u64,
    counts: &Counts<'_>,
) -> Result<u64, Violation> {
    let mut elements: BTreeMap<i64, Element<'_>> = BTreeMap::new();
    for operation in operations {
        match operation.did {
            Did::Add { element } => elements.entry(element).or_default().add = Some(operation),
            Did::Remove { element, .. } => elements.entry(element).or_default().removes.push(operation),
            _ => {}
        }
    }
    let reads: Vec<(&Operation, &Vec<i64>)> = operations
        .iter()
        .filter(|it| it.outcome == Outcome::Ok)
        .filter_map(|it| if let Did::Members { seen } = &it.did { Some((*it, seen)) } else { None })
        .collect();
    for (read, seen) in &reads {
        for element in *seen {
            let add = elements.get(element).and_then(|it| it.add);
            if add.is_none_or(|add| add.start > read.end || add.outcome == Outcome::Fail) {
                return always(INVENTED, format!("{element} is seen, and nobody added it, or was refused"));
            }
        }
    }
    for (element, Element { add, removes }) in &elements {
        let Some(add) = add.filter(|add| add.outcome != Outcome::Fail) else { continue };
        if add.outcome == Outcome::Ok && add.place.was_there {
            return always(
                TOLD,
                format!("{element} was added at {}, and was told that it was there", add.start),
            );
        }
        // Whoever removes what was acknowledged, or says that it found it, has it removed for ever.
        let removed = removes.iter().filter(|it| it.outcome == Outcome::Ok).filter(|remove| {
            let met = add.outcome == Outcome::Ok && add.end < remove.start && promise.strict;
            met || matches!(remove.did, Did::Remove { gone: true, .. })
        });
        let removed_at = removed.map(|it| it.end).min().unwrap_or(u64::MAX);
        let first_remove = removes.iter().filter(|it| it.outcome != Outcome::Fail).map(|it| it.start).min();
        let mut shown_at = u64::MAX;
        for (read, seen) in reads.iter().filter(|(read, _)| counts(read)) {
            let is_seen = seen.contains(element);
            if is_seen && read.start > removed_at {
                let text = format!("{element} was removed at {removed_at}, and is seen at {}", read.start);
                return always(DELETED, text);
            }
            let may_be_gone = first_remove.is_some_and(|at| at < read.end);
            let acknowledged = add.outcome == Outcome::Ok && add.end < read.start;
            if acknowledged && !is_seen && !may_be_gone {
                let text = format!(
                    "{element} was added at {}, a read at {} on {} misses it",
                    add.end, read.start, read.node
                );
                return always(late(read, healed), text);
            }
            if is_seen {
                shown_at = shown_at.min(read.end);
            }
        }
        if promise.monotonic {
            let denies = |(read, seen): &&(&Operation, &Vec<i64>)| {
                read.start > shown_at
                    && !seen.contains(element)
                    && first_remove.is_none_or(|at| at >= read.end)
            };
            if let Some((read, _)) = reads.iter().find(denies) {
                let text = format!("{element} was shown at {shown_at}, a read at {} denies it", read.start);
                return always(FORWARD, text);
            }
        }
    }
    Ok(0)
}

fn counters(
    operations: &[&Operation],
    promise: Quorums,
    healed: u64,
    counts: &Counts<'_>,
) -> Result<u64, Violation> {
    let increments: Vec<&Operation> = operations
        .iter()
        .copied()
        .filter(|it| matches!(it.did, Did::Increment { .. }) && it.outcome != Outcome::Fail)
        .collect();
    let deletes: Vec<&Operation> =
        operations.iter().copied().filter(|it| it.did == Did::Clear && it.outcome != Outcome::Fail).collect();
    let reads = operations.iter().filter(|it| it.outcome == Outcome::Ok);
    let mut reads: Vec<(&Operation, i64)> = reads
        .filter_map(|it| if let Did::Count { seen } = it.did { Some((*it, seen)) } else { None })
        .collect();
    reads.sort_by_key(|(it, _)| it.end);
    // The most that any read that had ended showed.
    let mut shown: Vec<(u64, i64)> = Vec::new();
    for (read, seen) in reads {
        let most = increments.iter().filter(|it| it.start < read.end).count() as i64;
        if seen > most {
            return always(ONCE, format!("{seen} are counted of {most} increments that had begun"));
        }
        // What was acknowledged before a delete began that was acknowledged is gone for ever.
        let done = deletes.iter().filter(|it| it.outcome == Outcome::Ok && it.end < read.start);
        let gone = done.map(|it| it.start).max().filter(|_| promise.strict).unwrap_or(0);
        let dead = increments.iter().filter(|it| it.outcome == Outcome::Ok && it.end < gone).count() as i64;
        if seen > most - dead {
            let text = format!("{seen} are counted at {}, and {dead} of {most} were deleted", read.start);
            return always(DELETED, text);
        }
        // What no delete can have seen: it came after each that may have been made.
        let ends = deletes.iter().filter(|it| it.start < read.end);
        let ends = ends.map(|it| if it.outcome == Outcome::Ok { it.end } else { u64::MAX });
        let last = ends.max().unwrap_or(0);
        let done = increments.iter().filter(|it| {
            it.outcome == Outcome::Ok && it.end < read.start && (deletes.is_empty() || it.start > last)
        });
        let least = done.count() as i64;
        if counts(read) && seen < least {
            let text =
                format!("{seen} are counted on {} at {}, {least} were acknowledged", read.node, read.start);
            return always(late(read, healed), text);
        }
        let before = shown.iter().filter(|(end, _)| *end < read.start).map(|(_, seen)| *seen).max();
        if promise.monotonic && deletes.is_empty() && before.is_some_and(|before| before > seen) {
            return always(FORWARD, format!("{seen} after {before:?}"));
        }
        shown.push((read.end, seen));
    }
    Ok(0)
}

fn registers(operations: &[&Operation], healed: u64, counts: &Counts<'_>) -> Result<u64, Violation> {
    let mut writes: BTreeMap<i64, &Operation> = BTreeMap::new();
    for operation in operations {
        if let Did::Write { value } = operation.did {
            writes.insert(value, operation);
        }
    }
    let first = writes.values().filter(|it| it.outcome == Outcome::Ok).map(|it| it.end).min();
    for read in operations.iter().filter(|it| it.outcome == Outcome::Ok) {
        match read.did {
            Did::Read { value: Some(value) } => {
                let write = writes.get(&value);
                if write.is_none_or(|it| it.start > read.end || it.outcome == Outcome::Fail) {
                    return always(INVENTED, format!("{value} is seen, and nobody wrote it, or was refused"));
                }
            }
            Did::Read { value: None } if counts(read) && first.is_some_and(|end| end < read.start) => {
                let text =
                    format!("nothing is seen on {} at {}, something was acknowledged", read.node, read.start);
                return always(late(read, healed), text);
            }
            _ => {}
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Place;
    use data::NodeId;

    fn operation(did: Did, start: u64, end: u64, outcome: Outcome) -> Operation {
        Operation {
            client: 0,
            node: NodeId(1),
            keyspace: 0,
            key: "k".into(),
            did,
            place: Place::default(),
            start,
            end,
            outcome,
        }
    }

    fn property(strict: bool, operations: &[Operation]) -> Option<&'static str> {
        let all: Vec<&Operation> = operations.iter().collect();
        judge(&all, Quorums { strict, monotonic: strict }, 1_000).err().map(|it| it.property)
    }

    #[test]
    fn each_promise_can_be_broken() {
        use Outcome::{Fail, Info, Ok};
        let add = |at, outcome| operation(Did::Add { element: 7 }, at, at + 5, outcome);
        let remove = |at, gone| operation(Did::Remove { element: 7, gone }, at, at + 5, Ok);
        let members = |at, seen: &[i64]| operation(Did::Members { seen: seen.to_vec() }, at, at + 5, Ok);
        let sets: [(bool, Vec<Operation>, Option<&str>); 9] = [
            (true, vec![add(0, Ok), members(10, &[7]), remove(20, true), members(30, &[])], None),
            (true, vec![add(0, Ok), members(10, &[])], Some(READS_MEET)),
            (false, vec![add(0, Ok), members(10, &[])], None),
            (false, vec![add(0, Ok), members(2_000, &[])], Some(SURVIVES)),
            (true, vec![add(0, Info), members(10, &[])], None),
            (true, vec![add(0, Fail), members(10, &[7])], Some(INVENTED)),
            (true, vec![add(0, Ok), remove(20, true), members(30, &[7])], Some(DELETED)),
            (true, vec![add(0, Info), remove(20, false), members(30, &[7])], None),
            (true, vec![add(0, Info), members(10, &[7]), members(20, &[])], Some(FORWARD)),
        ];
        for (strict, operations, expected) in sets {
            assert_eq!(property(strict, &operations), expected, "{operations:?}");
        }
        let increment = |at, outcome| operation(Did::Increment { seen: 0 }, at, at + 5, outcome);
        let count = |at, seen| operation(Did::Count { seen }, at, at + 5, Ok);
        let counters: [(Vec<Operation>, Option<&str>); 5] = [
            (vec![increment(0, Ok), increment(0, Info), count(10, 2), count(20, 2)], None),
            (vec![increment(0, Ok), increment(0, Fail), count(10, 2)], Some(ONCE)),
            (vec![increment(0, Ok), count(10, 0)], Some(READS_MEET)),
            (vec![increment(0, Info), count(10, 1), count(20, 0)], Some(FORWARD)),
            (vec![increment(0, Ok), count(2_000, 0)], Some(SURVIVES)),
        ];
        for (operations, expected) in counters {
            assert_eq!(property(true, &operations), expected, "{operations:?}");
        }
        let clear = |at, outcome| operation(Did::Clear, at, at + 5, outcome);
        let deleted: [(Vec<Operation>, Option<&str>); 5] = [
            (vec![increment(0, Ok), clear(10, Ok), increment(20, Ok), count(30, 1)], None),
            (vec![increment(0, Ok), clear(10, Ok), increment(20, Ok), count(30, 2)], Some(DELETED)),
            (vec![increment(0, Ok), clear(10, Info), count(30, 1), count(40, 0)], None),
            (vec![increment(0, Info), clear(10, Ok), count(30, 1)], None),
            (vec![clear(10, Ok), increment(20, Ok), count(30, 0)], Some(READS_MEET)),
        ];
        for (operations, expected) in deleted {
            assert_eq!(property(true, &operations), expected, "{operations:?}");
        }
        let write = |at, outcome| operation(Did::Write { value: 7 }, at, at + 5, outcome);
        let read = |at, value| operation(Did::Read { value }, at, at + 5, Ok);
        assert_eq!(property(true, &[write(0, Ok), read(10, Some(7))]), None);
        assert_eq!(property(true, &[write(0, Ok), read(10, None)]), Some(READS_MEET));
        assert_eq!(property(true, &[write(0, Fail), read(10, Some(7))]), Some(INVENTED));
        assert_eq!(property(true, &[read(10, Some(9))]), Some(INVENTED));
    }
}
