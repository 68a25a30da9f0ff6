//! Field to value, in insertion order; removing a field moves the last one into its place.

use super::Blob;
use crate::table::Seeded;
use alloc::boxed::Box;
use indexmap::IndexMap;

/// Two pointers with lengths, the stored hash, a place in the index, and what the allocator adds to two blocks.
const FIELD_OVERHEAD: usize = 72;

#[derive(Clone, Default, Debug)]
pub struct Hash {
    fields: IndexMap<Blob, Blob, Seeded>,
    /// Bytes of all fields and values.
    payload: usize,
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
            self.payload = self.payload + value.len() - slot.len();
            return Some(core::mem::replace(slot, value.into()));
        }
        self.put(field.into(), value.into())
    }
    /// As [`Hash::set`], with owned bytes.
    pub fn put(&mut self, field: Blob, value: Blob) -> Option<Blob> {
        self.payload += field.len() + value.len();
        let field_len = field.len();
        let old = self.fields.insert(field, value);
        if let Some(old) = &old {
            self.payload -= field_len + old.len();
        }
        old
    }
    /// Removes a field and returns the place in the order that it had, the field and its value.
    pub fn remove(&mut self, field: &[u8]) -> Option<(usize, Blob, Blob)> {
        let removed = self.fields.swap_remove_full(field);
        if let Some((_, field, value)) = &removed {
            self.payload -= field.len() + value.len();
        }
        removed
    }
    /// Undoes [`Hash::remove`]: the field goes back to the place it had.
    pub fn restore(&mut self, at: usize, field: Blob, value: Blob) {
        self.put(field, value);
        let end = self.fields.len() - 1;
        if at < end {
            self.fields.swap_indices(at, end);
        }
    }
    /// Estimate of the memory taken, in bytes.
    pub fn bytes(&self) -> usize {
        self.payload + self.fields.capacity() * FIELD_OVERHEAD
    }
}

impl PartialEq for Hash {
    fn eq(&self, other: &Hash) -> bool {
        self.fields == other.fields
    }
}
