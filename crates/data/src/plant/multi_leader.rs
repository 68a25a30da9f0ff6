//! Bugs of multi-leader keyspaces.

use super::{Bug, Planted, row};

/// Bugs of the multi-leader machines: the random world of `protocol/tests/it/multi_leader` hunts them.
// bugs: ML-01, ML-02, ML-03, ML-04, ML-12, ML-13, ML-24
pub const MULTI_LEADER: [Planted; 19] = [
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
        "protocol/src/multi_leader/drafting.rs",
    ),
    row(
        Bug::AgreesBlindly,
        "TC-85",
        "a site agrees to a write whose site has not heard of the one before",
        "protocol/src/multi_leader/claiming.rs",
    ),
    row(
        Bug::AgreesUnlogged,
        "TC-86",
        "what a site agreed to is in its leader's memory alone",
        "protocol/src/multi_leader/claiming.rs",
    ),
    row(
        Bug::LetsClaimsGoEarly,
        "TC-87",
        "a claim is let go before what was written under it is there",
        "protocol/src/multi_leader/claiming.rs",
    ),
];

/// Bugs of what whole nodes do with them: the simulator's general run hunts them.
pub const TRANSACTIONS: [Planted; 2] = [
    row(
        Bug::ForgetsDraft,
        "TC-84",
        "a command of a transaction does not see what those before it do",
        "protocol/src/multi_leader/drafting.rs",
    ),
    row(
        Bug::AnswersAnySession,
        "TC-88",
        "a site answers a session with less than that saw at another one",
        "node/src/sites/session.rs",
    ),
];
