//! Leaderless shards on this node: a coordinator of each shard, and a copy where the ring has one, or where this node may
//! stand in. The machines are [`protocol::leaderless`]; here is what surrounds them.
//!
//! | file | does |
//! |---|---|
//! | `leaderless` | shards come and go with the map; messages, timers, and the end of a turn |
//! | `log` | records of a copy in the node's log, checkpoints, what a restart finds |
//! | `serve` | a client's command becomes reads and writes of keys, their ends become its reply |
//! | `barrier` | asks the map for barriers, and to be counted for them |
//! | `linearizable` | a client's command on a key whose values its copies agree on |
//! | `names` | commands about all keys: KEYS, SCAN, DBSIZE, RANDOMKEY, FLUSHDB |
//! | `levels` | W, R and the words of Cassandra and Riak for one request |
//! | `receipt` | what a command achieved |
//! | `show` | KEYSPACE INFO, counters |
//! | `sheet` | what a keyspace promises |
//! | `anomalies` | what its settings leave, by name |
//!
//! *One ring at a time.* A message names the ring version that its sender knows, and one that names another version than this
//! node knows is dropped: it is sent again, and the map comes to everybody. Nothing is counted across a change of the ring
//! (rule 9 of [`protocol::leaderless`]; bugs: LL-18).
//!
//! *What the disk has.* All records of a turn go to the log in one write with one flush, and what a copy says waits for it.
//!
//! *Lives.* The actor of a copy is its node's incarnation, which changes when the node cannot prove that it holds what it
//! promised. A machine that lost its disk comes back as another node and takes the old one's place in the ring; a
//! directory that went back in time is noticed by the node's peers ([`crate::rollback`]) before anything that it says counts.

pub mod anomalies;
mod barrier;
pub(crate) mod levels;
mod linearizable;
mod log;
mod names;
mod receipt;
mod serve;
pub mod sheet;
mod show;

use crate::io::{Event, Output};
use crate::message::PeerMessage;
use crate::node::Node;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::vec::Vec;
use control::{Command, LeaderlessChange};
use data::causal::Merged;
use data::leaderless::{Policy, ReadRepair};
use data::plant::{self, Bug};
use data::rules::{Resolvers, Rule};
use data::{GroupId, Incarnation, Index, KeyspaceId, NodeId};
use linearizable::Agreements;
pub use log::RestoredShard;
use log::ShardLog;
use names::Surveys;
use protocol::clocks::ClockBounds;
use protocol::leaderless::{
    Alive, Coordinator, Durable, Life, Limits, Message, Output as ReplicaOutput, Placement, Repair, Replica,
    Report, coordinator,
};
pub(crate) use receipt::QuorumReceipt;
use serve::Calls;
pub use show::ShardState;
pub(crate) use show::function_of;

/// Nodes of this message version take part in leaderless shards.
pub(crate) const SINCE_VERSION: u8 = 5;
/// Copies tell which keys there are since this version.
pub(crate) const NEWER_SINCE: u8 = 7;
/// Members read functions in the map since this version.
const MERGE_SINCE: u8 = 8;
/// Copies agree on values since this version.
pub(crate) const AGREEMENT_SINCE: u8 = 9;

/// Counts for INFO and the metrics.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    pub reads: u64,
    pub writes: u64,
    /// Refused before anything was sent, or without enough answers.
    pub no_quorum: u64,
    /// Commands on linearizable keys, and those that found others to be faster all the time.
    pub agreements: u64,
    pub outbid: u64,
    /// Writes that took stand-ins to reach what was required.
    pub sloppy: u64,
    /// Copies that a read found to lack something.
    pub stale: u64,
    pub hints_dropped: u64,
    pub walks: u64,
    pub walks_abandoned: u64,
    /// Keys that walks brought.
    pub keys_walked: u64,
    /// Bytes of sums and keys that walks of this node's copies took, in both directions.
    pub bytes_walked: u64,
    pub rebuilt: u64,
    pub checkpoints: u64,
    /// Concurrent strings that a keyspace's function merged for readers, and those on which it failed.
    pub merged: Merged,
    /// Barriers that came to their end with a copy here, and what deletes had left that went then.
    pub barriers: u64,
    pub collected: u64,
    /// Messages of another ring than this node knows.
    pub other_ring: u64,
}

/// One shard on this node.
pub(crate) struct Shard {
    pub keyspace: KeyspaceId,
    policy: Policy,
    rules: Vec<Rule>,
    placement: Placement,
    coordinator: Coordinator,
    /// A copy, or a stand-in; nothing where this node only coordinates.
    copy: Option<ShardCopy>,
    /// What this node asked the map for last because of a barrier.
    asked: barrier::Asked,
}

pub(crate) struct ShardCopy {
    replica: Replica,
    log: ShardLog,
    /// What the log must have on disk before the copy may say that it is rebuilt.
    ready_at: Option<Index>,
    /// The ring in which this node asked to be counted, and when.
    announced: Option<(u64, data::Instant)>,
}

/// Invariant: `unsent` is empty between two turns.
#[derive(Default)]
pub(crate) struct Leaderless {
    pub shards: BTreeMap<GroupId, Shard>,
    /// What the disk has of shards that no map has named yet.
    pub restored: BTreeMap<GroupId, RestoredShard>,
    calls: Calls,
    surveys: Surveys,
    agreements: Agreements,
    /// The newest life of each peer that was heard.
    lives: BTreeMap<NodeId, Incarnation>,
    /// Messages of this node to itself.
    unsent: VecDeque<(GroupId, Message)>,
    /// Log writes on their way: the node's token, and per shard the replica's.
    persisting: VecDeque<(u64, Vec<(GroupId, u64)>)>,
    pub counts: Counts,
}

impl Leaderless {
    pub fn new(restored: BTreeMap<GroupId, RestoredShard>) -> Leaderless {
        Leaderless { restored, ..Leaderless::default() }
    }
    pub fn hear_clocks(&mut self, bounds: ClockBounds) {
        for copy in self.shards.values_mut().filter_map(|it| it.copy.as_mut()) {
            copy.replica.hear_clocks(bounds);
        }
    }
    pub fn is_leaderless(&self, group: GroupId) -> bool {
        self.shards.contains_key(&group)
    }
}

impl Node {
    /// The map changed: shards come, go, and have other rings.
    pub(crate) fn meet_leaderless(&mut self) {
        let map = self.map.clone();
        if map.leaderless.is_empty()
            && self.leaderless.shards.is_empty()
            && self.leaderless.restored.is_empty()
        {
            return;
        }
        self.judge_clock();
        for (keyspace, policy, shard) in map.leaderless_shards() {
            let (mut ended, mut out) = (Vec::new(), Vec::new());
            let stood_in = map.leaderless.get(&keyspace).is_some_and(|it| it.stood_in);
            let placement = Placement {
                ring: shard.ring,
                replicas: shard.replicas.clone(),
                stand_ins: map.stand_ins(shard),
                barrier: shard.barrier,
            };
            let limits = coordinator::Limits { conflict: policy.conflict, ..coordinator::Limits::default() };
            let (me, process) = (self.config.node, self.config.process);
            let it = self.leaderless.shards.entry(shard.group).or_insert_with(|| Shard {
                keyspace,
                policy: policy.clone(),
                rules: Vec::new(),
                placement: Placement::default(),
                coordinator: Coordinator::new(me, process, limits),
                copy: None,
                asked: None,
            });
            if it.placement != placement {
                it.coordinator.place(placement.clone(), &mut ended);
                if let Some(copy) = &mut it.copy {
                    copy.replica.place(placement.clone(), &mut out);
                    if !placement.is_replica(me) {
                        (copy.ready_at, copy.announced) = (None, None);
                    }
                }
                it.placement = placement;
            }
            let rules = map.rules_of(keyspace);
            if it.policy != *policy || it.rules != rules {
                (it.policy, it.rules) = (policy.clone(), rules.to_vec());
                if let Some(copy) = &mut it.copy {
                    copy.replica.set_quorum(policy.smallest_quorum(), policy.shown_by());
                    let resolvers = Resolvers::new(self.config.merge_engine, rules, policy.merge.as_ref());
                    copy.replica.set_policy(policy.conflict, resolvers);
                }
            }
            // What the disk has is opened whoever this node is by now: hints are brought home, and a copy that was given back
            // keeps its node from beginning anew.
            let stands_in = stood_in && it.placement.stand_ins.contains(&me);
            let has_log = self.leaderless.restored.contains_key(&shard.group);
            if it.copy.is_none() && (it.placement.is_replica(me) || stands_in || has_log) {
                self.open_copy(shard.group);
            }
            self.carry_out_copy(shard.group, out);
            self.carry_out_coordinator(shard.group, ended);
        }
        let known = |group: &GroupId| map.leaderless_shards().any(|(.., shard)| shard.group == *group);
        let gone: Vec<GroupId> =
            self.leaderless.shards.keys().filter(|group| !known(group)).copied().collect();
        for group in gone {
            self.close_copy(group);
            self.leaderless.shards.remove(&group);
            self.abandon_calls(group);
        }
        // A map that is older than a shard does not know its number yet.
        let dropped = |group: &GroupId| *group < map.next_group && !known(group);
        let restored: Vec<GroupId> =
            self.leaderless.restored.keys().filter(|it| dropped(it)).copied().collect();
        for group in restored {
            self.leaderless.restored.remove(&group);
            self.outputs.push(Output::DropGroup { group });
        }
        self.tell_alive();
    }

    /// Begins to hold a copy: with what the disk has of it, or empty.
    fn open_copy(&mut self, group: GroupId) {
        if self.stopped.is_some() {
            return;
        }
        let Some(it) = self.leaderless.shards.get(&group) else { return };
        let Some(keyspace) = self.map.keyspaces.get(&it.keyspace) else { return };
        let restored = self.leaderless.restored.remove(&group).unwrap_or_default();
        if let Some(reason) = restored.broken() {
            // What cannot be read is not absent, and its actor may not go on: nothing of this log is trusted any more.
            return self.on_disk_failed(format!("the log of leaderless shard {}: {reason}", group.0));
        }
        // Whoever is of the first ring begins with the keyspace; later ones take the place of a copy that is gone.
        let begins = it.placement.ring == 1 && it.placement.is_replica(self.config.node);
        let (mut log, durable) = ShardLog::go_on(it.keyspace, group, restored);
        let fresh = durable.is_none();
        let durable = durable.unwrap_or_else(|| Durable::new(keyspace.seed, begins));
        if fresh {
            log.write_first(&durable, self.now.wall.middle_ms());
        }
        let life = Life {
            node: self.config.node,
            incarnation: self.config.incarnation,
            process: self.config.process,
            shard: group,
        };
        let limits = Limits {
            quorum: it.policy.smallest_quorum(),
            shown_by: it.policy.shown_by(),
            conflict: it.policy.conflict,
            // Copies of groups are compared as often; ours find their differences by it.
            walk_every: self.config.audit.every.min(Limits::default().walk_every),
            barrier_every: (self.config.audit.every * BARRIER_PACE).min(Limits::default().barrier_every),
            ..Limits::default()
        };
        let mut out = Vec::new();
        let mut replica = Replica::new(life, limits, durable, &mut out);
        let resolvers = Resolvers::new(self.config.merge_engine, &it.rules, it.policy.merge.as_ref());
        replica.set_policy(it.policy.conflict, resolvers);
        replica.hear_clocks(self.clocks.bounds);
        replica.place(it.placement.clone(), &mut out);
        // What the disk had was told before.
        replica.take_news();
        if let Some(through) = log.spent() {
            self.outputs.push(Output::ReleaseLog { group, through });
        }
        if let Some(it) = self.leaderless.shards.get_mut(&group) {
            it.copy = Some(ShardCopy { replica, log, ready_at: None, announced: None });
        }
        self.carry_out_copy(group, out);
    }

    fn close_copy(&mut self, group: GroupId) {
        let Some(it) = self.leaderless.shards.get_mut(&group) else { return };
        if it.copy.take().is_some() {
            for (_, tokens) in &mut self.leaderless.persisting {
                tokens.retain(|(of, _)| *of != group);
            }
            self.outputs.push(Output::DropGroup { group });
        }
    }

    /// Who is connected, and in which life: told to all machines.
    pub(crate) fn tell_alive(&mut self) {
        if self.leaderless.shards.is_empty() {
            return;
        }
        let mut alive = Alive::from([(self.config.node, self.config.incarnation)]);
        for (peer, version) in &self.peers {
            let heard = self.leaderless.lives.get(peer).copied();
            let life = heard.or_else(|| self.map.nodes.get(peer).map(|node| node.incarnation));
            if let Some(life) = life.filter(|_| *version >= SINCE_VERSION) {
                alive.insert(*peer, life);
            }
        }
        for it in self.leaderless.shards.values_mut() {
            it.coordinator.set_alive(alive.clone());
            if let Some(copy) = &mut it.copy {
                copy.replica.set_alive(alive.keys().copied().collect());
            }
        }
    }

    /// A peer told its life on a new connection.
    pub(crate) fn note_incarnation(&mut self, peer: NodeId, incarnation: Incarnation) {
        if self.leaderless.lives.insert(peer, incarnation) != Some(incarnation) {
            self.tell_alive();
        }
    }

    pub(crate) fn on_leaderless(
        &mut self,
        (from, incarnation): (NodeId, Incarnation),
        (group, ring): (GroupId, u64),
        message: Message,
    ) {
        let Some(it) = self.leaderless.shards.get_mut(&group) else { return };
        if it.placement.ring != ring && !plant::is(Bug::CountsAcrossRings) {
            self.leaderless.counts.other_ring += 1;
            return;
        }
        self.give(group, from, incarnation, message);
    }

    /// A message of this ring, of another node or of this one.
    fn give(&mut self, group: GroupId, from: NodeId, incarnation: Incarnation, message: Message) {
        // bugs: X-05. What would have to be written waits for room: it is sent again.
        if self.stopped.is_some() || (self.disk_full && message.writes()) {
            return;
        }
        let now = self.now;
        let Some(it) = self.leaderless.shards.get_mut(&group) else { return };
        if message.is_answer() {
            let mut out = Vec::new();
            it.coordinator.receive(from, incarnation, message, &mut out);
            self.carry_out_coordinator(group, out);
        } else if let Some(copy) = &mut it.copy {
            let mut out = Vec::new();
            copy.replica.receive(now, from, incarnation, message, &mut out);
            self.carry_out_copy(group, out);
        }
    }

    fn send_in_ring(&mut self, group: GroupId, to: NodeId, message: Message) {
        if to == self.config.node {
            self.leaderless.unsent.push_back((group, message));
            return;
        }
        let Some(it) = self.leaderless.shards.get(&group) else { return };
        // A machine may not have heard yet that the connection is gone, or is of an older version.
        let since = since(&message);
        if self.peers.get(&to).is_some_and(|version| *version >= since) {
            let ring = it.placement.ring;
            self.send(to, PeerMessage::Leaderless { group, ring, message });
        }
    }

    fn carry_out_copy(&mut self, group: GroupId, out: Vec<ReplicaOutput>) {
        for output in out {
            match output {
                ReplicaOutput::Send { to, message } => self.send_in_ring(group, to, message),
                ReplicaOutput::Persist { token, record } => {
                    let time_ms = self.now.wall.middle_ms();
                    let copy = self.leaderless.shards.get_mut(&group).and_then(|it| it.copy.as_mut());
                    if let Some(copy) = copy {
                        copy.log.write_change(token, &record, time_ms);
                    }
                }
                ReplicaOutput::Report(report) => self.on_report(group, report),
            }
        }
    }

    fn carry_out_coordinator(&mut self, group: GroupId, out: Vec<coordinator::Output>) {
        for output in out {
            match output {
                coordinator::Output::Send { to, message } => self.send_in_ring(group, to, message),
                coordinator::Output::Reply { client, reply } => self.on_quorum_reply(client, reply),
                coordinator::Output::Decide { sequence, client, ballot, value } => {
                    let change = self.decide_linearizable(client, ballot, &value);
                    let Some(it) = self.leaderless.shards.get_mut(&group) else { continue };
                    let mut out = Vec::new();
                    it.coordinator.decided(sequence, ballot, change, &mut out);
                    self.carry_out_coordinator(group, out);
                }
            }
        }
    }

    fn on_report(&mut self, group: GroupId, report: Report) {
        let counts = &mut self.leaderless.counts;
        match &report {
            Report::Walked { tally, .. } => {
                counts.walks += 1;
                counts.keys_walked += tally.keys;
                counts.bytes_walked += tally.bytes;
            }
            Report::WalkAbandoned { .. } => counts.walks_abandoned += 1,
            Report::Ready => counts.rebuilt += 1,
            Report::HintDropped { .. } => counts.hints_dropped += 1,
            Report::Collected { collected, .. } => {
                counts.barriers += 1;
                counts.collected += collected;
            }
            Report::Dropped(_) => {}
        }
        self.outputs.push(Output::Event(Event::Leaderless { group, report }));
    }

    /// Once a tick.
    pub(crate) fn tend_leaderless(&mut self) {
        if self.stopped.is_some() {
            return;
        }
        let now = self.now;
        let groups: Vec<GroupId> = self.leaderless.shards.keys().copied().collect();
        for group in groups {
            let Some(it) = self.leaderless.shards.get_mut(&group) else { continue };
            let mut asked = Vec::new();
            it.coordinator.tick(now.instant, &mut asked);
            let mut out = Vec::new();
            if let Some(copy) = it.copy.as_mut().filter(|_| !self.disk_full) {
                copy.replica.tick(now, &mut out);
            }
            self.carry_out_coordinator(group, asked);
            self.carry_out_copy(group, out);
            self.tend_checkpoint(group);
            self.announce_joined(group);
            self.tend_barrier(group);
        }
    }

    /// A newcomer that holds what quorums were promised says so, until the map shows it.
    fn announce_joined(&mut self, group: GroupId) {
        let (me, now) = (self.config.node, self.now.instant);
        let joins = self.map.leaderless_shards().find(|(.., shard)| shard.group == group);
        let Some(ring) = joins.filter(|(.., shard)| shard.joining == Some(me)).map(|(.., shard)| shard.ring)
        else {
            return;
        };
        let copy = self.leaderless.shards.get_mut(&group).and_then(|it| it.copy.as_mut());
        let Some(copy) = copy.filter(|copy| copy.replica.durable().is_ready()) else { return };
        let ready_at = *copy.ready_at.get_or_insert(copy.log.last());
        if copy.log.durable() < ready_at {
            return;
        }
        if copy.announced.is_some_and(|(known, at)| known == ring && now.since(at) < ANNOUNCE_EVERY) {
            return;
        }
        copy.announced = Some((ring, now));
        let change = LeaderlessChange::Joined { group, ring, node: me };
        self.ask_control(None, Command::ChangeLeaderless(change));
    }

    /// The end of a turn: what this node says to itself, then one log write for all shards.
    pub(crate) fn end_leaderless_turn(&mut self) {
        let (me, incarnation) = (self.config.node, self.config.incarnation);
        while let Some((group, message)) = self.leaderless.unsent.pop_front() {
            self.give(group, me, incarnation, message);
        }
        let (mut records, mut tokens) = (Vec::new(), Vec::new());
        for (group, it) in &mut self.leaderless.shards {
            if let Some(copy) = &mut it.copy
                && let Some(token) = copy.log.take(&mut records)
            {
                tokens.push((*group, token));
            }
        }
        if !records.is_empty() && self.stopped.is_none() {
            self.token += 1;
            self.statistics.entries += 1;
            self.leaderless.persisting.push_back((self.token, tokens));
            self.outputs.push(Output::Persist { token: self.token, records: records.into(), flush: true });
        }
    }

    pub(crate) fn on_leaderless_persisted(&mut self, token: u64) {
        while self.leaderless.persisting.front().is_some_and(|(mine, _)| *mine <= token) {
            let Some((_, tokens)) = self.leaderless.persisting.pop_front() else { return };
            for (group, token) in tokens {
                let copy = self.leaderless.shards.get_mut(&group).and_then(|it| it.copy.as_mut());
                let Some(copy) = copy else { continue };
                let mut out = Vec::new();
                copy.replica.persisted(copy.log.persisted(token), &mut out);
                if let Some(through) = copy.log.spent() {
                    self.leaderless.counts.checkpoints += 1;
                    self.outputs.push(Output::ReleaseLog { group, through });
                }
                self.carry_out_copy(group, out);
            }
        }
    }
}

/// The first message version that has this message.
pub(crate) fn since(message: &Message) -> u8 {
    match message {
        _ if message.is_of_agreement() => AGREEMENT_SINCE,
        _ if message.is_newer() => NEWER_SINCE,
        _ => SINCE_VERSION,
    }
}

/// Comparisons of groups' copies from one barrier to the next.
const BARRIER_PACE: u32 = 8;

/// How often a newcomer asks to be counted. A guess: a few times a second.
const ANNOUNCE_EVERY: core::time::Duration = core::time::Duration::from_millis(500);

fn repair_of(repair: ReadRepair) -> Repair {
    match repair {
        ReadRepair::Blocking => Repair::Blocking,
        ReadRepair::Background => Repair::Background,
        ReadRepair::Off => Repair::Off,
    }
}
