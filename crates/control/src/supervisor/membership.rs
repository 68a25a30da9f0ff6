//! Sizes: every group at its number of replicas, the control group at three or five voters, leaving nodes emptied.

use super::{Action, Supervisor};
use crate::command::Command;
use crate::consensus::{Consensus, Reconfigure};
use crate::map::{ClusterMap, NodeState};
use core::time::Duration;
use data::view::View;
use data::{Instant, NodeId};

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
    /// Stays in the cluster and may take a part.
    pub fit: bool,
    pub heard: bool,
    /// Silent for so long that another should take its place.
    pub lost: bool,
    pub voter: bool,
    pub learner: bool,
    /// Holds nearly all of the control log, and was heard a moment ago: one that died unnoticed must not become the second of
    /// two voters, for then the first could never agree on anything again.
    pub caught_up: bool,
}

/// The next step towards the wanted control group, one member at a time (bugs: SL-20). First those that come, then those
/// that go, so that the group is never smaller than it has to be.
pub(crate) fn next_step(me: NodeId, nodes: &[Candidate]) -> Option<Reconfigure> {
    let wanted = voters_wanted(nodes.iter().filter(|n| n.fit).count());
    let sound = |n: &&Candidate| n.fit && !n.lost;
    let voters = nodes.iter().filter(|n| n.voter);
    let sound_voters = voters.clone().filter(sound).count();
    if sound_voters < wanted {
        let mut learners = nodes.iter().filter(|n| n.learner && n.heard).filter(sound);
        if let Some(ready) = learners.clone().find(|n| n.caught_up) {
            return Some(Reconfigure::Promote(ready.node));
        }
        let fresh = nodes.iter().find(|n| n.fit && n.heard && !n.voter && !n.learner);
        if let (None, Some(fresh)) = (learners.next(), fresh) {
            return Some(Reconfigure::AddLearner(fresh.node));
        }
    }
    let gone = |n: &&Candidate| !n.fit || (n.lost && sound_voters >= wanted);
    if let Some(learner) = nodes.iter().find(|n| n.learner && (!n.fit || n.lost)) {
        return Some(Reconfigure::Remove(learner.node));
    }
    let count = voters.clone().count();
    // Those who would stay must be able to agree: a voter may be silent though nobody has given it up yet.
    let agree_without = |leaver: NodeId| {
        let heard = voters.clone().filter(|n| n.node != leaver && n.heard).count();
        heard * 2 > count - 1
    };
    if count > 1 {
        let others = voters.clone().filter(gone).filter(|n| n.node != me);
        let next = others.clone().filter(|n| agree_without(n.node)).max_by_key(|n| !n.heard);
        if let Some(next) = next {
            return Some(Reconfigure::Remove(next.node));
        }
        if others.count() > 0 {
            // A spare one that goes first would leave the rest with a voter that is as good as gone.
            return None;
        }
        if voters.clone().filter(gone).any(|n| n.node == me) {
            let heir = voters.clone().find(|n| n.node != me && n.fit && n.heard && n.caught_up);
            return heir.map(|heir| Reconfigure::HandOver(heir.node));
        }
        if count > wanted {
            let spares = voters.clone().filter(|n| n.node != me && agree_without(n.node));
            let spare = spares.max_by_key(|n| (!n.heard, n.node));
            return spare.map(|spare| Reconfigure::Remove(spare.node));
        }
    }
    None
}

impl Supervisor {
    /// For a group without an election whose leader is well.
    pub(super) fn tend_members(&mut self, now: Instant, map: &ClusterMap, view: &View) {
        if self.switchovers.get(&view.group).is_some_and(|known| !known.failed) {
            return;
        }
        let Some(leader) = view.leader.map(|leader| leader.replica.node) else { return };
        let stays = |node: &NodeId| map.nodes.get(node).is_some_and(|n| n.state == NodeState::Active);
        let staying: Vec<NodeId> = view.members.iter().copied().filter(stays).collect();
        let wanted = view.settings.replicas as usize;
        let mut members = view.members.clone();
        if staying.len() < wanted {
            members.extend(map.place(wanted - staying.len(), &view.members, &self.advice()));
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
        if members != view.members {
            let command = Command::ChangeMembers { group: view.group, number: view.number, members };
            self.propose(now, view, command);
        }
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
        let candidates: Vec<Candidate> = map
            .nodes
            .values()
            .map(|node| Candidate {
                node: node.id,
                fit: node.usable(),
                heard: node.id == self.me || !self.detector.suspects(node.id),
                lost: node.id != self.me && self.detector.silent_for(now, node.id) >= REPLACE_AFTER,
                voter: map.voters.contains(&node.id),
                learner: map.learners.contains(&node.id),
                caught_up: consensus.caught_up(node.id)
                    && (node.id == self.me || self.detector.beat_within(now, node.id, moment)),
            })
            .collect();
        // A founder that has not started yet under the new map is not unfit for that.
        if candidates.iter().any(|c| c.voter && !c.fit && !is_leaving(map, c.node)) {
            return;
        }
        // Majorities of two groups that are one change apart meet, and a control lease counts on that: it has ended before
        // the next change.
        let meets =
            now.since(self.reconfigured_at) >= self.timings.lease && !self.grantor.is_blind(&map.voters);
        if !meets {
            return;
        }
        if let Some(step) = next_step(self.me, &candidates) {
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
    fn the_control_group_grows_and_shrinks_one_step_at_a_time() {
        use Reconfigure::*;
        let me = NodeId(1);
        type Row<'a> = (&'a [(&'a str, u32)], Option<Reconfigure>);
        let table: &[Row<'_>] = &[
            (&[("v", 1), ("v", 2), ("v", 3)], None),
            (&[("v", 1), ("", 2)], None),
            (&[("v", 1), ("", 2), ("", 3)], Some(AddLearner(NodeId(2)))),
            (&[("v", 1), ("l", 2), ("", 3)], None),
            (&[("v", 1), ("l=", 2), ("", 3)], Some(Promote(NodeId(2)))),
            (&[("v", 1), ("v", 2)], Some(Remove(NodeId(2)))),
            (&[("v", 1), ("v", 2), ("v-", 3), ("", 4)], Some(AddLearner(NodeId(4)))),
            (&[("v", 1), ("v", 2), ("v-", 3), ("v", 4)], Some(Remove(NodeId(3)))),
            (&[("v-", 1), ("v", 2), ("v", 3), ("v", 4)], Some(HandOver(NodeId(2)))),
            (&[("v", 1), ("v", 2), ("vx", 3)], None),
            (&[("v", 1), ("v", 2), ("vx", 3), ("", 4)], Some(AddLearner(NodeId(4)))),
            (&[("v", 1), ("v", 2), ("vx", 3), ("v", 4)], Some(Remove(NodeId(3)))),
            (&[("v", 1), ("v-", 2), ("v?", 4)], None),
            // A silent voter: without the one that leaves the other two could agree on nothing.
            (&[("v", 1), ("v-", 2), ("v?", 3), ("l", 4)], None),
            (&[("v", 1), ("v-", 2), ("v?", 3), ("l=", 4)], Some(Promote(NodeId(4)))),
            (&[("v", 1), ("v-", 2), ("v?", 3), ("v", 4)], Some(Remove(NodeId(2)))),
        ];
        for (spec, expected) in table {
            assert_eq!(next_step(me, &nodes(spec)), *expected, "{spec:?}");
        }
    }
}
