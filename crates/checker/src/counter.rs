//! Counters: every acknowledged increment counts once, one of unknown outcome at most once, a refused one never.
//!
//! A number that somebody saw lies between what was surely counted before and what can have been counted by then. Where
//! all increments are by one and say what they gave, more is known: no two gave the same, later ones gave more, and numbers
//! that nobody was given must belong to increments of unknown outcome.

use crate::model::Key;
use crate::operation::{Action, Operation};
use crate::verdict::{Kind, Verdict};
use std::collections::BTreeMap;

/// A number that was seen, by an increment or by a read.
struct Sight {
    at: usize,
    start: u64,
    end: u64,
    seen: i64,
    /// How much the seeing operation itself added.
    own: i64,
    /// Of a copy that may lag: there may be more.
    may_lag: bool,
}

/// Sums of increments by a time, for many times.
#[derive(Default)]
struct Sums {
    times: Vec<u64>,
    /// The sum of everything up to the place.
    sums: Vec<i64>,
}

impl Sums {
    fn of(mut moments: Vec<(u64, i64)>) -> Sums {
        moments.sort_unstable();
        let mut sums = Sums::default();
        let mut sum = 0i64;
        for (time, by) in moments {
            sum = sum.saturating_add(by);
            sums.times.push(time);
            sums.sums.push(sum);
        }
        sums
    }

    fn before(&self, time: u64) -> i64 {
        self.up_to(self.times.partition_point(|it| *it < time))
    }

    fn until(&self, time: u64) -> i64 {
        self.up_to(self.times.partition_point(|it| *it <= time))
    }

    fn up_to(&self, count: usize) -> i64 {
        count.checked_sub(1).map_or(0, |last| self.sums[last])
    }
}

pub(crate) fn check(key: &Key<'_>, verdict: &mut Verdict) {
    let increments: Vec<(usize, &Operation, i64)> = key
        .operations()
        .filter(|(_, it)| it.may_have_happened())
        .filter_map(|(at, it)| match it.action {
            Action::Increment { by, .. } => Some((at, it, by)),
            _ => None,
        })
        .collect();
    let sights = sights(key);
    bounds(key, &increments, &sights, verdict);
    if increments.iter().all(|(_, _, by)| *by >= 0) {
        forward(key, &sights, verdict);
    }
    if increments.iter().all(|(_, _, by)| *by == 1) {
        places(key, &increments, &sights, verdict);
    }
}

fn sights(key: &Key<'_>) -> Vec<Sight> {
    let sight = |(at, it): (usize, &Operation)| {
        let (seen, own) = match it.action {
            Action::Count { seen } => (seen, 0),
            Action::Increment { by, result } => (result?, by),
            _ => return None,
        };
        let may_lag = it.is_stale_read;
        it.is_ok().then_some(Sight { at, start: it.start, end: it.end, seen, own, may_lag })
    };
    key.operations().filter_map(sight).collect()
}

/// No number lies outside what the increments before and beside it allow.
fn bounds(key: &Key<'_>, increments: &[(usize, &Operation, i64)], sights: &[Sight], verdict: &mut Verdict) {
    let certain = |part: fn(i64) -> i64| {
        Sums::of(
            increments
                .iter()
                .filter(|(_, it, _)| it.is_ok())
                .map(|(_, it, by)| (it.end, part(*by)))
                .collect(),
        )
    };
    let possible =
        |part: fn(i64) -> i64| Sums::of(increments.iter().map(|(_, it, by)| (it.start, part(*by))).collect());
    let (up, down) = (|by: i64| by.max(0), |by: i64| by.min(0));
    let (certain_up, certain_down) = (certain(up), certain(down));
    let (possible_up, possible_down) = (possible(up), possible(down));
    for sight in sights {
        // What a sight adds itself is among the possible, and certain too.
        let (own_up, own_down) = (sight.own.max(0), sight.own.min(0));
        let lowest = certain_up.before(sight.start).saturating_add(own_up);
        let lowest = lowest.saturating_add(possible_down.until(sight.end));
        let highest = certain_down.before(sight.start).saturating_add(own_down);
        let highest = highest.saturating_add(possible_up.until(sight.end));
        if sight.seen < lowest && !sight.may_lag {
            let text = format!("{} was seen, at least {lowest} had been acknowledged", sight.seen);
            verdict.found(Kind::TooLow, key.name, &[sight.at], text);
        } else if sight.seen > highest {
            let text = format!("{} was seen, no more than {highest} had been asked for", sight.seen);
            verdict.found(Kind::TooHigh, key.name, &[sight.at], text);
        }
    }
}

/// Where nothing is taken away, numbers grow in real time, and an increment gives more than was seen before it.
fn forward(key: &Key<'_>, sights: &[Sight], verdict: &mut Verdict) {
    let mut by_end: Vec<&Sight> = sights.iter().collect();
    by_end.sort_by_key(|sight| (sight.end, sight.at));
    let mut ended = by_end.into_iter().peekable();
    let mut highest: Option<&Sight> = None;
    for sight in sights {
        while let Some(past) = ended.next_if(|past| past.end < sight.start) {
            if highest.is_none_or(|known| past.seen > known.seen) {
                highest = Some(past);
            }
        }
        if let Some(known) = highest.filter(|_| !sight.may_lag)
            && sight.seen.saturating_sub(sight.own) < known.seen
        {
            let text = format!("{} was seen after {} had been seen", sight.seen, known.seen);
            verdict.found(Kind::Stale, key.name, &[known.at, sight.at], text);
        }
    }
}

/// Increments by one: each gives its own place.
fn places(key: &Key<'_>, increments: &[(usize, &Operation, i64)], sights: &[Sight], verdict: &mut Verdict) {
    let mut given: BTreeMap<i64, usize> = BTreeMap::new();
    for sight in sights.iter().filter(|sight| sight.own == 1) {
        if let Some(other) = given.insert(sight.seen, sight.at) {
            let text = format!("two increments gave {}", sight.seen);
            verdict.found(Kind::Duplicated, key.name, &[other, sight.at], text);
        }
    }
    // Places that nobody was given belong to increments that did not say theirs.
    let silent = increments.iter().filter(|(_, it, _)| {
        let is_told = matches!(it.action, Action::Increment { result: Some(_), .. });
        !(it.is_ok() && is_told)
    });
    let (silent, told) = (silent.count() as i64, given.len() as i64);
    if let Some((&top, &at)) = given.last_key_value()
        && top.saturating_sub(told) > silent
    {
        let text = format!("{top} was reached by {told} increments that say so and {silent} others");
        verdict.found(Kind::TooHigh, key.name, &[at], text);
    }
}
