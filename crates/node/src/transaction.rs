//! MULTI, EXEC, DISCARD, WATCH, UNWATCH. One EXEC is one log entry, executed by the group's leader.

use crate::execute::{Context, Identity};
use crate::forward::{Origin, Outgoing, Purpose};
use crate::io::ConnectionId;
use crate::message::Work;
use crate::node::{Flow, Node};
use crate::replies::SlotId;
use crate::route::{CROSSSLOT, Route, slot_of_arguments, slot_of_words, slot_of_work};
use crate::session::Queue;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use commands::{Class, Flags, Spec};
use core::time::Duration;
use data::{GroupId, KeyspaceId, NodeId, RequestId};
use wire::Protocol;

/// Bytes queued by one MULTI at most.
const QUEUE_BYTES_MAX: usize = 256 << 20;

type Planned<'a> = Vec<(&'static Spec, Vec<&'a [u8]>)>;

impl Node {
    /// A command between MULTI and EXEC: queued, or refused in a way that EXEC remembers.
    pub(crate) fn enqueue(&mut self, connection: ConnectionId, spec: &'static Spec, args: &[&[u8]]) -> Flow {
        let refusal = match spec.class {
            // Everything that is not a data command acts on the connection or the node, outside the entry.
            Class::Node if spec.name == "select" => {
                Some("ERR SELECT is not allowed inside MULTI: one EXEC is one entry of one keyspace")
            }
            Class::Node if spec.run.is_some() => None,
            Class::Node => Some("ERR Command not allowed inside a transaction"),
            Class::Read | Class::Write | Class::Blocking => None,
        };
        let refusal = refusal.map(String::from).or_else(|| self.refuse_queued(connection, spec, args));
        if let Some(refusal) = refusal {
            self.fail_queue(connection);
            return self.reply_error(connection, &refusal);
        }
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        let Some(queue) = &mut session.queue else { return Flow::Continue };
        queue.bytes += args.iter().map(|arg| arg.len() + 32).sum::<usize>();
        if queue.bytes > QUEUE_BYTES_MAX {
            queue.failed = true;
            queue.commands.clear();
            return self.reply_error(connection, "ERR transaction is too large");
        }
        if !queue.failed {
            queue.commands.push((spec, args.iter().map(|arg| Bytes::copy_from_slice(arg)).collect()));
        }
        self.reply(connection, |w| w.simple("QUEUED"))
    }

    /// Why a command cannot be queued: one EXEC is one entry of one group, and where nothing is forwarded of one that this node
    /// leads.
    fn refuse_queued(&self, connection: ConnectionId, spec: &Spec, args: &[&[u8]]) -> Option<String> {
        let session = self.sessions.get(connection)?;
        let keyspace = session.keyspace;
        let mut slot = slot_of_arguments(spec, args);
        let is_sharded = self.is_sharded(keyspace);
        if is_sharded || self.forwards_home(keyspace) {
            slot = match self.slot_of_command(spec, args) {
                Ok(slot) => slot,
                Err(error) => return Some(error),
            };
            if slot.is_none() && spec.class != Class::Node && is_sharded {
                return Some(format!(
                    "ERR {} is not possible inside MULTI in a keyspace with SHARDS: it speaks of all of them",
                    spec.name.to_ascii_uppercase()
                ));
            }
            let mut queued = session.queue.iter().flat_map(|queue| &queue.commands);
            let queued = queued.find_map(|(_, args)| slot_of_words(args));
            if slot.zip(queued).is_some_and(|(slot, queued)| slot != queued) {
                return Some(CROSSSLOT.into());
            }
        }
        let route = self.routes.get(&keyspace).and_then(|routes| routes.at(slot.unwrap_or(0)))?;
        self.redirection(keyspace, route, || slot)
    }

    /// The slot of a whole queue, or of what was watched for one without keys. It is looked at again, for its commands may have
    /// been queued before this node knew of the shards.
    fn slot_of_queue(&self, queue: &Queue, watch: Option<(GroupId, u64)>) -> Result<Option<u16>, String> {
        let mut keys: Vec<&[u8]> = Vec::new();
        for (spec, args) in &queue.commands {
            let args: Vec<&[u8]> = args.iter().map(|arg| &arg[..]).collect();
            keys.extend(commands::docs::keys_of(spec, &args).iter().flatten());
        }
        let watched =
            watch.and_then(|(group, _)| self.map.groups.get(&group)).and_then(|it| it.slots.first());
        Ok(self.common_slot(keys.into_iter())?.or(watched))
    }

    /// Where keys have homes: a slot that is at home where something was watched, for an EXEC without keys to go there.
    fn slot_watched(&self, keyspace: KeyspaceId, watch: Option<(GroupId, u64)>) -> Option<u16> {
        let (watched, _) = watch?;
        let mut slots =
            self.map.groups.get(&watched)?.slots.ranges().iter().flat_map(|it| it.first..=it.last);
        let goes =
            |slot: u16| self.home_route(keyspace, slot).or_else(|| self.routes.get(&keyspace)?.at(slot));
        slots.find(|slot| goes(*slot).is_some_and(|route| route.group == watched))
    }

    pub(crate) fn fail_queue(&mut self, connection: ConnectionId) {
        if let Some(queue) = self.sessions.get_mut(connection).and_then(|s| s.queue.as_mut()) {
            queue.failed = true;
        }
    }

    pub(crate) fn multi(&mut self, connection: ConnectionId) -> Flow {
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        if session.queue.is_some() {
            return self.reply_error(connection, "ERR MULTI calls can not be nested");
        }
        session.queue = Some(Queue::default());
        self.reply(connection, |w| w.ok())
    }

    pub(crate) fn discard(&mut self, connection: ConnectionId) -> Flow {
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        if session.queue.take().is_none() {
            return self.reply_error(connection, "ERR DISCARD without MULTI");
        }
        self.drop_watch(connection);
        self.reply(connection, |w| w.ok())
    }

    pub(crate) fn exec(&mut self, connection: ConnectionId) -> Flow {
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        let Some(queue) = session.queue.take() else {
            return self.reply_error(connection, "ERR EXEC without MULTI");
        };
        if queue.failed {
            self.drop_watch(connection);
            return self
                .reply_error(connection, "EXECABORT Transaction discarded because of previous errors.");
        }
        let watch = session.watch.take();
        let in_order = session.forwarded == 0;
        let keyspace = session.keyspace;
        let write = queue.commands.iter().any(|(spec, _)| spec.flags.has(Flags::WRITE));
        let guarded = session.guards();
        let at_home = self.forwards_home(keyspace);
        let slot = match self.is_sharded(keyspace) {
            _ if at_home => self
                .slot_of_queue(&queue, None)
                .map(|slot| slot.or_else(|| self.slot_watched(keyspace, watch))),
            true => self.slot_of_queue(&queue, watch),
            false => Ok(None),
        };
        let keys = slot.as_ref().ok().copied().flatten();
        let home = keys.filter(|_| at_home).and_then(|slot| self.home_route(keyspace, slot));
        let route = slot.as_ref().ok().and_then(|slot| self.route(keyspace, slot.unwrap_or(0)));
        let route = home.or(route);
        let elsewhere = |route: Route| watch.is_some_and(|(watched, _)| watched != route.group);
        let refusal = match (&slot, route) {
            (Err(error), _) => Some(error.clone()),
            // What was watched may have moved since.
            (Ok(_), Some(route)) if elsewhere(route) && at_home => Some(String::new()),
            (Ok(Some(_)), Some(route)) if elsewhere(route) && self.map.moved_at > 0 => Some(String::new()),
            (Ok(Some(_)), Some(route)) if elsewhere(route) => Some(CROSSSLOT.into()),
            (_, Some(route)) if guarded => self.refuse_lost(connection, route.group),
            _ => None,
        };
        if let Some(refusal) = refusal {
            watch.into_iter().for_each(|(group, number)| self.end_watch(group, number));
            if refusal.is_empty() {
                return self.reply(connection, |w| w.null_array());
            }
            return self.reply_error(connection, &refusal);
        }
        let waits = write && self.claims_writes(keyspace);
        let here = route.filter(|route| {
            route.leader == Some(self.config.node)
                && in_order
                && !waits
                && !self.waits_for_site(connection, route.group)
                && self.groups.get(&route.group).is_some_and(|it| it.is_serving() && it.paused.is_none())
                && !queue.commands.iter().any(|(spec, args)| {
                    let args: Vec<&[u8]> = args.iter().map(|arg| &arg[..]).collect();
                    self.is_fenced(route.group, spec, &args)
                })
        });
        let Some(Route { group, .. }) = here else {
            let commands = queue.commands.into_iter().map(|(_, args)| args).collect();
            let work = Work::Transaction { commands, watch: watch.map(|(_, number)| number) };
            let patience = self.options.as_ref().map(|_| self.patience_of(connection));
            let deadline = Some(patience.unwrap_or(self.now.instant + Duration::from_secs(1)));
            let slot = slot.ok().flatten().unwrap_or_else(|| slot_of_work(&work));
            return self.forward_to(connection, slot, work, Purpose::Command, write, waits, deadline);
        };
        let words = queue.commands.iter().flat_map(|(_, args)| args.iter().map(|arg| &arg[..]));
        let identity = self.identify(group, write, words, Identity::NONE);
        if let Some(flow) = self.repeat_here(connection, group, identity) {
            return flow;
        }
        if write
            && let Some((spec, _)) = queue.commands.iter().find(|(spec, _)| spec.flags.has(Flags::WRITE))
            && let Some(refusal) = self.refuse_write(group, spec)
        {
            return self.reply_error(connection, &refusal);
        }
        let holds = self.watch_holds(group, watch.map(|(_, number)| number));
        let planned: Planned<'_> = queue
            .commands
            .iter()
            .map(|(spec, args)| (*spec, args.iter().map(|a| &a[..]).collect()))
            .collect();
        let Some(it) = self.groups.get_mut(&group) else { return Flow::Continue };
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        let wall_ms = self.now.wall.middle_ms();
        let protocol = session.protocol;
        let now = self.now;
        let mut context = Context { now, wall_ms, random: &mut self.random, protocol, identity };
        session.replies.begin();
        let reply = session.replies.current();
        let executed = match holds {
            true => it.execute_all(&mut context, planned.into_iter(), reply),
            false => it.execute_none(&context, reply),
        };
        match executed {
            crate::execute::Executed::Written(position) => self.conclude_write(connection, group, position),
            crate::execute::Executed::Read(depends) => self.conclude_read(connection, group, depends),
            crate::execute::Executed::Nothing
            | crate::execute::Executed::NotLeading
            | crate::execute::Executed::AtHome(_) => {
                return self
                    .reply_error(connection, "TRYAGAIN this node stopped leading: nothing was executed");
            }
        }
        Flow::Continue
    }

    /// An EXEC of another node's client.
    pub(crate) fn forwarded_transaction(
        &mut self,
        from: NodeId,
        group: GroupId,
        request: RequestId,
        protocol: Protocol,
        commands: Vec<Vec<Bytes>>,
        watch: Option<u64>,
    ) {
        let words = commands.iter().flatten().map(|arg| &arg[..]);
        let writes = |args: &Vec<Bytes>| {
            let spec = args.first().and_then(|name| commands::find(name));
            spec.is_some_and(|spec| spec.flags.has(Flags::WRITE))
        };
        let writes = commands.iter().any(writes);
        let identity = self.identify(group, writes, words, Identity::forwarded(request));
        if self.answered_before(from, group, request, identity, protocol) {
            return;
        }
        let mut planned: Planned<'_> = Vec::new();
        for args in &commands {
            let args: Vec<&[u8]> = args.iter().map(|a| &a[..]).collect();
            let Some(spec) = args.first().and_then(|name| commands::find(name)) else {
                self.refuse_forwarded(from, request, "ERR unknown command of a newer version");
                return;
            };
            planned.push((spec, args));
        }
        if let Some(spec) = planned.iter().map(|(spec, _)| *spec).find(|spec| spec.flags.has(Flags::WRITE))
            && let Some(refusal) = self.refuse_write(group, spec)
        {
            self.refuse_forwarded(from, request, &refusal);
            return;
        }
        let mut reply = Vec::new();
        let holds = self.watch_holds(group, watch);
        let Some(it) = self.groups.get_mut(&group) else { return };
        let wall_ms = self.now.wall.middle_ms();
        let now = self.now;
        let mut context = Context { now, wall_ms, random: &mut self.random, protocol, identity };
        let executed = match holds {
            true => it.execute_all(&mut context, planned.into_iter(), &mut reply),
            false => it.execute_none(&context, &mut reply),
        };
        self.settle_unwritten(request, executed);
        self.conclude_forwarded(from, group, request, executed, Bytes::from(reply));
    }

    /// Ends a watch; whether an EXEC under it may run.
    fn watch_holds(&mut self, group: GroupId, watch: Option<u64>) -> bool {
        let Some(number) = watch else { return true };
        self.groups.get_mut(&group).is_some_and(|it| it.watches.end(number))
    }

    pub(crate) fn watch(&mut self, connection: ConnectionId, keys: &[&[u8]]) -> Flow {
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        if session.queue.is_some() {
            return self.reply_error(connection, "ERR WATCH inside MULTI is not allowed");
        }
        let keyspace = session.keyspace;
        let in_order = session.forwarded == 0;
        let known = session.watch;
        let at_home = self.forwards_home(keyspace);
        let is_one = at_home || self.is_sharded(keyspace);
        let slot = match is_one.then(|| self.common_slot(keys.iter().copied())).transpose() {
            Ok(slot) => slot.flatten(),
            Err(error) => return self.reply_error(connection, &error),
        };
        let home = slot.filter(|_| at_home).and_then(|slot| self.home_route(keyspace, slot));
        let route = home.or_else(|| self.route(keyspace, slot.unwrap_or(0)));
        if slot.is_some() && known.zip(route).is_some_and(|((watched, _), route)| watched != route.group) {
            return self.reply_error(connection, CROSSSLOT);
        }
        let first = || keys.first().map(|key| data::slot::slot(key));
        if let Some(moved) = route.and_then(|route| self.redirection(keyspace, route, first)) {
            return self.reply_error(connection, &moved);
        }
        if let Some(Route { group, leader, .. }) = route
            && leader == Some(self.config.node)
            && in_order
            && !self.waits_for_site(connection, group)
            && self.groups.get(&group).is_some_and(|it| it.is_serving())
        {
            let number = known.filter(|(watched, _)| *watched == group).map(|(_, number)| number);
            let number = self.watch_here(group, number, keys.iter().copied());
            if let Some(session) = self.sessions.get_mut(connection) {
                session.watch = Some((group, number));
            }
            return self.reply(connection, |w| w.ok());
        }
        let keys = keys.iter().map(|key| Bytes::copy_from_slice(key)).collect();
        let work = Work::Watch { keys, watch: known.map(|(_, number)| number) };
        let deadline = Some(self.now.instant + Duration::from_secs(1));
        // Nothing behind it may run before the watch is in force: an EXEC must name it.
        self.forward_work(connection, work, Purpose::Watch, false, true, deadline)
    }

    pub(crate) fn watch_here<'k>(
        &mut self,
        group: GroupId,
        number: Option<u64>,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> u64 {
        let now = self.now.instant;
        let Some(it) = self.groups.get_mut(&group) else { return 0 };
        // Two groups give no watch the same number: the keys of one may move to the other.
        let seed = u64::from(group.0) << 16 | it.replica.promised().0 & 0xffff;
        it.watches.watch(now, seed, number, keys)
    }

    /// The leader elsewhere keeps a watch for this connection.
    pub(crate) fn watched(
        &mut self,
        connection: ConnectionId,
        slot: SlotId,
        group: Option<GroupId>,
        bytes: &[u8],
    ) {
        let number = bytes
            .strip_prefix(b":")
            .and_then(|rest| rest.strip_suffix(b"\r\n"))
            .and_then(|digits| core::str::from_utf8(digits).ok()?.parse::<u64>().ok());
        match (number, group, self.sessions.get_mut(connection)) {
            (Some(number), Some(group), Some(session)) => {
                session.watch = Some((group, number));
                self.fill(connection, slot, b"+OK\r\n");
            }
            _ => self.fill(connection, slot, bytes),
        }
    }

    pub(crate) fn unwatch(&mut self, connection: ConnectionId) -> Flow {
        self.drop_watch(connection);
        self.reply(connection, |w| w.ok())
    }

    pub(crate) fn drop_watch(&mut self, connection: ConnectionId) {
        if let Some((group, number)) = self.sessions.get_mut(connection).and_then(|s| s.watch.take()) {
            self.end_watch(group, number);
        }
    }

    /// Tells whoever keeps a watch that it is over.
    pub(crate) fn end_watch(&mut self, group: GroupId, number: u64) {
        if let Some(it) = self.groups.get_mut(&group)
            && it.is_serving()
        {
            it.watches.end(number);
            return;
        }
        let Some(it) = self.map.groups.get(&group) else { return };
        let Some(slot) = it.slots.first() else { return };
        let keyspace = it.view.keyspace;
        let work = Work::Unwatch { watch: number };
        let deadline = Some(self.now.instant);
        let outgoing = Outgoing::new(keyspace, Protocol::Resp2, work, Origin::Nobody, deadline);
        let outgoing = Outgoing { slot, ..outgoing };
        // Best effort: it leaves with this turn or never, and the leader ends old watches by itself.
        let _ = self.forwards.add(outgoing);
    }
}
