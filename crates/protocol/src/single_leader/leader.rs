//! What a leader does: make entries, hand them to log and followers, count who has them.

use super::commit::committed;
use super::electable::Proposal;
use super::io::{Output, Report, RoleName};
use super::log_window::Mark;
use super::progress::Progress;
use super::replica::{Replica, Role, WINDOW_BYTES_MAX};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use data::codec::Writer;
use data::keyspace::{CommitRule, OnTimeout};
use data::plant::{self, Bug};
use data::record::{Header, Kind, Record};
use data::view;
use data::{Epoch, Index, Instant, NodeId, Position, RequestId};

/// Entries made in this turn, not yet handed to log and followers.
#[derive(Debug, Default)]
struct Pending {
    buffer: Vec<u8>,
    first: Option<Position>,
    last: Mark,
    time_ms: i64,
}

pub(super) struct Leader {
    pub epoch: Epoch,
    /// Index of the epoch's empty entry.
    pub start: Index,
    /// The empty entry is committed: commands may be executed.
    pub ready: bool,
    pub(super) followers: BTreeMap<NodeId, Progress>,
    pending: Pending,
    /// Confirmation rounds: asked for, sent, confirmed.
    pub(super) round_asked: u64,
    pub(super) round_sent: u64,
    pub(super) round_confirmed: u64,
    pub(super) proposal: Option<Proposal>,
    /// The rule that this leader would propose if everything committed stood under it: until then nothing new is committed that
    /// does not, so that the followers come level.
    pub(super) preparing: Option<CommitRule>,
    /// When it last began to.
    pub(super) prepared_at: Instant,
    /// Since when entries wait for followers and none was committed.
    pub(super) stalled_since: Option<Instant>,
    pub(super) ticked_at: Instant,
}

impl Leader {
    /// Electable followers, in their present life, that are connected and had everything, or made progress, within this time.
    pub(super) fn keeping_up(&self, now: Instant, view: &view::View, within: Duration) -> usize {
        let keeps_up = |replica: &&view::Replica| {
            self.followers.get(&replica.node).is_some_and(|it| {
                let same = it.incarnation == Some(replica.incarnation) && self.counts(view, it);
                same && it.connected && it.is_replicating() && now.since(it.current_at) <= within
            })
        };
        view.electable.iter().filter(keeps_up).count()
    }
    /// Whether a copy holds what it acknowledged: under `best-effort` only one that is known to be whole does.
    pub(super) fn counts(&self, view: &view::View, progress: &Progress) -> bool {
        view.rule != CommitRule::BestEffort || progress.is_whole(self.start)
    }
    /// What every new entry must meet: the view's rule and electable set, and those that are proposed or prepared beside them.
    pub(super) fn quorums<'a>(
        &'a self,
        view: &'a view::View,
    ) -> impl Iterator<Item = (CommitRule, &'a [view::Replica])> {
        let proposed = self.proposal.as_ref().map(|it| (it.rule, &it.electable[..]));
        let prepared = self.preparing.map(|rule| (rule, &view.electable[..]));
        let recorded = Some((view.rule, &view.electable[..]));
        let recorded = recorded.filter(|_| proposed.is_none() || !plant::is(Bug::CountsUnrecorded));
        [recorded, proposed, prepared].into_iter().flatten()
    }
}

impl Replica {
    pub(super) fn become_leader(&mut self, now: Instant, epoch: Epoch, out: &mut Vec<Output>) {
        let Some(view) = &self.view else { return };
        let last = self.log.last().position;
        let expected = view.history.last().copied().unwrap_or_default();
        let start = Position { epoch, index: last.index.next() };
        let keeps = plant::is(Bug::LeadsAfterRestart) && last.epoch == epoch;
        if expected != start && !keeps {
            out.push(Output::Report(Report::Declined { epoch, expected, last }));
            return;
        }
        let followers = view.copies().filter(|node| *node != self.me.node);
        let followers = followers.map(|node| (node, Progress::new(now, start.index))).collect();
        self.promised = epoch;
        self.role = Role::Leader(Leader {
            epoch,
            start: start.index,
            ready: plant::is(Bug::ServesBeforeEmptyEntry),
            followers,
            pending: Pending { last: self.log.last(), ..Pending::default() },
            round_asked: 0,
            round_sent: 0,
            round_confirmed: 0,
            proposal: None,
            preparing: None,
            prepared_at: Instant::ZERO,
            stalled_since: None,
            ticked_at: now,
        });
        self.relink_followers(now);
        out.push(Output::Became(RoleName::LeaderElect));
        let time_ms = self.log.time_ms();
        let lacks = self.own_gaps();
        self.append(Kind::Empty, RequestId::NONE, time_ms, |w| {
            if !lacks.is_empty() {
                lacks.encode(w);
            }
        });
        self.flush(now, out);
    }

    /// Makes an entry; `payload` writes its payload. Returns its position, `None` unless this replica leads. `time_ms` is the
    /// leader's wall clock: the entry's time is never before its predecessor's. Nothing leaves before [`Replica::flush`].
    pub fn propose(
        &mut self,
        kind: Kind,
        request: RequestId,
        time_ms: i64,
        payload: impl FnOnce(&mut Writer<'_>),
    ) -> Option<Position> {
        matches!(&self.role, Role::Leader(leader) if leader.ready)
            .then(|| self.append(kind, request, time_ms, payload))
            .flatten()
    }

    fn append(
        &mut self,
        kind: Kind,
        request: RequestId,
        time_ms: i64,
        payload: impl FnOnce(&mut Writer<'_>),
    ) -> Option<Position> {
        let (keyspace, group, commit) = (self.keyspace, self.group, self.commit);
        let newest = self.log.time_ms();
        let Role::Leader(leader) = &mut self.role else { return None };
        let pending = &mut leader.pending;
        pending.time_ms = pending.time_ms.max(time_ms).max(newest);
        let position = Position { epoch: leader.epoch, index: pending.last.position.index.next() };
        let header = Header {
            kind,
            keyspace,
            group,
            epoch: position.epoch,
            index: position.index,
            commit,
            time_ms: pending.time_ms,
            request,
        };
        let hash = Record::write(&mut pending.buffer, &header, pending.last.hash, payload);
        pending.first.get_or_insert(position);
        pending.last = Mark { position, hash };
        Some(position)
    }

    /// The time that the next entry will carry for a given wall clock: never backwards.
    pub fn entry_time_ms(&self, wall_ms: i64) -> i64 {
        let pending = match &self.role {
            Role::Leader(leader) => leader.pending.time_ms,
            _ => i64::MIN,
        };
        wall_ms.max(pending).max(self.log.time_ms())
    }

    /// Position of the newest entry, those of this turn included.
    pub fn newest(&self) -> Position {
        match &self.role {
            Role::Leader(leader) => leader.pending.last.position,
            _ => self.log.last().position,
        }
    }

    /// Bytes of the entries of this turn, which [`Replica::flush`] has not handed on yet.
    pub fn pending_bytes(&self) -> usize {
        match &self.role {
            Role::Leader(leader) => leader.pending.buffer.len(),
            _ => 0,
        }
    }

    /// The end of a turn: what was proposed goes to the log and to the followers, one write and one message each.
    pub fn flush(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Role::Leader(leader) = &mut self.role else { return };
        if let Some(first) = leader.pending.first.take() {
            let records = Bytes::from(core::mem::take(&mut leader.pending.buffer));
            let (last, time_ms) = (leader.pending.last, leader.pending.time_ms);
            self.log.push(first, last, time_ms, records.clone());
            self.persist(records, false, out);
            self.log.shed(WINDOW_BYTES_MAX, self.commit);
        } else if leader.round_asked == leader.round_sent {
            return;
        }
        self.replicate(now, out);
        self.send_round(now, out);
    }

    /// Progress of a life of a node, as the commit rule counts it.
    pub(super) fn persisted_by(leader: &Leader, replica: view::Replica) -> Index {
        match leader.followers.get(&replica.node) {
            Some(progress)
                if progress.incarnation == Some(replica.incarnation) || plant::is(Bug::CountsOtherLife) =>
            {
                progress.matched
            }
            _ => Index(0),
        }
    }

    /// What the present rule, and the proposed one beside it, call committed.
    pub(super) fn advance_commit(&mut self, now: Instant, out: &mut Vec<Output>) {
        let (Role::Leader(leader), Some(view)) = (&mut self.role, &self.view) else { return };
        let by = |(rule, electable): (CommitRule, &[view::Replica])| {
            committed(rule, electable, self.me.node, self.persisted, |r| Replica::persisted_by(leader, r))
        };
        let index = leader.quorums(view).map(by).min().unwrap_or_default();
        // bugs: SL-10
        let patience = Duration::from_millis(u64::from(view.settings.timeout_ms));
        let late = || leader.stalled_since.is_some_and(|since| now.since(since) >= patience);
        let alone = plant::is(Bug::DegradesAlone) && view.settings.on_timeout == OnTimeout::Degrade && late();
        let index = if alone { self.persisted } else { index };
        // bugs: SL-19. Entries of older epochs are committed only together with this epoch's first.
        let counts = index >= leader.start || plant::is(Bug::CountsOldEpochs);
        if index <= self.commit || !(counts || plant::is(Bug::ServesBeforeEmptyEntry)) {
            return;
        }
        self.commit = index;
        leader.stalled_since = None;
        let first = !leader.ready && index >= leader.start;
        leader.ready |= first;
        if first {
            out.push(Output::Became(RoleName::Leader));
        }
        out.push(Output::Committed(index));
        if first {
            self.leader_tick(now, out);
        }
    }

    /// What a leader looks after by the clock.
    pub(super) fn leader_tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.tend_followers(now, out);
        self.resend_round(now, out);
        self.keep_electable(now, out);
    }

    /// The view changed while this replica leads: members come and go, a proposal is decided.
    pub(super) fn leader_meets_view(&mut self, now: Instant, out: &mut Vec<Output>) {
        let last = self.log.last().position.index;
        let (Role::Leader(leader), Some(view)) = (&mut self.role, &self.view) else { return };
        if leader.proposal.as_ref().is_some_and(|proposal| proposal.number < view.number) {
            leader.proposal = None;
            leader.preparing = None;
        }
        leader.followers.retain(|node, _| view.holds_copy(*node));
        for node in view.copies().filter(|node| *node != self.me.node) {
            leader.followers.entry(node).or_insert_with(|| Progress::new(now, last.next()));
        }
        self.relink_followers(now);
        self.replicate(now, out);
        self.advance_commit(now, out);
        self.leader_tick(now, out);
    }

    /// Electable followers, in their present life, that are connected and had everything at most `lag_max` ago. Counted against the
    /// membership: one whose connection stands but which left the set does not count.
    pub fn good_followers(&self, now: Instant, lag_max: Duration) -> usize {
        let (Role::Leader(leader), Some(view)) = (&self.role, &self.view) else { return 0 };
        leader.keeping_up(now, view, lag_max)
    }

    /// What the leader knows of its followers, for receipts, ROLE and metrics.
    pub fn followers(&self) -> impl Iterator<Item = (NodeId, &Progress)> {
        let followers = match &self.role {
            Role::Leader(leader) => Some(&leader.followers),
            _ => None,
        };
        followers.into_iter().flatten().map(|(node, progress)| (*node, progress))
    }
}
