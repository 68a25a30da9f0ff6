//! Changing elements in the middle.

use super::list_at;
use crate::arguments::integer;
use crate::call::{Call, CommandError, CommandResult};
use crate::places::{place, span};
use alloc::borrow::Cow;
use alloc::vec::Vec;
use data::Operation;
use data::operation::End;

pub(super) fn lset(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, element) = (call.key(1), call.key(3));
    let list = list_at(call.view, key)?.ok_or(CommandError::NO_SUCH_KEY)?;
    let at = place(integer(call.key(2))?, list.len()).ok_or(CommandError::OUT_OF_RANGE)?;
    call.op(Operation::ListSet { key: Cow::Borrowed(key), at: at as u64, element: Cow::Borrowed(element) });
    call.reply.ok();
    Ok(())
}

pub(super) fn linsert(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, pivot, element) = (call.key(1), call.key(3), call.key(4));
    let after = if call.key(2).eq_ignore_ascii_case(b"after") {
        true
    } else if call.key(2).eq_ignore_ascii_case(b"before") {
        false
    } else {
        return Err(CommandError::SYNTAX);
    };
    let Some(list) = list_at(call.view, key)? else {
        call.reply.integer(0);
        return Ok(());
    };
    let Some(found) = list.iter().position(|candidate| candidate == pivot) else {
        call.reply.integer(-1);
        return Ok(());
    };
    let at = (found + usize::from(after)) as u64;
    call.op(Operation::ListInsert { key: Cow::Borrowed(key), at, element: Cow::Borrowed(element) });
    call.reply.integer(list.len() as i64 + 1);
    Ok(())
}

pub(super) fn lrem(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, element) = (call.key(1), call.key(3));
    let count = integer(call.key(2))?;
    let wanted = match usize::try_from(count.unsigned_abs()) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(wanted) => wanted,
    };
    let mut places: Vec<u64> = Vec::new();
    if let Some(list) = list_at(call.view, key)? {
        let matches = |(at, candidate): (usize, &[u8])| (candidate == element).then_some(at as u64);
        if count < 0 {
            places.extend(list.iter().enumerate().rev().filter_map(matches).take(wanted));
            places.reverse();
        } else {
            places.extend(list.iter().enumerate().filter_map(matches).take(wanted));
        }
    }
    call.reply.integer(places.len() as i64);
    if !places.is_empty() {
        call.op(Operation::ListRemove { key: Cow::Borrowed(key), places });
    }
    Ok(())
}

pub(super) fn ltrim(call: &mut Call<'_, '_>) -> CommandResult {
    let key = call.key(1);
    let (start, stop) = (integer(call.key(2))?, integer(call.key(3))?);
    if let Some(list) = list_at(call.view, key)? {
        let kept = span(start, stop, list.len());
        if kept.is_empty() {
            call.op(Operation::Delete { key: Cow::Borrowed(key) });
        } else {
            for (end, count) in [(End::Front, kept.start), (End::Back, list.len() - kept.end)] {
                if count > 0 {
                    call.op(Operation::ListPop { key: Cow::Borrowed(key), end, count: count as u64 });
                }
            }
        }
    }
    call.reply.ok();
    Ok(())
}
