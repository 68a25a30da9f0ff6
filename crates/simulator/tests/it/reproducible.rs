//! The same plan gives the same run.
//!
//! The hashes stand here for debug and release builds alike; `sim --seeds 200` prints one for 200 seeds. They change with
//! every change of the machines, so the test compares runs with each other and not with a constant.

use simulator::faults::{Choice, Skip};
use simulator::run::{Plan, run};

pub fn plan(seed: u64, seconds: u64) -> Plan {
    Plan {
        seed,
        nodes: None,
        choice: Choice::Swarm,
        skip: Skip::default(),
        time: seconds * 1_000_000_000,
        clients: Some(4),
        scenario: None,
        keyspaces: None,
        readable: false,
    }
}

#[test]
fn a_seed_repeats_itself_event_for_event() {
    for seed in 0..3 {
        let (one, two) = (run(&plan(seed, 8)), run(&plan(seed, 8)));
        assert_eq!((one.trace_hash, one.events), (two.trace_hash, two.events), "seed {seed}");
        assert!(one.violation.is_none(), "seed {seed}: {:?}", one.violation);
        assert!(one.acknowledged > 0, "seed {seed} did nothing");
    }
}

#[test]
fn another_seed_is_another_run_and_a_readable_trace_changes_nothing() {
    let (one, two) = (run(&plan(11, 5)), run(&plan(12, 5)));
    assert_ne!(one.trace_hash, two.trace_hash);
    let told = run(&Plan { readable: true, ..plan(11, 5) });
    assert_eq!(told.trace_hash, one.trace_hash);
    assert!(told.trace.is_some_and(|text| text.contains("starts as p1")));
}
