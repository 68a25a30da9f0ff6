//! Commands of other nodes' clients, executed by the leader: once each, answered when what they show is committed.

use crate::admin::wait;
use crate::blocking::Entry;
use crate::execute::{Context, Executed, Identity};
use crate::group::{Target, Waiter};
use crate::message::{Forward, ForwardOutcome, PeerMessage, Work};
use crate::node::Node;
use crate::reads::POSITION_SINCE_VERSION;
use crate::repeat::Repeat;
use crate::route::{CROSSSLOT, Placed};
use crate::serve::{PATIENCE, blocking_keys};
use alloc::format;
use alloc::vec::Vec;
use bytes::Bytes;
use commands::Flags;
use core::time::Duration;
use data::{GroupId, Index, NodeId, Position, RequestId};
use protocol::single_leader::ReadPermit;
use smallvec::SmallVec;
use wire::{Protocol, ReplyWriter};

/// What is read by whoever writes to all keys while some of them change their owner.
const FENCED: &str =
    "TRYAGAIN slots are moving to another shard at this moment: nothing was done in this one";

impl Node {
    /// Another node's client (or one of this node's own that had to wait) wants something of a group led here.
    pub(crate) fn on_forward(&mut self, from: NodeId, forward: Forward) {
        let Forward { request, keyspace, group, protocol, time_left_ms, work, options } = forward;
        let serving = self.stopped.is_none()
            && self.groups.get(&group).is_some_and(|it| it.is_serving() && it.paused.is_none());
        if !serving {
            self.not_leader(from, request);
            return;
        }
        let forward = Forward { request, keyspace, group, protocol, time_left_ms, work, options };
        let Some(forward) = self.await_held(from, group, forward) else { return };
        let Forward { work, options, .. } = forward;
        // What this node's own client asked for, in whose turn this may be, is put aside.
        match self.placed(group, &work) {
            Placed::Here => {}
            // One of the two has not heard of the last move yet, or it is under way.
            Placed::Elsewhere => return self.not_leader(from, request),
            Placed::Apart => return self.refuse_forwarded(from, request, CROSSSLOT),
            Placed::Fenced => return self.refuse_forwarded(from, request, FENCED),
        }
        let forward = Forward { request, keyspace, group, protocol, time_left_ms, work, options };
        let Some(forward) = self.await_claim(from, group, forward) else { return };
        let Forward { work, options, .. } = forward;
        let outer = core::mem::replace(&mut self.options, options);
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
            // Answered like a read: after whatever shows that this node still leads.
            Work::Position => {
                // Whoever knows less of who owns what cannot say how old its copy is.
                let moved_at = Bytes::copy_from_slice(&self.map.moved_at.to_le_bytes());
                self.conclude_forwarded(from, group, request, Executed::Read(Index(0)), moved_at);
            }
            Work::Held => {
                let held = self.held_here(group);
                self.conclude_forwarded(from, group, request, Executed::Read(Index(0)), held);
            }
            // It was unpacked above.
            Work::Behind { .. } => {}
            Work::Reapply { item, force } => self.reapply_here(from, group, request, protocol, &item, force),
            Work::Settle { key, wish } => self.settle_here(from, group, request, protocol, (&key, &wish)),
            Work::MoveHome { slot, to } => self.move_home_here(from, group, request, protocol, slot, to),
            Work::Holders { position } => {
                let reply = Bytes::from(wait::encode_holders(&self.holders(group, position)));
                self.conclude_forwarded(from, group, request, Executed::Read(Index(0)), reply);
            }
            Work::Fate { position, of, client } => {
                let reply = Bytes::from(self.fate(group, position, of, client).encode());
                self.conclude_forwarded(from, group, request, Executed::Read(Index(0)), reply);
            }
        }
        self.options = outer;
    }

    pub(crate) fn forwarded_command(
        &mut self,
        from: NodeId,
        group: GroupId,
        request: RequestId,
        protocol: Protocol,
        time_left_ms: u32,
        args: Vec<Bytes>,
    ) {
        let borrowed: SmallVec<[&[u8]; 8]> = args.iter().map(|arg| &arg[..]).collect();
        let Some(spec) = borrowed.first().and_then(|name| commands::find(name)) else {
            self.refuse_forwarded(from, request, "ERR unknown command of a newer version");
            return;
        };
        let otherwise = Identity::forwarded(request);
        let writes = spec.flags.has(Flags::WRITE);
        let identity = self.identify(group, writes, borrowed.iter().copied(), otherwise);
        if self.answered_before(from, group, request, identity, protocol) {
            return;
        }
        if let Some(refusal) = self.refuse_write(group, spec) {
            self.refuse_forwarded(from, request, &refusal);
            return;
        }
        let mut reply = Vec::new();
        let Some(it) = self.groups.get_mut(&group) else { return };
        let wall_ms = self.now.wall.middle_ms();
        let now = self.now;
        let mut context = Context { now, wall_ms, random: &mut self.random, protocol, identity };
        let executed = it.execute(&mut context, spec, &borrowed, &mut reply);
        if self.options.is_some() {
            it.forget_blind(spec, &borrowed);
        }
        if executed == Executed::Nothing {
            let left = Duration::from_millis(u64::from(time_left_ms));
            let deadline = (time_left_ms > 0).then(|| self.now.instant + left.saturating_sub(PATIENCE));
            let keys = blocking_keys(spec, &borrowed);
            let to = Target::Peer { node: from, request, reply: Bytes::new() };
            let args = args.clone();
            let options = self.options.clone();
            it.blocked.add(Entry { spec, args, keys, protocol, request, identity, options, to, deadline });
            return;
        }
        if spec.flags.has(Flags::WRITE) {
            self.settle_unwritten(request, executed);
        }
        self.conclude_forwarded(from, group, request, executed, Bytes::from(reply));
    }

    /// A command that could have written and did not must not do so in a second copy: its client hears that nothing happened.
    pub(crate) fn settle_unwritten(&mut self, request: RequestId, executed: Executed) {
        if matches!(executed, Executed::Read(_) | Executed::AtHome(_)) {
            self.settled.note(request);
        }
    }

    /// A request that was executed before gets its old answer; true when there is nothing more to do.
    pub(crate) fn answered_before(
        &mut self,
        from: NodeId,
        group: GroupId,
        request: RequestId,
        identity: Identity,
        protocol: Protocol,
    ) -> bool {
        if self.settled.contains(request) {
            self.refuse_forwarded(from, request, "TRYAGAIN another copy of this request was answered before");
            return true;
        }
        match self.repeated(group, identity, protocol, Some(request)) {
            Repeat::New => false,
            Repeat::Answered { position, reply } => {
                self.conclude_forwarded(from, group, request, Executed::Written(position), reply);
                true
            }
            Repeat::Refused(text) => {
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
                let waiter = Waiter { index: position.index, since, to, write: true, epoch: None };
                let level = self.groups.get(&group).map(|it| it.keyspace.settings.level);
                self.hold_write(group, level.unwrap_or_default(), waiter);
                self.wake_blocked(group);
            }
            Executed::Read(index) => {
                let waiter = Waiter { index, since, to, write: false, epoch: None };
                match self.read_permit(group) {
                    // The answer leaves after the end of the turn; the asking arrived before it, and so did the lease's check.
                    ReadPermit::Until(_) => self.confirm_at_end_of_turn(group, waiter),
                    ReadPermit::After(round) => self.wait_for_round(group, round, waiter),
                    ReadPermit::No => self.wait_for_round(group, u64::MAX, waiter),
                }
            }
            Executed::Nothing | Executed::NotLeading => self.not_leader(from, request),
            Executed::AtHome(home) => self.answer_home(from, group, request, home),
        }
    }

    /// A read for another node under a lease: released when the lease is checked again at the end of the turn.
    pub(crate) fn confirm_at_end_of_turn(&mut self, group: GroupId, waiter: Waiter) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        it.read_in_turn = true;
        it.leased.push(waiter);
    }

    pub(crate) fn answer_peer(&mut self, node: NodeId, request: RequestId, reply: Bytes, position: Position) {
        self.answer(node, request, ForwardOutcome::Reply { bytes: reply, position, seen: None });
    }

    /// The same for a read that showed what was committed through here.
    pub(crate) fn answer_reader(&mut self, node: NodeId, request: RequestId, bytes: Bytes, seen: Position) {
        let knows = |version: &u8| *version >= POSITION_SINCE_VERSION;
        let seen = (node == self.config.node || self.peers.get(&node).is_some_and(knows)).then_some(seen);
        self.answer(node, request, ForwardOutcome::Reply { bytes, position: Position::default(), seen });
    }

    pub(crate) fn not_leader(&mut self, node: NodeId, request: RequestId) {
        self.answer(node, request, ForwardOutcome::NotLeader);
    }

    pub(crate) fn refuse_forwarded(&mut self, node: NodeId, request: RequestId, text: &str) {
        self.settled.note(request);
        let mut bytes = Vec::new();
        ReplyWriter::new(&mut bytes, Protocol::Resp2).error(text);
        self.answer_peer(node, request, Bytes::from(bytes), Position::default());
    }

    pub(crate) fn answer(&mut self, node: NodeId, request: RequestId, outcome: ForwardOutcome) {
        if node == self.config.node {
            self.on_answer(node, request, outcome);
        } else {
            self.send(node, PeerMessage::Answer { request, outcome });
        }
    }
}
