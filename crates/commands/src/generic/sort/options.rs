//! The words behind the key.

use super::pattern::Pattern;
use crate::arguments::{integer, is};
use crate::call::CommandError;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::ops::Range;

/// Which part of the sorted members is shown.
pub(super) struct Limit {
    offset: i64,
    count: i64,
}

impl Limit {
    /// A negative offset is none, a negative count takes everything.
    pub(super) fn places(&self, len: usize) -> Range<usize> {
        let from = usize::try_from(self.offset).unwrap_or(0).min(len);
        let count = usize::try_from(self.count).unwrap_or(len);
        from..from.saturating_add(count).min(len)
    }
}

pub(super) struct Options<'a> {
    pub(super) by: Option<Pattern<'a>>,
    pub(super) get: Vec<Pattern<'a>>,
    pub(super) limit: Limit,
    pub(super) descending: bool,
    pub(super) alpha: bool,
    pub(super) store: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    pub(super) fn parse(mut args: &[&'a [u8]], may_store: bool) -> Result<Options<'a>, CommandError> {
        let mut options = Options {
            by: None,
            get: Vec::new(),
            limit: Limit { offset: 0, count: -1 },
            descending: false,
            alpha: false,
            store: None,
        };
        while let [word, rest @ ..] = args {
            args = match rest {
                _ if is(word, "ASC") || is(word, "DESC") => {
                    options.descending = is(word, "DESC");
                    rest
                }
                _ if is(word, "ALPHA") => {
                    options.alpha = true;
                    rest
                }
                [offset, count, rest @ ..] if is(word, "LIMIT") => {
                    options.limit = Limit { offset: integer(offset)?, count: integer(count)? };
                    rest
                }
                [key, rest @ ..] if may_store && is(word, "STORE") => {
                    options.store = Some(key);
                    rest
                }
                [pattern, rest @ ..] if is(word, "BY") => {
                    options.by = Some(Pattern::of(pattern));
                    rest
                }
                [pattern, rest @ ..] if is(word, "GET") => {
                    options.get.push(Pattern::of(pattern));
                    rest
                }
                _ => return Err(CommandError::SYNTAX),
            };
        }
        Ok(options)
    }
    pub(super) fn direct(&self, order: Ordering) -> Ordering {
        if self.descending { order.reverse() } else { order }
    }
    /// `BY nosort`: a pattern that names the same key for every member cannot tell them apart.
    pub(super) fn keeps_order(&self) -> bool {
        matches!(self.by, Some(Pattern::Fixed | Pattern::Member))
    }
}

/// The key that a SORT stores to, among the words behind its first key.
pub(crate) fn destination<'a>(mut args: &[&'a [u8]]) -> Option<&'a [u8]> {
    let mut destination = None;
    while let [word, rest @ ..] = args {
        let taken = match rest {
            [key, ..] if is(word, "STORE") => {
                destination = Some(*key);
                1
            }
            _ if is(word, "LIMIT") => 2,
            _ if is(word, "BY") || is(word, "GET") => 1,
            _ => 0,
        };
        args = rest.get(taken..).unwrap_or_default();
    }
    destination
}

/// Whether BY or GET, among the words behind the first key of a SORT, names keys by the members.
pub(crate) fn names_keys(mut args: &[&[u8]]) -> bool {
    let mut names = false;
    while let [word, rest @ ..] = args {
        let taken = match rest {
            [pattern, ..] if is(word, "BY") || is(word, "GET") => {
                names |= matches!(Pattern::of(pattern), Pattern::Key { .. });
                1
            }
            _ if is(word, "LIMIT") => 2,
            _ if is(word, "STORE") => 1,
            _ => 0,
        };
        args = rest.get(taken..).unwrap_or_default();
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_never_leaves_the_members() {
        for (offset, count, expected) in [
            (0, -1, 0..5),
            (1, 2, 1..3),
            (3, 10, 3..5),
            (9, 1, 5..5),
            (-3, 2, 0..2),
            (0, 0, 0..0),
            (i64::MAX, i64::MAX, 5..5),
            (1, i64::MAX, 1..5),
        ] {
            assert_eq!(Limit { offset, count }.places(5), expected, "{offset} {count}");
        }
    }
}
