//! Many followers of one leader: `tercet sim --scenario thousand-followers`.
//!
//! A thousand whole nodes are too heavy for one simulated world. So this one drives the replication machines alone, the same that
//! servers run, with a model of what surrounds them: a network that delays, a disk that flushes what gathered meanwhile,
//! and a processor that a message costs some time. There is no control plane: the view stands still.
//!
//! Two questions. How often is a write blocked when each follower is away with probability p (catalogue: H1; predicted: 1 - (1-p)^n
//! where all must hold it)? And what do throughput and latency become with the number of followers, and by whom they are fed
//! (catalogue: C18, H2, H3)?

use crate::network::MS;
use crate::random::Random;
use data::keyspace::{CommitRule, Election, Settings};
use data::record::Kind;
use data::view::{Leader, Replica as Life, View};
use data::{
    Epoch, GroupId, Incarnation, Index, Instant, KeyspaceId, NodeId, Position, Process, RequestId, ViewNumber,
};
use protocol::single_leader::{Input, Message, Output, Recovered, Replica};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const US: u64 = 1_000;
/// What a message costs who sends or receives it. A guess: a system call, a copy and some checks of a server of today.
const SEND: u64 = 5 * US;
const RECEIVE: u64 = 2 * US;
/// One way within a datacenter, and a flush of a disk that keeps its word; both spread by [`Random::around`].
const ONE_WAY: u64 = 150 * US;
const FLUSH: u64 = 500 * US;
/// One flush in so many takes twenty times as long.
const SLOW_FLUSH: u64 = 200;
/// Between two looks at the clock; seldom where one costs a leader of a thousand followers milliseconds of the host's time.
const TICK: u64 = 10 * MS;
const TICK_OF_MANY: u64 = 50 * MS;
const MANY: u32 = 300;
/// A write that was not committed for so long counts as blocked.
const TIMEOUT: u64 = 1_000 * MS;
const LEADER: NodeId = NodeId(1);

enum Event {
    Deliver {
        from: NodeId,
        to: NodeId,
        message: Message,
    },
    /// The receiver has come to it.
    Handle {
        from: NodeId,
        to: NodeId,
        message: Message,
    },
    Flushed {
        node: NodeId,
        token: u64,
    },
    Tick(NodeId),
    /// A client of the leader sends a write.
    Write(usize),
    /// The leader's turn ends.
    Turn,
}

struct Node {
    replica: Replica,
    /// Busy until then.
    free_at: u64,
    flushing: bool,
    unflushed: VecDeque<u64>,
}

/// One group in virtual time.
pub struct Crowd {
    now: u64,
    sequence: u64,
    queue: BTreeMap<(u64, u64), Event>,
    nodes: Vec<Node>,
    random: Random,
    /// When the newest message of a connection arrives: none overtakes another.
    links: BTreeMap<(NodeId, NodeId), u64>,
    /// Neither send nor receive nor flush.
    away: BTreeSet<NodeId>,
    turn: bool,
    /// Who wrote what when, in the order of the log.
    waiting: VecDeque<(Index, usize, u64)>,
    latencies: Vec<u64>,
    sent_by_leader: u64,
    turns: u64,
    tick: u64,
    /// Clients go on as soon as they are answered.
    closed_loop: bool,
}

/// What was measured of a crowd under load.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    pub writes_per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Messages that the leader sent for each write.
    pub sent_per_write: f64,
    /// The same for each turn: the less a leader is busy, the fewer writes share one.
    pub sent_per_turn: f64,
}

/// Of so many writes, each with other followers away, so many were blocked.
#[derive(Clone, Copy, Debug)]
pub struct Blocked {
    pub writes: u32,
    pub blocked: u32,
}

impl Blocked {
    /// Wilson's bounds of the probability, `z` standard deviations wide.
    pub fn bounds(&self, z: f64) -> (f64, f64) {
        wilson(self.blocked, self.writes, z)
    }
}

/// Wilson's bounds of a probability of which `hits` of `count` trials were seen, `z` standard deviations wide.
pub fn wilson(hits: u32, count: u32, z: f64) -> (f64, f64) {
    let (n, share) = (f64::from(count), f64::from(hits) / f64::from(count));
    let middle = (share + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    // What was never seen, or always, leaves these ends open; rounding must not close them.
    let low = if hits == 0 { 0.0 } else { (middle - half).max(0.0) };
    let high = if hits == count { 1.0 } else { (middle + half).min(1.0) };
    (low, high)
}

/// catalogue: H1. All of n followers must hold a write, and each is away with probability p.
pub fn predicted(p: f64, followers: u32) -> f64 {
    1.0 - (1.0 - p).powf(f64::from(followers))
}

impl Crowd {
    pub fn new(seed: u64, rule: CommitRule, followers: u32, fan_out: u32) -> Crowd {
        let nodes: Vec<NodeId> = (1..=followers + 1).map(NodeId).collect();
        let life = |node: &NodeId| Life { node: *node, incarnation: Incarnation(1) };
        let view = View {
            group: GroupId(1),
            keyspace: KeyspaceId(0),
            number: ViewNumber(1),
            epoch: Epoch(1),
            leader: Some(Leader { replica: life(&LEADER), process: Process(1) }),
            electable: nodes.iter().map(life).collect(),
            members: nodes.clone(),
            read_replicas: Vec::new(),
            election: None,
            forced: None,
            history: vec![Position::new(1, 1)],
            last_loss: Epoch(0),
            rule,
            settings: Settings { commit: rule, fan_out, election: Election::Best, ..Settings::default() },
        };
        let node = |id: &NodeId| Node {
            replica: Replica::new(life(id), Process(1), GroupId(1), KeyspaceId(0), Recovered::default()),
            free_at: 0,
            flushing: false,
            unflushed: VecDeque::new(),
        };
        let mut crowd = Crowd {
            now: 1_000 * MS,
            sequence: 0,
            queue: BTreeMap::new(),
            nodes: nodes.iter().map(node).collect(),
            random: Random::new(seed, 77),
            links: BTreeMap::new(),
            away: BTreeSet::new(),
            turn: false,
            waiting: VecDeque::new(),
            latencies: Vec::new(),
            sent_by_leader: 0,
            turns: 0,
            tick: if followers > MANY { TICK_OF_MANY } else { TICK },
            closed_loop: false,
        };
        for id in nodes {
            crowd.step(id, Input::View(Box::new(view.clone())));
            // Without links only a leader does anything by the clock.
            if id == LEADER || !crowd.at(LEADER).replica.links().order().is_empty() {
                let first = crowd.random.below(crowd.tick);
                crowd.schedule(first, Event::Tick(id));
            }
        }
        // Everybody is found, linked, and holds the epoch's first entry.
        crowd.run(1_500 * MS);
        crowd
    }

    fn at(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize - 1]
    }
    fn schedule(&mut self, after: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), event);
    }
    /// Runs for so long.
    pub fn run(&mut self, length: u64) {
        let end = self.now + length;
        while let Some(((at, sequence), event)) = self.queue.pop_first() {
            if at > end {
                self.queue.insert((at, sequence), event);
                break;
            }
            self.now = at;
            self.happen(event);
        }
        self.now = end;
    }
    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, message } => {
                if self.away.contains(&to) || self.away.contains(&from) {
                    return;
                }
                let now = self.now;
                let node = self.at(to);
                let begin = node.free_at.max(now);
                node.free_at = begin + RECEIVE;
                self.schedule(begin - now, Event::Handle { from, to, message });
            }
            Event::Handle { from, to, message } => {
                self.step(to, Input::Message { from, incarnation: Incarnation(1), message });
            }
            Event::Flushed { node, token } => {
                let next = self.at(node).unflushed.back().copied().filter(|newest| *newest > token);
                self.at(node).flushing = next.is_some();
                self.at(node).unflushed.retain(|written| *written > token);
                if let Some(next) = next {
                    self.start_flush(node, next);
                }
                self.step(node, Input::Persisted { token });
            }
            Event::Tick(node) => {
                self.schedule(self.tick, Event::Tick(node));
                if !self.away.contains(&node) {
                    self.step(node, Input::Tick);
                }
            }
            Event::Write(writer) => {
                let payload = |w: &mut data::codec::Writer<'_>| w.u64(writer as u64);
                let replica = &mut self.nodes[0].replica;
                let Some(position) = replica.propose(Kind::Operations, RequestId::NONE, 0, payload) else {
                    return;
                };
                self.waiting.push_back((position.index, writer, self.now));
                self.end_turn();
            }
            Event::Turn => {
                self.turn = false;
                self.turns += 1;
                let (now, mut out) = (Instant(self.now), Vec::new());
                self.at(LEADER).replica.flush(now, &mut out);
                self.carry_out(LEADER, out);
            }
        }
    }
    /// What arrives while the leader is busy belongs to its next turn.
    fn end_turn(&mut self) {
        if !std::mem::replace(&mut self.turn, true) {
            let wait = self.nodes[0].free_at.saturating_sub(self.now);
            self.schedule(wait, Event::Turn);
        }
    }
    fn step(&mut self, id: NodeId, input: Input) {
        let (now, mut out) = (Instant(self.now), Vec::new());
        self.at(id).replica.step(now, input, &mut out);
        self.carry_out(id, out);
        if id == LEADER && self.at(LEADER).replica.pending_bytes() > 0 {
            self.end_turn();
        }
    }
    fn start_flush(&mut self, node: NodeId, token: u64) {
        let slow = self.random.below(SLOW_FLUSH) == 0;
        let length = self.random.around(if slow { FLUSH * 20 } else { FLUSH });
        self.at(node).flushing = true;
        self.schedule(length, Event::Flushed { node, token });
    }
    fn carry_out(&mut self, id: NodeId, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Send { to, message } => {
                    self.sent_by_leader += u64::from(id == LEADER);
                    let now = self.now;
                    let node = self.at(id);
                    node.free_at = node.free_at.max(now) + SEND;
                    let leaves = node.free_at - now;
                    let way = self.random.around(ONE_WAY);
                    let newest = self.links.entry((id, to)).or_default();
                    *newest = (*newest).max(now + leaves + way);
                    let arrives = *newest - now;
                    self.schedule(arrives, Event::Deliver { from: id, to, message });
                }
                Output::Persist { token, .. } | Output::Ledger { token, .. } => {
                    self.at(id).unflushed.push_back(token);
                    if !self.at(id).flushing {
                        self.start_flush(id, token);
                    }
                }
                Output::Committed(index) => {
                    let mut out = Vec::new();
                    self.at(id).replica.applied(index, &mut out);
                    self.carry_out(id, out);
                    if id == LEADER {
                        self.answer(index);
                    }
                }
                // Everything stays in memory here, and nobody is elected or leaves.
                Output::Fetch { .. }
                | Output::Truncated(_)
                | Output::Sealed(_)
                | Output::NeedSnapshot { .. }
                | Output::TakeSnapshot { .. }
                | Output::ProposeElectable { .. }
                | Output::ReadConfirmed(_)
                | Output::Became(_)
                | Output::Report(_) => {}
            }
        }
    }
    fn answer(&mut self, committed: Index) {
        while let Some((_, writer, since)) =
            self.waiting.front().copied().filter(|(index, ..)| *index <= committed)
        {
            self.waiting.pop_front();
            self.latencies.push(self.now - since);
            if self.closed_loop {
                let pause = self.random.around(ONE_WAY);
                self.schedule(pause, Event::Write(writer));
            }
        }
    }

    /// So many clients write for so long, each its next as soon as the last is answered.
    pub fn load(&mut self, writers: usize, length: u64) -> Figures {
        self.closed_loop = true;
        for writer in 0..writers {
            let first = self.random.below(MS);
            self.schedule(first, Event::Write(writer));
        }
        // Until the clients are out of step.
        self.run(200 * MS);
        self.latencies.clear();
        (self.sent_by_leader, self.turns) = (0, 0);
        self.run(length);
        self.closed_loop = false;
        let mut latencies = std::mem::take(&mut self.latencies);
        latencies.sort_unstable();
        let at = |share: f64| {
            let rank = (latencies.len() as f64 * share) as usize;
            latencies
                .get(rank.min(latencies.len().saturating_sub(1)))
                .map_or(f64::NAN, |it| *it as f64 / MS as f64)
        };
        Figures {
            writes_per_second: latencies.len() as f64 / (length as f64 / 1e9),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            sent_per_write: self.sent_by_leader as f64 / latencies.len().max(1) as f64,
            sent_per_turn: self.sent_by_leader as f64 / self.turns.max(1) as f64,
        }
    }

    /// So many writes; before each, every follower goes away with this probability, and comes back after it.
    pub fn blocked(&mut self, writes: u32, p: f64) -> Blocked {
        let limit = (p * 1e9) as u64;
        let mut blocked = 0;
        for _ in 0..writes {
            let followers = 2..=self.nodes.len() as u32;
            self.away = followers.map(NodeId).filter(|_| self.random.below(1_000_000_000) < limit).collect();
            self.latencies.clear();
            self.schedule(0, Event::Write(0));
            let end = self.now + TIMEOUT;
            while self.latencies.is_empty() && self.now < end {
                self.run(5 * MS);
            }
            blocked += u32::from(self.latencies.is_empty());
            self.away.clear();
            // What was lost is sent again.
            while !self.waiting.is_empty() {
                self.run(50 * MS);
            }
            self.run(20 * MS);
        }
        Blocked { writes, blocked }
    }
}

/// The whole story, as text.
pub fn tell(seed: u64, most: u32, say: &mut dyn FnMut(String)) {
    say(format!(
        "A write is blocked when all of n followers must hold it and each is away with probability p (H1, seed {seed})"
    ));
    say("followers      p  rule         predicted  measured  99% bounds".into());
    let p = 0.001;
    for followers in [1, 10, 100, most] {
        for rule in [CommitRule::Synchronous, CommitRule::Majority] {
            // A majority of two copies is both of them.
            let all = rule == CommitRule::Synchronous || followers == 1;
            let theory = if all { predicted(p, followers) } else { 0.0 };
            let writes = if followers > MANY { 60 } else { 200 };
            let it = Crowd::new(seed, rule, followers, 0).blocked(writes, p);
            let (low, high) = it.bounds(2.576);
            let share = f64::from(it.blocked) / f64::from(it.writes);
            let within = if (low..=high).contains(&theory) { "holds" } else { "DIFFERS" };
            say(format!(
                "{followers:>9}  {p:.3}  {:<11}  {theory:>9.4}  {share:>8.4}  {low:.4}..{high:.4}  {within}",
                rule.name()
            ));
        }
    }
    say("64 clients, one group (C18, H2, H3): virtual time, a message costs its sender 5 us and its receiver 2 us".into());
    say(
        "followers  fan-out  rule         writes/s   p50 ms   p99 ms  sent by the leader per write, per turn"
            .into(),
    );
    let mut row = |rule: CommitRule, followers: u32, fan_out: u32, groups: f64| {
        let length = if followers > 100 { 400 * MS } else { 1_000 * MS };
        let it = Crowd::new(seed, rule, followers, fan_out).load(64, length);
        say(format!(
            "{followers:>9}  {fan_out:>7}  {:<11}  {:>8.0}  {:>7.2}  {:>7.2}  {:>8.2}  {:>8.2}{}",
            rule.name(),
            it.writes_per_second * groups,
            it.p50_ms,
            it.p99_ms,
            it.sent_per_write,
            it.sent_per_turn,
            if groups > 1.0 {
                format!("  ({groups:.0} shards of three copies: {:.0} each)", it.writes_per_second)
            } else {
                String::new()
            }
        ));
    };
    for followers in [1, 2, 3, 4, 5, 6, 7, 30, 100, 300, most] {
        row(CommitRule::Synchronous, followers, 0, 1.0);
    }
    row(CommitRule::Chain { minimum: 1 }, 2, 0, 1.0);
    row(CommitRule::Chain { minimum: 1 }, 6, 0, 1.0);
    // catalogue: C16. The ways to be synchronous, beside each other.
    row(CommitRule::SemiSync { acks: 1 }, 2, 0, 1.0);
    row(CommitRule::SemiSync { acks: 1 }, 6, 0, 1.0);
    row(CommitRule::Majority, 2, 0, 1.0);
    row(CommitRule::Majority, most, 0, 1.0);
    row(CommitRule::Majority, most, 10, 1.0);
    row(CommitRule::Async, most, 0, 1.0);
    row(CommitRule::Async, most, 10, 1.0);
    // As many copies as before, of keyspaces' parts instead of all.
    row(CommitRule::Majority, 2, 0, f64::from((most + 1) / 3));
}
