//! Walking through a hash, and choosing fields at random.

use super::hash_at;
use crate::call::{Call, CommandError, CommandResult};
use crate::choice::{Count, check_reply_len, count_of, distinct_places};
use crate::walk::{self, Walk};
use alloc::vec::Vec;
use data::value::Hash;
use wire::Protocol;

pub(super) fn hscan(call: &mut Call<'_, '_>) -> CommandResult {
    let cursor = walk::cursor_of(call.key(2))?;
    let Some(hash) = hash_at(call.view, call.key(1))? else {
        walk::answer(call, 0, [].into_iter());
        return Ok(());
    };
    let walk = Walk::parse(cursor, call.rest(3), true)?;
    let step = walk.step(hash.len());
    let mut texts = Vec::new();
    for (field, value) in step.clone().filter_map(|at| hash.at(at)).filter(|(field, _)| walk.shows(field)) {
        texts.push(field);
        if !walk.without_values {
            texts.push(value);
        }
    }
    walk::answer(call, step.start, texts.into_iter());
    Ok(())
}

pub(super) fn hrandfield(call: &mut Call<'_, '_>) -> CommandResult {
    let Some(count) = call.args.get(2) else { return one_random(call) };
    let count = count_of(count)?;
    let with_values = match call.rest(3) {
        [] => false,
        [option] if option.eq_ignore_ascii_case(b"withvalues") => true,
        _ => return Err(CommandError::SYNTAX),
    };
    let Some(hash) = hash_at(call.view, call.key(1))? else {
        call.reply.array(0);
        return Ok(());
    };
    match count {
        Count::Distinct(count) => {
            let places = distinct_places(call.random, hash.len(), count);
            begin(call, places.len(), with_values);
            for at in places {
                show(call, hash, at, with_values);
            }
        }
        Count::Repeated(count) => {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            if with_values && count > i64::MAX as usize / 2 {
                return Err(CommandError::fixed("ERR value is out of range"));
            }
            let start = call.reply.buffer.len();
            begin(call, count, with_values);
            for _ in 0..count {
                let at = call.random.below(hash.len() as u64) as usize;
                show(call, hash, at, with_values);
                check_reply_len(call.reply.buffer.len() - start)?;
            }
        }
    }
    Ok(())
}

fn one_random(call: &mut Call<'_, '_>) -> CommandResult {
    let hash = hash_at(call.view, call.key(1))?;
    let drawn = hash.and_then(|hash| hash.at(call.random.below(hash.len() as u64) as usize));
    match drawn {
        Some((field, _)) => call.reply.bulk(field),
        None => call.reply.null(),
    }
    Ok(())
}

/// Fields and values in turn, in RESP3 a pair each.
fn begin(call: &mut Call<'_, '_>, count: usize, with_values: bool) {
    let flat = with_values && call.reply.protocol == Protocol::Resp2;
    call.reply.array(if flat { count * 2 } else { count });
}

fn show(call: &mut Call<'_, '_>, hash: &Hash, at: usize, with_values: bool) {
    let Some((field, value)) = hash.at(at) else { return };
    if with_values && call.reply.protocol == Protocol::Resp3 {
        call.reply.array(2);
    }
    call.reply.bulk(field);
    if with_values {
        call.reply.bulk(value);
    }
}
