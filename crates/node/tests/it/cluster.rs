//! Commands on a cluster: from any node, through failures.
//!
//! catalogue: B1 B2 B3 B4 B6 B7 C20 F1 F2 F3

use crate::rig::Cluster;
use data::{Index, NodeId};
use node::Input;

pub fn serving(count: u32) -> Cluster {
    served(Cluster::new(count))
}

/// Waits until it serves.
pub fn served(mut cluster: Cluster) -> Cluster {
    for _ in 0..100 {
        cluster.run(50);
        let client = cluster.connect(NodeId(1));
        if cluster.ask(client, "SET ready yes") == "+OK" {
            return cluster;
        }
    }
    panic!("the cluster never served:\n{}", cluster.story.join("\n"));
}

#[test]
fn one_node_serves_alone() {
    let mut cluster = serving(1);
    let client = cluster.connect(NodeId(1));
    assert_eq!(cluster.ask(client, "SET a 1"), "+OK");
    assert_eq!(cluster.ask(client, "INCR a"), ":2");
    assert_eq!(cluster.ask(client, "GET a"), "$1 2");
    assert_eq!(cluster.ask(client, "NOSUCH"), "-ERR unknown command 'NOSUCH', with args beginning with:");
    assert_eq!(cluster.ask(client, "GET"), "-ERR wrong number of arguments for 'get' command");
}

#[test]
fn any_node_takes_any_command() {
    let mut cluster = serving(3);
    for n in 1..=3 {
        let client = cluster.connect(NodeId(n));
        assert_eq!(cluster.ask(client, &format!("SET key{n} {n}")), "+OK");
        assert_eq!(cluster.ask(client, "INCR counter"), format!(":{n}"));
        assert_eq!(cluster.ask(client, "GET key1"), "$1 1");
    }
    cluster.run(100);
    let states = cluster.states();
    assert_eq!(states.len(), 3);
    assert!(states.iter().all(|state| *state == states[0]), "{states:?}");
}

// catalogue: F2
#[test]
fn a_killed_leader_is_replaced_and_loses_nothing_acknowledged() {
    let mut cluster = serving(3);
    let leader = cluster.leader().expect("a leader");
    let other = NodeId(leader.0 % 3 + 1);
    let client = cluster.connect(other);
    for n in 1..=20 {
        assert_eq!(cluster.ask(client, "INCR counter"), format!(":{n}"));
    }
    cluster.kill(leader);
    // Forwarded under a request id: it waits for the new leader and happens once.
    assert_eq!(cluster.ask(client, "INCR counter"), ":21");
    cluster.start(leader);
    cluster.run(2000);
    assert_eq!(cluster.ask(client, "GET counter"), "$2 21");
    let states = cluster.states();
    assert!(states.len() == 3 && states.iter().all(|state| *state == states[0]), "{states:?}");
}

/// INFO counts what reads found, and not what writes looked at.
#[test]
fn reads_count_hits_and_misses() {
    let mut cluster = serving(1);
    let leader = cluster.leader().expect("a leader");
    let client = cluster.connect(leader);
    assert_eq!(cluster.ask(client, "SET a 1"), "+OK");
    assert_eq!(cluster.ask(client, "INCR a"), ":2");
    assert_eq!(cluster.ask(client, "GET a"), "$1 2");
    assert_eq!(cluster.ask(client, "MGET a b c"), "*3 $1 2 $-1 $-1");
    let info = cluster.ask(client, "INFO stats");
    assert!(info.contains("keyspace_hits:2"), "{info}");
    assert!(info.contains("keyspace_misses:2"), "{info}");
}

// catalogue: B8, F3
#[test]
fn a_leader_that_is_cut_off_acknowledges_nothing() {
    let mut cluster = serving(3);
    let leader = cluster.leader().expect("a leader");
    let mine = cluster.connect(leader);
    assert_eq!(cluster.ask(mine, "SET a before"), "+OK");
    let others: Vec<NodeId> = (1..=3).map(NodeId).filter(|n| *n != leader).collect();
    for other in &others {
        cluster.cut.insert((leader, *other));
        cluster.cut.insert((*other, leader));
    }
    let stale = cluster.ask(mine, "SET a lost");
    assert!(stale.starts_with("-INDETERMINATE"), "{stale}");
    let theirs = cluster.connect(others[0]);
    cluster.run(1500);
    assert_eq!(cluster.ask(theirs, "SET a after"), "+OK");
    let read = cluster.ask(mine, "GET a");
    assert!(read.starts_with("-TRYAGAIN") || read.starts_with("-CLUSTERDOWN"), "{read}");
    cluster.cut.clear();
    cluster.run(1500);
    assert_eq!(cluster.ask(mine, "GET a"), "$5 after");
}

#[test]
fn a_restarted_cluster_has_its_data() {
    let mut cluster = serving(3);
    let client = cluster.connect(NodeId(2));
    for n in 0..50 {
        assert_eq!(cluster.ask(client, &format!("RPUSH list {n}")), format!(":{}", n + 1));
    }
    for n in 1..=3 {
        cluster.kill(NodeId(n));
    }
    for n in 1..=3 {
        cluster.start(NodeId(n));
    }
    cluster.run(2000);
    let client = cluster.connect(NodeId(3));
    assert_eq!(cluster.ask(client, "LLEN list"), ":50");
}

#[test]
fn transactions_are_one_entry_and_watches_break() {
    let mut cluster = serving(3);
    for n in 1..=3 {
        let (a, b) = (cluster.connect(NodeId(n)), cluster.connect(NodeId(n)));
        assert_eq!(cluster.ask(a, "SET x 1"), "+OK");
        assert_eq!(cluster.ask(a, "WATCH x"), "+OK");
        assert_eq!(cluster.ask(a, "MULTI"), "+OK");
        assert_eq!(cluster.ask(a, "INCR x"), "+QUEUED");
        assert_eq!(cluster.ask(a, "GET x"), "+QUEUED");
        assert_eq!(cluster.ask(a, "PING"), "+QUEUED");
        assert_eq!(cluster.ask(a, "EXEC"), "*3 :2 $1 2 +PONG");
        assert_eq!(cluster.ask(a, "WATCH x"), "+OK");
        assert_eq!(cluster.ask(b, "SET x 9"), "+OK");
        assert_eq!(cluster.ask(a, "MULTI"), "+OK");
        assert_eq!(cluster.ask(a, "INCR x"), "+QUEUED");
        assert_eq!(cluster.ask(a, "EXEC"), "*-1");
    }
}

#[test]
fn waiting_pops_are_served_from_any_node() {
    let mut cluster = serving(3);
    for (n, m) in [(1, 1), (1, 2), (2, 3), (3, 1)] {
        let (a, b) = (cluster.connect(NodeId(n)), cluster.connect(NodeId(m)));
        cluster.send(a, "BLPOP queue 0");
        cluster.run(50);
        assert_eq!(cluster.received(a), "");
        assert_eq!(cluster.ask(b, "RPUSH queue job"), ":1");
        cluster.run(50);
        assert_eq!(cluster.received(a), "*2 $5 queue $3 job");
        cluster.send(a, "BLPOP queue 0.2");
        cluster.run(100);
        assert_eq!(cluster.received(a), "");
        cluster.run(300);
        assert_eq!(cluster.received(a), "*-1");
    }
}

#[test]
fn messages_reach_the_subscribers_of_every_node() {
    let mut cluster = serving(3);
    let a = cluster.connect(NodeId(1));
    let b = cluster.connect(NodeId(3));
    assert_eq!(cluster.ask(a, "SUBSCRIBE news"), "*3 $9 subscribe $4 news :1");
    assert_eq!(cluster.ask(b, "PUBLISH news hello"), ":0");
    cluster.run(20);
    assert_eq!(cluster.received(a), "*3 $7 message $4 news $5 hello");
}

// catalogue: E1 E2 E3 E4
#[test]
fn a_replica_whose_log_ends_too_early_takes_a_snapshot() {
    let mut cluster = Cluster::new(3);
    cluster.snapshot_log_bytes = 1;
    cluster.run(1000);
    let client = cluster.connect(NodeId(1));
    assert_eq!(cluster.ask(client, "SET a 1"), "+OK");
    for n in 0..200 {
        cluster.ask(client, &format!("SET key{n} {n}"));
    }
    cluster.run(500);
    let states = cluster.states();
    assert!(states.iter().all(|state| *state == states[0]), "{states:?}");
}

// catalogue: B6 B7
#[test]
fn a_readonly_connection_reads_its_own_nodes_copy_and_the_receipt_says_so() {
    let mut cluster = serving(3);
    let leader = cluster.leader().expect("a leader");
    let follower = NodeId(leader.0 % 3 + 1);
    let client = cluster.connect(follower);
    assert_eq!(cluster.ask(client, "SET a old"), "+OK");
    cluster.run(100);
    assert_eq!(cluster.ask(client, "READONLY"), "+OK");
    // Cut off from its leader the follower still shows what it had; only a reader that asked for it sees that.
    for other in (1..=3).map(NodeId).filter(|n| *n != follower) {
        cluster.cut.insert((other, follower));
        cluster.cut.insert((follower, other));
    }
    let writer = cluster.connect(leader);
    assert_eq!(cluster.ask(writer, "SET a new"), "+OK");
    assert_eq!(cluster.ask(client, "GET a"), "$3 old");
    let receipt = cluster.ask(client, "RECEIPT");
    assert!(receipt.contains("$4 role $8 follower"), "{receipt}");
    let refused = cluster.ask(client, "SET a mine");
    assert!(refused.starts_with("-INDETERMINATE") || refused.starts_with("-CLUSTERDOWN"), "{refused}");
    assert_eq!(cluster.ask(client, "READWRITE"), "+OK");
    let read = cluster.ask(client, "GET a");
    assert!(read.starts_with("-TRYAGAIN") || read.starts_with("-CLUSTERDOWN"), "{read}");
}

/// RECEIPT behind a command that takes longer than RECEIPT itself would wait told of the command before that.
#[test]
fn a_receipt_waits_for_the_command_that_it_speaks_of() {
    let mut cluster = serving(3);
    let leader = cluster.leader().expect("a leader");
    let others: Vec<NodeId> = (1..=3).map(NodeId).filter(|n| *n != leader).collect();
    let client = cluster.connect(others[0]);
    let create = "KEYSPACE CREATE slow SINGLE-LEADER TIMEOUT 5000";
    assert_eq!(cluster.ask(client, create), "+OK");
    assert_eq!(cluster.ask(client, "SELECT slow"), "+OK");
    assert_eq!(cluster.ask(client, "SET a 1"), "+OK");
    let leader = cluster.leader_of("slow").expect("a leader");
    let client = match leader == others[0] {
        true => cluster.connect(others[1]),
        false => client,
    };
    assert_eq!(cluster.ask(client, "SELECT slow"), "+OK");
    assert_eq!(cluster.ask(client, "SET a 2"), "+OK");
    let everybody: Vec<NodeId> = (1..=3).map(NodeId).collect();
    let pairs = everybody.iter().flat_map(|a| everybody.iter().map(move |b| (*a, *b)));
    let cut: Vec<_> = pairs.filter(|(a, b)| a != b).collect();
    cluster.cut.extend(cut);
    cluster.send(client, "SET a 3");
    cluster.send(client, "RECEIPT");
    cluster.run(1500);
    assert_eq!(cluster.received(client), "", "nothing is known yet");
    cluster.cut.clear();
    cluster.run(5000);
    let replies = cluster.received(client);
    assert!(replies.starts_with("-INDETERMINATE"), "{replies}");
    assert!(replies.contains("$7 outcome $13 indeterminate"), "{replies}");
}

// catalogue: C14
#[test]
fn an_in_sync_set_shrinks_for_a_dead_follower_and_takes_it_back() {
    let mut cluster = serving(3);
    let client = cluster.connect(NodeId(1));
    assert_eq!(cluster.ask(client, "KEYSPACE CREATE ledger SINGLE-LEADER COMMIT in-sync-set ACKS 1"), "+OK");
    assert_eq!(cluster.ask(client, "SELECT ledger"), "+OK");
    assert_eq!(cluster.ask(client, "SET a 1"), "+OK");
    let leader = cluster.leader_of("ledger").expect("a leader");
    let dead = (1..=3).map(NodeId).find(|n| *n != leader && *n != NodeId(1)).expect("a follower");
    cluster.kill(dead);
    let mut reply = cluster.ask(client, "SET a 2");
    for _ in 0..20 {
        if reply == "+OK" {
            break;
        }
        cluster.run(100);
        reply = cluster.ask(client, "SET a 2");
    }
    assert_eq!(reply, "+OK");
    assert_eq!(cluster.electable("ledger"), 2);
    cluster.start(dead);
    cluster.run(2000);
    assert_eq!(cluster.electable("ledger"), 3);
    assert_eq!(cluster.ask(client, "GET a"), "$1 2");
}

#[test]
fn a_planned_switchover_moves_leadership_and_loses_nothing() {
    let mut cluster = serving(3);
    let leader = cluster.leader().expect("a leader");
    let target = NodeId(leader.0 % 3 + 1);
    let client = cluster.connect(leader);
    assert_eq!(cluster.ask(client, "INCR n"), ":1");
    assert_eq!(cluster.ask(client, &format!("KEYSPACE SWITCHOVER 1 n{}", target.0)), "+OK");
    assert_eq!(cluster.ask(client, "INCR n"), ":2");
    cluster.run(100);
    assert_eq!(cluster.leader(), Some(target));
}

// catalogue: C14
#[test]
fn wait_tells_of_every_node_what_the_leader_knows() {
    let mut cluster = serving(3);
    let leader = cluster.leader().expect("a leader");
    for n in 1..=3 {
        let client = cluster.connect(NodeId(n));
        assert_eq!(cluster.ask(client, "WAIT 0 0"), ":2", "nothing was written: everybody has that");
        assert_eq!(cluster.ask(client, "SET a 1"), "+OK");
        assert_eq!(cluster.ask(client, "GET a"), "$1 1");
        assert_eq!(cluster.ask(client, "WAIT 2 1000"), ":2", "node {n}");
        assert_eq!(cluster.ask(client, "WAITAOF 1 2 1000"), "*2 :1 :2", "node {n}");
    }
    let gone = NodeId(leader.0 % 3 + 1);
    let other = NodeId(gone.0 % 3 + 1);
    cluster.kill(gone);
    for n in [leader, other] {
        let client = cluster.connect(n);
        assert_eq!(cluster.ask(client, "SET a 2"), "+OK");
        assert_eq!(cluster.ask(client, "WAIT 2 200"), ":1", "one of two is gone");
        assert_eq!(cluster.ask(client, "WAIT 1 0"), ":1");
    }
}

// catalogue: B10
#[test]
fn a_receipt_names_the_holders_of_a_write_on_every_node() {
    let mut cluster = serving(3);
    for n in 1..=3 {
        let client = cluster.connect(NodeId(n));
        assert_eq!(cluster.ask(client, "SET a 1"), "+OK");
        cluster.run(20);
        let receipt = cluster.ask(client, "RECEIPT");
        for name in ["n1", "n2", "n3"] {
            let holder = format!("$4 node $2 {name} $5 level");
            assert!(receipt.contains(&holder), "{name} holds it, says node {n}: {receipt}");
        }
        assert_eq!(cluster.ask(client, "GET a"), "$1 1");
        let receipt = cluster.ask(client, "RECEIPT");
        assert!(receipt.contains("$4 kind $4 read"), "{receipt}");
    }
}

/// All groups share one log: a keyspace that is hardly written takes a snapshot before its own entries ask for one, or it would
/// keep what all others write; and only once the log is worth it.
#[test]
fn an_idle_keyspace_lets_go_of_the_log() {
    let mut cluster = serving(1);
    let client = cluster.connect(NodeId(1));
    assert_eq!(cluster.ask(client, "KEYSPACE CREATE idle SINGLE-LEADER"), "+OK");
    assert_eq!(cluster.ask(client, "SELECT idle"), "+OK");
    assert_eq!(cluster.ask(client, "SET a 1"), "+OK");
    let group = cluster.group_of("idle").expect("founded");
    let blocked = |behind_bytes| Input::LogBlocked { behind_bytes, by: vec![(group, Index(2))] };
    let taken = |cluster: &Cluster| cluster.story.iter().filter(|it| it.contains("SnapshotTaken")).count();
    cluster.step(NodeId(1), blocked(1 << 30));
    cluster.run(200);
    assert_eq!(taken(&cluster), 0, "{:#?}", cluster.story);
    for _ in 0..3 {
        cluster.step(NodeId(1), blocked(3 << 30));
        cluster.run(200);
        assert_eq!(taken(&cluster), 1, "{:#?}", cluster.story);
    }
}

/// What a node holds no more when it comes back keeps no log: neither a keyspace that was dropped meanwhile nor a copy that is
/// wanted no more. What it still holds stays, also where the map that it begins with is older.
#[test]
fn a_node_lets_go_of_what_it_was_taken_out_of_while_it_was_down() {
    let mut cluster = serving(5);
    let client = cluster.connect(NodeId(1));
    for line in [
        "KEYSPACE CREATE gone SINGLE-LEADER REPLICAS 5",
        "KEYSPACE CREATE fewer SINGLE-LEADER REPLICAS 3 READ-REPLICAS 2",
        "KEYSPACE CREATE kept SINGLE-LEADER REPLICAS 5",
    ] {
        assert_eq!(cluster.ask(client, line), "+OK");
    }
    for name in ["gone", "fewer", "kept"] {
        assert_eq!(cluster.ask(client, &format!("SELECT {name}")), "+OK");
        assert_eq!(cluster.ask(client, "SET a 1"), "+OK");
    }
    cluster.run(1_000);
    let copies = cluster.read_replicas_of("fewer");
    let down = *copies.iter().find(|id| **id != client.node).expect("two of them");
    let [gone, fewer, kept] = ["gone", "fewer", "kept"].map(|name| cluster.group_of(name).expect("founded"));
    cluster.kill(down);
    assert_eq!(cluster.ask(client, "KEYSPACE DROP gone"), "+OK");
    assert_eq!(cluster.ask(client, "KEYSPACE ALTER fewer READ-REPLICAS 0"), "+OK");
    cluster.run(3_000);
    assert!(cluster.read_replicas_of("fewer").is_empty());
    cluster.start(down);
    cluster.run(3_000);
    for group in [gone, fewer] {
        assert!(cluster.dropped.contains(&(down, group)), "{group:?} {:?}", cluster.dropped);
    }
    assert!(!cluster.dropped.contains(&(down, kept)));
    let reader = cluster.connect(down);
    for line in ["SELECT kept", "READONLY"] {
        assert_eq!(cluster.ask(reader, line), "+OK");
    }
    assert_eq!(cluster.ask(reader, "GET a"), "$1 1");
}

/// Its peers remember what it called durable: it ends before anything that it says counts.
// bugs: LL-11
#[test]
fn a_node_with_an_old_backup_of_its_disk_gives_up() {
    let mut cluster = serving(3);
    let follower = NodeId(1 + cluster.leader_of("0").expect("a leader").0 % 3);
    let backup = cluster.back_up(follower);
    let client = cluster.connect(cluster.leader_of("0").expect("a leader"));
    for n in 0..20 {
        assert_eq!(cluster.ask(client, &format!("SET k{n} v")), "+OK");
    }
    cluster.run(100);
    cluster.restore(follower, backup);
    cluster.run(20);
    let gave_up = |cluster: &Cluster| cluster.story.iter().filter(|it| it.contains("gives up")).count();
    assert_eq!(gave_up(&cluster), 1, "{:#?}", cluster.story);
    // It told its life, was told what it forgot, and that was all.
    cluster.run(3_000);
    assert_eq!(gave_up(&cluster), 1);
    assert_eq!(cluster.ask(client, "SET k v"), "+OK", "two of three go on");
}

#[test]
fn a_node_that_only_restarted_is_heard() {
    let mut cluster = serving(3);
    let client = cluster.connect(cluster.leader_of("0").expect("a leader"));
    for n in 0..3u32 {
        assert_eq!(cluster.ask(client, &format!("SET k{n} v")), "+OK");
        let follower = NodeId(1 + cluster.leader_of("0").expect("a leader").0 % 3);
        let disk = cluster.back_up(follower);
        cluster.restore(follower, disk);
        cluster.run(1_500);
    }
    assert!(!cluster.story.iter().any(|it| it.contains("gives up")), "{:#?}", cluster.story);
    assert_eq!(cluster.electable("0"), 3);
}

/// catalogue: C5 C9 C19
#[test]
fn a_keyspace_goes_over_to_another_rule_once_its_copies_stand_under_it() {
    let mut cluster = serving(3);
    let leader = cluster.leader_of("0").expect("a leader");
    let client = cluster.connect(leader);
    assert_eq!(cluster.ask(client, "KEYSPACE ALTER 0 COMMIT synchronous"), "+OK");
    cluster.run(500);
    let info = cluster.ask(client, "KEYSPACE INFO 0");
    assert!(info.contains("commit-now $11 synchronous"), "{info}");
    assert_eq!(cluster.ask(client, "SET a 1"), "+OK");
    let follower = NodeId(1 + leader.0 % 3);
    cluster.kill(follower);
    let alone = cluster.ask(client, "SET a 2");
    assert!(alone.starts_with("-INDETERMINATE") || alone.starts_with("-NOREPLICAS"), "{alone}");
    // Asked for, and too few followers for it: the old rule stays.
    assert_eq!(cluster.ask(client, "KEYSPACE ALTER 0 COMMIT semi-sync ACKS 2"), "+OK");
    cluster.run(1_000);
    let info = cluster.ask(client, "KEYSPACE INFO 0");
    assert!(info.contains("commit $9 semi-sync") && info.contains("commit-now $11 synchronous"), "{info}");
    // One that the other follower suffices for is the way out.
    assert_eq!(cluster.ask(client, "KEYSPACE ALTER 0 COMMIT semi-sync ACKS 1"), "+OK");
    cluster.run(1_000);
    assert_eq!(cluster.ask(client, "SET a 3"), "+OK");
    let receipt = cluster.ask(client, "RECEIPT");
    assert!(receipt.contains("commit-rule $9 semi-sync $15 copies-required $1 2"), "{receipt}");
}

/// catalogue: C6 C7
#[test]
fn a_degraded_rule_is_recorded_shown_and_undone() {
    let mut cluster = serving(5);
    let any = cluster.connect(NodeId(1));
    let create = "KEYSPACE CREATE loose SINGLE-LEADER COMMIT semi-sync TIMEOUT 300 ON-TIMEOUT degrade";
    assert_eq!(cluster.ask(any, create), "+OK");
    cluster.run(500);
    let leader = cluster.leader_of("loose").expect("a leader");
    let followers: Vec<NodeId> =
        cluster.members_of("loose").into_iter().filter(|member| *member != leader).collect();
    let client = cluster.connect(leader);
    assert_eq!(cluster.ask(client, "SELECT loose"), "+OK");
    assert_eq!(cluster.ask(client, "SET a 1"), "+OK");
    followers.iter().for_each(|node| cluster.kill(*node));
    assert_eq!(cluster.ask(client, "SET a 2"), "+OK");
    let receipt = cluster.ask(client, "RECEIPT");
    assert!(receipt.contains("commit-rule $5 async") && receipt.contains("degraded :1"), "{receipt}");
    assert!(cluster.story.iter().any(|it| it.contains("RuleChanged") && it.contains("degraded: true")));
    followers.iter().for_each(|node| cluster.start(*node));
    cluster.run(4_000);
    let info = cluster.ask(client, "KEYSPACE INFO loose");
    assert!(info.contains("commit-now $9 semi-sync"), "{info}");
    assert_eq!(cluster.ask(client, "GET a"), "$1 2");
}

#[test]
fn rules_that_contradict_themselves_are_refused() {
    let mut cluster = serving(3);
    let client = cluster.connect(NodeId(1));
    for (options, why) in [
        ("COMMIT semi-sync ACKS 3", "ACKS must be between 1 and one less than REPLICAS"),
        ("COMMIT semi-sync ACKS 0", "ACKS must be between 1 and one less than REPLICAS"),
        ("COMMIT majority ACKS 1", "ACKS goes with COMMIT semi-sync, in-sync-set or chain"),
        ("COMMIT majority ON-TIMEOUT degrade", "ON-TIMEOUT degrade goes with COMMIT semi-sync"),
        ("ON-TIMEOUT never", "ON-TIMEOUT does not take 'never'"),
    ] {
        let reply = cluster.ask(client, &format!("KEYSPACE CREATE k SINGLE-LEADER {options}"));
        assert!(reply.starts_with("-ERR") && reply.contains(why), "{options}: {reply}");
        let reply = cluster.ask(client, &format!("KEYSPACE ALTER 0 {options}"));
        assert!(reply.starts_with("-ERR") && reply.contains(why), "{options}: {reply}");
    }
}

/// catalogue: C10 F4
#[test]
fn writes_are_refused_while_too_few_followers_keep_up() {
    let mut cluster = serving(3);
    let leader = cluster.leader_of("0").expect("a leader");
    let client = cluster.connect(leader);
    assert_eq!(cluster.ask(client, "KEYSPACE ALTER 0 MIN-SLAVES-TO-WRITE 2 MIN-REPLICAS-MAX-LAG 1"), "+OK");
    cluster.run(300);
    assert_eq!(cluster.ask(client, "SET a 1"), "+OK");
    cluster.kill(NodeId(1 + leader.0 % 3));
    cluster.run(200);
    let refused = cluster.ask(client, "SET a 2");
    assert!(refused.starts_with("-NOREPLICAS 2 followers must keep up"), "{refused}");
    assert_eq!(cluster.ask(client, "GET a"), "$1 1", "nothing was written");
    cluster.start(NodeId(1 + leader.0 % 3));
    cluster.run(1_500);
    assert_eq!(cluster.ask(client, "SET a 3"), "+OK");
}

/// catalogue: C2
#[test]
fn an_election_that_waits_loses_nothing() {
    let mut cluster = serving(3);
    let any = cluster.connect(NodeId(1));
    assert_eq!(cluster.ask(any, "KEYSPACE CREATE patient SINGLE-LEADER COMMIT async ELECTION wait"), "+OK");
    cluster.run(500);
    let leader = cluster.leader_of("patient").expect("a leader");
    let client = cluster.connect(leader);
    assert_eq!(cluster.ask(client, "SELECT patient"), "+OK");
    // Only the leader has it when it dies.
    let others: Vec<NodeId> = (1..=3).map(NodeId).filter(|node| *node != leader).collect();
    cluster.cut.extend(others.iter().map(|node| (leader, *node)));
    assert_eq!(cluster.ask(client, "SET a 1"), "+OK");
    cluster.kill(leader);
    cluster.cut.clear();
    cluster.run(3_000);
    assert_eq!(cluster.leader_of("patient"), Some(leader), "nobody else may lead");
    cluster.start(leader);
    cluster.run(2_000);
    let client = cluster.connect(others[0]);
    assert_eq!(cluster.ask(client, "SELECT patient"), "+OK");
    assert_eq!(cluster.ask(client, "GET a"), "$1 1");
}
