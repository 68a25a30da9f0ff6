//! Adding members and changing scores.

use super::zset_at;
use crate::arguments::{float, is};
use crate::call::{Call, CommandError, CommandResult};
use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use data::Operation;
use data::value::ZSet;

const NOT_A_NUMBER: CommandError = CommandError::fixed("ERR resulting score is not a number (NaN)");

/// Options of ZADD.
#[derive(Clone, Copy, Default)]
pub(crate) struct Conditions {
    pub(crate) only_new: bool,
    pub(crate) only_existing: bool,
    only_greater: bool,
    only_less: bool,
}

impl Conditions {
    /// Whether a member with this score may take the new one.
    fn allow(self, old: Option<f64>, new: f64) -> bool {
        match old {
            None => !self.only_existing,
            Some(old) => !(self.only_new || self.only_greater && new <= old || self.only_less && new >= old),
        }
    }
    fn check(self) -> CommandResult {
        if self.only_new && self.only_existing {
            return Err(CommandError::fixed("ERR XX and NX options at the same time are not compatible"));
        }
        let comparisons = [self.only_new, self.only_greater, self.only_less];
        if comparisons.into_iter().filter(|set| *set).count() > 1 {
            return Err(CommandError::fixed(
                "ERR GT, LT, and/or NX options at the same time are not compatible",
            ));
        }
        Ok(())
    }
}

pub(super) fn zadd(call: &mut Call<'_, '_>) -> CommandResult {
    let mut conditions = Conditions::default();
    let (mut counts_changed, mut increments) = (false, false);
    let mut at = 2;
    while let Some(option) = call.args.get(at) {
        // Compared in place: the first score comes by here with every ZADD.
        if is(option, "NX") {
            conditions.only_new = true;
        } else if is(option, "XX") {
            conditions.only_existing = true;
        } else if is(option, "GT") {
            conditions.only_greater = true;
        } else if is(option, "LT") {
            conditions.only_less = true;
        } else if is(option, "CH") {
            counts_changed = true;
        } else if is(option, "INCR") {
            increments = true;
        } else {
            break;
        }
        at += 1;
    }
    let (pairs, rest) = call.rest(at).as_chunks::<2>();
    if pairs.is_empty() || !rest.is_empty() {
        return Err(CommandError::SYNTAX);
    }
    conditions.check()?;
    if !increments {
        let scored = pairs
            .iter()
            .map(|[score, member]| Ok((*member, float(score)?)))
            .collect::<Result<_, CommandError>>()?;
        return add(call, conditions, scored, counts_changed);
    }
    match pairs {
        [[by, member]] => increment(call, conditions, float(by)?, member),
        _ => Err(CommandError::fixed("ERR INCR option supports a single increment-element pair")),
    }
}

pub(super) fn zincrby(call: &mut Call<'_, '_>) -> CommandResult {
    let by = float(call.key(2))?;
    increment(call, Conditions::default(), by, call.key(3))
}

/// Sets the scores that the conditions allow. Later pairs see what earlier pairs of the same command did.
pub(crate) fn add<'a>(
    call: &mut Call<'a, '_>,
    conditions: Conditions,
    scored: Vec<(&'a [u8], f64)>,
    counts_changed: bool,
) -> CommandResult {
    let key = call.key(1);
    let zset = zset_at(call.view, key)?;
    let mut pending: BTreeMap<&[u8], f64> = BTreeMap::new();
    let several = scored.len() > 1;
    let (mut added, mut updated) = (0, 0);
    let mut members = Vec::with_capacity(scored.len());
    for (member, score) in scored {
        let old = pending.get(member).copied().or_else(|| zset.and_then(|zset| zset.score(member)));
        if old == Some(score) || !conditions.allow(old, score) {
            continue;
        }
        match old {
            None => added += 1,
            Some(_) => updated += 1,
        }
        if several {
            pending.insert(member, score);
        }
        members.push((Cow::Borrowed(member), score));
    }
    if !members.is_empty() {
        call.op(Operation::ZSetAdd { key: Cow::Borrowed(key), members });
    }
    call.reply.integer(if counts_changed { added + updated } else { added });
    Ok(())
}

/// Adds to one score and answers the new one, or nil when the conditions forbid it.
fn increment<'a>(
    call: &mut Call<'a, '_>,
    conditions: Conditions,
    by: f64,
    member: &'a [u8],
) -> CommandResult {
    let key = call.key(1);
    let old = zset_at(call.view, key)?.and_then(|zset: &ZSet| zset.score(member));
    if old.is_some() && conditions.only_new || old.is_none() && conditions.only_existing {
        call.reply.null();
        return Ok(());
    }
    // Adding zero first turns -0 into 0, which is how scores are kept.
    let new = old.unwrap_or(0.0) + by;
    if new.is_nan() {
        return Err(NOT_A_NUMBER);
    }
    if !conditions.allow(old, new) {
        call.reply.null();
        return Ok(());
    }
    if old != Some(new) {
        call.op(Operation::ZSetIncrement { key: Cow::Borrowed(key), member: Cow::Borrowed(member), by });
    }
    call.reply.double(new);
    Ok(())
}
