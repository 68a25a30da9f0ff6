//! What COMMAND tells of the commands, and where their keys are.

use crate::call::CommandError;
use crate::glob;
use crate::spec::{self, Class, Flags, Keys, Spec};
use smallvec::SmallVec;
use wire::ReplyWriter;
use wire::number::parse_integer;

pub type KeyList<'a> = SmallVec<[&'a [u8]; 4]>;

/// The keys among the arguments of a command (`args[0]` is its name; the arity fits).
pub fn keys_of<'a>(spec: &Spec, args: &[&'a [u8]]) -> Result<KeyList<'a>, CommandError> {
    let mut keys = KeyList::new();
    match spec.keys {
        Keys::None => {}
        Keys::Range { first, last, step } => {
            let last = if last < 0 { args.len() as isize + last } else { last.min(args.len() as isize - 1) };
            let mut at = first;
            while at as isize <= last {
                keys.extend(args.get(at).copied());
                at += step;
            }
        }
        Keys::Counted { count_at, also } => {
            if also > 0 {
                keys.extend(args.get(also).copied());
            }
            let count = args.get(count_at).and_then(|text| parse_integer(text));
            // A wrong count is the command's own error to tell.
            let count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
            let rest = args.get(count_at + 1..).unwrap_or_default();
            keys.extend(rest.iter().take(count).copied());
        }
        Keys::Sort => {
            keys.extend(args.get(1).copied());
            if spec.flags.has(Flags::WRITE) {
                keys.extend(crate::generic::destination(args.get(2..).unwrap_or_default()));
            }
        }
    }
    Ok(keys)
}

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

fn flags_of(spec: &Spec) -> SmallVec<[&'static str; 8]> {
    let movable = matches!(spec.keys, Keys::Counted { .. });
    let flags = if movable { spec.flags.and(Flags::MOVABLEKEYS) } else { spec.flags };
    FLAG_NAMES.iter().filter(|(flag, _)| flags.has(*flag)).map(|(_, name)| *name).collect()
}

fn categories_of(spec: &Spec) -> SmallVec<[&'static str; 4]> {
    let mut categories = SmallVec::new();
    if spec.flags.has(Flags::WRITE) {
        categories.push("@write");
    }
    if spec.flags.has(Flags::READONLY) {
        categories.push("@read");
    }
    categories.push(match spec.group {
        "generic" => "@keyspace",
        "sorted-set" | "sorted_set" => "@sortedset",
        "string" => "@string",
        "hash" => "@hash",
        "list" => "@list",
        "set" => "@set",
        "pubsub" => "@pubsub",
        "transactions" => "@transaction",
        "connection" => "@connection",
        "geo" => "@geo",
        _ => "@admin",
    });
    if spec.flags.has(Flags::BLOCKING) {
        categories.push("@blocking");
    }
    categories.push(if spec.flags.has(Flags::FAST) { "@fast" } else { "@slow" });
    categories
}

/// One entry of COMMAND INFO: the ten elements of Redis 7.
fn write_info(spec: &Spec, w: &mut ReplyWriter<'_>) {
    let (first, last, step) = spec.key_positions();
    w.array(10);
    w.bulk(spec.name.as_bytes());
    w.integer(i64::from(spec.arity));
    let flags = flags_of(spec);
    w.set(flags.len());
    flags.iter().for_each(|flag| w.simple(flag));
    w.integer(first);
    w.integer(last);
    w.integer(step);
    let categories = categories_of(spec);
    w.set(categories.len());
    categories.iter().for_each(|category| w.simple(category));
    w.array(0);
    write_key_specs(spec, w);
    w.array(0);
}

/// The key specifications of Redis 7: where the search begins and how it goes on.
fn write_key_specs(spec: &Spec, w: &mut ReplyWriter<'_>) {
    let access = if spec.flags.has(Flags::WRITE) { "RW" } else { "RO" };
    let begin = |w: &mut ReplyWriter<'_>, index: i64| {
        w.map(3);
        w.bulk(b"flags");
        w.set(1);
        w.simple(access);
        w.bulk(b"begin_search");
        w.map(2);
        w.bulk(b"type");
        w.bulk(b"index");
        w.bulk(b"spec");
        w.map(1);
        w.bulk(b"index");
        w.integer(index);
        w.bulk(b"find_keys");
        w.map(2);
        w.bulk(b"type");
    };
    let range = |w: &mut ReplyWriter<'_>, last: i64, step: i64| {
        w.bulk(b"range");
        w.bulk(b"spec");
        w.map(3);
        w.bulk(b"lastkey");
        w.integer(last);
        w.bulk(b"keystep");
        w.integer(step);
        w.bulk(b"limit");
        w.integer(0);
    };
    match spec.keys {
        Keys::None => w.array(0),
        Keys::Range { first, last, step } => {
            w.array(1);
            begin(w, first as i64);
            // From the first key for a positive last one, from the end for a negative.
            let last = last as i64;
            range(w, if last < 0 { last } else { last - first as i64 }, step as i64);
        }
        Keys::Counted { count_at, also } => {
            w.array(if also > 0 { 2 } else { 1 });
            if also > 0 {
                begin(w, also as i64);
                range(w, 0, 1);
            }
            begin(w, count_at as i64);
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
        Keys::Sort => {
            w.array(1);
            begin(w, 1);
            range(w, 0, 1);
        }
    }
}

/// COMMAND: everything about every command.
pub fn write_all(w: &mut ReplyWriter<'_>) {
    w.array(spec::all().count());
    spec::all().for_each(|spec| write_info(spec, w));
}

/// COMMAND COUNT.
pub fn write_count(w: &mut ReplyWriter<'_>) {
    w.integer(spec::all().count() as i64);
}

/// COMMAND INFO: of these names, or of all.
pub fn write_infos(names: &[&[u8]], w: &mut ReplyWriter<'_>) {
    if names.is_empty() {
        return write_all(w);
    }
    w.array(names.len());
    for name in names {
        match spec::find(name) {
            Some(spec) => write_info(spec, w),
            None => w.null_array(),
        }
    }
}

/// COMMAND LIST, with its filters.
pub fn write_list(filter: &[&[u8]], w: &mut ReplyWriter<'_>) -> Result<(), CommandError> {
    let shown = |spec: &&Spec| match filter {
        [_, kind, value] if kind.eq_ignore_ascii_case(b"ACLCAT") => {
            categories_of(spec).iter().any(|category| category.as_bytes()[1..].eq_ignore_ascii_case(value))
        }
        [_, kind, value] if kind.eq_ignore_ascii_case(b"PATTERN") => {
            glob::matches(&value.to_ascii_lowercase(), spec.name.as_bytes())
        }
        [_, ..] => false,
        [] => true,
    };
    let valid = match filter {
        [] => true,
        [word, kind, _] => {
            word.eq_ignore_ascii_case(b"FILTERBY")
                && [&b"ACLCAT"[..], b"PATTERN", b"MODULE"]
                    .iter()
                    .any(|known| kind.eq_ignore_ascii_case(known))
        }
        _ => false,
    };
    if !valid {
        return Err(CommandError::SYNTAX);
    }
    w.array(spec::all().filter(shown).count());
    spec::all().filter(shown).for_each(|spec| w.bulk(spec.name.as_bytes()));
    Ok(())
}

/// COMMAND DOCS: of these names, or of all; unknown names are left out.
pub fn write_docs(names: &[&[u8]], w: &mut ReplyWriter<'_>) {
    let wanted = |spec: &&Spec| {
        names.is_empty() || names.iter().any(|name| name.eq_ignore_ascii_case(spec.name.as_bytes()))
    };
    w.map(spec::all().filter(wanted).count());
    for spec in spec::all().filter(wanted) {
        w.bulk(spec.name.as_bytes());
        w.map(4);
        w.bulk(b"summary");
        w.bulk(spec.summary.as_bytes());
        w.bulk(b"since");
        w.bulk(spec.since.as_bytes());
        w.bulk(b"group");
        w.bulk(spec.group.as_bytes());
        w.bulk(b"complexity");
        w.bulk(spec.complexity.as_bytes());
    }
}

/// COMMAND GETKEYS: the keys of a whole command line.
pub fn write_getkeys(line: &[&[u8]], w: &mut ReplyWriter<'_>) -> Result<(), CommandError> {
    let spec = line.first().and_then(|name| spec::find(name));
    let spec = spec.ok_or(CommandError::fixed("ERR Invalid command specified"))?;
    if !spec.arity_fits(line.len()) {
        return Err(CommandError::fixed("ERR Invalid number of arguments specified for command"));
    }
    let keys = keys_of(spec, line)?;
    if keys.is_empty() {
        return Err(CommandError::fixed("ERR The command has no key arguments"));
    }
    w.array(keys.len());
    keys.iter().for_each(|key| w.bulk(key));
    Ok(())
}

/// Whether a command only reads data.
pub fn is_read(spec: &Spec) -> bool {
    spec.class == Class::Read
}
