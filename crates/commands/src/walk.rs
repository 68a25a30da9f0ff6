//! The walks of HSCAN, SSCAN and ZSCAN through one collection.
//!
//! Collections keep their members in a row: a new one joins at the end, and a removed one is replaced by the last. A walk
//! goes from the end downwards and its cursor is the number of members not shown yet. So a removal moves a member that
//! was shown already, and a member that stays during the whole walk is shown.

use crate::arguments::integer;
use crate::call::{Call, CommandError};
use crate::glob;
use core::ops::Range;
use wire::number::parse_integer;

/// Collections up to this size are shown in one step, whatever COUNT says, as clients know it of Redis.
const WHOLE_LEN_MAX: usize = 128;

/// Members of one step when no COUNT is given.
const COUNT_DEFAULT: usize = 10;

/// What a collection scan was asked for.
pub(crate) struct Walk<'a> {
    left: u64,
    count: usize,
    pattern: Option<&'a [u8]>,
    /// NOVALUES of HSCAN.
    pub(crate) without_values: bool,
}

/// The cursor of a scan: read before anything else, so that it is refused even for a missing key.
pub(crate) fn cursor_of(text: &[u8]) -> Result<u64, CommandError> {
    let cursor = match parse_integer(text) {
        Some(cursor) => u64::try_from(cursor).ok(),
        None => core::str::from_utf8(text).ok().and_then(|digits| digits.parse().ok()),
    };
    cursor.ok_or(CommandError::fixed("ERR invalid cursor"))
}

impl<'a> Walk<'a> {
    /// Reads the options that follow the cursor.
    pub(crate) fn parse(
        cursor: u64,
        options: &[&'a [u8]],
        takes_novalues: bool,
    ) -> Result<Walk<'a>, CommandError> {
        let mut walk = Walk { left: cursor, count: COUNT_DEFAULT, pattern: None, without_values: false };
        let mut options = options.iter();
        while let Some(option) = options.next() {
            if option.eq_ignore_ascii_case(b"count") {
                let count = integer(options.next().ok_or(CommandError::SYNTAX)?)?;
                walk.count = usize::try_from(count).ok().filter(|c| *c > 0).ok_or(CommandError::SYNTAX)?;
            } else if option.eq_ignore_ascii_case(b"match") {
                walk.pattern = Some(options.next().ok_or(CommandError::SYNTAX)?);
            } else if takes_novalues && option.eq_ignore_ascii_case(b"novalues") {
                walk.without_values = true;
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        Ok(walk)
    }
    /// The places to show now, of a collection of `len`; what lies below them is left for the next step.
    pub(crate) fn step(&self, len: usize) -> Range<usize> {
        let end = match self.left {
            0 => len,
            left => usize::try_from(left).unwrap_or(usize::MAX).min(len),
        };
        let count = if len <= WHOLE_LEN_MAX { end } else { self.count };
        end.saturating_sub(count)..end
    }
    pub(crate) fn shows(&self, member: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, member))
    }
}

/// Writes a step of a scan: the cursor to go on with and the texts that were found.
pub(crate) fn answer<'v>(
    call: &mut Call<'_, '_>,
    left: usize,
    texts: impl ExactSizeIterator<Item = &'v [u8]>,
) {
    call.reply.array(2);
    call.reply.bulk_integer(left as i64);
    call.reply.array(texts.len());
    for text in texts {
        call.reply.bulk(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn walk(left: u64, count: usize) -> Walk<'static> {
        Walk { left, count, pattern: None, without_values: false }
    }

    #[test]
    fn a_small_collection_is_one_step() {
        assert_eq!(walk(0, 1).step(WHOLE_LEN_MAX), 0..WHOLE_LEN_MAX);
        assert_eq!(walk(0, 1).step(WHOLE_LEN_MAX + 1), WHOLE_LEN_MAX..WHOLE_LEN_MAX + 1);
        assert_eq!(walk(u64::MAX, 1).step(3), 0..3);
        assert_eq!(walk(0, 10).step(0), 0..0);
    }

    proptest! {
        #[test]
        fn what_stays_is_shown(
            count in 1usize..50,
            changes in proptest::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..400),
        ) {
            let mut members: Vec<u32> = (0..300).collect();
            let mut gone = BTreeSet::new();
            let (mut shown, mut left, mut changes) = (BTreeSet::new(), 0u64, changes.into_iter());
            loop {
                let step = walk(left, count).step(members.len());
                shown.extend(members[step.clone()].iter().copied());
                left = step.start as u64;
                if left == 0 {
                    break;
                }
                for (remove, at) in changes.by_ref().take(7) {
                    if remove && !members.is_empty() {
                        gone.insert(members.swap_remove(at.index(members.len())));
                    } else {
                        members.push(1000 + members.len() as u32);
                    }
                }
            }
            prop_assert!((0..300).all(|m| shown.contains(&m) || gone.contains(&m)));
        }
    }
}
