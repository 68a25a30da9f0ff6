//! One node's part in a shard: it holds a copy, mints, applies, answers; or it stands in.

use super::durable::{Durable, Record};
use super::handoff::Flights;
use super::hints::Hint;
use super::message::{Lives, Message, Why};
use super::minted::{Found, Kept};
use super::quorum::{Placement, to_rebuild};
use super::walk::{Tally, Walk};
use crate::clocks::{APART_MS_MAX, ClockBounds, MintTime};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;
use data::causal::{
    Actor, Causal, Context, Entry, HybridClock, KeyState, Minter, Object, Stamp, Step, Unfit, Wish, Write,
};
use data::leaderless::{ConflictPolicy, Stage};
use data::plant::{self, Bug};
use data::rules::Resolvers;
use data::value::Blob;
use data::{GroupId, Incarnation, Instant, NodeId, Now, Process, RequestId};

/// Words that wait for the disk; beyond it they are dropped, and their askers ask again.
const HELD_MAX: usize = 65_536;
/// Ranges of dots that are known to be spread; of what is forgotten more is sent along. A guess: with a few writers there are a few.
const SPREAD_RANGES_MAX: usize = 4096;

/// Which life of which node runs a machine, for which shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Life {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub process: Process,
    pub shard: GroupId,
}

/// What bounds a replica. The numbers of `default` are guesses.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The smallest of the keyspace's w and r and a majority: how many others a lost copy has to walk over follows from it.
    pub quorum: usize,
    /// Of what so many replicas hold every read meets one of them; 1 where reads need not meet writes.
    pub shown_by: usize,
    /// How far ahead of the wall clock a stamp may lie, in ms.
    pub ahead_ms_max: i64,
    pub hint_bytes_max: u64,
    pub hint_age_ms_max: i64,
    /// Hints on their way at a time.
    pub handoff_bytes_max: u64,
    /// After this long without an answer a message is sent again.
    pub resend_after: Duration,
    /// From the end of one walk to the beginning of the next.
    pub walk_every: Duration,
    /// Between two messages of a walk: its intensity.
    pub walk_gap: Duration,
    /// Keys in one message of a walk; a key that is larger travels alone.
    pub part_bytes_max: usize,
    /// What becomes of concurrent writes.
    pub conflict: ConflictPolicy,
    /// Decisions on conflicts that a copy keeps for the inbox.
    pub inbox_bytes_max: u64,
    pub inbox_age_ms_max: i64,
    /// From the end of one barrier, or the start of the process, to the beginning of the next.
    pub barrier_every: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            quorum: 2,
            shown_by: 2,
            ahead_ms_max: 2 * APART_MS_MAX,
            hint_bytes_max: 256 << 20,
            hint_age_ms_max: 3 * 3_600_000,
            handoff_bytes_max: 1 << 20,
            resend_after: Duration::from_millis(500),
            walk_every: Duration::from_secs(10),
            walk_gap: Duration::ZERO,
            part_bytes_max: 256 << 10,
            conflict: ConflictPolicy::Crdt,
            inbox_bytes_max: 16 << 20,
            inbox_age_ms_max: 7 * 24 * 3_600_000,
            barrier_every: Duration::from_secs(100),
        }
    }
}

/// What a replica wants done.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    Send {
        to: NodeId,
        message: Message,
    },
    /// To be written behind all that came before; [`Replica::persisted`] follows when it is durable.
    Persist {
        token: u64,
        record: Record,
    },
    Report(Report),
}

/// What an operator may want to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Report {
    /// A walk over another copy ended, with equal copies or after what differed was exchanged.
    Walked {
        peer: NodeId,
        tally: Tally,
    },
    WalkAbandoned {
        peer: NodeId,
    },
    /// This copy is rebuilt and answers again.
    Ready,
    /// A hint was too old, or there was no room for it: its target will be told.
    HintDropped {
        target: NodeId,
    },
    /// A barrier came to its end: how much of what deletes had left went, and what is still there.
    Collected {
        collected: u64,
        left: u64,
    },
    /// A message was of no use here.
    Dropped(&'static str),
}

/// Invariant: what `durable` holds beyond the disk is in records that were handed out with tokens above `persisted`.
pub struct Replica {
    pub(super) life: Life,
    pub(super) limits: Limits,
    /// The functions of [`ConflictPolicy::Merge`].
    resolvers: Resolvers,
    pub(super) placement: Placement,
    pub(super) alive: BTreeSet<NodeId>,
    pub(super) durable: Durable,
    minter: Minter,
    clock: HybridClock,
    mint_time: MintTime,
    /// Dots that so many copies are known to hold that every read meets one: what follows them need not bring them along.
    spread: Context,
    pub(super) token: u64,
    pub(super) persisted: u64,
    held: VecDeque<(u64, NodeId, Message)>,
    pub(super) flights: Flights,
    pub(super) walk: Option<Walk>,
    pub(super) walks: u64,
    pub(super) walk_at: Instant,
    pub(super) is_paused: bool,
    pub(super) inbox_at: Instant,
    /// Those over whom this life has walked to their end while it was being rebuilt.
    pub(super) rebuilt_from: BTreeSet<NodeId>,
    /// The context that each peer's newest life told last.
    pub(super) known: BTreeMap<NodeId, Context>,
    /// Those over whom walks went from beginning to end under this ring.
    pub(super) walked_over: BTreeSet<NodeId>,
    /// What the disk must hold before the map may count this node for the stage.
    pub(super) passed_at: Option<u64>,
    /// Residue that the last barrier left.
    pub(super) left: u64,
    /// Since when the next barrier is waited for.
    pub(super) begun_at: Option<Instant>,
}

impl Replica {
    /// Goes on with what the disk holds. A copy whose disk was lost or cannot be read to the end comes with another
    /// incarnation and a [`Durable`] that is not ready.
    pub fn new(life: Life, limits: Limits, durable: Durable, out: &mut Vec<Output>) -> Replica {
        let incarnation = match () {
            () if plant::is(Bug::ReusesActor) => Incarnation(1),
            () if plant::is(Bug::ActsAsProcess) => Incarnation(1000 + life.process.0),
            () => life.incarnation,
        };
        let actor = Actor { node: life.node, incarnation, shard: life.shard };
        // No dot leaves before it is durable, so the last one that is durable is the last one that anybody saw.
        let known =
            durable.copy.context().ranges().filter(|range| range.0 == actor).map(|range| range.2).max();
        let last = known.unwrap_or(0).max(durable.given_out);
        let clock = HybridClock::new(durable.copy.newest(), limits.ahead_ms_max);
        let mut replica = Replica {
            life,
            limits,
            resolvers: Resolvers::default(),
            placement: Placement::default(),
            alive: BTreeSet::new(),
            durable,
            minter: Minter::new(actor, last),
            clock,
            mint_time: MintTime::default(),
            spread: Context::new(),
            token: 0,
            persisted: 0,
            held: VecDeque::new(),
            flights: Flights::default(),
            walk: None,
            walks: 0,
            walk_at: Instant::ZERO,
            is_paused: false,
            inbox_at: Instant::ZERO,
            rebuilt_from: BTreeSet::new(),
            known: BTreeMap::new(),
            walked_over: BTreeSet::new(),
            passed_at: None,
            left: 0,
            begun_at: None,
        };
        if plant::is(Bug::ReadsUnrebuilt) {
            replica.durable.is_ready = true;
        }
        replica.step(Step::Abandon, out);
        replica
    }
    pub fn durable(&self) -> &Durable {
        &self.durable
    }
    /// As whom it mints, and the highest counter that it has given out.
    pub fn minted(&self) -> (Actor, u64) {
        (self.minter.actor(), self.minter.last())
    }
    pub fn is_walking(&self) -> bool {
        self.walk.is_some()
    }
    /// Stops walks where they are, or lets them go on.
    pub fn pause(&mut self, paused: bool) {
        self.is_paused = paused;
    }
    /// Who holds the shard now, and how far its barrier has come.
    pub fn place(&mut self, placement: Placement, out: &mut Vec<Output>) {
        let is_other_ring = self.placement.ring != placement.ring;
        self.placement = placement;
        let others = self.others();
        self.known.retain(|peer, _| others.contains(peer));
        // One that is gone owes nothing, and a walk over it is given up when it does not answer.
        let is_replica = self.placement.is_replica(self.life.node);
        self.rebuilt_from.retain(|peer| is_replica && others.contains(peer));
        // What an old map says of a ring that is over, or of its barrier, is over too.
        if is_other_ring && !self.is_ahead_of_map() {
            self.meet_ring(out);
            self.meet_barrier(out);
        }
    }
    /// Nobody may count on this copy in a ring once it has taken part in a later one, after a restart with an old map neither.
    // bugs: LL-18
    fn meet_ring(&mut self, out: &mut Vec<Output>) {
        let is_over = !self.placement.is_replica(self.life.node) && self.durable.holds_copy();
        if is_over && self.durable.ring == 0 {
            // Written by a version that knew no rings: the map may be one from before this node came.
            return;
        }
        if self.placement.ring > self.durable.ring {
            self.persist(Record::Ring { ring: self.placement.ring }, out);
        }
        if is_over {
            self.persist(Record::GivenBack { last: self.minter.last() }, out);
            (self.walk, self.spread) = (None, Context::new());
            self.held.clear();
        }
    }
    /// The keyspace has another w or r.
    pub fn set_quorum(&mut self, quorum: usize, shown_by: usize) {
        self.limits.quorum = quorum;
        if shown_by > self.limits.shown_by {
            self.spread = Context::new();
        }
        self.limits.shown_by = shown_by;
    }
    /// What other nodes' clocks say of this node's.
    pub fn hear_clocks(&mut self, clocks: ClockBounds) {
        self.mint_time.hear(clocks);
    }
    /// So many replicas hold these dots.
    fn note_spread(&mut self, dots: &Context, copies: usize) {
        if copies >= self.limits.shown_by {
            self.spread.merge(dots);
            self.spread.keep_newest(SPREAD_RANGES_MAX);
        }
    }
    /// What becomes of concurrent writes, from the next mint on.
    pub fn set_policy(&mut self, conflict: ConflictPolicy, resolvers: Resolvers) {
        self.limits.conflict = conflict;
        self.resolvers = resolvers;
    }
    /// Who is believed to be alive.
    pub fn set_alive(&mut self, alive: BTreeSet<NodeId>) {
        self.alive = alive;
    }
    /// The disk has everything through this token.
    pub fn persisted(&mut self, token: u64, out: &mut Vec<Output>) {
        self.persisted = self.persisted.max(token);
        while self.held.front().is_some_and(|(token, ..)| *token <= self.persisted) {
            let Some((_, to, message)) = self.held.pop_front() else { return };
            out.push(Output::Send { to, message });
        }
    }
    pub fn tick(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.is_ahead_of_map() {
            return;
        }
        if !self.durable.is_ready && self.others().is_empty() && self.placement.is_replica(self.life.node) {
            // The only copy was on another node, which is gone: there is nobody to be rebuilt from.
            self.persist(Record::Ready, out);
            out.push(Output::Report(Report::Ready));
        }
        self.durable.copy.settle_on();
        self.tick_hints(now, out);
        self.tick_walk(now.instant, out);
        self.tick_inbox(now, out);
        self.tick_barrier(now.instant, out);
    }
    /// `from` and `incarnation` were checked by the cluster.
    pub fn receive(
        &mut self,
        now: Now,
        from: NodeId,
        incarnation: Incarnation,
        message: Message,
        out: &mut Vec<Output>,
    ) {
        if self.is_ahead_of_map() {
            return out
                .push(Output::Report(Report::Dropped("the map is older than what this copy took part in")));
        }
        match message {
            Message::Mint { request, life, key, wish, seen } => {
                let answer = self.mint(now, request, life, key, &wish, seen, out);
                self.say(from, answer, out);
            }
            Message::Apply { request, key, delta, stands_for } => {
                let answer = self.take(now, request, key, *delta, stands_for, out);
                self.say(from, answer, out);
            }
            // Those who ask are not told that there is no answer: of a write that reads first a refusal is the last word on its
            // mint request, and one that comes late would have it minted elsewhere as well.
            // bugs: LL-24
            Message::Read { request, key } => {
                if let Some(mut answer) = self.read(request, &key) {
                    if plant::is(Bug::HidesExpired)
                        && from != self.life.node
                        && let Message::State { state, .. } = &mut answer
                        && !state.held.object.is_shown(now.wall.middle_ms())
                    {
                        **state = Default::default();
                    }
                    self.say(from, answer, out);
                }
            }
            Message::Names { request, first, through, count_max } => {
                let answer = self.tell_names(request, first, through, count_max);
                self.say(from, answer, out);
            }
            Message::Count { request, range, now_ms } => {
                let answer = self.tell_count(request, range, now_ms);
                self.say(from, answer, out);
            }
            Message::Repair { request, key, together } => {
                let is_replica = self.placement.is_replica(self.life.node);
                // As of deltas, nobody may count on it before it is rebuilt.
                if is_replica && self.join(now, key, *together, out).is_ok() && self.durable.is_ready {
                    let answer = Message::Repaired { request, lives: self.lives() };
                    self.say(from, answer, out);
                }
            }
            Message::Prepare { request, key, ballot } => {
                let answer = self.prepare(request, key, ballot, out);
                self.say(from, answer, out);
            }
            Message::Accept { request, key, proposal } => {
                let answer = self.accept(request, key, proposal, out);
                self.say(from, answer, out);
            }
            Message::Spread { dots, copies } => self.note_spread(&dots, copies as usize),
            Message::Handoff { hint, key, delta } => self.accept_hint(now, from, hint, key, *delta, out),
            Message::HandedOff { hint } => self.handed_off(from, hint, out),
            Message::Missed => {
                let others = self.others();
                self.persist(Record::Owes { peers: others }, out);
                self.say(from, Message::MissedNoted, out);
            }
            Message::MissedNoted => {
                if self.durable.hints.missed().contains(&from) {
                    self.persist(Record::Missed { target: from, missed: false }, out);
                }
            }
            Message::WalkBegin { .. }
            | Message::WalkBegun { .. }
            | Message::WalkAsk { .. }
            | Message::WalkSums { .. }
            | Message::WalkSpan { .. }
            | Message::WalkBack { .. } => self.walk_message(now.instant, from, incarnation, message, out),
            Message::Minted { .. }
            | Message::Applied { .. }
            | Message::State { .. }
            | Message::Repaired { .. }
            | Message::Named { .. }
            | Message::Counted { .. }
            | Message::Promised { .. }
            | Message::Accepted { .. }
            | Message::Outbid { .. }
            | Message::Refused { .. } => out.push(Output::Report(Report::Dropped("for a coordinator"))),
        }
    }

    /// Why this node may not answer for the shard.
    pub(super) fn refusal(&self) -> Option<Why> {
        if !self.placement.is_replica(self.life.node) {
            Some(Why::NotReplica)
        } else if !self.durable.is_ready {
            Some(Why::Rebuilding)
        } else {
            None
        }
    }
    fn mint(
        &mut self,
        now: Now,
        request: RequestId,
        life: Incarnation,
        key: Blob,
        wish: &Wish,
        seen: Option<Box<KeyState>>,
        out: &mut Vec<Output>,
    ) -> Message {
        match self.durable.minted.find(request) {
            Found::Kept(Kept::Done(delta, outcome)) => {
                let anew = match plant::is(Bug::JudgesAnew) {
                    true => self.durable.copy.object(&key).and_then(|it| wish.judge(it, 0).ok()),
                    false => None,
                };
                let (delta, outcome) = (Box::new(delta.clone()), anew.unwrap_or(*outcome));
                return Message::Minted { request, delta, outcome, lives: self.lives() };
            }
            Found::Kept(Kept::Declined(unfit)) => {
                return Message::Refused { request, why: unfit.map_or(Why::Declined, Why::Unfit) };
            }
            Found::Forgotten => return Message::Refused { request, why: Why::Forgotten },
            Found::New => {}
        }
        if life != self.life.incarnation {
            return Message::Refused { request, why: Why::Forgotten };
        }
        if let Some(why) = self.refusal() {
            return self.decline(request, why, out);
        }
        if let Some(seen) = seen
            && let Err(why) = self.join(now, key.clone(), *seen, out)
        {
            return self.decline(request, why, out);
        }
        let time_ms = self.mint_time.of(now, self.clock.last().ms()).ok();
        let Some(stamp) = time_ms.and_then(|ms| self.clock.mint_at(ms, self.mint_time.wall(now)).ok()) else {
            return self.decline(request, Why::Clock, out);
        };
        let nothing = Object::default();
        let object = self.durable.copy.object(&key).unwrap_or(&nothing);
        if object.is_linearizable() && !wish.is_about_conflicts() {
            return self.decline(request, Why::Unfit(Unfit::Linearizable), out);
        }
        let mut write = Write::new(&mut self.minter, stamp);
        let (policy, merging) = (self.limits.conflict, self.resolvers.of(&key));
        match wish.mint_under(policy, merging, object, &mut write, now.wall.middle_ms()) {
            Ok((mut delta, outcome)) => {
                if let Some(held) = self.durable.copy.held(&key) {
                    // A write that was acknowledged must be seen where one that it follows never came.
                    held.object.bring_parents(&mut delta, &held.recent, &self.spread);
                }
                self.persist(Record::Mint { request, key, delta: delta.clone(), outcome }, out);
                Message::Minted { request, delta: Box::new(delta), outcome, lives: self.lives() }
            }
            Err(unfit) => self.decline(request, Why::Unfit(unfit), out),
        }
    }
    fn decline(&mut self, request: RequestId, why: Why, out: &mut Vec<Output>) -> Message {
        if !plant::is(Bug::ForgetsDeclined) {
            let unfit = if let Why::Unfit(unfit) = why { Some(unfit) } else { None };
            self.persist(Record::Declined { request, unfit }, out);
        }
        Message::Refused { request, why }
    }
    fn take(
        &mut self,
        now: Now,
        request: RequestId,
        key: Blob,
        delta: Causal<Object>,
        stands_for: Option<(NodeId, u64)>,
        out: &mut Vec<Output>,
    ) -> Message {
        if self.observe(now, delta.newest_stamp()).is_err() {
            return Message::Refused { request, why: Why::Clock };
        }
        let Some((target, ring)) = stands_for else {
            if !self.placement.is_replica(self.life.node) {
                return Message::Refused { request, why: Why::NotReplica };
            }
            if self.durable.copy.object(&key).is_some_and(Object::is_linearizable) {
                // Its minter did not know. Nobody would ever see it: it may not be acknowledged.
                return Message::Refused { request, why: Why::Unfit(Unfit::Linearizable) };
            }
            self.step(Step::Delta { key, delta }, out);
            if !self.durable.is_ready && !plant::is(Bug::CountsAcrossRings) {
                // Nobody may count on it before the others know that it is one of them.
                return Message::Refused { request, why: Why::Rebuilding };
            }
            return Message::Applied { request, stands_for: None, lives: self.lives() };
        };
        let number = self.durable.hints.next();
        let hint = Hint { target, ring, since_ms: now.wall.middle_ms(), key, delta };
        if self.durable.hints.bytes() + hint.bytes() > self.limits.hint_bytes_max {
            self.drop_hint(target, out);
            return Message::Refused { request, why: Why::HintsFull };
        }
        if plant::is(Bug::HintsInMemory) {
            self.durable.apply(&Record::Hint { number, hint });
        } else {
            self.persist(Record::Hint { number, hint }, out);
        }
        Message::Applied { request, stands_for: Some(target), lives: self.lives() }
    }
    fn read(&self, request: RequestId, key: &[u8]) -> Option<Message> {
        match self.refusal().filter(|why| *why != Why::Rebuilding || !plant::is(Bug::CountsAcrossRings)) {
            None => {
                let state = Box::new(self.durable.copy.state(key));
                Some(Message::State { request, state, stand_in: false })
            }
            Some(Why::NotReplica) => {
                // In this stage, what was hinted earlier may be what all replicas know to be deleted.
                let is_held = self.placement.barrier.stage == Stage::Hold;
                let since = if is_held { self.placement.ring } else { 0 };
                let state = Box::new(self.durable.hints.state(key, since));
                Some(Message::State { request, state, stand_in: true })
            }
            Some(_) => None,
        }
    }
    /// Takes over what several copies know of a key.
    fn join(&mut self, now: Now, key: Blob, state: KeyState, out: &mut Vec<Output>) -> Result<(), Why> {
        let newest = state.held.object.newest_write().map(|mark| mark.stamp);
        self.observe(now, newest)?;
        let entry = Entry { key, held: state.held };
        self.step(Step::Key { entry, theirs: state.context }, out);
        Ok(())
    }
    pub(super) fn observe(&mut self, now: Now, stamp: Option<Stamp>) -> Result<(), Why> {
        stamp.map_or(Ok(()), |stamp| {
            self.clock.observe(stamp, self.mint_time.wall(now)).map_err(|_| Why::Clock)
        })
    }
    pub(super) fn observe_copy(&mut self) {
        // What a walk brought was minted by a clock that most agreed with: a newcomer may not refuse what the others hold.
        let newest = self.durable.copy.newest();
        self.clock = HybridClock::new(self.clock.last().max(newest), self.limits.ahead_ms_max);
    }

    /// The other replicas.
    pub(super) fn others(&self) -> BTreeSet<NodeId> {
        self.placement.replicas.iter().copied().filter(|node| *node != self.life.node).collect()
    }
    pub(super) fn persist(&mut self, record: Record, out: &mut Vec<Output>) {
        self.durable.apply(&record);
        self.token += 1;
        out.push(Output::Persist { token: self.token, record });
    }
    pub(super) fn step(&mut self, step: Step, out: &mut Vec<Output>) {
        self.persist(Record::Step(step), out);
    }
    /// Whoever hears it may rely on all that was done here before.
    pub(super) fn say(&mut self, to: NodeId, message: Message, out: &mut Vec<Output>) {
        if self.persisted >= self.token || plant::is(Bug::SpeaksBeforeDurable) {
            out.push(Output::Send { to, message });
        } else if self.held.len() < HELD_MAX {
            self.held.push_back((self.token, to, message));
        } else {
            out.push(Output::Report(Report::Dropped("too much waits for the disk")));
        }
    }
    /// A walk over a peer came to its end.
    pub(super) fn walked(&mut self, peer: NodeId, ring: u64, peer_is_ready: bool, out: &mut Vec<Output>) {
        self.observe_copy();
        let is_of_this_ring = ring == self.placement.ring;
        if is_of_this_ring && peer_is_ready {
            self.walked_over.insert(peer);
        }
        let others = self.others();
        if self.durable.owed.iter().any(|node| *node == peer || !others.contains(node)) {
            let left = |node: &NodeId| *node != peer && others.contains(node);
            let peers = self.durable.owed.iter().copied().filter(left).collect();
            self.persist(Record::Owes { peers }, out);
        }
        let counts = is_of_this_ring || self.placement.barrier.stage == Stage::Idle;
        if !self.durable.is_ready && peer_is_ready && counts {
            self.rebuilt_from.insert(peer);
            if self.rebuilt_from.len() >= to_rebuild(self.placement.replicas.len(), self.limits.quorum) {
                self.promise_nothing(out);
                self.persist(Record::Ready, out);
                out.push(Output::Report(Report::Ready));
            }
        }
        self.settle();
    }
    /// Lets recent dots go that every replica is known to cover.
    pub(super) fn settle(&mut self) {
        let mut stable = self.durable.copy.context().clone();
        for peer in self.others() {
            let Some(known) = self.known.get(&peer) else { return };
            stable = stable.meet(known);
        }
        self.durable.copy.settle(&stable);
    }
    /// A peer told its context. False for a life that another one has followed: its word is too old.
    pub(super) fn note_context(
        &mut self,
        peer: NodeId,
        incarnation: Incarnation,
        context: &Context,
        out: &mut Vec<Output>,
    ) -> bool {
        let newest = self.durable.lives.get(&peer).copied();
        if newest.is_some_and(|newest| incarnation < newest) {
            return false;
        }
        if newest != Some(incarnation) {
            self.persist(Record::Life { peer, incarnation }, out);
        }
        self.known.insert(peer, context.clone());
        true
    }
    pub(super) fn lives(&self) -> Lives {
        self.durable.lives.iter().map(|(node, incarnation)| (*node, *incarnation)).collect()
    }
}
