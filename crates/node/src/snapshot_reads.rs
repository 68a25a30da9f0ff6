//! `SNAPSHOT OPEN`: a connection reads its keyspace as it was at one moment, for as long as it likes, while writes go on.
//!
//! The moment is one of the log of the keyspace's group, on the copy of the node that the connection is made to: everything that
//! was acknowledged before the command is in it, and nothing that may yet be taken back. On the leader that is the newest state, and
//! the reply waits until all of it is committed; on another copy it waits until that has heard how far the leader has come. What
//! was changed since is kept beside the copy ([`data::moments`]), so nobody waits for a reader, and a snapshot costs what was
//! written since it began. One that costs too much ends, as one does whose copy is replaced: its reader is told, and goes on only
//! when it has closed it.
// catalogue: J16

use crate::group::{Group, Target, Waiter};
use crate::io::ConnectionId;
use crate::node::{Flow, Node};
use crate::reads::ReadFrom;
use crate::replies::SlotId;
use crate::route::{Route, Routes};
use crate::session::Receipt;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use commands::table_view::MomentView;
use commands::{Call, Class, Ops, Random, Spec};
use data::{GroupId, Index, Instant, KeyspaceId, Position};
use wire::{Protocol, ReplyWriter};

/// Snapshots open at once on one node. A guess: with what each may keep, two gigabytes.
const SNAPSHOTS_MAX: usize = 32;

/// What a connection reads in place of the state of now.
#[derive(Clone, Debug)]
pub struct OpenSnapshot {
    pub id: u64,
    pub keyspace: KeyspaceId,
    pub group: GroupId,
    /// The newest entry that it shows.
    pub position: Position,
    /// What has expired is judged by this time, of the log.
    pub now_ms: i64,
    pub since: Instant,
    /// The reply to its opening, while that is held.
    pub opening: Option<SlotId>,
}

impl Group {
    /// Begins to keep the state of now. `None`: there is nothing to show.
    fn open_moment(&mut self, id: u64, wall_ms: i64) -> Option<(Index, i64)> {
        if let Some(site) = &mut self.site {
            if !site.state.is_ready() {
                return None;
            }
            // What a site's leader has proposed lies elsewhere.
            site.state.open_moment(id, site.applied);
            return Some((site.applied, wall_ms));
        }
        let leads = self.replica.leads().is_some();
        let now_ms = if leads { self.replica.entry_time_ms(wall_ms) } else { self.replica.log().time_ms() };
        self.table.open_moment(id, self.applied);
        Some((self.applied, now_ms))
    }
    fn close_moment(&mut self, id: u64) {
        match &mut self.site {
            Some(site) => site.state.close_moment(id),
            None => self.table.close_moment(id),
        }
    }
    /// Bytes that are kept for a snapshot; `None` when it has ended.
    fn moment_bytes(&self, id: u64) -> Option<usize> {
        match &self.site {
            Some(site) => site.state.copy().moment(id).map(|moment| moment.bytes()),
            None => self.table.moment(id).map(|moment| moment.bytes()),
        }
    }
    /// Executes a read on what is kept. `false`: the snapshot has ended.
    fn read_moment(
        &self,
        snapshot: &OpenSnapshot,
        random: &mut Random,
        spec: &'static Spec,
        args: &[&[u8]],
        protocol: Protocol,
        reply: &mut Vec<u8>,
    ) -> bool {
        let OpenSnapshot { id, now_ms, .. } = *snapshot;
        if let Some(site) = &self.site {
            let Some(copy) = site.state.copy().moment(id) else { return false };
            self.look_up_in(&copy, random, spec, args, now_ms, protocol, reply);
            return true;
        }
        let (Some(moment), Some(run)) = (self.table.moment(id), spec.run) else { return false };
        let (start, mut ops) = (reply.len(), Ops::new());
        let result = run(&mut Call {
            args,
            view: &MomentView { moment, now_ms },
            now_ms,
            random,
            reply: ReplyWriter::new(reply, protocol),
            ops: &mut ops,
        });
        if let Err(error) = result {
            reply.truncate(start);
            ReplyWriter::new(reply, protocol).error(error.text());
        }
        debug_assert!(ops.is_empty(), "{} only reads", spec.name);
        true
    }
}

/// Why a keyspace cannot be read so.
const NO_ONE_LOG: &str =
    "EXCLUSIVE a snapshot is one moment of one log, and a leaderless keyspace has none: read single keys";
const SHARDED: &str = "ERR a snapshot is one moment of one log, and a keyspace with SHARDS has one for each of them: no moment is that of all";
const TOO_MANY: &str = "TRYAGAIN too many snapshots are open on this node: close some, or use another node";
const IN_ORDER: &str =
    "TRYAGAIN commands before this one are not answered yet: open the snapshot when they are";

impl Node {
    /// `SNAPSHOT OPEN`.
    pub(crate) fn open_snapshot(
        &mut self,
        connection: ConnectionId,
        spec: &'static Spec,
        args: &[&[u8]],
    ) -> Flow {
        let Some(session) = self.sessions.get(connection) else { return Flow::Continue };
        let (keyspace, reads) = (session.keyspace, session.reads);
        let refusal = match () {
            () if session.snapshot.is_some() => {
                Some("ERR a snapshot is open on this connection: SNAPSHOT CLOSE first")
            }
            () if session.defaults.is_some() || reads.staleness_max.is_some() => Some(
                "ERR what CONSISTENCY says does not fit a snapshot, which grows old: CONSISTENCY DEFAULT first",
            ),
            () if self.is_leaderless(keyspace) => Some(NO_ONE_LOG),
            () if self.is_sharded(keyspace) => Some(SHARDED),
            () if session.forwarded > 0 => Some(IN_ORDER),
            () if self.snapshots_are_many() => Some(TOO_MANY),
            () => None,
        };
        if let Some(refusal) = refusal {
            return self.reply_error(connection, refusal);
        }
        let only = self.routes.get(&keyspace).and_then(Routes::only);
        let Some(Route { group, leader, .. }) = only.or_else(|| self.route(keyspace, 0)) else {
            let text = "TRYAGAIN the keyspace has no group yet, or this node has not heard of it";
            return self.reply_error(connection, text);
        };
        let serves = self.groups.get(&group).is_some_and(|it| it.is_serving() && it.paused.is_none());
        if leader == Some(self.config.node) && serves {
            return self.open_on_leader(connection, group);
        }
        // As fresh as a leader's answer, unless the session reads copies as they are.
        let since = (reads.from == ReadFrom::Leader).then_some(self.now.instant);
        self.read_snapshot_near(connection, group, spec, args, since)
    }

    fn snapshots_are_many(&self) -> bool {
        self.sessions.iter().filter(|it| it.snapshot.is_some()).count() >= SNAPSHOTS_MAX
    }

    fn open_on_leader(&mut self, connection: ConnectionId, group: GroupId) -> Flow {
        let Some(session) = self.sessions.get(connection) else { return Flow::Continue };
        let (is_session, guarded) = (session.reads.session, session.guards());
        // bugs: SL-05
        if guarded && let Some(text) = self.refuse_lost(connection, group) {
            return self.reply_error(connection, &text);
        }
        if is_session && self.lacks_of_site(connection, group) {
            return self.reply_error(connection, crate::sites::session::NOT_YET);
        }
        let Some(index) = self.begin_snapshot(connection, group) else {
            return self.reply_error(connection, NOTHING_HERE);
        };
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        let protocol = session.protocol;
        let opened = session.snapshot.as_ref().map(|it| (it.group, it.position));
        write_opened(opened, protocol, session.replies.begin());
        self.conclude_read(connection, group, index);
        if let Some(session) = self.sessions.get_mut(connection) {
            let held = session.replies.last_held();
            if held.is_none() {
                self.opened_in_turn.push(connection);
            }
            if let Some(snapshot) = &mut session.snapshot {
                snapshot.opening = held;
            }
        }
        Flow::Continue
    }

    /// Appends the reply to an opening on this node's copy, which has what was needed.
    pub(crate) fn open_on_copy(&mut self, connection: ConnectionId, group: GroupId, reply: &mut Vec<u8>) {
        let Some(session) = self.sessions.get(connection) else { return };
        let (protocol, keyspace) = (session.protocol, session.keyspace);
        // It may have waited: others opened theirs, or the keyspace was divided.
        let refusal = match () {
            () if self.snapshots_are_many() => Some(TOO_MANY),
            () if self.is_sharded(keyspace) => Some(SHARDED),
            () => None,
        };
        if let Some(refusal) = refusal {
            return ReplyWriter::new(reply, protocol).error(refusal);
        }
        let opened = self.begin_snapshot(connection, group);
        let Some(session) = self.sessions.get(connection) else { return };
        match opened {
            Some(_) => {
                let opened = session.snapshot.as_ref().map(|it| (it.group, it.position));
                write_opened(opened, protocol, reply);
            }
            None => ReplyWriter::new(reply, protocol).error(NOTHING_HERE),
        }
    }

    fn begin_snapshot(&mut self, connection: ConnectionId, group: GroupId) -> Option<Index> {
        let id = self.snapshots_opened + 1;
        let (now, wall_ms) = (self.now.instant, self.now.wall.middle_ms());
        let it = self.groups.get_mut(&group)?;
        let (index, now_ms) = it.open_moment(id, wall_ms)?;
        self.snapshots_opened = id;
        let position = Position { epoch: it.replica.log().epoch_at(index).unwrap_or_default(), index };
        let keyspace = it.keyspace.id;
        let snapshot = OpenSnapshot { id, keyspace, group, position, now_ms, since: now, opening: None };
        self.sessions.get_mut(connection)?.read_snapshot(Some(Box::new(snapshot)));
        Some(index)
    }

    /// A command of a connection that has a snapshot open.
    pub(crate) fn serve_snapshot(
        &mut self,
        connection: ConnectionId,
        spec: &'static Spec,
        args: &[&[u8]],
    ) -> Flow {
        if spec.class != Class::Read || spec.run.is_none() {
            return self.reply_error(connection, READS_ONLY);
        }
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        let Some(snapshot) = session.snapshot.clone() else { return Flow::Continue };
        let protocol = session.protocol;
        let reply = session.replies.begin();
        let it = self.groups.get(&snapshot.group);
        let read =
            it.is_some_and(|it| it.read_moment(&snapshot, &mut self.random, spec, args, protocol, reply));
        if !read {
            session.replies.rollback();
            let text = format!(
                "SNAPSHOTGONE the snapshot of keyspace {} at {} has ended: too much was written since, or this node's copy was replaced; SNAPSHOT CLOSE, and open another one",
                self.keyspace_name(snapshot.keyspace),
                snapshot.position,
            );
            return self.reply_error(connection, &text);
        }
        // What the opening waits for, whoever reads behind it waits for too: it may show what is not committed yet.
        let is_opening = snapshot.opening.is_some_and(|slot| session.replies.is_held(slot));
        let slot = if is_opening { Some(session.replies.hold()) } else { None };
        if slot.is_none() {
            session.replies.finish();
        }
        let (keyspace, group, position) = (snapshot.keyspace, snapshot.group, snapshot.position);
        let (node, age) = (self.config.node, Some(self.now.instant.since(snapshot.since)));
        let receipt = Receipt { keyspace, group, node, position, stale: true, age, ..Receipt::default() };
        session.achieved(session.commands, receipt);
        self.statistics.reads_from_snapshots += 1;
        match slot {
            Some(slot) => {
                let (since, to) = (self.now.instant, Target::Client { connection, slot });
                let waiter = Waiter { index: position.index, since, to, write: false, epoch: None };
                self.wait_for_commit(group, waiter);
            }
            None => self.note_output(connection),
        }
        Flow::Continue
    }

    /// `SNAPSHOT CLOSE`, RESET, or the end of the connection. Whether there was one.
    pub(crate) fn close_snapshot(&mut self, connection: ConnectionId) -> bool {
        let Some(session) = self.sessions.get_mut(connection) else { return false };
        let closed = session.read_snapshot(None);
        self.forget_snapshot(closed)
    }
    pub(crate) fn forget_snapshot(&mut self, closed: Option<Box<OpenSnapshot>>) -> bool {
        let Some(closed) = closed else { return false };
        if let Some(it) = self.groups.get_mut(&closed.group) {
            it.close_moment(closed.id);
        }
        true
    }
    /// The held reply to a read will not come: if that was an opening, nothing was opened.
    pub(crate) fn abandon_opening(&mut self, connection: ConnectionId, slot: SlotId) {
        let opening = self.sessions.get(connection).and_then(|it| it.snapshot.as_ref()?.opening);
        if opening == Some(slot) {
            self.close_snapshot(connection);
        }
    }

    /// `SNAPSHOT INFO`: what this connection has open, as field and value.
    pub(crate) fn snapshot_info(&mut self, connection: ConnectionId) -> Flow {
        let Some(snapshot) = self.sessions.get(connection).and_then(|it| it.snapshot.clone()) else {
            return self.reply(connection, |w| w.fields(|_| ()));
        };
        let bytes = self.groups.get(&snapshot.group).and_then(|it| it.moment_bytes(snapshot.id));
        let age_ms = self.now.instant.since(snapshot.since).as_millis();
        let keyspace: String = self.keyspace_name(snapshot.keyspace);
        let fields = [
            ("keyspace", keyspace),
            ("group", format!("{}", snapshot.group.0)),
            ("position", format!("{}", snapshot.position)),
            ("age-ms", format!("{age_ms}")),
            ("bytes-kept", format!("{}", bytes.unwrap_or(0))),
            ("state", String::from(if bytes.is_some() { "open" } else { "ended" })),
        ];
        self.reply(connection, |w| w.fields(|w| fields.iter().for_each(|(name, value)| w.text(name, value))))
    }

    /// How many snapshots are open, and what is kept for them.
    pub(crate) fn snapshots_open(&self) -> (usize, usize) {
        let open = self.sessions.iter().filter_map(|it| it.snapshot.as_ref());
        open.fold((0, 0), |(count, bytes), it| {
            let kept = self.groups.get(&it.group).and_then(|group| group.moment_bytes(it.id));
            (count + 1, bytes + kept.unwrap_or(0))
        })
    }
}

/// What a connection may not do while it has a snapshot open.
pub(crate) const READS_ONLY: &str =
    "ERR a snapshot is open on this connection, which only reads it: SNAPSHOT CLOSE first";
pub(crate) const NOTHING_HERE: &str = "TRYAGAIN this node's copy cannot be shown now: nothing was opened";
/// A node without a copy.
pub(crate) const NO_COPY: &str = "ERR this node has no copy of the keyspace that can be shown: SNAPSHOT OPEN at one that KEYSPACE INFO names";

/// The reply: the group and the place in its log, as in a receipt.
fn write_opened(opened: Option<(GroupId, Position)>, protocol: Protocol, reply: &mut Vec<u8>) {
    let (group, position) = opened.unwrap_or_default();
    ReplyWriter::new(reply, protocol).fields(|w| {
        w.integer("group", group.0);
        w.text("position", format!("{position}"));
    });
}
