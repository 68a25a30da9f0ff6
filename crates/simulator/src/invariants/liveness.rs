//! After all faults have ended and a bound has passed: every keyspace has a leader that takes writes, replicas are equal,
//! and nobody waits for a reply.
//!
//! Source: DESIGN, "require progress, convergence and drained backlogs within a bound"; bugs: SL-26

use super::Violation;
use crate::host::Harm;
use crate::world::World;
use data::{GroupId, Index, NodeId};
use protocol::single_leader::RoleName;
use std::collections::{BTreeMap, BTreeSet};

pub const NAME: &str = "liveness";

/// What is still missing, if anything is.
pub fn missing(world: &World) -> Option<Violation> {
    if let Some(what) = world.operator.waits_for() {
        return broken(format!("{what}; {}", known(world)));
    }
    let mut leaders = BTreeSet::new();
    let mut states: BTreeMap<_, Vec<(NodeId, Index, Option<u64>)>> = BTreeMap::new();
    let mut held = Vec::new();
    let mut members: BTreeMap<GroupId, i64> = BTreeMap::new();
    for host in world.hosts.values().filter(|host| !host.lost) {
        if host.harm == Some(Harm::Restored) {
            return broken(format!("nobody noticed that the disk of {} went back in time", host.id));
        }
        let Some(node) = &host.node else { return broken(format!("{} does not run", host.id)) };
        if !node.is_ready() {
            return broken(format!("{} is not ready", host.id));
        }
        for view in node.map().views() {
            members.insert(view.group, (view.members.len() + view.read_replicas.len()) as i64);
        }
        for state in node.group_states() {
            if state.replica.role() == RoleName::Leader {
                leaders.insert(state.group);
            }
            if state.waiting > 0 {
                held.push((host.id, state.group, state.waiting));
            }
            // One that went on without entries differs for ever, and says so.
            let hash = state.shortfall.is_whole().then(|| state.table.state_hash());
            states.entry(state.group).or_default().push((host.id, state.applied, hash));
        }
    }
    for (group, members) in members {
        if !leaders.contains(&group) {
            return broken(format!("{group} has no leader"));
        }
        let copies = states.remove(&group).unwrap_or_default();
        let whole = copies.iter().find_map(|(.., hash)| *hash);
        let alike = |hash: &Option<u64>| hash.is_none_or(|hash| Some(hash) == whole);
        let equal = copies.iter().all(|(_, index, hash)| *index == copies[0].1 && alike(hash));
        if (copies.len() as i64) < members || !equal {
            return broken(format!("{group} has not converged: {members} members, {copies:x?}"));
        }
    }
    if held.is_empty() { None } else { broken(format!("replies are held: {held:?}")) }
}

/// What the newest map says, for whoever looks for the reason.
pub fn known(world: &World) -> String {
    let Some(map) = world.newest_map() else { return "no node knows a map".to_owned() };
    let view = |view: &data::view::View| {
        let nodes: Vec<_> = view.electable.iter().map(|replica| replica.node).collect();
        format!(
            "{} {} leader {:?} members {:?} electable {nodes:?} election {:?}",
            view.group,
            view.number,
            view.leader.map(|leader| leader.replica.node),
            view.members,
            view.election
        )
    };
    let ring = |shard: &control::Shard| {
        format!(
            "shard {} ring {} on {:?} joining {:?}",
            shard.group.0, shard.ring, shard.replicas, shard.joining
        )
    };
    let mut views: Vec<String> = map.views().map(view).collect();
    views.extend(map.leaderless_shards().map(|(.., shard)| ring(shard)));
    format!(
        "map {}: voters {:?} outgoing {:?} learners {:?}, {}",
        map.version,
        map.voters,
        map.outgoing,
        map.learners,
        views.join("; ")
    )
}

fn broken(text: String) -> Option<Violation> {
    Some(Violation { property: NAME, text })
}
