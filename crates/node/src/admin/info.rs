//! INFO: the fields that Redis clients, frameworks and exporters read, under Redis's names, and ours.

use crate::io::ConnectionId;
use crate::node::{Flow, Node};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use data::KeyspaceId;

/// Frameworks check it: the version whose commands and replies are spoken here.
pub(crate) const REDIS_VERSION: &str = "7.4.0";

const SECTIONS: &[&str] = &[
    "server",
    "clients",
    "memory",
    "persistence",
    "stats",
    "replication",
    "cpu",
    "commandstats",
    "cluster",
    "keyspace",
    "leaderless",
    "sites",
    "ledger",
    "tercet",
];
/// Shown only when they are asked for by name, or with `all`.
const ON_REQUEST: &[&str] = &["commandstats"];

impl Node {
    pub(super) fn info(&mut self, connection: ConnectionId, sections: &[&[u8]]) -> Flow {
        self.gather_looks();
        let asked: Vec<String> =
            sections.iter().map(|section| String::from_utf8_lossy(section).to_ascii_lowercase()).collect();
        let all = asked.iter().any(|section| section == "all" || section == "everything");
        let default = asked.is_empty() || asked.iter().any(|section| section == "default");
        let mut text = String::new();
        for section in SECTIONS {
            let named = asked.iter().any(|wanted| wanted == section);
            if named || all || default && !ON_REQUEST.contains(section) {
                if !text.is_empty() {
                    text.push_str("\r\n");
                }
                self.write_section(section, connection, &mut text);
            }
        }
        self.reply(connection, |w| w.verbatim(&text))
    }

    fn write_section(&self, section: &str, connection: ConnectionId, text: &mut String) {
        let mut title = String::from(section);
        title[..1].make_ascii_uppercase();
        // Writing to a String cannot fail.
        let _ = write!(text, "# {title}\r\n");
        for (name, value) in self.section(section, connection) {
            let _ = write!(text, "{name}:{value}\r\n");
        }
    }

    fn section(&self, section: &str, connection: ConnectionId) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        let mut field = |name: &str, value: String| fields.push((String::from(name), value));
        let s = &self.statistics;
        let uptime = self.now.instant.since(self.started.instant).as_secs();
        match section {
            "server" => {
                field("redis_version", REDIS_VERSION.into());
                field("redis_git_sha1", "00000000".into());
                field("redis_mode", "standalone".into());
                field("server_name", "tercet".into());
                field("tercet_version", self.config.version.into());
                field("os", "Linux".into());
                field("arch_bits", "64".into());
                field("multiplexing_api", "epoll".into());
                field("run_id", format!("{:020x}{:020x}", self.map.cluster, self.config.process.0));
                field("tcp_port", self.address_of(self.config.node).1);
                field("uptime_in_seconds", format!("{uptime}"));
                field("uptime_in_days", format!("{}", uptime / 86_400));
                field("hz", "200".into());
            }
            "clients" => {
                field("connected_clients", format!("{}", self.sessions.count()));
                field("maxclients", format!("{}", self.config.connections_max));
                let blocked: usize = self.groups.values().map(|it| it.blocked.len()).sum();
                field("blocked_clients", format!("{blocked}"));
                let pubsub = self.sessions.iter().filter(|session| session.subscriptions() > 0).count();
                field("pubsub_clients", format!("{pubsub}"));
            }
            "memory" => {
                let bytes: usize =
                    self.groups.values().map(|it| it.table.bytes() + it.replica.log().bytes()).sum();
                field("used_memory", format!("{bytes}"));
                field("used_memory_human", human(bytes));
                field(
                    "used_memory_dataset",
                    format!("{}", self.groups.values().map(|it| it.table.bytes()).sum::<usize>()),
                );
                field("maxmemory", "0".into());
                field("maxmemory_human", "0B".into());
                field("maxmemory_policy", "noeviction".into());
            }
            "persistence" => {
                let walking = self.groups.values().any(|it| it.snapshots.walk.is_some());
                field("loading", "0".into());
                field("async_loading", "0".into());
                field("rdb_bgsave_in_progress", format!("{}", u8::from(walking)));
                field("rdb_last_bgsave_status", if self.stopped.is_none() { "ok" } else { "err" }.into());
                field("aof_enabled", "1".into());
                field("aof_last_write_status", if self.stopped.is_none() { "ok" } else { "err" }.into());
            }
            "stats" => {
                field("total_connections_received", format!("{}", s.connections));
                field("total_commands_processed", format!("{}", s.commands));
                field("rejected_connections", format!("{}", s.connections_refused));
                field("expired_keys", format!("{}", s.expired_keys));
                field("evicted_keys", "0".into());
                field("keyspace_hits", format!("{}", s.key_hits));
                field("keyspace_misses", format!("{}", s.key_misses));
                field("pubsub_channels", format!("{}", self.pubsub.channels.len()));
                field("pubsub_patterns", format!("{}", self.pubsub.patterns.len()));
                field("total_error_replies", format!("{}", s.errors));
            }
            "replication" => self.write_replication(connection, &mut field),
            "cpu" => {}
            "commandstats" => {
                for (name, calls) in &s.by_command {
                    field(&format!("cmdstat_{name}"), format!("calls={calls}"));
                }
            }
            "leaderless" => self.write_leaderless(&mut field),
            "sites" => self.write_sites(&mut field),
            "ledger" => {
                let totals = self.ledger.totals();
                field("ledger_items", format!("{}", totals.items));
                field("ledger_acknowledged", format!("{}", totals.acknowledged));
                field("ledger_announced", format!("{}", totals.announced));
                field("ledger_bytes", format!("{}", totals.bytes));
                field("ledger_bytes_max", format!("{}", crate::ledger::BYTES_MAX));
                field("ledger_without_payload", format!("{}", totals.without_payload));
            }
            "cluster" => field("cluster_enabled", format!("{}", u8::from(self.cluster_enabled(connection)))),
            "keyspace" => {
                for it in self.groups.values().filter(|it| !it.table.is_empty()) {
                    let name = if it.keyspace.id < KeyspaceId(16) {
                        format!("db{}", it.keyspace.id.0)
                    } else {
                        it.keyspace.name.clone()
                    };
                    let (keys, expires) = (it.table.len(), it.table.keys_with_expiry());
                    field(&name, format!("keys={keys},expires={expires},avg_ttl=0"));
                }
            }
            _ => {
                field("node_id", format!("{}", self.config.node.0));
                field("node_name", self.config.name.clone());
                field("incarnation", format!("{}", self.config.incarnation.0));
                field("process", format!("{}", self.config.process.0));
                field("cluster_id", format!("{:016x}", self.map.cluster));
                field("map_version", format!("{}", self.map.version));
                field(
                    "control_leader",
                    self.plane.control_leader().map_or_else(|| "none".into(), |n| format!("{}", n.0)),
                );
                field("groups", format!("{}", self.groups.len()));
                field(
                    "waiting_replies",
                    format!("{}", self.groups.values().map(|it| it.waiters.len()).sum::<usize>()),
                );
                field("forwards_waiting", format!("{}", self.forwards.count()));
                field("forwarded", format!("{}", s.forwarded));
                field("indeterminate", format!("{}", s.indeterminate));
                field("refused_writes", format!("{}", s.refused_writes));
                field("reads_leased", format!("{}", s.reads_leased));
                field("reads_confirmed", format!("{}", s.reads_confirmed));
                let (open, kept) = self.snapshots_open();
                field("snapshots_open", format!("{open}"));
                field("snapshots_bytes_kept", format!("{kept}"));
                let doubted = self.groups.values().filter(|it| !it.audit.is_sound()).count();
                field("doubted_copies", format!("{doubted}"));
                for it in self.groups.values() {
                    if let Some(alarm) = self.alarm_of(it.id()) {
                        let of = format!("keyspace={},node={},{alarm}", it.keyspace.name, self.config.node.0);
                        field(&format!("alarm_group{}", it.id().0), of);
                    }
                }
                field("audits_compared", format!("{}", s.audits_compared));
                field("audits_differed", format!("{}", s.audits_differed));
                field("copies_rebuilt", format!("{}", s.copies_rebuilt));
                field("elections_won", format!("{}", s.elections_won));
                field("stopped", self.stopped.clone().unwrap_or_else(|| "no".into()));
            }
        }
        fields
    }

    fn write_replication(&self, connection: ConnectionId, field: &mut dyn FnMut(&str, String)) {
        let keyspace = self.sessions.get(connection).map_or(KeyspaceId(0), |session| session.keyspace);
        let route = self.route_shown(keyspace);
        let it = route.and_then(|route| self.groups.get(&route.group));
        let leads = it.is_some_and(|it| it.is_serving());
        field("role", if leads { "master" } else { "slave" }.into());
        let offset = it.map_or(0, |it| it.replica.commit().0);
        if let Some(it) = it.filter(|_| leads) {
            let settings = &it.keyspace.settings;
            let most = core::time::Duration::from_secs(u64::from(settings.min_replicas_max_lag_s));
            let good = it.replica.good_followers(self.now.instant, most);
            let degraded = it.replica.view().is_some_and(data::view::View::is_degraded);
            let followers: Vec<_> = it.replica.followers().collect();
            field("connected_slaves", format!("{}", followers.len()));
            field("connected_replicas", format!("{}", followers.len()));
            field("min_slaves_good_slaves", format!("{good}"));
            field("min_replicas_good_replicas", format!("{good}"));
            field("commit_rule_degraded", format!("{}", u8::from(degraded)));
            for (at, (node, progress)) in followers.into_iter().enumerate() {
                let (host, port) = self.address_of(node);
                let state = if progress.is_replicating() { "online" } else { "wait_bgsave" };
                let lag = self.now.instant.since(progress.current_at).as_secs();
                let (name, offset) = (format!("slave{at}"), progress.matched.0);
                let missed = it.replica.missed_by(node);
                let missed = if missed > 0 { format!(",missed={missed}") } else { String::new() };
                field(
                    &name,
                    format!("ip={host},port={port},state={state},offset={offset},lag={lag}{missed}"),
                );
            }
        } else {
            let leader = route.and_then(|route| route.leader);
            let (host, port) = leader.map(|node| self.address_of(node)).unwrap_or_default();
            field("master_host", host);
            field("master_port", port);
            field(
                "master_link_status",
                if leader.is_some_and(|n| self.peers.contains_key(&n)) { "up" } else { "down" }.into(),
            );
            field("slave_repl_offset", format!("{offset}"));
            field("missed_entries", format!("{}", it.map_or(0, |it| it.shortfall.missed())));
            field("slave_read_only", "1".into());
            field("connected_slaves", "0".into());
        }
        field("master_replid", format!("{:040x}", self.map.cluster));
        field("master_repl_offset", format!("{offset}"));
        field("epoch", format!("{}", it.map_or(0, |it| it.replica.promised().0)));
    }
}

fn human(bytes: usize) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "K", "M", "G"] {
        if value < 1024.0 || unit == "G" {
            return if unit == "B" { format!("{bytes}B") } else { format!("{value:.2}{unit}") };
        }
        value /= 1024.0;
    }
    String::new()
}
