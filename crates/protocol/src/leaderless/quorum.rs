//! Who holds a shard, and the arithmetic of n, w and r.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use data::leaderless::Barrier;
use data::{Incarnation, NodeId};

/// Nodes that are believed to be alive, each in which life.
pub type Alive = BTreeMap<NodeId, Incarnation>;

/// Where a shard lies.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Placement {
    /// Version of the ring that this was computed from.
    pub ring: u64,
    /// The n replicas, the preferred ones first.
    pub replicas: Vec<NodeId>,
    /// Who stands in for one that is away, the preferred ones first.
    pub stand_ins: Vec<NodeId>,
    /// How far the barrier has come.
    pub barrier: Barrier,
}

impl Placement {
    pub fn is_replica(&self, node: NodeId) -> bool {
        self.replicas.contains(&node)
    }
    /// Replicas that are believed to be alive, this node first: it needs no network.
    pub fn alive(&self, alive: &Alive, me: NodeId) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> =
            self.replicas.iter().copied().filter(|node| alive.contains_key(node)).collect();
        nodes.sort_by_key(|node| *node != me);
        nodes
    }
    pub fn alive_stand_ins(&self, alive: &Alive) -> Vec<NodeId> {
        self.stand_ins.iter().copied().filter(|node| alive.contains_key(node)).collect()
    }
}

/// How many others a copy that lost everything must have walked over before it may speak again. `quorum` is the smaller of w
/// and r: what so many held, this copy among them, because it was acknowledged or shown, lies at quorum - 1 of the n - 1
/// others; so n - quorum + 1 of them include one that has it. With a quorum of one nobody may have it, and all
/// others are the best there is.
// bugs: LL-09
pub fn to_rebuild(n: usize, quorum: usize) -> usize {
    (n + 1).saturating_sub(quorum).min(n.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::to_rebuild;

    #[test]
    fn a_rebuilt_copy_has_met_a_holder_of_every_acknowledged_write() {
        for n in 1..8usize {
            for w in 1..=n {
                let met = to_rebuild(n, w);
                assert!(met < n.max(1), "a copy does not walk over itself");
                // The other holders and those it met are more than the others together, or it met them all.
                assert!((w - 1) + met > n - 1 || met == n - 1, "n {n}, w {w}");
            }
        }
        assert_eq!((to_rebuild(3, 2), to_rebuild(3, 3), to_rebuild(3, 1), to_rebuild(5, 3)), (2, 1, 2, 3));
    }
}
