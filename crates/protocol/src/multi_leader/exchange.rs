//! The machine of one shard at one site, run by the leader of the site's group.

use super::claiming::Claiming;
use super::claims::{ClaimId, Unclaimed};
use super::copying::{Copying, Serving};
use super::inbound::Waiting;
use super::link::{Lag, Link};
use super::marks::Marks;
use super::message::Message;
use super::policy::{self, Policy, Refusal};
use super::record::{Change, Record, SiteWrite};
use super::routes::{Hearing, Routes};
use super::state::{LostWrite, SiteState};
use super::topology::Config;
use crate::clocks::{ClockBounds, MintTime};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use data::causal::{Actor, HybridClock, Minter};
use data::plant::{self, Bug};
use data::rules::Resolvers;
use data::value::Blob;
use data::{
    Epoch, GroupId, Incarnation, Index, Instant, NodeId, Now, Origin, OriginVector, SiteId, WriteStamp,
};

/// Who runs the machine: one leader process of the site's group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leadership {
    pub site: SiteId,
    pub epoch: Epoch,
    pub shard: GroupId,
}

/// All guesses unless said otherwise; a keyspace's settings may replace them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// A stamp may lie so many ms ahead of the wall clock.
    pub ahead_ms_max: i64,
    /// Of one write.
    pub write_bytes_max: u64,
    /// Of one message of writes, or one part of a copy.
    pub part_bytes_max: u64,
    /// Sent to one site and not acknowledged. Of the order of bandwidth times round trip: 100 Mbit/s at 300 ms.
    pub in_flight_bytes_max: u64,
    /// Of writes that wait here for their causes.
    pub waiting_bytes_max: u64,
    /// Values that were overwritten while a copy of this site is being sent.
    pub before_bytes_max: u64,
    /// To each site; no limit without.
    pub bandwidth_bytes_per_s: Option<u64>,
    /// Decisions on conflicts that a site keeps for the inbox.
    pub inbox_bytes_max: u64,
    pub inbox_age_ms_max: i64,
    pub status_every: Duration,
    /// Between two statuses when something is to be acknowledged.
    pub acknowledge_every: Duration,
    /// Well above a round trip.
    pub resend_after: Duration,
    /// A site of which nothing was heard for so long is away.
    pub dead_after: Duration,
    /// A site that lacks a write for so long gets it from whoever has it.
    pub overdue_after: Duration,
    /// After so long behind a peer whose log does not reach back, its state is copied.
    pub copy_after: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            ahead_ms_max: 60_000,
            write_bytes_max: 64 << 20,
            part_bytes_max: 256 << 10,
            in_flight_bytes_max: 4 << 20,
            waiting_bytes_max: 16 << 20,
            before_bytes_max: 64 << 20,
            bandwidth_bytes_per_s: None,
            // As of leaderless shards.
            inbox_bytes_max: 16 << 20,
            inbox_age_ms_max: 7 * 24 * 3_600_000,
            status_every: Duration::from_millis(500),
            acknowledge_every: Duration::from_millis(5),
            resend_after: Duration::from_secs(2),
            dead_after: Duration::from_secs(3),
            overdue_after: Duration::from_secs(5),
            copy_after: Duration::from_secs(2),
        }
    }
}

/// What the machine wants done.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// To the leader of the site's group.
    Send {
        to: SiteId,
        message: Message,
    },
    /// To be appended to the group's log, in the order of these outputs; [`Exchange::committed`] follows.
    Propose {
        record: Record,
    },
    /// Committed records from this index on, so many bytes or a single one; [`Exchange::fetched`] follows.
    Fetch {
        peer: SiteId,
        from: Index,
        bytes_max: u64,
    },
    /// This claim is won: what it is for is to be written now, under it.
    Claimed {
        claim: u64,
    },
    /// This one is not, and nothing will be written under it.
    Unclaimed {
        claim: u64,
        why: Unclaimed,
    },
    Report(Report),
}

/// What an operator, or the inbox, is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Report {
    /// Last-write-wins let a value go that its winner had not seen.
    Lost(LostWrite),
    /// A key holds values that did not know of each other.
    Conflict {
        key: Blob,
    },
    /// These sites cannot be reached, and writes take other ways than the topology has; or, with neither, all is as
    /// configured again.
    Routed {
        away: Vec<SiteId>,
        is_detour: bool,
    },
    /// A peer's stamps lie so many ms ahead: nothing is taken from it.
    Stopped {
        peer: SiteId,
        by_ms: i64,
    },
    Resumed {
        peer: SiteId,
    },
    /// A peer says that it does not listen to this site, whose stamps lie so many ms ahead of its clock.
    Unheard {
        peer: SiteId,
        by_ms: i64,
    },
    /// This leader's own clock is so many ms ahead of most others: it refuses to write.
    ClockAhead {
        by_ms: i64,
    },
    /// It is not, any more.
    ClockRight,
    /// So many decisions on conflicts were let go, for their age or for room.
    Forgot {
        count: u64,
    },
    /// A peer lacks something for too long, so it is sent from here.
    Overdue {
        peer: SiteId,
    },
    /// Too many writes wait for their causes.
    Overflow {
        peer: SiteId,
    },
    CopyStarted {
        from: SiteId,
    },
    CopyDone {
        from: SiteId,
    },
    CopyAbandoned {
        from: SiteId,
    },
    /// A message was of no use here.
    Dropped(&'static str),
}

/// Invariants: `state` is what the log makes of all that was proposed, `marks` of all that is committed; nothing leaves the site
/// that is only proposed. Everything else may be lost with the leader.
pub struct Exchange {
    pub(super) me: Leadership,
    origin: Origin,
    pub(super) limits: Limits,
    pub(super) policy: Policy,
    pub(super) resolvers: Resolvers,
    pub(super) config: Config,
    pub(super) state: SiteState,
    pub(super) marks: Marks,
    /// Records proposed, and how many of them are committed.
    pub(super) proposed: u64,
    pub(super) done: u64,
    pub(super) minter: Minter,
    pub(super) clock: HybridClock,
    mint_time: MintTime,
    /// Whether the wall clock was ahead of most others when it was asked last.
    is_ahead: bool,
    pub(super) inbox_at: Option<Instant>,
    sequence: u64,
    /// What the causes told so far include.
    told: OriginVector,
    pub(super) links: BTreeMap<SiteId, Link>,
    pub(super) hearing: Hearing,
    pub(super) routes: Routes,
    pub(super) waiting: Waiting,
    pub(super) copying: Option<Copying>,
    pub(super) serving: BTreeMap<SiteId, Serving>,
    /// Copies that this leader asked for, and gave.
    pub(super) copies: u64,
    pub(super) served: u64,
    pub(super) status_number: u64,
    pub(super) status_at: Option<Instant>,
    pub(super) must_acknowledge: bool,
    pub(super) claiming: Claiming,
}

impl Exchange {
    /// A leader begins: `state` and `marks` are what its group's log makes of all records, and all of them are committed.
    pub fn new(me: Leadership, limits: Limits, policy: Policy, state: SiteState, marks: Marks) -> Exchange {
        let epoch = if plant::is(Bug::KeepsOrigin) { Epoch(1) } else { me.epoch };
        let origin = Origin { site: me.site, epoch };
        // Each leader is an actor of its own: two of them never give one dot to two writes (bugs: ML-24).
        let actor = Actor { node: NodeId(me.site.0), incarnation: Incarnation(epoch.0), shard: me.shard };
        let clock = HybridClock::new(state.copy.newest(), limits.ahead_ms_max);
        let copying = state.staging.as_ref().map(Copying::resume);
        let claiming = Claiming::new(state.vector.clone());
        Exchange {
            me,
            origin,
            limits,
            policy,
            resolvers: Resolvers::default(),
            config: Config { version: 0, sites: Vec::new(), topology: super::Topology::AllToAll },
            state,
            marks,
            proposed: 0,
            done: 0,
            minter: Minter::new(actor, 0),
            clock,
            mint_time: MintTime::default(),
            is_ahead: false,
            inbox_at: None,
            sequence: 0,
            told: OriginVector::new(),
            links: BTreeMap::new(),
            hearing: Hearing::new(),
            routes: Routes::default(),
            waiting: Waiting::default(),
            copying,
            serving: BTreeMap::new(),
            copies: 0,
            served: 0,
            status_number: 0,
            status_at: None,
            must_acknowledge: true,
            claiming,
        }
    }
    /// How much may be sent to each site.
    pub fn set_bandwidth(&mut self, bytes_per_s: Option<u64>) {
        self.limits.bandwidth_bytes_per_s = bytes_per_s;
    }
    /// Whether a site that is there lacks something of what is committed here, as far as it has told, or bandwidth is owed to it.
    pub fn has_to_send(&self, now: Instant) -> bool {
        let is_busy = |link: &Link| link.is_busy(now, self.limits.dead_after, &self.marks);
        self.is_giving(now) || self.links.values().any(is_busy)
    }
    /// The functions that say what readers are shown of concurrent strings: increments add to that.
    pub fn set_resolvers(&mut self, resolvers: Resolvers) {
        self.resolvers = resolvers;
    }
    /// The newest state, proposed writes included: what commands are executed on. A reply waits until its write, and what it read,
    /// is committed.
    pub fn state(&self) -> &SiteState {
        &self.state
    }
    /// What is committed here.
    pub fn vector(&self) -> &OriginVector {
        self.marks.vector()
    }
    /// Whether this site shows all that a session has written or seen elsewhere.
    pub fn holds(&self, token: &OriginVector) -> bool {
        self.state.is_ready && self.marks.vector().covers(token)
    }
    /// Whether a site has told that this write is committed there.
    pub fn is_held(&self, peer: SiteId, stamp: WriteStamp) -> bool {
        self.links.get(&peer).is_some_and(|link| link.acknowledged.contains(stamp))
    }
    pub fn config(&self) -> &Config {
        &self.config
    }
    /// How far a site is behind this one, and this one behind it.
    pub fn lag(&self, now: Instant, peer: SiteId) -> Option<(Lag, Lag)> {
        let link = self.links.get(&peer)?;
        Some((link.outgoing(now, &self.marks), link.incoming(now, &self.marks)))
    }
    /// Bytes of writes that wait for their causes, and of writes on their way to a site.
    pub fn waiting_bytes(&self) -> u64 {
        self.waiting.bytes()
    }
    pub fn in_flight_bytes(&self, peer: SiteId) -> u64 {
        self.links.get(&peer).map_or(0, Link::in_flight_bytes)
    }
    /// The first index that some site still needs. The driver keeps the log from here as long as its bound allows; a site that
    /// comes too late copies the state instead.
    pub fn keep_from(&self) -> Index {
        let needed = self.links.values().filter_map(|link| self.marks.find(&link.acknowledged));
        needed.min().unwrap_or(self.marks.last()).next()
    }
    /// Records before `first` are gone from the log.
    pub fn trimmed(&mut self, first: Index) {
        self.marks.trim(first);
    }

    /// The control plane's word. An older version than the present one is ignored.
    pub fn configure(&mut self, now: Instant, config: Config, out: &mut Vec<Output>) {
        if config.version <= self.config.version || config.check().is_err() {
            return out
                .push(Output::Report(Report::Dropped("a configuration that is old, or contradicts itself")));
        }
        self.config = config;
        let (config, me) = (&self.config, self.me.site);
        self.links.retain(|site, _| config.has(*site));
        self.serving.retain(|site, _| config.has(*site));
        for site in config.sites.iter().filter(|site| **site != me) {
            self.links.entry(*site).or_insert_with(|| Link::new(now));
        }
        if self.copying.as_ref().is_some_and(|copying| !config.has(copying.peer)) {
            self.copying = None;
        }
        self.hearing.clear();
        self.reroute(now, out);
    }

    /// What other nodes' clocks say of this node's.
    pub fn hear_clocks(&mut self, clocks: ClockBounds) {
        self.mint_time.hear(clocks);
    }
    /// The time for a write of now, in ms.
    ///
    /// # Errors
    /// When the wall clock is ahead of most others.
    pub(super) fn time(&mut self, now: Now) -> Result<i64, Refusal> {
        let last_ms = self.clock.last().ms();
        self.mint_time.of(now, last_ms).map_err(|by_ms| Refusal::Ahead { by_ms })
    }
    fn tick_clock(&mut self, now: Now, out: &mut Vec<Output>) {
        let found = self.time(now);
        if found.is_err() != self.is_ahead {
            self.is_ahead = found.is_err();
            out.push(Output::Report(match found {
                Err(Refusal::Ahead { by_ms }) => Report::ClockAhead { by_ms },
                _ => Report::ClockRight,
            }));
        }
    }

    /// Gives a slot's home away. From now on this site takes no more writes of the slot; the other one does once it has applied
    /// this, and thereby everything that was written here.
    ///
    /// # Errors
    /// When nothing was done, and why.
    // catalogue: J3 J4
    pub fn hand_over(&mut self, slot: u16, to: SiteId, out: &mut Vec<Output>) -> Result<WriteStamp, Refusal> {
        if !self.state.is_ready {
            return Err(Refusal::Joining);
        }
        let (home, moves) = self.state.home(slot);
        if home != self.me.site {
            return Err(Refusal::Elsewhere { home });
        }
        if !self.config.has(to) {
            return Err(Refusal::NotASite(to));
        }
        Ok(self.make(Change::HandOver { slot, to, move_number: moves.saturating_add(1) }, out))
    }
    pub(super) fn make(&mut self, change: Change, out: &mut Vec<Output>) -> WriteStamp {
        self.sequence += 1;
        let origin = self.origin;
        let stamp = WriteStamp { origin, sequence: self.sequence };
        let grown =
            self.state.vector.iter().filter(|seen| seen.origin != origin && !self.told.contains(*seen));
        let causes: Vec<WriteStamp> = grown.collect();
        causes.iter().for_each(|cause| self.told.raise(*cause));
        self.propose(Record::Write(Arc::new(SiteWrite { stamp, causes, change })), out);
        stamp
    }

    /// The group's log holds this record for good. Every record of this leader comes, in order.
    pub fn committed(&mut self, now: Now, index: Index, record: &Record, out: &mut Vec<Output>) {
        self.marks.note(index, record);
        self.done += 1;
        self.must_acknowledge |= match record {
            Record::Write(write) => write.stamp.origin.site != self.me.site,
            Record::CopyEnd { .. } => true,
            Record::CopyBegin { .. }
            | Record::CopyPart(_)
            | Record::Claim { .. }
            | Record::Unclaim { .. } => false,
        };
        match record {
            Record::Write(write) => self.write_committed(write.stamp),
            Record::Claim { id, .. } => self.claim_committed(*id, out),
            _ => {}
        }
        self.begin_served(out);
        self.pump_all(now.instant, out);
    }
    pub(super) fn propose(&mut self, record: Record, out: &mut Vec<Output>) {
        self.keep_before(&record);
        let lost = self.state.apply(&record);
        match &record {
            Record::Write(write) => self.note_written(write),
            Record::CopyEnd { .. } => self.forget_written(),
            _ => {}
        }
        out.extend(lost.into_iter().map(|lost| Output::Report(Report::Lost(lost))));
        if let Record::Write(write) = &record
            && write.stamp.origin.site != self.me.site
            && let Change::Deltas(deltas) = &write.change
        {
            let keys = deltas.iter().map(|(key, _)| key);
            let in_conflict = keys.filter(|key| self.state.copy.object(key).is_some_and(policy::is_conflict));
            out.extend(in_conflict.map(|key| Output::Report(Report::Conflict { key: key.clone() })));
        }
        self.proposed += 1;
        out.push(Output::Propose { record });
    }
    /// `from` was checked by the cluster: the leader of that site's group, now or once.
    pub fn receive(&mut self, now: Now, from: SiteId, message: Message, out: &mut Vec<Output>) {
        if !self.links.contains_key(&from) {
            return out.push(Output::Report(Report::Dropped("of a site that is none of the keyspace's")));
        }
        match message {
            Message::Status(status) => self.take_status(now.instant, from, *status, out),
            Message::Writes { writes } => self.take_writes(now, from, writes, out),
            Message::CopyAsk { ask } => self.serve(now.instant, from, ask, out),
            Message::CopyPartAsk { copy, first } => self.serve_part(now.instant, from, (copy, first), out),
            Message::CopyBegun { ask, copy, context, vector } => {
                self.copy_begun(now.instant, from, (ask, copy), context, vector, out);
            }
            Message::CopyPart { copy, part } => self.copy_part(now, from, copy, *part, out),
            Message::CopyGone { copy } => self.copy_gone(from, copy, out),
            Message::Claim { epoch, number, places, seen } => {
                self.take_claim(ClaimId { site: from, epoch, number }, places, &seen, out);
            }
            Message::Agreed { epoch, number } => self.take_agreed(from, epoch, number, out),
            Message::Refused { epoch, number, why } => self.take_refused(from, (epoch, number), why, out),
        }
    }
    /// In place of [`Exchange::tick`] while nothing may be proposed: others hear what is left of this one's claims.
    pub fn rest(&mut self, now: Now, out: &mut Vec<Output>) {
        self.tend_own_claims(now.instant, out);
        self.tick_status(now.instant, out);
    }
    pub fn tick(&mut self, now: Now, out: &mut Vec<Output>) {
        self.tick_clock(now, out);
        self.reroute(now.instant, out);
        self.tick_links(now.instant, out);
        self.send_parts(now.instant, out);
        self.tick_waiting(now.instant);
        self.tick_copy(now, out);
        self.tick_inbox(now, out);
        self.tick_claims(now.instant, out);
        self.tick_status(now.instant, out);
        self.pump_all(now.instant, out);
    }
}
