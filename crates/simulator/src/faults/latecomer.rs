//! Blows around a change of the electable set: followers lose their leader for so long that they leave it, and when one
//! has caught up and its leader proposes to take it in, it fails again or the leader does not hear what was decided.

use super::{Blow, Fault, Undo};
use crate::network::MS;
use crate::random::Random;
use crate::world::{Event, World};
use data::{GroupId, NodeId};
use node::Event as Said;
use protocol::single_leader::Report;

impl World {
    /// A follower of some leader falls behind.
    pub(super) fn lose_follower(&mut self, random: &mut Random) {
        let mut leaders = self.leaders();
        // Under the other rules nobody leaves the set by being late.
        let shrinks = |leader: NodeId, group: GroupId| {
            let node = self.hosts.get(&leader).and_then(|host| host.node.as_ref());
            let view = node.and_then(|node| node.map().view(group));
            view.is_some_and(|view| view.rule.drops_laggards())
        };
        if random.chance(700) && leaders.iter().any(|(id, group, _)| shrinks(*id, *group)) {
            leaders.retain(|(id, group, _)| shrinks(*id, *group));
        }
        let at = random.below(leaders.len() as u64) as usize;
        let Some((leader, _, mut members)) = leaders.get(at).cloned() else { return };
        members.retain(|id| *id != leader);
        let Some(follower) = random.pick(&members) else { return };
        // A control leader that lost both ways would hold an election.
        let governs = self.control_leader_for(leader) == Some(follower);
        if random.chance(600) && !governs {
            let (length, noticed) = (random.between(150, 900) * MS, random.between(1, 40) * MS);
            self.cut_noticed(vec![(leader, follower), (follower, leader)], length, noticed);
        } else {
            // It takes what it is sent, and nobody hears so.
            let length = random.between(650, 1_500) * MS;
            self.cut_noticed(vec![(follower, leader)], length, length);
        }
    }

    /// A leader proposes to take a follower in.
    pub(super) fn strike_latecomer(&mut self, id: NodeId, said: &Said) {
        let Said::Replica { report: Report::FollowerInSync(follower), .. } = said else { return };
        let (follower, governor) = (*follower, self.control_leader_for(id));
        let Some(active) = self.mix.active.iter_mut().find(|it| it.fault == Fault::Latecomer) else { return };
        let random = &mut active.random;
        let (strikes, deaf, cut) = (random.chance(600), random.chance(800), random.chance(500));
        let (length, slow) = (random.between(400, 2_000) * MS, random.between(250, 900) * MS);
        let (delay, which) = (random.below(300) * MS, random.below(3));
        if !strikes || self.healing {
            return;
        }
        if let Some(governor) = governor.filter(|_| deaf) {
            // The control leader's answers come late or not at all; what the leader says arrives.
            if cut || governor == follower {
                self.cut_noticed(vec![(governor, id)], length, length);
            } else {
                self.network.slow.insert((governor, id), slow);
                self.after(length, Event::Undo(Undo::Quicken(governor, id)));
            }
        }
        let blow = match which {
            0 => Blow::Crash(follower, length),
            _ => Blow::Part(id, follower, length),
        };
        self.after(delay, Event::Blow(blow));
    }
}
