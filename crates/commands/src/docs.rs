//! What COMMAND tells of the commands, and where their keys are.

mod access;
mod info;

use crate::call::CommandError;
use crate::glob;
use crate::spec::{self, Flags, Keys, Spec};
use crate::with;
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
        Keys::Inner => {
            let inner = with::inner_of(args);
            let spec = inner.first().and_then(|name| spec::find(name));
            // One level deep: a WITH within another is refused.
            if let Some(spec) = spec.filter(|spec| spec.keys != Keys::Inner && spec.arity_fits(inner.len())) {
                return keys_of(spec, inner);
            }
        }
    }
    Ok(keys)
}

/// Whether the command reads keys that only the members of another one name (SORT with BY or GET).
pub fn reads_by_pattern(spec: &Spec, args: &[&[u8]]) -> bool {
    spec.keys == Keys::Sort && crate::generic::names_keys(args.get(2..).unwrap_or_default())
}

/// COMMAND: everything about every command.
pub fn write_all(w: &mut ReplyWriter<'_>) {
    w.array(spec::all().count());
    spec::all().for_each(|spec| info::write(spec, w));
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
            Some(spec) => info::write(spec, w),
            None => w.null_array(),
        }
    }
}

/// COMMAND LIST, with its filters.
pub fn write_list(filter: &[&[u8]], w: &mut ReplyWriter<'_>) -> Result<(), CommandError> {
    let shown = |spec: &&Spec| match filter {
        [_, kind, value] if kind.eq_ignore_ascii_case(b"ACLCAT") => {
            info::categories(spec).iter().any(|category| category.as_bytes()[1..].eq_ignore_ascii_case(value))
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
    match spec.keys {
        Keys::Inner if with::inner_of(line).is_empty() => {
            return Err(CommandError::fixed("ERR Invalid arguments specified for command"));
        }
        Keys::Counted { also, .. } if keys.len() <= usize::from(also > 0) => {
            return Err(CommandError::fixed("ERR Invalid arguments specified for command"));
        }
        _ if keys.is_empty() => return Err(CommandError::fixed("ERR The command has no key arguments")),
        _ => {}
    }
    w.array(keys.len());
    keys.iter().for_each(|key| w.bulk(key));
    Ok(())
}

const HELP: &[&str] = &[
    "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "(no subcommand)",
    "    What INFO tells of every command.",
    "COUNT",
    "    The number of commands.",
    "DOCS [<command-name> ...]",
    "    What commands do, of these names or of all.",
    "GETKEYS <full-command>",
    "    The keys of a whole command line.",
    "INFO [<command-name> ...]",
    "    Arity, flags, keys and categories, of these names or of all.",
    "LIST [FILTERBY ACLCAT|PATTERN|MODULE <value>]",
    "    The names of commands.",
    "HELP",
    "    This text.",
];

/// COMMAND HELP.
pub fn write_help(w: &mut ReplyWriter<'_>) {
    w.array(HELP.len());
    HELP.iter().for_each(|line| w.simple(line));
}
