//! Commands about all keys of a multi-leader keyspace: each site answers for what it sees.
// catalogue: I1 K10

use crate::leaderless::{walk, words};
use crate::sites::{cut, insists, with};

#[test]
fn a_site_lists_counts_and_walks_what_it_sees() {
    for options in ["", "SHARDS 3"] {
        let (mut cluster, clients) = with(3, options);
        for client in &clients {
            assert_eq!(cluster.ask(*client, "KEYS *"), "*0");
            assert_eq!(cluster.ask(*client, "DBSIZE"), ":0");
            assert_eq!(cluster.ask(*client, "RANDOMKEY"), "$-1");
            assert_eq!(cluster.ask(*client, "FLUSHDB"), "+OK");
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
        // A copy that is read by itself.
        assert_eq!(cluster.ask(clients[0], "READONLY"), "+OK");
        assert_eq!(words(&cluster.ask(clients[0], "KEYS *")), all);
    }
}

#[test]
fn flushdb_deletes_what_its_site_saw() {
    let (mut cluster, clients) = with(3, "SHARDS 2");
    for number in 0..200 {
        assert_eq!(cluster.ask(clients[number % 3], &format!("SET key{number} {number}")), "+OK");
    }
    for client in &clients {
        insists(&mut cluster, *client, "DBSIZE", ":200");
    }
    cut(&mut cluster, "us", true);
    cluster.run(100);
    assert_eq!(cluster.ask(clients[1], "SET kept 1"), "+OK");
    assert_eq!(cluster.ask(clients[1], "SET key7 again"), "+OK");
    assert!(cluster.ask(clients[0], "FLUSHDB LATER").starts_with("-ERR syntax"));
    assert_eq!(cluster.ask(clients[0], "FLUSHDB ASYNC"), "+OK");
    assert_eq!(cluster.ask(clients[0], "KEYS *"), "*0");
    cut(&mut cluster, "us", false);
    for client in &clients {
        insists(&mut cluster, *client, "DBSIZE", ":2");
        assert_eq!(words(&cluster.ask(*client, "KEYS *")), ["kept", "key7"]);
    }
}

#[test]
fn flushdb_deletes_nothing_while_keys_are_at_home_elsewhere() {
    for options in ["CONFLICT home", "CONFLICT home FORWARD off"] {
        let (mut cluster, clients) = with(3, options);
        let mut written = 0;
        for number in 0..30 {
            let line = format!("SET key{number} v");
            written += clients.iter().filter(|client| cluster.ask(**client, &line) == "+OK").count().min(1);
        }
        assert_eq!(written, 30);
        insists(&mut cluster, clients[0], "DBSIZE", ":30");
        let reply = cluster.ask(clients[0], "FLUSHDB");
        assert!(reply.starts_with("-HOME"), "{reply}");
        cluster.run(500);
        assert_eq!(cluster.ask(clients[2], "DBSIZE"), ":30");
    }
}
