//! Intervals of scores, members and ranks, turned into a span of ranks.

use crate::arguments::integer;
use crate::call::CommandError;
use crate::places::span;
use core::ops::Range;
use data::value::{ScoreBound, ZSet};

/// What the bounds of a range are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum By {
    Rank,
    Score,
    Lex,
}

/// One end of a range of members with equal scores.
#[derive(Clone, Copy, Debug)]
enum LexBound<'a> {
    /// Below every member.
    Least,
    /// Above every member.
    Most,
    Including(&'a [u8]),
    Excluding(&'a [u8]),
}

/// A range as the client wrote it, from its lower to its upper end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval<'a>(Bounds<'a>);

#[derive(Clone, Copy, Debug)]
enum Bounds<'a> {
    Rank { start: i64, stop: i64, backwards: bool },
    Score { min: ScoreBound, max: ScoreBound },
    Lex { min: LexBound<'a>, max: LexBound<'a> },
}

impl<'a> Interval<'a> {
    /// Reads two bounds. A range that is walked backwards names its upper score or member first, but its ranks count from
    /// the upper end.
    pub(super) fn parse(
        by: By,
        first: &'a [u8],
        second: &'a [u8],
        backwards: bool,
    ) -> Result<Interval<'a>, CommandError> {
        let (low, high) = if backwards { (second, first) } else { (first, second) };
        Ok(Interval(match by {
            By::Rank => Bounds::Rank { start: integer(first)?, stop: integer(second)?, backwards },
            By::Score => Bounds::Score { min: score_bound(low)?, max: score_bound(high)? },
            By::Lex => Bounds::Lex { min: lex_bound(low)?, max: lex_bound(high)? },
        }))
    }

    /// The ranks of the members within.
    pub(super) fn ranks(&self, zset: &ZSet) -> Range<usize> {
        let (from, to) = match self.0 {
            Bounds::Rank { start, stop, backwards } => {
                let places = span(start, stop, zset.len());
                if !backwards || places.is_empty() {
                    return places;
                }
                (zset.len() - places.end, zset.len() - places.start)
            }
            Bounds::Score { min, max } => (zset.rank_of_score(min), zset.rank_of_score(beyond(max))),
            Bounds::Lex { min, max } => (
                zset.partition_members(|member, _| lies_below(member, min)),
                zset.partition_members(|member, _| lies_up_to(member, max)),
            ),
        };
        if from < to { from..to } else { 0..0 }
    }
}

/// The bound whose lower side is everything up to `max`.
fn beyond(max: ScoreBound) -> ScoreBound {
    match max {
        ScoreBound::Including(score) => ScoreBound::Excluding(score),
        ScoreBound::Excluding(score) => ScoreBound::Including(score),
    }
}

fn lies_below(member: &[u8], min: LexBound<'_>) -> bool {
    match min {
        LexBound::Least => false,
        LexBound::Most => true,
        LexBound::Including(bound) => member < bound,
        LexBound::Excluding(bound) => member <= bound,
    }
}

fn lies_up_to(member: &[u8], max: LexBound<'_>) -> bool {
    match max {
        LexBound::Least => false,
        LexBound::Most => true,
        LexBound::Including(bound) => member <= bound,
        LexBound::Excluding(bound) => member < bound,
    }
}

fn score_bound(text: &[u8]) -> Result<ScoreBound, CommandError> {
    let bound = |text: &[u8]| {
        core::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse::<f64>().ok())
            .filter(|score| !score.is_nan())
            .ok_or(CommandError::fixed("ERR min or max is not a float"))
    };
    Ok(match text {
        [b'(', text @ ..] => ScoreBound::Excluding(bound(text)?),
        text => ScoreBound::Including(bound(text)?),
    })
}

fn lex_bound(text: &[u8]) -> Result<LexBound<'_>, CommandError> {
    match text {
        b"-" => Ok(LexBound::Least),
        b"+" => Ok(LexBound::Most),
        [b'[', member @ ..] => Ok(LexBound::Including(member)),
        [b'(', member @ ..] => Ok(LexBound::Excluding(member)),
        _ => Err(CommandError::fixed("ERR min or max not valid string range item")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// Ten members m0..m9 whose scores are half their number, rounded down: every score twice.
    fn pairs() -> ZSet {
        let mut zset = ZSet::new();
        (0..10).for_each(|i| {
            zset.set(format!("m{i}").as_bytes(), f64::from(i / 2));
        });
        zset
    }

    proptest! {
        #[test]
        fn scores_within_are_exactly_those_that_compare_so(
            low in -2i32..8, high in -2i32..8, low_out: bool, high_out: bool,
        ) {
            let text = |score: i32, out: bool| format!("{}{score}", if out { "(" } else { "" });
            let (first, second) = (text(low, low_out), text(high, high_out));
            let interval = Interval::parse(By::Score, first.as_bytes(), second.as_bytes(), false).unwrap();
            let expected: Vec<usize> = (0..10usize)
                .filter(|rank| {
                    let score = (rank / 2) as i32;
                    (if low_out { score > low } else { score >= low })
                        && (if high_out { score < high } else { score <= high })
                })
                .collect();
            prop_assert_eq!(interval.ranks(&pairs()).collect::<Vec<_>>(), expected);
        }

        #[test]
        fn ranks_backwards_mirror_ranks_forwards(start in -15i64..15, stop in -15i64..15) {
            let (zset, first, second) = (pairs(), format!("{start}"), format!("{stop}"));
            let ranks = |backwards| {
                Interval::parse(By::Rank, first.as_bytes(), second.as_bytes(), backwards).unwrap().ranks(&zset)
            };
            let mirrored: Vec<usize> = ranks(false).map(|rank| 9 - rank).rev().collect();
            prop_assert_eq!(ranks(true).collect::<Vec<_>>(), mirrored);
        }

        #[test]
        fn members_within_are_exactly_those_that_compare_so(
            low in 0usize..12, high in 0usize..12, low_out: bool, high_out: bool,
        ) {
            let mut zset = ZSet::new();
            let names: Vec<_> = (1..11).map(|i| format!("{:02}", i)).collect();
            names.iter().for_each(|name| { zset.set(name.as_bytes(), 0.0); });
            let text = |i: usize, out: bool| format!("{}{i:02}", if out { "(" } else { "[" });
            let (first, second) = (text(low, low_out), text(high, high_out));
            let interval = Interval::parse(By::Lex, first.as_bytes(), second.as_bytes(), false).unwrap();
            let expected: Vec<usize> = (1..11usize)
                .filter(|i| (if low_out { *i > low } else { *i >= low }) && (if high_out { *i < high } else { *i <= high }))
                .map(|i| i - 1)
                .collect();
            prop_assert_eq!(interval.ranks(&zset).collect::<Vec<_>>(), expected);
        }
    }
}
