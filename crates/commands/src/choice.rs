//! Random choice of members, and the `count` argument of the commands that choose.

use crate::call::{CommandError, Random};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use wire::number::parse_integer;

/// `count` different places below `len`, every subset equally likely (Floyd's sampling); all of them, in order,
/// when `count` reaches `len`.
pub(crate) fn distinct_places(random: &mut Random, len: usize, count: usize) -> Vec<usize> {
    if count >= len {
        return (0..len).collect();
    }
    let mut taken = BTreeSet::new();
    let mut places = Vec::with_capacity(count);
    for last in len - count..len {
        let drawn = random.below(last as u64 + 1) as usize;
        let place = if taken.insert(drawn) {
            drawn
        } else {
            taken.insert(last);
            last
        };
        places.push(place);
    }
    places
}

/// The answer to the one integer whose sign cannot be turned round.
pub(crate) const NOT_NEGATABLE: CommandError = CommandError::fixed(
    "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
);

/// How many members to choose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Count {
    /// Up to so many different ones.
    Distinct(usize),
    /// Exactly so many, the same one possibly several times: what a negative count means.
    Repeated(u64),
}

/// Reads the count of HRANDFIELD, SRANDMEMBER and ZRANDMEMBER.
pub(crate) fn count_of(text: &[u8]) -> Result<Count, CommandError> {
    match parse_integer(text) {
        None => Err(CommandError::NOT_AN_INTEGER),
        Some(i64::MIN) => Err(NOT_NEGATABLE),
        Some(count) if count < 0 => Ok(Count::Repeated(count.unsigned_abs())),
        Some(count) => Ok(Count::Distinct(usize::try_from(count).unwrap_or(usize::MAX))),
    }
}

/// Bytes that the answer to a repeated choice may take. A guess: far beyond what a program can want at once, and a shard
/// is back within a tenth of a second.
const REPLY_LEN_MAX: usize = 64 << 20;

/// Refuses a reply of more bytes than that: a repeated choice of 2^62 members would take the node down.
pub(crate) fn check_reply_len(bytes: usize) -> Result<(), CommandError> {
    if bytes > REPLY_LEN_MAX {
        return Err(CommandError::fixed("ERR value is out of range, the reply would be larger than 64 MB"));
    }
    Ok(())
}

/// The count of LPOP, SPOP and ZPOPMIN: not negative, one text for every failure.
pub(crate) fn pop_count(text: &[u8]) -> Result<usize, CommandError> {
    parse_integer(text)
        .and_then(|count| usize::try_from(count).ok())
        .ok_or(CommandError::fixed("ERR value is out of range, must be positive"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_places_differ_and_lie_within() {
        let mut random = Random(7);
        for len in 0..40 {
            for count in 0..45 {
                let mut places = distinct_places(&mut random, len, count);
                assert_eq!(places.len(), count.min(len));
                places.sort_unstable();
                places.dedup();
                assert_eq!(places.len(), count.min(len));
                assert!(places.iter().all(|at| *at < len));
            }
        }
    }

    #[test]
    fn every_place_gets_its_share() {
        let mut random = Random(1);
        let mut hits = [0u32; 10];
        for _ in 0..10_000 {
            for at in distinct_places(&mut random, 10, 3) {
                hits[at] += 1;
            }
        }
        assert!(hits.iter().all(|h| (2_700..3_300).contains(h)), "{hits:?}");
    }
}
