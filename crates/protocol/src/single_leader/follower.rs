//! What a follower does: match its log with the leader's, append, acknowledge what is persisted, follow the commit index.

use super::io::{DropReason, Output, Report};
use super::log_window::{LogWindow, Mark, Unfit};
use super::message::Message;
use super::relay::Relay;
use super::replica::{Replica, Role, WINDOW_BYTES_MAX};
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;
use data::plant::{self, Bug};
use data::record::{Kind, Record};
use data::{Epoch, Index, Instant, NodeId, Position};

/// Invariant: everything through `matched` equals the log of the leader of `epoch`.
#[derive(Debug, Default)]
pub(super) struct Follower {
    pub leader: Option<NodeId>,
    pub epoch: Epoch,
    pub matched: Index,
    pub(super) acknowledged: Index,
    round: u64,
    /// The leader told of a commit and sent nothing with it: it hears once more when that is applied.
    tells_applied: bool,
    /// This copy has committed, behind this entry, what the leader's log lacks, and waits for a snapshot of what lies beyond.
    /// One of what lies before would leave records in the log that could pass for its continuation.
    stranded: Option<Index>,
    /// The newest entries came from another follower, not from the leader itself.
    pub through_link: bool,
    pub greeted_at: Instant,
    /// Those whom this copy feeds.
    pub relay: Option<Box<Relay>>,
}

impl Replica {
    /// Whether this copy may be shown: it does not lead, is no remnant, and has been level with a leader since its process began. One
    /// that is still being made would show nothing where there is something (bugs: SL-21). How old it is, is another matter.
    pub fn is_showable(&self) -> bool {
        let shows = match &self.role {
            Role::Follower(follower) => follower.stranded.is_none(),
            // What it has committed stays so, whoever is elected.
            Role::Sealed(_) => true,
            Role::Leader(_) | Role::Removed => false,
        };
        shows && (self.caught_up || plant::is(Bug::ShowsUnfinished))
    }

    /// The leader that this replica follows, as far as it has heard from it.
    pub fn follows(&self) -> Option<NodeId> {
        match &self.role {
            Role::Follower(follower) => follower.leader,
            _ => None,
        }
    }

    pub(super) fn on_append(
        &mut self,
        now: Instant,
        from: NodeId,
        epoch: Epoch,
        previous: Mark,
        commit: Index,
        round: u64,
        records: Bytes,
        out: &mut Vec<Output>,
    ) {
        self.follow(now, from, None, epoch, previous, commit, round, records, out);
    }

    /// Entries of the log of `leader`, sent by itself or by the follower `feeder`: the same whoever sends them.
    pub(super) fn follow(
        &mut self,
        now: Instant,
        leader: NodeId,
        feeder: Option<NodeId>,
        epoch: Epoch,
        previous: Mark,
        commit: Index,
        round: u64,
        records: Bytes,
        out: &mut Vec<Output>,
    ) {
        if !self.accept_leader(leader, epoch, out) {
            return;
        }
        if !self.holds(previous, feeder, out) {
            return;
        }
        let only_tells = records.is_empty();
        let Some(end) = self.take_records(previous.position, records, out) else { return };
        let Role::Follower(follower) = &mut self.role else { return };
        if feeder.is_some() || !only_tells {
            follower.through_link = feeder.is_some();
        }
        follower.matched = follower.matched.max(end);
        let due = round > follower.round || end <= self.persisted || plant::is(Bug::AcknowledgesEarly);
        follower.round = follower.round.max(round);
        let committed = commit.min(follower.matched);
        if committed > self.commit {
            follower.tells_applied |= only_tells && feeder.is_none();
            self.commit = committed;
            self.log.shed(WINDOW_BYTES_MAX, committed);
            out.push(Output::Committed(committed));
        }
        let Role::Follower(follower) = &self.role else { return };
        // A leader knows of everything committed once something of its own epoch is.
        self.caught_up |= commit <= follower.matched && self.log.epoch_at(commit) == Some(epoch);
        if due && feeder.is_some() {
            self.tell_held(out);
        } else if due {
            self.send_ack(out);
        }
        self.hand_on(now, out);
    }

    /// Whether a message of this leader may be used. A newer epoch than any promise is a promise: there is one leader
    /// process per epoch, and it was elected.
    pub(super) fn accept_leader(&mut self, from: NodeId, epoch: Epoch, out: &mut Vec<Output>) -> bool {
        let asked = match &self.role {
            Role::Removed => {
                out.push(Output::Report(Report::Dropped(DropReason::NotAMember)));
                return false;
            }
            Role::Sealed(sealing) => sealing.epoch,
            Role::Leader(leader) if leader.epoch == epoch => {
                out.push(Output::Report(Report::SecondLeader { epoch, node: from }));
                return false;
            }
            Role::Leader(_) => Epoch(0),
            Role::Follower(_) => Epoch(0),
        };
        let promised = self.promised.max(asked);
        if epoch < promised {
            out.push(Output::Send { to: from, message: Message::Stale { promised } });
            out.push(Output::Report(Report::Dropped(DropReason::StaleEpoch)));
            return false;
        }
        self.promised = epoch;
        if !matches!(self.role, Role::Follower(_)) {
            self.become_follower(out);
        }
        let Role::Follower(follower) = &mut self.role else { return false };
        if follower.epoch == epoch && follower.leader.is_some_and(|leader| leader != from) {
            out.push(Output::Report(Report::SecondLeader { epoch, node: from }));
            return false;
        }
        if follower.epoch != epoch || follower.leader.is_none() {
            *follower = Follower { leader: Some(from), epoch, ..Follower::default() };
            if plant::is(Bug::CutsToCommit) && self.log.last().position.index > self.commit {
                self.cut(self.commit, out);
            }
        }
        true
    }

    /// Whether this log has the entry that the leader's records follow. What is committed equals every leader's log.
    fn holds(&mut self, previous: Mark, feeder: Option<NodeId>, out: &mut Vec<Output>) -> bool {
        let Position { epoch, index } = previous.position;
        if self.log.hash_at(index).is_some_and(|hash| hash != previous.hash)
            && self.log.epoch_at(index) == Some(epoch)
        {
            // bugs: SL-17. Equal positions with unequal histories: one of the copies is damaged.
            out.push(Output::Report(Report::Diverged { at: previous.position }));
            return false;
        }
        let present = self.log.epoch_at(index);
        let lax = plant::is(Bug::SkipsUnknownEpoch) || plant::is(Bug::ResumesByIndex);
        if present == Some(epoch) || (lax && present.is_some()) {
            return true;
        }
        if index <= self.commit {
            self.contradicted(index.previous(), out);
            return false;
        }
        match feeder {
            Some(feeder) => self.tell_feeder(feeder, out),
            None => self.tell_end(out),
        }
        false
    }

    /// The leader's log lacks what is committed here. Under a rule that promises to keep it, one of both is damaged and this
    /// copy does nothing more. Under `async` an election lost it: this copy is made anew from a snapshot of the leader, and
    /// stays what it is until that is here.
    pub(super) fn contradicted(&mut self, cut: Index, out: &mut Vec<Output>) {
        let committed = self.commit;
        if self.view.is_none() {
            // Which of both it is, the view will tell; the leader asks again.
            return;
        }
        if !self.may_lose() {
            out.push(Output::Report(Report::CommittedConflict { committed, cut }));
            return;
        }
        let Role::Follower(follower) = &mut self.role else { return };
        if follower.stranded.is_none() {
            follower.stranded = Some(cut);
            self.caught_up = false;
            follower.relay = None;
            (follower.matched, follower.acknowledged) = (Index(0), Index(0));
            out.push(Output::Report(Report::Stranded { committed, cut }));
        }
        self.to_leader(|epoch| Message::Stranded { epoch, cut }, out);
    }

    /// Whether an election may have lost what is committed here: by the rule of now, or because one since was announced to.
    pub(super) fn may_lose(&self) -> bool {
        let committed = self.log.epoch_at(self.commit).unwrap_or_default();
        let lost_since = match &self.role {
            // What a leader's followers have from before.
            Role::Leader(_) => Epoch(0),
            _ => committed,
        };
        self.view.as_ref().is_some_and(|view| view.elects_best() || view.last_loss > lost_since)
    }
    fn stranded_at(&self) -> Option<Index> {
        match &self.role {
            Role::Follower(follower) => follower.stranded,
            _ => None,
        }
    }
    /// Whether this copy holds committed entries that its leader lacks, and waits for a snapshot to be made anew.
    pub fn is_stranded(&self) -> bool {
        self.stranded_at().is_some()
    }

    /// Appends what is new of the records, cutting first what contradicts them. Returns where the records end, `None`
    /// when they cannot be used.
    fn take_records(&mut self, previous: Position, records: Bytes, out: &mut Vec<Output>) -> Option<Index> {
        let mut end = previous.index;
        let mut offset = 0;
        while offset < records.len() {
            let Ok(record) = Record::parse(&records[offset..]) else {
                out.push(Output::Report(Report::Dropped(DropReason::Damaged)));
                return None;
            };
            let position = record.header.position();
            // A gap comes by itself and is judged by itself.
            if position.index != end.next() || record.header.kind == Kind::Gap {
                out.push(Output::Report(Report::Dropped(DropReason::OutOfOrder)));
                return None;
            }
            if position.index > self.log.last().position.index {
                break;
            }
            let differs = self.log.epoch_at(position.index) != Some(position.epoch);
            if differs && position.index <= self.commit {
                self.contradicted(end, out);
                return None;
            }
            if differs && !plant::is(Bug::SkipsUnknownEpoch) {
                if !self.may_cut(end, out) {
                    return None;
                }
                if !self.cut(end, out) {
                    // The window begins behind what must be cut: this copy cannot go on from memory.
                    out.push(Output::Report(Report::Diverged { at: position }));
                    return None;
                }
                break;
            }
            end = position.index;
            offset += record.len;
        }
        if offset == records.len() {
            return Some(end);
        }
        let fresh = records.slice(offset..);
        match self.log.append(fresh.clone()) {
            Ok(()) => {}
            Err(Unfit::History) => {
                let at = self.log.last().position;
                out.push(Output::Report(Report::Diverged { at }));
                return None;
            }
            Err(Unfit::Damaged | Unfit::Order) => {
                out.push(Output::Report(Report::Dropped(DropReason::Damaged)));
                return None;
            }
        }
        self.persist(fresh, false, out);
        Some(self.log.last().position.index)
    }

    /// Something was persisted: the leader hears of it.
    pub(super) fn acknowledge(&mut self, out: &mut Vec<Output>) {
        let Role::Follower(follower) = &self.role else { return };
        if self.persisted.min(follower.matched) > follower.acknowledged {
            match follower.relay.is_some() || follower.through_link {
                true => self.tell_held(out),
                false => self.send_ack(out),
            }
        }
    }

    /// The node has applied the log through here.
    pub fn applied(&mut self, index: Index, out: &mut Vec<Output>) {
        self.applied = index;
        if let Role::Follower(follower) = &mut self.role
            && core::mem::take(&mut follower.tells_applied)
        {
            self.send_ack(out);
        }
    }

    fn send_ack(&mut self, out: &mut Vec<Output>) {
        let (persisted, applied) = (self.persisted, self.applied);
        let Role::Follower(follower) = &mut self.role else { return };
        let matched = if plant::is(Bug::AcknowledgesEarly) {
            follower.matched
        } else {
            persisted.min(follower.matched)
        };
        follower.acknowledged = matched;
        let round = follower.round;
        self.to_leader(|epoch| Message::Ack { epoch, matched, applied, round }, out);
    }

    pub(super) fn to_leader(&self, message: impl FnOnce(Epoch) -> Message, out: &mut Vec<Output>) {
        if let Role::Follower(Follower { leader: Some(leader), epoch, .. }) = &self.role {
            out.push(Output::Send { to: *leader, message: message(*epoch) });
        }
    }

    pub(super) fn on_offer(
        &mut self,
        from: NodeId,
        epoch: Epoch,
        mark: Mark,
        len: u64,
        out: &mut Vec<Output>,
    ) {
        if !self.accept_leader(from, epoch, out) {
            return;
        }
        let index = mark.position.index;
        if index <= self.commit && self.log.epoch_at(index) != Some(mark.position.epoch) {
            // Said before perhaps, and forgotten with an earlier role.
            self.contradicted(index.previous(), out);
        }
        if let Some(cut) = self.stranded_at() {
            if mark.position.index > cut {
                if !self.prepare_for_snapshot(mark, out) {
                    // The leader offers it again.
                    return;
                }
                out.push(Output::TakeSnapshot { from, mark, len });
            } else {
                self.to_leader(|epoch| Message::Stranded { epoch, cut }, out);
            }
            return;
        }
        if mark.position.index <= self.commit {
            // Caught up by another way in the meantime: the leader shall look again where this log ends.
            self.tell_end(out);
            return;
        }
        if !self.prepare_for_snapshot(mark, out) {
            return;
        }
        out.push(Output::TakeSnapshot { from, mark, len });
    }

    /// The snapshot became this replica's state: the log goes on behind it.
    pub(super) fn on_installed(
        &mut self,
        _now: Instant,
        mark: Mark,
        starts: Vec<Position>,
        time_ms: i64,
        out: &mut Vec<Output>,
    ) {
        let index = mark.position.index;
        let stranded = self.stranded_at().is_some_and(|cut| index > cut);
        if (index <= self.commit && !stranded) || matches!(self.role, Role::Leader(_)) {
            out.push(Output::Report(Report::Dropped(DropReason::Overtaken)));
            return;
        }
        // Entries behind the snapshot that belong to the same history stay: they may be acknowledged already.
        let same = !stranded
            && self.log.epoch_at(index) == Some(mark.position.epoch)
            && self.log.hash_at(index).is_none_or(|hash| hash == mark.hash);
        self.commit = index;
        if same {
            self.persisted = self.persisted.max(index);
            self.log.shed(WINDOW_BYTES_MAX, index);
        } else {
            self.log = LogWindow::new(mark, starts, time_ms);
            self.persisted = index;
            self.clamp_persisting(index);
        }
        if let Role::Follower(follower) = &mut self.role {
            follower.stranded = None;
            follower.relay = None;
            follower.matched = follower.matched.min(index);
            follower.acknowledged = follower.acknowledged.min(index);
        }
        match &self.role {
            // The leader may be another than the one that offered: it checks where the logs part.
            Role::Follower(_) => self.tell_end(out),
            // The answer told the end of a log that is no more.
            Role::Sealed(sealing) if sealing.answered => {
                self.answer_seal(sealing.epoch, sealing.election, out);
            }
            Role::Sealed(_) | Role::Leader(_) | Role::Removed => {}
        }
    }

    /// Tells the leader where this log ends, so that it looks for the place where both part.
    pub(super) fn tell_end(&self, out: &mut Vec<Output>) {
        let last = self.log.last().position;
        let starts = self.log.starts().to_vec();
        self.to_leader(|epoch| Message::Mismatch { epoch, last, starts }, out);
    }
}
