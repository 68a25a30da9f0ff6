//! Failures that follow from one another: a leader loses its links one by one, and nobody is told; whoever is asked to
//! help to replace it restarts at once, and is lost to it too.
//!
//! The leader goes on for as long as its leases last, so what the others promised it is all that keeps them apart: such a
//! promise must outlive the process that gave it.

use super::{Blow, Fault, Undo};
use crate::network::MS;
use crate::random::Random;
use crate::world::{Event, World};
use data::NodeId;
use node::Event as Said;
use protocol::single_leader::RoleName;
use std::collections::BTreeSet;

pub struct Cascade {
    leader: NodeId,
    until: u64,
    /// Who was asked to seal meanwhile: the first time counts.
    asked: BTreeSet<NodeId>,
}

impl World {
    /// A leader loses its first link: most often that to the control leader, who then holds an election.
    pub(super) fn cascade(&mut self, random: &mut Random) {
        let mut leaders: Vec<NodeId> = self.leaders().into_iter().map(|(id, ..)| id).collect();
        // Whoever has no lease has to ask before it answers: it can only be slow, never wrong.
        leaders.retain(|id| self.answers_alone(*id));
        if random.chance(800) {
            leaders.retain(|id| self.control_leader_for(*id).is_some());
        }
        let Some(leader) = random.pick(&leaders) else { return };
        let others: Vec<NodeId> = self.hosts.keys().copied().filter(|id| *id != leader).collect();
        let (any, governor) = (random.pick(&others), self.control_leader_for(leader));
        let Some(first) = governor.filter(|_| random.chance(800)).or(any) else { return };
        // Long enough to be suspected; an outage of two seconds ends the trust in clocks, and with it every lease.
        let length = random.between(450, 1_200) * MS;
        let both = random.chance(800);
        let links = [(leader, first)].into_iter().chain(both.then_some((first, leader)));
        self.cut_noticed(links.collect(), length, length);
        if random.chance(400) {
            // What the others still promise comes late.
            let late = random.between(60, 240) * MS;
            for other in others.into_iter().filter(|other| *other != first) {
                self.network.slow.insert((other, leader), late);
                self.after(length, Event::Undo(Undo::Quicken(other, leader)));
            }
        }
        self.cascade = Some(Cascade { leader, until: self.now + length, asked: BTreeSet::new() });
    }

    /// Whether the node leads a group and has answered reads of it under a lease that still runs.
    fn answers_alone(&self, id: NodeId) -> bool {
        let Some(host) = self.hosts.get(&id) else { return false };
        let shown = host.clock.instant(self.now);
        let mut states = host.node.iter().flat_map(|node| node.group_states());
        states.any(|state| state.replica.leads().is_some() && shown < state.read_until)
    }

    /// The control leader as this node has it, when it is another one.
    pub(super) fn control_leader_for(&self, id: NodeId) -> Option<NodeId> {
        let node = self.hosts.get(&id).and_then(|host| host.node.as_ref())?;
        node.control_leader().filter(|governor| *governor != id)
    }

    /// A node is asked to seal while a cascade is under way: it may restart, and the leader may not reach it any more.
    pub(super) fn go_on_with_cascade(&mut self, id: NodeId, said: &Said) {
        let Said::Role { role: RoleName::Sealed, .. } = said else { return };
        let now = self.now;
        let Some(cascade) = self.cascade.as_mut().filter(|it| now < it.until && it.leader != id) else {
            return;
        };
        if self.healing || !cascade.asked.insert(id) {
            return;
        }
        let (leader, left) = (cascade.leader, cascade.until - now);
        // Without the control leader there is no election to disturb.
        let governs = self.hosts.get(&id).and_then(|host| host.node.as_ref()?.control_leader()) == Some(id);
        let Some(active) = self.mix.active.iter_mut().find(|it| it.fault == Fault::Cascade) else { return };
        let random = &mut active.random;
        let strikes = random.chance(if governs { 150 } else { 800 });
        let (delay, down) = (random.below(4_000) * 1_000, random.between(1, 20) * MS);
        let parts = random.chance(800);
        if strikes {
            self.after(delay, Event::Blow(Blow::Crash(id, down)));
        }
        if strikes && parts {
            self.cut_noticed(vec![(leader, id), (id, leader)], left, left);
        }
    }
}
