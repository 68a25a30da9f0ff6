//! Time as an input. Durations and leases use only the monotonic instant; the wall clock, an interval that is only as
//! good as the machine's synchronisation, stamps entries and expiry. No safety property depends on the wall clock.

use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

/// Nanoseconds of a clock that never goes back and that runs while the machine sleeps. Comparable within one process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Instant(pub u64);

impl Instant {
    pub const ZERO: Instant = Instant(0);

    pub fn from_millis(ms: u64) -> Instant {
        Instant(ms * 1_000_000)
    }
    /// Time since `earlier`, zero when `earlier` lies ahead.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, rhs: Duration) -> Instant {
        Instant(self.0.saturating_add(rhs.as_nanos() as u64))
    }
}
impl Sub<Duration> for Instant {
    type Output = Instant;
    fn sub(self, rhs: Duration) -> Instant {
        Instant(self.0.saturating_sub(rhs.as_nanos() as u64))
    }
}
impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}ms", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// Bounds of the true wall time, in milliseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct WallInterval {
    pub earliest_ms: i64,
    pub latest_ms: i64,
}

impl WallInterval {
    /// The middle of the interval: what a user is shown and what an expiry is judged by.
    pub fn middle_ms(self) -> i64 {
        self.earliest_ms + (self.latest_ms - self.earliest_ms) / 2
    }
}

/// What a machine is told of time with every input.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Now {
    pub instant: Instant,
    pub wall: WallInterval,
}
