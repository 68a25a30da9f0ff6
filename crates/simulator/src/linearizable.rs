//! Whether a history of one register can be explained by some order that respects real time.
//!
//! Every value is written once, so the order is that of the values: what wrote a value and all that read it stand together.
//! Such a cluster spans from the first end to the last start among its operations, and must come before another when one
//! of its operations ended before one of the other's began. An order exists exactly when no two clusters must each come
//! before the other. A swap ties the cluster of the value that it took to that of its own: such a chain moves as one.
//!
//! Source: Gibbons and Korach, "Testing Shared Memories" (1997), section 4, for reads and writes and for
//! read-modify-writes of unique values. Unlike a search it always has an answer, at the cost of a sort.

use crate::history::{Did, Operation, Outcome};
use std::collections::{BTreeMap, BTreeSet};

/// What the register holds; `None` before the first write.
type Value = Option<i64>;

/// A value's write and reads.
#[derive(Clone, Copy, Debug)]
struct Cluster {
    /// When the write began.
    begun: u64,
    first_end: u64,
    last_start: u64,
    /// For a swap: the value whose place it took.
    took: Option<Value>,
}

/// Whether some order explains the operations of one key, all of which began after 0; in words why not.
pub fn check(operations: &[&Operation]) -> Result<(), String> {
    let clusters = clusters(operations)?;
    let mut spans = spans(&clusters)?;
    // Those that end before they last begin: nothing else may come in between.
    let mut held: Vec<(u64, u64, Value)> = Vec::new();
    spans.sort_unstable();
    for (first_end, last_start, value) in spans.iter().filter(|(end, start, _)| end < start) {
        if let Some((_, before, other)) = held.last()
            && first_end < before
        {
            return Err(format!("{other:?} and {value:?} each were there before the other"));
        }
        held.push((*first_end, *last_start, *value));
    }
    for (first_end, last_start, value) in spans.iter().filter(|(end, start, _)| end >= start) {
        let at = held.partition_point(|(end, ..)| end < last_start);
        if let Some((_, until, other)) = at.checked_sub(1).map(|at| held[at])
            && *first_end < until
        {
            return Err(format!("{other:?} was there before and after {value:?}"));
        }
    }
    Ok(())
}

/// Clusters by value. A write of unknown outcome counts only when somebody saw its value.
fn clusters(operations: &[&Operation]) -> Result<BTreeMap<Value, Cluster>, String> {
    let initial = Cluster { begun: 0, first_end: 0, last_start: 0, took: None };
    let mut clusters = BTreeMap::from([(None, initial)]);
    let mut seen: Vec<Value> = Vec::new();
    let mut unknown: BTreeMap<Value, Cluster> = BTreeMap::new();
    for it in operations {
        let (value, took) = match it.did {
            Did::Write { value } => (Some(value), None),
            Did::Swap { old, new } => (Some(new), Some(old)),
            Did::Read { value } => {
                seen.extend((it.outcome == Outcome::Ok).then_some(value));
                continue;
            }
            _ => continue,
        };
        let cluster = Cluster { begun: it.start, first_end: it.end, last_start: it.start, took };
        match it.outcome {
            Outcome::Fail => {}
            Outcome::Info => {
                unknown.insert(value, Cluster { first_end: u64::MAX, ..cluster });
            }
            Outcome::Ok => {
                seen.extend(took);
                clusters.insert(value, cluster);
            }
        }
    }
    while let Some(value) = seen.pop() {
        if let Some(cluster) = unknown.remove(&value) {
            seen.extend(cluster.took);
            clusters.insert(value, cluster);
        }
    }
    for it in operations.iter().filter(|it| it.outcome == Outcome::Ok) {
        let Did::Read { value } = it.did else { continue };
        let Some(cluster) = clusters.get_mut(&value) else {
            return Err(format!("{value:?} was never written"));
        };
        if it.end < cluster.begun {
            return Err(format!("{value:?} was read before it was written"));
        }
        cluster.first_end = cluster.first_end.min(it.end);
        cluster.last_start = cluster.last_start.max(it.start);
    }
    Ok(clusters)
}

/// (first end, last start, first value) of every chain of clusters.
fn spans(clusters: &BTreeMap<Value, Cluster>) -> Result<Vec<(u64, u64, Value)>, String> {
    let mut next: BTreeMap<Value, Value> = BTreeMap::new();
    for (value, cluster) in clusters {
        if let Some(took) = cluster.took
            && let Some(other) = next.insert(took, *value)
        {
            return Err(format!("{value:?} and {other:?} both took the place of {took:?}"));
        }
    }
    let (mut spans, mut reached) = (Vec::new(), 0);
    for (head, cluster) in clusters.iter().filter(|(_, cluster)| cluster.took.is_none()) {
        let (mut first_end, mut last_start) = (cluster.first_end, cluster.last_start);
        reached += 1;
        let mut at = *head;
        while let Some((value, cluster)) = next.get(&at).and_then(|value| clusters.get_key_value(value)) {
            if cluster.first_end < last_start {
                return Err(format!("{at:?} was there after {value:?} had taken its place"));
            }
            first_end = first_end.min(cluster.first_end);
            last_start = last_start.max(cluster.last_start);
            reached += 1;
            at = *value;
        }
        spans.push((first_end, last_start, *head));
    }
    if reached < clusters.len() {
        return Err("a swap took the place of what was never there".to_owned());
    }
    Ok(spans)
}

/// Values read that nobody wrote. `keeps`: nor may a refused write be seen. Where writes may be lost it may: done, seen,
/// lost with its leader, and refused when its forwarder asked the next one.
pub fn phantoms(operations: &[&Operation], keeps: bool) -> Option<i64> {
    let written: BTreeSet<i64> = operations
        .iter()
        .filter(|operation| !keeps || operation.outcome != Outcome::Fail)
        .filter_map(|operation| match operation.did {
            Did::Write { value } => Some(value),
            Did::Swap { new, .. } => Some(new),
            _ => None,
        })
        .collect();
    operations
        .iter()
        .filter(|operation| operation.outcome == Outcome::Ok)
        .filter_map(|operation| if let Did::Read { value } = operation.did { value } else { None })
        .find(|value| !written.contains(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::NodeId;

    fn operation(did: Did, start: u64, end: u64, outcome: Outcome) -> Operation {
        let (start, end) = (start + 1, end.saturating_add(1));
        Operation { client: 0, node: NodeId(1), keyspace: 0, key: "k".into(), did, start, end, outcome }
    }
    fn write(value: i64, start: u64, end: u64) -> Operation {
        operation(Did::Write { value }, start, end, Outcome::Ok)
    }
    fn read(value: Option<i64>, start: u64, end: u64) -> Operation {
        operation(Did::Read { value }, start, end, Outcome::Ok)
    }
    fn good(operations: &[Operation]) -> bool {
        check(&operations.iter().collect::<Vec<_>>()).is_ok()
    }

    #[test]
    fn sequential_and_concurrent_histories_are_judged() {
        assert!(good(&[write(1, 0, 1), read(Some(1), 2, 3)]));
        assert!(!good(&[write(1, 0, 1), read(None, 2, 3)]));
        assert!(good(&[write(1, 0, 5), read(None, 2, 3), read(Some(1), 4, 6)]));
        // A read after a read of the new value must not see the old one.
        assert!(!good(&[write(1, 0, 1), write(2, 2, 9), read(Some(2), 3, 4), read(Some(1), 5, 6)]));
        assert!(good(&[write(1, 0, 1), write(2, 2, 9), read(Some(1), 3, 4), read(Some(2), 5, 6)]));
    }

    #[test]
    fn an_unknown_write_may_have_happened_or_not() {
        let unknown = operation(Did::Write { value: 2 }, 2, u64::MAX, Outcome::Info);
        assert!(good(&[write(1, 0, 1), unknown.clone(), read(Some(1), 5, 6)]));
        assert!(good(&[write(1, 0, 1), unknown.clone(), read(Some(2), 5, 6)]));
        assert!(!good(&[write(1, 0, 1), unknown, read(Some(2), 5, 6), read(Some(1), 7, 8)]));
    }

    /// The search that this replaces said yes when it grew too large: just what a broken history makes it do.
    #[test]
    fn a_stale_read_among_many_is_found() {
        let mut history: Vec<Operation> =
            (0..20_000).map(|n| write(n, 10 * n as u64, 10 * n as u64 + 15)).collect();
        history.extend((1..20_000).map(|n| read(Some(n - 1), 10 * n as u64 + 4, 10 * n as u64 + 8)));
        assert!(good(&history));
        history.push(read(Some(700), 7_120, 7_121));
        assert!(!good(&history));
    }

    #[test]
    fn a_swap_takes_the_place_of_what_it_read() {
        let swap = |old, new, start, end| operation(Did::Swap { old, new }, start, end, Outcome::Ok);
        assert!(good(&[write(1, 0, 1), swap(Some(1), 2, 2, 3), read(Some(2), 4, 5)]));
        assert!(!good(&[write(1, 0, 1), swap(Some(1), 2, 2, 5), swap(Some(1), 3, 2, 5)]));
        // Nobody may come between a value and what was swapped for it.
        assert!(good(&[write(1, 0, 1), write(2, 0, 9), swap(Some(1), 3, 4, 5), read(Some(3), 6, 7)]));
        assert!(!good(&[write(1, 0, 1), write(2, 2, 3), swap(Some(1), 3, 4, 5)]));
        assert!(!good(&[write(1, 0, 1), swap(Some(1), 3, 2, 3), read(Some(1), 4, 5)]));
    }
}
