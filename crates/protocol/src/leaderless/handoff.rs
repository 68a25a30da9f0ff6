//! Hinted handoff: a stand-in brings replicas what it kept for them.
// catalogue: K16 K17 K18
// bugs: LL-15, LL-16, LL-17

use super::durable::Record;
use super::message::Message;
use super::replica::{Output, Replica, Report};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use data::causal::{Causal, Object, Step, Store as _};
use data::plant::{self, Bug};
use data::value::Blob;
use data::{Instant, NodeId, Now};

/// Hints on their way, and when they are sent again.
#[derive(Default)]
pub struct Flights {
    since: BTreeMap<u64, (Instant, NodeId)>,
    /// When targets were last told that hints of theirs were dropped.
    missed_at: BTreeMap<NodeId, Instant>,
}

impl Replica {
    pub(super) fn tick_hints(&mut self, now: Now, out: &mut Vec<Output>) {
        let oldest_ms = now.wall.middle_ms().saturating_sub(self.limits.hint_age_ms_max);
        let old: Vec<(u64, NodeId)> = self
            .durable
            .hints
            .iter()
            .take_while(|(_, hint)| hint.since_ms < oldest_ms)
            .map(|(number, hint)| (number, hint.target))
            .collect();
        for (number, target) in old {
            self.flights.since.remove(&number);
            self.drop_hint(target, out);
            self.persist(Record::HintGone { number }, out);
        }
        for target in self.durable.hints.missed().clone() {
            let told = self.flights.missed_at.get(&target);
            let is_due = told.is_none_or(|at| now.instant >= *at + self.limits.resend_after);
            if self.alive.contains(&target) && is_due {
                self.flights.missed_at.insert(target, now.instant);
                self.say(target, Message::Missed, out);
            }
        }
        self.send_hints(now.instant, out);
    }
    fn send_hints(&mut self, now: Instant, out: &mut Vec<Output>) {
        let mut budget = self.limits.handoff_bytes_max;
        let mut due = Vec::new();
        for (number, hint) in self.durable.hints.iter() {
            // A target that is no replica any more: whoever took its place has it as well as anybody.
            let to = if self.placement.is_replica(hint.target) {
                Some(hint.target)
            } else {
                self.placement.replicas.iter().copied().find(|node| self.alive.contains(node))
            };
            let Some(to) = to.filter(|to| self.alive.contains(to)) else { continue };
            let bytes = hint.bytes();
            if bytes > budget && budget < self.limits.handoff_bytes_max {
                break;
            }
            budget = budget.saturating_sub(bytes);
            let sent = self.flights.since.get(&number);
            if sent.is_none_or(|(at, _)| now >= *at + self.limits.resend_after) {
                due.push((number, to));
            }
            if budget == 0 {
                break;
            }
        }
        for (number, to) in due {
            let Some(hint) = self.durable.hints.get(number) else { continue };
            let (key, delta) = (hint.key.clone(), Box::new(hint.delta.clone()));
            self.flights.since.insert(number, (now, to));
            self.say(to, Message::Handoff { hint: number, key, delta }, out);
        }
    }
    /// There is no room for a hint, or it is too old: its target shall compare its copy with everybody.
    pub(super) fn drop_hint(&mut self, target: NodeId, out: &mut Vec<Output>) {
        if !self.durable.hints.missed().contains(&target) {
            self.persist(Record::Missed { target, missed: true }, out);
        }
        out.push(Output::Report(Report::HintDropped { target }));
    }
    /// The stand-in's side of an acknowledgement.
    pub(super) fn handed_off(&mut self, from: NodeId, number: u64, out: &mut Vec<Output>) {
        // Only the one that it was sent to has it; a number of an earlier life of this node may mean another hint.
        if self.flights.since.get(&number).is_some_and(|(_, to)| *to == from) {
            self.flights.since.remove(&number);
            self.persist(Record::HintGone { number }, out);
        }
    }
    /// The replica's side.
    pub(super) fn accept_hint(
        &mut self,
        now: Now,
        from: NodeId,
        number: u64,
        key: Blob,
        mut delta: Causal<Object>,
        out: &mut Vec<Output>,
    ) {
        if !self.placement.is_replica(self.life.node) {
            return out.push(Output::Report(Report::Dropped("a hint for no replica")));
        }
        // A walk may have brought it already, whatever this node's clock says of it.
        let known = self.durable.copy.context().covers(&delta.context);
        if !known && self.observe(now, delta.newest_stamp()).is_err() {
            return out.push(Output::Report(Report::Dropped("a hint from the future")));
        }
        if plant::is(Bug::DoomsRecreated) && delta.store.is_bottom() {
            let since = self.durable.copy.held(&key).map(|held| held.recent.clone());
            delta.context.merge(&since.unwrap_or_default());
        }
        self.step(Step::Delta { key, delta }, out);
        self.say(from, Message::HandedOff { hint: number }, out);
    }
}
