//! `COMMIT best-effort`: copies that go on without what they missed, what an election makes of it, and the way back.
// catalogue: C4

use crate::cluster::serving;
use crate::rig::{Client, Cluster};
use data::NodeId;

const WRITES: usize = 40;

/// A keyspace whose backlog is small, its leader, and a client there.
fn ingest() -> (Cluster, NodeId, Client) {
    let mut cluster = serving(3);
    let any = cluster.connect(NodeId(1));
    let create = "KEYSPACE CREATE ingest SINGLE-LEADER REPLICAS 3 COMMIT best-effort BACKLOG 1024";
    assert_eq!(cluster.ask(any, create), "+OK");
    cluster.run(500);
    let leader = cluster.leader_of("ingest").expect("a leader");
    let client = cluster.connect(leader);
    assert_eq!(cluster.ask(client, "SELECT ingest"), "+OK");
    assert_eq!(cluster.ask(client, "SET first 1"), "+OK");
    cluster.run(1000);
    (cluster, leader, client)
}
fn others(leader: NodeId) -> Vec<NodeId> {
    (1..=3).map(NodeId).filter(|node| *node != leader).collect()
}
/// These hear nothing of their leader while it writes more than the backlog holds.
fn misses(cluster: &mut Cluster, leader: NodeId, client: Client, nodes: &[NodeId]) {
    cluster.cut.extend(nodes.iter().flat_map(|node| [(leader, *node), (*node, leader)]));
    for n in 0..WRITES {
        assert_eq!(cluster.ask(client, &format!("SET k{n} {n:064}")), "+OK");
    }
    cluster.cut.clear();
    cluster.run(1500);
    assert_eq!(cluster.leader_of("ingest"), Some(leader));
}
/// The items of the ledger, by their names.
fn ledger(cluster: &mut Cluster, client: Client) -> Vec<String> {
    let list = cluster.ask(client, "LEDGER LIST ingest");
    list.split(' ').filter(|word| word.matches('-').count() == 2).map(str::to_owned).collect()
}
fn insists(cluster: &mut Cluster, client: Client, line: &str, reply: &str) {
    for _ in 0..60 {
        if cluster.ask(client, line) == reply {
            return;
        }
        cluster.run(100);
    }
    panic!("{line}: {}", cluster.ask(client, line));
}

#[test]
fn a_copy_that_missed_writes_says_so_and_answers_no_reads() {
    let (mut cluster, leader, client) = ingest();
    let slow = others(leader)[0];
    misses(&mut cluster, leader, client, &[slow]);
    let info = cluster.ask(client, "KEYSPACE INFO ingest");
    assert!(info.contains("$6 commit $11 best-effort") && info.contains("missed *1 "), "{info}");
    assert!(info.contains(&format!("n{}: ", slow.0)) && info.contains(" entries"), "{info}");
    assert!(cluster.ask(client, "INFO replication").contains(",missed="));
    // Its node sends reads of copies on, however old an answer they would take.
    let there = cluster.connect(slow);
    assert_eq!(cluster.ask(there, "SELECT ingest"), "+OK");
    assert_eq!(cluster.ask(there, "CONSISTENCY READ follower"), "+OK");
    assert_eq!(cluster.ask(there, "GET k5"), format!("$64 {:064}", 5));
    // And what asks for followers gets those that hold everything: one.
    assert_eq!(cluster.ask(client, "SET more 1"), "+OK");
    cluster.run(300);
    assert_eq!(cluster.ask(client, "WAIT 2 200"), ":1");
}

#[test]
fn what_a_new_leader_went_on_without_is_in_the_ledger_and_can_be_applied_again() {
    let (mut cluster, leader, client) = ingest();
    let rest = others(leader);
    misses(&mut cluster, leader, client, &rest);
    cluster.kill(leader);
    cluster.run(3000);
    let client = cluster.connect(rest[0]);
    insists(&mut cluster, client, "SELECT ingest", "+OK");
    insists(&mut cluster, client, "GET k30", "$-1");
    assert_eq!(cluster.ask(client, "GET first"), "$1 1");
    let list = cluster.ask(client, "LEDGER LIST ingest");
    assert!(list.contains("perhaps"), "the new leader knows where they stood: {list}");
    // A reader of the log hears that they are missing, once, and goes on behind them if it says so.
    let told = cluster.ask(client, "CHANGES ingest AFTER START");
    assert!(told.contains("first"), "{told}");
    let before = told.split(' ').skip_while(|word| *word != "position").nth(2).expect("a position");
    let gap = cluster.ask(client, &format!("CHANGES ingest AFTER {before}"));
    assert!(gap.starts_with("-GAP "), "{gap}");
    let behind =
        gap.split_once("go on PAST ").and_then(|(_, rest)| rest.split(' ').next()).expect("a position");
    let again = cluster.ask(client, &format!("CHANGES ingest AFTER {behind}"));
    assert!(again.starts_with("-GAP an election "), "it may have seen what was lost: {again}");
    assert_eq!(cluster.ask(client, "SET later 1"), "+OK");
    cluster.run(300);
    let rest_of_it = cluster.ask(client, &format!("CHANGES ingest PAST {behind}"));
    assert!(rest_of_it.contains("later"), "{rest_of_it}");
    // The copy that has them is back: each is listed with what it wrote, then the copy is made anew.
    cluster.start(leader);
    cluster.run(6000);
    let ids = ledger(&mut cluster, client);
    let wrote = format!("{:064}", 30);
    let held = ids.iter().find(|id| cluster.ask(client, &format!("LEDGER GET {id}")).contains(&wrote));
    let held = held.expect("the write of k30").clone();
    assert_eq!(cluster.ask(client, &format!("LEDGER REAPPLY {held}")), "+OK");
    assert_eq!(cluster.ask(client, "GET k30"), format!("$64 {wrote}"));
    assert!(cluster.ask(client, "KEYSPACE INFO ingest").contains("missed *0"));
}

#[test]
fn what_has_no_meaning_behind_a_gap_is_left_out_whole_and_lies_in_the_ledger() {
    let (mut cluster, leader, client) = ingest();
    let rest = others(leader);
    cluster.cut.extend(rest.iter().flat_map(|node| [(leader, *node), (*node, leader)]));
    assert_eq!(cluster.ask(client, "RPUSH queue a b"), ":2");
    cluster.cut.clear();
    misses(&mut cluster, leader, client, &rest);
    // The followers have no queue to take from: nothing of this transaction has a meaning there.
    for (line, reply) in [("MULTI", "+OK"), ("SET balance 5", "+QUEUED"), ("LPOP queue", "+QUEUED")] {
        assert_eq!(cluster.ask(client, line), reply);
    }
    assert_eq!(cluster.ask(client, "EXEC"), "*2 +OK $1 a");
    assert_eq!(cluster.ask(client, "SET after 1"), "+OK");
    cluster.run(1000);
    cluster.kill(leader);
    cluster.run(4000);
    let client = cluster.connect(rest[0]);
    insists(&mut cluster, client, "SELECT ingest", "+OK");
    insists(&mut cluster, client, "GET after", "$1 1");
    assert_eq!(cluster.ask(client, "GET balance"), "$-1");
    cluster.run(3000);
    let ids = ledger(&mut cluster, client);
    let wrote = |id: &String| cluster.ask(client, &format!("LEDGER GET {id}")).contains("$7 balance");
    assert!(ids.iter().any(wrote), "the ledger has what was left out, with its payload: {ids:?}");
}

#[test]
fn another_rule_counts_a_copy_only_when_it_was_made_anew() {
    let (mut cluster, leader, client) = ingest();
    let slow = others(leader)[0];
    misses(&mut cluster, leader, client, &[slow]);
    assert_eq!(cluster.ask(client, "KEYSPACE ALTER ingest COMMIT majority"), "+OK");
    for _ in 0..100 {
        let info = cluster.ask(client, "KEYSPACE INFO ingest");
        if info.contains("commit-now $8 majority") {
            break;
        }
        cluster.run(100);
    }
    let info = cluster.ask(client, "KEYSPACE INFO ingest");
    assert!(info.contains("commit-now $8 majority") && info.contains("missed *0"), "{info}");
    // The copy that missed them has them now.
    cluster.kill(others(leader)[1]);
    let there = cluster.connect(slow);
    assert_eq!(cluster.ask(there, "SELECT ingest"), "+OK");
    assert_eq!(cluster.ask(there, "CONSISTENCY READ follower"), "+OK");
    assert_eq!(cluster.ask(there, "GET k5"), format!("$64 {:064}", 5));
}

#[test]
fn who_shall_lead_is_made_anew_first() {
    let (mut cluster, leader, client) = ingest();
    let rest = others(leader);
    misses(&mut cluster, leader, client, &rest);
    let group = cluster.group_of("ingest").expect("a group");
    let any = cluster.connect(rest[1]);
    let mut replies = Vec::new();
    for _ in 0..10 {
        replies.push(cluster.ask(any, &format!("KEYSPACE SWITCHOVER {} n{}", group.0, rest[0].0)));
        cluster.run(4500);
        if cluster.leader_of("ingest") == Some(rest[0]) {
            break;
        }
    }
    assert_eq!(
        cluster.leader_of("ingest"),
        Some(rest[0]),
        "{replies:?} {}",
        cluster.ask(client, "KEYSPACE INFO ingest")
    );
    let client = cluster.connect(rest[0]);
    insists(&mut cluster, client, "SELECT ingest", "+OK");
    insists(&mut cluster, client, "GET k5", &format!("$64 {:064}", 5));
    assert!(cluster.ask(client, "LEDGER LIST ingest").contains("items *0"));
}

#[test]
fn what_does_not_go_with_it_is_refused_with_the_reason() {
    let mut cluster = serving(1);
    let client = cluster.connect(NodeId(1));
    for (options, why) in [
        ("COMMIT best-effort LOG statement", "would compute something else"),
        ("COMMIT best-effort LOG physical", "takes LOG row"),
        ("COMMIT best-effort FAN-OUT 2", "does not go with FAN-OUT"),
        ("COMMIT best-effort ACKS 1", "ACKS goes with"),
        ("COMMIT best-effort BACKLOG 1000", "between 1 KiB and 1 GiB"),
    ] {
        let reply = cluster.ask(client, &format!("KEYSPACE CREATE x SINGLE-LEADER REPLICAS 1 {options}"));
        assert!(reply.starts_with("-ERR ") && reply.contains(why), "{options}: {reply}");
    }
    assert_eq!(cluster.ask(client, "KEYSPACE CREATE x SINGLE-LEADER REPLICAS 1 COMMIT best-effort"), "+OK");
    assert!(cluster.ask(client, "KEYSPACE ALTER x LOG statement").starts_with("-ERR "));
}
