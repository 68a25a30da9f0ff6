//! From a client's data command to its reply: executed here when this node leads the group, else sent to who does.

use crate::blocking::Entry;
use crate::execute::{Context, Executed};
use crate::forward::{Origin, Outgoing, Purpose};
use crate::group::{Target, Unconfirmed, Waiter};
use crate::io::ConnectionId;
use crate::message::{Forward, ForwardOutcome, PeerMessage, Work};
use crate::node::{Flow, Node, Route};
use crate::replies::SlotId;
use crate::session::Receipt;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use commands::{Class, Flags, Spec};
use core::time::Duration;
use data::{GroupId, Index, Instant, KeyspaceId, NodeId, Position, RequestId};
use protocol::single_leader::ReadPermit;
use smallvec::SmallVec;
use wire::{Protocol, ReplyWriter};

/// How long a command may wait for a leader when the keyspace says nothing else.
const PATIENCE: Duration = Duration::from_millis(1000);
/// Uncommitted entries of one group beyond this are refused: a leader that nobody follows must not grow without bound.
const UNCOMMITTED_BYTES_MAX: usize = 128 << 20;

/// Several forwarded commands whose answers become one (FLUSHALL).
pub(crate) struct Batch {
    pub connection: ConnectionId,
    pub slot: SlotId,
    pub left: usize,
    pub error: Option<Bytes>,
}

impl Node {
    /// Where a keyspace is served now. A keyspace without a group gets one: the control plane is asked.
    pub(crate) fn route(&mut self, keyspace: KeyspaceId) -> Option<Route> {
        let route = self.routes.get(&keyspace).copied();
        if route.is_none() {
            self.ensure_group(keyspace);
        }
        route
    }

    /// Executes a data command of a client, or sends it on.
    pub(crate) fn serve(&mut self, connection: ConnectionId, spec: &'static Spec, args: &[&[u8]]) -> Flow {
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        let keyspace = session.keyspace;
        let in_order = session.forwarded == 0;
        let Some(Route { group, leader }) = self.route(keyspace) else {
            return self.forward_command(connection, spec, args);
        };
        let here = leader == Some(self.config.node)
            && in_order
            && self.groups.get(&group).is_some_and(|it| it.is_serving() && it.paused.is_none());
        if !here {
            if self.serve_stale(connection, group, spec, args) {
                return Flow::Continue;
            }
            return self.forward_command(connection, spec, args);
        }
        if let Some(refusal) = self.refuse_write(group, spec) {
            return self.reply_error(connection, &refusal);
        }
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        let Some(it) = self.groups.get_mut(&group) else { return Flow::Continue };
        let protocol = session.protocol;
        let mut context = Context {
            wall_ms: self.now.wall.middle_ms(),
            random: &mut self.random,
            protocol,
            request: RequestId::NONE,
        };
        session.replies.begin();
        let executed = it.execute(&mut context, spec, args, session.replies.current());
        self.conclude(connection, group, spec, args, executed)
    }

    /// Answers a read of a READONLY connection from this node's own copy, if it has one that follows a leader.
    fn serve_stale(
        &mut self,
        connection: ConnectionId,
        group: GroupId,
        spec: &'static Spec,
        args: &[&[u8]],
    ) -> bool {
        let Some(session) = self.sessions.get_mut(connection) else { return false };
        let Some(it) = self.groups.get(&group).filter(|_| session.stale_reads) else { return false };
        let protocol = session.protocol;
        session.replies.begin();
        if !it.read_stale(&mut self.random, spec, args, protocol, session.replies.current()) {
            return false;
        }
        session.replies.finish();
        session.receipt = Some(Receipt {
            keyspace: it.keyspace.id,
            group,
            node: self.config.node,
            position: it.applied_position(),
            stale: true,
            ..Receipt::default()
        });
        self.note_output(connection);
        true
    }

    /// Lets the reply begun last go when nothing holds it back, or holds it.
    fn conclude(
        &mut self,
        connection: ConnectionId,
        group: GroupId,
        spec: &'static Spec,
        args: &[&[u8]],
        executed: Executed,
    ) -> Flow {
        match executed {
            Executed::Read(depends) => self.conclude_read(connection, group, depends),
            Executed::Written(position) => self.conclude_write(connection, group, position),
            Executed::Nothing => return self.block(connection, group, spec, args),
            Executed::NotLeading => return self.forward_command(connection, spec, args),
        }
        Flow::Continue
    }

    pub(crate) fn conclude_read(&mut self, connection: ConnectionId, group: GroupId, depends: Index) {
        let permit = self.read_permit(group);
        let now = self.now.instant;
        let Some(it) = self.groups.get_mut(&group) else { return };
        let committed = depends <= it.replica.commit();
        let position = it.applied_position();
        let keyspace = it.keyspace.id;
        let Some(session) = self.sessions.get_mut(connection) else { return };
        let receipt = Receipt { keyspace, group, node: self.config.node, position, ..Receipt::default() };
        session.receipt = Some(receipt);
        if let ReadPermit::Until(_) = permit {
            it.read_in_turn = true;
            self.statistics.reads_leased += 1;
            if self.leased.last() != Some(&connection) {
                self.leased.push(connection);
            }
            if committed {
                session.replies.finish();
                self.note_output(connection);
                return;
            }
        }
        let slot = session.replies.hold();
        let to = Target::Client { connection, slot };
        let waiter = Waiter { index: depends, since: now, to, write: false };
        match permit {
            ReadPermit::Until(_) => self.wait_for_commit(group, waiter),
            ReadPermit::After(round) => self.wait_for_round(group, round, waiter),
            // No lease and nobody to ask: the next lease answers, or the time-out.
            ReadPermit::No => self.wait_for_round(group, u64::MAX, waiter),
        }
    }

    fn wait_for_round(&mut self, group: GroupId, round: u64, waiter: Waiter) {
        if let Some(it) = self.groups.get_mut(&group) {
            it.unconfirmed.push_back(Unconfirmed { round, waiter });
        }
    }

    pub(crate) fn conclude_write(&mut self, connection: ConnectionId, group: GroupId, position: Position) {
        self.unflushed.insert(group);
        let now = self.now.instant;
        let keyspace = self.groups.get(&group).map_or(KeyspaceId(0), |it| it.keyspace.id);
        let Some(session) = self.sessions.get_mut(connection) else { return };
        let slot = session.replies.hold();
        session.receipt = Some(Receipt {
            keyspace,
            group,
            node: self.config.node,
            position,
            write: true,
            ..Receipt::default()
        });
        let to = Target::Client { connection, slot };
        self.wait_for_commit(group, Waiter { index: position.index, since: now, to, write: true });
        self.wake_blocked(group);
    }

    /// Why a write must not even be tried: the words mean "surely not applied".
    pub(crate) fn refuse_write(&mut self, group: GroupId, spec: &Spec) -> Option<String> {
        if !spec.flags.has(Flags::WRITE) {
            return None;
        }
        if let Some(reason) = &self.stopped {
            return Some(format!("READONLY this node's disk failed ({reason}): write to another node"));
        }
        let it = self.groups.get(&group)?;
        let uncommitted = it.replica.newest().index.0.saturating_sub(it.replica.commit().0);
        if it.replica.pending_bytes() > UNCOMMITTED_BYTES_MAX || uncommitted > 1 << 20 {
            self.statistics.refused_writes += 1;
            return Some(String::from("TRYAGAIN too many writes wait for their followers: slow down"));
        }
        let view = it.replica.view()?;
        let needed = view.settings.commit.followers_needed(view.electable.len());
        let up = |r: &&data::view::Replica| r.node != self.config.node && self.peers.contains(&r.node);
        let reachable = view.electable.iter().filter(up).count();
        if reachable < needed {
            self.statistics.refused_writes += 1;
            return Some(format!(
                "NOREPLICAS {needed} followers must hold a write in this keyspace, {reachable} can be reached: try again"
            ));
        }
        None
    }

    /// Reads answered under a lease count only if the lease still ran after the reading (bugs: SL-06).
    pub(crate) fn check_leases(&mut self) {
        let now = self.now.instant;
        let leased = core::mem::take(&mut self.leased);
        let mut ended = None;
        let groups: Vec<GroupId> =
            self.groups.iter().filter(|(_, it)| it.read_in_turn).map(|(group, _)| *group).collect();
        for group in groups {
            let Some(it) = self.groups.get_mut(&group) else { continue };
            it.read_in_turn = false;
            let reads = core::mem::take(&mut it.leased);
            let holds = now < it.read_until;
            let round = if holds { 0 } else { self.round_of(group) };
            for waiter in reads {
                if holds {
                    self.wait_for_commit(group, waiter);
                } else {
                    self.wait_for_round(group, round, waiter);
                }
            }
            if !holds {
                ended = Some((group, round));
            }
        }
        let Some((group, round)) = ended else { return };
        // Rare (this process was held up in the middle of a turn): all that these connections were told in this turn waits
        // for a confirmation.
        for connection in leased {
            let Some(session) = self.sessions.get_mut(connection) else { continue };
            if let Some(slot) = session.replies.recall() {
                let to = Target::Client { connection, slot };
                let waiter = Waiter { index: Index(0), since: now, to, write: false };
                self.wait_for_round(group, round, waiter);
            }
        }
    }

    /// The confirmation round that a read waits for now.
    fn round_of(&mut self, group: GroupId) -> u64 {
        match self.read_permit(group) {
            ReadPermit::After(round) => round,
            ReadPermit::Until(_) | ReadPermit::No => u64::MAX,
        }
    }

    /// Reads that wait for a round: a lease that runs again answers them, a round that can be asked for replaces "some time".
    pub(crate) fn tend_unconfirmed(&mut self, group: GroupId) {
        if self.groups.get(&group).is_none_or(|it| it.unconfirmed.is_empty()) {
            return;
        }
        match self.read_permit(group) {
            ReadPermit::Until(_) => {
                let Some(it) = self.groups.get_mut(&group) else { return };
                let reads: Vec<Unconfirmed> = it.unconfirmed.drain(..).collect();
                for read in reads {
                    self.wait_for_commit(group, read.waiter);
                }
            }
            ReadPermit::After(round) => {
                let Some(it) = self.groups.get_mut(&group) else { return };
                for read in it.unconfirmed.iter_mut().filter(|read| read.round == u64::MAX) {
                    read.round = round;
                }
            }
            ReadPermit::No => {}
        }
    }

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
        let work = Work::Command(args.iter().map(|arg| Bytes::copy_from_slice(arg)).collect());
        self.forward_work(
            connection,
            work,
            Purpose::Command,
            spec.flags.has(Flags::WRITE),
            blocking,
            deadline,
        )
    }

    fn patience_of(&self, connection: ConnectionId) -> Instant {
        let keyspace = self.sessions.get(connection).map_or(KeyspaceId(0), |session| session.keyspace);
        let patience = self
            .map
            .keyspaces
            .get(&keyspace)
            .map_or(PATIENCE, |it| Duration::from_millis(u64::from(it.settings.timeout_ms)));
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
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        session.replies.begin();
        session.replies.rollback();
        let slot = session.replies.hold();
        let outgoing = Outgoing {
            keyspace: session.keyspace,
            protocol: session.protocol,
            work,
            origin: Origin::Client { connection, slot, purpose },
            deadline,
            write,
            blocking,
            sent_to: None,
            may_be_done: false,
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
        let outgoing = Outgoing {
            keyspace: session.keyspace,
            protocol: session.protocol,
            work: Work::Command(args),
            origin: Origin::Client { connection, slot, purpose: Purpose::Command },
            deadline: deadline.map(|deadline| deadline + PATIENCE),
            write: true,
            blocking: true,
            sent_to: None,
            may_be_done: false,
        };
        if let Err(outgoing) = self.forwards.add(outgoing) {
            self.settle_forwarded(
                outgoing,
                b"-TRYAGAIN too many commands wait for other nodes\r\n",
                Position::default(),
                false,
            );
        }
    }

    /// One of several pieces of work whose answers become one reply, held already.
    pub(crate) fn forward_part(
        &mut self,
        connection: ConnectionId,
        keyspace: KeyspaceId,
        protocol: Protocol,
        work: Work,
        purpose: Purpose,
        deadline: Option<Instant>,
    ) {
        let outgoing = Outgoing {
            keyspace,
            protocol,
            work,
            origin: Origin::Client { connection, slot: 0, purpose },
            deadline,
            write: true,
            blocking: false,
            sent_to: None,
            may_be_done: false,
        };
        if let Some(session) = self.sessions.get_mut(connection) {
            session.forwarded += 1;
        }
        if let Err(outgoing) = self.forwards.add(outgoing) {
            let text = b"-TRYAGAIN too many commands wait for other nodes\r\n";
            self.settle_forwarded(outgoing, text, Position::default(), false);
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
        for sequence in self.forwards.unsent() {
            let Some(keyspace) = self.forwards.get_mut(sequence).map(|o| o.keyspace) else { continue };
            let Some(Route { group, leader: Some(leader) }) = self.route(keyspace) else { continue };
            let me = self.config.node;
            let reachable = if leader == me {
                self.groups.get(&group).is_some_and(|it| it.is_serving() && it.paused.is_none())
            } else {
                self.peers.contains(&leader)
            };
            if !reachable {
                continue;
            }
            let now = self.now.instant;
            let request = self.request_id(sequence);
            let Some(outgoing) = self.forwards.get_mut(sequence) else { continue };
            outgoing.sent_to = Some(leader);
            outgoing.may_be_done = true;
            let left = outgoing.deadline.map(|d| d.since(now).as_millis().clamp(1, u128::from(u32::MAX)));
            let forward = Forward {
                request,
                keyspace,
                group,
                protocol: outgoing.protocol,
                time_left_ms: left.unwrap_or(0) as u32,
                work: outgoing.work.clone(),
            };
            if leader == me {
                self.on_forward(me, forward);
            } else {
                self.send(leader, PeerMessage::Forward(forward));
            }
        }
    }

    /// Another node's client (or one of this node's own that had to wait) wants something of a group led here.
    pub(crate) fn on_forward(&mut self, from: NodeId, forward: Forward) {
        let Forward { request, group, protocol, time_left_ms, work, .. } = forward;
        let serving = self.stopped.is_none()
            && self.groups.get(&group).is_some_and(|it| it.is_serving() && it.paused.is_none());
        if !serving {
            self.not_leader(from, request);
            return;
        }
        match work {
            Work::Command(args) => self.forwarded_command(from, group, request, protocol, time_left_ms, args),
            Work::Transaction { commands, watch } => {
                self.forwarded_transaction(from, group, request, protocol, commands, watch);
            }
            Work::Watch { keys, watch } => {
                let number = self.watch_here(group, watch, keys.iter().map(|key| &key[..]));
                let reply = Bytes::from(format!(":{number}\r\n"));
                self.conclude_forwarded(from, group, request, Executed::Read(Index(0)), reply);
            }
            Work::Unwatch { watch } => {
                if let Some(it) = self.groups.get_mut(&group) {
                    it.watches.end(watch);
                }
            }
            Work::Holders { position } => {
                let reply = Bytes::from(format!(":{}\r\n", self.holders(group, position)));
                self.conclude_forwarded(from, group, request, Executed::Read(Index(0)), reply);
            }
        }
    }

    fn forwarded_command(
        &mut self,
        from: NodeId,
        group: GroupId,
        request: RequestId,
        protocol: Protocol,
        time_left_ms: u32,
        args: Vec<Bytes>,
    ) {
        if self.answered_before(from, group, request) {
            return;
        }
        let borrowed: SmallVec<[&[u8]; 8]> = args.iter().map(|arg| &arg[..]).collect();
        let Some(spec) = borrowed.first().and_then(|name| commands::find(name)) else {
            self.refuse_forwarded(from, request, "ERR unknown command of a newer version");
            return;
        };
        if let Some(refusal) = self.refuse_write(group, spec) {
            self.refuse_forwarded(from, request, &refusal);
            return;
        }
        let mut reply = Vec::new();
        let Some(it) = self.groups.get_mut(&group) else { return };
        let wall_ms = self.now.wall.middle_ms();
        let mut context = Context { wall_ms, random: &mut self.random, protocol, request };
        let executed = it.execute(&mut context, spec, &borrowed, &mut reply);
        if executed == Executed::Nothing {
            let left = Duration::from_millis(u64::from(time_left_ms));
            let deadline = (time_left_ms > 0).then(|| self.now.instant + left.saturating_sub(PATIENCE));
            let keys = blocking_keys(spec, &borrowed);
            let to = Target::Peer { node: from, request, reply: Bytes::new() };
            let args = args.clone();
            it.blocked.add(Entry { spec, args, keys, protocol, request, to, deadline });
            return;
        }
        self.conclude_forwarded(from, group, request, executed, Bytes::from(reply));
    }

    /// A request that was executed before gets its old answer; true when there is nothing more to do.
    pub(crate) fn answered_before(&mut self, from: NodeId, group: GroupId, request: RequestId) -> bool {
        use crate::answers::Known;
        let Some(it) = self.groups.get_mut(&group) else { return true };
        match it.answers.find(request) {
            Known::New => {
                let waiting = it.blocked.of(|entry| entry.request == request);
                for number in waiting {
                    // Asked again while it waits: the newest asking is the one that is answered.
                    it.blocked.remove(number);
                }
                false
            }
            Known::Done { position, reply } => {
                self.conclude_forwarded(from, group, request, Executed::Written(position), reply);
                true
            }
            Known::TooOld => {
                let text = "INDETERMINATE the request is too old to know whether it was executed";
                self.refuse_forwarded(from, request, text);
                true
            }
        }
    }

    /// Holds the answer to another node until what it shows is committed (and confirmed, for a read).
    pub(crate) fn conclude_forwarded(
        &mut self,
        from: NodeId,
        group: GroupId,
        request: RequestId,
        executed: Executed,
        reply: Bytes,
    ) {
        let since = self.now.instant;
        let to = Target::Peer { node: from, request, reply };
        match executed {
            Executed::Written(position) => {
                self.unflushed.insert(group);
                self.wait_for_commit(group, Waiter { index: position.index, since, to, write: true });
                self.wake_blocked(group);
            }
            Executed::Read(index) => {
                let waiter = Waiter { index, since, to, write: false };
                match self.read_permit(group) {
                    // The answer leaves after the end of the turn; the asking arrived before it, and so did the lease's check.
                    ReadPermit::Until(_) => self.confirm_at_end_of_turn(group, waiter),
                    ReadPermit::After(round) => self.wait_for_round(group, round, waiter),
                    ReadPermit::No => self.wait_for_round(group, u64::MAX, waiter),
                }
            }
            Executed::Nothing | Executed::NotLeading => self.not_leader(from, request),
        }
    }

    /// A read for another node under a lease: released when the lease is checked again at the end of the turn.
    fn confirm_at_end_of_turn(&mut self, group: GroupId, waiter: Waiter) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        it.read_in_turn = true;
        it.leased.push(waiter);
    }

    pub(crate) fn answer_peer(&mut self, node: NodeId, request: RequestId, reply: Bytes, position: Position) {
        self.answer(node, request, ForwardOutcome::Reply { bytes: reply, position });
    }
    pub(crate) fn not_leader(&mut self, node: NodeId, request: RequestId) {
        self.answer(node, request, ForwardOutcome::NotLeader);
    }
    fn refuse_forwarded(&mut self, node: NodeId, request: RequestId, text: &str) {
        let mut bytes = Vec::new();
        ReplyWriter::new(&mut bytes, Protocol::Resp2).error(text);
        self.answer_peer(node, request, Bytes::from(bytes), Position::default());
    }
    fn answer(&mut self, node: NodeId, request: RequestId, outcome: ForwardOutcome) {
        if node == self.config.node {
            self.on_answer(request, outcome);
        } else {
            self.send(node, PeerMessage::Answer { request, outcome });
        }
    }

    /// A leader answered something that this node forwarded.
    pub(crate) fn on_answer(&mut self, request: RequestId, outcome: ForwardOutcome) {
        if request.origin != self.config.node || request.process != self.config.process {
            return;
        }
        match outcome {
            ForwardOutcome::NotLeader => {
                if let Some(outgoing) = self.forwards.get_mut(request.sequence) {
                    outgoing.sent_to = None;
                }
            }
            ForwardOutcome::Reply { bytes, position } => {
                let Some(outgoing) = self.forwards.remove(request.sequence) else { return };
                self.settle_forwarded(outgoing, &bytes, position, false);
            }
        }
    }

    /// A forwarded command has its reply.
    pub(crate) fn settle_forwarded(
        &mut self,
        outgoing: Outgoing,
        bytes: &[u8],
        position: Position,
        indeterminate: bool,
    ) {
        let Origin::Client { connection, slot, purpose } = outgoing.origin else { return };
        let route = self.routes.get(&outgoing.keyspace).copied();
        if let Some(session) = self.sessions.get_mut(connection) {
            session.forwarded -= 1;
            session.receipt = Some(Receipt {
                keyspace: outgoing.keyspace,
                group: route.map_or(GroupId(0), |route| route.group),
                node: outgoing.sent_to.unwrap_or_default(),
                position,
                write: outgoing.write,
                indeterminate,
                stale: false,
            });
        }
        match purpose {
            Purpose::Command => self.fill(connection, slot, bytes),
            Purpose::Watch => self.watched(connection, slot, route.map(|r| r.group), bytes),
            Purpose::Part { batch } => self.settle_part(batch, bytes),
        }
        if outgoing.blocking {
            self.resume(connection);
        }
    }

    fn settle_part(&mut self, number: u64, bytes: &[u8]) {
        let Some(batch) = self.batches.get_mut(&number) else { return };
        batch.left -= 1;
        if bytes.first() == Some(&b'-') {
            batch.error = Some(Bytes::copy_from_slice(bytes));
        }
        if batch.left > 0 {
            return;
        }
        if let Some(batch) = self.batches.remove(&number) {
            let bytes = batch.error.unwrap_or_else(|| Bytes::from_static(b"+OK\r\n"));
            self.fill(batch.connection, batch.slot, &bytes);
        }
    }

    /// Forwarded commands whose time is over.
    pub(crate) fn tend_forwards(&mut self) {
        for sequence in self.forwards.due(self.now.instant) {
            let Some(outgoing) = self.forwards.remove(sequence) else { continue };
            let mut bytes = Vec::new();
            let mut writer = ReplyWriter::new(&mut bytes, outgoing.protocol);
            let indeterminate = outgoing.write && outgoing.may_be_done;
            if indeterminate {
                self.statistics.indeterminate += 1;
                writer.error(
                    "INDETERMINATE no answer from the leader in time: the write may or may not take effect",
                );
            } else if outgoing.sent_to.is_none() {
                writer.error("CLUSTERDOWN no leader serves this keyspace at the moment: try again");
            } else {
                writer.error("TRYAGAIN the leader did not confirm the read in time");
            }
            self.settle_forwarded(outgoing, &bytes, Position::default(), indeterminate);
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

    /// A held reply of a client gets its final bytes.
    pub(crate) fn fill(&mut self, connection: ConnectionId, slot: SlotId, bytes: &[u8]) {
        if let Some(session) = self.sessions.get_mut(connection)
            && session.replies.fill(slot, bytes)
        {
            self.note_output(connection);
        }
    }

    /// A client's held reply will not come.
    pub(crate) fn give_up_client(
        &mut self,
        connection: ConnectionId,
        slot: SlotId,
        write: bool,
        group: GroupId,
        why: &str,
    ) {
        let mut bytes = Vec::new();
        let mut writer = ReplyWriter::new(&mut bytes, Protocol::Resp2);
        if write {
            self.statistics.indeterminate += 1;
            writer.error(&format!(
                "INDETERMINATE {why}: the write may or may not take effect (group {})",
                group.0
            ));
            if let Some(receipt) = self.sessions.get_mut(connection).and_then(|s| s.receipt.as_mut()) {
                receipt.indeterminate = true;
            }
        } else {
            writer.error(&format!("TRYAGAIN {why}: nothing was read"));
        }
        self.fill(connection, slot, &bytes);
    }
}

/// The keys that a blocking command waits for.
pub(crate) fn blocking_keys(spec: &'static Spec, args: &[&[u8]]) -> Vec<alloc::boxed::Box<[u8]>> {
    let keys = commands::docs::keys_of(spec, args);
    let keys = keys.map(|keys| keys.iter().map(|key| (*key).into()).collect::<Vec<_>>()).unwrap_or_default();
    // A move waits for its source only.
    if matches!(spec.name, "blmove" | "brpoplpush") { keys.into_iter().take(1).collect() } else { keys }
}
