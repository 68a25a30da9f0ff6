//! Parts of strings.

use super::string_at;
use crate::arguments::integer;
use crate::call::{Call, CommandError, CommandResult, STRING_LEN_MAX};
use alloc::borrow::Cow;
use data::{Expiry, Operation};

const TOO_LONG: CommandError =
    CommandError::fixed("ERR string exceeds maximum allowed size (proto-max-bulk-len)");

pub(super) fn append(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, bytes) = (call.key(1), call.key(2));
    let old = string_at(call.view, key)?;
    let offset = old.map_or(0, <[u8]>::len);
    let length = offset + bytes.len();
    if length > STRING_LEN_MAX {
        return Err(TOO_LONG);
    }
    let (key, bytes) = (Cow::Borrowed(key), Cow::Borrowed(bytes));
    if !bytes.is_empty() {
        call.op(Operation::StringWrite { key, offset: offset as u64, bytes });
    } else if old.is_none() {
        // Writing nothing would make no key.
        call.op(Operation::Set { key, value: bytes, expiry: Expiry::Never });
    }
    call.reply.integer(length as i64);
    Ok(())
}

/// GETRANGE and SUBSTR: both ends count, negative ones from the end.
pub(super) fn getrange(call: &mut Call<'_, '_>) -> CommandResult {
    let (start, end) = (integer(call.key(2))?, integer(call.key(3))?);
    let bytes = string_at(call.view, call.key(1))?.unwrap_or_default();
    let (from, to) = clamp(start, end, bytes.len());
    call.reply.bulk(&bytes[from..to]);
    Ok(())
}

/// The half-open range that two inclusive ends mean in a string of this length.
fn clamp(start: i64, end: i64, length: usize) -> (usize, usize) {
    let length = length as i64;
    if start < 0 && end < 0 && start > end {
        return (0, 0);
    }
    let place = |at: i64| if at < 0 { at.saturating_add(length).max(0) } else { at };
    let (from, to) = (place(start), place(end).min(length - 1));
    if from > to || length == 0 { (0, 0) } else { (from as usize, to as usize + 1) }
}

pub(super) fn setrange(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, bytes) = (call.key(1), call.key(3));
    let offset = integer(call.key(2))?;
    if offset < 0 {
        return Err(CommandError::fixed("ERR offset is out of range"));
    }
    let old = string_at(call.view, key)?.map_or(0, <[u8]>::len);
    if bytes.is_empty() {
        call.reply.integer(old as i64);
        return Ok(());
    }
    let end = (offset as u64).saturating_add(bytes.len() as u64);
    if end > STRING_LEN_MAX as u64 {
        return Err(TOO_LONG);
    }
    let (key, bytes) = (Cow::Borrowed(key), Cow::Borrowed(bytes));
    call.op(Operation::StringWrite { key, offset: offset as u64, bytes });
    call.reply.integer((old as u64).max(end) as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::clamp;

    #[test]
    fn ends_count_from_both_sides() {
        for (start, end, length, expected) in [
            (0, 3, 5, (0, 4)),
            (-3, -1, 5, (2, 5)),
            (0, -1, 5, (0, 5)),
            (10, 100, 5, (0, 0)),
            (-1, -3, 5, (0, 0)),
            (0, 0, 0, (0, 0)),
            (-100, 1, 5, (0, 2)),
            (0, i64::MAX, 5, (0, 5)),
            (i64::MIN, i64::MIN, 5, (0, 1)),
        ] {
            assert_eq!(clamp(start, end, length), expected, "{start} {end} of {length}");
        }
    }
}
