//! What clients of leaderless keyspaces saw. Nobody orders writes there, so no judge of orders can say anything; what is
//! promised is said of each element, increment and value by itself.
//!
//! | property | strict | sloppy |
//! |---|---|---|
//! | what was acknowledged before a read began is seen by it | every read | reads after the end of faults |
//! | what was removed does not return | every read | reads after the end of faults |
//! | increments count once | every read | reads after the end of faults |
//! | reads do not go back (blocking repair) | every read | |
//! | what all copies acknowledged ends with the next acknowledged write | every read | |
//! | a function that does not merge is refused | always | always |
//! | stand-ins do not count, by the receipt | every request `WITH SLOPPY off` | the same |
//! | a write is told what it did | every SADD | every SADD |
//! | nothing is seen that nobody wrote, or that was refused | every read | every read |
//!
//! Elements come, go and come again. Where the last write wins a later one may have the lower stamp: there it is only asked of
//! elements that came once.
//!
//! Source: DESIGN §9; bugs: LL-02, LL-04, LL-05, LL-06, LL-07, LL-08, LL-10, LL-15, LL-16, LL-24, LL-25, ML-14, ML-16

use super::always;
use crate::history::{Did, Operation, Outcome};
use crate::invariants::Violation;
use crate::workload::quorum::{is_for_all, is_names, is_strict};
use crate::world::Quorums;
use data::leaderless::ConflictPolicy;
use std::collections::BTreeMap;

pub const READS_MEET: &str = "reads see what was acknowledged before";
pub const SURVIVES: &str = "acknowledged writes survive in leaderless keyspaces";
pub const DELETED: &str = "what was deleted does not return";
pub const ONCE: &str = "increments count once";
pub const FORWARD: &str = "quorum reads do not go back";
pub const STRICT: &str = "strict requests count no stand-ins";
pub const TOLD: &str = "a write is told what it did";
pub const REPLACED: &str = "a value at all copies ends with the next acknowledged write";
pub const REFUSED: &str = "a function that does not merge is refused";
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
        Some(Did::Misuse) => match operations.iter().find(|it| it.outcome == Outcome::Ok) {
            Some(taken) => always(REFUSED, format!("taken on {} at {}", taken.node, taken.end)),
            None => Ok(0),
        },
        _ => registers(operations, promise, healed, &counts),
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
    adds: Vec<&'a Operation>,
    removes: Vec<&'a Operation>,
}

impl Element<'_> {
    /// When it was removed for ever, if it came once: whoever removes what was acknowledged, or says that it found it, does that.
    fn removed_at(&self, add: &Operation, strict: bool) -> u64 {
        let removed = self.removes.iter().filter(|it| it.outcome == Outcome::Ok).filter(|remove| {
            let met = add.outcome == Outcome::Ok && add.end < remove.start && strict;
            met || matches!(remove.did, Did::Remove { gone: true, .. })
        });
        removed.map(|it| it.end).min().unwrap_or(u64::MAX)
    }
    /// Whether each add that a read may have met was acknowledged, and removed before the read by somebody who met it.
    fn is_gone(&self, read: &Operation) -> bool {
        let is_removed = |add: &&Operation| {
            let met =
                |it: &&Operation| it.outcome == Outcome::Ok && it.start > add.end && it.end < read.start;
            add.outcome == Outcome::Ok && self.removes.iter().any(met)
        };
        self.adds.iter().filter(|add| add.start < read.end).all(is_removed)
    }
    /// Whether an add was acknowledged before a read, and nobody can have removed that one since.
    fn must_be_seen(&self, read: &Operation) -> Option<&Operation> {
        let may_remove = |add: &Operation, it: &Operation| {
            it.outcome != Outcome::Fail
                && it.start < read.end
                && (it.outcome == Outcome::Info || it.end >= add.start)
        };
        self.adds.iter().copied().find(|add| {
            let is_done = add.outcome == Outcome::Ok && add.end < read.start;
            is_done && !self.removes.iter().any(|it| may_remove(add, it))
        })
    }
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
            Did::Add { element } if operation.outcome != Outcome::Fail => {
                elements.entry(element).or_default().adds.push(operation);
            }
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
            let adds = elements.get(element).map(|it| &it.adds[..]).unwrap_or_default();
            if adds.iter().all(|add| add.start > read.end) {
                return always(INVENTED, format!("{element} is seen, and nobody added it, or was refused"));
            }
        }
    }
    for (number, element) in &elements {
        let Some(first) = element.adds.first() else { continue };
        let is_once = element.adds.len() == 1;
        if is_once && first.outcome == Outcome::Ok && first.place.was_there {
            let text = format!("{number} was added at {}, and was told that it was there", first.start);
            return always(TOLD, text);
        }
        if !is_once && promise.is_by_stamps() {
            continue;
        }
        let removed_at = if is_once { element.removed_at(first, promise.strict) } else { u64::MAX };
        let removes = element.removes.iter().filter(|it| it.outcome != Outcome::Fail);
        let first_remove = removes.map(|it| it.start).min();
        let mut shown_at = u64::MAX;
        for (read, seen) in reads.iter().filter(|(read, _)| counts(read)) {
            let is_seen = seen.contains(number);
            let is_gone = !is_once && promise.strict && element.is_gone(read);
            if is_seen && (read.start > removed_at || is_gone) {
                let text = format!("{number} was removed, and is seen on {} at {}", read.node, read.start);
                return always(DELETED, text);
            }
            if let Some(add) = element.must_be_seen(read).filter(|_| !is_seen) {
                let text = format!(
                    "{number} was added at {}, a read at {} on {} misses it",
                    add.end, read.start, read.node
                );
                return always(late(read, healed), text);
            }
            if is_seen {
                shown_at = shown_at.min(read.end);
            }
        }
        // Of one that comes again it may be another add that is seen.
        if promise.monotonic && is_once && !is_names(&first.key) {
            let denied = reads.iter().filter(|(it, seen)| it.start > shown_at && !seen.contains(number));
            let gone_at = denied.map(|(it, _)| it.end).min().unwrap_or(u64::MAX);
            let back = reads.iter().find(|(it, seen)| it.start > gone_at && seen.contains(number));
            if let Some((read, _)) = back {
                let text = format!("{number} was shown, gone at {gone_at}, and is back at {}", read.start);
                return always(FORWARD, text);
            }
        }
        if promise.monotonic {
            let denies = |(read, seen): &&(&Operation, &Vec<i64>)| {
                read.start > shown_at
                    && !seen.contains(number)
                    && first_remove.is_none_or(|at| at >= read.end)
            };
            if let Some((read, _)) = reads.iter().find(denies) {
                let text = format!("{number} was shown at {shown_at}, a read at {} denies it", read.start);
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

fn registers(
    operations: &[&Operation],
    promise: Quorums,
    healed: u64,
    counts: &Counts<'_>,
) -> Result<u64, Violation> {
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
    // A function may show something else when it knows of more.
    if promise.strict && promise.conflict != ConflictPolicy::Merge {
        shows_once(operations, promise, &writes)?;
    }
    Ok(0)
}

/// What was shown, and then something else, is not shown again; nor what all copies had, and another write followed.
fn shows_once(
    operations: &[&Operation],
    promise: Quorums,
    writes: &BTreeMap<i64, &Operation>,
) -> Result<(), Violation> {
    let reads = operations.iter().filter(|it| it.outcome == Outcome::Ok);
    let reads: Vec<(&Operation, i64)> = reads
        .filter_map(|it| if let Did::Read { value } = it.did { Some((*it, value?)) } else { None })
        .collect();
    let mut shown_at: BTreeMap<i64, u64> = BTreeMap::new();
    for (read, value) in &reads {
        let at = shown_at.entry(*value).or_insert(read.end);
        *at = read.end.min(*at);
    }
    for (read, value) in &reads {
        let between = |(it, other): &&(&Operation, i64)| {
            other != value && it.start > shown_at[value] && it.end < read.start
        };
        if promise.monotonic
            && let Some((_, other)) = reads.iter().find(between)
        {
            let text = format!("{value}, then {other}, then {value} on {} at {}", read.node, read.start);
            return always(FORWARD, text).map(|_| ());
        }
        let Some(write) = writes.get(value).filter(|it| it.outcome == Outcome::Ok && is_for_all(&it.key))
        else {
            continue;
        };
        let follows = |(_, it): &(&i64, &&Operation)| {
            it.outcome == Outcome::Ok && it.start > write.end && it.end < read.start
        };
        if let Some((newer, _)) = writes.iter().find(follows) {
            let text = format!("{newer} followed {value}, which is shown on {} at {}", read.node, read.start);
            return always(REPLACED, text).map(|_| ());
        }
    }
    Ok(())
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
        let conflict = ConflictPolicy::Crdt;
        judge(&all, Quorums { strict, monotonic: strict, conflict }, 1_000).err().map(|it| it.property)
    }

    #[test]
    fn each_promise_can_be_broken() {
        use Outcome::{Fail, Info, Ok};
        let add = |at, outcome| operation(Did::Add { element: 7 }, at, at + 5, outcome);
        let remove = |at, gone| operation(Did::Remove { element: 7, gone }, at, at + 5, Ok);
        let members = |at, seen: &[i64]| operation(Did::Members { seen: seen.to_vec() }, at, at + 5, Ok);
        let left = || operation(Did::Remove { element: 7, gone: false }, 12, 50, Info);
        let three = || vec![add(0, Ok), left(), members(10, &[7]), members(20, &[]), members(30, &[7])];
        let sets: [(bool, Vec<Operation>, Option<&str>); 17] = [
            (true, three(), Some(FORWARD)),
            (true, three()[..4].to_vec(), None),
            (false, three(), None),
            (true, vec![add(0, Ok), remove(10, true), add(20, Ok), members(30, &[7])], None),
            (true, vec![add(0, Ok), remove(10, true), add(20, Ok), members(30, &[])], Some(READS_MEET)),
            (true, vec![add(0, Ok), add(10, Ok), remove(20, true), members(30, &[7])], Some(DELETED)),
            (true, vec![add(0, Ok), add(10, Info), remove(20, true), members(30, &[7])], None),
            (true, vec![add(0, Ok), remove(10, true), add(12, Ok), members(30, &[])], None),
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
        let other = |at| operation(Did::Write { value: 8 }, at, at + 5, Ok);
        let three = [read(20, Some(7)), read(30, Some(8)), read(40, Some(7))];
        let flips = [&[write(0, Ok), other(10)][..], &three].concat();
        assert_eq!(property(true, &flips), Some(FORWARD));
        assert_eq!(property(false, &flips), None);
        assert_eq!(property(true, &flips[..4]), None);
        let mut replaced = vec![write(0, Ok), other(10), read(20, Some(7))];
        assert_eq!(property(true, &replaced), None, "concurrent as far as anybody knows");
        replaced.iter_mut().for_each(|it| it.key = "qregister-all0".into());
        assert_eq!(property(true, &replaced), Some(REPLACED));
        let misuse = |outcome| operation(Did::Misuse, 0, 5, outcome);
        assert_eq!(property(true, &[misuse(Fail)]), None);
        assert_eq!(property(true, &[misuse(Ok)]), Some(REFUSED));
        assert_eq!(property(true, &[write(0, Ok), read(10, None)]), Some(READS_MEET));
        assert_eq!(property(true, &[write(0, Fail), read(10, Some(7))]), Some(INVENTED));
        assert_eq!(property(true, &[read(10, Some(9))]), Some(INVENTED));
    }
}
