//! Leaderless keyspaces on whole nodes: quorums, stand-ins, restarts, replacements.
// catalogue: K1 K3 K16 K18
// bugs: LL-07, LL-15, LL-16, LL-18

use crate::cluster::serving;
use crate::rig::{Client, Cluster};
use data::NodeId;
use data::leaderless::Stage;

/// A cluster with this leaderless keyspace, and a client of it on every node.
pub fn keyspace(nodes: u32, name: &str, options: &str) -> (Cluster, Vec<Client>) {
    let mut cluster = serving(nodes);
    let client = cluster.connect(NodeId(1));
    let line = format!("KEYSPACE CREATE {name} LEADERLESS {options}");
    assert_eq!(cluster.ask(client, line.trim_end()), "+OK");
    cluster.run(100);
    let clients: Vec<Client> = (1..=nodes).map(|node| cluster.connect(NodeId(node))).collect();
    for client in &clients {
        assert_eq!(cluster.ask(*client, &format!("SELECT {name}")), "+OK");
    }
    (cluster, clients)
}

fn with(nodes: u32, options: &str) -> (Cluster, Vec<Client>) {
    keyspace(nodes, "carts", options)
}

/// Two clients write at once, each through its own node, whose copy mints.
pub fn at_once(cluster: &mut Cluster, clients: &[Client], one: &str, two: &str) {
    cluster.send(clients[0], one);
    cluster.send(clients[1], two);
    cluster.run(100);
    for client in &clients[..2] {
        let reply = cluster.received(*client);
        assert!(reply == "+OK" || reply == ":1", "{reply}");
    }
}

/// The nodes of the only ring, and those that are not in it.
fn ring(cluster: &Cluster) -> (Vec<NodeId>, Vec<NodeId>) {
    let map = cluster.nodes.values().map(|node| node.map()).max_by_key(|map| map.version).expect("a node");
    let (.., shard) = map.leaderless_shards().next().expect("a shard");
    let others = map.nodes.keys().copied().filter(|node| !shard.replicas.contains(node)).collect();
    (shard.replicas.clone(), others)
}

fn insists(cluster: &mut Cluster, client: Client, line: &str, wanted: &str) {
    let mut reply = String::new();
    for _ in 0..60 {
        reply = cluster.ask(client, line);
        if reply == wanted {
            return;
        }
        cluster.run(100);
    }
    panic!("{line}: {reply}, not {wanted}");
}

#[test]
fn any_node_takes_reads_and_writes() {
    let (mut cluster, clients) = with(5, "SHARDS 2");
    assert_eq!(cluster.ask(clients[0], "SET a 1"), "+OK");
    assert_eq!(cluster.ask(clients[4], "GET a"), "$1 1");
    for client in &clients {
        assert!(cluster.ask(*client, "INCR n").starts_with(':'));
        assert_eq!(cluster.ask(*client, &format!("SADD s m{}", client.node.0)), ":1");
    }
    assert_eq!(cluster.ask(clients[1], "GET n"), "$1 5");
    assert_eq!(cluster.ask(clients[2], "DEL a nothing"), ":1");
    assert_eq!(cluster.ask(clients[3], "EXISTS a n s"), ":2");
    assert_eq!(cluster.ask(clients[3], "GET s").split(' ').next(), Some("-WRONGTYPE"));
    assert!(cluster.ask(clients[3], "INCR s").starts_with("-WRONGTYPE"));
    assert!(cluster.ask(clients[3], "SETNX a 1").starts_with("-EXCLUSIVE"));
    assert!(cluster.ask(clients[3], "MULTI").starts_with("-EXCLUSIVE"));
    assert_eq!(cluster.ask(clients[3], "KEYS *").split(' ').next(), Some("*2"));
    cluster.pipeline(clients[0], &["SET p 1", "INCR p", "GET p"]);
    cluster.run(50);
    assert_eq!(cluster.received(clients[0]), "+OK :2 $1 2");
}

#[test]
fn too_few_copies_are_named_and_requests_may_ask_for_less() {
    let (mut cluster, clients) = with(3, "N 3");
    assert_eq!(cluster.ask(clients[0], "SET a 1"), "+OK");
    cluster.kill(NodeId(2));
    cluster.kill(NodeId(3));
    cluster.run(50);
    let reply = cluster.ask(clients[0], "SET a 2");
    assert!(reply.starts_with("-NOQUORUM 2 copies must acknowledge this, 1 can be reached"), "{reply}");
    assert!(cluster.ask(clients[0], "GET a").starts_with("-NOQUORUM 2 copies must answer"));
    assert_eq!(cluster.ask(clients[0], "WITH R 1 DO GET a"), "$1 1");
    assert_eq!(cluster.ask(clients[0], "WITH CONSISTENCY-LEVEL ONE DO SET a 3"), "+OK");
    assert_eq!(cluster.ask(clients[0], "CONSISTENCY R one"), "+OK");
    assert_eq!(cluster.ask(clients[0], "GET a"), "$1 3");
    assert!(cluster.ask(clients[0], "WITH W 4 DO SET a 4").contains("W is at most N"));
    assert!(cluster.ask(clients[0], "WITH COMMIT async DO SET a 4").contains("say W and R"));
    cluster.start(NodeId(2));
    cluster.start(NodeId(3));
    insists(&mut cluster, clients[0], "WITH R all DO GET a", "$1 3");
    let other = cluster.connect(NodeId(1));
    assert!(cluster.ask(other, "WITH W 1 DO SET a 4").contains("this keyspace has one"));
}

#[test]
fn receipts_name_who_acknowledged_and_who_stood_in() {
    let (mut cluster, _) = with(4, "N 3 W 3 SLOPPY on");
    let (replicas, others) = ring(&cluster);
    let client = cluster.connect(replicas[0]);
    assert_eq!(cluster.ask(client, "SELECT carts"), "+OK");
    cluster.kill(replicas[2]);
    cluster.run(50);
    cluster.send(client, "WITH RECEIPT DO SET a 1");
    cluster.run(500);
    let reply = cluster.received(client);
    let stood_in = format!("$8 stood-in *1 *4 $4 node $2 n{} $3 for $2 n{}", others[0].0, replicas[2].0);
    assert!(reply.starts_with("*2 +OK "), "{reply}");
    assert!(reply.contains(&stood_in), "{stood_in}: {reply}");
    assert!(reply.contains("$7 outcome $12 acknowledged") && reply.contains("$6 sloppy :1"), "{reply}");
    assert!(cluster.ask(client, "WITH PW 3 DO SET a 2").starts_with("-NOQUORUM 3"));
    let hints = |cluster: &Cluster| -> usize {
        cluster.nodes.values().flat_map(|node| node.shard_states()).map(|state| state.hints).sum()
    };
    assert_eq!(hints(&cluster), 1);
    // The stand-in's disk has the hint, and the returning replica gets it.
    cluster.kill(others[0]);
    cluster.start(others[0]);
    cluster.start(replicas[2]);
    cluster.run(3000);
    assert_eq!(hints(&cluster), 0);
    let returned = cluster.connect(replicas[2]);
    assert_eq!(cluster.ask(returned, "SELECT carts"), "+OK");
    assert_eq!(cluster.ask(returned, "WITH R 1 DO GET a"), "$1 1");
}

#[test]
fn a_restart_finds_what_the_disk_has_and_the_log_stays_short() {
    let (mut cluster, clients) = {
        let mut cluster = serving(3);
        cluster.snapshot_log_bytes = 4 << 10;
        for node in 1..=3 {
            cluster.kill(NodeId(node));
            cluster.start(NodeId(node));
        }
        cluster.run(3000);
        let client = cluster.connect(NodeId(1));
        insists(&mut cluster, client, "KEYSPACE CREATE carts LEADERLESS", "+OK");
        cluster.run(100);
        let client = cluster.connect(NodeId(2));
        assert_eq!(cluster.ask(client, "SELECT carts"), "+OK");
        (cluster, vec![client])
    };
    for number in 0..300 {
        assert_eq!(cluster.ask(clients[0], &format!("SET key{} {number}", number % 30)), "+OK");
        assert!(cluster.ask(clients[0], "INCR total").starts_with(':'));
    }
    assert_eq!(cluster.ask(clients[0], "DEL key7"), ":1");
    let checkpoints: u64 = cluster.nodes.values().map(|node| node.leaderless_counts().checkpoints).sum();
    assert!(checkpoints >= 3, "{checkpoints} checkpoints");
    for node in 1..=3 {
        cluster.kill(NodeId(node));
    }
    for node in 1..=3 {
        cluster.start(NodeId(node));
    }
    cluster.run(2000);
    let client = cluster.connect(NodeId(3));
    assert_eq!(cluster.ask(client, "SELECT carts"), "+OK");
    insists(&mut cluster, client, "GET total", "$3 300");
    assert_eq!(cluster.ask(client, "GET key29"), "$3 299");
    assert_eq!(cluster.ask(client, "GET key7"), "$-1");
    assert_eq!(cluster.ask(client, "KEYSPACE DROP carts"), "+OK");
    cluster.run(200);
    assert_eq!(cluster.nodes.values().flat_map(|node| node.shard_states()).count(), 0);
}

#[test]
fn a_node_that_leaves_is_replaced_and_the_newcomer_is_counted_when_it_is_ready() {
    let (mut cluster, _) = with(4, "N 3");
    let (replicas, others) = ring(&cluster);
    let client = cluster.connect(replicas[0]);
    assert_eq!(cluster.ask(client, "SELECT carts"), "+OK");
    for number in 0..50 {
        assert_eq!(cluster.ask(client, &format!("SET key{number} {number}")), "+OK");
    }
    cluster.kill(replicas[2]);
    assert_eq!(cluster.ask(client, &format!("KEYSPACE REMOVE-NODE {}", replicas[2].0)), "+OK");
    for _ in 0..100 {
        cluster.run(100);
        let (now, _) = ring(&cluster);
        let map = cluster.nodes[&replicas[0]].map();
        let joined = map.leaderless_shards().all(|(.., shard)| shard.joining.is_none());
        if now.contains(&others[0]) && joined {
            break;
        }
    }
    assert!(ring(&cluster).0.contains(&others[0]), "the ring has the newcomer");
    let newcomer = cluster.connect(others[0]);
    assert_eq!(cluster.ask(newcomer, "SELECT carts"), "+OK");
    assert_eq!(cluster.ask(newcomer, "WITH R 1 DO GET key49"), "$2 49");
    cluster.kill(replicas[1]);
    cluster.run(100);
    insists(&mut cluster, newcomer, "GET key20", "$2 20");
}

/// It was taken for one of the founders, whose copies begin empty: it minted the dots of its former copy again, and with another
/// node that went by the old map it was a quorum of a ring that was over.
#[test]
fn nobody_takes_part_in_a_ring_that_is_over_after_a_restart_with_an_old_map() {
    let (mut cluster, _) = with(4, "N 3");
    let (replicas, others) = ring(&cluster);
    let (stays, leaves) = (replicas[0], replicas[2]);
    let client = cluster.connect(leaves);
    assert_eq!(cluster.ask(client, "SELECT carts"), "+OK");
    assert_eq!(cluster.ask(client, "SADD s one two"), ":2");
    assert_eq!(cluster.ask(client, "SREM s one"), ":1");
    // With the next entry a disk has that the one before is committed.
    assert_eq!(cluster.ask(client, "KEYSPACE CREATE other LEADERLESS"), "+OK");
    cluster.run(100);
    let old = [stays, leaves].map(|id| (id, cluster.back_up(id)));
    let client = cluster.connect(stays);
    assert_eq!(cluster.ask(client, &format!("KEYSPACE REMOVE-NODE {}", leaves.0)), "+OK");
    let joined = |cluster: &Cluster| {
        let map = cluster.nodes[&stays].map();
        map.leaderless_shards()
            .all(|(.., shard)| shard.joining.is_none() && shard.replicas.contains(&others[0]))
    };
    for _ in 0..100 {
        cluster.run(100);
        if joined(&cluster) && !cluster.nodes.contains_key(&leaves) {
            break;
        }
    }
    assert!(joined(&cluster), "the newcomer is counted");
    for id in [replicas[0], replicas[1], leaves, others[0]] {
        cluster.kill(id);
    }
    for (id, backup) in &old {
        cluster.forget_map(*id, backup);
    }
    for (id, _) in &old {
        let client = cluster.connect(*id);
        for line in ["SELECT carts", "SADD s three"] {
            cluster.send(client, line);
            cluster.run(3000);
        }
        let said = cluster.received(client);
        assert!(!said.contains(":1"), "{id} acknowledges what a quorum of the ring has not: {said}");
    }
    let state = cluster.nodes[&leaves].shard_states().next().map(|it| (it.is_ready, it.copy.len()));
    assert!(matches!(state, None | Some((false, 0))), "{state:?}");
    cluster.kill(leaves);
    cluster.start(replicas[1]);
    cluster.start(others[0]);
    let client = cluster.connect(stays);
    insists(&mut cluster, client, "SELECT carts", "+OK");
    insists(&mut cluster, client, "SMEMBERS s", "*1 $3 two");
}

#[test]
fn other_numbers_hold_at_once() {
    let (mut cluster, clients) = with(4, "N 3");
    assert_eq!(cluster.ask(clients[0], "SET a 1"), "+OK");
    let (replicas, _) = ring(&cluster);
    let client = cluster.connect(replicas[0]);
    assert_eq!(cluster.ask(client, "SELECT carts"), "+OK");
    cluster.kill(replicas[1]);
    cluster.kill(replicas[2]);
    insists(&mut cluster, client, "WITH R 1 DO GET a", "$1 1");
    assert!(cluster.ask(client, "SET a 2").starts_with("-"));
    cluster.start(replicas[1]);
    cluster.run(3000);
    insists(&mut cluster, client, "KEYSPACE ALTER carts W 1 R 3", "+OK");
    cluster.run(100);
    let info = cluster.ask(client, "KEYSPACE INFO carts");
    assert!(info.contains("$1 w :1") && info.contains("$1 r :3") && info.contains("$1 n :3"), "{info}");
    assert!(cluster.ask(client, "GET a").starts_with("-NOQUORUM 3"));
    assert_eq!(cluster.ask(client, "KEYSPACE ALTER carts R 2 SLOPPY on READ-REPAIR off"), "+OK");
    insists(&mut cluster, client, "WITH W 3 DO SET a 3", "+OK");
    assert!(cluster.ask(client, "KEYSPACE ALTER carts W 4").contains("W must be between"));
    assert!(cluster.ask(client, "KEYSPACE ALTER carts N 5 W 2").contains("cannot be altered"));
    assert!(
        cluster.ask(client, "KEYSPACE ALTER carts CONFLICT last-write-wins").contains("keeps other values")
    );
    assert!(cluster.ask(client, "KEYSPACE SHEET carts").contains("w 1, r 2"));
}

#[test]
fn what_deletes_leave_goes_behind_a_barrier_that_all_have_passed() {
    let (mut cluster, clients) = with(4, "N 3 SLOPPY on");
    for number in 0..20 {
        assert_eq!(cluster.ask(clients[0], &format!("INCR key{number}")), ":1");
        assert_eq!(
            cluster.ask(clients[1], &format!("RPUSH list{} a", number % 2)),
            format!(":{}", number / 2 + 1)
        );
    }
    for number in 0..20 {
        assert_eq!(cluster.ask(clients[1], &format!("DEL key{number}")), ":1");
    }
    assert_eq!(cluster.ask(clients[2], "LREM list0 0 a"), ":10");
    let residue = |cluster: &Cluster| -> u64 {
        cluster.nodes.values().flat_map(|node| node.shard_states()).map(|state| state.residue).sum()
    };
    assert!(residue(&cluster) >= 60, "two copies keep it at least: {}", residue(&cluster));
    // One that may keep hints is away: nothing goes, and everything else does.
    let (_, others) = ring(&cluster);
    cluster.kill(others[0]);
    cluster.run(120_000);
    assert!(residue(&cluster) >= 90, "{}", residue(&cluster));
    let here = clients.iter().find(|client| client.node != others[0]).expect("a client");
    assert_eq!(cluster.ask(*here, "INCR key3"), ":1");
    cluster.start(others[0]);
    for _ in 0..300 {
        cluster.run(1000);
        if residue(&cluster) == 0 {
            break;
        }
    }
    assert_eq!(residue(&cluster), 0);
    let client = cluster.connect(others[0]);
    assert_eq!(cluster.ask(client, "SELECT carts"), "+OK");
    assert_eq!(cluster.ask(client, "GET key3"), "$1 1");
    assert_eq!(cluster.ask(client, "GET key4"), "$-1");
    assert_eq!(cluster.ask(client, "INCR key4"), ":1");
    assert_eq!(cluster.ask(client, "LRANGE list0 0 -1"), "*0");
    assert!(cluster.ask(client, "KEYSPACE INFO carts").contains("$7 barrier $4 idle $8 barriers :1"));
    assert!(cluster.ask(client, "INFO leaderless").contains("leaderless_residue:0"));
}

/// A stand-in was awaited that was gone: whoever is forgotten reports no more, and nobody else does a second time.
#[test]
fn a_barrier_goes_on_when_a_node_that_it_waits_for_is_removed() {
    for dies in [true, false] {
        let (mut cluster, clients) = with(4, "N 3 SLOPPY on");
        let (replicas, others) = ring(&cluster);
        assert_eq!(cluster.ask(clients[0], "INCR n"), ":1");
        assert_eq!(cluster.ask(clients[0], "DEL n"), ":1");
        let barrier = |cluster: &Cluster| {
            let map = cluster.nodes[&replicas[0]].map();
            let (.., shard) = map.leaderless_shards().next().expect("a shard");
            (shard.barrier.stage, shard.barrier.collected, map.awaited_by_barrier(shard.group))
        };
        for _ in 0..12_000 {
            cluster.run(10);
            if barrier(&cluster).0 != Stage::Idle {
                break;
            }
        }
        let client = cluster.connect(replicas[0]);
        if dies {
            cluster.kill(others[0]);
            cluster.run(10_000);
            assert_eq!((barrier(&cluster).1, barrier(&cluster).2), (0, others.clone()));
        }
        assert_eq!(cluster.ask(client, &format!("KEYSPACE REMOVE-NODE {}", others[0].0)), "+OK");
        for _ in 0..60 {
            cluster.run(1000);
        }
        let (stage, collected, awaited) = barrier(&cluster);
        assert!(stage == Stage::Idle && collected == 1, "{stage:?} for {awaited:?}, dies: {dies}");
    }
}

#[test]
fn what_contradicts_itself_is_refused_and_what_is_promised_is_shown() {
    let mut cluster = serving(3);
    let client = cluster.connect(NodeId(1));
    let reply = cluster.ask(client, "KEYSPACE CREATE a LEADERLESS N 4");
    assert!(reply.contains("fewer nodes than N"), "{reply}");
    assert!(cluster.ask(client, "KEYSPACE CREATE a LEADERLESS W 4").contains("W must be between"));
    assert!(cluster.ask(client, "KEYSPACE CREATE a LEADERLESS COMMIT async").contains("has none"));
    assert_eq!(cluster.ask(client, "KEYSPACE CREATE a LEADERLESS N 3 W 1 R 1"), "+OK");
    assert!(cluster.ask(client, "KEYSPACE CREATE a LEADERLESS").contains("exists"));
    assert!(cluster.ask(client, "KEYSPACE LIST").ends_with("$1 a"));
    let info = cluster.ask(client, "KEYSPACE INFO a");
    assert!(info.contains("$4 kind $10 leaderless") && info.contains("$1 w :1"), "{info}");
    let sheet = cluster.ask(client, "KEYSPACE SHEET a");
    assert!(sheet.contains("1 + 1 is not above 3"), "{sheet}");
    assert!(cluster.ask(client, "KEYSPACE ALTER a SHARDS 2").contains("cannot be altered"));
    assert!(cluster.ask(client, "INFO leaderless").contains("leaderless_copies:1"));
}

pub fn words(reply: &str) -> Vec<String> {
    let mut words: Vec<String> =
        reply.split(' ').filter(|word| !word.starts_with(['*', '$'])).map(str::to_owned).collect();
    words.sort();
    words
}

/// All keys that a walk shows, each step at the next node.
pub fn walk(cluster: &mut Cluster, clients: &[Client], options: &str) -> Vec<String> {
    let (mut cursor, mut keys) = ("0".to_owned(), Vec::new());
    for step in 0..2000 {
        let reply = cluster.ask(clients[step % clients.len()], &format!("SCAN {cursor} {options}"));
        let mut parts = reply.splitn(4, ' ');
        assert_eq!(parts.next(), Some("*2"), "{reply}");
        cursor = parts.nth(1).expect("a cursor").to_owned();
        let names = parts.next().expect("names");
        keys.extend(names.split(' ').filter(|word| !word.starts_with(['*', '$'])).map(str::to_owned));
        if cursor == "0" {
            keys.sort();
            return keys;
        }
    }
    panic!("the walk has no end: {cursor}");
}

#[test]
fn commands_about_all_keys_show_what_a_quorum_holds() {
    let (mut cluster, clients) = with(5, "SHARDS 3");
    assert_eq!(cluster.ask(clients[0], "KEYS *"), "*0");
    assert_eq!(cluster.ask(clients[0], "DBSIZE"), ":0");
    assert_eq!(cluster.ask(clients[0], "RANDOMKEY"), "$-1");
    assert!(walk(&mut cluster, &clients, "COUNT 10").is_empty());
    let mut all = Vec::new();
    for number in 0..90 {
        let client = clients[number % 5];
        assert_eq!(cluster.ask(client, &format!("SET key{number} {number}")), "+OK");
        all.push(format!("key{number}"));
    }
    assert_eq!(cluster.ask(clients[1], "SADD a-set m"), ":1");
    assert_eq!(cluster.ask(clients[1], "SET gone-soon 1 PX 300"), "+OK");
    assert_eq!(cluster.ask(clients[2], "DBSIZE"), ":92");
    cluster.run(400);
    assert_eq!(cluster.ask(clients[2], "DEL key3 key4"), ":2");
    all.retain(|key| key != "key3" && key != "key4");
    all.push("a-set".into());
    all.sort();
    assert_eq!(words(&cluster.ask(clients[3], "KEYS *")), all);
    assert_eq!(words(&cluster.ask(clients[3], "KEYS key1?")).len(), 10);
    assert_eq!(cluster.ask(clients[4], "DBSIZE"), ":89");
    assert_eq!(walk(&mut cluster, &clients, "COUNT 7"), all);
    assert_eq!(walk(&mut cluster, &clients, "COUNT 1000 TYPE set"), ["a-set"]);
    assert_eq!(walk(&mut cluster, &clients, "MATCH key8*").len(), 11);
    let drawn = cluster.ask(clients[0], "RANDOMKEY");
    assert!(all.contains(&words(&drawn)[0]), "{drawn}");
    assert!(cluster.ask(clients[0], "SCAN x").starts_with("-ERR invalid cursor"));
    assert!(cluster.ask(clients[0], "SCAN 0 COUNT 0").starts_with("-ERR syntax"));
    // Behind the last place of the last shard.
    assert_eq!(cluster.ask(clients[0], "SCAN 18446744073709551615"), "*2 $1 0 *0");
    assert!(cluster.ask(clients[0], "WITH REQUEST a:1 DO FLUSHDB").starts_with("-ERR REQUEST"));
    assert_eq!(cluster.ask(clients[1], "FLUSHDB"), "+OK");
    assert_eq!(cluster.ask(clients[0], "KEYS *"), "*0");
    assert_eq!(cluster.ask(clients[0], "DBSIZE"), ":0");
}

/// One copy was away: it lacks keys and has others that were deleted. What it says alone is never shown at R of two.
#[test]
fn a_copy_that_was_away_neither_hides_keys_nor_brings_deleted_ones_back() {
    let (mut cluster, _) = with(3, "N 3");
    let client = cluster.connect(NodeId(1));
    assert_eq!(cluster.ask(client, "SELECT carts"), "+OK");
    for number in 0..40 {
        assert_eq!(cluster.ask(client, &format!("WITH W 3 DO SET old{number} 1")), "+OK");
    }
    cluster.kill(NodeId(3));
    cluster.run(50);
    for number in 0..40 {
        assert_eq!(cluster.ask(client, &format!("SET new{number} 1")), "+OK");
        assert_eq!(cluster.ask(client, &format!("DEL old{number}")), ":1");
    }
    cluster.start(NodeId(3));
    cluster.run(20);
    let returned = cluster.connect(NodeId(3));
    insists(&mut cluster, returned, "SELECT carts", "+OK");
    cluster.kill(NodeId(1));
    insists(&mut cluster, returned, "DBSIZE", ":40");
    let keys = words(&cluster.ask(returned, "KEYS *"));
    assert!(keys.len() == 40 && keys.iter().all(|key| key.starts_with("new")), "{keys:?}");
    cluster.kill(NodeId(2));
    cluster.run(50);
    assert!(cluster.ask(returned, "KEYS *").starts_with("-NOQUORUM 2 copies"));
    assert!(cluster.ask(returned, "DBSIZE").starts_with("-NOQUORUM 2 copies"));
    assert!(cluster.ask(returned, "FLUSHDB").starts_with("-NOQUORUM 2 copies"));
    assert_eq!(cluster.ask(returned, "WITH R 1 DO DBSIZE"), ":40");
}

#[test]
fn hyperloglogs_are_added_to_anywhere_and_merge() {
    let (mut cluster, clients) = with(5, "SHARDS 3");
    for number in 0..200 {
        let client = clients[number % 5];
        // Each element through two nodes, into two keys.
        for key in ["seen", &format!("seen{}", number % 2)] {
            let reply = cluster.ask(client, &format!("PFADD {key} element{}", number / 2));
            assert!(reply == ":1" || reply == ":0", "{reply}");
        }
    }
    let counted =
        |reply: String| reply.strip_prefix(':').and_then(|n| n.parse::<i64>().ok()).expect("a number");
    let near = |count: i64, of: i64| (count - of).abs() <= 2;
    assert!(near(counted(cluster.ask(clients[3], "PFCOUNT seen")), 100));
    assert!(near(counted(cluster.ask(clients[3], "PFCOUNT seen0 seen1 none")), 100));
    assert_eq!(cluster.ask(clients[1], "PFADD other x y"), ":1");
    assert_eq!(cluster.ask(clients[1], "PFADD other y"), ":0");
    assert_eq!(cluster.ask(clients[2], "WITH W 3 DO PFMERGE all seen0 seen1 other all"), "+OK");
    assert!(near(counted(cluster.ask(clients[4], "PFCOUNT all")), 102));
    assert_eq!(cluster.ask(clients[4], "PFMERGE empty"), "+OK");
    assert_eq!(cluster.ask(clients[4], "PFCOUNT empty"), ":0");
    assert_eq!(cluster.ask(clients[4], "TYPE all"), "+string");
    assert_eq!(cluster.ask(clients[4], "STRLEN all"), ":12304");
    assert_eq!(cluster.ask(clients[0], "SADD s m"), ":1");
    for line in ["PFADD s a", "PFCOUNT s all", "PFMERGE s all", "PFMERGE all s", "INCR all"] {
        assert!(cluster.ask(clients[0], line).starts_with("-WRONGTYPE"), "{line}");
    }
    cluster.pipeline(clients[0], &["PFMERGE piped all", "PFADD piped z", "PFCOUNT piped"]);
    cluster.run(50);
    let replies = cluster.received(clients[0]);
    assert!(
        replies.starts_with("+OK :1 :") && near(replies[8..].parse().expect("a number"), 103),
        "{replies}"
    );
    assert_eq!(cluster.ask(clients[2], "DEL all"), ":1");
    assert_eq!(cluster.ask(clients[2], "PFCOUNT all"), ":0");
}
