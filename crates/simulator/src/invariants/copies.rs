//! After all faults have ended and a bound has passed, all copies of a leaderless shard hold the same under the same
//! context, no hint is left, and no copy is still being rebuilt. Contexts name lives of nodes only, and a register has one value of
//! each.
//!
//! Source: DESIGN §9, CATALOGUE L10; bugs: LL-06, LL-12, LL-13, LL-14, LL-16, LL-18, LL-21, ML-15

use super::{Violation, liveness};
use crate::world::World;
use data::NodeId;
use data::causal::{Actor, ShardCopy, Span};
use std::collections::{BTreeMap, BTreeSet};

pub const NAME: &str = "copies of leaderless shards become equal";

/// In calm nobody finds anything to repair (bugs: LL-06, LL-14).
pub const REPAIRED: &str = "repairs end";

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
            if let Some(strange) = strange_actor(world, state.copy).or_else(|| twice(state.copy)) {
                return broken(format!("shard {group}: {of}: {strange}"));
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

/// Only lives of nodes give out dots: else contexts would grow with clients, or runs, for ever (bugs: LL-13).
fn strange_actor(world: &World, copy: &ShardCopy) -> Option<String> {
    let is_known = |actor: &Actor| world.lives.get(&actor.node).is_some_and(|it| actor.incarnation <= *it);
    let mut actors = copy.context().ranges().map(|range| range.0);
    actors.find(|actor| !is_known(actor)).map(|actor| format!("{actor} was never a life of a node"))
}

/// Nobody here writes with a context that was read long ago: each actor has one value beside others at most (bugs: LL-12).
fn twice(copy: &ShardCopy) -> Option<String> {
    let whole = Span { first: 0, last: u64::MAX };
    let is_register = |key: &[u8]| key.starts_with(b"qregister");
    let mut registers = copy.entries(whole).filter(|(_, key, _)| is_register(key));
    registers.find_map(|(_, key, held)| {
        let siblings = held.object.as_text()?.siblings();
        let actors: BTreeSet<Actor> = siblings.iter().map(|(mark, _)| mark.dot.actor).collect();
        let name = String::from_utf8_lossy(key);
        (actors.len() < siblings.len()).then(|| format!("{name} has {} values of {actors:?}", siblings.len()))
    })
}
