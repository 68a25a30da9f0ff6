//! The group that has the slots: sends a copy, keeps account of what is written meanwhile, fences.

use super::piece::{self, Piece, Place};
use crate::group::Group;
use crate::message::PeerMessage;
use crate::node::Node;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use bytes::Bytes;
use control::{Command, Move, ShardChange};
use core::time::Duration;
use data::codec::Writer;
use data::plant::{self, Bug};
use data::slot::slot;
use data::{GroupId, Index, Instant, NodeId, SlotRange};

/// Bytes of one piece, beyond which no further key is added: encoding it takes a fraction of a millisecond.
const PIECE_BYTES: usize = 128 << 10;
/// Keys looked at for one piece: most may be of other slots. A guess with the same reason.
const KEYS_LOOKED_AT: usize = 4_000;
/// With so few written keys left the fence goes up: they are sent in a few round trips.
const FEW_KEYS: usize = 500;
/// Sent after the walk, as many pieces: whoever writes faster than is sent is fenced all the same.
const CATCH_UP_PIECES: u32 = 200;
/// A fence behind which nothing comes forward for so long is given up: the other end cannot be reached, and clients wait.
const FENCE_PATIENCE: Duration = Duration::from_millis(1_500);
/// Between two proposals to give it up.
const PROPOSE_AGAIN: Duration = Duration::from_millis(500);
/// Written keys are remembered in so many bytes; beyond, the copy begins anew.
const DIRTY_BYTES_MAX: usize = 64 << 20;

/// Of a leader whose group gives slots away.
pub(crate) struct Leaving {
    id: u64,
    attempt: u32,
    pub slots: SlotRange,
    run: u64,
    /// Number of the piece made last, and whether it ends the copy.
    made: u64,
    last: bool,
    /// It, for its message may be lost.
    body: Bytes,
    /// Where the walk through the table goes on; `None` at its end.
    cursor: Option<u64>,
    /// Number of the answer that is sent next.
    answer: u64,
    /// Keys written since the walk began that were not sent since.
    dirty: BTreeSet<Box<[u8]>>,
    dirty_bytes: usize,
    caught_up: u32,
    /// What is asked for must begin anew.
    void: bool,
    /// Nothing of the slots is executed behind this entry.
    fence: Option<Index>,
    /// When the last piece was made, or it was last asked to give the fence up.
    fence_moved_at: Instant,
    /// Who waits for a piece that cannot be made yet.
    asked: Option<(NodeId, Place)>,
    /// For KEYSPACE STATUS.
    pub keys_sent: u64,
}

impl Leaving {
    pub fn new(it: &Move) -> Leaving {
        Leaving {
            id: it.id,
            attempt: it.attempt,
            slots: it.slots,
            run: 0,
            made: 0,
            last: false,
            body: Bytes::new(),
            cursor: Some(0),
            answer: 0,
            dirty: BTreeSet::new(),
            dirty_bytes: 0,
            caught_up: 0,
            void: false,
            fence: None,
            fence_moved_at: Instant::ZERO,
            asked: None,
            keys_sent: 0,
        }
    }
    pub fn is(&self, it: &Move, group: GroupId) -> bool {
        it.from == group && (self.id, self.attempt) == (it.id, it.attempt)
    }
    pub fn is_fenced(&self) -> bool {
        self.fence.is_some() && !plant::is(Bug::MovesUnfenced)
    }
    pub fn written(&mut self, key: &[u8]) {
        if self.made == 0 || !self.slots.contains(slot(key)) || self.dirty.contains(key) {
            return;
        }
        self.dirty_bytes += key.len() + 64;
        self.dirty.insert(key.into());
        if self.dirty_bytes > DIRTY_BYTES_MAX {
            self.begin_anew();
        }
    }
    /// The next piece asked for is refused: a new run must begin.
    pub fn begin_anew(&mut self) {
        self.void = self.made > 0;
        self.dirty.clear();
        self.dirty_bytes = 0;
    }
    /// The fence stays: only the map lifts it.
    fn begin(&mut self, run: u64) {
        self.run = run;
        (self.made, self.last, self.cursor, self.answer, self.caught_up) = (0, false, Some(0), 0, 0);
        self.begin_anew();
    }
}

impl Group {
    /// Makes the next piece; false while it must wait for the commit of what was written before the fence.
    fn make_piece(&mut self) -> bool {
        let commit = self.replica.commit();
        let newest = self.replica.newest().index;
        let Some(it) = self.moving.as_mut().and_then(|moving| moving.leaving.as_mut()) else { return false };
        let settled = it.fence.is_some_and(|fence| commit >= fence);
        let mut body = Vec::new();
        let mut w = Writer::new(&mut body);
        let (slots, mut looked) = (it.slots, 0);
        while let Some(cursor) = it.cursor
            && w.buffer.len() < PIECE_BYTES
            && looked < KEYS_LOOKED_AT
        {
            let sent = &mut it.keys_sent;
            let next = self.table.scan(cursor, &mut |key, found| {
                looked += 1;
                if slots.contains(slot(key)) {
                    *sent += 1;
                    piece::write_key(&mut w, key, Some(found));
                }
            });
            looked += 1;
            it.cursor = (next != 0).then_some(next);
        }
        let walked = it.cursor.is_none();
        if walked {
            it.caught_up += 1;
            while w.buffer.len() < PIECE_BYTES
                && let Some(key) = it.dirty.pop_first()
            {
                it.keys_sent += 1;
                piece::write_key(&mut w, &key, self.table.get(&key));
            }
            it.dirty_bytes = if it.dirty.is_empty() { 0 } else { it.dirty_bytes };
        }
        let room = PIECE_BYTES.saturating_sub(w.buffer.len());
        let (before, mut answered) = (it.answer, plant::is(Bug::MovesNoAnswers));
        if walked && room > 0 && !answered {
            (it.answer, answered) = self.answers.each_from(it.answer, commit, room, &mut |request, reply| {
                piece::write_answer(&mut w, request, reply);
            });
        }
        let all = walked && it.dirty.is_empty() && answered;
        let fences = walked && (it.dirty.len() <= FEW_KEYS && answered || it.caught_up >= CATCH_UP_PIECES);
        if fences && it.fence.is_none() {
            it.fence = Some(newest);
            it.last = plant::is(Bug::MovesUnfenced);
        } else if settled && all {
            it.last = true;
        } else if it.fence.is_some() && all && w.buffer.is_empty() && before == it.answer {
            return false;
        }
        it.made += 1;
        it.body = Bytes::from(body);
        true
    }
}

impl Node {
    /// The target asks for a piece.
    pub(super) fn on_pull(&mut self, from: NodeId, group: GroupId, place: Place) {
        let Some(it) = self.groups.get_mut(&group).filter(|it| it.is_serving()) else { return };
        let Some(leaving) = it.moving.as_mut().and_then(|moving| moving.leaving.as_mut()) else { return };
        if (leaving.id, leaving.attempt) != (place.id, place.attempt) || place.run < leaving.run {
            return;
        }
        if place.run > leaving.run && place.number == 1 {
            leaving.begin(place.run);
            leaving.void = false;
        }
        if leaving.void || place.run != leaving.run || place.number > leaving.made + 1 {
            return self.send_piece(from, |group| Piece::BeginAnew { group, place }, group);
        }
        // An old question that came late is answered by nothing.
        if place.number < leaving.made {
            return;
        }
        leaving.asked = Some((from, place));
        self.tend_leaving(group);
    }

    /// Answers the question that waits, if that can be done now.
    pub(super) fn tend_leaving(&mut self, group: GroupId) {
        let Some(it) = self.groups.get_mut(&group).filter(|it| it.is_serving()) else { return };
        let leaving = |it: &Group| {
            it.moving
                .as_ref()
                .and_then(|moving| moving.leaving.as_ref())
                .map(|it| (it.asked, it.made, it.fence))
        };
        let Some((Some((to, place)), made, fence)) = leaving(it) else { return };
        if place.number == made + 1 && !it.make_piece() {
            return;
        }
        let fenced = fence.is_none() && leaving(it).is_some_and(|(_, _, fence)| fence.is_some());
        if fenced {
            // What is watched there is told from elsewhere from now on.
            it.watches.all_written();
        }
        let Some(leaving) = it.moving.as_mut().and_then(|moving| moving.leaving.as_mut()) else { return };
        if leaving.made > made {
            leaving.fence_moved_at = self.now.instant;
        }
        leaving.asked = None;
        let (last, body) = (leaving.last, leaving.body.clone());
        self.send_piece(to, |group| Piece::Given { group, place, last, body }, group);
        if fenced {
            self.send_blocked_on(group);
        }
    }

    /// A fence that leads to nothing is lifted, by the only way there is: the map shows another attempt.
    pub(super) fn tend_fence(&mut self, group: GroupId) {
        let now = self.now.instant;
        let Some(it) = self.groups.get_mut(&group) else { return };
        let Some(leaving) = it.moving.as_mut().and_then(|moving| moving.leaving.as_mut()) else { return };
        if leaving.fence.is_none() || now.since(leaving.fence_moved_at) < FENCE_PATIENCE {
            return;
        }
        leaving.fence_moved_at = now - FENCE_PATIENCE + PROPOSE_AGAIN;
        let (id, attempt) = (leaving.id, leaving.attempt);
        self.ask_control(None, Command::ChangeShards(ShardChange::Retry { id, attempt }));
    }

    /// `make`: the message, for the group at the other end of this one's move.
    fn send_piece(&mut self, to: NodeId, make: impl FnOnce(GroupId) -> Piece, group: GroupId) {
        let Some(target) = self.map.move_of(group).map(|it| it.to) else { return };
        self.send_move(to, make(target));
    }

    /// To another node, or to another group of this one.
    pub(super) fn send_move(&mut self, to: NodeId, piece: Piece) {
        if to == self.config.node {
            self.pieces.push_back(piece);
        } else if self.peers.get(&to).is_some_and(|version| *version >= super::SINCE_VERSION) {
            self.send(to, PeerMessage::Move(piece));
        }
    }

    pub(crate) fn on_piece(&mut self, from: NodeId, piece: Piece) {
        match piece {
            Piece::Pull { group, place } => self.on_pull(from, group, place),
            Piece::Given { group, place, last, body } => self.on_given(group, place, last, &body),
            Piece::BeginAnew { group, place } => self.on_begin_anew(group, place),
        }
    }

    /// What the groups of this node say to each other.
    pub(crate) fn deliver_pieces(&mut self) {
        // Each is answered by one at most; a bound all the same, for a turn has to end.
        for _ in 0..16 {
            let Some(piece) = self.pieces.pop_front() else { return };
            self.on_piece(self.config.node, piece);
        }
    }
}
