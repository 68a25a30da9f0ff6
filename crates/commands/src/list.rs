//! Lists: elements in a row under one key.

mod blocking;
mod edit;
mod pop;
mod push;
mod read;
mod transfer;

use crate::call::{CommandError, View};
use crate::describe::Family;
use crate::spec::{Flags, Keys, Spec};
use data::operation::End;
use data::value::{List, ValueRef};

const LIST: Family = Family("list");
const GROWS_FAST: Flags = Flags::DENYOOM.and(Flags::FAST);
const FAST: Flags = Flags::FAST;
const GROWS: Flags = Flags::DENYOOM;
const TWO_KEYS: Keys = Keys::Range { first: 1, last: 2, step: 1 };
const KEYS_THEN_TIMEOUT: Keys = Keys::Range { first: 1, last: -2, step: 1 };

pub const SPECS: &[Spec] = &[
    LIST.write("lpush", -3, push::lpush).flags(GROWS_FAST).docs(
        "1.0.0",
        "O(N), N elements",
        "Adds elements at the head of a list, which is made if it is missing.",
    ),
    LIST.write("rpush", -3, push::rpush).flags(GROWS_FAST).docs(
        "1.0.0",
        "O(N), N elements",
        "Adds elements at the tail of a list, which is made if it is missing.",
    ),
    LIST.write("lpushx", -3, push::lpushx).flags(GROWS_FAST).docs(
        "2.2.0",
        "O(N), N elements",
        "Adds elements at the head if the list exists.",
    ),
    LIST.write("rpushx", -3, push::rpushx).flags(GROWS_FAST).docs(
        "2.2.0",
        "O(N), N elements",
        "Adds elements at the tail if the list exists.",
    ),
    LIST.write("lpop", -2, pop::lpop).flags(FAST).docs(
        "1.0.0",
        "O(N), N elements answered",
        "Takes elements from the head.",
    ),
    LIST.write("rpop", -2, pop::rpop).flags(FAST).docs(
        "1.0.0",
        "O(N), N elements answered",
        "Takes elements from the tail.",
    ),
    LIST.write("lmpop", -4, pop::lmpop)
        .flags(Flags::MOVABLEKEYS)
        .keys(Keys::Counted { count_at: 1, also: 0 })
        .docs(
            "7.0.0",
            "O(K+N), K keys, N elements answered",
            "Takes elements from the first of several lists that exists.",
        ),
    LIST.read("llen", 2, read::llen).flags(FAST).docs("1.0.0", "O(1)", "Counts the elements."),
    LIST.read("lindex", 3, read::lindex).docs("1.0.0", "O(1)", "Answers the element at a place."),
    LIST.read("lrange", 4, read::lrange).docs(
        "1.0.0",
        "O(N), N elements answered",
        "Answers the elements between two places.",
    ),
    LIST.read("lpos", -3, read::lpos).docs(
        "6.0.6",
        "O(N), N elements of the list",
        "Finds the places of an element.",
    ),
    LIST.write("lset", 4, edit::lset).flags(GROWS).docs("1.0.0", "O(1)", "Replaces the element at a place."),
    LIST.write("linsert", 5, edit::linsert).flags(GROWS).docs(
        "2.2.0",
        "O(N), N elements of the list",
        "Inserts an element before or after another.",
    ),
    LIST.write("lrem", 4, edit::lrem).docs(
        "1.0.0",
        "O(N), N elements of the list",
        "Removes elements that equal a value.",
    ),
    LIST.write("ltrim", 4, edit::ltrim).docs(
        "1.0.0",
        "O(N), N elements removed",
        "Keeps the elements between two places.",
    ),
    LIST.write("lmove", 5, transfer::lmove).flags(GROWS).keys(TWO_KEYS).docs(
        "6.2.0",
        "O(1)",
        "Moves an element from an end of one list to an end of another.",
    ),
    LIST.write("rpoplpush", 3, transfer::rpoplpush).flags(GROWS).keys(TWO_KEYS).docs(
        "1.2.0",
        "O(1)",
        "Moves the last element of one list to the head of another.",
    ),
    LIST.blocking("blpop", -3, blocking::blpop).flags(Flags::NOSCRIPT).keys(KEYS_THEN_TIMEOUT).docs(
        "2.0.0",
        "O(K), K keys",
        "Takes an element from the head of the first list that has one, waiting for it.",
    ),
    LIST.blocking("brpop", -3, blocking::brpop).flags(Flags::NOSCRIPT).keys(KEYS_THEN_TIMEOUT).docs(
        "2.0.0",
        "O(K), K keys",
        "Takes an element from the tail of the first list that has one, waiting for it.",
    ),
    LIST.blocking("blmove", 6, blocking::blmove)
        .flags(Flags::DENYOOM.and(Flags::NOSCRIPT))
        .keys(TWO_KEYS)
        .docs("6.2.0", "O(1)", "LMOVE that waits for an element."),
    LIST.blocking("brpoplpush", 4, blocking::brpoplpush)
        .flags(Flags::DENYOOM.and(Flags::NOSCRIPT))
        .keys(TWO_KEYS)
        .docs("2.2.0", "O(1)", "RPOPLPUSH that waits for an element."),
    LIST.blocking("blmpop", -5, blocking::blmpop)
        .flags(Flags::MOVABLEKEYS)
        .keys(Keys::Counted { count_at: 2, also: 0 })
        .docs("7.0.0", "O(K+N), K keys, N elements answered", "LMPOP that waits for an element."),
];

/// The list under a key; `None` when the key is missing.
fn list_at<'v>(view: &'v dyn View, key: &[u8]) -> Result<Option<&'v List>, CommandError> {
    match view.get(key).map(|found| found.value) {
        None => Ok(None),
        Some(ValueRef::List(list)) => Ok(Some(list)),
        Some(_) => Err(CommandError::WRONG_TYPE),
    }
}

/// Reads `LEFT` or `RIGHT`.
fn end_of(text: &[u8]) -> Result<End, CommandError> {
    if text.eq_ignore_ascii_case(b"left") {
        Ok(End::Front)
    } else if text.eq_ignore_ascii_case(b"right") {
        Ok(End::Back)
    } else {
        Err(CommandError::SYNTAX)
    }
}

/// The element that a pop from this end would take.
fn element_at(list: &List, end: End) -> Option<&[u8]> {
    match end {
        End::Front => list.at(0),
        End::Back => list.at(list.len().checked_sub(1)?),
    }
}
