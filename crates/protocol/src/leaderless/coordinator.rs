//! The coordinator: asks replicas on a client's behalf and counts. It keeps nothing that a restart would need: what it
//! began and did not end stays at the replicas as far as it came, and spreads (bugs: LL-25).
// catalogue: K1 K2 K3 K5 K6 K8 K9 K16 K20

use super::message::{Message, Why};
use super::names::{Listing, Name, Question, Unsettled};
use super::proposer::{Lines, Proposing};
use super::quorum::{Alive, Placement};
use super::read::Read;
use super::write::Writing;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cell::Cell;
use core::time::Duration;
use data::causal::{Ballot, Causal, KeyState, Object, Outcome, Proposal, Range, Wish};
use data::leaderless::ConflictPolicy;
use data::plant::{self, Bug};
use data::value::Blob;
use data::{Incarnation, Instant, NodeId, Process, RequestId};

/// What bounds a coordinator. The numbers of `default` are guesses.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// When a request ends without its quorum.
    pub timeout: Duration,
    /// After this long without an answer a message is sent again, others are asked too, and stand-ins.
    pub resend_after: Duration,
    /// Requests under way at a time: those that are answered and only spread give way, and beyond that they are refused before
    /// anything is sent.
    pub requests_max: usize,
    /// Bytes of keys and values in them.
    pub bytes_max: usize,
    /// What becomes of concurrent writes.
    pub conflict: ConflictPolicy,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            timeout: Duration::from_secs(1),
            resend_after: Duration::from_millis(200),
            requests_max: 4096,
            bytes_max: 64 << 20,
            conflict: ConflictPolicy::Crdt,
        }
    }
}

/// What a read does with replicas that lack something.
// catalogue: K13
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repair {
    /// The answer waits until r replicas hold what it says: reads never go back.
    Blocking,
    /// After the answer.
    Background,
    Off,
}

/// How many must answer, and whether stand-ins count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Level {
    /// w of a write, r of a read, from 1 to n.
    pub required: usize,
    pub sloppy: bool,
}

/// What a write achieved.
#[derive(Clone, PartialEq, Debug)]
pub struct WriteReceipt {
    pub required: usize,
    /// Replicas on whose disks it is, the one that minted it first.
    pub replicas: Vec<NodeId>,
    /// Stand-ins that hold it, and for whom.
    pub stand_ins: Vec<(NodeId, NodeId)>,
    /// Nothing where it was not minted, as far as is known.
    pub delta: Option<Causal<Object>>,
    /// What it came to, as its minter saw it: the client's reply follows from it. There whenever the delta is.
    pub outcome: Option<Outcome>,
}

impl WriteReceipt {
    pub fn acknowledged(&self) -> usize {
        self.replicas.len() + self.stand_ins.len()
    }
    /// Whether it took stand-ins to reach what was required.
    // catalogue: K16 K19
    // bugs: LL-15
    pub fn is_sloppy(&self) -> bool {
        self.replicas.len() < self.required && self.acknowledged() >= self.required
    }
}

/// Where an answer comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadReceipt {
    pub required: usize,
    pub replicas: Vec<NodeId>,
    pub stand_ins: Vec<NodeId>,
    /// Replicas that lacked something, and were sent it unless repair is off.
    pub stale: Vec<NodeId>,
}

/// The answer to a client.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    Written(WriteReceipt),
    Value {
        state: KeyState,
        receipt: ReadReceipt,
    },
    /// The keys in all leaves that were asked for through `last`: names that r copies agree on, expired ones among them, and
    /// keys of which they hold different things, each to be read by itself.
    Names {
        last: u32,
        names: Vec<Name>,
        doubtful: Vec<Blob>,
        receipt: ReadReceipt,
    },
    /// So many keys are seen where r copies agree; the other parts of the range are left to be asked about.
    Count {
        count: u64,
        left: Vec<Unsettled>,
        receipt: ReadReceipt,
    },
    /// This is the value of a linearizable key: a majority of its replicas, these among them, has it. `decided` is the ballot under which
    /// [`Output::Decide`] asked what came true; none for a read.
    Agreed {
        decided: Ballot,
        value: Box<Proposal>,
        required: usize,
        replicas: Vec<NodeId>,
    },
    /// Too few are alive, or answered a read: nothing was done.
    NoQuorum {
        required: usize,
        alive: usize,
    },
    /// Fewer than required acknowledged in time. What was minted stays, and may be seen from now on or later.
    Indeterminate {
        acknowledged: usize,
        required: usize,
        receipt: WriteReceipt,
    },
    /// Nothing was done.
    Refused(Why),
    /// Too much is under way: nothing was done.
    Busy,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    Send {
        to: NodeId,
        message: Message,
    },
    /// What does the client's command make of this value of its key? [`Coordinator::decided`] takes the answer.
    Decide {
        sequence: u64,
        client: u64,
        ballot: Ballot,
        value: Box<Proposal>,
    },
    /// `client` as it came with the request.
    Reply {
        client: u64,
        reply: Reply,
    },
}

pub(super) enum Task {
    Read(Read),
    Write(Writing),
    List(Listing),
    Propose(Proposing),
}

/// A request under way.
pub(super) struct Request {
    /// `None` once it is answered; what is left to be sent goes on until the deadline.
    pub client: Option<u64>,
    pub id: RequestId,
    pub key: Blob,
    /// The ring under which it began.
    pub ring: u64,
    pub level: Level,
    pub bytes: usize,
    pub deadline: Instant,
    pub resend_at: Instant,
    /// The newest life of each replica that an answer to this request told of.
    pub lives: BTreeMap<NodeId, Incarnation>,
    pub task: Task,
}

/// A request may ask the same of a replica twice, and an answer to the first question says nothing of the second: each has an id.
const SECOND_ROUND: u64 = 1 << 63;

pub(super) fn second_round(id: RequestId) -> RequestId {
    RequestId { sequence: id.sequence | SECOND_ROUND, ..id }
}
pub(super) fn first_round(id: RequestId) -> RequestId {
    RequestId { sequence: id.sequence & !SECOND_ROUND, ..id }
}

/// What the handlers of a request see of its coordinator.
pub(super) struct Ring<'a> {
    pub me: NodeId,
    pub process: Process,
    /// The counter of the highest ballot of this coordinator.
    pub ballots: &'a Cell<u64>,
    pub placement: &'a Placement,
    pub alive: &'a Alive,
}

impl<'a> Ring<'a> {
    pub fn of(
        me: NodeId,
        process: Process,
        ballots: &'a Cell<u64>,
        placement: &'a Placement,
        alive: &'a Alive,
    ) -> Ring<'a> {
        Ring { me, process, ballots, placement, alive }
    }
    pub fn replicas(&self) -> Vec<NodeId> {
        self.placement.alive(self.alive, self.me)
    }
    pub fn stand_ins(&self) -> Vec<NodeId> {
        self.placement.alive_stand_ins(self.alive)
    }
    /// How many could answer: a stand-in for each replica that is away.
    pub fn reach(&self, level: Level) -> usize {
        let replicas = self.replicas().len();
        if !level.sloppy {
            return replicas;
        }
        replicas + self.stand_ins().len().min(self.placement.replicas.len() - replicas)
    }
}

impl Request {
    /// Whether nobody waits for it: a write that goes on only to spread. One of a linearizable key keeps its place in line.
    fn is_answered(&self) -> bool {
        self.client.is_none() && !matches!(self.task, Task::Propose(_))
    }
    pub fn reply(&mut self, reply: Reply, out: &mut Vec<Output>) {
        if let Some(client) = self.client.take() {
            out.push(Output::Reply { client, reply });
        }
    }
}

/// One node's coordinator of one shard.
pub struct Coordinator {
    pub(super) me: NodeId,
    pub(super) process: Process,
    limits: Limits,
    pub(super) placement: Placement,
    pub(super) alive: Alive,
    pub(super) requests: BTreeMap<u64, Request>,
    /// Writes among them that are answered, and only go on to bring the other replicas what they lack.
    answered: BTreeSet<u64>,
    /// Bytes in all of them.
    bytes: usize,
    next: u64,
    pub(super) ballots: Cell<u64>,
    pub(super) lines: Lines,
}

impl Coordinator {
    pub fn new(me: NodeId, process: Process, limits: Limits) -> Coordinator {
        Coordinator {
            me,
            process,
            limits,
            placement: Placement::default(),
            alive: Alive::new(),
            requests: BTreeMap::new(),
            answered: BTreeSet::new(),
            bytes: 0,
            next: 0,
            ballots: Cell::new(0),
            lines: Lines::new(),
        }
    }
    /// How many replicas the shard has.
    pub(super) fn replicas(&self) -> usize {
        self.placement.replicas.len()
    }
    /// Who holds the shard now. What a replica acknowledged that is none any more does not count: who took its place has
    /// not heard of it. What began before a barrier may carry what was collected, and ends.
    // bugs: LL-08
    pub fn place(&mut self, placement: Placement, out: &mut Vec<Output>) {
        let is_other_ring = self.placement.ring != placement.ring;
        let fence = placement.barrier.fence;
        let mut ended = Vec::new();
        {
            let ring = Ring::of(self.me, self.process, &self.ballots, &self.placement, &self.alive);
            self.requests.retain(|sequence, request| {
                let goes_on = request.ring >= fence;
                if !goes_on {
                    self.bytes -= request.bytes;
                    self.answered.remove(sequence);
                    request.expire(&ring, out);
                    ended.push((*sequence, request.key.clone()));
                }
                goes_on
            });
        }
        for request in self.requests.values_mut() {
            if is_other_ring {
                // What is on its way names the ring before, and is dropped.
                request.resend_at = Instant::ZERO;
            }
            match &mut request.task {
                Task::Read(read) => read.place(&placement),
                Task::Write(writing) => writing.place(&placement),
                Task::List(listing) => listing.place(&placement),
                Task::Propose(proposing) if is_other_ring => proposing.place(),
                Task::Propose(_) => {}
            }
        }
        self.placement = placement;
        ended.into_iter().for_each(|(sequence, key)| self.leave_line(&key, sequence, out));
    }
    pub fn set_alive(&mut self, alive: Alive) {
        self.alive = alive;
    }
    /// Requests under way, answered ones that still spread among them.
    pub fn under_way(&self) -> usize {
        self.requests.len()
    }

    pub fn write(
        &mut self,
        now: Instant,
        client: u64,
        key: Blob,
        wish: Wish,
        w: Level,
        r: Level,
        out: &mut Vec<Output>,
    ) {
        let task = Task::Write(Writing::new(wish, r, self.limits.conflict));
        let needed = Level { required: w.required.max(1), ..w };
        self.begin(now, client, key, needed, task, out);
    }
    /// `everybody` asks all replicas at once in place of r of them.
    pub fn read(
        &mut self,
        now: Instant,
        client: u64,
        key: Blob,
        r: Level,
        repair: Repair,
        everybody: bool,
        out: &mut Vec<Output>,
    ) {
        let needed = Level { required: r.required.max(1), ..r };
        self.begin(now, client, key, needed, Task::Read(Read::new(repair, everybody)), out);
    }
    /// Asks for the names in the leaves from `first` through `through`, about `count_max` of them. Only replicas count.
    pub fn names(
        &mut self,
        now: Instant,
        client: u64,
        (first, through): (u32, u32),
        count_max: u32,
        r: usize,
        out: &mut Vec<Output>,
    ) {
        self.list(now, client, Question::Names { first, through, count_max }, r, out);
    }
    /// Asks how many keys a reader sees at `now_ms`, ms since 1970, in a range that is no leaf. Only replicas count.
    pub fn count(
        &mut self,
        now: Instant,
        client: u64,
        range: Range,
        now_ms: i64,
        r: usize,
        out: &mut Vec<Output>,
    ) {
        self.list(now, client, Question::Count { range, now_ms }, r, out);
    }
    fn list(&mut self, now: Instant, client: u64, question: Question, r: usize, out: &mut Vec<Output>) {
        let needed = Level { required: r.max(1), sloppy: false };
        self.begin(now, client, Blob::default(), needed, Task::List(Listing::new(question)), out);
    }
    pub(super) fn begin(
        &mut self,
        now: Instant,
        client: u64,
        key: Blob,
        mut level: Level,
        task: Task,
        out: &mut Vec<Output>,
    ) {
        let bytes = key.len()
            + match &task {
                Task::Write(writing) => writing.bytes(),
                Task::Propose(proposing) => proposing.bytes,
                Task::Read(_) | Task::List(_) => 0,
            };
        if plant::is(Bug::CountsStandIns) && !matches!(task, Task::Propose(_)) {
            level.sloppy = true;
        }
        let ring = Ring::of(self.me, self.process, &self.ballots, &self.placement, &self.alive);
        let (reach, required) = (ring.reach(level), level.required);
        let mints = matches!(task, Task::Write(_));
        if reach < required || (mints && ring.replicas().is_empty()) {
            let alive = if reach < required { reach } else { 0 };
            return out.push(Output::Reply { client, reply: Reply::NoQuorum { required, alive } });
        }
        if !self.make_room(bytes) {
            return out.push(Output::Reply { client, reply: Reply::Busy });
        }
        let ring = Ring::of(self.me, self.process, &self.ballots, &self.placement, &self.alive);
        self.next += 1;
        let id = RequestId { origin: self.me, process: self.process, sequence: self.next };
        let mut request = Request {
            client: Some(client),
            id,
            key,
            ring: self.placement.ring,
            level,
            bytes,
            deadline: now + self.limits.timeout,
            resend_at: now + self.limits.resend_after,
            lives: BTreeMap::new(),
            task,
        };
        let is_over = request.start(&ring, out);
        if !is_over {
            self.bytes += bytes;
            self.requests.insert(self.next, request);
            self.line_up(self.next, out);
        }
    }
    /// Makes room for a request of so many bytes: the oldest writes that are answered end. Whoever is away or slow gets the rest by
    /// anti-entropy, and holds up nobody else's requests. False when that is not enough. One that is larger than the bound may go
    /// alone.
    fn make_room(&mut self, bytes: usize) -> bool {
        while self.requests.len() >= self.limits.requests_max
            || (!self.requests.is_empty() && self.bytes + bytes > self.limits.bytes_max)
        {
            let Some(oldest) = self.answered.pop_first() else { return false };
            self.bytes -= self.requests.remove(&oldest).map_or(0, |request| request.bytes);
        }
        true
    }
    pub fn receive(
        &mut self,
        from: NodeId,
        incarnation: Incarnation,
        message: Message,
        out: &mut Vec<Output>,
    ) {
        let id = match &message {
            Message::Minted { request, .. }
            | Message::Applied { request, .. }
            | Message::State { request, .. }
            | Message::Repaired { request, .. }
            | Message::Named { request, .. }
            | Message::Counted { request, .. }
            | Message::Promised { request, .. }
            | Message::Accepted { request, .. }
            | Message::Outbid { request, .. }
            | Message::Refused { request, .. } => *request,
            _ => return,
        };
        if id.origin != self.me || id.process != self.process {
            return;
        }
        let sequence = first_round(id).sequence;
        let Some(request) = self.requests.get_mut(&sequence) else { return };
        let ring = Ring::of(self.me, self.process, &self.ballots, &self.placement, &self.alive);
        if request.receive((from, incarnation), message, &ring, out) {
            self.bytes -= request.bytes;
            self.answered.remove(&sequence);
            if let Some(request) = self.requests.remove(&sequence) {
                self.leave_line(&request.key, sequence, out);
            }
        } else if request.is_answered() {
            self.answered.insert(sequence);
        } else {
            self.line_up(sequence, out);
        }
    }
    pub fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        let ring = Ring::of(self.me, self.process, &self.ballots, &self.placement, &self.alive);
        let mut ended = Vec::new();
        self.requests.retain(|sequence, request| {
            let is_late = now >= request.deadline;
            let mut is_over = is_late;
            if is_late {
                request.expire(&ring, out);
            } else if now >= request.resend_at {
                request.resend_at = now + self.limits.resend_after;
                is_over = request.resend(&ring, out);
            }
            if is_over {
                self.bytes -= request.bytes;
                self.answered.remove(sequence);
                if matches!(request.task, Task::Propose(_)) {
                    ended.push((*sequence, request.key.clone()));
                }
            }
            !is_over
        });
        ended.into_iter().for_each(|(sequence, key)| self.leave_line(&key, sequence, out));
        self.tick_proposals(out);
    }
}

/// Each returns whether the request is over.
impl Request {
    fn start(&mut self, ring: &Ring<'_>, out: &mut Vec<Output>) -> bool {
        match &self.task {
            Task::Read(_) => self.start_read(ring, out),
            Task::Write(_) => self.start_write(ring, out),
            Task::List(_) => self.start_listing(ring, out),
            Task::Propose(_) => self.start_proposing(ring, out),
        }
    }
    fn receive(
        &mut self,
        from: (NodeId, Incarnation),
        message: Message,
        ring: &Ring<'_>,
        out: &mut Vec<Output>,
    ) -> bool {
        if !self.is_of_newest_life(from, &message) {
            return false;
        }
        match &self.task {
            Task::Read(_) => self.receive_read(from, message, out),
            Task::Write(_) => self.receive_write(from, message, ring, out),
            Task::List(_) => self.receive_listing(from.0, message, out),
            Task::Propose(_) => self.receive_proposing(from, message, ring, out),
        }
    }
    fn resend(&mut self, ring: &Ring<'_>, out: &mut Vec<Output>) -> bool {
        match &self.task {
            Task::Read(_) => self.resend_read(ring, out),
            Task::Write(_) => self.resend_write(ring, out),
            Task::List(_) => self.resend_listing(ring, out),
            Task::Propose(_) => self.resend_proposing(ring, out),
        }
    }
    /// Takes in which lives a message tells of. False if another answer has told of a later life of its sender: what a copy that is
    /// gone has acknowledged, those know who have heard of the new one, and the new one perhaps not.
    // bugs: LL-09
    fn is_of_newest_life(&mut self, (from, life): (NodeId, Incarnation), message: &Message) -> bool {
        let told = message.lives().iter().copied().chain([(from, life)]);
        for (node, life) in told {
            let newest = self.lives.entry(node).or_default();
            *newest = (*newest).max(life);
        }
        self.lives.get(&from).is_none_or(|newest| *newest <= life)
    }
    /// The time is over.
    fn expire(&mut self, ring: &Ring<'_>, out: &mut Vec<Output>) {
        match &self.task {
            Task::Read(_) => self.expire_read(out),
            Task::Write(_) => self.expire_write(out),
            Task::List(_) => self.expire_listing(out),
            Task::Propose(_) => self.expire_proposing(ring, out),
        }
    }
}
