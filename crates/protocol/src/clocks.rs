//! Whether a node's wall clock may be believed: judged by the clocks of the other nodes of the cluster.
//!
//! A receiver takes nothing whose stamp lies far ahead of its own clock, so a node whose clock jumped ahead would make writes
//! that stay with it, or at its site, until that time has come. Therefore whoever mints compares before: a site's leader, and a
//! copy of a leaderless shard:
//!
//! | of all nodes of the cluster | the one that mints |
//! |---|---|
//! | more than half have a clock that is not far behind its own, itself among them | mints by its wall clock |
//! | half or more have one that is far behind | refuses: its clock is ahead |
//! | too few were heard to tell | mints by the last time that was sure, and goes on from there as monotonic time does |
//!
//! The third row is for a site that is alone since it was started: it serves, and its stamps are late rather than early. What was
//! heard once stays known: another node's clock goes on as this node's monotonic one does. So a wall clock that jumps while
//! its site is cut off is found out as well. No promise but that of times rests on wall clocks: where more than half of
//! them jump together nobody can tell, and receivers hold their writes back as before.
// bugs: ML-05, LL-02

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use data::plant::{self, Bug};
use data::{Instant, NodeId, Now};

/// A clock that is less ahead of another one, in ms, agrees with it. Half of what receivers put up with, so that what two clocks
/// differ by and what one may be ahead fit in together.
pub const APART_MS_MAX: i64 = 30_000;

/// The last word of every other node of its wall clock.
///
/// Invariant: of each node by how many ms its wall clock is ahead of this node's monotonic clock; the difference stays as it is
/// while both run on.
#[derive(Clone, Default, Debug)]
pub struct Clocks {
    heard: BTreeMap<NodeId, i64>,
}

/// What follows from them for this node's own clock: the same difference, of the wall clock that is judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClockBounds {
    /// Up to here most nodes agree.
    sure_through: i64,
    /// Beyond it half of them or more are far behind.
    refused_beyond: i64,
}

/// A single node agrees with itself.
impl Default for ClockBounds {
    fn default() -> ClockBounds {
        ClockBounds { sure_through: i64::MAX, refused_beyond: i64::MAX }
    }
}

/// What may be said of this node's wall clock now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    Sure,
    Unknown,
    /// So many ms ahead of the clocks that decide.
    Ahead {
        by_ms: i64,
    },
}

fn ms(instant: Instant) -> i64 {
    i64::try_from(instant.0 / 1_000_000).unwrap_or(i64::MAX)
}

impl Clocks {
    /// A node said what its wall clock shows. That the message took its time makes the clock look late: a wrong suspicion
    /// ends with the next word.
    pub fn hear(&mut self, now: Instant, node: NodeId, wall_ms: i64) {
        self.heard.insert(node, wall_ms.saturating_sub(ms(now)));
    }
    /// Bounds for the clock of `me` in a cluster of these nodes, itself perhaps among them.
    pub fn bounds(&mut self, me: NodeId, nodes: impl Iterator<Item = NodeId>) -> ClockBounds {
        let others: Vec<NodeId> = nodes.filter(|node| *node != me).collect();
        self.heard.retain(|node, _| others.contains(node));
        let mut heard: Vec<i64> = self.heard.values().copied().collect();
        heard.sort_unstable();
        let count = others.len() + 1;
        // With itself more than half.
        let agreeing = count / 2;
        let sure_through = match agreeing {
            0 => i64::MAX,
            _ => heard.iter().rev().nth(agreeing - 1).map_or(i64::MIN, |it| it.saturating_add(APART_MS_MAX)),
        };
        let behind = count.div_ceil(2);
        let refused_beyond = match others.is_empty() {
            true => i64::MAX,
            false => heard.get(behind - 1).map_or(i64::MAX, |it| it.saturating_add(APART_MS_MAX)),
        };
        ClockBounds { sure_through, refused_beyond }
    }
}

impl ClockBounds {
    pub fn judge(self, now: Now) -> Trust {
        let own = now.wall.middle_ms().saturating_sub(ms(now.instant));
        if own <= self.sure_through || plant::is(Bug::MintsAhead) {
            Trust::Sure
        } else if own > self.refused_beyond {
            let decides = self.refused_beyond.saturating_sub(APART_MS_MAX);
            Trust::Ahead { by_ms: own.saturating_sub(decides) }
        } else {
            Trust::Unknown
        }
    }
}

/// The time of what this node mints, of one shard or site: its wall clock's, as long as that may be believed.
#[derive(Clone, Debug, Default)]
pub struct MintTime {
    bounds: ClockBounds,
    /// When the wall clock was sure last, and what it showed, ms since 1970.
    sure: Option<(Instant, i64)>,
}

impl MintTime {
    pub fn new(bounds: ClockBounds) -> MintTime {
        MintTime { bounds, sure: None }
    }
    pub fn hear(&mut self, bounds: ClockBounds) {
        self.bounds = bounds;
    }
    /// In ms since 1970. `last_ms`: the newest time that was minted or observed, for one that never was sure.
    ///
    /// # Errors
    /// When the wall clock is ahead of most others, by so many ms.
    pub fn of(&mut self, now: Now, last_ms: i64) -> Result<i64, i64> {
        let wall_ms = now.wall.middle_ms();
        let (since, sure_ms) = *self.sure.get_or_insert((now.instant, last_ms));
        match self.bounds.judge(now) {
            Trust::Ahead { by_ms } => Err(by_ms),
            Trust::Sure => {
                self.sure = Some((now.instant, wall_ms));
                Ok(wall_ms)
            }
            Trust::Unknown => {
                let passed = i64::try_from(now.instant.since(since).as_millis()).unwrap_or(i64::MAX);
                Ok(wall_ms.min(sure_ms.saturating_add(passed)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::WallInterval;

    fn now(instant_ms: u64, wall: i64) -> Now {
        Now {
            instant: Instant::from_millis(instant_ms),
            wall: WallInterval { earliest_ms: wall, latest_ms: wall },
        }
    }

    /// A cluster of `count` nodes in which these others, by their distance from the truth in ms, were heard; the own clock is
    /// wrong by `own`.
    fn judged(count: u32, heard: &[i64], own: i64) -> Trust {
        let mut clocks = Clocks::default();
        for (at, off) in heard.iter().enumerate() {
            clocks.hear(Instant::from_millis(5_000), NodeId(at as u32 + 2), 1_000_000 + off);
        }
        let bounds = clocks.bounds(NodeId(1), (1..=count).map(NodeId));
        // A second later.
        bounds.judge(now(6_000, 1_001_000 + own))
    }

    #[test]
    fn most_clocks_decide() {
        const HOUR: i64 = 3_600_000;
        let ahead = Trust::Ahead { by_ms: HOUR };
        // (nodes, heard, own error, verdict)
        for (count, heard, own, verdict) in [
            (1, &[][..], HOUR, Trust::Sure),
            (2, &[0][..], HOUR, ahead),
            (2, &[0][..], 1_000, Trust::Sure),
            (2, &[][..], 0, Trust::Unknown),
            // Who is behind says nothing against the others.
            (3, &[0, -HOUR][..], 0, Trust::Sure),
            (2, &[0][..], -HOUR, Trust::Sure),
            (3, &[0, 0][..], HOUR, ahead),
            (3, &[0, HOUR][..], HOUR, Trust::Sure),
            (3, &[0][..], HOUR, Trust::Unknown),
            (3, &[0][..], 29_000, Trust::Sure),
            (4, &[0, 0][..], HOUR, ahead),
            (9, &[0, 0, 0, 0, 0][..], HOUR, ahead),
            (9, &[0, 0, 0, 0][..], HOUR, Trust::Unknown),
            (9, &[0, 0, 0, 0][..], 0, Trust::Sure),
            (9, &[HOUR, HOUR, HOUR, 0, 0, 0, 0, 0][..], HOUR, ahead),
        ] {
            assert_eq!(judged(count, heard, own), verdict, "{count} nodes, {heard:?}, {own}");
        }
    }

    #[test]
    fn who_left_the_cluster_has_no_say() {
        let mut clocks = Clocks::default();
        for node in 2..=5 {
            clocks.hear(Instant::ZERO, NodeId(node), 0);
        }
        let far = now(0, 3_600_000);
        let trust = clocks.bounds(NodeId(1), (1..=5).map(NodeId)).judge(far);
        assert_eq!(trust, Trust::Ahead { by_ms: 3_600_000 });
        assert_eq!(clocks.bounds(NodeId(1), (1..=1).map(NodeId)).judge(far), Trust::Sure);
    }
}
