//! Session guarantees of registers whose values are each written once.
//!
//! Source: Terry and others, "Session Guarantees for Weakly Consistent Replicated Data" (1994). Each guarantee says of two
//! values of a key which must be the older one:
//!
//! | guarantee | says |
//! |---|---|
//! | monotonic writes | what a session wrote first is older than what it wrote next |
//! | writes follow reads | what a session saw is older than what it wrote next |
//! | read your writes | what a session wrote is not newer than what it sees next |
//! | monotonic reads | what a session saw is not newer than what it sees next |
//!
//! Where positions of writes in the log are known (`index`), each such pair is held against them. The other pairs, together
//! with "a swap is newer than what it took" and "nothing is older than no value", form a graph; if it has a cycle, no order
//! of the values keeps all guarantees. A cycle is reported as the guarantee that closes it, when they are added in the order
//! of the table: what a cycle means is often one of several.
//!
//! A session is the order of its invocations. Operations of different clients in one session that overlap say nothing about
//! each other. What a key's session guarantees say about *other* keys is left out, except with positions: a read that says
//! up to which position its copy had come must show what the log says there (consistent prefix).

use crate::model::Key;
use crate::operation::{Action, Status, Value};
use crate::register::{show, tell};
use crate::verdict::{Kind, Verdict};
use crate::versions::{Versions, seen, written};
use std::collections::BTreeMap;

/// The guarantees in the order in which they are added.
const LAYERS: [Kind; 4] =
    [Kind::MonotonicWrites, Kind::WritesFollowReads, Kind::ReadYourWrites, Kind::MonotonicReads];

/// One value is older than another, because of two operations.
#[derive(Clone, Copy, Debug)]
struct Edge {
    older: usize,
    newer: usize,
    /// The guarantee; none for what is known anyway.
    kind: Option<Kind>,
    because: (usize, usize),
}

/// What a session did last with a key.
#[derive(Default)]
struct Memory {
    write: Option<usize>,
    read: Option<usize>,
    /// Reads since the last write: they all come before the next one.
    reads: Vec<usize>,
}

/// The values of one key by number; 0 is "no value".
struct Values<'a> {
    names: Vec<Option<&'a Value>>,
    numbers: BTreeMap<Option<&'a Value>, usize>,
    /// Where the write of each value stands in the log.
    index: Vec<Option<u64>>,
    is_repeated: Vec<bool>,
}

pub(crate) fn check(key: &Key<'_>, verdict: &mut Verdict) {
    let versions = Versions::of(key);
    let values = Values::of(key);
    let mut edges = values.known(key);
    let mut sessions: BTreeMap<u64, Memory> = BTreeMap::new();
    for (at, operation) in key.operations() {
        if let Some(value) = seen(operation)
            && let Err(why) = versions.source(value, operation.end)
        {
            tell(key, at, value, &why, verdict);
            continue;
        }
        let memory = sessions.entry(operation.session).or_default();
        values.remember(key, at, memory, &mut edges);
    }
    // A pair whose positions are both known needs no graph.
    let (placed, open): (Vec<Edge>, Vec<Edge>) =
        edges.into_iter().partition(|edge| edge.kind.is_some() && values.are_placed(edge));
    for edge in placed {
        if let Some(kind) = edge.kind
            && values.index[edge.older] > values.index[edge.newer]
        {
            let text = format!(
                "{} must be older than {}, and stands behind it in the log",
                show(values.names[edge.older]),
                show(values.names[edge.newer])
            );
            verdict.found(kind, key.name, &[edge.because.0, edge.because.1], text);
        }
    }
    cycles(key, &values, &open, verdict);
    prefixes(key, verdict);
}

impl<'a> Values<'a> {
    fn of(key: &Key<'a>) -> Values<'a> {
        let mut values = Values {
            names: vec![None],
            numbers: BTreeMap::from([(None, 0)]),
            index: vec![None],
            is_repeated: vec![false],
        };
        for (_, operation) in key.operations().filter(|(_, it)| it.may_have_happened()) {
            let Some(value) = written(&operation.action) else { continue };
            match values.numbers.get(&value) {
                // Written twice, or the first value again: it says nothing about its place.
                Some(&number) => values.is_repeated[number] = true,
                None => {
                    values.numbers.insert(value, values.names.len());
                    values.names.push(value);
                    values.index.push(operation.index.filter(|_| operation.is_ok()));
                    values.is_repeated.push(false);
                }
            }
        }
        values
    }

    /// The number of a value that has one place in the order.
    fn number(&self, value: Option<&Value>) -> Option<usize> {
        self.numbers.get(&value).copied().filter(|number| !self.is_repeated[*number])
    }

    fn are_placed(&self, edge: &Edge) -> bool {
        self.index[edge.older].is_some() && self.index[edge.newer].is_some()
    }

    /// What is older than what without any guarantee: "no value", what stands before in the log, what a swap took.
    fn known(&self, key: &Key<'a>) -> Vec<Edge> {
        let mut edges = Vec::new();
        let mut known = |older: usize, newer: usize, because: (usize, usize)| {
            edges.push(Edge { older, newer, kind: None, because });
        };
        let mut placed: Vec<(u64, usize, usize)> = Vec::new();
        for (at, operation) in key.operations().filter(|(_, it)| it.may_have_happened()) {
            let Some(number) = written(&operation.action).and_then(|value| self.number(value)) else {
                continue;
            };
            if !self.is_repeated[0] {
                known(0, number, (at, at));
            }
            placed.extend(self.index[number].map(|index| (index, number, at)));
            if let Action::Swap { expected, .. } = &operation.action
                && let Some(older) = self.number(expected.as_ref()).filter(|older| *older != 0)
            {
                known(older, number, (at, at));
            }
        }
        placed.sort_unstable();
        // Between two placed values the log decides; the graph needs the chain for what has no place.
        edges.extend(placed.windows(2).map(|pair| Edge {
            older: pair[0].1,
            newer: pair[1].1,
            kind: None,
            because: (pair[0].2, pair[1].2),
        }));
        edges
    }

    /// Adds what an operation says about what its session did before.
    fn remember(&self, key: &Key<'a>, at: usize, memory: &mut Memory, edges: &mut Vec<Edge>) {
        let operation = &key.history[at];
        let number = |at: usize| {
            let it = &key.history[at];
            // A swap counts as what it wrote.
            written(&it.action).or_else(|| seen(it)).and_then(|value| self.number(value))
        };
        let follows = |before: usize| {
            let before = &key.history[before];
            before.client == operation.client || before.end <= operation.start
        };
        let mut edge = |before: usize, older: Option<usize>, newer: Option<usize>, kind: Kind| {
            if let (Some(older), Some(newer)) = (older, newer)
                && older != newer
                && follows(before)
            {
                edges.push(Edge { older, newer, kind: Some(kind), because: (before, at) });
            }
        };
        if let Some(value) = seen(operation).and_then(|value| self.number(value)) {
            if let Some(write) = memory.write {
                edge(write, number(write), Some(value), Kind::ReadYourWrites);
            }
            if let Some(read) = memory.read {
                edge(read, number(read), Some(value), Kind::MonotonicReads);
            }
        }
        if written(&operation.action).is_some() && operation.may_have_happened() {
            if let Some(write) = memory.write {
                edge(write, number(write), number(at), Kind::MonotonicWrites);
            }
            for read in &memory.reads {
                edge(*read, number(*read), number(at), Kind::WritesFollowReads);
            }
            // What may not have happened binds nothing that comes after it.
            if operation.is_ok() {
                memory.write = Some(at);
                memory.reads.clear();
            }
        }
        if operation.is_ok() && matches!(operation.action, Action::Read { .. }) {
            memory.read = Some(at);
            memory.reads.push(at);
        }
    }
}

/// Adds guarantee after guarantee and reports the first cycle.
fn cycles(key: &Key<'_>, values: &Values<'_>, edges: &[Edge], verdict: &mut Verdict) {
    // What contradicts itself without any guarantee: swaps that took each other's place, or not that in the log.
    for (depth, kind) in [Kind::NotLinearizable].into_iter().chain(LAYERS).enumerate() {
        let allowed = |edge: &&Edge| edge.kind.is_none_or(|kind| LAYERS[..depth].contains(&kind));
        let Some(cycle) = cycle(values.names.len(), edges.iter().filter(allowed)) else { continue };
        let names: Vec<String> = cycle.iter().map(|edge| show(values.names[edge.older])).collect();
        let text = format!(
            "each must be older than the next, and the last older than the first: {}",
            names.join(", ")
        );
        let mut witnesses: Vec<usize> = Vec::new();
        for at in cycle.iter().flat_map(|edge| [edge.because.0, edge.because.1]) {
            if !witnesses.contains(&at) {
                witnesses.push(at);
            }
        }
        verdict.found(kind, key.name, &witnesses, text);
        return;
    }
}

/// A cycle among the edges, depth first.
fn cycle<'a>(nodes: usize, edges: impl Iterator<Item = &'a Edge>) -> Option<Vec<Edge>> {
    let mut next: Vec<Vec<Edge>> = vec![Vec::new(); nodes];
    for edge in edges {
        next[edge.older].push(*edge);
    }
    let (mut is_open, mut is_done) = (vec![false; nodes], vec![false; nodes]);
    for root in 0..nodes {
        // (node, how many of its edges were followed)
        let mut path: Vec<(usize, usize)> = if is_done[root] { Vec::new() } else { vec![(root, 0)] };
        while let Some((node, followed)) = path.last_mut() {
            is_open[*node] = true;
            let Some(edge) = next[*node].get(*followed) else {
                (is_open[*node], is_done[*node]) = (false, true);
                path.pop();
                continue;
            };
            *followed += 1;
            if is_open[edge.newer] {
                let from = path.iter().position(|(node, _)| *node == edge.newer).unwrap_or(0);
                return Some(path[from..].iter().map(|(node, followed)| next[*node][followed - 1]).collect());
            }
            if !is_done[edge.newer] {
                path.push((edge.newer, 0));
            }
        }
    }
    None
}

/// A read at a known position shows the last write up to it.
fn prefixes(key: &Key<'_>, verdict: &mut Verdict) {
    let mut log: Vec<(u64, usize, Option<&Value>)> = Vec::new();
    let mut unplaced: Vec<Option<&Value>> = Vec::new();
    for (at, operation) in key.operations().filter(|(_, it)| it.may_have_happened()) {
        let Some(value) = written(&operation.action) else { continue };
        match operation.index {
            Some(index) if operation.status == Status::Ok => log.push((index, at, value)),
            _ => unplaced.push(value),
        }
    }
    log.sort_unstable();
    unplaced.sort_unstable();
    let reads = key.operations().filter(|(_, it)| matches!(it.action, Action::Read { .. }));
    for (at, operation) in reads {
        let (Some(position), Some(value)) = (operation.index, seen(operation)) else { continue };
        let before = log.partition_point(|(index, ..)| *index <= position);
        let last = before.checked_sub(1).map(|last| log[last]);
        if last.and_then(|(.., value)| value) == value || unplaced.binary_search(&value).is_ok() {
            continue;
        }
        let text = format!(
            "{} was seen at position {position}, where {} stands",
            show(value),
            show(last.and_then(|(.., value)| value))
        );
        let witnesses: Vec<usize> = last.map(|(_, at, _)| at).into_iter().chain([at]).collect();
        verdict.found(Kind::ConsistentPrefix, key.name, &witnesses, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_found_and_is_closed() {
        let edge = |older, newer| Edge { older, newer, kind: None, because: (0, 0) };
        assert!(cycle(4, [edge(0, 1), edge(1, 2), edge(0, 2), edge(2, 3)].iter()).is_none());
        let found = cycle(4, [edge(0, 1), edge(1, 2), edge(2, 3), edge(3, 1)].iter()).unwrap();
        let around: Vec<(usize, usize)> = found.iter().map(|edge| (edge.older, edge.newer)).collect();
        assert_eq!(around, [(1, 2), (2, 3), (3, 1)]);
    }
}
