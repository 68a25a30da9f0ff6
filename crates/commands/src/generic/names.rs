//! Keys by name: deleting, counting, renaming, copying.

use crate::arguments::is;
use crate::call::{Call, CommandError, CommandResult};
use alloc::borrow::Cow;
use alloc::collections::BTreeSet;
use data::{Expiry, Operation};

pub(super) fn del(call: &mut Call<'_, '_>) -> CommandResult {
    let keys = call.rest(1);
    let mut gone = BTreeSet::new();
    for key in keys {
        // A key that is named twice goes once.
        let exists = call.view.get(key).is_some();
        if exists && (keys.len() == 1 || gone.insert(*key)) {
            call.op(Operation::Delete { key: Cow::Borrowed(key) });
        }
    }
    let deleted = call.ops.iter().filter(|op| matches!(op, Operation::Delete { .. })).count();
    call.reply.integer(deleted as i64);
    Ok(())
}

pub(super) fn exists(call: &mut Call<'_, '_>) -> CommandResult {
    let count = call.rest(1).iter().filter(|key| call.view.get(key).is_some()).count();
    call.reply.integer(count as i64);
    Ok(())
}

pub(super) fn touch(call: &mut Call<'_, '_>) -> CommandResult {
    exists(call)
}

pub(super) fn type_of(call: &mut Call<'_, '_>) -> CommandResult {
    let name = call.view.get(call.key(1)).map_or("none", |found| found.value.kind().name());
    call.reply.simple(name);
    Ok(())
}

pub(super) fn rename(call: &mut Call<'_, '_>) -> CommandResult {
    let (from, to) = (call.key(1), call.key(2));
    if call.view.get(from).is_none() {
        return Err(CommandError::NO_SUCH_KEY);
    }
    if from != to {
        call.op(Operation::Rename { from: Cow::Borrowed(from), to: Cow::Borrowed(to) });
    }
    call.reply.ok();
    Ok(())
}

pub(super) fn renamenx(call: &mut Call<'_, '_>) -> CommandResult {
    let (from, to) = (call.key(1), call.key(2));
    if call.view.get(from).is_none() {
        return Err(CommandError::NO_SUCH_KEY);
    }
    let free = call.view.get(to).is_none();
    if free {
        call.op(Operation::Rename { from: Cow::Borrowed(from), to: Cow::Borrowed(to) });
    }
    call.reply.integer(i64::from(free));
    Ok(())
}

pub(super) fn copy(call: &mut Call<'_, '_>) -> CommandResult {
    let mut replace = false;
    let mut options = call.rest(3).iter();
    while let Some(option) = options.next() {
        if is(option, "REPLACE") {
            replace = true;
        } else if is(option, "DB") && options.next().is_some() {
            return Err(CommandError::fixed(
                "ERR COPY to another keyspace is not possible: one command changes one keyspace",
            ));
        } else {
            return Err(CommandError::SYNTAX);
        }
    }
    let (from, to) = (call.key(1), call.key(2));
    if from == to {
        return Err(CommandError::fixed("ERR source and destination objects are the same"));
    }
    let copied = match call.view.get(from) {
        Some(found) if replace || call.view.get(to).is_none() => {
            let expiry = found.expires_at_ms.map_or(Expiry::Never, Expiry::At);
            call.op(Operation::Put { key: Cow::Borrowed(to), value: found.value.to_value(), expiry });
            true
        }
        _ => false,
    };
    call.reply.integer(i64::from(copied));
    Ok(())
}
