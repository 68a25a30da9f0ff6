//! SNAPSHOT OPEN: a connection reads one moment for as long as it likes, and nobody waits for it.
// catalogue: J16
// bugs: TC-83

use crate::cluster::serving;
use crate::rig::{Client, Cluster};
use data::NodeId;

fn opens(cluster: &mut Cluster, client: Client) {
    let reply = cluster.ask(client, "SNAPSHOT OPEN");
    assert!(reply.contains("group") && reply.contains("position"), "{reply}");
}

/// What a client sees of the keys below, and of all keys.
fn look(cluster: &mut Cluster, client: Client) -> Vec<String> {
    let commands = [
        "GET a",
        "GET b",
        "HGETALL h",
        "LRANGE l 0 -1",
        "GET later",
        "TTL b",
        "DBSIZE",
        "KEYS *",
        "SCAN 0 COUNT 100",
        "TYPE h",
    ];
    // Commands about all keys show them in no order.
    let sorted = |line: &&str, reply: String| {
        let mut words: Vec<&str> = reply.split(' ').collect();
        if line.starts_with("KEYS") || line.starts_with("SCAN") {
            words.sort_unstable();
        }
        words.join(" ")
    };
    commands.iter().map(|line| sorted(line, cluster.ask(client, line))).collect()
}

fn fill(cluster: &mut Cluster, client: Client) {
    for line in ["SET a 1", "SET b 1", "HSET h f 1 g 2", "RPUSH l x y z"] {
        assert!(!cluster.ask(client, line).starts_with('-'), "{line}");
    }
}

fn change(cluster: &mut Cluster, client: Client) {
    for line in
        ["SET a 2", "EXPIRE b 100", "HSET h f 9", "LPOP l", "SET later 1", "DEL b", "FLUSHDB", "SET a 3"]
    {
        assert!(!cluster.ask(client, line).starts_with('-'), "{line}");
    }
}

#[test]
fn a_snapshot_shows_one_moment_whatever_is_written() {
    let mut cluster = serving(3);
    let leader = cluster.leader().expect("a leader");
    let follower = NodeId(leader.0 % 3 + 1);
    let writer = cluster.connect(leader);
    fill(&mut cluster, writer);
    // On the leader, and on another copy: as new as the leader's, although nobody said so to it yet.
    let readers = [cluster.connect(leader), cluster.connect(follower)];
    assert_eq!(cluster.ask(writer, "SET a 1"), "+OK");
    for reader in readers {
        opens(&mut cluster, reader);
    }
    let wanted = look(&mut cluster, readers[0]);
    assert_eq!(wanted[0], "$1 1");
    change(&mut cluster, writer);
    cluster.run(300);
    for reader in readers {
        assert_eq!(look(&mut cluster, reader), wanted);
        assert!(cluster.ask(reader, "RECEIPT").contains("index"));
        let info = cluster.ask(reader, "SNAPSHOT INFO");
        assert!(info.contains("state $4 open"), "{info}");
    }
    assert!(cluster.ask(writer, "INFO tercet").contains("snapshots_open:1"));
    // It reads, and nothing else.
    for line in [
        "SET a 9",
        "BLPOP l 0",
        "MULTI",
        "WATCH a",
        "SELECT 1",
        "FLUSHALL",
        "READONLY",
        "WITH ACKS 1 DO SET a 9",
    ] {
        let reply = cluster.ask(readers[0], line);
        assert!(reply.starts_with("-ERR a snapshot is open"), "{line}: {reply}");
    }
    assert!(cluster.ask(readers[0], "SNAPSHOT OPEN").starts_with("-ERR a snapshot is open"));
    assert_eq!(cluster.ask(readers[0], "GET a b").split(' ').next(), Some("-ERR"));
    for reader in readers {
        assert_eq!(cluster.ask(reader, "SNAPSHOT CLOSE"), "+OK");
        assert_eq!(cluster.ask(reader, "GET a"), "$1 3");
    }
    assert!(cluster.ask(readers[0], "SNAPSHOT CLOSE").starts_with("-ERR no snapshot"));
    assert!(cluster.ask(writer, "INFO tercet").contains("snapshots_open:0 snapshots_bytes_kept:0"));
}

/// Expiry is judged by the time of the moment.
#[test]
fn nothing_expires_in_a_snapshot() {
    let mut cluster = serving(1);
    let (writer, reader) = (cluster.connect(NodeId(1)), cluster.connect(NodeId(1)));
    assert_eq!(cluster.ask(writer, "SET a 1 PX 200"), "+OK");
    opens(&mut cluster, reader);
    cluster.run(1_000);
    assert_eq!(cluster.ask(writer, "GET a"), "$-1");
    assert_eq!(cluster.ask(reader, "GET a"), "$1 1");
}

/// Opened behind a write that is not committed: the reply, and what is read in the same breath, waits for it. When its leader is
/// deposed first, nothing was opened, and nothing of the write is seen.
#[test]
fn what_is_not_committed_is_not_shown() {
    let mut cluster = serving(3);
    let leader = cluster.leader().expect("a leader");
    let writer = cluster.connect(leader);
    assert_eq!(cluster.ask(writer, "SET a 1"), "+OK");
    let others: Vec<NodeId> = cluster.nodes.keys().copied().filter(|id| *id != leader).collect();
    for other in &others {
        cluster.cut.insert((leader, *other));
        cluster.cut.insert((*other, leader));
    }
    let reader = cluster.connect(leader);
    cluster.pipeline(writer, &["SET a 2"]);
    cluster.pipeline(reader, &["SNAPSHOT OPEN", "GET a", "KEYS *"]);
    cluster.run(3_000);
    let replies = cluster.received(reader);
    assert!(!replies.contains("$1 2"), "{replies}");
    assert!(replies.contains("-TRYAGAIN"), "{replies}");
    cluster.cut.clear();
    cluster.run(3_000);
    let later = cluster.connect(others[0]);
    opens(&mut cluster, later);
    assert_eq!(cluster.ask(later, "GET a"), "$1 1");
}

/// The connection that held it is gone, or begins anew: so is what was kept.
#[test]
fn a_snapshot_ends_with_its_connection() {
    let mut cluster = serving(1);
    let (writer, reader) = (cluster.connect(NodeId(1)), cluster.connect(NodeId(1)));
    fill(&mut cluster, writer);
    opens(&mut cluster, reader);
    change(&mut cluster, writer);
    assert!(cluster.ask(writer, "INFO tercet").contains("snapshots_open:1"));
    assert_eq!(cluster.ask(reader, "RESET"), "+RESET");
    assert!(cluster.ask(writer, "INFO tercet").contains("snapshots_open:0 snapshots_bytes_kept:0"));
    opens(&mut cluster, reader);
    cluster.step(reader.node, node::Input::Closed { connection: reader.connection });
    assert!(cluster.ask(writer, "INFO tercet").contains("snapshots_open:0 snapshots_bytes_kept:0"));
}

/// One that costs too much is ended, and its reader is told until it has closed it: it never reads something else unnoticed.
#[test]
fn a_reader_is_told_of_the_end() {
    let mut cluster = serving(1);
    let (writer, reader) = (cluster.connect(NodeId(1)), cluster.connect(NodeId(1)));
    for key in ["a", "b", "c"] {
        assert_eq!(cluster.ask(writer, &format!("SETRANGE {key} 29999999 x")), ":30000000");
    }
    opens(&mut cluster, reader);
    for key in ["a", "b", "c"] {
        assert_eq!(cluster.ask(writer, &format!("SET {key} 1")), "+OK");
    }
    assert!(cluster.ask(reader, "GET a").starts_with("-SNAPSHOTGONE"));
    assert!(cluster.ask(reader, "SET a 1").starts_with("-ERR a snapshot is open"));
    assert!(cluster.ask(reader, "SNAPSHOT INFO").contains("state $5 ended"));
    assert_eq!(cluster.ask(reader, "SNAPSHOT CLOSE"), "+OK");
    assert_eq!(cluster.ask(reader, "GET a"), "$1 1");
}

/// Readers that wait together do not get past the bound together.
#[test]
fn no_more_are_open_at_once_than_a_node_keeps() {
    let mut cluster = serving(3);
    let leader = cluster.leader().expect("a leader");
    for node in [leader, NodeId(leader.0 % 3 + 1)] {
        let readers: Vec<Client> = (0..40).map(|_| cluster.connect(node)).collect();
        readers.iter().for_each(|reader| cluster.send(*reader, "SNAPSHOT OPEN"));
        cluster.run(100);
        let replies: Vec<String> = readers.iter().map(|reader| cluster.received(*reader)).collect();
        let opened = replies.iter().filter(|reply| reply.contains("position")).count();
        assert_eq!(opened, 32, "{replies:?}");
        let refused =
            replies.iter().filter(|reply| reply.starts_with("-TRYAGAIN too many snapshots")).count();
        assert_eq!(refused, 8, "{replies:?}");
    }
}

#[test]
fn what_has_no_one_log_has_no_moment() {
    let mut cluster = serving(3);
    let client = cluster.connect(NodeId(1));
    assert_eq!(cluster.ask(client, "KEYSPACE CREATE carts LEADERLESS"), "+OK");
    assert_eq!(cluster.ask(client, "KEYSPACE CREATE wide SINGLE-LEADER SHARDS 2"), "+OK");
    cluster.run(300);
    assert_eq!(cluster.ask(client, "SELECT carts"), "+OK");
    assert!(cluster.ask(client, "SNAPSHOT OPEN").starts_with("-EXCLUSIVE"));
    assert_eq!(cluster.ask(client, "SELECT wide"), "+OK");
    assert!(cluster.ask(client, "SNAPSHOT OPEN").starts_with("-ERR a snapshot is one moment of one log"));
    assert_eq!(cluster.ask(client, "SELECT 0"), "+OK");
    assert_eq!(cluster.ask(client, "CONSISTENCY READ follower MAX-STALENESS 100"), "+OK");
    assert!(cluster.ask(client, "SNAPSHOT OPEN").contains("CONSISTENCY DEFAULT first"));
    assert!(cluster.ask(client, "SNAPSHOT BEGIN").starts_with("-ERR unknown subcommand"));
}

/// In a multi-leader keyspace it is a moment of the log of the node's own site: what other sites write later is not in it.
#[test]
fn a_site_has_moments_of_its_own_log() {
    let (mut cluster, clients) = crate::sites::with(6, "");
    for line in ["SET a 1", "HSET h f 1", "RPUSH l x y", "SADD s m n", "INCRBY n 5"] {
        assert!(!cluster.ask(clients[0], line).starts_with('-'), "{line}");
    }
    cluster.run(500);
    let shown =
        ["GET a", "HGETALL h", "LRANGE l 0 -1", "SCARD s", "GET n", "DBSIZE", "KEYS *", "SCAN 0 COUNT 100"];
    let readers: Vec<Client> = (1..=6).map(|node| cluster.connect(NodeId(node))).collect();
    let mut wanted = Vec::new();
    for reader in &readers {
        assert_eq!(cluster.ask(*reader, "SELECT world"), "+OK");
        opens(&mut cluster, *reader);
        wanted.push(shown.map(|line| cluster.ask(*reader, line)));
    }
    assert_eq!(wanted[0][0], "$1 1");
    for (at, client) in clients.iter().enumerate() {
        for line in [
            &format!("SET a {at}9"),
            "HSET h f 7",
            "LREM l 1 x",
            "SADD s o",
            "INCR n",
            &format!("SET new{at} 1"),
            "DEL h",
        ] {
            assert!(!cluster.ask(*client, line).starts_with('-'), "{line}");
        }
    }
    cluster.run(1_000);
    for (reader, wanted) in readers.iter().zip(&wanted) {
        assert_eq!(&shown.map(|line| cluster.ask(*reader, line)), wanted);
        assert_eq!(cluster.ask(*reader, "SNAPSHOT CLOSE"), "+OK");
        assert_ne!(&shown.map(|line| cluster.ask(*reader, line)), wanted);
    }
}

/// A leader that is held up between reading and answering, and has lost its lease by then, has opened nothing if nobody confirms it.
#[test]
fn a_lease_that_ends_in_the_turn_opens_nothing() {
    let mut cluster = serving(3);
    let leader = cluster.leader().expect("a leader");
    let (writer, reader) = (cluster.connect(leader), cluster.connect(leader));
    assert_eq!(cluster.ask(writer, "SET a 1"), "+OK");
    cluster.run(5_000);
    let others: Vec<NodeId> = cluster.nodes.keys().copied().filter(|id| *id != leader).collect();
    for other in &others {
        cluster.cut.insert((leader, *other));
        cluster.cut.insert((*other, leader));
    }
    let before = cluster.nodes[&leader].statistics().reads_leased;
    let (reply, _) = cluster.time(reader, "SNAPSHOT OPEN", 2_000);
    assert_eq!(cluster.nodes[&leader].statistics().reads_leased, before + 1, "it was opened under the lease");
    assert!(reply.starts_with("-TRYAGAIN"), "nobody confirms the lease: {reply}");
    assert_eq!(cluster.ask(reader, "SNAPSHOT INFO"), "*0");
}
