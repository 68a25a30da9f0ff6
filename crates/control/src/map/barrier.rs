//! Barriers of leaderless shards: the map counts who has passed a stage, and takes the next step when all have.
//!
//! Each step gives the ring another version, so that nothing that was sent before it is taken in behind it. Why two
//! stages are enough stands in `crates/protocol/src/leaderless/barrier.rs`. Who counts: every replica, in its newest life; and where nodes
//! stand in, or once did, every node that ever ran, for it may keep hints. One that is away holds the barrier up, and nothing else.
// bugs: LL-07, LL-08

use super::ClusterMap;
use super::leaderless::Shard;
use crate::command::{Applied, Refusal};
use data::leaderless::Stage;
use data::{GroupId, Incarnation, NodeId, Process};

impl Shard {
    /// One that is under way comes to no end: the ring is another one.
    pub(super) fn end_barrier(&mut self) {
        self.barrier.stage = Stage::Idle;
        self.reported.clear();
    }
}

impl ClusterMap {
    pub(super) fn begin_barrier(&mut self, group: GroupId, ring: u64) -> Result<Applied, Refusal> {
        let shard = self.shard_mut(group).ok_or(Refusal::UnknownGroup)?;
        if shard.ring != ring || shard.joining.is_some() || shard.barrier.stage != Stage::Idle {
            return Err(Refusal::Outdated);
        }
        shard.barrier.stage = Stage::Promise;
        shard.barrier.number += 1;
        shard.ring += 1;
        shard.reported.clear();
        Ok(Applied::Done)
    }

    pub(super) fn report_barrier(
        &mut self,
        group: GroupId,
        ring: u64,
        by: (NodeId, Incarnation),
    ) -> Result<Applied, Refusal> {
        let is_alive = self.nodes.get(&by.0).is_some_and(|node| node.incarnation == by.1);
        let shard = self.shard_mut(group).ok_or(Refusal::UnknownGroup)?;
        if shard.ring != ring || shard.barrier.stage == Stage::Idle || !is_alive {
            return Err(Refusal::Outdated);
        }
        shard.reported.retain(|(node, _)| *node != by.0);
        shard.reported.push(by);
        self.step_barrier(group);
        Ok(Applied::Done)
    }

    /// A node is gone for good: it may have been the last that a barrier waited for, and nobody else reports twice.
    pub(super) fn step_barriers(&mut self) {
        let shards = self.leaderless.values().flat_map(|it| &it.shards);
        let groups: Vec<GroupId> = shards.map(|shard| shard.group).collect();
        groups.into_iter().for_each(|group| self.step_barrier(group));
    }

    /// The next stage, if everybody has passed the one that a shard's barrier is in.
    fn step_barrier(&mut self, group: GroupId) {
        if !self.awaited_by_barrier(group).is_empty() {
            return;
        }
        let Some(shard) = self.shard_mut(group) else { return };
        match shard.barrier.stage {
            Stage::Idle => return,
            Stage::Promise => shard.barrier.stage = Stage::Hold,
            Stage::Hold => {
                shard.barrier.stage = Stage::Idle;
                shard.barrier.collected = shard.barrier.number;
                shard.barrier.fence = shard.ring;
            }
        }
        shard.ring += 1;
        shard.reported.clear();
    }

    /// Who has not reported for the stage that a shard's barrier is in.
    pub fn awaited_by_barrier(&self, group: GroupId) -> Vec<NodeId> {
        let of = |it: &&super::Leaderless| it.shards.iter().any(|shard| shard.group == group);
        let Some(it) = self.leaderless.values().find(of) else { return Vec::new() };
        let Some(shard) = it.shards.iter().find(|shard| shard.group == group) else { return Vec::new() };
        let counts = |node: &&super::Node| {
            shard.replicas.contains(&node.id) || (it.stood_in && node.process != Process(0))
        };
        let has_passed = |node: &&super::Node| shard.reported.contains(&(node.id, node.incarnation));
        let mut awaited: Vec<NodeId> =
            self.nodes.values().filter(counts).filter(|node| !has_passed(node)).map(|node| node.id).collect();
        // Nobody knows of a node that is not in the map, and its copy counts all the same.
        awaited.extend(shard.replicas.iter().filter(|node| !self.nodes.contains_key(node)));
        awaited
    }
}
