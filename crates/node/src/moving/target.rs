//! The group that gets the slots: pulls a copy into its log, and asks for the cut-over when it is complete.

use super::piece::{Item, Piece, Place, items};
use super::sweep::Sweep;
use crate::answers::Known;
use crate::execute::Executed;
use crate::group::Group;
use crate::node::Node;
use control::{Command, Move, ShardChange};
use core::time::Duration;
use data::operation::{Expiry, Operation};
use data::{GroupId, Instant, Position, RequestId, SlotRange};

/// A question that was not answered is asked again: its message, or the answer's, was lost. A guess: many round trips.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// The same for the control plane.
const PROPOSE_AGAIN: Duration = Duration::from_millis(200);
/// With so many bytes on their way to followers and disk nothing is pulled: clients go first.
const PENDING_BYTES_MAX: usize = 4 << 20;

/// Of a leader whose group gets slots.
pub(crate) struct Arriving {
    id: u64,
    attempt: u32,
    pub slots: SlotRange,
    from: GroupId,
    run: u64,
    /// Number of the last piece taken in.
    pub pieces: u64,
    /// Deletes what is left of an earlier attempt; gone at its end.
    wipe: Option<Sweep>,
    asked_at: Option<Instant>,
    /// Entry of the last piece.
    complete: Option<Position>,
    proposed_at: Option<Instant>,
}

impl Arriving {
    pub fn new(it: &Move) -> Arriving {
        Arriving {
            id: it.id,
            attempt: it.attempt,
            slots: it.slots,
            from: it.from,
            run: 1,
            pieces: 0,
            wipe: Some(Sweep::new(it.id, it.slots)),
            asked_at: None,
            complete: None,
            proposed_at: None,
        }
    }
    pub fn is(&self, it: &Move, group: GroupId) -> bool {
        it.to == group && (self.id, self.attempt) == (it.id, it.attempt)
    }
    /// Keys of the copy are gone: a new run. Once it is complete they are this group's keys like any other.
    pub fn spoil(&mut self) {
        if self.complete.is_none() {
            self.run += 1;
            self.pieces = 0;
            self.wipe = Some(Sweep::new(self.id, self.slots));
            self.asked_at = None;
        }
    }
    fn next(&self) -> Place {
        Place { id: self.id, attempt: self.attempt, run: self.run, number: self.pieces + 1 }
    }
}

impl Group {
    fn arriving(&mut self) -> Option<&mut Arriving> {
        self.moving.as_mut()?.arriving.as_mut()
    }

    /// Takes the items of a piece in, as entries of the log. The last entry; nothing when there were none.
    fn take_items(&mut self, items: &[Item<'_>], slots: SlotRange, wall_ms: i64) -> Option<Position> {
        let seconds = (self.replica.entry_time_ms(wall_ms) / 1000) as u32;
        let mut draft = self.draft("move");
        for item in items {
            let operation = match item {
                Item::Key { key, value, expires_at_ms } => Operation::Put {
                    key: (*key).into(),
                    value: value.clone(),
                    expiry: expires_at_ms.map_or(Expiry::Never, Expiry::At),
                },
                Item::Gone { key } => Operation::Delete { key: (*key).into() },
                Item::Answer { .. } => continue,
            };
            if operation.keys().all(|key| slots.contains(data::slot::slot(key))) {
                self.change(&operation, seconds, &mut draft);
            }
        }
        // An entry of its own for each answer: it has one place for an id.
        for item in items {
            // One that an earlier move brought, or took from here, is known already.
            if let Item::Answer { request, reply } = item
                && !matches!(self.answers.find(*request), Known::Done { reply: known, .. } if known == *reply)
            {
                let none = core::mem::take(&mut draft);
                let written = self.append(*request, wall_ms, Some(reply), none);
                self.note_untold(written);
            }
        }
        let written = self.append(RequestId::NONE, wall_ms, None, draft);
        self.note_untold(written)
    }

    /// Nobody was promised this entry.
    pub(super) fn note_untold(&mut self, written: Executed) -> Option<Position> {
        let Executed::Written(position) = written else { return None };
        self.told.untold(position.index);
        Some(position)
    }

    /// Whether an entry is committed and held by a majority of those who may lead: what was moved is not lost for a weak
    /// commit rule's sake.
    fn is_safe(&self, position: Position) -> bool {
        let Some(view) = self.replica.view() else { return false };
        let has = |node| self.replica.followers().any(|(it, p)| it == node && p.matched >= position.index);
        let holders = view.electable.iter().filter(|replica| has(replica.node)).count();
        self.replica.commit() >= position.index && 2 * (holders + 1) > view.electable.len()
    }
}

impl Node {
    pub(super) fn tend_arriving(&mut self, group: GroupId) {
        let now = self.now.instant;
        let Some(it) = self.groups.get_mut(&group) else { return };
        if it.replica.pending_bytes() > PENDING_BYTES_MAX {
            return;
        }
        let Some(mut wipe) = it.arriving().map(|arriving| arriving.wipe.take()) else { return };
        if let Some(sweep) = &mut wipe {
            let wall_ms = self.now.wall.middle_ms();
            let ended = it.sweep_step(sweep, self.map.moved_at, wall_ms);
            self.unflushed.insert(group);
            if !ended {
                if let Some(arriving) = it.arriving() {
                    arriving.wipe = wipe;
                }
                return;
            }
        }
        let Some(arriving) = it.arriving() else { return };
        if let Some(position) = arriving.complete {
            let due = arriving.proposed_at.is_none_or(|at| now.since(at) >= PROPOSE_AGAIN);
            let (id, attempt) = (arriving.id, arriving.attempt);
            if due && it.is_safe(position) {
                if let Some(arriving) = it.arriving() {
                    arriving.proposed_at = Some(now);
                }
                let change = ShardChange::CutOver { id, attempt, position };
                self.ask_control(None, Command::ChangeShards(change));
            }
            return;
        }
        if arriving.asked_at.is_some_and(|at| now.since(at) < ASK_AGAIN) {
            return;
        }
        let (from, place) = (arriving.from, arriving.next());
        let Some(leader) = self.map.leader_of(from) else { return };
        arriving.asked_at = Some(now);
        self.send_move(leader, Piece::Pull { group: from, place });
    }

    pub(super) fn on_given(&mut self, group: GroupId, place: Place, last: bool, body: &[u8]) {
        let wall_ms = self.now.wall.middle_ms();
        let Some(it) = self.groups.get_mut(&group).filter(|it| it.is_serving()) else { return };
        let Some(arriving) = it.arriving() else { return };
        if arriving.next() != place || arriving.wipe.is_some() || arriving.complete.is_some() {
            return;
        }
        let slots = arriving.slots;
        // Of a newer version, or damaged in spite of the frame's checksum: it is asked for again.
        let Ok(items) = items(body) else { return };
        let mut written = None;
        if last || !items.is_empty() {
            written = it.take_items(&items, slots, wall_ms);
            self.unflushed.insert(group);
        }
        let Some(arriving) = it.arriving() else { return };
        arriving.pieces += 1;
        arriving.asked_at = None;
        if last {
            arriving.complete = written;
        }
        self.tend_arriving(group);
    }

    pub(super) fn on_begin_anew(&mut self, group: GroupId, place: Place) {
        let Some(it) = self.groups.get_mut(&group).filter(|it| it.is_serving()) else { return };
        if let Some(arriving) = it.arriving()
            && arriving.next() == place
        {
            arriving.spoil();
        }
    }
}
