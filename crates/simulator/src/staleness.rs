//! Stale reads, predicted and counted: `tercet sim --scenario stale-reads`.
//!
//! The leaderless machines alone, the same that servers run, on a network whose every message takes a time drawn from an exponential
//! distribution with a known mean m, and disks that take none. So the probability that a read, begun t after a write of another node was
//! acknowledged, misses the write has a closed form, and what is counted must agree with it. With x = exp(-t/m):
//!
//! | w, r | the reader's node | a read is stale when | probability |
//! |---|---|---|---|
//! | 1, 1 | holds a copy, which answers | the delta is not here after t | x |
//! | 1, 1 | holds none, asks the first copy | the delta comes after the question, which left t later | x/2 |
//! | 1, 2 | holds a copy, asks another beside it | neither has it: both of the above | x²/2 |
//! | 2, 1 | holds a copy, which answers | another copy took the delta and its word was back t before the delta came here | x/4 |
//! | 2, 2 | any | never: two of three meet two of three | 0 |
//!
//! Source: Bailis et al., "Probabilistically Bounded Staleness for Practical Partial Quorums" (VLDB 2012): the delays of write,
//! acknowledgement, read and response, of which the last never matters here as nobody answers before it has read.
// catalogue: K4 K7

use crate::followers::wilson;
use crate::network::MS;
use crate::random::Random;
use data::causal::{Amount, Store, Wish};
use data::table::Seed;
use data::{GroupId, Incarnation, Instant, NodeId, Now, Process, WallInterval};
use protocol::leaderless::coordinator::{self, Coordinator, Level};
use protocol::leaderless::{
    Alive, Durable, Life, Limits, Message, Output, Placement, Repair, Replica, Reply,
};
use std::collections::BTreeMap;

/// The mean of every delay. What is counted depends on its ratio to the time between write and read only.
const MEAN: u64 = 5 * MS;
const LIFE: Incarnation = Incarnation(1);
/// It coordinates and holds no copy.
const OUTSIDER: NodeId = NodeId(4);

/// Who writes and reads how.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    pub w: usize,
    pub r: usize,
    writer: NodeId,
    reader: NodeId,
    /// The probability, of x.
    predicted: fn(f64) -> f64,
}

pub const CASES: [Case; 5] = [
    Case { name: "own copy", w: 1, r: 1, writer: NodeId(1), reader: NodeId(2), predicted: |x| x },
    Case { name: "no own copy", w: 1, r: 1, writer: NodeId(2), reader: OUTSIDER, predicted: |x| x / 2.0 },
    Case { name: "two copies", w: 1, r: 2, writer: NodeId(2), reader: NodeId(3), predicted: |x| x * x / 2.0 },
    Case { name: "two disks", w: 2, r: 1, writer: NodeId(1), reader: NodeId(3), predicted: |x| x / 4.0 },
    Case { name: "overlap", w: 2, r: 2, writer: NodeId(1), reader: NodeId(3), predicted: |_| 0.0 },
];

impl Case {
    /// The probability that a read is stale which begins `after` times the mean delay behind the acknowledgement.
    pub fn predicted(&self, after: f64) -> f64 {
        (self.predicted)((-after).exp())
    }
}

/// Of so many reads so many missed the write.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    pub reads: u32,
    pub stale: u32,
}

impl Counted {
    /// Wilson's bounds of the probability, `z` standard deviations wide.
    pub fn bounds(&self, z: f64) -> (f64, f64) {
        wilson(self.stale, self.reads, z)
    }
    pub fn share(&self) -> f64 {
        f64::from(self.stale) / f64::from(self.reads.max(1))
    }
}

struct Site {
    coordinator: Coordinator,
    replica: Replica,
}

/// Three copies, and a node without one.
pub struct Trio {
    now: u64,
    sequence: u64,
    queue: BTreeMap<(u64, u64), (NodeId, NodeId, Message)>,
    sites: Vec<Site>,
    random: Random,
    requests: u64,
    /// What clients were answered.
    replies: BTreeMap<u64, Reply>,
}

impl Trio {
    pub fn new(seed: u64) -> Trio {
        let replicas: Vec<NodeId> = (1..=3).map(NodeId).collect();
        let placement = Placement { ring: 1, replicas, stand_ins: Vec::new(), barrier: Default::default() };
        let alive: Alive = (1..=4).map(|node| (NodeId(node), LIFE)).collect();
        let site = |node| {
            let process = Process(1);
            let mut coordinator = Coordinator::new(node, process, coordinator::Limits::default());
            coordinator.place(placement.clone(), &mut Vec::new());
            coordinator.set_alive(alive.clone());
            let life = Life { node, incarnation: LIFE, process, shard: GroupId(1) };
            let durable = Durable::new(Seed(1, 2), true);
            let mut replica = Replica::new(life, Limits::default(), durable, &mut Vec::new());
            replica.persisted(u64::MAX, &mut Vec::new());
            replica.place(placement.clone(), &mut Vec::new());
            replica.set_alive(alive.keys().copied().collect());
            Site { coordinator, replica }
        };
        Trio {
            now: 1_000 * MS,
            sequence: 0,
            queue: BTreeMap::new(),
            sites: (1..=4).map(|node| site(NodeId(node))).collect(),
            random: Random::new(seed, 78),
            requests: 0,
            replies: BTreeMap::new(),
        }
    }

    /// So many writes of keys of their own, each read once, `after` times the mean delay behind its acknowledgement.
    pub fn count(&mut self, case: &Case, after: f64, reads: u32) -> Counted {
        let level = |required| Level { required, sloppy: false };
        let mut stale = 0;
        for _ in 0..reads {
            self.requests += 1;
            let (number, key) = (self.requests, self.requests.to_string().into_bytes());
            let (now, mut out) = (Instant(self.now), Vec::new());
            let wish = Wish::Increment { by: Amount::whole(1) };
            let writer = &mut self.at(case.writer).coordinator;
            writer.write(now, number, key.clone().into(), wish, level(case.w), level(case.r), &mut out);
            self.carry_out_coordinator(case.writer, out);
            let written = self.reply_to(number);
            assert!(matches!(written, Reply::Written(_)), "{written:?}");
            self.run_until(self.now + (after * MEAN as f64) as u64);
            let (now, mut out) = (Instant(self.now), Vec::new());
            let reader = &mut self.at(case.reader).coordinator;
            reader.read(now, number, key.into(), level(case.r), Repair::Off, false, &mut out);
            self.carry_out_coordinator(case.reader, out);
            match self.reply_to(number) {
                Reply::Value { state, .. } => stale += u32::from(state.held.object.is_bottom()),
                other => panic!("a read was answered {other:?}"),
            }
            // The next write begins when nothing of this one is under way.
            while self.happen() {}
        }
        Counted { reads, stale }
    }

    fn at(&mut self, node: NodeId) -> &mut Site {
        &mut self.sites[node.0 as usize - 1]
    }
    /// Waits for an answer, which takes messages or none.
    fn reply_to(&mut self, number: u64) -> Reply {
        loop {
            if let Some(reply) = self.replies.remove(&number) {
                return reply;
            }
            assert!(self.happen(), "nothing is under way, and nobody answered");
        }
    }
    fn run_until(&mut self, end: u64) {
        while self.queue.first_key_value().is_some_and(|((at, _), _)| *at <= end) {
            self.happen();
        }
        self.now = end;
    }
    /// Delivers the next message; false when there is none.
    fn happen(&mut self) -> bool {
        let Some(((at, _), (from, to, message))) = self.queue.pop_first() else { return false };
        self.now = at;
        let ms = (at / MS) as i64;
        let wall = WallInterval { earliest_ms: ms, latest_ms: ms };
        let now = Now { instant: Instant(at), wall };
        if message.is_answer() {
            let mut out = Vec::new();
            self.at(to).coordinator.receive(from, LIFE, message, &mut out);
            self.carry_out_coordinator(to, out);
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
    fn carry_out_coordinator(&mut self, node: NodeId, out: Vec<coordinator::Output>) {
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

/// Prints what is counted beside what is predicted; false where chance does not explain the difference.
pub fn tell(seed: u64, reads: u32, say: &mut dyn FnMut(String)) -> bool {
    say(format!(
        "stale reads of 3 copies (K7), {reads} of each; every message takes an exponential time of mean m"
    ));
    say("case           w  r   after   predicted    counted   bounds".into());
    let mut agree = true;
    for case in &CASES {
        for after in [0.0, 0.25, 0.5, 1.0, 2.0, 4.0] {
            let counted = Trio::new(seed).count(case, after, reads);
            let (low, high) = counted.bounds(3.9);
            let predicted = case.predicted(after);
            let is_within = (low..=high).contains(&predicted);
            agree &= is_within;
            say(format!(
                "{:<13} {:>2} {:>2}  {after:>4} m  {:>9.2}%  {:>8.2}%   {:.2}% to {:.2}%{}",
                case.name,
                case.w,
                case.r,
                predicted * 100.0,
                counted.share() * 100.0,
                low * 100.0,
                high * 100.0,
                if is_within { "" } else { "   NOT EXPLAINED BY CHANCE" }
            ));
        }
    }
    agree
}
