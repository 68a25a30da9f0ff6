//! LEDGER: writes that an election lost although somebody may have been told that they are done. Any node answers, for all nodes
//! that it reaches.

use super::ledger_words as words;
use super::operation_words::write_operations;
use super::poll::{Asker, Horizon, Poll, TOO_MANY, id_of};
use crate::execute::{Context, Executed, Identity};
use crate::forward::{Origin, Outgoing, Purpose};
use crate::io::ConnectionId;
use crate::message::{PeerMessage, Work};
use crate::node::{Flow, Node};
use crate::serve::PATIENCE;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use commands::spec::unknown_subcommand;
use data::codec::{DecodeError, Reader, Writer};
use data::ledger::{Item, ItemId, Mark};
use data::{GroupId, KeyspaceId, NodeId, Process, RequestId};
use wire::{Protocol, ReplyWriter};

/// Peers of this message version know of ledgers.
pub(crate) const SINCE_VERSION: u8 = 3;
/// Items that one node tells of at once.
const LIST_MAX: usize = 1000;
/// The origin of requests that come out of the ledger: no node has this number.
const FROM_LEDGER: NodeId = NodeId(u32::MAX);

const HELP: &[&str] = &[
    "LEDGER <subcommand> [<arg> ...]. Subcommands are:",
    "LIST [<keyspace>] [AFTER <id>]",
    "    Writes that elections lost, of all nodes within reach.",
    "GET <id>",
    "    One of them with its operations.",
    "REAPPLY <id> [FORCE]",
    "    Applies it again, unless a key was changed since. Once, however often asked.",
    "ACK <id>|ALL",
    "    Lets it go, on all nodes within reach.",
    "HELP",
];

/// What a node wants of another one's ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Those of a keyspace, or all, behind this one.
    List { keyspace: Option<KeyspaceId>, after: Option<ItemId> },
    /// With its payload.
    Get(ItemId),
    /// Let it go, or all; answered with those that were there.
    Release(Option<ItemId>),
}

/// An item as it is told of; a list leaves the payload out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    pub item: Item,
    pub payload_bytes: u64,
}

/// What the leader needs of an item to apply it again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Under which it happens once.
    pub request: RequestId,
    pub payload: Bytes,
}

pub(crate) type Question = Poll<What, Found>;

/// What the nodes told together.
#[derive(Default)]
pub(crate) struct Found {
    /// With the nodes whose ledgers have it.
    items: BTreeMap<ItemId, (Listed, Vec<NodeId>)>,
    more: bool,
    horizon: Horizon<ItemId>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    List,
    Get(ItemId),
    Reapply { id: ItemId, force: bool },
    Release,
}

impl Ask {
    pub fn encode(&self, w: &mut Writer<'_>) {
        match self {
            Ask::List { keyspace, after } => {
                w.u8(1);
                w.option(*keyspace, |w, keyspace| keyspace.encode(w));
                w.option(*after, |w, after| after.encode(w));
            }
            Ask::Get(id) => {
                w.u8(2);
                id.encode(w);
            }
            Ask::Release(id) => {
                w.u8(3);
                w.option(*id, |w, id| id.encode(w));
            }
        }
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Ask, DecodeError> {
        Ok(match r.u8()? {
            1 => Ask::List { keyspace: r.option(KeyspaceId::decode)?, after: r.option(ItemId::decode)? },
            2 => Ask::Get(ItemId::decode(r)?),
            3 => Ask::Release(r.option(ItemId::decode)?),
            _ => return Err(DecodeError::Invalid("question to a ledger")),
        })
    }
}

impl Listed {
    pub fn encode(&self, w: &mut Writer<'_>) {
        self.item.encode(w);
        w.u64(self.payload_bytes);
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Listed, DecodeError> {
        Ok(Listed { item: Item::decode(r)?, payload_bytes: r.u64()? })
    }
    fn new(item: &Item, with_payload: bool) -> Listed {
        let payload_bytes = item.payload.as_ref().map_or(0, |payload| payload.len() as u64);
        let payload = item.payload.clone().filter(|_| with_payload);
        Listed { item: Item { payload, ..item.clone() }, payload_bytes }
    }
}

impl Entry {
    /// A forwarded write keeps its id, so that what its forwarder sent to the next leader counts too; any other gets one that
    /// is made of its place.
    fn of(item: &Item) -> Option<Entry> {
        let position = item.id.position;
        let made =
            RequestId { origin: FROM_LEDGER, process: Process(position.epoch.0), sequence: position.index.0 };
        let request = if item.request.is_none() { made } else { item.request };
        Some(Entry { request, payload: item.payload.clone()? })
    }
    pub fn encode(&self, w: &mut Writer<'_>) {
        self.request.encode(w);
        w.bytes(&self.payload);
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Entry, DecodeError> {
        Ok(Entry { request: RequestId::decode(r)?, payload: Bytes::copy_from_slice(r.bytes()?) })
    }
}

impl Node {
    pub(super) fn ledger_command(&mut self, connection: ConnectionId, args: &[&[u8]]) -> Flow {
        let subcommand = args[1].to_ascii_lowercase();
        const NO_ID: &str =
            "ERR an item of the ledger is named <group>-<epoch>-<index>, as LEDGER LIST shows";
        match (&subcommand[..], &args[2..]) {
            (b"list", rest) => match self.list_words(rest, NO_ID) {
                Ok((keyspace, after)) => {
                    self.ask_ledgers(connection, What::List, Ask::List { keyspace, after })
                }
                Err(text) => self.reply_error(connection, text),
            },
            (b"get", [id]) => match id_of(id) {
                Some(id) => self.ask_ledgers(connection, What::Get(id), Ask::Get(id)),
                None => self.reply_error(connection, NO_ID),
            },
            (b"reapply", [id, rest @ ..]) => {
                let force = matches!(rest, [word] if word.eq_ignore_ascii_case(b"FORCE"));
                match id_of::<ItemId>(id) {
                    None => self.reply_error(connection, NO_ID),
                    Some(_) if !rest.is_empty() && !force => self.reply_error(connection, "ERR syntax error"),
                    Some(id) => self.ask_ledgers(connection, What::Reapply { id, force }, Ask::Get(id)),
                }
            }
            (b"ack", [all]) if all.eq_ignore_ascii_case(b"ALL") => {
                self.ask_ledgers(connection, What::Release, Ask::Release(None))
            }
            (b"ack", [id]) => match id_of(id) {
                Some(id) => self.ask_ledgers(connection, What::Release, Ask::Release(Some(id))),
                None => self.reply_error(connection, NO_ID),
            },
            (b"help", []) => self.reply(connection, |w| {
                w.array(HELP.len());
                HELP.iter().for_each(|line| w.simple(line));
            }),
            (b"get" | b"ack" | b"reapply", _) => {
                let shown = format!("ledger|{}", String::from_utf8_lossy(&subcommand));
                self.reply_error(connection, &commands::spec::wrong_arity(&shown))
            }
            _ => self.reply_error(connection, &unknown_subcommand("ledger", args[1])),
        }
    }

    /// Asks every node within reach, this one first; the reply waits.
    fn ask_ledgers(&mut self, connection: ConnectionId, what: What, ask: Ask) -> Flow {
        if self.ledger_questions.is_full() {
            return self.reply_error(connection, TOO_MANY);
        }
        let Some((asker, asked)) = self.poll(connection, SINCE_VERSION) else { return Flow::Continue };
        let mut found = Found::default();
        let (items, more) = self.look_in_ledger(&ask);
        found.take(self.config.node, items, more);
        let question = self.ledger_questions.begin(self.now.instant, asker, what, found, &asked);
        for node in asked {
            self.send(node, PeerMessage::LedgerAsk { question, ask: ask.clone() });
        }
        self.tend_ledger_questions();
        Flow::Continue
    }

    /// What this node's own ledger has to say.
    fn look_in_ledger(&mut self, ask: &Ask) -> (Vec<Listed>, bool) {
        match ask {
            Ask::List { keyspace, after } => {
                let wanted = |item: &&Item| {
                    keyspace.is_none_or(|keyspace| item.keyspace == keyspace)
                        && after.is_none_or(|after| item.id > after)
                };
                let mut found = self.ledger.items().filter(wanted);
                let items: Vec<Listed> =
                    found.by_ref().take(LIST_MAX).map(|item| Listed::new(item, false)).collect();
                (items, found.next().is_some())
            }
            Ask::Get(id) => {
                (self.ledger.get(*id).map(|item| Listed::new(item, true)).into_iter().collect(), false)
            }
            Ask::Release(Some(id)) => {
                (self.let_go(&[*id]).iter().map(|it| Listed::new(it, false)).collect(), false)
            }
            Ask::Release(None) => {
                let ids: Vec<ItemId> = self.ledger.items().map(|item| item.id).collect();
                (self.let_go(&ids).iter().map(|item| Listed::new(item, false)).collect(), false)
            }
        }
    }

    pub(crate) fn on_ledger_ask(&mut self, from: NodeId, question: u64, ask: &Ask) {
        let (items, more) = self.look_in_ledger(ask);
        self.send(from, PeerMessage::LedgerAnswer { question, items, more });
    }

    pub(crate) fn on_ledger_answer(&mut self, from: NodeId, number: u64, items: Vec<Listed>, more: bool) {
        if let Some(found) = self.ledger_questions.answered(from, number) {
            found.take(from, items, more);
        }
        self.tend_ledger_questions();
    }

    pub(crate) fn tend_ledger_questions(&mut self) {
        let ended = self.ledger_questions.ended(self.now.instant, &self.peers);
        ended.into_iter().for_each(|question| self.end_question(question));
    }

    fn end_question(&mut self, mut question: Question) {
        if let What::Reapply { id, force } = question.what {
            return self.reapply(&question, id, force);
        }
        question.found.horizon.cut(&mut question.found.items);
        let silent = self.silent(&question, SINCE_VERSION);
        let mut bytes = Vec::new();
        let w = &mut ReplyWriter::new(&mut bytes, question.asker.protocol);
        match question.what {
            What::List => {
                w.map(3);
                w.bulk(b"items");
                w.array(question.found.items.len());
                for (listed, nodes) in question.found.items.values() {
                    w.map(words::FIELDS);
                    self.write_item(listed, nodes, w);
                }
                w.bulk(b"more");
                w.boolean(question.found.more);
                w.bulk(b"unreachable");
                w.array(silent.len());
                silent.iter().for_each(|name| w.bulk(name.as_bytes()));
            }
            What::Get(id) => match question.found.items.get(&id) {
                Some((listed, nodes)) => {
                    w.map(words::FIELDS + 1);
                    self.write_item(listed, nodes, w);
                    w.bulk(b"operations");
                    write_operations(listed.item.payload.as_deref().unwrap_or_default(), w);
                }
                None if silent.is_empty() => w.null(),
                None => w.error(&unreached(&silent)),
            },
            What::Release if silent.is_empty() => w.integer(question.found.items.len() as i64),
            What::Release => w.error(&format!(
                "INDETERMINATE {} items were let go on the nodes within reach, {} did not answer: ask again",
                question.found.items.len(),
                silent.join(", ")
            )),
            What::Reapply { .. } => {}
        }
        self.fill(question.asker.connection, question.asker.slot, &bytes);
    }

    fn write_item(&self, listed: &Listed, nodes: &[NodeId], w: &mut ReplyWriter<'_>) {
        let names: Vec<&str> =
            nodes.iter().filter_map(|node| self.map.nodes.get(node)).map(|node| node.name.as_str()).collect();
        words::write_item(listed, &self.keyspace_name(listed.item.keyspace), &names, w);
    }

    /// The item was looked for: the group's leader applies it again.
    fn reapply(&mut self, question: &Question, id: ItemId, force: bool) {
        let Asker { connection, slot, .. } = question.asker;
        let found = question.found.items.get(&id).map(|(listed, _)| &listed.item);
        let leader = found.and_then(|item| self.map.leader_of(item.id.group));
        let old = |node: NodeId| {
            node != self.config.node && self.peers.get(&node).is_some_and(|version| *version < SINCE_VERSION)
        };
        let refusal = match found {
            None => Some("ERR no node within reach has this item in its ledger"),
            Some(item) if item.mark == Mark::Announced => {
                Some("ERR nobody knows what this range held: it waits for the copy that does")
            }
            Some(item) if item.payload.is_none() => Some("ERR the payload of this item is not kept"),
            Some(item) if item.entries() != Some(1) && !force => Some(
                "ERR of this range only the first entry is kept: FORCE applies that one, whatever was changed since",
            ),
            Some(_) if leader.is_some_and(old) => {
                Some("TRYAGAIN the keyspace's leader runs a version that knows of no ledger")
            }
            Some(_) => None,
        };
        // Its keys may have moved since.
        let entry = found.and_then(|item| {
            let entry = Entry::of(item)?;
            let slot = crate::payload::first_slot(&entry.payload).unwrap_or(0);
            Some(((item.keyspace, slot), entry))
        });
        let (refusal, entry) = match (refusal, entry) {
            (None, Some(entry)) => (None, Some(entry)),
            (refusal, _) => (refusal.or(Some("ERR no such item")), None),
        };
        if let Some(((keyspace, shard), item)) = entry {
            let origin = Origin::Client { connection, slot, purpose: Purpose::Command };
            let work = Work::Reapply { item, force };
            let deadline = Some(self.now.instant + PATIENCE);
            let outgoing = Outgoing::new(keyspace, question.asker.protocol, work, origin, deadline);
            let Some(session) = self.sessions.get_mut(connection) else { return };
            let command = session.commands;
            if self.forwards.add(Outgoing { command, slot: shard, write: true, ..outgoing }).is_ok() {
                session.forwarded += 1;
                return;
            }
        }
        let mut bytes = Vec::new();
        let text = refusal.unwrap_or("TRYAGAIN too many commands wait for other nodes: slow down");
        ReplyWriter::new(&mut bytes, Protocol::Resp2).error(text);
        self.fill(connection, slot, &bytes);
    }

    /// Applies an entry of the ledger again, in a group that this node leads: once, however often it is asked for.
    pub(crate) fn reapply_here(
        &mut self,
        from: NodeId,
        group: GroupId,
        request: RequestId,
        protocol: Protocol,
        entry: &Entry,
        force: bool,
    ) {
        use crate::answers::Known;
        let Some(it) = self.groups.get_mut(&group) else { return };
        match it.answers.find(entry.request) {
            Known::Done { position, .. } => {
                let reply = Bytes::from_static(b"+ALREADY\r\n");
                return self.conclude_forwarded(from, group, request, Executed::Written(position), reply);
            }
            Known::TooOld => {
                let text = "INDETERMINATE later items were applied so long ago that nobody can tell whether this one was";
                return self.refuse_forwarded(from, request, text);
            }
            Known::New => {}
        }
        if let Some(refusal) = commands::find(b"set").and_then(|spec| self.refuse_write(group, spec)) {
            return self.refuse_forwarded(from, request, &refusal);
        }
        let wall_ms = self.now.wall.middle_ms();
        let identity = Identity::forwarded(entry.request);
        let now = self.now;
        let mut context = Context { now, wall_ms, random: &mut self.random, protocol, identity };
        let mut reply = Vec::new();
        let Some(it) = self.groups.get_mut(&group) else { return };
        match it.reapply(&mut context, &entry.payload, force, &mut reply) {
            Ok(executed) => self.conclude_forwarded(from, group, request, executed, Bytes::from(reply)),
            Err(text) => self.refuse_forwarded(from, request, &text),
        }
    }
}

fn unreached(silent: &[&str]) -> String {
    format!("TRYAGAIN no node within reach has it, {} did not answer", silent.join(", "))
}

impl Found {
    fn take(&mut self, from: NodeId, items: Vec<Listed>, more: bool) {
        if let Some(last) = items.last().filter(|_| more) {
            self.horizon.note(last.item.id);
        }
        self.more |= more;
        for listed in items {
            let (known, nodes) =
                self.items.entry(listed.item.id).or_insert_with(|| (listed.clone(), Vec::new()));
            nodes.push(from);
            // Of several copies of an entry one may know more than the others.
            known.item.join(&listed.item);
            known.payload_bytes = known.payload_bytes.max(listed.payload_bytes);
        }
    }
}
