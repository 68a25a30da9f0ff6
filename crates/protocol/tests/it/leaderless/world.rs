//! Nodes, disks, network, clients and faults in virtual time, all from one seed.

mod clients;

use super::agreement::Agreement;
use super::oracle::{Oracle, Promise};
use crate::rig::Rng;
use data::causal::{Range, Step};
use data::codec::Writer;
use data::leaderless::Stage;
use data::table::Seed;
use data::{GroupId, Incarnation, Instant, NodeId, Now, Process, WallInterval};
use protocol::leaderless::coordinator::{self, Coordinator};
use protocol::leaderless::{
    Alive, Durable, Life, Limits, Message, Output, Placement, Record, Repair, Replica, Report,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

const MS: u64 = 1_000_000;
const SEED: Seed = Seed(11, 12);
const KEYS: [&str; 11] = ["s0", "s1", "c0", "c1", "r0", "r1", "d0", "d1", "l0", "a0", "a1"];
const HOT_KEYS: [&str; 4] = ["s0", "d0", "l0", "a0"];

/// What a run is given besides its seed.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub n: u32,
    pub w: usize,
    pub r: usize,
    pub sloppy: bool,
    pub repair: Repair,
    pub wipes: bool,
    /// Many requests for few keys.
    pub hot: bool,
}

enum Event {
    Deliver { from: (NodeId, Incarnation), to: NodeId, ring: u64, message: Box<Message> },
    Persisted { node: NodeId, process: Process },
    Tick { node: NodeId, process: Process },
    Start { node: NodeId, process: Process },
    Alive,
    Client,
    Fault,
}

struct Node {
    incarnation: Incarnation,
    process: Process,
    replica: Option<Replica>,
    coordinator: Coordinator,
    disk: Vec<Vec<u8>>,
    is_founder: bool,
    /// As far as it knows the map.
    placement: Placement,
    persisting: VecDeque<(u64, Vec<u8>)>,
    persist_at: u64,
    /// How far its wall clock is off, in ms.
    skew_ms: i64,
}

impl Node {
    /// Whether its disk holds a copy that may answer: what only memory knows of being rebuilt, a power cut takes back.
    fn is_whole(&self) -> bool {
        let ready = self.disk.iter().rev().find_map(|bytes| match Record::decode(bytes) {
            Ok(Record::Ready) => Some(true),
            Ok(Record::Unready | Record::GivenBack { .. }) => Some(false),
            _ => None,
        });
        ready.unwrap_or(self.is_founder)
    }
}

enum Call {
    Add(String, String),
    Remove(String, String),
    Increment(String),
    Register(String),
    Count(String),
    Read(String),
    Agree(String),
}

pub struct World {
    rng: Rng,
    plan: Plan,
    now: u64,
    sequence: u64,
    queue: BTreeMap<(u64, u64), Event>,
    nodes: Vec<Node>,
    /// What the map records: where the shard lies and how far its barrier has come, and who has reported.
    placement: Placement,
    reported: BTreeSet<(NodeId, Incarnation)>,
    /// Who took a place in the ring, and is not known to hold what the others do.
    joining: Option<NodeId>,
    /// Rings change, and hints are kept. What only a replica and a hint hold is lost when the one leaves and the other grows too old.
    replaces: bool,
    /// All maps that there were: a node that restarts may know an old one at first.
    maps: Vec<Placement>,
    calls: BTreeMap<u64, (u64, Call)>,
    next_call: u64,
    pub oracle: Oracle,
    pub agreement: Agreement,
    cuts: BTreeMap<(NodeId, NodeId), u64>,
    loss_percent: u64,
    slow_percent: u64,
    healing: bool,
    pub trace: u64,
    pub handed_off: u64,
    pub wiped: u64,
    pub replaced: u64,
    pub indeterminate: u64,
    pub no_quorum: u64,
    pub collected: u64,
}

impl World {
    pub fn new(seed: u64, plan: Plan) -> World {
        let mut rng = Rng(seed ^ 0x5eed);
        let replicas: Vec<NodeId> = (1..=plan.n).map(NodeId).collect();
        let stand_ins = (plan.n + 1..=plan.n + 2).map(NodeId).collect();
        let placement = Placement { ring: 1, replicas, stand_ins, ..Placement::default() };
        let nodes = (1..=plan.n + 2)
            .map(|id| Node {
                incarnation: Incarnation(1),
                process: Process(0),
                replica: None,
                coordinator: Coordinator::new(NodeId(id), Process(0), coordinator::Limits::default()),
                disk: Vec::new(),
                is_founder: id <= plan.n,
                placement: placement.clone(),
                persisting: VecDeque::new(),
                persist_at: 0,
                skew_ms: rng.below(4_000) as i64 - 2_000,
            })
            .collect();
        let overlap = !plan.sloppy && plan.w + plan.r > plan.n as usize;
        let monotonic = !plan.sloppy && plan.repair == Repair::Blocking && plan.r * 2 > plan.n as usize;
        let replaces = plan.wipes && plan.w.min(plan.r) > 1 && (!plan.sloppy || rng.chance(50));
        let mut world = World {
            rng,
            plan,
            replaces,
            now: 0,
            sequence: 0,
            queue: BTreeMap::new(),
            nodes,
            maps: vec![placement.clone()],
            placement,
            reported: BTreeSet::new(),
            joining: None,
            calls: BTreeMap::new(),
            next_call: 0,
            oracle: Oracle::new(Promise { overlap, monotonic }),
            agreement: Agreement::default(),
            cuts: BTreeMap::new(),
            loss_percent: 1,
            slow_percent: 3,
            healing: false,
            trace: 0,
            handed_off: 0,
            wiped: 0,
            replaced: 0,
            indeterminate: 0,
            no_quorum: 0,
            collected: 0,
        };
        for id in 1..=plan.n + 2 {
            world.start(NodeId(id));
        }
        world.schedule(0, Event::Alive);
        world.schedule(MS, Event::Client);
        world.schedule(200 * MS, Event::Fault);
        world
    }
    fn schedule(&mut self, after: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), event);
    }
    fn at(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize - 1]
    }
    fn is_up(&self, id: NodeId) -> bool {
        self.nodes[id.0 as usize - 1].replica.is_some()
    }
    fn clock(&self, id: NodeId) -> Now {
        let ms = 1_000_000 + (self.now / MS) as i64 + self.nodes[id.0 as usize - 1].skew_ms;
        Now { instant: Instant(self.now), wall: WallInterval { earliest_ms: ms - 5, latest_ms: ms + 5 } }
    }
    fn ids(&self) -> Vec<NodeId> {
        (1..=self.nodes.len() as u32).map(NodeId).collect()
    }

    /// Runs for so many milliseconds, or until something is broken.
    pub fn run(&mut self, ms: u64) {
        let end = self.now + ms * MS;
        while let Some(((at, sequence), event)) = self.queue.pop_first() {
            if at > end || self.oracle.violation.is_some() {
                self.queue.insert((at, sequence), event);
                break;
            }
            self.now = at;
            self.trace = Rng(self.trace ^ at ^ (sequence << 40)).next();
            self.happen(event);
        }
        self.now = self.now.max(end);
    }
    /// Ends the faults; then all copies become equal, hints go, and everything acknowledged is there.
    pub fn heal(&mut self) {
        self.healing = true;
        self.cuts.clear();
        (self.loss_percent, self.slow_percent) = (0, 0);
        for _ in 0..150 {
            self.run(100);
            if self.oracle.violation.is_some() {
                return;
            }
            if self.converged().is_ok() {
                let replica = self.nodes[0].replica.as_ref().expect("up");
                let copy = replica.durable().copy.clone();
                self.agreement.end(|key| {
                    let acceptor = copy.object(key.as_bytes()).and_then(|object| object.as_acceptor());
                    acceptor.map(|acceptor| *acceptor.accepted.clone()).unwrap_or_default()
                });
                self.take_violation();
                return self.oracle.end(|key| copy.object(key.as_bytes()).cloned().unwrap_or_default());
            }
        }
        let why = self.converged().unwrap_err();
        self.oracle.fail(format!("15 s after the last fault: {why}"));
    }
    fn take_violation(&mut self) {
        if let Some(what) = self.agreement.violation.take() {
            self.oracle.fail(what);
        }
    }
    fn converged(&self) -> Result<(), String> {
        let first = self.nodes[0].replica.as_ref().ok_or("n1 is down")?;
        for id in self.ids() {
            let node = &self.nodes[id.0 as usize - 1];
            let replica = node.replica.as_ref().ok_or(format!("{id} is down"))?;
            let durable = replica.durable();
            if !durable.hints().is_empty() || !durable.hints().missed().is_empty() {
                return Err(format!("{id} holds {} hints", durable.hints().len()));
            }
            if !self.placement.is_replica(id) {
                continue;
            }
            if !durable.is_ready() {
                return Err(format!("{id} is not rebuilt"));
            }
            let (copy, other) = (&durable.copy, &first.durable().copy);
            if copy.tree().children(Range::WHOLE) != other.tree().children(Range::WHOLE) {
                return Err(format!("the trees of {id} and n1 differ"));
            }
            if copy.unsettled() > 0 {
                return Err(format!("{id} keeps recent dots of {} keys", copy.unsettled()));
            }
        }
        if self.nodes.iter().any(|node| node.coordinator.under_way() > 0) {
            return Err("requests are under way".into());
        }
        for id in &self.placement.replicas {
            let copy = |id: NodeId| self.nodes[id.0 as usize - 1].replica.as_ref().map(|r| &r.durable().copy);
            if copy(*id) != copy(NodeId(1)) {
                return Err(format!("trees are equal, copies of {id} and n1 are not"));
            }
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, ring, message } => {
                if self.at(to).placement.ring == ring {
                    self.deliver(from, to, *message);
                }
            }
            Event::Persisted { node, process } => {
                if self.runs(node, process) {
                    self.flush_one(node);
                }
            }
            Event::Tick { node, process } => {
                if self.runs(node, process) {
                    self.tick(node);
                }
            }
            Event::Start { node, process } => {
                if self.at(node).process == process && !self.is_up(node) {
                    self.start(node);
                }
            }
            Event::Alive => self.tell_alive(),
            Event::Client => self.client(),
            Event::Fault => self.fault(),
        }
    }
    fn runs(&mut self, id: NodeId, process: Process) -> bool {
        self.is_up(id) && self.at(id).process == process
    }
    fn deliver(&mut self, from: (NodeId, Incarnation), to: NodeId, message: Message) {
        if !self.is_up(to) {
            return;
        }
        let now = self.clock(to);
        let node = self.at(to);
        match message {
            Message::Minted { .. }
            | Message::Applied { .. }
            | Message::State { .. }
            | Message::Repaired { .. }
            | Message::Named { .. }
            | Message::Counted { .. }
            | Message::Promised { .. }
            | Message::Accepted { .. }
            | Message::Outbid { .. }
            | Message::Refused { .. } => {
                let mut out = Vec::new();
                node.coordinator.receive(from.0, from.1, message, &mut out);
                self.coordinated(to, out);
            }
            _ => {
                let mut out = Vec::new();
                if let Some(replica) = &mut node.replica {
                    replica.receive(now, from.0, from.1, message, &mut out);
                }
                self.carry_out(to, out);
            }
        }
    }
    fn flush_one(&mut self, id: NodeId) {
        let Some((token, bytes)) = self.at(id).persisting.pop_front() else { return };
        self.write_disk(id, bytes);
        let mut out = Vec::new();
        if let Some(replica) = &mut self.at(id).replica {
            replica.persisted(token, &mut out);
        }
        self.carry_out(id, out);
    }
    fn write_disk(&mut self, id: NodeId, bytes: Vec<u8>) {
        match Record::decode(&bytes).expect("what was written") {
            Record::Mint { key, delta, .. } => {
                self.oracle.minted(id, std::str::from_utf8(&key).expect("text"), &delta);
            }
            Record::Step(Step::Delta { delta, .. }) => self.oracle.took(id, &delta.context),
            Record::Step(Step::Key { entry, .. }) => self.oracle.took(id, &entry.held.recent),
            Record::Hint { hint, .. } => self.oracle.hinted(id, hint.target, &hint.delta),
            Record::HintGone { .. } => self.handed_off += 1,
            _ => {}
        }
        self.at(id).disk.push(bytes);
    }
    fn tick(&mut self, id: NodeId) {
        let now = self.clock(id);
        let node = self.at(id);
        let (mut out, mut asked) = (Vec::new(), Vec::new());
        if let Some(replica) = &mut node.replica {
            replica.tick(now, &mut out);
        }
        node.coordinator.tick(now.instant, &mut asked);
        let process = node.process;
        self.carry_out(id, out);
        self.coordinated(id, asked);
        self.schedule(10 * MS, Event::Tick { node: id, process });
    }
    /// Messages and the disk in any order; records among themselves in theirs.
    fn carry_out(&mut self, id: NodeId, out: Vec<Output>) {
        let process = self.at(id).process;
        for output in out {
            match output {
                Output::Send { to, message } => self.send(id, to, message),
                Output::Persist { token, record } => {
                    let mut bytes = Vec::new();
                    record.encode(&mut Writer::new(&mut bytes));
                    let delay = if self.rng.chance(3) {
                        self.rng.between(5, 60) * MS
                    } else {
                        self.rng.between(50, 2_000) * 1000
                    };
                    let at = self.at(id).persist_at.max(self.now + delay);
                    self.at(id).persist_at = at;
                    self.at(id).persisting.push_back((token, bytes));
                    self.schedule(at - self.now, Event::Persisted { node: id, process });
                }
                Output::Report(Report::Collected { collected, .. }) => self.collected += collected,
                Output::Report(_) => {}
            }
        }
    }
    fn coordinated(&mut self, id: NodeId, out: Vec<coordinator::Output>) {
        for output in out {
            match output {
                coordinator::Output::Send { to, message } => self.send(id, to, message),
                coordinator::Output::Reply { client, reply } => self.replied(id, client, reply),
                coordinator::Output::Decide { sequence, client, ballot, value } => {
                    let change = self.agreement.decide(client, ballot, &value);
                    let mut out = Vec::new();
                    self.at(id).coordinator.decided(sequence, ballot, change, &mut out);
                    self.coordinated(id, out);
                }
            }
        }
    }
    fn send(&mut self, from: NodeId, to: NodeId, message: Message) {
        let (incarnation, ring) = (self.at(from).incarnation, self.at(from).placement.ring);
        if from == to {
            return self.schedule(
                1000,
                Event::Deliver { from: (from, incarnation), to, ring, message: Box::new(message) },
            );
        }
        let is_cut = self.cuts.get(&(from, to)).is_some_and(|until| *until > self.now);
        if is_cut || self.rng.chance(self.loss_percent) {
            return;
        }
        let copies = if self.rng.chance(5) { 3 } else { 1 };
        for _ in 0..copies {
            let delay = if self.rng.chance(self.slow_percent) {
                self.rng.between(5, 900) * MS
            } else {
                self.rng.between(100, 3_000) * 1000
            };
            let message = Box::new(message.clone());
            self.schedule(delay, Event::Deliver { from: (from, incarnation), to, ring, message });
        }
    }
    fn start(&mut self, id: NodeId) {
        let mut durable = Durable::new(SEED, self.at(id).is_founder);
        for bytes in &self.at(id).disk {
            durable.apply(&Record::decode(bytes).expect("what was written"));
        }
        let plan = self.plan;
        let limits = Limits {
            quorum: plan.w.min(plan.r).min(plan.n as usize / 2 + 1),
            resend_after: Duration::from_millis(40),
            walk_every: Duration::from_millis(300),
            part_bytes_max: 300,
            hint_bytes_max: if self.rng.chance(30) { 500 } else { 1 << 20 },
            hint_age_ms_max: if self.rng.chance(30) && !self.replaces { 300 } else { 3_600_000 },
            barrier_every: Duration::from_millis(150),
            ..Limits::default()
        };
        let timings = coordinator::Limits {
            timeout: Duration::from_millis(400),
            resend_after: Duration::from_millis(50),
            ..coordinator::Limits::default()
        };
        // What is committed is acted upon before this node's disk knows that it is.
        if !self.healing && self.rng.chance(30) {
            let known =
                self.maps.partition_point(|map| map.ring <= self.nodes[id.0 as usize - 1].placement.ring);
            let back = self.rng.between(1, 3) as usize;
            self.at(id).placement = self.maps[known.saturating_sub(1 + back)].clone();
        }
        let placement = self.at(id).placement.clone();
        let node = self.at(id);
        node.process = node.process.next();
        node.persist_at = 0;
        let process = node.process;
        let life = Life { node: id, incarnation: node.incarnation, process, shard: GroupId(1) };
        let mut out = Vec::new();
        let mut replica = Replica::new(life, limits, durable, &mut out);
        replica.place(placement.clone(), &mut out);
        node.replica = Some(replica);
        node.coordinator = Coordinator::new(id, process, timings);
        node.coordinator.place(placement, &mut Vec::new());
        self.carry_out(id, out);
        self.tell(id, false);
        self.schedule(MS, Event::Tick { node: id, process });
    }
    fn crash(&mut self, id: NodeId, down_ms: u64, wipe: bool) {
        if !self.is_up(id) {
            return;
        }
        // Some of what was on its way to the disk arrived there.
        let kept = self.rng.below(3) as usize;
        let pending: Vec<_> = self.at(id).persisting.drain(..).take(kept).collect();
        pending.into_iter().for_each(|(_, bytes)| self.write_disk(id, bytes));
        let node = self.at(id);
        node.replica = None;
        node.process = node.process.next();
        if wipe {
            node.disk.clear();
            node.incarnation = node.incarnation.next();
            node.is_founder = false;
            self.wiped += 1;
        }
        let process = self.at(id).process;
        self.schedule(down_ms * MS, Event::Start { node: id, process });
    }
    /// The map has another ring, or a barrier another stage.
    fn step_map(&mut self) {
        self.placement.ring += 1;
        self.reported.clear();
        self.maps.push(self.placement.clone());
    }
    /// Another node takes the place of a replica, as of one that leaves; the first one stays.
    fn replace(&mut self, pick: u64) {
        let whole = |id: &NodeId| self.nodes[id.0 as usize - 1].is_whole();
        let all_whole = self.placement.replicas.iter().all(whole);
        if self.joining.is_some() || !all_whole {
            return;
        }
        let at = 1 + (pick % (self.plan.n as u64 - 1)) as usize;
        let to = self.placement.stand_ins.remove(0);
        let from = core::mem::replace(&mut self.placement.replicas[at], to);
        self.placement.stand_ins.push(from);
        self.placement.barrier.stage = Stage::Idle;
        self.joining = Some(to);
        self.replaced += 1;
        self.step_map();
    }
    fn tell_alive(&mut self) {
        for id in self.ids() {
            // Detectors are late now and then, and so is the map.
            if self.is_up(id) && (self.healing || self.rng.chance(80)) {
                self.tell(id, true);
            }
            if self.is_up(id) && (self.healing || self.rng.chance(80)) {
                self.learn(id);
                self.report(id);
            }
        }
        self.schedule(50 * MS, Event::Alive);
    }
    /// The map, as it is now, comes to a node.
    fn learn(&mut self, id: NodeId) {
        let placement = self.placement.clone();
        let node = self.at(id);
        if node.placement == placement {
            return;
        }
        node.placement = placement.clone();
        let (mut out, mut ended) = (Vec::new(), Vec::new());
        node.coordinator.place(placement.clone(), &mut ended);
        if let Some(replica) = &mut node.replica {
            replica.place(placement, &mut out);
        }
        self.coordinated(id, ended);
        self.carry_out(id, out);
    }
    /// What a node asks of the map: a barrier, or to be counted. As `control::LeaderlessChange` does it.
    fn report(&mut self, id: NodeId) {
        let now = Instant(self.now);
        let node = &self.nodes[id.0 as usize - 1];
        let Some(replica) = node.replica.as_ref().filter(|_| node.placement.ring == self.placement.ring)
        else {
            return;
        };
        if self.joining.is_some() {
            self.joining.take_if(|joins| *joins == id && node.is_whole());
            return;
        }
        let barrier = &mut self.placement.barrier;
        if barrier.stage == Stage::Idle && replica.wants_barrier(now) {
            (barrier.stage, barrier.number) = (Stage::Promise, barrier.number + 1);
            self.step_map();
        } else if barrier.stage != Stage::Idle && replica.has_passed() {
            self.reported.insert((id, node.incarnation));
            let mut needed = self.nodes.iter().zip(1..).map(|(node, id)| (NodeId(id), node.incarnation));
            let counts = |id: NodeId| self.plan.sloppy || self.placement.replicas.contains(&id);
            if needed.all(|it| !counts(it.0) || self.reported.contains(&it)) {
                if barrier.stage == Stage::Promise {
                    barrier.stage = Stage::Hold;
                } else {
                    (barrier.stage, barrier.collected) = (Stage::Idle, barrier.number);
                    barrier.fence = self.placement.ring;
                }
                self.step_map();
            }
        }
    }
    fn tell(&mut self, id: NodeId, knows: bool) {
        let mut alive = Alive::new();
        for other in self.ids() {
            let cut = self.cuts.get(&(other, id)).is_some_and(|until| *until > self.now);
            if other == id || (!knows || self.is_up(other) && !cut) {
                alive.insert(other, self.at(other).incarnation);
            }
        }
        let node = self.at(id);
        if let Some(replica) = &mut node.replica {
            replica.set_alive(alive.keys().copied().collect::<BTreeSet<NodeId>>());
        }
        node.coordinator.set_alive(alive);
    }

    fn fault(&mut self) {
        if self.healing {
            return;
        }
        let after = self.rng.between(20, 200) * MS;
        self.schedule(after, Event::Fault);
        let id = NodeId(self.rng.between(1, self.nodes.len() as u64) as u32);
        let peer = NodeId(self.rng.between(1, self.nodes.len() as u64) as u32);
        let until = self.now + self.rng.between(50, 900) * MS;
        match self.rng.below(13) {
            0 | 1 => {
                let down = self.rng.between(1, 500);
                self.crash(id, down, false);
            }
            2 if self.plan.wipes && self.may_wipe() => {
                let down = self.rng.between(1, 300);
                self.crash(id, down, true);
            }
            3 | 4 => {
                self.cuts.insert((id, peer), until);
                if self.rng.chance(60) {
                    self.cuts.insert((peer, id), until);
                }
            }
            5 | 6 => {
                for other in self.ids() {
                    if self.rng.chance(70) {
                        self.cuts.insert((id, other), until);
                        self.cuts.insert((other, id), until);
                    }
                }
            }
            7 => self.loss_percent = self.rng.below(15),
            8 => self.slow_percent = self.rng.below(20),
            10 if self.replaces => {
                let pick = self.rng.next();
                self.replace(pick);
            }
            9 => {
                // A power cut takes several.
                for other in self.ids() {
                    if self.rng.chance(50) {
                        let down = self.rng.between(1, 60);
                        self.crash(other, down, false);
                    }
                }
            }
            _ => {}
        }
    }
    /// One lost copy at a time: everybody else is whole, and nothing lies at a stand-in alone.
    fn may_wipe(&self) -> bool {
        self.plan.w >= 2 && self.joining.is_none() && self.healthy()
    }
    fn healthy(&self) -> bool {
        self.ids().iter().zip(&self.nodes).all(|(id, node)| {
            node.replica.as_ref().is_some_and(|replica| {
                let durable = replica.durable();
                let is_drained = durable.hints().is_empty() && durable.hints().missed().is_empty();
                is_drained && (node.is_whole() || !self.placement.is_replica(*id))
            })
        })
    }
}
