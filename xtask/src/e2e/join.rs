//! A node with an empty disk joins a cluster that holds many keys and is being written to.
// catalogue: E1-E5

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bench::client::Client;
use bench::load::{self, KeyOrder, Load, Outcome, Stop};
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
/// The leader's p99 while a node joins, compared with before.
const P99_RATIO_MAX: f64 = 1.5;
const JOIN_TIMEOUT: Duration = Duration::from_secs(180);
/// How many keys are compared one by one.
const COMPARED_KEYS: u64 = 20_000;

pub fn run(options: &Options) -> Result<()> {
    let mut cluster = Cluster::found(&crate::shell::tercet_binary()?, 3)?;
    let leader = cluster.nodes[cluster.wait_for_leader(Duration::from_secs(10))?].resp;
    let began = Instant::now();
    fill(leader, options.keys)?;
    println!("  {} keys written in {:.1} s", options.keys, began.elapsed().as_secs_f64());

    let before = write_load(leader, options.keys, Duration::from_secs(5))?;
    let joiner = cluster.add_joiner()?;
    joiner.start()?;
    let (name, joiner_address) = (joiner.name.clone(), joiner.resp);
    let join_began = Instant::now();
    let (during, joined_after) = std::thread::scope(|scope| -> Result<_> {
        let load = scope.spawn(|| {
            // Measured in slices while the node joins: the worst of them counts, at least three.
            let mut slices = Vec::new();
            while slices.len() < 3 || !is_in_sync(&cluster, &name) && join_began.elapsed() < JOIN_TIMEOUT {
                slices.push(write_load(leader, options.keys, Duration::from_secs(2))?);
            }
            anyhow::Ok(slices)
        });
        let joined_after = wait_for("the new node in sync", JOIN_TIMEOUT, || {
            is_in_sync(&cluster, &name).then(|| join_began.elapsed())
        });
        let slices = load.join().map_err(|_| anyhow::anyhow!("the load ended with a panic"))??;
        Ok((slices, joined_after?))
    })?;
    let p99_during = during.iter().map(|slice| slice.latency_p99).max().unwrap_or_default();
    let ratio = p99_during.as_secs_f64() / before.latency_p99.as_secs_f64();
    println!(
        "join: in sync after {:.1} s; leader p99 {} µs before, {} µs during: {ratio:.2}x; longest wait {} µs",
        joined_after.as_secs_f64(),
        before.latency_p99.as_micros(),
        p99_during.as_micros(),
        during.iter().map(|slice| slice.latency_max).max().unwrap_or_default().as_micros(),
    );
    compare(leader, joiner_address, options.keys)?;
    ensure!(
        ratio <= P99_RATIO_MAX,
        "the leader's p99 grew {ratio:.2}x while a node joined, above {P99_RATIO_MAX}"
    );
    Ok(())
}

/// Whether `tercet ctl status --json` names the node in sync.
fn is_in_sync(cluster: &Cluster, name: &str) -> bool {
    let Ok(text) = cluster.status_json() else { return false };
    let Ok(status) = serde_json::from_str::<serde_json::Value>(&text) else { return false };
    mentions_in_sync(&status, name)
}

/// Looks for an object `{"name": name, ..., "state": "in-sync"}` at any depth, so that the status may grow.
fn mentions_in_sync(status: &serde_json::Value, name: &str) -> bool {
    match status {
        serde_json::Value::Object(fields) => {
            let text = |field: &str| fields.get(field).and_then(|value| value.as_str());
            (text("name") == Some(name) && text("state") == Some("in-sync"))
                || fields.values().any(|value| mentions_in_sync(value, name))
        }
        serde_json::Value::Array(items) => items.iter().any(|item| mentions_in_sync(item, name)),
        _ => false,
    }
}

fn fill(leader: SocketAddr, keys: u64) -> Result<()> {
    let load = Load {
        addresses: vec![leader],
        connections: 16,
        pipeline: 64,
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
