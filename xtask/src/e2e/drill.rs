//! The drill of a lost site: an asynchronous keyspace at one site, a copy that is only read at another. That copy is away under
//! load, the first site is killed, the copy is promoted. What was predicted to be missing bounds what is, and when the old site
//! is back its ledger holds just that.
// catalogue: C3

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bench::client::Client;
use bench::resp::Value;
use bench::servers::tercet::Cluster;
use bench::servers::wait_for;
use serde_json::Value as Json;

use super::check;

const TIMEOUT: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(40);
/// Where the nodes stand. The witness keeps the control plane's majority whichever of the other sites is lost.
const SITES: [&str; 5] = ["eu", "eu", "ap", "ap", "us"];
/// Writes before the copy is away, and while it is.
const BEFORE: usize = 200;
const BEHIND: usize = 300;
const VALUE_BYTES: usize = 1 << 10;

/// An acknowledged write, and when that was.
struct Write {
    key: String,
    at: Instant,
}

pub fn run() -> Result<()> {
    let mut cluster = Cluster::found_over(&crate::shell::tercet_binary()?, &SITES)?;
    let control = cluster.wait_for_leader(Duration::from_secs(10))?;
    let line = "KEYSPACE CREATE shop SINGLE-LEADER REPLICAS 2 SITE eu RECOVERY-SITE ap COMMIT async";
    let mut client = Client::connect(cluster.nodes[control].resp, TIMEOUT)?;
    let made = client.call(&line.split(' ').collect::<Vec<_>>())?;
    ensure!(made == ok(), "{line}: {made:?}");
    let (leader, copy, id) = wait_for("a leader and a copy at the recovery site", LONG, || placed(&cluster))?;
    ensure!(SITES[leader] == "eu" && SITES[copy] == "ap", "leader n{}, copy n{}", leader + 1, copy + 1);

    let mut writes = load(&cluster, leader, 0, BEFORE)?;
    let asked_at = Instant::now();
    let point = wait_for("a recovery point", LONG, || {
        let point = group(&cluster, copy)?["recovery_point"].clone();
        point["ms"].is_u64().then_some(point)
    })?;
    println!("  the copy at ap before: {} ms, {} entries behind", point["ms"], point["entries"]);
    let age = Duration::from_millis(point["ms"].as_u64().context("ms")? + 1);

    // The copy is away. A stopped process would not do: what waits in its sockets would be read later.
    cluster.nodes[copy].kill();
    writes.extend(load(&cluster, leader, BEFORE, BEHIND)?);
    let entries = group(&cluster, leader).and_then(|group| lag_of(&group, id)).context("the copy's lag")?;
    let killed_at = Instant::now();
    for node in (0..SITES.len()).filter(|node| SITES[*node] == "eu") {
        cluster.nodes[node].kill();
    }
    // Nothing that it lacks was acknowledged longer ago than this: what was proved when it was asked last, and the time since.
    let predicted = age + killed_at.duration_since(asked_at);
    cluster.nodes[copy].start()?;
    cluster.nodes[copy].wait_until_listening()?;
    promote(&cluster, copy)?;

    let kept = keys(&cluster, copy)?;
    let lost: Vec<&Write> = writes.iter().filter(|write| !kept.contains(&write.key)).collect();
    let actual = lost.iter().map(|write| killed_at.duration_since(write.at)).max().unwrap_or_default();
    println!("  predicted: at most {} ms, {entries} entries", predicted.as_millis());
    println!(
        "  actual:            {} ms, {} acknowledged writes of {}",
        actual.as_millis(),
        lost.len(),
        writes.len()
    );
    check(!lost.is_empty(), "the copy was behind: acknowledged writes are missing", ())?;
    check(
        lost.len() as u64 <= entries,
        "no more entries are missing than the leader told before",
        lost.len(),
    )?;
    check(actual <= predicted, "none of them was acknowledged longer ago than predicted", actual)?;

    for node in (0..SITES.len()).filter(|node| SITES[*node] == "eu") {
        cluster.nodes[node].start()?;
        cluster.nodes[node].wait_until_listening()?;
    }
    let lost: BTreeSet<String> = lost.iter().map(|write| write.key.clone()).collect();
    let listed = wait_for("what is missing, in the ledger of the old site", LONG, || {
        let listed = ledger(&cluster, copy).ok()?;
        lost.is_subset(&listed).then_some(listed)
    })?;
    check(listed == lost, "the ledger holds what is missing, and only that", listed.len())
}

fn ok() -> Value {
    Value::Simple("OK".into())
}

/// Writes that were acknowledged.
fn load(cluster: &Cluster, leader: usize, from: usize, count: usize) -> Result<Vec<Write>> {
    let mut client = Client::connect(cluster.nodes[leader].resp, TIMEOUT)?;
    client.call(&["SELECT", "shop"])?;
    let value = "x".repeat(VALUE_BYTES);
    let mut writes = Vec::new();
    for number in from..from + count {
        let key = format!("order{number:04}");
        // The copy's node may lead the control plane: until another does, writes are refused.
        wait_for("a write", TIMEOUT, || (client.call(&["SET", &key, &value]).ok()? == ok()).then_some(()))?;
        writes.push(Write { key, at: Instant::now() });
    }
    Ok(writes)
}

fn promote(cluster: &Cluster, copy: usize) -> Result<()> {
    let number = wait_for("the number of the group", LONG, || group(cluster, copy)?["group"].as_u64())?;
    let (number, name) = (number.to_string(), cluster.nodes[copy].name.clone());
    let mut last = None;
    let promoted = wait_for("the promotion", LONG, || {
        let mut client = Client::connect(cluster.nodes[copy].resp, TIMEOUT).ok()?;
        let asked = client.call(&["KEYSPACE", "PROMOTE", &number, &name, "ACCEPT-LOSS"]).ok()?;
        let done = asked == ok();
        last = Some(asked);
        done.then_some(())
    });
    promoted.with_context(|| format!("PROMOTE {number} {name}: {last:?}"))?;
    wait_for("a write at the recovery site", LONG, || {
        let mut client = Client::connect(cluster.nodes[copy].resp, TIMEOUT).ok()?;
        client.call(&["SELECT", "shop"]).ok()?;
        (client.call(&["SET", "after", "1"]).ok()? == ok()).then_some(())
    })?;
    println!("  ok: {name} leads at ap, and takes writes");
    Ok(())
}

/// The keys of the load that are there.
fn keys(cluster: &Cluster, node: usize) -> Result<BTreeSet<String>> {
    let mut client = Client::connect(cluster.nodes[node].resp, TIMEOUT)?;
    client.call(&["SELECT", "shop"])?;
    let reply = client.call(&["KEYS", "order*"])?;
    let Value::Array(keys) = &reply else { anyhow::bail!("KEYS: {reply:?}") };
    keys.iter().map(text).collect::<Option<_>>().context("keys")
}

/// The keys that the entries of the ledgers within reach write.
fn ledger(cluster: &Cluster, node: usize) -> Result<BTreeSet<String>> {
    let mut client = Client::connect(cluster.nodes[node].resp, TIMEOUT)?;
    let (mut keys, mut after) = (BTreeSet::new(), None::<String>);
    loop {
        let reply = match &after {
            Some(after) => client.call(&["LEDGER", "LIST", "shop", "AFTER", after])?,
            None => client.call(&["LEDGER", "LIST", "shop"])?,
        };
        let Some(Value::Array(items)) = field(&reply, "items") else { anyhow::bail!("{reply:?}") };
        for item in items {
            let id = field(item, "id").and_then(text).context("an id")?;
            let announced = field(item, "mark").and_then(text).is_some_and(|mark| mark == "announced");
            if !announced {
                let item = client.call(&["LEDGER", "GET", &id])?;
                keys.insert(key_of(&item).with_context(|| format!("LEDGER GET {id}"))?);
            }
            after = Some(id);
        }
        let more = matches!(field(&reply, "more"), Some(Value::Integer(1)));
        if !more {
            return Ok(keys);
        }
    }
}

/// The key of the first operation that LEDGER GET shows.
fn key_of(item: &Value) -> Option<String> {
    let Value::Array(operations) = field(item, "operations")? else { return None };
    let Value::Array(words) = field(operations.first()?, "operation")? else { return None };
    text(words.get(1)?)
}

/// A field of a map in RESP2: names and values in turn.
fn field<'v>(map: &'v Value, name: &str) -> Option<&'v Value> {
    let Value::Array(items) = map else { return None };
    let is_it = |pair: &&[Value]| text(&pair[0]).is_some_and(|it| it == name);
    items.chunks_exact(2).find(is_it).map(|pair| &pair[1])
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Bulk(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    }
}

fn status(cluster: &Cluster, node: usize) -> Option<Json> {
    let mut client = Client::connect(cluster.nodes[node].resp, TIMEOUT).ok()?;
    let Value::Bulk(text) = client.call(&["KEYSPACE", "STATUS"]).ok()? else { return None };
    serde_json::from_slice(&text).ok()
}

/// The keyspace's group as one node sees it.
fn group(cluster: &Cluster, node: usize) -> Option<Json> {
    status(cluster, node)?["groups"].as_array()?.iter().find(|group| group["keyspace"] == "shop").cloned()
}

/// The leader, the copy that is only read and its number, once that holds everything.
fn placed(cluster: &Cluster) -> Option<(usize, usize, u64)> {
    let any = status(cluster, 0)?;
    let view = any["groups"].as_array()?.iter().find(|group| group["keyspace"] == "shop")?.clone();
    let node = |id: &Json| {
        let known = any["nodes"].as_array()?.iter().find(|node| node["id"] == *id)?;
        cluster.nodes.iter().position(|node| known["name"] == node.name.as_str())
    };
    let id = view["read_replicas"].as_array()?.first()?;
    let (leader, copy) = (node(&view["leader"])?, node(id)?);
    let group = group(cluster, leader)?;
    let level = group["replicas"].as_array()?.iter().all(|replica| replica["state"] == "in-sync");
    level.then_some((leader, copy, id.as_u64()?))
}

/// Entries that a copy had not proved to hold, as its leader knows.
fn lag_of(group: &Json, id: u64) -> Option<u64> {
    group["replicas"].as_array()?.iter().find(|replica| replica["node"] == id)?["lag"].as_u64()
}
