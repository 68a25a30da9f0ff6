//! Rules by key pattern: which one holds, in both kinds of keyspaces that merge, and what a new one would make of the inbox's history.
// catalogue: J15

use crate::cluster::served;
use crate::leaderless::{at_once, keyspace};
use crate::rig::{Client, Cluster};
use data::NodeId;

const LEAST: &str = "return(math.min(tonumber(a.value),tonumber(b.value)))";
const GREATEST: &str = "return(math.max(tonumber(a.value),tonumber(b.value)))";

fn item_of(cluster: &mut Cluster, client: Client, key: &str) -> String {
    let list = cluster.ask(client, "INBOX LIST prices");
    let ids = list.split(' ').filter(|word| word.split_once('-').is_some_and(|(_, id)| id.len() == 16));
    let ids: Vec<String> = ids.map(str::to_owned).collect();
    let mut items = ids.iter().map(|id| cluster.ask(client, &format!("INBOX GET {id}")));
    items
        .find(|item| item.contains(&format!(" {key} ")))
        .unwrap_or_else(|| panic!("no item of {key}: {list}"))
}

fn conflict(cluster: &mut Cluster, clients: &[Client], key: &str) {
    at_once(cluster, clients, &format!("SET {key} 100"), &format!("SET {key} 150"));
}

#[test]
fn the_first_rule_that_fits_says_what_readers_are_shown() {
    let (mut cluster, clients) = keyspace(3, "prices", "CONFLICT siblings");
    for line in [
        format!("KEYSPACE RULE SET prices low:* merge {LEAST}"),
        format!("KEYSPACE RULE SET prices * merge {GREATEST}"),
        "KEYSPACE RULE SET prices low:plain:* crdt BEFORE low:*".into(),
    ] {
        assert_eq!(cluster.ask(clients[0], &line), "+OK", "{line}");
    }
    cluster.run(100);
    for key in ["low:a", "low:plain:a", "other"] {
        conflict(&mut cluster, &clients, key);
    }
    for client in &clients {
        let list = cluster.ask(*client, "KEYSPACE RULE LIST prices");
        let at = |pattern: &str| list.find(&format!(" {pattern} ")).unwrap_or_else(|| panic!("{list}"));
        assert!(at("low:plain:*") < at("low:*") && at("low:*") < at("*"), "{list}");
        assert_eq!(cluster.ask(*client, "GET low:a"), "$3 100");
        assert_eq!(cluster.ask(*client, "GET other"), "$3 150");
        let item = item_of(&mut cluster, *client, "low:a");
        assert!(item.contains("rule $5 low:*") && item.contains("merged $3 100"), "{item}");
        let item = item_of(&mut cluster, *client, "low:plain:a");
        assert!(item.contains("policy $4 crdt") && !item.contains("merged"), "{item}");
    }
    assert_eq!(cluster.ask(clients[2], "INCRBY low:a 5"), ":105", "an increment adds to what is shown");
    // Without the rules the keyspace's own word holds again, of conflicts that there are already too.
    for pattern in ["low:*", "*"] {
        assert_eq!(cluster.ask(clients[1], &format!("KEYSPACE RULE DROP prices {pattern}")), "+OK");
    }
    cluster.run(100);
    let item = item_of(&mut cluster, clients[2], "other");
    assert!(item.contains("policy $8 siblings") && item.contains("state $4 open"), "{item}");
}

#[test]
fn a_dry_run_tells_what_would_change_and_changes_nothing() {
    let (mut cluster, clients) = keyspace(3, "prices", "CONFLICT siblings");
    for key in ["low:a", "low:b", "low:kept", "other"] {
        conflict(&mut cluster, &clients, key);
    }
    // Settled ones are history, and tried too.
    assert_eq!(cluster.ask(clients[1], "SET low:b 1"), "+OK");
    assert_eq!(cluster.ask(clients[1], "KEYSPACE RULE SET prices low:kept siblings"), "+OK");
    cluster.run(100);
    for client in &clients {
        let tried = cluster.ask(*client, &format!("KEYSPACE RULE TRY prices low:* merge {LEAST}"));
        for wanted in [
            "conflicts :3",
            "shadowed :1",
            "changed :2",
            "low:a",
            "low:b",
            "shown $3 100",
            "state $7 decided",
        ] {
            assert!(tried.contains(wanted), "{wanted}: {tried}");
        }
        assert!(!tried.contains("other") && !tried.contains("low:kept"), "{tried}");
        let first =
            cluster.ask(*client, &format!("KEYSPACE RULE TRY prices low:* merge {LEAST} BEFORE low:kept"));
        assert!(first.contains("shadowed :0") && first.contains("changed :3"), "{first}");
        assert_eq!(cluster.ask(*client, "KEYSPACE RULE LIST prices").split(' ').next(), Some("*1"));
    }
    let item = item_of(&mut cluster, clients[0], "low:a");
    assert!(item.contains("state $4 open"), "{item}");
}

#[test]
fn what_cannot_be_a_rule_is_refused_and_changes_nothing() {
    let (mut cluster, clients) = keyspace(3, "prices", "");
    assert_eq!(cluster.ask(clients[0], "KEYSPACE CREATE last LEADERLESS CONFLICT last-write-wins"), "+OK");
    cluster.run(100);
    for (line, wanted) in [
        ("KEYSPACE RULE", "-ERR KEYSPACE RULE LIST"),
        ("KEYSPACE RULE SET prices", "-ERR KEYSPACE RULE LIST"),
        ("KEYSPACE RULE SET nowhere * crdt", "-ERR no such keyspace"),
        ("KEYSPACE RULE SET prices * last-write-wins", "-ERR a rule says"),
        ("KEYSPACE RULE SET prices * home", "-ERR a rule says"),
        ("KEYSPACE RULE SET prices * merge", "-ERR CONFLICT merge takes a function"),
        ("KEYSPACE RULE SET prices * merge return(a.value..b.value)", "-ERR this function cannot"),
        ("KEYSPACE RULE TRY prices * merge return(a.value..b.value)", "-ERR this function cannot"),
        ("KEYSPACE RULE SET prices * crdt BEFORE x", "-ERR the keyspace has no rule"),
        ("KEYSPACE RULE SET prices * crdt BEHIND x", "-ERR KEYSPACE RULE LIST"),
        ("KEYSPACE RULE DROP prices *", "-ERR the keyspace has no rule"),
        ("KEYSPACE RULE SET last * crdt", "-ERR rules are for keyspaces"),
        ("KEYSPACE RULE SET 0 * crdt", "-ERR rules are for keyspaces"),
    ] {
        let reply = cluster.ask(clients[0], line);
        assert!(reply.starts_with(wanted), "{line}: {reply}");
    }
    assert_eq!(cluster.ask(clients[0], "KEYSPACE RULE LIST prices"), "*0");
}

/// The rule comes to every site with the map, and says there what its copy shows.
#[test]
fn sites_go_by_the_same_rules() {
    let mut cluster = served(Cluster::at_sites(3, &["eu", "us", "ap"]));
    let client = cluster.connect(NodeId(1));
    assert_eq!(cluster.ask(client, "KEYSPACE CREATE prices MULTI-LEADER"), "+OK");
    cluster.run(300);
    let clients: Vec<Client> = (1..=3).map(|node| cluster.connect(NodeId(node))).collect();
    for client in &clients {
        assert_eq!(cluster.ask(*client, "SELECT prices"), "+OK");
    }
    for key in ["low:a", "open:a"] {
        conflict(&mut cluster, &clients, key);
    }
    cluster.run(500);
    let tried = cluster.ask(clients[2], &format!("KEYSPACE RULE TRY prices low:* merge {LEAST}"));
    assert!(tried.contains("changed :1") && tried.contains("shown $3 100"), "{tried}");
    for line in
        [&format!("KEYSPACE RULE SET prices low:* merge {LEAST}"), "KEYSPACE RULE SET prices open:* siblings"]
    {
        assert_eq!(cluster.ask(clients[1], line), "+OK");
    }
    cluster.run(300);
    for client in &clients {
        assert_eq!(cluster.ask(*client, "GET low:a"), "$3 100");
        let item = item_of(&mut cluster, *client, "open:a");
        assert!(item.contains("state $4 open") && item.contains("rule $6 open:*"), "{item}");
    }
    assert_eq!(cluster.ask(clients[2], "INCRBY low:a 5"), ":105");
    cluster.run(500);
    assert_eq!(cluster.ask(clients[0], "GET low:a"), "$3 105");
}

/// Rules and functions come back with the map; a member that could not read them is waited for.
#[test]
fn rules_survive_restarts_and_wait_for_older_members() {
    let (mut cluster, clients) = keyspace(3, "prices", "");
    conflict(&mut cluster, &clients, "low:a");
    assert_eq!(cluster.ask(clients[0], &format!("KEYSPACE RULE SET prices low:* merge {LEAST}")), "+OK");
    for node in 1..=3 {
        cluster.kill(NodeId(node));
        cluster.start(NodeId(node));
    }
    cluster.run(3_000);
    let client = cluster.connect(NodeId(2));
    assert_eq!(cluster.ask(client, "SELECT prices"), "+OK");
    assert_eq!(cluster.ask(client, "GET low:a"), "$3 100");
    assert_eq!(cluster.ask(client, "KEYSPACE DROP prices"), "+OK");

    let mut old = Cluster::speaking(3, 8);
    old.run(3_000);
    let client = old.connect(NodeId(1));
    assert_eq!(old.ask(client, "KEYSPACE CREATE prices LEADERLESS"), "+OK");
    old.run(100);
    for line in ["KEYSPACE RULE SET prices * siblings", "WITH LINEARIZABLE DO SET k 1"] {
        assert_eq!(old.ask(client, "SELECT prices"), "+OK");
        let reply = old.ask(client, line);
        assert!(reply.starts_with("-TRYAGAIN") && reply.contains("upgrade it first"), "{line}: {reply}");
    }
}
