//! BITOP: whole strings combined bit by bit.

use crate::arguments::is;
use crate::call::{Call, CommandError, CommandResult};
use crate::string::string_at;
use alloc::borrow::Cow;
use alloc::vec::Vec;
use data::{Expiry, Operation};

pub(super) fn bitop(call: &mut Call<'_, '_>) -> CommandResult {
    let (name, to, sources) = (call.key(1), call.key(2), call.rest(3));
    let combine: Option<fn(u8, u8) -> u8> = match name {
        _ if is(name, "AND") => Some(|a, b| a & b),
        _ if is(name, "OR") => Some(|a, b| a | b),
        _ if is(name, "XOR") => Some(|a, b| a ^ b),
        _ if is(name, "NOT") => None,
        _ => return Err(CommandError::SYNTAX),
    };
    if combine.is_none() && sources.len() != 1 {
        return Err(CommandError::fixed("ERR BITOP NOT must be called with a single source key."));
    }
    let strings: Result<Vec<&[u8]>, CommandError> =
        sources.iter().map(|key| Ok(string_at(call.view, key)?.unwrap_or_default())).collect();
    let strings = strings?;
    let result = match combine {
        Some(combine) => fold(&strings, combine),
        None => strings.iter().flat_map(|bytes| bytes.iter()).map(|byte| !byte).collect(),
    };
    call.reply.integer(result.len() as i64);
    let key = Cow::Borrowed(to);
    if !result.is_empty() {
        call.op(Operation::Set { key, value: Cow::Owned(result), expiry: Expiry::Never });
    } else if call.view.get(to).is_some() {
        call.op(Operation::Delete { key });
    }
    Ok(())
}

/// As long as the longest string: shorter ones go on with zeros.
fn fold(strings: &[&[u8]], combine: fn(u8, u8) -> u8) -> Vec<u8> {
    let length = strings.iter().map(|bytes| bytes.len()).max().unwrap_or(0);
    let mut strings = strings.iter();
    let mut result = strings.next().map(|bytes| bytes.to_vec()).unwrap_or_default();
    result.resize(length, 0);
    for bytes in strings {
        let (shared, beyond) = result.split_at_mut(bytes.len());
        shared.iter_mut().zip(*bytes).for_each(|(a, b)| *a = combine(*a, *b));
        beyond.iter_mut().for_each(|a| *a = combine(*a, 0));
    }
    result
}
