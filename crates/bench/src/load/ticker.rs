//! The clock of an open loop: wakes the generator's poll and says which operations are due.

use mio::{Poll, Token, Waker};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What is due within so long goes out together. A poll's own time-out is no finer than a millisecond.
const TICK: Duration = Duration::from_micros(500);

pub struct Ticker {
    started: Instant,
    every: Duration,
    given: u32,
    stop: Arc<AtomicBool>,
}

impl Ticker {
    pub fn start(poll: &Poll, token: Token, per_second: u32) -> io::Result<Ticker> {
        let waker = Waker::new(poll.registry(), token)?;
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let started = Instant::now();
        std::thread::spawn(move || {
            let mut next = started;
            while !seen.load(Ordering::Relaxed) && waker.wake().is_ok() {
                next += TICK;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
        Ok(Ticker { started, every: Duration::from_secs(1) / per_second.max(1), given: 0, stop })
    }

    /// When the next operation was due, if that is not later than `now`; each is told once.
    pub fn next_due(&mut self, now: Instant) -> Option<Instant> {
        let due = self.started + self.every * self.given;
        (due <= now).then(|| {
            self.given += 1;
            due
        })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_generator_is_told_of_all_that_was_due() {
        let poll = Poll::new().expect("a poll");
        let mut ticker = Ticker::start(&poll, Token(0), 1000).expect("a ticker");
        let later = ticker.started + Duration::from_micros(3500);
        let due: Vec<Instant> = std::iter::from_fn(|| ticker.next_due(later)).collect();
        let at = |ms| ticker.started + Duration::from_millis(ms);
        assert_eq!(due, [at(0), at(1), at(2), at(3)]);
    }
}
