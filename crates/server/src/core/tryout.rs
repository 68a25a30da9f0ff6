//! What a cluster to try things out does to this core: it is paused, killed, put far away. Without a [`Tryout`] nothing of it
//! costs more than the question whether there is one.
//!
//! [`Tryout`]: crate::tryout::Tryout

use super::*;
use crate::tryout::Way;

/// A paused node looks so often whether it goes on.
const LOOK_EVERY: Duration = Duration::from_millis(2);

impl Core {
    /// Waits while the node is paused; false once it is killed. Asked between waiting for events and taking them, so that a
    /// paused node takes nothing in and gives nothing away: peers and clients find it as they would find a stopped process.
    pub(super) fn goes_on(&self) -> bool {
        let Some(tryout) = &self.handle.tryout else { return true };
        while tryout.switch.is_paused() && !self.handle.stop.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK_EVERY);
        }
        !tryout.switch.is_killed()
    }

    /// Whether this life ended as a crash does.
    pub fn is_killed(&self) -> bool {
        self.handle.is_killed()
    }

    pub(super) fn way_to(&self, address: &str) -> Way {
        let network = self.handle.tryout.as_ref().map(|tryout| &tryout.network);
        network.map_or(Way::default(), |network| network.way(&self.parts.settings.peer, address))
    }

    /// Tells the links what changed between this node and its peers: before each write to them, so that nothing that a client
    /// asks behind a cut gets through.
    pub(super) fn look_at_network(&mut self) {
        let Some(tryout) = &self.handle.tryout else { return };
        let changes = tryout.network.changes();
        if changes != self.network_seen {
            self.network_seen = changes;
            for link in self.outgoing.values_mut() {
                link.set_way(tryout.network.way(&self.parts.settings.peer, &link.address));
            }
        }
    }

    /// Ends the connections that nobody would keep behind a cut.
    pub(super) fn give_up_cut_links(&mut self) {
        if self.handle.tryout.is_none() {
            return;
        }
        let given_up: Vec<NodeId> =
            self.outgoing.iter().filter(|(_, link)| link.is_given_up()).map(|(node, _)| *node).collect();
        for node in given_up {
            self.lose_outgoing(node);
            self.watch_links();
        }
    }

    /// How long the loop may wait until something arrives at a far peer.
    pub(super) fn until_arrival(&self, wait: Duration) -> Duration {
        if self.handle.tryout.is_none() {
            return wait;
        }
        let next = self.outgoing.values().filter_map(Outgoing::next_arrival).min();
        next.map_or(wait, |next| wait.min(next.saturating_duration_since(Instant::now())))
    }
}
