//! Registers whose values are each written once: the order of the operations is that of the values.
//!
//! What wrote a value and all that saw it stand together, as a cluster. It spans from the first end to the last start among
//! its operations, and must come before another when one of its operations ended before one of the other's began. An order
//! exists exactly when no two clusters must each come before the other. A swap ties the cluster of the value that it took
//! to that of its own: such a chain moves as one.
//!
//! Source: Gibbons and Korach, "Testing Shared Memories" (1997), section 4, for reads and writes and for
//! read-modify-writes of unique values. Unlike a search it always has an answer, at the cost of a sort.

use crate::operation::NEVER;
use crate::register::Step;
use crate::verdict::Kind;

/// Two values that must each come before the other, and the operations that say so.
pub(crate) struct Conflict {
    pub kind: Kind,
    pub states: (u32, u32),
    pub witnesses: Vec<usize>,
}

/// A time and the operation that it is of, if not of the first value.
type Moment = (u64, Option<usize>);

/// A value's write and all that saw it.
#[derive(Clone, Copy, Debug)]
struct Cluster {
    first_end: Moment,
    last_start: Moment,
    /// For a swap: the value whose place it took.
    took: Option<u32>,
    write: Option<usize>,
}

/// A chain of clusters.
#[derive(Clone, Copy)]
struct Span {
    first_end: Moment,
    last_start: Moment,
    head: u32,
}

/// Whether some order explains the steps over values `0..states`, of which 0 is there at first and each other is written
/// at most once.
pub(crate) fn check(steps: &[Step], states: usize) -> Result<(), Conflict> {
    let spans = spans(&clusters(steps, states))?;
    let conflict = |one: &Span, other: &Span| Conflict {
        kind: Kind::NotLinearizable,
        states: (one.head, other.head),
        witnesses: witnesses(&[one.first_end, other.last_start, other.first_end, one.last_start]),
    };
    // Those that end before they last begin: nothing else may come in between.
    let mut held: Vec<Span> = Vec::new();
    for span in spans.iter().filter(|it| it.first_end.0 < it.last_start.0) {
        match held.last() {
            Some(other) if span.first_end.0 < other.last_start.0 => return Err(conflict(other, span)),
            _ => held.push(*span),
        }
    }
    for span in spans.iter().filter(|it| it.first_end.0 >= it.last_start.0) {
        let at = held.partition_point(|it| it.first_end.0 < span.last_start.0);
        match at.checked_sub(1).map(|at| &held[at]) {
            Some(other) if span.first_end.0 < other.last_start.0 => return Err(conflict(other, span)),
            _ => {}
        }
    }
    Ok(())
}

fn witnesses(moments: &[Moment]) -> Vec<usize> {
    let mut witnesses: Vec<usize> = Vec::new();
    for at in moments.iter().filter_map(|(_, at)| *at) {
        if !witnesses.contains(&at) {
            witnesses.push(at);
        }
    }
    witnesses
}

/// Clusters by value. A write of unknown outcome counts only when somebody saw its value: if an order exists, one without
/// it does too.
fn clusters(steps: &[Step], states: usize) -> Vec<Option<Cluster>> {
    let mut clusters: Vec<Option<Cluster>> = vec![None; states];
    let mut unknown: Vec<Option<Cluster>> = vec![None; states];
    clusters[0] = Some(Cluster { first_end: (0, None), last_start: (0, None), took: None, write: None });
    let mut seen: Vec<u32> = Vec::new();
    for step in steps {
        seen.extend(step.needs.filter(|_| step.end < NEVER));
        if let Some(value) = step.leaves {
            let (first_end, last_start) = ((step.end, Some(step.at)), (step.start, Some(step.at)));
            let cluster = Cluster { first_end, last_start, took: step.needs, write: Some(step.at) };
            let of = if step.end < NEVER { &mut clusters } else { &mut unknown };
            of[value as usize] = Some(cluster);
        }
    }
    while let Some(value) = seen.pop() {
        if let Some(cluster) = unknown[value as usize].take() {
            seen.extend(cluster.took);
            clusters[value as usize] = Some(cluster);
        }
    }
    for step in steps.iter().filter(|step| step.leaves.is_none()) {
        // Reads of what nobody wrote were set aside.
        let Some(cluster) = step.needs.and_then(|value| clusters[value as usize].as_mut()) else { continue };
        cluster.first_end = cluster.first_end.min((step.end, Some(step.at)));
        cluster.last_start = cluster.last_start.max((step.start, Some(step.at)));
    }
    clusters
}

/// Chains of clusters by their first ends.
fn spans(clusters: &[Option<Cluster>]) -> Result<Vec<Span>, Conflict> {
    let mut next: Vec<Option<u32>> = vec![None; clusters.len()];
    for (value, cluster) in clusters.iter().enumerate() {
        let Some(Cluster { took: Some(took), write, .. }) = cluster else { continue };
        if let Some(other) = next[*took as usize].replace(value as u32) {
            let other_write = clusters[other as usize].and_then(|cluster| cluster.write);
            let witnesses = other_write.into_iter().chain(*write).collect();
            return Err(Conflict { kind: Kind::LostUpdate, states: (other, value as u32), witnesses });
        }
    }
    let (mut spans, mut is_reached) = (Vec::new(), vec![false; clusters.len()]);
    for (head, cluster) in clusters.iter().enumerate() {
        let Some(cluster) = cluster.filter(|cluster| cluster.took.is_none()) else { continue };
        let mut span =
            Span { first_end: cluster.first_end, last_start: cluster.last_start, head: head as u32 };
        is_reached[head] = true;
        let mut at = head as u32;
        while let Some((value, cluster)) = next[at as usize].and_then(|it| Some((it, clusters[it as usize]?)))
        {
            if cluster.first_end.0 < span.last_start.0 {
                let witnesses = witnesses(&[cluster.first_end, span.last_start]);
                return Err(Conflict { kind: Kind::NotLinearizable, states: (at, value), witnesses });
            }
            span.first_end = span.first_end.min(cluster.first_end);
            span.last_start = span.last_start.max(cluster.last_start);
            is_reached[value as usize] = true;
            at = value;
        }
        spans.push(span);
    }
    let lonely =
        clusters.iter().zip(&is_reached).position(|(cluster, reached)| cluster.is_some() && !reached);
    if let Some(value) = lonely {
        let witnesses = clusters[value].and_then(|cluster| cluster.write).into_iter().collect();
        return Err(Conflict {
            kind: Kind::NotLinearizable,
            states: (value as u32, value as u32),
            witnesses,
        });
    }
    spans.sort_by_key(|span| (span.first_end.0, span.last_start.0));
    Ok(spans)
}
