//! One replica of one group: the parts that every role shares, and the transitions between roles.

use super::follower::Follower;
use super::gap::Standing;
use super::io::{DropReason, Input, Output, Recovered, Report, RoleName};
use super::leader::Leader;
use super::links::Links;
use super::log_window::{LogWindow, Mark};
use super::lost::Keeping;
use super::message::Message;
use super::sealing::Sealing;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;
use data::plant::{self, Bug};
use data::record::{Header, Kind, Record};
use data::view::{self, View};
use data::{Epoch, GroupId, Incarnation, Index, Instant, KeyspaceId, NodeId, Process, RequestId};

/// What a replica is told.
pub(super) enum Role {
    Follower(Follower),
    Sealed(Sealing),
    Leader(Leader),
    Removed,
}

/// Limits of one replica, in bytes; every one is a guess that bounds memory at a few times the usual need.
pub(super) const WINDOW_BYTES_MAX: usize = 32 << 20;
pub(super) const IN_FLIGHT_BYTES_MAX: usize = 16 << 20;
/// To one follower at one time: what it lacks beyond that follows its acknowledgement, between the writes of others.
pub(super) const SEND_BYTES_MAX: usize = 512 << 10;
pub(super) const FETCH_BYTES_MAX: usize = 1 << 20;

/// Invariants: `commit <= log.last`, `persisted <= log.last`; `promised` never shrinks and is at least the epoch of
/// every entry; nothing is committed in a role other than leader except on a leader's word.
pub struct Replica {
    pub(super) me: view::Replica,
    pub(super) process: Process,
    pub(super) group: GroupId,
    pub(super) keyspace: KeyspaceId,
    pub(super) view: Option<View>,
    /// Who feeds whom by that view.
    pub(super) links: Links,
    pub(super) promised: Epoch,
    pub(super) log: LogWindow,
    pub(super) persisted: Index,
    pub(super) commit: Index,
    pub(super) role: Role,
    /// Applied by the node, told with every commit: what an `Ack` says of it.
    pub(super) applied: Index,
    /// This copy has held everything that its leader called committed, once in the life of this process.
    pub(super) caught_up: bool,
    token: u64,
    /// Appends on their way to the disk: token, end of the log after them.
    persisting: VecDeque<(u64, Index)>,
    /// What is written into the ledger before it is cut.
    pub(super) keeping: Option<Keeping>,
    /// As a leader this process has answered for entries through here that may not be committed.
    pub(super) told_ahead: Index,
    /// What this copy's table lacks.
    pub(super) standing: Standing,
}

impl Replica {
    pub fn new(
        me: view::Replica,
        process: Process,
        group: GroupId,
        keyspace: KeyspaceId,
        recovered: Recovered,
    ) -> Replica {
        let Recovered { promised, commit, log } = recovered;
        let last = log.last().position;
        Replica {
            me,
            process,
            group,
            keyspace,
            view: None,
            links: Links::default(),
            promised: promised.max(last.epoch),
            persisted: last.index,
            commit: commit.min(last.index),
            applied: Index(0),
            caught_up: false,
            log,
            role: Role::Follower(Follower::default()),
            token: 0,
            persisting: VecDeque::new(),
            keeping: None,
            told_ahead: Index(0),
            standing: Standing::default(),
        }
    }

    pub fn group(&self) -> GroupId {
        self.group
    }
    pub fn keyspace(&self) -> KeyspaceId {
        self.keyspace
    }
    pub fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }
    /// Who feeds whom by that view.
    pub fn links(&self) -> &Links {
        &self.links
    }
    pub fn log(&self) -> &LogWindow {
        &self.log
    }
    pub fn commit(&self) -> Index {
        self.commit
    }
    pub fn persisted(&self) -> Index {
        self.persisted
    }
    pub fn promised(&self) -> Epoch {
        self.promised
    }
    pub fn role(&self) -> RoleName {
        match &self.role {
            Role::Follower(_) => RoleName::Follower,
            Role::Sealed(_) => RoleName::Sealed,
            Role::Leader(leader) if leader.ready => RoleName::Leader,
            Role::Leader(_) => RoleName::LeaderElect,
            Role::Removed => RoleName::Removed,
        }
    }
    /// The epoch that this replica leads, if it does.
    pub fn leads(&self) -> Option<Epoch> {
        match &self.role {
            Role::Leader(leader) => Some(leader.epoch),
            _ => None,
        }
    }
    /// Whether a grant to a leader of `epoch` must name this group as refused: this replica has promised, or is asked
    /// to promise, a newer one.
    pub fn refuses(&self, epoch: Epoch) -> bool {
        let asked = match &self.role {
            Role::Sealed(sealing) => sealing.epoch,
            Role::Removed => return true,
            Role::Follower(_) | Role::Leader(_) => Epoch(0),
        };
        self.promised.max(asked) > epoch
    }
    /// One step. Never fails, never blocks; what cannot be used is reported and dropped.
    pub fn step(&mut self, now: Instant, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::View(view) => self.on_view(now, *view, out),
            Input::Message { from, incarnation, message } => {
                self.on_message(now, from, incarnation, message, out);
            }
            Input::Persisted { token } => self.on_persisted(now, token, out),
            Input::Seal { epoch, election, not_before } => {
                self.on_seal(now, epoch, election, not_before, out);
            }
            Input::Fetched { to, from, records } => self.on_fetched(now, to, from, records, out),
            Input::SnapshotReady { to, mark, len } => self.on_snapshot_ready(now, to, mark, len, out),
            Input::Installed { mark, starts, time_ms } => self.on_installed(now, mark, starts, time_ms, out),
            Input::Connection { node, up } => self.on_connection(now, node, up),
            Input::ProposalRefused { number, rule, electable } => self.on_refused(number, rule, &electable),
            Input::Tick => self.on_tick(now, out),
        }
    }

    fn on_view(&mut self, now: Instant, view: View, out: &mut Vec<Output>) {
        if self.view.as_ref().is_some_and(|known| known.number >= view.number) {
            return;
        }
        let me_leader = view::Leader { replica: self.me, process: self.process };
        let (epoch, election, mut leader) = (view.epoch, view.election, view.leader);
        if plant::is(Bug::LeadsAfterRestart) && self.log.last().position.epoch == epoch {
            leader = leader.map(|leader| view::Leader { process: self.process, ..leader });
        }
        // Who has left the members still counts in elections until the electable set changes.
        let member = view.holds_copy(self.me.node);
        self.links = Links::of(&view);
        self.view = Some(view);
        if !member {
            self.become_removed(out);
        } else if leader == Some(me_leader) && election.is_none() {
            let asked = match &self.role {
                Role::Sealed(sealing) => sealing.epoch,
                _ => Epoch(0),
            };
            if self.leads() != Some(epoch) && self.promised.max(asked) <= epoch {
                self.become_leader(now, epoch, out);
            }
        } else if self.leads().is_some_and(|led| led < epoch) || matches!(self.role, Role::Removed) {
            self.become_follower(out);
        } else if let Role::Sealed(sealing) = &self.role
            && epoch >= sealing.epoch
        {
            self.become_follower(out);
        }
        self.leader_meets_view(now, out);
        self.relink(now, out);
    }

    fn on_message(
        &mut self,
        now: Instant,
        from: NodeId,
        incarnation: Incarnation,
        message: Message,
        out: &mut Vec<Output>,
    ) {
        match message {
            Message::Append { epoch, previous, previous_hash, commit, round, records } => {
                self.on_append(
                    now,
                    from,
                    epoch,
                    Mark { position: previous, hash: previous_hash },
                    commit,
                    round,
                    records,
                    out,
                );
            }
            Message::Offer { epoch, position, hash, len } => {
                self.on_offer(from, epoch, Mark { position, hash }, len, out);
            }
            Message::Ack { epoch, matched, applied, round } => {
                let from = view::Replica { node: from, incarnation };
                self.on_ack(now, from, epoch, matched, applied, round, out);
            }
            Message::Mismatch { epoch, last, starts } => {
                let from = view::Replica { node: from, incarnation };
                self.on_mismatch(now, from, epoch, last, &starts, out);
            }
            Message::Stranded { epoch, cut } => {
                let from = view::Replica { node: from, incarnation };
                self.on_stranded(now, from, epoch, cut, out);
            }
            Message::Feed { view, epoch, previous, previous_hash, commit, records } => {
                let previous = Mark { position: previous, hash: previous_hash };
                self.on_feed(now, from, view, epoch, previous, commit, records, out);
            }
            Message::Held { view, epoch, held } => {
                let from = view::Replica { node: from, incarnation };
                self.on_held(now, from, view, epoch, &held, out);
            }
            Message::Lacks { view, epoch, last, starts } => {
                let from = view::Replica { node: from, incarnation };
                if self.linked(view, epoch, out).is_some() {
                    self.on_mismatch(now, from, epoch, last, &starts, out);
                }
            }
            Message::Gap { epoch, previous, commit, record } => {
                self.on_gap(from, epoch, previous, commit, record, out);
            }
            Message::Standing { epoch, through, whole, missed } => {
                let from = view::Replica { node: from, incarnation };
                self.on_standing(now, from, epoch, (through, whole, missed), out);
            }
            Message::Stale { promised } => {
                // The control plane will say who leads; until then this leader commits nothing, for its follower refuses.
                if self.leads().is_some_and(|epoch| epoch >= promised) {
                    out.push(Output::Report(Report::Dropped(DropReason::Overtaken)));
                }
            }
        }
    }

    /// No append on its way to the disk makes more than `index` persistent.
    pub(super) fn clamp_persisting(&mut self, to: Index) {
        for (_, index) in &mut self.persisting {
            *index = (*index).min(to);
        }
    }

    /// Hands records to the log and remembers what they make persistent.
    pub(super) fn persist(&mut self, records: Bytes, promise: bool, out: &mut Vec<Output>) -> u64 {
        self.token += 1;
        self.persisting.push_back((self.token, self.log.last().position.index));
        out.push(Output::Persist { token: self.token, records, promise });
        self.token
    }

    /// The token of a write that makes no entry persistent.
    pub(super) fn note_token(&mut self) -> u64 {
        self.token += 1;
        self.persisting.push_back((self.token, Index(0)));
        self.token
    }

    fn on_persisted(&mut self, now: Instant, token: u64, out: &mut Vec<Output>) {
        while let Some((front, index)) = self.persisting.front().copied()
            && front <= token
        {
            self.persisting.pop_front();
            self.persisted = self.persisted.max(index.min(self.log.last().position.index));
        }
        let kept = self.kept(token);
        match &mut self.role {
            Role::Leader(_) => self.advance_commit(now, out),
            Role::Follower(_) => {
                self.acknowledge(out);
                if kept && !self.is_stranded() {
                    // The leader sends again what contradicts this log's end, and now it may be cut.
                    self.tell_end(out);
                }
            }
            Role::Sealed(sealing) if sealing.fence.is_none() => {
                if kept {
                    self.fence_when_due(now, out);
                }
            }
            Role::Sealed(sealing) => {
                if sealing.fence.is_some_and(|fence| fence <= token) && !sealing.answered {
                    sealing.answered = true;
                    let (epoch, election) = (sealing.epoch, sealing.election);
                    self.promised = self.promised.max(epoch);
                    self.answer_seal(epoch, election, out);
                }
            }
            Role::Removed => {}
        }
    }

    /// Cuts the log after `to`: the record that says so goes to the log first, then memory follows.
    pub(super) fn cut(&mut self, to: Index, out: &mut Vec<Output>) -> bool {
        debug_assert!(to >= self.commit, "what is committed is never cut");
        if !self.log.truncate(to) {
            return false;
        }
        self.persisted = self.persisted.min(to);
        self.clamp_persisting(to);
        let record = self.mark_record(Kind::Truncate, to);
        self.persist(record, false, out);
        out.push(Output::Truncated(to));
        true
    }

    /// A record that is no entry: it says something about the log at `index`.
    pub(super) fn mark_record(&self, kind: Kind, index: Index) -> Bytes {
        let mut buffer = Vec::new();
        let header = Header {
            kind,
            keyspace: self.keyspace,
            group: self.group,
            epoch: self.promised,
            index,
            commit: self.commit,
            time_ms: self.log.time_ms(),
            request: RequestId::NONE,
        };
        Record::write(&mut buffer, &header, 0, |_| {});
        Bytes::from(buffer)
    }

    fn on_tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        match self.role {
            Role::Sealed(_) => self.fence_when_due(now, out),
            Role::Leader(_) => self.leader_tick(now, out),
            Role::Follower(_) => {
                self.tell_standing(now, out);
                self.relay_tick(now, out);
            }
            Role::Removed => {}
        }
    }

    pub(super) fn become_follower(&mut self, out: &mut Vec<Output>) {
        self.role = Role::Follower(Follower::default());
        out.push(Output::Became(RoleName::Follower));
    }
    fn become_removed(&mut self, out: &mut Vec<Output>) {
        self.caught_up = false;
        if !matches!(self.role, Role::Removed) {
            self.role = Role::Removed;
            out.push(Output::Became(RoleName::Removed));
        }
    }
}
