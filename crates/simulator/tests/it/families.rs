//! The three families of replication in one cluster, under one schedule of faults, each judged by its own suite.
// catalogue: A7

use crate::reproducible::plan;
use simulator::faults::{Choice, Fault};
use simulator::history::Outcome;
use simulator::run::{Plan, run};
use std::collections::BTreeMap;

const FAULTS: &str = "sites,site-cut,crash,pause,isolate,one-way,clog,slow-link,reset,loss,duplicate,reorder";

#[test]
fn three_families_hold_under_one_schedule_of_faults() {
    let faults: Vec<Fault> = FAULTS.split(',').map(|name| Fault::named(name).expect("a fault")).collect();
    for (seed, nodes) in [(5, 6), (6, 5), (7, 6)] {
        let outcome = run(&Plan {
            nodes: Some(nodes),
            choice: Choice::Only(faults.clone()),
            keyspaces: Some(["strong", "carts", "world"].map(str::to_owned).into()),
            clients: None,
            ..plan(seed, 20)
        });
        assert!(outcome.violation.is_none(), "seed {seed}: {:?}", outcome.violation);
        assert!(!outcome.strikes.is_empty(), "seed {seed}: nothing struck");
        let mut done: BTreeMap<usize, usize> = BTreeMap::new();
        for operation in outcome.history.iter().filter(|it| matches!(it.outcome, Outcome::Ok)) {
            *done.entry(operation.keyspace).or_default() += 1;
        }
        // The numbered keyspace is a fourth.
        assert!(done.len() >= 3 && done.values().all(|count| *count > 20), "seed {seed}: {done:?}");
    }
}
