//! A planted bug, made as small as it goes.

use simulator::command::repeat;
use simulator::faults::{Choice, Skip};
use simulator::run::{Outcome, Plan, run};
use simulator::shrink::shrink;

fn property(outcome: &Outcome) -> Option<&'static str> {
    outcome.violation.as_ref().map(|violation| violation.property)
}

/// Forty seconds of drawn faults break it; what is left in the end are the strikes that matter, and the printed command
/// has them.
#[test]
fn a_failing_run_shrinks_to_the_strikes_that_matter() {
    data::plant::set(Some(data::plant::Bug::CutsToCommit));
    let failing = (1..30).find_map(|seed| {
        let outcome = run(&Plan {
            seed,
            nodes: Some(3),
            choice: Choice::Swarm,
            skip: Skip::default(),
            time: 40_000_000_000,
            clients: Some(3),
            scenario: None,
            keyspaces: None,
            readable: false,
        });
        (property(&outcome).is_some() && outcome.strikes.len() > 4).then_some(outcome)
    });
    let failing = failing.expect("the bug is found");
    let (before, broken) = (failing.strikes.len(), property(&failing));
    let small = shrink(failing);
    assert_eq!(property(&small), broken);
    assert!(small.strikes.len() * 2 <= before, "{} of {before} strikes left", small.strikes.len());
    let again = run(&small.plan);
    assert_eq!((property(&again), again.trace_hash), (broken, small.trace_hash));
    let skip = small.plan.skip.to_string();
    assert!(skip.is_empty() || repeat(&small.plan).contains(&format!(" --skip {skip}")));
}
