//! Commands as data: name, arity, flags, keys, class and the function that runs them.

use crate::call::{Call, CommandResult};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;

/// Who executes a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Reads the keyspace; `run` is there.
    Read,
    /// Reads and may yield operations; `run` is there.
    Write,
    /// A write that may have to wait for data (BLPOP): `run` is there and answers "nothing yet" by writing no reply at all.
    Blocking,
    /// Needs the connection, the node or the cluster: the node executes it.
    Node,
}

/// Flags as `COMMAND INFO` lists them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(pub u32);

impl Flags {
    pub const WRITE: Flags = Flags(1);
    pub const READONLY: Flags = Flags(1 << 1);
    pub const DENYOOM: Flags = Flags(1 << 2);
    pub const ADMIN: Flags = Flags(1 << 3);
    pub const PUBSUB: Flags = Flags(1 << 4);
    pub const NOSCRIPT: Flags = Flags(1 << 5);
    pub const BLOCKING: Flags = Flags(1 << 6);
    pub const LOADING: Flags = Flags(1 << 7);
    pub const STALE: Flags = Flags(1 << 8);
    pub const FAST: Flags = Flags(1 << 9);
    pub const NO_AUTH: Flags = Flags(1 << 10);
    pub const NO_MULTI: Flags = Flags(1 << 11);
    pub const MOVABLEKEYS: Flags = Flags(1 << 12);
    pub const SORT_FOR_SCRIPT: Flags = Flags(1 << 13);
    pub const SKIP_MONITOR: Flags = Flags(1 << 14);
    pub const ALLOW_BUSY: Flags = Flags(1 << 15);

    #[must_use]
    pub const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }
}

/// Where the keys stand among the arguments (`args[0]` is the name).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keys {
    None,
    /// Positions `first`, `first + step` ... to `last`; a negative `last` counts from the end (-1 is the last argument).
    Range {
        first: usize,
        last: isize,
        step: usize,
    },
    /// The argument at `count_at` says how many keys follow it; `also` is one more key before it (0 for none).
    Counted {
        count_at: usize,
        also: usize,
    },
    /// The first argument, and the one that follows the option STORE. BY and GET read keys that no argument names.
    Sort,
    /// Those of the command that stands behind DO.
    Inner,
}

impl Keys {
    /// As `COMMAND INFO` numbers them: first key, last key, step.
    pub fn positions(self) -> (i64, i64, i64) {
        match self {
            Keys::Range { first, last, step } => (first as i64, last as i64, step as i64),
            Keys::Counted { also, .. } if also > 0 => (also as i64, also as i64, 1),
            Keys::None | Keys::Counted { .. } | Keys::Inner => (0, 0, 0),
            Keys::Sort => (1, 1, 1),
        }
    }
}

/// One command. Container commands (CLIENT, OBJECT, CONFIG ...) have one spec; the function looks at the subcommand.
pub struct Spec {
    /// Lower case, as `COMMAND` shows it.
    pub name: &'static str,
    /// As in Redis: positive is exact, negative is "at least"; the name counts.
    pub arity: i32,
    pub flags: Flags,
    pub keys: Keys,
    pub class: Class,
    /// ACL category as Redis groups it: "string", "hash", "connection" ...
    pub group: &'static str,
    pub since: &'static str,
    pub summary: &'static str,
    /// How the work grows, in the words of `COMMAND DOCS`.
    pub complexity: &'static str,
    /// Subcommand names, lower case, for containers.
    pub subcommands: &'static [&'static str],
    /// Present unless the class is [`Class::Node`]; of those only the commands have it that may stand in a transaction, where
    /// the group executes them.
    pub run: Option<for<'a, 'c, 'd> fn(&'d mut Call<'a, 'c>) -> CommandResult>,
}

impl Spec {
    /// Whether a command of `count` arguments, its name included, has the right number of them.
    pub fn arity_fits(&self, count: usize) -> bool {
        let count = count as i64;
        let arity = i64::from(self.arity);
        if arity >= 0 { count == arity } else { count >= -arity }
    }
    /// Whether the reply may depend on keys that are not among the arguments: on the whole keyspace.
    pub fn reads_unnamed_keys(&self) -> bool {
        matches!(self.keys, Keys::None | Keys::Sort | Keys::Inner)
    }
}

/// The families of commands, in the order in which they are listed.
const FAMILIES: &[&[Spec]] = &[
    crate::string::SPECS,
    crate::bitmap::SPECS,
    crate::hyperloglog::SPECS,
    crate::generic::SPECS,
    crate::hash::SPECS,
    crate::list::SPECS,
    crate::set::SPECS,
    crate::zset::SPECS,
    crate::geo::SPECS,
    crate::causal::SPECS,
    crate::node_specs::SPECS,
];

/// Every command.
pub fn all() -> impl Iterator<Item = &'static Spec> {
    FAMILIES.iter().copied().flatten()
}

const PLACES: usize = 1024;

/// Commands by the hash of their name: open addressing, made by the compiler.
static INDEX: [Option<&Spec>; PLACES] = index();

const fn index() -> [Option<&'static Spec>; PLACES] {
    let mut places = [None; PLACES];
    let mut family = 0;
    while family < FAMILIES.len() {
        let mut at = 0;
        while at < FAMILIES[family].len() {
            let spec = &FAMILIES[family][at];
            let mut place = hash(spec.name.as_bytes());
            while places[place].is_some() {
                place = (place + 1) % PLACES;
            }
            places[place] = Some(spec);
            at += 1;
        }
        family += 1;
    }
    places
}

/// FNV-1a over the name in lower case.
const fn hash(name: &[u8]) -> usize {
    let mut hash = 0x811c_9dc5_u32;
    let mut at = 0;
    while at < name.len() {
        hash = (hash ^ name[at].to_ascii_lowercase() as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    (hash ^ (hash >> 15)) as usize % PLACES
}

/// Longest name of a command: longer ones are not even hashed.
const NAME_LEN_MAX: usize = 24;

/// Finds a command by the name that a client wrote, in any case.
pub fn find(name: &[u8]) -> Option<&'static Spec> {
    if name.len() > NAME_LEN_MAX {
        return None;
    }
    let mut place = hash(name);
    while let Some(spec) = INDEX[place] {
        if spec.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(spec);
        }
        place = (place + 1) % PLACES;
    }
    None
}

/// Bytes of a client's words that an error text repeats, as in Redis.
const SHOWN_LEN_MAX: usize = 128;

fn shown(bytes: &[u8], max: usize) -> Cow<'_, str> {
    String::from_utf8_lossy(&bytes[..bytes.len().min(max)])
}

/// What a client reads that names no command.
pub fn unknown_command(args: &[&[u8]]) -> String {
    let name = shown(args.first().copied().unwrap_or_default(), SHOWN_LEN_MAX);
    let mut arguments = String::new();
    for arg in args.iter().skip(1) {
        let room = SHOWN_LEN_MAX.saturating_sub(arguments.len());
        if room == 0 {
            break;
        }
        arguments.push_str(&format!("'{}' ", shown(arg, room)));
    }
    format!("ERR unknown command '{name}', with args beginning with: {arguments}")
}

/// What a client reads that gives too few or too many arguments.
pub fn wrong_arity(name: &str) -> String {
    format!("ERR wrong number of arguments for '{name}' command")
}

/// What a client reads that names no subcommand.
pub fn unknown_subcommand(name: &str, subcommand: &[u8]) -> String {
    let shown = shown(subcommand, SHOWN_LEN_MAX);
    format!("ERR unknown subcommand '{shown}'. Try {} HELP.", name.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_in_any_case() {
        for spec in all() {
            for name in [spec.name.to_ascii_lowercase(), spec.name.to_ascii_uppercase()] {
                assert!(find(name.as_bytes()).is_some_and(|found| core::ptr::eq(found, spec)), "{name}");
            }
            assert!(spec.name.len() <= NAME_LEN_MAX);
            assert!(
                !spec.summary.is_empty() && !spec.since.is_empty() && !spec.group.is_empty(),
                "{}",
                spec.name
            );
            assert!(spec.run.is_some() || spec.class == Class::Node, "{}", spec.name);
        }
        assert!(find(b"nosuch").is_none());
        assert!(find(&[b'x'; 1000]).is_none());
    }
}
