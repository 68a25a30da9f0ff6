//! After all faults have ended and a bound has passed, all copies of a leaderless shard hold the same under the same
//! context, no hint is left, and no copy is still being rebuilt.
//!
//! Source: DESIGN §9, CATALOGUE L10; bugs: LL-06, LL-16, LL-18

use super::{Violation, liveness};
use crate::world::World;
use data::NodeId;
use std::collections::BTreeMap;

pub const NAME: &str = "copies of leaderless shards become equal";

/// What is still missing, if anything is.
pub fn missing(world: &World) -> Option<Violation> {
    let map = world.newest_map()?;
    let broken = |text: String| {
        Some(Violation { property: NAME, text: format!("{text}; {}", liveness::known(world)) })
    };
    for (_, _, shard) in map.leaderless_shards() {
        if let Some(node) = shard.joining {
            return broken(format!("shard {}: {node} has not joined ring {}", shard.group.0, shard.ring));
        }
        let mut copies = BTreeMap::new();
        for host in world.hosts.values() {
            let Some(node) = &host.node else { continue };
            let Some(state) = node.shard_states().find(|it| it.group == shard.group) else { continue };
            let (of, group) = (host.id, shard.group.0);
            if state.hints > 0 || state.missed > 0 {
                return broken(format!("shard {group}: {of} keeps {} hints", state.hints));
            }
            if state.under_way > 0 {
                return broken(format!("shard {group}: {of} has requests under way"));
            }
            if state.is_replica && !state.is_ready {
                return broken(format!("shard {group}: {of} is not rebuilt"));
            }
            if state.is_replica {
                copies.insert(host.id, state);
            }
        }
        let held: Vec<NodeId> = copies.keys().copied().collect();
        if held.len() != shard.replicas.len() {
            return broken(format!(
                "shard {} shall lie on {:?} and does on {held:?}",
                shard.group.0, shard.replicas
            ));
        }
        let Some((first, state)) = copies.pop_first() else { continue };
        for (other, its) in &copies {
            if its.copy != state.copy || its.copy.tree() != state.copy.tree() {
                return broken(format!(
                    "shard {}: the copies of {first} and {other} differ: {} and {} keys",
                    shard.group.0,
                    state.copy.len(),
                    its.copy.len()
                ));
            }
        }
    }
    None
}
