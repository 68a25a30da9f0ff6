//! Known bugs, put back on purpose: the proof that random runs would find them.
//!
//! Invariant: without the feature `plant` no bug can be planted; every question is answered `false` at compile time.
//! The choice is process-wide, so a run with a planted bug shares its process with no other run.

/// The bugs that can be planted, named by what goes wrong. The ids are those of the list of known bugs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Bug {
    /// TC-01: a new leader serves before its empty entry is committed.
    ServesBeforeEmptyEntry = 1,
    /// TC-02: a restarted leader goes on in its epoch.
    LeadsAfterRestart,
    /// TC-03: a restarted replica forgets what it granted, and seals at once.
    ForgetsGrants,
    /// TC-04: a leader gives up a proposal whose outcome it does not know.
    WithdrawsProposal,
    /// SL-03: a follower of a new leader cuts to its commit index.
    CutsToCommit,
    /// SL-04: entries of an epoch that the leader does not have are not cut.
    SkipsUnknownEpoch,
    /// SL-06: a lease is counted from its answer.
    LeaseFromAnswer,
    /// SL-07: a lease is held to its very end, whatever the clocks do.
    NoLeaseMargin,
    /// SL-11: an entry is acknowledged before it is persisted.
    AcknowledgesEarly,
    /// SL-15: what an earlier life acknowledged is counted for the next one.
    CountsOtherLife,
    /// SL-19: entries of older epochs are committed by counting copies.
    CountsOldEpochs,
}

impl Bug {
    pub const ALL: [(Bug, &'static str); 11] = [
        (Bug::ServesBeforeEmptyEntry, "TC-01"),
        (Bug::LeadsAfterRestart, "TC-02"),
        (Bug::ForgetsGrants, "TC-03"),
        (Bug::WithdrawsProposal, "TC-04"),
        (Bug::CutsToCommit, "SL-03"),
        (Bug::SkipsUnknownEpoch, "SL-04"),
        (Bug::LeaseFromAnswer, "SL-06"),
        (Bug::NoLeaseMargin, "SL-07"),
        (Bug::AcknowledgesEarly, "SL-11"),
        (Bug::CountsOtherLife, "SL-15"),
        (Bug::CountsOldEpochs, "SL-19"),
    ];
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
