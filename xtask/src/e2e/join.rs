//! A node with an empty disk takes the place of one that left, in a cluster that holds many keys and is being written to.
// catalogue: E1-E5

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bench::client::Client;
use bench::load::{self, KeyOrder, Load, Outcome, Pace, Stop};
use bench::redis_load::{RedisDialect, Work, key_name};
use bench::resp::Value;
use bench::servers::tercet::Cluster;
use bench::servers::wait_for;

use super::check;

#[derive(clap::Args)]
pub struct Options {
    /// Keys in the cluster before the node joins.
    #[arg(long, default_value_t = 1_000_000)]
    pub keys: u64,
}

const VALUE_BYTES: usize = 64;
/// The leader's p99 while a node joins, compared with the whole cluster of as many nodes, which is what it runs as.
const P99_RATIO_MAX: f64 = 1.5;
/// Slices of 2 s before the node joins, and when it has joined.
const SLICES: usize = 5;
const JOIN_TIMEOUT: Duration = Duration::from_secs(180);
/// Writes per second meanwhile: about a third of what the cluster can do on two cores with the generator beside it. A closed
/// loop would take all of both cores, and then show how they are divided instead of what a join costs.
const WRITES_PER_SECOND: u32 = 4_000;
/// How many keys are compared one by one.
const COMPARED_KEYS: u64 = 20_000;

/// With fewer keys the join is too short for a p99 of it to mean anything: it is shown only.
const JUDGED_FROM_KEYS: u64 = 1_000_000;

pub fn run(options: &Options) -> Result<()> {
    let mut cluster = Cluster::found(&crate::shell::tercet_binary()?, 3)?;
    let leading = cluster.wait_for_leader(Duration::from_secs(10))?;
    let leader = cluster.nodes[leading].resp;
    let began = Instant::now();
    // Twice, so that the log no longer reaches back to its beginning: the new node needs a snapshot and the log behind it.
    for _ in 0..2 {
        fill(leader, options.keys)?;
    }
    println!("  {} keys written twice in {:.1} s", options.keys, began.elapsed().as_secs_f64());

    // Three replicas are all that the keyspace wants: the new node gets the place of a follower that leaves for good. What
    // its joining costs is told against the cluster of three that it makes whole: on one machine a third process costs
    // something by being there. What the two that are left take is shown.
    remove(&mut cluster, leading, (leading + 1) % 3)?;
    let some_slices = || -> Result<Vec<Outcome>> {
        (0..SLICES).map(|_| write_load(leader, options.keys, Duration::from_secs(2))).collect()
    };
    let before = some_slices()?;
    let joiner = cluster.add_joiner()?;
    joiner.start()?;
    let (name, joiner_address) = (joiner.name.clone(), joiner.resp);
    let join_began = Instant::now();
    let (during, joined_after) = std::thread::scope(|scope| -> Result<_> {
        let load = scope.spawn(|| {
            // Measured in slices while the node joins, at least three.
            let mut slices = Vec::new();
            while slices.len() < 3 || !is_in_sync(&cluster, &name) && join_began.elapsed() < JOIN_TIMEOUT {
                slices.push(write_load(leader, options.keys, Duration::from_secs(2))?);
            }
            anyhow::Ok(slices)
        });
        let joined_after = wait_for("the new node in sync", JOIN_TIMEOUT, || {
            // Each look is a process of its own on the same two cores.
            std::thread::sleep(Duration::from_millis(500));
            is_in_sync(&cluster, &name).then(|| join_began.elapsed())
        });
        let slices = load.join().map_err(|_| anyhow::anyhow!("the load ended with a panic"))??;
        Ok((slices, joined_after?))
    })?;
    let after = some_slices()?;
    let [p99_before, p99_during, p99_after] = [&before, &during, &after].map(|slices| median_p99(slices));
    let ratio = p99_during.as_secs_f64() / p99_after.as_secs_f64();
    println!(
        "join: in sync after {:.1} s; leader p99 {} µs during, {} µs with all three: {ratio:.2}x ({} µs with two: {:.2}x)",
        joined_after.as_secs_f64(),
        p99_during.as_micros(),
        p99_after.as_micros(),
        p99_before.as_micros(),
        p99_during.as_secs_f64() / p99_before.as_secs_f64(),
    );
    for (when, slices) in [("with two", &before), ("during", &during), ("with three", &after)] {
        println!("  longest wait {when}: {} µs", longest(slices).as_micros());
        let p99s: Vec<String> =
            slices.iter().map(|slice| slice.latency_p99.as_micros().to_string()).collect();
        println!("  p99 of every 2 s {when}: {} µs at {WRITES_PER_SECOND} writes/s", p99s.join(" "));
    }
    compare(leader, joiner_address, options.keys)?;
    // A join of a moment measures the start of a process on the same two cores, not the shipping of data.
    if options.keys < JUDGED_FROM_KEYS {
        println!("  the ratio is not judged: fewer than {JUDGED_FROM_KEYS} keys");
        return Ok(());
    }
    ensure!(
        ratio <= P99_RATIO_MAX,
        "the leader's p99 grew {ratio:.2}x while a node joined, above {P99_RATIO_MAX}"
    );
    Ok(())
}

/// The p99 of the middle one of slices of equal length.
fn median_p99(slices: &[Outcome]) -> Duration {
    let mut sorted: Vec<Duration> = slices.iter().map(|slice| slice.latency_p99).collect();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn longest(slices: &[Outcome]) -> Duration {
    slices.iter().map(|slice| slice.latency_max).max().unwrap_or_default()
}

/// Takes a node out of the cluster, waits until the map no longer names it, and kills it.
fn remove(cluster: &mut Cluster, leading: usize, leaving: usize) -> Result<()> {
    let name = cluster.nodes[leaving].name.clone();
    let mut command = std::process::Command::new(&cluster.program);
    command.args(["ctl", "--connect", &cluster.nodes[leading].resp.to_string(), "remove", &name]);
    ensure!(command.output()?.status.success(), "tercet ctl remove {name}");
    wait_for("the node that leaves", Duration::from_secs(20), || {
        // The leader is asked: the node that left hears no news of the cluster any more.
        let leader = cluster.nodes[leading].resp.to_string();
        let mut command = std::process::Command::new(&cluster.program);
        let output = command.args(["ctl", "--connect", &leader, "status", "--json"]).output().ok()?;
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        node_id(&status, &name).is_none().then_some(())
    })?;
    cluster.nodes[leaving].kill();
    Ok(())
}

fn status(cluster: &Cluster) -> Option<serde_json::Value> {
    serde_json::from_str(&cluster.status_json().ok()?).ok()
}

/// The number of the node with this name.
fn node_id(status: &serde_json::Value, name: &str) -> Option<u64> {
    let nodes = status.get("nodes")?.as_array()?;
    nodes.iter().find(|node| node.get("name").and_then(|n| n.as_str()) == Some(name))?.get("id")?.as_u64()
}

/// Whether `tercet ctl status --json` names the node as a replica in sync, in the electable set of a group.
fn is_in_sync(cluster: &Cluster, name: &str) -> bool {
    let Some(status) = status(cluster) else { return false };
    let Some(id) = node_id(&status, name) else { return false };
    let groups = status.get("groups").and_then(|groups| groups.as_array());
    groups.into_iter().flatten().any(|group| {
        let replicas = group.get("replicas").and_then(|replicas| replicas.as_array());
        replicas.into_iter().flatten().any(|replica| {
            replica.get("node").and_then(|node| node.as_u64()) == Some(id)
                && replica.get("in_sync").and_then(|it| it.as_bool()) == Some(true)
        })
    })
}

fn fill(leader: SocketAddr, keys: u64) -> Result<()> {
    let load = Load {
        addresses: vec![leader],
        connections: 16,
        pipeline: 64,
        pace: Pace::Closed,
        keys,
        key_order: KeyOrder::Sequential,
        warm_up: Duration::ZERO,
        stop: Stop::Operations(keys),
        pids: Vec::new(),
        seed: 1,
    };
    let outcome = load::run(&load, |_| RedisDialect::new(Work::Set, VALUE_BYTES))?;
    check(outcome.errors == 0, "no write is refused while filling", outcome.errors)
}

fn write_load(leader: SocketAddr, keys: u64, time: Duration) -> Result<Outcome> {
    let load = Load {
        addresses: vec![leader],
        connections: 16,
        pipeline: 1,
        pace: Pace::Open { per_second: WRITES_PER_SECOND },
        keys,
        key_order: KeyOrder::Random,
        warm_up: Duration::from_millis(200),
        stop: Stop::After(time),
        pids: Vec::new(),
        seed: 7,
    };
    let outcome = load::run(&load, |_| RedisDialect::new(Work::Set, VALUE_BYTES))?;
    ensure!(outcome.errors == 0, "{} writes were refused", outcome.errors);
    Ok(outcome)
}

/// The joined node answers as the leader does.
fn compare(leader: SocketAddr, joiner: SocketAddr, keys: u64) -> Result<()> {
    let connect = |address| Client::connect(address, Duration::from_secs(10));
    let (mut leader, mut joiner) = (connect(leader)?, connect(joiner)?);
    let sizes = [leader.call(&["DBSIZE"])?, joiner.call(&["DBSIZE"])?];
    check(sizes[0] == Value::Integer(keys as i64) && sizes[0] == sizes[1], "both hold every key", &sizes)?;
    let step = (keys / COMPARED_KEYS).max(1) as usize;
    let mut different = 0;
    for key in (0..keys).step_by(step) {
        let get = [b"GET".as_slice(), &key_name(key)];
        different += u64::from(leader.call(&get)? != joiner.call(&get)?);
    }
    check(different == 0, "both give the same values", different)
}
