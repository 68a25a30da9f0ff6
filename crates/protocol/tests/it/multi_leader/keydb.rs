//! What users of an active-active Redis fork reported of it, by the numbers of its issues, told again here.
// catalogue: J1 J9 J17
// bugs: ML-06, ML-08, ML-11, ML-15

use super::oracle::Act;
use super::sites::{ROUGH, Sites, set};
use data::SiteId;
use protocol::multi_leader::{Policy, Topology};

fn sites(count: u32, policy: Policy) -> Sites {
    let mut sites = Sites::new(5, count, Topology::AllToAll, policy);
    sites.run(200);
    sites
}
fn well(sites: &mut Sites) {
    sites.weather = super::sites::CALM;
    sites.settle(20_000);
    assert_eq!(sites.oracle.violation, None);
}
fn counts(sites: &Sites) -> Vec<u64> {
    sites.living().iter().map(|site| sites.exchange(site.0).state().copy().len()).collect()
}

/// Deleted keys return when a node that had missed the delete synchronises again.
#[test]
fn keydb_83_deleted_keys_return() {
    for policy in [Policy::Crdt, Policy::LastWriteWins] {
        let mut sites = sites(2, policy);
        (0..10).for_each(|number| {
            sites.write(1, &format!("r{number}"), set(&format!("v{number}")));
        });
        sites.run(200);
        sites.isolate(2, 60_000);
        (0..10).for_each(|number| {
            sites.write(1, &format!("r{number}"), Act::Delete);
        });
        sites.run(100);
        // The node restarts with its old data, and must synchronise in full: the log is gone.
        sites.trim(SiteId(1));
        sites.trim(SiteId(2));
        sites.failover(SiteId(2), 50);
        sites.run(300);
        assert_eq!(sites.get(2, "r3"), "v3", "it has not heard of the delete");
        well(&mut sites);
        assert!((0..10).all(|n| (1..=2).all(|site| sites.get(site, &format!("r{n}")) == "nothing")));
    }
}

/// INCR on several nodes at once gives different sums.
#[test]
fn keydb_111_incr_diverges() {
    let mut sites = sites(3, Policy::Crdt);
    sites.weather = ROUGH;
    for round in 0..60 {
        (1..=3).for_each(|site| {
            let _ = sites.write_all(site, &[("c", Act::Increment(1))]);
        });
        sites.run(4);
        if round % 20 == 7 {
            sites.cut(1, 2, 60);
            sites.failover(SiteId(1 + round / 20), 10);
            sites.run(30);
        }
    }
    well(&mut sites);
    let kept = sites.oracle.committed[&SiteId(1)].clone();
    let sum = (0..sites.oracle.written.len()).filter(|number| kept.has(*number)).count();
    assert!((1..=3).all(|site| sites.get(site, "c") == sum.to_string()), "{sum}");
}

/// Nodes that replicate to each other count different numbers of keys.
#[test]
fn keydb_142_unequal_key_counts() {
    let mut sites = sites(3, Policy::Crdt);
    sites.weather = ROUGH;
    for number in 0..150 {
        let _ = sites.write_all(1 + number % 3, &[(&*format!("s{}", number % 40), Act::Add("x".into()))]);
        if number % 3 == 0 {
            let _ = sites.write_all(1 + number / 3 % 3, &[(&*format!("s{}", number * 7 % 40), Act::Delete)]);
        }
        sites.run(3);
    }
    well(&mut sites);
    assert!(counts(&sites).windows(2).all(|pair| pair[0] == pair[1]), "{:?}", counts(&sites));
}

/// A node that is added later, under load, has another number of keys than the first.
#[test]
fn keydb_440_unequal_key_counts_after_a_join() {
    let mut sites = sites(2, Policy::Crdt);
    (0..100).for_each(|number| {
        sites.write(1 + number % 2, &format!("s{number}"), Act::Add("x".into()));
    });
    sites.run(300);
    sites.trim(SiteId(1));
    sites.trim(SiteId(2));
    sites.found(SiteId(3));
    sites.configure([1, 2, 3].map(SiteId).into(), Topology::AllToAll);
    for number in 0..100 {
        sites.write(
            1 + number % 2,
            &format!("s{number}"),
            if number % 3 == 0 { Act::Delete } else { Act::Add("y".into()) },
        );
        sites.run(2);
    }
    well(&mut sites);
    assert_eq!(counts(&sites), [66; 3]);
}

/// Two nodes set one key at the same time and keep each other's value for ever.
#[test]
fn keydb_247_values_swapped() {
    for policy in [Policy::Crdt, Policy::Siblings, Policy::LastWriteWins] {
        let mut sites = sites(2, policy);
        for number in 0..40 {
            let key = format!("r{number}");
            sites.write(1, &key, set(&format!("one{number}")));
            sites.write(2, &key, set(&format!("two{number}")));
            sites.run(number % 7);
        }
        well(&mut sites);
        for number in 0..40 {
            let key = format!("r{number}");
            assert_eq!(sites.get(1, &key), sites.get(2, &key), "{policy:?} {key}");
        }
    }
}

/// After a split that outlasts the backlog the nodes stay different.
#[test]
fn keydb_312_different_after_a_split() {
    let mut sites = sites(3, Policy::Crdt);
    sites.isolate(3, 60_000);
    for number in 0..60 {
        sites.write(1 + number % 3, &format!("s{}", number % 9), Act::Add(format!("m{number}")));
        sites.write(1 + number % 3, &format!("s{}", number % 7), Act::Remove(format!("m{}", number / 2)));
        sites.run(10);
    }
    (1..=3).for_each(|site| sites.trim(SiteId(site)));
    well(&mut sites);
    assert!(sites.oracle.copied >= 2, "both sides needed the other's state: {}", sites.oracle.copied);
}

/// After a split during which nodes restarted they stay different.
#[test]
fn keydb_366_different_after_a_split_with_restarts() {
    let mut sites = sites(2, Policy::LastWriteWins);
    for round in 0..4 {
        sites.isolate(1, 500);
        for number in 0..20 {
            let key = format!("r{}", number % 5);
            let _ = sites.write_all(1, &[(&key, set(&format!("one{round}.{number}")))]);
            let _ = sites.write_all(2, &[(&key, set(&format!("two{round}.{number}")))]);
            sites.run(5);
        }
        sites.failover(SiteId(1 + round % 2), 30);
        sites.run(300);
    }
    well(&mut sites);
}
