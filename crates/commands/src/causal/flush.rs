//! FLUSHDB where several replicas write: page by page, for each key that it meets is a delete of its own kind.
//!
//! A page goes on where the one before it ended, at a leaf of the hash tree as SCAN does. It deletes what is there at its moment: a
//! write that this copy has not seen survives, as it survives a DEL.

use super::names::LOOKS_MORE;
use crate::arguments::is;
use crate::call::CommandError;
use alloc::vec::Vec;
use data::causal::{CausalView, Range, Span, Store};
use data::value::Blob;

/// Keys, and bytes of their names, that one page deletes: guesses, a write of a millisecond or two.
const KEYS_MAX: usize = 1_024;
const BYTES_MAX: usize = 256 << 10;

/// The leaf where a command line asks to begin: 0, or after FROM.
///
/// # Errors
/// In the words of Redis.
pub fn flush_from(args: &[&[u8]]) -> Result<u32, CommandError> {
    match args.get(1..).unwrap_or_default() {
        [from, leaf] if is(from, "FROM") => wire::number::parse_integer(leaf)
            .and_then(|leaf| u32::try_from(leaf).ok())
            .filter(|leaf| Range::leaf(*leaf).is_some())
            .ok_or(CommandError::SYNTAX),
        options => crate::generic::flush_options(options).map(|()| 0),
    }
}

/// The keys with a value, their expiry passed or not, that a page beginning at `leaf` deletes, and the leaf where the next page
/// begins; none at the end.
pub fn flush_page(copy: &impl CausalView, leaf: u32) -> (Vec<Blob>, Option<u32>) {
    let (mut found, mut bytes, mut looks, mut at) = (Vec::new(), 0, 0, leaf);
    let span = Range::leaf(leaf).map(|leaf| Span { first: leaf.span().first, last: u64::MAX });
    for (place, key, held) in span.into_iter().flat_map(|span| copy.entries(span)) {
        let (next, _) = Range::leaf_of(place).leaves();
        // A page of keys that are gone already ends with a leaf, or it would be met for ever.
        if found.len() >= KEYS_MAX || bytes >= BYTES_MAX || (looks >= LOOKS_MORE && next != at) {
            return (found, Some(next));
        }
        (at, looks) = (next, looks + 1);
        if held.object.is_alive() {
            bytes += key.len();
            found.push(key.clone());
        }
    }
    (found, None)
}
