//! Commands as data: name, arity, flags, keys, class and the function that runs them.

use crate::call::{Call, CommandResult};

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
    Range { first: usize, last: isize, step: usize },
    /// The argument at `count_at` says how many keys follow it; `also` is one more key before it (0 for none).
    Counted { count_at: usize, also: usize },
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
    /// Present unless the class is [`Class::Node`].
    pub run: Option<for<'a, 'c, 'd> fn(&'d mut Call<'a, 'c>) -> CommandResult>,
}

/// Finds a command by the name that a client wrote, in any case.
pub fn find(name: &[u8]) -> Option<&'static Spec> {
    let _ = name;
    None
}
