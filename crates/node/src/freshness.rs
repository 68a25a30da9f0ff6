//! How old a copy may be, proved without anybody's wall clock.
//!
//! This node asks the group's leader how far the log is committed, at an instant of its own monotonic clock. The leader answers
//! like it answers a read: under a lease that still runs, or after a round that confirmed it. So whatever was acknowledged
//! before the instant of the asking stands at or before the position that it names, and once this copy holds that position
//! it holds all of it. The age of what the copy shows is counted from the asking: however long the answer took, and
//! however differently other clocks run, it is at most that.
//!
//! Nobody asks while nobody reads with a bound.
// catalogue: G1

use crate::forward::{Origin, Outgoing};
use crate::message::Work;
use crate::node::Node;
use crate::reads::POSITION_SINCE_VERSION;
use crate::serve::PATIENCE;
use alloc::vec::Vec;
use core::time::Duration;
use data::{GroupId, Index, Instant, Position};
use protocol::session::has_reached;
use protocol::single_leader::LogWindow;
use wire::Protocol;

/// Questions under way at one time: one more than answers need that come in the order of their asking.
const QUESTIONS_MAX: usize = 2;
/// Answers that this copy has not come to: the oldest is reached first, the newest says most.
const AHEAD_MAX: usize = 4;

/// What a node knows of the age of its copy of one group.
#[derive(Debug, Default)]
pub struct Freshness {
    /// Everything acknowledged before this instant is in the copy.
    complete_at: Option<Instant>,
    /// Where everything acknowledged before an instant ends; the copy has not come so far. Ascending.
    ahead: Vec<(Instant, Position)>,
    /// When the questions under way were asked, ascending.
    asked: Vec<Instant>,
    /// How far the newest answer was.
    told: Index,
}

impl Freshness {
    /// The leader answered the question of `asked_at`; nothing when it did not in time.
    fn answered(&mut self, asked_at: Instant, end: Option<Position>) {
        if let Some(at) = self.asked.iter().position(|asked| *asked == asked_at) {
            self.asked.remove(at);
        }
        let Some(end) = end else { return };
        self.told = end.index;
        let at = self.ahead.partition_point(|(known, _)| *known <= asked_at);
        self.ahead.insert(at, (asked_at, end));
        if self.ahead.len() > AHEAD_MAX {
            // Of those in the middle none says what the others do not.
            self.ahead.remove(1);
        }
    }
    /// The copy has applied so much of its log.
    pub fn advance(&mut self, log: &LogWindow, applied: Index) {
        while let Some((at, _)) = self.ahead.first().filter(|(_, end)| has_reached(log, applied, *end)) {
            self.complete_at = self.complete_at.max(Some(*at));
            self.ahead.remove(0);
        }
    }
    /// Entries that the leader had committed when it was last heard, and that this copy has not applied.
    pub fn missing(&self, applied: Index) -> u64 {
        self.told.0.saturating_sub(applied.0)
    }
    /// Nothing that this copy lacks was acknowledged longer ago than this; nothing when that was never proved.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        self.complete_at.map(|at| now.since(at))
    }
    /// Whether everything acknowledged before `since` is in the copy.
    pub fn is_complete(&self, since: Instant) -> bool {
        self.complete_at.is_some_and(|at| at >= since)
    }
    /// Whether a question that can prove this is under way, answered or not.
    fn is_asked(&self, since: Instant) -> bool {
        self.asked.last().is_some_and(|at| *at >= since)
            || self.ahead.last().is_some_and(|(at, _)| *at >= since)
    }
}

impl Node {
    /// Makes sure that the leader is asked how far the log is committed, not before `since`, unless that is under way.
    pub(crate) fn prove_freshness(&mut self, group: GroupId, since: Instant) {
        let now = self.now.instant;
        let of = |it: &control::map::Group| Some((it.view.keyspace, it.slots.first()?));
        let Some((keyspace, slot)) = self.map.groups.get(&group).and_then(of) else {
            return;
        };
        let leader = self.map.leader_of(group);
        let answers = |version: &u8| *version >= POSITION_SINCE_VERSION;
        if !leader.is_some_and(|leader| self.peers.get(&leader).is_some_and(answers)) {
            return;
        }
        let Some(it) = self.groups.get_mut(&group) else { return };
        let proved = it.freshness.is_complete(since) || it.freshness.is_asked(since);
        if proved || it.freshness.asked.len() >= QUESTIONS_MAX {
            return;
        }
        let origin = Origin::Copy { group, asked_at: now };
        let outgoing = Outgoing::new(keyspace, Protocol::Resp2, Work::Position, origin, Some(now + PATIENCE));
        let outgoing = Outgoing { slot, ..outgoing };
        if self.forwards.add(outgoing).is_ok() {
            it.freshness.asked.push(now);
        }
    }

    /// The leader said how far the log is committed, or nobody did in time.
    pub(crate) fn on_position(&mut self, group: GroupId, asked_at: Instant, end: Option<Position>) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        it.freshness.answered(asked_at, end);
        it.note_applied();
        self.tend_parked(group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use protocol::single_leader::Mark;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }
    fn log(last: u64) -> LogWindow {
        let last = Position::new(3, last);
        LogWindow::new(Mark { position: last, hash: 0 }, vec![Position::new(3, 1)], 0)
    }

    #[test]
    fn an_age_counts_from_the_asking_and_only_once_the_copy_has_come_so_far() {
        let mut copy = Freshness::default();
        assert_eq!((copy.age(at(50)), copy.is_complete(Instant::ZERO)), (None, false));
        copy.asked = vec![at(100), at(110)];
        copy.answered(at(110), Some(Position::new(3, 20)));
        copy.answered(at(100), Some(Position::new(3, 10)));
        copy.advance(&log(9), Index(9));
        assert_eq!(copy.age(at(150)), None, "the answers say only where the copy must come");
        copy.advance(&log(30), Index(12));
        assert_eq!(copy.age(at(150)), Some(Duration::from_millis(50)));
        assert!(copy.is_complete(at(100)) && !copy.is_complete(at(101)));
        copy.advance(&log(30), Index(20));
        assert!(copy.is_complete(at(110)));
        // An old answer that comes late takes nothing back.
        copy.answered(at(90), Some(Position::new(3, 1)));
        copy.advance(&log(30), Index(20));
        assert!(copy.is_complete(at(110)));
    }

    #[test]
    fn an_answer_about_another_branch_proves_nothing() {
        let mut copy = Freshness::default();
        copy.answered(at(100), Some(Position::new(4, 10)));
        copy.advance(&log(30), Index(30));
        assert_eq!(copy.age(at(150)), None);
    }

    #[test]
    fn answers_that_the_copy_never_comes_to_are_few() {
        let mut copy = Freshness::default();
        (1..100).for_each(|n| copy.answered(at(n), Some(Position::new(3, 100 + n))));
        assert_eq!(copy.ahead.len(), AHEAD_MAX);
        assert_eq!(copy.ahead.first().map(|it| it.0), Some(at(1)));
        assert_eq!(copy.ahead.last().map(|it| it.0), Some(at(99)));
        assert!(copy.is_asked(at(99)) && !copy.is_asked(at(100)));
    }
}
