//! Distinct members, in insertion order; removing a member moves the last one into its place.

use super::Blob;
use crate::table::Seeded;
use alloc::boxed::Box;
use indexmap::IndexSet;

#[derive(Clone, Default, Debug)]
pub struct Set {
    members: IndexSet<Blob, Seeded>,
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
    /// Adds a member; false when it was there.
    pub fn add(&mut self, member: &[u8]) -> bool {
        !self.members.contains(member) && self.members.insert(member.into())
    }
    /// Removes a member and returns the place it had.
    pub fn remove(&mut self, member: &[u8]) -> Option<usize> {
        self.members.swap_remove_full(member).map(|(at, _)| at)
    }
    /// Undoes [`Set::remove`]: the member goes back to the place it had.
    pub fn restore(&mut self, at: usize, member: &[u8]) {
        let (end, _) = self.members.insert_full(member.into());
        if at < end {
            self.members.swap_indices(at, end);
        }
    }
}

impl PartialEq for Set {
    fn eq(&self, other: &Set) -> bool {
        self.members == other.members
    }
}
