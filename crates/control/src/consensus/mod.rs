//! The consensus library behind one small type: commands in, an agreed map out.
//!
//! Raft (Ongaro 2014, with pre-vote and check-quorum, bugs: X-03) by the `raft` crate, driven by hand. Ours: ticks from
//! `now`, election time-outs fixed per node instead of drawn, durability by token, the map as state machine and snapshot.
//! The library's vote and append answers leave only once what they promise is durable.

mod log;
pub(crate) mod records;

use crate::command::{Applied, Command, Refusal};
use crate::config::Config;
use crate::map::{Advice, ClusterMap};
use data::codec::{DecodeError, Reader, Writer};
use data::{Instant, NodeId, Process};
use log::ControlLog;
use protobuf::Message as _;
use raft::eraftpb::{
    ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType,
    HardState, Message, MessageType,
};
use raft::{ProgressState, RawNode, Ready, SnapshotStatus, StateRole};
use std::collections::VecDeque;
use std::sync::Arc;

/// Every cluster's log begins behind this entry, so that a joiner with an empty log cannot replay it without the
/// founders' configuration: it needs a snapshot first.
const BASE: (u64, u64) = (1, 1);
/// The log is compacted when it holds so many entries: a guess, a few hundred kilobytes.
const ENTRIES_MAX: usize = 1024;
/// Uncommitted bytes beyond which proposals are refused.
const UNCOMMITTED_BYTES_MAX: u64 = 4 << 20;
/// Ticks after which a snapshot on its way counts as lost.
const SNAPSHOT_TICKS: u32 = 50;
/// Ticks made up for after a pause; the rest of the pause is forgiven, or every follower would campaign on waking up.
const TICKS_MAX: u32 = 2;

/// Who is to be told how a command ended. Ticket 0: nobody.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Origin {
    pub node: NodeId,
    pub process: Process,
    pub ticket: u64,
}

/// What came out of the library.
pub(crate) enum Effect {
    Send {
        to: NodeId,
        bytes: Vec<u8>,
    },
    Persist {
        token: u64,
        replaces: bool,
        records: Vec<Vec<u8>>,
    },
    Applied {
        origin: Origin,
        command: Command,
        result: Result<Applied, Refusal>,
    },
    /// The set of control members changed, or a whole map arrived.
    Reconfigured,
    /// A control majority confirmed this leader after the round was asked for.
    Round(u64),
    /// Leader or term changed.
    Leadership {
        leader: Option<NodeId>,
        term: u64,
    },
}

/// A change of the control group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reconfigure {
    AddLearner(NodeId),
    RemoveLearner(NodeId),
    /// The voters shall be these: from now on majorities of the old and of the new ones are needed.
    Voters(Vec<NodeId>),
    /// The old voters have no say any more.
    LeaveJoint,
    HandOver(NodeId),
}

/// A ready that waits until what it wrote is durable.
struct Held {
    token: u64,
    number: u64,
    messages: Vec<Message>,
    /// The snapshot in it counts as applied once it is durable.
    restored: Option<u64>,
}

pub(crate) struct Consensus {
    raw: RawNode<ControlLog>,
    me: NodeId,
    /// This node's fixed election time-out in ticks.
    election_ticks: usize,
    tick: core::time::Duration,
    next_tick: Instant,
    held: VecDeque<Held>,
    next_token: u64,
    snapshot_ticks: u32,
    /// What the last ready told: to report changes only.
    leadership: (Option<NodeId>, u64),
    /// A whole record that the first drain must write.
    first_record: Option<Vec<u8>>,
}

impl Consensus {
    /// `log`: what this node had; without it the founders begin at the base and a joiner with nothing.
    pub fn new(config: &Config, log: Option<ControlLog>, now: Instant) -> Consensus {
        let fresh = log.is_none();
        let mut log = log.unwrap_or_else(|| first_log(config));
        // Committed never lies behind what the map contains: only the map was written last.
        log.hard.commit = log.hard.commit.max(log.applied()).min(log.last());
        let timings = &config.timings;
        let raft_config = raft::Config {
            id: u64::from(config.node.0),
            election_tick: timings.raft_election_ticks,
            heartbeat_tick: timings.raft_heartbeat_ticks,
            applied: log.applied(),
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 64,
            check_quorum: true,
            pre_vote: true,
            max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
            ..raft::Config::default()
        };
        let first_record = (fresh && config.founded.is_some()).then(|| records::whole(&log));
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&raft_config, log, &logger)
            .expect("the configuration is made of constants and the log was checked when it was read");
        let mut consensus = Consensus {
            raw,
            me: config.node,
            election_ticks: election_ticks(config),
            tick: timings.raft_tick,
            next_tick: now + timings.raft_tick,
            held: VecDeque::new(),
            next_token: 1,
            snapshot_ticks: 0,
            leadership: (None, 0),
            first_record,
        };
        consensus.fix_timeout();
        consensus
    }

    /// The map with every entry that is committed and applied here.
    pub fn map(&self) -> &Arc<ClusterMap> {
        &self.raw.store().map
    }
    pub fn leader(&self) -> Option<NodeId> {
        node_id(self.raw.raft.leader_id)
    }
    pub fn leads(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }
    pub fn term(&self) -> u64 {
        self.raw.raft.term
    }
    /// Leads, and has applied an entry of its own term: only then is what it holds known to be the newest, and only then
    /// may it change the membership (bugs: SL-19, SL-20).
    pub fn established(&self) -> bool {
        self.leads() && self.raw.raft.commit_to_current_term() && self.raw.raft.apply_to_current_term()
    }
    /// Whether this node has a part in the control group, as far as it knows.
    pub fn is_member(&self) -> bool {
        let me = u64::from(self.me.0);
        let conf = &self.raw.store().conf;
        conf.voters.contains(&me) || conf.voters_outgoing.contains(&me) || conf.learners.contains(&me)
    }
    /// Never was a control member: it voted for nobody and holds nothing.
    pub fn is_blank(&self) -> bool {
        let store = self.raw.store();
        store.last() == 0 && store.hard == HardState::default()
    }
    /// A membership change is on its way.
    pub fn reconfiguring(&self) -> bool {
        self.raw.raft.has_pending_conf()
    }
    /// Whether a follower holds nearly all of the log.
    pub fn caught_up(&self, node: NodeId) -> bool {
        let last = self.raw.raft.raft_log.last_index();
        let progress = self.raw.raft.prs().get(u64::from(node.0));
        progress.is_some_and(|p| p.matched + 8 >= last && p.state != ProgressState::Snapshot)
    }

    pub fn on_tick(&mut self, now: Instant) {
        for _ in 0..TICKS_MAX {
            if now < self.next_tick {
                return;
            }
            self.next_tick = self.next_tick + self.tick;
            self.tick_once();
        }
        if now >= self.next_tick {
            self.next_tick = now + self.tick;
        }
    }

    fn tick_once(&mut self) {
        // Alone this node would lead at once: not before its earlier promises are durable.
        if !self.leads() && !self.held.is_empty() {
            return;
        }
        self.fix_timeout();
        self.raw.tick();
        self.snapshot_ticks += 1;
        if self.leads() && self.snapshot_ticks >= SNAPSHOT_TICKS {
            self.snapshot_ticks = 0;
            let waiting: Vec<u64> = self
                .raw
                .raft
                .prs()
                .iter()
                .filter(|(_, progress)| progress.state == ProgressState::Snapshot)
                .map(|(id, _)| *id)
                .collect();
            waiting.into_iter().for_each(|id| self.raw.report_snapshot(id, SnapshotStatus::Failure));
        }
    }

    /// The library draws a new time-out at every change of role; ours is fixed.
    fn fix_timeout(&mut self) {
        self.raw.raft.set_randomized_election_timeout(self.election_ticks);
    }

    /// The connection to the leader was reset: it no longer protects it from a challenger. It is heard again, or followed
    /// by another, by the ordinary rules.
    pub fn forget_leader(&mut self) {
        if self.raw.raft.state == StateRole::Follower {
            let term = self.raw.raft.term;
            self.raw.raft.become_follower(term, raft::INVALID_ID);
            self.fix_timeout();
        }
    }

    pub fn campaign(&mut self) {
        if !self.leads() && self.held.is_empty() && self.raw.raft.promotable() {
            // Refused when a membership change waits to be applied: the ordinary time-out tries again.
            let _ = self.raw.campaign();
            self.fix_timeout();
        }
    }

    /// A message of the library from a peer; `Err` names why it was dropped.
    pub fn receive(&mut self, from: NodeId, bytes: &[u8]) -> Result<(), &'static str> {
        let mut message = Message::default();
        message.merge_from_bytes(bytes).map_err(|_| "unreadable control message")?;
        if message.from != u64::from(from.0) || message.to != u64::from(self.me.0) {
            return Err("control message for somebody else");
        }
        // A heartbeat that says more is committed than is held here: this log lost entries that it had acknowledged. The
        // library would stop the process; such a node has to come back under a new id instead.
        let last = self.raw.raft.raft_log.last_index();
        if message.get_msg_type() == MessageType::MsgHeartbeat && message.commit > last {
            return Err("control log lost entries");
        }
        let ascending = message.entries.windows(2).all(|pair| pair[1].index == pair[0].index + 1);
        if !ascending || message.entries.first().is_some_and(|first| first.index != message.index + 1) {
            return Err("control entries with gaps");
        }
        if !message.entries.iter().all(readable) {
            return Err("control entries of a newer version");
        }
        let snapshot = &message.get_snapshot().data;
        if !snapshot.is_empty() && ClusterMap::decode(&mut Reader::new(snapshot)).is_err() {
            return Err("control snapshot of a newer version");
        }
        let result = self.raw.step(message);
        self.fix_timeout();
        result.map_err(|_| "control message out of place")
    }

    /// Appends a command; `false` when this node does not lead or too much is on its way.
    pub fn propose(&mut self, origin: Origin, advice: &Advice, command: &Command) -> bool {
        let mut bytes = Vec::new();
        let w = &mut Writer::new(&mut bytes);
        origin.node.encode(w);
        origin.process.encode(w);
        w.u64(origin.ticket);
        advice.encode(w);
        command.encode(w);
        self.leads() && self.raw.propose(Vec::new(), bytes).is_ok()
    }

    pub fn reconfigure(&mut self, change: Reconfigure) {
        let mut whole = ConfChangeV2::default();
        let mut change_one = |kind, node: u64| {
            let one = ConfChangeSingle { change_type: kind, node_id: node, ..ConfChangeSingle::default() };
            whole.changes.push(one);
        };
        match change {
            Reconfigure::AddLearner(node) => change_one(ConfChangeType::AddLearnerNode, u64::from(node.0)),
            Reconfigure::RemoveLearner(node) => change_one(ConfChangeType::RemoveNode, u64::from(node.0)),
            Reconfigure::Voters(wanted) => {
                let wanted: Vec<u64> = wanted.iter().map(|node| u64::from(node.0)).collect();
                let voters = &self.raw.store().conf.voters;
                let come = wanted.iter().filter(|id| !voters.contains(id));
                come.for_each(|id| change_one(ConfChangeType::AddNode, *id));
                let go = voters.iter().filter(|id| !wanted.contains(id));
                go.for_each(|id| change_one(ConfChangeType::RemoveNode, *id));
                whole.transition = ConfChangeTransition::Explicit;
            }
            // A change of nothing.
            Reconfigure::LeaveJoint => {}
            Reconfigure::HandOver(node) => return self.raw.transfer_leader(u64::from(node.0)),
        }
        // Refused while another is on its way: the supervisor looks again at its next tick.
        let _ = self.raw.propose_conf_change(Vec::new(), whole);
    }

    /// Asks a control majority whether this node still leads; [`Effect::Round`] says when.
    pub fn ask_round(&mut self, round: u64) {
        self.raw.read_index(round.to_le_bytes().to_vec());
    }

    /// A token for records that the plane itself writes.
    pub fn token(&mut self) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        token
    }

    pub fn persisted(&mut self, token: u64, out: &mut Vec<Effect>) {
        while let Some(held) = self.held.front()
            && held.token <= token
        {
            let Some(held) = self.held.pop_front() else { return };
            self.raw.on_persist_ready(held.number);
            if let Some(index) = held.restored {
                self.raw.advance_apply_to(index);
            }
            send_all(held.messages, out);
        }
    }

    /// Carries out everything that the library has ready.
    pub fn drain(&mut self, out: &mut Vec<Effect>) {
        if let Some(record) = self.first_record.take() {
            let token = self.token();
            // The first ready must not overtake it.
            self.held.push_back(Held { token, number: 0, messages: Vec::new(), restored: None });
            out.push(Effect::Persist { token, replaces: true, records: vec![record] });
        }
        while self.raw.has_ready() {
            let mut ready = self.raw.ready();
            send_all(ready.take_messages(), out);
            for read in ready.take_read_states() {
                if let Ok(round) = <[u8; 8]>::try_from(read.request_ctx.as_slice()) {
                    out.push(Effect::Round(u64::from_le_bytes(round)));
                }
            }
            let restored = self.take_snapshot(&ready);
            let wrote = self.write(&ready, restored);
            let committed = ready.take_committed_entries();
            let number = ready.number();
            let waits = self.hold(&mut ready, wrote, out);
            self.raw.advance_append_async(ready);
            if !waits {
                self.raw.on_persist_ready(number);
            }
            if restored {
                out.push(Effect::Reconfigured);
            }
            for entry in &committed {
                self.apply(entry, out);
            }
            if let Some(last) = committed.last() {
                self.raw.advance_apply_to(last.index);
            }
            self.compact(out);
        }
        let leadership = (self.leader(), self.term());
        if leadership != self.leadership {
            self.leadership = leadership;
            out.push(Effect::Leadership { leader: leadership.0, term: leadership.1 });
        }
    }

    fn take_snapshot(&mut self, ready: &Ready) -> bool {
        let snapshot = ready.snapshot();
        if snapshot.is_empty() {
            return false;
        }
        let meta = snapshot.get_metadata();
        let map = ClusterMap::decode(&mut Reader::new(&snapshot.data));
        let map = map.expect("looked at when it was received");
        let conf = meta.get_conf_state().clone();
        self.raw.mut_store().restore(meta.index, meta.term, conf, map);
        true
    }

    /// Brings the ready's entries and hard state into the log. The record to write, and whether it replaces all others.
    fn write(&mut self, ready: &Ready, restored: bool) -> Option<(bool, Vec<u8>)> {
        let store = self.raw.mut_store();
        store.append(ready.entries());
        let mut promised = restored || !ready.entries().is_empty();
        // But who has left the voters may be gone for ever: only those who know that it has left can do without it.
        promised |=
            ready.committed_entries().iter().any(|entry| entry.get_entry_type() != EntryType::EntryNormal);
        if let Some(hard) = ready.hs() {
            // A commit index alone is mostly not worth a flush: it is learned again.
            promised |= hard.term != store.hard.term || hard.vote != store.hard.vote;
            store.hard = hard.clone();
        }
        if restored {
            return Some((true, records::whole(store)));
        }
        promised.then(|| (false, records::appended(&store.hard, ready.entries())))
    }

    /// Answers wait for what they promise, and for what was promised before them. Whether there is anything to wait for.
    fn hold(&mut self, ready: &mut Ready, wrote: Option<(bool, Vec<u8>)>, out: &mut Vec<Effect>) -> bool {
        let messages = ready.take_persisted_messages();
        let number = ready.number();
        if let Some((replaces, record)) = wrote {
            let token = self.token();
            let restored = Some(ready.snapshot().get_metadata().index).filter(|index| *index != 0);
            self.held.push_back(Held { token, number, messages, restored });
            out.push(Effect::Persist { token, replaces, records: vec![record] });
        } else if let Some(last) = self.held.back() {
            let token = last.token;
            self.held.push_back(Held { token, number, messages, restored: None });
        } else {
            send_all(messages, out);
            return false;
        }
        true
    }

    fn apply(&mut self, entry: &Entry, out: &mut Vec<Effect>) {
        match entry.get_entry_type() {
            EntryType::EntryNormal if !entry.data.is_empty() => {
                let proposal = decode_proposal(&entry.data);
                let (origin, advice, command) = proposal.expect("looked at when it was received or replayed");
                let map = Arc::make_mut(&mut self.raw.mut_store().map);
                let result = map.apply(entry.index, &command, &advice);
                out.push(Effect::Applied { origin, command, result });
            }
            // A new leader's first entry.
            EntryType::EntryNormal => {
                Arc::make_mut(&mut self.raw.mut_store().map).version = entry.index;
            }
            EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
                let mut change = ConfChangeV2::default();
                let read = change.merge_from_bytes(&entry.data);
                assert!(read.is_ok(), "looked at when it was received or replayed");
                // A change that the library finds impossible is no change, on every member alike.
                let conf = self.raw.apply_conf_change(&change);
                let store = self.raw.mut_store();
                if let Ok(conf) = conf {
                    store.conf = conf;
                }
                let conf = &store.conf;
                let lists = [&conf.voters, &conf.voters_outgoing, &conf.learners].map(|ids| nodes(ids));
                let map = Arc::make_mut(&mut store.map);
                map.version = entry.index;
                [map.voters, map.outgoing, map.learners] = lists;
                out.push(Effect::Reconfigured);
                // The library lets a removed leader lead on; ours makes room for those who stay.
                if self.leads() && !self.raw.raft.promotable() {
                    let term = self.raw.raft.term;
                    self.raw.raft.become_follower(term, raft::INVALID_ID);
                    self.fix_timeout();
                }
            }
        }
    }

    fn compact(&mut self, out: &mut Vec<Effect>) {
        if self.raw.store().entries.len() > ENTRIES_MAX && self.raw.mut_store().compact() {
            self.rewrite(out);
        }
    }

    /// Writes all of the log as one record in the place of all others.
    pub fn rewrite(&mut self, out: &mut Vec<Effect>) {
        let record = records::whole(self.raw.store());
        let token = self.token();
        out.push(Effect::Persist { token, replaces: true, records: vec![record] });
    }
}

fn first_log(config: &Config) -> ControlLog {
    let Some(founded) = &config.founded else { return ControlLog::default() };
    let voters = founded.voters();
    let conf =
        ConfState { voters: voters.iter().map(|node| u64::from(node.0)).collect(), ..ConfState::default() };
    let map = ClusterMap { version: BASE.0, voters, ..ClusterMap::default() };
    ControlLog {
        hard: HardState { term: BASE.1, commit: BASE.0, ..HardState::default() },
        conf,
        base: BASE,
        entries: VecDeque::new(),
        map: Arc::new(map),
    }
}

/// Spread over the library's range so that neighbours lie at least two ticks apart: the time of a vote.
fn election_ticks(config: &Config) -> usize {
    let range = config.timings.raft_election_ticks;
    let step = config.node.0 as usize * 2 + config.node.0 as usize / range;
    range + step % range
}

fn nodes(ids: &[u64]) -> Vec<NodeId> {
    let mut nodes: Vec<NodeId> = ids.iter().copied().filter_map(node_id).collect();
    nodes.sort_unstable();
    nodes
}

fn node_id(id: u64) -> Option<NodeId> {
    u32::try_from(id).ok().filter(|id| *id != 0).map(NodeId)
}

fn decode_proposal(bytes: &[u8]) -> Result<(Origin, Advice, Command), DecodeError> {
    let r = &mut Reader::new(bytes);
    let origin = Origin { node: NodeId::decode(r)?, process: Process::decode(r)?, ticket: r.u64()? };
    Ok((origin, Advice::decode(r)?, Command::decode(r)?))
}

/// Whether this version can apply the entry once it is committed.
pub(crate) fn readable(entry: &Entry) -> bool {
    match entry.get_entry_type() {
        EntryType::EntryNormal => entry.data.is_empty() || decode_proposal(&entry.data).is_ok(),
        EntryType::EntryConfChangeV2 => ConfChangeV2::default().merge_from_bytes(&entry.data).is_ok(),
        // The older form of a change is never proposed.
        EntryType::EntryConfChange => false,
    }
}

fn send_all(messages: Vec<Message>, out: &mut Vec<Effect>) {
    for message in messages {
        if let (Some(to), Ok(bytes)) = (node_id(message.to), message.write_to_bytes()) {
            out.push(Effect::Send { to, bytes });
        }
    }
}
