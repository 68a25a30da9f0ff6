//! Whoever is heard is not suspected: that another cannot reach a node is hearsay, and holds no election while the control leader
//! hears it.
//!
//! Source: Alfatafta and others, "Toward a Generic Fault Tolerance Technique for Partial Network Partitioning" (2020); DESIGN,
//! control plane. bugs: X-03

use super::Violation;
use data::NodeId;
use std::collections::BTreeMap;

pub const NAME: &str = "whoever is heard is not suspected";
/// One of which only another says that it cannot be reached is suspected after 120 ms of silence; heartbeats come every 40 ms. Between
/// lie the rates of clocks and a tick.
const SILENCE: u64 = 65_000_000;
/// A lost connection is a reason of its own for so long: what arrives meanwhile may wait for the disk before it is looked at.
const RESET: u64 = 500_000_000;

#[derive(Default)]
pub struct Suspicion {
    /// When a heartbeat reached a node, by sender.
    heard: BTreeMap<(NodeId, NodeId), u64>,
    /// When the node lost its connection to the other.
    lost: BTreeMap<(NodeId, NodeId), u64>,
}

impl Suspicion {
    pub fn heard(&mut self, now: u64, at: NodeId, from: NodeId) {
        self.heard.insert((at, from), now);
    }
    pub fn lost(&mut self, now: u64, at: NodeId, peer: NodeId) {
        self.lost.insert((at, peer), now);
    }

    /// The control leader at `at` suspects a node.
    pub fn check(&self, now: u64, at: NodeId, event: &str) -> Option<Violation> {
        let number = event.strip_prefix("Suspected(n")?.strip_suffix(')')?;
        let pair = (at, NodeId(number.parse().ok()?));
        let heard = *self.heard.get(&pair)?;
        let lost = self.lost.get(&pair).is_some_and(|lost| now - lost < RESET);
        let text = || format!("{at} heard {} {} ms ago", pair.1, (now - heard) / 1_000_000);
        (!lost && now - heard < SILENCE).then(|| Violation { property: NAME, text: text() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_and_a_lost_connection_are_reasons_and_hearsay_is_none() {
        let (a, b) = (NodeId(1), NodeId(2));
        let mut it = Suspicion::default();
        it.heard(1_000_000_000, a, b);
        assert!(it.check(1_010_000_000, a, "Suspected(n2)").is_some());
        assert!(it.check(1_010_000_000, a, "Suspected(n3)").is_none(), "never heard");
        assert!(it.check(1_200_000_000, a, "Suspected(n2)").is_none(), "silent for long");
        it.lost(1_005_000_000, a, b);
        assert!(it.check(1_010_000_000, a, "Suspected(n2)").is_none(), "reset");
    }
}
