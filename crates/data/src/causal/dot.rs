//! The identity of a single write, and of whoever gives it.

use super::stamp::Stamp;
use crate::id::{GroupId, Incarnation, NodeId};
use core::fmt;
use core::ops::RangeInclusive;

/// Who mints dots: one life of one node's copy of one shard. Only replicas are actors, never clients, so what a key
/// carries is bounded by the number of replicas (LL-13).
///
/// Invariant: an actor knows all that it ever wrote. One whose copy was lost, cannot be proven or was let go never mints
/// again; the copy comes back under another incarnation (LL-09, LL-11).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Actor {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub shard: GroupId,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.node, self.incarnation, self.shard)
    }
}
impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One write for ever: the `counter`-th of its actor, counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Dot {
    pub actor: Actor,
    pub counter: u64,
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.actor, self.counter)
    }
}
impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A dot with the time at which it was minted. The order, (stamp, actor, counter), is what "last" and "highest" mean
/// everywhere: total, and the same on every replica (LL-23).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Mark {
    pub stamp: Stamp,
    pub dot: Dot,
}

/// Gives out the dots of one actor, without holes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Minter {
    actor: Actor,
    last: u64,
}

impl Minter {
    /// `last` is the highest counter that the actor may ever have given out, 0 for a new one. The caller has made it
    /// durable before a dot leaves the node.
    pub fn new(actor: Actor, last: u64) -> Minter {
        Minter { actor, last }
    }
    pub fn actor(&self) -> Actor {
        self.actor
    }
    /// The highest counter given out or skipped.
    pub fn last(&self) -> u64 {
        self.last
    }
    /// The next dot. A counter of 64 bits does not run out.
    pub fn mint(&mut self) -> Dot {
        self.last = self.last.checked_add(1).expect("an actor lives for less than 2^64 writes");
        Dot { actor: self.actor, counter: self.last }
    }
    /// Goes on above `last`, as after a restart that knows only a reserved bound. The counters passed over were
    /// perhaps never used: they are to be spread as a `skip` ([`super::Context::insert_range`]), so that no vector
    /// keeps a hole for ever.
    pub fn skip_to(&mut self, last: u64) -> Option<RangeInclusive<u64>> {
        let skipped = (last > self.last).then(|| self.last + 1..=last);
        self.last = self.last.max(last);
        skipped
    }
}

/// What one write mints from: the dots of its coordinator and one stamp for all of them.
#[derive(Debug)]
pub struct Write<'a> {
    minter: &'a mut Minter,
    stamp: Stamp,
}

impl<'a> Write<'a> {
    /// The stamp comes from the shard's [`super::HybridClock`], which has seen every stamp that its copy holds.
    pub fn new(minter: &'a mut Minter, stamp: Stamp) -> Write<'a> {
        Write { minter, stamp }
    }
    pub fn actor(&self) -> Actor {
        self.minter.actor()
    }
    /// A new dot. Each element of a collection gets one of its own: elements are removed one by one.
    pub fn mark(&mut self) -> Mark {
        Mark { stamp: self.stamp, dot: self.minter.mint() }
    }
}
