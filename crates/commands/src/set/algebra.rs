//! Intersection, union and difference of sets, answered or stored.

use super::set_at;
use crate::arguments::integer;
use crate::call::{Call, CommandError, CommandResult};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;
use data::Operation;
use data::operation::Expiry;
use data::value::{Set, Value};
use wire::number::parse_integer;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    Intersection,
    Union,
    Difference,
}

pub(super) fn sinter(call: &mut Call<'_, '_>) -> CommandResult {
    answer(call, Rule::Intersection)
}
pub(super) fn sunion(call: &mut Call<'_, '_>) -> CommandResult {
    answer(call, Rule::Union)
}
pub(super) fn sdiff(call: &mut Call<'_, '_>) -> CommandResult {
    answer(call, Rule::Difference)
}
pub(super) fn sinterstore(call: &mut Call<'_, '_>) -> CommandResult {
    store(call, Rule::Intersection)
}
pub(super) fn sunionstore(call: &mut Call<'_, '_>) -> CommandResult {
    store(call, Rule::Union)
}
pub(super) fn sdiffstore(call: &mut Call<'_, '_>) -> CommandResult {
    store(call, Rule::Difference)
}

fn answer(call: &mut Call<'_, '_>, rule: Rule) -> CommandResult {
    let sets = sets_at(call, call.rest(1))?;
    let members = combine(rule, &sets, usize::MAX);
    call.reply.set(members.len());
    members.iter().for_each(|member| call.reply.bulk(member));
    Ok(())
}

fn store(call: &mut Call<'_, '_>, rule: Rule) -> CommandResult {
    let destination = call.key(1);
    let sets = sets_at(call, call.rest(2))?;
    let members = combine(rule, &sets, usize::MAX);
    call.reply.integer(members.len() as i64);
    if members.is_empty() {
        if call.view.get(destination).is_some() {
            call.op(Operation::Delete { key: Cow::Borrowed(destination) });
        }
        return Ok(());
    }
    let mut set = Set::new();
    for member in members {
        set.add(member);
    }
    let value = Value::Set(Box::new(set));
    call.op(Operation::Put { key: Cow::Borrowed(destination), value, expiry: Expiry::Never });
    Ok(())
}

pub(super) fn sintercard(call: &mut Call<'_, '_>) -> CommandResult {
    const NUMKEYS: CommandError = CommandError::fixed("ERR numkeys should be greater than 0");
    let numkeys = parse_integer(call.key(1)).filter(|n| *n > 0).ok_or(NUMKEYS)?;
    let (keys, options) = usize::try_from(numkeys)
        .ok()
        .and_then(|numkeys| call.rest(2).split_at_checked(numkeys))
        .ok_or(CommandError::fixed("ERR Number of keys can't be greater than number of args"))?;
    let mut limit = 0;
    let (pairs, rest) = options.as_chunks::<2>();
    for [option, value] in pairs {
        if !option.eq_ignore_ascii_case(b"limit") {
            return Err(CommandError::SYNTAX);
        }
        limit = integer(value)
            .ok()
            .and_then(|limit| usize::try_from(limit).ok())
            .ok_or(CommandError::fixed("ERR LIMIT can't be negative"))?;
    }
    if !rest.is_empty() {
        return Err(CommandError::SYNTAX);
    }
    let sets = sets_at(call, keys)?;
    let count = combine(Rule::Intersection, &sets, if limit == 0 { usize::MAX } else { limit }).len();
    call.reply.integer(count as i64);
    Ok(())
}

/// The sets under the keys, each checked for its type even where a missing one settles the result.
fn sets_at<'c>(call: &Call<'_, 'c>, keys: &[&[u8]]) -> Result<Vec<Option<&'c Set>>, CommandError> {
    keys.iter().map(|key| set_at(call.view, key)).collect()
}

/// The first `limit` members of the combination, in an order that depends on the values only.
fn combine<'v>(rule: Rule, sets: &[Option<&'v Set>], limit: usize) -> Vec<&'v [u8]> {
    let contains = |set: &Option<&Set>, member: &[u8]| set.is_some_and(|set| set.contains(member));
    match rule {
        Rule::Union => {
            let mut members = Vec::new();
            for (at, set) in sets.iter().enumerate() {
                let new = set.iter().flat_map(|set| set.iter());
                members
                    .extend(new.filter(|member| !sets[..at].iter().any(|before| contains(before, member))));
            }
            members
        }
        Rule::Difference => {
            let Some((Some(first), others)) = sets.split_first() else { return Vec::new() };
            first.iter().filter(|member| !others.iter().any(|other| contains(other, member))).collect()
        }
        Rule::Intersection => {
            // The smallest set is walked, the others are asked; one missing set empties the result.
            let Some(Some(smallest)) = sets.iter().min_by_key(|set| set.map_or(0, |set| set.len())) else {
                return Vec::new();
            };
            let everywhere = |member: &&[u8]| sets.iter().all(|set| contains(set, member));
            smallest.iter().filter(everywhere).take(limit).collect()
        }
    }
}
