//! KEYSPACE: makes, changes and shows keyspaces; shows the cluster; moves leadership; removes nodes.

use crate::io::ConnectionId;
use crate::node::{Flow, Node};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use commands::spec::unknown_subcommand;
use control::Command;
use data::keyspace::{CommitRule, Election, Flush, Keyspace, Level, OnTimeout, Settings};
use data::table::Seed;
use data::{GroupId, NodeId};
use wire::number::parse_integer;

const HELP: &[&str] = &[
    "KEYSPACE <subcommand> [<arg> ...]. Subcommands are:",
    "CREATE <name> SINGLE-LEADER [REPLICAS n] [COMMIT async|semi-sync|majority|in-sync-set|synchronous] [ACKS k] [LEVEL received|flushed] [FLUSH always|<ms>|os] [TIMEOUT ms] [ON-TIMEOUT block|fail|degrade] [ELECTION best|wait] [MIN-REPLICAS-TO-WRITE n] [MIN-REPLICAS-MAX-LAG s]",
    "ALTER <name> [options of CREATE]",
    "DROP <name>",
    "LIST",
    "INFO <name>",
    "STATUS",
    "    Nodes, groups and replicas as JSON.",
    "SWITCHOVER <group> <node>",
    "REMOVE-NODE <node>",
    "HELP",
];

impl Node {
    pub(super) fn keyspace(&mut self, connection: ConnectionId, args: &[&[u8]]) -> Flow {
        let subcommand = args[1].to_ascii_lowercase();
        match (&subcommand[..], &args[2..]) {
            (b"create", [name, kind, options @ ..]) => self.create_keyspace(connection, name, kind, options),
            (b"alter", [name, options @ ..]) if !options.is_empty() => {
                self.alter_keyspace(connection, name, options)
            }
            (b"drop", [name]) => match self.keyspace_of(name).map(|it| it.id) {
                Some(keyspace) => self.administrate(connection, Command::DropKeyspace { keyspace }),
                None => self.reply_error(connection, "ERR no such keyspace"),
            },
            (b"list", []) => {
                let names: Vec<String> = self.map.keyspaces.values().map(|it| it.name.clone()).collect();
                self.reply(connection, |w| {
                    w.array(names.len());
                    names.iter().for_each(|name| w.bulk(name.as_bytes()));
                })
            }
            (b"info", [name]) => self.keyspace_info(connection, name),
            (b"status", []) => {
                let text = self.status_json();
                self.reply(connection, |w| w.bulk(text.as_bytes()))
            }
            (b"switchover", [group, node]) => self.switchover(connection, group, node),
            (b"remove-node", [node]) => match self.node_named(node) {
                Some(node) => self.administrate(connection, Command::RemoveNode { node }),
                None => self.reply_error(connection, "ERR no such node"),
            },
            (b"help", []) => self.reply(connection, |w| {
                w.array(HELP.len());
                HELP.iter().for_each(|line| w.simple(line));
            }),
            (b"create" | b"alter" | b"drop" | b"list" | b"info" | b"switchover" | b"remove-node", _) => {
                let shown = format!("keyspace|{}", String::from_utf8_lossy(&subcommand));
                self.reply_error(connection, &commands::spec::wrong_arity(&shown))
            }
            _ => self.reply_error(connection, &unknown_subcommand("keyspace", args[1])),
        }
    }

    pub(super) fn keyspace_of(&self, name: &[u8]) -> Option<&Keyspace> {
        core::str::from_utf8(name).ok().and_then(|name| self.map.keyspace_named(name))
    }

    fn node_named(&self, text: &[u8]) -> Option<NodeId> {
        let by_number = parse_integer(text).and_then(|n| u32::try_from(n).ok()).map(NodeId);
        let by_number = by_number.filter(|node| self.map.nodes.contains_key(node));
        by_number
            .or_else(|| self.map.nodes.values().find(|node| node.name.as_bytes() == text).map(|node| node.id))
    }

    /// Asks the control plane for a change; the reply waits for its answer.
    fn administrate(&mut self, connection: ConnectionId, command: Command) -> Flow {
        if let Some(slot) = self.hold_reply(connection) {
            self.ask_control(Some((connection, slot)), command);
        }
        Flow::Continue
    }

    pub(super) fn hold_reply(&mut self, connection: ConnectionId) -> Option<crate::replies::SlotId> {
        let session = self.sessions.get_mut(connection)?;
        session.replies.begin();
        session.replies.rollback();
        Some(session.replies.hold())
    }

    fn create_keyspace(
        &mut self,
        connection: ConnectionId,
        name: &[u8],
        kind: &[u8],
        options: &[&[u8]],
    ) -> Flow {
        let valid = core::str::from_utf8(name).ok().filter(|name| data::keyspace::is_valid_name(name));
        let Some(name) = valid.map(ToString::to_string) else {
            let text = "ERR a keyspace name is a letter, then at most 63 letters, digits, '-', '_' or '.'";
            return self.reply_error(connection, text);
        };
        if !kind.eq_ignore_ascii_case(b"SINGLE-LEADER") {
            return self.reply_error(
                connection,
                "ERR this version makes SINGLE-LEADER keyspaces only: KEYSPACE CREATE <name> SINGLE-LEADER ...",
            );
        }
        match parse_settings(Settings::default(), options) {
            Ok(settings) => {
                let seed = Seed(self.random.draw(), self.random.draw());
                self.administrate(connection, Command::CreateKeyspace { name, settings, seed })
            }
            Err(error) => self.reply_error(connection, &error),
        }
    }

    fn alter_keyspace(&mut self, connection: ConnectionId, name: &[u8], options: &[&[u8]]) -> Flow {
        let Some(it) = self.keyspace_of(name) else {
            return self.reply_error(connection, "ERR no such keyspace");
        };
        let keyspace = it.id;
        match parse_settings(it.settings, options) {
            Ok(settings) => self.administrate(connection, Command::AlterKeyspace { keyspace, settings }),
            Err(error) => self.reply_error(connection, &error),
        }
    }

    fn switchover(&mut self, connection: ConnectionId, group: &[u8], node: &[u8]) -> Flow {
        let group = parse_integer(group).and_then(|n| u32::try_from(n).ok()).map(GroupId);
        let Some(group) = group.filter(|group| self.map.view(*group).is_some()) else {
            return self.reply_error(connection, "ERR no such group");
        };
        let Some(target) = self.node_named(node) else {
            return self.reply_error(connection, "ERR no such node");
        };
        if let Some(slot) = self.hold_reply(connection) {
            let ticket = self.new_ticket(Some((connection, slot)));
            self.control(control::Input::Switchover { ticket, group, target: Some(target) });
        }
        Flow::Continue
    }

    fn keyspace_info(&mut self, connection: ConnectionId, name: &[u8]) -> Flow {
        let Some(it) = self.keyspace_of(name).cloned() else {
            return self.reply_error(connection, "ERR no such keyspace");
        };
        let view = self.map.group_of(it.id);
        let group = view.map_or(0, |view| view.group.0);
        let epoch = view.map_or(0, |view| view.epoch.0);
        let leader = view.and_then(|view| self.map.leader_of(view.group));
        let name_of = |node: NodeId| self.map.nodes.get(&node).map_or_else(String::new, |it| it.name.clone());
        let leader = leader.map(name_of).unwrap_or_default();
        let members: Vec<String> =
            view.map(|v| v.members.iter().map(|n| name_of(*n)).collect()).unwrap_or_default();
        let electable: Vec<String> =
            view.map(|v| v.electable.iter().map(|r| name_of(r.node)).collect()).unwrap_or_default();
        let settings = it.settings;
        let rule = view.map_or(settings.commit, |view| view.rule);
        let followers_needed = view.map_or(0, data::view::View::followers_needed);
        self.reply(connection, |w| {
            w.map(19);
            let mut text = |name: &str, value: &str| {
                w.bulk(name.as_bytes());
                w.bulk(value.as_bytes());
            };
            text("name", &it.name);
            text("kind", "single-leader");
            text("commit", settings.commit.name());
            text("commit-now", rule.name());
            text("on-timeout", settings.on_timeout.name());
            text("election", settings.election.name());
            text("level", settings.level.name());
            text("flush", &flush_name(settings.flush));
            text("leader", &leader);
            let mut number = |name: &str, value: i64| {
                w.bulk(name.as_bytes());
                w.integer(value);
            };
            number("id", i64::from(it.id.0));
            number("replicas", i64::from(settings.replicas));
            number("acks", followers_needed as i64);
            number("min-replicas-to-write", i64::from(settings.min_replicas_to_write));
            number("min-replicas-max-lag", i64::from(settings.min_replicas_max_lag_s));
            number("timeout-ms", i64::from(settings.timeout_ms));
            number("group", i64::from(group));
            number("epoch", epoch as i64);
            w.bulk(b"members");
            w.array(members.len());
            members.iter().for_each(|name| w.bulk(name.as_bytes()));
            w.bulk(b"electable");
            w.array(electable.len());
            electable.iter().for_each(|name| w.bulk(name.as_bytes()));
        })
    }
}

fn flush_name(flush: Flush) -> String {
    match flush {
        Flush::Always => "always".into(),
        Flush::EveryMs(ms) => format!("{ms}"),
        Flush::Os => "os".into(),
    }
}

/// Options of CREATE and ALTER on top of the settings so far; the first contradiction as an error for the client.
fn parse_settings(base: Settings, options: &[&[u8]]) -> Result<Settings, String> {
    let mut settings = base;
    let mut acks: Option<u32> = None;
    let mut level_given = false;
    if options.len() % 2 == 1 {
        return Err("ERR every option of a keyspace has a value".into());
    }
    let number = |name: &str, text: &[u8]| {
        let number = parse_integer(text).and_then(|number| u32::try_from(number).ok());
        number.ok_or_else(|| format!("ERR {name} takes a number"))
    };
    for pair in options.chunks_exact(2) {
        let name = String::from_utf8_lossy(pair[0]).to_ascii_uppercase();
        let value = String::from_utf8_lossy(pair[1]).to_ascii_lowercase();
        match (&name[..], &value[..]) {
            ("REPLICAS", _) => settings.replicas = number("REPLICAS", pair[1])?,
            ("TIMEOUT", _) => settings.timeout_ms = number("TIMEOUT", pair[1])?,
            ("ACKS", _) => acks = Some(number("ACKS", pair[1])?),
            ("COMMIT", "async") => settings.commit = CommitRule::Async,
            ("COMMIT", "majority") => settings.commit = CommitRule::Majority,
            ("COMMIT", "semi-sync") => settings.commit = CommitRule::SemiSync { acks: 0 },
            ("COMMIT", "synchronous") => settings.commit = CommitRule::Synchronous,
            ("ELECTION", "best") => settings.election = Election::Best,
            ("ELECTION", "wait") => settings.election = Election::Wait,
            ("MIN-REPLICAS-TO-WRITE" | "MIN-SLAVES-TO-WRITE", _) => {
                settings.min_replicas_to_write = number(&name, pair[1])?;
            }
            ("MIN-REPLICAS-MAX-LAG" | "MIN-SLAVES-MAX-LAG", _) => {
                settings.min_replicas_max_lag_s = number(&name, pair[1])?;
            }
            ("ON-TIMEOUT", "fail") => settings.on_timeout = OnTimeout::Fail,
            ("ON-TIMEOUT", "block") => settings.on_timeout = OnTimeout::Block,
            ("ON-TIMEOUT", "degrade") => settings.on_timeout = OnTimeout::Degrade,
            ("COMMIT", "in-sync-set") => settings.commit = CommitRule::InSyncSet { minimum: 0 },
            ("LEVEL", "received" | "flushed") => {
                level_given = true;
                settings.level = if value == "flushed" { Level::Flushed } else { Level::Received };
            }
            ("FLUSH", "always") => settings.flush = Flush::Always,
            ("FLUSH", "os") => settings.flush = Flush::Os,
            ("FLUSH", _) => settings.flush = Flush::EveryMs(number("FLUSH", pair[1])?),
            ("COMMIT" | "LEVEL" | "ON-TIMEOUT" | "ELECTION", _) => {
                return Err(format!("ERR {name} does not take '{value}' in this version"));
            }
            _ => return Err(format!("ERR unknown keyspace option '{name}'")),
        }
    }
    match &mut settings.commit {
        // A majority of the copies unless the user says how many followers.
        CommitRule::InSyncSet { minimum } if *minimum == 0 || acks.is_some() => {
            *minimum = acks.map_or(settings.replicas / 2 + 1, |acks| acks.saturating_add(1));
        }
        CommitRule::SemiSync { acks: known } if *known == 0 || acks.is_some() => *known = acks.unwrap_or(1),
        CommitRule::Async | CommitRule::Majority | CommitRule::Synchronous if acks.is_some() => {
            return Err("ERR ACKS goes with COMMIT semi-sync or in-sync-set".into());
        }
        _ => {}
    }
    if settings.flush != Flush::Always && !level_given {
        settings.level = Level::Received;
    }
    settings.check().map_err(|what| format!("ERR {what}"))?;
    Ok(settings)
}
