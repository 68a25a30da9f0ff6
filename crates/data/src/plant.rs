//! Known bugs, put back on purpose: the proof that random runs would find them.
//!
//! A guard asks [`is`] beside the line that keeps its bug out. Invariant: without the feature `plant` no bug can be
//! planted; every question is answered `false` at compile time. The choice is process-wide, so a run with a planted bug
//! shares its process with no other run.

mod leaderless;
mod multi_leader;
mod single_leader;

pub use leaderless::{AGREEMENT, CLUSTERS, LEADERLESS, LISTINGS, POLICIES};
pub use multi_leader::{MULTI_LEADER, TRANSACTIONS};
pub use single_leader::ALL;

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
    ShowsLater,
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
    GoesBackToRing = 120,
    DoomsRecreated,
    StampsByClock,
    HidesExpired,
    CountsAcrossRings,
    KeepsOwnSiblings,
    ActsAsProcess,
    PrunesContexts,
    HashesFirstOnly,
    RepairsMajority,
    CountsAgain,
    RemovesNewestOnly,
    AcceptsAnyFunction,
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
    ForgetsDraft,
    AgreesBlindly,
    AgreesUnlogged,
    LetsClaimsGoEarly,
    /// A site answers a session whatever that saw at another one.
    AnswersAnySession,
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
