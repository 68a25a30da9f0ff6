//! Messages from other planes, and from this one to itself.

use super::{HeldSeal, Output, Plane};
use crate::consensus::records;
use crate::event::Event;
use crate::map::ClusterMap;
use crate::message::Message;
use data::{GroupId, Instant, NodeId};
use std::sync::Arc;

impl Plane {
    pub(super) fn on_message(&mut self, now: Instant, from: NodeId, message: Message, out: &mut Vec<Output>) {
        match message {
            Message::Raft(bytes) => {
                if self.consensus.leader() == Some(from) {
                    self.predecessor.heard(now, from);
                }
                if let Err(reason) = self.consensus.receive(from, &bytes) {
                    out.push(Output::Report(Event::Dropped(reason)));
                }
            }
            Message::Heartbeat { sequence, process, version, waited } => {
                let Some((term, supervisor)) = &mut self.supervisor else {
                    self.predecessor.heard_as_node(now, from);
                    self.turn_away(now, from, None, out);
                    return;
                };
                supervisor.heartbeat(now, from, sequence, process, version, waited == *term);
                if version < self.map.version {
                    self.push_map(now, from, version, out);
                }
            }
            Message::HeartbeatAck { sequence, process, version } => {
                self.heard_leader(now, from);
                if process == self.config.process {
                    self.holder.granted(from, sequence, version, &self.config.timings);
                    self.count_lease(out);
                }
            }
            Message::NotLeader { ticket, leader } => {
                self.turned_away(now, ticket);
                self.hint = leader.filter(|leader| *leader != self.config.node).map(|leader| (leader, now));
            }
            Message::Ask { ticket, process, ask } => {
                self.stirred = true;
                self.on_ask(now, from, ticket, process, ask, out);
            }
            Message::Answer { ticket, process, result } => self.answered(ticket, process, result, out),
            Message::Seal { version, group, epoch, election, released } => {
                self.heard_leader(now, from);
                let seal = HeldSeal { version, epoch, election, released };
                self.on_seal(from, group, seal, out);
            }
            Message::Sealed(sealed) => {
                self.stirred = true;
                if let Some((_, supervisor)) = &mut self.supervisor {
                    supervisor.sealed(self.consensus.map(), from, sealed);
                }
            }
            Message::PrepareSwitchover { group, number, target } => {
                // Of another view of the group: whoever asked looks again.
                if self.map.view(group).is_some_and(|view| view.number >= number) {
                    out.push(Output::PrepareSwitchover { group, target });
                }
            }
            Message::SwitchoverReady { group, target } => {
                self.stirred = true;
                if let Some((_, supervisor)) = &mut self.supervisor {
                    supervisor.switchover_ready(self.consensus.map(), from, group, target);
                }
            }
            Message::CallOff { group } => out.push(Output::CallOffSwitchover { group }),
            Message::Map(map) => {
                self.heard_leader(now, from);
                self.on_map(map, out);
            }
            Message::WantMap { version } => self.push_map(now, from, version, out),
            Message::Suspect { node } => {
                if let Some((_, supervisor)) = &mut self.supervisor
                    && node != self.config.node
                {
                    supervisor.suspicion(now, node);
                }
            }
        }
    }

    /// For a node outside the control group: this one speaks as control leader.
    fn heard_leader(&mut self, now: Instant, from: NodeId) {
        self.hint = Some((from, now));
    }

    /// Passed to the local replica once this node knows the election: the replica must not take it for another one's.
    fn on_seal(&mut self, from: NodeId, group: GroupId, seal: HeldSeal, out: &mut Vec<Output>) {
        if self.seals.get(&group).is_some_and(|held| held.epoch > seal.epoch) {
            return;
        }
        self.seals.insert(group, seal);
        if seal.version > self.map.version && !self.is_control_member() {
            let message = Message::WantMap { version: self.map.version };
            self.send(from, message, out);
        }
        self.release_seals(out);
    }

    pub(super) fn release_seals(&mut self, out: &mut Vec<Output>) {
        let version = self.map.version;
        self.seals.retain(|group, seal| {
            if seal.version > version {
                return true;
            }
            let HeldSeal { epoch, election, released, .. } = *seal;
            out.push(Output::Seal { group: *group, epoch, election, released });
            false
        });
    }

    pub(super) fn count_lease(&mut self, out: &mut Vec<Output>) {
        if let Some((until, grantor)) = self.holder.counts(self.map.version) {
            out.push(Output::ControlLease { until, grantor });
        }
    }

    /// Sends the map to a node outside the control group that holds an older one; not again while it may be on its way.
    pub(super) fn push_map(&mut self, now: Instant, to: NodeId, version: u64, out: &mut Vec<Output>) {
        let member = self.map.is_control_member(to);
        let newest = self.map.version;
        let on_its_way = self.pushed.get(&to).is_some_and(|(sent, at)| {
            *sent == newest && version != 0 && now.since(*at) < self.config.timings.retry
        });
        if member || to == self.config.node || version >= newest || on_its_way {
            return;
        }
        self.pushed.insert(to, (newest, now));
        out.push(Output::Send { to, message: Message::Map(self.map.clone()) });
    }

    fn on_map(&mut self, map: Arc<ClusterMap>, out: &mut Vec<Output>) {
        let same = map.cluster == self.map.cluster || !self.map.founded();
        if !same || map.version <= self.map.version {
            return;
        }
        // A former control member keeps its log: what it voted for binds it for ever.
        if !self.is_control_member() && self.consensus.is_blank() {
            self.remember_map(&map, out);
        }
        self.publish(map, out);
    }

    /// Only to find the control leader again after a restart; nothing waits for it.
    pub(super) fn remember_map(&mut self, map: &ClusterMap, out: &mut Vec<Output>) {
        let token = self.consensus.token();
        out.push(Output::Persist { token, replaces: true, records: vec![records::known(map)] });
    }
}
