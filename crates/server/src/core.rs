//! The core: one thread that owns its sockets, its node and its log. A turn reads everything that is there, lets the node
//! execute it, ends the turn, and then writes: one log batch, one write per peer, one write per client.

use crate::clock;
use crate::connection::{Connection, OUTPUT_BYTES_MAX};
use crate::founding::{Membership, encoded};
use crate::log_writer::LogWriter;
use crate::peers::{Incoming, Outgoing, Received, Sender as PeerSender, send_founding};
use crate::settings::{Settings, StartError};
use crate::snapshots::{self, SnapshotJob, from_storage, to_storage};
use crate::start::Handle;
use bytes::Bytes;
use control::founding::{Founding, FoundingInput, FoundingMessage, FoundingOutput};
use data::codec::Reader;
use data::{GroupId, NodeId, Position};
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};
use node::{Config, ConnectionId, Flow, Input, Node, Output, Restored};
use protocol::single_leader::Mark;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};
use storage::Disk;
use storage::disk::replace;
use storage::snapshot::{SnapshotHeader, SnapshotReader};
use wire::hello::Identity;
use wire::{Limits, Parsed};

const RESP: Token = Token(0);
const PEER: Token = Token(1);
pub const WAKER: Token = Token(2);
const CLIENTS: usize = 1 << 8;
const OUTGOING: usize = 1 << 40;
const INCOMING: usize = 1 << 41;
const TICK: Duration = Duration::from_millis(5);
/// Name of the mark that says: not everything promised was flushed.
pub const UNFLUSHED: &str = "unflushed";
/// Message versions that this program speaks.
const VERSION_MIN: u8 = 1;
const VERSION_MAX: u8 = 1;

/// What other threads finished.
pub enum Completion {
    Input(Input),
    Installed { group: GroupId, mark: Mark, len: u64, reader: SnapshotReader },
    Trouble(String),
}

pub struct CoreParts {
    pub settings: Settings,
    pub membership: Membership,
    pub disk: Option<Arc<dyn Disk>>,
    pub log: Option<LogWriter>,
    pub poll: Poll,
    pub waker: Arc<Waker>,
    pub completions: Sender<Completion>,
    pub completed: Receiver<Completion>,
}

/// What HTTP shows; refreshed a few times a second.
#[derive(Clone, Default)]
pub struct Status {
    pub ready: bool,
    pub leads: bool,
    pub metrics: String,
}

pub struct Core {
    parts: CoreParts,
    handle: Handle,
    node: Node,
    resp: TcpListener,
    peer: TcpListener,
    connections: Vec<Option<Box<Connection>>>,
    free: Vec<usize>,
    generation: u64,
    outgoing: BTreeMap<NodeId, Outgoing>,
    incoming: Vec<Option<Box<Incoming>>>,
    up: BTreeMap<NodeId, bool>,
    founding: Founding,
    snapshot_jobs: Option<Sender<SnapshotJob>>,
    /// Snapshots of a node that keeps nothing on disk.
    memory_snapshots: BTreeMap<GroupId, (Mark, Vec<u8>)>,
    memory_writing: BTreeMap<GroupId, Vec<u8>>,
    memory_receiving: BTreeMap<GroupId, (Mark, Vec<u8>)>,
    outputs: Vec<Output>,
    ready: Vec<ConnectionId>,
    resumed: Vec<ConnectionId>,
    unread: Vec<usize>,
    persisted: Option<u64>,
    unflushed_noted: bool,
    stopping: Option<Instant>,
    status_at: Instant,
    failure: Option<StartError>,
}

impl Core {
    pub fn new(
        parts: CoreParts,
        config: Config,
        restored: Restored,
        resp: std::net::TcpListener,
        peer: std::net::TcpListener,
        handle: Handle,
    ) -> Result<Core, StartError> {
        let io = |error: std::io::Error| StartError::new(error.to_string());
        resp.set_nonblocking(true).map_err(io)?;
        peer.set_nonblocking(true).map_err(io)?;
        let (mut resp, mut peer) = (TcpListener::from_std(resp), TcpListener::from_std(peer));
        let registry = parts.poll.registry();
        registry.register(&mut resp, RESP, Interest::READABLE).map_err(io)?;
        registry.register(&mut peer, PEER, Interest::READABLE).map_err(io)?;
        let snapshot_jobs = parts.disk.as_ref().map(|disk| {
            snapshots::start(Arc::clone(disk), parts.completions.clone(), Arc::clone(&parts.waker))
        });
        let membership = &parts.membership;
        let founding = Founding::member(
            parts.settings.peer.clone(),
            membership.nonce,
            membership.cluster,
            membership.founded.clone(),
        );
        let node = Node::new(config, restored, clock::now());
        Ok(Core {
            parts,
            handle,
            node,
            resp,
            peer,
            connections: Vec::new(),
            free: Vec::new(),
            generation: 0,
            outgoing: BTreeMap::new(),
            incoming: Vec::new(),
            up: BTreeMap::new(),
            founding,
            snapshot_jobs,
            memory_snapshots: BTreeMap::new(),
            memory_writing: BTreeMap::new(),
            memory_receiving: BTreeMap::new(),
            outputs: Vec::new(),
            ready: Vec::new(),
            resumed: Vec::new(),
            unread: Vec::new(),
            persisted: None,
            unflushed_noted: false,
            stopping: None,
            status_at: Instant::now(),
            failure: None,
        })
    }

    /// Turns until the end.
    pub fn run(&mut self) -> Result<(), StartError> {
        let mut events = Events::with_capacity(1024);
        let mut tick_at = Instant::now();
        self.end_turn();
        loop {
            let wait = if self.unread.is_empty() && self.persisted.is_none() {
                tick_at.saturating_duration_since(Instant::now())
            } else {
                Duration::ZERO
            };
            if let Err(error) = self.parts.poll.poll(&mut events, Some(wait))
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                return Err(StartError::new(error.to_string()));
            }
            self.collect();
            for event in &events {
                self.on_event(
                    event.token(),
                    event.is_readable() || event.is_read_closed(),
                    event.is_writable(),
                );
            }
            for place in std::mem::take(&mut self.unread) {
                self.read_client(place);
            }
            let now = Instant::now();
            if now >= tick_at {
                tick_at = now + TICK;
                self.tick();
            }
            self.end_turn();
            if let Some(error) = self.failure.take() {
                return Err(error);
            }
            if self.stopping.is_some_and(|at| now >= at) {
                return self.finish();
            }
        }
    }

    fn on_event(&mut self, token: Token, readable: bool, writable: bool) {
        match token {
            RESP => self.accept_clients(),
            PEER => self.accept_peers(),
            WAKER => {}
            Token(number) if number >= INCOMING => self.read_incoming(number - INCOMING),
            Token(number) if number >= OUTGOING => {
                self.serve_outgoing(NodeId((number - OUTGOING) as u32), readable);
            }
            Token(number) => {
                if writable {
                    self.write_client(number - CLIENTS);
                }
                if readable {
                    self.read_client(number - CLIENTS);
                }
            }
        }
    }

    fn accept_clients(&mut self) {
        while let Ok((mut stream, address)) = self.resp.accept() {
            if self.stopping.is_some() {
                continue;
            }
            let place = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            self.generation += 1;
            let id = ConnectionId((self.generation << 32) | place as u64);
            let interest = Interest::READABLE | Interest::WRITABLE;
            if self.parts.poll.registry().register(&mut stream, Token(CLIENTS + place), interest).is_err() {
                self.free.push(place);
                continue;
            }
            let local = stream.local_addr().map(|a| a.to_string()).unwrap_or_default();
            self.connections[place] = Some(Box::new(Connection::new(id, stream)));
            let input = Input::Connected { connection: id, address: address.to_string(), local };
            self.node.step(clock::now(), input);
        }
    }

    fn read_client(&mut self, place: usize) {
        let Some(connection) = self.connections.get_mut(place).and_then(Option::as_deref_mut) else { return };
        if connection.closing {
            return;
        }
        match connection.read() {
            Ok(true) => {
                let more = connection.more;
                self.execute(place);
                if more {
                    self.unread.push(place);
                }
            }
            Ok(false) => {
                self.execute(place);
                self.close_client(place);
            }
            Err(_) => self.close_client(place),
        }
    }

    /// Executes the whole commands in a connection's input.
    fn execute(&mut self, place: usize) {
        let Some(connection) = self.connections.get_mut(place).and_then(Option::as_deref_mut) else { return };
        let id = connection.id;
        if self.node.is_paused(id) {
            return;
        }
        // The clock is read after the socket: a read that is answered under a lease came before it.
        let now = clock::now();
        let mut limits =
            if self.node.is_authenticated(id) { Limits::default() } else { Limits::unauthenticated() };
        loop {
            let input = &connection.input[connection.used..];
            match connection.parser.parse(input, &limits) {
                Ok(Parsed::Command { consumed }) => {
                    let args: SmallVec<[&[u8]; 8]> = connection.parser.arguments(input).collect();
                    let flow = self.node.request(now, id, &args);
                    let was_auth = args.first().is_some_and(|name| name.len() <= 5);
                    drop(args);
                    connection.used += consumed;
                    if was_auth && !limits.authenticated && self.node.is_authenticated(id) {
                        limits = Limits::default();
                    }
                    if flow == Flow::Pause {
                        return;
                    }
                }
                Ok(Parsed::Skip { consumed }) => connection.used += consumed,
                Ok(Parsed::Incomplete { .. }) => break,
                Err(error) => {
                    if !matches!(error, wire::ProtocolError::Http) {
                        self.node.protocol_error(id, &error.to_string());
                    }
                    connection.closing = true;
                    connection.used = connection.input.len();
                    self.outputs.push(Output::Close { connection: id });
                    break;
                }
            }
        }
        connection.settle();
    }

    fn write_client(&mut self, place: usize) {
        let Some(connection) = self.connections.get_mut(place).and_then(Option::as_deref_mut) else { return };
        let lost = connection.write().is_err() || connection.pending_output() > OUTPUT_BYTES_MAX;
        if lost || connection.closing && connection.pending_output() == 0 {
            self.close_client(place);
        }
    }

    fn close_client(&mut self, place: usize) {
        let Some(mut connection) = self.connections.get_mut(place).and_then(Option::take) else { return };
        let _ = self.parts.poll.registry().deregister(&mut connection.stream);
        self.free.push(place);
        self.node.step(clock::now(), Input::Closed { connection: connection.id });
    }

    fn place_of(&self, id: ConnectionId) -> Option<usize> {
        let place = id.0 as u32 as usize;
        self.connections.get(place)?.as_deref().filter(|connection| connection.id == id).map(|_| place)
    }

    fn identity(&self) -> Identity {
        let config = self.node.config();
        Identity {
            cluster: self.parts.membership.cluster,
            node: config.node,
            incarnation: config.incarnation,
            process: config.process,
            name: config.name.clone(),
            level: 1,
            level_max: 1,
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
        }
    }

    fn accept_peers(&mut self) {
        while let Ok((mut stream, _)) = self.peer.accept() {
            let place = self.incoming.iter().position(Option::is_none).unwrap_or_else(|| {
                self.incoming.push(None);
                self.incoming.len() - 1
            });
            let token = Token(INCOMING + place);
            if self.parts.poll.registry().register(&mut stream, token, Interest::READABLE).is_err() {
                continue;
            }
            let secret = self.parts.settings.secret.as_bytes();
            let incoming = Incoming::new(stream, self.identity(), secret, clock::entropy());
            self.incoming[place] = Some(Box::new(incoming));
        }
    }

    fn read_incoming(&mut self, place: usize) {
        let Some(mut incoming) = self.incoming.get_mut(place).and_then(Option::take) else { return };
        let mut received = Vec::new();
        let outcome = incoming.read(&mut |message| received.push(message));
        let now = clock::now();
        let mut agreed_with = None;
        for message in received {
            match message {
                Received::Agreed(node) => agreed_with = Some(node),
                Received::Message { from, incarnation, process, message } => {
                    self.node.step(now, Input::Peer { from, incarnation, process, message });
                }
                Received::Founding(body) => self.on_founding(&body),
            }
        }
        if let Some(node) = agreed_with {
            // A newer connection of the same peer takes the place of an older one.
            for other in &mut self.incoming {
                if other.as_ref().is_some_and(|o| o.agreed.as_ref().is_some_and(|a| a.peer.node == node)) {
                    *other = None;
                }
            }
        }
        match outcome {
            Ok(()) => self.incoming[place] = Some(incoming),
            Err(error) => {
                if incoming.agreed.is_none() && error.kind() == std::io::ErrorKind::InvalidData {
                    eprintln!("{}: a peer was refused: {error}", self.parts.settings.name);
                }
                let _ = self.parts.poll.registry().deregister(&mut incoming.stream);
            }
        }
        self.watch_links();
    }

    fn serve_outgoing(&mut self, node: NodeId, readable: bool) {
        let Some(link) = self.outgoing.get_mut(&node) else { return };
        let mut outcome = Ok(false);
        if readable {
            outcome = link.read();
        }
        if outcome.is_ok()
            && let Err(error) = link.write()
        {
            outcome = Err(error);
        }
        if let Err(error) = outcome {
            if error.kind() == std::io::ErrorKind::PermissionDenied {
                eprintln!("{}: {} refused the link: {error}", self.parts.settings.name, link.address);
            }
            self.lose_outgoing(node);
        }
        self.watch_links();
    }

    fn lose_outgoing(&mut self, node: NodeId) {
        let Some(link) = self.outgoing.get_mut(&node) else { return };
        if let Some(mut stream) = link.stream.take() {
            let _ = self.parts.poll.registry().deregister(&mut stream);
        }
        link.reset();
    }

    /// A peer is up while both directions stand.
    fn watch_links(&mut self) {
        let nodes: Vec<NodeId> = self.outgoing.keys().copied().collect();
        for node in nodes {
            let out = self.outgoing.get(&node).is_some_and(|link| link.agreed.is_some());
            let into = self
                .incoming
                .iter()
                .flatten()
                .any(|incoming| incoming.agreed.as_ref().is_some_and(|agreed| agreed.peer.node == node));
            let up = out && into;
            if self.up.get(&node).copied().unwrap_or(false) != up {
                self.up.insert(node, up);
                let input = if up { Input::PeerUp { node } } else { Input::PeerDown { node } };
                self.node.step(clock::now(), input);
                if !up && out {
                    // What was queued for the peer's last process must not reach its next one.
                    self.lose_outgoing(node);
                }
            }
        }
    }

    /// Links follow the map; before the map is known they follow the founders.
    fn dial(&mut self) {
        let me = self.node.config().node;
        let mut wanted: BTreeMap<NodeId, String> = BTreeMap::new();
        if let Some(founded) = &self.parts.membership.founded
            && !self.node.map().founded()
        {
            wanted.extend(founded.nodes().map(|(node, address, _)| (node, address.to_string())));
        }
        wanted.extend(self.node.map().nodes.values().map(|node| (node.id, node.addresses.peer.clone())));
        wanted.remove(&me);
        let gone: Vec<NodeId> = self
            .outgoing
            .iter()
            .filter(|(n, link)| wanted.get(n) != Some(&link.address))
            .map(|(n, _)| *n)
            .collect();
        for node in gone {
            self.lose_outgoing(node);
            self.watch_links();
            self.outgoing.remove(&node);
        }
        let identity = self.identity();
        for (node, address) in wanted {
            let link = self.outgoing.entry(node).or_insert_with(|| Outgoing::new(node, address));
            if !link.is_due() {
                continue;
            }
            let secret = self.parts.settings.secret.as_bytes();
            if link.dial(identity.clone(), secret, clock::entropy()).is_ok()
                && let Some(stream) = &mut link.stream
            {
                let token = Token(OUTGOING + node.0 as usize);
                let interest = Interest::READABLE | Interest::WRITABLE;
                let _ = self.parts.poll.registry().register(stream, token, interest);
            }
        }
    }

    fn on_founding(&mut self, body: &[u8]) {
        let now = clock::now();
        match FoundingMessage::decode(&mut Reader::new(body)) {
            Ok(FoundingMessage::Hello(hello)) => {
                let mut outputs = Vec::new();
                self.founding.step(now.instant, FoundingInput::Hello(hello), &mut outputs);
                for output in outputs {
                    if let FoundingOutput::Send { to, message } = output {
                        send_founding(to, encoded(&message));
                    }
                }
            }
            Ok(FoundingMessage::JoinRequest { name, addresses, site, nonce }) => {
                self.node.step(now, Input::Join { nonce, name, addresses, site });
            }
            Ok(FoundingMessage::JoinAnswer { .. } | FoundingMessage::JoinLater) | Err(_) => {}
        }
    }

    /// Takes what other threads finished.
    fn collect(&mut self) {
        if let Some(token) = self.persisted.take() {
            self.node.step(clock::now(), Input::Persisted { token });
        }
        if let Some(log) = &mut self.parts.log
            && let Err(error) = log.collect()
        {
            self.disk_failed(&error);
        }
        self.submit();
        while let Ok(completion) = self.parts.completed.try_recv() {
            match completion {
                Completion::Input(input) => self.node.step(clock::now(), input),
                Completion::Installed { group, mark, len, reader } => {
                    self.install(group, mark, len, &reader);
                }
                Completion::Trouble(what) => eprintln!("{}: snapshot: {what}", self.parts.settings.name),
            }
        }
    }

    fn install(&mut self, group: GroupId, mark: Mark, len: u64, reader: &SnapshotReader) {
        let mut pieces = Vec::new();
        if let Err(error) = reader.payload(&mut |piece| pieces.push(piece.to_vec())) {
            eprintln!("{}: snapshot: {error}", self.parts.settings.name);
            return;
        }
        // The log must know that the group begins anew here, before the next entry is appended.
        let header = reader.header();
        let mut record = Vec::new();
        storage::index::write_snapshot_record(
            &mut record,
            header.keyspace,
            group,
            to_storage(mark),
            header.time_ms,
        );
        if let Some(log) = &mut self.parts.log
            && let Err(error) = log.append_note(&record)
        {
            self.disk_failed(&error);
            return;
        }
        let mut pieces = pieces.into_iter();
        if let Err(error) = self.node.install_snapshot(clock::now(), group, &mut || pieces.next(), len) {
            eprintln!("{}: snapshot: {error}", self.parts.settings.name);
        }
    }

    fn disk_failed(&mut self, error: &storage::Error) {
        eprintln!("{}: the log can no longer be written: {error}", self.parts.settings.name);
        self.parts.log = None;
        self.node.step(clock::now(), Input::DiskFailed { reason: error.to_string() });
    }

    fn submit(&mut self) {
        let Some(log) = &mut self.parts.log else { return };
        match log.submit() {
            Ok(Some(token)) => self.node.step(clock::now(), Input::Persisted { token }),
            Ok(None) => {}
            Err(error) => self.disk_failed(&error),
        }
    }

    fn tick(&mut self) {
        if self.handle.stop.load(Ordering::Relaxed) && self.stopping.is_none() {
            self.stopping = Some(Instant::now() + Duration::from_millis(50));
        }
        self.dial();
        self.node.step(clock::now(), Input::Tick);
        if let Some(log) = &mut self.parts.log {
            log.tick();
        }
        if self.status_at.elapsed() >= Duration::from_millis(250) {
            self.status_at = Instant::now();
            let status = crate::metrics::status(&self.node, self.connections.len() - self.free.len());
            if let Ok(mut shown) = self.handle.status.lock() {
                *shown = status;
            }
        }
    }

    /// Ends the node's turn and carries out what it wants; what that leads to at once belongs to the same turn.
    fn end_turn(&mut self) {
        loop {
            self.node.end_turn(clock::now(), &mut self.outputs);
            self.node.take_resumed(&mut self.resumed);
            let outputs = std::mem::take(&mut self.outputs);
            let quiet = outputs.is_empty();
            for output in outputs {
                self.carry_out(output);
            }
            self.submit();
            for connection in std::mem::take(&mut self.resumed) {
                if let Some(place) = self.place_of(connection) {
                    self.execute(place);
                }
            }
            if quiet && self.outputs.is_empty() {
                break;
            }
        }
        self.write_peers();
        self.write_clients();
    }

    fn write_peers(&mut self) {
        let nodes: Vec<NodeId> = self.outgoing.keys().copied().collect();
        let mut lost = false;
        for node in nodes {
            if self.outgoing.get_mut(&node).is_some_and(|link| link.write().is_err()) {
                self.lose_outgoing(node);
                lost = true;
            }
        }
        if lost {
            self.watch_links();
        }
    }

    fn write_clients(&mut self) {
        self.node.take_ready(&mut self.ready);
        for connection in std::mem::take(&mut self.ready) {
            let Some(place) = self.place_of(connection) else { continue };
            if let Some(it) = self.connections[place].as_deref_mut() {
                self.node.take_replies(connection, &mut it.output);
                if it.blocked && it.pending_output() <= OUTPUT_BYTES_MAX {
                    continue;
                }
            }
            self.write_client(place);
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Send { to, message } => {
                let config = self.node.config();
                let from = PeerSender {
                    node: config.node,
                    incarnation: config.incarnation,
                    process: config.process,
                };
                if self.outgoing.get_mut(&to).is_some_and(|link| !link.queue(&from, &message)) {
                    self.lose_outgoing(to);
                    self.watch_links();
                }
            }
            Output::Persist { token, records, flush } => self.persist(token, &records, flush),
            Output::ReadLog { group, to, from, bytes_max } => {
                let read = self.parts.log.as_ref().and_then(|log| log.read(group, from, bytes_max));
                let (before, records) = match read {
                    Some((before, records)) => (from_storage(before), Bytes::from(records)),
                    None => {
                        let position = Position { index: from.previous(), ..Position::default() };
                        (Mark { position, hash: 0 }, Bytes::new())
                    }
                };
                self.node.step(clock::now(), Input::LogRead { group, to, before, records });
            }
            Output::WriteSnapshot { group, mark, bytes, first, last } => {
                self.write_snapshot(group, mark, bytes, first, last);
            }
            Output::ReadSnapshot { group, to, position, offset, len_max } => {
                self.read_snapshot(group, to, position, offset, len_max);
            }
            Output::ReceiveSnapshot { group, mark, offset, bytes, len } => {
                self.receive_snapshot(group, mark, offset, bytes, len);
            }
            Output::ReleaseLog { group, through } => {
                if let Some(log) = &mut self.parts.log {
                    log.release(group, through);
                }
            }
            Output::DropGroup { group } => {
                if let Some(log) = &mut self.parts.log {
                    log.drop_group(group);
                }
                self.memory_snapshots.remove(&group);
                if let Some(jobs) = &self.snapshot_jobs {
                    let _ = jobs.send(SnapshotJob::Drop { group });
                }
            }
            Output::JoinAnswer { peer, node, map } => {
                let cluster = self.parts.membership.cluster;
                send_founding(peer, encoded(&FoundingMessage::JoinAnswer { cluster, node, map }));
            }
            Output::Close { connection } => {
                let Some(place) = self.place_of(connection) else { return };
                if let Some(it) = self.connections[place].as_deref_mut() {
                    it.closing = true;
                    self.node.take_replies(connection, &mut it.output);
                }
                self.write_client(place);
            }
            Output::Shutdown => {
                self.stopping.get_or_insert(Instant::now() + Duration::from_millis(50));
            }
            Output::Event(event) => crate::metrics::log_event(&self.parts.settings.name, &event),
        }
    }

    fn persist(&mut self, token: u64, records: &Bytes, flush: bool) {
        if !flush && !self.unflushed_noted {
            self.unflushed_noted = true;
            if let Some(disk) = &self.parts.disk
                && let Err(error) = replace(&**disk, "", UNFLUSHED, b"1")
            {
                self.disk_failed(&error);
                return;
            }
        }
        match &mut self.parts.log {
            Some(log) => {
                if let Err(error) = log.append(token, records, flush) {
                    self.disk_failed(&error);
                }
            }
            // Nothing is kept: what is in memory is all there is.
            None if self.parts.disk.is_none() => self.persisted = Some(token),
            None => {}
        }
        if let Some(token) = self.persisted.take() {
            self.node.step(clock::now(), Input::Persisted { token });
        }
    }

    fn write_snapshot(&mut self, group: GroupId, mark: Mark, bytes: Vec<u8>, first: bool, last: bool) {
        if let Some(jobs) = &self.snapshot_jobs {
            let state = self.node.group_states().find(|state| state.group == group);
            let keyspace = state.as_ref().map(|state| state.keyspace.id).unwrap_or_default();
            let time_ms = state.map_or(0, |state| state.replica.log().time_ms());
            let header =
                SnapshotHeader { group, keyspace, mark: to_storage(mark), time_ms, epochs: Vec::new() };
            let _ = jobs.send(SnapshotJob::Write { header, bytes, first, last });
            return;
        }
        let writing = self.memory_writing.entry(group).or_default();
        if first {
            writing.clear();
        }
        writing.extend_from_slice(&bytes);
        if last {
            let bytes = std::mem::take(writing);
            let len = bytes.len() as u64;
            self.memory_snapshots.insert(group, (mark, bytes));
            self.node.step(clock::now(), Input::SnapshotStored { group, mark, len });
        }
    }

    fn read_snapshot(&mut self, group: GroupId, to: NodeId, position: Position, offset: u64, len_max: usize) {
        if let Some(jobs) = &self.snapshot_jobs {
            let _ = jobs.send(SnapshotJob::Read { group, to, position, offset, len_max });
            return;
        }
        let stored = self.memory_snapshots.get(&group).filter(|(mark, _)| mark.position == position);
        let bytes = stored.map(|(_, bytes)| {
            let from = (offset as usize).min(bytes.len());
            Bytes::copy_from_slice(&bytes[from..bytes.len().min(from + len_max)])
        });
        let bytes = bytes.unwrap_or_default();
        self.node.step(clock::now(), Input::SnapshotRead { group, to, position, offset, bytes });
    }

    fn receive_snapshot(&mut self, group: GroupId, mark: Mark, offset: u64, bytes: Bytes, len: u64) {
        if let Some(jobs) = &self.snapshot_jobs {
            let _ = jobs.send(SnapshotJob::Receive { group, mark, offset, bytes, len });
            return;
        }
        let (known, received) = self.memory_receiving.entry(group).or_insert((mark, Vec::new()));
        if *known != mark {
            *known = mark;
            received.clear();
        }
        if offset == received.len() as u64 {
            received.extend_from_slice(&bytes);
        }
        let offset = received.len() as u64;
        if offset < len {
            self.node.step(clock::now(), Input::SnapshotReceived { group, mark, offset });
            return;
        }
        let whole = std::mem::take(received);
        self.memory_snapshots.insert(group, (mark, whole.clone()));
        let mut pieces = Some(whole).into_iter();
        if let Err(error) = self.node.install_snapshot(clock::now(), group, &mut || pieces.next(), len) {
            eprintln!("{}: snapshot: {error}", self.parts.settings.name);
        }
    }

    /// Nothing new is taken; what was taken is flushed.
    fn finish(&mut self) -> Result<(), StartError> {
        self.write_clients();
        if let Some(log) = &mut self.parts.log {
            log.finish().map_err(|error| StartError::new(error.to_string()))?;
        }
        Ok(())
    }
}
