//! CHANGES: the committed entries of a keyspace's log, in order, for programs that follow it: another engine, an index, a cache.
//!
//! ```text
//! CHANGES name [SHARD n] [AFTER position|START|END | PAST position] [COUNT n]
//! ```
//!
//! Answered from this node's own copy. Entries are told as operations with what they found before, in words that say nothing of how
//! the log encodes them: whoever reads them needs neither this engine nor its version. A reply names the position to go on from,
//! which is that of the last entry looked at. A position belongs to one history: if an election cut what the reader saw, it is
//! told so, and where the histories part; it never goes on silently (bugs: SL-05).
// catalogue: D7

use super::operation_words::write_operations;
use crate::io::{ConnectionId, Output};
use crate::node::{Flow, Node};
use crate::payload::{Changes, Payload};
use crate::replies::SlotId;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use data::gaps::Gaps;
use data::record::Record;
use data::{Epoch, GroupId, Index, NodeId, Position};
use protocol::single_leader::Mark;
use wire::{Protocol, ReplyWriter};

/// Reads of the log for consumers are told from those for followers by this number, which no node has.
pub(crate) const LOG_READER: NodeId = NodeId(u32::MAX);
/// Entries of one reply, unless asked for otherwise, and at most.
const COUNT: usize = 100;
const COUNT_MAX: usize = 10_000;
/// Bytes of log that are read for one reply: a guess, large against an entry and small against a reply's limit.
const BYTES_MAX: usize = 1 << 20;
/// Consumers that may wait for the disk at once.
const READERS_MAX: usize = 1024;

const HELP: &[&str] = &[
    "CHANGES <keyspace> [SHARD <n>] [AFTER <position>|START|END | PAST <position>] [COUNT <n>]",
    "    Committed entries of the keyspace's log behind a position, oldest first, from this node's own copy.",
    "    START: the log's beginning, if it is still there. END (unless said otherwise): only where it ends now.",
    "    PAST: behind entries that are missing here, as an error GAP told: its reader goes on without them.",
    "CHANGES HELP",
];

/// A client that waits for a part of the log.
pub(crate) struct LogReader {
    connection: ConnectionId,
    slot: SlotId,
    protocol: Protocol,
    group: GroupId,
    /// Position of the last entry that it knows.
    after: Position,
    /// It knows that entries up to there are missing.
    past: bool,
    count: usize,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Start {
    After(Position),
    Past(Position),
    End,
}

struct Question<'a> {
    keyspace: &'a [u8],
    shard: Option<usize>,
    start: Start,
    count: usize,
}

fn position_of(text: &[u8]) -> Option<Position> {
    let (epoch, index) = core::str::from_utf8(text).ok()?.split_once(':')?;
    Some(Position { epoch: Epoch(epoch.parse().ok()?), index: Index(index.parse().ok()?) })
}

fn question<'a>(args: &[&'a [u8]]) -> Result<Question<'a>, &'static str> {
    let [keyspace, rest @ ..] = args else { return Err("ERR syntax error") };
    let mut question = Question { keyspace, shard: None, start: Start::End, count: COUNT };
    let number = |text: &[u8]| core::str::from_utf8(text).ok().and_then(|text| text.parse::<usize>().ok());
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        let value = rest.next().ok_or("ERR syntax error")?;
        match &word.to_ascii_lowercase()[..] {
            b"shard" => question.shard = Some(number(value).ok_or("ERR SHARD takes a number from 0 on")?),
            b"count" => {
                let count = number(value).filter(|count| (1..=COUNT_MAX).contains(count));
                question.count = count.ok_or("ERR COUNT takes a number from 1 to 10000")?;
            }
            b"after" => {
                question.start =
                    match &value.to_ascii_lowercase()[..] {
                        b"start" => Start::After(Position::default()),
                        b"end" => Start::End,
                        _ => Start::After(position_of(value).ok_or(
                            "ERR a position is <epoch>:<index>, as CHANGES tells it, or START, or END",
                        )?),
                    };
            }
            b"past" => {
                let position = position_of(value).ok_or("ERR PAST takes a position, as GAP tells it")?;
                question.start = Start::Past(position);
            }
            _ => return Err("ERR syntax error"),
        }
    }
    Ok(question)
}

impl Node {
    pub(super) fn changes(&mut self, connection: ConnectionId, args: &[&[u8]]) -> Flow {
        if let [word] = args
            && word.eq_ignore_ascii_case(b"HELP")
        {
            return self.reply(connection, |w| {
                w.array(HELP.len());
                HELP.iter().for_each(|line| w.simple(line));
            });
        }
        let asked = match question(args) {
            Ok(question) => question,
            Err(text) => return self.reply_error(connection, text),
        };
        let group = match self.group_to_read(&asked) {
            Ok(group) => group,
            Err(text) => return self.reply_error(connection, &text),
        };
        let Some(it) = self.groups.get(&group) else { return Flow::Continue };
        let end = it.applied_position();
        let (after, past) = match asked.start {
            Start::End => return self.reply(connection, |w| write_reply(&[], end, false, w)),
            Start::After(after) => (after, false),
            Start::Past(after) => (after, true),
        };
        if self.map.view(group).is_some_and(|view| view.has_lost(after)) {
            return self.reply_error(connection, &self.truncated(group, after));
        }
        if let Err(text) = self.is_at(group, after, past) {
            return self.reply_error(connection, &text);
        }
        if after.index >= end.index {
            // This copy is not there yet, or there is nothing new.
            return self.reply(connection, |w| write_reply(&[], after, false, w));
        }
        let window = it.replica.log().run_from(after.index.next(), BYTES_MAX);
        if let Some((_, records, _)) = window {
            let protocol = self.sessions.get(connection).map_or(Protocol::Resp2, |it| it.protocol);
            let mut bytes = Vec::new();
            let w = &mut ReplyWriter::new(&mut bytes, protocol);
            write_changes(&records, after, end.index, it.shortfall.lost(), asked.count, w);
            let Some(slot) = self.hold_reply(connection) else { return Flow::Continue };
            self.fill(connection, slot, &bytes);
            return Flow::Continue;
        }
        if self.log_readers.len() >= READERS_MAX {
            return self.reply_error(connection, "TRYAGAIN too many read the log from disk: slow down");
        }
        let Some(slot) = self.hold_reply(connection) else { return Flow::Continue };
        let protocol = self.sessions.get(connection).map_or(Protocol::Resp2, |session| session.protocol);
        let count = asked.count;
        self.log_readers.push(LogReader { connection, slot, protocol, group, after, past, count });
        let from = after.index.next();
        self.outputs.push(Output::ReadLog { group, to: LOG_READER, from, bytes_max: BYTES_MAX });
        Flow::Continue
    }

    /// The group whose log is asked for, if this node holds a copy that may be shown.
    fn group_to_read(&self, asked: &Question<'_>) -> Result<GroupId, String> {
        let Some(keyspace) = self.keyspace_of(asked.keyspace) else {
            return Err("ERR no such keyspace".into());
        };
        if self.is_leaderless(keyspace.id) {
            return Err(
                "ERR nobody orders the changes of a leaderless keyspace: there is no log to follow".into()
            );
        }
        if self.map.multi_leader.contains_key(&keyspace.id) {
            return Err(
                "ERR the sites of a multi-leader keyspace have a log each: there is no one order to follow"
                    .into(),
            );
        }
        let groups = self.routes.get(&keyspace.id).map(|routes| routes.groups()).unwrap_or_default();
        let at = match asked.shard {
            None if groups.len() > 1 => {
                return Err(format!("ERR the keyspace has {} shards: say SHARD 0 and so on", groups.len()));
            }
            shard => shard.unwrap_or(0),
        };
        let Some(route) = groups.get(at) else {
            return Err(match groups.len() {
                0 => "ERR nothing was written into this keyspace yet".into(),
                count => format!("ERR the keyspace has {count} shards, numbered from 0 on"),
            });
        };
        let view = self.map.view(route.group);
        let shown = |it: &crate::group::Group| {
            it.replica.leads().is_some() || view.is_some_and(|view| it.is_showable(view))
        };
        if self.groups.get(&route.group).is_some_and(shown) {
            return Ok(route.group);
        }
        let copies = view.into_iter().flat_map(|view| view.copies()).filter(|node| *node != self.config.node);
        let others: Vec<String> = copies
            .filter_map(|node| self.map.nodes.get(&node))
            .map(|node| format!("{} ({})", node.name, node.addresses.resp))
            .collect();
        Err(format!("NOCOPY this node has no copy of it that may be read now, ask {}", others.join(" or ")))
    }

    /// Whether the log here goes on from this position: it is of the same history, and none that an election went on without. Whoever
    /// goes `past` such entries has heard so.
    fn is_at(&self, group: GroupId, after: Position, past: bool) -> Result<(), String> {
        let Some(it) = self.groups.get(&group).filter(|_| after.index > Index(0)) else { return Ok(()) };
        let epoch = it.replica.log().epoch_at(after.index);
        if after.index <= it.applied && epoch.is_some_and(|epoch| epoch != after.epoch) {
            return Err(format!(
                "TRYAGAIN another entry than {after} stands there on this node: it has not heard of an election yet"
            ));
        }
        let lost = it.shortfall.lost();
        let within = |(first, last): &&(Index, Index)| {
            (*first..=*last).contains(&after.index) && !(past && *last == after.index)
        };
        let within = lost.ranges().iter().find(within);
        match within {
            Some((first, last)) => {
                let epoch = it.replica.log().epoch_at(*last).unwrap_or(after.epoch);
                let next = Position { epoch, index: *last };
                Err(gap_text("an election", (*first, next)))
            }
            None => Ok(()),
        }
    }

    /// The reader saw what an election dropped.
    fn truncated(&self, group: GroupId, after: Position) -> String {
        let view = self.map.view(group);
        let next = view.and_then(|view| view.history.iter().find(|start| start.epoch > after.epoch));
        let parted = next.map_or(Index(0), |start| start.index.previous());
        let text = "TRUNCATED an election dropped entries that this position stands behind: the histories part behind";
        format!(
            "{text} {}:{}. Undo what came later (LEDGER LIST has it), and go on from there",
            after.epoch.0, parted.0
        )
    }

    /// A part of the log came from the disk.
    pub(crate) fn on_log_read_for_reader(&mut self, group: GroupId, before: Mark, records: &Bytes) {
        let wanted = |it: &LogReader| it.group == group && it.after.index == before.position.index;
        let readers: Vec<LogReader> = self.log_readers.extract_if(.., |it| wanted(it)).collect();
        for reader in readers {
            let mut bytes = Vec::new();
            let w = &mut ReplyWriter::new(&mut bytes, reader.protocol);
            let lost = self.map.view(group).is_some_and(|view| view.has_lost(reader.after));
            let here = self.is_at(group, reader.after, reader.past);
            match self.groups.get(&group) {
                None => w.error("NOCOPY this node's copy has gone"),
                Some(_) if lost => w.error(&self.truncated(group, reader.after)),
                Some(_) if here.is_err() => w.error(&here.err().unwrap_or_default()),
                Some(_) if records.is_empty() => w.error(
                    "TRIMMED the log of this node no longer reaches back so far: copy the keyspace, and go on from its END",
                ),
                Some(it) => {
                    let (end, lost) = (it.applied_position().index, it.shortfall.lost());
                    write_changes(records, reader.after, end, lost, reader.count, w);
                }
            }
            self.fill(reader.connection, reader.slot, &bytes);
        }
    }
}

/// One entry to be told.
struct Told<'a> {
    position: Position,
    time_ms: i64,
    payload: &'a [u8],
}

fn gap_text(who: &str, (first, last): (Index, Position)) -> String {
    let Index(first) = first;
    let Index(through) = last.index;
    format!(
        "GAP {who} went on without the entries {first} to {through}: what is known of them lies in the ledger or on another node; go on PAST {last} without them"
    )
}

/// What these records say behind `after`, through `end`. `lost`: what stands in the history, and no leader has.
fn write_changes(
    records: &[u8],
    after: Position,
    end: Index,
    lost: &Gaps,
    count: usize,
    w: &mut ReplyWriter<'_>,
) {
    let (mut told, mut rest, mut last) = (Vec::new(), records, after);
    while let Ok(record) = Record::parse(rest) {
        rest = &rest[record.len..];
        let header = &record.header;
        if header.index <= after.index {
            continue;
        }
        if header.index > end || told.len() >= count {
            break;
        }
        let gap = record.gap().map(|gap| gap.first);
        if gap.is_some() || lost.covers(header.index) {
            if told.is_empty() {
                if let Some(first) = gap {
                    return w.error(&gap_text("this copy", (first, header.position())));
                }
                let (first, mut last) = (header.index, header.position());
                while let Ok(record) = Record::parse(rest)
                    && lost.covers(record.header.index)
                {
                    rest = &rest[record.len..];
                    last = record.header.position();
                }
                return w.error(&gap_text("an election", (first, last)));
            }
            break;
        }
        if header.kind.is_change() {
            if is_statement(record.payload) {
                if told.is_empty() {
                    return w.error(&format!(
                        "STATEMENT the entry at {} is a command, which only this engine can execute: KEYSPACE ALTER <name> LOG row",
                        header.position()
                    ));
                }
                break;
            }
            told.push(Told { position: header.position(), time_ms: header.time_ms, payload: record.payload });
        }
        last = header.position();
    }
    write_reply(&told, last, last.index < end, w);
}

fn is_statement(payload: &[u8]) -> bool {
    Payload::parse(payload).is_ok_and(|payload| matches!(payload.changes, Changes::Statement(_)))
}

fn write_reply(told: &[Told<'_>], position: Position, more: bool, w: &mut ReplyWriter<'_>) {
    w.map(3);
    w.bulk(b"position");
    w.bulk(format!("{position}").as_bytes());
    w.bulk(b"more");
    w.boolean(more);
    w.bulk(b"entries");
    w.array(told.len());
    for it in told {
        w.map(3);
        w.bulk(b"position");
        w.bulk(format!("{}", it.position).as_bytes());
        w.bulk(b"time-ms");
        w.integer(it.time_ms);
        w.bulk(b"operations");
        write_operations(it.payload, w);
    }
}
