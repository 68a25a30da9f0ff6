//! The world: every machine, connection, disk and client of a run, in one thread under virtual time.
//!
//! | file | does |
//! |---|---|
//! | `world` | the queue, and what each event means |
//! | `world/turn` | a node's turn: inputs, its end, carrying out what it wants |
//! | `world/life` | processes and connections begin and end |
//! | `world/members` | nodes join, leave and lose their data, as an operator has it |
//! | `world/serve` | clients: tasks, replies, history |
//!
//! Everything is ordered: the queue by (time, sequence), machines by number; so a seed determines a run.

mod life;
pub mod members;
mod serve;
mod turn;

use crate::client::{Client, Request};
use crate::disk::Job;
use crate::faults::{Blow, Cascade, Fault, Mix, Strikes, Undo};
use crate::history::Operation;
use crate::host::Host;
use crate::invariants::Invariants;
use crate::network::Network;
use crate::random::{Random, Streams};
use crate::sites::Sites;
use crate::trace::Trace;
use control::Founded;
use data::keyspace::Settings;
use data::leaderless::ConflictPolicy;
use data::{Incarnation, NodeId, Process};
use node::{ConnectionId, Input};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What will happen.
pub enum Event {
    Deliver {
        from: NodeId,
        to: NodeId,
        connection: u64,
        sender: (data::Incarnation, Process),
        kind: u8,
        body: Vec<u8>,
    },
    /// A disk job of this process ends.
    Disk {
        node: NodeId,
        process: Process,
        job: Job,
    },
    /// An answer from the disk.
    Feed {
        node: NodeId,
        process: Process,
        input: Box<Input>,
    },
    Tick {
        node: NodeId,
        process: Process,
    },
    FlushClock {
        node: NodeId,
        process: Process,
    },
    /// Somebody tries to connect; does nothing when the connection is up.
    Connect {
        a: NodeId,
        b: NodeId,
    },
    /// The connection of this number is noticed to be dead.
    Disconnect {
        a: NodeId,
        b: NodeId,
        number: u64,
    },
    Start {
        node: NodeId,
    },
    Wake {
        node: NodeId,
    },
    /// A client's next task may begin.
    Think {
        client: usize,
    },
    Request(Request),
    /// Bytes for a client.
    Reply {
        client: usize,
        connection: ConnectionId,
        bytes: Vec<u8>,
    },
    Closed {
        client: usize,
        connection: ConnectionId,
    },
    Timeout {
        client: usize,
        exchange: u64,
    },
    /// A machine without data asks to become a member.
    AskToJoin {
        machine: u32,
    },
    Joined {
        machine: u32,
        node: NodeId,
        map: Arc<control::ClusterMap>,
    },
    /// The operator looks after nodes that shall leave.
    Operate,
    Fault(Fault),
    Blow(Blow),
    Undo(Undo),
    Administer,
}

/// A keyspace of the run, and what its rule promises.
#[derive(Clone, Debug)]
pub struct Space {
    pub name: String,
    /// Words of KEYSPACE CREATE.
    pub options: Vec<String>,
    /// Acknowledged writes survive whatever this run does.
    pub durable: bool,
    /// Of a leaderless keyspace, what its quorums promise.
    pub quorums: Option<Quorums>,
    /// Of a multi-leader keyspace; what its sites promise beside `quorums` is judged too.
    pub has_sites: bool,
}

/// What the quorums of a leaderless keyspace promise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quorums {
    /// Reads meet writes.
    pub strict: bool,
    /// Reads do not go back.
    pub monotonic: bool,
    /// What becomes of concurrent writes.
    pub conflict: ConflictPolicy,
}

/// A machine that has an old disk: from when until when.
#[derive(Clone, Copy, Debug)]
pub struct OldDisk {
    pub node: NodeId,
    pub from: u64,
    pub until: u64,
}

impl OldDisk {
    /// Whether it was there for a part of this time.
    pub fn has(&self, node: NodeId, start: u64, end: u64) -> bool {
        self.node == node && end >= self.from && start <= self.until
    }
}

impl Quorums {
    /// What comes later may have the lower stamp, and lose, where its minter has not heard of what was before.
    pub fn is_by_stamps(&self) -> bool {
        self.conflict == ConflictPolicy::LastWriteWins
    }
}

impl Space {
    /// Whether a numbered keyspace, which is there by itself, has the options that this one shall have.
    pub fn is_set(&self, settings: &Settings) -> bool {
        self.options.chunks_exact(2).all(|pair| match (&pair[0][..], &pair[1][..]) {
            ("SHARDS", count) => settings.shards.to_string() == count,
            ("LOG", format) => settings.log.name() == format,
            _ => true,
        })
    }
}

pub struct World {
    pub seed: u64,
    pub now: u64,
    sequence: u64,
    queue: BTreeMap<(u64, u64), Event>,
    pub hosts: BTreeMap<NodeId, Host>,
    pub network: Network,
    pub streams: Streams,
    pub clients: Vec<Client>,
    pub spaces: Vec<Space>,
    /// Who is behind a connection.
    pub connected: BTreeMap<(NodeId, ConnectionId), usize>,
    next_connection: u64,
    pub unique: i64,
    /// Times that a session was told that what it saw is lost.
    pub told_lost: u64,
    pub history: Vec<Operation>,
    pub invariants: Invariants,
    pub mix: Mix,
    pub strikes: Strikes,
    /// A cascade of failures under way.
    pub cascade: Option<Cascade>,
    pub trace: Trace,
    founded: Founded,
    pub operator: members::Operator,
    pub events: u64,
    /// Since when everything is in order and only read back; never before that.
    pub calm_at: u64,
    /// Lives of machines with old disks.
    pub restored: Vec<OldDisk>,
    /// The newest life of each node that there ever was.
    pub lives: BTreeMap<NodeId, Incarnation>,
    /// Faults have ended: nothing new is broken.
    pub healing: bool,
    pub flushed_only: bool,
    pub snapshot_log_bytes: usize,
    pub tick: u64,
    pub client_timeout: u64,
}

impl World {
    pub fn new(seed: u64, mix: Mix, spaces: Vec<Space>, readable: bool) -> World {
        let mut streams = Streams::new(seed);
        let count = mix.nodes;
        let founders = (1..=count).map(|n| (members::address(n, 1), u64::from(n) + seed)).collect();
        let flushed_only = spaces.iter().all(|space| !space.options.iter().any(|word| word == "received"));
        let snapshot_log_bytes = 1 << streams.setup.between(13, 18);
        let tick = streams.setup.between(5, 8) * 1_000_000;
        // A control lease must hold two round trips: on a clock that runs twice as fast it does not hold those of far sites.
        let far = mix.has(Fault::Wan) && !mix.has(Fault::WildClocks);
        let sites = match (far, mix.has(Fault::Sites)) {
            (true, _) => Sites::draw(&mut streams.sites),
            (false, true) => Sites::near(),
            (false, false) => Sites::default(),
        };
        let network = Network::new(mix.quality(&mut streams.setup), sites);
        let mut world = World {
            seed,
            now: 10_000_000_000,
            sequence: 0,
            queue: BTreeMap::new(),
            hosts: BTreeMap::new(),
            network,
            streams,
            clients: Vec::new(),
            spaces,
            connected: BTreeMap::new(),
            next_connection: 0,
            unique: 0,
            told_lost: 0,
            history: Vec::new(),
            invariants: Invariants::default(),
            mix,
            strikes: Strikes::default(),
            cascade: None,
            trace: Trace::new(readable),
            founded: Founded::new(founders),
            operator: members::Operator::new(count),
            events: 0,
            calm_at: u64::MAX,
            restored: Vec::new(),
            lives: BTreeMap::new(),
            healing: false,
            flushed_only,
            snapshot_log_bytes,
            tick,
            client_timeout: 1_800_000_000,
        };
        for n in 1..=count {
            let clock = world.mix.clock(world.now, &mut world.streams.clocks);
            world.add_host(Host::new(NodeId(n), n, true, clock));
            let delay = world.streams.setup.below(50_000_000);
            world.after(delay, Event::Start { node: NodeId(n) });
        }
        world.after(300_000_000, Event::Administer);
        world.schedule_faults();
        world
    }

    /// A machine is set up as this node.
    pub(crate) fn add_host(&mut self, mut host: Host) {
        let mut random = std::mem::replace(&mut self.streams.sites, Random::new(0, 0));
        host.version = self.first_version(&mut random);
        self.streams.sites = random;
        self.network.sites.place(host.id, host.machine);
        self.hosts.insert(host.id, host);
    }

    pub fn after(&mut self, delay: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + delay, self.sequence), event);
    }

    /// Lets time pass.
    pub fn run_until(&mut self, end: u64) {
        while self.now < end && !self.invariants.is_broken() {
            match self.queue.first_entry() {
                Some(entry) if entry.key().0 <= end => {
                    self.now = entry.key().0;
                    let event = entry.remove();
                    self.happen(event);
                }
                _ => self.now = end,
            }
        }
    }

    fn happen(&mut self, event: Event) {
        self.events += 1;
        self.invariants.happened(self.now);
        let (kind, place, content) = digest(&event);
        self.trace.fold(self.now, kind, place, content);
        match event {
            Event::Deliver { from, to, connection, sender, kind, body } => {
                self.deliver(from, to, connection, sender, kind, &body);
            }
            Event::Disk { node, process, job } => self.finish_job(node, process, job),
            Event::Feed { node, process, input } => {
                if self.runs(node, process) {
                    self.step(node, *input);
                }
            }
            Event::Tick { node, process } => self.tick(node, process),
            Event::FlushClock { node, process } => self.flush_clock(node, process),
            Event::Connect { a, b } => self.connect(a, b),
            Event::Disconnect { a, b, number } => {
                if self.network.connection(a, b).number == number {
                    self.disconnect(a, b);
                }
            }
            Event::Start { node } => self.start(node),
            Event::Wake { node } => self.wake(node),
            Event::Think { client } => self.think(client),
            Event::Request(request) => self.arrive(request),
            Event::Reply { client, connection, bytes } => self.receive(client, connection, &bytes),
            Event::Closed { client, connection } => self.lose_connection(client, connection),
            Event::Timeout { client, exchange } => self.time_out(client, exchange),
            Event::AskToJoin { machine } => self.ask_to_join(machine),
            Event::Joined { machine, node, map } => self.become_member(machine, node, &map),
            Event::Operate => self.operate(),
            Event::Fault(fault) => self.inject(fault),
            Event::Blow(blow) => self.fall(blow),
            Event::Undo(undo) => self.undo(undo),
            Event::Administer => self.administer(),
        }
    }

    /// Whether exactly this process of the node runs.
    pub fn runs(&self, node: NodeId, process: Process) -> bool {
        self.hosts.get(&node).is_some_and(|host| host.is_running() && host.process == process)
    }
    pub fn running(&self) -> Vec<NodeId> {
        self.hosts.values().filter(|host| host.is_running()).map(|host| host.id).collect()
    }
}

fn bytes_digest(bytes: &[u8]) -> u64 {
    u64::from(crc32c::crc32c(bytes)) << 20 ^ bytes.len() as u64
}

/// Kind, place and content of an event, for the trace.
fn digest(event: &Event) -> (u64, u64, u64) {
    let at = |node: &NodeId| u64::from(node.0);
    match event {
        Event::Deliver { from, to, connection, kind, body, .. } => {
            (1, at(from) << 16 | at(to), bytes_digest(body) ^ connection << 8 ^ u64::from(*kind))
        }
        Event::Disk { node, process, .. } => (2, at(node), process.0),
        Event::Feed { node, process, .. } => (3, at(node), process.0),
        Event::Tick { node, process } => (4, at(node), process.0),
        Event::FlushClock { node, process } => (5, at(node), process.0),
        Event::Connect { a, b } => (6, at(a) << 16 | at(b), 0),
        Event::Disconnect { a, b, number } => (7, at(a) << 16 | at(b), *number),
        Event::Start { node } => (8, at(node), 0),
        Event::Wake { node } => (9, at(node), 0),
        Event::Think { client } => (10, *client as u64, 0),
        Event::Request(request) => {
            let sum = request.commands.iter().flatten().map(|word| bytes_digest(word)).sum();
            (11, request.client as u64, sum)
        }
        Event::Reply { client, bytes, .. } => (12, *client as u64, bytes_digest(bytes)),
        Event::Closed { client, connection } => (13, *client as u64, connection.0),
        Event::Timeout { client, exchange } => (14, *client as u64, *exchange),
        Event::Fault(fault) => (15, *fault as u64, 0),
        Event::Undo(_) => (16, 0, 0),
        Event::Administer => (17, 0, 0),
        Event::AskToJoin { machine } => (18, u64::from(*machine), 0),
        Event::Joined { machine, node, map } => (19, u64::from(*machine) << 16 | at(node), map.version),
        Event::Operate => (20, 0, 0),
        Event::Blow(_) => (30, 0, 0),
    }
}
