//! What clients saw, judged at the end of a run.

use crate::history::{Did, Operation, Outcome};
use crate::invariants::Violation;
use crate::linearizable;
use std::collections::{BTreeMap, BTreeSet};

/// What a history adds up to.
#[derive(Default)]
pub struct Verdict {
    pub violation: Option<Violation>,
    pub acknowledged: u64,
    /// Acknowledged writes that are gone, in keyspaces that do not promise to keep them.
    pub lost: u64,
}

type ByKey<'a> = BTreeMap<(usize, &'a str), Vec<&'a Operation>>;

/// `durable`: by keyspace, whether what was acknowledged must survive.
pub fn judge(history: &[Operation], durable: &[bool]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut keys: ByKey<'_> = BTreeMap::new();
    for operation in history {
        if operation.outcome == Outcome::Ok && !is_read(&operation.did) {
            verdict.acknowledged += 1;
        }
        keys.entry((operation.keyspace, &operation.key)).or_default().push(operation);
    }
    for ((keyspace, key), operations) in keys {
        let keeps = durable.get(keyspace).copied().unwrap_or(false);
        let lost = match operations.first().map(|operation| &operation.did) {
            Some(Did::Add { .. } | Did::Members { .. }) => elements(&operations, false, keeps),
            Some(Did::Push { .. } | Did::Range { .. }) => elements(&operations, true, keeps),
            Some(Did::Increment { .. } | Did::Count { .. }) => counter(&operations, keeps),
            Some(Did::Read { .. } | Did::Write { .. } | Did::Swap { .. }) => register(&operations, keeps),
            Some(Did::Transfer | Did::Total { .. }) => bank(&operations),
            Some(Did::SetExpiring { .. } | Did::ReadExpiring { .. }) => expiring(&operations, keeps),
            Some(Did::Anything) | None => Ok(0),
        };
        match lost {
            Ok(lost) => verdict.lost += lost,
            Err(Broken::Loss(lost, _)) if !keeps => verdict.lost += lost,
            Err(Broken::Loss(_, violation) | Broken::Always(violation)) => {
                let text = format!("keyspace {keyspace} key {key}: {}", violation.text);
                verdict.violation.get_or_insert(Violation { text, ..violation });
            }
        }
    }
    verdict
}

fn is_read(did: &Did) -> bool {
    matches!(
        did,
        Did::Read { .. }
            | Did::Count { .. }
            | Did::Members { .. }
            | Did::Range { .. }
            | Did::Total { .. }
            | Did::ReadExpiring { .. }
            | Did::Anything
    )
}

enum Broken {
    /// Acknowledged writes are gone: a promise of some keyspaces only.
    Loss(u64, Violation),
    /// No keyspace may do this.
    Always(Violation),
}

fn always(property: &'static str, text: String) -> Result<u64, Broken> {
    Err(Broken::Always(Violation { property, text }))
}

fn register(operations: &[&Operation], keeps: bool) -> Result<u64, Broken> {
    const NAME: &str = "registers are linearizable";
    if let Some(value) = linearizable::phantoms(operations, keeps) {
        return always(NAME, format!("{value} was read and never written"));
    }
    if !keeps {
        return Ok(0);
    }
    match linearizable::check(operations) {
        Ok(()) => Ok(0),
        Err(text) => always(NAME, text),
    }
}

/// Increments: results are distinct, grow in real time, and no more happened than were asked for.
fn counter(operations: &[&Operation], keeps: bool) -> Result<u64, Broken> {
    const NAME: &str = "counters count once";
    let loss = |text: String| Err(Broken::Loss(1, Violation { property: NAME, text }));
    let mut by_start: Vec<&&Operation> = operations.iter().filter(|it| it.outcome == Outcome::Ok).collect();
    by_start.sort_by_key(|it| it.start);
    let mut by_end = by_start.clone();
    by_end.sort_by_key(|it| it.end);
    let attempts = |until: u64| {
        let asked = operations.iter().filter(|it| matches!(it.did, Did::Increment { .. }));
        // What was done, lost with its leader and refused by the next one was seen meanwhile.
        asked.filter(|it| (!keeps || it.outcome != Outcome::Fail) && it.start < until).count() as i64
    };
    let (mut results, mut highest, mut ended) = (BTreeSet::new(), 0, by_end.iter().peekable());
    for operation in by_start {
        while let Some(past) = ended.next_if(|past| past.end < operation.start) {
            if let Did::Increment { seen } | Did::Count { seen } = past.did {
                highest = seen.max(highest);
            }
        }
        match operation.did {
            Did::Increment { seen } => {
                if !results.insert(seen) {
                    return loss(format!("two increments gave {seen}"));
                }
                if seen <= highest {
                    return loss(format!("an increment gave {seen} after {highest} was seen"));
                }
            }
            Did::Count { seen } if seen < highest => {
                return loss(format!("{seen} was read after {highest} was seen"));
            }
            Did::Count { seen } if seen > attempts(operation.end) => {
                return always(
                    NAME,
                    format!("{seen} was read, but only {} were asked for", attempts(operation.end)),
                );
            }
            _ => {}
        }
    }
    // Results that nobody was told must belong to increments of unknown outcome.
    let unknown = operations
        .iter()
        .filter(|it| it.outcome == Outcome::Info && matches!(it.did, Did::Increment { .. }))
        .count() as i64;
    let top = results.last().copied().unwrap_or(0);
    if top - results.len() as i64 > unknown {
        return always(
            NAME,
            format!("{top} was reached by {} increments and {unknown} unknown ones", results.len()),
        );
    }
    Ok(0)
}

/// Elements of a set or a list: what was acknowledged is there in every later read, once, and nothing that failed is.
fn elements(operations: &[&Operation], ordered: bool, keeps: bool) -> Result<u64, Broken> {
    let name = if ordered { "lists keep what was pushed" } else { "sets keep what was added" };
    let mut written: BTreeMap<i64, &Operation> = BTreeMap::new();
    for operation in operations {
        if let Did::Add { element } | Did::Push { element } = operation.did {
            written.insert(element, operation);
        }
    }
    let mut lost = BTreeSet::new();
    for read in operations.iter().filter(|it| it.outcome == Outcome::Ok) {
        let (Did::Members { seen } | Did::Range { seen }) = &read.did else { continue };
        let present: BTreeSet<i64> = seen.iter().copied().collect();
        if present.len() < seen.len() {
            return always(name, format!("an element is there twice in {seen:?}"));
        }
        for element in &present {
            match written.get(element) {
                Some(write) if keeps && write.outcome == Outcome::Fail => {
                    return always(name, format!("{element} was refused, and is there"));
                }
                Some(write) if write.start < read.end => {}
                _ => return always(name, format!("{element} is there before it was written")),
            }
        }
        for (element, write) in &written {
            if write.outcome == Outcome::Ok && write.end < read.start && !present.contains(element) {
                lost.insert(*element);
            }
        }
        if ordered && let Some(text) = misplaced(seen, &written) {
            return always(name, text);
        }
    }
    if lost.is_empty() {
        return Ok(0);
    }
    let text = format!("acknowledged and gone: {lost:?}");
    Err(Broken::Loss(lost.len() as u64, Violation { property: name, text }))
}

/// Neighbours in a list whose writes did not overlap and that stand in the wrong order.
fn misplaced(seen: &[i64], written: &BTreeMap<i64, &Operation>) -> Option<String> {
    let mut latest_start = 0;
    for element in seen {
        let write = written.get(element)?;
        if write.outcome == Outcome::Ok && write.end < latest_start {
            return Some(format!("{element} stands behind what was pushed later"));
        }
        latest_start = write.start.max(latest_start);
    }
    None
}

fn bank(operations: &[&Operation]) -> Result<u64, Broken> {
    let sum = operations.iter().filter(|it| it.outcome == Outcome::Ok).find_map(|it| match it.did {
        Did::Total { seen } if seen != 0 => Some(seen),
        _ => None,
    });
    match sum {
        Some(sum) => always("transfers are atomic", format!("the accounts add up to {sum}, not 0")),
        None => Ok(0),
    }
}

/// A value that a later read missed is never seen again.
fn expiring(operations: &[&Operation], keeps: bool) -> Result<u64, Broken> {
    const NAME: &str = "the expired stays expired";
    let mut reads: Vec<(&Operation, Option<i64>)> = Vec::new();
    for operation in operations.iter().filter(|it| it.outcome == Outcome::Ok) {
        if let Did::ReadExpiring { value } = operation.did {
            reads.push((operation, value));
        }
    }
    for write in operations.iter().filter(|it| it.outcome != Outcome::Info) {
        let Did::SetExpiring { value } = write.did else { continue };
        let seen = |read: &Option<i64>| *read == Some(value);
        if write.outcome == Outcome::Fail && reads.iter().any(|(_, read)| seen(read)) {
            return always(NAME, format!("{value} was refused, and is there"));
        }
        let missed = reads.iter().filter(|(it, read)| it.start > write.end && !seen(read));
        let first_missed = missed.map(|(it, _)| it.end).min().unwrap_or(u64::MAX);
        if keeps && reads.iter().any(|(it, read)| seen(read) && it.start > first_missed) {
            return always(NAME, format!("{value} was gone and came back"));
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::NodeId;

    fn it(did: Did, start: u64, end: u64, outcome: Outcome) -> Operation {
        Operation { client: 0, node: NodeId(1), keyspace: 0, key: "k".into(), did, start, end, outcome }
    }
    fn broken(history: &[Operation]) -> bool {
        judge(history, &[true]).violation.is_some()
    }

    #[test]
    fn a_lost_a_refused_and_an_invented_element_are_found() {
        let add = |element, outcome| it(Did::Add { element }, 0, 1, outcome);
        let read = |seen: &[i64]| it(Did::Members { seen: seen.to_vec() }, 5, 6, Outcome::Ok);
        assert!(!broken(&[add(1, Outcome::Ok), read(&[1])]));
        assert!(broken(&[add(1, Outcome::Ok), read(&[])]));
        assert!(broken(&[add(1, Outcome::Fail), read(&[1])]));
        assert!(broken(&[add(1, Outcome::Ok), read(&[1, 2])]));
        assert!(!broken(&[add(1, Outcome::Info), read(&[])]));
        let loose = judge(&[add(1, Outcome::Ok), read(&[])], &[false]);
        assert!(loose.violation.is_none() && loose.lost == 1);
    }

    #[test]
    fn a_list_out_of_order_and_a_doubled_element_are_found() {
        let push = |element, start| it(Did::Push { element }, start, start + 1, Outcome::Ok);
        let read = |seen: &[i64]| it(Did::Range { seen: seen.to_vec() }, 50, 60, Outcome::Ok);
        assert!(!broken(&[push(1, 0), push(2, 10), read(&[1, 2])]));
        assert!(broken(&[push(1, 0), push(2, 10), read(&[2, 1])]));
        assert!(broken(&[push(1, 0), read(&[1, 1])]));
    }

    #[test]
    fn counters_count_each_increment_once() {
        let add = |seen, start| it(Did::Increment { seen }, start, start + 1, Outcome::Ok);
        let unknown = it(Did::Increment { seen: 0 }, 0, u64::MAX, Outcome::Info);
        let count = |seen| it(Did::Count { seen }, 90, 91, Outcome::Ok);
        assert!(!broken(&[add(1, 0), add(2, 5), count(2)]));
        assert!(broken(&[add(1, 0), add(1, 5)]));
        assert!(broken(&[add(2, 0), add(1, 5)]));
        assert!(broken(&[add(1, 0), add(3, 5)]));
        assert!(!broken(&[add(1, 0), unknown.clone(), add(3, 5)]));
        assert!(broken(&[add(1, 0), count(2)]));
        assert!(!broken(&[add(1, 0), unknown, count(2)]));
    }

    #[test]
    fn what_expired_stays_away() {
        let read = |value, start| it(Did::ReadExpiring { value }, start, start + 1, Outcome::Ok);
        let write = it(Did::SetExpiring { value: 7 }, 0, 1, Outcome::Ok);
        assert!(!broken(&[write.clone(), read(Some(7), 2), read(None, 9)]));
        assert!(broken(&[write, read(None, 4), read(Some(7), 9)]));
    }
}
