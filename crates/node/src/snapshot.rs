//! Snapshots of a group: taken by a walk over the table that never pauses writers, and pulled piece by piece by a replica
//! whose log ends before the leader's begins.
//!
//! A snapshot stands for a committed position. A leader's table runs ahead of the commit index, so a walk that began at an
//! uncommitted entry is published once that entry is committed, and given up when leadership ends before.

use crate::answers::Answers;
use crate::config::read_snapshot;
use crate::io::{Event, Output};
use crate::message::PeerMessage;
use crate::node::Node;
use alloc::vec::Vec;
use bytes::Bytes;
use data::codec::{DecodeError, Reader, Writer};
use data::plant::{self, Bug};
use data::{GroupId, Instant, KeyspaceId, NodeId, Now, Position};
use protocol::single_leader::{self, Mark};

/// Table bytes walked per step: bounds the pause of a step at about a millisecond.
pub const STEP_BYTES: usize = 512 << 10;
/// Bytes per piece of a transfer.
pub const PIECE_BYTES: u32 = 256 << 10;
/// A piece that does not come for so long is asked for again.
pub const PIECE_PATIENCE: core::time::Duration = core::time::Duration::from_millis(500);

/// What precedes the table's bytes in a snapshot.
#[derive(Debug)]
pub struct SnapshotHead {
    pub group: GroupId,
    pub keyspace: KeyspaceId,
    pub mark: Mark,
    pub time_ms: i64,
    /// Where the epochs of the log before the snapshot begin.
    pub starts: Vec<Position>,
    pub answers: Answers,
}

impl SnapshotHead {
    pub fn encode(&self, w: &mut Writer<'_>) {
        self.encode_with(w, &self.answers);
    }
    /// The same with a table of answers that is not copied into the head first.
    fn encode_with(&self, w: &mut Writer<'_>, answers: &Answers) {
        self.group.encode(w);
        self.keyspace.encode(w);
        self.mark.position.encode(w);
        w.u64(self.mark.hash);
        w.i64(self.time_ms);
        w.list(&self.starts, |w, p| p.encode(w));
        answers.encode(w);
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<SnapshotHead, DecodeError> {
        Ok(SnapshotHead {
            group: GroupId::decode(r)?,
            keyspace: KeyspaceId::decode(r)?,
            mark: Mark { position: Position::decode(r)?, hash: r.u64()? },
            time_ms: r.i64()?,
            starts: r.list(Position::decode)?,
            answers: Answers::decode(r)?,
        })
    }
}

/// A walk under way.
#[derive(Debug)]
pub struct Walk {
    pub mark: Mark,
    /// The first frame, made when the walk began: it holds the table of answers of that moment.
    pub head: Option<Vec<u8>>,
    /// The last piece, and whether it is the first too,, kept back until the position is committed.
    pub tail: Option<(Vec<u8>, bool)>,
}

/// A snapshot of another node on its way here.
#[derive(Debug)]
pub struct Transfer {
    pub from: NodeId,
    pub mark: Mark,
    pub len: u64,
    pub offset: u64,
    pub asked_at: Instant,
    /// Where it goes on is known (an earlier part may lie on disk).
    pub known: bool,
}

#[derive(Debug, Default)]
pub struct Snapshots {
    /// The newest complete one on disk: place and length.
    pub stored: Option<(Mark, u64)>,
    pub walk: Option<Walk>,
    /// Followers that wait for one.
    pub wanted_by: Vec<NodeId>,
    pub transfer: Option<Transfer>,
    /// Bytes of log since the last snapshot began.
    pub log_bytes: usize,
}

/// Entries behind the released part that stay for followers that were away for a short time. A guess.
const KEEP_ENTRIES: u64 = 100_000;

impl Node {
    /// A follower's log ends before this leader's begins: it gets the stored snapshot, or one that is taken now.
    pub(crate) fn want_snapshot(&mut self, group: GroupId, to: NodeId) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        // A snapshot serves only if the log goes on behind it.
        let stored = it.snapshots.stored.filter(|(mark, _)| mark.position.index >= it.released);
        if let Some((mark, len)) = stored {
            self.feed(group, single_leader::Input::SnapshotReady { to, mark, len });
            return;
        }
        if !it.snapshots.wanted_by.contains(&to) {
            it.snapshots.wanted_by.push(to);
        }
        self.begin_walk(group);
    }

    fn begin_walk(&mut self, group: GroupId) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        if it.snapshots.walk.is_some() || it.snapshots.transfer.is_some() {
            return;
        }
        // A walk stands for the whole table: behind the newest entry, which must have its place in the log.
        let log = it.replica.log();
        let Some((hash, epoch)) = log.hash_at(it.applied).zip(log.epoch_at(it.applied)) else { return };
        let mark = Mark { position: Position { epoch, index: it.applied }, hash };
        let starts = log.starts().iter().filter(|start| start.index <= it.applied).copied().collect();
        let (keyspace, time_ms) = (it.keyspace.id, log.time_ms());
        let head = SnapshotHead { group, keyspace, mark, time_ms, starts, answers: Answers::default() };
        let mut frame = Vec::new();
        let mut w = Writer::new(&mut frame);
        head.encode_with(&mut w, &it.answers);
        w.u64(it.table.seed().0);
        w.u64(it.table.seed().1);
        it.snapshots.walk = Some(Walk { mark, head: Some(frame), tail: None });
        it.snapshots.log_bytes = 0;
        it.table.begin_snapshot();
    }

    /// One step of a walk: a bounded piece of the table.
    fn step_walk(&mut self, group: GroupId) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        let Some(walk) = &mut it.snapshots.walk else { return };
        if walk.tail.is_some() {
            return;
        }
        let mut bytes = Vec::new();
        let head = walk.head.take();
        let first = head.is_some();
        if let Some(head) = head {
            Writer::new(&mut bytes).bytes(&head);
        }
        let mut frame = Vec::new();
        let ended = it.table.snapshot_step(STEP_BYTES, &mut frame);
        Writer::new(&mut bytes).bytes(&frame);
        let mark = walk.mark;
        if ended {
            walk.tail = Some((bytes, first));
            self.finish_walk(group);
            return;
        }
        self.outputs.push(Output::WriteSnapshot { group, mark, bytes, first, last: false });
    }

    /// The last piece leaves once the snapshot's position is committed.
    pub(crate) fn finish_walk(&mut self, group: GroupId) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        let Some(walk) = &mut it.snapshots.walk else { return };
        if walk.mark.position.index > it.replica.commit() {
            return;
        }
        let Some((bytes, first)) = walk.tail.take() else { return };
        let mark = walk.mark;
        it.snapshots.walk = None;
        self.outputs.push(Output::WriteSnapshot { group, mark, bytes, first, last: true });
    }

    pub(crate) fn on_snapshot_stored(&mut self, group: GroupId, mark: Mark, len: u64) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        it.snapshots.stored = Some((mark, len));
        let waiting = core::mem::take(&mut it.snapshots.wanted_by);
        let position = mark.position;
        self.outputs.push(Output::Event(Event::SnapshotTaken { group, position }));
        for to in waiting {
            self.feed(group, single_leader::Input::SnapshotReady { to, mark, len });
        }
        self.release_log(group);
    }

    /// The log before the snapshot may go, as soon as the followers that are connected have it.
    fn release_log(&mut self, group: GroupId) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        let Some((mark, _)) = it.snapshots.stored else { return };
        let mut through = mark.position.index;
        if plant::is(Bug::TrimsPastSnapshot) {
            through = it.replica.commit();
        }
        for (node, progress) in it.replica.followers() {
            let slowest = progress.matched;
            // One that is far behind, or away, will take the snapshot.
            if self.peers.contains(&node) && slowest.0 + KEEP_ENTRIES >= through.0 {
                through = through.min(slowest);
            }
        }
        if through > it.released {
            it.released = through;
            self.outputs.push(Output::ReleaseLog { group, through });
        }
    }

    /// Takes snapshots when the log has grown, goes on with walks and transfers.
    pub(crate) fn tend_snapshots(&mut self, group: GroupId) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        let due = it.snapshots.log_bytes >= self.config.snapshot_log_bytes.max(it.table.bytes());
        if due || !it.snapshots.wanted_by.is_empty() {
            self.begin_walk(group);
        }
        self.step_walk(group);
        self.ask_for_piece(group, false);
        self.release_log(group);
    }

    /// This replica's log ends before its leader's begins.
    pub(crate) fn take_snapshot(&mut self, group: GroupId, from: NodeId, mark: Mark, len: u64) {
        let now = self.now.instant;
        let Some(it) = self.groups.get_mut(&group) else { return };
        if it.snapshots.transfer.as_ref().is_some_and(|t| t.mark == mark && t.from == from) {
            return;
        }
        it.snapshots.walk = None;
        it.table.abandon_snapshot();
        it.snapshots.transfer = Some(Transfer { from, mark, len, offset: 0, asked_at: now, known: false });
        // How much of it is here already, from an earlier try?
        self.outputs.push(Output::ReceiveSnapshot { group, mark, offset: 0, bytes: Bytes::new(), len });
    }

    pub(crate) fn on_snapshot_received(&mut self, group: GroupId, mark: Mark, offset: u64) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        let Some(transfer) = it.snapshots.transfer.as_mut().filter(|t| t.mark == mark) else { return };
        transfer.offset = offset;
        transfer.known = true;
        self.ask_for_piece(group, true);
    }

    /// Pulls the next piece; again when it does not come.
    fn ask_for_piece(&mut self, group: GroupId, at_once: bool) {
        let now = self.now.instant;
        let Some(it) = self.groups.get_mut(&group) else { return };
        let Some(transfer) = &mut it.snapshots.transfer else { return };
        if !transfer.known || transfer.offset >= transfer.len {
            return;
        }
        if !at_once && now.since(transfer.asked_at) < PIECE_PATIENCE {
            return;
        }
        transfer.asked_at = now;
        let (to, position, offset) = (transfer.from, transfer.mark.position, transfer.offset);
        self.send(to, PeerMessage::FetchSnapshot { group, position, offset, len_max: PIECE_BYTES });
    }

    pub(crate) fn on_snapshot_read(
        &mut self,
        group: GroupId,
        to: NodeId,
        position: Position,
        offset: u64,
        bytes: Bytes,
    ) {
        self.send(to, PeerMessage::SnapshotPiece { group, position, offset, bytes });
    }

    pub(crate) fn on_snapshot_piece(
        &mut self,
        group: GroupId,
        from: NodeId,
        position: Position,
        offset: u64,
        bytes: Bytes,
    ) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        let transfer = it.snapshots.transfer.as_ref();
        let Some(transfer) = transfer.filter(|t| t.from == from && t.mark.position == position) else {
            return;
        };
        if bytes.is_empty() {
            // Gone over there: the leader's next offer names a newer one.
            it.snapshots.transfer = None;
            return;
        }
        if transfer.known && transfer.offset == offset {
            let (mark, len) = (transfer.mark, transfer.len);
            self.outputs.push(Output::ReceiveSnapshot { group, mark, offset, bytes, len });
        }
    }

    /// A whole snapshot of another node is here and verified: it becomes the group's state. The pieces are its payload.
    pub fn install_snapshot(
        &mut self,
        now: Now,
        group: GroupId,
        pieces: &mut dyn FnMut() -> Option<Vec<u8>>,
        len: u64,
    ) -> Result<(), DecodeError> {
        self.now = now;
        let (head, table) = match read_snapshot(pieces) {
            Ok(read) => read,
            Err(error) => {
                if let Some(it) = self.groups.get_mut(&group) {
                    it.snapshots.transfer = None;
                }
                return Err(error);
            }
        };
        let Some(it) = self.groups.get_mut(&group) else { return Ok(()) };
        it.snapshots.transfer = None;
        if head.group != group || head.mark.position.index <= it.replica.commit() {
            return Ok(());
        }
        it.table = table;
        it.answers = head.answers;
        it.undo.clear();
        it.applied = head.mark.position.index;
        it.released = head.mark.position.index;
        it.snapshots.stored = Some((head.mark, len));
        let position = head.mark.position;
        let (mark, starts, time_ms) = (head.mark, head.starts, head.time_ms);
        self.feed(group, single_leader::Input::Installed { mark, starts, time_ms });
        self.outputs.push(Output::Event(Event::SnapshotInstalled { group, position }));
        Ok(())
    }
}
