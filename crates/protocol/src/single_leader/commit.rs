//! Which entries are committed, and who may take part in deciding it: a pure function of followers' progress.

use crate::quorum::reached_by;
use alloc::vec::Vec;
use data::keyspace::CommitRule;
use data::view::Replica;
use data::{Index, Instant, NodeId};

/// The highest index that the rule calls committed for the electable set `electable`, led by `leader`: persisted by the
/// leader and by as many electable followers as the rule needs. `persisted` tells a replica's progress.
pub fn committed(
    rule: CommitRule,
    electable: &[Replica],
    leader: NodeId,
    own: Index,
    persisted: impl Fn(Replica) -> Index,
) -> Index {
    let mut followers: Vec<Index> =
        electable.iter().filter(|r| r.node != leader).map(|r| persisted(*r)).collect();
    own.min(reached_by(&mut followers, rule.followers_needed(electable.len()), own))
}

/// Until when nobody else can be elected: as many followers as the rule needs have granted that long. With none needed
/// the answer is "for ever" when this is the only electable replica, and "never" otherwise: then only the control plane
/// can tell.
pub fn leased_until(
    rule: CommitRule,
    electable: &[Replica],
    leader: NodeId,
    granted: impl Fn(Replica) -> Instant,
) -> Instant {
    let needed = rule.followers_needed(electable.len());
    if needed == 0 {
        return if electable.len() <= 1 { Instant(u64::MAX) } else { Instant::ZERO };
    }
    let mut grants: Vec<Instant> =
        electable.iter().filter(|r| r.node != leader).map(|r| granted(*r)).collect();
    reached_by(&mut grants, needed, Instant::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::Incarnation;

    fn set(nodes: &[u32]) -> Vec<Replica> {
        nodes.iter().map(|n| Replica { node: NodeId(*n), incarnation: Incarnation(1) }).collect()
    }

    // catalogue: C1, C14, C20
    #[test]
    fn each_rule_counts_its_followers() {
        let in_sync = CommitRule::InSyncSet { minimum: 1 };
        type Case<'a> = (CommitRule, &'a [u32], u64, &'a [u64], u64);
        let cases: &[Case<'_>] = &[
            (CommitRule::Async, &[1, 2, 3], 9, &[0, 0], 9),
            (CommitRule::Majority, &[1, 2, 3], 9, &[7, 4], 7),
            (CommitRule::Majority, &[1, 2, 3], 5, &[7, 4], 5),
            (CommitRule::Majority, &[1, 2, 3, 4, 5], 9, &[8, 7, 6, 5], 7),
            (CommitRule::Majority, &[1], 9, &[], 9),
            (CommitRule::Majority, &[1, 2], 9, &[3], 3),
            (in_sync, &[1, 2, 3], 9, &[7, 4], 4),
            (in_sync, &[1], 9, &[], 9),
            (CommitRule::Chain { minimum: 2 }, &[1, 2, 3], 9, &[7, 4], 4),
            (CommitRule::Chain { minimum: 2 }, &[1], 9, &[], 0),
        ];
        for (rule, nodes, own, others, expected) in cases {
            let persisted = |r: Replica| Index(others[r.node.0 as usize - 2]);
            let found = committed(*rule, &set(nodes), NodeId(1), Index(*own), persisted);
            assert_eq!(found, Index(*expected), "{rule:?} {nodes:?} {own} {others:?}");
        }
    }

    #[test]
    fn every_write_quorum_meets_every_election_quorum() {
        let chain = CommitRule::Chain { minimum: 1 };
        for rule in [CommitRule::Majority, CommitRule::InSyncSet { minimum: 1 }, chain] {
            for e in 1..=9usize {
                let (write, elect) = (1 + rule.followers_needed(e), rule.seals_needed(e));
                assert!(write + elect > e, "{rule:?} e={e}");
            }
        }
    }
}
