//! Slots that move from one group of a keyspace to another while both serve.
//!
//! The control plane records a move and decides it ([`control::shards`]). Between the two the leader of the group that gets the
//! slots (the **target**) pulls a copy from the leader of the group that has them (the **source**), piece by piece, and
//! writes each piece as an entry into its own log: so the copy is replicated, durable and in snapshots like everything else.
//!
//! | message | from | to | meaning |
//! |---|---|---|---|
//! | pull | target | source | piece n of run r of this attempt, please |
//! | piece | source | target | it; or: begin a new run |
//!
//! | step | source | target |
//! |---|---|---|
//! | wipe | serves | deletes what an earlier attempt left in these slots |
//! | walk | serves; notes which keys are written meanwhile | takes every key with its expiry, and the answers to requests |
//! | catch up | sends what was written, again and again | takes it |
//! | **fence** | executes nothing of these slots any more; sends the rest once everything before the fence is committed | takes it; the entry of the last piece ends the import |
//! | cut over | | once that entry is committed, and a majority has it: asks the control plane |
//! | clear | deletes what it had, by entries of its log | serves |
//!
//! *Invariants*
//! 1. A group serves a slot only while its leader's map says that it owns it, and no fence stands in it.
//! 2. A cut-over names an attempt whose source has fenced, and sent everything that it had committed before. An attempt counts for
//!    one leader process at either end, and leadership ends with the process: so the fence may live in memory. A leader that is
//!    elected is in a newer attempt; a cut-over of the older one is refused from then on, and it serves. A fence is
//!    lifted by nothing but a map that shows another attempt, or no move.
//! 3. What is sent is a value and never a change: whatever is sent twice, or again, harms nothing. Values run ahead of the commit
//!    index; they count only with the fence, behind which the same leader has committed them.
//! 4. Nobody sees a copy before it is complete: commands with keys go by the owner, those without show owned slots only, and a copy
//!    that is read beside its leader must hold the entry that ended the import.
//!
//! A write that waits at the fence is answered by the new owner: clients of this node and of others wait as they do for an election.
//! A watch of a key in a fenced slot breaks. Commands that wait for data are asked again of the new owner. Answers to requests
//! travel, so a write that is sent again is not done twice. Since nothing is served before the cut-over, nobody is sent `ASK`.
//!
//! Everything is resumed after an election of either group by a new attempt, from the first key. So is a move whose fence leads to
//! nothing because the two leaders cannot reach each other. Not here: a move of one large
//! value in parts; a limit of the speed other than one piece at a time; which ids are too old to tell (they are forgotten).
//!
//! Source of the shape: live migration of virtual machines by pre-copy (Clark and others, NSDI 2005), with a fence in the place of
//! their pause.
// catalogue: H4
// bugs: X-01

mod piece;
mod source;
mod sweep;
mod target;

pub use piece::Piece;
pub(crate) use source::Leaving;
pub(crate) use sweep::Sweep;
pub(crate) use target::Arriving;

use crate::group::Group;
use crate::node::Node;
use alloc::vec::Vec;
use control::{ClusterMap, Phase};
use data::{GroupId, SlotSet};

/// Message version since which nodes know of moves.
pub const SINCE_VERSION: u8 = 4;

/// What one group has to do with a move.
#[derive(Default)]
pub(crate) struct Moving {
    pub leaving: Option<Leaving>,
    pub arriving: Option<Arriving>,
    pub clearing: Option<Sweep>,
    /// Set while the table may hold keys of slots that the group does not own: those that it does.
    pub owned: Option<SlotSet>,
}

impl Moving {
    /// Whether nothing of these slots may be executed.
    pub fn fences(&self, slot: u16) -> bool {
        self.leaving.as_ref().is_some_and(|it| it.is_fenced() && it.slots.contains(slot))
    }
    pub fn is_fenced(&self) -> bool {
        self.leaving.as_ref().is_some_and(Leaving::is_fenced)
    }
    /// A key was written.
    pub fn written(&mut self, key: &[u8]) {
        if let Some(leaving) = &mut self.leaving {
            leaving.written(key);
        }
    }
    /// All keys were deleted: a copy that is under way began too early.
    pub fn flushed(&mut self) {
        if let Some(leaving) = &mut self.leaving {
            leaving.begin_anew();
        }
        if let Some(arriving) = &mut self.arriving {
            arriving.spoil();
        }
    }
}

impl Group {
    /// What the map says of moves that the group takes part in.
    fn meet_moves(&mut self, map: &ClusterMap) {
        let id = self.id();
        let Some(it) = map.move_of(id).copied() else {
            self.moving = None;
            return;
        };
        let moving = self.moving.get_or_insert_default();
        moving.owned = map.groups.get(&id).map(|group| group.slots.clone());
        let copies = it.is_copying();
        if !moving.leaving.as_ref().is_some_and(|known| copies && known.is(&it, id)) {
            moving.leaving = (copies && it.from == id).then(|| Leaving::new(&it));
        }
        if !moving.arriving.as_ref().is_some_and(|known| copies && known.is(&it, id)) {
            moving.arriving = (copies && it.to == id).then(|| Arriving::new(&it));
        }
        match it.phase {
            Phase::Clearing(group) if group == id => {
                moving.clearing.get_or_insert_with(|| Sweep::new(it.id, it.slots));
            }
            Phase::Clearing(_) | Phase::Copying => moving.clearing = None,
        }
    }
}

impl Node {
    /// The map changed.
    pub(crate) fn meet_moves(&mut self) {
        let map = self.map.clone();
        for it in self.groups.values_mut() {
            it.meet_moves(&map);
        }
    }

    /// This node no longer leads the group: what it had begun is another leader's, in another attempt.
    pub(crate) fn abandon_moves(&mut self, group: GroupId) {
        let map = self.map.clone();
        if let Some(it) = self.groups.get_mut(&group)
            && it.moving.take().is_some()
        {
            it.meet_moves(&map);
        }
    }

    /// Goes on with the moves of a group that is led here.
    pub(crate) fn tend_moves(&mut self, group: GroupId) {
        let Some(it) = self.groups.get(&group).filter(|it| it.moving.is_some()) else { return };
        if self.stopped.is_some() || !it.is_serving() {
            return;
        }
        self.tend_leaving(group);
        self.tend_fence(group);
        self.tend_arriving(group);
        self.tend_clearing(group);
    }

    /// Commands that wait for data of fenced slots are asked again of whoever owns them next.
    pub(crate) fn send_blocked_on(&mut self, group: GroupId) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        let Some(moving) = &it.moving else { return };
        let gone =
            |keys: &[alloc::boxed::Box<[u8]>]| keys.iter().any(|key| moving.fences(data::slot::slot(key)));
        let numbers = it.blocked.of(|entry| gone(&entry.keys));
        let entries: Vec<_> = numbers.into_iter().filter_map(|number| it.blocked.remove(number)).collect();
        for entry in entries {
            self.move_blocked(group, entry);
        }
    }
}
