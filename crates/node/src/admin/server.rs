//! COMMAND, FLUSHALL, TIME, ROLE, SHUTDOWN, LOLWUT.

use crate::io::{ConnectionId, Output};
use crate::node::{Flow, Node};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use commands::docs;
use commands::spec::unknown_subcommand;
use data::KeyspaceId;
use protocol::single_leader::RoleName;

impl Node {
    pub(super) fn command(&mut self, connection: ConnectionId, args: &[&[u8]]) -> Flow {
        let Some(subcommand) = args.get(1) else { return self.reply(connection, docs::write_all) };
        let rest = &args[2..];
        let name = subcommand.to_ascii_lowercase();
        match &name[..] {
            b"count" if rest.is_empty() => self.reply(connection, docs::write_count),
            b"info" => self.reply(connection, |w| docs::write_infos(rest, w)),
            b"docs" => self.reply(connection, |w| docs::write_docs(rest, w)),
            b"list" => self.try_reply(connection, |w| docs::write_list(rest, w)),
            b"getkeys" if !rest.is_empty() => self.try_reply(connection, |w| docs::write_getkeys(rest, w)),
            b"help" if rest.is_empty() => self.reply(connection, docs::write_help),
            _ => self.reply_error(connection, &unknown_subcommand("command", subcommand)),
        }
    }

    /// A reply, or the error in its place.
    pub(super) fn try_reply(
        &mut self,
        connection: ConnectionId,
        write: impl FnOnce(&mut wire::ReplyWriter<'_>) -> Result<(), commands::CommandError>,
    ) -> Flow {
        let mut outcome = Ok(());
        self.reply(connection, |w| {
            let start = w.buffer.len();
            outcome = write(w);
            if let Err(error) = &outcome {
                w.buffer.truncate(start);
                w.error(error.text());
            }
        })
    }

    pub(super) fn time(&mut self, connection: ConnectionId) -> Flow {
        let ms = self.now.wall.middle_ms();
        self.reply(connection, |w| {
            w.array(2);
            w.bulk((ms / 1000).to_string().as_bytes());
            w.bulk((ms % 1000 * 1000).to_string().as_bytes());
        })
    }

    /// FLUSHALL: every numbered keyspace that is in use becomes empty. Named keyspaces stay.
    pub(super) fn flushall(&mut self, connection: ConnectionId, options: &[&[u8]]) -> Flow {
        let known =
            |option: &&[u8]| option.eq_ignore_ascii_case(b"SYNC") || option.eq_ignore_ascii_case(b"ASYNC");
        if options.len() > 1 || !options.iter().all(known) {
            return self.reply_error(connection, "ERR syntax error");
        }
        self.flush_numbered(connection)
    }

    /// ROLE: the words of Redis for this node's part in the connection's keyspace.
    pub(super) fn role(&mut self, connection: ConnectionId) -> Flow {
        let keyspace = self.sessions.get(connection).map_or(KeyspaceId(0), |session| session.keyspace);
        let route = self.route_shown(keyspace);
        let group = route.and_then(|route| self.groups.get(&route.group));
        if let Some(it) = group.filter(|it| it.is_serving()) {
            let offset = it.replica.commit().0 as i64;
            let followers: Vec<(String, String, u64)> = it
                .replica
                .followers()
                .map(|(node, progress)| {
                    let (host, port) = self.address_of(node);
                    (host, port, progress.matched.0)
                })
                .collect();
            return self.reply(connection, |w| {
                w.array(3);
                w.bulk(b"master");
                w.integer(offset);
                w.array(followers.len());
                for (host, port, matched) in followers {
                    w.array(3);
                    w.bulk(host.as_bytes());
                    w.bulk(port.as_bytes());
                    w.bulk(matched.to_string().as_bytes());
                }
            });
        }
        let offset = group.map_or(-1, |it| it.replica.commit().0 as i64);
        let leader = route.and_then(|route| route.leader);
        let (host, port) = leader.map(|node| self.address_of(node)).unwrap_or_default();
        let state = match group.map(|it| it.replica.role()) {
            Some(RoleName::Follower) if leader.is_some() => "connected",
            _ => "connecting",
        };
        let port = port.parse::<i64>().unwrap_or(0);
        self.reply(connection, |w| {
            w.array(5);
            w.bulk(b"slave");
            w.bulk(host.as_bytes());
            w.integer(port);
            w.bulk(state.as_bytes());
            w.integer(offset);
        })
    }

    /// Host and port of a node's RESP address.
    pub(super) fn address_of(&self, node: data::NodeId) -> (String, String) {
        let address = self.map.nodes.get(&node).map(|it| it.addresses.resp.as_str()).unwrap_or_default();
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
        (host.to_string(), port.to_string())
    }

    pub(super) fn shutdown(&mut self, connection: ConnectionId) -> Flow {
        self.outputs.push(Output::Close { connection });
        self.outputs.push(Output::Shutdown);
        Flow::Continue
    }

    pub(super) fn lolwut(&mut self, connection: ConnectionId) -> Flow {
        let text = format!("Tercet ver. {}\n", self.config.version);
        self.reply(connection, |w| w.verbatim(&text))
    }
}
