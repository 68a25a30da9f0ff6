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

/// A follower asks the leader of its own site, wherever keys are at home; and FLUSHDB, which would not be one write, is refused by everybody.
#[test]
fn every_node_tells_of_its_own_site() {
    for options in ["CONFLICT home", "CONFLICT home SHARDS 2", "SHARDS 2"] {
        let (mut cluster, clients) = with(6, &format!("REPLICAS 2 COMMIT majority {options}"));
        for number in 0..30 {
            assert_eq!(cluster.ask(clients[number % 6], &format!("SET key{number} v")), "+OK");
        }
        for client in &clients {
            insists(&mut cluster, *client, "DBSIZE", ":30");
            let reply = cluster.ask(*client, "FLUSHDB");
            assert!(reply.starts_with("-ERR 'flushdb' is not available in a multi-leader"), "{reply}");
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
