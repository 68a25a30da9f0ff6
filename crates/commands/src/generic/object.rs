//! OBJECT and MEMORY: how a value is kept.

use crate::arguments::is;
use crate::call::{Call, CommandError, CommandResult};
use crate::spec::unknown_subcommand;
use data::value::ValueRef;
use wire::number::parse_integer;

/// Redis's default limits, by which clients and tests know the names of encodings.
const EMBSTR_LEN_MAX: usize = 44;
const LISTPACK_ENTRIES_MAX: usize = 128;
const LISTPACK_VALUE_LEN_MAX: usize = 64;
const INTSET_ENTRIES_MAX: usize = 512;
const LIST_BYTES_MAX: usize = 8192;

pub(super) fn object(call: &mut Call<'_, '_>) -> CommandResult {
    let subcommand = call.key(1);
    if is(subcommand, "HELP") {
        let lines = [
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
        call.reply.array(lines.len());
        lines.iter().for_each(|line| call.reply.simple(line));
        return Ok(());
    }
    let known = ["ENCODING", "FREQ", "IDLETIME", "REFCOUNT"].iter().any(|word| is(subcommand, word));
    if !known {
        return Err(CommandError::new(unknown_subcommand("object", subcommand)));
    }
    let [key] = call.rest(2) else {
        let shown = alloc::string::String::from_utf8_lossy(subcommand).to_ascii_lowercase();
        return Err(CommandError::new(alloc::format!(
            "ERR wrong number of arguments for 'object|{shown}' command"
        )));
    };
    let Some(found) = call.view.get(key) else {
        call.reply.null();
        return Ok(());
    };
    if is(subcommand, "ENCODING") {
        call.reply.bulk(encoding(found.value).as_bytes());
    } else if is(subcommand, "REFCOUNT") {
        call.reply.integer(1);
    } else if is(subcommand, "IDLETIME") {
        call.reply.integer(call.view.idle_seconds(key).unwrap_or(0) as i64);
    } else {
        return Err(CommandError::fixed(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
        ));
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
    let subcommand = call.key(1);
    if is(subcommand, "DOCTOR") {
        call.reply.verbatim("No memory problem is known.");
        return Ok(());
    }
    if !is(subcommand, "USAGE") {
        return Err(CommandError::new(unknown_subcommand("memory", subcommand)));
    }
    let key = match call.rest(2) {
        [key] => key,
        [key, samples, count] if is(samples, "SAMPLES") && parse_integer(count).is_some() => key,
        _ => return Err(CommandError::SYNTAX),
    };
    match call.view.memory_usage(key) {
        Some(bytes) => call.reply.integer(bytes as i64),
        None => call.reply.null(),
    }
    Ok(())
}
