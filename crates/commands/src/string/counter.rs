//! Numbers that strings spell.

use super::string_at;
use crate::arguments::integer;
use crate::call::{Call, CommandError, CommandResult};
use crate::decimal::Decimal;
use alloc::borrow::Cow;
use data::{Expiry, Operation};
use wire::number::parse_integer;

pub(super) fn incr(call: &mut Call<'_, '_>) -> CommandResult {
    add(call, 1)
}
pub(super) fn decr(call: &mut Call<'_, '_>) -> CommandResult {
    add(call, -1)
}
pub(super) fn incrby(call: &mut Call<'_, '_>) -> CommandResult {
    let delta = integer(call.key(2))?;
    add(call, delta)
}
pub(super) fn decrby(call: &mut Call<'_, '_>) -> CommandResult {
    let delta = integer(call.key(2))?;
    let delta = delta.checked_neg().ok_or(CommandError::fixed("ERR decrement would overflow"))?;
    add(call, delta)
}

fn add(call: &mut Call<'_, '_>, delta: i64) -> CommandResult {
    let key = call.key(1);
    let old = string_at(call.view, key)?;
    let current = match old {
        Some(text) => parse_integer(text).ok_or(CommandError::NOT_AN_INTEGER)?,
        None => 0,
    };
    let sum = current.checked_add(delta).ok_or(CommandError::OVERFLOW)?;
    if delta != 0 || old.is_none() {
        call.op(Operation::CounterAdd { key: Cow::Borrowed(key), delta });
    }
    call.reply.integer(sum);
    Ok(())
}

pub(super) fn incrbyfloat(call: &mut Call<'_, '_>) -> CommandResult {
    let key = call.key(1);
    let current = match string_at(call.view, key)? {
        Some(text) => Decimal::parse(text).ok_or(CommandError::NOT_A_FLOAT)?,
        None => Decimal::ZERO,
    };
    let by = Decimal::parse(call.key(2)).ok_or(CommandError::NOT_A_FLOAT)?;
    let infinite = CommandError::fixed("ERR increment would produce NaN or Infinity");
    let sum = current.sum(by).filter(|_| by.is_finite()).ok_or(infinite)?;
    call.reply.bulk(sum.as_bytes());
    // The digits are settled here: replicas store them and add nothing themselves.
    let value = Cow::Owned(sum.into_bytes());
    call.op(Operation::Set { key: Cow::Borrowed(key), value, expiry: Expiry::Keep });
    Ok(())
}
