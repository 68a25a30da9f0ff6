//! Random worlds: whatever happens to nodes, disks, clocks and network, what the settings promise holds, and calm makes
//! all copies equal.
// catalogue: K4 K5 K13 K14 K16 K17 K18 K20 K21
// bugs: LL-04, LL-05, LL-06, LL-09, LL-10, LL-15, LL-16, LL-17, LL-21, LL-24, LL-25

use super::world::{Plan, World};
use protocol::leaderless::Repair;

const SEEDS: u64 = 60;

fn run(plan: Plan) {
    // Tests are no part of the pure crate: these knobs choose how much is run.
    #[allow(clippy::disallowed_methods)]
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let one = number("PROTOCOL_SEED");
    let seeds = one.map_or(0..number("PROTOCOL_SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    let (mut reads, mut writes, mut sloppy, mut repairs) = (0, 0, 0, 0);
    let (mut handed_off, mut wiped, mut indeterminate, mut refused, mut collected) = (0, 0, 0, 0, 0);
    let (mut agreed, mut replaced) = (0, 0);
    for seed in seeds {
        let mut world = World::new(seed, plan);
        world.run(3_000);
        world.heal();
        if let Some(violation) = &world.oracle.violation {
            panic!("{plan:?} seed {seed}: {violation}");
        }
        reads += world.oracle.reads;
        writes += world.oracle.writes_done;
        sloppy += world.oracle.sloppy;
        repairs += world.oracle.repairs;
        handed_off += world.handed_off;
        wiped += world.wiped;
        replaced += world.replaced;
        indeterminate += world.indeterminate;
        refused += world.no_quorum;
        collected += world.collected;
        agreed += world.agreement.answers;
    }
    println!(
        "{plan:?}: {reads} reads, {writes} writes, {sloppy} of them sloppy, {repairs} repairs, \
         {handed_off} hints gone, {wiped} wiped, {replaced} replaced, {indeterminate} indeterminate, {refused} without quorum, residue of {collected} collected, {agreed} agreed"
    );
    // A run in which nothing happens proves nothing.
    assert!(
        reads > 0
            && writes > 0
            && repairs > 0
            && indeterminate > 0
            && refused > 0
            && collected > 0
            && agreed > 0
    );
    assert_eq!(sloppy > 0 && handed_off > 0, plan.sloppy);
    assert_eq!((wiped > 0, replaced > 0), (plan.wipes, plan.wipes && plan.w.min(plan.r) > 1));
}

const STRICT: Plan =
    Plan { n: 3, w: 2, r: 2, sloppy: false, repair: Repair::Blocking, wipes: true, hot: false };

#[test]
fn strict_with_blocking_repair() {
    run(STRICT);
}
#[test]
fn strict_with_background_repair() {
    run(Plan { repair: Repair::Background, ..STRICT });
}
#[test]
fn strict_without_repair() {
    run(Plan { repair: Repair::Off, ..STRICT });
}
#[test]
fn all_copies_written_one_read() {
    run(Plan { w: 3, r: 1, ..STRICT });
}
#[test]
fn five_copies() {
    run(Plan { n: 5, w: 3, r: 3, ..STRICT });
}
#[test]
fn few_keys_and_many_requests() {
    run(Plan { hot: true, ..STRICT });
}
#[test]
fn sloppy() {
    run(Plan { sloppy: true, ..STRICT });
}
#[test]
fn one_and_one() {
    run(Plan { w: 1, r: 1, repair: Repair::Background, wipes: false, ..STRICT });
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let trace = |seed| {
        let mut world = World::new(seed, STRICT);
        world.run(1_500);
        world.trace
    };
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}
