//! Setting and removing fields.

use super::hash_at;
use crate::call::{Call, CommandError, CommandResult};
use crate::distinct::Distinct;
use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;
use data::Operation;

pub(super) fn hset(call: &mut Call<'_, '_>) -> CommandResult {
    let created = set_fields(call, "ERR wrong number of arguments for 'hset' command")?;
    call.reply.integer(created);
    Ok(())
}

pub(super) fn hmset(call: &mut Call<'_, '_>) -> CommandResult {
    set_fields(call, "ERR wrong number of arguments for 'hmset' command")?;
    call.reply.ok();
    Ok(())
}

/// Sets the pairs that follow the key and returns how many fields are new.
fn set_fields(call: &mut Call<'_, '_>, odd: &'static str) -> Result<i64, CommandError> {
    let key = call.key(1);
    let (pairs, rest) = call.rest(2).as_chunks::<2>();
    if !rest.is_empty() || pairs.is_empty() {
        return Err(CommandError::fixed(odd));
    }
    let hash = hash_at(call.view, key)?;
    let mut distinct = Distinct::default();
    let mut created = 0;
    for [field, _] in pairs {
        let is_new = !hash.is_some_and(|hash| hash.contains(field));
        created += i64::from(is_new && distinct.is_first(field));
    }
    let fields = pairs.iter().map(|[f, v]| (Cow::Borrowed(*f), Cow::Borrowed(*v))).collect();
    call.op(Operation::HashSet { key: Cow::Borrowed(key), fields });
    Ok(created)
}

pub(super) fn hsetnx(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, field, value) = (call.key(1), call.key(2), call.key(3));
    let is_new = !hash_at(call.view, key)?.is_some_and(|hash| hash.contains(field));
    if is_new {
        let fields = vec![(Cow::Borrowed(field), Cow::Borrowed(value))];
        call.op(Operation::HashSet { key: Cow::Borrowed(key), fields });
    }
    call.reply.integer(i64::from(is_new));
    Ok(())
}

pub(super) fn hdel(call: &mut Call<'_, '_>) -> CommandResult {
    let key = call.key(1);
    let mut fields = Vec::new();
    if let Some(hash) = hash_at(call.view, key)? {
        let mut distinct = Distinct::default();
        let there = call.rest(2).iter().filter(|field| hash.contains(field));
        fields.extend(there.filter(|field| distinct.is_first(field)).map(|field| Cow::Borrowed(*field)));
    }
    call.reply.integer(fields.len() as i64);
    if !fields.is_empty() {
        call.op(Operation::HashRemove { key: Cow::Borrowed(key), fields });
    }
    Ok(())
}
