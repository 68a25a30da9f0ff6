//! Semi-sync with `ON-TIMEOUT degrade`: both followers of a keyspace are killed, the leader goes on alone once that is recorded and
//! says so everywhere, and no longer once a follower is back. With `fail` the same writes are never acknowledged.
// catalogue: C6 C7

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bench::client::Client;
use bench::resp::Value;
use bench::servers::tercet::Cluster;
use bench::servers::wait_for;

use super::check;

const TIMEOUT: Duration = Duration::from_secs(5);

pub fn run() -> Result<()> {
    // Five nodes, so that the control plane keeps its majority without the two.
    let mut cluster = Cluster::found(&crate::shell::tercet_binary()?, 5)?;
    let control = cluster.wait_for_leader(Duration::from_secs(10))?;
    let mut client = Client::connect(cluster.nodes[control].resp, TIMEOUT)?;
    for (name, on_timeout) in [("loose", "degrade"), ("strict", "fail")] {
        let line = format!(
            "KEYSPACE CREATE {name} SINGLE-LEADER REPLICAS 3 COMMIT semi-sync ACKS 1 TIMEOUT 500 ON-TIMEOUT {on_timeout}"
        );
        let reply = client.call(&line.split(' ').collect::<Vec<_>>())?;
        ensure!(reply == Value::Simple("OK".into()), "{line}: {reply:?}");
    }
    let followers_of = |cluster: &Cluster, name: &str| -> Result<(usize, Vec<usize>)> {
        let view = wait_for("a node that knows the group and its leader", TIMEOUT, || {
            group(cluster, name).filter(|group| !group["leader"].is_null())
        })?;
        let status = status(cluster).context("the nodes are known")?;
        let node = |id: &serde_json::Value| {
            let known = status["nodes"].as_array()?.iter().find(|node| node["id"] == *id)?;
            cluster.nodes.iter().position(|node| known["name"] == node.name.as_str())
        };
        let leader = node(&view["leader"]).context("a leader")?;
        let members = view["members"].as_array().context("members")?;
        Ok((leader, members.iter().filter_map(node).filter(|member| *member != leader).collect()))
    };

    // The two keyspaces may live on different nodes: one after the other.
    for (name, acknowledged) in [("loose", true), ("strict", false)] {
        let (leader, followers) = followers_of(&cluster, name)?;
        let mut client = Client::connect(cluster.nodes[leader].resp, TIMEOUT)?;
        client.call(&["SELECT", name])?;
        check(client.call(&["SET", "before", "1"])? == ok(), &format!("{name}: a write with followers"), ())?;
        followers.iter().for_each(|node| cluster.nodes[*node].kill());
        let began = Instant::now();
        // What the leader already knows cannot be met is refused, and may be sent again.
        let mut reply = client.call(&["SET", "alone", "1"])?;
        while matches!(&reply, Value::Error(text) if text.starts_with("TRYAGAIN"))
            && began.elapsed() < TIMEOUT
        {
            reply = client.call(&["SET", "alone", "1"])?;
        }
        let waited = began.elapsed();
        if acknowledged {
            check(
                reply == ok(),
                &format!("{name}: acknowledged alone after {} ms", waited.as_millis()),
                &reply,
            )?;
            check(waited >= Duration::from_millis(400), "not before its time-out", waited)?;
        } else {
            let refused = matches!(&reply, Value::Error(text) if text.starts_with("INDETERMINATE") || text.starts_with("NOREPLICAS"));
            check(refused, &format!("{name}: never acknowledged alone"), &reply)?;
        }
        let told = group(&cluster, name).is_some_and(|view| view["degraded"] == acknowledged);
        check(
            told,
            &format!("{name}: KEYSPACE STATUS says degraded: {acknowledged}"),
            group(&cluster, name),
        )?;
        for node in followers {
            cluster.nodes[node].start()?;
            cluster.nodes[node].wait_until_listening()?;
        }
        wait_for("the rule of the settings", Duration::from_secs(20), || {
            let view = group(&cluster, name)?;
            (view["degraded"] == false && view["commit_rule"] == "semi-sync").then_some(())
        })?;
        let (leader, _) = followers_of(&cluster, name)?;
        let mut client = Client::connect(cluster.nodes[leader].resp, TIMEOUT)?;
        client.call(&["SELECT", name])?;
        if acknowledged {
            let seen = client.call(&["GET", "alone"])?;
            check(
                seen == Value::Bulk(b"1".to_vec()),
                &format!("{name}: what was acknowledged alone is there"),
                seen,
            )?;
        }
        wait_for("a write with followers again", Duration::from_secs(10), || {
            (client.call(&["SET", "after", "1"]).ok()? == ok()).then_some(())
        })?;
        println!("  ok: {name}: as asked for again with its followers");
    }
    Ok(())
}

fn ok() -> Value {
    Value::Simple("OK".into())
}

fn status(cluster: &Cluster) -> Option<serde_json::Value> {
    serde_json::from_str(&cluster.status_json().ok()?).ok()
}

/// What KEYSPACE STATUS says of a keyspace's group.
fn group(cluster: &Cluster, keyspace: &str) -> Option<serde_json::Value> {
    status(cluster)?["groups"].as_array()?.iter().find(|group| group["keyspace"] == keyspace).cloned()
}
