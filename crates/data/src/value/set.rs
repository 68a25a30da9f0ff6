//! Distinct members, in insertion order; removing a member moves the last one into its place.

use super::Blob;
use crate::table::Seeded;
use alloc::boxed::Box;
use indexmap::IndexSet;

/// A pointer with its length, the stored hash, a place in the index, and what the allocator adds to a block.
const MEMBER_OVERHEAD: usize = 44;

#[derive(Clone, Default, Debug)]
pub struct Set {
    members: IndexSet<Blob, Seeded>,
    /// Bytes of all members.
    payload: usize,
}

impl Set {
    pub fn new() -> Set {
        Set::default()
    }
    pub fn len(&self) -> usize {
        self.members.len()
    }
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
    pub fn contains(&self, member: &[u8]) -> bool {
        self.members.contains(member)
    }
    /// The member at a place in the order: `at < len`.
    pub fn at(&self, at: usize) -> Option<&[u8]> {
        self.members.get_index(at).map(Box::as_ref)
    }
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        self.members.iter().map(Box::as_ref)
    }
    /// The set's own copy of a member.
    pub fn member(&self, member: &[u8]) -> Option<&[u8]> {
        self.members.get(member).map(Box::as_ref)
    }
    /// Adds a member; false when it was there.
    pub fn add(&mut self, member: &[u8]) -> bool {
        let added = !self.members.contains(member) && self.members.insert(member.into());
        if added {
            self.payload += member.len();
        }
        added
    }
    /// Removes a member and returns the place it had.
    pub fn remove(&mut self, member: &[u8]) -> Option<(usize, Blob)> {
        let removed = self.members.swap_remove_full(member);
        if let Some((_, member)) = &removed {
            self.payload -= member.len();
        }
        removed
    }
    /// Undoes an [`Set::add`]: removes the last member in the order.
    pub fn pop(&mut self) -> Option<Blob> {
        let member = self.members.pop()?;
        self.payload -= member.len();
        Some(member)
    }
    /// Undoes [`Set::remove`]: the member goes back to the place it had.
    pub fn restore(&mut self, at: usize, member: Blob) {
        self.payload += member.len();
        let (end, _) = self.members.insert_full(member);
        if at < end {
            self.members.swap_indices(at, end);
        }
    }
    /// Estimate of the memory taken, in bytes.
    pub fn bytes(&self) -> usize {
        self.payload + self.members.capacity() * MEMBER_OVERHEAD
    }
}

impl PartialEq for Set {
    fn eq(&self, other: &Set) -> bool {
        self.members == other.members
    }
}
