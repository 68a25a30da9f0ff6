//! Random worlds: whatever happens to nodes, disks, clocks and network, the laws hold, and calm brings everybody together.
// catalogue: C1, C14, C20
// bugs: SL-01, SL-03, SL-04, SL-06, SL-07, SL-11, SL-15, SL-16, SL-17, SL-19, SL-20, SL-22, SL-26

use crate::rig::world::{Plan, World};
use data::keyspace::CommitRule;

/// How many seeds each plan is run with; `PROTOCOL_SEEDS` asks for more, `PROTOCOL_SEED` for one with its story.
const SEEDS: u64 = 200;

fn run(plan: Plan) {
    // Tests are no part of the pure crate: these knobs choose how much is run.
    #[allow(clippy::disallowed_methods)]
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let one = number("PROTOCOL_SEED");
    let seeds = one.map_or(0..number("PROTOCOL_SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    let (mut elections, mut reads, mut acknowledged) = (0, 0, 0);
    for seed in seeds {
        let mut world = World::new(seed, plan);
        world.verbose = one.is_some();
        world.run(4_000);
        world.heal();
        if let Some(violation) = &world.check.violation {
            panic!("{plan:?} seed {seed}: {violation}\n{}", world.log.join("\n"));
        }
        elections += world.elections;
        reads += world.check.reads;
        acknowledged += world.check.acknowledged().0;
    }
    // A run in which nothing happens proves nothing.
    assert!(elections > 0 && (plan.rule == CommitRule::Async || (reads > 0 && acknowledged > 0)));
}

#[test]
fn majority_of_three() {
    run(Plan::new(CommitRule::Majority, 3));
}
#[test]
fn majority_of_five() {
    run(Plan::new(CommitRule::Majority, 5));
}
#[test]
fn in_sync_set_of_at_least_one() {
    run(Plan::new(CommitRule::InSyncSet { minimum: 1 }, 3));
}
#[test]
fn in_sync_set_of_at_least_two() {
    run(Plan::new(CommitRule::InSyncSet { minimum: 2 }, 3));
}
#[test]
fn semi_sync_with_one_of_two() {
    run(Plan::new(CommitRule::SemiSync { acks: 1 }, 3));
}
#[test]
fn semi_sync_with_three_of_four() {
    run(Plan::new(CommitRule::SemiSync { acks: 3 }, 5));
}
#[test]
fn synchronous() {
    run(Plan::new(CommitRule::Synchronous, 3));
}
// catalogue: C15
// bugs: SL-22
#[test]
fn chain_of_three() {
    run(Plan::new(CommitRule::Chain { minimum: 1 }, 3));
}
#[test]
fn chain_of_five() {
    run(Plan::new(CommitRule::Chain { minimum: 2 }, 5));
}
// catalogue: H3
#[test]
fn majority_of_five_through_a_tree() {
    run(Plan { fan_out: 2, ..Plan::new(CommitRule::Majority, 5) });
}
#[test]
fn synchronous_one_after_the_other() {
    run(Plan { fan_out: 1, ..Plan::new(CommitRule::Synchronous, 4) });
}
#[test]
fn asynchronous_through_a_tree() {
    run(Plan { fan_out: 1, ..Plan::new(CommitRule::Async, 4) });
}
#[test]
fn asynchronous() {
    run(Plan::new(CommitRule::Async, 3));
}

/// A copy had told a new leader where it ends, restarted without anything of that epoch on its disk, and took more from the former
/// leader: the new one held its word against it for ever.
#[test]
fn a_copy_that_forgot_whom_it_followed_is_caught_up() {
    let mut world = World::new(423, Plan::new(CommitRule::SemiSync { acks: 3 }, 5));
    world.run(4_000);
    world.heal();
    assert_eq!(world.check.violation, None);
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let trace = |seed| {
        let mut world = World::new(seed, Plan::new(CommitRule::Majority, 3));
        world.run(2_000);
        world.trace
    };
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}
