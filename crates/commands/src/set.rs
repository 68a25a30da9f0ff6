//! Sets: distinct members under one key.

mod algebra;
mod member;
mod random;

use crate::call::{CommandError, View};
use crate::describe::Family;
use crate::spec::{Flags, Keys, Spec};
use data::value::{Set, ValueRef};

const SET: Family = Family("set");
const GROWS_FAST: Flags = Flags::DENYOOM.and(Flags::FAST);
const FAST: Flags = Flags::FAST;
const GROWS: Flags = Flags::DENYOOM;
const TWO_KEYS: Keys = Keys::Range { first: 1, last: 2, step: 1 };
const ALL_KEYS: Keys = Keys::Range { first: 1, last: -1, step: 1 };

pub const SPECS: &[Spec] = &[
    SET.write("sadd", -3, member::sadd).flags(GROWS_FAST).docs(
        "1.0.0",
        "O(N), N members",
        "Adds members to a set, which is made if it is missing.",
    ),
    SET.write("srem", -3, member::srem).flags(FAST).docs(
        "1.0.0",
        "O(N), N members",
        "Removes members; the set goes with its last one.",
    ),
    SET.write("smove", 4, member::smove).flags(FAST).keys(TWO_KEYS).docs(
        "1.0.0",
        "O(1)",
        "Moves a member from one set to another.",
    ),
    SET.read("smembers", 2, member::smembers).docs(
        "1.0.0",
        "O(N), N members of the set",
        "Answers all members.",
    ),
    SET.read("sismember", 3, member::sismember).flags(FAST).docs(
        "1.0.0",
        "O(1)",
        "Tells whether a member is in the set.",
    ),
    SET.read("smismember", -3, member::smismember).flags(FAST).docs(
        "6.2.0",
        "O(N), N members asked",
        "Tells of several members whether they are in the set.",
    ),
    SET.read("scard", 2, member::scard).flags(FAST).docs("1.0.0", "O(1)", "Counts the members."),
    SET.read("sscan", -3, member::sscan).docs(
        "2.8.0",
        "O(1) a step, O(N) a walk",
        "Walks through the members step by step.",
    ),
    SET.write("spop", -2, random::spop).flags(FAST).docs(
        "1.0.0",
        "O(N), N members answered",
        "Takes members at random.",
    ),
    SET.read("srandmember", -2, random::srandmember).docs(
        "1.0.0",
        "O(N), N members answered",
        "Answers members at random.",
    ),
    SET.read("sinter", -2, algebra::sinter).keys(ALL_KEYS).docs(
        "1.0.0",
        "O(N*K), N members of the smallest, K sets",
        "Answers the members that all sets share.",
    ),
    SET.read("sintercard", -3, algebra::sintercard)
        .flags(Flags::MOVABLEKEYS)
        .keys(Keys::Counted { count_at: 1, also: 0 })
        .docs(
            "7.0.0",
            "O(N*K), N members of the smallest, K sets",
            "Counts the members that all sets share.",
        ),
    SET.write("sinterstore", -3, algebra::sinterstore).flags(GROWS).keys(ALL_KEYS).docs(
        "1.0.0",
        "O(N*K), N members of the smallest, K sets",
        "Stores the members that all sets share.",
    ),
    SET.read("sunion", -2, algebra::sunion).keys(ALL_KEYS).docs(
        "1.0.0",
        "O(N*K), N members in all, K sets",
        "Answers the members of any of the sets.",
    ),
    SET.write("sunionstore", -3, algebra::sunionstore).flags(GROWS).keys(ALL_KEYS).docs(
        "1.0.0",
        "O(N*K), N members in all, K sets",
        "Stores the members of any of the sets.",
    ),
    SET.read("sdiff", -2, algebra::sdiff).keys(ALL_KEYS).docs(
        "1.0.0",
        "O(N*K), N members of the first, K sets",
        "Answers the members of the first set that no other has.",
    ),
    SET.write("sdiffstore", -3, algebra::sdiffstore).flags(GROWS).keys(ALL_KEYS).docs(
        "1.0.0",
        "O(N*K), N members of the first, K sets",
        "Stores the members of the first set that no other has.",
    ),
];

/// The set under a key; `None` when the key is missing.
fn set_at<'v>(view: &'v dyn View, key: &[u8]) -> Result<Option<&'v Set>, CommandError> {
    match view.get(key).map(|found| found.value) {
        None => Ok(None),
        Some(ValueRef::Set(set)) => Ok(Some(set)),
        Some(_) => Err(CommandError::WRONG_TYPE),
    }
}
