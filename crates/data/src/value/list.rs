//! A double-ended sequence of elements.

use super::Blob;
use alloc::boxed::Box;
use alloc::collections::VecDeque;

#[derive(Clone, PartialEq, Default, Debug)]
pub struct List {
    elements: VecDeque<Blob>,
}

impl List {
    pub fn new() -> List {
        List::default()
    }
    pub fn len(&self) -> usize {
        self.elements.len()
    }
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }
    /// The element at a place from the head: `at < len`.
    pub fn at(&self, at: usize) -> Option<&[u8]> {
        self.elements.get(at).map(Box::as_ref)
    }
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        self.elements.iter().map(Box::as_ref)
    }
    /// The elements of places `from..to` (clamped to the list).
    pub fn range(&self, from: usize, to: usize) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        let to = to.min(self.elements.len());
        self.elements.range(from.min(to)..to).map(Box::as_ref)
    }
    pub fn push_back(&mut self, element: &[u8]) {
        self.elements.push_back(element.into());
    }
    pub fn push_front(&mut self, element: &[u8]) {
        self.elements.push_front(element.into());
    }
    pub fn pop_front(&mut self) -> Option<Blob> {
        self.elements.pop_front()
    }
    pub fn pop_back(&mut self) -> Option<Blob> {
        self.elements.pop_back()
    }
    /// Replaces the element at a place and returns the old one; nothing happens beyond the end.
    pub fn set(&mut self, at: usize, element: &[u8]) -> Option<Blob> {
        self.elements.get_mut(at).map(|slot| core::mem::replace(slot, element.into()))
    }
    /// Inserts before the place `at`; at the end when `at >= len`.
    pub fn insert(&mut self, at: usize, element: &[u8]) {
        self.elements.insert(at.min(self.elements.len()), element.into());
    }
    pub fn remove(&mut self, at: usize) -> Option<Blob> {
        self.elements.remove(at)
    }
}
