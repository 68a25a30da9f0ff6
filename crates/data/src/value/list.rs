//! A double-ended sequence of elements.

use super::Blob;
use crate::operation::End;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A pointer with its length, and what the allocator adds to a block.
const ELEMENT_OVERHEAD: usize = 28;

#[derive(Clone, Default, Debug)]
pub struct List {
    elements: VecDeque<Blob>,
    /// Bytes of all elements.
    payload: usize,
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
    pub fn range(
        &self,
        from: usize,
        to: usize,
    ) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        let to = to.min(self.elements.len());
        self.elements.range(from.min(to)..to).map(Box::as_ref)
    }
    pub fn push_back(&mut self, element: &[u8]) {
        self.push(End::Back, element.into());
    }
    pub fn push_front(&mut self, element: &[u8]) {
        self.push(End::Front, element.into());
    }
    pub fn push(&mut self, end: End, element: Blob) {
        self.payload += element.len();
        match end {
            End::Front => self.elements.push_front(element),
            End::Back => self.elements.push_back(element),
        }
    }
    pub fn pop(&mut self, end: End) -> Option<Blob> {
        let element = match end {
            End::Front => self.elements.pop_front(),
            End::Back => self.elements.pop_back(),
        }?;
        self.payload -= element.len();
        Some(element)
    }
    /// Replaces the element at a place and returns the old one; nothing happens beyond the end.
    pub fn set(&mut self, at: usize, element: Blob) -> Option<Blob> {
        let slot = self.elements.get_mut(at)?;
        self.payload = self.payload + element.len() - slot.len();
        Some(core::mem::replace(slot, element))
    }
    /// Inserts before the place `at`; at the end when `at >= len`.
    pub fn insert(&mut self, at: usize, element: Blob) {
        self.payload += element.len();
        self.elements.insert(at.min(self.elements.len()), element);
    }
    pub fn remove(&mut self, at: usize) -> Option<Blob> {
        let element = self.elements.remove(at)?;
        self.payload -= element.len();
        Some(element)
    }
    /// Removes the elements at these ascending places and returns them with the places they had. Places that do not
    /// ascend or lie beyond the end are left out. One pass, however many there are.
    pub fn remove_all(&mut self, places: impl ExactSizeIterator<Item = usize>) -> Vec<(usize, Blob)> {
        let mut places = places.peekable();
        let mut removed = Vec::new();
        if places.len() == 1 {
            // The short side of the list moves, not all of it.
            removed.extend(places.next().and_then(|at| self.remove(at).map(|element| (at, element))));
            return removed;
        }
        let mut kept = VecDeque::with_capacity(self.elements.len());
        for (at, element) in core::mem::take(&mut self.elements).into_iter().enumerate() {
            if places.peek() == Some(&at) {
                places.next();
                self.payload -= element.len();
                removed.push((at, element));
            } else {
                kept.push_back(element);
            }
        }
        self.elements = kept;
        removed
    }
    /// Undoes [`List::remove_all`].
    pub fn restore(&mut self, removed: Vec<(usize, Blob)>) {
        let mut removed = removed.into_iter().peekable();
        if removed.len() == 1 {
            if let Some((at, element)) = removed.next() {
                self.insert(at, element);
            }
            return;
        }
        let mut kept = core::mem::take(&mut self.elements).into_iter();
        let mut all = VecDeque::with_capacity(kept.len() + removed.len());
        loop {
            if removed.peek().is_some_and(|(at, _)| *at <= all.len()) {
                all.extend(removed.next().map(|(_, element)| {
                    self.payload += element.len();
                    element
                }));
            } else if let Some(element) = kept.next() {
                all.push_back(element);
            } else {
                break;
            }
        }
        self.elements = all;
    }
    /// Estimate of the memory taken, in bytes.
    pub fn bytes(&self) -> usize {
        self.payload + self.elements.capacity() * ELEMENT_OVERHEAD
    }
}

impl PartialEq for List {
    fn eq(&self, other: &List) -> bool {
        self.elements == other.elements
    }
}
