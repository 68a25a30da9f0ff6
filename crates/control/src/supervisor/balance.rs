//! Leaders spread over the nodes, and off the control leader's node where another is equal, for its failure would cost two
//! elections one after the other. When a node has come, or come back, and all is calm, they are moved one at a time by
//! planned switchovers, which lose nothing. What an operator moved stays where it is until then.

use super::Supervisor;
use crate::map::ClusterMap;
use core::time::Duration;
use data::{GroupId, Instant, NodeId};
use std::collections::BTreeMap;

/// Nothing is moved before the cluster was calm for so long: who came back a moment ago may go again. A guess.
const CALM: Duration = Duration::from_secs(5);
/// Between two moves: each stops one leader for a moment.
const BETWEEN: Duration = Duration::from_secs(1);

/// When leaders may be moved.
#[derive(Debug)]
pub(crate) struct Balance {
    /// Since when every group is led and every node heard.
    calm_since: Instant,
    moved_at: Instant,
    /// A node has come since they were last spread.
    wanted: bool,
}

impl Balance {
    pub fn new(now: Instant) -> Balance {
        Balance { calm_since: now, moved_at: now, wanted: false }
    }
    pub fn is_wanted(&mut self, now: Instant) {
        (self.wanted, self.calm_since) = (true, now);
    }
    pub fn is_left_alone(&mut self) {
        self.wanted = false;
    }
}

/// What leading costs a node: two for a group, one for the control plane. A group goes to another node only if that costs
/// less in the end, so that it never comes back.
fn better(leads: u32, would_lead: u32) -> bool {
    would_lead + 2 < leads
}

impl Supervisor {
    pub(super) fn tend_balance(&mut self, now: Instant, map: &ClusterMap) {
        if !self.balance.wanted {
            return;
        }
        let led = |view: &data::view::View| view.election.is_none() && view.leader.is_some();
        let calm = map.views().all(led)
            && map.nodes.keys().all(|node| !self.detector.suspects(*node))
            && map.outgoing.is_empty()
            && !self.grantor.is_blind(map);
        if !calm {
            self.balance.calm_since = now;
        }
        let due = now.since(self.balance.calm_since) >= CALM && now.since(self.balance.moved_at) >= BETWEEN;
        if !due || !self.switchovers.is_empty() {
            return;
        }
        self.balance.moved_at = now;
        match self.next_move(map) {
            // Whoever cannot take it now is asked at another time.
            Some((group, target)) => {
                let _ = self.begin_switchover(now, map, group, Some(target), None);
            }
            None => self.balance.wanted = false,
        }
    }

    /// The move that helps most.
    fn next_move(&self, map: &ClusterMap) -> Option<(GroupId, NodeId)> {
        let mut cost: BTreeMap<NodeId, u32> = map.nodes.keys().map(|node| (*node, 0)).collect();
        cost.entry(self.me).and_modify(|cost| *cost += 1);
        for leader in map.views().filter_map(|view| view.leader) {
            cost.entry(leader.replica.node).and_modify(|cost| *cost += 2);
        }
        let cost = |node: NodeId| cost.get(&node).copied().unwrap_or(u32::MAX / 2);
        let moves = map.views().flat_map(|view| {
            let leader = view.leader.map_or(NodeId(0), |leader| leader.replica.node);
            let others =
                view.electable.iter().map(|replica| replica.node).filter(move |node| *node != leader);
            others.map(move |node| (cost(leader), cost(node), view.group, node))
        });
        // Never to another site: its clients would wait longer.
        let site = |node: NodeId| map.nodes.get(&node).filter(|node| node.usable()).map(|node| &node.site);
        let leads_at = |group: GroupId| map.leader_of(group).and_then(site);
        let fits = |group: GroupId, node: NodeId| site(node).is_some() && site(node) == leads_at(group);
        let good = moves.filter(|(from, to, group, node)| better(*from, *to) && fits(*group, *node));
        good.max_by_key(|(from, to, group, node)| (from - to, core::cmp::Reverse((*group, *node))))
            .map(|(_, _, group, node)| (group, node))
    }
}

#[cfg(test)]
mod tests {
    use super::better;

    /// From any spread of leaders the moves end, with nobody leading two more than another.
    #[test]
    fn moves_end_in_a_spread_that_is_even() {
        for groups in 1..12 {
            for control in 0..3 {
                let mut leads = [0u32; 3];
                leads[groups as usize % 3] = groups;
                let cost = |leads: &[u32; 3], node: usize| 2 * leads[node] + u32::from(node == control);
                let mut moves = 0;
                loop {
                    let found = (0..9).map(|at| (at / 3, at % 3)).find(|(from, to)| {
                        leads[*from] > 0 && better(cost(&leads, *from), cost(&leads, *to))
                    });
                    let Some((from, to)) = found else { break };
                    leads[from] -= 1;
                    leads[to] += 1;
                    moves += 1;
                    assert!(moves < 20, "{leads:?}");
                }
                let (most, least) = (leads.iter().max().unwrap(), leads.iter().min().unwrap());
                assert!(most - least <= 1, "{leads:?}");
                assert!(groups > 2 || leads[control] == 0, "{leads:?} beside the control leader {control}");
            }
        }
    }
}
