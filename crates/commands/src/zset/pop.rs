//! Taking away the members with the lowest or highest scores.

use super::remove::remove_ranks;
use super::zset_at;
use crate::arguments::integer;
use crate::call::{Call, CommandError, CommandResult};
use crate::choice::pop_count;
use core::ops::Range;
use data::value::ZSet;
use wire::Protocol;
use wire::number::parse_integer;

/// Which end of the order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Min,
    Max,
}

impl Side {
    /// The ranks of the outermost `count` members.
    fn ranks(self, zset: &ZSet, count: usize) -> Range<usize> {
        let count = count.min(zset.len());
        match self {
            Side::Min => 0..count,
            Side::Max => zset.len() - count..zset.len(),
        }
    }
    /// Calls `each` for the outermost `count` members, the outermost first.
    fn walk(self, zset: &ZSet, count: usize, each: impl FnMut((&[u8], f64))) {
        let ranks = self.ranks(zset, count);
        let members = zset.range(ranks.start, ranks.end);
        match self {
            Side::Min => members.for_each(each),
            Side::Max => members.rev().for_each(each),
        }
    }
}

pub(super) fn zpopmin(call: &mut Call<'_, '_>) -> CommandResult {
    pop(call, Side::Min)
}
pub(super) fn zpopmax(call: &mut Call<'_, '_>) -> CommandResult {
    pop(call, Side::Max)
}

/// Without a count RESP3 gets one flat pair, with a count a list of pairs; RESP2 gets a flat list always.
fn pop(call: &mut Call<'_, '_>, side: Side) -> CommandResult {
    let key = call.key(1);
    let count = match call.rest(2) {
        [] => None,
        [count] => Some(pop_count(count)?),
        _ => return Err(CommandError::SYNTAX),
    };
    let Some(zset) = zset_at(call.view, key)? else {
        call.reply.array(0);
        return Ok(());
    };
    let nested = count.is_some() && call.reply.protocol == Protocol::Resp3;
    let count = count.unwrap_or(1).min(zset.len());
    if nested {
        call.reply.array(count)
    } else {
        call.reply.array(count * 2)
    }
    side.walk(zset, count, |(member, score)| {
        if nested {
            call.reply.array(2);
        }
        call.reply.bulk(member);
        call.reply.double(score);
    });
    remove_ranks(call, key, zset, side.ranks(zset, count));
    Ok(())
}

pub(super) fn zmpop(call: &mut Call<'_, '_>) -> CommandResult {
    if !pop_first_of(call, 1)? {
        call.reply.null_array();
    }
    Ok(())
}

/// Runs `numkeys key [key ...] MIN|MAX [COUNT count]` where `numkeys` is the argument at `count_at`. False, and no reply,
/// when all keys are missing.
pub(super) fn pop_first_of(call: &mut Call<'_, '_>, count_at: usize) -> Result<bool, CommandError> {
    const NUMKEYS: CommandError = CommandError::fixed("ERR numkeys should be greater than 0");
    const COUNT: CommandError = CommandError::fixed("ERR count should be greater than 0");
    let numkeys = parse_integer(call.key(count_at)).filter(|n| *n > 0).ok_or(NUMKEYS)?;
    let (keys, options) = usize::try_from(numkeys)
        .ok()
        .and_then(|numkeys| call.rest(count_at + 1).split_at_checked(numkeys))
        .ok_or(CommandError::SYNTAX)?;
    let (side, options) = options.split_first().ok_or(CommandError::SYNTAX)?;
    let side = match side.to_ascii_uppercase().as_slice() {
        b"MIN" => Side::Min,
        b"MAX" => Side::Max,
        _ => return Err(CommandError::SYNTAX),
    };
    let count = match options {
        [] => 1,
        [word, count] if word.eq_ignore_ascii_case(b"count") => {
            let count = integer(count).ok().and_then(|count| usize::try_from(count).ok());
            count.filter(|count| *count > 0).ok_or(COUNT)?
        }
        _ => return Err(CommandError::SYNTAX),
    };
    for key in keys {
        let Some(zset) = zset_at(call.view, key)? else { continue };
        let count = count.min(zset.len());
        call.reply.array(2);
        call.reply.bulk(key);
        call.reply.array(count);
        side.walk(zset, count, |(member, score)| {
            call.reply.array(2);
            call.reply.bulk(member);
            call.reply.double(score);
        });
        remove_ranks(call, key, zset, side.ranks(zset, count));
        return Ok(true);
    }
    Ok(false)
}

/// Answers key, member and score of the outermost member of the first key that has one, and takes it away. No reply when
/// there is none.
pub(super) fn pop_one_of<'a>(call: &mut Call<'a, '_>, keys: &[&'a [u8]], side: Side) -> CommandResult {
    for key in keys {
        let Some(zset) = zset_at(call.view, key)? else { continue };
        call.reply.array(3);
        call.reply.bulk(key);
        side.walk(zset, 1, |(member, score)| {
            call.reply.bulk(member);
            call.reply.double(score);
        });
        remove_ranks(call, key, zset, side.ranks(zset, 1));
        break;
    }
    Ok(())
}
