//! Keyspaces whose slots are divided among several groups.
//!
//! catalogue: A8 H4

use crate::rig::Cluster;
use data::NodeId;
use std::collections::BTreeSet;

fn serving(count: u32, options: &str) -> Cluster {
    let mut cluster = Cluster::new(count);
    for _ in 0..100 {
        cluster.run(50);
        let client = cluster.connect(NodeId(1));
        if cluster.ask(client, &format!("KEYSPACE CREATE s SINGLE-LEADER {options}")) == "+OK" {
            cluster.run(200);
            return cluster;
        }
    }
    panic!("the cluster never served:\n{}", cluster.story.join("\n"));
}

/// Of every shard: its slots and who leads it.
fn shards(cluster: &Cluster) -> Vec<(data::SlotRange, Option<NodeId>)> {
    let map = cluster.nodes.values().next().expect("a node").map();
    let keyspace = map.keyspace_named("s").expect("made").id;
    map.groups_of(keyspace).map(|group| (group.slots.ranges()[0], map.leader_of(group.view.group))).collect()
}

#[test]
fn keys_are_spread_over_groups_and_any_node_takes_any_command() {
    let mut cluster = serving(3, "SHARDS 3");
    let leaders: BTreeSet<_> = shards(&cluster).into_iter().map(|(_, leader)| leader).collect();
    assert_eq!(leaders.len(), 3, "each node leads one: {leaders:?}");
    for n in 1..=3 {
        let client = cluster.connect(NodeId(n));
        assert_eq!(cluster.ask(client, "SELECT s"), "+OK");
        for key in 0..20 {
            assert_eq!(cluster.ask(client, &format!("SET key{n}-{key} {key}")), "+OK");
        }
        assert_eq!(cluster.ask(client, "GET key1-7"), "$1 7");
        assert_eq!(cluster.ask(client, "DBSIZE"), format!(":{}", n * 20));
    }
    let held: Vec<usize> = cluster.nodes[&NodeId(1)]
        .group_states()
        .filter(|state| state.keyspace.name == "s")
        .map(|state| state.table.len())
        .collect();
    assert!(held.len() == 3 && held.iter().all(|keys| *keys > 5), "{held:?}");
}

#[test]
fn commands_about_the_whole_keyspace_ask_every_group() {
    let mut cluster = serving(3, "SHARDS 5");
    let client = cluster.connect(NodeId(2));
    assert_eq!(cluster.ask(client, "SELECT s"), "+OK");
    assert_eq!(cluster.ask(client, "RANDOMKEY"), "$-1");
    let names: BTreeSet<String> = (0..50).map(|n| format!("key{n}")).collect();
    for name in &names {
        assert_eq!(cluster.ask(client, &format!("SET {name} 1")), "+OK");
    }
    let words =
        |reply: &str| reply.split(' ').filter(|w| w.starts_with("key")).map(String::from).collect::<Vec<_>>();
    let keys = words(&cluster.ask(client, "KEYS *"));
    assert_eq!(keys.len(), 50);
    assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), names);
    let (mut cursor, mut seen, mut steps) = (String::from("0"), Vec::new(), 0);
    loop {
        let reply = cluster.ask(client, &format!("SCAN {cursor} COUNT 3"));
        cursor = reply.split(' ').nth(2).expect("a cursor").to_string();
        seen.extend(words(&reply));
        steps += 1;
        if cursor == "0" {
            break;
        }
    }
    assert!(steps >= 5 && seen.len() == 50, "{steps} steps, {} keys", seen.len());
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), names);
    assert_eq!(cluster.ask(client, "SCAN x"), "-ERR invalid cursor");
    let random = cluster.ask(client, "RANDOMKEY");
    assert!(names.contains(random.split(' ').nth(1).expect("a key")), "{random}");
    assert_eq!(cluster.ask(client, "FLUSHDB"), "+OK");
    assert_eq!(cluster.ask(client, "DBSIZE"), ":0");
    assert_eq!(cluster.ask(client, "KEYS *"), "*0");
}

#[test]
fn keys_of_one_command_have_one_slot() {
    let mut cluster = serving(3, "SHARDS 3");
    let client = cluster.connect(NodeId(3));
    assert_eq!(cluster.ask(client, "SELECT s"), "+OK");
    let crossslot = "-CROSSSLOT Keys in request don't hash to the same slot";
    assert_eq!(cluster.ask(client, "MSET foo 1 bar 2"), crossslot);
    assert_eq!(cluster.ask(client, "MSET {t}a 1 {t}b 2"), "+OK");
    assert_eq!(cluster.ask(client, "MGET {t}a {t}b"), "*2 $1 1 $1 2");
    assert_eq!(cluster.ask(client, "RENAME {t}a foo"), crossslot);
    assert_eq!(
        cluster.ask(client, "SORT {t}l BY w_*"),
        "-ERR SORT with BY or GET of other keys is not possible in a keyspace with SHARDS: they may be in other shards"
    );
    assert_eq!(cluster.ask(client, "SORT {t}l BY nosort"), "*0");

    assert_eq!(cluster.ask(client, "WATCH {t}a"), "+OK");
    assert_eq!(cluster.ask(client, "MULTI"), "+OK");
    assert_eq!(cluster.ask(client, "INCR {t}a"), "+QUEUED");
    assert_eq!(cluster.ask(client, "INCR {t}b"), "+QUEUED");
    assert_eq!(cluster.ask(client, "EXEC"), "*2 :2 :3");
    assert_eq!(cluster.ask(client, "MULTI"), "+OK");
    assert_eq!(cluster.ask(client, "INCR foo"), "+QUEUED");
    assert_eq!(cluster.ask(client, "INCR bar"), crossslot);
    assert!(cluster.ask(client, "EXEC").starts_with("-EXECABORT"));
    assert_eq!(cluster.ask(client, "MULTI"), "+OK");
    assert!(cluster.ask(client, "DBSIZE").starts_with("-ERR DBSIZE is not possible inside MULTI"));
    assert_eq!(cluster.ask(client, "DISCARD"), "+OK");
    assert_eq!(cluster.ask(client, "WATCH foo bar"), crossslot);
    // A watch in one group says nothing of an entry in another.
    assert_eq!(cluster.ask(client, "WATCH foo"), "+OK");
    assert_eq!(cluster.ask(client, "MULTI"), "+OK");
    assert_eq!(cluster.ask(client, "INCR bar"), "+QUEUED");
    assert_eq!(cluster.ask(client, "EXEC"), crossslot);
    assert_eq!(cluster.ask(client, "EXISTS foo"), ":0");
    assert_eq!(cluster.ask(client, "EXISTS bar"), ":0");
}

#[test]
fn a_lost_node_takes_only_its_shards_with_it_for_a_moment() {
    let mut cluster = serving(3, "SHARDS 3");
    let (slots, leader) = shards(&cluster)[0];
    let leader = leader.expect("led");
    let other = NodeId(leader.0 % 3 + 1);
    let client = cluster.connect(other);
    assert_eq!(cluster.ask(client, "SELECT s"), "+OK");
    let key = (0..).map(|n| format!("key{n}")).find(|key| slots.contains(data::slot::slot(key.as_bytes())));
    let key = key.expect("some key");
    assert_eq!(cluster.ask(client, &format!("INCR {key}")), ":1");
    cluster.kill(leader);
    assert_eq!(cluster.ask(client, &format!("INCR {key}")), ":2", "{}", cluster.story.join("\n"));
    for key in 0..20 {
        assert_eq!(cluster.ask(client, &format!("SET other{key} 1")), "+OK");
    }
    cluster.start(leader);
    cluster.run(2000);
    assert_eq!(cluster.ask(client, "DBSIZE"), ":21");
}

// catalogue: B3
#[test]
fn a_keyspace_that_does_not_forward_names_the_leader() {
    let mut cluster = serving(3, "SHARDS 3 FORWARD off");
    let all = shards(&cluster);
    let mut moved = 0;
    for n in 1..=3 {
        let client = cluster.connect(NodeId(n));
        assert_eq!(cluster.ask(client, "SELECT s"), "+OK");
        for key in ["foo", "bar", "somekey", "hello"] {
            let slot = data::slot::slot(key.as_bytes());
            let (_, leader) = all.iter().find(|(slots, _)| slots.contains(slot)).expect("every slot");
            let reply = cluster.ask(client, &format!("SET {key} 1"));
            if *leader == Some(NodeId(n)) {
                assert_eq!(reply, "+OK");
            } else {
                let node = leader.expect("led");
                let address = cluster.nodes[&NodeId(n)].map().nodes[&node].addresses.resp.clone();
                assert_eq!(reply, format!("-MOVED {slot} {address}"));
                moved += 1;
                assert_eq!(cluster.ask(client, &format!("WATCH {key}")), reply);
                assert_eq!(cluster.ask(client, "MULTI"), "+OK");
                assert_eq!(cluster.ask(client, &format!("GET {key}")), reply);
                assert!(cluster.ask(client, "EXEC").starts_with("-EXECABORT"));
            }
        }
        assert!(cluster.ask(client, "INFO cluster").contains("cluster_enabled:1"));
    }
    assert_eq!(moved, 8);
    // Of the keyspace as a whole a node says what it leads: clients of Redis Cluster ask every leader.
    let (mut keys, mut scanned) = (0, 0);
    for n in 1..=3 {
        let client = cluster.connect(NodeId(n));
        assert_eq!(cluster.ask(client, "SELECT s"), "+OK");
        keys += cluster.ask(client, "DBSIZE")[1..].parse::<usize>().expect("a number");
        let mut cursor = String::from("0");
        loop {
            let reply = cluster.ask(client, &format!("SCAN {cursor}"));
            let words: Vec<&str> = reply.split(' ').collect();
            cursor = words[2].to_string();
            scanned += words[3][1..].parse::<usize>().expect("a number");
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(cluster.ask(client, "FLUSHDB"), "+OK");
    }
    assert_eq!((keys, scanned), (4, 4));
}

#[test]
fn the_number_of_shards_is_chosen_before_the_first_use() {
    let mut cluster = serving(3, "SHARDS 2");
    let client = cluster.connect(NodeId(1));
    assert_eq!(cluster.ask(client, "KEYSPACE ALTER 5 SHARDS 4"), "+OK");
    cluster.run(100);
    assert_eq!(cluster.ask(client, "SELECT 5"), "+OK");
    assert_eq!(
        cluster.ask(client, "MSET foo 1 bar 2"),
        "-CROSSSLOT Keys in request don't hash to the same slot"
    );
    assert_eq!(cluster.ask(client, "SET foo 1"), "+OK");
    assert_eq!(cluster.ask(client, "DBSIZE"), ":1");
    // Queued while the keyspace was not divided yet.
    let (one, two) = (cluster.connect(NodeId(1)), cluster.connect(NodeId(2)));
    for (client, keys) in [(one, &["foo"][..]), (two, &["foo", "bar"])] {
        assert_eq!(cluster.ask(client, "SELECT 6"), "+OK");
        assert_eq!(cluster.ask(client, "MULTI"), "+OK");
        for key in keys {
            assert_eq!(cluster.ask(client, &format!("SET {key} 1")), "+QUEUED");
        }
    }
    assert_eq!(cluster.ask(client, "KEYSPACE ALTER 6 SHARDS 4"), "+OK");
    cluster.run(100);
    assert_eq!(cluster.ask(one, "EXEC"), "*1 +OK");
    assert_eq!(cluster.ask(two, "EXEC"), "-CROSSSLOT Keys in request don't hash to the same slot");
    assert_eq!(cluster.ask(two, "GET foo"), "$1 1");
    assert_eq!(cluster.ask(two, "GET bar"), "$-1");
    assert_eq!(
        cluster.ask(client, "KEYSPACE CREATE t SINGLE-LEADER SHARDS 0"),
        "-ERR SHARDS must be between 1 and 256"
    );
    assert_eq!(cluster.ask(client, "SET foo 1"), "+OK");
    assert_eq!(cluster.ask(client, "FLUSHALL"), "+OK");
    assert_eq!(cluster.ask(client, "DBSIZE"), ":0");
}

/// What one request asks for, what its session saw, and in which shard its key is, know of each other.
// catalogue: G2 G3
#[test]
fn options_and_sessions_know_of_shards() {
    let mut cluster = serving(3, "SHARDS 3");
    let client = cluster.connect(NodeId(1));
    assert_eq!(cluster.ask(client, "SELECT s"), "+OK");
    let keys = ["foo", "bar", "hello"];
    for (n, key) in (1..).zip(keys) {
        for _ in 0..2 {
            assert_eq!(cluster.ask(client, &format!("WITH REQUEST app:{n} DO INCR {key}")), ":1");
        }
    }
    assert!(cluster.ask(client, "RECEIPT app:1").starts_with("-ERR an id does not say in which shard"));
    // Every group that was written to is asked.
    assert_eq!(cluster.ask(client, "WAIT 2 1000"), ":2");

    assert_eq!(cluster.ask(client, "CONSISTENCY READ follower COMMIT synchronous MAX-STALENESS 400"), "+OK");
    let shown = cluster.ask(client, "CONSISTENCY");
    for word in ["COMMIT", "synchronous", "READ", "follower", "MAX-STALENESS", "400"] {
        assert!(shown.contains(word), "{shown}");
    }
    assert!(cluster.ask(client, "CONSISTENCY READ follower COMMIT no").starts_with("-ERR"));
    assert!(cluster.ask(client, "FLUSHDB").starts_with("-ERR WITH and CONSISTENCY say nothing"));
    assert_eq!(cluster.ask(client, "SET foo 5"), "+OK");
    for (key, value) in [("foo", "5"), ("bar", "1"), ("hello", "1")] {
        assert_eq!(cluster.ask(client, &format!("GET {key}")), format!("$1 {value}"));
        assert_eq!(cluster.ask(client, &format!("WITH READ leader DO GET {key}")), format!("$1 {value}"));
    }
    let token = cluster.ask(client, "SESSION TOKEN");
    let token = token.split(' ').nth(1).expect("a token").to_string();
    for n in 1..=3 {
        let other = cluster.connect(NodeId(n));
        assert_eq!(cluster.ask(other, "SELECT s"), "+OK");
        assert_eq!(cluster.ask(other, &format!("SESSION RESUME {token}")), "+OK");
        assert_eq!(cluster.ask(other, "WITH READ follower DO GET foo"), "$1 5");
        assert_eq!(cluster.ask(other, "CONSISTENCY"), "*0", "it was for one request");
    }
    assert_eq!(cluster.ask(client, "CONSISTENCY DEFAULT"), "+OK");
    assert_eq!(cluster.ask(client, "FLUSHDB"), "+OK");
}
