//! Writes at one, two and three sites, each a process of its own on one machine: how many in all, how long one takes where it is made,
//! what the sites send each other for it, and how long after the last one all sites have everything.
//!
//! The machine is shared: each write is applied at every site, so what two or three sites do together is bounded by its cores, not by what
//! the sites wait for. Distances are another question: `tercet up --sites ... --rtt ...` has them.
// catalogue: I1 I9 J2

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::load::{KeyOrder, Load, Outcome, Pace, Stop, run};
use crate::redis_load::{RedisDialect, Work};
use crate::resp::Value;
use crate::servers::tercet::Cluster;
use crate::servers::{Metrics, ask, info_field, wait_for};

const SITES: [&str; 3] = ["eu", "us", "ap"];
const TIMEOUT: Duration = Duration::from_secs(60);
const CONNECTIONS: usize = 16;
const VALUE_BYTES: usize = 64;
const KEYS: u64 = 100_000;
const WARM_UP: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub struct Plan {
    pub tercet: PathBuf,
    /// Of each measurement.
    pub seconds: u64,
}

/// One keyspace under load.
#[derive(Debug)]
struct Row {
    name: String,
    /// From all clients together.
    written: Outcome,
    /// Bytes that all nodes sent each other, per write.
    sent: f64,
    /// From the last answer until no site lacks anything.
    caught_up: Duration,
}

#[derive(Debug)]
pub struct Report(Vec<Row>);

/// Measures; a table.
///
/// # Errors
/// When a node cannot be started, a keyspace cannot be made, or the sites do not become equal.
pub fn measure(plan: &Plan, progress: &mut dyn FnMut(&str)) -> io::Result<Report> {
    let cluster = Cluster::found_over(&plan.tercet, &SITES)?;
    let mut rows = Vec::new();
    for (number, [options, writers]) in [
        ["SINGLE-LEADER REPLICAS 1 COMMIT majority SITE eu", "eu"],
        ["MULTI-LEADER SITES eu,us REPLICAS 1 COMMIT majority", "eu"],
        ["MULTI-LEADER SITES eu,us REPLICAS 1 COMMIT majority", "eu,us"],
        ["MULTI-LEADER SITES eu,us,ap REPLICAS 1 COMMIT majority", "eu"],
        ["MULTI-LEADER SITES eu,us,ap REPLICAS 1 COMMIT majority", "eu,us,ap"],
        // Each write is agreed to first: on one machine this is what that costs in work; what it costs in waiting is the way between sites.
        ["MULTI-LEADER SITES eu,us,ap REPLICAS 1 COMMIT majority CONFLICT block", "eu"],
        ["MULTI-LEADER SITES eu,us,ap REPLICAS 1 COMMIT majority CONFLICT block", "eu,us,ap"],
    ]
    .into_iter()
    .enumerate()
    {
        let keyspace = format!("figures{number}");
        let writers: Vec<usize> = (0..SITES.len()).filter(|at| writers.contains(SITES[*at])).collect();
        create(&cluster, &keyspace, options, &writers)?;
        let row = row(&cluster, plan, &keyspace, options, &writers)?;
        progress(&row.to_string());
        rows.push(row);
    }
    Ok(Report(rows))
}

fn create(cluster: &Cluster, keyspace: &str, options: &str, writers: &[usize]) -> io::Result<()> {
    let line = format!("KEYSPACE CREATE {keyspace} {options}");
    let words: Vec<&str> = line.split_whitespace().collect();
    let ok = Value::Simple("OK".into());
    wait_for("the keyspace", TIMEOUT, || {
        let reply = ask(cluster.nodes[0].resp, &words)?;
        let exists = matches!(&reply, Value::Error(text) if text.contains("exists"));
        (reply == ok || exists).then_some(())
    })?;
    for at in writers {
        wait_for("a write at each site", TIMEOUT, || {
            let mut client = Client::connect(cluster.nodes[*at].resp, TIMEOUT).ok()?;
            let is_ok = |reply: Value| (reply == ok).then_some(());
            is_ok(client.call(&["SELECT", keyspace]).ok()?)?;
            is_ok(client.call(&["SET", "ready", "1"]).ok()?)
        })?;
    }
    wait_until_equal(cluster)
}

fn row(cluster: &Cluster, plan: &Plan, keyspace: &str, options: &str, writers: &[usize]) -> io::Result<Row> {
    let addresses: Vec<SocketAddr> = writers.iter().map(|at| cluster.nodes[*at].resp).collect();
    let load = Load {
        addresses,
        connections: CONNECTIONS * writers.len(),
        pipeline: 1,
        pace: Pace::Closed,
        keys: KEYS,
        key_order: KeyOrder::Random,
        warm_up: Duration::ZERO,
        stop: Stop::After(WARM_UP),
        pids: cluster.pids(),
        seed: 1,
    };
    let dialect = |_| RedisDialect::new(Work::Set, VALUE_BYTES).opening(&["SELECT", keyspace]);
    run(&load, dialect)?;
    wait_until_equal(cluster)?;
    // Each write from here on is counted, and all that it sends.
    let load = Load { stop: Stop::After(Duration::from_secs(plan.seconds)), ..load };
    let sent = || -> io::Result<f64> { sum(cluster, "tercet_peer_sent_bytes_total{", "peer=") };
    // What goes on without any write: heartbeats, leases, what links tell each other.
    let idle = sent()?;
    std::thread::sleep(WARM_UP);
    let before = sent()?;
    let noise = (before - idle) / WARM_UP.as_secs_f64();
    let began = Instant::now();
    let written = run(&load, dialect)?;
    let ended = Instant::now();
    wait_until_equal(cluster)?;
    let caught_up = ended.elapsed();
    let bytes = sent()? - before - noise * began.elapsed().as_secs_f64();
    let sent = bytes / written.operations.max(1) as f64;
    let from: Vec<&str> = writers.iter().map(|at| SITES[*at]).collect();
    Ok(Row { name: format!("{options}, written at {}", from.join(",")), written, sent, caught_up })
}

fn sum(cluster: &Cluster, name: &str, label: &str) -> io::Result<f64> {
    cluster.nodes.iter().map(|node| Ok(Metrics::of(node.http)?.sum(name, label))).sum()
}

/// As each site's leader counts what the others lack.
fn wait_until_equal(cluster: &Cluster) -> io::Result<()> {
    wait_for("sites that lack nothing", TIMEOUT, || {
        let lag = |resp| info_field(resp, "sites", "sites_lag_operations");
        cluster.nodes.iter().all(|node| lag(node.resp).as_deref() == Some("0")).then_some(())
    })
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { name, written, sent, caught_up } = self;
        write!(
            f,
            "{name}\n  {:.0} writes/s, {} errors, p50 {:?}, p99 {:?}, {:.1} us CPU, {sent:.0} bytes sent per write, all sites equal {:.0?} after the last",
            written.rate(),
            written.errors,
            written.latency_p50,
            written.latency_p99,
            written.cpu_micros(),
            caught_up
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}
