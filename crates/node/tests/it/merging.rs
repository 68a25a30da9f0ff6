//! A keyspace's own function: what readers are shown of concurrent strings, on every node, and what happens when it fails.
// catalogue: J1 J13
// bugs: ML-16

use crate::cluster::served;
use crate::leaderless::{at_once, keyspace};
use crate::rig::{Client, Cluster};
use data::NodeId;

/// Neither the last one nor the highest.
const LEAST: &str = "return(math.min(tonumber(a.value),tonumber(b.value)))";
const GREATEST: &str = "return(math.max(tonumber(a.value),tonumber(b.value)))";

fn item(cluster: &mut Cluster, client: Client) -> String {
    let list = cluster.ask(client, "INBOX LIST prices");
    let id = list.split(' ').skip_while(|word| *word != "id").nth(2).unwrap_or_default().to_string();
    assert!(id.contains('-'), "{list}");
    cluster.ask(client, &format!("INBOX GET {id}"))
}

#[test]
fn what_the_function_gives_is_shown_on_every_node() {
    for (one, two) in [("100", "150"), ("150", "100")] {
        let (mut cluster, clients) =
            keyspace(3, "prices", &format!("ON-SIBLINGS error CONFLICT merge {LEAST}"));
        at_once(&mut cluster, &clients, &format!("SET price {one}"), &format!("SET price {two}"));
        at_once(&mut cluster, &clients, &format!("HSET all eu {one}"), &format!("HSET all eu {two}"));
        for client in &clients {
            assert_eq!(cluster.ask(*client, "STRLEN price"), ":3");
            assert_eq!(cluster.ask(*client, "HGETALL all"), "*2 $2 eu $3 100");
            assert_eq!(cluster.ask(*client, "GET price"), "$3 100");
            let receipt = cluster.ask(*client, "RECEIPT");
            assert!(receipt.contains("versions :2"), "{receipt}");
            let versions = cluster.ask(*client, "GETV price");
            assert!(versions.contains("$3 100") && versions.contains("$3 150"), "{versions}");
            let item = item(&mut cluster, *client);
            assert!(item.contains("state $7 decided") && item.contains("merged $3 100"), "{item}");
        }
        // An increment adds to what is shown, and says so.
        assert_eq!(cluster.ask(clients[2], "INCRBY price 5"), ":105");
        assert_eq!(cluster.ask(clients[0], "GET price"), "$3 105");
        assert_eq!(cluster.ask(clients[1], "HINCRBY all eu 5"), ":105");
        assert_eq!(cluster.ask(clients[2], "HGET all eu"), "$3 105");
        // Who saw both ends the conflict.
        assert_eq!(cluster.ask(clients[2], "SET price 120"), "+OK");
        let info = cluster.ask(clients[2], "INFO leaderless");
        assert!(info.contains("leaderless_merges_failed:0"), "{info}");
        assert!(!info.contains("leaderless_merges:0"), "{info}");
        for client in &clients {
            assert_eq!(cluster.ask(*client, "GET price"), "$3 120");
        }
    }
}

/// The versions stay beside each other, the highest is shown as if there were no function, and the inbox says why.
#[test]
fn a_function_that_fails_loses_nothing() {
    let (mut cluster, clients) = keyspace(3, "prices", &format!("CONFLICT merge {GREATEST}"));
    at_once(&mut cluster, &clients, "SET price dear", "SET price cheap");
    let shown = cluster.ask(clients[2], "GET price");
    for client in &clients {
        assert_eq!(cluster.ask(*client, "GET price"), shown);
        let item = item(&mut cluster, *client);
        assert!(item.contains("state $4 open") && item.contains("merge-failed"), "{item}");
        assert!(item.contains("it failed") && !item.contains(" merged "), "{item}");
        assert!(item.contains("$4 dear") && item.contains("$5 cheap"), "{item}");
    }
    let info = cluster.ask(clients[2], "INFO leaderless");
    assert!(!info.contains("leaderless_merges_failed:0"), "{info}");
    assert_eq!(cluster.ask(clients[0], "KEYSPACE ALTER prices ON-SIBLINGS error"), "+OK");
    cluster.run(100);
    assert!(cluster.ask(clients[1], "GET price").starts_with("-CONFLICT"));
    // The same function on values that it knows.
    at_once(&mut cluster, &clients, "SET other 9", "SET other 10");
    assert_eq!(cluster.ask(clients[1], "GET other"), "$2 10");
    // Another function merges what is there already: nothing was decided for good.
    let longest = "return(#a.value>#b.value)and(a.value)or(#a.value<#b.value)and(b.value)or(a.value>b.value)and(a.value)or(b.value)";
    assert_eq!(cluster.ask(clients[0], &format!("KEYSPACE ALTER prices MERGE {longest}")), "+OK");
    cluster.run(100);
    for client in &clients {
        assert_eq!(cluster.ask(*client, "GET price"), "$5 cheap");
    }
    assert_eq!(cluster.ask(clients[0], "KEYSPACE ALTER prices CONFLICT crdt ON-SIBLINGS show"), "+OK");
    cluster.run(100);
    assert_eq!(cluster.ask(clients[1], "GET price"), shown);
}

#[test]
fn what_does_not_merge_is_refused_and_changes_nothing() {
    let (mut cluster, clients) = keyspace(3, "prices", &format!("CONFLICT merge {GREATEST}"));
    for (function, part) in [
        ("return(a.value)", "which value comes first"),
        ("return(a.value+b.value)", "counts twice"),
        ("while(true)do(type)(1)end", "cut off"),
        ("return(os.time())", "gave nothing"),
        ("(", "no Lua"),
    ] {
        let alter = cluster.ask(clients[0], &format!("KEYSPACE ALTER prices MERGE {function}"));
        let create =
            cluster.ask(clients[0], &format!("KEYSPACE CREATE other LEADERLESS CONFLICT merge {function}"));
        for reply in [alter, create] {
            assert!(reply.starts_with("-ERR this function") && reply.contains(part), "{function}: {reply}");
        }
    }
    assert!(
        cluster.ask(clients[0], "KEYSPACE ALTER prices CONFLICT merge").starts_with("+OK"),
        "it keeps its own"
    );
    assert!(cluster.ask(clients[0], "KEYSPACE CREATE other LEADERLESS CONFLICT merge").starts_with("-ERR"));
    let info = cluster.ask(clients[2], "KEYSPACE INFO prices");
    assert!(info.contains(GREATEST), "{info}");
    let sheet = cluster.ask(clients[2], "KEYSPACE SHEET prices");
    assert!(sheet.contains("conflicts: merge (family: converge)") && sheet.contains(GREATEST), "{sheet}");
    assert!(!cluster.ask(clients[0], "KEYSPACE LIST").contains("other"));
}

#[test]
fn a_function_survives_restarts() {
    let (mut cluster, clients) = keyspace(3, "prices", &format!("CONFLICT merge {LEAST}"));
    at_once(&mut cluster, &clients, "SET price 100", "SET price 150");
    for node in 1..=3 {
        cluster.kill(NodeId(node));
        cluster.start(NodeId(node));
    }
    cluster.run(3000);
    let client = cluster.connect(NodeId(2));
    assert_eq!(cluster.ask(client, "SELECT prices"), "+OK");
    assert_eq!(cluster.ask(client, "GET price"), "$3 100");
    assert_eq!(cluster.ask(client, "INCR price"), ":101");
}

/// A member that could not read the map is not given one with a function in it.
#[test]
fn members_of_older_versions_are_waited_for() {
    let mut cluster = Cluster::speaking(3, 7);
    cluster.run(3000);
    let client = cluster.connect(NodeId(1));
    let reply = cluster.ask(client, &format!("KEYSPACE CREATE prices LEADERLESS CONFLICT merge {LEAST}"));
    assert!(reply.starts_with("-TRYAGAIN") && reply.contains("upgrade it first"), "{reply}");
    assert_eq!(cluster.ask(client, "KEYSPACE CREATE prices LEADERLESS"), "+OK");
}

/// Sites that wrote one price at once show the same one, and a word on it counts everywhere.
#[test]
fn sites_show_what_the_function_gives() {
    let mut cluster = served(Cluster::at_sites(3, &["eu", "us", "ap"]));
    let client = cluster.connect(NodeId(1));
    let line = format!("KEYSPACE CREATE prices MULTI-LEADER CONFLICT merge {LEAST}");
    assert_eq!(cluster.ask(client, &line), "+OK");
    cluster.run(300);
    let clients: Vec<Client> = (1..=3).map(|node| cluster.connect(NodeId(node))).collect();
    for client in &clients {
        assert_eq!(cluster.ask(*client, "SELECT prices"), "+OK");
    }
    at_once(&mut cluster, &clients, "SET price 100", "SET price 150");
    at_once(&mut cluster, &clients, "SET word dear", "SET word cheap");
    cluster.run(500);
    let shown = cluster.ask(clients[0], "GET word");
    for client in &clients {
        assert_eq!(cluster.ask(*client, "GET price"), "$3 100");
        assert_eq!(cluster.ask(*client, "READONLY"), "+OK");
        assert_eq!(cluster.ask(*client, "GET price"), "$3 100");
        assert_eq!(cluster.ask(*client, "READWRITE"), "+OK");
        assert_eq!(cluster.ask(*client, "GET word"), shown);
        let list = cluster.ask(*client, "INBOX LIST prices");
        assert!(list.contains("merged $3 100") && list.contains("state $7 decided"), "{list}");
        assert!(list.contains("merge-failed") && list.contains("state $4 open"), "{list}");
    }
    let info = cluster.ask(clients[0], "INFO sites");
    assert!(!info.contains("sites_merges:0") && !info.contains("sites_merges_failed:0"), "{info}");
    assert_eq!(cluster.ask(clients[1], &format!("KEYSPACE ALTER prices MERGE {GREATEST}")), "+OK");
    cluster.run(300);
    for client in &clients {
        assert_eq!(cluster.ask(*client, "GET price"), "$3 150");
    }
    assert_eq!(cluster.ask(clients[2], "INCRBY price 5"), ":155");
    cluster.run(500);
    assert_eq!(cluster.ask(clients[0], "GET price"), "$3 155");
    assert_eq!(cluster.ask(clients[1], "SET price 7"), "+OK");
    cluster.run(500);
    assert_eq!(cluster.ask(clients[2], "GET price"), "$1 7");
    let info = cluster.ask(clients[2], "KEYSPACE INFO prices");
    assert!(info.contains(GREATEST) && info.contains("conflict $5 merge"), "{info}");
    for (line, part) in [
        ("KEYSPACE ALTER prices MERGE return(a.value)", "which value comes first"),
        ("KEYSPACE ALTER prices CONFLICT crdt", "stays as it was made"),
        ("KEYSPACE ALTER prices CONFLICT merge", "takes a function"),
        ("KEYSPACE ALTER prices TOPOLOGY circular MERGE return(1)", "by itself"),
        ("KEYSPACE CREATE other MULTI-LEADER CONFLICT home MERGE return(1)", "said twice"),
        ("KEYSPACE CREATE other MULTI-LEADER CONFLICT merge return(a.value)", "which value comes first"),
    ] {
        let reply = cluster.ask(clients[0], line);
        assert!(reply.starts_with("-ERR") && reply.contains(part), "{line}: {reply}");
    }
}
