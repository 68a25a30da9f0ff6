//! Commands about all keys, of one copy that may answer for them: KEYS, SCAN, DBSIZE, RANDOMKEY.
//!
//! A cursor of SCAN is the leaf of the hash tree where the next page begins. Where a key lies follows from its name and the keyspace's
//! seed alone, so every copy goes on with it, and a key that is there from the beginning of a walk to its end is met, once.

use crate::call::CommandError;
use crate::glob;
use crate::keys::KeyScan;
use crate::spec::Spec;
use alloc::format;
use alloc::vec::Vec;
use data::causal::{CausalView, LEAVES, Range, Span};
use data::value::Blob;
use wire::ReplyWriter;

/// What KEYS answers at most, in bytes of names. A guess: a larger keyspace is for SCAN.
pub const KEYS_BYTES_MAX: usize = 64 << 20;
/// Keys that one SCAN looks at beyond its count, those without a value too; its last leaf may go beyond. A guess: a fraction of a
/// millisecond.
pub(super) const LOOKS_MORE: usize = 4_096;
/// Keys among which RANDOMKEY chooses. A guess: enough that a key behind a wide gap is not chosen much more often.
pub const RANDOM_NAMES: usize = 16;

/// Answers a read of all keys that a reader of this copy sees; `draw` is random.
///
/// # Errors
/// In the words of Redis; that KEYS found too much; for another command.
pub fn answer_names(
    spec: &Spec,
    args: &[&[u8]],
    copy: &impl CausalView,
    now_ms: i64,
    draw: u64,
    w: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    match spec.name {
        "keys" => keys(args[1], copy, now_ms, w)?,
        "scan" => scan(&KeyScan::parse(args)?, copy, now_ms, w),
        "dbsize" => w.integer(i64::try_from(copy.alive()).unwrap_or(i64::MAX)),
        "randomkey" => random_key(copy, now_ms, draw, w),
        name => return Err(CommandError::new(format!("ERR '{name}' is not answered by one copy"))),
    }
    Ok(())
}

/// KEYS found more than it answers.
pub fn too_many_names() -> CommandError {
    CommandError::new(format!(
        "ERR the names of more than {} MiB fit the pattern: use SCAN",
        KEYS_BYTES_MAX >> 20
    ))
}

fn shown(copy: &impl CausalView, span: Span, now_ms: i64) -> impl Iterator<Item = &Blob> {
    let seen = copy.entries(span).filter(move |(.., held)| held.object.is_shown(now_ms));
    seen.map(|(_, key, _)| key)
}

fn keys(
    pattern: &[u8],
    copy: &impl CausalView,
    now_ms: i64,
    w: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let (mut found, mut bytes) = (Vec::new(), 0);
    for key in shown(copy, Span::WHOLE, now_ms).filter(|key| glob::matches(pattern, key)) {
        bytes += key.len();
        if bytes > KEYS_BYTES_MAX {
            return Err(too_many_names());
        }
        found.push(key);
    }
    w.array(found.len());
    found.into_iter().for_each(|key| w.bulk(key));
    Ok(())
}

fn scan(scan: &KeyScan<'_>, copy: &impl CausalView, now_ms: i64, w: &mut ReplyWriter<'_>) {
    let (mut found, mut next) = (Vec::new(), 0);
    let first = u32::try_from(scan.cursor).ok().and_then(Range::leaf);
    let span = first.map(|leaf| Span { first: leaf.span().first, last: u64::MAX });
    let (mut looks, mut met, mut at) = (0, 0, None);
    for (place, key, held) in span.into_iter().flat_map(|span| copy.entries(span)) {
        let (leaf, _) = Range::leaf_of(place).leaves();
        // A page ends with a leaf.
        if at != Some(leaf) && (met >= scan.count || looks >= scan.count.saturating_add(LOOKS_MORE)) {
            next = leaf;
            break;
        }
        at = Some(leaf);
        looks += 1;
        if let Some(part) = held.object.shown_at(now_ms) {
            met += 1;
            if scan.shows(key, part.kind().name()) {
                found.push(key);
            }
        }
    }
    w.array(2);
    w.bulk(format!("{next}").as_bytes());
    w.array(found.len());
    found.into_iter().for_each(|key| w.bulk(key));
}

fn random_key(copy: &impl CausalView, now_ms: i64, draw: u64, w: &mut ReplyWriter<'_>) {
    let from = Range::leaf((draw % u64::from(LEAVES)) as u32).map_or(0, |leaf| leaf.span().first);
    let behind = shown(copy, Span { first: from, last: u64::MAX }, now_ms);
    let found: Vec<&Blob> = behind.chain(shown(copy, Span::WHOLE, now_ms)).take(RANDOM_NAMES).collect();
    match ((draw >> 32) as usize).checked_rem(found.len()).and_then(|at| found.get(at)) {
        Some(key) => w.bulk(key),
        None => w.null(),
    }
}
