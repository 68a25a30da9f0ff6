//! Deletes keys of slots that a group does not own: of a copy that was given up, or was given away. By entries of its log.

use crate::group::Group;
use crate::node::Node;
use alloc::vec::Vec;
use control::{Command, ShardChange};
use core::time::Duration;
use data::operation::Operation;
use data::slot::slot;
use data::{GroupId, Index, Instant, RequestId, SlotRange};

/// Keys looked at in one step, one step a tick: a fraction of a millisecond.
const KEYS_A_STEP: usize = 1_000;
const PROPOSE_AGAIN: Duration = Duration::from_millis(200);

/// A walk through the table.
pub(crate) struct Sweep {
    id: u64,
    slots: SlotRange,
    /// Where it goes on; `None` at the end.
    cursor: Option<u64>,
    /// The last entry that deleted something.
    through: Index,
    proposed_at: Option<Instant>,
}

impl Sweep {
    pub fn new(id: u64, slots: SlotRange) -> Sweep {
        Sweep { id, slots, cursor: Some(0), through: Index(0), proposed_at: None }
    }
}

impl Group {
    /// One step; true at the end.
    pub(super) fn sweep_step(&mut self, sweep: &mut Sweep, moved_at: u64, wall_ms: i64) -> bool {
        let (mut keys, mut looked) = (Vec::new(), 0);
        while let Some(cursor) = sweep.cursor
            && looked < KEYS_A_STEP
        {
            let next = self.table.scan(cursor, &mut |key, _| {
                looked += 1;
                if sweep.slots.contains(slot(key)) {
                    keys.push(key.to_vec());
                }
            });
            looked += 1;
            sweep.cursor = (next != 0).then_some(next);
        }
        if !keys.is_empty() {
            let seconds = (self.replica.entry_time_ms(wall_ms) / 1000) as u32;
            let mut draft = self.draft("move");
            for key in &keys {
                self.change(&Operation::Delete { key: key.into() }, seconds, &mut draft);
            }
            // In the place of an answer: readers of copies must know that the keys are elsewhere.
            let written = self.append(RequestId::NONE, wall_ms, Some(&moved_at.to_le_bytes()), draft);
            self.map_needed = self.map_needed.max(moved_at);
            if let Some(position) = self.note_untold(written) {
                sweep.through = position.index;
            }
        }
        sweep.cursor.is_none()
    }
}

impl Node {
    /// The move is over once what is left of it is deleted.
    pub(super) fn tend_clearing(&mut self, group: GroupId) {
        let (now, wall_ms) = (self.now.instant, self.now.wall.middle_ms());
        let Some(it) = self.groups.get_mut(&group) else { return };
        let Some(mut sweep) = it.moving.as_mut().and_then(|moving| moving.clearing.take()) else { return };
        if sweep.cursor.is_some() {
            it.sweep_step(&mut sweep, self.map.moved_at, wall_ms);
            self.unflushed.insert(group);
        }
        let due = sweep.proposed_at.is_none_or(|at| now.since(at) >= PROPOSE_AGAIN);
        let done = sweep.cursor.is_none() && it.replica.commit() >= sweep.through && due;
        let id = sweep.id;
        if done {
            sweep.proposed_at = Some(now);
        }
        if let Some(moving) = &mut it.moving {
            moving.clearing = Some(sweep);
        }
        if done {
            self.ask_control(None, Command::ChangeShards(ShardChange::End { id }));
        }
    }
}
