//! Field to value, in insertion order; removing a field moves the last one into its place.

use super::Blob;
use crate::table::Seeded;
use alloc::boxed::Box;
use indexmap::IndexMap;

#[derive(Clone, Default, Debug)]
pub struct Hash {
    fields: IndexMap<Blob, Blob, Seeded>,
}

impl Hash {
    pub fn new() -> Hash {
        Hash::default()
    }
    pub fn len(&self) -> usize {
        self.fields.len()
    }
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
    pub fn get(&self, field: &[u8]) -> Option<&[u8]> {
        self.fields.get(field).map(Box::as_ref)
    }
    pub fn contains(&self, field: &[u8]) -> bool {
        self.fields.contains_key(field)
    }
    /// The pair at a place in the order: `at < len`.
    pub fn at(&self, at: usize) -> Option<(&[u8], &[u8])> {
        self.fields.get_index(at).map(|(f, v)| (f.as_ref(), v.as_ref()))
    }
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> + ExactSizeIterator {
        self.fields.iter().map(|(f, v)| (f.as_ref(), v.as_ref()))
    }
    /// Sets a field and returns what it held.
    pub fn set(&mut self, field: &[u8], value: &[u8]) -> Option<Blob> {
        if let Some(slot) = self.fields.get_mut(field) {
            return Some(core::mem::replace(slot, value.into()));
        }
        self.fields.insert(field.into(), value.into());
        None
    }
    /// Removes a field and returns its place in the order and its value.
    pub fn remove(&mut self, field: &[u8]) -> Option<(usize, Blob)> {
        self.fields.swap_remove_full(field).map(|(at, _, value)| (at, value))
    }
    /// Undoes [`Hash::remove`]: the field goes back to the place it had.
    pub fn restore(&mut self, at: usize, field: &[u8], value: Blob) {
        let (end, _) = self.fields.insert_full(field.into(), value);
        if at < end {
            self.fields.swap_indices(at, end);
        }
    }
}

impl PartialEq for Hash {
    fn eq(&self, other: &Hash) -> bool {
        self.fields == other.fields
    }
}
