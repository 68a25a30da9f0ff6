//! Reads that need not go to the leader: answered by this node's own copy when it is near enough to what the reader asks for,
//! after a short wait when it will soon be, else by the leader.
//!
//! What is asked for: how old the answer may be ([`crate::freshness`]), and that the session sees what it has seen
//! ([`protocol::session`]). A read is never answered with less than that.
// catalogue: B6 G1 G2 G3 G4

use crate::forward::{Origin, Outgoing, Purpose};
use crate::group::Group;
use crate::io::ConnectionId;
use crate::message::Work;
use crate::node::{Flow, Node};
use crate::replies::SlotId;
use crate::route::{Route, slot_of_words};
use crate::session::Receipt;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use commands::{Class, Random, Spec};
use control::ClusterMap;
use core::time::Duration;
use data::id::CONTROL_GROUP;
use data::view::View;
use data::{Epoch, GroupId, Instant, KeyspaceId, Position};
use protocol::session::{Positions, Wanted, has_reached};
use smallvec::SmallVec;
use wire::{Protocol, ReplyWriter};

/// Peers of this message version answer how far a group's log is committed, and where what a read showed stands.
pub(crate) const POSITION_SINCE_VERSION: u8 = 3;
/// A leader that has not heard yet that another one follows it shows less than this session has seen.
pub(crate) const FOLLOWED: &str =
    "TRYAGAIN a newer leader than this one has answered this session: nothing was done";
/// How long a copy that is behind is waited for before the leader answers. A guess: many times what a copy lags on one site, and
/// no more than a round trip between far ones.
const COPY_PATIENCE: Duration = Duration::from_millis(50);

/// The command that waits here beside reads: an opening is done where the copy is.
const SNAPSHOT: &str = "snapshot";

/// Who may answer reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReadFrom {
    /// The leader alone: linearizable.
    #[default]
    Leader,
    /// This node's own copy, if it has one; else the leader.
    Follower,
    /// The nearest copy. That of this node, if it has one; else the leader: reads are sent to no other follower.
    Nearest,
}

impl ReadFrom {
    pub fn name(self) -> &'static str {
        match self {
            ReadFrom::Leader => "leader",
            ReadFrom::Follower => "follower",
            ReadFrom::Nearest => "nearest",
        }
    }
}

/// What a reader asks for. READ, MAX-STALENESS and SESSION of `CONSISTENCY` and `WITH`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadOptions {
    pub from: ReadFrom,
    /// What was acknowledged longer ago than this must be seen.
    pub staleness_max: Option<Duration>,
    /// What the session wrote and saw must be seen.
    pub session: bool,
}

impl Default for ReadOptions {
    fn default() -> ReadOptions {
        ReadOptions { from: ReadFrom::Leader, staleness_max: None, session: true }
    }
}

/// What one read needs of a copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    session: bool,
    /// What is lost is told, whoever answers.
    guarded: bool,
    /// Everything acknowledged before this instant.
    since: Option<Instant>,
}

/// A read that waits until this node's copy has what it needs. Nothing behind it on its connection is executed.
pub(crate) struct Parked {
    connection: ConnectionId,
    slot: SlotId,
    spec: &'static Spec,
    args: Vec<Bytes>,
    protocol: Protocol,
    need: Need,
    /// When the leader is asked instead, and when the client stops waiting.
    until: Instant,
    deadline: Instant,
}

/// Whether a copy can answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fit {
    Now,
    /// It will, or a proof is on its way.
    Soon,
    /// There is none here, or none that may be shown.
    No,
}

impl Group {
    /// What was applied may prove how fresh this copy is.
    pub(crate) fn note_applied(&mut self) {
        self.freshness.advance(self.replica.log(), self.applied.min(self.replica.commit()));
    }

    /// Whether this copy may be shown to readers who take an old one: committed entries of the recorded history, complete up to
    /// one position.
    // bugs: SL-05 SL-21
    pub(crate) fn is_showable(&self, view: &View) -> bool {
        let position = self.applied_position();
        // A view older than the copy's leader knows nothing of that leader's epoch.
        let recorded = position.epoch > view.epoch || view.contains(position);
        self.audit.is_sound()
            && self.shortfall.is_whole()
            && self.replica.is_showable()
            && self.snapshots.transfer.is_none()
            && recorded
    }

    /// Executes a read on the committed state of a replica that does not lead, judged by the log's time.
    fn read_copy(
        &mut self,
        random: &mut Random,
        spec: &'static Spec,
        args: &[&[u8]],
        protocol: Protocol,
        reply: &mut Vec<u8>,
    ) {
        let now_ms = self.replica.log().time_ms();
        self.look_up(random, spec, args, now_ms, protocol, reply);
    }
}

impl Node {
    /// A read of a session that reads copies, or that goes on from a token: from this node's copy, if that is possible; the flow
    /// then. Nothing: the leader answers.
    pub(crate) fn read_near(
        &mut self,
        connection: ConnectionId,
        spec: &'static Spec,
        args: &[&[u8]],
        route: Route,
    ) -> Option<Flow> {
        let session = self.sessions.get(connection)?;
        let (options, in_order) = (session.reads, session.forwarded == 0);
        let guarded = session.guards();
        let Route { group, leader, .. } = route;
        if guarded && let Some(text) = self.refuse_lost(connection, group) {
            return Some(self.reply_error(connection, &text));
        }
        let seen = self.sessions.get(connection)?.seen.newest_epoch(group);
        let leads = self.groups.get(&group).and_then(|it| it.replica.leads());
        if guarded && leads.is_some_and(|epoch| epoch < seen) {
            return Some(self.reply_error(connection, FOLLOWED));
        }
        if options.from == ReadFrom::Leader || spec.class != Class::Read || spec.run.is_none() {
            return None;
        }
        // What the session's commands on their way see or write has no place yet: behind them, in order, the leader answers.
        if options.session && (!in_order || self.lacks_of_site(connection, group)) {
            return None;
        }
        let now = self.now.instant;
        let since = options.staleness_max.map(|bound| now - bound);
        let need = Need { session: options.session, guarded, since };
        match self.fit(connection, group, need) {
            Fit::Now => {
                self.answer_from_copy(connection, group, spec, args, need);
                if let Some(bound) = options.staleness_max {
                    // The next reader shall not have to wait for a proof.
                    self.prove_freshness(group, now - bound / 2);
                }
                Some(Flow::Continue)
            }
            Fit::Soon if leader.is_some() => {
                if let Some(since) = need.since {
                    self.prove_freshness(group, since);
                }
                Some(self.park(connection, group, spec, args, need))
            }
            Fit::Soon | Fit::No => None,
        }
    }

    /// Opens a snapshot on this node's copy, as soon as that has what the session needs.
    // catalogue: J16
    pub(crate) fn read_snapshot_near(
        &mut self,
        connection: ConnectionId,
        group: GroupId,
        spec: &'static Spec,
        args: &[&[u8]],
        since: Option<Instant>,
    ) -> Flow {
        let Some(session) = self.sessions.get(connection) else { return Flow::Continue };
        let (options, guarded) = (session.reads, session.guards());
        if guarded && let Some(text) = self.refuse_lost(connection, group) {
            return self.reply_error(connection, &text);
        }
        if options.session && self.lacks_of_site(connection, group) {
            return self.reply_error(connection, crate::sites::session::NOT_YET);
        }
        let need = Need { session: options.session, guarded, since };
        match self.fit(connection, group, need) {
            Fit::Now => {
                let mut bytes = Vec::new();
                self.open_on_copy(connection, group, &mut bytes);
                self.reply(connection, |w| w.buffer.extend_from_slice(&bytes))
            }
            Fit::Soon => {
                if let Some(since) = need.since {
                    self.prove_freshness(group, since);
                }
                self.park(connection, group, spec, args, need)
            }
            Fit::No => self.reply_error(connection, crate::snapshot_reads::NO_COPY),
        }
    }

    /// Why a session can not go on in a group without going back: what it saw was dropped by an election.
    // bugs: SL-05
    pub(crate) fn lost_to(&self, connection: ConnectionId, group: GroupId) -> Option<String> {
        let view = self.map.view(group)?;
        let position = self.sessions.get(connection)?.seen.lost(view)?;
        Some(self.lost_text(view, position))
    }

    /// The session wrote or saw what stands here.
    pub(crate) fn note_seen(&mut self, connection: ConnectionId, group: GroupId, position: Position) {
        if let Some(session) = self.sessions.get_mut(connection)
            && session.seen.note(group, position)
            && let Some(view) = self.map.view(group)
        {
            session.seen.settle(view);
        }
    }

    /// Slots have moved: what sessions saw in them stands where their new group took it in. Only an election of that one drops it.
    // bugs: SL-05
    pub(crate) fn follow_moves(&mut self, before: &ClusterMap) {
        if self.map.moved_at == before.moved_at {
            return;
        }
        let taken_in = self.map.groups.iter().filter(|(group, it)| {
            before.groups.get(group).map_or(Position::default(), |known| known.complete_from)
                != it.complete_from
        });
        for (group, it) in taken_in {
            let is_of = |group: GroupId| self.map.keyspace_of(group) == Some(it.view.keyspace);
            for session in self.sessions.iter_mut().filter(|session| session.seen.groups().any(is_of)) {
                session.seen.follow(*group, it.complete_from);
            }
        }
    }
    /// The same for a session that comes from where fewer moves were known.
    pub(crate) fn follow_moves_since(&self, seen: &mut Positions) {
        let moved_at = match seen.wanted(CONTROL_GROUP) {
            Wanted::Position(at) => at.index.0,
            Wanted::Anything | Wanted::Leader => 0,
        };
        if moved_at >= self.map.moved_at {
            return;
        }
        let keyspaces: Vec<KeyspaceId> = seen.groups().filter_map(|it| self.map.keyspace_of(it)).collect();
        for (group, it) in &self.map.groups {
            // Of what came in before it knew the session was told when it saw something of the group.
            let is_new = it.completed_at == 0 || it.completed_at > moved_at;
            if is_new && it.complete_from != Position::default() && keyspaces.contains(&it.view.keyspace) {
                seen.follow(*group, it.complete_from);
            }
        }
    }

    pub(crate) fn lost_text(&self, view: &View, position: Position) -> String {
        format!(
            "TOKENLOST an election in keyspace {} (group {}) dropped what this session had seen at {position}: nothing was done; SESSION RESET begins anew",
            self.keyspace_name(view.keyspace),
            view.group.0
        )
    }

    /// The same of the keyspace's other groups: what the session saw in one of them may be in this one by now, or gone.
    // bugs: SL-05
    fn lost_beside(&self, connection: ConnectionId, group: GroupId) -> Option<String> {
        let seen = &self.sessions.get(connection)?.seen;
        let keyspace = self.map.keyspace_of(group)?;
        let is_beside = |other: &GroupId| *other != group && self.map.keyspace_of(*other) == Some(keyspace);
        seen.groups().filter(is_beside).find_map(|other| self.lost_to(connection, other))
    }

    /// The same, counted, for a session that must hear of it. What is not lost, as far as this node has heard, is settled.
    pub(crate) fn refuse_lost(&mut self, connection: ConnectionId, group: GroupId) -> Option<String> {
        let text = self.lost_to(connection, group).or_else(|| self.lost_beside(connection, group));
        if text.is_some() {
            self.statistics.sessions_lost += 1;
        } else if let Some(session) = self.sessions.get_mut(connection)
            && session.seen.unsettled(group).next().is_some()
            && let Some(view) = self.map.view(group)
        {
            session.seen.settle(view);
        }
        text
    }

    /// Whether this node has yet to hear how an epoch began, and with it what of this session's earlier ones was kept: an answer
    /// of that epoch may show less than the session has seen.
    // bugs: SL-05
    pub(crate) fn is_unheard(&self, connection: ConnectionId, group: GroupId, epoch: Epoch) -> bool {
        let Some(session) = self.sessions.get(connection) else { return false };
        let heard = self.map.view(group).map_or(Epoch(0), |view| view.epoch);
        epoch > heard && session.seen.oldest_epoch(group).is_some_and(|oldest| oldest < epoch)
    }

    fn fit(&self, connection: ConnectionId, group: GroupId, need: Need) -> Fit {
        let (Some(it), Some(session)) = (self.groups.get(&group), self.sessions.get(connection)) else {
            return Fit::No;
        };
        if it.map_needed > self.map.moved_at {
            return Fit::No;
        }
        if self.stopped.is_some() || !self.map.view(group).is_some_and(|view| it.is_showable(view)) {
            return Fit::No;
        }
        // A copy without all of what moved here, and a session that saw slots elsewhere, as this node has not heard yet.
        let complete = self.map.groups.get(&group).map(|it| it.complete_from).unwrap_or_default();
        let moved = need.session.then(|| session.seen.wanted(CONTROL_GROUP));
        if matches!(moved, Some(Wanted::Position(at)) if at.index.0 > self.map.moved_at) {
            return Fit::No;
        }
        let wanted = if need.session { session.seen.wanted(group) } else { Wanted::Anything };
        let applied = it.applied.min(it.replica.commit());
        let holds = |position| has_reached(it.replica.log(), applied, position);
        let reached = match wanted {
            Wanted::Anything => true,
            // An election that this node has not heard of may have dropped what was seen before it.
            Wanted::Position(position) => holds(position) && session.seen.unsettled(group).all(holds),
            Wanted::Leader => return Fit::No,
        };
        let reached =
            reached && (complete == Position::default() || has_reached(it.replica.log(), applied, complete));
        let fresh = need.since.is_none_or(|since| it.freshness.is_complete(since));
        if reached && fresh { Fit::Now } else { Fit::Soon }
    }

    /// The copy's answer goes where the reply stands: behind what is written already.
    fn answer_from_copy(
        &mut self,
        connection: ConnectionId,
        group: GroupId,
        spec: &'static Spec,
        args: &[&[u8]],
        need: Need,
    ) {
        let Some(session) = self.sessions.get_mut(connection) else { return };
        let Some(it) = self.groups.get_mut(&group) else { return };
        let protocol = session.protocol;
        session.replies.begin();
        it.read_copy(&mut self.random, spec, args, protocol, session.replies.current());
        session.replies.finish();
        self.note_copy_read(connection, group, need);
        self.note_output(connection);
    }

    fn note_copy_read(&mut self, connection: ConnectionId, group: GroupId, need: Need) {
        let Some(session) = self.sessions.get_mut(connection) else { return };
        let Some(it) = self.groups.get(&group) else { return };
        let (position, age) = (it.applied_position(), it.freshness.age(self.now.instant));
        let keyspace = it.keyspace.id;
        let node = self.config.node;
        let receipt = Receipt { keyspace, group, node, position, stale: true, age, ..Receipt::default() };
        session.achieved(session.commands, receipt);
        if need.session {
            self.note_seen(connection, group, position);
        }
        self.statistics.reads_from_copies += 1;
        self.statistics.note_age(age);
    }

    fn park(
        &mut self,
        connection: ConnectionId,
        group: GroupId,
        spec: &'static Spec,
        args: &[&[u8]],
        need: Need,
    ) -> Flow {
        let deadline = self.patience_of(connection);
        // Nobody else opens it.
        let patience = if spec.name == SNAPSHOT { deadline } else { self.now.instant + COPY_PATIENCE };
        let until = deadline.min(patience);
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        let Some(it) = self.groups.get_mut(&group) else { return Flow::Continue };
        session.replies.begin();
        session.replies.rollback();
        let slot = session.replies.hold();
        session.paused = true;
        let (protocol, args) =
            (session.protocol, args.iter().map(|arg| Bytes::copy_from_slice(arg)).collect());
        it.parked.push(Parked { connection, slot, spec, args, protocol, need, until, deadline });
        self.statistics.reads_parked += 1;
        Flow::Pause
    }

    /// Looks again at the reads that wait for this node's copy: it came nearer, something was proved, or time went by.
    pub(crate) fn tend_parked(&mut self, group: GroupId) {
        let now = self.now.instant;
        let Some(it) = self.groups.get_mut(&group) else { return };
        if it.parked.is_empty() {
            return;
        }
        for parked in core::mem::take(&mut it.parked) {
            let connection = parked.connection;
            if self.sessions.get(connection).is_none() {
                continue;
            }
            if parked.need.guarded
                && let Some(text) = self.refuse_lost(connection, group)
            {
                self.answer_parked(&parked, |bytes| ReplyWriter::new(bytes, parked.protocol).error(&text));
                continue;
            }
            match self.fit_parked(group, &parked) {
                Fit::Now => self.read_parked(group, &parked),
                Fit::Soon if now < parked.until => {
                    if let Some(since) = parked.need.since {
                        self.prove_freshness(group, since);
                    }
                    if let Some(it) = self.groups.get_mut(&group) {
                        it.parked.push(parked);
                    }
                }
                Fit::Soon | Fit::No => self.send_on(parked),
            }
        }
    }

    /// Its key may have another owner than when it began to wait.
    fn fit_parked(&self, group: GroupId, parked: &Parked) -> Fit {
        let keyspace = self.groups.get(&group).map(|it| it.keyspace.id);
        let routes = keyspace.and_then(|keyspace| self.routes.get(&keyspace));
        let slot = slot_of_words(&parked.args).unwrap_or(0);
        if self.map.moved_at > 0
            && routes.and_then(|routes| routes.at(slot)).is_none_or(|it| it.group != group)
        {
            return Fit::No;
        }
        self.fit(parked.connection, group, parked.need)
    }

    fn read_parked(&mut self, group: GroupId, parked: &Parked) {
        let args: SmallVec<[&[u8]; 8]> = parked.args.iter().map(|arg| &arg[..]).collect();
        let mut bytes = Vec::new();
        if parked.spec.name == SNAPSHOT {
            self.open_on_copy(parked.connection, group, &mut bytes);
        } else {
            if let Some(it) = self.groups.get_mut(&group) {
                it.read_copy(&mut self.random, parked.spec, &args, parked.protocol, &mut bytes);
            }
            self.note_copy_read(parked.connection, group, parked.need);
        }
        self.fill(parked.connection, parked.slot, &bytes);
        self.resume(parked.connection);
    }

    fn answer_parked(&mut self, parked: &Parked, write: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        write(&mut bytes);
        self.fill(parked.connection, parked.slot, &bytes);
        self.resume(parked.connection);
    }

    /// The copy did not come so far in time: the leader answers.
    pub(crate) fn send_on(&mut self, parked: Parked) {
        if parked.spec.name == SNAPSHOT {
            return self.answer_parked(&parked, |bytes| {
                ReplyWriter::new(bytes, parked.protocol).error(crate::snapshot_reads::NOTHING_HERE);
            });
        }
        let Parked { connection, slot, args, deadline, need, .. } = parked;
        let Some(session) = self.sessions.get_mut(connection) else { return };
        self.statistics.reads_sent_on += 1;
        session.forwarded += 1;
        let command = session.commands;
        let origin = Origin::Client { connection, slot, purpose: Purpose::Command };
        let (keyspace, protocol) = (session.keyspace, session.protocol);
        let outgoing = Outgoing::new(keyspace, protocol, Work::Command(args), origin, Some(deadline));
        // Its connection waits: it goes on with the answer.
        let outgoing = Outgoing { command, blocking: true, guarded: need.guarded, ..outgoing };
        if let Err(outgoing) = self.forwards.add(outgoing) {
            let text = b"-TRYAGAIN too many commands wait for other nodes: slow down\r\n";
            self.settle_forwarded(*outgoing, text, Default::default(), None, false);
        }
    }
}
