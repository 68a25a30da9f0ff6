//! Removing members by name or by range.

use super::interval::{By, Interval};
use super::zset_at;
use crate::call::{Call, CommandResult};
use crate::distinct::Distinct;
use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::ops::Range;
use data::Operation;
use data::value::ZSet;

pub(super) fn zrem(call: &mut Call<'_, '_>) -> CommandResult {
    let key = call.key(1);
    let mut members = Vec::new();
    if let Some(zset) = zset_at(call.view, key)? {
        let mut distinct = Distinct::default();
        let there = call.rest(2).iter().filter(|member| zset.score(member).is_some());
        members.extend(there.filter(|member| distinct.is_first(member)).map(|member| Cow::Borrowed(*member)));
    }
    call.reply.integer(members.len() as i64);
    if !members.is_empty() {
        call.op(Operation::ZSetRemove { key: Cow::Borrowed(key), members });
    }
    Ok(())
}

pub(super) fn zremrangebyrank(call: &mut Call<'_, '_>) -> CommandResult {
    remove_range(call, By::Rank)
}
pub(super) fn zremrangebyscore(call: &mut Call<'_, '_>) -> CommandResult {
    remove_range(call, By::Score)
}
pub(super) fn zremrangebylex(call: &mut Call<'_, '_>) -> CommandResult {
    remove_range(call, By::Lex)
}

fn remove_range(call: &mut Call<'_, '_>, by: By) -> CommandResult {
    let key = call.key(1);
    let interval = Interval::parse(by, call.key(2), call.key(3), false)?;
    let mut removed = 0;
    if let Some(zset) = zset_at(call.view, key)? {
        let ranks = interval.ranks(zset);
        removed = ranks.len();
        remove_ranks(call, key, zset, ranks);
    }
    call.reply.integer(removed as i64);
    Ok(())
}

/// Removes the members of these ranks: the operation names them, or drops the key when none would stay.
pub(super) fn remove_ranks<'a>(call: &mut Call<'a, '_>, key: &'a [u8], zset: &ZSet, ranks: Range<usize>) {
    if ranks.is_empty() {
        return;
    }
    if ranks.len() == zset.len() {
        call.op(Operation::Delete { key: Cow::Borrowed(key) });
        return;
    }
    let members = zset.range(ranks.start, ranks.end).map(|(member, _)| Call::owned(member)).collect();
    call.op(Operation::ZSetRemove { key: Cow::Borrowed(key), members });
}
