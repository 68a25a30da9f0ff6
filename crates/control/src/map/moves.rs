//! Commands that say which group owns which slots: see [`crate::shards`].

use super::{Advice, ClusterMap};
use crate::command::{Applied, Refusal};
use crate::event::Change;
use crate::shards::{Move, Phase, ShardChange};
use data::plant::{self, Bug};
use data::{GroupId, KeyspaceId, SlotRange, SlotSet};

impl ClusterMap {
    /// The keyspace of a group, of one that is gone too if the keyspace is there.
    pub fn keyspace_of(&self, group: GroupId) -> Option<KeyspaceId> {
        self.view(group).map(|view| view.keyspace).or(self.dropped.get(&group).copied())
    }

    /// The move that a group takes part in; there is at most one.
    pub fn move_of(&self, group: GroupId) -> Option<&Move> {
        self.moves.values().find(|it| it.concerns(group))
    }

    pub(super) fn change_shards(
        &mut self,
        change: &ShardChange,
        advice: &Advice,
    ) -> Result<Applied, Refusal> {
        match *change {
            ShardChange::AddGroup { keyspace } => {
                let settings = self.keyspaces.get(&keyspace).ok_or(Refusal::UnknownKeyspace)?.settings;
                if self.leaderless.contains_key(&keyspace) || self.multi_leader.contains_key(&keyspace) {
                    return Err(Refusal::UnknownGroup);
                }
                if self.groups_of(keyspace).count() as u32 >= settings.shards {
                    return Err(Refusal::Invalid("the keyspace has as many groups as it shall have"));
                }
                let view = self.first_view(keyspace, settings, advice)?;
                self.insert_group(view, SlotSet::default());
            }
            ShardChange::DropGroup { group } => {
                let known = self.groups.get(&group).ok_or(Refusal::UnknownGroup)?;
                let keyspace = known.view.keyspace;
                let wanted = self.keyspaces.get(&keyspace).map_or(0, |it| it.settings.shards);
                let spare = self.groups_of(keyspace).count() as u32 > wanted;
                if !spare || !known.slots.is_empty() || self.move_of(group).is_some() {
                    return Err(Refusal::InUse);
                }
                self.groups.remove(&group);
                if self.level >= 2 {
                    self.dropped.insert(group, keyspace);
                }
                self.remember(Change::GroupDropped { group, keyspace });
            }
            ShardChange::Begin { keyspace, slots, to } => return self.begin_move(keyspace, slots, to),
            ShardChange::CutOver { id, attempt, position } => {
                let it = *self.moves.get(&id).ok_or(Refusal::UnknownMove)?;
                let stale = it.attempt != attempt && !plant::is(Bug::CutsOverStale);
                // An election may have counted copies as they were before they held what moves, and drops it then.
                let is_led = self.level < 2 || self.view(it.to).is_some_and(|to| to.election.is_none());
                if !it.is_copying() || stale || !is_led {
                    return Err(Refusal::Outdated);
                }
                let version = if self.level < 2 { 0 } else { self.version };
                if let Some(from) = self.groups.get_mut(&it.from) {
                    from.slots.remove(it.slots);
                }
                if let Some(to) = self.groups.get_mut(&it.to) {
                    to.slots.add(it.slots);
                    (to.complete_from, to.completed_at) = (position, version);
                }
                self.moved_at = self.version;
                self.clear(id, it.from);
                self.remember(Change::SlotsMoved { from: it.from, to: it.to });
            }
            ShardChange::Retry { id, attempt } => {
                let it = self.moves.get_mut(&id).ok_or(Refusal::UnknownMove)?;
                if it.attempt != attempt || !it.is_copying() {
                    return Err(Refusal::Outdated);
                }
                it.attempt += 1;
            }
            ShardChange::Cancel { id } => {
                let it = *self.moves.get(&id).ok_or(Refusal::UnknownMove)?;
                if !it.is_copying() {
                    return Err(Refusal::InUse);
                }
                self.clear(id, it.to);
            }
            ShardChange::End { id } => {
                let it = self.moves.get(&id).ok_or(Refusal::UnknownMove)?;
                if it.is_copying() {
                    return Err(Refusal::InUse);
                }
                self.moves.remove(&id);
            }
            ShardChange::Divided { keyspace } => {
                self.dividing.remove(&keyspace);
            }
        }
        Ok(Applied::Done)
    }

    fn begin_move(
        &mut self,
        keyspace: KeyspaceId,
        slots: SlotRange,
        to: GroupId,
    ) -> Result<Applied, Refusal> {
        if self.groups.get(&to).is_none_or(|group| group.view.keyspace != keyspace) {
            return Err(Refusal::UnknownGroup);
        }
        if self.multi_leader.contains_key(&keyspace) {
            return Err(Refusal::Invalid(super::SHARDS_STAY));
        }
        let from = self.groups_of(keyspace).find(|group| group.slots.holds(slots));
        let from = from.map(|group| group.view.group).filter(|from| *from != to);
        let from = from.ok_or(Refusal::Invalid("the slots must all be in one other shard"))?;
        if self.move_of(from).is_some() || self.move_of(to).is_some() {
            return Err(Refusal::Invalid(
                "a shard takes part in one move at a time: wait for the other to end",
            ));
        }
        let id = self.next_move;
        self.next_move += 1;
        self.moves.insert(id, Move { id, keyspace, slots, from, to, attempt: 1, phase: Phase::Copying });
        self.remember(Change::MoveBegun { from, to });
        Ok(Applied::Done)
    }

    fn clear(&mut self, id: u64, group: GroupId) {
        if let Some(it) = self.moves.get_mut(&id) {
            it.phase = Phase::Clearing(group);
        }
    }

    /// A leader of the group was elected: what was copied from or to its predecessor does not count.
    pub(super) fn restart_moves(&mut self, group: GroupId) {
        for it in self.moves.values_mut().filter(|it| it.is_copying() && it.concerns(group)) {
            it.attempt += 1;
        }
    }

    /// A keyspace is gone, and all that was under way in it.
    pub(super) fn forget_moves(&mut self, keyspace: KeyspaceId) {
        self.moves.retain(|_, it| it.keyspace != keyspace);
        self.dropped.retain(|_, of| *of != keyspace);
        self.dividing.remove(&keyspace);
    }
}
