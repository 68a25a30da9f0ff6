//! Commands that wait for data, on the leader: parked, woken by writes, timed out, cancelled.

use crate::blocking::Entry;
use crate::execute::{Context, Executed, Identity};
use crate::group::{Target, Waiter};
use crate::io::ConnectionId;
use crate::node::{Flow, Node};
use crate::serve::blocking_keys;
use crate::session::Receipt;
use alloc::vec::Vec;
use bytes::Bytes;
use commands::Spec;
use core::time::Duration;
use data::keyspace::Level;
use data::{GroupId, KeyspaceId, NodeId, Position, RequestId};
use smallvec::SmallVec;
use wire::ReplyWriter;

impl Node {
    /// A client's command found nothing: it waits, and so does everything behind it on its connection.
    pub(crate) fn block(
        &mut self,
        connection: ConnectionId,
        group: GroupId,
        spec: &'static Spec,
        args: &[&[u8]],
    ) -> Flow {
        let timeout = match commands::blocking::timeout_of(spec.name, args) {
            Ok(timeout) => timeout,
            Err(error) => return self.reply_error(connection, error.text()),
        };
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        let slot = session.replies.hold();
        session.paused = true;
        let protocol = session.protocol;
        let deadline = timeout.map(|ms| self.now.instant + Duration::from_millis(ms));
        let identity = self.identify(group, true, args.iter().copied(), Identity::NONE);
        let options = self.options.clone();
        let Some(it) = self.groups.get_mut(&group) else { return Flow::Continue };
        it.blocked.add(Entry {
            spec,
            args: args.iter().map(|arg| Bytes::copy_from_slice(arg)).collect(),
            keys: blocking_keys(spec, args),
            protocol,
            request: RequestId::NONE,
            identity,
            options,
            to: Target::Client { connection, slot },
            deadline,
        });
        Flow::Pause
    }

    /// Asks the waiting commands of written keys again, oldest first, until none finds anything.
    pub(crate) fn wake_blocked(&mut self, group: GroupId) {
        loop {
            let Some(it) = self.groups.get_mut(&group) else { return };
            if it.blocked.is_empty() {
                return;
            }
            let candidates = it.blocked.take_candidates();
            if candidates.is_empty() {
                return;
            }
            for number in candidates {
                self.ask_blocked(group, number);
            }
        }
    }

    fn ask_blocked(&mut self, group: GroupId, number: u64) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        let Some(entry) = it.blocked.get(number) else { return };
        let (spec, protocol, identity) = (entry.spec, entry.protocol, entry.identity);
        let owned: Vec<Bytes> = entry.args.clone();
        let args: SmallVec<[&[u8]; 8]> = owned.iter().map(|arg| &arg[..]).collect();
        let wall_ms = self.now.wall.middle_ms();
        let mut reply = Vec::new();
        let now = self.now;
        let mut context = Context { now, wall_ms, random: &mut self.random, protocol, identity };
        let executed = it.execute(&mut context, spec, &args, &mut reply);
        if matches!(executed, Executed::Nothing | Executed::NotLeading | Executed::AtHome(_)) {
            return;
        }
        let Some(mut entry) = it.blocked.remove(number) else { return };
        // It is answered in the turn of another's write.
        let outer = core::mem::replace(&mut self.options, entry.options.take());
        self.answer_blocked(group, entry, executed, reply);
        self.options = outer;
    }

    fn answer_blocked(&mut self, group: GroupId, entry: Entry, executed: Executed, reply: Vec<u8>) {
        match entry.to {
            Target::Client { connection, slot } => {
                self.resume(connection);
                let Some(session) = self.sessions.get_mut(connection) else { return };
                session.replies.refill(slot, &reply);
                let ahead = |index| self.groups.get(&group).and_then(|it| it.epoch_ahead(index));
                let (to, since) = (Target::Client { connection, slot }, self.now.instant);
                self.unflushed.insert(group);
                match executed {
                    Executed::Written(position) => {
                        let level = self.achieve_blocked(connection, group, position);
                        let epoch = Some(position.epoch);
                        let waiter = Waiter { index: position.index, since, to, write: true, epoch };
                        self.hold_write(group, level, waiter);
                    }
                    Executed::Read(index) => {
                        let epoch = ahead(index);
                        self.wait_for_commit(group, Waiter { index, since, to, write: false, epoch });
                    }
                    Executed::Nothing | Executed::NotLeading | Executed::AtHome(_) => {}
                }
            }
            Target::Peer { node, request, .. } => {
                self.settle_unwritten(request, executed);
                self.conclude_forwarded(node, group, request, executed, Bytes::from(reply));
            }
        }
    }

    /// The receipt of a command that waited; the level that its keyspace asks for.
    fn achieve_blocked(&mut self, connection: ConnectionId, group: GroupId, position: Position) -> Level {
        let it = self.groups.get(&group).map(|it| &it.keyspace);
        let (keyspace, level) = it.map_or((KeyspaceId(0), Level::Flushed), |it| (it.id, it.settings.level));
        let (node, asked) = (self.config.node, self.asked());
        if let Some(session) = self.sessions.get_mut(connection) {
            let receipt =
                Receipt { keyspace, group, node, position, write: true, asked, ..Receipt::default() };
            session.achieved(session.commands, receipt);
        }
        level
    }

    pub(crate) fn time_out_blocked(&mut self, group: GroupId) {
        let now = self.now.instant;
        let Some(it) = self.groups.get_mut(&group) else { return };
        if it.blocked.is_empty() {
            return;
        }
        for number in it.blocked.due(now) {
            let Some(entry) = self.groups.get_mut(&group).and_then(|it| it.blocked.remove(number)) else {
                continue;
            };
            let mut reply = Vec::new();
            let mut writer = ReplyWriter::new(&mut reply, entry.protocol);
            commands::blocking::nil_reply(entry.spec.name, false, &mut writer);
            match entry.to {
                Target::Client { connection, slot } => {
                    self.fill(connection, slot, &reply);
                    self.resume(connection);
                }
                Target::Peer { node, request, .. } => {
                    self.settled.note(request);
                    self.answer_peer(node, request, Bytes::from(reply), Position::default());
                }
            }
        }
    }

    /// This node stopped leading: whoever waits here waits at the next leader, under the same request id where there is one.
    pub(crate) fn move_blocked(&mut self, _group: GroupId, entry: Entry) {
        match entry.to {
            Target::Client { connection, slot } => {
                let left = entry.deadline.map(|deadline| deadline.max(self.now.instant));
                let outer = core::mem::replace(&mut self.options, entry.options);
                self.forward_held(connection, slot, entry.args, left);
                self.options = outer;
            }
            Target::Peer { node, request, .. } => self.not_leader(node, request),
        }
    }

    /// The connection may go on with the commands behind the one that waited.
    pub(crate) fn resume(&mut self, connection: ConnectionId) {
        if let Some(session) = self.sessions.get_mut(connection)
            && session.paused
            && !session.receipt_due
        {
            session.paused = false;
            self.resumed.push(connection);
        }
    }

    /// A client with a waiting command went away.
    pub(crate) fn cancel_blocked(&mut self, connection: ConnectionId) {
        let its = |to: &Target| matches!(to, Target::Client { connection: c, .. } if *c == connection);
        for it in self.groups.values_mut() {
            for number in it.blocked.of(|entry| its(&entry.to)) {
                it.blocked.remove(number);
            }
        }
    }

    /// The same for a client of another node.
    pub(crate) fn on_cancel(&mut self, from: NodeId, request: RequestId) {
        self.cancel_parked(from, request);
        for it in self.groups.values_mut() {
            let its = |entry: &Entry| {
                entry.request == request && matches!(entry.to, Target::Peer { node, .. } if node == from)
            };
            for number in it.blocked.of(its) {
                it.blocked.remove(number);
            }
        }
    }
}
