//! A keyspace that shall have another number of shards gets it: groups come, slots move one run after the other, groups
//! go. Every step is a command of its own, computed from the map, so another control leader goes on where this one was.

use super::{Action, Supervisor};
use crate::command::Command;
use crate::map::ClusterMap;
use crate::shards::{ShardChange, Step, next_step};
use data::{GroupId, Instant, KeyspaceId, NodeId};

impl Supervisor {
    pub(super) fn tend_shards(&mut self, now: Instant, map: &ClusterMap) {
        if now.since(self.divided_at) < self.timings.retry {
            return;
        }
        let free = |keyspace: &&KeyspaceId| map.moves.values().all(|it| it.keyspace != **keyspace);
        let Some(keyspace) = map.dividing.iter().find(free).copied() else { return };
        let Some(shards) = map.keyspaces.get(&keyspace).map(|it| it.settings.shards) else { return };
        let groups: Vec<_> = map.groups_of(keyspace).map(|it| (it.view.group, &it.slots)).collect();
        let change = match next_step(&groups, shards) {
            Step::Add => ShardChange::AddGroup { keyspace },
            Step::Drop(group) if !self.is_known_to_all(map, group) => return,
            Step::Drop(group) => ShardChange::DropGroup { group },
            Step::Move { slots, to } => ShardChange::Begin { keyspace, slots, to },
            Step::Done => ShardChange::Divided { keyspace },
        };
        self.divided_at = now;
        self.actions.push(Action::Propose(Command::ChangeShards(change)));
    }

    /// Whether every node with a copy of a group that is to go knows how it stands. One that was away may hold entries that an
    /// election lost: it keeps them in its ledger before its copy goes, and for that it must hear of the election.
    // catalogue: C2
    fn is_known_to_all(&mut self, map: &ClusterMap, group: GroupId) -> bool {
        let Some(view) = map.view(group) else { return true };
        let since = match self.spare {
            Some((known, number, since)) if (known, number) == (group, view.number) => since,
            _ => map.version,
        };
        self.spare = Some((group, view.number, since));
        let knows = |node: NodeId| self.versions.get(&node).is_some_and(|version| *version >= since);
        view.copies().all(|node| node == self.me || knows(node))
    }
}
