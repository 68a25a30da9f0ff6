//! What one request asks for: WITH, CONSISTENCY, and clients' own request ids.
//!
//! catalogue: B3 C5 C7 C10 C11 C12 C13

use crate::cluster::serving;
use crate::rig::{Client, Cluster};
use data::NodeId;

/// A keyspace with these options on three nodes, a client of its leader that selected it, and the followers.
fn keyspace(cluster: &mut Cluster, options: &str) -> (Client, NodeId, Vec<NodeId>) {
    let any = cluster.connect(NodeId(1));
    assert_eq!(cluster.ask(any, &format!("KEYSPACE CREATE space SINGLE-LEADER {options}")), "+OK");
    cluster.run(500);
    let leader = cluster.leader_of("space").expect("a leader");
    let followers = (1..=3).map(NodeId).filter(|node| *node != leader).collect();
    let client = client_of(cluster, leader);
    assert_eq!(cluster.ask(client, "SET before 1"), "+OK");
    cluster.run(50);
    (client, leader, followers)
}

fn client_of(cluster: &mut Cluster, node: NodeId) -> Client {
    let client = cluster.connect(node);
    assert_eq!(cluster.ask(client, "SELECT space"), "+OK");
    client
}

/// What the node says does not arrive there any more, nor the other way round; nobody notices by the connection.
fn cut(cluster: &mut Cluster, a: NodeId, b: NodeId) {
    cluster.cut.extend([(a, b), (b, a)]);
}

/// A reply that comes in pieces.
fn whole(cluster: &mut Cluster, client: Client, line: &str) -> String {
    cluster.send(client, line);
    cluster.run(100);
    cluster.received(client)
}

fn field<'r>(receipt: &'r str, name: &str) -> &'r str {
    let words: Vec<&str> = receipt.split(' ').collect();
    let at = words.iter().position(|word| *word == name).unwrap_or_else(|| panic!("no {name}: {receipt}"));
    words[at + if words[at + 1].starts_with('$') { 2 } else { 1 }]
}

#[test]
fn a_stronger_wish_waits_for_more_than_the_commit() {
    let mut cluster = serving(3);
    let (client, leader, followers) = keyspace(&mut cluster, "COMMIT semi-sync ACKS 1 TIMEOUT 400");
    assert_eq!(cluster.ask(client, "WITH COMMIT semi-sync ACKS 2 DO SET a 1"), "+OK");
    let receipt = cluster.ask(client, "RECEIPT");
    assert_eq!(field(&receipt, "commit-rule"), "semi-sync");
    assert!(receipt.contains("$5 asked $23 COMMIT semi-sync ACKS 2"), "{receipt}");
    for name in ["n1", "n2", "n3"] {
        assert!(receipt.contains(&format!("$4 node $2 {name} $5 level")), "{name} holds it: {receipt}");
    }
    cut(&mut cluster, leader, followers[1]);
    assert_eq!(cluster.ask(client, "SET a 2"), "+OK", "the keyspace asks for one");
    for wish in ["COMMIT semi-sync ACKS 2", "COMMIT synchronous", "ACKS all"] {
        let late = cluster.ask(client, &format!("WITH {wish} TIMEOUT 150 DO SET a 3"));
        assert!(late.starts_with("-INDETERMINATE committed by the keyspace's rule"), "{wish}: {late}");
        let receipt = cluster.ask(client, "RECEIPT");
        assert_eq!(field(&receipt, "outcome"), "committed", "{receipt}");
        assert_eq!(cluster.ask(client, "GET a"), "$1 3", "visible by the keyspace's rule");
    }
    cluster.kill(followers[1]);
    cluster.run(50);
    let refused = cluster.ask(client, "WITH COMMIT synchronous DO SET a 4");
    assert!(
        refused.starts_with("-NOREPLICAS 2 followers shall hold this write, 1 can be reached"),
        "{refused}"
    );
    assert_eq!(cluster.ask(client, "GET a"), "$1 3", "nothing was written");
}

// bugs: SL-09
#[test]
fn a_weaker_wish_is_answered_before_the_commit_and_shows_nothing() {
    let mut cluster = serving(3);
    let (client, leader, followers) = keyspace(&mut cluster, "COMMIT majority TIMEOUT 300");
    for follower in &followers {
        cut(&mut cluster, leader, *follower);
    }
    let other = client_of(&mut cluster, leader);
    assert_eq!(cluster.ask(client, "WITH ACKS 0 DO SET a 1"), "+OK");
    assert_eq!(cluster.ask(client, "WITH ACKS 1 DO SET a 2"), "+OK");
    assert!(cluster.ask(other, "GET a").starts_with("-TRYAGAIN"), "nobody sees it");
    let weak = cluster.ask(client, "WITH ACKS 1 TIMEOUT 100 DO INCR a");
    assert!(weak.starts_with("-INDETERMINATE"), "its reply would show what is not committed: {weak}");
    assert_eq!(cluster.ask(client, "WITH ACKS 1 DO SET b 1"), "+OK");
    let reader = client_of(&mut cluster, followers[0]);
    cluster.run(2_500);
    assert_ne!(cluster.leader_of("space"), Some(leader));
    assert_eq!(cluster.ask(reader, "GET b"), "$-1", "lost, as the rule that was asked for may lose");
    cluster.cut.clear();
    cluster.run(1_500);
    let receipt = cluster.ask(client, "RECEIPT");
    assert_eq!(field(&receipt, "outcome"), "lost", "{receipt}");
    assert_eq!(field(&receipt, "commit-rule"), "majority", "{receipt}");
    assert!(receipt.contains("$5 asked $12 COMMIT async"), "{receipt}");
}

#[test]
fn a_weaker_wish_is_committed_in_the_end_and_the_receipt_knows() {
    let mut cluster = serving(3);
    let (_, leader, followers) = keyspace(&mut cluster, "COMMIT majority");
    for node in [leader, followers[0]] {
        let client = client_of(&mut cluster, node);
        assert_eq!(cluster.ask(client, "WITH ACKS 0 DO SET a 1"), "+OK");
        cluster.run(50);
        let receipt = cluster.ask(client, "RECEIPT");
        assert_eq!(field(&receipt, "outcome"), "committed", "{receipt}");
    }
}

#[test]
fn applied_means_that_copies_show_it() {
    for (options, wish) in [
        ("COMMIT majority", "WITH COMMIT synchronous LEVEL applied DO "),
        ("COMMIT synchronous LEVEL applied", ""),
        ("COMMIT async", "WITH synchronous_commit remote_apply COMMIT synchronous DO "),
    ] {
        let mut cluster = serving(3);
        let (client, leader, followers) = keyspace(&mut cluster, options);
        for (n, follower) in followers.iter().enumerate() {
            let reader = client_of(&mut cluster, *follower);
            assert_eq!(cluster.ask(reader, "READONLY"), "+OK");
            cluster.send(client, &format!("{wish}SET a {n}"));
            cluster.run(12);
            assert_eq!(cluster.received(client), "+OK", "{options}: in a few hops, not after a resend");
            cluster.send(reader, "GET a");
            assert_eq!(cluster.received(reader), format!("$1 {n}"), "{options}");
            let receipt = cluster.ask(client, "RECEIPT");
            assert!(receipt.contains("level $7 applied"), "{receipt}");
        }
        // Of a follower that only holds it nobody says that it shows it.
        cut(&mut cluster, leader, followers[0]);
        let late = cluster.ask(client, "WITH COMMIT synchronous LEVEL applied TIMEOUT 200 DO SET a 9");
        assert!(late.starts_with("-INDETERMINATE"), "{late}");
    }
}

// catalogue: C11
#[test]
fn named_followers_are_waited_for() {
    let mut cluster = serving(3);
    let (client, leader, followers) = keyspace(&mut cluster, "COMMIT async");
    let (near, far) = (followers[0].0, followers[1].0);
    cut(&mut cluster, leader, followers[1]);
    assert_eq!(cluster.ask(client, &format!("WITH REPLICAS n{near} DO SET a 1")), "+OK");
    assert_eq!(cluster.ask(client, &format!("WITH REPLICAS ANY~1~(n{near},n{far}) DO SET a 2")), "+OK");
    let late = cluster.ask(client, &format!("WITH REPLICAS n{far} TIMEOUT 100 DO SET a 3"));
    assert!(late.starts_with("-INDETERMINATE"), "{late}");
    // The first of them still counts as connected.
    let late = cluster.ask(client, &format!("WITH REPLICAS FIRST~1~(n{far},n{near}) TIMEOUT 100 DO SET a 4"));
    assert!(late.starts_with("-INDETERMINATE"), "{late}");
    cluster.kill(followers[1]);
    cluster.run(50);
    assert_eq!(cluster.ask(client, &format!("WITH REPLICAS FIRST~1~(n{far},n{near}) DO SET a 5")), "+OK");
    let refused = cluster.ask(client, &format!("WITH REPLICAS n{far} DO SET a 6"));
    assert!(refused.starts_with("-NOREPLICAS 1 followers of those named"), "{refused}");
    assert_eq!(cluster.ask(client, "GET a"), "$1 5");
}

#[test]
fn a_connection_keeps_what_it_asked_for_until_it_resets_it() {
    let mut cluster = serving(3);
    let (_, leader, followers) = keyspace(&mut cluster, "COMMIT majority TIMEOUT 300");
    let mut clients = vec![client_of(&mut cluster, leader), client_of(&mut cluster, followers[0])];
    for client in &clients {
        assert_eq!(cluster.ask(*client, "CONSISTENCY"), "*0");
        assert_eq!(cluster.ask(*client, "CONSISTENCY COMMIT semi-sync ACKS 2 TIMEOUT 150"), "+OK");
        let shown = "*6 $6 COMMIT $9 semi-sync $4 ACKS $1 2 $7 TIMEOUT $3 150";
        assert_eq!(cluster.ask(*client, "CONSISTENCY"), shown);
        assert_eq!(cluster.ask(*client, "SET a 1"), "+OK");
    }
    cut(&mut cluster, leader, followers[1]);
    for client in &clients {
        let late = cluster.ask(*client, "SET a 2");
        assert!(late.starts_with("-INDETERMINATE"), "{late}");
        assert_eq!(cluster.ask(*client, "MULTI"), "+OK");
        assert_eq!(cluster.ask(*client, "SET a 3"), "+QUEUED");
        let late = cluster.ask(*client, "EXEC");
        assert!(late.starts_with("-INDETERMINATE"), "{late}");
        assert_eq!(cluster.ask(*client, "WITH COMMIT majority DO SET a 4"), "+OK", "a nearer word counts");
        assert_eq!(cluster.ask(*client, "GET a"), "$1 4");
    }
    let last = clients.pop().expect("two");
    assert_eq!(cluster.ask(last, "CONSISTENCY DEFAULT"), "+OK");
    assert_eq!(cluster.ask(last, "SET a 5"), "+OK");
    let first = clients.pop().expect("one left");
    assert_eq!(cluster.ask(first, "RESET"), "+RESET");
    assert_eq!(cluster.ask(first, "CONSISTENCY"), "*0");
    for wrong in ["CONSISTENCY RECEIPT", "CONSISTENCY REQUEST a:1", "CONSISTENCY NOSUCH 1"] {
        assert!(cluster.ask(first, wrong).starts_with("-ERR"), "{wrong}");
    }
    assert_eq!(cluster.ask(first, "CONSISTENCY"), "*0");
}

#[test]
fn a_reply_comes_with_its_receipt() {
    let mut cluster = serving(3);
    let (_, leader, followers) = keyspace(&mut cluster, "COMMIT majority");
    for node in [leader, followers[0]] {
        let client = client_of(&mut cluster, node);
        cluster.ask(client, "DEL a list");
        let reply = whole(&mut cluster, client, "WITH RECEIPT DO INCR a");
        assert!(reply.starts_with("*2 :1 *28 $8 keyspace $5 space"), "{reply}");
        assert_eq!((field(&reply, "kind"), field(&reply, "outcome")), ("write", "committed"));
        let holders = reply.matches("$5 level").count();
        assert!(holders >= 2, "rendered when the write was committed: {reply}");
        let reply = whole(&mut cluster, client, "WITH RECEIPT DO GET a");
        assert!(reply.starts_with("*2 $1 1 *28") && field(&reply, "kind") == "read", "{reply}");
        let reply = whole(&mut cluster, client, "WITH RECEIPT DO LPUSH a x");
        assert!(reply.starts_with("*2 -WRONGTYPE"), "{reply}");
        // In a pipeline each stands in its place.
        cluster.pipeline(client, &["WITH RECEIPT DO INCR a", "INCR a", "WITH RECEIPT DO INCR a"]);
        cluster.run(300);
        let replies = cluster.received(client);
        let first = replies.find("*2 :2 *28").expect("the first");
        let second = replies.find(":3 *2 :4 *28").unwrap_or_else(|| panic!("the others: {replies}"));
        assert!(first < second);
        let indices: Vec<u64> = replies
            .match_indices("$5 index :")
            .filter_map(|(at, text)| replies[at + text.len()..].split(' ').next()?.parse().ok())
            .collect();
        assert_eq!(indices[1] - indices[0], 2, "each tells of its own write: {replies}");
        // Of a command that waits for data too.
        cluster.send(client, "WITH RECEIPT DO BLPOP list 0");
        cluster.run(100);
        let pusher = client_of(&mut cluster, leader);
        assert_eq!(cluster.ask(pusher, "RPUSH list job"), ":1");
        cluster.pipeline(client, &["INCR a"]);
        cluster.run(200);
        let reply = cluster.received(client);
        let reply = reply.strip_prefix("*2 ").unwrap_or(&reply);
        assert!(reply.starts_with("*2 $4 list $3 job *28") && field(reply, "kind") == "write", "{reply}");
        assert!(reply.ends_with(":5"), "{reply}");
        assert_eq!(cluster.ask(client, "CLIENT REPLY SKIP"), "(nothing)");
        cluster.send(client, "WITH RECEIPT DO INCR a");
        cluster.run(100);
        assert_eq!(cluster.received(client), "", "a reply that is skipped has no receipt");
        assert_eq!(cluster.ask(client, "GET a"), "$1 6");
    }
}

#[test]
fn what_goes_with_with_is_checked_before_anything_is_done() {
    let mut cluster = serving(3);
    for n in 1..=3 {
        let client = cluster.connect(NodeId(n));
        for (line, why) in [
            ("WITH NOSUCH 1 DO SET wrong 1", "unknown option 'NOSUCH'"),
            ("WITH COMMIT majority SET wrong 1", "unknown option 'SET'"),
            ("WITH RECEIPT COMMIT majority", "no command behind DO"),
            ("WITH RECEIPT TIMEOUT 1 DO", "no command behind DO"),
            ("WITH RECEIPT DO WITH RECEIPT DO SET wrong 1", "not with with"),
            ("WITH RECEIPT DO PING", "not with ping"),
            ("WITH RECEIPT DO NOSUCH a", "unknown command 'NOSUCH'"),
            ("WITH RECEIPT DO SET wrong", "wrong number of arguments for 'set'"),
            ("WITH REPLICAS n9 DO SET wrong 1", "no such node 'n9'"),
            ("WITH REQUEST nothing DO SET wrong 1", "client:sequence"),
        ] {
            let reply = cluster.ask(client, line);
            assert!(reply.starts_with("-ERR") && reply.contains(why), "{line}: {reply}");
        }
        assert_eq!(cluster.ask(client, "GET wrong"), "$-1");
        assert_eq!(
            cluster.ask(client, "COMMAND GETKEYS WITH RECEIPT COMMIT majority DO MSET a 1 b 2"),
            "*2 $1 a $1 b"
        );
        // One WITH around a transaction, none within.
        assert_eq!(cluster.ask(client, "MULTI"), "+OK");
        assert_eq!(cluster.ask(client, "INCR t"), "+QUEUED");
        let reply = whole(&mut cluster, client, "WITH COMMIT synchronous RECEIPT DO EXEC");
        assert!(reply.starts_with(&format!("*2 *1 :{n} *28")), "{reply}");
        assert_eq!(cluster.ask(client, "MULTI"), "+OK");
        assert!(cluster.ask(client, "WITH RECEIPT DO INCR t").starts_with("-ERR inside MULTI"));
        assert!(cluster.ask(client, "EXEC").starts_with("-EXECABORT"));
        assert!(
            whole(&mut cluster, client, "WITH RECEIPT DO EXEC").starts_with("*2 -ERR EXEC without MULTI $-1")
        );
    }
    let client = cluster.connect(NodeId(1));
    assert_eq!(cluster.ask(client, "KEYSPACE CREATE cached SINGLE-LEADER FLUSH os"), "+OK");
    cluster.run(500);
    assert_eq!(cluster.ask(client, "SELECT cached"), "+OK");
    let refused = cluster.ask(client, "WITH LEVEL flushed DO SET a 1");
    assert!(refused.starts_with("-ERR LEVEL flushed needs a keyspace with FLUSH always"), "{refused}");
}

// bugs: SL-25
#[test]
fn a_request_under_its_clients_id_happens_once_on_whatever_node() {
    let mut cluster = serving(3);
    let mut clients: Vec<Client> = (1..=3).map(|n| cluster.connect(NodeId(n))).collect();
    clients.rotate_left(1);
    for client in &clients {
        assert_eq!(cluster.ask(*client, "WITH REQUEST app:1 DO INCR n"), ":1");
        assert_eq!(cluster.ask(*client, "WITH REQUEST app:2 DO SET once 1 NX"), "+OK");
        assert_eq!(cluster.ask(*client, "WITH REQUEST app:3 DO SET once 2 NX"), "$-1", "it stays nothing");
        assert_eq!(
            cluster.ask(*client, "WITH REQUEST app:4 DO LPUSH n x"),
            "-WRONGTYPE Operation against a key holding the wrong kind of value"
        );
        assert_eq!(cluster.ask(*client, "WITH REQUEST other:1 DO INCR m"), ":1");
        let wrong = cluster.ask(*client, "WITH REQUEST app:1 DO INCR other");
        assert!(wrong.starts_with("-ERR another command was executed under this id"), "{wrong}");
        assert_eq!(cluster.ask(*client, "WITH REQUEST app:1 DO GET n"), "$1 1", "a read is only a read");
        assert_eq!(cluster.ask(*client, "MULTI"), "+OK");
        assert_eq!(cluster.ask(*client, "INCR t"), "+QUEUED");
        assert_eq!(cluster.ask(*client, "INCR t"), "+QUEUED");
        assert_eq!(cluster.ask(*client, "WITH REQUEST app:5 DO EXEC"), "*2 :1 :2");
    }
    assert_eq!(cluster.ask(clients[0], "MGET n m t once other"), "*5 $1 1 $1 1 $1 2 $1 1 $-1");
    let receipt = cluster.ask(clients[0], "RECEIPT app:1");
    assert_eq!(field(&receipt, "outcome"), "committed", "{receipt}");
    let receipt = cluster.ask(clients[1], "RECEIPT app:77");
    assert_eq!(field(&receipt, "outcome"), "not-executed", "{receipt}");
    // Asked again while it is not committed, it waits.
    let leader = cluster.leader().expect("a leader");
    for other in (1..=3).map(NodeId).filter(|node| *node != leader) {
        cut(&mut cluster, leader, other);
    }
    let (a, b) = (cluster.connect(leader), cluster.connect(leader));
    cluster.send(a, "WITH REQUEST app:6 DO INCR n");
    cluster.run(20);
    cluster.send(b, "WITH REQUEST app:6 DO INCR n");
    cluster.run(20);
    assert_eq!((cluster.received(a), cluster.received(b)), (String::new(), String::new()));
    cluster.cut.clear();
    cluster.run(900);
    assert_eq!((cluster.received(a), cluster.received(b)), (":2".into(), ":2".into()));
    // After the death of whoever executed it, from a node that restarts with its disk, and from a snapshot.
    cluster.kill(leader);
    let other = clients.into_iter().find(|client| client.node != leader).expect("another node");
    assert_eq!(cluster.ask(other, "WITH REQUEST app:6 DO INCR n"), ":2");
    assert_eq!(cluster.ask(other, "WITH REQUEST app:7 DO INCR n"), ":3");
}

#[test]
fn an_id_is_remembered_by_copies_made_from_snapshots() {
    let mut cluster = Cluster::new(3);
    cluster.snapshot_log_bytes = 1;
    cluster.run(1000);
    let client = cluster.connect(NodeId(1));
    assert_eq!(cluster.ask(client, "WITH REQUEST app:1 DO INCR n"), ":1");
    for n in 0..100 {
        cluster.ask(client, &format!("SET key{n} {n}"));
    }
    for n in 1..=3 {
        cluster.kill(NodeId(n));
    }
    for n in 1..=3 {
        cluster.start(NodeId(n));
    }
    cluster.run(2000);
    for n in 1..=3 {
        let client = cluster.connect(NodeId(n));
        assert_eq!(cluster.ask(client, "WITH REQUEST app:1 DO INCR n"), ":1", "node {n}");
    }
}

#[test]
fn a_pop_that_waits_is_taken_over_by_whoever_asks_again() {
    let mut cluster = serving(3);
    let leader = cluster.leader().expect("a leader");
    for node in [leader, NodeId(leader.0 % 3 + 1)] {
        let (a, b, c) = (cluster.connect(leader), cluster.connect(node), cluster.connect(leader));
        let pop = format!("WITH REQUEST pops:{} DO BLPOP queue 0", node.0);
        cluster.send(a, &pop);
        cluster.run(20);
        cluster.send(b, &pop);
        cluster.run(20);
        assert!(cluster.received(a).starts_with("-INDETERMINATE the same request was asked again"));
        assert_eq!(cluster.ask(c, "RPUSH queue x y"), ":2");
        cluster.run(20);
        assert_eq!(cluster.received(b), "*2 $5 queue $1 x");
        assert_eq!(cluster.ask(c, &pop), "*2 $5 queue $1 x", "answered as it was");
        assert_eq!(cluster.ask(c, "LPOP queue"), "$1 y");
    }
}

#[test]
fn what_became_of_a_write_can_be_asked() {
    let mut cluster = serving(3);
    let (client, leader, followers) = keyspace(&mut cluster, "COMMIT majority TIMEOUT 200");
    let far = client_of(&mut cluster, followers[0]);
    // Executed by a leader whose followers are late: the write comes through after all.
    for follower in &followers {
        cluster.cut.insert((*follower, leader));
    }
    for (n, client) in [client, far].into_iter().enumerate() {
        if n == 1 {
            // Its word reaches the leader, whose answer is lost.
            cluster.cut.retain(|(from, _)| *from != followers[0]);
            cluster.cut.insert((leader, followers[0]));
        }
        let late = cluster.ask(client, "INCR n");
        assert!(late.starts_with("-INDETERMINATE"), "{late}");
        cluster.cut.clear();
        cluster.run(600);
        let receipt = cluster.ask(client, "RECEIPT");
        assert_eq!(field(&receipt, "outcome"), "committed", "{receipt}");
        assert_ne!(field(&receipt, "index"), ":0", "{receipt}");
    }
}

// catalogue: C7
#[test]
fn a_keyspace_takes_the_names_of_other_systems() {
    let mut cluster = serving(3);
    let client = cluster.connect(NodeId(1));
    for (n, (options, shown)) in [
        ("rpl_semi_sync_source_wait_for_replica_count 2", "commit $9 semi-sync"),
        ("rpl_semi_sync_master_timeout 777 COMMIT semi-sync", "timeout-ms :777"),
        ("synchronous_commit remote_apply", "level $7 applied"),
        ("synchronous_commit remote_write", "level $8 received"),
        ("synchronous_commit local", "commit $5 async"),
        ("ACKS all", "commit $11 in-sync-set"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(
            cluster.ask(client, &format!("KEYSPACE CREATE k{n} SINGLE-LEADER {options}")),
            "+OK",
            "{options}"
        );
        let info = cluster.ask(client, &format!("KEYSPACE INFO k{n}"));
        assert!(info.contains(shown), "{options}: {info}");
    }
    assert!(cluster.ask(client, "KEYSPACE ALTER k0 synchronous_commit off").starts_with("-ERR"));
}

/// More than the table of answers holds: what went is not executed again, and not forgotten either.
// bugs: SL-25
#[test]
fn an_id_that_is_too_old_to_know_is_an_error() {
    let mut cluster = serving(1);
    let client = cluster.connect(NodeId(1));
    assert_eq!(cluster.ask(client, "WITH REQUEST app:7 DO INCR n"), ":1");
    let large = "x".repeat(1 << 20);
    for n in 0..40 {
        cluster.ask(client, &format!("WITH REQUEST big:{n} DO GETSET blob {large}"));
    }
    for id in ["app:7", "app:6"] {
        let old = cluster.ask(client, &format!("WITH REQUEST {id} DO INCR n"));
        assert!(old.starts_with("-REQUESTOLD"), "{old}");
    }
    let receipt = cluster.ask(client, "RECEIPT app:7");
    assert_eq!(field(&receipt, "outcome"), "too-old", "{receipt}");
    assert_eq!(cluster.ask(client, "WITH REQUEST app:8 DO INCR n"), ":2");
}

#[test]
fn a_leader_of_an_older_version_is_asked_nothing_that_it_would_not_read() {
    let mut cluster = Cluster::speaking(3, 2);
    cluster.run(1_500);
    let any = cluster.connect(NodeId(1));
    assert_eq!(cluster.ask(any, "SET ready yes"), "+OK");
    cluster.run(100);
    let leader = cluster.leader().expect("a leader");
    let (near, far) = (cluster.connect(leader), cluster.connect(NodeId(leader.0 % 3 + 1)));
    assert_eq!(cluster.ask(near, "WITH COMMIT synchronous DO SET a 1"), "+OK");
    let refused = cluster.ask(far, "WITH COMMIT synchronous DO SET a 2");
    assert!(refused.starts_with("-ERR the leader's node runs an older version"), "{refused}");
    assert_eq!(cluster.ask(far, "CONSISTENCY LEVEL applied"), "+OK");
    assert_eq!(cluster.ask(far, "GET a"), "$1 1", "reads ask for nothing new");
    assert!(cluster.ask(far, "SET a 3").starts_with("-ERR the leader's node runs an older version"));
    assert_eq!(cluster.ask(far, "CONSISTENCY DEFAULT"), "+OK");
    assert_eq!(cluster.ask(far, "SET a 4"), "+OK");
}

/// An EXEC whose watch broke was answered: under its id it is not executed later, without the watch.
// bugs: SL-25
#[test]
fn an_exec_that_was_refused_by_its_watch_stays_refused_under_its_id() {
    for n in 1..=3 {
        let mut cluster = serving(3);
        let (client, other) = (cluster.connect(NodeId(n)), cluster.connect(NodeId(1)));
        assert_eq!(cluster.ask(client, "WATCH k"), "+OK");
        assert_eq!(cluster.ask(other, "SET k theirs"), "+OK");
        for _ in 0..2 {
            assert_eq!(cluster.ask(client, "MULTI"), "+OK");
            assert_eq!(cluster.ask(client, "SET k mine"), "+QUEUED");
            assert_eq!(cluster.ask(client, "WITH REQUEST app:1 DO EXEC"), "*-1");
        }
        assert_eq!(cluster.ask(client, "GET k"), "$6 theirs");
    }
}

/// Less than the rule was asked for, and then the leader was followed: what it had answered for lies in its ledger.
// catalogue: C2
#[test]
fn what_was_answered_for_less_and_lost_is_in_the_ledger() {
    let mut cluster = serving(3);
    let leader = cluster.leader().expect("a leader");
    let mine = cluster.connect(leader);
    let others: Vec<NodeId> = (1..=3).map(NodeId).filter(|n| *n != leader).collect();
    for other in &others {
        cluster.cut.insert((leader, *other));
        cluster.cut.insert((*other, leader));
    }
    assert_eq!(cluster.ask(mine, "WITH COMMIT async DO SET a lost"), "+OK");
    cluster.run(1500);
    let theirs = cluster.connect(others[0]);
    assert_eq!(cluster.ask(theirs, "SET b after"), "+OK");
    cluster.cut.clear();
    cluster.run(2000);
    assert_eq!(cluster.ask(theirs, "GET a"), "$-1");
    let list = cluster.ask(theirs, "LEDGER LIST");
    assert!(list.contains("perhaps") && list.contains("items *1 "), "{list}");
    let id = list.split(' ').find(|word| word.matches('-').count() == 2).expect("an id").to_string();
    assert!(cluster.ask(theirs, &format!("LEDGER GET {id}")).contains("lost"));
    assert_eq!(cluster.ask(theirs, &format!("LEDGER REAPPLY {id}")), "+OK");
    assert_eq!(cluster.ask(theirs, "GET a"), "$4 lost");
}

/// A keyspace that is gone keeps nobody waiting.
#[test]
fn wait_speaks_of_every_group_that_is_still_there() {
    let mut cluster = serving(3);
    let client = cluster.connect(NodeId(2));
    assert_eq!(cluster.ask(client, "SET a 1"), "+OK");
    assert_eq!(cluster.ask(client, "KEYSPACE CREATE other SINGLE-LEADER"), "+OK");
    assert_eq!(cluster.ask(client, "SELECT other"), "+OK");
    assert_eq!(cluster.ask(client, "SET b 1"), "+OK");
    assert_eq!(cluster.ask(client, "WAIT 2 500"), ":2");
    assert_eq!(cluster.ask(client, "KEYSPACE DROP other"), "+OK");
    cluster.run(100);
    assert_eq!(cluster.ask(client, "WAIT 2 500"), ":2");
}

#[test]
fn replies_about_keyspaces_nodes_and_requests_are_whole() {
    let mut cluster = serving(3);
    let client = cluster.connect(NodeId(1));
    for line in ["KEYSPACE CREATE one SINGLE-LEADER COMMIT majority", "KEYSPACE CREATE none LEADERLESS N 3"] {
        assert_eq!(cluster.ask(client, line), "+OK");
    }
    cluster.run(500);
    let lines = [
        "KEYSPACE HELP",
        "KEYSPACE LIST",
        "KEYSPACE INFO 0",
        "KEYSPACE INFO one",
        "KEYSPACE INFO none",
        "KEYSPACE SHEET one",
        "KEYSPACE SHEET none",
        "KEYSPACE STATUS",
        "SELECT one",
        "SET a 1",
        "RECEIPT",
        "CHANGES one AFTER START",
        "SELECT none",
        "SET a 1",
        "RECEIPT",
        "LEDGER LIST",
        "INBOX LIST",
        "CLUSTER SHARDS",
        "CLUSTER SLOTS",
        "CLIENT LIST",
        "COMMAND INFO get",
        "CONFIG GET *",
        "CONSISTENCY",
        "SESSION TOKEN",
        "ROLE",
        "INFO",
    ];
    for hello in ["HELLO 2", "HELLO 3"] {
        let client = cluster.connect(NodeId(2));
        for line in [&[hello], &lines[..]].concat() {
            let bytes = cluster.ask_bytes(client, line);
            assert!(
                !bytes.is_empty() && wire::reply::is_whole(&bytes),
                "{hello} {line}: {}",
                bytes.escape_ascii()
            );
        }
    }
}
