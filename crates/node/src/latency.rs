//! Where the time of a write goes: a leader measures one write now and then and splits its time into parts.
//!
//! ```text
//! executed    handed over                     held by as many         the reply
//!    |           |                           followers as needed        goes
//!    |-- queue --|------- leader flush -------|              .            |
//!    |           |-- round trip, with the follower flush in --|-- rest ---|
//! ```
//!
//! The leader's flush and the way to the followers run beside each other, so the total is queue + leader flush + round trip + follower
//! flush + rest - beside, where *beside* is the shorter of the two. Every difference is one of a single node's monotonic clock: the
//! leader asks its electable followers, ahead of the entry, how long that will take with them ([`PeerMessage::LatencyAsk`]), and they
//! answer behind their acknowledgement. The follower that counts is the one whose acknowledgement was the last that was needed. Of
//! one that does not know (a program before message version 5, an entry that came before the question) round trip and flush are told in
//! one part, *follower*; under a rule that waits for nobody there are neither.
//!
//! Left out: which link of a chain is slow. There the follower is the farthest one that the deciding word told of, and what its entry
//! and its word waited for on their way belongs to the round trip.
// catalogue: C17

use crate::group::Group;
use crate::message::PeerMessage;
use crate::node::Node;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;
use data::{GroupId, Index, Instant, KeyspaceId, NodeId, Position};
use protocol::single_leader::{Asked, Replica};

/// Peers of this message version are asked and answer.
pub const SINCE_VERSION: u8 = 5;
/// Between two measured writes of a group. A guess: a hundred questions a second beside many thousand entries are nothing, and a look
/// at the last writes is a second old.
const EVERY: Duration = Duration::from_millis(10);
/// An answer that did not come so long after the reply went is lost. A guess: many round trips.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);
/// What is not committed by then is not measured: its reply went long ago. A guess, beyond the usual time-outs.
const AGE_MAX: Duration = Duration::from_secs(10);
/// Samples that a group keeps for its percentiles.
const KEPT: usize = 100;
/// Samples of a keyspace that percentiles are computed from, however many groups it has: the metrics are made on the node's core.
const SHOWN_MAX: usize = 1000;

/// A part of a write's time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    /// From the command's execution until its entry is handed to log and followers, at the end of the turn.
    Queue,
    /// Until the leader's own log has the entry, at the level that the keyspace asks for.
    LeaderFlush,
    /// To the follower that decided and back, without its flush.
    RoundTrip,
    /// From the entry's arrival there until it is persisted, as that follower counts it.
    FollowerFlush,
    /// Both, of a follower that does not tell.
    Follower,
    /// Until the reply goes, after leader and followers had the entry: the turn's end, or LEVEL applied.
    Rest,
    /// The time in which leader and follower worked beside each other: counted twice above, so it is to be subtracted.
    Beside,
    Total,
}

impl Part {
    pub const ALL: [Part; 8] = [
        Part::Queue,
        Part::LeaderFlush,
        Part::RoundTrip,
        Part::FollowerFlush,
        Part::Follower,
        Part::Rest,
        Part::Beside,
        Part::Total,
    ];
    pub fn name(self) -> &'static str {
        match self {
            Part::Queue => "queue",
            Part::LeaderFlush => "leader-flush",
            Part::RoundTrip => "round-trip",
            Part::FollowerFlush => "follower-flush",
            Part::Follower => "follower",
            Part::Rest => "rest",
            Part::Beside => "beside",
            Part::Total => "total",
        }
    }
}

/// One measured write. A part that it did not have, or that is not known, is `None`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sample([Option<Duration>; Part::ALL.len()]);

impl Sample {
    pub fn part(&self, part: Part) -> Option<Duration> {
        self.0[part as usize]
    }
    fn set(&mut self, part: Part, length: Duration) {
        self.0[part as usize] = Some(length);
    }
}

/// A write under measurement.
#[derive(Debug)]
struct Measure {
    position: Position,
    began: Instant,
    handed: Instant,
    /// The leader's own log has it.
    flushed: Option<Instant>,
    /// As many followers as are needed have it.
    held: Option<Instant>,
    /// The follower whose word was the last needed; `None` if nobody's was, or nobody knows whose.
    decider: Option<NodeId>,
    /// The rule waits for followers.
    waits: bool,
    committed: bool,
    replied: Option<Instant>,
}

impl Measure {
    /// The parts, once the reply has gone. `flush`: as the deciding follower told it.
    fn sample(&self, flush: Option<Duration>) -> Option<Sample> {
        let (flushed, held, replied) = (self.flushed?, self.held?, self.replied?);
        let own = flushed.since(self.handed);
        let mut sample = Sample::default();
        sample.set(Part::Queue, self.handed.since(self.began));
        sample.set(Part::LeaderFlush, own);
        sample.set(Part::Rest, replied.since(flushed.max(held)));
        sample.set(Part::Total, replied.since(self.began));
        if self.waits {
            let way = held.since(self.handed);
            sample.set(Part::Beside, own.min(way));
            match flush {
                Some(flush) => {
                    // Its clock may run faster than the leader's, and nobody believes what it says beyond that.
                    let flush = flush.min(way);
                    sample.set(Part::FollowerFlush, flush);
                    sample.set(Part::RoundTrip, way - flush);
                }
                None => sample.set(Part::Follower, way),
            }
        }
        Some(sample)
    }
}

/// A leader's question, on a follower.
#[derive(Debug)]
struct Question {
    by: NodeId,
    position: Position,
    /// When the entry came.
    arrived: Option<Instant>,
    /// It was here before the question.
    late: bool,
}

/// The measurements of one group on this node: as a leader one write at a time, as a follower one question.
#[derive(Debug, Default)]
pub struct Latency {
    measure: Option<Measure>,
    next_at: Instant,
    /// What followers told of the entry under measurement, each once. Its memory is used again.
    answers: Vec<(NodeId, Option<Duration>)>,
    question: Option<Question>,
    /// The last ones, the newest behind.
    samples: VecDeque<Sample>,
    /// Since the process started: how many, and the sum of their lengths.
    sums: [(u64, Duration); Part::ALL.len()],
}

impl Latency {
    /// Whether a step of the replica is to be looked at.
    pub(crate) fn is_active(&self) -> bool {
        self.measure.is_some() || self.question.is_some()
    }
    /// Whether another write may be measured.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        if self.measure.as_ref().is_some_and(|it| now.since(it.began) >= AGE_MAX) {
            self.measure = None;
        }
        self.measure.is_none() && now >= self.next_at
    }
    fn begin(&mut self, replica: &Replica, position: Position, began: Instant, now: Instant) {
        let waits = replica.waits_for_followers();
        // Nobody is waited for: they hold it at once.
        let held = (!waits).then_some(now);
        self.next_at = now + EVERY;
        self.answers.clear();
        self.measure = Some(Measure {
            position,
            began,
            handed: now,
            flushed: None,
            held,
            decider: None,
            waits,
            committed: false,
            replied: None,
        });
    }
    /// After a step of the replica, on a message of `from` or something else. Returns true once, when the measured entry is committed.
    pub(crate) fn look(&mut self, now: Instant, from: Option<NodeId>, replica: &Replica) -> bool {
        if let Some(question) = &mut self.question
            && question.arrived.is_none()
            && replica.log().last().position.index >= question.position.index
        {
            question.arrived = Some(now);
        }
        let Some(it) = &mut self.measure else { return false };
        if replica.leads() != Some(it.position.epoch) {
            self.measure = None;
            return false;
        }
        let index = it.position.index;
        if it.flushed.is_none() && replica.persisted() >= index {
            it.flushed = Some(now);
        }
        if it.held.is_none() && replica.is_held_by_followers(index) {
            it.held = Some(now);
            it.decider = from.map(|from| replica.told_of(from, index));
        }
        let first = !it.committed && replica.commit() >= index;
        it.committed |= first;
        first
    }
    fn keep(&mut self, sample: Sample) {
        if self.samples.len() == KEPT {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        for (sum, length) in self.sums.iter_mut().zip(sample.0) {
            if let Some(length) = length {
                sum.0 += 1;
                sum.1 = sum.1.saturating_add(length);
            }
        }
    }
    /// The last measured writes, the newest last.
    pub fn samples(&self) -> impl DoubleEndedIterator<Item = &Sample> {
        self.samples.iter()
    }
}

impl Group {
    /// The first write, behind an index, whose reply waits for what its keyspace asks for, and when it was executed.
    fn first_write_behind(&self, before: Index) -> Option<(Index, Instant)> {
        let from = self.waiters.partition_point(|waiter| waiter.index <= before);
        let plain = self.waiters.range(from..).find(|waiter| waiter.write);
        // LEVEL applied. What asked for more or less than its keyspace does would tell of something else.
        let mut asking = self.asking.iter().filter(|it| it.asked == Asked::default());
        let asking = asking.find(|it| it.waiter.write && it.waiter.index > before).map(|it| &it.waiter);
        let first = plain.or(asking)?;
        Some((first.index, first.since))
    }
}

impl Node {
    /// The turn's entries, those behind `before`, were handed over and go out next: one of them is measured, and followers are asked
    /// about it ahead of the entries, so that they know when it comes.
    pub(crate) fn measure(&mut self, group: GroupId, before: Index) {
        let now = self.now.instant;
        let Some(it) = self.groups.get_mut(&group) else { return };
        let Some(epoch) = it.replica.leads() else { return };
        let last = it.replica.log().last().position.index;
        let first = if last > before { it.first_write_behind(before) } else { None };
        let Some((index, began)) = first.filter(|(index, _)| *index <= last) else { return };
        let position = Position { epoch, index };
        it.latency.begin(&it.replica, position, began, now);
        let electable = it.replica.view().map(|view| &view.electable[..]).unwrap_or_default();
        let others = electable.iter().map(|replica| replica.node).filter(|node| *node != self.config.node);
        let asked: Vec<NodeId> = if it.replica.waits_for_followers() { others.collect() } else { Vec::new() };
        for node in asked {
            if self.tells_latency(group, node) {
                self.send(node, PeerMessage::LatencyAsk { group, position });
            }
        }
    }

    fn tells_latency(&self, group: GroupId, node: NodeId) -> bool {
        self.peers.get(&node).is_some_and(|version| *version >= SINCE_VERSION)
            && !self.is_refused(group, node)
    }

    /// A leader measures an entry that comes next.
    pub(crate) fn on_latency_ask(&mut self, group: GroupId, from: NodeId, position: Position) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        let late = it.replica.log().last().position.index >= position.index;
        // By a link it came before the question. One of another history stands in the way, or this copy leads: no answer either.
        it.latency.question = Some(Question { by: from, position, arrived: None, late });
        self.answer_latency(group);
    }

    /// Behind what a step of the replica said: the answer, if the entry that a leader asked about is persisted.
    pub(crate) fn answer_latency(&mut self, group: GroupId) {
        let now = self.now.instant;
        let Some(it) = self.groups.get_mut(&group) else { return };
        let Some(Question { by, position, arrived, late }) = it.latency.question else { return };
        if it.replica.persisted() < position.index && !late {
            return;
        }
        it.latency.question = None;
        if it.replica.log().epoch_at(position.index) != Some(position.epoch) {
            return;
        }
        let micros = arrived.filter(|_| !late).map(|arrived| now.since(arrived).as_micros() as u64);
        self.send(by, PeerMessage::LatencyAnswer { group, position, micros });
    }

    /// A follower tells how long the entry took there.
    pub(crate) fn on_latency_answer(
        &mut self,
        group: GroupId,
        from: NodeId,
        position: Position,
        micros: Option<u64>,
    ) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        let known = it.replica.followers().any(|(node, _)| node == from);
        let latency = &mut it.latency;
        let asked = latency.measure.as_ref().is_some_and(|it| it.position == position);
        if known && asked && !latency.answers.iter().any(|(node, _)| *node == from) {
            latency.answers.push((from, micros.map(Duration::from_micros)));
        }
    }

    /// The end of a turn, in which replies go: measured writes that are wholly known are counted.
    pub(crate) fn end_measurements(&mut self) {
        let mut measured = core::mem::take(&mut self.measured);
        measured.retain(|group| !self.end_measurement(*group));
        self.measured = measured;
    }

    /// Returns true when there is nothing more to learn.
    fn end_measurement(&mut self, group: GroupId) -> bool {
        let now = self.now.instant;
        let tells = |node| self.tells_latency(group, node);
        let decider = self.groups.get(&group).and_then(|it| it.latency.measure.as_ref()?.decider);
        let silent = !decider.is_some_and(tells);
        let Some(it) = self.groups.get_mut(&group) else { return true };
        let patience = Duration::from_millis(u64::from(it.keyspace.settings.patience_ms()));
        let Latency { measure: measuring, answers, .. } = &mut it.latency;
        // Committed under another measurement's name: that one is over.
        let Some(measure) = measuring.as_mut().filter(|it| it.committed) else { return true };
        let index = measure.position.index;
        if measure.replied.is_none() {
            if it.asking.iter().any(|asking| asking.waiter.index == index) {
                return false;
            }
            measure.replied = Some(now);
        }
        let replied = measure.replied.unwrap_or(now);
        if replied.since(measure.began) >= patience {
            // Its client was told INDETERMINATE: this was no wait for a reply.
            *measuring = None;
            return true;
        }
        let answer = answers.iter().find(|(node, _)| Some(*node) == decider);
        if answer.is_none() && !silent && now.since(replied) < ANSWER_PATIENCE {
            return false;
        }
        let sample = measure.sample(answer.and_then(|(_, flush)| *flush));
        *measuring = None;
        sample.into_iter().for_each(|sample| it.latency.keep(sample));
        true
    }

    /// The parts of writes of a keyspace that this node led when they were measured.
    pub fn latency(&self, keyspace: KeyspaceId) -> Figures {
        let groups = || self.groups.values().filter(|it| it.keyspace.id == keyspace);
        let groups_measured = groups().filter(|it| !it.latency.samples.is_empty()).count();
        let each = SHOWN_MAX / groups_measured.max(1);
        let mut figures = Figures::default();
        for it in groups() {
            for (sum, more) in figures.sums.iter_mut().zip(it.latency.sums) {
                *sum = (sum.0 + more.0, sum.1.saturating_add(more.1));
            }
            for sample in it.latency.samples().rev().take(each) {
                for (last, length) in figures.last.iter_mut().zip(sample.0) {
                    last.extend(length);
                }
            }
        }
        figures.last.iter_mut().for_each(|last| last.sort_unstable());
        figures
    }
}

/// What was measured of a keyspace's writes on one node.
#[derive(Clone, Default, Debug)]
pub struct Figures {
    sums: [(u64, Duration); Part::ALL.len()],
    last: [Vec<Duration>; Part::ALL.len()],
}

impl Figures {
    /// Writes that had the part, since the process started, and the sum of its lengths.
    pub fn sum(&self, part: Part) -> (u64, Duration) {
        self.sums[part as usize]
    }
    /// The length that so many percent of the last writes that had the part did not exceed; `None` without any.
    pub fn percentile(&self, part: Part, percent: usize) -> Option<Duration> {
        let last = &self.last[part as usize];
        let rank = (last.len() * percent).div_ceil(100);
        last.get(rank.saturating_sub(1)).copied()
    }
    /// Writes that the percentiles are of.
    pub fn shown(&self) -> usize {
        self.last[Part::Total as usize].len()
    }
}
