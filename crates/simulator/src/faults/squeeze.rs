//! Faults that combine: blows to one leader and its followers within the length of a lease, and blows to whoever has just
//! been elected. Most guards of leases and elections matter only when two things go wrong within a few hundred ms.

use super::{Fault, Undo};
use crate::network::MS;
use crate::random::Random;
use crate::workload::{Command, command};
use crate::world::{Event, World};
use data::{GroupId, NodeId};
use node::Event as Said;
use protocol::single_leader::RoleName;

/// A blow that falls a little later.
pub enum Blow {
    /// The process ends and starts again after so long, ns.
    Crash(NodeId, u64),
    Pause(NodeId, u64),
    /// The next request is the last thing before a pause.
    PauseInTurn(NodeId, u64),
    Isolate(NodeId, u64),
    /// Two nodes lose each other, and notice.
    Part(NodeId, NodeId, u64),
    Switchover {
        at: NodeId,
        group: GroupId,
        target: NodeId,
    },
    /// What an operator wants, if the node still runs.
    Order {
        at: NodeId,
        commands: Vec<Command>,
    },
}

impl World {
    /// Several blows around the leader of one group.
    pub(super) fn squeeze(&mut self, random: &mut Random) {
        let leaders: Vec<(NodeId, GroupId, Vec<NodeId>)> = self.leaders();
        let at = random.below(leaders.len() as u64) as usize;
        let Some((leader, group, members)) = leaders.get(at).cloned() else { return };
        let length = random.between(150, 1_800) * MS;
        let others: Vec<NodeId> = self.hosts.keys().copied().filter(|id| *id != leader).collect();
        let mut cut = Vec::new();
        // The leader cannot reach one other node, maybe the one that governs, and all is well between everybody else.
        let alone = if random.chance(300) { random.pick(&others) } else { None };
        let others = match alone {
            Some(other) => {
                cut.extend([(leader, other), (other, leader)]);
                Vec::new()
            }
            None => others,
        };
        for other in &others {
            match random.below(6) {
                0..=2 => cut.extend([(leader, *other), (*other, leader)]),
                3 => cut.push(if random.chance(500) { (leader, *other) } else { (*other, leader) }),
                4 => {
                    let (from, to) = if random.chance(500) { (leader, *other) } else { (*other, leader) };
                    self.network.slow.insert((from, to), random.between(20, 600) * MS);
                    self.after(length, Event::Undo(Undo::Quicken(from, to)));
                }
                _ => {}
            }
            if random.chance(300) {
                let down = random.between(1, 60) * MS;
                self.after(random.between(0, 500) * MS, Event::Blow(Blow::Crash(*other, down)));
            }
        }
        let noticed = if random.chance(600) { random.between(1, 40) } else { random.between(40, 3_000) } * MS;
        self.cut_noticed(cut, length, noticed);
        let pause = random.between(50, 900) * MS;
        match random.below(5) {
            0 => self.after(random.between(0, 300) * MS, Event::Blow(Blow::Pause(leader, pause))),
            1 | 2 => self.after(random.between(0, 400) * MS, Event::Blow(Blow::PauseInTurn(leader, pause))),
            _ => {}
        }
        if random.chance(300)
            && let (Some(at), Some(target)) = (random.pick(&others), random.pick(&members))
        {
            let delay = random.between(0, 200) * MS;
            self.after(delay, Event::Blow(Blow::Switchover { at, group, target }));
        }
    }

    /// A node says something: some kinds of faults wait for that.
    pub(crate) fn react(&mut self, id: NodeId, said: &Said) {
        self.strike_newcomer(id, said);
        self.go_on_with_cascade(id, said);
        self.strike_latecomer(id, said);
        self.strike_gapped(id, said);
    }

    /// A node says that it was elected, or is asked to take part in an election: sometimes that is the moment when it fails.
    fn strike_newcomer(&mut self, id: NodeId, said: &Said) {
        let Said::Role { role, .. } = said else { return };
        let elected = match role {
            RoleName::LeaderElect => true,
            // It comes back at once: within the lease that it granted to the leader that is deposed.
            RoleName::Sealed => false,
            RoleName::Follower | RoleName::Leader | RoleName::Removed => return,
        };
        let kind = |active: &super::Active| active.fault == Fault::Newcomer;
        let Some(active) = self.mix.active.iter_mut().find(|active| kind(active)) else { return };
        let random = &mut active.random;
        let (strikes, length) = (random.chance(400), random.between(5, 1_500) * MS);
        let (delay, which) = (random.between(0, 6_000) * 1_000, random.below(3));
        if !strikes || self.healing || !self.strikes.falls(self.now, Fault::Newcomer) {
            return;
        }
        let blow = match which {
            _ if !elected => Blow::Crash(id, MS + length % (30 * MS)),
            0 => Blow::Crash(id, length),
            1 => Blow::Pause(id, length),
            _ => Blow::Isolate(id, length),
        };
        self.after(delay, Event::Blow(blow));
    }

    pub(crate) fn fall(&mut self, blow: Blow) {
        if self.healing {
            return;
        }
        match blow {
            Blow::Crash(id, length) => self.take_down(id, false, length),
            Blow::Pause(id, length) => self.pause(id, length),
            Blow::PauseInTurn(id, length) => {
                if let Some(host) = self.hosts.get_mut(&id) {
                    host.pause_in_turn = Some(length);
                }
            }
            Blow::Isolate(id, length) => {
                let others = self.hosts.keys().copied().filter(|other| *other != id);
                let links = others.flat_map(|other| [(id, other), (other, id)]).collect();
                self.cut_noticed(links, length, 20 * MS);
            }
            Blow::Part(a, b, length) => self.cut_noticed(vec![(a, b), (b, a)], length, 5 * MS),
            Blow::Switchover { at, group, target } => {
                if self.running().contains(&at) {
                    let words = ["KEYSPACE", "SWITCHOVER", &group.0.to_string(), &target.0.to_string()];
                    self.order(at, vec![command(&words)]);
                }
            }
            Blow::Order { at, commands } => {
                if self.running().contains(&at) {
                    self.order(at, commands);
                }
            }
        }
    }

    /// Who believes to lead what, and the members there.
    pub(super) fn leaders(&self) -> Vec<(NodeId, GroupId, Vec<NodeId>)> {
        let mut found = Vec::new();
        for host in self.hosts.values() {
            for state in host.node.iter().flat_map(|node| node.group_states()) {
                if state.replica.leads().is_some() {
                    let members = state.replica.view().map(|view| view.members.clone());
                    found.push((host.id, state.group, members.unwrap_or_default()));
                }
            }
        }
        found
    }
}
