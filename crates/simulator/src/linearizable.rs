//! Whether a history of one register can be explained by some order that respects real time.
//!
//! Source: Wing and Gong, "Testing and Verifying Concurrent Objects" (1993), with Lowe's memoisation (2017). Values are
//! unique, so an operation of unknown outcome that nobody read is left out (an order without it exists whenever one with
//! it does), and one that was read must have happened before the first such read ended.

use crate::history::{Did, Operation, Outcome};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What a step asks of the register, and what it leaves there. `None` stands for "no value".
#[derive(Clone, Copy, Debug)]
struct Step {
    start: u64,
    end: u64,
    /// The value that must be there.
    needs: Option<Option<i64>>,
    leaves: Option<i64>,
}

/// Searches are given up beyond this: nothing is said then.
const STATES_MAX: usize = 2_000_000;

/// The operations of one key in words, when no order explains them.
pub fn check(operations: &[&Operation]) -> Result<(), String> {
    let steps = steps(operations);
    if explain(&steps) { Ok(()) } else { Err(format!("no order explains {} operations", steps.len())) }
}

fn steps(operations: &[&Operation]) -> Vec<Step> {
    // The end of the first read of each value.
    let mut read: BTreeMap<i64, u64> = BTreeMap::new();
    for operation in operations {
        let seen = match operation.did {
            Did::Read { value } if operation.outcome == Outcome::Ok => value,
            Did::Swap { old, .. } if operation.outcome != Outcome::Fail => old,
            _ => None,
        };
        if let Some(value) = seen {
            let end = read.entry(value).or_insert(u64::MAX);
            *end = operation.end.min(*end);
        }
    }
    let step = |operation: &&Operation| {
        let (needs, leaves) = match operation.did {
            Did::Read { value } => (Some(value), None),
            Did::Write { value } => (None, Some(value)),
            Did::Swap { old, new } => (Some(old), Some(new)),
            _ => return None,
        };
        let end = match operation.outcome {
            Outcome::Fail => return None,
            Outcome::Ok => operation.end,
            // Read by nobody: as if it had not happened.
            Outcome::Info => *read.get(&leaves?)?,
        };
        Some(Step { start: operation.start, end, needs, leaves })
    };
    let mut steps: Vec<Step> = operations.iter().filter_map(step).collect();
    steps.sort_by_key(|step| (step.start, step.end));
    steps
}

/// Depth first over orders: a step may come next when it began before every other remaining step ended.
fn explain(steps: &[Step]) -> bool {
    let mut done = vec![false; steps.len()];
    let mut seen: HashSet<(usize, Vec<usize>, Option<i64>)> = HashSet::new();
    let mut stack: Vec<(usize, Option<i64>, usize)> = Vec::new();
    let (mut value, mut first, mut from) = (None, 0, 0);
    loop {
        while first < steps.len() && done[first] {
            first += 1;
        }
        if first == steps.len() || seen.len() > STATES_MAX {
            return true;
        }
        match next(steps, &done, first, from, value) {
            Some(at) => {
                stack.push((at, value, first));
                done[at] = true;
                value = steps[at].leaves.or(value);
                let ahead =
                    (first..steps.len()).take_while(|i| steps[*i].start <= horizon(steps, &done, first));
                let ahead: Vec<usize> = ahead.filter(|i| done[*i]).collect();
                let lowest = (first..steps.len()).find(|i| !done[*i]).unwrap_or(steps.len());
                let ahead = ahead.into_iter().filter(|i| *i > lowest).collect();
                if seen.insert((lowest, ahead, value)) {
                    from = 0;
                } else {
                    from = retreat(&mut stack, &mut done, &mut value, &mut first);
                }
            }
            None if stack.is_empty() => return false,
            None => from = retreat(&mut stack, &mut done, &mut value, &mut first),
        }
    }
}

/// Takes the last step back; the next candidate stands behind it.
fn retreat(
    stack: &mut Vec<(usize, Option<i64>, usize)>,
    done: &mut [bool],
    value: &mut Option<i64>,
    first: &mut usize,
) -> usize {
    let Some((at, before, low)) = stack.pop() else { return usize::MAX };
    done[at] = false;
    *value = before;
    *first = low;
    at + 1
}

/// No remaining step ends before this.
fn horizon(steps: &[Step], done: &[bool], first: usize) -> u64 {
    let mut end = u64::MAX;
    for at in first..steps.len() {
        if steps[at].start > end {
            break;
        }
        if !done[at] {
            end = end.min(steps[at].end);
        }
    }
    end
}

fn next(steps: &[Step], done: &[bool], first: usize, from: usize, value: Option<i64>) -> Option<usize> {
    let end = horizon(steps, done, first);
    let candidates = (first..steps.len()).take_while(|at| steps[*at].start <= end);
    candidates
        .filter(|at| *at >= from && !done[*at])
        .find(|at| steps[*at].needs.is_none_or(|needed| needed == value))
}

/// Values read that nobody wrote.
pub fn phantoms(operations: &[&Operation]) -> Option<i64> {
    let written: BTreeSet<i64> = operations
        .iter()
        .filter(|operation| operation.outcome != Outcome::Fail)
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

    #[test]
    fn a_swap_takes_the_place_of_what_it_read() {
        let swap = |old, new, start, end| operation(Did::Swap { old, new }, start, end, Outcome::Ok);
        assert!(good(&[write(1, 0, 1), swap(Some(1), 2, 2, 3), read(Some(2), 4, 5)]));
        assert!(!good(&[write(1, 0, 1), swap(Some(1), 2, 2, 5), swap(Some(1), 3, 2, 5)]));
    }
}
