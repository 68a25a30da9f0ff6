//! Known bugs, put back on purpose: the proof that random runs would find them.
//!
//! A guard asks [`is`] beside the line that keeps its bug out. Invariant: without the feature `plant` no bug can be
//! planted; every question is answered `false` at compile time. The choice is process-wide, so a run with a planted bug
//! shares its process with no other run.

/// The bugs that can be planted, named by what goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Bug {
    ElectsTooFew = 1,
    CutsToCommit,
    SkipsUnknownEpoch,
    LeaseFromAnswer,
    NoLeaseMargin,
    ShowsUncommitted,
    AcknowledgesEarly,
    CutsDamage,
    DamagedKeepsLife,
    CountsOtherLife,
    TrimsPastSnapshot,
    CountsOldEpochs,
    MembersWithoutLeader,
    ExpiresAlone,
    ForgetsAnswers,
    WaitsForEver,
    ServesBeforeEmptyEntry,
    LeadsAfterRestart,
    ForgetsGrants,
    WithdrawsProposal,
    ChangesInElection,
    GrantsUnconfirmed,
    ResendsAnew,
    RollbackUnnoticed,
    CountsUnrecorded,
    SnapshotForgetsAnswers,
    IgnoresTokenEpoch,
    CutsUnledgered,
    UncleanKeepsLife,
    TimeoutShows,
    DegradesAlone,
    BelievesFailedFlush,
    ResumesByIndex,
    CountsNotices,
    ShowsUnfinished,
    WritesUnleased,
    BelievesHearsay,
    BelievesFailedWrite,
    AnswersForSuccessor,
    RelaysUnmatched,
    MovesUnfenced,
    ServesAfterCutOver,
    CutsOverStale,
    MovesNoAnswers,
    SkipsComparison,
    LogsAsItIs,
    GapsUnderAnyRule,
    CountsGapped,
    GapsUncounted,
    // Of leaderless shards.
    AnswersBeforeRepair = 100,
    RepairsByUnion,
    ReusesActor,
    CountsStandIns,
    HintsInMemory,
    TakesLateForNew,
    HashesKeysOnly,
    CombinesByXor,
    MintsElsewhere,
    TakesContextEarly,
    SpeaksBeforeDurable,
    ReadsUnrebuilt,
    ForgetsDeclined,
    CollectsUnpromised,
    CollectsUnheld,
    ForgetsSeen,
    RemovesUnseen,
    MergesOverHoles,
    JudgesAnew = 140,
    EndsUnrecorded,
    ListsOneCopy = 145,
    PromisesNothing,
    ReadsUnchosen,
    ProposesAgain,
    // Of multi-leader shards.
    DropsNoDuplicates = 150,
    DropsOwnOnly,
    TakesNoDetour,
    IgnoresCauses,
    ReportsNoLosers,
    StepsOverHoles,
    ForgetsUnacknowledged,
    KeepsOrigin,
    KeepsLostVector,
    AcknowledgesProposed,
    SendsPastCopy,
    CopiesAsItGoes,
    CopiesProposed,
    WithholdsOne,
    LastArrivalWins,
    WritesAwayFromHome,
    MintsAhead,
}

/// A row of the list.
#[derive(Clone, Copy, Debug)]
pub struct Planted {
    pub bug: Bug,
    /// As in the list of known bugs.
    pub id: &'static str,
    /// What is broken.
    pub what: &'static str,
    /// The file of the guard that the bug takes out.
    pub guard: &'static str,
}

const fn row(bug: Bug, id: &'static str, what: &'static str, guard: &'static str) -> Planted {
    Planted { bug, id, what, guard }
}

pub const ALL: [Planted; 50] = [
    row(
        Bug::ElectsTooFew,
        "SL-01",
        "one sealed replica is enough for any election",
        "control/src/supervisor/contest.rs",
    ),
    row(
        Bug::UncleanKeepsLife,
        "SL-02",
        "a copy that lost what was never flushed comes back as the life that it was",
        "storage/src/identity.rs",
    ),
    row(
        Bug::CutsToCommit,
        "SL-03",
        "a follower of a new leader cuts to its commit index",
        "protocol/src/single_leader/follower.rs",
    ),
    row(
        Bug::SkipsUnknownEpoch,
        "SL-04",
        "entries of an epoch that the leader does not have are not cut",
        "protocol/src/single_leader/follower.rs",
    ),
    row(
        Bug::IgnoresTokenEpoch,
        "SL-05",
        "a session's position is taken for reached by its index alone",
        "protocol/src/session.rs",
    ),
    row(Bug::LeaseFromAnswer, "SL-06", "a lease is counted from its answer", "protocol/src/lease.rs"),
    row(
        Bug::NoLeaseMargin,
        "SL-07",
        "a lease is held to its very end, whatever the clocks do",
        "protocol/src/lease.rs",
    ),
    row(Bug::ShowsUncommitted, "SL-08", "a read shows what is not committed", "node/src/execute.rs"),
    row(
        Bug::TimeoutShows,
        "SL-09",
        "a read that waited for a write in vain shows it",
        "node/src/replication.rs",
    ),
    row(
        Bug::DegradesAlone,
        "SL-10",
        "a leader acknowledges alone when its followers are late, and nobody records it",
        "protocol/src/single_leader/leader.rs",
    ),
    row(
        Bug::AcknowledgesEarly,
        "SL-11",
        "an entry is acknowledged before it is persisted",
        "protocol/src/single_leader/follower.rs",
    ),
    row(Bug::BelievesFailedFlush, "SL-12", "a flush that failed is taken for done", "storage/src/job.rs"),
    row(
        Bug::CutsDamage,
        "SL-13",
        "a damaged middle of the log is cut like a torn tail",
        "storage/src/stream.rs",
    ),
    row(
        Bug::DamagedKeepsLife,
        "SL-14",
        "a copy that lost data comes back as the life that it was",
        "storage/src/identity.rs",
    ),
    row(
        Bug::CountsOtherLife,
        "SL-15",
        "what an earlier life acknowledged is counted for the next one",
        "protocol/src/single_leader/progress.rs",
    ),
    row(
        Bug::TrimsPastSnapshot,
        "SL-16",
        "the log is let go past the snapshot that stands for it",
        "node/src/snapshot.rs",
    ),
    row(
        Bug::ResumesByIndex,
        "SL-17",
        "a follower goes on from an entry of the same index, whatever its history",
        "protocol/src/single_leader/follower.rs",
    ),
    row(
        Bug::CountsNotices,
        "SL-18",
        "what is no entry moves a follower's index on",
        "protocol/src/single_leader/progress.rs",
    ),
    row(
        Bug::CountsOldEpochs,
        "SL-19",
        "entries of older epochs are committed by counting copies",
        "protocol/src/single_leader/leader.rs",
    ),
    row(
        Bug::MembersWithoutLeader,
        "SL-20",
        "a change of members changes the electable set without its leader",
        "control/src/map/group.rs",
    ),
    row(
        Bug::ShowsUnfinished,
        "SL-21",
        "a copy that is still being made is shown",
        "protocol/src/single_leader/follower.rs",
    ),
    row(
        Bug::AnswersForSuccessor,
        "SL-22",
        "a node in a chain acknowledges for those behind it",
        "protocol/src/single_leader/relay.rs",
    ),
    row(
        Bug::LogsAsItIs,
        "SL-23",
        "a command that chooses at random is logged as it is, and every copy chooses for itself",
        "node/src/execute.rs",
    ),
    row(Bug::ExpiresAlone, "SL-24", "a follower expires keys by its own clock", "node/src/execute.rs"),
    row(Bug::ForgetsAnswers, "SL-25", "a request that was executed is executed again", "node/src/answers.rs"),
    row(
        Bug::WaitsForEver,
        "SL-26",
        "an in-sync follower that is gone never leaves the set",
        "protocol/src/single_leader/electable.rs",
    ),
    row(
        Bug::MovesUnfenced,
        "X-01",
        "slots change their owner while the old one still takes writes of them",
        "node/src/moving/source.rs",
    ),
    row(
        Bug::WritesUnleased,
        "X-02",
        "a leader goes on alone although another may have been elected",
        "node/src/serve.rs",
    ),
    row(
        Bug::BelievesHearsay,
        "X-03",
        "a node that another cannot reach is suspected, although it is heard",
        "control/src/supervisor/mod.rs",
    ),
    row(
        Bug::BelievesFailedWrite,
        "X-08",
        "a write to the log that failed is taken for done",
        "storage/src/job.rs",
    ),
    row(
        Bug::ServesBeforeEmptyEntry,
        "TC-01",
        "a new leader serves before its empty entry is committed",
        "protocol/src/single_leader/leader.rs",
    ),
    row(
        Bug::LeadsAfterRestart,
        "TC-02",
        "a restarted leader goes on in its epoch",
        "protocol/src/single_leader/replica.rs",
    ),
    row(
        Bug::ForgetsGrants,
        "TC-03",
        "a restarted replica forgets what it granted, and seals at once",
        "protocol/src/lease.rs",
    ),
    row(
        Bug::WithdrawsProposal,
        "TC-04",
        "a leader gives up a proposal whose outcome it does not know",
        "protocol/src/single_leader/electable.rs",
    ),
    row(
        Bug::ChangesInElection,
        "TC-05",
        "a change of the electable set is recorded during an election",
        "control/src/map/group.rs",
    ),
    row(
        Bug::GrantsUnconfirmed,
        "TC-06",
        "a control leader grants leases without asking whether it still leads",
        "control/src/supervisor/mod.rs",
    ),
    row(
        Bug::ResendsAnew,
        "TC-07",
        "a forwarder sends a command again under another request id",
        "node/src/forwarding.rs",
    ),
    row(
        Bug::RollbackUnnoticed,
        "TC-08",
        "a node goes on with a data directory that was restored from a backup",
        "node/src/rollback.rs",
    ),
    row(
        Bug::CountsUnrecorded,
        "TC-09",
        "a leader counts by another rule or set as soon as it has proposed it",
        "protocol/src/single_leader/leader.rs",
    ),
    row(
        Bug::CutsUnledgered,
        "TC-10",
        "a copy is cut before its entries lie in the ledger",
        "protocol/src/single_leader/lost.rs",
    ),
    row(
        Bug::SnapshotForgetsAnswers,
        "TC-11",
        "a snapshot has no answers to requests: a copy made from it executes them again",
        "node/src/answers.rs",
    ),
    row(
        Bug::ServesAfterCutOver,
        "TC-20",
        "a leader goes on with slots that it gave away",
        "node/src/route.rs",
    ),
    row(
        Bug::CutsOverStale,
        "TC-21",
        "slots change their owner by what an earlier leader copied",
        "control/src/map/moves.rs",
    ),
    row(
        Bug::MovesNoAnswers,
        "TC-22",
        "answers to requests do not travel with their slots",
        "node/src/moving/source.rs",
    ),
    row(
        Bug::RelaysUnmatched,
        "TC-30",
        "a follower hands on what it has not compared with its leader's log",
        "protocol/src/single_leader/relay.rs",
    ),
    row(
        Bug::SkipsComparison,
        "TC-40",
        "copies do not compare their tables with their leader's",
        "node/src/audit.rs",
    ),
    row(
        Bug::GapsUnderAnyRule,
        "TC-80",
        "a follower goes on without entries under a rule that promises them",
        "protocol/src/single_leader/gap.rs",
    ),
    row(
        Bug::CountsGapped,
        "TC-81",
        "a copy that lacks entries counts under a rule that promises them",
        "protocol/src/single_leader/electable.rs",
    ),
    row(
        Bug::GapsUncounted,
        "TC-82",
        "what a new leader was told to go on without is in no ledger",
        "node/src/shortfall.rs",
    ),
    row(
        Bug::MintsAhead,
        "TC-79",
        "a site's leader writes by a clock that all others contradict",
        "protocol/src/multi_leader/clocks.rs",
    ),
];

/// Bugs of the leaderless machines: the random world of `protocol/tests/it/leaderless` hunts them in every test run; the
/// simulator's general run takes them too.
// bugs: LL-04, LL-05, LL-07, LL-09, LL-15, LL-16, LL-17, LL-19, LL-20, LL-22, LL-24, ML-12
pub const LEADERLESS: [Planted; 19] = [
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
        "protocol/src/leaderless/replica.rs",
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

/// Bugs of the multi-leader machines, which no node runs yet: the random world of `protocol/tests/it/multi_leader` hunts them.
// bugs: ML-01, ML-02, ML-03, ML-04, ML-12, ML-13, ML-24
pub const MULTI_LEADER: [Planted; 16] = [
    row(
        Bug::DropsNoDuplicates,
        "ML-01",
        "a write that comes again is applied, and sent, again",
        "protocol/src/multi_leader/inbound.rs",
    ),
    row(
        Bug::DropsOwnOnly,
        "ML-02",
        "a site drops its own writes only, and nobody those of a site that was removed",
        "protocol/src/multi_leader/inbound.rs",
    ),
    row(
        Bug::TakesNoDetour,
        "ML-03",
        "writes take the ways of the topology or none",
        "protocol/src/multi_leader/routes.rs",
    ),
    row(
        Bug::IgnoresCauses,
        "ML-04",
        "a write is applied before what its origin had seen",
        "protocol/src/multi_leader/inbound.rs",
    ),
    row(
        Bug::StepsOverHoles,
        "ML-12",
        "a write is applied although one of its origin before it is missing",
        "protocol/src/multi_leader/inbound.rs",
    ),
    row(
        Bug::ForgetsUnacknowledged,
        "ML-13",
        "what was sent counts for arrived",
        "protocol/src/multi_leader/link.rs",
    ),
    row(
        Bug::KeepsOrigin,
        "ML-24",
        "leaders of a site, one after the other, give out the same stamps and dots",
        "protocol/src/multi_leader/exchange.rs",
    ),
    row(
        Bug::KeepsLostVector,
        "TC-70",
        "a site that lost something in a failover is believed to have it still",
        "protocol/src/multi_leader/link.rs",
    ),
    row(
        Bug::AcknowledgesProposed,
        "TC-71",
        "a site acknowledges to others what its group has not committed",
        "protocol/src/multi_leader/outbound.rs",
    ),
    row(
        Bug::SendsPastCopy,
        "TC-72",
        "a log serves a peer past a copy whose writes are in no record of it",
        "protocol/src/multi_leader/outbound.rs",
    ),
    row(
        Bug::CopiesAsItGoes,
        "TC-73",
        "a copy's later parts show newer writes than its earlier ones",
        "protocol/src/multi_leader/copying.rs",
    ),
    row(
        Bug::CopiesProposed,
        "TC-74",
        "a copy holds writes that its giver has not committed",
        "protocol/src/multi_leader/copying.rs",
    ),
    row(
        Bug::WithholdsOne,
        "TC-75",
        "of a peer whose clock is ahead a single write is left out",
        "protocol/src/multi_leader/inbound.rs",
    ),
    row(
        Bug::LastArrivalWins,
        "TC-76",
        "of concurrent writes under last-write-wins the one that arrives last stays",
        "data/src/causal/last.rs",
    ),
    row(
        Bug::ReportsNoLosers,
        "TC-77",
        "what last-write-wins lets go is not reported",
        "data/src/causal/last.rs",
    ),
    row(
        Bug::WritesAwayFromHome,
        "TC-78",
        "a site goes on writing slots whose home it gave away",
        "protocol/src/multi_leader/exchange.rs",
    ),
];

#[cfg(feature = "plant")]
static PLANTED: core::sync::atomic::AtomicU8 = core::sync::atomic::AtomicU8::new(0);

/// Plants a bug in the whole process, or takes it out again.
#[cfg(feature = "plant")]
pub fn set(bug: Option<Bug>) {
    PLANTED.store(bug.map_or(0, |bug| bug as u8), core::sync::atomic::Ordering::SeqCst);
}

#[cfg(feature = "plant")]
pub fn is(bug: Bug) -> bool {
    PLANTED.load(core::sync::atomic::Ordering::Relaxed) == bug as u8
}

#[cfg(not(feature = "plant"))]
#[inline(always)]
pub const fn is(_: Bug) -> bool {
    false
}
