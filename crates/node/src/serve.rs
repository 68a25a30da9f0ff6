//! From a client's data command to its reply: executed here when this node leads the group, else sent to who does.

use crate::execute::{Context, Executed, Identity};
use crate::group::{Target, Unconfirmed, Waiter};
use crate::io::ConnectionId;
use crate::node::{Flow, Node};
use crate::replies::SlotId;
use crate::route::{Route, Routes, slot_of_arguments};
use crate::session::Receipt;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use commands::{Flags, Spec};
use core::time::Duration;
use data::keyspace::{Level, OnTimeout};
use data::plant::{self, Bug};
use data::{GroupId, Index, KeyspaceId, Position};
use protocol::single_leader::ReadPermit;
use wire::{Protocol, ReplyWriter};

/// How long a command may wait for a leader when the keyspace says nothing else.
pub(crate) const PATIENCE: Duration = Duration::from_millis(1000);
/// Uncommitted entries of one group beyond this are refused: a leader that nobody follows must not grow without bound.
const UNCOMMITTED_BYTES_MAX: usize = 128 << 20;

impl Node {
    /// Executes a data command of a client, or sends it on.
    pub(crate) fn serve(&mut self, connection: ConnectionId, spec: &'static Spec, args: &[&[u8]]) -> Flow {
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        let keyspace = session.keyspace;
        let (in_order, plain) = (session.forwarded == 0, session.plain);
        if !plain && session.snapshot.is_some() {
            return self.serve_snapshot(connection, spec, args);
        }
        let only = self.routes.get(&keyspace).and_then(Routes::only);
        let mut slot = None;
        if only.is_none() && self.is_leaderless(keyspace) {
            return self.serve_leaderless(connection, keyspace, spec, args);
        }
        // A site's shard is emptied page by page, be it the only one.
        if spec.name == "flushdb" && self.map.multi_leader.contains_key(&keyspace) {
            return self.serve_all(connection, keyspace, spec, args);
        }
        let at_home = !self.map.multi_leader.is_empty() && self.forwards_home(keyspace);
        if (only.is_none() && self.is_sharded(keyspace)) || at_home {
            slot = match self.slot_of_command(spec, args) {
                Ok(Some(slot)) => Some(slot),
                Ok(None) if only.is_some() => None,
                Ok(None) => return self.serve_all(connection, keyspace, spec, args),
                Err(error) => return self.reply_error(connection, &error),
            };
        }
        let Some(route) = only.or_else(|| self.route(keyspace, slot.unwrap_or(0))) else {
            return self.forward_command(connection, spec, args);
        };
        if !plain && let Some(flow) = self.read_near(connection, spec, args, route) {
            return flow;
        }
        let home = slot.filter(|_| at_home).and_then(|slot| self.home_route(keyspace, slot));
        let route = home.unwrap_or(route);
        let Route { group, leader, .. } = route;
        let waits = spec.flags.has(Flags::WRITE) && self.claims_writes(keyspace);
        let here = leader == Some(self.config.node)
            && in_order
            && !waits
            && (plain || !self.waits_for_site(connection, group))
            && self.groups.get(&group).is_some_and(|it| {
                it.is_serving()
                    && it.paused.is_none()
                    && (it.moving.is_none() || !self.is_fenced(group, spec, args))
            });
        if !here {
            if let Some(moved) = self.redirection(keyspace, route, || slot_of_arguments(spec, args)) {
                return self.reply_error(connection, &moved);
            }
            return self.forward_command(connection, spec, args);
        }
        let identity =
            self.identify(group, spec.flags.has(Flags::WRITE), args.iter().copied(), Identity::NONE);
        if let Some(flow) = self.repeat_here(connection, group, identity) {
            return flow;
        }
        if let Some(refusal) = self.refuse_write(group, spec) {
            return self.reply_error(connection, &refusal);
        }
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        let Some(it) = self.groups.get_mut(&group) else { return Flow::Continue };
        let protocol = session.protocol;
        let (now, wall_ms) = (self.now, self.now.wall.middle_ms());
        let mut context = Context { now, wall_ms, random: &mut self.random, protocol, identity };
        session.replies.begin();
        let executed = it.execute(&mut context, spec, args, session.replies.current());
        if self.options.is_some() {
            it.forget_blind(spec, args);
        }
        self.conclude(connection, group, spec, args, executed)
    }

    /// Lets the reply begun last go when nothing holds it back, or holds it.
    pub(crate) fn conclude(
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
            // Where it is at home is known by now.
            Executed::NotLeading | Executed::AtHome(_) => {
                return self.forward_command(connection, spec, args);
            }
        }
        Flow::Continue
    }

    pub(crate) fn conclude_read(&mut self, connection: ConnectionId, group: GroupId, depends: Index) {
        let permit = self.read_permit(group);
        let now = self.now.instant;
        let Some(it) = self.groups.get_mut(&group) else { return };
        let committed = depends <= it.replica.commit();
        let position = it.applied_position();
        let (keyspace, epoch) = (it.keyspace.id, it.epoch_ahead(depends));
        let Some(session) = self.sessions.get_mut(connection) else { return };
        let receipt = Receipt { keyspace, group, node: self.config.node, position, ..Receipt::default() };
        session.achieved(session.commands, receipt);
        if session.seen.note(group, position)
            && let Some(view) = self.map.view(group)
        {
            session.seen.settle(view);
        }
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
        let waiter = Waiter { index: depends, since: now, to, write: false, epoch };
        match permit {
            ReadPermit::Until(_) => self.wait_for_commit(group, waiter),
            ReadPermit::After(round) => self.wait_for_round(group, round, waiter),
            // No lease and nobody to ask: the next lease answers, or the time-out.
            ReadPermit::No => self.wait_for_round(group, u64::MAX, waiter),
        }
    }

    pub(crate) fn wait_for_round(&mut self, group: GroupId, round: u64, waiter: Waiter) {
        if let Some(it) = self.groups.get_mut(&group) {
            it.unconfirmed.push_back(Unconfirmed { round, waiter });
        }
    }

    pub(crate) fn conclude_write(&mut self, connection: ConnectionId, group: GroupId, position: Position) {
        self.unflushed.insert(group);
        let now = self.now.instant;
        let it = self.groups.get(&group).map(|it| &it.keyspace);
        let (keyspace, level) = it.map_or((KeyspaceId(0), Level::Flushed), |it| (it.id, it.settings.level));
        let asked = self.asked();
        let Some(session) = self.sessions.get_mut(connection) else { return };
        let slot = session.replies.hold();
        let node = self.config.node;
        let receipt = Receipt { keyspace, group, node, position, write: true, asked, ..Receipt::default() };
        session.achieved(session.commands, receipt);
        let to = Target::Client { connection, slot };
        let epoch = Some(position.epoch);
        let waiter = Waiter { index: position.index, since: now, to, write: true, epoch };
        self.hold_write(group, level, waiter);
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
        if self.disk_full {
            self.statistics.refused_writes += 1;
            return Some(String::from(
                "MISCONF the leader's disk is full: nothing was written; free space, writes then go on by themselves",
            ));
        }
        let it = self.groups.get(&group)?;
        let uncommitted = it.replica.newest().index.0.saturating_sub(it.replica.commit().0);
        if it.replica.pending_bytes() > UNCOMMITTED_BYTES_MAX || uncommitted > 1 << 20 {
            self.statistics.refused_writes += 1;
            return Some(String::from("TRYAGAIN too many writes wait for their followers: slow down"));
        }
        let view = it.replica.view()?;
        let settings = &view.settings;
        let most = Duration::from_secs(u64::from(settings.min_replicas_max_lag_s));
        let good = || it.replica.good_followers(self.now.instant, most);
        if settings.min_replicas_to_write > 0 && good() < settings.min_replicas_to_write as usize {
            let good = good();
            self.statistics.refused_writes += 1;
            return Some(format!(
                "NOREPLICAS {} followers must keep up in this keyspace (min-replicas-to-write), {good} do: nothing was written",
                settings.min_replicas_to_write
            ));
        }
        if let Some(refusal) = self.refuse_asked(group) {
            self.statistics.refused_writes += 1;
            return Some(refusal);
        }
        // bugs: X-02. Where the leader alone is enough it goes on no longer than nobody else can be elected.
        let unleased = self.now.instant >= self.control_lease.0 && !plant::is(Bug::WritesUnleased);
        if view.elects_best() && it.replica.may_be_succeeded() && unleased {
            self.statistics.refused_writes += 1;
            return Some(String::from(
                "TRYAGAIN the control plane cannot be reached, and under this commit rule another leader may be elected meanwhile",
            ));
        }
        // A stricter rule that is asked for and cannot be met yet is not made up for by the weaker one that still counts.
        let asked = match settings.on_timeout {
            OnTimeout::Degrade => 0,
            OnTimeout::Fail | OnTimeout::Block => settings.commit.followers_needed(view.electable.len()),
        };
        let needed = view.followers_needed().max(asked);
        let up = |r: &&data::view::Replica| r.node != self.config.node && self.peers.contains_key(&r.node);
        let reachable = view.electable.iter().filter(up).count();
        // Where the rule may be degraded a write is what has it degraded.
        if reachable < needed && view.settings.on_timeout != OnTimeout::Degrade {
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
        let opened = core::mem::take(&mut self.opened_in_turn);
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
                if opened.contains(&connection)
                    && let Some(snapshot) = &mut session.snapshot
                {
                    snapshot.opening = Some(slot);
                }
                let to = Target::Client { connection, slot };
                let waiter = Waiter { index: Index(0), since: now, to, write: false, epoch: None };
                self.wait_for_round(group, round, waiter);
            }
        }
    }

    /// The confirmation round that a read waits for now.
    pub(crate) fn round_of(&mut self, group: GroupId) -> u64 {
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
            self.abandon_opening(connection, slot);
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
