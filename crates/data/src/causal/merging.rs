//! A keyspace's own function for concurrent strings: what it is given, and what readers see of what it gives.
//!
//! **Nothing that it gives is written.** Versions stay where they are until a write that saw them ends them, as under
//! every policy; the function says what a reader is shown meanwhile. So
//!
//! - the state is what it was: a function of the dots in it, whatever the function does (bugs: ML-15). Two nodes that
//!   resolve at once change nothing, and no resolution competes with a write that somebody made meanwhile;
//! - a node that knows another function, before the map has reached it, shows something else and keeps the same;
//! - a function that fails, on one node or on all, loses nothing: the versions are siblings, and the inbox says why.
//!
//! What a reader is shown is the function folded over the versions in the order of their marks, so it is the same on
//! every copy that holds the same versions, even if the function is not what it was taken for when it was accepted.
// catalogue: J13
// bugs: ML-16

use super::conflict::{Rival, Version};
use super::counted::Text;
use super::dot::Mark;
use super::object::{Kind, Object, Part};
use crate::value::Blob;
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Debug;

/// A function's text is at most so long: it travels with every copy of the cluster map. A guess.
pub const FUNCTION_LEN_MAX: usize = 8 << 10;
/// Strings and fields of one key that are merged for one reader. A guess: each may take the whole allowance of a call.
const MERGED_MAX: u32 = 256;

/// One of two values that shall become one. They differ: equal values are no conflict (bugs: ML-19).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Given<'a> {
    pub value: &'a [u8],
    /// When it was written, in ms since 1970, as its writer's clock had it.
    pub time_ms: i64,
}

/// Runs functions. What it gives depends on its arguments alone: no clock, no chance, nothing kept between two calls, and an
/// allowance that is counted and not timed.
pub trait MergeEngine: Debug + Send + Sync {
    /// Whether a function can be one: it compiles, stays within its allowance, and on samples it does not matter which
    /// value comes first, in which order three are merged, nor that one is merged twice.
    ///
    /// # Errors
    /// Why not, for whoever wrote it.
    fn accept(&self, function: &str) -> Result<(), String>;
    /// What the two come to.
    ///
    /// # Errors
    /// Why nothing came of it, in one line.
    fn merge(&self, function: &str, one: Given<'_>, other: Given<'_>) -> Result<Vec<u8>, String>;
}

/// The function of a keyspace, and what runs it.
#[derive(Clone, Debug)]
pub struct Merging {
    pub engine: &'static dyn MergeEngine,
    pub function: Arc<str>,
}

/// How many strings and fields were merged for a reader, and how many could not be.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Merged {
    pub done: u64,
    pub failed: u64,
}

impl Merging {
    /// What the strings among the versions of a conflict come to; nothing where there is one at most.
    pub fn of_versions(&self, versions: &[Version]) -> Option<Result<Blob, String>> {
        let rivals = versions.iter().map(Version::borrowed);
        let texts = rivals.filter(|rival| rival.kind == Kind::Text);
        self.of(texts.filter_map(|Rival { mark, value, .. }| Some((mark, value?))))
    }
    fn of<'a>(&self, versions: impl Iterator<Item = (Mark, &'a Blob)>) -> Option<Result<Blob, String>> {
        let mut versions: Vec<(Mark, &Blob)> = versions.collect();
        versions.sort_by_key(|(mark, _)| *mark);
        let [(mark, first), rest @ ..] = &versions[..] else { return None };
        if rest.is_empty() {
            return None;
        }
        let (mut value, mut time_ms) = (Cow::Borrowed(&first[..]), mark.stamp.ms());
        for (mark, next) in rest {
            let next = Given { value: next, time_ms: mark.stamp.ms() };
            let merged = self.join(Given { value: &value, time_ms }, next);
            match merged {
                Ok((merged, at_ms)) => (value, time_ms) = (Cow::Owned(merged), at_ms),
                Err(why) => return Some(Err(why)),
            }
        }
        Some(Ok(Blob::from(&value[..])))
    }
    /// The value, and its time: of a value that was given its own, of a new one the later of the two.
    fn join(&self, one: Given<'_>, other: Given<'_>) -> Result<(Vec<u8>, i64), String> {
        join(one, other, |one, other| self.engine.merge(&self.function, one, other))
    }
}

/// Merges two values that may be equal; see [`Merging`].
///
/// # Errors
/// What the function says.
pub fn join(
    one: Given<'_>,
    other: Given<'_>,
    merge: impl FnOnce(Given<'_>, Given<'_>) -> Result<Vec<u8>, String>,
) -> Result<(Vec<u8>, i64), String> {
    let later_ms = one.time_ms.max(other.time_ms);
    if one.value == other.value {
        return Ok((one.value.into(), later_ms));
    }
    let value = merge(one, other)?;
    let time_ms = match &value[..] {
        it if it == one.value => one.time_ms,
        it if it == other.value => other.time_ms,
        _ => later_ms,
    };
    Ok((value, time_ms))
}

impl Object {
    /// What a reader is shown where a function says what concurrent strings come to: the same key, with one version in place
    /// of several wherever the function gave one. For reading only: its contexts say nothing.
    pub fn merged(&self, merging: &Merging, count: &mut Merged) -> Cow<'_, Object> {
        let mut left = MERGED_MAX;
        self.merge_within(merging, count, &mut left).map_or(Cow::Borrowed(self), Cow::Owned)
    }
    fn has_versions(&self) -> bool {
        self.parts().iter().any(|part| match part {
            Part::Text(text) => text.siblings().len() > 1,
            Part::Map(map) => map.iter().any(|(_, field)| field.has_versions()),
            _ => false,
        })
    }
    /// Nothing where all stays as it is.
    fn merge_within(&self, merging: &Merging, count: &mut Merged, left: &mut u32) -> Option<Object> {
        if !self.has_versions() {
            return None;
        }
        let parts = self.parts().iter().map(|part| match part {
            Part::Text(text) if text.siblings().len() > 1 && *left > 0 => {
                *left -= 1;
                match text.merged(merging) {
                    Some(merged) => {
                        count.done += 1;
                        Part::Text(merged)
                    }
                    None => {
                        count.failed += 1;
                        part.clone()
                    }
                }
            }
            Part::Map(map) => {
                let mut map = map.clone();
                map.replace(|field| field.merge_within(merging, count, left));
                Part::Map(map)
            }
            _ => part.clone(),
        });
        Some(self.with_parts(parts.collect()))
    }
}

impl Text {
    /// One version in place of several, under the highest mark; increments are added to what it says.
    fn merged(&self, merging: &Merging) -> Option<Text> {
        let value = merging.of(self.siblings().iter())?.ok()?;
        let (mark, _) = self.siblings().highest()?;
        Some(self.with_one(mark, value))
    }
}
