//! Copies of leaderless shards leave the nodes that leave: another node takes the place, one in each shard at a time.

use super::{Action, Supervisor};
use crate::command::Command;
use crate::map::ClusterMap;
use data::Instant;

impl Supervisor {
    pub(super) fn tend_rings(&mut self, now: Instant, map: &ClusterMap) {
        if now.since(self.replaced_at) < self.timings.retry {
            return;
        }
        if let Some(change) = map.next_replacement(&self.advice()) {
            self.replaced_at = now;
            self.actions.push(Action::Propose(Command::ChangeLeaderless(change)));
        }
    }
}
