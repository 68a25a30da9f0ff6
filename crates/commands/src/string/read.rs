//! Reading whole strings.

use super::string_at;
use crate::call::{Call, CommandResult};
use data::value::ValueRef;

pub(super) fn get(call: &mut Call<'_, '_>) -> CommandResult {
    match string_at(call.view, call.key(1))? {
        Some(bytes) => call.reply.bulk(bytes),
        None => call.reply.null(),
    }
    Ok(())
}

pub(super) fn mget(call: &mut Call<'_, '_>) -> CommandResult {
    let keys = call.rest(1);
    call.reply.array(keys.len());
    for key in keys {
        // A key of another type reads as missing: MGET never fails.
        match call.view.get(key).map(|found| found.value) {
            Some(ValueRef::String(bytes)) => call.reply.bulk(bytes),
            _ => call.reply.null(),
        }
    }
    Ok(())
}

pub(super) fn strlen(call: &mut Call<'_, '_>) -> CommandResult {
    let length = string_at(call.view, call.key(1))?.map_or(0, <[u8]>::len);
    call.reply.integer(length as i64);
    Ok(())
}
