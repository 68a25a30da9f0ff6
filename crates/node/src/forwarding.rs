//! Commands that this node sends to a leader elsewhere: kept until they are answered, in order, under one request id.

use crate::forward::{EarlyAnswer, Origin, Outgoing, Purpose};
use crate::io::ConnectionId;
use crate::message::{Forward, ForwardOutcome, HELD_SINCE, OPTIONS_SINCE, PeerMessage, Work};
use crate::node::{Flow, Node};
use crate::reads::{FOLLOWED, POSITION_SINCE_VERSION};
use crate::replies::SlotId;
use crate::route::{is_keyless, slot_of_work};
use crate::serve::PATIENCE;
use crate::session::{Receipt, WriteName};
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;
use commands::{Class, Flags, Spec};
use core::time::Duration;
use data::plant::{self, Bug};
use data::{GroupId, Instant, KeyspaceId, NodeId, Position, RequestId};
use wire::{Protocol, ReplyWriter};

impl Node {
    /// A command whose leader is elsewhere, or unknown: kept and sent; its reply is held.
    pub(crate) fn forward_command(
        &mut self,
        connection: ConnectionId,
        spec: &'static Spec,
        args: &[&[u8]],
    ) -> Flow {
        let blocking = spec.class == Class::Blocking;
        let mut deadline = Some(self.patience_of(connection));
        if blocking {
            match commands::blocking::timeout_of(spec.name, args) {
                Ok(None) => deadline = None,
                Ok(Some(ms)) => {
                    deadline = Some(self.now.instant + PATIENCE + Duration::from_millis(ms));
                }
                Err(error) => return self.reply_error(connection, error.text()),
            }
        }
        let write = spec.flags.has(Flags::WRITE);
        // What waits for other sites is waited for by the commands behind it.
        let keyspace = self.sessions.get(connection).map_or(KeyspaceId(0), |session| session.keyspace);
        let blocking = blocking || (write && self.claims_writes(keyspace));
        let work = Work::Command(args.iter().map(|arg| Bytes::copy_from_slice(arg)).collect());
        self.forward_work(connection, work, Purpose::Command, write, blocking, deadline)
    }

    pub(crate) fn patience_of(&self, connection: ConnectionId) -> Instant {
        let keyspace = self.sessions.get(connection).map_or(KeyspaceId(0), |session| session.keyspace);
        let patience =
            self.map.keyspaces.get(&keyspace).map_or(PATIENCE, |it| self.patience_asked(&it.settings));
        self.now.instant + patience
    }

    /// Holds a reply for some work of this connection's keyspace that a leader shall do.
    pub(crate) fn forward_work(
        &mut self,
        connection: ConnectionId,
        work: Work,
        purpose: Purpose,
        write: bool,
        blocking: bool,
        deadline: Option<Instant>,
    ) -> Flow {
        self.forward_to(connection, slot_of_work(&work), work, purpose, write, blocking, deadline)
    }

    /// The same, for the group of a slot.
    pub(crate) fn forward_to(
        &mut self,
        connection: ConnectionId,
        shard: u16,
        work: Work,
        purpose: Purpose,
        write: bool,
        blocking: bool,
        deadline: Option<Instant>,
    ) -> Flow {
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        session.replies.begin();
        session.replies.rollback();
        let slot = session.replies.hold();
        let origin = Origin::Client { connection, slot, purpose };
        let (keyspace, protocol, options) = (session.keyspace, session.protocol, self.options.clone());
        // A read waits for no follower: a leader of any version answers it.
        let options = options.filter(|_| write);
        let (guarded, command) = (session.guards() && !write, session.commands);
        let outgoing = Outgoing {
            command,
            slot: shard,
            write,
            options,
            guarded,
            blocking,
            ..Outgoing::new(keyspace, protocol, work, origin, deadline)
        };
        if self.forwards.add(outgoing).is_err() {
            let mut bytes = Vec::new();
            let text = "TRYAGAIN too many commands wait for other nodes: slow down";
            ReplyWriter::new(&mut bytes, Protocol::Resp2).error(text);
            self.fill(connection, slot, &bytes);
            return Flow::Continue;
        }
        self.statistics.forwarded += 1;
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        session.forwarded += 1;
        if blocking {
            session.paused = true;
            return Flow::Pause;
        }
        Flow::Continue
    }

    /// A command that waited here for data goes to the next leader; its reply is held already.
    pub(crate) fn forward_held(
        &mut self,
        connection: ConnectionId,
        slot: SlotId,
        args: Vec<Bytes>,
        deadline: Option<Instant>,
    ) {
        let Some(session) = self.sessions.get_mut(connection) else { return };
        session.forwarded += 1;
        let origin = Origin::Client { connection, slot, purpose: Purpose::Command };
        let command = session.commands;
        let (keyspace, protocol) = (session.keyspace, session.protocol);
        let deadline = deadline.map(|deadline| deadline + PATIENCE);
        let outgoing = Outgoing::new(keyspace, protocol, Work::Command(args), origin, deadline);
        let outgoing =
            Outgoing { command, write: true, blocking: true, options: self.options.clone(), ..outgoing };
        if let Err(outgoing) = self.forwards.add(outgoing) {
            self.settle_forwarded(
                *outgoing,
                b"-TRYAGAIN too many commands wait for other nodes\r\n",
                Position::default(),
                None,
                false,
            );
        }
    }

    /// One of several pieces of work whose answers become one reply, held already.
    pub(crate) fn forward_part(
        &mut self,
        connection: ConnectionId,
        (keyspace, slot): (KeyspaceId, u16),
        protocol: Protocol,
        work: Work,
        purpose: Purpose,
        write: bool,
        deadline: Option<Instant>,
    ) {
        let origin = Origin::Client { connection, slot: 0, purpose };
        let mut outgoing =
            Outgoing { slot, write, ..Outgoing::new(keyspace, protocol, work, origin, deadline) };
        if let Some(session) = self.sessions.get_mut(connection) {
            session.forwarded += 1;
            (outgoing.guarded, outgoing.command) = (session.guards() && !write, session.commands);
        }
        if let Err(outgoing) = self.forwards.add(outgoing) {
            let text = b"-TRYAGAIN too many commands wait for other nodes\r\n";
            self.settle_forwarded(*outgoing, text, Position::default(), None, false);
        }
    }

    pub(crate) fn request_id(&self, sequence: u64) -> RequestId {
        RequestId { origin: self.config.node, process: self.config.process, sequence }
    }

    /// Sends what has not been sent to whoever leads now. Work for a group that this node leads is done here.
    pub(crate) fn send_unsent(&mut self) {
        if !self.forwards.has_unsent() {
            return;
        }
        let has_sites = !self.map.multi_leader.is_empty();
        for sequence in self.forwards.unsent() {
            let Some(outgoing) = self.forwards.get_mut(sequence) else { continue };
            let (keyspace, slot) = (outgoing.keyspace, outgoing.slot);
            let (told, moves) = (outgoing.home, matches!(outgoing.work, Work::MoveHome { .. }));
            // What speaks of all keys each site answers by itself.
            let of_all = has_sites && matches!(&outgoing.work, Work::Command(args) if is_keyless(args));
            // Another site's group does not know the request: there it would be another write.
            let sent = (outgoing.write && outgoing.copies > 0).then_some(outgoing.group);
            let route = match sent.filter(|_| self.is_multi_leader(keyspace)) {
                Some(group) => Some((group, self.map.leader_of(group))),
                None => {
                    let told = told.map(|group| (group, self.map.leader_of(group)));
                    told.or_else(|| self.home_for(keyspace, slot, moves).filter(|_| !of_all))
                        .or_else(|| self.route(keyspace, slot).map(|route| (route.group, route.leader)))
                }
            };
            let Some((group, Some(leader))) = route else { continue };
            let me = self.config.node;
            let reachable = if leader == me {
                self.groups.get(&group).is_some_and(|it| it.is_serving() && it.paused.is_none())
            } else {
                self.peers.contains_key(&leader)
            };
            if !reachable {
                continue;
            }
            let now = self.now.instant;
            let again = self.forwards.get_mut(sequence).is_some_and(|outgoing| outgoing.copies > 0);
            let sequence = match again && plant::is(Bug::ResendsAnew) {
                true => self.forwards.renumber(sequence),
                false => sequence,
            };
            let request = self.request_id(sequence);
            let old = leader != me && self.peers.get(&leader).is_some_and(|version| *version < OPTIONS_SINCE);
            let Some(outgoing) = self.forwards.get(sequence) else { continue };
            let sharded_since = self.is_of_all(outgoing);
            if outgoing.turned_away == Some(leader) {
                continue;
            }
            let divided = sharded_since && outgoing.copies == 0;
            if divided && let Some(outgoing) = self.forwards.remove(sequence) {
                let text = b"-TRYAGAIN the keyspace is divided into shards, as this node has just heard: nothing was done\r\n";
                self.settle_forwarded(outgoing, text, Position::default(), None, false);
                continue;
            }
            let Some(outgoing) = self.forwards.get_mut(sequence) else { continue };
            if outgoing.asks_newly() && old {
                if outgoing.copies == 0
                    && let Some(outgoing) = self.forwards.remove(sequence)
                {
                    let text = b"-ERR the leader's node runs an older version, which knows no such options: nothing was done\r\n";
                    self.settle_forwarded(outgoing, text, Position::default(), None, false);
                }
                continue;
            }
            let session = match outgoing.origin {
                Origin::Client { connection, .. } if has_sites => Some(connection),
                _ => None,
            };
            let is_told = matches!(outgoing.work, Work::Held);
            let session = session.filter(|connection| !is_told && self.waits_for_site(*connection, group));
            let held = session.and_then(|connection| self.wanted_of_site(connection, group)).cloned();
            let knows = |version: &u8| *version >= HELD_SINCE;
            let is_known = leader == me || self.peers.get(&leader).is_some_and(knows);
            let Some(outgoing) = self.forwards.get_mut(sequence) else { continue };
            if (is_told || held.is_some()) && !is_known {
                if outgoing.copies == 0
                    && let Some(outgoing) = self.forwards.remove(sequence)
                {
                    let text = b"-TRYAGAIN the leader's node runs an older version, which knows no sessions of other sites: nothing was done\r\n";
                    self.settle_forwarded(outgoing, text, Position::default(), None, false);
                }
                continue;
            }
            outgoing.held = held.clone().map(Box::new);
            outgoing.scattered |= outgoing.copies > 0 && outgoing.group != group;
            outgoing.group = group;
            outgoing.sent_to = Some(leader);
            outgoing.copies = outgoing.copies.saturating_add(1);
            let left = outgoing.deadline.map(|d| d.since(now).as_millis().clamp(1, u128::from(u32::MAX)));
            let forward = Forward {
                request,
                keyspace,
                group,
                protocol: outgoing.protocol,
                time_left_ms: left.unwrap_or(0) as u32,
                work: match held {
                    Some(held) => Work::Behind { held, work: Box::new(outgoing.work.clone()) },
                    None => outgoing.work.clone(),
                },
                options: outgoing.options.clone(),
            };
            if leader == me {
                self.on_forward(me, forward);
            } else {
                self.send(leader, PeerMessage::Forward(forward));
            }
        }
    }

    /// A node answered something that this node forwarded.
    pub(crate) fn on_answer(&mut self, from: NodeId, request: RequestId, outcome: ForwardOutcome) {
        if request.origin != self.config.node || request.process != self.config.process {
            return;
        }
        match outcome {
            ForwardOutcome::NotLeader => {
                // This node's map or the other's is old. Asked again at once, the two would do nothing else. One that was asked
                // earlier says nothing of the one that is asked now.
                if let Some(outgoing) = self.forwards.get_mut(request.sequence)
                    && outgoing.sent_to == Some(from)
                {
                    outgoing.turned_away = outgoing.sent_to.take();
                }
            }
            ForwardOutcome::AtHome { group } => self.send_home(from, request.sequence, group),
            ForwardOutcome::Reply { bytes, position, seen } => {
                let unwritten = position == Position::default();
                // Sent away by one that did nothing, it is known to one other node: a second word of the first says nothing of that.
                let is_late = |it: &Outgoing| it.write && it.copies == 1 && it.sent_to != Some(from);
                if unwritten && self.forwards.get(request.sequence).is_some_and(is_late) {
                    return;
                }
                // Asked again, it would be executed behind what came after it.
                if let Some(outgoing) = self.forwards.get(request.sequence)
                    && self.is_early(outgoing, seen)
                {
                    let early = EarlyAnswer { from, bytes, position, seen };
                    if let Some(outgoing) = self.forwards.get_mut(request.sequence) {
                        outgoing.early.get_or_insert_with(|| Box::new(early));
                    }
                    return;
                }
                let Some(mut outgoing) = self.forwards.remove(request.sequence) else { return };
                // Any of those that were asked, and not only the last: its answer counts like any.
                outgoing.sent_to = Some(from);
                if outgoing.write && outgoing.copies > 1 && unwritten {
                    self.settle_doubtful(outgoing);
                    return;
                }
                self.settle_forwarded(outgoing, &bytes, position, seen, false);
            }
        }
    }

    /// Whether an answer says what this node cannot judge yet: to a read of a session that must hear what was lost, from a leader of
    /// whose election it has not heard.
    fn is_early(&self, outgoing: &Outgoing, seen: Option<Position>) -> bool {
        let Origin::Client { connection, .. } = outgoing.origin else { return false };
        let guarded = outgoing.guarded && !outgoing.scattered;
        seen.is_some_and(|seen| guarded && self.is_unheard(connection, outgoing.group, seen.epoch))
    }
    /// The map may tell by now what was lost before answers that wait.
    pub(crate) fn settle_early(&mut self) {
        for sequence in self.forwards.early() {
            let Some(outgoing) = self.forwards.get(sequence) else { continue };
            if self.is_early(outgoing, outgoing.early.as_ref().and_then(|early| early.seen)) {
                continue;
            }
            let Some(mut outgoing) = self.forwards.remove(sequence) else { continue };
            let Some(early) = outgoing.early.take() else { continue };
            outgoing.sent_to = Some(early.from);
            self.settle_forwarded(outgoing, &early.bytes, early.position, early.seen, false);
        }
    }

    /// One copy of a write was answered without writing, another may have been executed before or behind it: "surely not"
    /// would be a lie.
    pub(crate) fn settle_doubtful(&mut self, outgoing: Outgoing) {
        self.statistics.indeterminate += 1;
        let mut bytes = Vec::new();
        ReplyWriter::new(&mut bytes, outgoing.protocol).error(
            "INDETERMINATE the write was sent again after a failure and then changed nothing: an earlier sending may have taken effect",
        );
        self.settle_forwarded(outgoing, &bytes, Position::default(), None, true);
    }

    /// A forwarded command has its reply.
    pub(crate) fn settle_forwarded(
        &mut self,
        outgoing: Outgoing,
        bytes: &[u8],
        position: Position,
        seen: Option<Position>,
        indeterminate: bool,
    ) {
        if let Origin::Copy { group, asked_at } = outgoing.origin {
            let moved_at = <[u8; 8]>::try_from(bytes).map_or(0, u64::from_le_bytes);
            self.on_position(group, asked_at, seen.filter(|_| moved_at <= self.map.moved_at));
            return;
        }
        let Origin::Client { connection, slot, purpose } = outgoing.origin else { return };
        let sent = (outgoing.group != GroupId(0)).then_some(outgoing.group);
        let group = sent.or_else(|| self.route_of(&outgoing).map(|route| route.group));
        let (position, seen) = match outgoing.scattered {
            true => (Position::default(), None),
            false => (position, seen),
        };
        // A write whose place is not known may be asked for by its id.
        let nameless = !outgoing.write || position != Position::default();
        let name = (!nameless).then(|| {
            let client = outgoing.options.as_ref().and_then(|options| options.client.clone());
            Box::new(WriteName { request: self.request_id(outgoing.sequence), client })
        });
        let lost = group.filter(|_| outgoing.guarded).and_then(|group| self.refuse_lost(connection, group));
        let newest = |group| self.sessions.get(connection).map(|session| session.seen.newest_epoch(group));
        let followed = group
            .filter(|_| outgoing.guarded)
            .zip(seen)
            .is_some_and(|(group, seen)| newest(group).is_some_and(|newest| seen.epoch < newest));
        let lost = lost.or_else(|| followed.then(|| FOLLOWED.into()));
        let lost = lost.map(|text: alloc::string::String| {
            let mut bytes = Vec::new();
            ReplyWriter::new(&mut bytes, outgoing.protocol).error(&text);
            bytes
        });
        let bytes = lost.as_deref().unwrap_or(bytes);
        if lost.is_none() && purpose != Purpose::Holders {
            self.note_answer(connection, group, &outgoing, position, seen);
        }
        if let Some(session) = self.sessions.get_mut(connection) {
            session.forwarded -= 1;
            let receipt = Receipt {
                keyspace: outgoing.keyspace,
                group: group.unwrap_or_default(),
                node: outgoing.sent_to.unwrap_or_default(),
                position,
                write: outgoing.write,
                indeterminate,
                asked: outgoing.options.as_ref().and_then(|options| options.asked.clone()).map(Box::new),
                name,
                ..Receipt::default()
            };
            if purpose != Purpose::Holders {
                session.achieved(outgoing.command, receipt);
            }
        }
        match purpose {
            Purpose::Command => self.fill(connection, slot, bytes),
            Purpose::Watch => self.watched(connection, slot, group, bytes),
            Purpose::Part { batch, at } => self.settle_part(batch, at, bytes),
            Purpose::Scan { slot: at, next } => self.settle_scan(connection, slot, (at, next), bytes),
            Purpose::Holders => self.on_holders(connection, slot, bytes),
        }
        if outgoing.blocking {
            self.resume(connection);
        }
    }

    /// The session remembers where what it was answered stands.
    fn note_answer(
        &mut self,
        connection: ConnectionId,
        group: Option<GroupId>,
        outgoing: &Outgoing,
        position: Position,
        seen: Option<Position>,
    ) {
        let (Some(group), Some(leader)) = (group, outgoing.sent_to) else { return };
        let told = seen.or((position != Position::default()).then_some(position));
        let old = |version: &u8| *version < POSITION_SINCE_VERSION;
        let untold = told.is_none() && (outgoing.scattered || self.peers.get(&leader).is_some_and(old));
        match told {
            Some(position) => {
                self.note_seen(connection, group, position);
                if let Some(held) = &outgoing.held {
                    self.met_site(connection, group, held);
                }
            }
            // A leader of an older version does not tell what a read showed.
            None if untold => {
                if let Some(session) = self.sessions.get_mut(connection) {
                    session.seen.note_unplaced(group);
                }
            }
            None => {}
        }
    }

    /// Forwarded commands whose time is over.
    pub(crate) fn tend_forwards(&mut self) {
        self.settle_early();
        self.forwards.forgive();
        for sequence in self.forwards.due(self.now.instant) {
            let Some(outgoing) = self.forwards.remove(sequence) else { continue };
            let mut bytes = Vec::new();
            let mut writer = ReplyWriter::new(&mut bytes, outgoing.protocol);
            let indeterminate = outgoing.write && outgoing.copies > 0;
            if indeterminate {
                self.statistics.indeterminate += 1;
                writer.error(
                    "INDETERMINATE no answer from the leader in time: the write may or may not take effect",
                );
            } else if outgoing.early.is_some() {
                writer.error("TRYAGAIN this node has not heard what the election before the answer kept: nothing was done");
            } else if outgoing.sent_to.is_none() {
                writer.error("CLUSTERDOWN no leader serves this keyspace at the moment: try again");
            } else {
                writer.error("TRYAGAIN the leader did not confirm the read in time");
            }
            self.settle_forwarded(outgoing, &bytes, Position::default(), None, indeterminate);
        }
    }

    /// Nobody waits for this connection's forwarded commands any more.
    pub(crate) fn cancel_forwards(&mut self, connection: ConnectionId) {
        for sequence in self.forwards.of_connection(connection) {
            let request = self.request_id(sequence);
            let Some(outgoing) = self.forwards.remove(sequence) else { continue };
            match outgoing.sent_to.filter(|_| outgoing.blocking) {
                Some(node) if node == self.config.node => self.on_cancel(node, request),
                Some(node) => self.send(node, PeerMessage::Cancel { request }),
                None => {}
            }
        }
    }
}
