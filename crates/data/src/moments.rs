//! Moments of a state that readers hold open while writers go on (multi-version concurrency control, with one older version
//! for each moment).
//!
//! A writer that is about to change what lies at a place (a key's hash) first copies that aside for every moment which has not
//! got it yet; a reader of a moment looks there first and at the state of now for everything else. So a writer never waits for a
//! reader, what a moment costs is what was changed since it began, and closing it frees all of that at once. A moment that would
//! hold more than [`MOMENT_BYTES_MAX`] ends: its reader is told, nobody else.
//!
//! Source: Bernstein and Goodman, "Multiversion concurrency control" (1983); before-images kept for readers are how InnoDB's read
//! views and Oracle's rollback segments do it.
// catalogue: J16
// bugs: TC-83

use crate::Index;
use crate::plant::{self, Bug};
use crate::value::Blob;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Bytes that are kept for one moment at most. A guess: an hour of 100 writes of 180 bytes a second.
pub const MOMENT_BYTES_MAX: usize = 64 << 20;
/// What one kept key costs beside its value, about: tree, vector, key.
const KEPT_BYTES: usize = 96;

/// One moment. `T` is a key's value, `F` what the state of then was taken out into by a flush.
///
/// Invariant: a key of the moment is in `changed` if its place is named there, else in `flushed` if that is there, else it is
/// unchanged in the state of now.
#[derive(Debug)]
pub struct Moment<T, F = ()> {
    id: u64,
    index: Index,
    keys: usize,
    changed: BTreeMap<u64, Vec<(Blob, T)>>,
    flushed: Option<Arc<F>>,
    bytes: usize,
}

impl<T, F> Moment<T, F> {
    pub fn id(&self) -> u64 {
        self.id
    }
    /// The newest log entry that it shows.
    pub fn index(&self) -> Index {
        self.index
    }
    /// How many keys there were.
    pub fn keys(&self) -> usize {
        self.keys
    }
    /// Bytes that are kept for it, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    pub fn flushed(&self) -> Option<&Arc<F>> {
        self.flushed.as_ref()
    }
    /// What lay at a place, if that was changed since.
    pub fn at(&self, place: u64) -> Option<&[(Blob, T)]> {
        self.changed.get(&place).map(|kept| &kept[..])
    }
    pub fn is_changed(&self, place: u64) -> bool {
        self.changed.contains_key(&place)
    }
    /// What lay at the changed places from one on, before another one.
    pub fn changed(&self, from: u64, before: Option<u64>) -> impl Iterator<Item = (u64, &(Blob, T))> {
        let last = before.map_or(u64::MAX, |next| next.saturating_sub(1));
        let range = (from <= last).then(|| self.changed.range(from..=last));
        range.into_iter().flatten().flat_map(|(place, kept)| kept.iter().map(|it| (*place, it)))
    }
    fn keeps(&self, place: u64) -> bool {
        self.flushed.is_some() || self.changed.contains_key(&place)
    }
}

/// The open moments of a state.
#[derive(Debug)]
pub struct Moments<T, F = ()>(Vec<Moment<T, F>>);

impl<T, F> Default for Moments<T, F> {
    fn default() -> Moments<T, F> {
        Moments(Vec::new())
    }
}

/// Nobody reads a copy of the state: it has no moments.
impl<T, F> Clone for Moments<T, F> {
    fn clone(&self) -> Moments<T, F> {
        Moments::default()
    }
}

impl<T, F> Moments<T, F> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// `id`: its opener's, never used before. `index`: the newest entry in the state, which has `keys` keys.
    pub fn open(&mut self, id: u64, index: Index, keys: usize) {
        let (changed, flushed) = (BTreeMap::new(), None);
        self.0.push(Moment { id, index, keys, changed, flushed, bytes: 0 });
    }
    pub fn close(&mut self, id: u64) {
        self.0.retain(|it| it.id != id);
    }
    /// `None`: it was closed, or it ended.
    pub fn get(&self, id: u64) -> Option<&Moment<T, F>> {
        self.0.iter().find(|it| it.id == id)
    }
    pub fn bytes(&self) -> usize {
        self.0.iter().map(Moment::bytes).sum()
    }
    /// Entries behind this one are taken back: what shows them ends.
    pub fn end_behind(&mut self, through: Index) {
        self.0.retain(|it| it.index <= through);
    }
    /// What lies at a place is about to change. `bytes` and `keep` tell what lies there.
    pub fn before_change(
        &mut self,
        place: u64,
        bytes: impl Fn() -> usize,
        keep: impl Fn() -> Vec<(Blob, T)>,
    ) {
        if plant::is(Bug::ShowsLater) {
            return;
        }
        self.0.retain_mut(|it| {
            if it.keeps(place) {
                return true;
            }
            let bytes = KEPT_BYTES + bytes();
            if it.bytes.saturating_add(bytes) > MOMENT_BYTES_MAX {
                return false;
            }
            it.bytes += bytes;
            it.changed.insert(place, keep());
            true
        });
    }
    /// A flush took everything out of the state; `bytes` of it stay as long as a moment shows them.
    pub fn flushed(&mut self, contents: &Arc<F>, bytes: usize) {
        self.0.retain_mut(|it| {
            if it.flushed.is_some() {
                return true;
            }
            if it.bytes.saturating_add(bytes) > MOMENT_BYTES_MAX {
                return false;
            }
            it.bytes += bytes;
            it.flushed = Some(Arc::clone(contents));
            true
        });
    }
    /// The flush is taken back. A moment that began behind it [ended](Moments::end_behind).
    pub fn flush_undone(&mut self, contents: &Arc<F>, bytes: usize) {
        for it in &mut self.0 {
            if it.flushed.as_ref().is_some_and(|flushed| Arc::ptr_eq(flushed, contents)) {
                it.flushed = None;
                it.bytes = it.bytes.saturating_sub(bytes);
            }
        }
    }
}
