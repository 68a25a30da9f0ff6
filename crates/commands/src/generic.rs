//! Keys of any type: existence, expiry, names, walks.

mod expiry;
mod names;
mod object;
mod sort;
mod walks;

use crate::describe::Family;
use crate::spec::{Flags, Keys, Spec};

pub(crate) use sort::{destination, names_keys};
pub use walks::{KeyScan, flush_options};

const GENERIC: Family = Family("generic");
const SERVER: Family = Family("server");
const EVERY: Keys = Keys::Range { first: 1, last: -1, step: 1 };
const BOTH: Keys = Keys::Range { first: 1, last: 2, step: 1 };
const SECOND: Keys = Keys::Range { first: 2, last: 2, step: 1 };
const FAST: Flags = Flags::FAST;

pub const SPECS: &[Spec] = &[
    GENERIC.write("del", -2, names::del).keys(EVERY).docs("1.0.0", "O(N), N keys", "Deletes keys."),
    GENERIC.write("unlink", -2, names::del).flags(FAST).keys(EVERY).docs(
        "4.0.0",
        "O(N), N keys",
        "Deletes keys.",
    ),
    GENERIC.read("exists", -2, names::exists).flags(FAST).keys(EVERY).docs(
        "1.0.0",
        "O(N), N keys",
        "Counts how many of the keys exist.",
    ),
    GENERIC.read("touch", -2, names::touch).flags(FAST).keys(EVERY).docs(
        "3.2.1",
        "O(N), N keys",
        "Counts the existing keys and notes that they were used.",
    ),
    GENERIC.read("type", 2, names::type_of).flags(FAST).docs(
        "1.0.0",
        "O(1)",
        "Tells the type of a key's value.",
    ),
    GENERIC.write("rename", 3, names::rename).keys(BOTH).docs("1.0.0", "O(1)", "Gives a key another name."),
    GENERIC.write("renamenx", 3, names::renamenx).flags(FAST).keys(BOTH).docs(
        "1.0.0",
        "O(1)",
        "Gives a key another name unless that is taken.",
    ),
    GENERIC.write("copy", -3, names::copy).flags(Flags::DENYOOM).keys(BOTH).docs(
        "6.2.0",
        "O(N), N members",
        "Copies a value to another key.",
    ),
    GENERIC.write("expire", -3, expiry::expire).flags(FAST).docs(
        "1.0.0",
        "O(1)",
        "Lets a key expire after some seconds.",
    ),
    GENERIC.write("pexpire", -3, expiry::pexpire).flags(FAST).docs(
        "2.6.0",
        "O(1)",
        "Lets a key expire after some milliseconds.",
    ),
    GENERIC.write("expireat", -3, expiry::expireat).flags(FAST).docs(
        "1.2.0",
        "O(1)",
        "Lets a key expire at a time in seconds.",
    ),
    GENERIC.write("pexpireat", -3, expiry::pexpireat).flags(FAST).docs(
        "2.6.0",
        "O(1)",
        "Lets a key expire at a time in milliseconds.",
    ),
    GENERIC.write("persist", 2, expiry::persist).flags(FAST).docs(
        "2.2.0",
        "O(1)",
        "Takes a key's expiry away.",
    ),
    GENERIC.read("ttl", 2, expiry::ttl).flags(FAST).docs(
        "1.0.0",
        "O(1)",
        "Tells the seconds until a key expires.",
    ),
    GENERIC.read("pttl", 2, expiry::pttl).flags(FAST).docs(
        "2.6.0",
        "O(1)",
        "Tells the milliseconds until a key expires.",
    ),
    GENERIC.read("expiretime", 2, expiry::expiretime).flags(FAST).docs(
        "7.0.0",
        "O(1)",
        "Tells when a key expires, in seconds.",
    ),
    GENERIC.read("pexpiretime", 2, expiry::pexpiretime).flags(FAST).docs(
        "7.0.0",
        "O(1)",
        "Tells when a key expires, in milliseconds.",
    ),
    GENERIC.write("sort", -2, sort::sort).flags(Flags::DENYOOM).keys(Keys::Sort).docs(
        "1.0.0",
        "O(N+M*log(M)), N members, M answered",
        "Sorts the members of a list, set or sorted set; answers or stores them.",
    ),
    GENERIC.read("sort_ro", -2, sort::sort_ro).keys(Keys::Sort).docs(
        "7.0.0",
        "O(N+M*log(M)), N members, M answered",
        "Sorts the members of a list, set or sorted set.",
    ),
    GENERIC.read("keys", 2, walks::keys).keys(Keys::None).docs(
        "1.0.0",
        "O(N), N keys of the keyspace",
        "Lists the keys that fit a pattern.",
    ),
    GENERIC.read("scan", -2, walks::scan).keys(Keys::None).docs(
        "2.8.0",
        "O(1) a call",
        "Walks over the keys, some at a time.",
    ),
    GENERIC.read("randomkey", 1, walks::randomkey).keys(Keys::None).docs(
        "1.0.0",
        "O(1)",
        "Answers some key.",
    ),
    SERVER.read("dbsize", 1, walks::dbsize).flags(FAST).keys(Keys::None).docs(
        "1.0.0",
        "O(1)",
        "Counts the keys of the keyspace.",
    ),
    SERVER.write("flushdb", -1, walks::flushdb).keys(Keys::None).docs(
        "1.0.0",
        "O(N), N keys",
        "Empties the keyspace.",
    ),
    GENERIC
        .read("object", -2, object::object)
        .keys(SECOND)
        .subcommands(&["encoding", "freq", "help", "idletime", "refcount"])
        .docs("2.2.3", "O(1)", "Tells how a key's value is kept."),
    SERVER.read("memory", -2, object::memory).keys(SECOND).subcommands(&["doctor", "help", "usage"]).docs(
        "4.0.0",
        "O(1)",
        "Tells how much memory a key takes.",
    ),
];
