//! Commands about all keys of a multi-leader keyspace: each site answers for what it sees.
// catalogue: I1 K10

use crate::leaderless::{walk, words};
use crate::sites::{cut, insists, with};
use std::collections::BTreeSet;

#[test]
fn a_site_lists_counts_and_walks_what_it_sees() {
    for options in ["", "SHARDS 3"] {
        let (mut cluster, clients) = with(3, options);
        for client in &clients {
            assert_eq!(cluster.ask(*client, "KEYS *"), "*0");
            assert_eq!(cluster.ask(*client, "DBSIZE"), ":0");
            assert_eq!(cluster.ask(*client, "RANDOMKEY"), "$-1");
        }
        let mut all: Vec<String> = (0..90).map(|number| format!("key{number}")).collect();
        for (number, key) in all.iter().enumerate() {
            assert_eq!(cluster.ask(clients[number % 3], &format!("SET {key} {number}")), "+OK");
        }
        assert_eq!(cluster.ask(clients[1], "SADD a-set m"), ":1");
        // What is deleted leaves a trace behind, and is not counted.
        assert_eq!(cluster.ask(clients[2], "SET gone 1"), "+OK");
        assert_eq!(cluster.ask(clients[2], "DEL gone"), ":1");
        assert_eq!(cluster.ask(clients[2], "SADD emptied m"), ":1");
        assert_eq!(cluster.ask(clients[2], "SREM emptied m"), ":1");
        all.push("a-set".into());
        all.sort();
        for client in &clients {
            insists(&mut cluster, *client, "DBSIZE", ":91");
            assert_eq!(words(&cluster.ask(*client, "KEYS *")), all);
            assert_eq!(words(&cluster.ask(*client, "KEYS key1?")).len(), 10);
            let drawn = cluster.ask(*client, "RANDOMKEY");
            assert!(all.contains(&words(&drawn)[0]), "{drawn}");
        }
        let drawn: BTreeSet<String> = (0..20).map(|_| cluster.ask(clients[0], "RANDOMKEY")).collect();
        assert!(drawn.len() > 5, "{drawn:?}");
        // Where a key lies is the same everywhere: a walk goes on at another site.
        assert_eq!(walk(&mut cluster, &clients, "COUNT 7"), all);
        assert_eq!(walk(&mut cluster, &clients, "COUNT 1000 TYPE set"), ["a-set"]);
        assert_eq!(walk(&mut cluster, &clients, "MATCH key8*").len(), 11);
        assert!(cluster.ask(clients[0], "SCAN x").starts_with("-ERR invalid cursor"));
        assert!(cluster.ask(clients[0], "SCAN 0 COUNT 0").starts_with("-ERR syntax"));
        assert_eq!(cluster.ask(clients[0], "SCAN 18446744073709551615"), "*2 $1 0 *0");
        // Nobody sees a key whose expiry has passed.
        assert_eq!(cluster.ask(clients[0], "SET gone-soon 1 PX 300"), "+OK");
        cluster.run(400);
        assert_eq!(words(&cluster.ask(clients[0], "KEYS *")), all);
        assert_eq!(cluster.ask(clients[0], "DBSIZE"), ":92", "it stays in memory, and counts");
    }
}

/// FLUSHDB deletes what its site sees, page by page, everywhere; what it has not seen survives.
#[test]
fn flushdb_deletes_what_its_site_sees() {
    for options in
        ["", "SHARDS 3", "CONFLICT last-write-wins", "REPLICAS 2 COMMIT majority CONFLICT siblings"]
    {
        let (mut cluster, clients) = with(6, options);
        let field = "x".repeat(200);
        for number in 0..3_000 {
            cluster.send(clients[number % 6], &format!("SET {field}{number} v"));
            if number % 50 == 0 {
                cluster.run(5);
            }
        }
        cluster.run(2_000);
        clients.iter().for_each(|client| drop(cluster.received(*client)));
        for words in ["SADD s m", "HSET h f v", "RPUSH l e", "ZADD z 1 m", "SET brief v PX 100000"] {
            let reply = cluster.ask(clients[1], words);
            assert!(reply == ":1" || reply == "+OK", "{reply}");
        }
        for client in &clients {
            insists(&mut cluster, *client, "DBSIZE", ":3005");
        }
        cut(&mut cluster, "ap", true);
        cluster.run(100);
        assert_eq!(cluster.ask(clients[2], "SET unseen v"), "+OK");
        assert_eq!(cluster.ask(clients[2], "SADD s other"), ":1");
        assert_eq!(cluster.ask(clients[3], "FLUSHDB ASYNC"), "+OK", "{options}");
        for at in [0, 1, 3, 4] {
            insists(&mut cluster, clients[at], "DBSIZE", ":0");
        }
        assert_eq!(cluster.ask(clients[0], "SET later v"), "+OK");
        cut(&mut cluster, "ap", false);
        for client in &clients {
            insists(&mut cluster, *client, "DBSIZE", ":3");
            assert_eq!(cluster.ask(*client, "SMEMBERS s"), "*1 $5 other");
        }
        // What is sent behind it is executed behind all of its pages, at the leader and elsewhere.
        for client in [clients[0], clients[3]] {
            for number in 0..3_000 {
                cluster.send(clients[number % 2 * 3], &format!("SET {field}{number} v"));
            }
            cluster.run(2_000);
            clients.iter().for_each(|client| drop(cluster.received(*client)));
            let behind = ["FLUSHDB", "SET behind v", "SET {behind}2 v", "SET {behind}3 v", "SET other v"];
            cluster.pipeline(client, &behind);
            cluster.run(2_000);
            assert_eq!(cluster.received(client), "+OK +OK +OK +OK +OK");
            assert_eq!(cluster.ask(client, "DBSIZE"), ":4", "{options}");
        }
        assert!(cluster.ask(clients[0], "FLUSHDB now").starts_with("-ERR syntax"));
        assert!(cluster.ask(clients[0], "FLUSHDB FROM 99999999").starts_with("-ERR syntax"));
        assert!(cluster.ask(clients[0], "WITH COMMIT async DO FLUSHDB").starts_with("-ERR"));
        assert_eq!(cluster.ask(clients[0], "FLUSHDB"), "+OK");
        assert_eq!(cluster.ask(clients[0], "FLUSHDB"), "+OK");
        assert_eq!(cluster.ask(clients[0], "DBSIZE"), ":0");
    }
}

/// A follower asks the leader of its own site, wherever keys are at home; and FLUSHDB, which no site could do by itself there, is
/// refused by everybody.
#[test]
fn every_node_tells_of_its_own_site() {
    for options in ["CONFLICT home", "CONFLICT home SHARDS 2", "SHARDS 2"] {
        let (mut cluster, clients) = with(6, &format!("REPLICAS 2 COMMIT majority {options}"));
        for number in 0..30 {
            assert_eq!(cluster.ask(clients[number % 6], &format!("SET key{number} v")), "+OK");
        }
        for client in &clients {
            insists(&mut cluster, *client, "DBSIZE", ":30");
            if options.contains("home") {
                let reply = cluster.ask(*client, "FLUSHDB");
                assert!(reply.starts_with("-ERR 'flushdb' is not available under CONFLICT home"), "{reply}");
            }
        }
        for (alone, site) in [("eu", [0, 3]), ("us", [1, 4]), ("ap", [2, 5])] {
            cut(&mut cluster, alone, true);
            cluster.run(100);
            for at in site {
                assert_eq!(cluster.ask(clients[at], "DBSIZE"), ":30", "{options} {alone} {at}");
                assert_eq!(words(&cluster.ask(clients[at], "KEYS key1?")).len(), 10);
            }
            cut(&mut cluster, alone, false);
            cluster.run(1_000);
        }
    }
}

/// A copy that is read by itself tells what it holds.
#[test]
fn a_follower_answers_by_itself_under_readonly() {
    let (mut cluster, clients) = with(6, "REPLICAS 2 COMMIT majority");
    for number in 0..30 {
        assert_eq!(cluster.ask(clients[number % 6], &format!("SET key{number} v")), "+OK");
    }
    for client in &clients {
        assert_eq!(cluster.ask(*client, "READONLY"), "+OK");
        insists(&mut cluster, *client, "DBSIZE", ":30");
    }
    // Nobody else is there to ask.
    let nodes: Vec<_> = cluster.nodes.keys().copied().collect();
    for a in &nodes {
        cluster.cut.extend(nodes.iter().map(|b| (*a, *b)));
    }
    let mut alone = 0;
    for client in &clients {
        if cluster.ask(*client, "DBSIZE") == ":30" {
            alone += 1;
            assert_eq!(words(&cluster.ask(*client, "KEYS key1?")).len(), 10);
            assert_eq!(walk(&mut cluster, &[*client], "COUNT 7").len(), 30);
            assert!(cluster.ask(*client, "RANDOMKEY").contains("key"));
        }
    }
    assert!(alone >= 3, "{alone}");
}
