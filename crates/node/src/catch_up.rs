//! What a copy that lags far behind is sent from disk, snapshots and log, comes at a bounded rate and in small pieces, so that
//! nobody feels it; the log at a higher rate while the follower does not gain on it.
// catalogue: E2, E3, E5

use crate::io::Output;
use crate::node::Node;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use data::{GroupId, Index, Instant, NodeId};

/// The smallest piece, bytes: to be sent, flushed and applied within a fraction of a millisecond.
const PIECE_BYTES_MIN: u64 = 32 << 10;
const PIECE_BYTES_MAX: u64 = 1 << 20;

/// A rate, kept over any time: what was not used is not saved up beyond one large piece.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    spent_at: Instant,
}

impl Budget {
    pub fn new(now: Instant) -> Budget {
        Budget { spent_at: now }
    }
    /// Bytes that may be sent now at this rate per second; none while that would be less than a piece.
    pub fn take(&mut self, now: Instant, per_second: u64, bytes_max: u64) -> Option<u64> {
        let saved = now.since(self.spent_at).as_nanos().min(1_000_000_000) as u64;
        let bytes = (u128::from(saved) * u128::from(per_second) / 1_000_000_000) as u64;
        if bytes < PIECE_BYTES_MIN {
            return None;
        }
        self.spent_at = now;
        Some(bytes.min(PIECE_BYTES_MAX).min(bytes_max))
    }
}

/// How one follower gets on.
#[derive(Debug)]
struct Pace {
    budget: Budget,
    /// Times the usual rate.
    factor: u64,
    /// Entries that it lacked when the last piece was read.
    gap: u64,
}

/// A factor beyond this makes no difference on any machine.
const FACTOR_MAX: u64 = 64;

/// The followers of a group that are served from disk.
#[derive(Debug, Default)]
pub struct CatchUp {
    wanted: BTreeMap<NodeId, (Index, usize)>,
    paces: BTreeMap<NodeId, Pace>,
}

impl CatchUp {
    /// Entries from `from` on are wanted, at most `bytes_max` of them at a time.
    pub fn want(&mut self, to: NodeId, from: Index, bytes_max: usize) {
        self.wanted.insert(to, (from, bytes_max));
    }
    /// Takes what is to be read now, when the log ends at `last`: follower, first entry, bytes.
    fn due(&mut self, now: Instant, last: Index, per_second: u64) -> Vec<(NodeId, Index, usize)> {
        let mut due = Vec::new();
        for (to, (from, bytes_max)) in &self.wanted {
            let first = Pace { budget: Budget::new(Instant::ZERO), factor: 1, gap: u64::MAX };
            let pace = self.paces.entry(*to).or_insert(first);
            let bytes = pace.budget.take(now, per_second.saturating_mul(pace.factor), *bytes_max as u64);
            let Some(bytes) = bytes else { continue };
            let gap = last.0.saturating_sub(from.0);
            pace.factor = if gap >= pace.gap { pace.factor * 2 } else { pace.factor / 2 };
            pace.factor = pace.factor.clamp(1, FACTOR_MAX);
            pace.gap = gap;
            due.push((*to, *from, bytes as usize));
        }
        for (to, _, _) in &due {
            self.wanted.remove(to);
        }
        due
    }
    fn is_idle(&self) -> bool {
        self.wanted.is_empty()
    }
}

impl Node {
    /// Sends what the rate allows by now, of groups that lag.
    pub(crate) fn tend_catch_up(&mut self) {
        let groups: Vec<GroupId> = self.catching_up.iter().copied().collect();
        for group in groups {
            self.ask_for_piece(group);
            let Some(it) = self.groups.get_mut(&group) else {
                self.catching_up.remove(&group);
                continue;
            };
            let last = it.replica.log().last().position.index;
            let per_second = u64::from(self.config.transfer_bytes_per_second);
            for (to, from, bytes_max) in it.catch_up.due(self.now.instant, last, per_second) {
                self.outputs.push(Output::ReadLog { group, to, from, bytes_max });
            }
            if it.catch_up.is_idle() && it.snapshots.transfer.is_none() {
                self.catching_up.remove(&group);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    #[test]
    fn a_budget_gives_the_rate_in_pieces_that_fit_the_pauses() {
        let at = |micros| Instant::ZERO + Duration::from_micros(micros);
        let mut budget = Budget::new(at(0));
        let rate = 32 << 20;
        assert_eq!(budget.take(at(500), rate, u64::MAX), None, "less than a piece");
        assert_eq!(budget.take(at(1000), rate, u64::MAX), Some(33_554));
        assert_eq!(budget.take(at(6000), rate, u64::MAX), Some(167_772), "a longer pause, a larger piece");
        assert_eq!(budget.take(at(7000), rate, 1000), Some(1000), "as much as is wanted");
        assert_eq!(budget.take(at(9_000_000), rate, u64::MAX), Some(PIECE_BYTES_MAX), "nothing is saved up");
    }

    #[test]
    fn the_rate_grows_while_a_follower_does_not_gain_and_shrinks_again() {
        let mut catch_up = CatchUp::default();
        let mut now = Instant::ZERO;
        let mut piece = |from: u64, last: u64| {
            catch_up.want(NodeId(2), Index(from), 1 << 30);
            now = now + Duration::from_millis(1);
            let due = catch_up.due(now, Index(last), 64 << 20);
            assert!(catch_up.is_idle(), "each want is answered once");
            due.first().map(|(_, _, bytes)| (*bytes as u64 * 1000) >> 20)
        };
        assert_eq!(piece(1, 1000), Some(63), "MiB per second at first");
        assert_eq!(piece(100, 1100), Some(63));
        assert_eq!(piece(200, 1300), Some(127), "it was as far behind as before");
        assert_eq!(piece(300, 1500), Some(255), "farther");
        assert_eq!(piece(1000, 1800), Some(511));
        assert_eq!(piece(1200, 1900), Some(255), "nearer");
    }
}
