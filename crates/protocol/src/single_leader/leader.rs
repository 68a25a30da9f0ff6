//! What a leader does: make entries, ship them, count who has them, keep the electable set honest, confirm reads.

use super::commit::{committed, leased_until};
use super::log_window::Mark;
use super::message::Message;
use super::replica::{
    DropReason, FETCH_BYTES_MAX, IN_FLIGHT_BYTES_MAX, Output, ReadPermit, Replica, Report, Role, RoleName,
    WINDOW_BYTES_MAX,
};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use data::codec::Writer;
use data::keyspace::CommitRule;
use data::record::{Header, Kind, Record};
use data::view;
use data::{Epoch, Incarnation, Index, Instant, NodeId, Position, RequestId, ViewNumber};

/// Between two probes of a follower whose log end is unknown. A guess: a few round trips.
const PROBE_EVERY: Duration = Duration::from_millis(100);
/// Entries in flight without any answer for so long were lost: go back to what was acknowledged.
const RESEND_AFTER: Duration = Duration::from_millis(400);
/// An in-sync follower that misses entries and makes no progress for so long leaves the set: the bound on how long it
/// can hold up writes (bugs: SL-26). Longer than a resend, so that one lost message does not cost a view change.
const LAG_MAX: Duration = Duration::from_millis(600);
/// The same for a follower whose connection is lost: nothing can be on its way.
const LAG_MAX_DISCONNECTED: Duration = Duration::from_millis(100);
/// Proposals to the control plane are repeated until a newer view is known.
const PROPOSE_EVERY: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    /// Where the logs agree is not known: one message at a time.
    Probe,
    Replicate,
    /// Older entries are being read from disk.
    Fetch,
    /// The follower needs, or is taking, a snapshot.
    Snapshot,
}

/// What the leader knows of one follower.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The life that the acknowledgements are of.
    pub incarnation: Option<Incarnation>,
    /// Persisted and equal to the leader's log through here.
    pub matched: Index,
    pub applied: Index,
    /// When it last made progress, or had everything.
    pub current_at: Instant,
    next: Index,
    mode: Mode,
    in_flight: VecDeque<(Index, usize)>,
    in_flight_bytes: usize,
    sent_at: Instant,
    heard_at: Instant,
    round: u64,
    told: Index,
    connected: bool,
}

impl Progress {
    fn new(now: Instant, next: Index) -> Progress {
        Progress {
            incarnation: None,
            matched: Index(0),
            applied: Index(0),
            current_at: now,
            next,
            mode: Mode::Probe,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            sent_at: Instant::ZERO,
            heard_at: now,
            round: 0,
            told: Index(0),
            connected: true,
        }
    }
    fn probe(&mut self, next: Index) {
        self.mode = Mode::Probe;
        self.next = next;
        self.in_flight.clear();
        self.in_flight_bytes = 0;
        self.sent_at = Instant::ZERO;
    }
    /// Whether entries flow and nothing older is missing.
    pub fn is_replicating(&self) -> bool {
        self.mode == Mode::Replicate
    }
}

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
    followers: BTreeMap<NodeId, Progress>,
    pending: Pending,
    /// Confirmation rounds: asked for, sent, confirmed.
    round_asked: u64,
    round_sent: u64,
    round_confirmed: u64,
    proposal: Option<Proposal>,
}

/// Another electable set, proposed and not yet decided.
struct Proposal {
    number: ViewNumber,
    electable: Vec<view::Replica>,
    sent_at: Instant,
}

impl Replica {
    pub(super) fn become_leader(&mut self, now: Instant, epoch: Epoch, out: &mut Vec<Output>) {
        let Some(view) = &self.view else { return };
        let last = self.log.last().position;
        let expected = view.history.last().copied().unwrap_or_default();
        let start = Position { epoch, index: last.index.next() };
        if expected != start {
            out.push(Output::Report(Report::Declined { epoch, expected, last }));
            return;
        }
        let followers = view.members.iter().filter(|n| **n != self.me.node);
        let followers = followers.map(|n| (*n, Progress::new(now, start.index))).collect();
        self.promised = epoch;
        self.role = Role::Leader(Leader {
            epoch,
            start: start.index,
            ready: false,
            followers,
            pending: Pending { last: self.log.last(), ..Pending::default() },
            round_asked: 0,
            round_sent: 0,
            round_confirmed: 0,
            proposal: None,
        });
        out.push(Output::Became(RoleName::LeaderElect));
        let time_ms = self.log.time_ms();
        self.append(Kind::Empty, RequestId::NONE, time_ms, |_| {});
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

    /// Bytes of entries that are not committed yet are bounded by the caller through this.
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

    fn replicate(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Role::Leader(leader) = &mut self.role else { return };
        let nodes: Vec<NodeId> = leader.followers.keys().copied().collect();
        for node in nodes {
            self.send_entries(now, node, out);
        }
    }

    /// Sends a follower what it misses, as far as its share of memory in flight allows.
    fn send_entries(&mut self, now: Instant, node: NodeId, out: &mut Vec<Output>) {
        let commit = self.commit;
        let last = self.log.last().position.index;
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(progress) = leader.followers.get_mut(&node) else { return };
        while progress.mode == Mode::Replicate
            && progress.next <= last
            && progress.in_flight_bytes < IN_FLIGHT_BYTES_MAX
        {
            let Some((previous, records, end)) = self.log.records_from(progress.next) else {
                progress.mode = Mode::Fetch;
                progress.sent_at = now;
                out.push(Output::Fetch { to: node, from: progress.next, bytes_max: FETCH_BYTES_MAX });
                return;
            };
            if progress.in_flight.is_empty() {
                progress.heard_at = now;
            }
            progress.in_flight.push_back((end, records.len()));
            progress.in_flight_bytes += records.len();
            progress.next = end.next();
            progress.told = commit;
            progress.sent_at = now;
            let message = Message::Append {
                epoch: leader.epoch,
                previous: previous.position,
                previous_hash: previous.hash,
                commit,
                round: leader.round_asked,
                records,
            };
            out.push(Output::Send { to: node, message });
        }
    }

    /// An `Append` without records: probes, tells the commit index, carries the confirmation round.
    fn send_notice(&mut self, now: Instant, node: NodeId, out: &mut Vec<Output>) {
        let commit = self.commit;
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(progress) = leader.followers.get_mut(&node) else { return };
        let index = if progress.mode == Mode::Probe { progress.next.previous() } else { progress.matched };
        let mark = self.log.epoch_at(index).zip(self.log.hash_at(index));
        let Some((epoch, hash)) = mark else {
            // Older than the window: the entries themselves, read from disk, are the probe.
            if progress.mode == Mode::Probe {
                progress.mode = Mode::Fetch;
                progress.sent_at = now;
                out.push(Output::Fetch { to: node, from: progress.next, bytes_max: FETCH_BYTES_MAX });
            }
            return;
        };
        progress.told = commit;
        progress.sent_at = now;
        let message = Message::Append {
            epoch: leader.epoch,
            previous: Position { epoch, index },
            previous_hash: hash,
            commit,
            round: leader.round_asked,
            records: Bytes::new(),
        };
        out.push(Output::Send { to: node, message });
    }

    fn send_round(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Role::Leader(leader) = &mut self.role else { return };
        if leader.round_sent == leader.round_asked {
            return;
        }
        leader.round_sent = leader.round_asked;
        let nodes: Vec<NodeId> = leader.followers.keys().copied().collect();
        for node in nodes {
            self.send_notice(now, node, out);
        }
    }

    pub(super) fn on_ack(
        &mut self,
        now: Instant,
        from: view::Replica,
        epoch: Epoch,
        matched: Index,
        applied: Index,
        round: u64,
        out: &mut Vec<Output>,
    ) {
        let last = self.log.last().position.index;
        let Some(progress) = self.progress_of(now, from, epoch, out) else { return };
        if matched > progress.matched {
            progress.matched = matched;
            progress.current_at = now;
        }
        if progress.matched >= last {
            progress.current_at = now;
        }
        progress.applied = progress.applied.max(applied);
        progress.round = progress.round.max(round);
        while let Some((end, bytes)) = progress.in_flight.front().copied()
            && end <= matched
        {
            progress.in_flight.pop_front();
            progress.in_flight_bytes -= bytes;
        }
        match progress.mode {
            Mode::Probe | Mode::Snapshot => {
                // An answer to a probe: the logs agree through `matched` at least, and the follower's end is there too
                // unless it said otherwise.
                progress.mode = Mode::Replicate;
                progress.next = progress.matched.next();
            }
            Mode::Replicate | Mode::Fetch => {}
        }
        self.send_entries(now, from.node, out);
        self.advance_commit(now, out);
        self.confirm_rounds(out);
    }

    pub(super) fn on_mismatch(
        &mut self,
        now: Instant,
        from: view::Replica,
        epoch: Epoch,
        last: Position,
        starts: &[Position],
        out: &mut Vec<Output>,
    ) {
        let common = common_end(self.log.starts(), self.log.last().position.index, starts, last.index);
        let Some(progress) = self.progress_of(now, from, epoch, out) else { return };
        let next = common.max(progress.matched).next();
        progress.probe(next);
        self.send_notice(now, from.node, out);
    }

    /// The follower that a message came from, if it counts: of this epoch, a member, and of its newest life.
    fn progress_of(
        &mut self,
        now: Instant,
        from: view::Replica,
        epoch: Epoch,
        out: &mut Vec<Output>,
    ) -> Option<&mut Progress> {
        let last = self.log.last().position.index;
        let reason = match &mut self.role {
            Role::Leader(leader) if leader.epoch == epoch => match leader.followers.get_mut(&from.node) {
                None => DropReason::NotAMember,
                Some(progress) if progress.incarnation.is_some_and(|known| known > from.incarnation) => {
                    DropReason::OtherIncarnation
                }
                Some(progress) => {
                    if progress.incarnation != Some(from.incarnation) {
                        // bugs: SL-15. What an earlier life acknowledged says nothing of this one.
                        *progress = Progress::new(now, last.next());
                        progress.incarnation = Some(from.incarnation);
                    }
                    progress.heard_at = now;
                    return leader.followers.get_mut(&from.node);
                }
            },
            Role::Leader(_) => DropReason::StaleEpoch,
            _ => DropReason::NotLeading,
        };
        out.push(Output::Report(Report::Dropped(reason)));
        None
    }

    /// Progress of a life of a node, as the commit rule counts it.
    fn persisted_by(leader: &Leader, replica: view::Replica) -> Index {
        match leader.followers.get(&replica.node) {
            Some(progress) if progress.incarnation == Some(replica.incarnation) => progress.matched,
            _ => Index(0),
        }
    }

    /// What the present rule, and the proposed one beside it, call committed.
    pub(super) fn advance_commit(&mut self, now: Instant, out: &mut Vec<Output>) {
        let (Role::Leader(leader), Some(view)) = (&mut self.role, &self.view) else { return };
        let rule = view.settings.commit;
        let by = |electable: &[view::Replica]| {
            committed(rule, electable, self.me.node, self.persisted, |r| Replica::persisted_by(leader, r))
        };
        let mut index = by(&view.electable);
        if let Some(proposal) = &leader.proposal {
            index = index.min(by(&proposal.electable));
        }
        // bugs: SL-19. Entries of older epochs are committed only together with this epoch's first.
        if index <= self.commit || index < leader.start {
            return;
        }
        self.commit = index;
        let first = !leader.ready;
        leader.ready = true;
        if first {
            out.push(Output::Became(RoleName::Leader));
        }
        out.push(Output::Committed(index));
        if first {
            self.leader_tick(now, out);
        }
    }

    /// Until when reads may be answered without asking, or which round has to be confirmed. `granted` tells the leases
    /// of followers, `control` until when the control plane guarantees that it elects nobody else.
    pub fn read_permit(
        &mut self,
        now: Instant,
        granted: impl Fn(view::Replica) -> Instant,
        control: Instant,
    ) -> ReadPermit {
        let (Role::Leader(leader), Some(view)) = (&mut self.role, &self.view) else { return ReadPermit::No };
        if !leader.ready {
            return ReadPermit::No;
        }
        let rule = view.settings.commit;
        let by = |electable: &[view::Replica]| leased_until(rule, electable, self.me.node, &granted);
        let mut until = by(&view.electable);
        if let Some(proposal) = &leader.proposal {
            until = until.min(by(&proposal.electable));
        }
        let until = until.max(control);
        if now < until {
            return ReadPermit::Until(until);
        }
        if rule.followers_needed(view.electable.len()) == 0 {
            // Followers have no say under this rule: only the control plane's lease can tell.
            return ReadPermit::No;
        }
        if leader.round_asked == leader.round_sent {
            leader.round_asked += 1;
        }
        ReadPermit::After(leader.round_asked)
    }

    fn confirm_rounds(&mut self, out: &mut Vec<Output>) {
        let (Role::Leader(leader), Some(view)) = (&mut self.role, &self.view) else { return };
        let rule = view.settings.commit;
        let by = |electable: &[view::Replica]| {
            let round = |r: view::Replica| match leader.followers.get(&r.node) {
                Some(p) if p.incarnation == Some(r.incarnation) => Index(p.round),
                _ => Index(0),
            };
            committed(rule, electable, self.me.node, Index(leader.round_sent), round).0
        };
        let mut round = by(&view.electable);
        if let Some(proposal) = &leader.proposal {
            round = round.min(by(&proposal.electable));
        }
        if round > leader.round_confirmed {
            leader.round_confirmed = round;
            out.push(Output::ReadConfirmed(round));
        }
    }

    pub(super) fn on_fetched(
        &mut self,
        now: Instant,
        to: NodeId,
        from: Mark,
        records: Bytes,
        out: &mut Vec<Output>,
    ) {
        let commit = self.commit;
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(progress) = leader.followers.get_mut(&to) else { return };
        if progress.mode != Mode::Fetch {
            return;
        }
        let mut end = from.position.index;
        let mut offset = 0;
        while let Ok(record) = Record::parse(&records[offset..]) {
            end = record.header.index;
            offset += record.len;
        }
        if offset == 0 || progress.next != from.position.index.next() {
            progress.mode = Mode::Snapshot;
            progress.sent_at = now;
            out.push(Output::NeedSnapshot { to });
            return;
        }
        progress.mode = Mode::Replicate;
        progress.next = end.next();
        progress.in_flight.push_back((end, offset));
        progress.in_flight_bytes += offset;
        progress.sent_at = now;
        let message = Message::Append {
            epoch: leader.epoch,
            previous: from.position,
            previous_hash: from.hash,
            commit,
            round: leader.round_asked,
            records: records.slice(..offset),
        };
        out.push(Output::Send { to, message });
    }

    pub(super) fn on_snapshot_ready(
        &mut self,
        now: Instant,
        to: NodeId,
        mark: Mark,
        len: u64,
        out: &mut Vec<Output>,
    ) {
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(progress) = leader.followers.get_mut(&to) else { return };
        if progress.mode != Mode::Snapshot {
            return;
        }
        progress.next = mark.position.index.next();
        progress.sent_at = now;
        let message = Message::Offer { epoch: leader.epoch, position: mark.position, hash: mark.hash, len };
        out.push(Output::Send { to, message });
    }

    pub(super) fn on_connection(&mut self, now: Instant, node: NodeId, up: bool) {
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(progress) = leader.followers.get_mut(&node) else { return };
        progress.connected = up;
        if up {
            progress.heard_at = now;
        }
        if progress.mode != Mode::Snapshot {
            let next = progress.matched.next();
            progress.probe(next);
        }
    }

    /// What a leader looks after by the clock.
    pub(super) fn leader_tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        let commit = self.commit;
        let last = self.log.last().position.index;
        let Role::Leader(leader) = &mut self.role else { return };
        let mut notices = Vec::new();
        for (node, progress) in &mut leader.followers {
            if progress.matched >= last {
                progress.current_at = now;
            }
            match progress.mode {
                Mode::Probe if now.since(progress.sent_at) >= PROBE_EVERY => notices.push(*node),
                Mode::Replicate
                    if !progress.in_flight.is_empty() && now.since(progress.heard_at) >= RESEND_AFTER =>
                {
                    let next = progress.matched.next();
                    progress.probe(next);
                    notices.push(*node);
                }
                Mode::Replicate if progress.told < commit => notices.push(*node),
                Mode::Fetch if now.since(progress.sent_at) >= RESEND_AFTER => {
                    let next = progress.matched.next();
                    progress.probe(next);
                }
                Mode::Snapshot if now.since(progress.sent_at) >= RESEND_AFTER => {
                    progress.sent_at = now;
                    out.push(Output::NeedSnapshot { to: *node });
                }
                _ => {}
            }
        }
        // A round whose messages were lost is sent again.
        if leader.round_confirmed < leader.round_sent {
            leader.round_sent -= 1;
        }
        for node in notices {
            self.send_notice(now, node, out);
        }
        self.send_round(now, out);
        self.keep_electable(now, out);
    }

    /// Proposes another electable set when the present one does not fit the followers.
    fn keep_electable(&mut self, now: Instant, out: &mut Vec<Output>) {
        let (Role::Leader(leader), Some(view)) = (&mut self.role, &self.view) else { return };
        if view.election.is_some() || view.epoch != leader.epoch {
            return;
        }
        if let Some(proposal) = &mut leader.proposal {
            // Never withdrawn: repeated until a newer view tells how it ended (TC-04).
            if now.since(proposal.sent_at) >= PROPOSE_EVERY {
                proposal.sent_at = now;
                out.push(Output::ProposeElectable {
                    number: proposal.number,
                    electable: proposal.electable.clone(),
                });
            }
            return;
        }
        let last = self.log.last().position.index;
        // Before the empty entry is committed any inherited entry may be: then all of them must stand.
        let bound = if leader.ready { self.commit } else { leader.start };
        let Some(electable) = wanted_electable(now, self.me, view, leader, bound, last) else { return };
        // Every committed entry must stand under the new rule before it is proposed.
        let rule = view.settings.commit;
        let held =
            committed(rule, &electable, self.me.node, self.persisted, |r| Replica::persisted_by(leader, r));
        if held < bound {
            return;
        }
        for replica in &electable {
            if !view.is_electable(*replica) {
                out.push(Output::Report(Report::FollowerInSync(replica.node)));
            }
        }
        for replica in &view.electable {
            if !electable.contains(replica) {
                out.push(Output::Report(Report::FollowerLost(replica.node)));
            }
        }
        let number = view.number;
        out.push(Output::ProposeElectable { number, electable: electable.clone() });
        leader.proposal = Some(Proposal { number, electable, sent_at: now });
    }

    /// The view changed while this replica leads: members come and go, a proposal is decided.
    pub(super) fn leader_meets_view(&mut self, now: Instant, out: &mut Vec<Output>) {
        let last = self.log.last().position.index;
        let (Role::Leader(leader), Some(view)) = (&mut self.role, &self.view) else { return };
        if leader.proposal.as_ref().is_some_and(|proposal| proposal.number < view.number) {
            leader.proposal = None;
        }
        leader.followers.retain(|node, _| view.members.contains(node));
        for node in view.members.iter().filter(|node| **node != self.me.node) {
            leader.followers.entry(*node).or_insert_with(|| Progress::new(now, last.next()));
        }
        self.advance_commit(now, out);
        self.leader_tick(now, out);
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

/// The electable set that fits what the followers do, `None` when the present one does.
fn wanted_electable(
    now: Instant,
    me: view::Replica,
    view: &view::View,
    leader: &Leader,
    bound: Index,
    last: Index,
) -> Option<Vec<view::Replica>> {
    let in_sync_set = matches!(view.settings.commit, CommitRule::InSyncSet { .. });
    let mut wanted = Vec::with_capacity(view.members.len());
    for node in &view.members {
        if *node == me.node {
            wanted.push(me);
            continue;
        }
        let present = view.electable.iter().find(|r| r.node == *node).copied();
        let progress = leader.followers.get(node);
        let life =
            progress.and_then(|p| p.incarnation).map(|i| view::Replica { node: *node, incarnation: i });
        let caught_up = progress.is_some_and(|p| p.mode == Mode::Replicate && p.matched >= bound);
        let current = progress.is_some_and(|p| {
            let patience = if p.connected { LAG_MAX } else { LAG_MAX_DISCONNECTED };
            p.matched >= last || now.since(p.current_at) < patience
        });
        match (present, life) {
            (Some(present), Some(life)) if present == life => {
                if !in_sync_set || current {
                    wanted.push(present);
                }
            }
            // Another life, or none in the set yet: it counts once it holds what is committed.
            (_, Some(life)) if caught_up => wanted.push(life),
            (Some(present), _) if !in_sync_set || current => wanted.push(present),
            _ => {}
        }
    }
    wanted.sort_unstable();
    if wanted == view.electable {
        return None;
    }
    if let CommitRule::InSyncSet { minimum } = view.settings.commit
        && wanted.len() < view.electable.len()
        && wanted.len() < minimum as usize
    {
        return None;
    }
    Some(wanted)
}

/// Where two logs end to be equal: at the smaller end of the newest epoch that both have (bugs: SL-03, SL-04; KIP-279).
fn common_end(mine: &[Position], my_last: Index, theirs: &[Position], their_last: Index) -> Index {
    let end = |starts: &[Position], at: usize, last: Index| {
        starts.get(at + 1).map_or(last, |next| next.index.previous())
    };
    for (at, start) in mine.iter().enumerate().rev() {
        if let Ok(other) = theirs.binary_search_by_key(&start.epoch, |p| p.epoch) {
            return end(mine, at, my_last).min(end(theirs, other, their_last));
        }
    }
    Index(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    // bugs: SL-03, SL-04
    #[test]
    fn logs_part_where_their_newest_common_epoch_ends_first() {
        let p = Position::new;
        let cases: &[(&[Position], u64, &[Position], u64, u64)] = &[
            (&[p(1, 1)], 10, &[p(1, 1)], 7, 7),
            (&[p(1, 1), p(2, 5)], 9, &[p(1, 1)], 7, 4),
            (&[p(1, 1), p(3, 5)], 9, &[p(1, 1), p(2, 4)], 8, 3),
            (&[p(2, 1)], 9, &[p(1, 1)], 8, 0),
            (&[p(1, 1), p(4, 8)], 9, &[p(1, 1), p(2, 6), p(3, 7)], 12, 5),
        ];
        for (mine, my_last, theirs, their_last, expected) in cases {
            let found = common_end(mine, Index(*my_last), theirs, Index(*their_last));
            assert_eq!(found, Index(*expected), "{mine:?} {theirs:?}");
        }
    }
}
