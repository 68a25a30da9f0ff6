//! A node's two clocks: a monotonic one that drifts, a wall clock whose interval may lie.

use data::{Instant, Now, WallInterval};

/// Parts per million of true time.
pub const TRUE_RATE: u64 = 1_000_000;
/// Wall time at virtual time 0, ms since 1970.
const EPOCH_MS: i64 = 1_700_000_000_000;

/// What a right wall clock shows.
pub fn true_ms(now: u64) -> i64 {
    EPOCH_MS + (now / 1_000_000) as i64
}

#[derive(Clone, Debug)]
pub struct Clock {
    /// True time at which the rate was set, and what the clock showed then, both ns.
    since: u64,
    shown: u64,
    rate_ppm: u64,
    /// By how much the wall clock is wrong.
    wall_offset_ms: i64,
    /// Half the width of the interval that it claims.
    wall_half_ms: i64,
    /// The wall clock stands still at this true time.
    wall_frozen_at: Option<u64>,
}

impl Clock {
    pub fn new(now: u64, shown: u64) -> Clock {
        Clock {
            since: now,
            shown,
            rate_ppm: TRUE_RATE,
            wall_offset_ms: 0,
            wall_half_ms: 5,
            wall_frozen_at: None,
        }
    }
    pub fn instant(&self, now: u64) -> Instant {
        Instant(self.shown + (now - self.since) * self.rate_ppm / TRUE_RATE)
    }
    pub fn now(&self, now: u64) -> Now {
        let seen = self.wall_frozen_at.unwrap_or(now);
        let wall = true_ms(seen) + self.wall_offset_ms;
        Now {
            instant: self.instant(now),
            wall: WallInterval { earliest_ms: wall - self.wall_half_ms, latest_ms: wall + self.wall_half_ms },
        }
    }
    pub fn set_rate(&mut self, now: u64, rate_ppm: u64) {
        self.shown = self.instant(now).0;
        self.since = now;
        self.rate_ppm = rate_ppm;
    }
    /// The machine starts anew: its monotonic clock begins at `shown`.
    pub fn restart(&mut self, now: u64, shown: u64) {
        self.since = now;
        self.shown = shown;
    }
    /// `half_ms` below the offset makes the interval a lie.
    pub fn set_wall(&mut self, offset_ms: i64, half_ms: i64) {
        self.wall_offset_ms = offset_ms;
        self.wall_half_ms = half_ms;
    }
    pub fn wall_offset_ms(&self) -> i64 {
        self.wall_offset_ms
    }
    pub fn freeze_wall(&mut self, at: Option<u64>) {
        self.wall_frozen_at = at;
    }
    /// True time in which this clock counts `counted` ns.
    pub fn true_length(&self, counted: u64) -> u64 {
        counted * TRUE_RATE / self.rate_ppm.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_counts_more_and_never_goes_back() {
        let mut clock = Clock::new(1_000, 50);
        assert_eq!(clock.instant(2_000).0, 1_050);
        clock.set_rate(2_000, 2 * TRUE_RATE);
        assert_eq!(clock.instant(3_000).0, 3_050);
        assert_eq!(clock.true_length(1_000), 500);
        clock.set_rate(3_000, TRUE_RATE / 2);
        assert_eq!(clock.instant(4_000).0, 3_550);
    }

    #[test]
    fn a_lying_wall_clock_excludes_the_truth() {
        let mut clock = Clock::new(0, 0);
        clock.set_wall(5_000, 1);
        let wall = clock.now(1_000_000_000).wall;
        assert!(wall.earliest_ms > EPOCH_MS + 1_000);
    }
}
