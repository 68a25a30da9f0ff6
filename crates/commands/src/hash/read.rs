//! Looking up fields and values.

use super::hash_at;
use crate::call::{Call, CommandResult};

pub(super) fn hget(call: &mut Call<'_, '_>) -> CommandResult {
    match hash_at(call.view, call.key(1))?.and_then(|hash| hash.get(call.key(2))) {
        Some(value) => call.reply.bulk(value),
        None => call.reply.null(),
    }
    Ok(())
}

pub(super) fn hmget(call: &mut Call<'_, '_>) -> CommandResult {
    let hash = hash_at(call.view, call.key(1))?;
    let fields = call.rest(2);
    call.reply.array(fields.len());
    for field in fields {
        match hash.and_then(|hash| hash.get(field)) {
            Some(value) => call.reply.bulk(value),
            None => call.reply.null(),
        }
    }
    Ok(())
}

pub(super) fn hgetall(call: &mut Call<'_, '_>) -> CommandResult {
    let hash = hash_at(call.view, call.key(1))?;
    call.reply.map(hash.map_or(0, |hash| hash.len()));
    for (field, value) in hash.into_iter().flat_map(|hash| hash.iter()) {
        call.reply.bulk(field);
        call.reply.bulk(value);
    }
    Ok(())
}

pub(super) fn hkeys(call: &mut Call<'_, '_>) -> CommandResult {
    let hash = hash_at(call.view, call.key(1))?;
    call.reply.array(hash.map_or(0, |hash| hash.len()));
    for (field, _) in hash.into_iter().flat_map(|hash| hash.iter()) {
        call.reply.bulk(field);
    }
    Ok(())
}

pub(super) fn hvals(call: &mut Call<'_, '_>) -> CommandResult {
    let hash = hash_at(call.view, call.key(1))?;
    call.reply.array(hash.map_or(0, |hash| hash.len()));
    for (_, value) in hash.into_iter().flat_map(|hash| hash.iter()) {
        call.reply.bulk(value);
    }
    Ok(())
}

pub(super) fn hlen(call: &mut Call<'_, '_>) -> CommandResult {
    let len = hash_at(call.view, call.key(1))?.map_or(0, |hash| hash.len());
    call.reply.integer(len as i64);
    Ok(())
}

pub(super) fn hexists(call: &mut Call<'_, '_>) -> CommandResult {
    let exists = hash_at(call.view, call.key(1))?.is_some_and(|hash| hash.contains(call.key(2)));
    call.reply.integer(i64::from(exists));
    Ok(())
}

pub(super) fn hstrlen(call: &mut Call<'_, '_>) -> CommandResult {
    let value = hash_at(call.view, call.key(1))?.and_then(|hash| hash.get(call.key(2)));
    call.reply.integer(value.map_or(0, <[u8]>::len) as i64);
    Ok(())
}
