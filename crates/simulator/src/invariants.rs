//! What must always hold, looked at after every turn of every node. One file per property, each with its source.
//!
//! | file | property |
//! |---|---|
//! | `audits` | a copy is doubted only where memory was harmed |
//! | `one_leader` | an epoch of a group has one leader process |
//! | `log_matching` | equal epoch and index mean equal history |
//! | `committed` | what is committed stays, is the same everywhere, and its index never shrinks within a process |
//! | `completeness` | a new leader holds everything that was committed before |
//! | `gaps` | copies go on without entries under `best-effort` alone, and count under no other rule then |
//! | `dots` | a node that was started again gives out no dot again |
//! | `hints` | a stand-in keeps in its log what it says that it keeps |
//! | `holders` | what is committed is held by as many electable replicas as the rule says |
//! | `durable` | a life of a node comes back with all that it had persisted |
//! | `own_epoch` | a leader commits nothing older before its own first entry |
//! | `inbox` | of concurrent writes none is gone without a word |
//! | `ledger` | what was acknowledged and is gone lies in the ledger, and nothing else is called so |
//! | `one_owner` | no slot is served by two groups at once |
//! | `leases` | when a leader serves, no lease of an older one runs |
//! | `recorded` | the same under the newest recorded set, whether its leader has heard of it or not |
//! | `state` | equal history means equal state |
//! | `sound` | nothing is reported that a correct replica never reports |
//! | `storm` | no message, answer or wish breeds more of itself |
//! | `suspicion` | a control leader suspects nobody whom it hears |
//! | `copies` | after the faults: copies of leaderless shards are equal, and no hint is left |
//! | `sites` | a site logs a write once; no stamp far ahead; after the faults all sites of a multi-leader keyspace hold the same |
//! | `liveness` | after the faults: a leader, progress, convergence, nothing held back |
//!
//! What clients see is judged at the end of a run: see [`crate::verdict`].

pub mod audits;
mod committed;
mod completeness;
pub mod copies;
mod dots;
mod durable;
pub mod gaps;
pub mod hints;
mod holders;
pub mod inbox;
mod leases;
pub mod ledger;
pub mod liveness;
mod log_matching;
mod one_leader;
pub mod one_owner;
mod own_epoch;
mod recorded;
pub mod sites;
mod sound;
mod state;
mod storm;
mod suspicion;

use crate::host::{Harm, Host};
use crate::verdict::{quorum, site};
use data::record::{Kind, Record};
use data::{GroupId, NodeId};
use node::Event;
use protocol::single_leader::{Report, RoleName};
use std::collections::{BTreeMap, BTreeSet};

/// A broken promise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    pub property: &'static str,
    pub text: String,
}

/// Every property, for `--list`.
pub const ALL: [(&str, &str); 51] = [
    (one_leader::NAME, "one leader process per epoch of a group"),
    (log_matching::NAME, "equal epoch and index, equal rolling hash"),
    (committed::NAME, "committed entries are equal everywhere and for ever"),
    (committed::MONOTONE, "the commit index of a process never shrinks"),
    (completeness::NAME, "a leader holds all that was committed before its epoch"),
    (holders::NAME, "committed entries are held by leader and k electable replicas"),
    (gaps::NAME, "under best-effort alone; a copy that lacks what its leader has counts under no other rule"),
    (dots::NAME, "a life goes on behind every dot of its own that another copy knows"),
    (hints::NAME, "a stand-in has not acknowledged more than its log holds"),
    (durable::NAME, "a restarted life has at least what it had persisted"),
    (own_epoch::NAME, "a leader-elect commits nothing before its empty entry"),
    (ledger::NAME, "the ledgers hold acknowledged minus surviving; what is more is marked perhaps"),
    (ledger::BOUND, "async with min-replicas-max-lag: what a leader lost was written within that time"),
    (one_owner::NAME, "what two leaders of one keyspace serve has no slot in common, while slots move"),
    (leases::NAME, "no older leader's lease runs when a leader begins to serve"),
    (leases::ALONE, "under async a leader takes no writes while a newer one serves"),
    (recorded::NAME, "committed entries meet the newest recorded electable set; none changes in an election"),
    (state::NAME, "equal rolling hash at the applied index, equal state hash"),
    (
        audits::NAME,
        "copies differ only where a bit of a table was flipped; what was flipped is noticed and made anew",
    ),
    (sound::NAME, "no replica reports divergence or a conflict with what it committed"),
    (storm::NAME, "events per second of virtual time stay within what the clients can cause"),
    (suspicion::NAME, "a control leader suspects nobody whose heartbeats reach it, whatever others say"),
    (liveness::NAME, "after healing: leaders, progress, convergence, no held replies"),
    (inbox::NAME, "every acknowledged string is shown, replaced by a write that held it, or in the inbox"),
    (copies::NAME, "after healing: no hints, nothing to rebuild, equal copies, trees and contexts"),
    (sites::NAME, "after healing: equal writes, keys and contexts on every copy at every site"),
    (sites::ONCE, "no leader of a site's group logs a write of any site twice"),
    (
        sites::TIMES,
        "no stamp lies further ahead of the truth than receivers take, while most clocks are right",
    ),
    (site::SURVIVES, "at the end of a run everything that any site acknowledged is at all of them"),
    (site::ONCE, "INCR at several sites: between what was acknowledged and what was begun"),
    (site::DELETED, "SADD, SREM: who removed it at a site removed it everywhere"),
    (site::CAUSES, "who sees an answer at any site sees its question after it"),
    (quorum::READS_MEET, "strict, w + r > n: no read misses what was acknowledged before it began"),
    (quorum::SURVIVES, "at the end of a run everything acknowledged is there, in sloppy keyspaces too"),
    (
        quorum::DELETED,
        "SADD, SREM: who removed it, and who removed what was acknowledged, removed it for good",
    ),
    (quorum::ONCE, "INCR: between what was acknowledged and what was begun"),
    (quorum::FORWARD, "blocking repair: what one read showed no later one denies"),
    (quorum::STRICT, "SADD and SMEMBERS under WITH SLOPPY off: by their receipts replicas alone answered"),
    (
        quorum::TOLD,
        "SADD of an element that nobody else adds says that it was added, however often it was sent",
    ),
    (quorum::INVENTED, "no value that nobody wrote, none that was refused"),
    ("registers are linearizable", "unique values, SET GET and WATCH/MULTI/EXEC, per key"),
    ("counters count once", "INCR: no result twice, none missing, real-time order"),
    ("ids are given out once", "INCR, alone and in MULTI: no two clients get the same number"),
    (
        "sessions move forward",
        "GET and SET with RECEIPT, of leaders and of copies: the session guarantees, and prefixes",
    ),
    ("copies are as fresh as was asked for", "MAX-STALENESS: nothing older is missing than was allowed"),
    ("an empty copy is not shown", "a copy that is still being made answers nobody"),
    ("sets keep what was added", "SADD: nothing lost, resurrected or invented"),
    ("lists keep what was pushed", "RPUSH: nothing lost, doubled, reordered or invented"),
    ("transfers are atomic", "MULTI: the sum of all accounts never changes"),
    (
        "answers follow questions",
        "who reads an answer of a leader reads its question after it, across keyspaces",
    ),
    ("the expired stays expired", "a value that was missed is not seen again"),
];

#[derive(Default)]
pub struct Invariants {
    pub violation: Option<Violation>,
    one_leader: one_leader::OneLeader,
    log_matching: log_matching::LogMatching,
    committed: committed::Committed,
    completeness: completeness::Completeness,
    holders: holders::Holders,
    recorded: recorded::Recorded,
    durable: durable::Durable,
    pub gaps: gaps::Gapped,
    dots: dots::Dots,
    pub hints: hints::Hints,
    at_sites: sites::Logged,
    pub guests: sites::Guests,
    own_epoch: own_epoch::OwnEpoch,
    leases: leases::Leases,
    pub one_owner: one_owner::OneOwner,
    pub ledgers: ledger::Ledgers,
    pub audits: audits::Audits,
    pub writes: inbox::Writes,
    state: state::State,
    storm: storm::Storm,
    pub suspicion: suspicion::Suspicion,
    /// Keyspaces that do not promise to keep what was acknowledged under the faults of this run.
    pub lossy_names: BTreeSet<String>,
    /// Their groups.
    lossy: BTreeSet<GroupId>,
    /// Acknowledged entries may be gone by the operator's or the rule's choice: announced by the control plane.
    pub announced_losses: u64,
    /// The groups of which one was announced, those that were dropped since among them.
    pub announced: BTreeSet<GroupId>,
    pub damaged: u64,
    /// Copies that were rebuilt because their disk was harmed.
    pub rebuilt: u64,
    /// Restored backups that were noticed.
    pub restored_noticed: u64,
    /// Copies of keyspaces that may lose, stopped because a new leader lacks what they had committed: they stay behind
    /// until somebody rebuilds them. Counted, not judged.
    pub stranded: BTreeSet<(NodeId, GroupId)>,
}

impl Invariants {
    pub fn is_broken(&self) -> bool {
        self.violation.is_some()
    }
    pub fn fail(&mut self, property: &'static str, text: String) {
        self.violation.get_or_insert(Violation { property, text });
    }

    /// After a turn.
    pub fn observe(&mut self, now: u64, host: &Host) {
        let Some(node) = &host.node else { return };
        self.guests.note(host);
        self.ledgers.harmed |= host.harm.is_some();
        if host.harm == Some(Harm::Restored) {
            // It is behind what it promised: that is the fault. It must not do anything with it. That it takes itself for elected is
            // nothing: its process may have the number of one that was, and nobody listens.
            if node.group_states().any(|state| state.replica.role() == RoleName::Leader) {
                self.fail("a disk that went back in time is noticed", format!("{} leads with it", host.id));
            }
            if let Some(violation) = self.dots.check_restored(now, host) {
                self.fail(violation.property, violation.text);
            }
            return;
        }
        let mut found = self.dots.check(host);
        for state in node.group_states() {
            if found.is_some() {
                break;
            }
            let lossy = self.lossy_names.contains(&state.keyspace.name);
            if lossy {
                self.lossy.insert(state.group);
                self.ledgers.observe(host, &state);
            }
            let one = self.one_leader.check(host, &state);
            let two = self.log_matching.check(host, &state);
            let three = self.committed.check(host, &state, lossy);
            let four = self.completeness.check(host, &state, &self.committed, lossy);
            let five = self.holders.check(host, &state, lossy);
            let six = self.state.check(now, host, &state, &mut self.audits);
            let seven = self.recorded.check(host, &state, &self.holders, lossy);
            let eight = self.own_epoch.check(host, &state);
            let nine = self.durable.check(host, &state, lossy);
            let ten = self.gaps.check(host, &state).or_else(|| sites::check(now, host, &state));
            found = one.or(two).or(three).or(four).or(five).or(six).or(seven).or(eight).or(nine).or(ten);
        }
        if let Some(violation) = found {
            self.fail(violation.property, violation.text);
        }
    }

    /// After a turn of `id`, among all the others.
    pub fn compare(&mut self, now: u64, hosts: &BTreeMap<NodeId, Host>, id: NodeId, whole_turns: bool) {
        if let Some(violation) = self.one_owner.check(hosts, id) {
            self.fail(violation.property, violation.text);
        }
        if let Some(violation) = self.leases.check(now, hosts, id, &self.lossy, whole_turns) {
            self.fail(violation.property, violation.text);
        }
    }

    /// A node writes to its log.
    pub fn logged(&mut self, id: NodeId, mut records: &[u8]) {
        while let Ok(record) = Record::parse(records) {
            records = &records[record.len..];
            self.writes.logged(&record);
            self.hints.logged(id, &record);
            if record.header.kind == Kind::Site
                && let Some(violation) = self.at_sites.note(&record.header, record.payload)
            {
                self.fail(violation.property, violation.text);
            }
        }
    }

    /// An event happens.
    pub fn happened(&mut self, now: u64) {
        if let Some(violation) = self.storm.check(now) {
            self.fail(violation.property, violation.text);
        }
    }

    /// What a node said. `timely`: no process of this run is held up, and clocks keep time.
    pub fn told(&mut self, now: u64, id: NodeId, event: &Event, timely: bool) {
        if let Some(violation) = sound::check(id, event, &self.lossy) {
            self.fail(violation.property, violation.text);
        }
        if let Some(violation) = self.audits.told(id, event) {
            self.fail(violation.property, violation.text);
        }
        if let Event::Replica { group, report } = event
            && self.lossy.contains(group)
            && matches!(report, Report::Stranded { .. })
        {
            self.stranded.insert((id, *group));
        }
        if let Event::Control(text) = event
            && let Some(violation) = self.suspicion.check(now, id, text).filter(|_| timely)
        {
            self.fail(violation.property, violation.text);
        }
        if let Event::Control(text) = event
            && text.contains("loss_possible: true")
        {
            self.announced_losses += 1;
            self.announced.extend(elected_in(text));
        }
    }

    /// A node's process began.
    pub fn started(&mut self, id: NodeId) {
        self.committed.forget(id);
        self.completeness.forget(id);
        self.ledgers.forget(id);
    }
    /// A node no longer holds a copy of the group.
    pub fn gave_back(&mut self, id: NodeId, group: GroupId) {
        self.durable.gave_back(id, group);
        self.audits.gave_back(id, group);
        self.holders.gave_back(id, group);
    }
    pub fn stopped(&mut self, id: NodeId) {
        self.committed.forget(id);
    }
    /// A disk was found damaged: without a fault that damages it that is a bug.
    pub fn damaged(&mut self, _now: u64, id: NodeId, text: &str) {
        self.damaged += 1;
        self.fail("recovery understands its own log", format!("{id}: {text}"));
    }
}

/// The group of an election, as its event names it.
fn elected_in(text: &str) -> Option<GroupId> {
    let (_, rest) = text.split_once("Elected { group: g")?;
    let digits = rest.split(|it: char| !it.is_ascii_digit()).next()?;
    digits.parse().ok().map(GroupId)
}
