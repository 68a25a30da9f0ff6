//! COMMAND, FLUSHALL, TIME, ROLE, WAIT, SHUTDOWN, LOLWUT.

use crate::forward::Purpose;
use crate::io::{ConnectionId, Output};
use crate::message::Work;
use crate::node::{Flow, Node};
use crate::serve::Batch;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use commands::docs;
use commands::spec::unknown_subcommand;
use core::time::Duration;
use data::{GroupId, KeyspaceId, Position};
use protocol::single_leader::RoleName;
use wire::number::parse_integer;

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
        let used: Vec<KeyspaceId> = self.routes.keys().copied().filter(|keyspace| keyspace.0 < 16).collect();
        if used.is_empty() {
            return self.reply(connection, |w| w.ok());
        }
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        let (keyspace, protocol) = (session.keyspace, session.protocol);
        session.replies.begin();
        session.replies.rollback();
        let slot = session.replies.hold();
        self.next_ticket += 1;
        let batch = self.next_ticket;
        self.batches.insert(batch, Batch { connection, slot, left: used.len(), error: None });
        let deadline = Some(self.now.instant + Duration::from_secs(4));
        for keyspace in &used {
            let work = Work::Command(vec![Bytes::from_static(b"FLUSHDB")]);
            self.forward_part(connection, *keyspace, protocol, work, Purpose::Part { batch }, deadline);
        }
        let _ = keyspace;
        Flow::Continue
    }

    /// ROLE: the words of Redis for this node's part in the connection's keyspace.
    pub(super) fn role(&mut self, connection: ConnectionId) -> Flow {
        let keyspace = self.sessions.get(connection).map_or(KeyspaceId(0), |session| session.keyspace);
        let route = self.routes.get(&keyspace).copied();
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

    /// How many followers hold the log of a group led here through a position.
    pub(crate) fn holders(&self, group: GroupId, position: Position) -> usize {
        let Some(it) = self.groups.get(&group) else { return 0 };
        let electable =
            |node| it.replica.view().is_some_and(|view| view.electable.iter().any(|r| r.node == node));
        it.replica.followers().filter(|(node, p)| electable(*node) && p.matched >= position.index).count()
    }

    /// WAIT and WAITAOF: followers that hold the connection's last write, as far as the leader knows now. Waits for the rest
    /// of them until the time-out. Followers acknowledge what they have made durable as the keyspace asks, so both count the
    /// same followers.
    pub(super) fn wait(&mut self, connection: ConnectionId, args: &[&[u8]], flushed: bool) -> Flow {
        let numbers: Option<Vec<i64>> = args[1..].iter().map(|text| parse_integer(text)).collect();
        let Some(numbers) = numbers else {
            return self.reply_error(connection, "ERR value is not an integer or out of range");
        };
        let (local, wanted, timeout) = match numbers[..] {
            [wanted, timeout] => (0, wanted, timeout),
            [local, wanted, timeout] => (local, wanted, timeout),
            _ => return self.reply_error(connection, "ERR syntax error"),
        };
        if timeout < 0 {
            return self.reply_error(connection, "ERR timeout is negative");
        }
        if !(0..=1).contains(&local) || wanted < 0 {
            return self.reply_error(connection, "ERR value is out of range, must be positive");
        }
        let deadline = (timeout > 0).then(|| self.now.instant + Duration::from_millis(timeout as u64));
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        let write = session.receipt.clone().filter(|receipt| receipt.write);
        session.replies.begin();
        session.replies.rollback();
        let slot = session.replies.hold();
        session.paused = true;
        let (keyspace, group, position) = write
            .map_or((session.keyspace, GroupId(0), Position::default()), |w| {
                (w.keyspace, w.group, w.position)
            });
        let waiting = Waiting {
            connection,
            slot,
            keyspace,
            group,
            position,
            wanted: wanted as usize,
            flushed,
            deadline,
            known: 0,
        };
        self.waits.push(waiting);
        self.tend_waits();
        if self.is_paused(connection) { Flow::Pause } else { Flow::Continue }
    }

    /// Looks again how many followers hold what clients wait for.
    pub(crate) fn tend_waits(&mut self) {
        let now = self.now.instant;
        let mut kept = Vec::new();
        for mut wait in core::mem::take(&mut self.waits) {
            let everyone = self.map.view(wait.group).map_or(0, |view| view.electable.len().saturating_sub(1));
            wait.known = if wait.position == Position::default() {
                // Nothing was written: every follower holds that.
                self.routes
                    .get(&wait.keyspace)
                    .and_then(|route| self.map.view(route.group))
                    .map_or(0, |view| view.electable.len().saturating_sub(1))
            } else if self.groups.get(&wait.group).is_some_and(|it| it.is_serving()) {
                self.holders(wait.group, wait.position)
            } else {
                // Led elsewhere: the write was answered, so its commit rule's followers hold it.
                let rule = self.map.view(wait.group).map(|view| view.settings.commit);
                rule.map_or(0, |rule| rule.followers_needed(everyone + 1)).max(wait.known)
            };
            let over = wait.deadline.is_some_and(|deadline| now >= deadline);
            if wait.known < wait.wanted && !over && self.sessions.get(wait.connection).is_some() {
                kept.push(wait);
                continue;
            }
            let bytes = if wait.flushed {
                format!("*2\r\n:1\r\n:{}\r\n", wait.known)
            } else {
                format!(":{}\r\n", wait.known)
            };
            self.fill(wait.connection, wait.slot, bytes.as_bytes());
            self.resume(wait.connection);
        }
        self.waits = kept;
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

/// A client in WAIT.
pub(crate) struct Waiting {
    connection: ConnectionId,
    slot: crate::replies::SlotId,
    keyspace: KeyspaceId,
    group: GroupId,
    position: Position,
    wanted: usize,
    flushed: bool,
    deadline: Option<data::Instant>,
    known: usize,
}
