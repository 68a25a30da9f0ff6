//! Bytes on their way to a peer that is said to be far away, or behind a cut: see [`crate::tryout`].

use super::UNACKNOWLEDGED_MS_MAX;
use crate::tryout::Way;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What lies between this node and one peer, and what is under way there: whole frames, in the order in which they left.
#[derive(Debug, Default)]
pub struct Distance {
    way: Way,
    cut_at: Option<Instant>,
    under_way: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
}

impl Distance {
    /// What is under way arrives as it would have. Behind a cut it waits, as a connection keeps what was not acknowledged.
    pub fn set_way(&mut self, way: Way, now: Instant) {
        self.cut_at = way.is_cut.then(|| self.cut_at.unwrap_or(now));
        self.way = way;
    }
    pub fn is_cut(&self) -> bool {
        self.way.is_cut
    }
    /// Whether the system would have given up the connection by now, for nothing was acknowledged.
    pub fn is_given_up(&self, now: Instant) -> bool {
        let limit = Duration::from_millis(UNACKNOWLEDGED_MS_MAX.into());
        self.cut_at.is_some_and(|at| now.saturating_duration_since(at) >= limit)
    }
    pub fn send(&mut self, bytes: Vec<u8>, now: Instant) {
        self.bytes += bytes.len();
        self.under_way.push_back((now + self.way.delay, bytes));
    }
    /// What is there by now, one piece at a time.
    pub fn arrived(&mut self, now: Instant) -> Option<Vec<u8>> {
        let at = self.next()?;
        if at > now {
            return None;
        }
        let (_, bytes) = self.under_way.pop_front()?;
        self.bytes -= bytes.len();
        Some(bytes)
    }
    /// When the next piece arrives.
    pub fn next(&self) -> Option<Instant> {
        if self.way.is_cut { None } else { self.under_way.front().map(|(at, _)| *at) }
    }
    /// Bytes under way.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    /// The connection is lost, with all that was under way.
    pub fn clear(&mut self) {
        self.under_way.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_is_sent_arrives_later_in_its_order_and_waits_behind_a_cut() {
        let start = Instant::now();
        let mut distance = Distance::default();
        let far = Way { delay: 40 * MS, is_cut: false };
        distance.set_way(far, start);
        distance.send(vec![1; 3], start);
        distance.send(vec![2], start + MS);
        assert_eq!((distance.next(), distance.bytes()), (Some(start + 40 * MS), 4));
        assert_eq!(distance.arrived(start + 39 * MS), None);
        assert_eq!(distance.arrived(start + 40 * MS), Some(vec![1; 3]));
        assert_eq!(distance.arrived(start + 40 * MS), None);
        distance.set_way(Way { is_cut: true, ..far }, start + 40 * MS);
        assert_eq!((distance.next(), distance.arrived(start + 90 * MS)), (None, None));
        assert!(!distance.is_given_up(start + 90 * MS));
        distance.set_way(Way { is_cut: true, ..far }, start + 90 * MS);
        assert!(distance.is_given_up(start + 40 * MS + 10_000 * MS), "the cut began at 40 ms");
        distance.set_way(far, start + 100 * MS);
        assert_eq!(distance.arrived(start + 100 * MS), Some(vec![2]));
        assert_eq!(distance.bytes(), 0);
    }
}
