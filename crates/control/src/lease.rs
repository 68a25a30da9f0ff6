//! Control leases: "no other leader is elected for a group that you lead before this instant".
//!
//! A node asks with its heartbeat. The control leader answers only out of a round that a control majority confirmed and
//! that began after the heartbeat came, so a deposed control leader grants nothing. The holder counts from the moment it
//! *sent* the heartbeat, less a margin for clocks that run apart; the grantor from the moment it answered, so the
//! holder's lease ends first (bugs: SL-06, X-02).
//!
//! A new control leader cannot know what was granted before it: it elects nobody's successor until a majority of the
//! voters have each followed it for one full lease by their own clocks. Its own clock would not do: the holder has
//! compared its clock with the grantor's, not with those of all who may follow it (bugs: SL-07). A holder counts a lease
//! only while its clock keeps time with the grantor's and with those of a majority, one of whom waited.
//!
//! The answer names the map version at the time of the grant and counts only together with that map: a holder that has
//! not yet heard of an election against it must not take a fresh grant for its old leadership.

use crate::config::Timings;
use crate::map::ClusterMap;
use data::{Instant, NodeId, Process};
use std::collections::{BTreeMap, BTreeSet};

/// Heartbeats whose answers may still come: those of one lease, at the usual pace, and some.
const ASKED_MAX: usize = 32;

/// The node's side.
#[derive(Debug, Default)]
pub(crate) struct Holder {
    sequence: u64,
    asked: BTreeMap<u64, Instant>,
    /// A grant that waits for the map: version, end, grantor.
    waiting: Option<(u64, Instant, NodeId)>,
    until: Instant,
}

impl Holder {
    /// The number of a heartbeat that is sent now.
    pub fn ask(&mut self, now: Instant) -> u64 {
        self.sequence += 1;
        self.asked.insert(self.sequence, now);
        while self.asked.len() > ASKED_MAX {
            self.asked.pop_first();
        }
        self.sequence
    }

    /// A grant for heartbeat `sequence`; it counts from map `version` on.
    pub fn granted(&mut self, from: NodeId, sequence: u64, version: u64, timings: &Timings) {
        let Some(sent_at) = self.asked.remove(&sequence) else { return };
        self.asked = self.asked.split_off(&sequence);
        let until = sent_at + timings.lease - timings.lease_margin;
        self.waiting = match self.waiting {
            // A grant that needs the older map counts sooner, the newer one lasts longer: keep the one that lasts.
            Some((_, kept, _)) if kept >= until => self.waiting,
            _ => Some((version, until, from)),
        };
    }

    /// The end of the lease and whose clock it was granted by, when it has moved.
    pub fn counts(&mut self, version: u64) -> Option<(Instant, NodeId)> {
        let (needed, until, grantor) = self.waiting?;
        if version < needed {
            return None;
        }
        self.waiting = None;
        (until > self.until).then(|| {
            self.until = until;
            (until, grantor)
        })
    }
}

/// A heartbeat that waits for a confirmed round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub node: NodeId,
    pub sequence: u64,
    pub process: Process,
}

/// The control leader's side.
#[derive(Debug)]
pub(crate) struct Grantor {
    timings: Timings,
    /// Who has followed this control leader for a full lease: where they are a majority, leases of earlier ones are over.
    waited: BTreeSet<NodeId>,
    asking: Vec<Asker>,
    /// The round on its way: its number, when it began, who waits for it.
    round: Option<(u64, Instant, Vec<Asker>)>,
    last_round: u64,
    relied_until: BTreeMap<NodeId, Instant>,
}

impl Grantor {
    /// Of a control leader whose leadership begins now. `seed` keeps its rounds apart from those of others.
    pub fn new(timings: Timings, seed: u64) -> Grantor {
        Grantor {
            timings,
            waited: BTreeSet::new(),
            asking: Vec::new(),
            round: None,
            last_round: seed,
            relied_until: BTreeMap::new(),
        }
    }

    pub fn asked(&mut self, asker: Asker) {
        self.asking.retain(|known| known.node != asker.node);
        self.asking.push(asker);
    }

    /// The round to begin now, if any: one at a time, a lost one is replaced.
    pub fn begin_round(&mut self, now: Instant) -> Option<u64> {
        if self.asking.is_empty() {
            return None;
        }
        let mut askers = std::mem::take(&mut self.asking);
        if let Some((number, began_at, waiting)) = self.round.take() {
            if now.since(began_at) < self.timings.retry {
                self.round = Some((number, began_at, waiting));
                self.asking = askers;
                return None;
            }
            let lost = waiting.into_iter().filter(|old| askers.iter().all(|new| new.node != old.node));
            let lost: Vec<_> = lost.collect();
            askers.extend(lost);
        }
        self.last_round = self.last_round.wrapping_add(1);
        self.round = Some((self.last_round, now, askers));
        Some(self.last_round)
    }

    /// A control majority confirmed the round: who is granted a lease now.
    pub fn confirmed(&mut self, now: Instant, round: u64) -> Vec<Asker> {
        if self.round.as_ref().is_none_or(|(number, _, _)| *number != round) {
            return Vec::new();
        }
        let askers = self.round.take().map(|(_, _, askers)| askers).unwrap_or_default();
        for asker in &askers {
            self.relied_until.insert(asker.node, now + self.timings.lease);
        }
        askers
    }

    /// The node has followed this control leader for a full lease.
    pub fn waited(&mut self, node: NodeId) {
        self.waited.insert(node);
    }

    /// Whether leases that an earlier control leader granted may still be held.
    pub fn is_blind(&self, map: &ClusterMap) -> bool {
        !map.control_majority(|voter| self.waited.contains(&voter))
    }

    /// When every lease that this control leader has granted to the node has ended.
    pub fn free_at(&self, node: NodeId) -> Instant {
        self.relied_until.get(&node).copied().unwrap_or(Instant::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    fn ms(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }
    fn asker(sequence: u64) -> Asker {
        Asker { node: A, sequence, process: Process(1) }
    }

    #[test]
    fn the_holder_counts_from_sending_and_the_grantor_from_granting() {
        let timings = Timings::default();
        let (mut holder, mut grantor) = (Holder::default(), Grantor::new(timings, 7));
        let sequence = holder.ask(ms(1000));
        grantor.asked(asker(sequence));
        let round = grantor.begin_round(ms(1005)).unwrap();
        assert_eq!(grantor.confirmed(ms(1010), round).len(), 1);
        holder.granted(B, sequence, 5, &timings);
        assert_eq!(holder.counts(5), Some((ms(1250), B)));
        assert_eq!(grantor.free_at(A), ms(1310));
    }

    #[test]
    fn a_grant_waits_for_the_map_it_was_made_under() {
        let timings = Timings::default();
        let mut holder = Holder::default();
        let sequence = holder.ask(ms(1000));
        holder.granted(B, sequence, 9, &timings);
        assert_eq!(holder.counts(8), None);
        assert_eq!(holder.counts(9), Some((ms(1250), B)));
    }

    #[test]
    fn a_heartbeat_that_comes_after_the_round_began_waits_for_the_next() {
        let mut grantor = Grantor::new(Timings::default(), 7);
        grantor.asked(asker(1));
        let first = grantor.begin_round(ms(10)).unwrap();
        grantor.asked(asker(2));
        assert_eq!(grantor.begin_round(ms(11)), None);
        let granted: Vec<_> = grantor.confirmed(ms(12), first).iter().map(|asker| asker.sequence).collect();
        assert_eq!(granted, [1]);
        assert!(grantor.begin_round(ms(13)).is_some());
    }

    // bugs: SL-07
    #[test]
    fn a_new_control_leader_is_blind_until_a_majority_has_waited() {
        let map = |voters: &[NodeId]| ClusterMap { voters: voters.to_vec(), ..ClusterMap::default() };
        let voters = map(&[A, B, NodeId(3)]);
        let mut grantor = Grantor::new(Timings::default(), 7);
        assert!(grantor.is_blind(&voters));
        grantor.waited(A);
        grantor.waited(NodeId(4));
        assert!(grantor.is_blind(&voters), "one of three, and one who has no vote");
        grantor.waited(B);
        assert!(!grantor.is_blind(&voters));
        assert!(grantor.is_blind(&map(&[A, B, NodeId(3), NodeId(5)])));
        let joint = ClusterMap { outgoing: vec![NodeId(3)], ..voters };
        assert!(grantor.is_blind(&joint), "none of those who governed before the change");
    }
}
