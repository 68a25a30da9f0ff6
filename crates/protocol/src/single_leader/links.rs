//! Who feeds whom: the copies of a group in an order that follows from the view alone, so that all of them find the same
//! links without a word. A chain is the tree in which everybody feeds one.
//!
//! ```text
//! chain, two read replicas             FAN-OUT 2
//! head -> n2 -> n3 (tail) -> n4        leader -> n2 -> n4, n5
//!                         -> n5               -> n3 -> n6
//! ```
//!
//! The links decide how entries and acknowledgements travel, and nothing else. What counts is which life holds what of which
//! epoch's log, and that is the same by whatever way it is heard. So two nodes that know different views can delay each other, no more.
// catalogue: C15, H3

use alloc::vec::Vec;
use data::NodeId;
use data::keyspace::CommitRule;
use data::view::View;

/// The links of one view. Empty when the leader feeds everybody itself.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Links {
    /// The leader first; who stands before another is nearer to it.
    order: Vec<NodeId>,
    /// So many of them form a chain; the tree of the others hangs below its tail.
    trunk: usize,
    fan_out: usize,
}

impl Links {
    /// Electable replicas stand in the order of a ring that begins with the leader, then come read replicas. Learners are
    /// in no link: the leader brings them up.
    pub fn of(view: &View) -> Links {
        let chain = matches!(view.rule, CommitRule::Chain { .. });
        let fan_out = view.settings.fan_out as usize;
        let leader = view.leader.filter(|_| view.election.is_none() && (chain || fan_out > 0));
        let Some(leader) = leader.map(|leader| leader.replica.node) else { return Links::default() };
        let nodes = || view.electable.iter().map(|replica| replica.node);
        let mut order = Vec::with_capacity(view.electable.len() + view.read_replicas.len() + 1);
        order.push(leader);
        order.extend(nodes().filter(|node| *node > leader));
        order.extend(nodes().filter(|node| *node < leader));
        let trunk = if chain { order.len() } else { 1 };
        order.extend(&view.read_replicas);
        // Below a chain that names no number the tail feeds all.
        Links { order, trunk, fan_out: if fan_out == 0 { usize::MAX } else { fan_out } }
    }

    /// The leader, and behind it everybody who is linked.
    pub fn order(&self) -> &[NodeId] {
        &self.order
    }

    fn feeder_at(&self, at: usize) -> Option<usize> {
        match at {
            0 => None,
            _ if at < self.trunk => Some(at - 1),
            _ => {
                let root = self.trunk - 1;
                Some(root + (at - root - 1) / self.fan_out)
            }
        }
    }
    fn position(&self, node: NodeId) -> Option<usize> {
        self.order.iter().position(|linked| *linked == node)
    }

    /// Who feeds this node; `None` for the leader and for those whom it feeds outside the links.
    pub fn feeder(&self, node: NodeId) -> Option<NodeId> {
        self.feeder_at(self.position(node)?).map(|at| self.order[at])
    }

    /// Whom this node feeds.
    pub fn fed_by(&self, node: NodeId) -> Vec<NodeId> {
        let Some(me) = self.position(node) else { return Vec::new() };
        let fed = (me + 1..self.order.len()).filter(|at| self.feeder_at(*at) == Some(me));
        fed.map(|at| self.order[at]).collect()
    }

    /// All who hear of entries through this node.
    pub fn behind(&self, node: NodeId) -> Vec<NodeId> {
        let Some(me) = self.position(node) else { return Vec::new() };
        let mut reached = Vec::new();
        reached.resize(self.order.len(), false);
        reached[me] = true;
        for at in me + 1..self.order.len() {
            // Feeders stand before those whom they feed.
            reached[at] = self.feeder_at(at).is_some_and(|feeder| reached[feeder]);
        }
        let behind = (me + 1..self.order.len()).filter(|at| reached[*at]);
        behind.map(|at| self.order[at]).collect()
    }

    /// Messages that an entry travels in from the leader to this node.
    pub fn depth(&self, node: NodeId) -> u32 {
        let mut at = self.position(node);
        let mut depth = 0;
        while let Some(feeder) = at.and_then(|at| self.feeder_at(at)) {
            (at, depth) = (Some(feeder), depth + 1);
        }
        depth
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use data::keyspace::Settings;
    use data::view::{Leader, Replica};
    use data::{Epoch, GroupId, Incarnation, KeyspaceId, Process, ViewNumber};

    fn nodes(nodes: &[u32]) -> Vec<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }
    fn view(rule: CommitRule, fan_out: u32, leader: u32, electable: &[u32], read_replicas: &[u32]) -> View {
        let life = |node: &u32| Replica { node: NodeId(*node), incarnation: Incarnation(1) };
        View {
            group: GroupId(1),
            keyspace: KeyspaceId(0),
            number: ViewNumber(1),
            epoch: Epoch(1),
            leader: Some(Leader { replica: life(&leader), process: Process(1) }),
            members: nodes(electable),
            read_replicas: nodes(read_replicas),
            electable: electable.iter().map(life).collect(),
            election: None,
            history: vec![],
            last_loss: Epoch(0),
            rule,
            settings: Settings { fan_out, ..Settings::default() },
        }
    }
    /// Every link as (feeder, fed).
    fn pairs(links: &Links) -> Vec<(u32, u32)> {
        let fed = links.order().iter().filter_map(|node| links.feeder(*node).map(|by| (by.0, node.0)));
        fed.collect()
    }

    // catalogue: C15
    #[test]
    fn a_chain_is_a_ring_that_begins_with_the_leader() {
        let chain = CommitRule::Chain { minimum: 1 };
        let links = Links::of(&view(chain, 0, 2, &[1, 2, 3, 5], &[4, 6]));
        assert_eq!(pairs(&links), [(2, 3), (3, 5), (5, 1), (1, 4), (1, 6)]);
        assert_eq!(links.fed_by(NodeId(1)), nodes(&[4, 6]));
        assert_eq!(links.behind(NodeId(5)), nodes(&[1, 4, 6]));
        assert_eq!((links.depth(NodeId(2)), links.depth(NodeId(1)), links.depth(NodeId(6))), (0, 3, 4));
        // A learner is in no link.
        assert_eq!(links.feeder(NodeId(9)), None);
        assert_eq!(pairs(&Links::of(&view(chain, 0, 1, &[1], &[]))), []);
    }

    // catalogue: H3
    #[test]
    fn a_tree_gives_everybody_so_many() {
        let links = Links::of(&view(CommitRule::Async, 2, 1, &[1, 2, 3], &[4, 5, 6, 7, 8]));
        assert_eq!(pairs(&links), [(1, 2), (1, 3), (2, 4), (2, 5), (3, 6), (3, 7), (4, 8)]);
        assert_eq!(links.behind(NodeId(2)), nodes(&[4, 5, 8]));
        let under_a_chain = Links::of(&view(CommitRule::Chain { minimum: 1 }, 2, 1, &[1, 2], &[4, 5, 6, 7]));
        assert_eq!(pairs(&under_a_chain), [(1, 2), (2, 4), (2, 5), (4, 6), (4, 7)]);
        // Without a number the leader feeds everybody, and during an election nobody knows who leads.
        assert_eq!(Links::of(&view(CommitRule::Async, 0, 1, &[1, 2, 3], &[])), Links::default());
        let electing = View { election: Some(Epoch(2)), ..view(CommitRule::Async, 2, 1, &[1, 2], &[]) };
        assert_eq!(Links::of(&electing), Links::default());
    }

    #[test]
    fn a_thousand_hang_ten_deep() {
        let all: Vec<u32> = (1..=1000).collect();
        let links = Links::of(&view(CommitRule::Async, 2, 1, &all, &[]));
        assert!(
            all.iter().all(|node| links.depth(NodeId(*node)) <= 9 && links.fed_by(NodeId(*node)).len() <= 2)
        );
        assert_eq!(pairs(&links).len(), 999);
        let wide = Links::of(&view(CommitRule::Async, 10, 1, &all, &[]));
        assert_eq!(all.iter().map(|node| wide.depth(NodeId(*node))).max(), Some(3));
    }
}
