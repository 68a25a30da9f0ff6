//! Hashes: fields and values under one key.

mod counter;
mod read;
mod scan;
mod write;

use crate::call::{CommandError, View};
use crate::describe::Family;
use crate::spec::{Flags, Spec};
use data::value::{Hash, ValueRef};

const HASH: Family = Family("hash");
const GROWS_FAST: Flags = Flags::DENYOOM.and(Flags::FAST);
const FAST: Flags = Flags::FAST;

pub const SPECS: &[Spec] = &[
    HASH.write("hset", -4, write::hset).flags(GROWS_FAST).docs(
        "2.0.0",
        "O(N), N pairs",
        "Sets fields of a hash, which is made if it is missing.",
    ),
    HASH.write("hsetnx", 4, write::hsetnx).flags(GROWS_FAST).docs(
        "2.0.0",
        "O(1)",
        "Sets a field unless the hash has it.",
    ),
    HASH.write("hmset", -4, write::hmset).flags(GROWS_FAST).docs(
        "2.0.0",
        "O(N), N pairs",
        "Sets fields of a hash; HSET says the same and counts.",
    ),
    HASH.write("hdel", -3, write::hdel).flags(FAST).docs(
        "2.0.0",
        "O(N), N fields",
        "Removes fields; the hash goes with its last one.",
    ),
    HASH.write("hincrby", 4, counter::hincrby).flags(GROWS_FAST).docs(
        "2.0.0",
        "O(1)",
        "Adds an integer to the number in a field.",
    ),
    HASH.write("hincrbyfloat", 4, counter::hincrbyfloat).flags(GROWS_FAST).docs(
        "2.6.0",
        "O(1)",
        "Adds a decimal number to the number in a field.",
    ),
    HASH.read("hget", 3, read::hget).flags(FAST).docs("2.0.0", "O(1)", "Answers the value of a field."),
    HASH.read("hmget", -3, read::hmget).flags(FAST).docs(
        "2.0.0",
        "O(N), N fields",
        "Answers the values of several fields.",
    ),
    HASH.read("hgetall", 2, read::hgetall).docs(
        "2.0.0",
        "O(N), N fields of the hash",
        "Answers all fields with their values.",
    ),
    HASH.read("hkeys", 2, read::hkeys).docs("2.0.0", "O(N), N fields of the hash", "Answers all fields."),
    HASH.read("hvals", 2, read::hvals).docs("2.0.0", "O(N), N fields of the hash", "Answers all values."),
    HASH.read("hlen", 2, read::hlen).flags(FAST).docs("2.0.0", "O(1)", "Counts the fields."),
    HASH.read("hexists", 3, read::hexists).flags(FAST).docs(
        "2.0.0",
        "O(1)",
        "Tells whether the hash has a field.",
    ),
    HASH.read("hstrlen", 3, read::hstrlen).flags(FAST).docs(
        "3.2.0",
        "O(1)",
        "Answers the length of a field's value.",
    ),
    HASH.read("hrandfield", -2, scan::hrandfield).docs(
        "6.2.0",
        "O(N), N fields answered",
        "Answers fields at random.",
    ),
    HASH.read("hscan", -3, scan::hscan).docs(
        "2.8.0",
        "O(1) a step, O(N) a walk",
        "Walks through fields and values step by step.",
    ),
];

/// The hash under a key; `None` when the key is missing.
fn hash_at<'v>(view: &'v dyn View, key: &[u8]) -> Result<Option<&'v Hash>, CommandError> {
    match view.get(key).map(|found| found.value) {
        None => Ok(None),
        Some(ValueRef::Hash(hash)) => Ok(Some(hash)),
        Some(_) => Err(CommandError::WRONG_TYPE),
    }
}
