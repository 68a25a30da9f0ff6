//! What a stand-in keeps for replicas that are away.
// catalogue: K17
// bugs: LL-16, LL-17

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use data::NodeId;
use data::causal::{Causal, KeyState, Object, read_delta, write_delta};
use data::codec::{DecodeError, Reader, Writer};
use data::value::Blob;

/// A delta that waits for its replica. It names single dots, so it may come late, twice and in any order; what was removed
/// meanwhile it does not bring back.
#[derive(Clone, PartialEq, Debug)]
pub struct Hint {
    pub target: NodeId,
    /// The ring version under which `target` was a replica.
    pub ring: u64,
    /// Wall time of its coming, in ms since 1970. It bounds how long a hint is kept; nothing safe depends on it.
    pub since_ms: i64,
    pub key: Blob,
    pub delta: Causal<Object>,
}

impl Hint {
    pub fn encode(&self, writer: &mut Writer<'_>) {
        self.target.encode(writer);
        writer.u64(self.ring);
        writer.i64(self.since_ms);
        write_delta(writer, &self.key, &self.delta);
    }
    /// # Errors
    /// When the bytes are not what [`Hint::encode`] writes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Hint, DecodeError> {
        let (target, ring, since_ms) = (NodeId::decode(reader)?, reader.u64()?, reader.i64()?);
        let (key, delta) = read_delta(reader)?;
        Ok(Hint { target, ring, since_ms, key, delta })
    }
    /// Encoded length.
    pub fn bytes(&self) -> u64 {
        let mut bytes = Vec::new();
        self.encode(&mut Writer::new(&mut bytes));
        bytes.len() as u64
    }
}

/// Hints by number, and who lost some.
#[derive(Clone, Default, Debug)]
pub struct Hints {
    held: BTreeMap<u64, (Hint, u64)>,
    bytes: u64,
    next: u64,
    missed: BTreeSet<NodeId>,
}

impl Hints {
    pub fn len(&self) -> usize {
        self.held.len()
    }
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
    /// Encoded length of all.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
    pub fn next(&self) -> u64 {
        self.next
    }
    pub fn get(&self, number: u64) -> Option<&Hint> {
        self.held.get(&number).map(|(hint, _)| hint)
    }
    /// The oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Hint)> {
        self.held.iter().map(|(number, (hint, _))| (*number, hint))
    }
    /// The first hint of these numbers.
    pub fn from(&self, first: u64, end: u64) -> Option<(u64, &Hint)> {
        let held = self.held.range(first..end.max(first)).next();
        held.map(|(number, (hint, _))| (*number, hint))
    }
    /// The next one gets this number, or a higher one.
    pub fn go_on_from(&mut self, next: u64) {
        self.next = self.next.max(next);
    }
    /// Targets that must compare their copies with others, as hints for them were dropped.
    pub fn missed(&self) -> &BTreeSet<NodeId> {
        &self.missed
    }
    pub fn insert(&mut self, number: u64, hint: Hint) {
        let bytes = hint.bytes();
        self.bytes += bytes;
        self.next = self.next.max(number + 1);
        if let Some((_, old)) = self.held.insert(number, (hint, bytes)) {
            self.bytes -= old;
        }
    }
    pub fn remove(&mut self, number: u64) {
        if let Some((_, bytes)) = self.held.remove(&number) {
            self.bytes -= bytes;
        }
    }
    pub fn set_missed(&mut self, target: NodeId, missed: bool) {
        if missed {
            self.missed.insert(target);
        } else {
            self.missed.remove(&target);
        }
    }
    /// What the hints of this ring and later ones say of a key, for reads that take stand-ins' word.
    pub fn state(&self, key: &[u8], ring: u64) -> KeyState {
        let mut together = Causal::<Object>::new();
        for (_, hint) in self.iter().filter(|(_, hint)| *hint.key == *key && hint.ring >= ring) {
            together.merge(&hint.delta);
        }
        let context = together.context.clone();
        KeyState { held: data::causal::Held { object: together.store, recent: together.context }, context }
    }
}
