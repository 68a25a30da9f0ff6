//! INBOX: conflicts, what became of them, and a person's or program's word on them. Any node answers, for all nodes that it
//! reaches.
// catalogue: J14

use super::poll::{Poll, TOO_MANY, id_of};
use super::rules::Trial;
use crate::inbox::{Answer, Ask, Gathered, Item, ItemId};
use crate::io::ConnectionId;
use crate::leaderless::SINCE_VERSION;
use crate::message::PeerMessage;
use crate::node::{Flow, Node};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use commands::Spec;
use commands::spec::unknown_subcommand;
use data::causal::{How, Kind, Mark, Version, Wish};
use data::multi_leader::Conflict;
use data::value::Blob;
use data::{KeyspaceId, NodeId, SiteId};
use wire::ReplyWriter;
use wire::number::parse_integer;

const HELP: &[&str] = &[
    "INBOX <subcommand> [<arg> ...]. Subcommands are:",
    "LIST [<keyspace>] [AFTER <id>]",
    "    Conflicts, open or decided, of all nodes within reach: winner first, then who lost.",
    "GET <id>",
    "    One of them.",
    "RESOLVE <id> VALUE <value> | KEEP <n> | DELETE",
    "    Writes what it comes to: this value, its n-th version (from 0), or nothing. Replaces exactly its versions.",
    "ACK <id>",
    "    Lets a settled one go.",
    "SUBSCRIBE [<keyspace> ...]",
    "    Messages of new ones, on the channels inbox:<keyspace>.",
    "HELP",
];

pub(crate) type Question = Poll<Errand, Gathered>;

/// What somebody asks for, with this command.
pub(crate) struct Errand {
    spec: &'static Spec,
    what: What,
}

pub(super) enum What {
    List,
    Try(Trial),
    Get(ItemId),
    Resolve(ItemId, Word),
    Acknowledge(ItemId),
}

/// What somebody says a conflict comes to.
pub(super) enum Word {
    Value(Blob),
    Keep(usize),
    Delete,
}

impl Node {
    pub(super) fn inbox_command(
        &mut self,
        connection: ConnectionId,
        spec: &'static Spec,
        args: &[&[u8]],
    ) -> Flow {
        let subcommand = args[1].to_ascii_lowercase();
        const NO_ID: &str =
            "ERR an item of the inbox is named <group>-<16 hexadecimal digits>, as INBOX LIST shows";
        match (&subcommand[..], &args[2..]) {
            (b"list", rest) => match self.list_words(rest, NO_ID) {
                Ok((keyspace, after)) => {
                    self.ask_inboxes(connection, spec, What::List, Ask::List { keyspace, after })
                }
                Err(text) => self.reply_error(connection, text),
            },
            (b"get", [id]) => match id_of(id) {
                Some(id) => self.ask_inboxes(connection, spec, What::Get(id), Ask::Get(id)),
                None => self.reply_error(connection, NO_ID),
            },
            (b"ack", [id]) => match id_of(id) {
                Some(id) => self.ask_inboxes(connection, spec, What::Acknowledge(id), Ask::Get(id)),
                None => self.reply_error(connection, NO_ID),
            },
            (b"resolve", [id, rest @ ..]) if !rest.is_empty() => {
                let word = match rest {
                    [word, value] if word.eq_ignore_ascii_case(b"VALUE") => Word::Value((*value).into()),
                    [word, n] if word.eq_ignore_ascii_case(b"KEEP") => {
                        match parse_integer(n).and_then(|n| usize::try_from(n).ok()) {
                            Some(n) => Word::Keep(n),
                            None => {
                                return self.reply_error(
                                    connection,
                                    "ERR KEEP takes the place of a version, from 0",
                                );
                            }
                        }
                    }
                    [word] if word.eq_ignore_ascii_case(b"DELETE") => Word::Delete,
                    _ => {
                        let text = "ERR say VALUE <value>, KEEP <n> or DELETE behind the item";
                        return self.reply_error(connection, text);
                    }
                };
                match id_of(id) {
                    Some(id) => self.ask_inboxes(connection, spec, What::Resolve(id, word), Ask::Get(id)),
                    None => self.reply_error(connection, NO_ID),
                }
            }
            (b"subscribe", []) => self.subscribe(connection, &[b"inbox:*"], true),
            (b"subscribe", names) => {
                if names.iter().any(|name| self.keyspace_of(name).is_none()) {
                    return self.reply_error(connection, "ERR no such keyspace");
                }
                let channels: Vec<Vec<u8>> =
                    names.iter().map(|name| [&b"inbox:"[..], name].concat()).collect();
                let channels: Vec<&[u8]> = channels.iter().map(|channel| &channel[..]).collect();
                self.subscribe(connection, &channels, false)
            }
            (b"help", []) => self.reply(connection, |w| {
                w.array(HELP.len());
                HELP.iter().for_each(|line| w.simple(line));
            }),
            (b"get" | b"ack" | b"resolve", _) => {
                let shown = format!("inbox|{}", String::from_utf8_lossy(&subcommand));
                self.reply_error(connection, &commands::spec::wrong_arity(&shown))
            }
            _ => self.reply_error(connection, &unknown_subcommand("inbox", args[1])),
        }
    }

    /// Asks every node within reach, this one first; the reply waits.
    pub(super) fn ask_inboxes(
        &mut self,
        connection: ConnectionId,
        spec: &'static Spec,
        what: What,
        ask: Ask,
    ) -> Flow {
        if self.inbox.questions.is_full() {
            return self.reply_error(connection, TOO_MANY);
        }
        let Some((asker, asked)) = self.poll(connection, SINCE_VERSION) else { return Flow::Continue };
        let mut found = Gathered::default();
        found.take(self.look_in_inbox(&ask));
        let errand = Errand { spec, what };
        let question = self.inbox.questions.begin(self.now.instant, asker, errand, found, &asked);
        for node in asked {
            self.send(node, PeerMessage::InboxAsk { question, ask: ask.clone() });
        }
        self.tend_inbox_questions();
        Flow::Continue
    }

    pub(crate) fn on_inbox_ask(&mut self, from: NodeId, question: u64, ask: &Ask) {
        let answer = self.look_in_inbox(ask);
        self.send(from, PeerMessage::InboxAnswer { question, answer });
    }

    pub(crate) fn on_inbox_answer(&mut self, from: NodeId, number: u64, answer: Answer) {
        if let Some(found) = self.inbox.questions.answered(from, number) {
            found.take(answer);
        }
        self.tend_inbox_questions();
    }

    pub(crate) fn tend_inbox_questions(&mut self) {
        let ended = self.inbox.questions.ended(self.now.instant, &self.peers);
        ended.into_iter().for_each(|question| self.end_inbox_question(question));
    }

    fn end_inbox_question(&mut self, mut question: Question) {
        question.found.finish();
        let silent = self.silent(&question, SINCE_VERSION);
        let mut bytes = Vec::new();
        let w = &mut ReplyWriter::new(&mut bytes, question.asker.protocol);
        let id = match &question.what.what {
            What::List => {
                w.map(4);
                w.bulk(b"items");
                w.array(question.found.items.len());
                question.found.items.values().for_each(|item| self.write_conflict(item, w));
                w.bulk(b"more");
                w.boolean(question.found.more);
                w.bulk(b"dropped");
                w.integer(i64::try_from(question.found.dropped()).unwrap_or(i64::MAX));
                w.bulk(b"unreachable");
                w.array(silent.len());
                silent.iter().for_each(|name| w.bulk(name.as_bytes()));
                return self.fill(question.asker.connection, question.asker.slot, &bytes);
            }
            What::Try(trial) => {
                let found = &question.found;
                self.write_trial(trial, found.items.values(), found.more, &silent, w);
                return self.fill(question.asker.connection, question.asker.slot, &bytes);
            }
            What::Get(id) | What::Resolve(id, _) | What::Acknowledge(id) => *id,
        };
        match (question.found.items.get(&id), &question.what.what) {
            (Some(item), What::Get(_)) => self.write_conflict(item, w),
            (None, What::Get(_)) if silent.is_empty() => w.null(),
            (Some(item), What::Resolve(_, word)) => {
                match wish_of(item, word, &self.asker(question.asker.connection)) {
                    Ok(wish) => return self.settle(&question, item, wish),
                    Err(text) => w.error(text),
                }
            }
            (Some(item), _) if item.decisions.is_empty() => {
                w.error("ERR this conflict lasts: INBOX RESOLVE says what it comes to");
            }
            (Some(item), _) => {
                let decisions = item.decisions.iter().map(|told| told.mark.dot).collect();
                return self.settle(&question, item, Wish::Forget { decisions });
            }
            (None, _) if silent.is_empty() => {
                w.error("ERR no such item: it was let go, or more versions came to it; INBOX LIST shows what there is");
            }
            (None, _) => {
                w.error(&format!(
                    "TRYAGAIN no node within reach has it, {} did not answer",
                    silent.join(", ")
                ));
            }
        }
        self.fill(question.asker.connection, question.asker.slot, &bytes);
    }

    fn settle(&mut self, question: &Question, item: &Item, wish: Wish) {
        let place = (question.asker.connection, question.asker.slot, question.asker.protocol);
        if self.is_multi_leader(item.keyspace) {
            return self.settle_at_site(place, item.keyspace, &item.key, &wish);
        }
        self.write_for(place, item.keyspace, item.key.clone(), wish, question.what.spec, None);
    }

    /// Who asks, for the audit trail.
    fn asker(&self, connection: ConnectionId) -> Blob {
        let node = self.map.nodes.get(&self.config.node).map_or("", |node| &node.name);
        let who = self.sessions.get(connection).map_or_else(String::new, |session| match &session.name[..] {
            "" => session.address.clone(),
            name => format!("{name} {}", session.address),
        });
        format!("{who} at {node}").into_bytes().into()
    }

    fn write_conflict(&self, item: &Item, w: &mut ReplyWriter<'_>) {
        let (conflict, rule) = self.conflict_on(item.keyspace, &item.key);
        // What this node knows of the function; it may be another one when the item is settled.
        let lasts = item.decisions.is_empty();
        let merging = self.merging_by(&conflict).filter(|_| lasts);
        let merged = merging.and_then(|merging| merging.of_versions(&item.versions));
        let is_asked = conflict == Conflict::Siblings;
        let is_asked = is_asked || matches!(merged, Some(Err(_)));
        let state = match (lasts, is_asked) {
            (false, _) => "settled",
            (true, true) => "open",
            (true, false) => "decided",
        };
        w.map(8 + usize::from(merged.is_some()) + usize::from(rule.is_some()));
        if let Some(rule) = rule {
            w.bulk(b"rule");
            w.bulk(&rule.pattern);
        }
        for (name, value) in [
            ("id", item.id.to_string()),
            ("keyspace", self.keyspace_name(item.keyspace)),
            ("policy", conflict.name().to_string()),
            ("state", state.to_string()),
        ] {
            w.bulk(name.as_bytes());
            w.bulk(value.as_bytes());
        }
        w.bulk(b"key");
        w.bulk(&item.key);
        w.bulk(b"fields");
        w.array(item.path.len());
        item.path.iter().for_each(|field| w.bulk(field));
        w.bulk(b"versions");
        w.array(item.versions.len());
        for version in &item.versions {
            w.map(5);
            w.bulk(b"value");
            match &version.value {
                Some(value) => w.bulk(value),
                None => w.null(),
            }
            w.bulk(b"type");
            w.bulk(type_of(version).as_bytes());
            self.write_mark(item.keyspace, version.mark, w);
        }
        match &merged {
            Some(Ok(value)) => {
                w.bulk(b"merged");
                w.bulk(value);
            }
            Some(Err(why)) => {
                w.bulk(b"merge-failed");
                w.bulk(why.as_bytes());
            }
            None => {}
        }
        w.bulk(b"decisions");
        w.array(item.decisions.len());
        for told in &item.decisions {
            w.map(6);
            let (how, by): (&str, &[u8]) = match &told.how {
                How::Overwritten => ("overwritten", b""),
                How::Deleted => ("deleted", b""),
                How::Resolved { by } => ("resolved", by),
            };
            w.bulk(b"how");
            w.bulk(how.as_bytes());
            w.bulk(b"by");
            w.bulk(by);
            w.bulk(b"dropped-before");
            w.integer(i64::try_from(told.dropped).unwrap_or(i64::MAX));
            self.write_mark(item.keyspace, told.mark, w);
        }
    }

    /// Three fields: when, by which node's copy or at which site, and the name of the write.
    fn write_mark(&self, keyspace: KeyspaceId, mark: Mark, w: &mut ReplyWriter<'_>) {
        let node = mark.dot.actor.node;
        w.bulk(b"time-ms");
        w.integer(mark.stamp.ms());
        if self.is_multi_leader(keyspace) {
            // There the actor is a leader of a site.
            let site = self.site_name(keyspace, SiteId(node.0));
            w.bulk(b"site");
            w.bulk(site.map_or_else(|| format!("{}", SiteId(node.0)), |it| it.to_string()).as_bytes());
        } else {
            w.bulk(b"node");
            let name = self.map.nodes.get(&node).map_or_else(|| format!("{}", node.0), |it| it.name.clone());
            w.bulk(name.as_bytes());
        }
        w.bulk(b"dot");
        w.bulk(format!("{}", mark.dot).as_bytes());
    }

    /// Keys with news of the shards whose first living copy is this node's.
    pub(crate) fn take_conflict_news(&mut self) -> Vec<(KeyspaceId, data::GroupId, Vec<Blob>)> {
        let mut news = self.take_leaderless_news();
        news.extend(self.take_site_news());
        news
    }
}

fn type_of(version: &Version) -> &'static str {
    match (version.kind, &version.value) {
        (Kind::Last, None) => "deleted",
        (kind, _) => kind.name(),
    }
}

fn wish_of(item: &Item, word: &Word, by: &Blob) -> Result<Wish, &'static str> {
    let mut versions = item.versions.clone();
    let value = match word {
        Word::Value(value) => Some(value.clone()),
        Word::Delete => None,
        Word::Keep(n) => match item.versions.get(*n) {
            None => return Err("ERR the conflict has no such version: they are counted from 0"),
            Some(Version { value: Some(value), .. }) => Some(value.clone()),
            Some(Version { kind: Kind::Last, .. }) => None,
            // A collection is not written again: it stays, and the others go.
            Some(_) => {
                versions.remove(*n);
                None
            }
        },
    };
    Ok(Wish::Settle { path: item.path.clone(), versions, value, by: by.clone() })
}
