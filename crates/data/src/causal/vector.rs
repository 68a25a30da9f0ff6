//! Version vectors: per actor, how many of its writes are known without a hole.

use super::dot::{Actor, Dot};
use alloc::collections::BTreeMap;
use core::cmp::Ordering;

/// Per actor the counter up to which every dot is included; an actor that is not named stands at 0.
// catalogue: J8 K10 K12
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct VersionVector {
    counters: BTreeMap<Actor, u64>,
}

impl VersionVector {
    pub fn new() -> VersionVector {
        VersionVector::default()
    }
    pub fn counter(&self, actor: Actor) -> u64 {
        self.counters.get(&actor).copied().unwrap_or(0)
    }
    pub fn contains(&self, dot: Dot) -> bool {
        (1..=self.counter(dot.actor)).contains(&dot.counter)
    }
    /// Includes every dot of the actor up to this counter.
    pub fn raise(&mut self, actor: Actor, counter: u64) {
        if counter > 0 {
            let slot = self.counters.entry(actor).or_insert(0);
            *slot = counter.max(*slot);
        }
    }
    /// Includes all that the other one does.
    pub fn merge(&mut self, other: &VersionVector) {
        for (actor, counter) in other.iter() {
            self.raise(actor, counter);
        }
    }
    /// What both include: of the vectors of all replicas, what everybody has.
    #[must_use]
    pub fn meet(&self, other: &VersionVector) -> VersionVector {
        let mut met = VersionVector::new();
        for (actor, counter) in self.iter() {
            met.raise(actor, counter.min(other.counter(actor)));
        }
        met
    }
    pub fn iter(&self) -> impl Iterator<Item = (Actor, u64)> {
        self.counters.iter().map(|(actor, counter)| (*actor, *counter))
    }
    fn covers(&self, other: &VersionVector) -> bool {
        other.iter().all(|(actor, counter)| counter <= self.counter(actor))
    }
}

/// `None` means concurrent: each includes something that the other does not.
impl PartialOrd for VersionVector {
    fn partial_cmp(&self, other: &VersionVector) -> Option<Ordering> {
        match (self.covers(other), other.covers(self)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => None,
        }
    }
}
