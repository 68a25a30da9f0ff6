//! The way of a snapshot to a replica that needs it: pulled piece by piece, at a bounded rate, taken up where it stopped.
// catalogue: E2

use super::LoadedSnapshot;
use crate::catch_up::Budget;
use crate::io::{Event, Output};
use crate::message::PeerMessage;
use crate::node::Node;
use crate::shortfall::Shortfall;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use data::{GroupId, Instant, NodeId, Now, Position};
use protocol::single_leader::{self, Mark, RoleName};

/// A piece that does not come for so long is asked for again.
const PIECE_PATIENCE: Duration = Duration::from_millis(500);
const PIECE_BYTES_MAX: u32 = 1 << 20;
/// Asked for so often in vain, a piece does not come any more if another node leads by now.
const ASKS_MAX: u32 = 6;

/// A snapshot of another node on its way here.
#[derive(Debug)]
pub struct Transfer {
    pub from: NodeId,
    pub mark: Mark,
    pub len: u64,
    pub offset: u64,
    pub budget: Budget,
    /// When a piece was asked for that is still on its way.
    pub asked_at: Option<Instant>,
    /// How often, since the last one came.
    pub asks: u32,
    /// Where it goes on is known (an earlier part may lie on disk).
    pub known: bool,
}

impl Node {
    /// This replica's log ends before its leader's begins.
    pub(crate) fn take_snapshot(&mut self, group: GroupId, from: NodeId, mark: Mark, len: u64) {
        let now = self.now.instant;
        let Some(it) = self.groups.get_mut(&group) else { return };
        if it.snapshots.transfer.as_ref().is_some_and(|t| t.mark == mark && t.from == from) {
            return;
        }
        it.abandon_walk();
        let budget = Budget::new(now);
        let transfer = Transfer { from, mark, len, offset: 0, budget, asked_at: None, asks: 0, known: false };
        it.snapshots.transfer = Some(transfer);
        self.catching_up.insert(group);
        // How much of it is here already, from an earlier try?
        self.outputs.push(Output::ReceiveSnapshot { group, mark, offset: 0, bytes: Bytes::new(), len });
    }

    pub(crate) fn on_snapshot_received(&mut self, group: GroupId, mark: Mark, offset: u64) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        let Some(transfer) = it.snapshots.transfer.as_mut().filter(|t| t.mark == mark) else { return };
        transfer.offset = offset;
        transfer.known = true;
        (transfer.asked_at, transfer.asks) = (None, 0);
    }

    /// Pulls the next piece when the rate allows it; again when it does not come.
    pub(crate) fn ask_for_piece(&mut self, group: GroupId) {
        let now = self.now.instant;
        let per_second = u64::from(self.config.transfer_bytes_per_second);
        let Some(it) = self.groups.get_mut(&group) else { return };
        let Some(transfer) = &mut it.snapshots.transfer else { return };
        let waits = transfer.asked_at.is_some_and(|asked_at| now.since(asked_at) < PIECE_PATIENCE);
        if !transfer.known || transfer.offset >= transfer.len || waits {
            return;
        }
        let elsewhere = it.replica.follows().is_some_and(|leader| leader != transfer.from);
        if elsewhere && transfer.asks >= ASKS_MAX {
            // Its giver has gone, and whoever leads now can give another one.
            it.snapshots.transfer = None;
            return;
        }
        let Some(bytes) = transfer.budget.take(now, per_second, u64::from(PIECE_BYTES_MAX)) else { return };
        transfer.asked_at = Some(now);
        transfer.asks = transfer.asks.saturating_add(1);
        let (to, position, offset) = (transfer.from, transfer.mark.position, transfer.offset);
        self.send(to, PeerMessage::FetchSnapshot { group, position, offset, len_max: bytes as u32 });
    }

    /// Another node pulls the stored snapshot.
    pub(crate) fn on_fetch_snapshot(
        &mut self,
        group: GroupId,
        to: NodeId,
        position: Position,
        offset: u64,
        len_max: u32,
    ) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        it.snapshots.pulled_by.insert(to, self.now.instant);
        let len_max = len_max.min(PIECE_BYTES_MAX) as usize;
        self.outputs.push(Output::ReadSnapshot { group, to, position, offset, len_max });
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

    /// Whether a snapshot of this position would become the group's state: it is the one that was asked for, and the replica
    /// still follows. To be asked before the log is told of it.
    /// `starts`: where the epochs of its log begin; `giver`: what its table lacks. What this copy alone holds goes to the ledger
    /// first; until it is durable there the answer is no, and the leader offers again.
    pub fn accepts_snapshot(
        &mut self,
        now: Now,
        group: GroupId,
        mark: Mark,
        starts: &[Position],
        giver: &Shortfall,
    ) -> bool {
        self.now = now;
        let Some(it) = self.groups.get_mut(&group) else { return false };
        let asked = it.snapshots.transfer.as_ref().is_some_and(|transfer| transfer.mark == mark);
        let follows = it.replica.role() == RoleName::Follower;
        let rebuilds = it.rebuilds_from(mark);
        let fits = mark.position.index > it.replica.commit() || it.replica.is_stranded() || rebuilds;
        if !(asked && follows && fits) {
            return false;
        }
        let stranded = it.replica.is_stranded();
        if !self.keeps_gaps_of(group, giver) {
            return false;
        }
        let Some(it) = self.groups.get_mut(&group) else { return false };
        if rebuilds && !stranded {
            // The log stays: nothing is lost. It must go on behind the snapshot: a gap that has come since the offer may not.
            let next = mark.position.index.next();
            return !it.shortfall.own().covers(next) && !it.replica.log().splits_gap(mark.position.index);
        }
        let mut out = Vec::new();
        let free = it.replica.may_be_replaced(mark, starts, &mut out);
        self.carry_out(group, out);
        free
    }

    /// A whole snapshot of another node is here and verified: it becomes the group's state. Returns what it replaces, for
    /// somebody else to drop: that takes long.
    pub fn install_snapshot(
        &mut self,
        now: Now,
        group: GroupId,
        snapshot: LoadedSnapshot,
        len: u64,
    ) -> Option<LoadedSnapshot> {
        self.now = now;
        let LoadedSnapshot { head, answers, table, shortfall, map_needed, site } = snapshot;
        let accepted =
            head.group == group && self.accepts_snapshot(now, group, head.mark, &head.starts, &shortfall);
        let it = self.groups.get_mut(&group)?;
        it.snapshots.transfer = None;
        if !accepted {
            return None;
        }
        it.abandon_walk();
        let rebuilds = it.rebuilds_from(head.mark) && !it.replica.is_stranded();
        it.begin_replay();
        let table = core::mem::replace(&mut it.table, table);
        let answers = core::mem::replace(&mut it.answers, answers);
        let through = head.mark.position.index;
        let site = it.site.as_mut().zip(site).map(|(its, state)| its.install(state, through));
        it.undo.clear();
        it.map_needed = it.map_needed.max(map_needed);
        it.shortfall.renew(shortfall);
        it.tell_lacks();
        it.applied = head.mark.position.index;
        it.snapshots.stored = Some((head.mark, len));
        let position = head.mark.position;
        let (mark, starts, time_ms) = (head.mark, head.starts.clone(), head.time_ms);
        let replaced =
            LoadedSnapshot { head, answers, table, shortfall: Shortfall::default(), map_needed: 0, site };
        if rebuilds {
            self.replay(group);
            return Some(replaced);
        }
        it.released = position.index;
        it.end_replay();
        self.feed(group, single_leader::Input::Installed { mark, starts, time_ms });
        self.outputs.push(Output::Event(Event::SnapshotInstalled { group, position }));
        Some(replaced)
    }

    /// What was received cannot be read: it is asked for again.
    pub fn refuse_snapshot(&mut self, group: GroupId) {
        if let Some(it) = self.groups.get_mut(&group) {
            it.snapshots.transfer = None;
        }
    }
}
