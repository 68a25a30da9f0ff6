//! Taking operations back.

use super::Table;
use super::collections::Member;
use super::entry::Image;
use super::outside::Body;
use super::store::Store;
use crate::value::Blob;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// What an operation replaced: enough to take it back. Held only for entries that are not committed yet; dropping it
/// settles the operation.
#[derive(Debug)]
#[must_use = "dropping an undo settles the operation"]
pub struct Undo(pub(super) Step);

#[derive(Debug)]
pub(super) enum Step {
    /// The operation changed nothing, or nobody wants it back.
    Nothing,
    /// The key was absent.
    Created {
        key: Blob,
    },
    /// The key held this.
    Replaced(Image),
    Expiry {
        key: Blob,
        old: Option<i64>,
    },
    /// A long string was written in place: it was `old_len` bytes long and held `old` at `offset`.
    Written {
        key: Blob,
        offset: usize,
        old: Blob,
        old_len: usize,
    },
    /// Members changed, first to last; `emptied` is the entry that went with its last member.
    Members {
        key: Blob,
        members: Vec<Member>,
        emptied: Option<Box<Image>>,
    },
    Renamed(Box<Renamed>),
    Flushed(Arc<Store>),
}

/// `to` held `old` before it got what `from` held.
#[derive(Debug)]
pub(super) struct Renamed {
    pub(super) from: Blob,
    pub(super) to: Blob,
    pub(super) old: Option<Image>,
}

impl Table {
    /// Takes an operation back. Undos must be taken back in the reverse order of their operations, each once.
    pub fn undo(&mut self, undo: Undo) {
        match undo.0 {
            Step::Nothing => {}
            Step::Created { key } => {
                let hash = self.prepare(&key);
                self.store.remove(hash, &key);
            }
            Step::Replaced(image) => {
                let hash = self.prepare(image.key());
                self.store.remove(hash, image.key());
                self.store.restore(hash, image, None);
            }
            Step::Expiry { key, old } => {
                let hash = self.prepare(&key);
                self.store.set_expiry(hash, &key, old);
            }
            Step::Written { key, offset, old, old_len } => {
                let hash = self.prepare(&key);
                let now = self.store.last_access(hash, &key).unwrap_or(0);
                self.store.edit(hash, &key, now, |body| {
                    if let Body::Text(text) = body
                        && let Some(place) = text.get_mut(offset..offset + old.len())
                    {
                        place.copy_from_slice(&old);
                        text.truncate(old_len);
                    }
                });
            }
            Step::Members { key, members, emptied } => {
                let hash = self.prepare(&key);
                if let Some(image) = emptied {
                    self.store.restore(hash, *image, None);
                }
                let now = self.store.last_access(hash, &key).unwrap_or(0);
                self.store.edit(hash, &key, now, |body| {
                    for member in members.into_iter().rev() {
                        member.undo(body);
                    }
                });
            }
            Step::Renamed(renamed) => {
                let Renamed { from, to, old } = *renamed;
                let (from_hash, to_hash) = (self.prepare(&from), self.prepare(&to));
                if let Some(image) = self.store.take(to_hash, &to) {
                    self.store.restore(from_hash, image, Some(&from));
                }
                if let Some(image) = old {
                    self.store.restore(to_hash, image, None);
                }
            }
            Step::Flushed(contents) => self.undo_flush(contents),
        }
    }

    fn undo_flush(&mut self, contents: Arc<Store>) {
        debug_assert!(self.is_empty(), "what came after a flush is taken back before it");
        if let Some(walk) = &mut self.walk {
            walk.flush_undone(&contents);
        }
        self.moments.flush_undone(&contents, contents.bytes());
        // Only a walk and moments share flushed contents, and they have just let go of these.
        if let Some(contents) = Arc::into_inner(contents) {
            self.store = contents;
        }
    }

    /// The key's hash, once a walk has saved what it needs of it.
    pub(super) fn prepare(&mut self, key: &[u8]) -> u64 {
        let hash = self.hash(key);
        self.before_change(hash);
        hash
    }
}
