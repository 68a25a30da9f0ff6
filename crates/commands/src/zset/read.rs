//! Looking up scores, ranks and counts.

use super::interval::{By, Interval};
use super::zset_at;
use crate::call::{Call, CommandError, CommandResult};
use crate::walk::{self, Walk};
use alloc::string::String;
use alloc::vec::Vec;
use wire::number::format_double;

pub(super) fn zcard(call: &mut Call<'_, '_>) -> CommandResult {
    let len = zset_at(call.view, call.key(1))?.map_or(0, |zset| zset.len());
    call.reply.integer(len as i64);
    Ok(())
}

pub(super) fn zscore(call: &mut Call<'_, '_>) -> CommandResult {
    match zset_at(call.view, call.key(1))?.and_then(|zset| zset.score(call.key(2))) {
        Some(score) => call.reply.double(score),
        None => call.reply.null(),
    }
    Ok(())
}

pub(super) fn zmscore(call: &mut Call<'_, '_>) -> CommandResult {
    let zset = zset_at(call.view, call.key(1))?;
    let members = call.rest(2);
    call.reply.array(members.len());
    for member in members {
        match zset.and_then(|zset| zset.score(member)) {
            Some(score) => call.reply.double(score),
            None => call.reply.null(),
        }
    }
    Ok(())
}

pub(super) fn zrank(call: &mut Call<'_, '_>) -> CommandResult {
    rank(call, false, "ERR wrong number of arguments for 'zrank' command")
}
pub(super) fn zrevrank(call: &mut Call<'_, '_>) -> CommandResult {
    rank(call, true, "ERR wrong number of arguments for 'zrevrank' command")
}

fn rank(call: &mut Call<'_, '_>, backwards: bool, too_many: &'static str) -> CommandResult {
    let with_score = match call.rest(3) {
        [] => false,
        [option] if option.eq_ignore_ascii_case(b"withscore") => true,
        [_] => return Err(CommandError::SYNTAX),
        _ => return Err(CommandError::fixed(too_many)),
    };
    let zset = zset_at(call.view, call.key(1))?;
    let found = zset.and_then(|zset| {
        let rank = zset.rank(call.key(2))?;
        let rank = if backwards { zset.len() - 1 - rank } else { rank };
        Some((rank as i64, zset.score(call.key(2))?))
    });
    match (found, with_score) {
        (None, false) => call.reply.null(),
        (None, true) => call.reply.null_array(),
        (Some((rank, _)), false) => call.reply.integer(rank),
        (Some((rank, score)), true) => {
            call.reply.array(2);
            call.reply.integer(rank);
            call.reply.double(score);
        }
    }
    Ok(())
}

pub(super) fn zcount(call: &mut Call<'_, '_>) -> CommandResult {
    count(call, By::Score)
}
pub(super) fn zlexcount(call: &mut Call<'_, '_>) -> CommandResult {
    count(call, By::Lex)
}

fn count(call: &mut Call<'_, '_>, by: By) -> CommandResult {
    let interval = Interval::parse(by, call.key(2), call.key(3), false)?;
    let count = zset_at(call.view, call.key(1))?.map_or(0, |zset| interval.ranks(zset).len());
    call.reply.integer(count as i64);
    Ok(())
}

pub(super) fn zscan(call: &mut Call<'_, '_>) -> CommandResult {
    let cursor = walk::cursor_of(call.key(2))?;
    let Some(zset) = zset_at(call.view, call.key(1))? else {
        walk::answer(call, 0, [].into_iter());
        return Ok(());
    };
    let walk = Walk::parse(cursor, call.rest(3), false)?;
    let step = walk.step(zset.len());
    let shown: Vec<(&[u8], String)> = step
        .clone()
        .filter_map(|at| zset.member_at(at))
        .filter(|(member, _)| walk.shows(member))
        .map(|(member, score)| (member, format_double(score)))
        .collect();
    let texts: Vec<&[u8]> = shown.iter().flat_map(|(member, score)| [*member, score.as_bytes()]).collect();
    walk::answer(call, step.start, texts.into_iter());
    Ok(())
}
