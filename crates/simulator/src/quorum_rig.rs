//! The leaderless machines alone, the same that servers run: nodes with a coordinator and a copy each, a network whose every message
//! takes a time drawn from an exponential distribution, disks that take none. What [`crate::staleness`] and [`crate::anomalies`] drive.

use crate::network::MS;
use crate::random::Random;
use data::causal::Wish;
use data::leaderless::ConflictPolicy;
use data::table::Seed;
use data::value::Blob;
use data::{GroupId, Incarnation, Instant, NodeId, Now, Process, WallInterval};
use protocol::leaderless::coordinator::{self, Coordinator, Level};
use protocol::leaderless::{
    Alive, Durable, Life, Limits, Message, Output, Placement, Repair, Replica, Reply,
};
use std::collections::{BTreeMap, BTreeSet};

/// The mean of every delay, in nanoseconds.
pub const MEAN: u64 = 5 * MS;
const LIFE: Incarnation = Incarnation(1);
/// Copies of every key, at the nodes 1 to 3. Nodes beyond hold none, or what they keep for one that is away.
const COPIES: u32 = 3;

struct Site {
    coordinator: Coordinator,
    replica: Replica,
}

pub struct Rig {
    pub now: u64,
    pub random: Random,
    sequence: u64,
    queue: BTreeMap<(u64, u64), (NodeId, NodeId, Message)>,
    sites: Vec<Site>,
    /// Nothing comes from them, nothing reaches them.
    away: BTreeSet<NodeId>,
    /// What clients were answered, by the number of the request.
    replies: BTreeMap<u64, Reply>,
}

impl Rig {
    /// Three copies, and so many nodes without; `stand_ins` of those stand in for copies that are away.
    pub fn new(seed: u64, others: u32, stand_ins: u32, conflict: ConflictPolicy) -> Rig {
        let placement = Placement {
            ring: 1,
            replicas: (1..=COPIES).map(NodeId).collect(),
            stand_ins: (COPIES + 1..=COPIES + stand_ins).map(NodeId).collect(),
            barrier: Default::default(),
        };
        let alive: Alive = (1..=COPIES + others).map(|node| (NodeId(node), LIFE)).collect();
        let site = |node: &NodeId| {
            let process = Process(1);
            let limits = coordinator::Limits { conflict, ..coordinator::Limits::default() };
            let mut coordinator = Coordinator::new(*node, process, limits);
            coordinator.place(placement.clone(), &mut Vec::new());
            coordinator.set_alive(alive.clone());
            let life = Life { node: *node, incarnation: LIFE, process, shard: GroupId(1) };
            let durable = Durable::new(Seed(1, 2), true);
            let limits = Limits { conflict, ..Limits::default() };
            let mut replica = Replica::new(life, limits, durable, &mut Vec::new());
            replica.persisted(u64::MAX, &mut Vec::new());
            replica.place(placement.clone(), &mut Vec::new());
            replica.set_alive(alive.keys().copied().collect());
            Site { coordinator, replica }
        };
        Rig {
            now: 1_000 * MS,
            random: Random::new(seed, 78),
            sequence: 0,
            queue: BTreeMap::new(),
            sites: alive.keys().map(site).collect(),
            away: BTreeSet::new(),
            replies: BTreeMap::new(),
        }
    }
    pub fn write(&mut self, node: NodeId, number: u64, key: Blob, wish: Wish, w: Level, r: Level) {
        let (now, mut out) = (Instant(self.now), Vec::new());
        self.at(node).coordinator.write(now, number, key, wish, w, r, &mut out);
        self.carry_out(node, out);
    }
    pub fn read(&mut self, node: NodeId, number: u64, key: Blob, r: Level, repair: Repair) {
        let (now, mut out) = (Instant(self.now), Vec::new());
        self.at(node).coordinator.read(now, number, key, r, repair, false, &mut out);
        self.carry_out(node, out);
    }
    /// The answer to a request, once.
    pub fn take_reply(&mut self, number: u64) -> Option<Reply> {
        self.replies.remove(&number)
    }
    /// Waits for an answer, which takes messages or none.
    pub fn reply_to(&mut self, number: u64) -> Reply {
        loop {
            if let Some(reply) = self.take_reply(number) {
                return reply;
            }
            assert!(self.happen(), "nothing is under way, and nobody answered");
        }
    }
    /// Cuts a node off, or joins it again. The others know at once.
    pub fn set_away(&mut self, node: NodeId, is_away: bool) {
        if is_away {
            self.away.insert(node);
        } else {
            self.away.remove(&node);
        }
        let all: Vec<NodeId> = (1..).take(self.sites.len()).map(NodeId).collect();
        for (at, site) in all.iter().zip(&mut self.sites) {
            let hears = |node: &&NodeId| *node == at || !self.away.contains(at) && !self.away.contains(node);
            let alive: Alive = all.iter().filter(hears).map(|node| (*node, LIFE)).collect();
            site.replica.set_alive(alive.keys().copied().collect());
            site.coordinator.set_alive(alive);
        }
    }
    /// Messages that arrive until then do.
    pub fn run_until(&mut self, end: u64) {
        while self.queue.first_key_value().is_some_and(|((at, _), _)| *at <= end) {
            self.happen();
        }
        self.now = end;
    }
    /// Coordinators ask again, and give up; copies hand over what they hold for others.
    pub fn tick(&mut self) {
        for node in (1..=self.sites.len() as u32).map(NodeId) {
            let (now, mut out) = (self.clock(), Vec::new());
            self.at(node).coordinator.tick(now.instant, &mut out);
            self.carry_out(node, out);
        }
    }
    /// Delivers the next message; false when there is none.
    pub fn happen(&mut self) -> bool {
        let Some(((at, _), (from, to, message))) = self.queue.pop_first() else { return false };
        self.now = at;
        if from != to && (self.away.contains(&from) || self.away.contains(&to)) {
            return true;
        }
        let (now, mut out) = (self.clock(), Vec::new());
        if message.is_answer() {
            self.at(to).coordinator.receive(from, LIFE, message, &mut out);
            self.carry_out(to, out);
        } else {
            let mut out = Vec::new();
            let replica = &mut self.at(to).replica;
            replica.receive(now, from, LIFE, message, &mut out);
            // The disk takes no time.
            replica.persisted(u64::MAX, &mut out);
            for output in out {
                if let Output::Send { to: next, message } = output {
                    self.send(to, next, message);
                }
            }
        }
        true
    }
    fn clock(&self) -> Now {
        let ms = (self.now / MS) as i64;
        Now { instant: Instant(self.now), wall: WallInterval { earliest_ms: ms, latest_ms: ms } }
    }
    fn at(&mut self, node: NodeId) -> &mut Site {
        &mut self.sites[node.0 as usize - 1]
    }
    fn carry_out(&mut self, node: NodeId, out: Vec<coordinator::Output>) {
        for output in out {
            match output {
                coordinator::Output::Send { to, message } => self.send(node, to, message),
                coordinator::Output::Reply { client, reply } => {
                    self.replies.insert(client, reply);
                }
                coordinator::Output::Decide { .. } => {}
            }
        }
    }
    fn send(&mut self, from: NodeId, to: NodeId, message: Message) {
        // Evenly from the interval above 0 through 1, so that the logarithm is finite.
        let even = ((self.random.draw() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        let delay = if from == to { 0 } else { (-even.ln() * MEAN as f64) as u64 };
        self.sequence += 1;
        self.queue.insert((self.now + delay, self.sequence), (from, to, message));
    }
}
