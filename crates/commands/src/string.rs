//! Strings: bytes, and the numbers that they spell.

mod counter;
mod lcs;
mod range;
mod read;
mod set;

use crate::call::{CommandError, View};
use crate::describe::Family;
use crate::spec::{Flags, Keys, Spec};
use data::table::Found;
use data::value::ValueRef;

pub(crate) use set::{TimeForm, is_conditional};

const STRING: Family = Family("string");
const GROWS: Flags = Flags::DENYOOM;
const GROWS_FAST: Flags = Flags::DENYOOM.and(Flags::FAST);
const EVERY: Keys = Keys::Range { first: 1, last: -1, step: 1 };
const EVERY_SECOND: Keys = Keys::Range { first: 1, last: -1, step: 2 };

pub const SPECS: &[Spec] = &[
    STRING.read("get", 2, read::get).flags(Flags::FAST).docs("1.0.0", "O(1)", "Answers the value of a key."),
    STRING.write("set", -3, set::set).flags(GROWS).docs(
        "1.0.0",
        "O(1)",
        "Makes a key hold a value, with conditions and an expiry.",
    ),
    STRING.write("setnx", 3, set::setnx).flags(GROWS_FAST).docs(
        "1.0.0",
        "O(1)",
        "Sets a key unless it exists.",
    ),
    STRING.write("setex", 4, set::setex).flags(GROWS).docs(
        "2.0.0",
        "O(1)",
        "Sets a key that expires after some seconds.",
    ),
    STRING.write("psetex", 4, set::psetex).flags(GROWS).docs(
        "2.6.0",
        "O(1)",
        "Sets a key that expires after some milliseconds.",
    ),
    STRING.read("mget", -2, read::mget).flags(Flags::FAST).keys(EVERY).docs(
        "1.0.0",
        "O(N), N keys",
        "Answers the values of several keys.",
    ),
    STRING.write("mset", -3, set::mset).flags(GROWS).keys(EVERY_SECOND).docs(
        "1.0.1",
        "O(N), N keys",
        "Sets several keys at once.",
    ),
    STRING.write("msetnx", -3, set::msetnx).flags(GROWS).keys(EVERY_SECOND).docs(
        "1.0.1",
        "O(N), N keys",
        "Sets several keys at once unless one exists.",
    ),
    STRING.write("getset", 3, set::getset).flags(GROWS_FAST).docs(
        "1.0.0",
        "O(1)",
        "Sets a key and answers what it held.",
    ),
    STRING.write("getdel", 2, set::getdel).flags(Flags::FAST).docs(
        "6.2.0",
        "O(1)",
        "Answers the value of a key and deletes it.",
    ),
    STRING.write("getex", -2, set::getex).flags(Flags::FAST).docs(
        "6.2.0",
        "O(1)",
        "Answers the value of a key and changes its expiry.",
    ),
    STRING.write("append", 3, range::append).flags(GROWS_FAST).docs(
        "2.0.0",
        "O(1)",
        "Adds bytes to the end of a string.",
    ),
    STRING.read("strlen", 2, read::strlen).flags(Flags::FAST).docs(
        "2.2.0",
        "O(1)",
        "Answers the length of a string.",
    ),
    STRING.read("getrange", 4, range::getrange).docs(
        "2.4.0",
        "O(N), N bytes answered",
        "Answers a part of a string.",
    ),
    STRING.read("substr", 4, range::getrange).docs(
        "1.0.0",
        "O(N), N bytes answered",
        "Answers a part of a string.",
    ),
    STRING.write("setrange", 4, range::setrange).flags(GROWS).docs(
        "2.2.0",
        "O(N), N bytes written",
        "Writes into a string at an offset.",
    ),
    STRING.write("incr", 2, counter::incr).flags(GROWS_FAST).docs(
        "1.0.0",
        "O(1)",
        "Adds one to the number that a key holds.",
    ),
    STRING.write("decr", 2, counter::decr).flags(GROWS_FAST).docs(
        "1.0.0",
        "O(1)",
        "Takes one from the number that a key holds.",
    ),
    STRING.write("incrby", 3, counter::incrby).flags(GROWS_FAST).docs(
        "1.0.0",
        "O(1)",
        "Adds an integer to the number that a key holds.",
    ),
    STRING.write("decrby", 3, counter::decrby).flags(GROWS_FAST).docs(
        "1.0.0",
        "O(1)",
        "Takes an integer from the number that a key holds.",
    ),
    STRING.write("incrbyfloat", 3, counter::incrbyfloat).flags(GROWS_FAST).docs(
        "2.6.0",
        "O(1)",
        "Adds a decimal number to the number that a key holds.",
    ),
    STRING.read("lcs", -3, lcs::lcs).keys(Keys::Range { first: 1, last: 2, step: 1 }).docs(
        "7.0.0",
        "O(N*M), N and M bytes",
        "Finds the longest text that two strings share.",
    ),
];

/// The bytes of a key that must hold a string if it exists.
pub(crate) fn string_at<'v>(view: &'v dyn View, key: &[u8]) -> Result<Option<&'v [u8]>, CommandError> {
    view.get(key).map(bytes_of).transpose()
}

fn bytes_of(found: Found<'_>) -> Result<&[u8], CommandError> {
    match found.value {
        ValueRef::String(bytes) => Ok(bytes),
        _ => Err(CommandError::WRONG_TYPE),
    }
}
