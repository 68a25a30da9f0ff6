//! Numbers in fields.

use super::hash_at;
use crate::arguments::integer;
use crate::call::{Call, CommandError, CommandResult};
use crate::decimal::Decimal;
use alloc::borrow::Cow;
use alloc::vec;
use data::Operation;
use wire::number::parse_integer;

pub(super) fn hincrby(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, field) = (call.key(1), call.key(2));
    let delta = integer(call.key(3))?;
    let old = hash_at(call.view, key)?.and_then(|hash| hash.get(field));
    let current = match old {
        Some(text) => parse_integer(text).ok_or(CommandError::fixed("ERR hash value is not an integer"))?,
        None => 0,
    };
    let sum = current.checked_add(delta).ok_or(CommandError::OVERFLOW)?;
    if delta != 0 || old.is_none() {
        call.op(Operation::HashCounterAdd { key: Cow::Borrowed(key), field: Cow::Borrowed(field), delta });
    }
    call.reply.integer(sum);
    Ok(())
}

pub(super) fn hincrbyfloat(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, field) = (call.key(1), call.key(2));
    let by = Decimal::parse(call.key(3)).ok_or(CommandError::NOT_A_FLOAT)?;
    if !by.is_finite() {
        return Err(CommandError::fixed("ERR value is NaN or Infinity"));
    }
    let current = match hash_at(call.view, key)?.and_then(|hash| hash.get(field)) {
        Some(text) => Decimal::parse(text).ok_or(CommandError::fixed("ERR hash value is not a float"))?,
        None => Decimal::ZERO,
    };
    let sum = current.sum(by).ok_or(CommandError::fixed("ERR increment would produce NaN or Infinity"))?;
    call.reply.bulk(sum.as_bytes());
    // The digits are settled here: replicas store them and add nothing themselves.
    let fields = vec![(Cow::Borrowed(field), Cow::Owned(sum.into_bytes()))];
    call.op(Operation::HashSet { key: Cow::Borrowed(key), fields });
    Ok(())
}
