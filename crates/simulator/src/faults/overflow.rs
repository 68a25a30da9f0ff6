//! Blows around copies that go on without entries (`COMMIT best-effort`): a follower is cut off until more waits for it than the
//! backlog holds; and when its leader has told it to go on without, the rule changes to one that promises every entry, that very copy
//! is promoted, or it alone is left to lead.
//!
//! Elections prefer a copy that lacks less, and a change of the rule is rare: without these blows a copy with gaps is hardly ever
//! where it matters.
//!
//! bugs: TC-81, TC-82

use super::{Blow, Fault};
use crate::network::MS;
use crate::random::Random;
use crate::workload::command;
use crate::world::{Event, World};
use data::keyspace::CommitRule;
use data::{GroupId, NodeId};
use node::Event as Said;
use protocol::single_leader::Report;

impl World {
    /// A follower of a group whose copies may go on without entries loses its leader for so long that they do.
    pub(super) fn overflow(&mut self, random: &mut Random) {
        let mut leaders = self.leaders();
        leaders.retain(|(leader, group, _)| self.goes_on_without(*leader, *group));
        let Some(at) = leaders.len().checked_sub(1).map(|most| random.between(0, most as u64) as usize)
        else {
            return;
        };
        let (leader, _, mut members) = leaders.swap_remove(at);
        members.retain(|id| *id != leader);
        let Some(follower) = random.pick(&members) else { return };
        let (length, noticed) = (random.between(300, 2_500) * MS, random.between(1, 3_000) * MS);
        let links = match random.below(3) {
            // What it is sent arrives, and nobody hears so: the leader counts it as under way.
            0 => vec![(follower, leader)],
            1 => vec![(leader, follower)],
            _ => vec![(leader, follower), (follower, leader)],
        };
        self.cut_noticed(links, length, noticed);
    }

    fn goes_on_without(&self, leader: NodeId, group: GroupId) -> bool {
        let node = self.hosts.get(&leader).and_then(|host| host.node.as_ref());
        let view = node.and_then(|node| node.map().view(group));
        view.is_some_and(|view| view.rule == CommitRule::BestEffort)
    }

    /// A leader says that it told a follower to go on without entries: sometimes that is the moment when it counts.
    pub(super) fn strike_gapped(&mut self, id: NodeId, said: &Said) {
        let Said::Replica { group, report: Report::Skipped { node: gapped, .. } } = said else { return };
        let (group, gapped) = (*group, *gapped);
        let Some(active) = self.mix.active.iter_mut().find(|it| it.fault == Fault::Overflow) else { return };
        let random = &mut active.random;
        let (strikes, which) = (random.chance(200), random.below(4));
        let (delay, back) = (random.between(0, 300) * MS, random.between(1_500, 6_000) * MS);
        let (length, rule) = (random.between(600, 4_000) * MS, random.below(3));
        if !strikes || self.healing || !self.strikes.falls(self.now, Fault::Overflow) {
            return;
        }
        match which {
            0 | 1 => {
                let rule = ["majority", "async", "in-sync-set"][rule as usize];
                let name = self.hosts.get(&id).and_then(|host| {
                    let map = host.node.as_ref()?.map();
                    map.keyspaces.get(&map.view(group)?.keyspace).map(|keyspace| keyspace.name.clone())
                });
                let Some(name) = name else { return };
                let alter = |rule: &str| vec![command(&["KEYSPACE", "ALTER", &name, "COMMIT", rule])];
                self.after(delay, Event::Blow(Blow::Order { at: id, commands: alter(rule) }));
                self.after(delay + back, Event::Blow(Blow::Order { at: id, commands: alter("best-effort") }));
            }
            2 | 3 if which == 2 || self.hosts.len() <= 3 => {
                // The promoted copy is the only one that counts for a while: not on a disk that may be harmed.
                if self.has_harm() {
                    return;
                }
                let words =
                    ["KEYSPACE", "PROMOTE", &group.0.to_string(), &gapped.0.to_string(), "ACCEPT-LOSS"];
                self.after(delay, Event::Blow(Blow::Order { at: id, commands: vec![command(&words)] }));
            }
            _ => {
                // Everybody else who holds the group is gone for a while, and enough nodes stay to elect.
                let node = self.hosts.get(&id).and_then(|host| host.node.as_ref());
                let view = node.and_then(|node| node.map().view(group));
                let others: Vec<NodeId> = view.into_iter().flat_map(|view| view.members.clone()).collect();
                for other in others.into_iter().filter(|other| *other != gapped) {
                    match other == id {
                        true => self.after(delay, Event::Blow(Blow::Crash(other, length))),
                        false => self.after(delay, Event::Blow(Blow::Pause(other, length))),
                    }
                }
            }
        }
    }
}
