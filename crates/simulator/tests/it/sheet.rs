//! Every claim of a guarantee sheet names something that checks it.
//!
//! catalogue: A3 A5

use data::keyspace::{CommitRule, Election, Flush, Level, OnTimeout, Settings};
use node::sheet::{self, Facts};
use simulator::invariants;
use std::collections::BTreeSet;

fn all() -> impl Iterator<Item = Facts> {
    let rules = [
        CommitRule::BestEffort,
        CommitRule::Async,
        CommitRule::SemiSync { acks: 1 },
        CommitRule::SemiSync { acks: 2 },
        CommitRule::Majority,
        CommitRule::InSyncSet { minimum: 2 },
        CommitRule::Synchronous,
        CommitRule::Chain { minimum: 2 },
    ];
    let levels = [
        (Level::Flushed, Flush::Always),
        (Level::Received, Flush::EveryMs(500)),
        (Level::Received, Flush::Os),
    ];
    let mut facts = Vec::new();
    for commit in rules {
        for (level, flush) in levels {
            for election in [Election::Best, Election::Wait] {
                for (shards, on_timeout) in
                    [(1, OnTimeout::Fail), (3, OnTimeout::Block), (3, OnTimeout::Degrade)]
                {
                    for electable in 1..=5 {
                        let settings = Settings {
                            commit,
                            level,
                            flush,
                            election,
                            shards,
                            recovery_site: data::Site::named("far").filter(|_| shards > 1),
                            on_timeout,
                            ..Settings::default()
                        };
                        for rule in [commit, CommitRule::Async] {
                            facts.push(Facts { settings, rule, members: electable, electable, nodes: 5 });
                        }
                    }
                }
            }
        }
    }
    facts.into_iter()
}

#[test]
fn every_claim_has_a_checker_and_every_promise_is_made_somewhere() {
    let checkers: BTreeSet<&str> = invariants::ALL.iter().map(|(name, _)| *name).collect();
    let mut promised = BTreeSet::new();
    for facts in all() {
        let claims = sheet::claims(&facts);
        assert!(claims.iter().any(|claim| claim.holds) && claims.iter().any(|claim| !claim.holds));
        for claim in &claims {
            assert!(checkers.contains(claim.checker), "nothing checks: {claim:?}");
            promised.insert(claim.checker);
        }
        let text = sheet::text("name", &facts);
        assert!(claims.iter().all(|claim| text.contains(&claim.text)), "{text}");
    }
    assert!(promised.len() >= 10, "{promised:?}");
}

#[test]
fn what_a_leaderless_keyspace_promises_has_a_checker_too() {
    use data::leaderless::{Policy, ReadRepair};
    let checkers: BTreeSet<&str> = invariants::ALL.iter().map(|(name, _)| *name).collect();
    for (w, r) in [(1, 1), (2, 2), (3, 1)] {
        for (sloppy, repair) in [(false, ReadRepair::Blocking), (true, ReadRepair::Off)] {
            let policy = Policy { w, r, sloppy, repair, ..Policy::default() };
            let claims = node::leaderless::sheet::claims(&policy);
            let text = node::leaderless::sheet::text("name", &policy, 5);
            for claim in claims {
                assert!(checkers.contains(claim.checker), "nothing checks: {claim:?}");
                assert!(text.contains(&claim.text), "{text}");
            }
        }
    }
}
