//! What /metrics shows, under the names of the Redis exporter where they exist, and lines for the log.

mod sites;

use crate::core::Status;
use data::NodeId;
use node::latency::Part;
use node::{AGES_MS, Event, GroupState, Node, Statistics};
use protocol::single_leader::RoleName;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// The text of all metrics. Samples of one metric stand together behind its type: Prometheus asks for that.
struct Page(String);

impl Page {
    fn metric(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }
    /// A metric of one sample.
    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.metric(name, kind, help);
        let _ = writeln!(self.0, "{name} {value}");
    }
    /// A metric with a sample per group; `value` also gives further labels.
    fn per_group(
        &mut self,
        node: &Node,
        (name, kind, help): (&str, &str, &str),
        mut value: impl FnMut(&GroupState<'_>, &mut dyn FnMut(&str, u64)),
    ) {
        self.metric(name, kind, help);
        for state in node.group_states() {
            let (group, keyspace) = (state.group.0, &state.keyspace.name);
            value(&state, &mut |labels, value| {
                let _ =
                    writeln!(self.0, "{name}{{group=\"{group}\",keyspace=\"{keyspace}\"{labels}}} {value}");
            });
        }
    }
}

/// A look at the node, as text. `written`: bytes sent to each peer.
pub fn status(node: &Node, connections: usize, written: &BTreeMap<NodeId, u64>) -> Status {
    let mut page = Page(String::new());
    let leads = node.group_states().any(|state| state.replica.role() == RoleName::Leader);
    redis_metrics(&mut page, node, connections, leads);
    node_metrics(&mut page, node);
    group_metrics(&mut page, node);
    leaderless_metrics(&mut page, node);
    let name = "tercet_peer_sent_bytes_total";
    page.metric(name, "counter", "Bytes sent to other nodes, whatever they were about.");
    for (peer, bytes) in written {
        let _ = writeln!(page.0, "{name}{{peer=\"{peer}\"}} {bytes}");
    }
    sites::metrics(&mut page, node);
    Status { ready: node.is_ready(), leads, metrics: page.0 }
}

/// Under the names of the Redis exporter.
fn redis_metrics(page: &mut Page, node: &Node, connections: usize, leads: bool) {
    let s = node.statistics();
    page.one("redis_up", "gauge", "Whether the node serves.", u64::from(node.is_ready()));
    page.metric("redis_instance_info", "gauge", "What runs here.");
    let role = if leads { "master" } else { "slave" };
    let version = node.config().version;
    let _ = writeln!(page.0, "redis_instance_info{{role=\"{role}\",tercet_version=\"{version}\"}} 1");
    page.one("redis_connected_clients", "gauge", "Open client connections.", connections as u64);
    // A follower counts while this node leads it and knows how far it is.
    let followers: BTreeSet<_> = node
        .group_states()
        .flat_map(|state| {
            state
                .replica
                .followers()
                .filter(|(_, it)| it.is_replicating())
                .map(|(id, _)| id)
                .collect::<Vec<_>>()
        })
        .collect();
    page.one("redis_connected_slaves", "gauge", "Followers of what this node leads.", followers.len() as u64);
    page.one("redis_connections_received_total", "counter", "Client connections accepted.", s.connections);
    let refused = s.connections_refused;
    page.one("redis_rejected_connections_total", "counter", "Connections beyond maxclients.", refused);
    page.one("redis_commands_processed_total", "counter", "Commands received.", s.commands);
    page.one("redis_keyspace_hits_total", "counter", "Reads that found their key.", s.key_hits);
    page.one("redis_keyspace_misses_total", "counter", "Reads that did not find their key.", s.key_misses);
    page.one("redis_expired_keys_total", "counter", "Keys whose time came.", s.expired_keys);
    let memory: usize = node.group_states().map(|state| state.table.bytes()).sum();
    page.one("redis_memory_used_bytes", "gauge", "Memory of all tables.", memory as u64);
    page.metric("redis_db_keys", "gauge", "Keys of a keyspace.");
    let mut keys: BTreeMap<&str, usize> = BTreeMap::new();
    for state in node.group_states() {
        *keys.entry(&state.keyspace.name).or_default() += state.table.len();
    }
    for (keyspace, count) in keys {
        let _ = writeln!(page.0, "redis_db_keys{{db=\"{keyspace}\"}} {count}");
    }
}

/// Of leaderless shards.
fn leaderless_metrics(page: &mut Page, node: &Node) {
    let (mut hints, mut bytes, mut rebuilding, mut residue) = (0, 0, 0, 0);
    let (mut disputed, mut decisions, mut dropped, mut agreed) = (0, 0, 0, 0);
    for state in node.shard_states() {
        disputed += state.copy.disputed().count() as u64;
        decisions += state.copy.decision_bytes();
        dropped += state.copy.dropped_decisions();
        agreed += state.copy.agreed();
        residue += state.residue;
        hints += state.hints as u64;
        bytes += state.hint_bytes;
        rebuilding += u64::from(state.is_replica && !state.is_ready);
    }
    page.one("tercet_leaderless_hints", "gauge", "Writes kept for copies that are away.", hints);
    page.one("tercet_leaderless_hint_bytes", "gauge", "Bytes of them.", bytes);
    page.one("tercet_leaderless_rebuilding", "gauge", "Copies here that do not answer yet.", rebuilding);
    page.one("tercet_inbox_keys", "gauge", "Keys here with conflicts, open or settled (INBOX).", disputed);
    page.one("tercet_inbox_bytes", "gauge", "Bytes of the settled ones.", decisions);
    let help = "What copies here keep only so that deletes stay deletes.";
    page.one("tercet_leaderless_residue", "gauge", help, residue);
    let c = node.leaderless_counts();
    for (name, help, value) in [
        ("tercet_leaderless_reads_total", "Keys read.", c.reads),
        ("tercet_leaderless_writes_total", "Keys written.", c.writes),
        ("tercet_leaderless_no_quorum_total", "Requests that too few copies could answer.", c.no_quorum),
        ("tercet_leaderless_linearizable_total", "Commands on linearizable keys.", c.agreements),
        (
            "tercet_leaderless_outbid_total",
            "Commands on linearizable keys to which others were faster.",
            c.outbid,
        ),
        ("tercet_leaderless_sloppy_total", "Writes acknowledged with the help of stand-ins.", c.sloppy),
        ("tercet_leaderless_read_repairs_total", "Copies that reads found behind.", c.stale),
        ("tercet_leaderless_hints_dropped_total", "Hints that were too old or had no room.", c.hints_dropped),
        ("tercet_leaderless_walks_total", "Comparisons with other copies.", c.walks),
        ("tercet_leaderless_keys_walked_total", "Keys that they brought.", c.keys_walked),
        ("tercet_leaderless_bytes_walked_total", "Bytes that they took, both ways.", c.bytes_walked),
        ("tercet_inbox_dropped_total", "Settled conflicts that went for lack of room or age.", dropped),
        ("tercet_inbox_equal_values_total", "Concurrent writes of one value: no conflicts.", agreed),
        ("tercet_leaderless_barriers_total", "Barriers that came to their end.", c.barriers),
        ("tercet_leaderless_residue_collected_total", "What went with them.", c.collected),
    ] {
        page.one(name, "counter", help, value);
    }
}

/// What leaders here wrote into their logs, by format and command.
// catalogue: D8
fn log_bytes(page: &mut Page, node: &Node) {
    type Count = fn(&node::logged::Row) -> u64;
    let counts: [(&str, &str, Count); 3] = [
        ("tercet_log_entries_total", "Entries that leaders here wrote.", |row| row.entries),
        ("tercet_log_changes_total", "Operations in them.", |row| row.changes),
        ("tercet_log_bytes_total", "Bytes of what they hold.", |row| row.bytes),
    ];
    for (name, help, count) in counts {
        page.metric(name, "counter", help);
        for keyspace in node.map().keyspaces.values() {
            for row in node.logged(keyspace.id).rows() {
                let (db, format, command) = (&keyspace.name, row.format.name(), row.command);
                let labels = format!("keyspace=\"{db}\",format=\"{format}\",command=\"{command}\"");
                let _ = writeln!(page.0, "{name}{{{labels}}} {}", count(row));
            }
        }
    }
}

/// Where the time of writes goes that leaders here measured. The parts of one write add up to its total, but for `beside`, which is to
/// be subtracted.
// catalogue: C17
fn latency(page: &mut Page, node: &Node) {
    let name = "tercet_write_latency_seconds";
    page.metric(name, "summary", "Parts of the time of measured writes; quantiles of the last of them.");
    for keyspace in node.map().keyspaces.values() {
        let figures = node.latency(keyspace.id);
        for part in Part::ALL {
            let (count, sum) = figures.sum(part);
            if count == 0 {
                continue;
            }
            let labels = format!("keyspace=\"{}\",part=\"{}\"", keyspace.name, part.name());
            for (quantile, percent) in [("0.5", 50), ("0.9", 90), ("0.99", 99)] {
                let length = figures.percentile(part, percent).unwrap_or_default().as_secs_f64();
                let _ = writeln!(page.0, "{name}{{{labels},quantile=\"{quantile}\"}} {length}");
            }
            let _ = writeln!(page.0, "{name}_sum{{{labels}}} {}", sum.as_secs_f64());
            let _ = writeln!(page.0, "{name}_count{{{labels}}} {count}");
        }
    }
}

/// Ours, of the node as a whole.
fn node_metrics(page: &mut Page, node: &Node) {
    let s = node.statistics();
    for (name, help, value) in [
        ("tercet_entries_total", "Log writes of all groups.", s.entries),
        ("tercet_forwarded_total", "Commands sent to other nodes.", s.forwarded),
        ("tercet_indeterminate_total", "Writes answered INDETERMINATE.", s.indeterminate),
        ("tercet_refused_writes_total", "Writes refused before they were appended.", s.refused_writes),
        ("tercet_reads_leased_total", "Reads answered under a lease.", s.reads_leased),
        ("tercet_reads_confirmed_total", "Reads answered after a confirmation round.", s.reads_confirmed),
        (
            "tercet_reads_from_snapshots_total",
            "Reads of snapshots that connections hold open.",
            s.reads_from_snapshots,
        ),
        ("tercet_reads_from_copies_total", "Reads answered by this node's own copies.", s.reads_from_copies),
        ("tercet_reads_parked_total", "Reads that waited for this node's copy.", s.reads_parked),
        ("tercet_reads_sent_on_total", "Those of them that a leader answered.", s.reads_sent_on),
        ("tercet_sessions_lost_total", "Commands answered TOKENLOST.", s.sessions_lost),
        ("tercet_audits_made_total", "Ranges of keys that leaders here had compared.", s.audits_made),
        ("tercet_audits_compared_total", "Ranges that copies here compared.", s.audits_compared),
        ("tercet_audits_differed_total", "Those that differed from the leader's.", s.audits_differed),
        ("tercet_copies_rebuilt_total", "Copies that were made anew after that.", s.copies_rebuilt),
        ("tercet_elections_won_total", "Elections this process won.", s.elections_won),
    ] {
        page.one(name, "counter", help, value);
    }
    log_bytes(page, node);
    latency(page, node);
    staleness(page, s);
    let ledger = node.ledger().totals();
    for (name, help, value) in [
        (
            "tercet_ledger_items",
            "Lost writes, and ranges of them, that nobody has let go (LEDGER).",
            ledger.items,
        ),
        ("tercet_ledger_acknowledged", "Those that were surely acknowledged.", ledger.acknowledged),
        ("tercet_ledger_announced", "Announced losses of unknown extent.", ledger.announced),
        ("tercet_ledger_bytes", "Memory of the ledger.", ledger.bytes),
        ("tercet_ledger_without_payload", "Lost entries whose payload is not kept.", ledger.without_payload),
    ] {
        page.one(name, "gauge", help, value);
    }
    page.one("tercet_map_version", "gauge", "Version of the cluster map known here.", node.map().version);
}

/// How old what copies showed was at most, as far as it was proved.
fn staleness(page: &mut Page, s: &Statistics) {
    let name = "tercet_copy_staleness_ms";
    page.metric(name, "histogram", "Proved bound of the age of what reads from copies showed.");
    let mut below = 0;
    for (bound, count) in AGES_MS.iter().zip(&s.ages) {
        below += count;
        let _ = writeln!(page.0, "{name}_bucket{{le=\"{bound}\"}} {below}");
    }
    let count = below + s.ages[AGES_MS.len()];
    let _ = writeln!(
        page.0,
        "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {}\n{name}_count {count}",
        s.ages_ms
    );
    let unproved = s.ages[AGES_MS.len() + 1];
    page.one("tercet_copy_reads_unbounded_total", "counter", "Reads from copies of no proved age.", unproved);
}

/// Ours, of each group that has a replica here.
fn group_metrics(page: &mut Page, node: &Node) {
    page.per_group(node, ("tercet_group_role", "gauge", "The replica's role: 1."), |state, sample| {
        sample(&format!(",role=\"{}\"", state.replica.role().name()), 1);
    });
    page.per_group(node, ("tercet_group_leads", "gauge", "Whether this node leads."), |state, sample| {
        sample("", u64::from(state.replica.role() == RoleName::Leader));
    });
    page.per_group(node, ("tercet_group_epoch", "gauge", "Newest epoch promised here."), |state, sample| {
        sample("", state.replica.promised().0);
    });
    let help = "Index through which the log is committed.";
    page.per_group(node, ("tercet_group_commit_index", "gauge", help), |state, sample| {
        sample("", state.replica.commit().0);
    });
    let help = "Whether the copy here is in doubt: it is not shown, and a leader serves nobody.";
    page.per_group(node, ("tercet_group_doubted", "gauge", help), |state, sample| {
        sample("", u64::from(!state.audit.is_sound()));
    });
    let help = "Entries that the copy here lacks and its leader has (best-effort).";
    page.per_group(node, ("tercet_group_missed_entries", "gauge", help), |state, sample| {
        sample("", state.shortfall.missed());
    });
    let help = "Replies that wait for the log.";
    page.per_group(node, ("tercet_group_waiting_replies", "gauge", help), |state, sample| {
        sample("", state.waiting as u64);
    });
    let help = "Committed entries that a copy at a recovery site lacks, as its leader told last.";
    page.per_group(node, ("tercet_recovery_point_entries", "gauge", help), |state, sample| {
        if let Some(point) = node.recovery_point(state.group) {
            sample("", point.entries);
        }
    });
    let help = "What a copy at a recovery site lacks was acknowledged no longer ago.";
    page.per_group(node, ("tercet_recovery_point_milliseconds", "gauge", help), |state, sample| {
        if let Some(age) = node.recovery_point(state.group).and_then(|point| point.age) {
            sample("", age.as_millis() as u64);
        }
    });
    // bugs: X-14. What a follower has not proved to hold is lag, whether it is connected or not.
    let help = "Entries that a follower has not proved to hold.";
    page.per_group(node, ("tercet_follower_lag_entries", "gauge", help), |state, sample| {
        let newest = state.replica.newest().index.0;
        for (follower, progress) in state.replica.followers() {
            sample(&format!(",node=\"{}\"", follower.0), newest.saturating_sub(progress.matched.0));
        }
    });
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
        Event::Ledger { group, items, acknowledged } => {
            eprintln!(
                "{name}: group {}: {items} entries that its leader lacks went to the ledger, {acknowledged} of them acknowledged (LEDGER LIST)",
                group.0
            );
        }
        Event::Doubted { group, keyspace, doubt } => eprintln!(
            "{name}: ALARM: keyspace {keyspace}, group {}: this node's copy differs in range {} of its keys at {} ({} keys with sum {:016x} here, {} with {:016x} elsewhere): it is not shown until that is settled",
            group.0,
            doubt.range,
            doubt.position,
            doubt.own.keys,
            doubt.own.sum,
            doubt.other.keys,
            doubt.other.sum
        ),
        Event::Cleared { group } => {
            eprintln!("{name}: group {}: this node's copy was right, most others hold the same", group.0)
        }
        Event::Rebuilt { group, position } => {
            eprintln!("{name}: group {}: this node's copy was made anew through {position}", group.0)
        }
        Event::Leaderless { group, report } => {
            use protocol::leaderless::Report;
            match report {
                Report::Dropped(_)
                | Report::Walked { .. }
                | Report::Collected { .. }
                | Report::HintDropped { .. } => {}
                Report::Ready => eprintln!("{name}: shard {}: this node's copy is rebuilt", group.0),
                Report::WalkAbandoned { peer } => {
                    eprintln!("{name}: shard {}: the walk over {peer} was given up", group.0)
                }
            }
        }
        Event::Site { group, report } => sites::log_report(name, *group, report),
        Event::Refused { group, node, why } => {
            eprintln!("{name}: group {}: the copy of node {} is refused: {why}", group.0, node.0)
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
