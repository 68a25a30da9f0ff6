//! The end of a run: first only as much is healed as the rules promise to serve with, then all of it; then every key is read.
//!
//! Source: DESIGN, "heal only a minimal core that the mode promises to serve with, and require progress"; the first half is
//! what tells a cluster that survives a failure from one that survives its repair.

use crate::history::{Did, Outcome};
use crate::invariants::{copies, liveness, sites};
use crate::network::MS;
use crate::workload;
use crate::world::World;
use data::NodeId;
use data::keyspace::CommitRule;
use data::leaderless::Stage;
use std::collections::BTreeSet;

/// How long after healing everything may take to be in order.
const LIVENESS_BOUND: u64 = 30_000 * MS;

/// Heals a core that suffices, leaves the others dead or cut off, and requires progress under majority and of in-sync sets, which
/// the others have to leave (bugs: SL-26). `async` promises nothing about who leads: nothing is required before all is healed.
fn serve_with_a_core(world: &mut World) {
    let Some(core) = choose_core(world) else { return };
    world.heal_only(&core);
    let (begin, seen) = (world.now, world.history.len());
    let waiting = |world: &World| {
        let served: BTreeSet<usize> = world.history[seen..]
            .iter()
            // An old copy answers without anybody.
            .filter(|it| it.outcome == Outcome::Ok && it.start > begin && !it.place.from_copy)
            .map(|it| it.keyspace)
            .collect();
        let asked: BTreeSet<usize> = world.clients.iter().map(|client| client.keyspace).collect();
        asked.into_iter().find(|space| !served.contains(space) && promises_service(world, *space))
    };
    while let Some(space) = waiting(world) {
        // A member of the core may come back as another life: it could not prove what it holds, and counts no more.
        if world.invariants.is_broken() || !world.suffices(&core) {
            return;
        }
        if world.now >= begin + LIVENESS_BOUND {
            let name = &world.spaces[space].name;
            let text = format!("keyspace {name} is not served by {core:?}; {}", liveness::known(world));
            return world.invariants.fail(liveness::NAME, text);
        }
        world.replace_failed_disks_of(&core);
        world.run_until(world.now + 2_000 * MS);
        leave_the_others(world, &core);
    }
}

/// Clients that got nothing but errors from a node that is cut off try another one.
fn leave_the_others(world: &mut World, core: &BTreeSet<NodeId>) {
    let strays = |client: &crate::client::Client| {
        client.connection.is_some_and(|(node, _)| !core.contains(&node)) && client.home.is_none()
    };
    let strays: Vec<usize> = (0..world.clients.len()).filter(|at| strays(&world.clients[*at])).collect();
    strays.into_iter().for_each(|client| world.hang_up(client));
}

fn promises_service(world: &World, space: usize) -> bool {
    let Some(map) = world.newest_map() else { return true };
    // Copies of a keyspace that may lose can stand still after a loss, until somebody rebuilds them.
    let durable = world.spaces.get(space).filter(|space| space.durable);
    let keyspace = durable.and_then(|space| map.keyspace_named(&space.name));
    if let Some(it) = keyspace.and_then(|it| map.leaderless.get(&it.id)) {
        return it.policy.n >= 3;
    }
    keyspace
        .is_some_and(|it| it.settings.commit == CommitRule::Majority || it.settings.commit.drops_laggards())
}

/// As few nodes as suffice; `None` when nobody can be left out, or when an operator's work is under way.
fn choose_core(world: &mut World) -> Option<BTreeSet<NodeId>> {
    let mut nodes: Vec<NodeId> = world.hosts.keys().copied().collect();
    let harmed = world.hosts.values().any(|host| host.harm.is_some() || host.lost);
    if harmed || world.operator.waits_for().is_some() {
        return None;
    }
    let mut core: BTreeSet<NodeId> = nodes.iter().copied().collect();
    world.streams.members.shuffle(&mut nodes);
    for id in nodes {
        let rest: BTreeSet<NodeId> = core.iter().copied().filter(|other| *other != id).collect();
        if world.suffices(&rest) {
            core = rest;
        }
    }
    (core.len() < world.hosts.len()).then_some(core)
}

/// A core serves, then everything heals, comes to order, and is read back.
pub fn settle(world: &mut World) {
    serve_with_a_core(world);
    if world.invariants.is_broken() {
        return;
    }
    world.heal();
    // Work goes on for a while: a cluster that is whole again must serve.
    world.run_until(world.now + 3_000 * MS);
    for client in &mut world.clients {
        client.quiet = true;
    }
    let end = world.now + LIVENESS_BOUND;
    let look = |world: &World| {
        liveness::missing(world).or_else(|| copies::missing(world)).or_else(|| sites::missing(world))
    };
    let mut missing = look(world);
    while missing.is_some() && world.now < end && !world.invariants.is_broken() {
        world.replace_failed_disks();
        world.run_until(world.now + 250 * MS);
        missing = look(world);
    }
    if let Some(violation) = missing {
        world.invariants.fail(violation.property, violation.text);
        return;
    }
    world.calm_at = world.now;
    let calm = repairs(world);
    // A request may be on its way to a node that holds no copy of what it asks for.
    world.run_until(world.now + 1_000 * MS);
    let before = repairs(world);
    read_back(world);
    let after = repairs(world);
    // What deletes left is collected by one copy after the other, and what one of them kept comes back to the others until the next time.
    if after.1 == calm.1 && after.0 > before.0 {
        let text = format!("{} copies lacked something that reads found", after.0 - before.0);
        world.invariants.fail(copies::REPAIRED, text);
    }
}

/// How many copies reads have found to lack something so far, and how many barriers have come to their ends or are on the way there.
fn repairs(world: &World) -> (u64, u64) {
    let nodes = world.hosts.values().filter_map(|host| host.node.as_ref());
    let counts = nodes.map(|node| node.leaderless_counts());
    let (stale, barriers) = counts.fold((0, 0), |(stale, ended), it| (stale + it.stale, ended + it.barriers));
    let stages = world.newest_map().map(|map| {
        let shards = map.leaderless_shards().map(|(.., shard)| shard.barrier);
        shards.map(|it| it.number + u64::from(it.stage != Stage::Idle)).sum::<u64>()
    });
    (stale, barriers + stages.unwrap_or(0))
}

/// One read of every key by a fresh client of its keyspace: each must be answered.
fn read_back(world: &mut World) {
    let mut keys: std::collections::BTreeMap<(usize, String), Did> = Default::default();
    for operation in &world.history {
        if workload::read_back(&operation.did, &operation.key).is_some() {
            keys.entry((operation.keyspace, operation.key.clone())).or_insert(operation.did.clone());
        }
    }
    let first = world.clients.len();
    let mut longest = 0;
    for keyspace in 0..world.spaces.len() {
        let mut reads: Vec<(Did, String)> = keys
            .iter()
            .filter(|((of, _), _)| *of == keyspace)
            .map(|((_, key), did)| (did.clone(), key.clone()))
            .collect();
        if world.spaces[keyspace].quorums.is_some() && !world.spaces[keyspace].has_sites {
            reads.extend(workload::anything::keys().map(|key| (Did::Anything, key)));
        }
        reads.reverse();
        longest = longest.max(reads.len());
        world.add_reader(keyspace, reads);
    }
    // Between far sites one read takes a few round trips.
    let end = world.now + LIVENESS_BOUND + longest as u64 * 1_000 * MS;
    while world.now < end
        && !world.invariants.is_broken()
        && world.clients[first..].iter().any(|c| !c.is_done())
    {
        world.run_until(world.now + 50 * MS);
    }
    if world.clients[first..].iter().any(|client| !client.is_done()) {
        world.invariants.fail(liveness::NAME, "keys could not be read back".to_owned());
    }
}
