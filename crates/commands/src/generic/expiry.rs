//! When keys expire.

use crate::arguments::{integer, is};
use crate::call::{Call, CommandError, CommandResult};
use crate::string::TimeForm;
use alloc::borrow::Cow;
use alloc::format;
use data::Operation;

pub(super) fn expire(call: &mut Call<'_, '_>) -> CommandResult {
    set_expiry(call, TimeForm::Seconds, "expire")
}
pub(super) fn pexpire(call: &mut Call<'_, '_>) -> CommandResult {
    set_expiry(call, TimeForm::Milliseconds, "pexpire")
}
pub(super) fn expireat(call: &mut Call<'_, '_>) -> CommandResult {
    set_expiry(call, TimeForm::AtSeconds, "expireat")
}
pub(super) fn pexpireat(call: &mut Call<'_, '_>) -> CommandResult {
    set_expiry(call, TimeForm::AtMilliseconds, "pexpireat")
}

/// When an expiry may be replaced.
#[derive(Default)]
struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    fn parse(options: &[&[u8]]) -> Result<Conditions, CommandError> {
        let mut conditions = Conditions::default();
        for option in options {
            let flag = [
                ("NX", &mut conditions.nx),
                ("XX", &mut conditions.xx),
                ("GT", &mut conditions.gt),
                ("LT", &mut conditions.lt),
            ]
            .into_iter()
            .find(|(word, _)| is(option, word));
            let shown = alloc::string::String::from_utf8_lossy(option);
            *flag.ok_or_else(|| CommandError::new(format!("ERR Unsupported option {shown}")))?.1 = true;
        }
        if conditions.nx && (conditions.xx || conditions.gt || conditions.lt) {
            return Err(CommandError::fixed(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if conditions.gt && conditions.lt {
            return Err(CommandError::fixed("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(conditions)
    }
    /// Whether `at_ms` may replace `old`; a key without expiry counts as expiring never.
    fn allow(&self, old: Option<i64>, at_ms: i64) -> bool {
        !(self.nx && old.is_some()
            || self.xx && old.is_none()
            || self.gt && old.is_none_or(|old| at_ms <= old)
            || self.lt && old.is_some_and(|old| at_ms >= old))
    }
}

fn set_expiry(call: &mut Call<'_, '_>, form: TimeForm, command: &str) -> CommandResult {
    let conditions = Conditions::parse(call.rest(3))?;
    let number = integer(call.key(2))?;
    let at_ms = form
        .absolute(number, call.now_ms)
        .ok_or_else(|| CommandError::new(format!("ERR invalid expire time in '{command}' command")))?;
    let key = call.key(1);
    let found = call.view.get(key);
    let set = found.is_some_and(|found| conditions.allow(found.expires_at_ms, at_ms));
    if set && at_ms <= call.now_ms {
        call.op(Operation::Delete { key: Cow::Borrowed(key) });
    } else if set && found.and_then(|found| found.expires_at_ms) != Some(at_ms) {
        call.op(Operation::ExpireAt { key: Cow::Borrowed(key), at_ms: Some(at_ms) });
    }
    call.reply.integer(i64::from(set));
    Ok(())
}

pub(super) fn persist(call: &mut Call<'_, '_>) -> CommandResult {
    let key = call.key(1);
    let expires = call.view.get(key).is_some_and(|found| found.expires_at_ms.is_some());
    if expires {
        call.op(Operation::ExpireAt { key: Cow::Borrowed(key), at_ms: None });
    }
    call.reply.integer(i64::from(expires));
    Ok(())
}

/// Answers -2 without the key, -1 without an expiry, else what `show` makes of the time.
fn tell(call: &mut Call<'_, '_>, show: impl FnOnce(i64) -> i64) -> CommandResult {
    let number = match call.view.get(call.key(1)) {
        None => -2,
        Some(found) => found.expires_at_ms.map_or(-1, show),
    };
    call.reply.integer(number);
    Ok(())
}

pub(super) fn ttl(call: &mut Call<'_, '_>) -> CommandResult {
    let now_ms = call.now_ms;
    tell(call, |at_ms| at_ms.saturating_sub(now_ms).max(0).saturating_add(500) / 1000)
}
pub(super) fn pttl(call: &mut Call<'_, '_>) -> CommandResult {
    let now_ms = call.now_ms;
    tell(call, |at_ms| at_ms.saturating_sub(now_ms).max(0))
}
pub(super) fn expiretime(call: &mut Call<'_, '_>) -> CommandResult {
    tell(call, |at_ms| at_ms.saturating_add(500) / 1000)
}
pub(super) fn pexpiretime(call: &mut Call<'_, '_>) -> CommandResult {
    tell(call, |at_ms| at_ms)
}
