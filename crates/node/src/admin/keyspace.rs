//! KEYSPACE: makes, changes and shows keyspaces; shows the cluster; moves leadership; removes nodes.

use super::latency_parts;
use super::log_bytes::write_logged;
use super::presets;
use super::request_options::synchronous_commit;
use crate::io::ConnectionId;
use crate::node::{Flow, Node};
use crate::sheet::{self, Facts};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use commands::Spec;
use commands::spec::unknown_subcommand;
use control::Command;
use data::keyspace::{CommitRule, Election, Flush, Keyspace, Level, OnTimeout, Settings};
use data::table::Seed;
use data::view::View;
use data::{Epoch, GroupId, LogFormat, NodeId, Site, SlotSet, ViewNumber};
use protocol::single_leader::{Links, Who};
use wire::ReplyWriter;
use wire::number::parse_integer;

const HELP: &[&str] = &[
    "KEYSPACE <subcommand> [<arg> ...]. Subcommands are:",
    "CREATE <name> SINGLE-LEADER [REPLICAS n] [READ-REPLICAS n] [FAN-OUT n] [SITE name] [RECOVERY-SITE name] [SHARDS n] [FORWARD on|off] [COMMIT best-effort|async|semi-sync|majority|in-sync-set|synchronous|chain] [BACKLOG n] [ACKS k] [LEVEL received|flushed|applied] [FLUSH always|<ms>|os] [TIMEOUT ms] [ON-TIMEOUT block|fail|degrade] [ELECTION best|wait] [MIN-REPLICAS-TO-WRITE n] [MIN-REPLICAS-MAX-LAG s] [LOG row|statement|physical]",
    "CREATE <name> MULTI-LEADER [SITES eu,us,ap] [TOPOLOGY all-to-all|circular|star:<hub>|tree:<child>-><parent>,...] [CONFLICT crdt|siblings|last-write-wins|home] [options of SINGLE-LEADER, of each site's group]",
    "CREATE <name> LEADERLESS [N n] [W w] [R r] [SLOPPY on|off] [READ-REPAIR blocking|background|off] [CONFLICT crdt|siblings|last-write-wins] [ON-SIBLINGS show|error] [SHARDS n]",
    presets::HELP,
    "ALTER <name> [options of CREATE]",
    "DROP <name>",
    "LIST",
    "INFO <name>",
    "SHEET <name>",
    "    What it promises under which faults and what not, each with what checks it.",
    "STATUS",
    "    Nodes, groups and replicas as JSON.",
    "SWITCHOVER <group> <node>",
    "PROMOTE <group> <node> ACCEPT-LOSS",
    "    The other copies are gone for good: this one leads, whatever it lacks. What comes back after all goes to the ledger.",
    "MOVE-SLOTS <name> <first>-<last> TO <group>",
    "    Gives slots to another group of the keyspace, while both serve.",
    "CANCEL-MOVE <move>",
    "HOME <name> <key>",
    "    Under CONFLICT home: the site where this key's slot is at home, as this node knows it, and who leads there.",
    "MOVE-HOME <name> <key> TO <site>",
    "    Under CONFLICT home: the keys of this one's slot are at home there from now on, while both sites serve.",
    "RULE LIST <name> | SET <name> <pattern> crdt|siblings|merge <lua> [BEFORE <pattern>] | DROP <name> <pattern>",
    "    What becomes of conflicts on keys of a pattern; the first rule that fits holds.",
    "RULE TRY <name> <pattern> crdt|siblings|merge <lua> [BEFORE <pattern>]",
    "    What that rule would make of the conflicts that the inbox knows. Changes nothing.",
    "REMOVE-NODE <node>",
    "HELP",
];

impl Node {
    pub(super) fn keyspace(&mut self, connection: ConnectionId, spec: &'static Spec, args: &[&[u8]]) -> Flow {
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
            (b"sheet", [name]) => self.keyspace_sheet(connection, name),
            (b"status", []) => {
                let text = self.status_json();
                self.reply(connection, |w| w.bulk(text.as_bytes()))
            }
            (b"rule", args) => self.keyspace_rule(connection, spec, args),
            (b"move-slots", args) => self.move_slots(connection, args),
            (b"home", [name, key]) => self.show_home(connection, name, key),
            (b"move-home", args) => self.move_home(connection, args),
            (b"cancel-move", [id]) => self.cancel_move(connection, id),
            (b"switchover", [group, node]) => self.switchover(connection, group, node),
            (b"promote", [group, node, accepted]) if accepted.eq_ignore_ascii_case(b"ACCEPT-LOSS") => {
                self.promote(connection, group, node)
            }
            (b"promote", [_, _]) => self.reply_error(
                connection,
                "ERR what only the other copies hold is lost by this: say ACCEPT-LOSS behind the node, or use SWITCHOVER",
            ),
            (b"remove-node", [node]) => match self.node_named(node) {
                Some(node) => self.administrate(connection, Command::RemoveNode { node }),
                None => self.reply_error(connection, "ERR no such node"),
            },
            (b"help", []) => self.reply(connection, |w| {
                w.array(HELP.len());
                HELP.iter().for_each(|line| w.simple(line));
            }),
            (
                b"create" | b"alter" | b"drop" | b"list" | b"info" | b"sheet" | b"switchover" | b"promote"
                | b"remove-node" | b"cancel-move",
                _,
            ) => {
                let shown = format!("keyspace|{}", String::from_utf8_lossy(&subcommand));
                self.reply_error(connection, &commands::spec::wrong_arity(&shown))
            }
            _ => self.reply_error(connection, &unknown_subcommand("keyspace", args[1])),
        }
    }

    pub(super) fn keyspace_of(&self, name: &[u8]) -> Option<&Keyspace> {
        core::str::from_utf8(name).ok().and_then(|name| self.map.keyspace_named(name))
    }

    pub(super) fn node_named(&self, text: &[u8]) -> Option<NodeId> {
        let by_number = parse_integer(text).and_then(|n| u32::try_from(n).ok()).map(NodeId);
        let by_number = by_number.filter(|node| self.map.nodes.contains_key(node));
        by_number
            .or_else(|| self.map.nodes.values().find(|node| node.name.as_bytes() == text).map(|node| node.id))
    }

    /// Asks the control plane for a change; the reply waits for its answer.
    pub(crate) fn administrate(&mut self, connection: ConnectionId, command: Command) -> Flow {
        if let Some(slot) = self.hold_reply(connection) {
            self.ask_control(Some((connection, slot)), command);
        }
        Flow::Continue
    }

    pub(crate) fn hold_reply(&mut self, connection: ConnectionId) -> Option<crate::replies::SlotId> {
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
        if kind.eq_ignore_ascii_case(b"LEADERLESS") {
            return self.create_leaderless(connection, name, options);
        }
        if kind.eq_ignore_ascii_case(b"MULTI-LEADER") {
            return self.create_multi_leader(connection, name, options);
        }
        if kind.eq_ignore_ascii_case(b"PRESET") {
            return match self.preset(options) {
                Ok((kind, words)) => {
                    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                    self.create_keyspace(connection, name.as_bytes(), kind.as_bytes(), &words)
                }
                Err(error) => self.reply_error(connection, &error),
            };
        }
        if !kind.eq_ignore_ascii_case(b"SINGLE-LEADER") {
            return self.reply_error(
                connection,
                "ERR a keyspace is SINGLE-LEADER, MULTI-LEADER or LEADERLESS, or made by a PRESET: KEYSPACE CREATE <name> SINGLE-LEADER ...",
            );
        }
        match parse_settings(Settings::default(), options) {
            Ok(settings) => {
                if let Some(refusal) = self.refuse_format(settings.log) {
                    return self.reply_error(connection, &refusal);
                }
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
        let (keyspace, log) = (it.id, it.settings.log);
        if self.is_leaderless(keyspace) {
            return self.alter_leaderless(connection, keyspace, options);
        }
        if self.is_multi_leader(keyspace) {
            return self.alter_multi_leader(connection, keyspace, options);
        }
        let Some(it) = self.keyspace_of(name) else {
            return self.reply_error(connection, "ERR no such keyspace");
        };
        match parse_settings(it.settings, options) {
            Ok(settings) if settings.log != log && self.refuse_format(settings.log).is_some() => {
                let refusal = self.refuse_format(settings.log).unwrap_or_default();
                self.reply_error(connection, &refusal)
            }
            Ok(settings) => self.administrate(connection, Command::AlterKeyspace { keyspace, settings }),
            Err(error) => self.reply_error(connection, &error),
        }
    }

    /// The group, the number of its view, and the node that an operator named.
    fn named_copy(&self, group: &[u8], node: &[u8]) -> Result<(GroupId, ViewNumber, NodeId), &'static str> {
        let group = parse_integer(group).and_then(|n| u32::try_from(n).ok()).map(GroupId);
        let view = group.and_then(|group| self.map.view(group)).ok_or("ERR no such group")?;
        let node = self.node_named(node).ok_or("ERR no such node")?;
        Ok((view.group, view.number, node))
    }

    fn promote(&mut self, connection: ConnectionId, group: &[u8], node: &[u8]) -> Flow {
        match self.named_copy(group, node) {
            Ok((group, number, node)) => {
                self.administrate(connection, Command::ForceElection { group, number, node })
            }
            Err(error) => self.reply_error(connection, error),
        }
    }

    fn switchover(&mut self, connection: ConnectionId, group: &[u8], node: &[u8]) -> Flow {
        let (group, target) = match self.named_copy(group, node) {
            Ok((group, _, node)) => (group, node),
            Err(error) => return self.reply_error(connection, error),
        };
        if let Some(slot) = self.hold_reply(connection) {
            let ticket = self.new_ticket(Some((connection, slot)));
            self.control(control::Input::Switchover { ticket, group, target: Some(target) });
        }
        Flow::Continue
    }

    fn keyspace_sheet(&mut self, connection: ConnectionId, name: &[u8]) -> Flow {
        let Some(it) = self.keyspace_of(name) else {
            return self.reply_error(connection, "ERR no such keyspace");
        };
        if let Some(text) = self.leaderless_sheet(it.id).or_else(|| self.multi_leader_sheet(it.id)) {
            return self.reply(connection, |w| w.verbatim(&text));
        }
        let nodes = self.map.nodes.values().filter(|node| node.usable()).count();
        let facts = Facts::of(it.settings, nodes, self.map.groups_of(it.id).map(|group| &group.view));
        let mut text = sheet::text(&it.name, &facts);
        text.push_str(&latency_parts::section(&self.latency(it.id)));
        self.reply(connection, |w| w.verbatim(&text))
    }

    fn keyspace_info(&mut self, connection: ConnectionId, name: &[u8]) -> Flow {
        let Some(it) = self.keyspace_of(name).cloned() else {
            return self.reply_error(connection, "ERR no such keyspace");
        };
        if let Some(flow) = self.leaderless_info(connection, it.id) {
            return flow;
        }
        if let Some(flow) = self.multi_leader_info(connection, it.id) {
            return flow;
        }
        let name_of = |node: NodeId| self.map.nodes.get(&node).map_or_else(String::new, |it| it.name.clone());
        let mut groups: Vec<Shown> = self
            .map
            .groups_of(it.id)
            .map(|group| Shown {
                slots: group.slots.clone(),
                group: group.view.group,
                epoch: group.view.epoch,
                leader: self.map.leader_of(group.view.group).map(name_of).unwrap_or_default(),
                members: group.view.members.iter().map(|node| name_of(*node)).collect(),
                read_replicas: group.view.read_replicas.iter().map(|node| name_of(*node)).collect(),
                electable: group.view.electable.iter().map(|replica| name_of(replica.node)).collect(),
                links: links(&group.view).iter().map(|node| name_of(*node)).collect(),
                rule: group.view.rule,
                followers_needed: group.view.followers_needed(),
            })
            .collect();
        groups.sort_by(|a, b| a.slots.cmp(&b.slots));
        let moves = self.moves_text(it.id);
        let (logged, latency, missed) = (self.logged(it.id), self.latency(it.id), self.missed_text(it.id));
        let settings = it.settings;
        let rule = groups.first().map_or(settings.commit, |group| group.rule);
        let followers_needed = groups.first().map_or(0, |group| group.followers_needed);
        self.reply(connection, |w| {
            w.fields(|f| {
                f.text("name", &it.name);
                f.text("kind", "single-leader");
                f.text("commit", settings.commit.name());
                f.text("commit-now", rule.name());
                f.text("on-timeout", settings.on_timeout.name());
                f.text("election", settings.election.name());
                f.text("level", settings.level.name());
                f.text("flush", flush_name(settings.flush));
                f.text("site", settings.site.as_ref().map_or("any", Site::as_str));
                f.text("recovery-site", settings.recovery_site.as_ref().map_or("none", Site::as_str));
                f.text("log", settings.log.name());
                f.text("forward", if settings.forward { "on" } else { "off" });
                f.integer("id", it.id.0);
                f.integer("shards", settings.shards);
                f.integer("replicas", settings.replicas);
                f.integer("read-replicas", settings.read_replicas);
                f.integer("fan-out", settings.fan_out);
                f.integer("acks", followers_needed as i64);
                f.integer("min-replicas-to-write", settings.min_replicas_to_write);
                f.integer("min-replicas-max-lag", settings.min_replicas_max_lag_s);
                f.integer("timeout-ms", settings.timeout_ms);
                f.integer("backlog", settings.backlog_bytes);
                f.field("missed").list(&missed);
                write_logged(&logged, f.field("log-bytes"));
                latency_parts::write_parts(&latency, f.field("latency-parts"));
                let w = f.field("groups");
                w.array(groups.len());
                groups.iter().for_each(|group| group.write(w));
                f.field("moves").list(&moves);
            });
        })
    }
}

impl Node {
    /// Copies that went on without entries, as far as this node knows: all of groups that it leads, else its own.
    fn missed_text(&self, keyspace: data::KeyspaceId) -> Vec<String> {
        let name_of = |node: NodeId| self.map.nodes.get(&node).map_or_else(String::new, |it| it.name.clone());
        let mut texts = Vec::new();
        for view in self.map.groups_of(keyspace).map(|group| &group.view) {
            let Some(it) = self.groups.get(&view.group) else { continue };
            for node in view.members.iter().chain(&view.read_replicas).copied() {
                let own = node == self.config.node;
                let missed = if own { it.shortfall.missed() } else { it.replica.missed_by(node) };
                if missed > 0 {
                    texts.push(format!("group {} {}: {missed} entries", view.group.0, name_of(node)));
                }
            }
        }
        texts
    }
}

/// A group as KEYSPACE INFO shows it.
struct Shown {
    slots: SlotSet,
    group: GroupId,
    epoch: Epoch,
    leader: String,
    members: Vec<String>,
    electable: Vec<String>,
    read_replicas: Vec<String>,
    /// The order in which copies feed each other; empty when the leader feeds all.
    links: Vec<String>,
    rule: CommitRule,
    followers_needed: usize,
}

impl Shown {
    fn write(&self, w: &mut ReplyWriter<'_>) {
        w.fields(|f| {
            f.integer("group", self.group.0);
            f.text("slots", self.slots.text());
            f.integer("epoch", self.epoch.0 as i64);
            f.text("leader", &self.leader);
            f.field("members").list(&self.members);
            f.field("electable").list(&self.electable);
            f.field("read-replicas").list(&self.read_replicas);
            f.field("links").list(&self.links);
        });
    }
}

fn links(view: &View) -> Vec<NodeId> {
    Links::of(view).order().to_vec()
}

pub(super) fn flush_name(flush: Flush) -> String {
    match flush {
        Flush::Always => "always".into(),
        Flush::EveryMs(ms) => format!("{ms}"),
        Flush::Os => "os".into(),
    }
}

/// Options of CREATE and ALTER on top of the settings so far; the first contradiction as an error for the client.
pub(crate) fn parse_settings(base: Settings, options: &[&[u8]]) -> Result<Settings, String> {
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
    // "any" takes a site back: no site needs that name.
    let site = |text: &[u8]| match core::str::from_utf8(text) {
        Ok("any") => Ok(None),
        Ok(text) => Site::named(text).map(Some).ok_or_else(|| format!("ERR {text} is no name of a site")),
        Err(_) => Err(String::from("ERR this is no name of a site")),
    };
    for pair in options.chunks_exact(2) {
        let name = String::from_utf8_lossy(pair[0]).to_ascii_uppercase();
        let value = String::from_utf8_lossy(pair[1]).to_ascii_lowercase();
        match (&name[..], &value[..]) {
            ("REPLICAS", _) => settings.replicas = number("REPLICAS", pair[1])?,
            ("READ-REPLICAS", _) => settings.read_replicas = number("READ-REPLICAS", pair[1])?,
            ("SITE", _) => settings.site = site(pair[1])?,
            ("RECOVERY-SITE", _) => {
                settings.recovery_site = site(pair[1])?;
                settings.read_replicas =
                    settings.read_replicas.max(u32::from(settings.recovery_site.is_some()));
            }
            ("FAN-OUT", _) => settings.fan_out = number("FAN-OUT", pair[1])?,
            ("SHARDS", _) => settings.shards = number("SHARDS", pair[1])?,
            ("FORWARD", "on") => settings.forward = true,
            ("FORWARD", "off") => settings.forward = false,
            ("TIMEOUT" | "RPL_SEMI_SYNC_MASTER_TIMEOUT" | "RPL_SEMI_SYNC_SOURCE_TIMEOUT", _) => {
                settings.timeout_ms = number(&name, pair[1])?;
            }
            // Kafka's words: every copy that is in sync.
            ("ACKS", "all" | "-1") => settings.commit = CommitRule::InSyncSet { minimum: 0 },
            (
                "RPL_SEMI_SYNC_MASTER_WAIT_FOR_SLAVE_COUNT" | "RPL_SEMI_SYNC_SOURCE_WAIT_FOR_REPLICA_COUNT",
                _,
            ) => {
                settings.commit = CommitRule::SemiSync { acks: 0 };
                acks = Some(number(&name, pair[1])?);
            }
            ("SYNCHRONOUS_COMMIT", _) => {
                let meant = synchronous_commit(&value).filter(|(_, level)| level.is_some());
                let Some((Who::Rule(rule), Some(level))) = meant else {
                    return Err(format!("ERR {name} does not take '{value}' in this version"));
                };
                (settings.commit, settings.level) = (rule, level);
                level_given = true;
            }
            ("ACKS", _) => acks = Some(number("ACKS", pair[1])?),
            ("COMMIT", "best-effort") => settings.commit = CommitRule::BestEffort,
            ("BACKLOG", _) => settings.backlog_bytes = number("BACKLOG", pair[1])?,
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
            ("COMMIT", "chain") => settings.commit = CommitRule::Chain { minimum: 0 },
            ("COMMIT", "in-sync-set") => settings.commit = CommitRule::InSyncSet { minimum: 0 },
            ("LEVEL", "received" | "flushed" | "applied") => {
                level_given = true;
                settings.level = match &value[..] {
                    "flushed" => Level::Flushed,
                    "applied" => Level::Applied,
                    _ => Level::Received,
                };
            }
            ("FLUSH", "always") => settings.flush = Flush::Always,
            ("FLUSH", "os") => settings.flush = Flush::Os,
            ("FLUSH", _) => settings.flush = Flush::EveryMs(number("FLUSH", pair[1])?),
            ("LOG", format) if LogFormat::named(format).is_some() => {
                settings.log = LogFormat::named(format).unwrap_or_default();
            }
            ("COMMIT" | "LEVEL" | "ON-TIMEOUT" | "ELECTION" | "FORWARD" | "LOG", _) => {
                return Err(format!("ERR {name} does not take '{value}' in this version"));
            }
            _ => return Err(format!("ERR unknown keyspace option '{name}'")),
        }
    }
    match &mut settings.commit {
        // A majority of the copies unless the user says how many followers.
        CommitRule::InSyncSet { minimum } | CommitRule::Chain { minimum }
            if *minimum == 0 || acks.is_some() =>
        {
            *minimum = acks.map_or(settings.replicas / 2 + 1, |acks| acks.saturating_add(1));
        }
        CommitRule::SemiSync { acks: known } if *known == 0 || acks.is_some() => *known = acks.unwrap_or(1),
        CommitRule::BestEffort | CommitRule::Async | CommitRule::Majority | CommitRule::Synchronous
            if acks.is_some() =>
        {
            return Err("ERR ACKS goes with COMMIT semi-sync, in-sync-set or chain".into());
        }
        _ => {}
    }
    if settings.flush != Flush::Always && !level_given {
        settings.level = Level::Received;
    }
    settings.check().map_err(|what| format!("ERR {what}"))?;
    Ok(settings)
}
