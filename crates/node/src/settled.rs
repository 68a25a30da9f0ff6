//! Forwarded writes that were answered without writing anything: refused, or answered "nothing" by a condition.
//!
//! The table of answers ([`crate::answers`]) knows only what was written. A second copy of a command that was answered
//! otherwise would be new to it, and might find its condition met by then: the client was told that nothing happened, and it
//! did. This node's memory is enough for its own answers: a forwarder that asks several nodes takes no such answer for
//! certain ([`crate::forwarding`]).
// bugs: SL-25

use alloc::collections::{BTreeSet, VecDeque};
use data::RequestId;

/// So many are remembered, about 5 MB. A guess: a copy that is so many refusals late, within the time that a connection
/// lives, would be executed.
const REQUESTS_MAX: usize = 1 << 16;

#[derive(Debug, Default)]
pub struct Settled {
    requests: BTreeSet<RequestId>,
    in_order: VecDeque<RequestId>,
}

impl Settled {
    pub fn note(&mut self, request: RequestId) {
        if !self.requests.insert(request) {
            return;
        }
        self.in_order.push_back(request);
        if self.in_order.len() > REQUESTS_MAX
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.requests.remove(&oldest);
        }
    }
    pub fn contains(&self, request: RequestId) -> bool {
        self.requests.contains(&request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::{NodeId, Process};

    #[test]
    fn the_newest_are_known_and_the_oldest_go() {
        let request = |sequence| RequestId { origin: NodeId(1), process: Process(2), sequence };
        let mut settled = Settled::default();
        (0..REQUESTS_MAX as u64 + 2).for_each(|sequence| settled.note(request(sequence)));
        settled.note(request(7));
        assert!(!settled.contains(request(1)) && settled.contains(request(2)));
        assert!(settled.contains(request(REQUESTS_MAX as u64 + 1)));
    }
}
