//! One entry of COMMAND INFO: the ten elements of Redis 7.

use super::access::{Access, access};
use crate::spec::{Flags, Keys, Spec};
use alloc::format;
use smallvec::SmallVec;
use wire::ReplyWriter;

const FLAG_NAMES: &[(Flags, &str)] = &[
    (Flags::WRITE, "write"),
    (Flags::READONLY, "readonly"),
    (Flags::DENYOOM, "denyoom"),
    (Flags::ADMIN, "admin"),
    (Flags::PUBSUB, "pubsub"),
    (Flags::NOSCRIPT, "noscript"),
    (Flags::BLOCKING, "blocking"),
    (Flags::LOADING, "loading"),
    (Flags::STALE, "stale"),
    (Flags::FAST, "fast"),
    (Flags::NO_AUTH, "no_auth"),
    (Flags::NO_MULTI, "no_multi"),
    (Flags::MOVABLEKEYS, "movablekeys"),
    (Flags::SORT_FOR_SCRIPT, "sort_for_script"),
    (Flags::SKIP_MONITOR, "skip_monitor"),
    (Flags::ALLOW_BUSY, "allow_busy"),
];

fn flags(spec: &Spec) -> SmallVec<[&'static str; 8]> {
    let movable = matches!(spec.keys, Keys::Counted { .. } | Keys::Sort | Keys::Inner);
    let flags = if movable { spec.flags.and(Flags::MOVABLEKEYS) } else { spec.flags };
    FLAG_NAMES.iter().filter(|(flag, _)| flags.has(*flag)).map(|(_, name)| *name).collect()
}

/// The ACL categories of a command, each with its `@`.
pub(super) fn categories(spec: &Spec) -> SmallVec<[&'static str; 8]> {
    let mut categories = SmallVec::new();
    for (flag, category) in [(Flags::WRITE, "@write"), (Flags::READONLY, "@read")] {
        categories.extend(spec.flags.has(flag).then_some(category));
    }
    let families: &[&str] = match (spec.name, spec.group) {
        ("sort" | "sort_ro", _) => &["@set", "@sortedset", "@list", "@dangerous"],
        ("keys" | "flushdb" | "flushall", _) => &["@keyspace", "@dangerous"],
        ("dbsize", _) => &["@keyspace"],
        ("wait" | "waitaof" | "command", _) => &["@connection"],
        ("info", _) => &["@dangerous"],
        ("role", _) => &["@admin", "@dangerous"],
        (_, "generic") => &["@keyspace"],
        (_, "sorted-set") => &["@sortedset"],
        (_, "string") => &["@string"],
        (_, "bitmap") => &["@bitmap"],
        (_, "hyperloglog") => &["@hyperloglog"],
        (_, "hash") => &["@hash"],
        (_, "list") => &["@list"],
        (_, "set") => &["@set"],
        (_, "geo") => &["@geo"],
        (_, "pubsub") => &["@pubsub"],
        (_, "transactions") => &["@transaction"],
        (_, "connection") => &["@connection"],
        _ => &[],
    };
    categories.extend(families.iter().copied());
    if spec.flags.has(Flags::ADMIN) {
        categories.extend(["@admin", "@dangerous"]);
    }
    categories.extend(spec.flags.has(Flags::BLOCKING).then_some("@blocking"));
    categories.push(if spec.flags.has(Flags::FAST) { "@fast" } else { "@slow" });
    categories
}

/// A container shows its keys at the subcommands that have them.
pub(super) fn write(spec: &Spec, w: &mut ReplyWriter<'_>) {
    let keys = if spec.subcommands.is_empty() { spec.keys } else { Keys::None };
    write_elements(spec.name, spec.arity, keys, spec, w);
    w.array(spec.subcommands.len());
    for name in spec.subcommands {
        let keys = if matches!(*name, "help" | "doctor") { Keys::None } else { spec.keys };
        write_elements(&format!("{}|{name}", spec.name), -2, keys, spec, w);
        w.array(0);
    }
}

/// All elements but the last, the subcommands.
fn write_elements(name: &str, arity: i32, keys: Keys, spec: &Spec, w: &mut ReplyWriter<'_>) {
    w.array(10);
    w.bulk(name.as_bytes());
    w.integer(i64::from(arity));
    write_words(&flags(spec), w);
    let (first, last, step) = keys.positions();
    [first, last, step].into_iter().for_each(|place| w.integer(place));
    write_words(&categories(spec), w);
    // Tips on routing and on the order of replies: none.
    w.array(0);
    write_key_specs(spec, keys, w);
}

fn write_words(words: &[&str], w: &mut ReplyWriter<'_>) {
    w.set(words.len());
    words.iter().for_each(|word| w.simple(word));
}

/// The key specifications of Redis 7: where the search for keys begins and how it goes on.
fn write_key_specs(spec: &Spec, keys: Keys, w: &mut ReplyWriter<'_>) {
    let (one, others) = access(spec);
    match keys {
        Keys::None => w.array(0),
        Keys::Range { first, last, step } => {
            // Counted from the first key for a positive last one, from the end for a negative.
            let last_from = |first: usize| if last < 0 { last as i64 } else { last as i64 - first as i64 };
            w.array(if others.is_some() { 2 } else { 1 });
            write_range(one, first, if others.is_some() { 0 } else { last_from(first) }, step, w);
            if let Some(others) = others {
                write_range(others, first + step, last_from(first + step), step, w);
            }
        }
        Keys::Counted { count_at, also: 0 } => {
            w.array(1);
            write_counted(one, count_at, w);
        }
        Keys::Counted { count_at, also } => {
            w.array(2);
            write_range(one, also, 0, 1, w);
            write_counted(others.unwrap_or(one), count_at, w);
        }
        Keys::Inner => {
            w.array(1);
            write_unknown(one, w);
        }
        Keys::Sort => {
            w.array(if others.is_some() { 3 } else { 2 });
            write_range(one, 1, 0, 1, w);
            // BY and GET; then STORE.
            write_unknown(one, w);
            others.into_iter().for_each(|stored| write_unknown(stored, w));
        }
    }
}

fn write_range(access: Access, first: usize, last: i64, step: usize, w: &mut ReplyWriter<'_>) {
    begin_at(access, first, w);
    w.bulk(b"range");
    w.bulk(b"spec");
    w.map(3);
    w.bulk(b"lastkey");
    w.integer(last);
    w.bulk(b"keystep");
    w.integer(step as i64);
    w.bulk(b"limit");
    w.integer(0);
}

fn write_counted(access: Access, count_at: usize, w: &mut ReplyWriter<'_>) {
    begin_at(access, count_at, w);
    w.bulk(b"keynum");
    w.bulk(b"spec");
    w.map(3);
    w.bulk(b"keynumidx");
    w.integer(0);
    w.bulk(b"firstkey");
    w.integer(1);
    w.bulk(b"keystep");
    w.integer(1);
}

fn write_unknown(access: Access, w: &mut ReplyWriter<'_>) {
    begin(access, w);
    for search in ["begin_search", "find_keys"] {
        w.bulk(search.as_bytes());
        w.map(2);
        w.bulk(b"type");
        w.bulk(b"unknown");
        w.bulk(b"spec");
        w.map(0);
    }
}

/// Up to the type of `find_keys`, which follows.
fn begin_at(access: Access, index: usize, w: &mut ReplyWriter<'_>) {
    begin(access, w);
    w.bulk(b"begin_search");
    w.map(2);
    w.bulk(b"type");
    w.bulk(b"index");
    w.bulk(b"spec");
    w.map(1);
    w.bulk(b"index");
    w.integer(index as i64);
    w.bulk(b"find_keys");
    w.map(2);
    w.bulk(b"type");
}

fn begin(access: Access, w: &mut ReplyWriter<'_>) {
    w.map(3);
    w.bulk(b"flags");
    write_words(access, w);
}
