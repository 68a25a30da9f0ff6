//! Adding elements at the ends.

use super::list_at;
use crate::call::{Call, CommandResult};
use alloc::borrow::Cow;
use data::Operation;
use data::operation::End;

pub(super) fn lpush(call: &mut Call<'_, '_>) -> CommandResult {
    push(call, End::Front, false)
}
pub(super) fn rpush(call: &mut Call<'_, '_>) -> CommandResult {
    push(call, End::Back, false)
}
pub(super) fn lpushx(call: &mut Call<'_, '_>) -> CommandResult {
    push(call, End::Front, true)
}
pub(super) fn rpushx(call: &mut Call<'_, '_>) -> CommandResult {
    push(call, End::Back, true)
}

fn push(call: &mut Call<'_, '_>, end: End, only_existing: bool) -> CommandResult {
    let key = call.key(1);
    let list = list_at(call.view, key)?;
    if only_existing && list.is_none() {
        call.reply.integer(0);
        return Ok(());
    }
    let elements = call.rest(2);
    call.reply.integer((list.map_or(0, |list| list.len()) + elements.len()) as i64);
    let elements = elements.iter().map(|element| Cow::Borrowed(*element)).collect();
    call.op(Operation::ListPush { key: Cow::Borrowed(key), end, elements });
    Ok(())
}
