//! A keyspace that shall have another number of shards gets it: groups come, slots move one run after the other, groups
//! go. Every step is a command of its own, computed from the map, so another control leader goes on where this one was.

use super::{Action, Supervisor};
use crate::command::Command;
use crate::map::ClusterMap;
use crate::shards::{ShardChange, Step, next_step};
use data::{Instant, KeyspaceId};

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
            Step::Drop(group) => ShardChange::DropGroup { group },
            Step::Move { slots, to } => ShardChange::Begin { keyspace, slots, to },
            Step::Done => ShardChange::Divided { keyspace },
        };
        self.divided_at = now;
        self.actions.push(Action::Propose(Command::ChangeShards(change)));
    }
}
