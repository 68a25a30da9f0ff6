//! Which copy is right when copies differ behind equal logs: the vote over one range of keys.
//!
//! A leader from time to time appends an `audit` entry: what one range of keys holds in its table behind all entries before it.
//! Every copy that applies the entry compares, and tells the leader what it found itself. Logs are compared elsewhere, by rolling
//! hash; here equal logs have made unequal tables, so a memory, a snapshot or a program has failed, and the log does not say whose.
//!
//! *Rule:* what a strict majority of the members holds is right. With less than that nothing is decided: of two copies that differ
//! nobody can say which one is damaged, and the copy that is in doubt stays so until somebody does.

use alloc::collections::BTreeMap;
use data::table::{HashRange, RangeSum};
use data::{Index, NodeId};

/// One audit as its leader follows it up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Round {
    /// The audit entry.
    pub index: Index,
    pub range: HashRange,
    /// What the leader's own table holds.
    pub own: RangeSum,
    told: BTreeMap<NodeId, RangeSum>,
}

impl Round {
    pub fn new(index: Index, range: HashRange, own: RangeSum) -> Round {
        Round { index, range, own, told: BTreeMap::new() }
    }
    /// A copy found this.
    pub fn note(&mut self, node: NodeId, sum: RangeSum) {
        self.told.insert(node, sum);
    }
    /// What the copies found that have answered, the leader's own left out.
    pub fn told(&self) -> impl Iterator<Item = (NodeId, RangeSum)> {
        self.told.iter().map(|(node, sum)| (*node, *sum))
    }
    /// Whether any copy found something else than the leader.
    pub fn is_disputed(&self) -> bool {
        self.told.values().any(|sum| *sum != self.own)
    }
    /// What is right, as soon as a strict majority of the members holds it. Copies that are no members have no vote.
    pub fn decided(&self, leader: NodeId, members: &[NodeId]) -> Option<RangeSum> {
        let found =
            |node: &NodeId| if *node == leader { Some(self.own) } else { self.told.get(node).copied() };
        let sums = || members.iter().filter_map(found);
        sums().find(|sum| sums().filter(|other| other == sum).count() * 2 > members.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(members: u32, own: u64, told: &[(u32, u64)]) -> Option<u64> {
        let sum = |sum| RangeSum { keys: 1, sum };
        let mut round = Round::new(Index(7), HashRange::default(), sum(own));
        told.iter().for_each(|(node, it)| round.note(NodeId(*node), sum(*it)));
        let members: alloc::vec::Vec<NodeId> = (1..=members).map(NodeId).collect();
        round.decided(NodeId(1), &members).map(|it| it.sum)
    }

    #[test]
    fn a_strict_majority_of_the_members_is_right() {
        assert_eq!(decided(3, 5, &[]), None, "one of three");
        assert_eq!(decided(3, 5, &[(2, 5)]), Some(5), "two of three");
        assert_eq!(decided(3, 5, &[(2, 6)]), None, "one against one, and one unheard");
        assert_eq!(decided(3, 5, &[(2, 6), (3, 5)]), Some(5), "the second copy is damaged");
        assert_eq!(decided(3, 5, &[(2, 6), (3, 6)]), Some(6), "the leader is damaged");
        assert_eq!(decided(3, 5, &[(2, 6), (3, 7)]), None, "all differ");
        assert_eq!(decided(2, 5, &[(2, 6)]), None, "of two nobody can say");
        assert_eq!(decided(4, 5, &[(2, 5), (3, 6), (4, 6)]), None, "two against two");
        assert_eq!(decided(3, 5, &[(2, 6), (8, 6), (9, 6)]), None, "read replicas have no vote");
        assert_eq!(decided(1, 5, &[(8, 6)]), Some(5), "beside read replicas only");
    }
}
