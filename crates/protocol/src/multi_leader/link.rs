//! What a site knows of another one, and how far it has sent its log there.

use super::marks::Marks;
use super::message::Status;
use alloc::collections::{BTreeSet, VecDeque};
use core::time::Duration;
use data::plant::{self, Bug};
use data::{Epoch, Index, Instant, OriginVector, WriteStamp};

/// Each time that all is sent again without success the next time is twice as far away, so often: from 2 s to about a minute.
const RESENDS_DOUBLED_MAX: u32 = 5;

/// How far one side of a link is behind the other.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Lag {
    /// Writes that are committed on the one side and not on the other.
    pub operations: u64,
    /// For how long the oldest of them has been missing, as this site sees it, in ms; no shorter than it is, and longer by one
    /// round of statuses at most.
    pub ms: u64,
}

/// A vector that one side had at some time: when the other has reached it, it was behind by no more than the time since.
#[derive(Clone, Default, Debug)]
struct Goal {
    vector: OriginVector,
    since: Instant,
}

impl Goal {
    /// Remembers the newest vector once the last one is reached.
    fn follow(&mut self, now: Instant, newest: &OriginVector, reached: &OriginVector) {
        if reached.covers(&self.vector) {
            self.vector = newest.clone();
            self.since = now;
        }
    }
    fn lag(&self, now: Instant, newest: &OriginVector, reached: &OriginVector) -> Lag {
        let operations = newest.ahead_of(reached);
        let ms = if operations == 0 { 0 } else { now.since(self.since).as_millis() as u64 };
        Lag { operations, ms }
    }
}

/// A message of writes that is not acknowledged.
#[derive(Debug)]
struct Flight {
    /// The last write of each origin in it.
    last: OriginVector,
    bytes: u64,
    at: Instant,
}

/// Invariant: of each origin, `sent` includes a write only if all before it were sent or are acknowledged; `in_flight_bytes`
/// is the sum of the flights.
#[derive(Debug)]
pub(super) struct Link {
    /// The newest word of the peer.
    pub status: Option<Status>,
    /// When it was last heard. At first the link counts as working: a new leader need not think that everybody is away.
    heard: Instant,
    /// Committed there, as far as its present leader told.
    pub acknowledged: OriginVector,
    sent: OriginVector,
    /// All of the log through this index was sent, or is not for this peer from here.
    cursor: Index,
    /// What was asked of the log begins here.
    fetching: Option<(Index, Instant)>,
    flights: VecDeque<Flight>,
    in_flight_bytes: u64,
    /// How often all of it was sent again since the peer acknowledged something last.
    resends: u32,
    /// The log cannot serve the peer before it has this.
    blocked_by: Option<OriginVector>,
    /// The peer is overdue: it gets what it lacks from here, whoever should have sent it.
    pub is_rescued: bool,
    goal: Goal,
    incoming: Goal,
    /// Bytes that bandwidth allows now; negative after a message that was larger.
    budget: i64,
    refilled: Instant,
    /// This write's time lies too far ahead, by so many ms: nothing of the peer is taken before it is right.
    pub stopped: Option<(WriteStamp, i64)>,
    /// A copy of the peer's state was refused: a time in it lies too far ahead, this many ms since 1970. The next copy would be
    /// refused too as long as that has not come.
    pub copy_ahead: Option<i64>,
    /// A write of this peer found no room.
    pub has_overflowed: bool,
    /// Since when it says that what is lacking here is beyond its log.
    pub beyond_since: Option<Instant>,
}

impl Link {
    pub fn new(now: Instant) -> Link {
        Link {
            status: None,
            heard: now,
            acknowledged: OriginVector::new(),
            sent: OriginVector::new(),
            cursor: Index(0),
            fetching: None,
            flights: VecDeque::new(),
            in_flight_bytes: 0,
            resends: 0,
            blocked_by: None,
            is_rescued: false,
            goal: Goal { vector: OriginVector::new(), since: now },
            incoming: Goal { vector: OriginVector::new(), since: now },
            budget: 0,
            refilled: now,
            stopped: None,
            copy_ahead: None,
            has_overflowed: false,
            beyond_since: None,
        }
    }
    pub fn is_up(&self, now: Instant, dead_after: Duration) -> bool {
        now.since(self.heard) < dead_after
    }
    pub fn hears(&self) -> Option<&BTreeSet<data::SiteId>> {
        self.status.as_ref().map(|status| &status.hears)
    }
    /// The peer's leader; `Epoch(0)` when nothing was heard.
    pub fn epoch(&self) -> Epoch {
        self.status.as_ref().map_or(Epoch(0), |status| status.epoch)
    }
    pub fn is_blocked(&self) -> bool {
        self.blocked_by.is_some()
    }
    pub fn in_flight_bytes(&self) -> u64 {
        self.in_flight_bytes
    }

    /// The peer told where it stands. False for a word that a newer one has overtaken.
    pub fn take_status(&mut self, now: Instant, status: Status, marks: &Marks) -> bool {
        let known = self.status.as_ref().map_or((Epoch(0), 0), |it| (it.epoch, it.number));
        if (status.epoch, status.number) <= known {
            return false;
        }
        self.heard = now;
        if status.epoch > known.0 && !plant::is(Bug::KeepsLostVector) {
            // Another leader: what the old one had proposed, or even committed, may be gone with it.
            self.acknowledged = status.vector.clone();
            // Perhaps it no longer has the write that this one stopped at.
            self.stopped = None;
            self.copy_ahead = None;
            self.resends = 0;
            self.rewind(marks, true);
        } else {
            self.acknowledged.merge(&status.vector);
        }
        while self.flights.front().is_some_and(|flight| self.acknowledged.covers(&flight.last)) {
            let bytes = self.flights.pop_front().map_or(0, |flight| flight.bytes);
            self.in_flight_bytes -= bytes;
            self.resends = 0;
        }
        self.sent.merge(&self.acknowledged);
        if self.blocked_by.as_ref().is_some_and(|vector| self.acknowledged.covers(vector)) {
            self.rewind(marks, false);
        }
        self.status = Some(status);
        true
    }
    /// Goes on from what is acknowledged. With `again`, what is on its way counts for lost.
    pub fn rewind(&mut self, marks: &Marks, again: bool) {
        if again && !plant::is(Bug::ForgetsUnacknowledged) {
            self.sent = self.acknowledged.clone();
            self.flights.clear();
            self.in_flight_bytes = 0;
        }
        self.fetching = None;
        self.blocked_by = None;
        match marks.find(&self.acknowledged) {
            Some(index) => self.cursor = index,
            None => self.blocked_by = Some(marks.oldest().clone()),
        }
    }
    /// Looks after what is late. True when the peer has just become overdue.
    pub fn tick(
        &mut self,
        now: Instant,
        marks: &Marks,
        resend_after: Duration,
        overdue_after: Duration,
    ) -> bool {
        self.goal.follow(now, marks.vector(), &self.acknowledged);
        if let Some(status) = &self.status {
            self.incoming.follow(now, &status.vector, marks.vector());
        }
        // bugs: ML-23. What takes long on a slow link would only take longer if it were sent again and again. A peer that was not
        // heard since is cut off rather than slow.
        let patience = resend_after * (1 << self.resends.min(RESENDS_DOUBLED_MAX));
        let late = self.flights.front().map(|flight| flight.at).filter(|at| now.since(*at) >= patience);
        if let Some(at) = late {
            self.resends += u32::from(self.heard > at);
            self.rewind(marks, true);
        }
        // The driver may have lost the question.
        if self.fetching.is_some_and(|(_, at)| now.since(at) >= resend_after) {
            self.fetching = None;
        }
        let is_overdue = !self.acknowledged.covers(&self.goal.vector)
            && now.since(self.goal.since) >= overdue_after
            && !plant::is(Bug::TakesNoDetour);
        let has_become = is_overdue && !self.is_rescued;
        if has_become {
            self.rewind(marks, false);
        }
        self.is_rescued = is_overdue;
        has_become
    }
    /// Bandwidth since the last time; half a second's worth may be saved up.
    pub fn refill(&mut self, now: Instant, bytes_per_s: Option<u64>) {
        let Some(rate) = bytes_per_s else {
            self.budget = i64::MAX;
            return;
        };
        let ns = now.since(self.refilled).as_nanos() as u64;
        let earned = (u128::from(rate) * u128::from(ns) / 1_000_000_000) as u64;
        if earned > 0 {
            // What is left of a byte's time counts for the next one.
            let paid_ns = u128::from(earned) * 1_000_000_000 / u128::from(rate.max(1));
            self.refilled =
                self.refilled + Duration::from_nanos(u64::try_from(paid_ns).unwrap_or(ns).min(ns));
            let most = i64::try_from(rate / 2).unwrap_or(i64::MAX);
            self.budget = self.budget.saturating_add_unsigned(earned).min(most.max(1));
        }
    }
    pub fn spend(&mut self, bytes: u64) {
        self.budget = self.budget.saturating_sub_unsigned(bytes);
    }
    pub fn may_send(&self) -> bool {
        self.budget > 0
    }
    /// Whether the peer could be sent something that it lacks, or was sent more than bandwidth allowed so far.
    pub fn is_busy(&self, now: Instant, dead_after: Duration, marks: &Marks) -> bool {
        let lacks = !self.is_blocked() && !self.acknowledged.covers(marks.vector());
        self.is_up(now, dead_after) && (lacks || self.budget < 0)
    }

    /// What to ask of the log now: from where, and how many bytes.
    pub fn ask(&mut self, now: Instant, marks: &Marks, window: u64, part: u64) -> Option<(Index, u64)> {
        if self.fetching.is_some() || self.is_blocked() || !self.may_send() || self.cursor >= marks.last() {
            return None;
        }
        if self.sent.covers(marks.vector()) {
            self.cursor = marks.last();
            return None;
        }
        let room = window.saturating_sub(self.in_flight_bytes).min(part);
        if room == 0 {
            return None;
        }
        let from = self.cursor.next();
        self.fetching = Some((from, now));
        Some((from, room))
    }
    /// Whether an answer of the log is the one that is waited for.
    pub fn take_fetched(&mut self, from: Index) -> bool {
        self.fetching.take_if(|(asked, _)| *asked == from).is_some() && self.cursor.next() == from
    }
    pub fn lacks(&self, stamp: WriteStamp) -> bool {
        !self.sent.contains(stamp)
    }
    pub fn has_all(&self, vector: &OriginVector) -> bool {
        self.sent.covers(vector)
    }
    pub fn pass(&mut self, index: Index) {
        self.cursor = self.cursor.max(index);
    }
    /// The log cannot serve the peer from here.
    pub fn block(&mut self, vector: OriginVector) {
        self.blocked_by = Some(vector);
    }
    pub fn send(&mut self, now: Instant, last: OriginVector, bytes: u64) {
        self.sent.merge(&last);
        self.in_flight_bytes += bytes;
        self.spend(bytes);
        self.flights.push_back(Flight { last, bytes, at: now });
    }

    /// How far the peer is behind this site.
    pub fn outgoing(&self, now: Instant, marks: &Marks) -> Lag {
        self.goal.lag(now, marks.vector(), &self.acknowledged)
    }
    /// How far this site is behind the peer.
    pub fn incoming(&self, now: Instant, marks: &Marks) -> Lag {
        let theirs = self.status.as_ref().map(|status| &status.vector);
        theirs.map_or(Lag::default(), |theirs| self.incoming.lag(now, theirs, marks.vector()))
    }
}
