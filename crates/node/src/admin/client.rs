//! CLIENT: what concerns connections.

use super::connection::{BAD_NAME, valid_name};
use crate::io::{ConnectionId, Output};
use crate::node::{Flow, Node};
use crate::session::{ReplyMode, Session};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use commands::spec::unknown_subcommand;
use data::Instant;
use wire::Protocol;
use wire::number::parse_integer;

const HELP: &[&str] = &[
    "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GETNAME",
    "ID",
    "INFO",
    "KILL <ip:port> | [ID <id>] [ADDR <ip:port>] [LADDR <ip:port>] [SKIPME YES|NO] ...",
    "LIST [TYPE NORMAL|PUBSUB] [ID <id> ...]",
    "NO-EVICT (ON|OFF)",
    "NO-TOUCH (ON|OFF)",
    "REPLY (ON|OFF|SKIP)",
    "SETINFO <LIB-NAME|LIB-VER> <value>",
    "SETNAME <name>",
    "HELP",
];

impl Node {
    pub(super) fn client(&mut self, connection: ConnectionId, args: &[&[u8]]) -> Flow {
        let name = args[1].to_ascii_lowercase();
        match (&name[..], &args[2..]) {
            (b"id", []) => self.reply(connection, |w| w.integer(connection.0 as i64)),
            (b"getname", []) => {
                let name = self.sessions.get(connection).map(|s| s.name.clone()).unwrap_or_default();
                self.reply(connection, |w| if name.is_empty() { w.null() } else { w.bulk(name.as_bytes()) })
            }
            (b"setname", [name]) => match valid_name(name) {
                Some(name) => self.with_session(connection, |session| session.name = name),
                None => self.reply_error(connection, BAD_NAME),
            },
            (b"setinfo", [what, value]) => self.client_setinfo(connection, what, value),
            (b"info", []) => {
                let now = self.now.instant;
                let text = self.sessions.get(connection).map(|s| describe(s, now)).unwrap_or_default();
                self.reply(connection, |w| w.verbatim(&text))
            }
            (b"list", options) => self.client_list(connection, options),
            (b"kill", options) if !options.is_empty() => self.client_kill(connection, options),
            (b"reply", [mode]) => self.client_reply(connection, mode),
            (b"no-evict" | b"no-touch", [mode]) => {
                let known = mode.eq_ignore_ascii_case(b"on") || mode.eq_ignore_ascii_case(b"off");
                if known {
                    self.reply(connection, |w| w.ok())
                } else {
                    self.reply_error(connection, "ERR syntax error")
                }
            }
            (b"getredir", []) => self.reply(connection, |w| w.integer(-1)),
            (b"unblock", [_] | [_, _]) => self.reply(connection, |w| w.integer(0)),
            (b"help", []) => self.reply(connection, |w| {
                w.array(HELP.len());
                HELP.iter().for_each(|line| w.simple(line));
            }),
            (
                b"id" | b"getname" | b"setname" | b"setinfo" | b"info" | b"kill" | b"reply" | b"no-evict"
                | b"no-touch",
                _,
            ) => {
                let shown = format!("client|{}", String::from_utf8_lossy(&name));
                self.reply_error(connection, &commands::spec::wrong_arity(&shown))
            }
            _ => self.reply_error(connection, &unknown_subcommand("client", args[1])),
        }
    }

    fn with_session(&mut self, connection: ConnectionId, change: impl FnOnce(&mut Session)) -> Flow {
        if let Some(session) = self.sessions.get_mut(connection) {
            change(session);
        }
        self.reply(connection, |w| w.ok())
    }

    fn client_setinfo(&mut self, connection: ConnectionId, what: &[u8], value: &[u8]) -> Flow {
        let Some(value) = valid_name(value) else {
            let shown = String::from_utf8_lossy(what).to_ascii_lowercase();
            let text = format!("ERR {shown} cannot contain spaces, newlines or special characters.");
            return self.reply_error(connection, &text);
        };
        if what.eq_ignore_ascii_case(b"lib-name") {
            self.with_session(connection, |session| session.library.0 = value)
        } else if what.eq_ignore_ascii_case(b"lib-ver") {
            self.with_session(connection, |session| session.library.1 = value)
        } else {
            let shown = String::from_utf8_lossy(what).into_owned();
            self.reply_error(connection, &format!("ERR Unrecognized option '{shown}'"))
        }
    }

    fn client_reply(&mut self, connection: ConnectionId, mode: &[u8]) -> Flow {
        let mode = if mode.eq_ignore_ascii_case(b"on") {
            ReplyMode::On
        } else if mode.eq_ignore_ascii_case(b"off") {
            ReplyMode::Off
        } else if mode.eq_ignore_ascii_case(b"skip") {
            ReplyMode::SkipNext
        } else {
            return self.reply_error(connection, "ERR syntax error");
        };
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        session.reply_mode = mode;
        // OFF and SKIP themselves answer nothing.
        if mode == ReplyMode::On { self.reply(connection, |w| w.ok()) } else { Flow::Continue }
    }

    fn client_list(&mut self, connection: ConnectionId, options: &[&[u8]]) -> Flow {
        let mut ids: Option<Vec<u64>> = None;
        let mut only_pubsub: Option<bool> = None;
        match options {
            [] => {}
            [word, kind] if word.eq_ignore_ascii_case(b"TYPE") => {
                only_pubsub = match &kind.to_ascii_lowercase()[..] {
                    b"normal" => Some(false),
                    b"pubsub" => Some(true),
                    b"master" | b"replica" | b"slave" => return self.reply(connection, |w| w.verbatim("")),
                    _ => {
                        let shown = String::from_utf8_lossy(kind).into_owned();
                        return self.reply_error(connection, &format!("ERR Unknown client type '{shown}'"));
                    }
                };
            }
            [word, numbers @ ..] if word.eq_ignore_ascii_case(b"ID") && !numbers.is_empty() => {
                let parsed =
                    numbers.iter().map(|text| parse_integer(text).and_then(|n| u64::try_from(n).ok()));
                match parsed.collect::<Option<Vec<u64>>>() {
                    Some(parsed) => ids = Some(parsed),
                    None => return self.reply_error(connection, "ERR Invalid client ID"),
                }
            }
            _ => return self.reply_error(connection, "ERR syntax error"),
        }
        let now = self.now.instant;
        let shown = |s: &&Session| {
            ids.as_ref().is_none_or(|ids| ids.contains(&s.id.0))
                && only_pubsub.is_none_or(|pubsub| (s.subscriptions() > 0) == pubsub)
        };
        let text: String = self.sessions.iter().filter(shown).map(|s| describe(s, now)).collect();
        self.reply(connection, |w| w.verbatim(&text))
    }

    fn client_kill(&mut self, connection: ConnectionId, options: &[&[u8]]) -> Flow {
        let old_form = options.len() == 1;
        let (mut id, mut address, mut local, mut skip_me) = (None, None, None, !old_form);
        if old_form {
            address = Some(options[0]);
        } else if options.len() % 2 == 1 {
            return self.reply_error(connection, "ERR syntax error");
        }
        for pair in options.chunks_exact(2).filter(|_| !old_form) {
            match (&pair[0].to_ascii_lowercase()[..], pair[1]) {
                (b"id", text) => match parse_integer(text).filter(|number| *number > 0) {
                    Some(number) => id = Some(number as u64),
                    None => return self.reply_error(connection, "ERR client-id should be greater than 0"),
                },
                (b"addr", text) => address = Some(text),
                (b"laddr", text) => local = Some(text),
                (b"skipme", text) if text.eq_ignore_ascii_case(b"yes") => skip_me = true,
                (b"skipme", text) if text.eq_ignore_ascii_case(b"no") => skip_me = false,
                (b"type" | b"user", _) => {}
                _ => return self.reply_error(connection, "ERR syntax error"),
            }
        }
        let hit = |s: &&Session| {
            id.is_none_or(|id| s.id.0 == id)
                && address.is_none_or(|address| s.address.as_bytes() == address)
                && local.is_none_or(|local| s.local.as_bytes() == local)
                && !(skip_me && s.id == connection)
        };
        let hits: Vec<ConnectionId> = self.sessions.iter().filter(hit).map(|s| s.id).collect();
        if old_form && hits.is_empty() {
            return self.reply_error(connection, "ERR No such client");
        }
        for hit in &hits {
            if let Some(session) = self.sessions.get_mut(*hit) {
                session.closing = true;
            }
            self.outputs.push(Output::Close { connection: *hit });
        }
        let count = hits.len() as i64;
        self.reply(connection, |w| if old_form { w.ok() } else { w.integer(count) })
    }
}

/// One line of CLIENT LIST.
fn describe(session: &Session, now: Instant) -> String {
    let flags = if session.subscriptions() > 0 {
        "P"
    } else if session.paused {
        "b"
    } else if session.queue.is_some() {
        "x"
    } else {
        "N"
    };
    format!(
        "id={} addr={} laddr={} fd=0 name={} age={} idle={} flags={flags} db={} sub={} psub={} ssub=0 multi={} watch={} qbuf=0 qbuf-free=0 argv-mem=0 multi-mem={} rbs=0 rbp=0 obl=0 oll={} omem=0 tot-mem=0 events=r cmd={} user=default redir=-1 resp={} lib-name={} lib-ver={}\n",
        session.id.0,
        session.address,
        session.local,
        session.name,
        now.since(session.created).as_secs(),
        now.since(session.active).as_secs(),
        session.keyspace.0,
        session.channels.len(),
        session.patterns.len(),
        session.queue.as_ref().map_or(-1, |queue| queue.commands.len() as i64),
        i64::from(session.watch.is_some()),
        session.queue.as_ref().map_or(0, |queue| queue.bytes),
        session.replies.held(),
        session.last_command,
        if session.protocol == Protocol::Resp3 { 3 } else { 2 },
        session.library.0,
        session.library.1,
    )
}
