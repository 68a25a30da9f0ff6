//! Between the control plane and the rest of the node: its inputs, its outputs, the map it makes, what the node asks of it.

use crate::config::RestoredGroup;
use crate::group::{Group, Pause};
use crate::io::{ConnectionId, Event, Output};
use crate::message::{LEVEL_SINCE, PeerMessage};
use crate::node::Node;
use crate::replies::SlotId;
use crate::route::Routes;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use control::map::LEVEL;
use control::{Applied, ClusterMap, Command, Refusal};
use core::time::Duration;
use data::keyspace::CommitRule;
use data::record::{Header, Kind, Record};
use data::table::Table;
use data::view::{self, Leader, View};
use data::{Epoch, GroupId, Index, Instant, KeyspaceId, NodeId, RequestId, ViewNumber};
use protocol::single_leader::{self, Recovered, Replica, SealAnswer};
use wire::{Protocol, ReplyWriter};

/// The control plane is asked for a keyspace's group at most this often.
const ENSURE_EVERY: Duration = Duration::from_millis(200);
/// A follower that lacks more entries is not waited for by a switchover. A guess: a fraction of a second of writes.
const NEAR: u64 = 10_000;
/// A client's administrative command waits so long for the control plane.
const TICKET_PATIENCE: Duration = Duration::from_secs(4);

/// Peers of this message version read where a sealed log's epochs began.
const STARTS_SINCE_VERSION: u8 = 3;

/// Who asked the control plane for something.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    /// The client that waits; `None` for what the node asks for itself.
    pub client: Option<(ConnectionId, SlotId)>,
    /// The peer address of a node that asked to join.
    pub joiner: Option<String>,
    /// A leader's proposal of another electable set.
    pub proposal: Option<Proposal>,
    pub deadline: Instant,
}

/// An electable set as its group's leader proposed it.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    pub group: GroupId,
    pub number: ViewNumber,
    pub rule: CommitRule,
    pub electable: Vec<view::Replica>,
}

/// A log write of the control plane on its way.
pub(crate) struct ControlWrite {
    pub mine: u64,
    pub theirs: u64,
    /// Once it is durable the control records through this number may go.
    pub release: Option<Index>,
}

impl Node {
    /// Gives the control plane an input and carries out what it wants.
    pub(crate) fn control(&mut self, input: control::Input) {
        if self.stopped.is_some() {
            return;
        }
        let mut outputs = core::mem::take(&mut self.control_outputs);
        self.plane.step(self.now.instant, input, &mut outputs);
        // Log writes come first: what the others lead to may come back to the control plane and make it write more. Written out
        // of their order, a replay after a restart would end between them, and this node would forget what it promised.
        for output in &outputs {
            if let control::Output::Persist { token, replaces, records } = output {
                self.persist_control(*token, *replaces, records);
            }
        }
        for output in outputs.drain(..) {
            self.carry_out_control(output);
        }
        self.control_outputs = outputs;
    }

    fn carry_out_control(&mut self, output: control::Output) {
        use control::Output as O;
        match output {
            // A node whose log takes nothing can promise nothing. It says nothing, so that it is suspected and others lead: this node
            // could not even record that they do.
            O::Send { .. } if self.disk_full => {}
            O::Send { to, message } => {
                let knows = self.peers.get(&to).is_some_and(|version| *version >= STARTS_SINCE_VERSION);
                let message = if knows { message } else { message.without_starts() };
                self.send(to, PeerMessage::Control(message));
            }
            O::Persist { .. } => {}
            O::MapChanged(map) => {
                let before = core::mem::replace(&mut self.map, map);
                self.follow_moves(&before);
                self.meet_map();
            }
            O::Seal { group, epoch, election, released } => self.on_seal(group, epoch, election, released),
            O::PrepareSwitchover { group, target } => self.pause(group, target),
            O::CallOffSwitchover { group } => {
                if let Some(it) = self.groups.get_mut(&group) {
                    it.paused = None;
                }
            }
            O::Answer { ticket, result } => self.on_control_answer(ticket, result),
            O::ControlLease { until, grantor } => {
                if until > self.control_lease.0 {
                    self.control_lease = (until, grantor);
                }
            }
            O::Report(event) => {
                self.outputs.push(Output::Event(Event::Control(format!("{event:?}"))));
            }
        }
    }

    fn persist_control(&mut self, token: u64, replaces: bool, records: &[Vec<u8>]) {
        let mut buffer = Vec::new();
        self.token += 1;
        // Control records are numbered upwards over all runs of the node: storage lets go of them by number.
        let index = Index((self.config.process.0 << 40) + self.token);
        let header = Header {
            kind: Kind::Control,
            keyspace: KeyspaceId(0),
            group: data::id::CONTROL_GROUP,
            epoch: Epoch(0),
            index,
            commit: Index(0),
            time_ms: self.now.wall.middle_ms(),
            request: RequestId::NONE,
        };
        for record in records {
            Record::write(&mut buffer, &header, 0, |w| w.buffer.extend_from_slice(record));
        }
        let release = replaces.then(|| index.previous());
        self.control_persisting.push_back(ControlWrite { mine: self.token, theirs: token, release });
        self.outputs.push(Output::Persist { token: self.token, records: Bytes::from(buffer), flush: true });
    }

    fn on_seal(&mut self, group: GroupId, epoch: Epoch, election: ViewNumber, released: bool) {
        let now = self.now.instant;
        let leader = self.groups.get(&group).and_then(|it| it.replica.view()?.leader);
        let leader = leader.map(|leader| leader.replica.node);
        // The deposed leader itself waits for nobody: from now on it answers no reads.
        let not_before =
            if released || leader == Some(self.config.node) { now } else { self.grantor.seal_at(leader) };
        self.feed(group, single_leader::Input::Seal { epoch, election, not_before });
    }

    pub(crate) fn answer_seal(&mut self, answer: SealAnswer) {
        let sealed = control::Sealed {
            group: answer.group,
            epoch: answer.epoch,
            election: answer.election,
            replica: self.replica(),
            process: self.config.process,
            last: answer.last,
            starts: self
                .groups
                .get(&answer.group)
                .map_or_else(Vec::new, |it| it.replica.log().starts().to_vec()),
            missed: answer.missed,
        };
        self.control(control::Input::Sealed(sealed));
    }

    pub(crate) fn replica(&self) -> view::Replica {
        view::Replica { node: self.config.node, incarnation: self.config.incarnation }
    }

    pub(crate) fn propose_electable(&mut self, proposal: Proposal) {
        let leader = Leader { replica: self.replica(), process: self.config.process };
        let ticket = self.new_ticket(None);
        if let Some(it) = self.tickets.get_mut(&ticket) {
            it.proposal = Some(proposal.clone());
        }
        let Proposal { group, number, rule, electable } = proposal;
        let command = Command::ChangeElectable { group, number, leader, rule, electable };
        self.control(control::Input::Propose { ticket, command });
    }

    /// Proposes a change of the map; the answer goes to the client, if one waits.
    pub(crate) fn ask_control(&mut self, client: Option<(ConnectionId, SlotId)>, command: Command) {
        let ticket = self.new_ticket(client);
        self.control(control::Input::Propose { ticket, command });
    }

    /// The control leader raises the map's level once every member has said that it knows the newest one.
    pub(crate) fn raise_level(&mut self) {
        let me = self.config.node;
        if self.map.level >= LEVEL || !self.map.founded() || self.plane.control_leader() != Some(me) {
            return;
        }
        let now = self.now.instant;
        let knows = |id: &NodeId| *id == me || self.versions.get(id).is_some_and(|it| *it >= LEVEL_SINCE);
        let is_asked = self.level_asked.is_some_and(|at| now < at + TICKET_PATIENCE);
        if !is_asked && self.map.nodes.keys().all(knows) {
            self.level_asked = Some(now);
            self.ask_control(None, Command::RaiseLevel { level: LEVEL });
        }
    }

    pub(crate) fn new_ticket(&mut self, client: Option<(ConnectionId, SlotId)>) -> u64 {
        self.next_ticket += 1;
        let deadline = self.now.instant + TICKET_PATIENCE;
        self.tickets.insert(self.next_ticket, Ticket { client, joiner: None, proposal: None, deadline });
        self.next_ticket
    }

    fn on_control_answer(&mut self, ticket: u64, result: Result<Applied, Refusal>) {
        let Some(ticket) = self.tickets.remove(&ticket) else { return };
        if let (Some(peer), Ok(Applied::Node(node))) = (ticket.joiner, result) {
            let map = self.map.clone();
            self.outputs.push(Output::JoinAnswer { peer, node, map });
        }
        match (ticket.proposal, result) {
            (Some(proposal), Err(refusal)) => self.on_proposal_refused(proposal, refusal),
            (Some(proposal), Ok(_)) => {
                self.uncertain_proposals.insert((proposal.group, proposal.number));
            }
            (None, _) => {}
        }
        let Some((connection, slot)) = ticket.client else { return };
        let mut bytes = Vec::new();
        let mut writer = ReplyWriter::new(&mut bytes, Protocol::Resp2);
        match result {
            Ok(_) => writer.ok(),
            Err(refusal) => writer.error(&refusal_text(refusal)),
        }
        self.fill(connection, slot, &bytes);
    }

    /// The leader is free of a refused proposal only when no copy of it can still be recorded: each copy was refused, none
    /// is on its way or went unanswered (TC-04). That the view has another number by now is no refusal: a copy of this very
    /// proposal may have changed it, and until the leader has seen the newer view it meets both.
    fn on_proposal_refused(&mut self, proposal: Proposal, refusal: Refusal) {
        let key = (proposal.group, proposal.number);
        if matches!(refusal, Refusal::Unanswered | Refusal::NoControlLeader | Refusal::Stale { .. }) {
            self.uncertain_proposals.insert(key);
        }
        let same = |ticket: &Ticket| ticket.proposal.as_ref().is_some_and(|p| (p.group, p.number) == key);
        if !self.uncertain_proposals.contains(&key) && !self.tickets.values().any(same) {
            let Proposal { group, number, rule, electable } = proposal;
            self.feed(group, single_leader::Input::ProposalRefused { number, rule, electable });
        }
    }

    pub(crate) fn tend_tickets(&mut self) {
        let now = self.now.instant;
        let due: Vec<u64> =
            self.tickets.iter().filter(|(_, t)| t.deadline <= now).map(|(number, _)| *number).collect();
        for number in due {
            let Some(ticket) = self.tickets.remove(&number) else { continue };
            if let Some(proposal) = ticket.proposal {
                self.on_proposal_refused(proposal, Refusal::Unanswered);
            }
            let Some((connection, slot)) = ticket.client else { continue };
            let text =
                "-INDETERMINATE the control plane did not answer in time: the change may still happen\r\n";
            self.fill(connection, slot, text.as_bytes());
        }
    }

    /// An empty node asks to become a member. It asks again until it hears an answer.
    pub(crate) fn on_join(&mut self, nonce: u64, name: String, addresses: control::Addresses, site: String) {
        let ticket = self.new_ticket(None);
        if let Some(it) = self.tickets.get_mut(&ticket) {
            it.joiner = Some(addresses.peer.clone());
        }
        let command = Command::AddNode { nonce, name, addresses, site };
        self.control(control::Input::Propose { ticket, command });
    }

    /// Asks for the group of a keyspace that exists and was not used before.
    pub(crate) fn ensure_group(&mut self, keyspace: KeyspaceId) {
        let now = self.now.instant;
        if !self.map.keyspaces.contains_key(&keyspace) || self.is_leaderless(keyspace) {
            return;
        }
        let asked = self.keyspace_requests.get(&keyspace).copied();
        if asked.is_some_and(|asked| now.since(asked) < ENSURE_EVERY) {
            return;
        }
        self.keyspace_requests.insert(keyspace, now);
        self.ask_control(None, Command::EnsureGroup { keyspace });
    }

    /// The map changed: routes, groups and views follow.
    pub(crate) fn meet_map(&mut self) {
        let map: Arc<ClusterMap> = self.map.clone();
        self.uncertain_proposals
            .retain(|(group, number)| map.view(*group).is_some_and(|v| v.number <= *number));
        self.choose_sites();
        self.settle_early();
        self.routes = Routes::of(&map, &self.groups_elsewhere());
        let routes = &self.routes;
        self.forwards.unsend(|outgoing, to| {
            // Sent to a node that no longer leads: the next leader is asked, and knows the request if it was executed.
            // Of a multi-leader keyspace: only that group's next leader knows it.
            if map.multi_leader.contains_key(&outgoing.keyspace) && outgoing.write {
                return map.leader_of(outgoing.group).is_some_and(|leader| leader != to);
            }
            let route = routes.get(&outgoing.keyspace).and_then(|routes| routes.at(outgoing.slot));
            route.is_none_or(|route| route.leader.is_some_and(|leader| leader != to))
        });
        for view in map.views() {
            if view.holds_copy(self.config.node) && !self.groups.contains_key(&view.group) {
                self.open_group(&map, view);
            }
            if let Some(it) = self.groups.get_mut(&view.group) {
                if let Some(keyspace) = map.keyspaces.get(&view.keyspace) {
                    it.keyspace = keyspace.clone();
                }
                if let Some(known) = it.replica.view().filter(|known| known.epoch < view.epoch) {
                    it.deposed = known.leader.map(|leader| leader.replica);
                }
                it.told.meet_moves(map.moved_at);
                if it.replica.view().is_none_or(|known| known.number != view.number) {
                    // A lease was granted under the set of its day: the only electable replica has one for ever.
                    it.read_until = Instant::ZERO;
                }
                self.feed(view.group, single_leader::Input::View(Box::new(view.clone())));
            }
        }
        self.meet_leaderless();
        self.meet_sites();
        self.meet_programs();
        self.meet_moves();
        if map.founded() {
            self.let_restored_go();
            self.close_groups(&map);
            // Of a keyspace that was dropped nothing is left to wait for.
            for session in self.sessions.iter_mut() {
                session.written.retain(|it| map.view(it.group).is_some());
            }
        }
    }

    /// Begins to hold a group: with what the disk has of it, or empty.
    fn open_group(&mut self, map: &ClusterMap, view: &View) {
        let Some(keyspace) = map.keyspaces.get(&view.keyspace) else { return };
        let mut restored =
            self.restored.remove(&view.group).unwrap_or_else(|| RestoredGroup::new(view.keyspace));
        if let Some(reason) = restored.site.broken {
            // What cannot be read is not absent: nothing of this log is trusted any more.
            return self.on_disk_failed(format!("the log of group {}: {reason}", view.group.0));
        }
        let mut table = restored.table.unwrap_or_else(|| Table::new(keyspace.seed));
        if table.seed() != keyspace.seed {
            table = reseeded(&table, keyspace.seed);
        }
        let recovered = Recovered { promised: restored.promised, commit: restored.commit, log: restored.log };
        let (me, process) = (self.replica(), self.config.process);
        let replica = Replica::new(me, process, view.group, view.keyspace, recovered);
        let applied = restored.applied;
        let snapshot = restored.snapshot.map_or(Index(0), |(mark, _)| mark.position.index);
        let its = core::mem::take(&mut restored.site);
        let site = self.open_site(map, view.group, its, (snapshot, applied));
        let mut group = Group::new(replica, keyspace.clone(), table, restored.answers, applied);
        group.snapshots.stored = restored.snapshot;
        group.shortfall = restored.shortfall;
        group.map_needed = restored.map_needed;
        group.tell_lacks();
        group.site = site.map(Box::new);
        if let Some((position, unlike)) = restored.unlike {
            group.audit.note_unlike(position, unlike, &group.table);
        }
        let commit = group.replica.commit();
        // Nobody waits for word of it yet.
        group.apply_through(commit, &mut Vec::new());
        self.groups.insert(view.group, group);
    }

    /// What the disk has of groups that this node was taken out of while it was down: nobody would ever open them, and the log, which
    /// all groups share, would be kept for their sake.
    pub(crate) fn let_restored_go(&mut self) {
        if self.restored.is_empty() || !self.map.founded() {
            return;
        }
        let map: Arc<ClusterMap> = self.map.clone();
        // A map that is older than a group does not know its number yet.
        let is_dropped = |group: &GroupId| *group < map.next_group && map.view(*group).is_none();
        let dropped: Vec<GroupId> = self.restored.keys().filter(|group| is_dropped(group)).copied().collect();
        for group in dropped {
            self.restored.remove(&group);
            self.outputs.push(Output::DropGroup { group });
        }
        // Of a group that goes on elsewhere the map that this node began with may be older than its own part in it. A lease counts
        // with the newest map only.
        if self.control_lease.0 == Instant::ZERO {
            return;
        }
        let is_left =
            |view: &&View| self.restored.contains_key(&view.group) && !view.holds_copy(self.config.node);
        let left: Vec<&View> = map.views().filter(is_left).collect();
        for view in left {
            let is_broken = self.restored.get(&view.group).is_some_and(|it| it.site.broken.is_some());
            if is_broken {
                self.restored.remove(&view.group);
                self.outputs.push(Output::DropGroup { group: view.group });
                continue;
            }
            // As one that it leaves while it runs: what only this copy has goes to the ledger.
            self.open_group(&map, view);
        }
        self.close_groups(&map);
    }

    /// Groups that the map no longer places here: their copies go. One that is still counted stays until its leader has
    /// dropped it, even if it can no longer prove what it holds: an election may need everybody's answer.
    fn close_groups(&mut self, map: &ClusterMap) {
        let gone: Vec<GroupId> = self
            .groups
            .keys()
            .filter(|group| map.view(**group).is_none_or(|view| !view.holds_copy(self.config.node)))
            .copied()
            .collect();
        for group in gone {
            // Of a group that the map no longer has, as it was last.
            let last = || self.groups.get(&group).and_then(|it| it.replica.view());
            let history = map.view(group).or_else(last).map(|view| view.history.clone());
            if let Some(history) = history {
                self.keep_before_leaving(group, &history);
            }
            self.end_group(group);
        }
    }

    fn end_group(&mut self, group: GroupId) {
        self.turn_parked_away(group);
        let Some(it) = self.groups.get_mut(&group) else { return };
        let waiters: Vec<_> = it.waiters.drain(..).collect();
        let asking: Vec<_> = it.asking.drain(..).map(|asking| asking.waiter).collect();
        let reads: Vec<_> = it.unconfirmed.drain(..).map(|read| read.waiter).collect();
        let blocked: Vec<_> =
            it.blocked.all().into_iter().filter_map(|number| it.blocked.remove(number)).collect();
        for waiter in waiters.into_iter().chain(asking).chain(reads) {
            self.give_up(group, waiter, "this node left the group");
        }
        for entry in blocked {
            self.move_blocked(group, entry);
        }
        let parked = self.groups.get_mut(&group).map(|it| core::mem::take(&mut it.parked));
        for read in parked.unwrap_or_default() {
            self.send_on(read);
        }
        self.groups.remove(&group);
        self.unflushed.remove(&group);
        self.outputs.push(Output::DropGroup { group });
    }

    /// A planned switchover begins: no new write until the target has everything.
    fn pause(&mut self, group: GroupId, target: NodeId) {
        let until = self.now.instant + Duration::from_millis(1000);
        // Asked again until it is called off: writes do not stop for a target that could not come level meanwhile.
        let near = |it: &Group| {
            let newest = it.replica.newest().index.0;
            let its = it.replica.followers().find(|(node, _)| *node == target);
            its.is_some_and(|(_, progress)| progress.is_replicating() && progress.matched.0 + NEAR >= newest)
        };
        // One that lacks entries is made anew first, and nothing is paused for that.
        let paused = self.groups.get(&group).is_some_and(|it| it.paused.is_some());
        if !paused && !self.is_whole_or_made(group, target) {
            return;
        }
        if let Some(it) = self.groups.get_mut(&group).filter(|it| it.paused.is_some() || near(it)) {
            it.paused = Some(Pause { target, until, told: false });
        }
        self.tend_pause(group);
    }

    /// Whether a paused group's target has everything; a pause that takes too long ends.
    pub(crate) fn tend_pause(&mut self, group: GroupId) {
        let now = self.now.instant;
        let Some(it) = self.groups.get_mut(&group) else { return };
        let Some(pause) = &mut it.paused else { return };
        if now >= pause.until || it.replica.leads().is_none() {
            it.paused = None;
            return;
        }
        let newest = it.replica.newest().index;
        let drained = it.replica.commit() == newest
            && it.replica.is_whole(pause.target)
            && it.replica.followers().any(|(node, p)| node == pause.target && p.matched == newest);
        if drained && !pause.told {
            pause.told = true;
            let target = pause.target;
            self.control(control::Input::SwitchoverReady { group, target });
        }
    }

    /// JSON of everything the administration client shows.
    pub(crate) fn keyspace_name(&self, keyspace: KeyspaceId) -> String {
        self.map.keyspaces.get(&keyspace).map_or_else(|| format!("{}", keyspace.0), |it| it.name.clone())
    }
}

/// The same keys under another seed: a copy made before the keyspace's seed was known.
fn reseeded(table: &Table, seed: data::table::Seed) -> Table {
    let mut copy = Table::new(seed);
    let mut cursor = 0;
    loop {
        cursor = table.scan(cursor, &mut |key, found| {
            copy.insert_loaded(key, found.value.to_value(), found.expires_at_ms);
        });
        if cursor == 0 {
            return copy;
        }
    }
}

/// A refusal in words for a client: a stable first word, then what to do.
pub(crate) fn refusal_text(refusal: Refusal) -> String {
    match refusal {
        Refusal::Stale { .. } => String::from("TRYAGAIN the group changed in the meantime: try again"),
        Refusal::NotFounded => String::from("CLUSTERDOWN the cluster is not founded yet: try again"),
        Refusal::AlreadyFounded => String::from("ERR the cluster is founded already"),
        Refusal::UnknownNode => String::from("ERR no such node"),
        Refusal::UnknownKeyspace => String::from("ERR no such keyspace"),
        Refusal::UnknownGroup => String::from("ERR no such group"),
        Refusal::UnknownMove => String::from("ERR no such move"),
        Refusal::KeyspaceExists => String::from("ERR a keyspace of this name exists"),
        Refusal::Invalid(what) => format!("ERR {what}"),
        Refusal::Numbered => String::from("ERR the numbered keyspaces 0 to 15 cannot be dropped"),
        Refusal::InElection => String::from("TRYAGAIN the group elects a leader: try again"),
        Refusal::NoElection => String::from("ERR no election is under way"),
        Refusal::NotLeader => String::from("ERR only the present leader may do this"),
        Refusal::NoNodes => String::from("CLUSTERDOWN no active node can take the group"),
        Refusal::LastNode => String::from("ERR the last active node stays"),
        Refusal::InUse => String::from("ERR something still depends on the node"),
        Refusal::NotElectable => String::from("ERR the node is not an electable replica within reach"),
        Refusal::Outdated => String::from("ERR another life of this node is known"),
        Refusal::NoControlLeader => {
            String::from("CLUSTERDOWN the control plane has no leader at the moment: try again")
        }
        Refusal::CalledOff => String::from("TRYAGAIN the switchover took too long and was called off"),
        Refusal::Unanswered => String::from(
            "INDETERMINATE the control plane did not answer in time: the change may still happen",
        ),
    }
}
