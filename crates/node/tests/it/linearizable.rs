//! Linearizable keys of leaderless keyspaces on whole nodes.
// catalogue: K4
// bugs: LL-03

use crate::leaderless::keyspace;
use crate::rig::{Client, Cluster};
use data::NodeId;

fn carts(options: &str) -> (Cluster, Vec<Client>) {
    keyspace(5, "carts", options)
}

/// A command, made linearizable.
fn ask(cluster: &mut Cluster, client: Client, line: &str) -> String {
    cluster.ask(client, &format!("WITH LINEARIZABLE DO {line}"))
}

#[test]
fn commands_that_are_exclusive_elsewhere_mean_what_they_say() {
    let (mut cluster, clients) = carts("SHARDS 2");
    for (client, line, wanted) in [
        (0, "SETNX lock a", ":1"),
        (4, "SETNX lock b", ":0"),
        (3, "GET lock", "$1 a"),
        (2, "SET lock c XX GET", "$1 a"),
        (1, "GETDEL lock", "$1 c"),
        (0, "EXISTS lock", ":0"),
        (4, "SET lock d NX PX 60000", "+OK"),
        (2, "PERSIST lock", ":1"),
        (0, "INCR n", ":1"),
        (3, "INCRBYFLOAT n 0.5", "$3 1.5"),
        (1, "RPUSH queue a b c", ":3"),
        (4, "LPOP queue", "$1 a"),
        (0, "LSET queue 0 x", "+OK"),
        (2, "LRANGE queue 0 -1", "*2 $1 x $1 c"),
        (3, "HSETNX h f 1", ":1"),
        (0, "HSETNX h f 2", ":0"),
        (1, "INCR queue", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        (1, "LLEN queue", ":2"),
    ] {
        assert_eq!(ask(&mut cluster, clients[client], line), wanted, "{line}");
    }
    assert!(cluster.ask(clients[3], "KEYS *").starts_with("*4 "));
    assert_eq!(cluster.ask(clients[2], "DBSIZE"), ":4");
    assert_eq!(ask(&mut cluster, clients[2], "PEXPIRE n 1"), ":1");
    cluster.run(50);
    assert_eq!(ask(&mut cluster, clients[3], "EXISTS n"), ":0");
    assert!(cluster.ask(clients[3], "KEYS *").starts_with("*3 "));
}

#[test]
fn a_key_is_linearizable_or_plain() {
    let (mut cluster, clients) = carts("");
    assert_eq!(ask(&mut cluster, clients[0], "SET k 1"), "+OK");
    for line in
        ["GET k", "SET k 2", "INCR k", "DEL k", "EXPIRE k 5", "GETV k", "EXISTS k", "TYPE k", "FLUSHDB"]
    {
        let reply = cluster.ask(clients[1], line);
        assert!(reply.starts_with("-LINEARIZABLE "), "{line}: {reply}");
    }
    assert_eq!(ask(&mut cluster, clients[2], "GET k"), "$1 1");
    assert_eq!(cluster.ask(clients[0], "SET plain 1"), "+OK");
    for line in ["GET plain", "SET plain 2", "DEL plain"] {
        let reply = ask(&mut cluster, clients[1], line);
        assert!(reply.starts_with("-LINEARIZABLE "), "{line}: {reply}");
    }
    assert_eq!(cluster.ask(clients[2], "GET plain"), "$1 1");
    // A plain key that was deleted is nobody's; looking at one makes it nobody's either.
    assert_eq!(cluster.ask(clients[2], "DEL plain"), ":1");
    assert_eq!(ask(&mut cluster, clients[3], "GETDEL plain"), "$-1");
    assert_eq!(cluster.ask(clients[2], "SET plain 2"), "+OK");
}

#[test]
fn a_majority_is_needed_whatever_the_keyspace_says() {
    let (mut cluster, clients) = carts("N 3 W 3 R 1");
    let map = cluster.nodes[&NodeId(1)].map().clone();
    let (.., shard) = map.leaderless_shards().next().expect("a shard");
    let [one, two, three] = shard.replicas[..] else { panic!("three copies") };
    let client = |node: NodeId| clients[node.0 as usize - 1];
    assert_eq!(ask(&mut cluster, client(one), "SET k 1"), "+OK");
    cluster.kill(three);
    cluster.run(2_000);
    assert!(cluster.ask(client(one), "SET plain 1").starts_with("-NOQUORUM"), "W 3");
    assert_eq!(ask(&mut cluster, client(one), "INCR k"), ":2");
    assert!(cluster.ask(client(one), "RECEIPT").contains("acknowledged"));
    cluster.kill(two);
    cluster.run(2_000);
    let reply = ask(&mut cluster, client(one), "INCR k");
    assert!(reply.starts_with("-NOQUORUM 2 copies must agree"), "{reply}");
    let reply = ask(&mut cluster, client(one), "GET k");
    assert!(reply.starts_with("-NOQUORUM 2 copies must agree"), "{reply}");
    cluster.start(two);
    cluster.run(2_000);
    assert_eq!(ask(&mut cluster, client(one), "GET k"), "$1 2");
}

#[test]
fn a_connection_may_say_it_once_and_what_cannot_be_meant_is_refused() {
    let (mut cluster, clients) = carts("");
    assert_eq!(cluster.ask(clients[0], "CONSISTENCY LINEARIZABLE"), "+OK");
    assert_eq!(cluster.ask(clients[0], "CONSISTENCY"), "*2 $12 linearizable $2 on");
    assert_eq!(cluster.ask(clients[0], "SETNX k 1"), ":1");
    assert_eq!(cluster.ask(clients[0], "GET k"), "$1 1");
    for line in
        ["MGET a b", "MSET a 1 b 2", "RENAME a b", "KEYS *", "BLPOP a 1", "SETV k v ctx", "SPUBLISH a b"]
    {
        let reply = cluster.ask(clients[0], line);
        assert!(reply.starts_with("-ERR "), "{line}: {reply}");
    }
    assert_eq!(cluster.ask(clients[0], "SELECT 0"), "+OK");
    assert!(cluster.ask(clients[0], "GET k").starts_with("-ERR W, R, SLOPPY"), "nothing is taken for less");
    assert_eq!(cluster.ask(clients[0], "CONSISTENCY DEFAULT"), "+OK");
    assert_eq!(cluster.ask(clients[0], "GET k"), "$-1");
    for (options, wanted) in
        [("LINEARIZABLE W 2", "-ERR LINEARIZABLE asks"), ("LINEARIZABLE REQUEST a:1", "-ERR REQUEST")]
    {
        let reply = cluster.ask(clients[1], &format!("WITH {options} DO SET k 2"));
        assert!(reply.starts_with(wanted), "{reply}");
    }
    let long = "x".repeat(600_000);
    assert_eq!(ask(&mut cluster, clients[1], &format!("SET big {long}")), "+OK");
    assert!(
        ask(&mut cluster, clients[2], &format!("APPEND big {long}")).starts_with("-ERR a linearizable value")
    );
    assert_eq!(ask(&mut cluster, clients[3], "STRLEN big"), ":600000");
}

/// Clients on five nodes go at one key: each increment counts once, and each is told another number.
#[test]
fn increments_from_everywhere_count_once_each() {
    let (mut cluster, clients) = carts("");
    let mut told = Vec::new();
    let (mut open, mut tries) = (5 * 12, 0);
    let mut waits = vec![false; clients.len()];
    while open > 0 && tries < 3_000 {
        tries += 1;
        for (at, client) in clients.iter().enumerate() {
            if !waits[at] && open > 0 {
                cluster.send(*client, "WITH LINEARIZABLE DO INCR n");
                waits[at] = true;
            }
        }
        cluster.run(5);
        for (at, client) in clients.iter().enumerate() {
            let reply = cluster.received(*client);
            if reply.is_empty() {
                continue;
            }
            waits[at] = false;
            match reply.strip_prefix(':') {
                Some(number) => {
                    told.push(number.parse::<u64>().expect("a number"));
                    open -= 1;
                }
                None => assert!(reply.starts_with("-TRYAGAIN"), "{reply}"),
            }
        }
    }
    cluster.run(2_000);
    told.sort_unstable();
    let before = told.len();
    told.dedup();
    assert_eq!(told.len(), before, "no number twice");
    assert_eq!(open, 0, "all came through within {tries} rounds");
}
