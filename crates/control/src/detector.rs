//! Who is alive: from the rhythm of heartbeats, and from connections that were reset.
//!
//! The allowed silence follows each node's own rhythm (Jacobson's estimate of mean and deviation, as for TCP's
//! retransmission), within bounds. A reset connection counts as "silent since now" with a short grace, because a killed
//! process resets its connections at once and a restarted link reconnects within milliseconds.

use crate::config::Timings;
use core::time::Duration;
use data::{Instant, NodeId};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug)]
struct Pulse {
    /// Moves on while this process is away.
    heard_at: Instant,
    /// When a heartbeat really came last; `None` before the first.
    beat_at: Option<Instant>,
    /// Estimates in nanoseconds; 0 before the second heartbeat.
    mean: u64,
    deviation: u64,
    /// The silence ends in suspicion here at the latest: set by a reset, cleared by the next heartbeat.
    reset_deadline: Option<Instant>,
    suspected: bool,
}

#[derive(Debug)]
pub(crate) struct Detector {
    timings: Timings,
    pulses: BTreeMap<NodeId, Pulse>,
    looked_at: Instant,
}

impl Detector {
    /// A control leader that begins now has heard nobody yet: all get the longest silence.
    pub fn new(timings: Timings, now: Instant) -> Detector {
        Detector { timings, pulses: BTreeMap::new(), looked_at: now }
    }

    /// A heartbeat. Whether the node had been suspected.
    pub fn heard(&mut self, now: Instant, node: NodeId) -> bool {
        let Some(pulse) = self.pulses.get_mut(&node) else {
            self.insert(now, node);
            if let Some(pulse) = self.pulses.get_mut(&node) {
                pulse.beat_at = Some(now);
            }
            return false;
        };
        pulse.beat_at = Some(now);
        let gap = now.since(pulse.heard_at).as_nanos() as u64;
        if pulse.mean == 0 {
            (pulse.mean, pulse.deviation) = (gap, gap / 2);
        } else {
            pulse.deviation = pulse.deviation - pulse.deviation / 4 + gap.abs_diff(pulse.mean) / 4;
            pulse.mean = pulse.mean - pulse.mean / 8 + gap / 8;
        }
        pulse.heard_at = now;
        pulse.reset_deadline = None;
        std::mem::take(&mut pulse.suspected)
    }

    fn insert(&mut self, now: Instant, node: NodeId) {
        let pulse = Pulse {
            heard_at: now,
            beat_at: None,
            mean: 0,
            deviation: 0,
            reset_deadline: None,
            suspected: false,
        };
        self.pulses.insert(node, pulse);
    }

    /// The connection to the node was reset, here or at a peer that says so; `grace`: how long it may stay silent.
    pub fn reset(&mut self, now: Instant, node: NodeId, grace: Duration) {
        if !self.pulses.contains_key(&node) {
            self.insert(now, node);
        }
        if let Some(pulse) = self.pulses.get_mut(&node) {
            let deadline = now + grace;
            pulse.reset_deadline = Some(pulse.reset_deadline.map_or(deadline, |known| known.min(deadline)));
        }
    }

    /// Takes over what another detector of this node knows about the rhythm and the silence of `node`, but no judgement.
    pub fn inherit(&mut self, other: &Detector, node: NodeId) {
        if let Some(pulse) = other.pulses.get(&node) {
            self.pulses.insert(node, Pulse { suspected: false, ..*pulse });
        }
    }

    pub fn forget(&mut self, node: NodeId) {
        self.pulses.remove(&node);
    }

    /// Looks at the clock; the nodes that became suspect. When this process itself was away, everybody's silence is its
    /// own fault and is forgiven.
    pub fn look(&mut self, now: Instant, nodes: impl Iterator<Item = NodeId>) -> Vec<NodeId> {
        for node in nodes {
            if !self.pulses.contains_key(&node) {
                self.insert(now, node);
            }
        }
        let away = now.since(self.looked_at);
        self.looked_at = now;
        let forgiven = if away > self.timings.reset_grace { away } else { Duration::ZERO };
        let mut fresh = Vec::new();
        for (node, pulse) in &mut self.pulses {
            pulse.heard_at = (pulse.heard_at + forgiven).min(now);
            pulse.reset_deadline = pulse.reset_deadline.map(|deadline| deadline + forgiven);
            let deadline = pulse.heard_at + silence_allowed(pulse, &self.timings);
            let deadline = pulse.reset_deadline.map_or(deadline, |reset| reset.min(deadline));
            if now > deadline && !pulse.suspected {
                pulse.suspected = true;
                fresh.push(*node);
            }
        }
        fresh
    }

    pub fn suspects(&self, node: NodeId) -> bool {
        self.pulses.get(&node).is_some_and(|pulse| pulse.suspected)
    }
    pub fn suspected(&self) -> Vec<NodeId> {
        self.pulses.iter().filter(|(_, pulse)| pulse.suspected).map(|(node, _)| *node).collect()
    }
    /// Whether a heartbeat of the node came within this time, whatever this process did meanwhile.
    pub fn beat_within(&self, now: Instant, node: NodeId, time: Duration) -> bool {
        self.pulses.get(&node).and_then(|pulse| pulse.beat_at).is_some_and(|at| now.since(at) <= time)
    }
    /// How long the node has been silent.
    pub fn silent_for(&self, now: Instant, node: NodeId) -> Duration {
        self.pulses.get(&node).map_or(Duration::ZERO, |pulse| now.since(pulse.heard_at))
    }
}

/// Six beats and six deviations, within the bounds; the factors are guesses that let five lost heartbeats pass.
fn silence_allowed(pulse: &Pulse, timings: &Timings) -> Duration {
    if pulse.mean == 0 {
        return timings.suspicion_max;
    }
    let allowed = Duration::from_nanos(pulse.mean.saturating_mul(6).saturating_add(pulse.deviation * 6));
    allowed.clamp(timings.suspicion_min, timings.suspicion_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);

    fn ms(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }
    /// A detector that heard A every `step` ms from 0 to `until`.
    fn beating(step: u64, until: u64) -> Detector {
        let mut detector = Detector::new(Timings::default(), ms(0));
        for at in (0..=until).step_by(step as usize) {
            detector.heard(ms(at), A);
            detector.look(ms(at), [A].into_iter());
        }
        detector
    }
    fn suspected_at(detector: &mut Detector, from: u64) -> u64 {
        (from..from + 5000)
            .step_by(10)
            .find(|at| !detector.look(ms(*at), [A].into_iter()).is_empty())
            .unwrap()
    }

    #[test]
    fn a_regular_node_is_suspected_at_the_lower_bound() {
        assert_eq!(suspected_at(&mut beating(40, 4000), 4000), 4310);
    }

    #[test]
    fn an_irregular_node_gets_more_time() {
        let mut detector = beating(40, 4000);
        for (at, gap) in [(4200, 0), (4240, 0), (4440, 0), (4480, 0), (4680, 0)] {
            detector.heard(ms(at + gap), A);
        }
        detector.look(ms(4680), [A].into_iter());
        assert!(suspected_at(&mut detector, 4680) > 5100);
    }

    #[test]
    fn a_reset_shortens_the_silence_and_a_heartbeat_ends_it() {
        let mut detector = beating(40, 4000);
        detector.reset(ms(4010), A, Timings::default().reset_grace);
        assert_eq!(suspected_at(&mut detector, 4010), 4080);
        assert!(detector.heard(ms(4090), A));
        assert!(!detector.suspects(A));
    }

    #[test]
    // catalogue: L3
    fn a_pause_of_this_process_is_nobodys_silence() {
        let mut detector = beating(40, 4000);
        assert!(detector.look(ms(9000), [A].into_iter()).is_empty());
        assert_eq!(suspected_at(&mut detector, 9000), 9310);
    }

    /// Silence while this process was away is forgiven, and yet nobody was heard then.
    #[test]
    fn a_beat_is_as_old_as_it_is() {
        let mut detector = beating(50, 1000);
        let moment = Duration::from_millis(150);
        assert!(detector.beat_within(ms(1100), A, moment));
        detector.look(ms(3000), [A].into_iter());
        assert!(detector.silent_for(ms(3000), A) < moment, "forgiven");
        assert!(!detector.beat_within(ms(3000), A, moment));
        assert!(!detector.beat_within(ms(3000), NodeId(9), moment), "never heard");
    }
}
