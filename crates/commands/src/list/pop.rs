//! Taking elements from the ends: of one list, or of the first of several that has any.

use super::{element_at, end_of, list_at};
use crate::arguments::integer;
use crate::call::{Call, CommandError, CommandResult};
use crate::choice::pop_count;
use alloc::borrow::Cow;
use data::Operation;
use data::operation::End;
use data::value::List;
use wire::number::parse_integer;

pub(super) fn lpop(call: &mut Call<'_, '_>) -> CommandResult {
    pop(call, End::Front, "ERR wrong number of arguments for 'lpop' command")
}
pub(super) fn rpop(call: &mut Call<'_, '_>) -> CommandResult {
    pop(call, End::Back, "ERR wrong number of arguments for 'rpop' command")
}

fn pop(call: &mut Call<'_, '_>, end: End, too_many: &'static str) -> CommandResult {
    let key = call.key(1);
    let count = match call.rest(2) {
        [] => None,
        [count] => Some(pop_count(count)?),
        _ => return Err(CommandError::fixed(too_many)),
    };
    match (list_at(call.view, key)?, count) {
        (None, None) => call.reply.null(),
        (None, Some(_)) => call.reply.null_array(),
        (Some(list), None) => pop_one(call, key, list, end),
        (Some(list), Some(count)) => pop_many(call, key, list, end, count),
    }
    Ok(())
}

/// Answers the element and takes it away.
pub(super) fn pop_one<'a>(call: &mut Call<'a, '_>, key: &'a [u8], list: &List, end: End) {
    let Some(element) = element_at(list, end) else { return call.reply.null() };
    call.reply.bulk(element);
    call.op(Operation::ListPop { key: Cow::Borrowed(key), end, count: 1 });
}

/// Answers up to `count` elements as an array, the outermost first, and takes them away.
fn pop_many<'a>(call: &mut Call<'a, '_>, key: &'a [u8], list: &List, end: End, count: usize) {
    let count = count.min(list.len());
    call.reply.array(count);
    match end {
        End::Front => list.range(0, count).for_each(|element| call.reply.bulk(element)),
        End::Back => {
            list.range(list.len() - count, list.len()).rev().for_each(|element| call.reply.bulk(element));
        }
    }
    if count > 0 {
        call.op(Operation::ListPop { key: Cow::Borrowed(key), end, count: count as u64 });
    }
}

pub(super) fn lmpop(call: &mut Call<'_, '_>) -> CommandResult {
    if !pop_first_of(call, 1)? {
        call.reply.null_array();
    }
    Ok(())
}

/// Runs `numkeys key [key ...] LEFT|RIGHT [COUNT count]` where `numkeys` is the argument at `count_at`. False, and no
/// reply, when all lists are missing.
pub(super) fn pop_first_of(call: &mut Call<'_, '_>, count_at: usize) -> Result<bool, CommandError> {
    const NUMKEYS: CommandError = CommandError::fixed("ERR numkeys should be greater than 0");
    let numkeys = parse_integer(call.key(count_at)).filter(|n| *n > 0).ok_or(NUMKEYS)?;
    let after = call.rest(count_at + 1);
    let (keys, options) = usize::try_from(numkeys)
        .ok()
        .and_then(|numkeys| after.split_at_checked(numkeys))
        .ok_or(CommandError::SYNTAX)?;
    let (end, options) = options.split_first().ok_or(CommandError::SYNTAX)?;
    let end = end_of(end)?;
    let count = match options {
        [] => 1,
        [word, count] if word.eq_ignore_ascii_case(b"count") => positive_count(count)?,
        _ => return Err(CommandError::SYNTAX),
    };
    for key in keys {
        if let Some(list) = list_at(call.view, key)? {
            call.reply.array(2);
            call.reply.bulk(key);
            pop_many(call, key, list, end, count);
            return Ok(true);
        }
    }
    Ok(false)
}

fn positive_count(text: &[u8]) -> Result<usize, CommandError> {
    integer(text)
        .ok()
        .filter(|count| *count > 0)
        .and_then(|count| usize::try_from(count).ok())
        .ok_or(CommandError::fixed("ERR count should be greater than 0"))
}
