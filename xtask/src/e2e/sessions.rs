//! A session that moves: written on one node, read on another whose process was held back meanwhile (SIGSTOP), from its own copy or
//! through it. With the token the own write is always there; without it, what is missing is counted. The followers are stopped
//! in turn, and once the leader is killed.
// catalogue: G2 G3 B6

use std::time::Duration;

use anyhow::{Result, ensure};
use bench::client::Client;
use bench::resp::Value;
use bench::servers::tercet::Cluster;
use bench::servers::wait_for;

use super::check;

const TIMEOUT: Duration = Duration::from_secs(5);
const ROUNDS: usize = 40;

pub fn run() -> Result<()> {
    let mut cluster = Cluster::found(&crate::shell::tercet_binary()?, 3)?;
    cluster.wait_for_leader(Duration::from_secs(10))?;
    let mut first = Client::connect(cluster.nodes[0].resp, TIMEOUT)?;
    wait_for("a write", TIMEOUT, || (first.call(&["SET", "comment", "0"]).ok()? == ok()).then_some(()))?;
    let (mut missed, mut from_copies) = (0, 0);
    let mut token = text(first.call(&["SESSION", "TOKEN"])?)?;
    for round in 1..=ROUNDS {
        // Any node is asked, and one may hear of the group a little later than the one that took the write.
        let leader = wait_for("a leader", TIMEOUT, || leader_of_numbered(&cluster))?;
        let reader = (leader + 1 + round % 2) % 3;
        let (mut with, mut without) = (readers(&cluster, reader)?, readers(&cluster, reader)?);
        cluster.nodes[reader].signal(libc::SIGSTOP)?;
        let mut writer = Client::connect(cluster.nodes[leader].resp, TIMEOUT)?;
        let resumed = writer.call(&["SESSION", "RESUME", &token])?;
        ensure!(resumed == ok(), "round {round}: {resumed:?}");
        let value = round.to_string();
        let written = writer.call(&["SET", "comment", &value])?;
        ensure!(written == ok(), "round {round}: {written:?}");
        token = text(writer.call(&["SESSION", "TOKEN"])?)?;
        // Everything that it will find when it goes on: what its leader sent, and its readers.
        without.send(&["GET", "comment"])?;
        with.send(&["SESSION", "RESUME", &token])?;
        with.send(&["GET", "comment"])?;
        with.send(&["RECEIPT"])?;
        cluster.nodes[reader].signal(libc::SIGCONT)?;
        let resumed = with.receive()?;
        ensure!(resumed == ok(), "round {round}: {resumed:?}");
        let seen = with.receive()?;
        ensure!(
            seen == Value::Bulk(value.clone().into()),
            "round {round}: wrote {value}, with its token saw {seen:?}"
        );
        from_copies += usize::from(
            format!("{:?}", with.receive()?).contains(&format!("{:?}", Value::Bulk(b"follower".to_vec()))),
        );
        missed += usize::from(without.receive()? != Value::Bulk(value.into()));
        if round == ROUNDS / 2 {
            cluster.nodes[leader].kill();
            wait_for("another leader", Duration::from_secs(10), || {
                leader_of_numbered(&cluster).filter(|next| *next != leader)
            })?;
            cluster.nodes[leader].start()?;
            cluster.nodes[leader].wait_until_listening()?;
            wait_for("its copy", Duration::from_secs(20), || {
                let mut client = Client::connect(cluster.nodes[leader].resp, TIMEOUT).ok()?;
                (client.call(&["SESSION", "RESUME", &token]).ok()? == ok()).then_some(())
            })?;
        }
    }
    check(
        true,
        &format!("{ROUNDS} own writes seen with the token, {from_copies} of them on the follower's copy"),
        (),
    )?;
    println!("  without it {missed} were missed");
    Ok(())
}

/// A connection that reads its node's copy.
fn readers(cluster: &Cluster, node: usize) -> Result<Client> {
    let mut client = Client::connect(cluster.nodes[node].resp, TIMEOUT)?;
    let set = client.call(&["CONSISTENCY", "READ", "follower"])?;
    ensure!(set == ok(), "CONSISTENCY: {set:?}");
    Ok(client)
}

/// Who leads the keyspace 0.
fn leader_of_numbered(cluster: &Cluster) -> Option<usize> {
    let status: serde_json::Value = serde_json::from_str(&cluster.status_json().ok()?).ok()?;
    let group = status["groups"].as_array()?.iter().find(|group| group["keyspace"] == "0")?;
    let known = status["nodes"].as_array()?.iter().find(|node| node["id"] == group["leader"])?;
    cluster.nodes.iter().position(|node| known["name"] == node.name.as_str())
}

fn text(reply: Value) -> Result<String> {
    match reply {
        Value::Bulk(bytes) => Ok(String::from_utf8(bytes)?),
        other => anyhow::bail!("no token: {other:?}"),
    }
}

fn ok() -> Value {
    Value::Simple("OK".into())
}
