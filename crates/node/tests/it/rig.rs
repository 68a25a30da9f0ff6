//! A cluster of nodes in one thread: virtual time, messages through their encoded form, a log in memory.

use bytes::Bytes;
use control::{Addresses, Founded};
use data::log_format::ENGINE_FORMAT;
use data::record::{Kind, Record};
use data::{GroupId, Incarnation, Index, Instant, NodeId, Now, Position, Process, WallInterval};
use node::audit::Pace;
use node::message::VERSION_MAX;
use node::{Config, ConnectionId, Input, LoadedSnapshot, Node, Output, PeerMessage, Restored};
use protocol::lease;
use protocol::single_leader::Mark;
use std::collections::{BTreeMap, BTreeSet};

/// One-way time of a message, and time of a log write, unless a test says otherwise.
const HOP_MS: u64 = 1;
const DISK_MS: u64 = 1;

enum Event {
    Deliver { to: NodeId, from: NodeId, kind: u8, body: Vec<u8> },
    Persisted { node: NodeId, process: Process, token: u64 },
    Feed { node: NodeId, process: Process, input: Box<Input> },
}

/// What a node's disk holds.
#[derive(Default)]
struct Disk {
    records: Vec<u8>,
    in_flight: Vec<(u64, Bytes)>,
    snapshots: BTreeMap<GroupId, (Mark, Vec<u8>)>,
    writing: BTreeMap<GroupId, Vec<u8>>,
    receiving: BTreeMap<GroupId, (Mark, Vec<u8>)>,
}

pub struct Cluster {
    pub nodes: BTreeMap<NodeId, Node>,
    disks: BTreeMap<NodeId, Disk>,
    processes: BTreeMap<NodeId, u64>,
    founded: Founded,
    pub now_ms: u64,
    sequence: u64,
    queue: BTreeMap<(u64, u64), Event>,
    pub cut: BTreeSet<(NodeId, NodeId)>,
    /// They hear nothing of what their leaders replicate; everything else reaches them.
    pub behind: BTreeSet<NodeId>,
    replies: BTreeMap<(NodeId, ConnectionId), Vec<u8>>,
    next_connection: u64,
    pub snapshot_log_bytes: usize,
    pub hop_ms: u64,
    /// Times of log writes of nodes whose disk is slower than others.
    pub disk_ms: BTreeMap<NodeId, u64>,
    /// By how many ms wall clocks are wrong.
    pub skew_ms: BTreeMap<NodeId, i64>,
    /// Never, unless a test says otherwise.
    audit: Pace,
    /// The message version that all connections speak.
    pub version: u8,
    /// Numbers of engine formats that nodes have which are started from now on, where they are others than this program's.
    pub engines: BTreeMap<NodeId, u16>,
    /// Pieces of its own log that a node read for itself.
    pub own_reads: usize,
    /// Groups whose files nodes let go.
    pub dropped: BTreeSet<(NodeId, GroupId)>,
    /// Where nodes are; two sites without.
    sites: Vec<&'static str>,
    /// What the nodes reported, for a failing test to print.
    pub story: Vec<String>,
}

/// Two sites: the first five nodes, among them the control group, and the others.
pub fn site_of(id: NodeId) -> &'static str {
    if id.0 <= 5 { "here" } else { "there" }
}

impl Cluster {
    pub fn new(count: u32) -> Cluster {
        Cluster::speaking(count, VERSION_MAX)
    }

    /// A cluster whose copies are compared so often.
    pub fn audited(count: u32, every_ms: u64) -> Cluster {
        let every = std::time::Duration::from_millis(every_ms);
        Cluster::set_up(count, VERSION_MAX, Pace { every, log_bytes: usize::MAX })
    }

    /// A cluster whose connections speak this message version.
    pub fn speaking(count: u32, version: u8) -> Cluster {
        let every = std::time::Duration::from_secs(1 << 30);
        Cluster::set_up(count, version, Pace { every, log_bytes: usize::MAX })
    }

    /// A cluster at these sites: the first node at the first, the next at the second, and so on in turn.
    pub fn at_sites(count: u32, sites: &[&'static str]) -> Cluster {
        let every = std::time::Duration::from_secs(1 << 30);
        Cluster::founded(count, VERSION_MAX, Pace { every, log_bytes: usize::MAX }, sites)
    }

    pub fn set_up(count: u32, version: u8, audit: Pace) -> Cluster {
        Cluster::founded(count, version, audit, &[])
    }

    fn founded(count: u32, version: u8, audit: Pace, sites: &[&'static str]) -> Cluster {
        let founders = (1..=count).map(|n| (format!("host{n}:1"), u64::from(n))).collect();
        let mut cluster = Cluster {
            nodes: BTreeMap::new(),
            disks: BTreeMap::new(),
            processes: BTreeMap::new(),
            founded: Founded::new(founders),
            now_ms: 1000,
            sequence: 0,
            queue: BTreeMap::new(),
            cut: BTreeSet::new(),
            behind: BTreeSet::new(),
            replies: BTreeMap::new(),
            next_connection: 0,
            snapshot_log_bytes: 1 << 30,
            hop_ms: HOP_MS,
            disk_ms: BTreeMap::new(),
            skew_ms: BTreeMap::new(),
            audit,
            version,
            engines: BTreeMap::new(),
            own_reads: 0,
            dropped: BTreeSet::new(),
            sites: sites.to_vec(),
            story: Vec::new(),
        };
        for n in 1..=count {
            cluster.start(NodeId(n));
        }
        cluster
    }

    pub fn site_of(&self, id: NodeId) -> &'static str {
        match self.sites.len() {
            0 => site_of(id),
            count => self.sites[(id.0 as usize - 1) % count],
        }
    }

    fn now(&self, id: NodeId) -> Now {
        let skew_ms = self.skew_ms.get(&id).copied().unwrap_or(0);
        let wall = 1_700_000_000_000 + self.now_ms as i64 + skew_ms;
        Now {
            instant: Instant::from_millis(self.now_ms),
            wall: WallInterval { earliest_ms: wall - 5, latest_ms: wall + 5 },
        }
    }

    pub fn start(&mut self, id: NodeId) {
        let process = self.processes.entry(id).or_default();
        *process += 1;
        let (process, incarnation) = (Process(*process), Incarnation(1));
        let control = control::Config {
            node: id,
            name: format!("n{}", id.0),
            process,
            incarnation,
            addresses: Addresses {
                resp: format!("host{}:2", id.0),
                peer: format!("host{}:1", id.0),
                http: format!("host{}:3", id.0),
            },
            site: self.site_of(id).into(),
            founded: Some(self.founded.clone()),
            shards: 1,
            seed: 7 + u64::from(id.0),
            timings: control::Timings::default(),
        };
        let config = Config {
            node: id,
            name: format!("n{}", id.0),
            incarnation,
            process,
            control,
            lease: lease::Timings::default(),
            password: None,
            connections_max: 100,
            seed: 99 * u64::from(id.0) + process.0,
            snapshot_log_bytes: self.snapshot_log_bytes,
            transfer_bytes_per_second: 32 << 20,
            site_bytes_per_second: None,
            merge_engine: &merging::Lua,
            engine_format: self.engines.get(&id).copied().unwrap_or(ENGINE_FORMAT),
            audit: self.audit,
            version: "test",
        };
        let disk = self.disks.entry(id).or_default();
        let mut restored = Restored::default();
        for (_, bytes) in disk.snapshots.values() {
            let mut pieces = Some(bytes.clone()).into_iter();
            restored.snapshot(&mut || pieces.next(), bytes.len() as u64).expect("own snapshot");
        }
        let mut rest = &disk.records[..];
        while let Ok(record) = Record::parse(rest) {
            restored.record(&record, rest);
            rest = &rest[record.len..];
        }
        restored.log_batches = disk.records.len() as u64;
        let now = self.now(id);
        let mut node = Node::new(config, restored, now).expect("own records");
        let others: Vec<NodeId> = self.nodes.keys().copied().collect();
        for other in &others {
            let engine_format = self.nodes[other].config().engine_format;
            node.step(now, Input::PeerUp { node: *other, version: self.version, engine_format });
        }
        self.nodes.insert(id, node);
        for other in others {
            let engine_format = self.nodes[&id].config().engine_format;
            self.step(other, Input::PeerUp { node: id, version: self.version, engine_format });
        }
        self.end_turn(id);
    }

    /// A copy of the node's disk, of what is durable now.
    pub fn back_up(&self, id: NodeId) -> Vec<u8> {
        self.disks[&id].records.clone()
    }
    /// The node's process ends, and it starts again with an old copy of its disk.
    pub fn restore(&mut self, id: NodeId, backup: Vec<u8>) {
        self.kill(id);
        self.disks.get_mut(&id).expect("a disk").records = backup;
        self.start(id);
    }

    /// The node's process ends, and it starts again with the map of an old copy of its disk and all else as it is: what was
    /// committed since was acted upon, and no record says that it was.
    pub fn forget_map(&mut self, id: NodeId, backup: &[u8]) {
        self.kill(id);
        let records = |bytes: &[u8], control: bool| -> Vec<u8> {
            let (mut rest, mut kept) = (bytes, Vec::new());
            while let Ok(record) = Record::parse(rest) {
                if (record.header.kind == Kind::Control) == control {
                    kept.extend_from_slice(&rest[..record.len]);
                }
                rest = &rest[record.len..];
            }
            kept
        };
        let disk = self.disks.get_mut(&id).expect("a disk");
        disk.records = [records(backup, true), records(&disk.records, false)].concat();
        self.start(id);
    }

    /// The process ends at once; what is not durable is gone.
    pub fn kill(&mut self, id: NodeId) {
        self.nodes.remove(&id);
        if let Some(disk) = self.disks.get_mut(&id) {
            disk.in_flight.clear();
            disk.writing.clear();
        }
        let others: Vec<NodeId> = self.nodes.keys().copied().collect();
        for other in others {
            self.step(other, Input::PeerDown { node: id });
        }
    }

    /// The node's disk is lost, and with it its identity's proof: this rig keeps the number and takes a new life.
    /// The process that the node is, or was last.
    pub fn process_of(&self, id: NodeId) -> Process {
        Process(self.processes[&id])
    }

    pub fn step(&mut self, id: NodeId, input: Input) {
        let now = self.now(id);
        if let Some(node) = self.nodes.get_mut(&id) {
            node.step(now, input);
            self.end_turn(id);
        }
    }

    fn schedule(&mut self, delay_ms: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now_ms + delay_ms, self.sequence), event);
    }

    fn end_turn(&mut self, id: NodeId) {
        let now = self.now(id);
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let mut outputs = Vec::new();
        node.end_turn(now, &mut outputs);
        let mut ready = Vec::new();
        node.take_ready(&mut ready);
        for connection in ready {
            node.take_replies(connection, self.replies.entry((id, connection)).or_default());
        }
        for output in outputs {
            self.carry_out(id, output);
        }
    }

    fn carry_out(&mut self, id: NodeId, output: Output) {
        let process = self.process_of(id);
        match output {
            Output::Send { to, message } => {
                let mut body = Vec::new();
                message.encode(&mut data::codec::Writer::new(&mut body));
                let kind = message.kind();
                assert!(message.since_version() <= self.version, "too new for the connection: {message:?}");
                self.schedule(self.hop_ms, Event::Deliver { to, from: id, kind, body });
            }
            Output::Persist { token, records, .. } => {
                self.disks.entry(id).or_default().in_flight.push((token, records));
                let disk_ms = self.disk_ms.get(&id).copied().unwrap_or(DISK_MS);
                self.schedule(disk_ms, Event::Persisted { node: id, process, token });
            }
            Output::ReadLog { group, to, from, .. } => {
                self.own_reads += usize::from(to == id);
                let (before, records) = self.read_log(id, group, from);
                let input = Box::new(Input::LogRead { group, to, before, records });
                self.schedule(DISK_MS, Event::Feed { node: id, process, input });
            }
            Output::WriteSnapshot { group, mark, bytes, first, last } => {
                let disk = self.disks.entry(id).or_default();
                let writing = disk.writing.entry(group).or_default();
                if first {
                    writing.clear();
                }
                writing.extend_from_slice(&bytes);
                if last {
                    let bytes = std::mem::take(writing);
                    let len = bytes.len() as u64;
                    disk.snapshots.insert(group, (mark, bytes));
                    let input = Box::new(Input::SnapshotStored { group, mark, len });
                    self.schedule(DISK_MS, Event::Feed { node: id, process, input });
                }
            }
            Output::ReadSnapshot { group, to, position, offset, len_max } => {
                let stored = self.disks[&id].snapshots.get(&group);
                let bytes = stored.filter(|(mark, _)| mark.position == position).map(|(_, bytes)| {
                    let from = (offset as usize).min(bytes.len());
                    Bytes::copy_from_slice(&bytes[from..bytes.len().min(from + len_max)])
                });
                let bytes = bytes.unwrap_or_default();
                let input = Box::new(Input::SnapshotRead { group, to, position, offset, bytes });
                self.schedule(DISK_MS, Event::Feed { node: id, process, input });
            }
            Output::ReceiveSnapshot { group, mark, offset, bytes, len } => {
                let disk = self.disks.entry(id).or_default();
                let receiving = disk.receiving.entry(group).or_insert((mark, Vec::new()));
                if receiving.0 != mark {
                    *receiving = (mark, Vec::new());
                }
                if offset as usize == receiving.1.len() {
                    receiving.1.extend_from_slice(&bytes);
                }
                let have = receiving.1.len() as u64;
                if have == len {
                    let payload = std::mem::take(&mut receiving.1);
                    disk.snapshots.insert(group, (mark, payload.clone()));
                    let mut pieces = Some(payload).into_iter();
                    let now = self.now(id);
                    let node = self.nodes.get_mut(&id).expect("it runs");
                    let snapshot = LoadedSnapshot::read(&mut || pieces.next()).expect("a whole snapshot");
                    node.install_snapshot(now, group, snapshot, len);
                    self.end_turn(id);
                } else {
                    let input = Box::new(Input::SnapshotReceived { group, mark, offset: have });
                    self.schedule(DISK_MS, Event::Feed { node: id, process, input });
                }
            }
            Output::JoinAnswer { .. }
            | Output::ReleaseLog { .. }
            | Output::Close { .. }
            | Output::Shutdown => {}
            Output::DropGroup { group } => {
                self.dropped.insert((id, group));
            }
            Output::Abandon { reason } => {
                self.story.push(format!("{:>8} n{} gives up: {reason}", self.now_ms, id.0))
            }
            Output::Event(event) => {
                self.story.push(format!("{:>8} n{} {event:?}", self.now_ms, id.0));
            }
        }
    }

    /// The log of a group from an index on, as its truncations left it.
    fn read_log(&self, id: NodeId, group: GroupId, from: Index) -> (Mark, Bytes) {
        let mut entries: BTreeMap<Index, (Mark, Vec<u8>)> = BTreeMap::new();
        let mut rest = &self.disks[&id].records[..];
        while let Ok(record) = Record::parse(rest) {
            let header = record.header;
            if header.group == group && header.kind == data::record::Kind::Truncate {
                entries.split_off(&header.index.next());
            } else if header.group == group && header.kind.is_entry() {
                let mark = Mark { position: header.position(), hash: record.hash };
                entries.insert(header.index, (mark, rest[..record.len].to_vec()));
            }
            rest = &rest[record.len..];
        }
        let before = entries.get(&from.previous()).map(|(mark, _)| *mark);
        let before = before.or((from == Index(1)).then(Mark::default));
        let Some(before) = before else {
            return (
                Mark { position: Position { index: from.previous(), ..Position::default() }, hash: 0 },
                Bytes::new(),
            );
        };
        let records: Vec<u8> =
            entries.range(from..).take(100).flat_map(|(_, (_, bytes))| bytes.clone()).collect();
        (before, Bytes::from(records))
    }

    /// Lets time pass.
    pub fn run(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while self.now_ms < end {
            self.now_ms += 1;
            while let Some(entry) = self.queue.first_entry() {
                if entry.key().0 > self.now_ms {
                    break;
                }
                let event = entry.remove();
                self.happen(event);
            }
            if self.now_ms.is_multiple_of(5) {
                let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
                for id in ids {
                    self.step(id, Input::Tick);
                }
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { to, from, kind, body } => {
                let message = PeerMessage::decode(kind, &body).expect("own encoding");
                let replicates = matches!(message, PeerMessage::Replication { .. });
                let held = replicates && self.behind.contains(&to);
                let reachable = self.nodes.contains_key(&from) && !self.cut.contains(&(from, to));
                if reachable && !held {
                    self.deliver(from, to, message);
                }
            }
            Event::Persisted { node, process, token } => {
                if process.0 != self.processes[&node] || !self.nodes.contains_key(&node) {
                    return;
                }
                let disk = self.disks.get_mut(&node).expect("a disk");
                let done = disk.in_flight.iter().take_while(|(t, _)| *t <= token).count();
                for (_, records) in disk.in_flight.drain(..done) {
                    disk.records.extend_from_slice(&records);
                }
                let durable = disk.records.len() as u64;
                self.step(node, Input::Persisted { token, durable });
            }
            Event::Feed { node, process, input } => {
                if process.0 == self.processes[&node] {
                    self.step(node, *input);
                }
            }
        }
    }

    /// A message arrives: one that was on its way for long, or arrives again.
    pub fn deliver(&mut self, from: NodeId, to: NodeId, message: PeerMessage) {
        let (process, incarnation, version) = (self.process_of(from), Incarnation(1), self.version);
        self.step(to, Input::Peer { from, incarnation, process, version, message });
    }

    pub fn connect(&mut self, id: NodeId) -> Client {
        self.next_connection += 1;
        let connection = ConnectionId(self.next_connection);
        self.step(id, Input::Connected { connection, address: "c:1".into(), local: "s:1".into() });
        Client { node: id, connection }
    }

    /// Sends a command line; words are separated by spaces, and `~` stands for a space within one.
    pub fn send(&mut self, client: Client, line: &str) {
        let words: Vec<String> = line.split(' ').map(|word| word.replace('~', " ")).collect();
        let args: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        let now = self.now(client.node);
        if let Some(node) = self.nodes.get_mut(&client.node) {
            node.request(now, client.connection, &args);
            self.end_turn(client.node);
        }
    }

    /// Sends a command line whose turn ends so much later, and waits for its reply. Returns it, and how long it took.
    pub fn time(&mut self, client: Client, line: &str, turn_ms: u64) -> (String, u64) {
        let began = self.now_ms;
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let now = self.now(client.node);
        let node = self.nodes.get_mut(&client.node).expect("it runs");
        node.request(now, client.connection, &args);
        self.now_ms += turn_ms;
        self.end_turn(client.node);
        for _ in 0..2000 {
            let reply = self.received(client);
            if !reply.is_empty() {
                return (reply, self.now_ms - began);
            }
            self.run(1);
        }
        ("(nothing)".into(), self.now_ms - began)
    }

    /// Sends several command lines at once: the node reads each as soon as it reads on.
    pub fn pipeline(&mut self, client: Client, lines: &[&str]) {
        for line in lines {
            let paused = |cluster: &Cluster| {
                cluster.nodes.get(&client.node).is_some_and(|node| node.is_paused(client.connection))
            };
            for _ in 0..2000 {
                if !paused(self) {
                    break;
                }
                self.run(1);
            }
            self.send(client, line);
        }
    }

    /// What came for a client so far.
    pub fn received(&mut self, client: Client) -> String {
        let bytes = self.replies.remove(&(client.node, client.connection)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace("\r\n", " ").trim_end().to_string()
    }

    /// Sends a command line and waits for its reply, byte for byte.
    pub fn ask_bytes(&mut self, client: Client, line: &str) -> Vec<u8> {
        self.send(client, line);
        for _ in 0..2000 {
            if let Some(reply) = self.replies.remove(&(client.node, client.connection))
                && !reply.is_empty()
            {
                return reply;
            }
            self.run(1);
        }
        Vec::new()
    }

    /// Sends a command line and waits for its reply, at most two seconds of virtual time.
    pub fn ask(&mut self, client: Client, line: &str) -> String {
        self.send(client, line);
        for _ in 0..2000 {
            let reply = self.received(client);
            if !reply.is_empty() {
                return reply;
            }
            self.run(1);
        }
        "(nothing)".into()
    }

    /// The node that leads the numbered keyspace 0, as most nodes' maps say.
    pub fn leader(&self) -> Option<NodeId> {
        let mut counts: BTreeMap<NodeId, usize> = BTreeMap::new();
        for node in self.nodes.values() {
            let group = node.map().groups_of(data::KeyspaceId(0)).next();
            let leader = group.and_then(|group| node.map().leader_of(group.view.group));
            leader.into_iter().for_each(|leader| *counts.entry(leader).or_default() += 1);
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(leader, _)| leader)
    }

    fn view_of(&self, keyspace: &str) -> Option<&data::view::View> {
        let node = self.nodes.values().max_by_key(|node| node.map().version)?;
        node.map().groups_of(node.map().keyspace_named(keyspace)?.id).next().map(|group| &group.view)
    }
    pub fn leader_of(&self, keyspace: &str) -> Option<NodeId> {
        Some(self.view_of(keyspace)?.leader?.replica.node)
    }
    pub fn members_of(&self, keyspace: &str) -> Vec<NodeId> {
        self.view_of(keyspace).map_or(Vec::new(), |view| view.members.clone())
    }
    pub fn read_replicas_of(&self, keyspace: &str) -> Vec<NodeId> {
        self.view_of(keyspace).map_or(Vec::new(), |view| view.read_replicas.clone())
    }
    pub fn group_of(&self, keyspace: &str) -> Option<GroupId> {
        Some(self.view_of(keyspace)?.group)
    }
    /// Size of the electable set.
    pub fn electable(&self, keyspace: &str) -> usize {
        self.view_of(keyspace).map_or(0, |view| view.electable.len())
    }

    /// State hashes of keyspace 0 on all nodes, with the index they stand for.
    pub fn states(&self) -> Vec<(Index, u64)> {
        let groups = self.nodes.values().flat_map(Node::group_states);
        groups.filter(|state| state.keyspace.id.0 == 0).map(|s| (s.applied, s.table.state_hash())).collect()
    }
}

#[derive(Clone, Copy)]
pub struct Client {
    pub node: NodeId,
    pub connection: ConnectionId,
}
