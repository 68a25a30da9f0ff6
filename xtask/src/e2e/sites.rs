//! A multi-leader keyspace over three sites of real processes: each site writes by itself, one is stopped while the others go on and
//! comes back, the leader of another is killed under load. In the end all sites hold the same, nothing acknowledged is lost, and
//! nothing counts twice.
// catalogue: I1 I2 I3 J9 J17

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bench::client::Client;
use bench::resp::Value;
use bench::servers::tercet::Cluster;
use bench::servers::wait_for;
use serde_json::Value as Json;

use super::check;

const TIMEOUT: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(60);
const SITES: [&str; 6] = ["eu", "us", "ap", "eu", "us", "eu"];
const WRITES: usize = 200;
const SIGSTOP: i32 = 19;
const SIGCONT: i32 = 18;

pub fn run() -> Result<()> {
    let mut cluster = Cluster::found_over(&crate::shell::tercet_binary()?, &SITES)?;
    let control = cluster.wait_for_leader(Duration::from_secs(10))?;
    let line = "KEYSPACE CREATE world MULTI-LEADER SITES eu,us,ap REPLICAS 3 COMMIT majority";
    let mut client = Client::connect(cluster.nodes[control].resp, TIMEOUT)?;
    let made = client.call(&line.split(' ').collect::<Vec<_>>())?;
    ensure!(made == ok(), "{line}: {made:?}");

    let mut acknowledged = 0;
    for (node, site) in SITES.iter().enumerate().take(3) {
        acknowledged += load(&cluster, node, site, "first")?;
    }
    agree(&cluster, &[0, 1, 2, 3, 4, 5], acknowledged)?;
    check(true, "each site writes by itself, and all see it", acknowledged)?;

    // A site is away; the control plane keeps its majority.
    let away: Vec<usize> = (0..SITES.len()).filter(|node| SITES[*node] == "ap").collect();
    for node in &away {
        cluster.nodes[*node].signal(SIGSTOP)?;
    }
    acknowledged += load(&cluster, 0, "eu", "second")?;
    acknowledged += load(&cluster, 1, "us", "second")?;
    agree(&cluster, &[0, 1, 3, 4, 5], acknowledged)?;
    check(true, "the others go on while a site is away", acknowledged)?;
    for node in &away {
        cluster.nodes[*node].signal(SIGCONT)?;
    }
    agree(&cluster, &[0, 1, 2, 3, 4, 5], acknowledged)?;
    check(true, "it has everything when it is back", acknowledged)?;

    let leader = leader_at(&cluster, "eu")?;
    cluster.nodes[leader].kill();
    let other =
        (0..SITES.len()).find(|node| SITES[*node] == "eu" && *node != leader).context("another one")?;
    acknowledged += load(&cluster, other, "eu", "third")?;
    cluster.nodes[leader].start()?;
    cluster.nodes[leader].wait_until_listening()?;
    agree(&cluster, &[0, 1, 2, 3, 4, 5], acknowledged)?;
    check(true, "a failover within a site loses nothing and counts nothing twice", acknowledged)
}

fn ok() -> Value {
    Value::Simple("OK".into())
}

fn open(cluster: &Cluster, node: usize) -> Result<Client> {
    wait_for("the keyspace", LONG, || {
        let mut client = Client::connect(cluster.nodes[node].resp, TIMEOUT).ok()?;
        (client.call(&["SELECT", "world"]).ok()? == ok()).then_some(client)
    })
    .map_err(Into::into)
}

/// Increments one counter of all sites, and adds as many members; what was refused is sent again, and what nobody knows of goes under
/// an id of its own, so that it happens once.
fn load(cluster: &Cluster, node: usize, site: &str, part: &str) -> Result<i64> {
    let mut client = open(cluster, node)?;
    for number in 0..WRITES {
        let member = format!("{site}-{part}-{number}");
        let id = format!("{site}{part}:{}", number + 1);
        let mut last = None;
        wait_for("a write", LONG, || {
            let added = client.call(&["SADD", "members", &member]).ok()?;
            let counted = match added {
                Value::Integer(_) => client.call(&["WITH", "REQUEST", &id, "DO", "INCR", "total"]).ok()?,
                refused => refused,
            };
            let done = matches!(counted, Value::Integer(_));
            last = Some(counted);
            done.then_some(())
        })
        .with_context(|| format!("{member}: {last:?}"))?;
    }
    Ok(WRITES as i64)
}

/// Waits until these nodes show all of it, and no more.
fn agree(cluster: &Cluster, nodes: &[usize], count: i64) -> Result<()> {
    for node in nodes {
        let mut seen = None;
        wait_for("equal sites", LONG, || {
            let mut client = open(cluster, *node).ok()?;
            let total = client.call(&["GET", "total"]).ok()?;
            let members = client.call(&["SCARD", "members"]).ok()?;
            let equal = total == Value::Bulk(count.to_string().into()) && members == Value::Integer(count);
            seen = Some((total, members));
            equal.then_some(())
        })
        .with_context(|| format!("n{} at {} shows {seen:?} of {count}", node + 1, SITES[*node]))?;
    }
    Ok(())
}

/// The node that leads the keyspace's group of a site.
fn leader_at(cluster: &Cluster, site: &str) -> Result<usize> {
    let found = wait_for("the leader of a site", LONG, || {
        let status: Json = serde_json::from_str(&cluster.status_json().ok()?).ok()?;
        let node = |id: &Json| {
            let known = status["nodes"].as_array()?.iter().find(|node| node["id"] == *id)?;
            cluster.nodes.iter().position(|node| known["name"] == node.name.as_str())
        };
        let of = status["groups"].as_array()?.iter().filter(|group| group["keyspace"] == "world");
        of.filter_map(|group| node(&group["leader"])).find(|node| SITES[*node] == site)
    })?;
    Ok(found)
}
