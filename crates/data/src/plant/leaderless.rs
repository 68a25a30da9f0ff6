//! Bugs of leaderless keyspaces and of causal values.

use super::{Bug, Planted, row};

/// Bugs of the leaderless machines: the random world of `protocol/tests/it/leaderless` hunts them in every test run; the
/// simulator's general run takes them too.
// bugs: LL-04, LL-05, LL-07, LL-09, LL-15, LL-16, LL-17, LL-19, LL-20, LL-22, LL-24, ML-12
pub const LEADERLESS: [Planted; 20] = [
    row(
        Bug::AnswersBeforeRepair,
        "LL-04",
        "a blocking repair does not hold the answer back",
        "protocol/src/leaderless/read.rs",
    ),
    row(
        Bug::RepairsByUnion,
        "LL-05",
        "a reader takes what a copy lacks for what it missed, never for what was removed",
        "data/src/causal/shard.rs",
    ),
    row(
        Bug::ReusesActor,
        "LL-09",
        "a copy that lost its disk goes on as the actor that it was",
        "control/src/map/apply.rs",
    ),
    row(
        Bug::CountsStandIns,
        "LL-15",
        "stand-ins count towards a strict quorum",
        "protocol/src/leaderless/coordinator.rs",
    ),
    row(
        Bug::HintsInMemory,
        "LL-16",
        "a hint is acknowledged that no disk holds",
        "protocol/src/leaderless/replica.rs",
    ),
    row(
        Bug::TakesLateForNew,
        "LL-17",
        "what comes twice, or after newer data, is taken for new",
        "data/src/causal/shard.rs",
    ),
    row(Bug::HashesKeysOnly, "LL-19", "the hash tree covers keys and no values", "data/src/causal/shard.rs"),
    row(
        Bug::CombinesByXor,
        "LL-20",
        "the hash tree combines values by exclusive or: equal ones cancel",
        "data/src/causal/tree.rs",
    ),
    row(
        Bug::MintsElsewhere,
        "LL-24",
        "a mint request that is not answered goes to another replica",
        "protocol/src/leaderless/write.rs",
    ),
    row(
        Bug::TakesContextEarly,
        "TC-50",
        "a walk takes over a context before it has joined the keys",
        "data/src/causal/shard.rs",
    ),
    row(
        Bug::SpeaksBeforeDurable,
        "TC-51",
        "a replica says what its disk does not hold yet",
        "protocol/src/leaderless/replica.rs",
    ),
    row(
        Bug::ReadsUnrebuilt,
        "TC-52",
        "a copy that lost its disk answers reads before it is rebuilt",
        "protocol/src/leaderless/replica.rs",
    ),
    row(
        Bug::ForgetsDeclined,
        "TC-53",
        "a mint request that was refused, and went elsewhere, is minted when it comes again",
        "protocol/src/leaderless/replica.rs",
    ),
    row(
        Bug::CollectsUnpromised,
        "LL-07",
        "what is left of deletes goes without a barrier",
        "protocol/src/leaderless/barrier.rs",
    ),
    row(
        Bug::CollectsUnheld,
        "LL-22",
        "a copy says that it holds everything before it was compared with the others",
        "protocol/src/leaderless/barrier.rs",
    ),
    row(
        Bug::ForgetsSeen,
        "TC-54",
        "a counter forgets totals that a delete has seen",
        "data/src/causal/counter.rs",
    ),
    row(
        Bug::RemovesUnseen,
        "TC-55",
        "a removal takes away what one copy happens to hold",
        "protocol/src/leaderless/write.rs",
    ),
    row(
        Bug::MergesOverHoles,
        "ML-12",
        "a delta claims all earlier writes of its actor, and so deletes what did not come",
        "data/src/causal/shard.rs",
    ),
    row(
        Bug::JudgesAnew,
        "TC-60",
        "a mint request that comes again is told what it would come to now",
        "protocol/src/leaderless/replica.rs",
    ),
    row(
        Bug::GoesBackToRing,
        "TC-65",
        "a copy that restarts with an old map takes part in a ring that is over",
        "protocol/src/leaderless/barrier.rs",
    ),
];

/// Bugs that whole clusters show: the simulator's general run hunts them in leaderless keyspaces. Some are listed elsewhere under
/// another name, as what they break has several.
// bugs: LL-02, LL-06, LL-08, LL-10, LL-11, LL-12, LL-13, LL-14, LL-18, LL-21, LL-25, ML-11, ML-14, ML-15, ML-16
pub const CLUSTERS: [Planted; 15] = [
    row(
        Bug::StampsByClock,
        "LL-02",
        "a write whose clock was ahead is not overwritten until its time has come",
        "data/src/causal/last.rs",
    ),
    row(
        Bug::HidesExpired,
        "LL-06",
        "what has expired is absent to who reads from another node",
        "protocol/src/leaderless/replica.rs",
    ),
    row(
        Bug::RollbackUnnoticed,
        "LL-08",
        "an old backup of a log is replayed, and what was deleted since comes with it",
        "node/src/rollback.rs",
    ),
    row(
        Bug::CountsAcrossRings,
        "LL-18",
        "writers count by one ring and readers by the next, newcomers among them",
        "node/src/leaderless.rs",
    ),
    row(
        Bug::DoomsRecreated,
        "LL-10",
        "a removal that is handed over late takes away what was written since",
        "protocol/src/leaderless/handoff.rs",
    ),
    row(
        Bug::RollbackUnnoticed,
        "LL-11",
        "a node goes on with an old backup of its disk, and gives out its dots again",
        "node/src/rollback.rs",
    ),
    row(
        Bug::KeepsOwnSiblings,
        "LL-12",
        "a write replaces nothing of what its minter holds",
        "data/src/causal/change.rs",
    ),
    row(
        Bug::ActsAsProcess,
        "LL-13",
        "every run of a node is another actor",
        "protocol/src/leaderless/replica.rs",
    ),
    row(
        Bug::PrunesContexts,
        "LL-14",
        "a copy that knows of many actors forgets one of them",
        "data/src/causal/shard.rs",
    ),
    row(
        Bug::HashesFirstOnly,
        "LL-21",
        "the hash tree does not follow a value that is changed",
        "data/src/causal/shard.rs",
    ),
    row(
        Bug::RepairsMajority,
        "LL-25",
        "what one copy alone holds is shown, and brought to no other",
        "protocol/src/leaderless/read.rs",
    ),
    row(
        Bug::CountsAgain,
        "ML-11",
        "an increment that comes again counts again",
        "data/src/causal/counter.rs",
    ),
    row(
        Bug::RemovesNewestOnly,
        "ML-14",
        "a removal takes away the newest add of a member, and the one before is seen again",
        "data/src/causal/sets.rs",
    ),
    row(
        Bug::LastArrivalWins,
        "ML-15",
        "copies that heard of the same writes in another order show other values",
        "data/src/causal/last.rs",
    ),
    row(
        Bug::AcceptsAnyFunction,
        "ML-16",
        "a function is taken for a merge that depends on which value comes first",
        "node/src/leaderless/show.rs",
    ),
];

/// Bugs of conflict policies: the simulator's general run hunts them in leaderless keyspaces.
// bugs: LL-01, LL-23
pub const POLICIES: [Planted; 3] = [
    row(
        Bug::ReportsNoLosers,
        "LL-01",
        "what last-write-wins lets go is gone without a word",
        "data/src/causal/last.rs",
    ),
    row(
        Bug::LastArrivalWins,
        "LL-23",
        "of concurrent writes the one that arrives last wins",
        "data/src/causal/last.rs",
    ),
    row(
        Bug::EndsUnrecorded,
        "TC-61",
        "a write that ends a conflict does not say what it ended",
        "data/src/causal/conflict.rs",
    ),
];

/// Bugs of commands about all keys of a leaderless keyspace: the simulator's general run hunts them.
pub const LISTINGS: [Planted; 1] = [row(
    Bug::ListsOneCopy,
    "TC-62",
    "where copies differ the names are those of one copy",
    "protocol/src/leaderless/names.rs",
)];

/// Bugs of linearizable keys: the random world of `protocol/tests/it/leaderless` hunts them in every test run, and the
/// simulator's general run takes them too.
// bugs: LL-03
pub const AGREEMENT: [Planted; 3] = [
    row(
        Bug::ReadsUnchosen,
        "LL-03",
        "a read of a linearizable key shows what a minority may have accepted",
        "protocol/src/leaderless/proposer.rs",
    ),
    row(
        Bug::PromisesNothing,
        "TC-63",
        "a promise is forgotten as soon as it is given",
        "protocol/src/leaderless/acceptor.rs",
    ),
    row(
        Bug::ProposesAgain,
        "TC-64",
        "a proposer that was outbid writes again without looking for its own write",
        "protocol/src/leaderless/proposer.rs",
    ),
];
