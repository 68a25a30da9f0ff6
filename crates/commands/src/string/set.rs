//! Writing whole strings.

use super::{bytes_of, string_at};
use crate::arguments::{integer, is};
use crate::call::{Call, CommandError, CommandResult};
use alloc::borrow::Cow;
use alloc::format;
use data::{Expiry, Operation};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Always,
    IfMissing,
    IfPresent,
}

/// The unit and base of an expiry argument.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeForm {
    Seconds,
    Milliseconds,
    AtSeconds,
    AtMilliseconds,
}

impl TimeForm {
    fn of(option: &[u8]) -> Option<TimeForm> {
        [
            ("EX", TimeForm::Seconds),
            ("PX", TimeForm::Milliseconds),
            ("EXAT", TimeForm::AtSeconds),
            ("PXAT", TimeForm::AtMilliseconds),
        ]
        .into_iter()
        .find(|(word, _)| is(option, word))
        .map(|(_, form)| form)
    }
    /// The wall time in ms that a number means; `None` when it does not fit.
    pub(crate) fn absolute(self, number: i64, now_ms: i64) -> Option<i64> {
        match self {
            TimeForm::Seconds => number.checked_mul(1000)?.checked_add(now_ms),
            TimeForm::Milliseconds => number.checked_add(now_ms),
            TimeForm::AtSeconds => number.checked_mul(1000),
            TimeForm::AtMilliseconds => Some(number),
        }
    }
}

/// When a key shall expire, in ms of the wall clock. The number must be positive.
fn expiry_ms(form: TimeForm, text: &[u8], now_ms: i64, command: &str) -> Result<i64, CommandError> {
    let number = integer(text)?;
    let at_ms = Some(number).filter(|number| *number > 0).and_then(|number| form.absolute(number, now_ms));
    at_ms.ok_or_else(|| CommandError::new(format!("ERR invalid expire time in '{command}' command")))
}

/// A time as its form and its number.
type Time<'a> = Option<(TimeForm, &'a [u8])>;

/// Whether a time of this form may follow: the same form again replaces the first.
fn fits(time: Time<'_>, form: TimeForm) -> bool {
    time.is_none_or(|(earlier, _)| earlier == form)
}

/// What follows key and value in SET.
struct Options<'a> {
    condition: Condition,
    time: Time<'a>,
    keep: bool,
    get: bool,
}

impl<'a> Options<'a> {
    fn parse(args: &[&'a [u8]]) -> Result<Options<'a>, CommandError> {
        let mut parsed = Options { condition: Condition::Always, time: None, keep: false, get: false };
        let mut args = args.iter();
        while let Some(option) = args.next() {
            if is(option, "NX") && parsed.condition != Condition::IfPresent {
                parsed.condition = Condition::IfMissing;
            } else if is(option, "XX") && parsed.condition != Condition::IfMissing {
                parsed.condition = Condition::IfPresent;
            } else if is(option, "GET") {
                parsed.get = true;
            } else if is(option, "KEEPTTL") && parsed.time.is_none() {
                parsed.keep = true;
            } else if let Some(form) =
                TimeForm::of(option).filter(|form| !parsed.keep && fits(parsed.time, *form))
            {
                parsed.time = Some((form, args.next().ok_or(CommandError::SYNTAX)?));
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        Ok(parsed)
    }
}

/// Whether what follows key and value in SET makes it depend on what is there.
pub(crate) fn is_conditional(options: &[&[u8]]) -> Result<bool, CommandError> {
    let options = Options::parse(options)?;
    Ok(options.get || options.condition != Condition::Always)
}

pub(super) fn set(call: &mut Call<'_, '_>) -> CommandResult {
    let Options { condition, time, keep, get } = Options::parse(call.rest(3))?;
    let expires = match time {
        Some((form, number)) => Expiry::At(expiry_ms(form, number, call.now_ms, "set")?),
        None if keep => Expiry::Keep,
        None => Expiry::Never,
    };
    let (key, value) = (call.key(1), call.key(2));
    let found = if get || condition != Condition::Always { call.view.get(key) } else { None };
    let met = match condition {
        Condition::Always => true,
        Condition::IfMissing => found.is_none(),
        Condition::IfPresent => found.is_some(),
    };
    match (get, found) {
        (true, Some(found)) => call.reply.bulk(bytes_of(found)?),
        (true, None) => call.reply.null(),
        (false, _) if met => call.reply.ok(),
        (false, _) => call.reply.null(),
    }
    if met {
        call.op(Operation::Set { key: Cow::Borrowed(key), value: Cow::Borrowed(value), expiry: expires });
    }
    Ok(())
}

fn plain<'a>(key: &'a [u8], value: &'a [u8]) -> Operation<'a> {
    Operation::Set { key: Cow::Borrowed(key), value: Cow::Borrowed(value), expiry: Expiry::Never }
}

pub(super) fn setnx(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, value) = (call.key(1), call.key(2));
    let missing = call.view.get(key).is_none();
    if missing {
        call.op(plain(key, value));
    }
    call.reply.integer(i64::from(missing));
    Ok(())
}

pub(super) fn setex(call: &mut Call<'_, '_>) -> CommandResult {
    set_for(call, TimeForm::Seconds, "setex")
}
pub(super) fn psetex(call: &mut Call<'_, '_>) -> CommandResult {
    set_for(call, TimeForm::Milliseconds, "psetex")
}
fn set_for(call: &mut Call<'_, '_>, form: TimeForm, command: &str) -> CommandResult {
    let expiry = Expiry::At(expiry_ms(form, call.key(2), call.now_ms, command)?);
    let (key, value) = (Cow::Borrowed(call.key(1)), Cow::Borrowed(call.key(3)));
    call.op(Operation::Set { key, value, expiry });
    call.reply.ok();
    Ok(())
}

/// Keys and values in turn.
fn pairs<'a>(call: &Call<'a, '_>, command: &str) -> Result<&'a [&'a [u8]], CommandError> {
    let pairs = call.rest(1);
    if pairs.len() % 2 == 1 {
        return Err(CommandError::new(crate::spec::wrong_arity(command)));
    }
    Ok(pairs)
}

pub(super) fn mset(call: &mut Call<'_, '_>) -> CommandResult {
    for pair in pairs(call, "mset")?.chunks_exact(2) {
        call.op(plain(pair[0], pair[1]));
    }
    call.reply.ok();
    Ok(())
}

pub(super) fn msetnx(call: &mut Call<'_, '_>) -> CommandResult {
    let pairs = pairs(call, "msetnx")?;
    let free = pairs.chunks_exact(2).all(|pair| call.view.get(pair[0]).is_none());
    if free {
        for pair in pairs.chunks_exact(2) {
            call.op(plain(pair[0], pair[1]));
        }
    }
    call.reply.integer(i64::from(free));
    Ok(())
}

fn reply_with(call: &mut Call<'_, '_>, old: Option<&[u8]>) {
    match old {
        Some(bytes) => call.reply.bulk(bytes),
        None => call.reply.null(),
    }
}

pub(super) fn getset(call: &mut Call<'_, '_>) -> CommandResult {
    let old = string_at(call.view, call.key(1))?;
    reply_with(call, old);
    call.op(plain(call.key(1), call.key(2)));
    Ok(())
}

pub(super) fn getdel(call: &mut Call<'_, '_>) -> CommandResult {
    let old = string_at(call.view, call.key(1))?;
    reply_with(call, old);
    if old.is_some() {
        call.op(Operation::Delete { key: Cow::Borrowed(call.key(1)) });
    }
    Ok(())
}

pub(super) fn getex(call: &mut Call<'_, '_>) -> CommandResult {
    let (mut time, mut persist): (Time<'_>, bool) = (None, false);
    let mut options = call.rest(2).iter();
    while let Some(option) = options.next() {
        if is(option, "PERSIST") && time.is_none() {
            persist = true;
        } else if let Some(form) = TimeForm::of(option).filter(|form| !persist && fits(time, *form)) {
            time = Some((form, options.next().ok_or(CommandError::SYNTAX)?));
        } else {
            return Err(CommandError::SYNTAX);
        }
    }
    let key = call.key(1);
    let Some(found) = call.view.get(key) else {
        call.reply.null();
        return Ok(());
    };
    call.reply.bulk(bytes_of(found)?);
    let at_ms = match time {
        Some((form, number)) => Some(expiry_ms(form, number, call.now_ms, "getex")?),
        None if persist => None,
        None => return Ok(()),
    };
    if at_ms.is_some_and(|at_ms| at_ms <= call.now_ms) {
        call.op(Operation::Delete { key: Cow::Borrowed(key) });
    } else if at_ms != found.expires_at_ms {
        call.op(Operation::ExpireAt { key: Cow::Borrowed(key), at_ms });
    }
    Ok(())
}
