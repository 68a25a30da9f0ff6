//! One bit.

use super::offset;
use crate::call::{Call, CommandError, CommandResult};
use crate::string::string_at;
use alloc::borrow::Cow;
use alloc::vec;
use data::Operation;

pub(super) fn setbit(call: &mut Call<'_, '_>) -> CommandResult {
    let bit = offset(call.key(2))?;
    let on = match call.key(3) {
        b"0" => false,
        b"1" => true,
        _ => return Err(CommandError::fixed("ERR bit is not an integer or out of range")),
    };
    let key = call.key(1);
    let old = string_at(call.view, key)?.and_then(|bytes| bytes.get((bit / 8) as usize).copied());
    let (byte, mask) = (old.unwrap_or(0), 0x80 >> (bit % 8));
    let changed = if on { byte | mask } else { byte & !mask };
    // A bit beyond the end makes the string longer even if it is 0.
    if old != Some(changed) {
        let bytes = Cow::Owned(vec![changed]);
        call.op(Operation::StringWrite { key: Cow::Borrowed(key), offset: bit / 8, bytes });
    }
    call.reply.integer(i64::from(byte & mask != 0));
    Ok(())
}

pub(super) fn getbit(call: &mut Call<'_, '_>) -> CommandResult {
    let bit = offset(call.key(2))?;
    let bytes = string_at(call.view, call.key(1))?.unwrap_or_default();
    let byte = bytes.get((bit / 8) as usize).copied().unwrap_or(0);
    call.reply.integer(i64::from(byte & (0x80 >> (bit % 8)) != 0));
    Ok(())
}
