//! A follower that feeds others: a node in the middle of a chain, or of a tree of many followers.
//!
//! It hands on what it has received and knows to equal its leader's log, in order, while its own disk still writes. What those
//! behind it hold travels back through it ([`Message::Held`]), each life named: the leader counts lives of the electable set as under
//! every rule, whoever told of them. So an entry that lacks one copy in the middle is not committed, and nobody answers for another
//! (bugs: SL-22).
//!
//! Links belong to one view: a message through them that names another number is dropped, and with every view both ends of a
//! link find out anew where the lower one stands. What a link cannot do is the leader's matter: a follower that gets nothing through
//! it is fed by the leader itself until something comes through again.
// catalogue: C15, H3

use super::follower::Follower;
use super::io::{DropReason, Output, Report};
use super::log_window::Mark;
use super::message::{Holding, Message};
use super::progress::Progress;
use super::replica::{Replica, Role};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use data::plant::{self, Bug};
use data::view;
use data::{Epoch, Index, Instant, NodeId, Position, ViewNumber};

/// News of copies that do not count goes up this often. A guess: far below any bound on staleness, and a leader of a thousand
/// followers hears ten times a second from each of those whom it feeds.
const TELLS_EVERY: Duration = Duration::from_millis(100);
/// Who is fed by the leader in place of its link tells its feeder this often where it stands. As long as a resend.
const GREETS_EVERY: Duration = Duration::from_millis(400);

/// What a follower knows of those behind it, by one view and epoch. Invariant: whoever stands in `behind` has said, in this
/// epoch, that it holds an entry of this epoch.
#[derive(Debug)]
pub(super) struct Relay {
    pub number: ViewNumber,
    pub fed: BTreeMap<NodeId, Progress>,
    behind: BTreeMap<NodeId, Holding>,
    /// Electable lives behind this copy.
    counted: Vec<view::Replica>,
    /// All of `counted`, and this copy, were told to hold this much.
    told: Index,
    /// Something that counts, or does not, is untold.
    news: bool,
    counted_news: bool,
    told_at: Instant,
}

impl Relay {
    /// Somebody behind this copy holds more; false when that is known.
    fn learn(&mut self, it: Holding) -> bool {
        let known = self.behind.entry(it.replica.node).or_insert(it);
        let other = it.replica.incarnation > known.replica.incarnation;
        let grown = it.replica == known.replica && (it.matched, it.applied) > (known.matched, known.applied);
        let first = *known == it;
        if other || grown {
            *known = it;
        }
        if other || grown || first {
            self.news = true;
            self.counted_news |= self.counts(&it.replica);
        }
        other || grown || first
    }
    fn counts(&self, replica: &view::Replica) -> bool {
        // In the order of the electable set, which is sorted.
        self.counted.binary_search(replica).is_ok()
    }
    fn held_by(&self, replica: &view::Replica) -> Index {
        self.behind.get(&replica.node).filter(|it| it.replica == *replica).map_or(Index(0), |it| it.matched)
    }
}

impl Replica {
    /// The view, or the leader that is followed, changed: a follower's links begin anew.
    pub(super) fn relink(&mut self, now: Instant, out: &mut Vec<Output>) {
        let (Role::Follower(follower), Some(view)) = (&mut self.role, &self.view) else { return };
        follower.relay = None;
        let fed = self.links.fed_by(self.me.node);
        if !fed.is_empty() && follower.epoch == view.epoch && follower.leader.is_some() {
            let behind = self.links.behind(self.me.node);
            let counted = view.electable.iter().filter(|it| behind.contains(&it.node)).copied().collect();
            let next = follower.matched.next();
            follower.relay = Some(Box::new(Relay {
                number: view.number,
                fed: fed.iter().map(|node| (*node, Progress::new(now, next))).collect(),
                behind: BTreeMap::new(),
                counted,
                told: Index(0),
                news: true,
                counted_news: true,
                told_at: Instant::ZERO,
            }));
            for node in fed {
                self.send_notice(now, node, out);
            }
        }
        self.greet_feeder(now, out);
    }

    /// The other follower that feeds this one by the links.
    pub(super) fn feeder(&self) -> Option<NodeId> {
        let leader = self.view.as_ref()?.leader?.replica.node;
        self.links.feeder(self.me.node).filter(|feeder| *feeder != leader)
    }

    /// Tells the feeder where this log ends: it sends on from there.
    fn greet_feeder(&mut self, now: Instant, out: &mut Vec<Output>) {
        let (Some(feeder), Some(view)) = (self.feeder(), &self.view) else { return };
        let message = self.lacks(view.number, view.epoch);
        let Role::Follower(follower) = &mut self.role else { return };
        follower.greeted_at = now;
        out.push(Output::Send { to: feeder, message });
    }
    fn lacks(&self, view: ViewNumber, epoch: Epoch) -> Message {
        Message::Lacks { view, epoch, last: self.log.last().position, starts: self.log.starts().to_vec() }
    }
    /// The answer to a feeder whose entries follow one that is not here.
    pub(super) fn tell_feeder(&self, feeder: NodeId, out: &mut Vec<Output>) {
        let (Role::Follower(follower), Some(view)) = (&self.role, &self.view) else { return };
        out.push(Output::Send { to: feeder, message: self.lacks(view.number, follower.epoch) });
    }

    /// Whether a message through a link belongs to the links of now, and the leader then.
    pub(super) fn linked(&self, number: ViewNumber, epoch: Epoch, out: &mut Vec<Output>) -> Option<NodeId> {
        let view = self.view.as_ref().filter(|view| (view.number, view.epoch) == (number, epoch));
        let leader = view.and_then(|view| view.leader).map(|leader| leader.replica.node);
        if leader.is_none() {
            out.push(Output::Report(Report::Dropped(DropReason::OtherView)));
        }
        leader
    }

    /// Entries through a link.
    pub(super) fn on_feed(
        &mut self,
        now: Instant,
        from: NodeId,
        number: ViewNumber,
        epoch: Epoch,
        previous: Mark,
        commit: Index,
        records: Bytes,
        out: &mut Vec<Output>,
    ) {
        let Some(leader) = self.linked(number, epoch, out) else { return };
        if self.feeder() != Some(from) {
            out.push(Output::Report(Report::Dropped(DropReason::NotAMember)));
            return;
        }
        self.follow(now, leader, Some(from), epoch, previous, commit, 0, records, out);
    }

    /// Somebody behind this replica tells what it and those behind it hold.
    pub(super) fn on_held(
        &mut self,
        now: Instant,
        from: view::Replica,
        number: ViewNumber,
        epoch: Epoch,
        held: &[Holding],
        out: &mut Vec<Output>,
    ) {
        if self.linked(number, epoch, out).is_none() {
            return;
        }
        if let Role::Leader(_) = &self.role {
            for it in held.iter().filter(|it| it.replica.node != from.node) {
                self.on_relayed(now, epoch, it, out);
            }
            if let Some(own) = held.iter().find(|it| it.replica == from) {
                let round = 0;
                self.on_ack(now, from, epoch, own.matched, own.applied, round, out);
            }
            self.advance_commit(now, out);
            return;
        }
        let start = self.start_of(epoch);
        let (Role::Follower(follower), Some(view)) = (&mut self.role, &self.view) else { return };
        let Follower { relay: Some(relay), epoch: followed, .. } = follower else { return };
        if *followed != epoch || !relay.fed.contains_key(&from.node) {
            out.push(Output::Report(Report::Dropped(DropReason::NotAMember)));
            return;
        }
        for it in held {
            // Of less than the epoch's first entry nobody knows whether it stays.
            if it.matched >= start && view.holds_copy(it.replica.node) {
                relay.learn(*it);
            }
        }
        if let Some(own) = held.iter().find(|it| it.replica == from) {
            self.on_ack(now, from, epoch, own.matched, own.applied, 0, out);
        }
        self.tell_held(out);
    }

    /// The index of the first entry of an epoch in this log; behind its end while there is none.
    pub(super) fn start_of(&self, epoch: Epoch) -> Index {
        let start = self.log.starts().iter().rev().find(|start| start.epoch == epoch);
        start.map_or(self.log.last().position.index.next(), |start| start.index)
    }

    /// Tells upwards what this copy and those behind it hold, at once where the commit of entries may wait for it.
    pub(super) fn tell_held(&mut self, out: &mut Vec<Output>) {
        let own = self.holds_itself();
        let Some(view) = &self.view else { return };
        let all = view.followers_needed() + 1 >= view.electable.len();
        let counts = view.is_electable(self.me);
        let Role::Follower(follower) = &mut self.role else { return };
        let acknowledged = core::mem::replace(&mut follower.acknowledged, own.matched);
        let Some(relay) = &mut follower.relay else {
            self.send_held(vec![own], out);
            return;
        };
        relay.news = true;
        relay.counted_news |= counts && own.matched > acknowledged;
        let mut counted: Vec<Holding> = Vec::with_capacity(relay.counted.len() + 1);
        counted.push(own);
        counted.extend(relay.behind.values().filter(|it| relay.counts(&it.replica)));
        if plant::is(Bug::AnswersForSuccessor) {
            counted.truncate(1);
            counted.extend(relay.counted.iter().map(|replica| Holding { replica: *replica, ..own }));
            relay.told = Index(0);
        }
        let lowest = relay.counted.iter().map(|it| relay.held_by(it)).fold(own.matched, Index::min);
        let urgent = match all {
            // An entry waits for all of them: one message tells of all.
            true => lowest > relay.told || plant::is(Bug::AnswersForSuccessor),
            false => relay.counted_news,
        };
        if urgent {
            relay.told = lowest;
            relay.counted_news = false;
            self.send_held(counted, out);
        }
    }
    fn holds_itself(&self) -> Holding {
        let matched = match &self.role {
            Role::Follower(follower) => self.persisted.min(follower.matched),
            _ => Index(0),
        };
        Holding { replica: self.me, matched, applied: self.applied }
    }
    /// To the feeder; to the leader while that feeds this copy itself.
    fn send_held(&self, held: Vec<Holding>, out: &mut Vec<Output>) {
        let (Role::Follower(follower), Some(view)) = (&self.role, &self.view) else { return };
        let feeder = self.feeder().filter(|_| follower.through_link);
        let Some(to) = feeder.or(follower.leader) else { return };
        out.push(Output::Send {
            to,
            message: Message::Held { view: view.number, epoch: follower.epoch, held },
        });
    }

    /// Hands on what is new.
    pub(super) fn hand_on(&mut self, now: Instant, out: &mut Vec<Output>) {
        let (Role::Follower(follower), Some(view)) = (&self.role, &self.view) else { return };
        if self.links.order().is_empty() || view.epoch != follower.epoch {
            return;
        }
        let Some(relay) = &follower.relay else {
            if !self.links.fed_by(self.me.node).is_empty() {
                self.relink(now, out);
            }
            return;
        };
        let fed: Vec<NodeId> = relay.fed.keys().copied().collect();
        for node in fed {
            self.send_entries(now, node, out);
        }
    }

    /// What is due by the clock.
    pub(super) fn relay_tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.links.order().is_empty() {
            return;
        }
        let own = self.holds_itself();
        let Role::Follower(follower) = &mut self.role else { return };
        let greets = !follower.through_link && now.since(follower.greeted_at) >= GREETS_EVERY;
        if let Some(relay) = &mut follower.relay {
            let patience = if relay.counted_news { Duration::ZERO } else { TELLS_EVERY };
            if relay.news && now.since(relay.told_at) >= patience {
                (relay.news, relay.counted_news, relay.told_at) = (false, false, now);
                let held = core::iter::once(own).chain(relay.behind.values().copied()).collect();
                self.send_held(held, out);
            }
            self.tend_followers(now, out);
        }
        if greets {
            self.greet_feeder(now, out);
        }
    }

    /// Where the logs of this copy and of one that it feeds part: only what equals the leader's log is handed on.
    pub(super) fn fed_through(&self) -> Index {
        match &self.role {
            Role::Follower(follower) if !plant::is(Bug::RelaysUnmatched) => follower.matched,
            _ => self.log.last().position.index,
        }
    }
    pub(super) fn starts_through(&self, through: Index) -> &[Position] {
        let starts = self.log.starts();
        &starts[..starts.partition_point(|start| start.index <= through)]
    }
}
