//! Many followers: theory and the replication machines agree. With fewer of them than the scenario, for it takes a second so.
// catalogue: C18, H1, H2, H3

use data::keyspace::CommitRule;
use simulator::followers::{Crowd, predicted};

/// Source: each of n followers is away with probability p, independently: 1 - (1-p)^n.
#[test]
fn writes_that_all_must_hold_are_blocked_as_often_as_predicted() {
    for (followers, p) in [(1, 0.05), (10, 0.05), (50, 0.02)] {
        let it = Crowd::new(7, CommitRule::Synchronous, followers, 0).blocked(300, p);
        // Of independent draws one in ten thousand such intervals misses; the seed is fixed.
        let (low, high) = it.bounds(3.9);
        let theory = predicted(p, followers);
        assert!(
            (low..=high).contains(&theory),
            "{followers} followers: {theory} is not in {low}..{high}, {it:?}"
        );
        assert!(it.blocked > 0 && it.blocked < it.writes, "{it:?}");
    }
    let majority = Crowd::new(7, CommitRule::Majority, 50, 0).blocked(300, 0.02);
    assert_eq!(majority.blocked, 0, "a majority does not wait for the last ones");
}

#[test]
fn the_slowest_of_many_decides_unless_half_are_enough() {
    let load = |rule, followers, fan_out| Crowd::new(7, rule, followers, fan_out).load(32, 500_000_000);
    let (few, many) = (load(CommitRule::Synchronous, 2, 0), load(CommitRule::Synchronous, 50, 0));
    let majority = load(CommitRule::Majority, 50, 0);
    assert!(many.p99_ms > few.p99_ms && many.writes_per_second < few.writes_per_second, "{few:?} {many:?}");
    assert!(
        majority.p50_ms < many.p50_ms && majority.writes_per_second > many.writes_per_second,
        "{majority:?} {many:?}"
    );
}

#[test]
fn a_tree_and_a_chain_take_the_sending_off_the_leader() {
    let load = |rule, followers, fan_out| Crowd::new(7, rule, followers, fan_out).load(32, 500_000_000);
    let (all, tree) = (load(CommitRule::Async, 50, 0), load(CommitRule::Async, 50, 5));
    assert!(tree.sent_per_turn * 4.0 < all.sent_per_turn, "{tree:?} {all:?}");
    assert!(tree.p99_ms < all.p99_ms, "{tree:?} {all:?}");
    let chain = CommitRule::Chain { minimum: 1 };
    let (head, leader) = (load(chain, 2, 0), load(CommitRule::InSyncSet { minimum: 1 }, 2, 0));
    // One message for what the other sends two of; a commit notice now and then beside it.
    assert!(head.sent_per_turn < leader.sent_per_turn * 0.75, "{head:?} {leader:?}");
}
