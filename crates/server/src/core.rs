//! The core: one thread that owns its sockets, its node and its log. A turn reads everything that is there, lets the node
//! execute it, ends the turn, and then writes: one log batch, one write per peer, one write per client.

mod clients;
mod links;
mod outputs;
mod tryout;

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
use node::{Config, ConnectionId, Flow, Input, LoadedSnapshot, Node, Output, Restored};
use protocol::single_leader::Mark;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};
use storage::disk::replace;
use storage::{Blockers, Disk, ReceivedSnapshot, SnapshotHeader};
use wire::hello::Identity;
use wire::{Limits, Parsed, RequestParser};

const RESP: Token = Token(0);
const PEER: Token = Token(1);
pub const WAKER: Token = Token(2);
const CLIENTS: usize = 1 << 8;
const OUTGOING: usize = 1 << 40;
const INCOMING: usize = 1 << 41;
const TICK: Duration = Duration::from_millis(5);
/// Name of the mark that says: not everything promised was flushed.
pub const UNFLUSHED: &str = "unflushed";

/// What other threads finished.
pub enum Completion {
    Input(Input),
    /// A snapshot of another node, whole, on the medium and read.
    Received {
        received: Box<ReceivedSnapshot>,
        snapshot: Box<LoadedSnapshot>,
    },
    /// One that cannot be read.
    Unreadable {
        group: GroupId,
        why: String,
    },
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
    /// Changes of a simulated network that the links know of.
    network_seen: u64,
    founding: Founding,
    snapshot_jobs: Option<Sender<SnapshotJob>>,
    /// Snapshots of a node that keeps nothing on disk.
    memory_snapshots: BTreeMap<GroupId, (Mark, Vec<u8>)>,
    memory_writing: BTreeMap<GroupId, Vec<u8>>,
    memory_receiving: BTreeMap<GroupId, (Mark, Vec<u8>)>,
    outputs: Vec<Output>,
    /// Looks ahead in pipelines.
    scout: RequestParser,
    ready: Vec<ConnectionId>,
    resumed: Vec<ConnectionId>,
    unread: Vec<usize>,
    persisted: Option<u64>,
    unflushed_noted: bool,
    stopping: Option<Instant>,
    status_at: Instant,
    failure: Option<StartError>,
    disk_failed: bool,
    disk_full: bool,
    /// Why the data directory must not be used again.
    abandoned: Option<String>,
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
        let node = Node::new(config, restored, clock::now()).map_err(|error| {
            StartError::new(format!(
                "the control log cannot be read ({error}): a newer version wrote it, start that one; or remove this node and \
                 let it join with an empty directory"
            ))
        })?;
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
            network_seen: 0,
            founding,
            snapshot_jobs,
            memory_snapshots: BTreeMap::new(),
            memory_writing: BTreeMap::new(),
            memory_receiving: BTreeMap::new(),
            outputs: Vec::new(),
            scout: RequestParser::new(),
            ready: Vec::new(),
            resumed: Vec::new(),
            unread: Vec::new(),
            persisted: None,
            unflushed_noted: false,
            stopping: None,
            status_at: Instant::now(),
            failure: None,
            disk_failed: false,
            disk_full: false,
            abandoned: None,
        })
    }

    /// Whether the log could not be written at some time: what the directory promises cannot be believed.
    pub fn has_disk_failed(&self) -> bool {
        self.disk_failed
    }

    /// Why the data directory must not be used again, if that was found out.
    pub fn abandoned(&self) -> Option<&str> {
        self.abandoned.as_deref()
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
            let wait = self.until_arrival(wait);
            if let Err(error) = self.parts.poll.poll(&mut events, Some(wait))
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                return Err(StartError::new(error.to_string()));
            }
            if !self.goes_on() {
                return Ok(());
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

    /// Takes what other threads finished.
    fn collect(&mut self) {
        if let Some(token) = self.persisted.take() {
            self.on_persisted(token);
        }
        if let Some(log) = &mut self.parts.log
            && let Err(error) = log.collect()
        {
            self.disk_failed(&error);
        }
        self.collect_reads();
        self.submit();
        while let Ok(completion) = self.parts.completed.try_recv() {
            match completion {
                Completion::Input(input) => self.node.step(clock::now(), input),
                Completion::Received { received, snapshot } => self.install(&received, *snapshot),
                Completion::Unreadable { group, why } => {
                    eprintln!("{}: snapshot: {why}", self.parts.settings.name);
                    self.node.refuse_snapshot(group);
                }
                Completion::Trouble(what) => eprintln!("{}: snapshot: {what}", self.parts.settings.name),
            }
        }
    }

    fn tick(&mut self) {
        if self.handle.stop.load(Ordering::Relaxed) && self.stopping.is_none() {
            self.stopping = Some(Instant::now() + Duration::from_millis(50));
        }
        // After a shortage of file descriptors the listeners announce nothing more by themselves.
        self.accept_peers();
        self.accept_clients();
        self.give_up_cut_links();
        self.dial();
        self.node.step(clock::now(), Input::Tick);
        if let Some(log) = &mut self.parts.log {
            log.tick();
            let full = log.is_full();
            if full != self.disk_full {
                self.disk_full = full;
                eprintln!(
                    "{}: {}",
                    self.parts.settings.name,
                    if full {
                        "the disk is full: writes are refused until there is room"
                    } else {
                        "the disk has room again"
                    }
                );
                self.node.step(clock::now(), Input::DiskFull { full });
            }
        }
        if self.status_at.elapsed() >= Duration::from_millis(250) {
            self.status_at = Instant::now();
            let written = self.outgoing.iter().map(|(node, link)| (*node, link.written())).collect();
            let clients = self.connections.len() - self.free.len();
            let status = crate::metrics::status(&self.node, clients, &written);
            if let Ok(mut shown) = self.handle.status.lock() {
                *shown = status;
            }
            let blockers = self.parts.log.as_ref().map(|log| log.blockers());
            let Blockers { behind_bytes, groups } = blockers.unwrap_or_default();
            if !groups.is_empty() {
                self.node.step(clock::now(), Input::LogBlocked { behind_bytes, by: groups });
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
                    // What was left in the socket meanwhile announces itself no more.
                    self.unread.push(place);
                }
            }
            if quiet && self.outputs.is_empty() {
                break;
            }
        }
        self.look_at_network();
        self.write_peers();
        self.write_clients();
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
