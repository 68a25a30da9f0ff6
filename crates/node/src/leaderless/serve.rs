//! A client's command in a leaderless keyspace: reads and writes of single keys, and the reply that their ends make.
//!
//! Keys are read and written each by itself: nothing makes several of them one. A write whose keys are not all
//! acknowledged is INDETERMINATE unless nothing was done at all. The connection's next command waits for the reply: what it
//! reads shows what it wrote.
// catalogue: K1 K3 K5 K6

use super::levels::Levels;
use super::receipt::{QuorumReceipt, ReadBy, WrittenBy};
use super::repair_of;
use crate::io::ConnectionId;
use crate::node::{Flow, Node};
use crate::replies::SlotId;
use crate::session::Receipt;
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use commands::Spec;
use commands::causal::{self, Form, OnSiblings, Plan, Setting};
use data::causal::{Merging, Object, Outcome, Wish};
use data::leaderless::{self, ConflictPolicy, Policy};
use data::multi_leader::Conflict;
use data::rules::{Rule, rule_of};
use data::value::Blob;
use data::{GroupId, KeyspaceId};
use protocol::leaderless::coordinator::Level;
use protocol::leaderless::{Reply, Why};
use wire::{Protocol, ReplyWriter};

/// Keys of one command; it is one request for each. A guess: a quarter of what a coordinator has under way at a time.
const KEYS_MAX: usize = 1024;

enum Work {
    Read {
        words: Vec<Bytes>,
    },
    Write {
        form: Form,
    },
    /// What the keys come to is written into another one.
    Merge {
        into: Blob,
        w: Level,
        r: Level,
    },
}

/// A command whose keys are under way.
struct Call {
    connection: ConnectionId,
    slot: SlotId,
    protocol: Protocol,
    /// Its number among the connection's.
    command: u64,
    keyspace: KeyspaceId,
    group: GroupId,
    spec: &'static Spec,
    work: Work,
    keys: Vec<Blob>,
    ends: Vec<Option<Reply>>,
    left: usize,
}

/// Commands under way, and which of their keys each request is about.
#[derive(Default)]
pub(super) struct Calls {
    calls: BTreeMap<u64, Call>,
    /// By the coordinator's name for its client: the call, the key's place, the shard.
    requests: BTreeMap<u64, (u64, usize, GroupId)>,
    next: u64,
}

impl Calls {
    /// A name for a client of a coordinator that no other one has.
    pub fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
    pub fn count(&self) -> usize {
        self.calls.len()
    }
}

impl Node {
    /// Whether a keyspace is leaderless; told only of keyspaces without groups.
    pub(crate) fn is_leaderless(&self, keyspace: KeyspaceId) -> bool {
        self.map.leaderless.contains_key(&keyspace)
    }

    pub(crate) fn in_leaderless(&self, connection: ConnectionId) -> bool {
        self.sessions.get(connection).is_some_and(|session| self.is_leaderless(session.keyspace))
    }

    /// A data command.
    pub(crate) fn serve_leaderless(
        &mut self,
        connection: ConnectionId,
        keyspace: KeyspaceId,
        spec: &'static Spec,
        args: &[&[u8]],
    ) -> Flow {
        if self.options.as_ref().is_some_and(|options| options.levels.linearizable) {
            return self.serve_linearizable(connection, keyspace, spec, args);
        }
        if let Some(flow) = self.survey_keys(connection, keyspace, spec, args) {
            return flow;
        }
        match self.plan_leaderless(keyspace, spec, args) {
            Ok((plan, w, r)) => self.begin_call(connection, keyspace, spec, args, plan, (w, r)),
            Err(error) => self.reply_error(connection, &error),
        }
    }

    fn setting(&self, keyspace: KeyspaceId) -> Setting {
        let seed = self.map.keyspaces.get(&keyspace).map_or(data::table::Seed(0, 0), |it| it.seed);
        Setting { now_ms: self.now.wall.middle_ms(), seed, is_alone: false }
    }

    /// W and R of a request, or why it cannot be served here.
    pub(super) fn levels_of_request(&self, keyspace: KeyspaceId) -> Result<(Level, Level), String> {
        let policy = self.policy_of(keyspace).ok_or("ERR no such keyspace")?;
        if let Some(reason) = &self.stopped {
            return Err(format!("NOQUORUM this node's disk failed ({reason}): ask another node"));
        }
        let levels = match &self.options {
            Some(options) if options.asked.is_some() => {
                return Err("ERR COMMIT, ACKS, LEVEL, REPLICAS and TIMEOUT are about leaders: in a leaderless keyspace say W and R".into());
            }
            Some(options) if options.client.is_some() => {
                return Err("ERR REQUEST does not go with leaderless keyspaces in this version: a write that is sent again is another write".into());
            }
            Some(options) => options.levels,
            None => Default::default(),
        };
        levels.levels(&policy)
    }

    fn plan_leaderless<'a>(
        &self,
        keyspace: KeyspaceId,
        spec: &'static Spec,
        args: &[&'a [u8]],
    ) -> Result<(Plan<'a>, Level, Level), String> {
        let (w, r) = self.levels_of_request(keyspace)?;
        let plan = causal::plan(spec, args, &self.setting(keyspace)).map_err(|error| {
            let text = error.text();
            match text.starts_with("EXCLUSIVE") && commands::alone::key_alone(spec, args).is_ok() {
                true => {
                    format!("{text}; or WITH LINEARIZABLE DO ..., for a key of which all commands say so")
                }
                false => String::from(text),
            }
        })?;
        let keys = match &plan {
            Plan::Read(keys) | Plan::Merge { from: keys, .. } => keys.len(),
            Plan::Write { writes, .. } => writes.len(),
            Plan::Names | Plan::Node | Plan::Exclusive(_) => {
                return Err(format!("ERR '{}' is not available in a leaderless keyspace", spec.name));
            }
        };
        if keys > KEYS_MAX {
            return Err(format!("ERR a command names at most {KEYS_MAX} keys in a leaderless keyspace"));
        }
        if self.disk_full && matches!(plan, Plan::Write { .. } | Plan::Merge { .. }) {
            return Err("MISCONF this node's disk is full: nothing was written; write to another node".into());
        }
        Ok((plan, w, r))
    }

    pub(super) fn policy_of(&self, keyspace: KeyspaceId) -> Option<Policy> {
        self.map.leaderless.get(&keyspace).map(|it| it.policy.clone())
    }

    /// What becomes of concurrent strings of a key, and the rule that says so, if it is not the keyspace's own word.
    pub(crate) fn conflict_on(&self, keyspace: KeyspaceId, key: &[u8]) -> (Conflict, Option<&Rule>) {
        match rule_of(self.map.rules_of(keyspace), key) {
            Some(rule) => (rule.conflict.clone(), Some(rule)),
            None => (self.own_conflict(keyspace), None),
        }
    }

    /// The word of a keyspace itself, where no rule fits.
    pub(crate) fn own_conflict(&self, keyspace: KeyspaceId) -> Conflict {
        if let Some(it) = self.map.multi_leader.get(&keyspace) {
            return it.conflict.clone();
        }
        let policy = self.map.leaderless.get(&keyspace).map(|it| &it.policy);
        match policy.map(|it| (it.conflict, &it.merge)) {
            Some((ConflictPolicy::Merge, Some(function))) => Conflict::Merge { function: function.clone() },
            Some((ConflictPolicy::Siblings, _)) => Conflict::Siblings,
            Some((ConflictPolicy::LastWriteWins, _)) => Conflict::LastWriteWins,
            Some((ConflictPolicy::Crdt | ConflictPolicy::Merge, _)) | None => Conflict::Crdt,
        }
    }

    /// Whether some key of a leaderless keyspace has a function.
    fn has_functions(&self, keyspace: KeyspaceId) -> bool {
        let policy = self.map.leaderless.get(&keyspace).map(|it| &it.policy);
        policy.is_some_and(|it| it.merge.is_some())
            || self.map.rules_of(keyspace).iter().any(|rule| rule.conflict.function().is_some())
    }

    /// What runs the function of a policy, if it has one.
    pub(crate) fn merging_by(&self, conflict: &Conflict) -> Option<Merging> {
        let function = conflict.function()?.clone();
        Some(Merging { engine: self.config.merge_engine, function })
    }

    pub(super) fn shard_of(&self, keyspace: KeyspaceId, key: &[u8]) -> GroupId {
        let shard = self.map.leaderless.get(&keyspace).and_then(|it| it.at(data::slot::slot(key)));
        shard.map_or(GroupId(0), |shard| shard.group)
    }

    fn begin_call(
        &mut self,
        connection: ConnectionId,
        keyspace: KeyspaceId,
        spec: &'static Spec,
        args: &[&[u8]],
        plan: Plan<'_>,
        (w, r): (Level, Level),
    ) -> Flow {
        let (work, keys, mut wishes) = match plan {
            Plan::Read(keys) => {
                let words = args.iter().map(|arg| Bytes::copy_from_slice(arg)).collect();
                (Work::Read { words }, keys.into_iter().map(Blob::from).collect::<Vec<Blob>>(), Vec::new())
            }
            Plan::Write { writes, form } => {
                let (keys, wishes): (Vec<Blob>, Vec<_>) =
                    writes.into_iter().map(|(key, wish)| (Blob::from(key), Some(wish))).unzip();
                (Work::Write { form }, keys, wishes)
            }
            Plan::Merge { from, into } => {
                let keys = from.into_iter().map(Blob::from).collect();
                (Work::Merge { into: into.into(), w, r }, keys, Vec::new())
            }
            Plan::Names | Plan::Node | Plan::Exclusive(_) => return Flow::Continue,
        };
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        session.replies.begin();
        session.replies.rollback();
        let slot = session.replies.hold();
        session.paused = true;
        let call = Call {
            connection,
            slot,
            protocol: session.protocol,
            command: session.commands,
            keyspace,
            group: keys.first().map_or(GroupId(0), |key| self.shard_of(keyspace, key)),
            spec,
            work,
            ends: keys.iter().map(|_| None).collect(),
            left: keys.len(),
            keys: keys.clone(),
        };
        let number = self.leaderless.calls.next();
        self.leaderless.calls.calls.insert(number, call);
        let repair = self.policy_of(keyspace).map_or(data::leaderless::ReadRepair::Blocking, |it| it.repair);
        for (at, key) in keys.into_iter().enumerate() {
            let group = self.shard_of(keyspace, &key);
            let client = self.leaderless.calls.next();
            self.leaderless.calls.requests.insert(client, (number, at, group));
            let now = self.now.instant;
            let Some(it) = self.leaderless.shards.get_mut(&group) else {
                self.on_quorum_reply(client, Reply::Busy);
                continue;
            };
            let mut out = Vec::new();
            match wishes.get_mut(at).and_then(Option::take) {
                Some(wish) => {
                    self.leaderless.counts.writes += 1;
                    it.coordinator.write(now, client, key, wish, w, r, &mut out);
                }
                None => {
                    self.leaderless.counts.reads += 1;
                    it.coordinator.read(now, client, key, r, repair_of(repair), false, &mut out);
                }
            }
            self.carry_out_coordinator(group, out);
        }
        if self.leaderless.calls.calls.get(&number).is_some_and(|call| call.left == 0) {
            self.finish_call(number);
        }
        if self.is_paused(connection) { Flow::Pause } else { Flow::Continue }
    }

    /// A write for a command whose reply has its place already: it is answered OK, or why not. Under W and R that were said, else those of
    /// the keyspace.
    pub(crate) fn write_for(
        &mut self,
        (connection, slot, protocol): (ConnectionId, SlotId, Protocol),
        keyspace: KeyspaceId,
        key: Blob,
        wish: Wish,
        spec: &'static Spec,
        said: Option<(Level, Level)>,
    ) {
        let Some(session) = self.sessions.get(connection) else { return };
        let command = session.commands;
        let levels = self.policy_of(keyspace).map(|policy| Levels::default().levels(&policy));
        let levels = said.map(Ok).or(levels);
        let Some(Ok((w, r))) = levels.filter(|_| self.stopped.is_none() && !self.disk_full) else {
            let mut bytes = Vec::new();
            let text = "TRYAGAIN this node cannot write now, or the keyspace is gone: ask another node";
            ReplyWriter::new(&mut bytes, protocol).error(text);
            self.fill(connection, slot, &bytes);
            if said.is_some() {
                self.resume(connection);
            }
            return;
        };
        let group = self.shard_of(keyspace, &key);
        let work = Work::Write { form: Form::Ok };
        let (keys, ends) = ([key.clone()].into(), [None].into());
        let call =
            Call { connection, slot, protocol, command, keyspace, group, spec, work, keys, ends, left: 1 };
        let number = self.leaderless.calls.next();
        self.leaderless.calls.calls.insert(number, call);
        let client = self.leaderless.calls.next();
        self.leaderless.calls.requests.insert(client, (number, 0, group));
        let now = self.now.instant;
        let Some(it) = self.leaderless.shards.get_mut(&group) else {
            return self.on_quorum_reply(client, Reply::Busy);
        };
        let mut out = Vec::new();
        self.leaderless.counts.writes += 1;
        it.coordinator.write(now, client, key, wish, w, r, &mut out);
        self.carry_out_coordinator(group, out);
    }

    /// One key has its end.
    pub(super) fn on_quorum_reply(&mut self, client: u64, reply: Reply) {
        let Some((number, at, _)) = self.leaderless.calls.requests.remove(&client) else {
            match self.leaderless.agreements.take(client) {
                Some(agreement) => self.on_agreement(agreement, reply),
                None => self.on_survey_reply(client, reply),
            }
            return;
        };
        let counts = &mut self.leaderless.counts;
        match &reply {
            Reply::NoQuorum { .. } => counts.no_quorum += 1,
            Reply::Written(receipt) => counts.sloppy += u64::from(receipt.is_sloppy()),
            Reply::Value { receipt, .. } => counts.stale += receipt.stale.len() as u64,
            Reply::Indeterminate { .. } => self.statistics.indeterminate += 1,
            Reply::Refused(_) | Reply::Busy => self.statistics.refused_writes += 1,
            Reply::Names { .. } | Reply::Count { .. } | Reply::Agreed { .. } => {}
        }
        let Some(call) = self.leaderless.calls.calls.get_mut(&number) else { return };
        call.ends[at] = Some(reply);
        call.left -= 1;
        if call.left == 0 {
            self.finish_call(number);
        }
    }

    /// The shard is gone, and whoever waits for it.
    pub(super) fn abandon_calls(&mut self, group: GroupId) {
        let of = |(_, (.., its)): &(&u64, &(u64, usize, GroupId))| *its == group;
        let clients: Vec<u64> =
            self.leaderless.calls.requests.iter().filter(of).map(|(client, _)| *client).collect();
        let agreed = self.leaderless.agreements.of_group(group);
        for client in clients.into_iter().chain(agreed) {
            let (required, acknowledged) = (1, 0);
            let receipt = protocol::leaderless::WriteReceipt {
                required,
                replicas: Vec::new(),
                stand_ins: Vec::new(),
                delta: None,
                outcome: None,
            };
            self.on_quorum_reply(client, Reply::Indeterminate { acknowledged, required, receipt });
        }
        for client in self.leaderless.surveys.of_group(group) {
            self.on_survey_reply(client, Reply::Busy);
        }
    }

    fn finish_call(&mut self, number: u64) {
        let Some(call) = self.leaderless.calls.calls.remove(&number) else { return };
        let Some(call) = self.go_on_writing(call) else { return };
        let mut bytes = Vec::new();
        let mut receipt = QuorumReceipt::of(call.keys.len());
        if let Some(it) = self.leaderless.shards.get(&call.group) {
            receipt.ring = it.placement.ring;
        }
        let (write, error) = match &call.work {
            Work::Read { words } => (false, self.answer_read(&call, words, &mut receipt, &mut bytes)),
            Work::Write { form } => (true, answer_write(&call, *form, &mut receipt, &mut bytes)),
            // Why the keys could not be read, or what they are.
            Work::Merge { .. } => (true, self.merge(&call, &mut receipt).map(|_| ())),
        };
        if let Err(error) = error {
            self.statistics.errors += 1;
            bytes.clear();
            ReplyWriter::new(&mut bytes, call.protocol).error(&error);
        }
        if let Some(session) = self.sessions.get_mut(call.connection) {
            let receipt = Receipt {
                keyspace: call.keyspace,
                group: call.group,
                node: self.config.node,
                write,
                quorum: Some(Box::new(receipt)),
                ..Receipt::default()
            };
            session.achieved(call.command, receipt);
        }
        self.fill(call.connection, call.slot, &bytes);
        self.resume(call.connection);
    }

    /// A command that writes what it has read begins to write; any other one comes back.
    fn go_on_writing(&mut self, call: Call) -> Option<Call> {
        let Work::Merge { into, w, r } = &call.work else { return Some(call) };
        let Ok(wish) = self.merge(&call, &mut QuorumReceipt::of(0)) else { return Some(call) };
        let (place, key) = ((call.connection, call.slot, call.protocol), into.clone());
        let levels = Some((*w, *r));
        self.write_for(place, call.keyspace, key, wish, call.spec, levels);
        None
    }

    fn merge(&self, call: &Call, receipt: &mut QuorumReceipt) -> Result<Wish, String> {
        let found = found(call, receipt)?;
        causal::merged(&found, self.now.wall.middle_ms()).map_err(|error| String::from(error.text()))
    }

    /// What readers are shown where functions say what concurrent strings come to.
    fn merge_for_reader<'c>(&mut self, keyspace: KeyspaceId, found: &FoundKeys<'c>) -> MergedKeys<'c> {
        let mut count = self.leaderless.counts.merged;
        let merged = found.iter().map(|(key, object)| {
            let object = object.map(|object| match self.merging_by(&self.conflict_on(keyspace, key).0) {
                Some(merging) => object.merged(&merging, &mut count),
                None => Cow::Borrowed(object),
            });
            (*key, object)
        });
        let merged = merged.collect();
        self.leaderless.counts.merged = count;
        merged
    }

    fn answer_read(
        &mut self,
        call: &Call,
        words: &[Bytes],
        receipt: &mut QuorumReceipt,
        bytes: &mut Vec<u8>,
    ) -> Result<(), String> {
        let found = found(call, receipt)?;
        if found.iter().any(|(_, object)| object.is_some_and(Object::is_linearizable)) {
            receipt.outcome = "refused";
            return Err(causal::LINEARIZABLE.into());
        }
        let args: Vec<&[u8]> = words.iter().map(|word| &word[..]).collect();
        let on_siblings = match self.policy_of(call.keyspace).map(|it| it.on_siblings) {
            Some(leaderless::OnSiblings::Error) => OnSiblings::Error,
            Some(leaderless::OnSiblings::Show) | None => OnSiblings::Show,
        };
        let setting = self.setting(call.keyspace);
        let writer = ReplyWriter::new(bytes, call.protocol);
        let seen = causal::seen(&found, setting.now_ms);
        let merges = self.has_functions(call.keyspace) && !causal::shows_versions(call.spec);
        let merged = merges.then(|| self.merge_for_reader(call.keyspace, &found));
        let shown: FoundKeys<'_> = match &merged {
            Some(merged) => merged.iter().map(|(key, object)| (*key, object.as_deref())).collect(),
            None => found,
        };
        causal::answer(call.spec, &args, &setting, on_siblings, &shown, &mut self.random, writer)
            .map_err(|error| String::from(error.text()))?;
        (receipt.versions, receipt.mixed) = (seen.versions, seen.mixed);
        Ok(())
    }
}

/// The same, as a keyspace's function has them shown.
type MergedKeys<'c> = Vec<(&'c [u8], Option<Cow<'c, Object>>)>;

/// Keys in the order in which they were asked for.
type FoundKeys<'c> = Vec<(&'c [u8], Option<&'c Object>)>;

/// What was read of each key.
fn found<'c>(call: &'c Call, receipt: &mut QuorumReceipt) -> Result<FoundKeys<'c>, String> {
    let mut found: FoundKeys<'_> = Vec::new();
    for (key, end) in call.keys.iter().zip(&call.ends) {
        match end {
            Some(Reply::Value { state, receipt: by }) => {
                receipt.read(ReadBy {
                    required: by.required,
                    replicas: by.replicas.clone(),
                    stand_ins: by.stand_ins.clone(),
                    stale: by.stale.clone(),
                });
                found.push((key, Some(&state.held.object)));
            }
            Some(Reply::NoQuorum { required, alive }) => {
                receipt.outcome = "no-quorum";
                return Err(format!(
                    "NOQUORUM {required} copies must answer a read here, {alive} did or can be reached: nothing was read"
                ));
            }
            _ => {
                receipt.outcome = "refused";
                return Err("TRYAGAIN too many requests are under way on this node: nothing was read".into());
            }
        }
    }
    Ok(found)
}

fn answer_write(
    call: &Call,
    form: Form,
    receipt: &mut QuorumReceipt,
    bytes: &mut Vec<u8>,
) -> Result<(), String> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut refusal: Option<String> = None;
    // The key that has the fewest acknowledgements of those that may have been written.
    let mut least: Option<(usize, usize)> = None;
    for end in &call.ends {
        match end {
            Some(Reply::Written(by)) => {
                receipt.wrote(WrittenBy::of(by));
                outcomes.extend(by.outcome);
            }
            Some(Reply::Indeterminate { acknowledged, required, receipt: by }) => {
                receipt.wrote(WrittenBy::of(by));
                if least.is_none_or(|(fewest, _)| *acknowledged < fewest) {
                    least = Some((*acknowledged, *required));
                }
            }
            Some(Reply::NoQuorum { required, alive }) => {
                refusal.get_or_insert_with(|| {
                    format!(
                        "NOQUORUM {required} copies must acknowledge this, {alive} can be reached: nothing was written"
                    )
                });
                receipt.outcome = "no-quorum";
            }
            Some(Reply::Refused(Why::Unfit(unfit))) => {
                refusal.get_or_insert_with(|| causal::unfit(*unfit).text().into());
                receipt.outcome = "refused";
            }
            Some(Reply::Refused(why)) => {
                refusal.get_or_insert_with(|| refused(*why).into());
                receipt.outcome = "refused";
            }
            Some(
                Reply::Busy
                | Reply::Value { .. }
                | Reply::Names { .. }
                | Reply::Count { .. }
                | Reply::Agreed { .. },
            )
            | None => {
                refusal.get_or_insert_with(|| BUSY.into());
                receipt.outcome = "refused";
            }
        }
    }
    if let Some((acknowledged, required)) = least {
        receipt.outcome = "indeterminate";
        return Err(format!(
            "INDETERMINATE {acknowledged} of {required} copies acknowledged in time: the write may or may not take effect"
        ));
    }
    match refusal {
        Some(_) if !outcomes.is_empty() => {
            receipt.outcome = "indeterminate";
            Err(format!(
                "INDETERMINATE {} of {} keys were written, the others were not: each key is a write by itself",
                outcomes.len(),
                call.keys.len()
            ))
        }
        Some(refusal) => Err(refusal),
        None => {
            receipt.outcome = "acknowledged";
            causal::written(form, &outcomes, &mut ReplyWriter::new(bytes, call.protocol));
            Ok(())
        }
    }
}

const PLAIN: &str = "LINEARIZABLE the key was written without agreement, so it cannot be linearizable: delete it, or take another one; nothing was done";
pub(super) const BUSY: &str = "TRYAGAIN too many requests are under way on this node: nothing was written";

/// Why a replica did nothing, for a client.
pub(super) fn refused(why: Why) -> &'static str {
    match why {
        Why::NotReplica => "TRYAGAIN the shard has other copies now: nothing was written",
        Why::Rebuilding => "TRYAGAIN the copies that can be reached are being rebuilt: nothing was written",
        Why::Clock => {
            "TRYAGAIN a clock is too far off what the copies have seen: nothing was written; set the clocks of the nodes"
        }
        Why::HintsFull => "TRYAGAIN the stand-ins have no more room: nothing was written",
        Why::Outbid => "TRYAGAIN others write this key all the time and were faster: nothing was done",
        Why::Plain => PLAIN,
        Why::Declined | Why::Forgotten | Why::Unfit(_) => "TRYAGAIN the copy declined: nothing was written",
    }
}
