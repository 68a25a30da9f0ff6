//! Carries out what the consensus library and the supervisor want, until both are quiet.

use super::{Output, Plane};
use crate::consensus::Effect;
use crate::consensus::Origin;
use crate::detector::Detector;
use crate::event::Event;
use crate::map::ClusterMap;
use crate::message::Message;
use crate::supervisor::{Action, Supervisor};
use data::{Instant, NodeId};
use std::sync::Arc;

impl Plane {
    pub(super) fn settle(&mut self, now: Instant, out: &mut Vec<Output>) {
        loop {
            let mut effects = Vec::new();
            self.consensus.drain(&mut effects);
            let mut busy = !effects.is_empty();
            self.carry_out(now, effects, out);
            self.keep_supervisor(now);
            busy |= self.hand_over(now, out);
            if std::mem::take(&mut self.stirred)
                && let Some((_, supervisor)) = &mut self.supervisor
            {
                supervisor.tend(now, &self.consensus);
            }
            busy |= self.act(out);
            while let Some(message) = self.local.pop_front() {
                busy = true;
                self.on_message(now, self.config.node, message, out);
            }
            if !busy {
                return;
            }
        }
    }

    pub(super) fn carry_out(&mut self, now: Instant, effects: Vec<Effect>, out: &mut Vec<Output>) {
        for effect in effects {
            match effect {
                Effect::Send { to, bytes } => {
                    out.push(Output::Send { to, message: Message::Raft(bytes) });
                }
                Effect::Persist { token, replaces, records } => {
                    out.push(Output::Persist { token, replaces, records });
                }
                Effect::Applied { origin, command, result } => {
                    self.stirred = true;
                    self.catch_up(now, out);
                    if let Some((_, supervisor)) = &mut self.supervisor {
                        supervisor.applied(now, self.consensus.map(), &command, result);
                    }
                    self.answer(origin, result, out);
                }
                Effect::Reconfigured => {
                    self.stirred = true;
                    self.catch_up(now, out);
                    out.push(Output::Report(Event::Voters(self.map.voters.len() as u32)));
                }
                Effect::Round(round) => {
                    let version = self.consensus.map().version;
                    if let Some((_, supervisor)) = &mut self.supervisor {
                        supervisor.round_confirmed(now, round, version);
                    }
                }
                Effect::Leadership { leader, term } => {
                    if leader.is_some() && term != self.following.0 {
                        self.following = (term, now);
                    }
                    out.push(Output::Report(Event::ControlLeader { leader, term }));
                }
            }
        }
        self.catch_up(now, out);
    }

    /// A control member's own map is the newest there is.
    fn catch_up(&mut self, now: Instant, out: &mut Vec<Output>) {
        let map = self.consensus.map().clone();
        if map.version <= self.map.version {
            return;
        }
        self.publish(map, out);
        if self.supervisor.is_some() {
            let up = self.map.nodes.keys().copied().filter(|node| !self.down.contains(node));
            for node in up.collect::<Vec<NodeId>>() {
                self.push_map(now, node, self.map.version - 1, out);
            }
        }
    }

    pub(super) fn publish(&mut self, map: Arc<ClusterMap>, out: &mut Vec<Output>) {
        let before = self.map.version;
        for (version, change) in map.changes.iter().filter(|(version, _)| *version > before) {
            out.push(Output::Report(Event::Recorded { version: *version, change: *change }));
        }
        self.map = map;
        out.push(Output::MapChanged(self.map.clone()));
        self.release_seals(out);
        self.count_lease(out);
    }

    /// The supervisor lives and dies with the control leadership.
    fn keep_supervisor(&mut self, now: Instant) {
        let term = self.consensus.term();
        if !self.consensus.leads() {
            self.supervisor = None;
        } else if self.supervisor.as_ref().is_none_or(|(of, _)| *of != term) {
            let mut detector = Detector::new(self.config.timings, now);
            self.predecessor.tell(&mut detector, now);
            for node in &self.down {
                detector.reset(now, *node, self.config.timings.reset_grace);
            }
            self.supervisor = Some((term, Supervisor::new(&self.config, term, detector, now)));
            self.pushed.clear();
            self.stirred = true;
        }
    }

    fn act(&mut self, out: &mut Vec<Output>) -> bool {
        let Some((_, supervisor)) = &mut self.supervisor else { return false };
        let actions = std::mem::take(&mut supervisor.actions);
        let advice = supervisor.advice();
        let busy = !actions.is_empty();
        for action in actions {
            match action {
                // One that is not taken is proposed again: this node just lost its leadership, or is swamped.
                Action::Propose(command) => {
                    let _ = self.consensus.propose(Origin::default(), &advice, &command);
                }
                Action::Send { to, message } => self.send(to, message, out),
                Action::Answer { origin, result } => self.answer(origin, result, out),
                Action::Reconfigure(change) => self.consensus.reconfigure(change),
                Action::Round(round) => self.consensus.ask_round(round),
                Action::Report(event) => out.push(Output::Report(event)),
            }
        }
        busy
    }
}
