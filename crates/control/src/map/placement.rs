//! Who holds a group and who leads it first: functions of the map, so that every control member decides alike.

use super::{Advice, ClusterMap, Node};
use data::{NodeId, Site};

impl ClusterMap {
    pub(super) fn held(&self, node: NodeId) -> usize {
        let groups =
            self.views().filter(|view| view.members.contains(&node) || view.read_replicas.contains(&node));
        let shards = self.leaderless_shards().filter(|(.., shard)| shard.replicas.contains(&node));
        groups.count() + shards.count()
    }
    fn led(&self, node: NodeId) -> usize {
        self.views().filter(|view| view.leader.is_some_and(|leader| leader.replica.node == node)).count()
    }

    /// Whether the node may hold a copy that belongs at this site.
    pub(crate) fn is_at(&self, node: NodeId, site: Option<Site>) -> bool {
        site.is_none_or(|site| self.nodes.get(&node).is_some_and(|node| node.site == site.as_str()))
    }

    /// Up to `wanted` usable nodes of the site outside `taken`: heard ones first, then those that hold the fewest groups.
    pub(crate) fn place(
        &self,
        wanted: usize,
        site: Option<Site>,
        taken: &[NodeId],
        advice: &Advice,
    ) -> Vec<NodeId> {
        let fits = |node: &&Node| node.usable() && !taken.contains(&node.id) && self.is_at(node.id, site);
        let usable = self.nodes.values().filter(fits);
        let mut ranked: Vec<_> =
            usable.map(|node| (advice.suspects.contains(&node.id), self.held(node.id), node.id)).collect();
        ranked.sort_unstable();
        ranked.into_iter().take(wanted).map(|(_, _, node)| node).collect()
    }

    /// The first leader: leaders spread over the nodes, and keep off the control leader's when another is equal, for its
    /// failure would cost two elections one after the other.
    pub(crate) fn first_leader(&self, members: &[NodeId], advice: &Advice) -> Option<NodeId> {
        members
            .iter()
            .copied()
            .min_by_key(|n| (advice.suspects.contains(n), self.led(*n), *n == advice.control_leader, *n))
    }
}
