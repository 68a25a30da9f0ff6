//! Between the groups' replicas and the rest of the node: inputs in, outputs carried out.

use crate::control_link::Proposal;
use crate::group::{Target, Waiter};
use crate::io::{Event, Output};
use crate::message::PeerMessage;
use crate::node::Node;
use alloc::format;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use data::keyspace::Flush;
use data::plant::{self, Bug};
use data::{GroupId, Index, Instant, NodeId, Position};
use protocol::single_leader::{self, ReadPermit, RoleName};

/// A watch older than this belongs to a connection that went away unheard. Its EXEC would be aborted. A guess.
const WATCH_AGE_MAX: Duration = Duration::from_secs(3600);

impl Node {
    /// Gives a group's replica an input and carries out what it wants.
    pub(crate) fn feed(&mut self, group: GroupId, input: single_leader::Input) {
        if self.stopped.is_some() {
            return;
        }
        let Some(it) = self.groups.get_mut(&group) else { return };
        let (mut out, asking) = (Vec::new(), !it.asking.is_empty());
        let measures = it.latency.is_active();
        let from = match &input {
            single_leader::Input::Message { from, .. } if measures => Some(*from),
            _ => None,
        };
        it.replica.step(self.now.instant, input, &mut out);
        if measures && it.latency.look(self.now.instant, from, &it.replica) {
            self.measured.push(group);
        }
        self.carry_out(group, out);
        if measures {
            self.answer_latency(group);
        }
        if asking {
            self.tend_asking(group);
        }
    }

    /// The end of a group's turn: its proposals go to log and followers.
    pub(crate) fn flush_group(&mut self, group: GroupId) {
        if self.stopped.is_some() {
            return;
        }
        let Some(it) = self.groups.get_mut(&group) else { return };
        let mut out = Vec::new();
        let before = it.replica.log().last().position.index;
        it.replica.flush(self.now.instant, &mut out);
        if it.latency.is_due(self.now.instant) {
            self.measure(group, before);
        }
        self.carry_out(group, out);
    }

    /// Log writes come first: what the others lead to may come back to this replica and make it write more, which must not
    /// overtake.
    pub(crate) fn carry_out(&mut self, group: GroupId, mut outputs: Vec<single_leader::Output>) {
        use single_leader::Output as O;
        for output in &mut outputs {
            match output {
                O::Persist { token, records, promise } => {
                    self.persist_group(group, *token, core::mem::take(records), *promise);
                }
                O::Ledger { token, lost } => self.keep_lost(group, *token, lost),
                _ => {}
            }
        }
        for output in outputs {
            match output {
                // catalogue: D5. To the replica it is not connected; what it says to learn that goes nowhere.
                O::Send { to, .. } if self.is_refused(group, to) => {}
                O::Send { to, message } => {
                    self.send(to, PeerMessage::Replication { group, message });
                }
                O::Persist { .. } | O::Ledger { .. } => {}
                O::Committed(index) => self.on_committed(group, index),
                O::Truncated(to) => {
                    if let Some(it) = self.groups.get_mut(&group) {
                        it.applied = it.applied.min(to);
                    }
                }
                O::Sealed(answer) => self.answer_seal(answer),
                O::Fetch { to, from, bytes_max } => {
                    let Some(it) = self.groups.get_mut(&group) else { continue };
                    it.catch_up.want(to, from, bytes_max);
                    self.catching_up.insert(group);
                }
                O::NeedSnapshot { to, after } => self.want_snapshot(group, to, after),
                O::TakeSnapshot { from, mark, len } => self.take_snapshot(group, from, mark, len),
                O::ProposeElectable { number, rule, electable } => {
                    if let Some(it) = self.groups.get_mut(&group) {
                        // From now on a read must stand under both sets.
                        it.read_until = Instant::ZERO;
                    }
                    self.propose_electable(Proposal { group, number, rule, electable });
                }
                O::ReadConfirmed(round) => self.on_read_confirmed(group, round),
                O::Became(role) => self.on_role(group, role),
                O::Report(report) => {
                    self.outputs.push(Output::Event(Event::Replica { group, report }));
                }
            }
        }
    }

    fn persist_group(&mut self, group: GroupId, token: u64, records: Bytes, promise: bool) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        let flush = promise || it.keyspace.settings.flush == Flush::Always;
        it.snapshots.log_bytes += records.len();
        it.audit.log_bytes += records.len();
        self.token += 1;
        it.persisting.push_back((self.token, token));
        self.statistics.entries += 1;
        self.outputs.push(Output::Persist { token: self.token, records, flush });
    }

    /// Log writes are done through this token of the node's: each group and the control plane hear of theirs.
    pub(crate) fn on_persisted(&mut self, token: u64) {
        self.persisted = self.persisted.max(token);
        let mut done = Vec::new();
        for (group, it) in &mut self.groups {
            let mut last = None;
            while let Some((mine, theirs)) = it.persisting.front().copied()
                && mine <= token
            {
                last = Some(theirs);
                it.persisting.pop_front();
            }
            done.extend(last.map(|theirs| (*group, theirs)));
        }
        for (group, token) in done {
            self.feed(group, single_leader::Input::Persisted { token });
        }
        while self.control_persisting.front().is_some_and(|write| write.mine <= token) {
            let Some(write) = self.control_persisting.pop_front() else { break };
            if let Some(through) = write.release {
                let group = data::id::CONTROL_GROUP;
                self.outputs.push(Output::ReleaseLog { group, through });
            }
            self.control(control::Input::Persisted { token: write.theirs });
        }
        self.on_leaderless_persisted(token);
    }

    fn on_committed(&mut self, group: GroupId, index: Index) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        let mut out = Vec::new();
        it.apply_through(index, &mut out);
        if let Some(reason) = it.site.as_ref().and_then(|site| site.broken) {
            // As when a restart finds it: a copy that skipped an entry would differ from the others, and nobody would know.
            return self.on_disk_failed(format!("the log of group {}: {reason}", group.0));
        }
        if let Some(epoch) = it.replica.leads() {
            it.told.committed(epoch, index);
        }
        let mut released = Vec::new();
        while it.waiters.front().is_some_and(|waiter| waiter.index <= index) {
            released.extend(it.waiters.pop_front());
        }
        for waiter in released {
            self.release(group, waiter);
        }
        if !out.is_empty() {
            self.carry_out(group, out);
        }
        if self.groups.get(&group).is_some_and(|it| it.site.is_some()) {
            self.tell_site(group);
        }
        self.finish_walk(group);
        self.tend_parked(group);
        if self.groups.get(&group).is_some_and(|it| it.moving.is_some()) {
            self.tend_moves(group);
        }
    }

    /// A reply that nothing holds back any more goes on its way.
    pub(crate) fn release(&mut self, group: GroupId, waiter: Waiter) {
        match waiter.to {
            Target::Client { connection, slot } => {
                let Some(session) = self.sessions.get_mut(connection) else {
                    return self.not_told(group, &waiter);
                };
                if let Some(epoch) = waiter.epoch {
                    let older = session.seen.note(group, Position { epoch, index: waiter.index });
                    if older && let Some(view) = self.map.view(group) {
                        session.seen.settle(view);
                    }
                }
                if session.replies.release(slot) {
                    self.note_output(connection);
                }
            }
            Target::Peer { node, request, reply } if waiter.write => {
                let position = self.position_of(group, waiter.index);
                self.answer_peer(node, request, reply, position);
            }
            Target::Peer { node, request, reply } => {
                let seen = self.groups.get(&group).map_or_else(Position::default, |it| it.applied_position());
                self.answer_reader(node, request, reply, seen);
            }
        }
    }

    /// The client of a write does not hear of its success.
    pub(crate) fn not_told(&mut self, group: GroupId, waiter: &Waiter) {
        if let Some(it) = self.groups.get_mut(&group).filter(|_| waiter.write) {
            it.told.untold(waiter.index);
        }
    }

    fn position_of(&self, group: GroupId, index: Index) -> Position {
        let it = self.groups.get(&group).map(|it| &it.replica);
        // An entry of this turn is in no log yet.
        let epoch = it.and_then(|replica| replica.log().epoch_at(index).or(replica.leads()));
        Position { epoch: epoch.unwrap_or_default(), index }
    }

    /// A reply of a group is held until the log is committed through `waiter.index`.
    pub(crate) fn wait_for_commit(&mut self, group: GroupId, waiter: Waiter) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        if waiter.index <= it.replica.commit() {
            self.release(group, waiter);
            return;
        }
        // Nearly always the newest: the queue is sorted by index.
        let mut at = it.waiters.len();
        while at > 0 && it.waiters[at - 1].index > waiter.index {
            at -= 1;
        }
        it.waiters.insert(at, waiter);
    }

    fn on_read_confirmed(&mut self, group: GroupId, round: u64) {
        let mut confirmed = Vec::new();
        if let Some(it) = self.groups.get_mut(&group) {
            while it.unconfirmed.front().is_some_and(|read| read.round <= round) {
                confirmed.extend(it.unconfirmed.pop_front());
            }
        }
        for read in confirmed {
            self.statistics.reads_confirmed += 1;
            self.wait_for_commit(group, read.waiter);
        }
    }

    /// Until when this node may answer reads of the group alone; asks anew when the last answer has ended.
    pub(crate) fn read_permit(&mut self, group: GroupId) -> ReadPermit {
        let now = self.now.instant;
        let Some(it) = self.groups.get_mut(&group) else { return ReadPermit::No };
        if now < it.read_until {
            return ReadPermit::Until(it.read_until);
        }
        let holder = &self.holder;
        let granted = |replica: data::view::Replica| holder.until(replica.node, replica.incarnation, group);
        // bugs: SL-07. The margin of a control lease covers no more than that of a follower's: the clocks of the control
        // leader who granted it and of a majority who wait with the next one have to keep time with this one, or the
        // followers are asked instead. Under `async` there is nobody to ask, and a read promises less.
        let (until, grantor) = self.control_lease;
        let asks = |view: &data::view::View| view.followers_needed() > 0;
        let me = self.config.node;
        let alike = |node: NodeId| node == me || holder.keeps_time_with(node);
        let counts =
            !it.replica.view().is_some_and(asks) || (alike(grantor) && self.map.control_majority(alike));
        let control = if counts { until } else { Instant::ZERO };
        let permit = it.replica.read_permit(now, granted, control);
        match permit {
            ReadPermit::Until(until) => it.read_until = until,
            ReadPermit::After(_) => {
                self.unflushed.insert(group);
            }
            ReadPermit::No => {}
        }
        permit
    }

    fn on_role(&mut self, group: GroupId, role: RoleName) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        let epoch = it.replica.promised();
        it.read_until = Instant::ZERO;
        match role {
            RoleName::Leader => it.audit.begin_leading(self.now.instant),
            _ => it.audit.forget_followers(self.now.instant),
        }
        match role {
            RoleName::LeaderElect => {
                self.statistics.elections_won += 1;
                it.snapshots.transfer = None;
                let down: Vec<_> = it.replica.followers().map(|(node, _)| node).collect();
                let connected =
                    |node: &NodeId| self.peers.contains_key(node) && !self.is_refused(group, *node);
                let down: Vec<_> = down.into_iter().filter(|node| !connected(node)).collect();
                for node in down {
                    self.feed(group, single_leader::Input::Connection { node, up: false });
                }
            }
            RoleName::Leader => self.note_announced_loss(group),
            RoleName::Follower | RoleName::Sealed | RoleName::Removed => self.step_down(group),
        }
        self.outputs.push(Output::Event(Event::Role { group, role, epoch }));
    }

    /// This replica no longer leads: what was executed ahead of the commit index is undone, and nobody waits here any more.
    fn step_down(&mut self, group: GroupId) {
        self.abandon_moves(group);
        self.turn_parked_away(group);
        let Some(it) = self.groups.get_mut(&group) else { return };
        it.undo_uncommitted();
        it.abandon_walk();
        it.watches.clear();
        it.paused = None;
        let mut waiters: Vec<Waiter> = it.waiters.drain(..).collect();
        waiters.extend(it.asking.drain(..).map(|asking| asking.waiter));
        let reads: Vec<Waiter> = it.unconfirmed.drain(..).map(|read| read.waiter).collect();
        let blocked: Vec<_> =
            it.blocked.all().into_iter().filter_map(|number| it.blocked.remove(number)).collect();
        for waiter in waiters {
            self.give_up(group, waiter, "this node stopped leading");
        }
        for waiter in reads {
            self.give_up(group, waiter, "this node stopped leading");
        }
        for entry in blocked {
            self.move_blocked(group, entry);
        }
    }

    /// A held reply will not come: a write is INDETERMINATE, a read was surely not answered.
    pub(crate) fn give_up(&mut self, group: GroupId, waiter: Waiter, why: &str) {
        match waiter.to {
            Target::Client { connection, slot } => {
                self.give_up_client(connection, slot, waiter.write, group, why);
            }
            // The forwarder asks the next leader under the same request id: it happens once.
            Target::Peer { node, request, .. } => self.not_leader(node, request),
        }
    }

    /// What a group needs by the clock: time-outs, expiry, snapshots, the log's release.
    pub(crate) fn tend_group(&mut self, group: GroupId) {
        self.tend_unconfirmed(group);
        self.tend_parked(group);
        self.time_out_waiters(group);
        self.time_out_asking(group);
        self.time_out_blocked(group);
        self.tend_pause(group);
        self.tend_moves(group);
        let wall_ms = self.now.wall.middle_ms();
        if let Some(it) = self.groups.get_mut(&group) {
            let expired = it.expire_due(wall_ms, 200);
            if expired > 0 {
                self.statistics.expired_keys += expired as u64;
                self.unflushed.insert(group);
            }
        }
        self.tend_site(group);
        self.tend_snapshots(group);
        self.tend_recovery(group);
        self.tend_shortfall(group);
        self.tend_ledger(group);
        self.tend_audit(group);
        if let Some(it) = self.groups.get_mut(&group)
            && !it.watches.is_empty()
        {
            it.watches.expire(self.now.instant - WATCH_AGE_MAX);
        }
    }

    fn time_out_waiters(&mut self, group: GroupId) {
        let now = self.now.instant;
        let Some(it) = self.groups.get_mut(&group) else { return };
        let patience = Duration::from_millis(u64::from(it.keyspace.settings.patience_ms()));
        let late = |waiter: &Waiter| now.since(waiter.since) >= patience;
        if !it.waiters.front().is_some_and(late) && !it.unconfirmed.front().is_some_and(|r| late(&r.waiter)) {
            return;
        }
        let (mut given_up, mut kept) = (Vec::new(), alloc::collections::VecDeque::new());
        for waiter in it.waiters.drain(..) {
            if late(&waiter) { given_up.push(waiter) } else { kept.push_back(waiter) }
        }
        it.waiters = kept;
        while it.unconfirmed.front().is_some_and(|read| late(&read.waiter)) {
            given_up.extend(it.unconfirmed.pop_front().map(|read| read.waiter));
        }
        for waiter in given_up {
            if plant::is(Bug::TimeoutShows) && !waiter.write {
                self.release(group, waiter);
                continue;
            }
            self.not_told(group, &waiter);
            match waiter.to {
                Target::Client { connection, slot } => {
                    let why = "not committed in time";
                    self.give_up_client(connection, slot, waiter.write, group, why);
                }
                // The forwarder has its own clock.
                Target::Peer { .. } => {}
            }
        }
    }
}
