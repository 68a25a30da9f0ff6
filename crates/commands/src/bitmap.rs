//! Strings as rows of bits: bit 0 is the highest of the first byte.

mod bit;
mod combine;
mod count;
mod field;

use crate::call::{CommandError, STRING_LEN_MAX};
use crate::describe::Family;
use crate::spec::{Flags, Keys, Spec};
use wire::number::parse_integer;

const BITMAP: Family = Family("bitmap");

pub const SPECS: &[Spec] = &[
    BITMAP.write("setbit", 4, bit::setbit).flags(Flags::DENYOOM).docs(
        "2.2.0",
        "O(1)",
        "Sets or clears a bit and answers what it was.",
    ),
    BITMAP.read("getbit", 3, bit::getbit).flags(Flags::FAST).docs("2.2.0", "O(1)", "Answers a bit."),
    BITMAP.read("bitcount", -2, count::bitcount).docs(
        "2.6.0",
        "O(N), N bytes looked at",
        "Counts the bits that are set.",
    ),
    BITMAP.read("bitpos", -3, count::bitpos).docs(
        "2.8.7",
        "O(N), N bytes looked at",
        "Finds the first bit that is set, or clear.",
    ),
    BITMAP
        .write("bitop", -4, combine::bitop)
        .flags(Flags::DENYOOM)
        .keys(Keys::Range { first: 2, last: -1, step: 1 })
        .docs("2.6.0", "O(N), N bytes in all", "Stores what AND, OR, XOR or NOT makes of strings."),
    BITMAP.write("bitfield", -2, field::bitfield).flags(Flags::DENYOOM).docs(
        "3.2.0",
        "O(N), N subcommands",
        "Reads, sets and increments integers of any width inside a string.",
    ),
    BITMAP.read("bitfield_ro", -2, field::bitfield_ro).flags(Flags::FAST).docs(
        "6.0.0",
        "O(N), N subcommands",
        "Reads integers of any width inside a string.",
    ),
];

const NOT_AN_OFFSET: CommandError = CommandError::fixed("ERR bit offset is not an integer or out of range");

/// A bit's place; one beyond the longest string is refused.
fn offset(text: &[u8]) -> Result<u64, CommandError> {
    parse_integer(text).and_then(within).ok_or(NOT_AN_OFFSET)
}

fn within(bit: i64) -> Option<u64> {
    u64::try_from(bit).ok().filter(|bit| bit / 8 < STRING_LEN_MAX as u64)
}
