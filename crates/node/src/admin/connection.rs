//! PING, HELLO, AUTH, SELECT, QUIT, RESET, PUBSUB.

use crate::io::{ConnectionId, Output};
use crate::node::{Flow, Node};
use crate::reads::ReadOptions;
use crate::session::ReplyMode;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use commands::spec::unknown_subcommand;
use data::KeyspaceId;
use wire::Protocol;
use wire::number::parse_integer;

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";

impl Node {
    pub(super) fn ping(&mut self, connection: ConnectionId, args: &[&[u8]]) -> Flow {
        if args.len() > 2 {
            return self.reply_error(connection, &commands::spec::wrong_arity("ping"));
        }
        let subscribed = self
            .sessions
            .get(connection)
            .is_some_and(|s| s.protocol == Protocol::Resp2 && s.subscriptions() > 0);
        let text = args.get(1).copied();
        self.reply(connection, |w| match (subscribed, text) {
            (true, text) => {
                w.array(2);
                w.bulk(b"pong");
                w.bulk(text.unwrap_or_default());
            }
            (false, Some(text)) => w.bulk(text),
            (false, None) => w.simple("PONG"),
        })
    }

    /// Whether a user and password are right. There is one user, `default`.
    fn proves(&self, user: &[u8], password: &[u8]) -> bool {
        let Some(expected) = &self.config.password else { return user == b"default" };
        // Every byte is compared, whatever the first difference: the time tells nothing of the password.
        let expected = expected.as_bytes();
        let mut difference = expected.len() ^ password.len();
        for (at, byte) in password.iter().enumerate() {
            difference |= usize::from(byte ^ expected.get(at % expected.len().max(1)).unwrap_or(&0));
        }
        difference == 0 && user == b"default"
    }

    pub(super) fn auth(&mut self, connection: ConnectionId, args: &[&[u8]]) -> Flow {
        let (user, password): (&[u8], &[u8]) = match args {
            [_, password] => (b"default", password),
            [_, user, password] => (user, password),
            _ => return self.reply_error(connection, "ERR syntax error"),
        };
        if self.config.password.is_none() && args.len() == 2 {
            return self.reply_error(
                connection,
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
            );
        }
        if !self.proves(user, password) {
            return self.reply_error(connection, WRONG_PASSWORD);
        }
        if let Some(session) = self.sessions.get_mut(connection) {
            session.authenticated = true;
        }
        self.reply(connection, |w| w.ok())
    }

    /// HELLO [version [AUTH user password] [SETNAME name]].
    pub(super) fn hello(&mut self, connection: ConnectionId, args: &[&[u8]]) -> Flow {
        let Some(session) = self.sessions.get(connection) else { return Flow::Continue };
        let mut protocol = session.protocol;
        if let Some(version) = args.get(1) {
            protocol = match parse_integer(version) {
                Some(2) => Protocol::Resp2,
                Some(3) => Protocol::Resp3,
                Some(_) => return self.reply_error(connection, "NOPROTO unsupported protocol version"),
                None => {
                    let text = "ERR Protocol version is not an integer or out of range";
                    return self.reply_error(connection, text);
                }
            };
        }
        let mut authenticated = session.authenticated;
        let mut name: Option<String> = None;
        let mut rest = args.get(2..).unwrap_or_default();
        while let Some((option, more)) = rest.split_first() {
            if option.eq_ignore_ascii_case(b"AUTH") && more.len() >= 2 {
                if !self.proves(more[0], more[1]) {
                    return self.reply_error(connection, WRONG_PASSWORD);
                }
                authenticated = true;
                rest = &more[2..];
            } else if option.eq_ignore_ascii_case(b"SETNAME") && !more.is_empty() {
                match valid_name(more[0]) {
                    Some(valid) => name = Some(valid),
                    None => return self.reply_error(connection, BAD_NAME),
                }
                rest = &more[1..];
            } else {
                let shown = String::from_utf8_lossy(option).into_owned();
                return self.reply_error(connection, &format!("ERR Syntax error in HELLO option '{shown}'"));
            }
        }
        if !authenticated {
            return self.reply_error(
                connection,
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
            );
        }
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        session.protocol = protocol;
        session.authenticated = true;
        if let Some(name) = name {
            session.name = name;
        }
        self.introduce(connection)
    }

    fn introduce(&mut self, connection: ConnectionId) -> Flow {
        let role = if self.leads_keyspace(connection) { "master" } else { "replica" };
        self.reply(connection, |w| {
            let version = if w.protocol == Protocol::Resp3 { 3 } else { 2 };
            w.map(7);
            w.bulk(b"server");
            w.bulk(b"redis");
            w.bulk(b"version");
            w.bulk(super::info::REDIS_VERSION.as_bytes());
            w.bulk(b"proto");
            w.integer(version);
            w.bulk(b"id");
            w.integer(connection.0 as i64);
            w.bulk(b"mode");
            // "standalone": any node takes any command, so a client needs no map of the cluster.
            w.bulk(b"standalone");
            w.bulk(b"role");
            w.bulk(role.as_bytes());
            w.bulk(b"modules");
            w.array(0);
        })
    }

    /// SELECT with a number or a name.
    pub(super) fn select(&mut self, connection: ConnectionId, which: &[u8]) -> Flow {
        let found = match parse_integer(which) {
            Some(number) if !(0..16).contains(&number) => {
                return self.reply_error(connection, "ERR DB index is out of range");
            }
            Some(number) => Some(KeyspaceId(number as u32)),
            None => core::str::from_utf8(which)
                .ok()
                .and_then(|name| self.map.keyspace_named(name))
                .map(|keyspace| keyspace.id),
        };
        let Some(keyspace) = found else {
            return self.reply_error(
                connection,
                "ERR no such keyspace: SELECT takes a number from 0 to 15 or a name",
            );
        };
        // A watch belongs to the keyspace it was made in.
        if self.sessions.get(connection).is_some_and(|session| session.keyspace != keyspace) {
            self.drop_watch(connection);
        }
        if let Some(session) = self.sessions.get_mut(connection) {
            session.keyspace = keyspace;
        }
        self.reply(connection, |w| w.ok())
    }

    pub(super) fn quit(&mut self, connection: ConnectionId) -> Flow {
        self.reply(connection, |w| w.ok());
        if let Some(session) = self.sessions.get_mut(connection) {
            session.closing = true;
        }
        self.outputs.push(Output::Close { connection });
        Flow::Continue
    }

    pub(super) fn reset(&mut self, connection: ConnectionId) -> Flow {
        self.drop_watch(connection);
        self.close_snapshot(connection);
        let authenticated = self.config.password.is_none();
        if let Some(session) = self.sessions.get_mut(connection) {
            self.pubsub.forget(connection, session);
            session.channels.clear();
            session.patterns.clear();
            session.queue = None;
            session.protocol = Protocol::Resp2;
            session.keyspace = KeyspaceId(0);
            session.name = String::new();
            session.reply_mode = ReplyMode::On;
            session.defaults = None;
            session.read_as(ReadOptions::default());
            session.restart();
            session.authenticated = authenticated;
        }
        self.reply(connection, |w| w.simple("RESET"))
    }

    pub(super) fn pubsub_command(&mut self, connection: ConnectionId, args: &[&[u8]]) -> Flow {
        let name = args[1].to_ascii_lowercase();
        match (&name[..], &args[2..]) {
            (b"channels", pattern @ ([] | [_])) => {
                let fits =
                    |channel: &[u8]| pattern.first().is_none_or(|p| commands::glob::matches(p, channel));
                let channels: Vec<Vec<u8>> =
                    self.pubsub.channels.keys().filter(|c| fits(c)).map(|c| c.to_vec()).collect();
                self.reply(connection, |w| {
                    w.array(channels.len());
                    channels.iter().for_each(|channel| w.bulk(channel));
                })
            }
            (b"numsub", channels) => {
                let counts: Vec<(&[u8], usize)> = channels
                    .iter()
                    .map(|channel| (*channel, self.pubsub.channels.get(*channel).map_or(0, |l| l.len())))
                    .collect();
                self.reply(connection, |w| {
                    w.array(counts.len() * 2);
                    for (channel, count) in counts {
                        w.bulk(channel);
                        w.integer(count as i64);
                    }
                })
            }
            (b"numpat", []) => {
                let count = self.pubsub.patterns.len();
                self.reply(connection, |w| w.integer(count as i64))
            }
            _ => self.reply_error(connection, &unknown_subcommand("pubsub", args[1])),
        }
    }

    /// Whether this node leads the group of the connection's keyspace.
    pub(super) fn leads_keyspace(&self, connection: ConnectionId) -> bool {
        let keyspace = self.sessions.get(connection).map(|session| session.keyspace);
        let route = keyspace.and_then(|keyspace| self.route_shown(keyspace));
        route.is_some_and(|route| route.leader == Some(self.config.node))
    }
}

pub(super) const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

/// A connection name: printable, without spaces.
pub(super) fn valid_name(bytes: &[u8]) -> Option<String> {
    let printable = bytes.iter().all(|byte| (b'!'..=b'~').contains(byte));
    printable.then(|| core::str::from_utf8(bytes).ok().map(ToString::to_string)).flatten()
}
