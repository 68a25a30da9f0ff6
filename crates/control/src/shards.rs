//! Slots that go from one group of a keyspace to another, as the control plane records them.
//!
//! A **move** is a job: a run of slots, the group that has them, the group that gets them. It is recorded when it begins, and
//! nothing changes for anybody; the two leaders then copy (`crates/node/src/moving/mod.rs`). The slots change their owner by one
//! command, [`ShardChange::CutOver`]. Then the copy that is left over is deleted, and the move is gone.
//!
//! | command | by | refused unless |
//! |---|---|---|
//! | begin | an operator, or the control leader that divides a keyspace anew | one group owns the run, and neither group takes part in another move |
//! | cut over | the leader of the group that gets them | the move is being copied, and the attempt is the present one |
//! | retry | the leader of the group that has them, which cannot go on | the same as for a cut-over: the next attempt begins |
//! | cancel | an operator | the move is being copied |
//! | end | the leader of the group that had something to delete | nothing is copied any more |
//!
//! *Invariant:* every slot of a keyspace in use is owned by exactly one group, in every version of the map.
//!
//! **Attempts fence.** An attempt counts for one leader process at either end: an election of either group that is won begins the
//! next attempt, in the same command. What a deposed leader made of an older attempt is refused by its number, so a leader
//! that begins anew with a copy knows that nobody can cut over behind its back.
// catalogue: H4
// bugs: X-01

use data::codec::{DecodeError, Reader, Writer};
use data::slot::SLOTS;
use data::{GroupId, KeyspaceId, Position, SlotRange, SlotSet};

/// Where a move stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// The slots are where they were, and are being copied.
    Copying,
    /// It is decided, and this group deletes the copy that is left over.
    Clearing(GroupId),
}

/// Slots on their way from one group to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Move {
    /// Never used again.
    pub id: u64,
    pub keyspace: KeyspaceId,
    pub slots: SlotRange,
    pub from: GroupId,
    pub to: GroupId,
    /// Grows with every election that one of the two groups holds meanwhile.
    pub attempt: u32,
    pub phase: Phase,
}

impl Move {
    pub fn is_copying(&self) -> bool {
        self.phase == Phase::Copying
    }
    pub fn concerns(&self, group: GroupId) -> bool {
        self.from == group || self.to == group
    }
    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        w.u64(self.id);
        self.keyspace.encode(w);
        self.slots.encode(w);
        self.from.encode(w);
        self.to.encode(w);
        w.u32(self.attempt);
        match self.phase {
            Phase::Copying => w.u8(1),
            Phase::Clearing(group) => {
                w.u8(2);
                group.encode(w);
            }
        }
    }
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Move, DecodeError> {
        Ok(Move {
            id: r.u64()?,
            keyspace: KeyspaceId::decode(r)?,
            slots: SlotRange::decode(r)?,
            from: GroupId::decode(r)?,
            to: GroupId::decode(r)?,
            attempt: r.u32()?,
            phase: match r.u8()? {
                1 => Phase::Copying,
                2 => Phase::Clearing(GroupId::decode(r)?),
                _ => return Err(DecodeError::Invalid("phase of a move")),
            },
        })
    }
}

/// Changes of who owns which slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShardChange {
    /// A group without slots, as long as there are fewer groups than the keyspace shall have.
    AddGroup {
        keyspace: KeyspaceId,
    },
    /// A group without slots goes, if there are more than the keyspace shall have.
    DropGroup {
        group: GroupId,
    },
    Begin {
        keyspace: KeyspaceId,
        slots: SlotRange,
        to: GroupId,
    },
    /// `position`: where the import ends in the log of the group that gets the slots.
    CutOver {
        id: u64,
        attempt: u32,
        position: Position,
    },
    Retry {
        id: u64,
        attempt: u32,
    },
    Cancel {
        id: u64,
    },
    End {
        id: u64,
    },
    /// The slots of a keyspace lie as they shall.
    Divided {
        keyspace: KeyspaceId,
    },
}

impl ShardChange {
    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        match self {
            ShardChange::AddGroup { keyspace } => {
                w.u8(1);
                keyspace.encode(w);
            }
            ShardChange::DropGroup { group } => {
                w.u8(2);
                group.encode(w);
            }
            ShardChange::Begin { keyspace, slots, to } => {
                w.u8(3);
                keyspace.encode(w);
                slots.encode(w);
                to.encode(w);
            }
            ShardChange::CutOver { id, attempt, position } => {
                w.u8(4);
                w.u64(*id);
                w.u32(*attempt);
                position.encode(w);
            }
            ShardChange::Cancel { id } => {
                w.u8(5);
                w.u64(*id);
            }
            ShardChange::End { id } => {
                w.u8(6);
                w.u64(*id);
            }
            ShardChange::Divided { keyspace } => {
                w.u8(7);
                keyspace.encode(w);
            }
            ShardChange::Retry { id, attempt } => {
                w.u8(8);
                w.u64(*id);
                w.u32(*attempt);
            }
        }
    }
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<ShardChange, DecodeError> {
        Ok(match r.u8()? {
            1 => ShardChange::AddGroup { keyspace: KeyspaceId::decode(r)? },
            2 => ShardChange::DropGroup { group: GroupId::decode(r)? },
            3 => ShardChange::Begin {
                keyspace: KeyspaceId::decode(r)?,
                slots: SlotRange::decode(r)?,
                to: GroupId::decode(r)?,
            },
            4 => ShardChange::CutOver { id: r.u64()?, attempt: r.u32()?, position: Position::decode(r)? },
            5 => ShardChange::Cancel { id: r.u64()? },
            6 => ShardChange::End { id: r.u64()? },
            7 => ShardChange::Divided { keyspace: KeyspaceId::decode(r)? },
            8 => ShardChange::Retry { id: r.u64()?, attempt: r.u32()? },
            _ => return Err(DecodeError::Invalid("change of shards")),
        })
    }
}

/// The next thing to do for a keyspace that shall have another number of shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Add,
    Drop(GroupId),
    Move { slots: SlotRange, to: GroupId },
    Done,
}

/// `groups` in the order of their ids: the first `shards` stay, each with an equal part; no more slots move than have to.
pub(crate) fn next_step(groups: &[(GroupId, &SlotSet)], shards: u32) -> Step {
    if (groups.len() as u32) < shards {
        return Step::Add;
    }
    let (stay, go) = groups.split_at(shards as usize);
    let (least, most) = (u32::from(SLOTS) / shards, u32::from(SLOTS).div_ceil(shards));
    let poorest = stay.iter().min_by_key(|(group, slots)| (slots.count(), *group));
    let Some((to, has)) = poorest.map(|(group, slots)| (*group, slots.count())) else { return Step::Done };
    let tail = |slots: &SlotSet, count: u32| slots.ranges().last().map(|range| range.tail(count));
    if let Some((group, slots)) = go.last() {
        return match tail(slots, most.saturating_sub(has).max(1)) {
            Some(slots) => Step::Move { slots, to },
            None => Step::Drop(*group),
        };
    }
    let richest = stay.iter().max_by_key(|(group, slots)| (slots.count(), *group));
    let Some((_, slots)) = richest.filter(|(_, slots)| slots.count() > has + 1) else { return Step::Done };
    let count = least.saturating_sub(has).min(slots.count() - least).max(1);
    tail(slots, count).map_or(Step::Done, |slots| Step::Move { slots, to })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Carries all steps out; how many slots moved.
    fn divide(groups: &mut BTreeMap<GroupId, SlotSet>, shards: u32) -> u32 {
        let mut moved = 0;
        for _ in 0..4_000 {
            let shown: Vec<_> = groups.iter().map(|(group, slots)| (*group, slots)).collect();
            match next_step(&shown, shards) {
                Step::Add => {
                    let next = groups.keys().last().map_or(GroupId(1), |group| group.next());
                    groups.insert(next, SlotSet::default());
                }
                Step::Drop(group) => {
                    assert!(groups.remove(&group).is_some_and(|slots| slots.is_empty()));
                }
                Step::Move { slots, to } => {
                    moved += slots.len();
                    let from = groups.values_mut().find(|it| it.holds(slots)).expect("one owner");
                    from.remove(slots);
                    groups.get_mut(&to).expect("known").add(slots);
                }
                Step::Done => return moved,
            }
        }
        panic!("no end: {groups:?}");
    }

    #[test]
    fn any_number_of_shards_is_come_to_from_any_other() {
        let mut groups = BTreeMap::from([(GroupId(1), SlotSet::of(SlotRange::ALL))]);
        for shards in [3, 2, 5, 4, 16, 7, 256, 1, 2] {
            let before = groups.len() as u32;
            let moved = divide(&mut groups, shards);
            let counts: Vec<u32> = groups.values().map(SlotSet::count).collect();
            assert_eq!((counts.len() as u32, counts.iter().sum::<u32>()), (shards, u32::from(SLOTS)));
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(most - least <= 1, "{counts:?}");
            // The parts of those that come or go, and what rounding asks for.
            let part = u32::from(SLOTS) * shards.abs_diff(before) / shards.max(before);
            assert!(moved <= part + 2 * shards.max(before), "{before} to {shards}: {moved} slots");
        }
    }
}
