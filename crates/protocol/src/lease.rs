//! Leases between pairs of nodes: the right of a leader to answer reads without asking again.
//!
//! Every node sends each peer a heartbeat that lists the groups it leads and their epochs. The peer's answer is a grant:
//! "until `LEASE` from now I shall not help to elect another leader of those groups", except the ones it refuses by name.
//! The holder counts from the moment it *sent* the heartbeat and takes a margin off for clocks that run at different
//! rates; the grantor counts from the moment it answered. Both count on monotonic clocks only, so the holder's lease
//! ends first.
//!
//! A seal waits for the end of the last grant to the leader that it deposes (bugs: SL-06, SL-07). A grantor that
//! restarts has forgotten what it granted: it neither grants nor seals for one full lease (TC-03).
//!
//! Source: Gray and Cheriton, "Leases" (SOSP 1989); the pairing of nodes instead of groups is ours, so that a thousand
//! groups cost one message.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;
use data::codec::{DecodeError, Reader, Writer};
use data::plant::{self, Bug};
use data::{Epoch, GroupId, Incarnation, Instant, NodeId};

/// Lengths of time, all measured on monotonic clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timings {
    /// Between two heartbeats to one peer.
    pub heartbeat: Duration,
    /// How long a grant binds its grantor.
    pub lease: Duration,
    /// What the holder takes off, against clocks that run apart.
    pub margin: Duration,
}

impl Default for Timings {
    fn default() -> Timings {
        Timings {
            // A guess: an eighth of the lease, so that three lost heartbeats do not end it.
            heartbeat: Duration::from_millis(40),
            // Bounds the outage after a kill from below; long against scheduling delays of a busy machine.
            lease: Duration::from_millis(300),
            // The grantor's clock may run a fifth faster than the holder's; leases are refused long before.
            margin: Duration::from_millis(50),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// "I lead these groups in these epochs."
    Heartbeat { sequence: u64, leads: Vec<(GroupId, Epoch)> },
    /// The grant for a heartbeat, but not for the groups in `refused`. `clock` is the grantor's monotonic clock.
    Grant { sequence: u64, granted: bool, refused: Vec<GroupId>, clock: Instant },
}

impl Message {
    pub fn encode(&self, w: &mut Writer<'_>) {
        match self {
            Message::Heartbeat { sequence, leads } => {
                w.u8(1);
                w.u64(*sequence);
                w.list(leads, |w, (group, epoch)| {
                    group.encode(w);
                    epoch.encode(w);
                });
            }
            Message::Grant { sequence, granted, refused, clock } => {
                w.u8(2);
                w.u64(*sequence);
                w.bool(*granted);
                w.list(refused, |w, group| group.encode(w));
                w.u64(clock.0);
            }
        }
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Message, DecodeError> {
        Ok(match r.u8()? {
            1 => Message::Heartbeat {
                sequence: r.u64()?,
                leads: r.list(|r| Ok((GroupId::decode(r)?, Epoch::decode(r)?)))?,
            },
            2 => Message::Grant {
                sequence: r.u64()?,
                granted: r.bool()?,
                refused: r.list(GroupId::decode)?,
                clock: Instant(r.u64()?),
            },
            _ => return Err(DecodeError::Invalid("lease message")),
        })
    }
}

/// What this node granted to others.
#[derive(Debug)]
pub struct Grantor {
    timings: Timings,
    /// Nothing is granted and nothing sealed before: what an earlier process granted has ended by then.
    silent_until: Instant,
    granted_until: BTreeMap<NodeId, Instant>,
}

impl Grantor {
    /// A grantor whose process starts now.
    pub fn new(timings: Timings, now: Instant) -> Grantor {
        let silent = if plant::is(Bug::ForgetsGrants) { Duration::ZERO } else { timings.lease };
        Grantor { timings, silent_until: now + silent, granted_until: BTreeMap::new() }
    }
    /// Answers a heartbeat; `refuses` names the groups for which this node supports another leader or is asked to seal.
    pub fn grant(
        &mut self,
        now: Instant,
        to: NodeId,
        sequence: u64,
        leads: &[(GroupId, Epoch)],
        refuses: impl Fn(GroupId, Epoch) -> bool,
    ) -> Message {
        let granted = now >= self.silent_until;
        if granted {
            self.granted_until.insert(to, now + self.timings.lease);
        }
        let refused = leads.iter().filter(|(g, e)| refuses(*g, *e)).map(|(g, _)| *g).collect();
        Message::Grant { sequence, granted, refused, clock: now }
    }
    /// When a group led by `leader` may be sealed: all grants to it, those of an earlier process too, have ended.
    pub fn seal_at(&self, leader: Option<NodeId>) -> Instant {
        let granted = leader.and_then(|node| self.granted_until.get(&node)).copied();
        granted.unwrap_or(Instant::ZERO).max(self.silent_until)
    }
}

/// One peer's grants to this node.
#[derive(Debug, Default)]
struct Held {
    incarnation: Incarnation,
    until: Instant,
    /// Groups that the answered heartbeat named and the answer did not refuse, sorted. A grant says nothing of others:
    /// the grantor may have been asked to seal them before it answered.
    groups: Vec<GroupId>,
    answered: u64,
    /// An earlier grant: the base that rates are compared against.
    base: Option<Reading>,
    /// When the last reading was taken.
    read_at: Instant,
    rates: Rates,
}

/// How the peer's clock runs beside this node's. Before anything is known of it, nothing that it counts is relied on.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Rates {
    #[default]
    Unknown,
    Alike,
    Apart,
}

/// What the peer's clock showed at some moment between two readings of this node's.
#[derive(Clone, Copy, Debug)]
struct Reading {
    sent: Instant,
    answered: Instant,
    clock: Instant,
}

/// A heartbeat on its way.
#[derive(Debug)]
struct Sent {
    sequence: u64,
    at: Instant,
    groups: Vec<GroupId>,
}

/// What others granted to this node.
#[derive(Debug)]
pub struct Holder {
    timings: Timings,
    /// Drawn from the clock, so that no number of an earlier process comes again: its late answer must not count here.
    sequence: u64,
    /// Heartbeats that are not answered yet.
    sent: BTreeMap<NodeId, Vec<Sent>>,
    held: BTreeMap<NodeId, Held>,
}

/// Rates are compared over at least this span, and over so many of the round trips that the readings took.
const RATES_SPAN: Duration = Duration::from_secs(2);
const RATES_ROUND_TRIPS: u32 = 20;
/// Clocks of which one may count more than so much while the other counts 100 are apart: the margin allows 120.
const RATES_PERCENT_MAX: u128 = 115;
/// Heartbeats remembered per peer while none is answered.
const SENT_MAX: usize = 16;

impl Holder {
    pub fn new(timings: Timings) -> Holder {
        Holder { timings, sequence: 0, sent: BTreeMap::new(), held: BTreeMap::new() }
    }
    /// A heartbeat to one peer.
    pub fn heartbeat(&mut self, now: Instant, to: NodeId, leads: Vec<(GroupId, Epoch)>) -> Message {
        self.sequence = (self.sequence + 1).max(now.0);
        let sent = self.sent.entry(to).or_default();
        if sent.len() == SENT_MAX {
            sent.remove(0);
        }
        let groups = leads.iter().map(|(group, _)| *group).collect();
        sent.push(Sent { sequence: self.sequence, at: now, groups });
        Message::Heartbeat { sequence: self.sequence, leads }
    }
    /// A peer's grant arrived.
    pub fn granted(
        &mut self,
        now: Instant,
        from: NodeId,
        incarnation: Incarnation,
        sequence: u64,
        granted: bool,
        refused: Vec<GroupId>,
        clock: Instant,
    ) {
        let Some(sent) = self.sent.get_mut(&from) else { return };
        let Some(at) = sent.iter().position(|heartbeat| heartbeat.sequence == sequence) else { return };
        let Some(heartbeat) = sent.drain(..=at).next_back() else { return };
        let held = self.held.entry(from).or_default();
        if sequence <= held.answered {
            return;
        }
        if held.incarnation != incarnation {
            *held = Held { incarnation, ..Held::default() };
        }
        held.answered = sequence;
        held.compare_rates(Reading { sent: heartbeat.at, answered: now, clock });
        held.groups = heartbeat.groups;
        held.groups.retain(|group| !refused.contains(group));
        held.groups.sort_unstable();
        if granted && held.rates == Rates::Alike && plant::is(Bug::LeaseFromAnswer) {
            held.until = held.until.max(now + self.timings.lease - self.timings.margin);
        } else if granted && plant::is(Bug::NoLeaseMargin) {
            held.until = held.until.max(heartbeat.at + self.timings.lease);
        } else if granted && held.rates == Rates::Alike {
            held.until = held.until.max(heartbeat.at + self.timings.lease - self.timings.margin);
        } else {
            held.until = Instant::ZERO;
        }
    }
    /// Until when this life of the peer has promised to support nobody else in the group.
    pub fn until(&self, node: NodeId, incarnation: Incarnation, group: GroupId) -> Instant {
        match self.held.get(&node) {
            Some(held) if held.incarnation == incarnation && held.groups.binary_search(&group).is_ok() => {
                held.until
            }
            _ => Instant::ZERO,
        }
    }
    /// Whether the peer's clock was found to run at this node's rate: otherwise nothing that it counts may be relied on.
    pub fn keeps_time_with(&self, node: NodeId) -> bool {
        self.held.get(&node).is_some_and(|held| held.rates == Rates::Alike)
    }
}

impl Held {
    fn compare_rates(&mut self, reading: Reading) {
        let gap = reading.answered.since(self.read_at);
        self.read_at = reading.answered;
        let Some(base) = self.base.filter(|_| gap < RATES_SPAN) else {
            // What was found long ago says nothing of today.
            self.rates = Rates::Unknown;
            self.base = Some(reading);
            return;
        };
        let trips = base.answered.since(base.sent) + reading.answered.since(reading.sent);
        let span = RATES_SPAN.max(trips * RATES_ROUND_TRIPS);
        // This much has passed here at least while the peer counted `peer`: how long messages travelled cannot hide a
        // clock that is too fast.
        let own = reading.sent.since(base.answered);
        let peer = reading.clock.since(base.clock);
        if own < span && peer < span {
            return;
        }
        let (own, peer) = (own.as_nanos(), peer.as_nanos());
        let apart = own.max(peer) * 100 > own.min(peer) * RATES_PERCENT_MAX;
        self.rates = if apart { Rates::Apart } else { Rates::Alike };
        self.base = Some(reading);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const ME: NodeId = NodeId(1);
    const PEER: NodeId = NodeId(2);
    const GROUP: GroupId = GroupId(7);
    const LIFE: Incarnation = Incarnation(1);

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn exchange(holder: &mut Holder, grantor: &mut Grantor, sent: u64, answered: u64, refuse: bool) {
        let Message::Heartbeat { sequence, leads } =
            holder.heartbeat(at(sent), PEER, vec![(GROUP, Epoch(3))])
        else {
            panic!("a heartbeat")
        };
        let Message::Grant { granted, refused, clock, .. } =
            grantor.grant(at(answered), ME, sequence, &leads, |_, _| refuse)
        else {
            panic!("a grant")
        };
        holder.granted(at(answered), PEER, LIFE, sequence, granted, refused, clock);
    }

    /// A pair that has known each other for long enough, at second 100.
    fn acquainted() -> (Holder, Grantor) {
        let mut holder = Holder::new(Timings::default());
        let mut grantor = Grantor::new(Timings::default(), at(90_000));
        for step in 0..30 {
            exchange(&mut holder, &mut grantor, 97_000 + step * 100, 97_001 + step * 100, true);
        }
        (holder, grantor)
    }

    #[test]
    fn the_holder_counts_from_sending_and_ends_before_the_grantor() {
        let (mut holder, mut grantor) = acquainted();
        exchange(&mut holder, &mut grantor, 100_000, 100_100, false);
        assert_eq!(holder.until(PEER, LIFE, GROUP), at(100_000 + 300 - 50));
        assert_eq!(grantor.seal_at(Some(ME)), at(100_400));
    }

    // bugs: TC-03
    #[test]
    fn a_restarted_grantor_neither_grants_nor_seals_for_one_lease() {
        let (mut holder, _) = acquainted();
        let mut grantor = Grantor::new(Timings::default(), at(100_000));
        exchange(&mut holder, &mut grantor, 100_200, 100_210, false);
        assert_eq!(holder.until(PEER, LIFE, GROUP), Instant::ZERO);
        assert_eq!(grantor.seal_at(Some(ME)), at(100_300));
    }

    #[test]
    fn a_refused_group_and_another_life_hold_nothing() {
        let (mut holder, mut grantor) = acquainted();
        exchange(&mut holder, &mut grantor, 100_000, 100_001, true);
        assert_eq!(holder.until(PEER, LIFE, GROUP), Instant::ZERO);
        exchange(&mut holder, &mut grantor, 100_010, 100_011, false);
        assert_ne!(holder.until(PEER, LIFE, GROUP), Instant::ZERO);
        assert_eq!(holder.until(PEER, Incarnation(2), GROUP), Instant::ZERO);
    }

    /// A grantor that was asked to seal a group refuses it by name, but only if the heartbeat named it. A node that
    /// learnt of its leadership after the heartbeat took the answer for a lease on the new group too, although the
    /// grantor was already helping to elect the next leader.
    #[test]
    fn a_grant_holds_nothing_for_a_group_that_the_heartbeat_did_not_name() {
        let (mut holder, mut grantor) = acquainted();
        exchange(&mut holder, &mut grantor, 100_000, 100_001, false);
        assert_ne!(holder.until(PEER, LIFE, GROUP), Instant::ZERO);
        assert_eq!(holder.until(PEER, LIFE, GroupId(8)), Instant::ZERO);
    }

    /// Numbers that began anew with each process let a late answer to the old process count for a new heartbeat.
    #[test]
    fn an_answer_to_an_earlier_process_holds_nothing() {
        let mut before = Holder::new(Timings::default());
        let Message::Heartbeat { sequence, .. } = before.heartbeat(at(1000), PEER, vec![(GROUP, Epoch(3))])
        else {
            panic!("a heartbeat")
        };
        let mut holder = Holder::new(Timings::default());
        holder.heartbeat(at(1100), PEER, vec![(GROUP, Epoch(4))]);
        holder.granted(at(1101), PEER, LIFE, sequence, true, vec![], at(1001));
        assert_eq!(holder.until(PEER, LIFE, GROUP), Instant::ZERO);
    }

    /// What a holder has after 4 s when the grantor counts `percent` while it counts 100, over a link that delays every
    /// second answer.
    fn held_beside_a_clock_of(percent: u64, delay: u64) -> Instant {
        let mut holder = Holder::new(Timings::default());
        for step in 0..40u64 {
            let sent = 10_000 + step * 100;
            let Message::Heartbeat { sequence, .. } =
                holder.heartbeat(at(sent), PEER, vec![(GROUP, Epoch(1))])
            else {
                panic!("a heartbeat")
            };
            let answered = at(sent + delay * (step % 2));
            let clock = Instant(50_000_000_000 + sent * 10_000 * percent);
            holder.granted(answered, PEER, LIFE, sequence, true, vec![], clock);
        }
        holder.until(PEER, LIFE, GROUP)
    }

    // bugs: SL-07
    #[test]
    fn clocks_of_different_rates_hold_nothing() {
        assert_ne!(held_beside_a_clock_of(100, 0), Instant::ZERO);
        assert_ne!(held_beside_a_clock_of(107, 40), Instant::ZERO);
        assert_eq!(held_beside_a_clock_of(130, 0), Instant::ZERO);
        assert_eq!(held_beside_a_clock_of(121, 90), Instant::ZERO);
        assert_eq!(held_beside_a_clock_of(70, 0), Instant::ZERO);
    }

    /// A leader that was elected a moment ago took the word of clocks that nobody had compared: the grants ended early.
    // bugs: SL-07
    #[test]
    fn a_clock_that_was_not_compared_yet_holds_nothing() {
        let mut holder = Holder::new(Timings::default());
        let mut grantor = Grantor::new(Timings::default(), at(0));
        exchange(&mut holder, &mut grantor, 1000, 1001, false);
        assert_eq!(holder.until(PEER, LIFE, GROUP), Instant::ZERO);
        let (mut holder, mut grantor) = acquainted();
        assert!(holder.keeps_time_with(PEER));
        exchange(&mut holder, &mut grantor, 200_000, 200_001, false);
        assert_eq!(holder.until(PEER, LIFE, GROUP), Instant::ZERO, "compared long ago");
    }
}
