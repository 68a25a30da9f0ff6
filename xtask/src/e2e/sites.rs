//! A multi-leader keyspace over three sites of real processes: each site writes by itself, one is stopped while the others go on and
//! comes back, the leader of another is killed under load. In the end all sites hold the same, nothing acknowledged is lost, and
//! nothing counts twice.
// catalogue: I1 I2 I3 I5 J2 J3 J9 J17

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bench::client::{CallError, Client};
use bench::resp::Value;
use bench::servers::tercet::Cluster;
use bench::servers::wait_for;
use serde_json::Value as Json;

use super::check;

const TIMEOUT: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(60);
const SITES: [&str; 6] = ["eu", "us", "ap", "eu", "us", "eu"];
const WRITES: usize = 200;
const HOPS: usize = 60;
const LOCKS: usize = 30;
const SIGSTOP: i32 = 19;
const SIGCONT: i32 = 18;

pub fn run() -> Result<()> {
    let mut cluster = Cluster::found_over(&crate::shell::tercet_binary()?, &SITES)?;
    let control = cluster.wait_for_leader(Duration::from_secs(10))?;
    let line = "KEYSPACE CREATE world MULTI-LEADER SITES eu,us,ap REPLICAS 3 COMMIT majority";
    let mut client = Client::connect(cluster.nodes[control].resp, TIMEOUT)?;
    let made = client.call(&line.split(' ').collect::<Vec<_>>())?;
    ensure!(made == ok(), "{line}: {made:?}");

    let mut written = Written::default();
    for (node, site) in SITES.iter().enumerate().take(3) {
        written += load(&cluster, node, site, "first")?;
    }
    agree(&cluster, &[0, 1, 2, 3, 4, 5], written)?;
    check(true, "each site writes by itself, and all see it", written.members)?;

    go_round(&cluster)?;
    lock(&cluster, "home")?;
    lock(&cluster, "block")?;

    // A site is away; the control plane keeps its majority.
    let away: Vec<usize> = (0..SITES.len()).filter(|node| SITES[*node] == "ap").collect();
    for node in &away {
        cluster.nodes[*node].signal(SIGSTOP)?;
    }
    written += load(&cluster, 0, "eu", "second")?;
    written += load(&cluster, 1, "us", "second")?;
    agree(&cluster, &[0, 1, 3, 4, 5], written)?;
    check(true, "the others go on while a site is away", written.members)?;
    for node in &away {
        cluster.nodes[*node].signal(SIGCONT)?;
    }
    agree(&cluster, &[0, 1, 2, 3, 4, 5], written)?;
    check(true, "it has everything when it is back", written.members)?;

    let leader = leader_at(&cluster, "eu")?;
    cluster.nodes[leader].kill();
    let other =
        (0..SITES.len()).find(|node| SITES[*node] == "eu" && *node != leader).context("another one")?;
    written += load(&cluster, other, "eu", "third")?;
    cluster.nodes[leader].start()?;
    cluster.nodes[leader].wait_until_listening()?;
    agree(&cluster, &[0, 1, 2, 3, 4, 5], written)?;
    check(true, "a failover within a site loses nothing and counts nothing twice", written.members)
}

/// A session goes from site to site with its token, and finds there what it left.
// catalogue: I5
fn go_round(cluster: &Cluster) -> Result<()> {
    let mut token: Option<String> = None;
    for turn in 0..HOPS {
        let mut client = open(cluster, turn % SITES.len())?;
        if let Some(token) = &token {
            let resumed = client.call(&["SESSION", "RESUME", token])?;
            ensure!(resumed == ok(), "SESSION RESUME: {resumed:?}");
        }
        let reply = client.call(&["INCR", "hops"])?;
        ensure!(reply == Value::Integer(turn as i64 + 1), "hop {turn}: {reply:?}");
        let reply = client.call(&["SESSION", "TOKEN"])?;
        token = Some(reply.text().with_context(|| format!("SESSION TOKEN: {reply:?}"))?.to_owned());
    }
    check(true, "a session that goes from site to site finds what it left", ())
}

/// Of clients at three sites that try at once one takes a lock, where nobody else writes meanwhile.
// catalogue: J2 J3
fn lock(cluster: &Cluster, policy: &str) -> Result<()> {
    let mut first = open(cluster, 0)?;
    let line = format!(
        "KEYSPACE CREATE {policy} MULTI-LEADER SITES eu,us,ap REPLICAS 3 COMMIT majority CONFLICT {policy}"
    );
    let made = first.call(&line.split(' ').collect::<Vec<_>>())?;
    ensure!(made == ok(), "{line}: {made:?}");
    let open = |node: usize| {
        wait_for("the keyspace", LONG, || {
            let mut client = Client::connect(cluster.nodes[node].resp, TIMEOUT).ok()?;
            let served = client.call(&["SELECT", policy]).ok()? == ok()
                && client.call(&["GET", "lock"]).ok()? == Value::Null;
            served.then_some(client)
        })
    };
    let mut clients = (0..3).map(open).collect::<Result<Vec<Client>, _>>()?;
    for round in 0..LOCKS {
        let key = format!("lock{round}");
        let mut holders = 0;
        // Where all refuse each other they come again.
        wait_for("a holder", LONG, || {
            for (site, client) in SITES.iter().zip(&mut clients) {
                client.send(&["SET", &key, site, "NX"]).ok()?;
            }
            for client in &mut clients {
                holders += usize::from(client.receive().ok()? == ok());
            }
            (holders > 0).then_some(())
        })?;
        ensure!(holders == 1, "{holders} hold {key} under {policy}");
    }
    check(true, &format!("under {policy} one of all takes a lock, {LOCKS} times"), ())
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

/// Members that were added, and increments of one counter. Of an increment that was not answered clearly nobody knows whether it counts.
#[derive(Clone, Copy, Default)]
struct Written {
    members: i64,
    counted: i64,
    unknown: i64,
}

impl std::ops::AddAssign for Written {
    fn add_assign(&mut self, more: Written) {
        self.members += more.members;
        self.counted += more.counted;
        self.unknown += more.unknown;
    }
}

/// Increments one counter of all sites, and adds as many members; what was refused is sent again. So is a member that nobody knows of:
/// it is there once, however often it is added. An increment that nobody knows of is not.
fn load(cluster: &Cluster, node: usize, site: &str, part: &str) -> Result<Written> {
    let mut client = open(cluster, node)?;
    let mut written = Written::default();
    for number in 0..WRITES {
        let member = format!("{site}-{part}-{number}");
        let mut last = None;
        let added = wait_for("a member", LONG, || {
            let reply = client.call(&["SADD", "members", &member]).ok()?;
            let done = matches!(reply, Value::Integer(_));
            last = Some(reply);
            done.then_some(())
        });
        added.with_context(|| format!("{member}: {last:?}"))?;
        written.members += 1;
        let known = wait_for("an increment", LONG, || {
            let reply = match client.call(&["INCR", "total"]) {
                Ok(reply) => reply,
                Err(CallError::NotSent(_)) => return None,
                Err(CallError::Unknown(_)) => return Some(false),
            };
            let is_unknown = matches!(&reply, Value::Error(text) if text.starts_with("INDETERMINATE"));
            let done = matches!(reply, Value::Integer(_));
            last = Some(reply);
            (done || is_unknown).then_some(done)
        });
        match known.with_context(|| format!("{member}: {last:?}"))? {
            true => written.counted += 1,
            false => written.unknown += 1,
        }
    }
    Ok(written)
}

/// Waits until these nodes show all of it, no more, and the same.
fn agree(cluster: &Cluster, nodes: &[usize], written: Written) -> Result<()> {
    let Written { members, counted, unknown } = written;
    let possible = counted..=counted + unknown;
    let mut seen = Vec::new();
    wait_for("equal sites", LONG, || {
        seen.clear();
        for node in nodes {
            let mut client = open(cluster, *node).ok()?;
            let total = client.call(&["GET", "total"]).ok()?;
            let total = total.text().and_then(|text| text.parse::<i64>().ok());
            seen.push((total, client.call(&["SCARD", "members"]).ok()?));
        }
        let is_right = |(total, held): &(Option<i64>, Value)| {
            total.is_some_and(|total| possible.contains(&total)) && *held == Value::Integer(members)
        };
        let is_equal = seen.windows(2).all(|pair| pair[0] == pair[1]);
        (is_equal && seen.iter().all(is_right)).then_some(())
    })
    .with_context(|| {
        format!("{seen:?} of {members} members, {counted} increments and {unknown} that nobody knows of")
    })
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
