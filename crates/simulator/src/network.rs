//! The network between nodes: one connection per pair, over two links with their own delays and faults.
//!
//! A message belongs to the connection it was sent on: it never arrives after that was reset, as with any stream. Within
//! a connection the kinds `loss`, `duplicate` and `reorder` are harsher than a stream could be: nothing may depend on it.

use crate::random::Random;
use crate::sites::Sites;
use data::NodeId;
use std::collections::{BTreeMap, BTreeSet};

pub const MS: u64 = 1_000_000;

/// How messages travel over one link, one way.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    pub delay: u64,
    pub jitter: u64,
    pub loss_permille: u64,
    pub duplicate_permille: u64,
    pub reorder: bool,
}

#[derive(Clone, Copy, Default, Debug)]
pub struct Connection {
    /// Grows with every reset.
    pub number: u64,
    pub up: bool,
    /// The message version that both ends speak.
    pub version: u8,
    /// Somebody tries to connect again.
    pub trying: bool,
}

pub struct Network {
    pub quality: Quality,
    pub sites: Sites,
    /// Extra one-way delay of slow links.
    pub slow: BTreeMap<(NodeId, NodeId), u64>,
    pub cut: BTreeSet<(NodeId, NodeId)>,
    /// Links that hold back everything until the given time.
    pub clogged: BTreeMap<(NodeId, NodeId), u64>,
    connections: BTreeMap<(NodeId, NodeId), Connection>,
    /// Last arrival per link: streams keep their order.
    arrivals: BTreeMap<(NodeId, NodeId), u64>,
}

fn pair(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}

impl Network {
    pub fn new(quality: Quality, sites: Sites) -> Network {
        Network {
            quality,
            sites,
            slow: BTreeMap::new(),
            cut: BTreeSet::new(),
            clogged: BTreeMap::new(),
            connections: BTreeMap::new(),
            arrivals: BTreeMap::new(),
        }
    }
    pub fn connection(&mut self, a: NodeId, b: NodeId) -> &mut Connection {
        self.connections.entry(pair(a, b)).or_default()
    }
    /// Whether a connection could be made now: both ways are open.
    pub fn passable(&self, a: NodeId, b: NodeId) -> bool {
        !self.cut.contains(&(a, b)) && !self.cut.contains(&(b, a))
    }
    pub fn heal(&mut self) {
        self.cut.clear();
        self.clogged.clear();
        self.slow.clear();
        self.quality.loss_permille = 0;
        self.quality.duplicate_permille = 0;
        self.quality.reorder = false;
    }

    /// When a message sent now arrives: never, once, or twice.
    pub fn travel(&mut self, now: u64, from: NodeId, to: NodeId, random: &mut Random) -> [Option<u64>; 2] {
        let quality = self.quality;
        let roll = random.draw();
        if self.cut.contains(&(from, to)) || roll % 1000 < quality.loss_permille {
            return [None, None];
        }
        let spread = random.below(quality.jitter + 1);
        // One message in fifty is much later than the others.
        let tail = if (roll >> 20).is_multiple_of(50) { quality.jitter * 4 } else { 0 };
        let delay = self.sites.distance(from, to).unwrap_or(quality.delay);
        let mut at = now + delay + spread + tail + self.slow.get(&(from, to)).copied().unwrap_or(0);
        if let Some(open) = self.clogged.get(&(from, to)) {
            at = at.max(*open);
        }
        // One message in thirty overtakes or is overtaken.
        if !(quality.reorder && (roll >> 40).is_multiple_of(30)) {
            let last = self.arrivals.entry((from, to)).or_default();
            at = at.max(*last);
            *last = at;
        }
        let again = (roll >> 32) % 1000 < quality.duplicate_permille;
        [Some(at), again.then(|| at + random.below(quality.jitter * 10 + MS))]
    }
    /// A reset connection forgets what was on its way.
    pub fn reset(&mut self, a: NodeId, b: NodeId) {
        self.arrivals.remove(&(a, b));
        self.arrivals.remove(&(b, a));
        let connection = self.connection(a, b);
        connection.number += 1;
        connection.up = false;
    }
}
