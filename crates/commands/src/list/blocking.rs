//! The forms that wait for an element. Here they try once; no reply means that the connection waits.

use super::pop::{pop_first_of, pop_one};
use super::transfer::transfer;
use super::{end_of, list_at};
use crate::blocking::timeout_of;
use crate::call::{Call, CommandResult};
use data::operation::End;

pub(super) fn blpop(call: &mut Call<'_, '_>) -> CommandResult {
    timeout_of("blpop", call.args)?;
    pop_any(call, End::Front)
}

pub(super) fn brpop(call: &mut Call<'_, '_>) -> CommandResult {
    timeout_of("brpop", call.args)?;
    pop_any(call, End::Back)
}

/// Pops from the first list that exists; the last argument is the timeout.
fn pop_any(call: &mut Call<'_, '_>, end: End) -> CommandResult {
    let Some((_, keys)) = call.rest(1).split_last() else { return Ok(()) };
    for key in keys {
        if let Some(list) = list_at(call.view, key)? {
            call.reply.array(2);
            call.reply.bulk(key);
            pop_one(call, key, list, end);
            break;
        }
    }
    Ok(())
}

pub(super) fn blmove(call: &mut Call<'_, '_>) -> CommandResult {
    let (from, to) = (end_of(call.key(3))?, end_of(call.key(4))?);
    timeout_of("blmove", call.args)?;
    transfer(call, from, to)?;
    Ok(())
}

pub(super) fn brpoplpush(call: &mut Call<'_, '_>) -> CommandResult {
    timeout_of("brpoplpush", call.args)?;
    transfer(call, End::Back, End::Front)?;
    Ok(())
}

pub(super) fn blmpop(call: &mut Call<'_, '_>) -> CommandResult {
    timeout_of("blmpop", call.args)?;
    pop_first_of(call, 2)?;
    Ok(())
}
