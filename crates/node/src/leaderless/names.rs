//! Commands about all keys of a leaderless keyspace: KEYS, SCAN, DBSIZE, RANDOMKEY, FLUSHDB.
//!
//! Each is a list of steps, a shard after the other: pages of names, or counts of ranges, each told by R copies; then the keys of which the
//! copies hold different things, each by itself. What was acknowledged before the command began is met like by any read of
//! R copies, and what was deleted is not; of what is written meanwhile some may be. FLUSHDB deletes the keys that it meets,
//! each as a DEL: a write that it did not see survives.
//!
//! A cursor of SCAN is the leaf where the next page begins, and the shard by its first slot. Any node goes on with it.
// catalogue: K1 K3 K10

use super::receipt::{QuorumReceipt, ReadBy, WrittenBy};
use super::repair_of;
use super::serve::refused;
use crate::io::ConnectionId;
use crate::node::{Flow, Node};
use crate::replies::SlotId;
use crate::session::Receipt;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use commands::causal::{KEYS_BYTES_MAX, RANDOM_NAMES, table, too_many_names};
use commands::glob;
use commands::keys::{KeyScan, flush_options};
use commands::{Flags, Spec};
use data::causal::{Kind, LEAVES, Range, Unfit, Wish};
use data::slot::SLOTS;
use data::value::Blob;
use data::{GroupId, KeyspaceId};
use protocol::leaderless::coordinator::Level;
use protocol::leaderless::{Name, ReadReceipt, Reply, Why};
use wire::{Protocol, ReplyWriter};

/// Names of one page. A guess: with PAGE_BYTES_MAX of the copies some ten thousand round trips for a hundred million keys.
const PAGE_NAMES_MAX: u32 = 4096;
/// Keys that are read or deleted at a time. A guess.
const KEYS_UNDER_WAY: usize = 64;
/// Ranges with fewer keys are not divided any more to be counted: their names come. A guess.
const RANGE_NAMES_MAX: u64 = 512;

/// FLUSHDB met a key whose values are agreed on.
const KEPT: &str = "LINEARIZABLE there are keys whose copies agree on their values, and they stay: WITH LINEARIZABLE DO DEL deletes one; other keys may be deleted already";

/// What is wanted, the steps to it, and how many copies a write and a read take.
type Plan = (Want, VecDeque<Step>, (Level, Level));

/// What is made of the keys that are met.
enum Want {
    Keys { pattern: Blob, count: usize, bytes: Vec<u8> },
    Scan { words: Vec<Bytes>, found: Vec<Blob>, next: u64 },
    Count { count: u64 },
    Random { found: Vec<Blob> },
    Flush { deleted: u64 },
}

/// One question to the copies of a shard.
#[derive(Clone, Debug)]
enum Step {
    /// Names in these leaves.
    Page {
        group: GroupId,
        first: u32,
        through: u32,
    },
    /// How many keys are in a range.
    Range {
        group: GroupId,
        range: Range,
    },
    Read {
        group: GroupId,
        key: Blob,
    },
    Delete {
        group: GroupId,
        key: Blob,
    },
}

impl Step {
    fn group(&self) -> GroupId {
        match self {
            Step::Page { group, .. }
            | Step::Range { group, .. }
            | Step::Read { group, .. }
            | Step::Delete { group, .. } => *group,
        }
    }
    fn is_of_one_key(&self) -> bool {
        matches!(self, Step::Read { .. } | Step::Delete { .. })
    }
}

/// A command under way.
struct Survey {
    connection: ConnectionId,
    slot: SlotId,
    protocol: Protocol,
    /// Its number among the connection's.
    command: u64,
    keyspace: KeyspaceId,
    group: GroupId,
    write: bool,
    want: Want,
    levels: (Level, Level),
    page_names: u32,
    todo: VecDeque<Step>,
    under_way: usize,
    error: Option<String>,
    receipt: QuorumReceipt,
}

/// Commands about all keys that are under way, and which step each request is.
#[derive(Default)]
pub(super) struct Surveys {
    surveys: BTreeMap<u64, Survey>,
    requests: BTreeMap<u64, (u64, Step)>,
}

impl Surveys {
    pub fn count(&self) -> usize {
        self.surveys.len()
    }
    /// Requests about a shard.
    pub fn of_group(&self, group: GroupId) -> Vec<u64> {
        let its = self.requests.iter().filter(|(_, (_, step))| step.group() == group);
        its.map(|(client, _)| *client).collect()
    }
}

impl Survey {
    fn note(&mut self, by: &ReadReceipt) {
        self.receipt.read(ReadBy {
            required: by.required,
            replicas: by.replicas.clone(),
            stand_ins: by.stand_ins.clone(),
            stale: by.stale.clone(),
        });
    }
    /// A reader sees this key now.
    fn show(&mut self, key: &[u8], kind: Kind) {
        match &mut self.want {
            Want::Keys { pattern, count, bytes } => {
                if glob::matches(pattern, key) {
                    *count += 1;
                    ReplyWriter::new(bytes, self.protocol).bulk(key);
                    if bytes.len() > KEYS_BYTES_MAX {
                        self.error.get_or_insert_with(|| too_many_names().text().into());
                    }
                }
            }
            Want::Scan { words, found, .. } => {
                let words: Vec<&[u8]> = words.iter().map(|word| &word[..]).collect();
                if KeyScan::parse(&words).is_ok_and(|scan| scan.shows(key, kind.name())) {
                    found.push(key.into());
                }
            }
            Want::Count { count } => *count += 1,
            Want::Random { found } => found.push(key.into()),
            Want::Flush { .. } => {}
        }
    }
    /// A page of names: what is agreed on is shown, what is in doubt is read.
    fn meet(&mut self, page: (GroupId, u32, u32), names: Vec<Name>, doubtful: Vec<Blob>, now_ms: i64) {
        let (group, last, through) = page;
        self.receipt.keys += names.len() + doubtful.len();
        if last < through && !matches!(self.want, Want::Scan { .. }) {
            self.todo.push_front(Step::Page { group, first: last + 1, through });
        }
        if let Want::Flush { .. } = self.want {
            let keys = names.into_iter().map(|name| name.key).chain(doubtful);
            keys.for_each(|key| self.todo.push_front(Step::Delete { group, key }));
            return;
        }
        for Name { key, kind, expires_at_ms } in names {
            if expires_at_ms.is_none_or(|at_ms| at_ms > now_ms) {
                self.show(&key, kind);
            }
        }
        doubtful.into_iter().for_each(|key| self.todo.push_front(Step::Read { group, key }));
    }
    /// Whether nothing that is left to be asked changes the answer.
    fn is_settled(&self) -> bool {
        self.error.is_some() || matches!(&self.want, Want::Random { found } if !found.is_empty())
    }
    /// Why the command ends: what was deleted by then stays so.
    fn fail(&mut self, why: String) {
        let text = match self.want {
            Want::Flush { deleted: 1.. } if !why.starts_with("INDETERMINATE") => {
                format!("INDETERMINATE keys were deleted, not all of them: send it again ({why})")
            }
            _ => why,
        };
        self.error.get_or_insert(text);
    }
    fn answer(&mut self, draw: u64, bytes: &mut Vec<u8>) {
        let mut w = ReplyWriter::new(bytes, self.protocol);
        if let Some(error) = &self.error {
            return w.error(error);
        }
        match &self.want {
            Want::Keys { count, bytes: names, .. } => {
                w.array(*count);
                bytes.extend_from_slice(names);
            }
            Want::Scan { found, next, .. } => {
                w.array(2);
                w.bulk(format!("{next}").as_bytes());
                w.array(found.len());
                found.iter().for_each(|key| w.bulk(key));
            }
            Want::Count { count } => w.integer(i64::try_from(*count).unwrap_or(i64::MAX)),
            Want::Random { found } => {
                let at = (draw as usize).checked_rem(found.len());
                match at.and_then(|at| found.get(at)) {
                    Some(key) => w.bulk(key),
                    None => w.null(),
                }
            }
            Want::Flush { .. } => w.ok(),
        }
    }
}

impl Node {
    /// A command about all keys; nothing where it is another one.
    pub(super) fn survey_keys(
        &mut self,
        connection: ConnectionId,
        keyspace: KeyspaceId,
        spec: &'static Spec,
        args: &[&[u8]],
    ) -> Option<Flow> {
        if !matches!(table::kind_of(spec.name), Some(table::Kind::Names)) {
            return None;
        }
        let planned = self.plan_survey(keyspace, spec, args);
        Some(match planned {
            Ok((want, todo, levels)) => {
                self.begin_survey(connection, keyspace, spec, (want, todo, levels));
                if self.is_paused(connection) { Flow::Pause } else { Flow::Continue }
            }
            Err(error) => self.reply_error(connection, &error),
        })
    }

    fn plan_survey(
        &mut self,
        keyspace: KeyspaceId,
        spec: &'static Spec,
        args: &[&[u8]],
    ) -> Result<Plan, String> {
        let levels = self.levels_of_request(keyspace)?;
        let it = self.map.leaderless.get(&keyspace).ok_or("ERR no such keyspace")?;
        let shards: Vec<(GroupId, u16)> =
            it.shards.iter().map(|shard| (shard.group, shard.slots.first)).collect();
        let page = |group, first, through| Step::Page { group, first, through };
        let pages = || shards.iter().map(|(group, _)| page(*group, 0, LEAVES - 1)).collect();
        let said = |error: commands::CommandError| String::from(error.text());
        Ok(match spec.name {
            "keys" => (Want::Keys { pattern: args[1].into(), count: 0, bytes: Vec::new() }, pages(), levels),
            "dbsize" => {
                let whole =
                    shards.iter().map(|(group, _)| Step::Range { group: *group, range: Range::WHOLE });
                (Want::Count { count: 0 }, whole.collect(), levels)
            }
            "flushdb" => {
                flush_options(&args[1..]).map_err(said)?;
                if self.disk_full {
                    return Err(
                        "MISCONF this node's disk is full: nothing was written; write to another node".into(),
                    );
                }
                (Want::Flush { deleted: 0 }, pages(), levels)
            }
            "randomkey" => {
                let begin = self.random.below(shards.len().max(1) as u64) as usize;
                let leaf = self.random.below(u64::from(LEAVES)) as u32;
                let around = shards.iter().cycle().skip(begin).take(shards.len());
                let mut todo = VecDeque::new();
                for (group, _) in around {
                    todo.push_back(page(*group, leaf, LEAVES - 1));
                    if leaf > 0 {
                        todo.push_back(page(*group, 0, leaf - 1));
                    }
                }
                (Want::Random { found: Vec::new() }, todo, levels)
            }
            _ => {
                let scan = KeyScan::parse(args).map_err(said)?;
                let (leaf, slot) = (scan.cursor / u64::from(SLOTS), (scan.cursor % u64::from(SLOTS)) as u16);
                let at = shards.iter().rposition(|(_, first)| *first <= slot).unwrap_or(0);
                // A place that no walk gives out lies behind the shard's end.
                let leaf = u32::try_from(leaf).ok().filter(|leaf| *leaf < LEAVES);
                let here = leaf.and_then(|leaf| Some((leaf, shards.get(at)?)));
                let (first, shard) = match here {
                    Some((leaf, shard)) => (leaf, Some(shard)),
                    None => (0, shards.get(at + 1)),
                };
                let todo = shard.map(|(group, _)| page(*group, first, LEAVES - 1)).into_iter().collect();
                let words = args.iter().map(|arg| Bytes::copy_from_slice(arg)).collect();
                (Want::Scan { words, found: Vec::new(), next: 0 }, todo, levels)
            }
        })
    }

    fn begin_survey(
        &mut self,
        connection: ConnectionId,
        keyspace: KeyspaceId,
        spec: &'static Spec,
        (want, todo, levels): Plan,
    ) {
        let Some(session) = self.sessions.get_mut(connection) else { return };
        session.replies.begin();
        session.replies.rollback();
        let slot = session.replies.hold();
        session.paused = true;
        let page_names = match &want {
            Want::Scan { words, .. } => {
                let words: Vec<&[u8]> = words.iter().map(|word| &word[..]).collect();
                let count = KeyScan::parse(&words).map_or(1, |scan| scan.count);
                u32::try_from(count).unwrap_or(PAGE_NAMES_MAX).min(PAGE_NAMES_MAX)
            }
            Want::Random { .. } => RANDOM_NAMES as u32,
            Want::Keys { .. } | Want::Count { .. } | Want::Flush { .. } => PAGE_NAMES_MAX,
        };
        let survey = Survey {
            connection,
            slot,
            protocol: session.protocol,
            command: session.commands,
            keyspace,
            group: todo.front().map_or(GroupId(0), Step::group),
            write: spec.flags.has(Flags::WRITE),
            want,
            levels,
            page_names,
            todo,
            under_way: 0,
            error: None,
            receipt: QuorumReceipt::of(0),
        };
        let number = self.leaderless.calls.next();
        self.leaderless.surveys.surveys.insert(number, survey);
        self.advance_survey(number);
    }

    /// Asks what is to be asked next: one page at a time, then its keys.
    fn advance_survey(&mut self, number: u64) {
        loop {
            let Some(survey) = self.leaderless.surveys.surveys.get_mut(&number) else { return };
            if survey.is_settled() || self.sessions.get(survey.connection).is_none() {
                survey.todo.clear();
            }
            let may = match survey.todo.front() {
                Some(step) if step.is_of_one_key() => survey.under_way < KEYS_UNDER_WAY,
                _ => survey.under_way == 0,
            };
            if !may {
                return;
            }
            let Some(step) = survey.todo.pop_front() else { return self.finish_survey(number) };
            survey.under_way += 1;
            self.ask_step(number, step);
        }
    }

    fn ask_step(&mut self, number: u64, step: Step) {
        let client = self.leaderless.calls.next();
        let (now, now_ms, group) = (self.now.instant, self.now.wall.middle_ms(), step.group());
        let survey = self.leaderless.surveys.surveys.get(&number);
        let Some(((w, r), names_max)) = survey.map(|it| (it.levels, it.page_names)) else { return };
        self.leaderless.surveys.requests.insert(client, (number, step.clone()));
        let Some(it) = self.leaderless.shards.get_mut(&group) else {
            return self.on_survey_reply(client, Reply::Busy);
        };
        let (mut out, repair) = (Vec::new(), repair_of(it.policy.repair));
        let counts = &mut self.leaderless.counts;
        match step {
            Step::Page { first, through, .. } => {
                it.coordinator.names(now, client, (first, through), names_max, r.required, &mut out);
            }
            Step::Range { range, .. } => {
                it.coordinator.count(now, client, range, now_ms, r.required, &mut out);
            }
            Step::Read { key, .. } => {
                counts.reads += 1;
                it.coordinator.read(now, client, key, r, repair, false, &mut out);
            }
            Step::Delete { key, .. } => {
                counts.writes += 1;
                it.coordinator.write(now, client, key, Wish::Delete, w, r, &mut out);
            }
        }
        self.carry_out_coordinator(group, out);
    }

    /// One step has its end.
    pub(super) fn on_survey_reply(&mut self, client: u64, reply: Reply) {
        let Some((number, step)) = self.leaderless.surveys.requests.remove(&client) else { return };
        match &reply {
            Reply::NoQuorum { .. } => self.leaderless.counts.no_quorum += 1,
            Reply::Indeterminate { .. } => self.statistics.indeterminate += 1,
            Reply::Value { receipt, .. } => self.leaderless.counts.stale += receipt.stale.len() as u64,
            _ => {}
        }
        let now_ms = self.now.wall.middle_ms();
        let next = |last: u32| self.next_cursor(&step, last);
        let next = if let Reply::Names { last, .. } = &reply { next(*last) } else { 0 };
        let Some(survey) = self.leaderless.surveys.surveys.get_mut(&number) else { return };
        survey.under_way -= 1;
        match (reply, step) {
            (Reply::Names { last, names, doubtful, receipt }, Step::Page { group, through, .. }) => {
                survey.note(&receipt);
                if let Want::Scan { next: cursor, .. } = &mut survey.want {
                    *cursor = next;
                }
                survey.meet((group, last, through), names, doubtful, now_ms);
            }
            (Reply::Count { count, left, receipt }, Step::Range { group, .. }) => {
                survey.note(&receipt);
                if let Want::Count { count: sum } = &mut survey.want {
                    *sum += count;
                }
                for part in left {
                    let (first, through) = part.range.leaves();
                    let names = part.range.is_leaf() || part.entries <= RANGE_NAMES_MAX;
                    survey.todo.push_front(match names {
                        true => Step::Page { group, first, through },
                        false => Step::Range { group, range: part.range },
                    });
                }
            }
            (Reply::Value { state, receipt }, Step::Read { key, .. }) => {
                survey.note(&receipt);
                if let Some(part) = state.held.object.shown_at(now_ms) {
                    survey.show(&key, part.kind());
                }
            }
            (Reply::Written(receipt), _) => {
                survey.receipt.wrote(WrittenBy::of(&receipt));
                if let Want::Flush { deleted } = &mut survey.want {
                    *deleted += 1;
                }
            }
            (Reply::NoQuorum { required, alive }, _) => survey.fail(format!(
                "NOQUORUM {required} copies of every shard must answer this, of one {alive} did or can be reached"
            )),
            (Reply::Indeterminate { acknowledged, required, .. }, _) => survey.fail(format!(
                "INDETERMINATE {acknowledged} of {required} copies acknowledged a delete in time: send it again"
            )),
            (Reply::Refused(Why::Unfit(Unfit::Linearizable)), _) => survey.fail(KEPT.into()),
            (Reply::Refused(why), _) => survey.fail(refused(why).into()),
            (
                Reply::Busy
                | Reply::Names { .. }
                | Reply::Count { .. }
                | Reply::Value { .. }
                | Reply::Agreed { .. },
                _,
            ) => {
                survey.fail("TRYAGAIN too many requests are under way on this node".into());
            }
        }
        self.advance_survey(number);
    }

    /// Where a SCAN goes on behind a page that ended with this leaf; 0 at the end.
    fn next_cursor(&self, step: &Step, last: u32) -> u64 {
        let Some(it) = self.leaderless.shards.get(&step.group()) else { return 0 };
        let shards = self.map.leaderless.get(&it.keyspace).map(|it| &it.shards[..]).unwrap_or_default();
        let Some(at) = shards.iter().position(|shard| shard.group == step.group()) else { return 0 };
        let join = |leaf: u32, slot: u16| u64::from(leaf) * u64::from(SLOTS) + u64::from(slot);
        if last < LEAVES - 1 {
            return join(last + 1, shards[at].slots.first);
        }
        shards.get(at + 1).map_or(0, |shard| join(0, shard.slots.first))
    }

    fn finish_survey(&mut self, number: u64) {
        let Some(mut survey) = self.leaderless.surveys.surveys.remove(&number) else { return };
        let mut bytes = Vec::new();
        survey.answer(self.random.draw(), &mut bytes);
        let mut receipt = core::mem::take(&mut survey.receipt);
        if let Some(it) = self.leaderless.shards.get(&survey.group) {
            receipt.ring = it.placement.ring;
        }
        match &survey.error {
            Some(error) => {
                self.statistics.errors += 1;
                receipt.outcome = match error.split(' ').next() {
                    Some("INDETERMINATE") => "indeterminate",
                    Some("NOQUORUM") => "no-quorum",
                    _ => "refused",
                };
            }
            None if survey.write => receipt.outcome = "acknowledged",
            None => {}
        }
        if let Some(session) = self.sessions.get_mut(survey.connection) {
            let receipt = Receipt {
                keyspace: survey.keyspace,
                group: survey.group,
                node: self.config.node,
                write: survey.write,
                quorum: Some(Box::new(receipt)),
                ..Receipt::default()
            };
            session.achieved(survey.command, receipt);
        }
        self.fill(survey.connection, survey.slot, &bytes);
        self.resume(survey.connection);
    }
}
