//! What the blocking commands have in common: their timeout and their "nothing came" reply.
//!
//! `run` of a blocking command tries at once and writes no reply when there is nothing to give; whoever holds the
//! connection waits, runs it again when a key was pushed to, and at last writes the nil reply.

use crate::call::CommandError;
use wire::ReplyWriter;

const NOT_A_TIMEOUT: CommandError = CommandError::fixed("ERR timeout is not a float or out of range");

/// How long a blocking command may wait, in milliseconds; `None` is for ever (a timeout of 0).
///
/// `name` is the command's name in lower case, `args` the whole command. Fractions of a millisecond are rounded up, so
/// that a tiny timeout never turns into an endless one.
pub fn timeout_of(name: &str, args: &[&[u8]]) -> Result<Option<u64>, CommandError> {
    let text = match name {
        "blmpop" | "bzmpop" => args.get(1),
        _ => args.last(),
    };
    let seconds = text.and_then(|text| decimal(text)).ok_or(NOT_A_TIMEOUT)?;
    if seconds < 0.0 {
        return Err(CommandError::fixed("ERR timeout is negative"));
    }
    if seconds >= (i64::MAX / 1000) as f64 {
        return Err(CommandError::fixed("ERR timeout is out of range"));
    }
    let ms = seconds * 1000.0;
    let whole = ms as u64;
    let ms = if (whole as f64) < ms { whole + 1 } else { whole };
    Ok((ms > 0).then_some(ms))
}

fn decimal(text: &[u8]) -> Option<f64> {
    let value: f64 = core::str::from_utf8(text).ok()?.parse().ok()?;
    (!value.is_nan()).then_some(value)
}

/// The reply of a blocking command that got nothing: after its timeout, or at once inside MULTI.
///
/// BLMOVE and BRPOPLPUSH answer with a missing string inside MULTI and with a missing array after a timeout; only RESP2
/// clients see the difference.
pub fn nil_reply(name: &str, inside_multi: bool, reply: &mut ReplyWriter<'_>) {
    match name {
        "blmove" | "brpoplpush" if inside_multi => reply.null(),
        _ => reply.null_array(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(text: &str) -> Result<Option<u64>, CommandError> {
        timeout_of("blpop", &[b"BLPOP", b"key", text.as_bytes()])
    }

    #[test]
    fn timeouts_are_seconds() {
        assert_eq!(last("0"), Ok(None));
        assert_eq!(last("0.0"), Ok(None));
        assert_eq!(last("1"), Ok(Some(1000)));
        assert_eq!(last("0.1"), Ok(Some(100)));
        assert_eq!(last("1.0005"), Ok(Some(1001)));
        assert_eq!(last("0.0000001"), Ok(Some(1)), "a tiny timeout is not an endless one");
        assert_eq!(timeout_of("blmpop", &[b"BLMPOP", b"2", b"1", b"k", b"LEFT"]), Ok(Some(2000)));
    }

    #[test]
    fn what_is_no_timeout_is_refused() {
        for (text, error) in [
            ("", "ERR timeout is not a float or out of range"),
            ("abc", "ERR timeout is not a float or out of range"),
            ("nan", "ERR timeout is not a float or out of range"),
            ("1s", "ERR timeout is not a float or out of range"),
            ("-1", "ERR timeout is negative"),
            ("-0.001", "ERR timeout is negative"),
            ("inf", "ERR timeout is out of range"),
            ("1e30", "ERR timeout is out of range"),
        ] {
            assert_eq!(
                last(text).map_err(|e| alloc::string::String::from(e.text())),
                Err(error.into()),
                "{text:?}"
            );
        }
    }
}
