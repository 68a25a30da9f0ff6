//! No slot is served by two groups at once.
//!
//! Source: `control::shards` and `node::moving`; Redis Cluster's slot migration, where it can be. catalogue: H4. bugs: X-01
//!
//! Looked at are leaders of the newest epochs that anybody knows: a deposed one that has not heard of it serves nobody, which
//! other properties judge.

use super::Violation;
use crate::host::Host;
use data::{Epoch, GroupId, NodeId};
use std::collections::{BTreeMap, BTreeSet};

pub const NAME: &str = "a slot has one owner";

#[derive(Default)]
pub struct OneOwner {
    newest: BTreeMap<GroupId, Epoch>,
    /// Moves that were cut over: for the statistics of a run.
    pub moved: BTreeSet<u64>,
}

impl OneOwner {
    /// After a turn of `id`.
    pub fn check(&mut self, hosts: &BTreeMap<NodeId, Host>, id: NodeId) -> Option<Violation> {
        let node = hosts.get(&id)?.node.as_ref()?;
        let map = node.map();
        for view in map.views() {
            let newest = self.newest.entry(view.group).or_default();
            *newest = view.epoch.max(*newest);
        }
        if map.moved_at > 0 {
            self.moved.insert(map.moved_at);
        }
        if map.moves.is_empty() && map.moved_at == 0 {
            return None;
        }
        let leads =
            |epoch: Option<Epoch>, group| epoch.is_some() && epoch == self.newest.get(&group).copied();
        // Each site of a multi-leader keyspace owns all slots, and they stay where they are.
        let owners = node.group_states().filter(|state| state.site.is_none());
        for state in owners.filter(|state| leads(state.replica.leads(), state.group)) {
            let Some(mine) = node.serves(state.group) else { continue };
            for other in hosts.values().filter_map(|host| host.node.as_ref()) {
                let its = other.group_states().filter(|it| {
                    it.keyspace.id == state.keyspace.id
                        && it.group != state.group
                        && leads(it.replica.leads(), it.group)
                });
                for it in its {
                    let Some(theirs) = other.serves(it.group).filter(|theirs| theirs.meets(&mine)) else {
                        continue;
                    };
                    let text = format!(
                        "{id} serves {} of {} and {} serves {} of {}",
                        mine.text(),
                        state.group,
                        other.config().node,
                        theirs.text(),
                        it.group
                    );
                    return Some(Violation { property: NAME, text });
                }
            }
        }
        None
    }
}
