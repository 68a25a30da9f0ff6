//! What an asynchronous keyspace lost is in the ledger, and nothing else: the followers are killed, the leader acknowledges alone,
//! the leader goes away, the followers come back and elect one of themselves, and at last the old leader comes back. Killed, it
//! cannot know what its clients were told; stopped and continued, it can.
// catalogue: C2

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bench::client::Client;
use bench::resp::Value;
use bench::servers::tercet::Cluster;
use bench::servers::wait_for;

use super::check;

const TIMEOUT: Duration = Duration::from_secs(5);
/// Writes that the leader acknowledges alone.
const ALONE: usize = 50;

struct Item {
    id: String,
    mark: String,
}

pub fn run() -> Result<()> {
    // Five nodes, so that the control plane keeps its majority without the two followers.
    let mut cluster = Cluster::found(&crate::shell::tercet_binary()?, 5)?;
    let control = cluster.wait_for_leader(Duration::from_secs(10))?;
    let mut client = Client::connect(cluster.nodes[control].resp, TIMEOUT)?;
    let line = "KEYSPACE CREATE quick SINGLE-LEADER REPLICAS 3 COMMIT async";
    let reply = client.call(&line.split(' ').collect::<Vec<_>>())?;
    ensure!(reply == ok(), "{line}: {reply:?}");
    for (round, kill) in [("killed", true), ("stopped", false)] {
        let lost = lose(&mut cluster, round, kill)?;
        judge(&cluster, round, kill, &lost)?;
    }
    Ok(())
}

/// Has a leader acknowledge alone and go; returns the keys of what it alone held, once it is back.
fn lose(cluster: &mut Cluster, round: &str, kill: bool) -> Result<BTreeSet<String>> {
    let (leader, followers) =
        wait_for("a leader with two followers", Duration::from_secs(20), || members(cluster))?;
    let mut client = Client::connect(cluster.nodes[leader].resp, TIMEOUT)?;
    client.call(&["SELECT", "quick"])?;
    wait_for("a write", TIMEOUT, || (client.call(&["SET", "shared", round]).ok()? == ok()).then_some(()))?;
    std::thread::sleep(Duration::from_millis(500));
    followers.iter().for_each(|node| cluster.nodes[*node].kill());
    let mut lost = BTreeSet::new();
    for number in 0..ALONE {
        let key = format!("{round}{number}");
        let reply = client.call(&["SET", &key, "alone"])?;
        if reply == ok() {
            lost.insert(key);
        } else {
            ensure!(matches!(&reply, Value::Error(text) if text.starts_with("TRYAGAIN")), "{reply:?}");
        }
    }
    check(!lost.is_empty(), &format!("{round}: {} writes acknowledged by the leader alone", lost.len()), ())?;
    match kill {
        true => cluster.nodes[leader].kill(),
        false => cluster.nodes[leader].signal(libc::SIGSTOP)?,
    }
    for node in &followers {
        cluster.nodes[*node].start()?;
        cluster.nodes[*node].wait_until_listening()?;
    }
    wait_for("another leader", Duration::from_secs(30), || {
        let mut client = Client::connect(cluster.nodes[followers[0]].resp, TIMEOUT).ok()?;
        client.call(&["SELECT", "quick"]).ok()?;
        (client.call(&["SET", "after", round]).ok()? == ok()).then_some(())
    })?;
    let announced = list(cluster, followers[0])?.iter().any(|item| item.mark == "announced");
    check(announced, &format!("{round}: the loss is announced before the old copy is back"), ())?;
    match kill {
        true => {
            cluster.nodes[leader].start()?;
            cluster.nodes[leader].wait_until_listening()?;
        }
        false => cluster.nodes[leader].signal(libc::SIGCONT)?,
    }
    Ok(lost)
}

fn judge(cluster: &Cluster, round: &str, killed: bool, lost: &BTreeSet<String>) -> Result<()> {
    // Any node answers for all: not one that held the writes, perhaps.
    let asked = (0..cluster.nodes.len()).next().context("a node")?;
    let items = wait_for("the old copy's entries in the ledger", Duration::from_secs(30), || {
        let items = list(cluster, asked).ok()?;
        let entries = items.iter().filter(|item| item.mark != "announced").count();
        (entries >= lost.len()).then_some(items)
    })?;
    let mut client = Client::connect(cluster.nodes[asked].resp, TIMEOUT)?;
    client.call(&["SELECT", "quick"])?;
    let mut kept = BTreeSet::new();
    for item in items.iter().filter(|item| item.mark != "announced") {
        let reply = client.call(&["LEDGER", "GET", &item.id])?;
        let words = first_operation(&reply).with_context(|| format!("LEDGER GET {}: {reply:?}", item.id))?;
        ensure!(words.first().is_some_and(|word| word == "SET"), "{words:?}");
        kept.insert(words[1].clone());
    }
    check(kept == *lost, &format!("{round}: the ledger holds what was lost, and only that"), &kept)?;
    let mark = if killed { "perhaps" } else { "acknowledged" };
    let marked = items.iter().filter(|item| item.mark == mark).count();
    check(marked == lost.len(), &format!("{round}: all of it is marked {mark}"), marked)?;
    wait_for("the end of the announcement", Duration::from_secs(20), || {
        list(cluster, asked).ok()?.iter().all(|item| item.mark != "announced").then_some(())
    })?;
    println!("  ok: {round}: nothing is announced any more, for the copy that knows is back");

    let entries: Vec<&Item> = items.iter().filter(|item| item.mark != "announced").collect();
    let (first, second) = (&entries[0].id, &entries[1].id);
    let (first_key, second_key) = (format!("{round}0"), format!("{round}1"));
    check(client.call(&["LEDGER", "REAPPLY", first])? == ok(), &format!("{round}: REAPPLY {first}"), ())?;
    let seen = client.call(&["GET", &first_key])?;
    check(seen == Value::Bulk(b"alone".to_vec()), &format!("{round}: it is there again"), seen)?;
    let again = client.call(&["LEDGER", "REAPPLY", first])?;
    check(again == Value::Simple("ALREADY".into()), &format!("{round}: and is applied once"), again)?;
    client.call(&["SET", &second_key, "newer"])?;
    let conflict = client.call(&["LEDGER", "REAPPLY", second])?;
    let named =
        matches!(&conflict, Value::Error(text) if text.starts_with("CONFLICT") && text.contains(&second_key));
    check(named, &format!("{round}: a key that was written since is a conflict"), conflict)?;
    let forced = client.call(&["LEDGER", "REAPPLY", second, "FORCE"])?;
    check(forced == ok(), &format!("{round}: unless forced"), forced)?;
    let gone = client.call(&["LEDGER", "ACK", "ALL"])?;
    check(
        gone == Value::Integer(items.len() as i64) || gone == Value::Integer(lost.len() as i64),
        &format!("{round}: ACK ALL lets them go"),
        gone,
    )?;
    check(list(cluster, asked)?.is_empty(), &format!("{round}: the ledger is empty"), ())
}

fn ok() -> Value {
    Value::Simple("OK".into())
}

/// The node that leads the keyspace, and the two that follow, when the members are all there.
fn members(cluster: &Cluster) -> Option<(usize, Vec<usize>)> {
    let status: serde_json::Value = serde_json::from_str(&cluster.status_json().ok()?).ok()?;
    let group = status["groups"].as_array()?.iter().find(|group| group["keyspace"] == "quick")?.clone();
    let node = |id: &serde_json::Value| {
        let known = status["nodes"].as_array()?.iter().find(|node| node["id"] == *id)?;
        cluster.nodes.iter().position(|node| known["name"] == node.name.as_str())
    };
    let leader = node(&group["leader"])?;
    let followers: Vec<usize> =
        group["members"].as_array()?.iter().filter_map(node).filter(|member| *member != leader).collect();
    (followers.len() == 2).then_some((leader, followers))
}

/// LEDGER LIST quick, asked of one node.
fn list(cluster: &Cluster, node: usize) -> Result<Vec<Item>> {
    let mut client = Client::connect(cluster.nodes[node].resp, TIMEOUT)?;
    let reply = client.call(&["LEDGER", "LIST", "quick"])?;
    let items = field(&reply, "items").with_context(|| format!("{reply:?}"))?;
    let Value::Array(items) = items else { anyhow::bail!("{reply:?}") };
    let item = |item: &Value| Some(Item { id: text(field(item, "id")?)?, mark: text(field(item, "mark")?)? });
    items.iter().map(item).collect::<Option<_>>().context("fields of an item")
}

/// The words of the first operation that LEDGER GET shows.
fn first_operation(reply: &Value) -> Option<Vec<String>> {
    let Value::Array(operations) = field(reply, "operations")? else { return None };
    let Value::Array(words) = field(operations.first()?, "operation")? else { return None };
    words.iter().map(text).collect()
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
