//! What /metrics shows, under the names of the Redis exporter where they exist, and lines for the log.

use crate::core::Status;
use node::{Event, Node};
use protocol::single_leader::RoleName;
use std::fmt::Write;

/// A look at the node, as text.
pub fn status(node: &Node, connections: usize) -> Status {
    let mut text = String::new();
    let mut leads = false;
    let s = node.statistics();
    let mut one = |name: &str, kind: &str, help: &str, value: u64| {
        // Writing to a String cannot fail.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
    };
    one("redis_up", "gauge", "Whether the node serves.", u64::from(node.is_ready()));
    one("redis_connected_clients", "gauge", "Open client connections.", connections as u64);
    one("redis_connections_received_total", "counter", "Client connections accepted.", s.connections);
    one(
        "redis_rejected_connections_total",
        "counter",
        "Connections beyond maxclients.",
        s.connections_refused,
    );
    one("redis_commands_processed_total", "counter", "Commands received.", s.commands);
    one("redis_expired_keys_total", "counter", "Keys whose time came.", s.expired_keys);
    let memory: usize = node.group_states().map(|state| state.table.bytes()).sum();
    one("redis_memory_used_bytes", "gauge", "Memory of all tables.", memory as u64);
    one("tercet_entries_total", "counter", "Log writes of all groups.", s.entries);
    one("tercet_forwarded_total", "counter", "Commands sent to other nodes.", s.forwarded);
    one("tercet_indeterminate_total", "counter", "Writes answered INDETERMINATE.", s.indeterminate);
    one(
        "tercet_refused_writes_total",
        "counter",
        "Writes refused before they were appended.",
        s.refused_writes,
    );
    one("tercet_reads_leased_total", "counter", "Reads answered under a lease.", s.reads_leased);
    one(
        "tercet_reads_confirmed_total",
        "counter",
        "Reads answered after a confirmation round.",
        s.reads_confirmed,
    );
    one("tercet_elections_won_total", "counter", "Elections this process won.", s.elections_won);
    one("tercet_map_version", "gauge", "Version of the cluster map known here.", node.map().version);
    let mut groups = String::new();
    for state in node.group_states() {
        let keyspace = &state.keyspace.name;
        let labels = format!("group=\"{}\",keyspace=\"{keyspace}\"", state.group.0);
        let role = state.replica.role();
        leads |= role == RoleName::Leader;
        let _ = writeln!(groups, "tercet_group_leads{{{labels}}} {}", u8::from(role == RoleName::Leader));
        let _ = writeln!(groups, "tercet_group_epoch{{{labels}}} {}", state.replica.promised().0);
        let _ = writeln!(groups, "tercet_group_commit_index{{{labels}}} {}", state.replica.commit().0);
        let _ = writeln!(groups, "tercet_group_waiting_replies{{{labels}}} {}", state.waiting);
        let _ = writeln!(groups, "redis_db_keys{{db=\"{keyspace}\"}} {}", state.table.len());
        let newest = state.replica.newest().index.0;
        for (follower, progress) in state.replica.followers() {
            let lag = newest.saturating_sub(progress.matched.0);
            let _ = writeln!(groups, "tercet_follower_lag_entries{{{labels},node=\"{}\"}} {lag}", follower.0);
        }
    }
    text.push_str(&groups);
    Status { ready: node.is_ready(), leads, metrics: text }
}

/// A line for the operator, for what is worth one.
pub fn log_event(name: &str, event: &Event) {
    match event {
        Event::Role { group, role, epoch } => {
            eprintln!("{name}: group {} is {} in epoch {}", group.0, role.name(), epoch.0)
        }
        Event::SnapshotInstalled { group, position } => {
            eprintln!("{name}: group {} took a snapshot of its leader at {position}", group.0);
        }
        Event::Stopped(reason) => eprintln!("{name}: stopped replicating: {reason}"),
        Event::Replica { group, report } => {
            use protocol::single_leader::Report;
            match report {
                Report::Dropped(_) => {}
                other => eprintln!("{name}: group {}: {other:?}", group.0),
            }
        }
        Event::Control(_) | Event::SnapshotTaken { .. } => {}
    }
}
