//! Messages between nodes, and the heartbeats that carry leases.

use crate::admission::Program;
use crate::io::Output;
use crate::message::PeerMessage;
use crate::node::Node;
use alloc::vec::Vec;
use data::{Epoch, GroupId, Incarnation, NodeId, Process};
use protocol::{lease, single_leader};

impl Node {
    pub(crate) fn send(&mut self, to: NodeId, message: PeerMessage) {
        self.outputs.push(Output::Send { to, message });
    }

    pub(crate) fn on_peer(
        &mut self,
        from: NodeId,
        (incarnation, process): (Incarnation, Process),
        version: u8,
        message: PeerMessage,
    ) {
        let about_lives = matches!(message, PeerMessage::Life(_) | PeerMessage::Forgotten { .. });
        if !about_lives && !self.is_heard(from, process, version) {
            return;
        }
        match message {
            PeerMessage::Life(life) => {
                self.note_incarnation(from, incarnation);
                self.on_life(from, life);
            }
            PeerMessage::Forgotten { process, run, durable } => {
                self.on_forgotten(from, process, run, durable)
            }
            PeerMessage::Replication { group, message } => {
                if !self.is_refused(group, from) {
                    self.feed(group, single_leader::Input::Message { from, incarnation, message });
                }
            }
            PeerMessage::Lease(lease::Message::Heartbeat { sequence, leads }) => {
                self.grant(from, sequence, &leads);
            }
            PeerMessage::Lease(lease::Message::Grant { sequence, granted, refused, clock }) => {
                let now = self.now.instant;
                self.holder.granted(now, from, incarnation, sequence, granted, refused, clock);
            }
            PeerMessage::Control(message) => self.control(control::Input::Message { from, message }),
            PeerMessage::Leaderless { group, ring, message } => {
                self.on_leaderless((from, incarnation), (group, ring), message);
            }
            PeerMessage::Clock { wall_ms } => self.on_clock(from, wall_ms),
            PeerMessage::Site { group, origin, message } => {
                self.on_site_message(from, group, origin, message);
            }
            PeerMessage::Forward(forward) => self.on_forward(from, forward),
            PeerMessage::Answer { request, outcome } => self.on_answer(from, request, outcome),
            PeerMessage::Cancel { request } => self.on_cancel(from, request),
            PeerMessage::Move(piece) => self.on_piece(from, piece),
            PeerMessage::Publish { channel, payload } => {
                self.deliver(&channel, &payload);
            }
            PeerMessage::FetchSnapshot { group, position, offset, len_max } => {
                self.on_fetch_snapshot(group, from, position, offset, len_max);
            }
            PeerMessage::LedgerAsk { question, ask } => self.on_ledger_ask(from, question, &ask),
            PeerMessage::LedgerAnswer { question, items, more } => {
                self.on_ledger_answer(from, question, items, more);
            }
            PeerMessage::InboxAsk { question, ask } => self.on_inbox_ask(from, question, &ask),
            PeerMessage::InboxAnswer { question, answer } => self.on_inbox_answer(from, question, answer),
            PeerMessage::AuditFinding { group, finding } => self.on_audit_finding(group, from, finding),
            PeerMessage::AuditVerdict { group, position } => self.on_audit_verdict(group, from, position),
            PeerMessage::AuditOffer { group, mark, len } => self.on_audit_offer(group, from, mark, len),
            PeerMessage::LatencyAsk { group, position } => self.on_latency_ask(group, from, position),
            PeerMessage::LatencyAnswer { group, position, micros } => {
                self.on_latency_answer(group, from, position, micros);
            }
            PeerMessage::SnapshotPiece { group, position, offset, bytes } => {
                self.on_snapshot_piece(group, from, position, offset, bytes);
            }
        }
    }

    /// The peer is connected, a program of this message version and engine format, or not any more.
    pub(crate) fn on_peer_connection(&mut self, node: NodeId, program: Option<Program>) {
        let up = program.is_some();
        match program {
            Some((version, engine)) => {
                self.versions.insert(node, version);
                self.engines.insert(node, engine);
                self.peers.insert(node, version)
            }
            None => self.peers.remove(&node),
        };
        self.tell_life(node, true);
        if up {
            // Before anything of a group is said to it.
            self.meet_programs();
            self.tell_clock_to(node);
        }
        let input = if up { control::Input::PeerUp { node } } else { control::Input::PeerDown { node } };
        self.control(input);
        let groups: Vec<GroupId> = self.groups.keys().copied().collect();
        for group in groups {
            if !self.is_refused(group, node) {
                self.feed(group, single_leader::Input::Connection { node, up });
            }
        }
        self.tell_alive();
        self.reroute_sites();
        if !up {
            // What was sent there may be lost: it is sent again, to whoever leads then, under the same request id.
            self.forwards.unsend(|_, to| to == node);
        }
    }

    /// One message per peer and period, whatever the number of groups.
    pub(crate) fn send_heartbeats(&mut self) {
        let now = self.now.instant;
        if self.stopped.is_some() || now < self.heartbeat_at {
            return;
        }
        self.heartbeat_at = now + self.config.lease.heartbeat;
        let peers: Vec<NodeId> = self.peers.keys().copied().collect();
        for peer in &peers {
            self.tell_life(*peer, false);
        }
        let leads: Vec<(GroupId, Epoch)> = self
            .groups
            .iter()
            .filter_map(|(group, it)| it.replica.leads().map(|epoch| (*group, epoch)))
            .collect();
        if leads.is_empty() {
            return;
        }
        for peer in peers {
            let message = self.holder.heartbeat(now, peer, leads.clone());
            self.send(peer, PeerMessage::Lease(message));
        }
    }

    fn grant(&mut self, to: NodeId, sequence: u64, leads: &[(GroupId, Epoch)]) {
        if self.stopped.is_some() {
            return;
        }
        let groups = &self.groups;
        // A group that this node holds no copy of supports nobody.
        let refuses = |group, epoch| groups.get(&group).is_none_or(|it| it.replica.refuses(epoch));
        let message = self.grantor.grant(self.now.instant, to, sequence, leads, refuses);
        self.send(to, PeerMessage::Lease(message));
    }
}
