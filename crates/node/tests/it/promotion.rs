//! Promotion by force: the operator says that the other copies are gone.
//!
//! catalogue: C3 F3; bugs: SL-01

use crate::cluster::serving;
use crate::rig::{Client, Cluster};
use data::NodeId;

/// Five nodes, and a keyspace with two copies that count and one that is only read; a client at a node that holds none.
fn disaster(commit: &str) -> (Cluster, Client, Vec<NodeId>, NodeId) {
    let mut cluster = serving(5);
    let founder = cluster.connect(NodeId(1));
    let create = format!("KEYSPACE CREATE far SINGLE-LEADER REPLICAS 2 READ-REPLICAS 1 COMMIT {commit}");
    assert_eq!(cluster.ask(founder, &create), "+OK");
    assert_eq!(cluster.ask(founder, "SELECT far"), "+OK");
    assert_eq!(cluster.ask(founder, "SET kept 1"), "+OK");
    cluster.run(500);
    let members = cluster.members_of("far");
    let reader = *cluster.read_replicas_of("far").first().expect("a read replica");
    let away = (1..=5).map(NodeId).find(|id| !members.contains(id) && *id != reader).expect("five nodes");
    let client = cluster.connect(away);
    assert_eq!(cluster.ask(client, "SELECT far"), "+OK");
    (cluster, client, members, reader)
}

fn promote(cluster: &mut Cluster, client: Client, node: NodeId) -> String {
    let group = cluster.group_of("far").expect("a group");
    cluster.ask(client, &format!("KEYSPACE PROMOTE {} n{} ACCEPT-LOSS", group.0, node.0))
}

#[test]
fn a_read_replica_leads_when_the_operator_gives_up_the_others() {
    let (mut cluster, client, members, reader) = disaster("synchronous");
    members.iter().for_each(|node| cluster.kill(*node));
    cluster.run(2000);
    let refused = cluster.ask(client, "SET a 1");
    assert!(refused.starts_with('-'), "nobody who counts is there: {refused}");
    let group = cluster.group_of("far").expect("a group");
    let unsure = cluster.ask(client, &format!("KEYSPACE PROMOTE {} n{}", group.0, reader.0));
    assert!(unsure.starts_with("-ERR") && unsure.contains("ACCEPT-LOSS"), "{unsure}");
    assert_eq!(promote(&mut cluster, client, reader), "+OK");
    cluster.run(2000);
    assert_eq!(cluster.leader_of("far"), Some(reader));
    assert_eq!(cluster.ask(client, "GET kept"), "$1 1");
    assert_eq!(cluster.ask(client, "SET a 2"), "+OK");
    // The others come back, become what they were, and count again.
    members.iter().for_each(|node| cluster.start(*node));
    cluster.run(5000);
    assert_eq!(cluster.ask(client, "GET a"), "$1 2");
    assert!(cluster.electable("far") >= 2, "{}", cluster.electable("far"));
    assert_eq!(cluster.ask(client, "SET a 3"), "+OK");
}

/// What only the others held lies in their ledgers once they are back.
#[test]
fn what_the_promoted_copy_lacked_is_in_the_ledger() {
    let (mut cluster, client, members, reader) = disaster("majority");
    cluster.behind.insert(reader);
    for n in 0..7 {
        assert_eq!(cluster.ask(client, &format!("SET lost{n} {n}")), "+OK");
    }
    members.iter().for_each(|node| cluster.kill(*node));
    cluster.behind.clear();
    cluster.run(2000);
    assert_eq!(promote(&mut cluster, client, reader), "+OK");
    cluster.run(2000);
    assert_eq!(cluster.ask(client, "GET lost6"), "$-1");
    assert_eq!(cluster.ask(client, "SET kept 2"), "+OK");
    members.iter().for_each(|node| cluster.start(*node));
    cluster.run(6000);
    let listed = cluster.ask(client, "LEDGER LIST far");
    // Perhaps acknowledged: the processes that knew are gone.
    assert_eq!(listed.matches("$7 perhaps").count(), 7, "{listed}");
    assert_eq!(cluster.ask(client, "GET kept"), "$1 2");
}

/// The target is gone too: after a while the others may elect again.
#[test]
fn a_promotion_that_nobody_answers_is_given_up() {
    let (mut cluster, client, members, reader) = disaster("majority");
    cluster.kill(reader);
    assert_eq!(promote(&mut cluster, client, reader), "+OK");
    cluster.run(1000);
    let refused = cluster.ask(client, "SET kept 3");
    assert!(refused.starts_with('-'), "nobody leads meanwhile: {refused}");
    cluster.run(9000);
    let leader = cluster.leader_of("far").expect("an elected leader");
    assert!(members.contains(&leader));
    assert_eq!(cluster.ask(client, "GET kept"), "$1 1");
    assert_eq!(cluster.ask(client, "SET kept 2"), "+OK");
    assert!(!cluster.ask(client, "LEDGER LIST far").contains("lost"), "and nothing is");
}

#[test]
fn only_a_copy_can_be_promoted() {
    let (mut cluster, client, members, reader) = disaster("majority");
    let other = (1..=5).map(NodeId).find(|id| !members.contains(id) && *id != reader).expect("five nodes");
    let refused = promote(&mut cluster, client, other);
    assert!(refused.starts_with("-ERR only a node that holds a copy"), "{refused}");
    let leader = cluster.leader_of("far");
    cluster.run(1000);
    assert_eq!((cluster.leader_of("far"), cluster.ask(client, "GET kept")), (leader, "$1 1".into()));
}

/// The number behind a name in KEYSPACE STATUS's recovery point of a node; nothing while it has none.
fn recovery_point(cluster: &mut Cluster, node: NodeId, name: &str) -> Option<u64> {
    let client = cluster.connect(node);
    let status = cluster.ask(client, "KEYSPACE STATUS");
    let (_, point) = status.split_once("\"recovery_point\":{")?;
    let (_, value) = point.split_once(&format!("\"{name}\":"))?;
    value.split(['}', ',']).next()?.parse().ok()
}

/// A whole site is lost: its keyspace goes on at the other from the copy that was kept there for that, and what that costs was known.
// catalogue: C3
#[test]
fn a_copy_at_another_site_knows_what_would_be_missing() {
    let mut cluster = serving(7);
    let client = cluster.connect(NodeId(5));
    let unknown = cluster.ask(client, "KEYSPACE CREATE far SINGLE-LEADER SITE nowhere");
    assert!(unknown.starts_with("-ERR no node is at"), "{unknown}");
    let same = cluster.ask(client, "KEYSPACE CREATE far SINGLE-LEADER SITE here RECOVERY-SITE here");
    assert!(same.starts_with("-ERR RECOVERY-SITE"), "{same}");
    let create = "KEYSPACE CREATE far SINGLE-LEADER REPLICAS 2 SITE there RECOVERY-SITE here";
    assert_eq!(cluster.ask(client, create), "+OK");
    assert_eq!(cluster.ask(client, "SELECT far"), "+OK");
    assert_eq!(cluster.ask(client, "SET a 1"), "+OK");
    cluster.run(1000);
    let members = cluster.members_of("far");
    assert_eq!(members, [NodeId(6), NodeId(7)]);
    let copy = *cluster.read_replicas_of("far").first().expect("a copy at the recovery site");
    assert_eq!(crate::rig::site_of(copy), "here");
    assert_eq!(recovery_point(&mut cluster, copy, "entries"), Some(0));
    assert!(recovery_point(&mut cluster, copy, "ms").is_some_and(|ms| ms <= 400));
    let elsewhere = (1..=5).map(NodeId).find(|id| *id != copy && *id != NodeId(5)).expect("another");
    assert_eq!(recovery_point(&mut cluster, elsewhere, "entries"), None);

    // Held back, it says by how much.
    cluster.behind.insert(copy);
    let began = recovery_point(&mut cluster, copy, "ms").expect("a proved age");
    for n in 0..9 {
        assert_eq!(cluster.ask(client, &format!("SET b{n} 1")), "+OK");
    }
    cluster.run(1500);
    assert_eq!(recovery_point(&mut cluster, copy, "entries"), Some(9));
    assert!(recovery_point(&mut cluster, copy, "ms").is_some_and(|ms| ms >= began + 1500));

    // The site is lost.
    members.iter().for_each(|node| cluster.kill(*node));
    cluster.behind.clear();
    cluster.run(3000);
    assert!(cluster.ask(client, "SET a 2").starts_with('-'));
    assert_eq!(promote(&mut cluster, client, copy), "+OK");
    cluster.run(2000);
    assert_eq!(cluster.ask(client, "GET a"), "$1 1");
    assert_eq!(cluster.ask(client, "EXISTS b0 b1 b2 b3 b4 b5 b6 b7 b8"), ":0");
    assert_eq!(cluster.ask(client, "SET a 2"), "+OK");
    // It comes back: what was missing is in the ledger, item by item, and leadership goes home.
    members.iter().for_each(|node| cluster.start(*node));
    cluster.run(15_000);
    let listed = cluster.ask(client, "LEDGER LIST far");
    assert_eq!(listed.matches("$7 perhaps").count(), 9, "{listed}");
    assert_eq!(cluster.ask(client, "GET a"), "$1 2");
    assert_eq!(cluster.members_of("far"), members);
    assert!(cluster.leader_of("far").is_some_and(|leader| members.contains(&leader)));
}

/// Under `ELECTION wait` nobody leads before the former leader's copy has reported. When its machine is gone, the operator says so.
#[test]
fn a_leader_that_is_waited_for_is_given_up_by_promotion_and_can_be_removed_then() {
    let mut cluster = serving(4);
    let founder = cluster.connect(NodeId(1));
    let create = "KEYSPACE CREATE far SINGLE-LEADER REPLICAS 3 COMMIT async ELECTION wait";
    assert_eq!(cluster.ask(founder, create), "+OK");
    cluster.run(500);
    let leader = cluster.leader_of("far").expect("a leader");
    let members = cluster.members_of("far");
    let other = members.iter().copied().find(|node| *node != leader).expect("a follower");
    let client = cluster.connect(other);
    assert_eq!(cluster.ask(client, "SELECT far"), "+OK");
    assert_eq!(cluster.ask(client, "SET kept 1"), "+OK");
    cluster.run(500);
    cluster.kill(leader);
    cluster.run(3_000);
    assert_eq!(cluster.ask(client, &format!("KEYSPACE REMOVE-NODE {}", leader.0)), "+OK");
    cluster.run(5_000);
    assert_eq!(cluster.leader_of("far"), Some(leader), "it is waited for");
    assert_eq!(promote(&mut cluster, client, other), "+OK");
    for _ in 0..100 {
        cluster.run(200);
        let gone = !cluster.nodes[&other].map().nodes.contains_key(&leader);
        if gone && cluster.ask(client, "GET kept") == "$1 1" {
            return;
        }
    }
    panic!("it has not left:\n{}", cluster.story.join("\n"));
}
