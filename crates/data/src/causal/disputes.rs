//! Which keys of a copy the inbox has something to tell of, and how much: an index over [`super::ShardCopy`], changed with it.

use super::object::Object;
use crate::value::Blob;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// Keys with news that nobody has taken yet, at most; those beyond are told of when they are listed. A guess.
const NEWS_MAX: usize = 1024;

/// Invariant: `places` has every place with a key that may be in conflict or has decisions, and no other; `bytes` are those of
/// all decisions.
#[derive(Clone, Default, Debug)]
pub(super) struct Disputes {
    pub places: BTreeSet<u64>,
    pub bytes: u64,
    /// Times that concurrent writes of one value met.
    pub agreed: u64,
    /// Decisions that went because there was no room, or because of their age.
    pub dropped: u64,
    pub news: BTreeSet<Blob>,
}

/// What the index knows of one key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    pub is_disputed: bool,
    is_agreed: bool,
    bytes: u64,
}

impl Look {
    pub fn of(object: &Object) -> Look {
        let is_disputed = object.may_conflict();
        Look {
            is_disputed,
            is_agreed: is_disputed && object.is_agreed(),
            bytes: if is_disputed { object.decision_bytes() as u64 } else { 0 },
        }
    }
}

impl Disputes {
    /// A key at this place changed; `is_disputed`: whether any key there is disputed now.
    pub fn change(&mut self, place: u64, key: &Blob, before: Look, after: Look, is_disputed: bool) {
        self.bytes = self.bytes + after.bytes - before.bytes;
        self.agreed += u64::from(after.is_agreed && !before.is_agreed);
        if is_disputed {
            self.places.insert(place);
        } else {
            self.places.remove(&place);
        }
        if after.is_disputed && self.news.len() < NEWS_MAX {
            self.news.insert(key.clone());
        }
    }
    pub fn take_news(&mut self) -> Vec<Blob> {
        core::mem::take(&mut self.news).into_iter().collect()
    }
}
