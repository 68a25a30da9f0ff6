//! Moving an element from one list to another, or round within one.

use super::{element_at, end_of, list_at};
use crate::call::{Call, CommandError, CommandResult};
use alloc::borrow::Cow;
use alloc::vec;
use data::Operation;
use data::operation::End;

pub(super) fn lmove(call: &mut Call<'_, '_>) -> CommandResult {
    let (from, to) = (end_of(call.key(3))?, end_of(call.key(4))?);
    if !transfer(call, from, to)? {
        call.reply.null();
    }
    Ok(())
}

pub(super) fn rpoplpush(call: &mut Call<'_, '_>) -> CommandResult {
    if !transfer(call, End::Back, End::Front)? {
        call.reply.null();
    }
    Ok(())
}

/// Moves an element from the list of argument 1 to that of argument 2 and answers it. False, and no reply, when there is
/// none.
pub(super) fn transfer(call: &mut Call<'_, '_>, from: End, to: End) -> Result<bool, CommandError> {
    let (source, destination) = (call.key(1), call.key(2));
    let Some(list) = list_at(call.view, source)? else { return Ok(false) };
    list_at(call.view, destination)?;
    let Some(element) = element_at(list, from) else { return Ok(false) };
    call.reply.bulk(element);
    // An element that is put back where it was changes nothing; a pop of the only one would even cost the key its expiry.
    let stays = source == destination && (from == to || list.len() == 1);
    if !stays {
        let elements = vec![Cow::Owned(element.into())];
        call.op(Operation::ListPop { key: Cow::Borrowed(source), end: from, count: 1 });
        call.op(Operation::ListPush { key: Cow::Borrowed(destination), end: to, elements });
    }
    Ok(true)
}
