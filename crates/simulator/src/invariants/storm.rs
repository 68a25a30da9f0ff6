//! No message breeds more of itself: what happens in a second of virtual time stays within what clients and periods cause.
//!
//! Source: the seeds that never ended. A node that answers each refusal with a whole tail, or a copy that is thrown away
//! and fetched again for ever, breaks no safety property and makes a cluster useless.

use super::Violation;

pub const NAME: &str = "no storm";
/// Ten clients cause about five thousand events a second in a usual run; a joiner that catches up over a link that loses
/// one message in fifty, where a stream loses none, three hundred thousand. A storm has no bound.
const EVENTS_MAX: u64 = 1_000_000;
const WINDOW_NS: u64 = 1_000_000_000;

#[derive(Default)]
pub struct Storm {
    window: u64,
    events: u64,
}

impl Storm {
    pub fn check(&mut self, now: u64) -> Option<Violation> {
        if self.window != now / WINDOW_NS {
            self.window = now / WINDOW_NS;
            self.events = 0;
        }
        self.events += 1;
        let text = || format!("{EVENTS_MAX} events within a second at {} ms", now / 1_000_000);
        (self.events > EVENTS_MAX).then(|| Violation { property: NAME, text: text() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_many_events_in_one_second_and_not_in_many() {
        let mut storm = Storm::default();
        assert!((0..3 * EVENTS_MAX).all(|n| storm.check(n * 1_500).is_none()));
        assert!((0..=EVENTS_MAX).any(|_| storm.check(100 * WINDOW_NS).is_some()));
    }
}
