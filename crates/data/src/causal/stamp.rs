//! Hybrid logical clock: wall time that never contradicts causality.
//!
//! Source: Kulkarni, Demirbas, Madappa, Avva, Leone, "Logical Physical Clocks" (OPODIS 2014), with their 48 + 16
//! bits. A stamp orders what is concurrent; what happened before what is told by dots alone (ML-05).

use crate::plant::{self, Bug};
use crate::time::WallInterval;
use core::fmt;

/// Bits of a stamp that count events within a millisecond. Their overflow carries into the next millisecond.
const LOGICAL_BITS: u32 = 16;

/// Milliseconds since 1970 in the upper 48 bits, a logical part below. Ordered as a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(pub u64);

impl Stamp {
    pub fn from_ms(ms: i64) -> Stamp {
        let ms = u64::try_from(ms).unwrap_or(0).min(u64::MAX >> LOGICAL_BITS);
        Stamp(ms << LOGICAL_BITS)
    }
    /// The wall time that the stamp stands for, in milliseconds since 1970.
    pub fn ms(self) -> i64 {
        (self.0 >> LOGICAL_BITS) as i64
    }
    /// The one after this one.
    #[must_use]
    pub fn next(self) -> Stamp {
        Stamp(self.0.saturating_add(1))
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms+{}", self.ms(), self.0 & ((1 << LOGICAL_BITS) - 1))
    }
}

/// A stamp lies further ahead of the wall clock than the bound allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooFarAhead {
    /// Milliseconds beyond the latest wall time that is possible now.
    pub by_ms: i64,
}

impl fmt::Display for TooFarAhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a stamp lies {} ms ahead of the wall clock", self.by_ms)
    }
}
impl core::error::Error for TooFarAhead {}

/// Mints stamps that are greater than all that it minted or observed.
///
/// Invariant: it holds no stamp that was more than the bound ahead when it came. One wild clock therefore cannot make
/// values that nobody can overwrite (LL-02).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HybridClock {
    last: Stamp,
    ahead_ms_max: i64,
}

impl HybridClock {
    /// `last` is the highest stamp that the copy holds, zero when it is empty.
    pub fn new(last: Stamp, ahead_ms_max: i64) -> HybridClock {
        HybridClock { last, ahead_ms_max: ahead_ms_max.max(0) }
    }
    /// The highest stamp minted or observed.
    pub fn last(&self) -> Stamp {
        self.last
    }
    /// Takes note of a stamp that was read or received: later ones lie above it.
    ///
    /// # Errors
    /// When it lies too far ahead; the clock is unchanged and the caller stops listening to where it came from.
    pub fn observe(&mut self, stamp: Stamp, wall: WallInterval) -> Result<(), TooFarAhead> {
        self.check(stamp, wall)?;
        self.last = self.last.max(stamp);
        Ok(())
    }
    /// A stamp for a write of now.
    ///
    /// # Errors
    /// When the wall clock fell behind what was minted or observed by more than the bound: better no write than one
    /// that others refuse.
    pub fn mint(&mut self, wall: WallInterval) -> Result<Stamp, TooFarAhead> {
        self.mint_at(wall.middle_ms(), wall)
    }
    /// The same for a write of another time than the wall clock's.
    ///
    /// # Errors
    /// As of [`HybridClock::mint`].
    pub fn mint_at(&mut self, time_ms: i64, wall: WallInterval) -> Result<Stamp, TooFarAhead> {
        let stamp = match plant::is(Bug::StampsByClock) {
            true => Stamp::from_ms(time_ms),
            false => Stamp::from_ms(time_ms).max(self.last.next()),
        };
        self.check(stamp, wall)?;
        self.last = stamp;
        Ok(stamp)
    }
    fn check(&self, stamp: Stamp, wall: WallInterval) -> Result<(), TooFarAhead> {
        let by_ms = stamp.ms().saturating_sub(wall.latest_ms);
        if by_ms > self.ahead_ms_max { Err(TooFarAhead { by_ms }) } else { Ok(()) }
    }
}
