//! The keyspace as a whole: its keys, their number, none of them.

use crate::arguments::{integer, is};
use crate::call::{Call, CommandError, CommandResult};
use crate::glob;
use crate::walk::cursor_of;
use alloc::boxed::Box;
use alloc::vec::Vec;
use data::Operation;

/// Keys shown by one SCAN without COUNT, as in Redis.
const COUNT_DEFAULT: usize = 10;

/// Steps of the table's walk that one SCAN may take for each key asked for, as in Redis.
const STEPS_PER_KEY: usize = 10;

pub(super) fn keys(call: &mut Call<'_, '_>) -> CommandResult {
    let pattern = call.key(1);
    let mut found: Vec<Box<[u8]>> = Vec::new();
    let mut cursor = 0;
    loop {
        cursor = call.view.scan(cursor, &mut |key, _| {
            if glob::matches(pattern, key) {
                found.push(key.into());
            }
        });
        if cursor == 0 {
            break;
        }
    }
    call.reply.array(found.len());
    for key in found {
        call.reply.bulk(&key);
    }
    Ok(())
}

/// What a SCAN asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyScan<'a> {
    pub cursor: u64,
    pub count: usize,
    pattern: Option<&'a [u8]>,
    /// The type's name, in any case of letters.
    kind: Option<&'a [u8]>,
}

impl<'a> KeyScan<'a> {
    /// Reads a command line of SCAN.
    ///
    /// # Errors
    /// In the words of Redis.
    pub fn parse(args: &[&'a [u8]]) -> Result<KeyScan<'a>, CommandError> {
        let cursor = cursor_of(args.get(1).copied().unwrap_or_default())?;
        let mut scan = KeyScan { cursor, count: COUNT_DEFAULT, pattern: None, kind: None };
        let mut options = args.get(2..).unwrap_or_default().iter();
        while let Some(option) = options.next() {
            let value = options.next().ok_or(CommandError::SYNTAX)?;
            if is(option, "MATCH") {
                scan.pattern = Some(*value);
            } else if is(option, "TYPE") {
                scan.kind = Some(*value);
            } else if is(option, "COUNT") {
                let number = integer(value)?;
                scan.count = usize::try_from(number).ok().filter(|n| *n > 0).ok_or(CommandError::SYNTAX)?;
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        Ok(scan)
    }
    /// Whether it shows this key, of this type.
    pub fn shows(&self, key: &[u8], kind: &str) -> bool {
        self.kind.is_none_or(|wanted| is(wanted, kind))
            && self.pattern.is_none_or(|pattern| glob::matches(pattern, key))
    }
}

/// Whether a FLUSHDB or FLUSHALL with these options is one.
///
/// # Errors
/// In the words of Redis.
pub fn flush_options(options: &[&[u8]]) -> Result<(), CommandError> {
    match options {
        [] => Ok(()),
        // Replicas free the memory in their own time either way.
        [mode] if is(mode, "SYNC") || is(mode, "ASYNC") => Ok(()),
        _ => Err(CommandError::SYNTAX),
    }
}

pub(super) fn scan(call: &mut Call<'_, '_>) -> CommandResult {
    let scan = KeyScan::parse(call.args)?;
    let (mut cursor, count) = (scan.cursor, scan.count);
    let (mut found, mut seen, mut steps): (Vec<Box<[u8]>>, usize, usize) = (Vec::new(), 0, 0);
    loop {
        steps += 1;
        cursor = call.view.scan(cursor, &mut |key, value| {
            seen += 1;
            if scan.shows(key, value.value.kind().name()) {
                found.push(key.into());
            }
        });
        // Steps may show nothing where keys have expired: one call shall not walk over millions of them.
        if cursor == 0 || seen >= count || steps >= count.saturating_mul(STEPS_PER_KEY) {
            break;
        }
    }
    call.reply.array(2);
    call.reply.bulk_integer(cursor as i64);
    call.reply.array(found.len());
    for key in found {
        call.reply.bulk(&key);
    }
    Ok(())
}

pub(super) fn randomkey(call: &mut Call<'_, '_>) -> CommandResult {
    let draw = call.random.draw();
    match call.view.random_key(draw) {
        Some((key, _)) => call.reply.bulk(key),
        None => call.reply.null(),
    }
    Ok(())
}

pub(super) fn dbsize(call: &mut Call<'_, '_>) -> CommandResult {
    call.reply.integer(call.view.len() as i64);
    Ok(())
}

pub(super) fn flushdb(call: &mut Call<'_, '_>) -> CommandResult {
    flush_options(call.rest(1))?;
    if !call.view.is_empty() {
        call.op(Operation::Flush);
    }
    call.reply.ok();
    Ok(())
}
