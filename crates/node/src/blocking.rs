//! Commands that wait for data (BLPOP and its kin), kept by the leader in the order in which they came.

use crate::execute::Identity;
use crate::group::Target;
use crate::options::Options;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;
use commands::Spec;
use data::{Instant, RequestId};
use wire::Protocol;

/// One waiting command.
pub struct Entry {
    pub spec: &'static Spec,
    pub args: Vec<Bytes>,
    pub keys: Vec<Box<[u8]>>,
    pub protocol: Protocol,
    /// What its forwarder calls it.
    pub request: RequestId,
    /// What it will be known by once it wrote.
    pub identity: Identity,
    pub options: Option<Box<Options>>,
    pub to: Target,
    /// When it is answered "nothing"; `None` waits for ever.
    pub deadline: Option<Instant>,
}

#[derive(Default)]
pub struct Blocked {
    next: u64,
    entries: BTreeMap<u64, Entry>,
    by_key: BTreeMap<Box<[u8]>, VecDeque<u64>>,
    /// Keys that were written since the waiting commands were last asked.
    written: BTreeSet<Box<[u8]>>,
}

impl Blocked {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    pub fn add(&mut self, entry: Entry) {
        self.next += 1;
        for key in &entry.keys {
            self.by_key.entry(key.clone()).or_default().push_back(self.next);
        }
        self.entries.insert(self.next, entry);
    }
    pub fn written(&mut self, key: &[u8]) {
        if self.by_key.contains_key(key) {
            self.written.insert(key.into());
        }
    }
    /// The commands that may have something now, oldest first for each key.
    pub fn take_candidates(&mut self) -> Vec<u64> {
        let mut candidates = Vec::new();
        for key in core::mem::take(&mut self.written) {
            candidates.extend(self.by_key.get(&key).into_iter().flatten().copied());
        }
        candidates
    }
    pub fn get(&self, number: u64) -> Option<&Entry> {
        self.entries.get(&number)
    }
    pub fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.entries.remove(&number)?;
        for key in &entry.keys {
            if let Some(numbers) = self.by_key.get_mut(key) {
                numbers.retain(|n| *n != number);
                if numbers.is_empty() {
                    self.by_key.remove(key);
                }
            }
        }
        Some(entry)
    }
    /// Commands whose time is over at `now`.
    pub fn due(&self, now: Instant) -> Vec<u64> {
        let due = |entry: &Entry| entry.deadline.is_some_and(|deadline| deadline <= now);
        self.entries.iter().filter(|(_, entry)| due(entry)).map(|(number, _)| *number).collect()
    }
    /// Commands of a target that went away.
    pub fn of(&self, gone: impl Fn(&Entry) -> bool) -> Vec<u64> {
        self.entries.iter().filter(|(_, entry)| gone(entry)).map(|(number, _)| *number).collect()
    }
    pub fn all(&self) -> Vec<u64> {
        self.entries.keys().copied().collect()
    }
}
