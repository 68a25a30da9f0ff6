//! The node itself: its parts, its turn, and which part each input belongs to.

use crate::admin;
use crate::admin::changes::LOG_READER;
use crate::admin::poll::Polls;
use crate::config::{Config, Restored, RestoredGroup};
use crate::forward::Forwards;
use crate::gather::Batch;
use crate::group::Group;
use crate::io::{ConnectionId, Event, Input, Output};
use crate::options::Options;
use crate::pubsub::PubSub;
use crate::rollback::{Life, Lives};
use crate::route::Routes;
use crate::session::{Session, Sessions};
use crate::statistics::Statistics;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use commands::Random;
use control::{ClusterMap, Plane};
use data::codec::DecodeError;
use data::{GroupId, Instant, KeyspaceId, NodeId, Now, SlotSet};
use protocol::lease::{Grantor, Holder};
use protocol::single_leader;

/// Whether a connection may go on with its next command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    Continue,
    /// Nothing behind this command is executed before [`Node::take_resumed`] names the connection.
    Pause,
}

/// Invariant: outputs are carried out only after [`Node::end_turn`]; until then nothing that this turn produced has left.
pub struct Node {
    pub(crate) config: Config,
    pub(crate) started: Now,
    pub(crate) now: Now,
    pub(crate) plane: Plane,
    pub(crate) map: Arc<ClusterMap>,
    pub(crate) routes: BTreeMap<KeyspaceId, Routes>,
    pub(crate) groups: BTreeMap<GroupId, Group>,
    /// Groups found on disk that no view has named yet.
    pub(crate) restored: BTreeMap<GroupId, RestoredGroup>,
    pub(crate) leaderless: crate::leaderless::Leaderless,
    /// Of multi-leader keyspaces.
    pub(crate) sites: crate::sites::Counts,
    pub(crate) served: crate::sites::Served,
    pub(crate) sessions: Sessions,
    /// How many snapshots were opened: the number of the last one.
    pub(crate) snapshots_opened: u64,
    pub(crate) forwards: Forwards,
    pub(crate) settled: crate::settled::Settled,
    pub(crate) ledger: crate::ledger::Ledger,
    /// Clients that wait for what the ledgers of other nodes hold.
    pub(crate) ledger_questions: Polls<admin::ledger::What, admin::ledger::Found>,
    /// Consumers of a log that wait for its disk.
    pub(crate) log_readers: Vec<crate::admin::changes::LogReader>,
    pub(crate) inbox: crate::inbox::Inbox,
    pub(crate) tickets: BTreeMap<u64, crate::control_link::Ticket>,
    pub(crate) next_ticket: u64,
    /// Proposed electable sets of which a copy may still be recorded.
    pub(crate) uncertain_proposals: BTreeSet<(GroupId, data::ViewNumber)>,
    pub(crate) batches: BTreeMap<u64, Batch>,
    /// Messages of moves between groups of this node.
    pub(crate) pieces: alloc::collections::VecDeque<crate::moving::Piece>,
    pub(crate) pubsub: PubSub,
    pub(crate) holder: Holder,
    pub(crate) grantor: Grantor,
    /// Until when the control plane guarantees that nothing this node leads is given to another.
    pub(crate) control_lease: (Instant, NodeId),
    /// Who is connected, and the message version of the connection.
    pub(crate) peers: BTreeMap<NodeId, u8>,
    /// The message version of the last connection to each node, of those that are away too.
    pub(crate) versions: BTreeMap<NodeId, u8>,
    /// When the map was last asked to rise to the newest level.
    pub(crate) level_asked: Option<data::Instant>,
    /// The number of each node's engine format, as it last said.
    pub(crate) engines: BTreeMap<NodeId, u16>,
    /// Copies that cannot follow their group's log.
    pub(crate) refused: BTreeSet<(GroupId, NodeId)>,
    pub(crate) lives: Lives,
    pub(crate) heartbeat_at: Instant,
    pub(crate) clocks: crate::clocks::ClockWatch,
    pub(crate) token: u64,
    /// The last log write that is done.
    pub(crate) persisted: u64,
    /// The control plane's log writes on their way.
    pub(crate) control_persisting: alloc::collections::VecDeque<crate::control_link::ControlWrite>,
    pub(crate) random: Random,
    pub(crate) statistics: Statistics,
    pub(crate) outputs: Vec<Output>,
    pub(crate) control_outputs: Vec<control::Output>,
    pub(crate) ready: Vec<ConnectionId>,
    pub(crate) resumed: Vec<ConnectionId>,
    /// Sessions that were answered under a lease in this turn.
    pub(crate) leased: Vec<ConnectionId>,
    /// Connections whose snapshots were opened under them.
    pub(crate) opened_in_turn: Vec<ConnectionId>,
    /// Groups with something for log or followers at the end of the turn.
    pub(crate) unflushed: BTreeSet<GroupId>,
    /// Groups with a measured write that is committed and not wholly known.
    pub(crate) measured: Vec<GroupId>,
    /// Groups that send or pull what a lagging copy needs from disk.
    pub(crate) catching_up: BTreeSet<GroupId>,
    /// Why this node takes no part in replication any more.
    pub(crate) stopped: Option<String>,
    /// The log waits for room on the disk: reads go on, writes are refused, and the control plane hears nothing of this node
    /// (bugs: X-05).
    pub(crate) disk_full: bool,
    pub(crate) keyspace_requests: BTreeMap<KeyspaceId, Instant>,
    /// What the command under way was given with it.
    pub(crate) options: Option<Box<Options>>,
    /// Clients in WAIT.
    pub(crate) waits: Vec<crate::admin::wait::Waiting>,
}

impl Node {
    /// A node whose process starts now, with what its disk holds. A record of the control log that cannot be read is an
    /// error: a node whose votes are unknown must not start.
    pub fn new(config: Config, restored: Restored, now: Now) -> Result<Node, DecodeError> {
        let plane = Plane::new(
            config.control.clone(),
            control::Recovered {
                map: restored.map,
                records: restored.control.iter().map(|record| record.to_vec()).collect(),
            },
            now.instant,
        )?;
        let map = plane.map().clone();
        let mut node = Node {
            started: now,
            now,
            plane,
            map,
            routes: BTreeMap::new(),
            groups: BTreeMap::new(),
            restored: restored.groups,
            leaderless: crate::leaderless::Leaderless::new(restored.shards),
            sites: Default::default(),
            served: Default::default(),
            sessions: Sessions::default(),
            snapshots_opened: 0,
            forwards: Forwards::default(),
            settled: Default::default(),
            ledger: restored.ledger,
            ledger_questions: Polls::default(),
            log_readers: Vec::new(),
            inbox: crate::inbox::Inbox::default(),
            tickets: BTreeMap::new(),
            next_ticket: 0,
            uncertain_proposals: BTreeSet::new(),
            batches: BTreeMap::new(),
            pieces: Default::default(),
            pubsub: PubSub::default(),
            holder: Holder::new(config.lease),
            grantor: Grantor::new(config.lease, now.instant),
            control_lease: (Instant::ZERO, NodeId(0)),
            peers: BTreeMap::new(),
            versions: BTreeMap::new(),
            level_asked: None,
            engines: BTreeMap::new(),
            refused: BTreeSet::new(),
            lives: Lives::new(Life {
                process: config.process,
                run: config.seed,
                began: restored.log_batches,
                durable: restored.log_batches,
            }),
            heartbeat_at: Instant::ZERO,
            clocks: crate::clocks::ClockWatch::default(),
            token: 0,
            persisted: 0,
            control_persisting: alloc::collections::VecDeque::new(),
            random: Random(config.seed),
            statistics: Statistics::default(),
            outputs: Vec::new(),
            control_outputs: Vec::new(),
            ready: Vec::new(),
            resumed: Vec::new(),
            leased: Vec::new(),
            opened_in_turn: Vec::new(),
            unflushed: BTreeSet::new(),
            measured: Vec::new(),
            catching_up: BTreeSet::new(),
            stopped: None,
            disk_full: false,
            keyspace_requests: BTreeMap::new(),
            options: None,
            waits: Vec::new(),
            config,
        };
        node.meet_map();
        Ok(node)
    }

    /// One input.
    pub fn step(&mut self, now: Now, input: Input) {
        self.now = now;
        match input {
            Input::Connected { connection, address, local } => self.on_connected(connection, address, local),
            Input::Closed { connection } => self.on_closed(connection),
            Input::Peer { from, incarnation, process, version, message } => {
                self.on_peer(from, (incarnation, process), version, message);
            }
            Input::PeerUp { node, version, engine_format } => {
                self.on_peer_connection(node, Some((version, engine_format)))
            }
            Input::PeerDown { node } => self.on_peer_connection(node, None),
            Input::Persisted { token, durable } => {
                self.lives.own.durable = self.lives.own.durable.max(durable);
                self.on_persisted(token);
            }
            Input::LogRead { group, to, before, records } if to == self.config.node => {
                self.on_own_log_read(group, before.position.index.next(), &records);
            }
            Input::LogRead { group, to, before, records } if to == LOG_READER => {
                self.on_log_read_for_reader(group, before, &records);
            }
            Input::LogRead { group, to, before, records } => {
                self.feed(group, single_leader::Input::Fetched { to, from: before, records });
            }
            Input::SnapshotStored { group, mark, len } => self.on_snapshot_stored(group, mark, len),
            Input::SnapshotRead { group, to, position, offset, bytes } => {
                self.on_snapshot_read(group, to, position, offset, bytes);
            }
            Input::SnapshotReceived { group, mark, offset } => {
                self.on_snapshot_received(group, mark, offset);
            }
            Input::Join { nonce, name, addresses, site } => self.on_join(nonce, name, addresses, site),
            Input::DiskFailed { reason } => self.on_disk_failed(reason),
            Input::LogBlocked { behind_bytes, by } => self.on_log_blocked(behind_bytes, &by),
            Input::DiskFull { full } => self.disk_full = full,
            Input::Tick => self.on_tick(),
        }
    }

    fn on_tick(&mut self) {
        self.control(control::Input::Tick);
        self.send_heartbeats();
        self.tell_clock();
        self.raise_level();
        self.divide_site_rate();
        let groups: Vec<GroupId> = self.groups.keys().copied().collect();
        for group in groups {
            self.feed(group, single_leader::Input::Tick);
            // What this turn proposed so far gets its place in the log: snapshots begin behind it.
            self.flush_group(group);
            self.tend_group(group);
        }
        self.let_restored_go();
        self.tend_leaderless();
        self.tend_forwards();
        self.tend_tickets();
        self.tend_waits();
        self.tend_ledger_questions();
        self.tend_inbox_questions();
        self.announce_conflicts();
        self.gather_looks();
    }

    /// The end of a turn: what was proposed goes out, what was read under a lease is checked against a clock read after
    /// the reading. Then the outputs may be carried out.
    pub fn end_turn(&mut self, now: Now, out: &mut Vec<Output>) {
        self.now = now;
        self.end_leaderless_turn();
        self.tend_receipts();
        self.send_unsent();
        if !self.pieces.is_empty() {
            self.deliver_pieces();
        }
        if !self.catching_up.is_empty() {
            self.tend_catch_up();
        }
        self.check_leases();
        while let Some(group) = self.unflushed.pop_first() {
            self.flush_group(group);
        }
        if !self.measured.is_empty() {
            self.end_measurements();
        }
        out.append(&mut self.outputs);
    }

    /// Connections with replies to write, each named once.
    pub fn take_ready(&mut self, into: &mut Vec<ConnectionId>) {
        for connection in &self.ready {
            if let Some(session) = self.sessions.get_mut(*connection) {
                session.listed = false;
            }
        }
        into.append(&mut self.ready);
    }
    /// Connections that were paused and may go on.
    pub fn take_resumed(&mut self, into: &mut Vec<ConnectionId>) {
        into.append(&mut self.resumed);
    }
    /// Moves the replies that may be written behind `into`.
    pub fn take_replies(&mut self, connection: ConnectionId, into: &mut Vec<u8>) {
        if let Some(session) = self.sessions.get_mut(connection) {
            session.replies.take(into);
        }
    }
    /// Whether the connection's next command must wait.
    pub fn is_paused(&self, connection: ConnectionId) -> bool {
        self.sessions.get(connection).is_some_and(|session| session.paused)
    }
    /// The table that the connection's next commands will meet, if it is here: for looking ahead only.
    pub fn table_of(&self, connection: ConnectionId) -> Option<&data::table::Table> {
        let routes = self.routes.get(&self.sessions.get(connection)?.keyspace)?;
        self.groups.get(&routes.only()?.group).map(|group| &group.table)
    }
    /// Whether the client has proved who it is: limits for its input depend on it.
    pub fn is_authenticated(&self, connection: ConnectionId) -> bool {
        self.sessions.get(connection).is_some_and(|session| session.authenticated)
    }

    fn on_connected(&mut self, connection: ConnectionId, address: String, local: String) {
        self.statistics.connections += 1;
        let authenticated = self.config.password.is_none();
        if self.sessions.count() >= self.config.connections_max {
            self.statistics.connections_refused += 1;
            let mut session = Session::new(connection, address, local, false, self.now.instant);
            session.closing = true;
            session.replies.begin().extend_from_slice(b"-ERR max number of clients reached\r\n");
            session.replies.finish();
            self.sessions.insert(session);
            self.note_output(connection);
            self.outputs.push(Output::Close { connection });
            return;
        }
        self.sessions.insert(Session::new(connection, address, local, authenticated, self.now.instant));
    }

    pub(crate) fn on_closed(&mut self, connection: ConnectionId) {
        let Some(session) = self.sessions.remove(connection) else { return };
        self.pubsub.forget(connection, &session);
        self.cancel_forwards(connection);
        self.batches.retain(|_, batch| batch.connection != connection);
        if let Some((group, watch)) = session.watch {
            self.end_watch(group, watch);
        }
        self.cancel_blocked(connection);
        self.forget_snapshot(session.snapshot);
    }

    pub(crate) fn on_disk_failed(&mut self, reason: String) {
        // bugs: SL-12. What the disk holds is unknown: nothing is promised any more, and it is not tried again.
        self.stopped = Some(reason.clone());
        self.outputs.push(Output::Event(Event::Stopped(reason)));
    }

    /// Lists a connection as having output.
    pub(crate) fn note_output(&mut self, connection: ConnectionId) {
        if let Some(session) = self.sessions.get_mut(connection)
            && !session.listed
            && session.replies.has_output()
        {
            session.listed = true;
            self.ready.push(connection);
        }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }
    pub fn map(&self) -> &ClusterMap {
        &self.map
    }
    /// Who leads the control plane, as far as this node has heard.
    pub fn control_leader(&self) -> Option<NodeId> {
        self.plane.control_leader()
    }
    /// Whether the node can serve: it knows the cluster and its disk works.
    pub fn is_ready(&self) -> bool {
        self.stopped.is_none() && self.map.nodes.contains_key(&self.config.node)
    }
    /// The slots that this node executes commands of as the group's leader; nothing where it does not lead.
    pub fn serves(&self, group: GroupId) -> Option<SlotSet> {
        let it = self.groups.get(&group).filter(|it| it.is_serving())?;
        Some(self.served_slots(it))
    }
    /// State of the groups on this node, for metrics and invariants.
    pub fn group_states(&self) -> impl Iterator<Item = GroupState<'_>> {
        self.groups.values().map(|group| GroupState {
            group: group.id(),
            keyspace: &group.keyspace,
            replica: &group.replica,
            table: &group.table,
            site: group.site.as_deref().map(|site| &site.state),
            applied: group.applied,
            audit: &group.audit,
            shortfall: &group.shortfall,
            map_needed: group.map_needed,
            latency: &group.latency,
            waiting: group.waiters.len(),
            read_until: group.read_until,
        })
    }
}

/// A look at one group.
pub struct GroupState<'a> {
    pub group: GroupId,
    pub keyspace: &'a data::keyspace::Keyspace,
    pub replica: &'a single_leader::Replica,
    pub table: &'a data::table::Table,
    /// What is committed in a site's group; the table of such a group is empty.
    pub site: Option<&'a protocol::multi_leader::SiteState>,
    pub applied: data::Index,
    pub audit: &'a crate::audit::Audit,
    pub shortfall: &'a crate::shortfall::Shortfall,
    /// Keys went to another group: whoever reads this copy needs a map of this version.
    pub map_needed: u64,
    pub latency: &'a crate::latency::Latency,
    /// Replies that wait for the log.
    pub waiting: usize,
    /// A leader answers reads alone before this.
    pub read_until: Instant,
}
