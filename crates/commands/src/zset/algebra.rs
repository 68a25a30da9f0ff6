//! Union, intersection and difference of sorted sets and sets, answered, counted or stored.

use super::range::store;
use super::{begin_members, show_member};
use crate::arguments::integer;
use crate::call::{Call, CommandError, CommandResult, View};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use data::value::{Set, ValueRef, ZSet};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    Union,
    Intersection,
    Difference,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, a: f64, b: f64) -> f64 {
        match self {
            // An infinity and its opposite cancel out.
            Aggregate::Sum => number(a + b),
            Aggregate::Min => a.min(b),
            Aggregate::Max => a.max(b),
        }
    }
}

/// A score that came out as no number counts as 0.
fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// One input: the members of a plain set have the score 1.
#[derive(Clone, Copy)]
enum Source<'v> {
    Missing,
    Set(&'v Set),
    ZSet(&'v ZSet),
}

impl<'v> Source<'v> {
    fn at(view: &'v dyn View, key: &[u8]) -> Result<Source<'v>, CommandError> {
        match view.get(key).map(|found| found.value) {
            None => Ok(Source::Missing),
            Some(ValueRef::Set(set)) => Ok(Source::Set(set)),
            Some(ValueRef::ZSet(zset)) => Ok(Source::ZSet(zset)),
            Some(_) => Err(CommandError::WRONG_TYPE),
        }
    }
    fn len(self) -> usize {
        match self {
            Source::Missing => 0,
            Source::Set(set) => set.len(),
            Source::ZSet(zset) => zset.len(),
        }
    }
    fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Source::Missing => None,
            Source::Set(set) => set.contains(member).then_some(1.0),
            Source::ZSet(zset) => zset.score(member),
        }
    }
    fn iter(self) -> impl Iterator<Item = (&'v [u8], f64)> {
        let (set, zset) = match self {
            Source::Missing => (None, None),
            Source::Set(set) => (Some(set), None),
            Source::ZSet(zset) => (None, Some(zset)),
        };
        let members = set.into_iter().flat_map(|set| set.iter()).map(|member| (member, 1.0));
        members.chain(zset.into_iter().flat_map(|zset| zset.iter_members()))
    }
}

/// Inputs and options of one command.
struct Combination<'v> {
    rule: Rule,
    sources: Vec<Source<'v>>,
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
    limit: usize,
}

/// What becomes of the result: it settles which options are known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Answer,
    Store,
    Count,
}

pub(super) fn zunion(call: &mut Call<'_, '_>) -> CommandResult {
    answer(call, "zunion", Rule::Union)
}
pub(super) fn zinter(call: &mut Call<'_, '_>) -> CommandResult {
    answer(call, "zinter", Rule::Intersection)
}
pub(super) fn zdiff(call: &mut Call<'_, '_>) -> CommandResult {
    answer(call, "zdiff", Rule::Difference)
}
pub(super) fn zunionstore(call: &mut Call<'_, '_>) -> CommandResult {
    store_result(call, "zunionstore", Rule::Union)
}
pub(super) fn zinterstore(call: &mut Call<'_, '_>) -> CommandResult {
    store_result(call, "zinterstore", Rule::Intersection)
}
pub(super) fn zdiffstore(call: &mut Call<'_, '_>) -> CommandResult {
    store_result(call, "zdiffstore", Rule::Difference)
}

fn answer(call: &mut Call<'_, '_>, name: &str, rule: Rule) -> CommandResult {
    let combination = Combination::parse(call, name, rule, 1, Use::Answer)?;
    let members = combination.members();
    begin_members(&mut call.reply, members.len(), combination.with_scores);
    for (member, score) in members {
        show_member(&mut call.reply, member, score, combination.with_scores);
    }
    Ok(())
}

fn store_result(call: &mut Call<'_, '_>, name: &str, rule: Rule) -> CommandResult {
    let combination = Combination::parse(call, name, rule, 2, Use::Store)?;
    let mut zset = ZSet::new();
    for (member, score) in combination.members() {
        zset.set(member, score);
    }
    store(call, zset);
    Ok(())
}

pub(super) fn zintercard(call: &mut Call<'_, '_>) -> CommandResult {
    let combination = Combination::parse(call, "zintercard", Rule::Intersection, 1, Use::Count)?;
    let count = combination.common().take(combination.limit).count();
    call.reply.integer(count as i64);
    Ok(())
}

impl<'v> Combination<'v> {
    /// Reads `numkeys key [key ...] [options ...]` where `numkeys` is the argument at `count_at`.
    fn parse(
        call: &Call<'_, 'v>,
        name: &str,
        rule: Rule,
        count_at: usize,
        result: Use,
    ) -> Result<Combination<'v>, CommandError> {
        let numkeys = integer(call.key(count_at))?;
        if numkeys < 1 {
            return Err(CommandError::new(format!(
                "ERR at least 1 input key is needed for '{name}' command"
            )));
        }
        let (keys, options) = usize::try_from(numkeys)
            .ok()
            .and_then(|numkeys| call.rest(count_at + 1).split_at_checked(numkeys))
            .ok_or(CommandError::SYNTAX)?;
        let sources = keys.iter().map(|key| Source::at(call.view, key)).collect::<Result<Vec<_>, _>>()?;
        let mut combination = Combination {
            rule,
            weights: vec![1.0; sources.len()],
            sources,
            aggregate: Aggregate::Sum,
            with_scores: false,
            limit: usize::MAX,
        };
        combination.read_options(options, result)?;
        Ok(combination)
    }

    fn read_options(&mut self, mut options: &[&[u8]], result: Use) -> CommandResult {
        let scores_count = self.rule != Rule::Difference && result != Use::Count;
        while let Some((option, rest)) = options.split_first() {
            options = match (option.to_ascii_uppercase().as_slice(), rest) {
                (b"WEIGHTS", rest) if scores_count => {
                    let (weights, rest) =
                        rest.split_at_checked(self.weights.len()).ok_or(CommandError::SYNTAX)?;
                    self.weights = weights.iter().map(|text| weight(text)).collect::<Result<_, _>>()?;
                    rest
                }
                (b"AGGREGATE", [word, rest @ ..]) if scores_count => {
                    self.aggregate = match word.to_ascii_uppercase().as_slice() {
                        b"SUM" => Aggregate::Sum,
                        b"MIN" => Aggregate::Min,
                        b"MAX" => Aggregate::Max,
                        _ => return Err(CommandError::SYNTAX),
                    };
                    rest
                }
                (b"WITHSCORES", rest) if result == Use::Answer => {
                    self.with_scores = true;
                    rest
                }
                (b"LIMIT", [limit, rest @ ..]) if result == Use::Count => {
                    let limit = integer(limit).ok().and_then(|limit| usize::try_from(limit).ok());
                    let limit = limit.ok_or(CommandError::fixed("ERR LIMIT can't be negative"))?;
                    self.limit = if limit == 0 { usize::MAX } else { limit };
                    rest
                }
                _ => return Err(CommandError::SYNTAX),
            };
        }
        Ok(())
    }

    /// The members of the result by (score, member).
    fn members(&self) -> Vec<(&'v [u8], f64)> {
        let mut members: Vec<(&'v [u8], f64)> = match self.rule {
            Rule::Union => self.united().into_iter().collect(),
            Rule::Intersection => self.common().map(|member| (member, self.score(member))).collect(),
            Rule::Difference => self.only_in_first(),
        };
        members.sort_unstable_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(b.0)));
        members
    }

    fn united(&self) -> BTreeMap<&'v [u8], f64> {
        let mut scores = BTreeMap::new();
        for (source, weight) in self.sources.iter().zip(&self.weights) {
            for (member, score) in source.iter() {
                let weighted = number(score * weight) + 0.0;
                scores
                    .entry(member)
                    .and_modify(|sum| *sum = self.aggregate.of(*sum, weighted))
                    .or_insert(weighted);
            }
        }
        scores
    }

    /// Members of all sources: the smallest is walked, the others are asked.
    fn common(&self) -> impl Iterator<Item = &'v [u8]> {
        let smallest = self.sources.iter().min_by_key(|source| source.len());
        let members = smallest.into_iter().flat_map(|source| source.iter()).map(|(member, _)| member);
        members.filter(|member| self.sources.iter().all(|source| source.score(member).is_some()))
    }

    /// The aggregated score of a member that all sources hold. Zero is added so that no score is -0.
    fn score(&self, member: &[u8]) -> f64 {
        let weighted = self
            .sources
            .iter()
            .zip(&self.weights)
            .filter_map(|(source, weight)| Some(number(source.score(member)? * weight) + 0.0));
        weighted.reduce(|a, b| self.aggregate.of(a, b)).unwrap_or(0.0)
    }

    fn only_in_first(&self) -> Vec<(&'v [u8], f64)> {
        let Some((first, others)) = self.sources.split_first() else { return Vec::new() };
        let absent = |member: &[u8]| others.iter().all(|other| other.score(member).is_none());
        first.iter().filter(|(member, _)| absent(member)).collect()
    }
}

fn weight(text: &[u8]) -> Result<f64, CommandError> {
    core::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse::<f64>().ok())
        .filter(|weight| !weight.is_nan())
        .ok_or(CommandError::fixed("ERR weight value is not a float"))
}
