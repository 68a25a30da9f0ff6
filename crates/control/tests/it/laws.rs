//! Laws under a storm: loss, delay, partitions, crashes, pauses, clocks that run apart. The rig itself asserts that maps agree by
//! version, that an epoch has one leader, and that nobody is elected while another may read under a control lease.
// catalogue: L3, L5, L9
// bugs: SL-01, SL-19, SL-20, X-02, X-03

use crate::rig::{Rig, n};
use control::{Command, Event};
use data::keyspace::{CommitRule, Settings};
use data::table::Seed;
use data::{GroupId, ViewNumber};
use std::collections::BTreeMap;

fn storm(seed: u64) -> Rig {
    let nodes = if seed.is_multiple_of(3) { 5 } else { 3 };
    let mut rig = Rig::new(seed, nodes);
    rig.settle();
    rig.group(0);
    let commit = CommitRule::InSyncSet { minimum: 1 };
    let settings = Settings { commit, ..Settings::default() };
    let _ = rig.ask(n(1), Command::CreateKeyspace { name: "sync".into(), settings, seed: Seed(3, 4) });
    for _ in 0..12 {
        trouble(&mut rig, nodes);
        let pause = 20 + rig.random.below(500);
        rig.run_ms(pause);
    }
    rig.heal();
    for id in rig.all() {
        if rig.plane(id).is_none() {
            rig.start(id);
        }
    }
    rig
}

fn trouble(rig: &mut Rig, nodes: u32) {
    let victim = n(1 + rig.random.below(u64::from(nodes)) as u32);
    match rig.random.below(7) {
        0 if rig.plane(victim).is_some() => rig.crash(victim),
        1 | 2 if rig.plane(victim).is_none() => rig.start(victim),
        3 => {
            let split = 1 + rig.random.below(u64::from(nodes) - 1) as u32;
            let (left, right): (Vec<u32>, Vec<u32>) = (1..=nodes).partition(|id| *id <= split);
            if rig.random.chance(500) {
                rig.reset_between(&left, &right)
            } else {
                rig.cut_between(&left, &right)
            }
        }
        4 => {
            let other = 1 + rig.random.below(u64::from(nodes)) as u32;
            if other != victim.0 {
                rig.reset_between(&[victim.0], &[other]);
            }
        }
        5 => rig.heal(),
        6 => {
            rig.frozen.insert(victim);
        }
        _ => {
            rig.loss_per_mille = rig.random.below(100);
            rig.delay_max_us = 500 + rig.random.below(40_000);
        }
    }
}

#[test]
fn after_a_storm_the_cluster_has_leaders_within_a_bound() {
    for seed in 0..300 {
        let mut rig = storm(seed);
        rig.run_until(6000, &format!("leaders for all, seed {seed}"), |rig| {
            rig.led() && rig.control_leader().is_some()
        });
        rig.settle();
        assert_eq!(rig.map().views().count(), 2, "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..5 {
        assert_eq!(storm(seed).trace, storm(seed).trace, "seed {seed}");
    }
    assert_ne!(storm(1).trace, storm(2).trace);
}

#[test]
fn epochs_and_versions_never_go_back() {
    for seed in 200..220 {
        let mut rig = storm(seed);
        rig.run_ms(2000);
        let mut newest: BTreeMap<GroupId, (u64, ViewNumber)> = BTreeMap::new();
        for view in rig.map().views() {
            newest.insert(view.group, (view.epoch.0, view.number));
            assert!(view.history.windows(2).all(|pair| pair[0].epoch < pair[1].epoch));
        }
        rig.run_ms(1000);
        for view in rig.map().views() {
            let (epoch, number) = newest[&view.group];
            assert!(view.epoch.0 >= epoch && view.number >= number);
        }
        let mut terms = BTreeMap::new();
        for (_, node, event) in &rig.events {
            if let Event::ControlLeader { leader: Some(leader), term } = event {
                assert_eq!(*terms.entry(*term).or_insert(*leader), *leader, "one leader per term ({node})");
            }
        }
    }
}
