//! Random worlds: whatever happens to sites, leaders, links, logs and clocks, no site shows an effect before its cause or a
//! write twice, and calm makes all of them equal.
// catalogue: J2 I1 I2 I3 I6 I7 I8 J1 J5 J6 J7 J17
// bugs: ML-01, ML-02, ML-03, ML-04, ML-06, ML-08, ML-11, ML-12, ML-13, ML-15, ML-18, ML-24

use super::world::{PLANS, Plan, Tally, World};

const SEEDS: u64 = 100;

fn run(plan: Plan) {
    // Tests are no part of the pure crate: these knobs choose how much is run.
    #[allow(clippy::disallowed_methods)]
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let one = number("PROTOCOL_SEED");
    let seeds = one.map_or(0..number("PROTOCOL_SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    let is_one = one.is_some();
    let mut sum = Tally::default();
    for seed in seeds {
        let mut world = World::new(seed, plan);
        world.go();
        if let Some(violation) = &world.sites.oracle.violation {
            panic!("{plan:?} seed {seed}: {violation}");
        }
        sum.add(&world);
    }
    println!("{plan:?}: {sum:?}");
    // Runs in which nothing happens prove nothing.
    assert!(is_one || sum.is_telling(plan), "{sum:?}");
}

#[test]
fn crdt() {
    run(PLANS[0]);
}
#[test]
fn last_write_wins() {
    run(PLANS[1]);
}
#[test]
fn failovers_that_lose_what_was_committed() {
    run(PLANS[2]);
}
#[test]
fn home() {
    run(PLANS[3]);
}

#[test]
fn block() {
    run(PLANS[4]);
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let trace = |seed| {
        let mut world = World::new(seed, PLANS[0]);
        world.go();
        world.sites.trace
    };
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}
