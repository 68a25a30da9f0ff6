//! A few planes, their network, disks and replicas in virtual time. One seed, one run.

use control::{
    Addresses, Change, ClusterMap, Command, Config, Event, Founded, Input, Message, Output, Plane, Recovered,
    Sealed, Timings,
};
use data::codec::{Reader, Writer};
use data::view::{Leader, Replica};
use data::{Epoch, GroupId, Incarnation, Instant, NodeId, Position, Process};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Splitmix64.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

pub fn n(id: u32) -> NodeId {
    NodeId(id)
}

/// What a node keeps over a crash.
#[derive(Clone, Default)]
struct Disk {
    records: Vec<Vec<u8>>,
    /// Where each group's log ends, and the epoch it promised.
    logs: BTreeMap<GroupId, (Position, Epoch)>,
}

struct Node {
    plane: Option<Plane>,
    disk: Disk,
    process: u64,
    incarnation: u64,
    /// How this node's clock stands against true time: offset in nanoseconds and rate in parts per thousand.
    clock: (u64, u64),
    /// Persists on their way: true time of completion, token, records, whether they replace the rest.
    flushing: Vec<(u64, u64, Vec<Vec<u8>>, bool)>,
    lease_until: Instant,
    founded: Option<Founded>,
    joined_map: Option<Arc<ClusterMap>>,
}

enum Happening {
    Tick(NodeId),
    Deliver { from: NodeId, to: NodeId, process: u64, bytes: Vec<u8> },
    Flushed { node: NodeId, process: u64 },
    Seal { node: NodeId, process: u64, sealed: Sealed },
    Ready { node: NodeId, process: u64, group: GroupId, target: NodeId },
}

pub struct Rig {
    pub now: u64,
    pub random: Random,
    nodes: BTreeMap<NodeId, Node>,
    queue: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    /// Processes that are paused: what happens to them happens later.
    pub frozen: BTreeSet<NodeId>,
    /// Links that carry nothing, both ways.
    pub cut: BTreeSet<(NodeId, NodeId)>,
    pub loss_per_mille: u64,
    /// Every message travels at least so long, and up to `delay_max_us` longer.
    pub delay_min_us: u64,
    pub delay_max_us: u64,
    pub answers: BTreeMap<u64, Result<control::Applied, control::Refusal>>,
    pub events: Vec<(u64, NodeId, Event)>,
    ticket: u64,
    /// Every map by its version: all nodes must agree.
    maps: BTreeMap<u64, Arc<ClusterMap>>,
    /// Who led which epoch.
    leaders: BTreeMap<(GroupId, Epoch), Leader>,
    /// Replicas that pause for a switchover never say they are ready.
    pub never_ready: bool,
    pub called_off: u32,
    /// A rolling hash of everything that happened.
    pub trace: u64,
}

const MS: u64 = 1_000_000;

impl Rig {
    pub fn new(seed: u64, founders: u32) -> Rig {
        let pairs = (1..=founders).map(|id| (format!("10.0.0.{id}:7000"), 1000 + u64::from(id))).collect();
        let founded = Founded::new(pairs);
        let mut rig = Rig {
            now: 0,
            random: Random(seed),
            nodes: BTreeMap::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            frozen: BTreeSet::new(),
            cut: BTreeSet::new(),
            loss_per_mille: 0,
            delay_min_us: 100,
            delay_max_us: 500,
            answers: BTreeMap::new(),
            events: Vec::new(),
            ticket: 0,
            maps: BTreeMap::new(),
            leaders: BTreeMap::new(),
            never_ready: false,
            called_off: 0,
            trace: seed,
        };
        for id in 1..=founders {
            rig.add(n(id), Some(founded.clone()), None);
        }
        rig
    }

    fn add(&mut self, id: NodeId, founded: Option<Founded>, map: Option<Arc<ClusterMap>>) {
        // Clocks that run up to 5 % apart, within what the lease margin allows.
        let clock = (self.random.below(1_000_000 * MS), 975 + self.random.below(51));
        self.nodes.insert(
            id,
            Node {
                plane: None,
                disk: Disk::default(),
                process: 0,
                incarnation: 1,
                clock,
                flushing: Vec::new(),
                lease_until: Instant::ZERO,
                founded,
                joined_map: map,
            },
        );
        self.start(id);
    }

    /// A node that was added to the map by `AddNode`.
    pub fn join(&mut self, id: NodeId, map: Arc<ClusterMap>) {
        self.add(id, None, Some(map));
    }

    fn clock(&self, id: NodeId) -> Instant {
        let node = &self.nodes[&id];
        Instant(node.clock.0.wrapping_add(self.now / 1000 * node.clock.1))
    }

    /// From now on the node's clock runs at this rate, in parts per thousand.
    pub fn change_rate(&mut self, id: NodeId, rate: u64) {
        let passed = self.now / 1000;
        let clock = &mut self.nodes.get_mut(&id).unwrap().clock;
        clock.0 = (clock.0 + passed * clock.1).wrapping_sub(passed * rate);
        clock.1 = rate;
    }

    pub fn start(&mut self, id: NodeId) {
        let at = self.clock(id);
        let node = self.nodes.get_mut(&id).unwrap();
        assert!(node.plane.is_none());
        node.process += 1;
        let config = Config {
            node: id,
            name: format!("node-{}", id.0),
            process: Process(node.process),
            incarnation: Incarnation(node.incarnation),
            addresses: Addresses { peer: format!("10.0.0.{}:7000", id.0), ..Addresses::default() },
            site: String::new(),
            founded: node.founded.clone(),
            shards: 1,
            seed: 77 + u64::from(id.0),
            timings: Timings::default(),
        };
        let recovered = Recovered { map: node.joined_map.clone(), records: node.disk.records.clone() };
        node.plane = Some(Plane::new(config, recovered, at).expect("own records"));
        let first = self.now + self.random.below(10 * MS);
        self.push(first, Happening::Tick(id));
        for other in self.running() {
            if other != id && !self.is_cut(id, other) {
                self.input(other, Input::PeerUp { node: id });
                self.input(id, Input::PeerUp { node: other });
            }
        }
    }

    /// kill -9: what was not durable may be lost; connections are reset.
    pub fn crash(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.plane = None;
        node.lease_until = Instant::ZERO;
        node.flushing.clear();
        for other in self.running() {
            if !self.is_cut(id, other) {
                self.input(other, Input::PeerDown { node: id });
            }
        }
    }

    /// The node's data (not its control log) is gone: another life.
    pub fn wipe(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.incarnation += 1;
        node.disk.logs.clear();
    }

    pub fn running(&self) -> Vec<NodeId> {
        self.nodes.iter().filter(|(_, node)| node.plane.is_some()).map(|(id, _)| *id).collect()
    }
    pub fn all(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    pub fn cut_between(&mut self, a: &[u32], b: &[u32]) {
        for x in a {
            for y in b {
                self.cut.insert((n(*x.min(y)), n(*x.max(y))));
            }
        }
    }
    /// Cuts, and both ends notice: their connection was reset although both processes live.
    pub fn reset_between(&mut self, a: &[u32], b: &[u32]) {
        self.cut_between(a, b);
        for (x, y) in a.iter().flat_map(|x| b.iter().map(move |y| (n(*x), n(*y)))) {
            self.input(x, Input::PeerDown { node: y });
            self.input(y, Input::PeerDown { node: x });
        }
    }
    pub fn heal(&mut self) {
        for (x, y) in self.cut.clone() {
            if self.plane(x).is_some() && self.plane(y).is_some() {
                self.input(x, Input::PeerUp { node: y });
                self.input(y, Input::PeerUp { node: x });
            }
        }
        self.frozen.clear();
        self.cut.clear();
        self.loss_per_mille = 0;
        self.delay_max_us = 500;
    }
    fn is_cut(&self, a: NodeId, b: NodeId) -> bool {
        self.cut.contains(&(a.min(b), a.max(b)))
    }

    fn push(&mut self, at: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), happening);
    }

    pub fn run_ms(&mut self, ms: u64) {
        let end = self.now + ms * MS;
        while let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= end
        {
            let (at, _) = *entry.key();
            let happening = entry.remove();
            self.now = at;
            self.happen(happening);
        }
        self.now = end;
    }

    /// Runs until `done`; how many milliseconds that took.
    pub fn run_until(&mut self, bound_ms: u64, what: &str, done: impl Fn(&Rig) -> bool) -> u64 {
        for ms in 0..bound_ms {
            if done(self) {
                return ms;
            }
            self.run_ms(1);
        }
        panic!("not within {bound_ms} ms: {what}");
    }

    fn happen(&mut self, happening: Happening) {
        let whose = match &happening {
            Happening::Tick(id) => *id,
            Happening::Deliver { to, .. } => *to,
            Happening::Flushed { node, .. }
            | Happening::Seal { node, .. }
            | Happening::Ready { node, .. } => *node,
        };
        if self.frozen.contains(&whose) {
            // Keys are unique and ascending, so the order of what waits is kept.
            self.push(self.now + MS, happening);
            return;
        }
        match happening {
            Happening::Tick(id) => {
                if self.nodes[&id].plane.is_some() {
                    self.push(self.now + 10 * MS, Happening::Tick(id));
                    self.input(id, Input::Tick);
                }
            }
            Happening::Deliver { from, to, process, bytes } => {
                let alive = self.nodes.get(&to).is_some_and(|node| node.process == process);
                if alive && !self.is_cut(from, to) {
                    let message = Message::decode(&mut Reader::new(&bytes)).expect("own encoding");
                    self.input(to, Input::Message { from, message });
                }
            }
            Happening::Flushed { node: id, process } => self.flushed(id, process),
            Happening::Seal { node: id, process, sealed } => {
                if self.nodes[&id].process == process {
                    self.input(id, Input::Sealed(sealed));
                }
            }
            Happening::Ready { node: id, process, group, target } => {
                if self.nodes[&id].process == process {
                    self.input(id, Input::SwitchoverReady { group, target });
                }
            }
        }
    }

    fn flushed(&mut self, id: NodeId, process: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        if node.process != process || node.plane.is_none() || node.flushing.is_empty() {
            return;
        }
        let (_, token, records, replaces) = node.flushing.remove(0);
        if replaces {
            node.disk.records.clear();
        }
        node.disk.records.extend(records);
        self.input(id, Input::Persisted { token });
    }

    pub fn input(&mut self, id: NodeId, input: Input) {
        let now = self.clock(id);
        let Some(plane) = self.nodes.get_mut(&id).and_then(|node| node.plane.as_mut()) else { return };
        let mut out = Vec::new();
        plane.step(now, input, &mut out);
        for output in out {
            self.carry_out(id, output);
        }
    }

    fn carry_out(&mut self, id: NodeId, output: Output) {
        match output {
            Output::Send { to, message } => self.send(id, to, &message),
            Output::Persist { token, replaces, records } => {
                let at = self.now + 100_000 + self.random.below(2 * MS);
                let node = self.nodes.get_mut(&id).unwrap();
                let at = node.flushing.last().map_or(at, |last| at.max(last.0));
                node.flushing.push((at, token, records, replaces));
                let process = node.process;
                self.push(at, Happening::Flushed { node: id, process });
            }
            Output::MapChanged(map) => self.map_changed(id, map),
            Output::Seal { group, epoch, election, .. } => self.seal(id, group, epoch, election),
            Output::PrepareSwitchover { group, target } => {
                let process = self.nodes[&id].process;
                if !self.never_ready {
                    self.push(self.now + 5 * MS, Happening::Ready { node: id, process, group, target });
                }
            }
            Output::CallOffSwitchover { .. } => self.called_off += 1,
            Output::Answer { ticket, result } => {
                assert!(self.answers.insert(ticket, result).is_none(), "one answer per ticket");
            }
            Output::ControlLease { until, .. } => {
                let node = self.nodes.get_mut(&id).unwrap();
                node.lease_until = node.lease_until.max(until);
                self.check_lease(id);
            }
            Output::Report(event) => {
                self.note(&format!("{event:?}"));
                self.events.push((self.now, id, event));
            }
        }
    }

    fn note(&mut self, what: &str) {
        for byte in what.bytes().chain(self.now.to_le_bytes()) {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn send(&mut self, from: NodeId, to: NodeId, message: &Message) {
        let mut bytes = Vec::new();
        message.encode(&mut Writer::new(&mut bytes));
        self.trace = self.trace.wrapping_mul(31).wrapping_add(bytes.len() as u64);
        let Some(target) = self.nodes.get(&to) else { return };
        let process = target.process;
        if target.plane.is_none() || self.is_cut(from, to) || self.random.chance(self.loss_per_mille) {
            return;
        }
        let at = self.now + (self.delay_min_us + self.random.below(self.delay_max_us)) * 1000;
        self.push(at, Happening::Deliver { from, to, process, bytes });
    }

    /// The replica of a node promises and answers, as the protocol crate would once its leases have ended.
    fn seal(&mut self, id: NodeId, group: GroupId, epoch: Epoch, election: data::ViewNumber) {
        let delay = self.random.below(3 * MS);
        let node = self.nodes.get_mut(&id).unwrap();
        let (last, promised) = node.disk.logs.entry(group).or_default();
        if epoch < *promised {
            return;
        }
        *promised = epoch;
        let sealed = Sealed {
            group,
            epoch,
            election,
            replica: Replica { node: id, incarnation: Incarnation(node.incarnation) },
            process: Process(node.process),
            last: *last,
            starts: Vec::new(),
            missed: 0,
        };
        let process = node.process;
        self.push(self.now + delay, Happening::Seal { node: id, process, sealed });
    }

    fn map_changed(&mut self, id: NodeId, map: Arc<ClusterMap>) {
        let known = self.maps.entry(map.version).or_insert_with(|| map.clone());
        assert_eq!(**known, *map, "maps agree by version ({id}, {})", map.version);
        for view in map.views() {
            self.check_view(id, &map, view);
        }
    }

    /// Law, from the other side: a lease that comes late protects no leadership that has been followed by another.
    fn check_lease(&self, id: NodeId) {
        let node = &self.nodes[&id];
        let Some(plane) = node.plane.as_ref().filter(|_| self.leased(id)) else { return };
        for view in plane.map().views() {
            let leads = view.election.is_none()
                && view.leader.is_some_and(|l| l.replica.node == id && l.process.0 == node.process);
            let sealed = node.disk.logs.get(&view.group).is_some_and(|(_, promised)| *promised > view.epoch);
            let newest =
                self.leaders.keys().filter(|(group, _)| *group == view.group).map(|(_, epoch)| *epoch).max();
            assert!(!leads || sealed || newest <= Some(view.epoch), "{id} got a lease for {}", view.epoch);
        }
    }

    /// Law: one leader per group and epoch; no new one while another process holds a control lease over the group.
    fn check_view(&mut self, id: NodeId, map: &ClusterMap, view: &data::view::View) {
        let Some(leader) = view.leader else { return };
        let known = *self.leaders.entry((view.group, view.epoch)).or_insert(leader);
        assert_eq!(known, leader, "one leader per epoch");
        assert!(view.history.is_sorted_by(|a, b| a < b && a.index < b.index), "history ascends");
        let reader = leader.replica.node;
        if view.election.is_none() && reader == id && self.nodes[&id].process == leader.process.0 {
            for (other, node) in &self.nodes {
                let Some(plane) = node.plane.as_ref().filter(|_| *other != id) else { continue };
                let Some(theirs) = plane.map().view(view.group) else { continue };
                let believes = theirs.epoch < view.epoch
                    && theirs.election.is_none()
                    && theirs.leader.is_some_and(|l| l.replica.node == *other && l.process.0 == node.process);
                let sealed =
                    node.disk.logs.get(&view.group).is_some_and(|(_, promised)| *promised > theirs.epoch);
                let leased = self.clock(*other) < node.lease_until;
                assert!(
                    !(believes && leased && !sealed),
                    "{other} still reads under a lease while {id} leads {} (map {})",
                    view.epoch,
                    map.version
                );
            }
        }
        // The new leader's empty entry, and some more, reach the members.
        if view.election.is_none() && view.members.contains(&id) {
            let node = self.nodes.get_mut(&id).unwrap();
            let end = Position {
                epoch: view.epoch,
                index: view.history.last().map_or(data::Index(0), |begun| begun.index),
            };
            let log = node.disk.logs.entry(view.group).or_default();
            if log.0 < end && log.1 <= view.epoch {
                log.0 = end;
            }
        }
    }

    pub fn plane(&self, id: NodeId) -> Option<&Plane> {
        self.nodes.get(&id).and_then(|node| node.plane.as_ref())
    }
    pub fn leased(&self, id: NodeId) -> bool {
        self.nodes[&id].plane.is_some() && self.clock(id) < self.nodes[&id].lease_until
    }
    pub fn write(&mut self, id: NodeId, group: GroupId, position: Position) {
        let log = self.nodes.get_mut(&id).unwrap().disk.logs.entry(group).or_default();
        log.0 = position;
    }
    pub fn disk_records(&self, id: NodeId) -> (usize, usize) {
        let records = &self.nodes[&id].disk.records;
        (records.len(), records.iter().map(Vec::len).sum())
    }

    /// The newest map that any running node knows.
    pub fn map(&self) -> Arc<ClusterMap> {
        let planes = self.nodes.values().filter_map(|node| node.plane.as_ref());
        planes.map(|plane| plane.map().clone()).max_by_key(|map| map.version).unwrap_or_default()
    }
    pub fn control_leader(&self) -> Option<NodeId> {
        let mut votes: BTreeMap<NodeId, usize> = BTreeMap::new();
        for node in self.nodes.values().filter_map(|node| node.plane.as_ref()) {
            if let Some(leader) = node.control_leader() {
                *votes.entry(leader).or_default() += 1;
            }
        }
        votes.into_iter().max_by_key(|(_, count)| *count).map(|(leader, _)| leader)
    }
    pub fn propose(&mut self, at: NodeId, command: Command) -> u64 {
        self.ticket += 1;
        let ticket = self.ticket;
        self.input(at, Input::Propose { ticket, command });
        ticket
    }
    pub fn next_ticket(&mut self) -> u64 {
        self.ticket += 1;
        self.ticket
    }
    /// Proposes at `at` and waits for the answer.
    pub fn ask(&mut self, at: NodeId, command: Command) -> Result<control::Applied, control::Refusal> {
        let ticket = self.propose(at, command);
        self.run_until(5000, "an answer", |rig| rig.answers.contains_key(&ticket));
        self.answers[&ticket]
    }
    pub fn switch(
        &mut self,
        at: NodeId,
        group: GroupId,
        target: Option<NodeId>,
    ) -> Result<control::Applied, control::Refusal> {
        let ticket = self.next_ticket();
        self.input(at, Input::Switchover { ticket, group, target });
        self.run_until(5000, "an answer", |rig| rig.answers.contains_key(&ticket));
        self.answers[&ticket]
    }

    /// Founded, everybody started, all nodes at the same map.
    pub fn settle(&mut self) {
        self.run_until(6000, "a settled cluster", |rig| {
            let map = rig.map();
            let running = rig.running();
            let started = running
                .iter()
                .all(|id| map.nodes.get(id).is_some_and(|node| node.process.0 == rig.nodes[id].process));
            let equal = running.iter().all(|id| rig.plane(*id).unwrap().map().version == map.version);
            map.founded() && started && equal
        });
    }
    /// Every group has a leader that runs.
    pub fn led(&self) -> bool {
        let map = self.map();
        map.views().all(|view| {
            view.election.is_none()
                && view.leader.is_some_and(|leader| {
                    let node = &self.nodes[&leader.replica.node];
                    node.plane.is_some() && node.process == leader.process.0
                })
        })
    }
    pub fn group(&mut self, keyspace: u32) -> GroupId {
        let at = self.running()[0];
        let command = Command::EnsureGroup { keyspace: data::KeyspaceId(keyspace) };
        match self.ask(at, command) {
            Ok(control::Applied::Group(group)) => group,
            other => panic!("no group: {other:?}"),
        }
    }
    pub fn elected(&self) -> Vec<(Epoch, Leader, bool)> {
        let map = self.map();
        let changes = map.changes.iter().filter_map(|(_, change)| match change {
            Change::Elected { epoch, leader, loss_possible, .. } => Some((*epoch, *leader, *loss_possible)),
            _ => None,
        });
        changes.collect()
    }
}
