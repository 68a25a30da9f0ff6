//! Nodes tell each other what their wall clocks show, so that whoever mints stamps can tell that its own is ahead: a site's leader, and
//! a copy of a leaderless shard.

use crate::message::PeerMessage;
use crate::node::Node;
use core::time::Duration;
use data::{Instant, NodeId};
use protocol::clocks::{ClockBounds, Clocks};

/// From one word to the next. A guess: clocks jump rarely, and what was heard goes on by itself.
const TOLD_EVERY: Duration = Duration::from_millis(500);

/// Invariant: `bounds` follow from `clocks` and the map's nodes, and every exchange and every copy of a leaderless shard on this node has them.
#[derive(Default)]
pub(crate) struct ClockWatch {
    clocks: Clocks,
    pub bounds: ClockBounds,
    told_at: Option<Instant>,
}

impl Node {
    /// To everybody once in a while, in a cluster with keyspaces in which times decide.
    pub(crate) fn tell_clock(&mut self) {
        let now = self.now.instant;
        let is_due = self.clocks.told_at.is_none_or(|at| now.since(at) >= TOLD_EVERY);
        if !self.has_mint_times() || !is_due {
            return;
        }
        self.clocks.told_at = Some(now);
        let peers: alloc::vec::Vec<NodeId> = self.peers.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.tell_clock_to(peer));
    }
    /// To a node that has just connected, or as often as to all.
    pub(crate) fn tell_clock_to(&mut self, peer: NodeId) {
        let knows = self.peers.get(&peer).is_some_and(|version| *version >= crate::sites::SINCE_VERSION);
        if knows && self.has_mint_times() {
            let wall_ms = self.now.wall.middle_ms();
            self.send(peer, PeerMessage::Clock { wall_ms });
        }
    }
    fn has_mint_times(&self) -> bool {
        !self.map.multi_leader.is_empty() || !self.map.leaderless.is_empty()
    }
    pub(crate) fn on_clock(&mut self, from: NodeId, wall_ms: i64) {
        self.clocks.clocks.hear(self.now.instant, from, wall_ms);
        self.judge_clock();
    }
    /// A clock was heard, or nodes came and went.
    pub(crate) fn judge_clock(&mut self) {
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
        self.leaderless.hear_clocks(bounds);
    }
}
