//! Sizes: every group at its number of replicas, the control group at three or five voters, leaving nodes emptied.

use super::{Action, Supervisor};
use crate::command::Command;
use crate::consensus::{Consensus, Reconfigure};
use crate::map::{ClusterMap, NodeState};
use core::time::Duration;
use data::view::View;
use data::{Instant, NodeId};
use std::collections::BTreeSet;

/// A control member that is silent for so long is replaced when another node can take its place: long against restarts.
const REPLACE_AFTER: Duration = Duration::from_secs(30);

/// Voters for a cluster of so many nodes: odd, for an even number tolerates no more failures than one less.
pub(crate) fn voters_wanted(nodes: usize) -> usize {
    match nodes {
        0..=2 => 1,
        3..=6 => 3,
        _ => 5,
    }
}

/// A candidate for the control group, as the control leader sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub node: NodeId,
    /// Number of its site.
    pub site: usize,
    /// Stays in the cluster and may take a part.
    pub fit: bool,
    pub heard: bool,
    /// Silent for so long that another should take its place.
    pub lost: bool,
    pub voter: bool,
    pub learner: bool,
    /// Holds nearly all of the control log, and was heard a moment ago: the new majority counts on those that come.
    pub caught_up: bool,
}

impl Candidate {
    fn sound(&self) -> bool {
        self.fit && !self.lost
    }
    /// May get a vote now.
    fn ready(&self) -> bool {
        self.learner && self.sound() && self.heard && self.caught_up
    }
    /// Could get a vote soon.
    fn coming(&self) -> bool {
        !self.voter && self.sound() && self.heard && !self.ready()
    }
    /// Better ones first: whoever has a vote keeps it as long as nothing speaks against it.
    fn rank(&self) -> u8 {
        match self {
            _ if self.voter && self.sound() => 0,
            _ if self.ready() => 1,
            _ if self.voter => 2,
            _ => 3,
        }
    }
}

/// From so many sites on the votes are spread over them: then the loss of one leaves a majority. Of two sites, one has the
/// majority whatever is done, and votes at both would only make every change of the map cross the distance.
const SPREAD_SITES: usize = 3;

/// So many of these, the first of them first; over the sites, where that helps. `able`: who comes before all others.
fn pick(fit: &[&Candidate], size: usize, able: impl Fn(&Candidate) -> bool) -> Vec<NodeId> {
    let sites: BTreeSet<usize> = fit.iter().map(|n| n.site).collect();
    let mut rest: Vec<&Candidate> = fit.to_vec();
    let mut picked: Vec<&Candidate> = Vec::new();
    while picked.len() < size && !rest.is_empty() {
        let beside = |n: &Candidate| match sites.len() >= SPREAD_SITES {
            true => picked.iter().filter(|other| other.site == n.site).count(),
            false => 0,
        };
        let class = |n: &Candidate| if able(n) { 0 } else { n.rank().max(1) };
        // The first among equals.
        let best = (0..rest.len()).min_by_key(|at| (class(rest[*at]), beside(rest[*at])));
        picked.extend(best.map(|at| rest.remove(at)));
    }
    let mut nodes: Vec<NodeId> = picked.iter().map(|n| n.node).collect();
    nodes.sort_unstable();
    nodes
}

/// Those that may take part, better ones first.
fn ranked(me: NodeId, nodes: &[Candidate]) -> Vec<&Candidate> {
    let mut fit: Vec<&Candidate> = nodes.iter().filter(|n| n.fit).collect();
    fit.sort_by_key(|n| (n.rank(), n.node != me, !n.heard, n.node));
    fit
}

/// The next step towards the wanted control group. Its voters change all at once, through a joint configuration, so that
/// their number is always odd: of two, neither could do without the other (bugs: SL-20).
pub(crate) fn next_step(me: NodeId, nodes: &[Candidate]) -> Option<Reconfigure> {
    let target = voters_next(me, nodes);
    let current: Vec<NodeId> = nodes.iter().filter(|n| n.voter).map(|n| n.node).collect();
    if !target.is_empty() && target != current {
        // Those who would govern must be able to agree: one may be silent though nobody has given it up yet.
        let heard = nodes.iter().filter(|n| n.heard && target.contains(&n.node)).count();
        if heard * 2 <= target.len() {
            return None;
        }
        let heir = nodes.iter().find(|n| n.voter && n.heard && n.caught_up && target.contains(&n.node));
        return match heir {
            Some(heir) if !target.contains(&me) => Some(Reconfigure::HandOver(heir.node)),
            _ => Some(Reconfigure::Voters(target)),
        };
    }
    if let Some(learner) = nodes.iter().find(|n| n.learner && !n.sound()) {
        return Some(Reconfigure::RemoveLearner(learner.node));
    }
    let fit = ranked(me, nodes);
    let wish = pick(&fit, voters_wanted(fit.len()), |n| n.rank() < 2 || n.coming());
    // One after the other: a snapshot for each.
    let on_its_way = nodes.iter().any(|n| n.learner && n.coming());
    let fresh = nodes.iter().find(|n| !n.learner && n.coming() && wish.contains(&n.node));
    fresh.filter(|_| !on_its_way).map(|fresh| Reconfigure::AddLearner(fresh.node))
}

/// Who shall have a vote as soon as possible, sorted; empty: wait for those that are coming.
fn voters_next(me: NodeId, nodes: &[Candidate]) -> Vec<NodeId> {
    let fit = ranked(me, nodes);
    let wanted = voters_wanted(fit.len());
    let known = fit.iter().filter(|n| n.rank() < 3).count();
    let before = nodes.iter().filter(|n| n.voter).count();
    let size = match wanted.min(known) {
        // Fewer than before only where nobody can come: then a silent node's empty place is better than one vote less.
        size if size < wanted && size < before => {
            if nodes.iter().any(Candidate::coming) {
                return Vec::new();
            }
            wanted
        }
        size if size % 2 == 0 => size.saturating_sub(1),
        size => size,
    };
    pick(&fit, size, |n| n.rank() < 2)
}

/// Out of a joint configuration: a leader that has no vote behind it makes room first, for it could not tell the others that
/// the change is complete.
fn settle(me: NodeId, voters: &[NodeId], nodes: &[Candidate]) -> Option<Reconfigure> {
    if voters.contains(&me) {
        return Some(Reconfigure::LeaveJoint);
    }
    let heir = nodes.iter().find(|n| n.heard && n.caught_up && voters.contains(&n.node));
    heir.map(|heir| Reconfigure::HandOver(heir.node))
}

impl Supervisor {
    /// For a group without an election whose leader is well.
    pub(super) fn tend_members(&mut self, now: Instant, map: &ClusterMap, view: &View) {
        if self.switchovers.get(&view.group).is_some_and(|known| !known.failed) {
            return;
        }
        let Some(leader) = view.leader.map(|leader| leader.replica.node) else { return };
        let active = |node: &NodeId| map.nodes.get(node).is_some_and(|n| n.state == NodeState::Active);
        let stays = |node: &NodeId| active(node) && map.is_at(*node, view.settings.site);
        let staying: Vec<NodeId> = view.members.iter().copied().filter(stays).collect();
        let wanted = view.settings.replicas as usize;
        let mut members = view.members.clone();
        if staying.len() < wanted {
            let taken: Vec<NodeId> = view.copies().collect();
            members.extend(map.place(wanted - staying.len(), view.settings.site, &taken, &self.advice()));
            // Copies that count come before those that are only read: one of these takes the place, and has nearly all already.
            let ready = view.read_replicas.iter().copied().filter(|node| stays(node));
            members.extend(
                ready.take(wanted.saturating_sub(staying.len() + members.len() - view.members.len())),
            );
            members.sort_unstable();
        }
        if members == view.members {
            let electable = |node: &NodeId| view.electable.iter().any(|replica| replica.node == *node);
            // A copy goes once those that replace it count; but where nothing is committed without one that is gone, nobody could
            // ever count.
            let replaced = staying.iter().all(|n| electable(n) || self.detector.suspects(*n));
            let alive = view.electable.iter().filter(|replica| !self.detector.suspects(replica.node)).count();
            let stuck = alive <= view.followers_needed();
            if staying.len() < view.members.len() && (replaced || stuck) && !staying.is_empty() {
                if !stays(&leader) {
                    self.relieve(now, map, view);
                }
                let needed = |node: &NodeId| stuck && !self.detector.suspects(*node);
                members.retain(|node| stays(node) || *node == leader || needed(node));
            } else if staying.len() > wanted {
                let spare = members.iter().copied().filter(|node| *node != leader);
                if let Some(spare) = spare.max_by_key(|n| (self.detector.suspects(*n), *n)) {
                    members.retain(|node| *node != spare);
                }
            }
        }
        let read_replicas = self.read_replicas(map, view, &members);
        if members != view.members || read_replicas != view.read_replicas {
            let (group, number) = (view.group, view.number);
            self.propose(now, view, Command::ChangeMembers { group, number, members, read_replicas });
        }
    }

    /// Who shall hold copies that are only read beside these members: whoever does stays, as long as it may.
    fn read_replicas(&self, map: &ClusterMap, view: &View, members: &[NodeId]) -> Vec<NodeId> {
        let wanted = view.settings.read_replicas as usize;
        let counts = |node: &NodeId| members.contains(node) || view.electable.iter().any(|r| r.node == *node);
        let site = view.settings.recovery_site;
        let active = |node: &NodeId| map.nodes.get(node).is_some_and(|n| n.state == NodeState::Active);
        let stays = |node: &NodeId| active(node) && map.is_at(*node, site);
        let mut nodes: Vec<NodeId> =
            view.read_replicas.iter().copied().filter(|n| stays(n) && !counts(n)).collect();
        if nodes.len() < wanted {
            let mut taken: Vec<NodeId> = view.copies().chain(members.iter().copied()).collect();
            taken.sort_unstable();
            nodes.extend(map.place(wanted - nodes.len(), site, &taken, &self.advice()));
        }
        // Too many: those that are not heard of go first.
        nodes.sort_by_key(|node| (self.detector.suspects(*node), *node));
        nodes.truncate(wanted);
        nodes.sort_unstable();
        nodes
    }

    pub(super) fn tend_nodes(&mut self, now: Instant, map: &ClusterMap, consensus: &Consensus) {
        if now.since(self.tended_at) < self.timings.retry {
            return;
        }
        let gone = map.nodes.values().find(|n| n.state == NodeState::Leaving && !map.depends_on(n.id));
        if let Some(gone) = gone {
            self.tended_at = now;
            self.detector.forget(gone.id);
            self.actions.push(Action::Propose(Command::ForgetNode { node: gone.id }));
            return;
        }
        if consensus.reconfiguring() {
            return;
        }
        let moment = self.timings.heartbeat * 3;
        let sites: BTreeSet<&str> = map.nodes.values().map(|node| node.site.as_str()).collect();
        let candidates: Vec<Candidate> = map
            .nodes
            .values()
            .map(|node| Candidate {
                node: node.id,
                site: sites.iter().position(|site| **site == node.site).unwrap_or(0),
                fit: node.usable(),
                heard: node.id == self.me || !self.detector.suspects(node.id),
                lost: node.id != self.me && self.detector.silent_for(now, node.id) >= REPLACE_AFTER,
                voter: map.is_voter(node.id),
                learner: map.learners.contains(&node.id),
                caught_up: consensus.caught_up(node.id)
                    && (node.id == self.me || self.detector.beat_within(now, node.id, moment)),
            })
            .collect();
        // A founder that has not started yet under the new map is not unfit for that.
        if candidates.iter().any(|c| c.voter && !c.fit && !is_leaving(map, c.node)) {
            return;
        }
        // Majorities of two configurations that follow each other meet, and a control lease counts on that: it has ended
        // before the next change, that out of a joint configuration too.
        let meets = now.since(self.reconfigured_at) >= self.timings.lease && !self.grantor.is_blind(map);
        if !meets {
            return;
        }
        let step = if map.outgoing.is_empty() {
            next_step(self.me, &candidates)
        } else {
            settle(self.me, &map.voters, &candidates)
        };
        if let Some(step) = step {
            self.tended_at = now;
            self.reconfigured_at = now;
            self.actions.push(Action::Reconfigure(step));
        }
    }
}

fn is_leaving(map: &ClusterMap, node: NodeId) -> bool {
    map.nodes.get(&node).is_some_and(|node| node.state == NodeState::Leaving)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(spec: &[(&str, u32)]) -> Vec<Candidate> {
        let candidate = |(kind, node): &(&str, u32)| Candidate {
            node: NodeId(*node),
            // Sites have letters: all others are at one.
            site: kind.chars().find(char::is_ascii_uppercase).map_or(0, |site| site as usize),
            fit: !kind.contains('-'),
            heard: !kind.contains(['x', '?']),
            lost: kind.contains('x'),
            voter: kind.contains('v'),
            learner: kind.contains('l'),
            caught_up: kind.contains('=') || kind.contains('v'),
        };
        spec.iter().map(candidate).collect()
    }

    #[test]
    // bugs: SL-20
    fn the_voters_of_the_control_group_stay_an_odd_number() {
        use Reconfigure::*;
        let me = NodeId(1);
        let add = |node| Some(AddLearner(NodeId(node)));
        let voters = |ids: &[u32]| Some(Voters(ids.iter().copied().map(NodeId).collect()));
        type Row<'a> = (&'a [(&'a str, u32)], Option<Reconfigure>);
        let table: &[Row<'_>] = &[
            (&[("v", 1), ("v", 2), ("v", 3)], None),
            (&[("v", 1), ("", 2)], None),
            (&[("v", 1), ("", 2), ("", 3)], add(2)),
            (&[("v", 1), ("l", 2), ("", 3)], None),
            (&[("v", 1), ("l=", 2), ("", 3)], add(3)),
            (&[("v", 1), ("l=", 2), ("l", 3)], None),
            (&[("v", 1), ("l=", 2), ("?", 3)], None),
            (&[("v", 1), ("l=", 2), ("l=", 3)], voters(&[1, 2, 3])),
            (&[("v", 1), ("lx", 2), ("l=", 3)], Some(RemoveLearner(NodeId(2)))),
            (&[("v", 1), ("v", 2), ("v-", 3)], voters(&[1])),
            (&[("v", 1), ("v", 2), ("v-", 3), ("", 4)], add(4)),
            (&[("v", 1), ("v", 2), ("v-", 3), ("l", 4)], None),
            (&[("v", 1), ("v", 2), ("v-", 3), ("l=", 4)], voters(&[1, 2, 4])),
            (&[("v-", 1), ("v", 2), ("v", 3), ("l=", 4)], Some(HandOver(NodeId(2)))),
            // The only voter leaves: the next one governs with it before it governs alone.
            (&[("v-", 1), ("", 2)], add(2)),
            (&[("v-", 1), ("l=", 2)], voters(&[2])),
            (&[("v", 1), ("v", 2), ("vx", 3)], None),
            (&[("v", 1), ("v", 2), ("vx", 3), ("", 4)], add(4)),
            (&[("v", 1), ("v", 2), ("vx", 3), ("l=", 4)], voters(&[1, 2, 4])),
            // Nobody can come in the place of the one that leaves: a silent node has it until somebody can.
            (&[("v", 1), ("v", 2), ("v-", 3), ("x", 4)], voters(&[1, 2, 4])),
            (&[("v", 1), ("v", 2), ("vx", 4), ("", 5)], add(5)),
            // A silent voter: without the one that leaves the other two could agree on nothing.
            (&[("v", 1), ("v-", 2), ("v?", 3), ("l", 4)], None),
            (&[("v", 1), ("v-", 2), ("v?", 3), ("x", 4)], None),
            (&[("v", 1), ("v-", 2), ("v?", 3), ("l=", 4)], voters(&[1, 3, 4])),
            (&[("v", 1), ("v", 2), ("v", 3), ("l=", 4), ("", 5), ("", 6), ("", 7)], add(5)),
            (
                &[("v", 1), ("v", 2), ("v", 3), ("l=", 4), ("l=", 5), ("", 6), ("", 7)],
                voters(&[1, 2, 3, 4, 5]),
            ),
            (&[("v", 1), ("v", 2), ("vx", 3), ("l=", 4), ("l", 5), ("", 6), ("", 7)], voters(&[1, 2, 4])),
            (&[("v", 1), ("v", 2), ("v", 3), ("v-", 4), ("v-", 5), ("?", 6)], voters(&[1, 2, 3])),
        ];
        for (spec, expected) in table {
            assert_eq!(next_step(me, &nodes(spec)), *expected, "{spec:?}");
        }
    }

    /// With a witness at a third site the loss of any site leaves a majority.
    #[test]
    fn votes_are_spread_over_three_sites() {
        use Reconfigure::*;
        let voters = |ids: &[u32]| Some(Voters(ids.iter().copied().map(NodeId).collect()));
        type Row<'a> = (&'a [(&'a str, u32)], Option<Reconfigure>);
        let table: &[Row<'_>] = &[
            // Five founders, of whom three shall vote.
            (&[("vA", 1), ("vA", 2), ("vB", 3), ("vB", 4), ("vC", 5)], voters(&[1, 3, 5])),
            (&[("vA", 1), ("A", 2), ("vB", 3), ("B", 4), ("vC", 5)], None),
            // The third site came later.
            (&[("vA", 1), ("vA", 2), ("vB", 3), ("C", 4)], Some(AddLearner(NodeId(4)))),
            (&[("vA", 1), ("vA", 2), ("vB", 3), ("lC", 4)], None),
            (&[("vA", 1), ("vA", 2), ("vB", 3), ("l=C", 4)], voters(&[1, 3, 4])),
            // One that is silent does not come, and one that was lost is replaced wherever somebody is.
            (&[("vA", 1), ("vA", 2), ("vB", 3), ("C?", 4)], None),
            (&[("vA", 1), ("vB", 2), ("vxC", 3), ("B", 4)], Some(AddLearner(NodeId(4)))),
            (&[("vA", 1), ("vB", 2), ("vxC", 3), ("l=B", 4)], voters(&[1, 2, 4])),
            // Of two sites one has the majority, whatever is done.
            (&[("vA", 1), ("vA", 2), ("vA", 3), ("B", 4), ("B", 5)], None),
            (
                &[("vA", 1), ("vA", 2), ("vA", 3), ("vB", 4), ("vB", 5), ("vC", 6), ("vC", 7)],
                voters(&[1, 2, 4, 5, 6]),
            ),
        ];
        for (spec, expected) in table {
            assert_eq!(next_step(NodeId(1), &nodes(spec)), *expected, "{spec:?}");
        }
    }

    #[test]
    fn a_leader_without_a_vote_in_the_new_configuration_makes_room_before_it_counts() {
        let both = nodes(&[("v", 1), ("v", 2), ("v-", 3)]);
        let new = [NodeId(1), NodeId(2)];
        assert_eq!(settle(NodeId(1), &new, &both), Some(Reconfigure::LeaveJoint));
        assert_eq!(settle(NodeId(3), &new, &both), Some(Reconfigure::HandOver(NodeId(1))));
        assert_eq!(settle(NodeId(3), &[NodeId(4)], &both), None);
    }
}
