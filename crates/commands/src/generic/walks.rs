//! The keyspace as a whole: its keys, their number, none of them.

use crate::arguments::{integer, is};
use crate::call::{Call, CommandError, CommandResult};
use crate::glob;
use crate::walk::cursor_of;
use alloc::boxed::Box;
use alloc::vec::Vec;
use data::Operation;

/// Keys shown by one SCAN without COUNT, as in Redis.
const COUNT_DEFAULT: usize = 10;

/// Steps of the table's walk that one SCAN may take for each key asked for, as in Redis.
const STEPS_PER_KEY: usize = 10;

pub(super) fn keys(call: &mut Call<'_, '_>) -> CommandResult {
    let pattern = call.key(1);
    let mut found: Vec<Box<[u8]>> = Vec::new();
    let mut cursor = 0;
    loop {
        cursor = call.view.scan(cursor, &mut |key, _| {
            if glob::matches(pattern, key) {
                found.push(key.into());
            }
        });
        if cursor == 0 {
            break;
        }
    }
    call.reply.array(found.len());
    for key in found {
        call.reply.bulk(&key);
    }
    Ok(())
}

pub(super) fn scan(call: &mut Call<'_, '_>) -> CommandResult {
    let mut cursor = cursor_of(call.key(1))?;
    let (mut pattern, mut kind, mut count) = (None, None, COUNT_DEFAULT);
    let mut options = call.rest(2).iter();
    while let Some(option) = options.next() {
        let value = options.next().ok_or(CommandError::SYNTAX)?;
        if is(option, "MATCH") {
            pattern = Some(*value);
        } else if is(option, "TYPE") {
            kind = Some(*value);
        } else if is(option, "COUNT") {
            let number = integer(value)?;
            count = usize::try_from(number).ok().filter(|n| *n > 0).ok_or(CommandError::SYNTAX)?;
        } else {
            return Err(CommandError::SYNTAX);
        }
    }
    let (mut found, mut seen, mut steps): (Vec<Box<[u8]>>, usize, usize) = (Vec::new(), 0, 0);
    loop {
        steps += 1;
        cursor = call.view.scan(cursor, &mut |key, value| {
            seen += 1;
            let typed = kind.is_none_or(|kind| is(kind, value.value.kind().name()));
            if typed && pattern.is_none_or(|pattern| glob::matches(pattern, key)) {
                found.push(key.into());
            }
        });
        // Steps may show nothing where keys have expired: one call shall not walk over millions of them.
        if cursor == 0 || seen >= count || steps >= count.saturating_mul(STEPS_PER_KEY) {
            break;
        }
    }
    call.reply.array(2);
    call.reply.bulk_integer(cursor as i64);
    call.reply.array(found.len());
    for key in found {
        call.reply.bulk(&key);
    }
    Ok(())
}

pub(super) fn randomkey(call: &mut Call<'_, '_>) -> CommandResult {
    let draw = call.random.draw();
    match call.view.random_key(draw) {
        Some((key, _)) => call.reply.bulk(key),
        None => call.reply.null(),
    }
    Ok(())
}

pub(super) fn dbsize(call: &mut Call<'_, '_>) -> CommandResult {
    call.reply.integer(call.view.len() as i64);
    Ok(())
}

pub(super) fn flushdb(call: &mut Call<'_, '_>) -> CommandResult {
    match call.rest(1) {
        [] => {}
        // Replicas free the memory in their own time either way.
        [mode] if is(mode, "SYNC") || is(mode, "ASYNC") => {}
        _ => return Err(CommandError::SYNTAX),
    }
    if !call.view.is_empty() {
        call.op(Operation::Flush);
    }
    call.reply.ok();
    Ok(())
}
