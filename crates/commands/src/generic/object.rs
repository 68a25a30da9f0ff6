//! OBJECT and MEMORY: how a value is kept.

use crate::arguments::{integer, is};
use crate::call::{Call, CommandError, CommandResult};
use crate::spec;
use alloc::format;
use data::value::ValueRef;
use wire::number::parse_integer;

/// Redis's default limits, by which clients and tests know the names of encodings.
const EMBSTR_LEN_MAX: usize = 44;
const LISTPACK_ENTRIES_MAX: usize = 128;
const LISTPACK_VALUE_LEN_MAX: usize = 64;
const INTSET_ENTRIES_MAX: usize = 512;
const LIST_BYTES_MAX: usize = 8192;

const NO_FREQUENCIES: CommandError = CommandError::fixed(
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
);

const OBJECT_HELP: &[&str] = &[
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    The encoding that Redis would use for the value.",
    "FREQ <key>",
    "    Needs an LFU maxmemory-policy, which there is none of.",
    "IDLETIME <key>",
    "    Seconds since the key was last used.",
    "REFCOUNT <key>",
    "    Always 1: values are not shared.",
    "HELP",
    "    This text.",
];

const MEMORY_HELP: &[&str] = &[
    "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DOCTOR",
    "    What is wrong with the memory of this node.",
    "USAGE <key> [SAMPLES <count>]",
    "    Bytes of memory that the key takes.",
    "HELP",
    "    This text.",
];

fn tell(call: &mut Call<'_, '_>, lines: &[&str]) -> CommandResult {
    call.reply.array(lines.len());
    lines.iter().for_each(|line| call.reply.simple(line));
    Ok(())
}

fn wrong_arity(command: &str, subcommand: &str) -> CommandError {
    CommandError::new(spec::wrong_arity(&format!("{command}|{subcommand}")))
}

pub(super) fn object(call: &mut Call<'_, '_>) -> CommandResult {
    let known = ["encoding", "freq", "help", "idletime", "refcount"];
    let word = known.into_iter().find(|word| is(call.key(1), word));
    let word = word.ok_or_else(|| CommandError::new(spec::unknown_subcommand("object", call.key(1))))?;
    let key = match call.rest(2) {
        [] if word == "help" => return tell(call, OBJECT_HELP),
        [key] if word != "help" => *key,
        _ => return Err(wrong_arity("object", word)),
    };
    let Some(found) = call.view.get(key) else {
        call.reply.null();
        return Ok(());
    };
    match word {
        "encoding" => call.reply.bulk(encoding(found.value).as_bytes()),
        "refcount" => call.reply.integer(1),
        "idletime" => call.reply.integer(call.view.idle_seconds(key).unwrap_or(0) as i64),
        _ => return Err(NO_FREQUENCIES),
    }
    Ok(())
}

fn encoding(value: ValueRef<'_>) -> &'static str {
    let short = |bytes: &[u8]| bytes.len() <= LISTPACK_VALUE_LEN_MAX;
    match value {
        ValueRef::String(bytes) if parse_integer(bytes).is_some() => "int",
        ValueRef::String(bytes) if bytes.len() <= EMBSTR_LEN_MAX => "embstr",
        ValueRef::String(_) => "raw",
        ValueRef::List(list) => {
            let bytes: usize = list.iter().take(LIST_BYTES_MAX).map(|element| element.len() + 2).sum();
            if bytes <= LIST_BYTES_MAX { "listpack" } else { "quicklist" }
        }
        ValueRef::Hash(hash) => {
            let small = hash.len() <= LISTPACK_ENTRIES_MAX && hash.iter().all(|(f, v)| short(f) && short(v));
            if small { "listpack" } else { "hashtable" }
        }
        ValueRef::Set(set) => {
            let small = set.len() <= INTSET_ENTRIES_MAX;
            if small && set.iter().all(|member| parse_integer(member).is_some()) {
                "intset"
            } else if set.len() <= LISTPACK_ENTRIES_MAX && set.iter().all(short) {
                "listpack"
            } else {
                "hashtable"
            }
        }
        ValueRef::ZSet(zset) => {
            let small = zset.len() <= LISTPACK_ENTRIES_MAX && zset.iter_members().all(|(m, _)| short(m));
            if small { "listpack" } else { "skiplist" }
        }
    }
}

pub(super) fn memory(call: &mut Call<'_, '_>) -> CommandResult {
    let word = ["doctor", "help", "usage"].into_iter().find(|word| is(call.key(1), word));
    let word = word.ok_or_else(|| CommandError::new(spec::unknown_subcommand("memory", call.key(1))))?;
    match (word, call.rest(2)) {
        ("usage", [key, options @ ..]) => usage(call, key, options),
        ("help", []) => tell(call, MEMORY_HELP),
        ("doctor", []) => {
            call.reply.verbatim("No memory problem is known.");
            Ok(())
        }
        _ => Err(wrong_arity("memory", word)),
    }
}

/// SAMPLES is read and left aside: no sampling is needed.
fn usage(call: &mut Call<'_, '_>, key: &[u8], options: &[&[u8]]) -> CommandResult {
    match options {
        [] => {}
        [samples, count] if is(samples, "SAMPLES") => {
            if integer(count)? < 0 {
                return Err(CommandError::SYNTAX);
            }
        }
        _ => return Err(CommandError::SYNTAX),
    }
    match call.view.memory_usage(key) {
        Some(bytes) => call.reply.integer(bytes as i64),
        None => call.reply.null(),
    }
    Ok(())
}
