//! Memory that fails: a bit of a follower's table changes behind the back of its log.
//!
//! It strikes the numbered keyspace, of which clients judge nothing they read: until an audit has come round, a damaged value can be
//! read, and no check could help that. What the run asks for is that it is noticed and mended: see [`crate::invariants::audits`].

use super::Fault;
use crate::random::Random;
use crate::world::World;
use data::{GroupId, KeyspaceId, NodeId};
use protocol::single_leader::RoleName;

/// With fewer copies nobody can tell which one is damaged.
const MEMBERS_MIN: usize = 3;

impl World {
    pub(super) fn flip_table(&mut self, random: &mut Random) {
        // Nodes of an older program compare nothing.
        if self.mix.has(Fault::Upgrade) {
            return;
        }
        let mut places: Vec<(NodeId, GroupId)> = Vec::new();
        for host in self.hosts.values() {
            for state in host.node.iter().flat_map(node::Node::group_states) {
                let enough = state.replica.view().is_some_and(|view| view.members.len() >= MEMBERS_MIN);
                let follows = state.replica.role() == RoleName::Follower && state.replica.is_showable();
                // One at a time: two damaged copies could outvote the third.
                let first = !self.invariants.audits.is_harmed(state.group);
                if state.keyspace.id == KeyspaceId(0) && enough && follows && first {
                    places.push((host.id, state.group));
                }
            }
        }
        let Some((id, group)) = random.pick(&places) else { return };
        let Some(node) = self.hosts.get_mut(&id).and_then(|host| host.node.as_mut()) else { return };
        // Many keys are no strings.
        if (0..8).any(|_| node.damage_table(group, random.draw())) {
            self.trace.note(self.now, || format!("{id} has a flipped bit in its table of {group}"));
            self.invariants.audits.flipped(id, group);
        }
    }
}
