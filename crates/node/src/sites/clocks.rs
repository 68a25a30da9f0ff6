//! Nodes tell each other what their wall clocks show, so that a leader of a site can tell that its own is ahead.

use crate::message::PeerMessage;
use crate::node::Node;
use core::time::Duration;
use data::{Instant, NodeId};
use protocol::multi_leader::{ClockBounds, Clocks};

/// From one word to the next. A guess: clocks jump rarely, and what was heard goes on by itself.
const TOLD_EVERY: Duration = Duration::from_millis(500);

/// Invariant: `bounds` follow from `clocks` and the map's nodes, and every exchange on this node has them.
#[derive(Default)]
pub(crate) struct ClockWatch {
    clocks: Clocks,
    pub bounds: ClockBounds,
    told_at: Option<Instant>,
}

impl Node {
    /// To everybody once in a while, in a cluster with multi-leader keyspaces.
    pub(crate) fn tell_clock(&mut self) {
        let now = self.now.instant;
        let is_due = self.clocks.told_at.is_none_or(|at| now.since(at) >= TOLD_EVERY);
        if self.map.multi_leader.is_empty() || !is_due {
            return;
        }
        self.clocks.told_at = Some(now);
        let peers: alloc::vec::Vec<NodeId> = self.peers.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.tell_clock_to(peer));
    }
    /// To a node that has just connected, or as often as to all.
    pub(crate) fn tell_clock_to(&mut self, peer: NodeId) {
        let knows = self.peers.get(&peer).is_some_and(|version| *version >= super::SINCE_VERSION);
        if knows && !self.map.multi_leader.is_empty() {
            let wall_ms = self.now.wall.middle_ms();
            self.send(peer, PeerMessage::Clock { wall_ms });
        }
    }
    pub(crate) fn on_clock(&mut self, from: NodeId, wall_ms: i64) {
        self.clocks.clocks.hear(self.now.instant, from, wall_ms);
        self.judge_clock();
    }
    /// A clock was heard, or nodes came and went.
    pub(super) fn judge_clock(&mut self) {
        let nodes = self.map.nodes.keys().copied();
        let bounds = self.clocks.clocks.bounds(self.config.node, nodes);
        if bounds == self.clocks.bounds {
            return;
        }
        self.clocks.bounds = bounds;
        for it in self.groups.values_mut() {
            if let Some(exchange) = it.site.as_mut().and_then(|site| site.exchange.as_mut()) {
                exchange.hear_clocks(bounds);
            }
        }
    }
}
