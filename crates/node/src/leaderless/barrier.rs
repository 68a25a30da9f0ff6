//! Barriers in nodes: who asks for one, and who reports a stage to the map ([`control::LeaderlessChange`]).
// bugs: LL-07, LL-08

use super::ANNOUNCE_EVERY;
use crate::node::Node;
use control::{Command, LeaderlessChange};
use data::leaderless::Stage;
use data::{GroupId, Instant};

/// Between two requests for the same: the map's answer is on its way, or somebody is away. A guess.
const ASK_AGAIN: core::time::Duration = core::time::Duration::from_secs(2);

/// What this node asked the map for last: under which ring, and when.
pub(super) type Asked = Option<(u64, Instant)>;

impl Node {
    /// Once a tick: asks for a barrier when there is something to collect, and to be counted for the stage of one.
    pub(super) fn tend_barrier(&mut self, group: GroupId) {
        let (me, incarnation, now) = (self.config.node, self.config.incarnation, self.now.instant);
        let Some(it) = self.leaderless.shards.get(&group) else { return };
        let ring = it.placement.ring;
        let pause = if it.asked.is_some_and(|(of, _)| of == ring) { ASK_AGAIN } else { ANNOUNCE_EVERY };
        if it.asked.is_some_and(|(_, at)| now.since(at) < pause) {
            return;
        }
        let replica = it.copy.as_ref().map(|copy| &copy.replica);
        let wants = || replica.is_some_and(|replica| replica.wants_barrier(now));
        // Where nothing is held, as on a node that leaves and keeps no hints, nothing can come back either.
        let holds_nothing = !self.leaderless.restored.contains_key(&group) && !it.placement.is_replica(me);
        let has_passed = || replica.map_or(holds_nothing, |replica| replica.has_passed());
        let change = match it.placement.barrier.stage {
            Stage::Idle if wants() => LeaderlessChange::Begin { group, ring },
            Stage::Promise | Stage::Hold if has_passed() => {
                LeaderlessChange::Report { group, ring, node: me, incarnation }
            }
            Stage::Idle | Stage::Promise | Stage::Hold => return,
        };
        // One that somebody is away for would stand still, and every step costs what is under way a moment.
        let begins = matches!(change, LeaderlessChange::Begin { .. });
        let awaited = self.map.awaited_by_barrier(group);
        let is_here = |node: &data::NodeId| *node == me || self.peers.contains_key(node);
        if (begins && !awaited.iter().all(is_here)) || (!begins && !awaited.contains(&me)) {
            return;
        }
        if let Some(it) = self.leaderless.shards.get_mut(&group) {
            it.asked = Some((ring, now));
        }
        self.ask_control(None, Command::ChangeLeaderless(change));
    }
}
