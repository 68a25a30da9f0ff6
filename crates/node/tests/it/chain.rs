//! Keyspaces whose copies hand entries on: the commit rule `chain`, and FAN-OUT.
// catalogue: C15, C16, H3

use crate::cluster::serving;
use crate::rig::{Client, Cluster};
use data::NodeId;

fn chained(options: &str) -> (Cluster, Client) {
    let mut cluster = serving(3);
    let client = cluster.connect(NodeId(1));
    assert_eq!(cluster.ask(client, &format!("KEYSPACE CREATE links SINGLE-LEADER {options}")), "+OK");
    assert_eq!(cluster.ask(client, "SELECT links"), "+OK");
    assert_eq!(cluster.ask(client, "SET a 1"), "+OK");
    cluster.run(1500);
    (cluster, client)
}
/// Asks again while the answer is that nothing was applied, or that it is not known.
fn insists(cluster: &mut Cluster, client: Client, line: &str) -> String {
    let mut reply = cluster.ask(client, line);
    for _ in 0..30 {
        if !reply.starts_with('-') {
            break;
        }
        cluster.run(100);
        reply = cluster.ask(client, line);
    }
    reply
}
/// The copies in the order in which they feed each other.
fn order(cluster: &Cluster) -> [NodeId; 3] {
    let head = cluster.leader_of("links").expect("a leader");
    [head, NodeId(head.0 % 3 + 1), NodeId((head.0 + 1) % 3 + 1)]
}

#[test]
fn a_chain_closes_up_for_a_dead_middle_and_takes_it_back() {
    let (mut cluster, _) = chained("COMMIT chain ACKS 1");
    let [head, middle, tail] = order(&cluster);
    let client = cluster.connect(head);
    assert_eq!(cluster.ask(client, "SELECT links"), "+OK");
    assert_eq!(cluster.ask(client, "SET a 2"), "+OK");
    let receipt = cluster.ask(client, "RECEIPT");
    let at = |node: NodeId| receipt.find(&format!("$4 node $2 n{} $5 level", node.0));
    let holders = [at(head), at(middle), at(tail)];
    assert!(holders.is_sorted() && holders[0].is_some(), "holders stand in the chain's order: {receipt}");
    let info = cluster.ask(client, "KEYSPACE INFO links");
    let links = format!("$5 links *3 $2 n{} $2 n{} $2 n{}", head.0, middle.0, tail.0);
    assert!(info.contains("$6 commit $5 chain") && info.contains(&links), "{links}: {info}");

    cluster.kill(middle);
    assert_eq!(insists(&mut cluster, client, "SET a 3"), "+OK");
    assert_eq!(cluster.electable("links"), 2);
    cluster.start(middle);
    cluster.run(2500);
    assert_eq!(cluster.electable("links"), 3);
    assert_eq!(insists(&mut cluster, client, "SET a 4"), "+OK");

    // The tail alone has it all.
    cluster.kill(head);
    cluster.run(3000);
    let client = cluster.connect(tail);
    assert_eq!(insists(&mut cluster, client, "SELECT links"), "+OK");
    assert_eq!(insists(&mut cluster, client, "GET a"), "$1 4");
}

#[test]
fn a_link_that_is_cut_costs_nobody_its_place() {
    let (mut cluster, _) = chained("COMMIT chain ACKS 2");
    let [head, middle, tail] = order(&cluster);
    cluster.cut.extend([(middle, tail), (tail, middle)]);
    let client = cluster.connect(head);
    assert_eq!(cluster.ask(client, "SELECT links"), "+OK");
    assert_eq!(cluster.ask(client, "SET a 2"), "+OK", "the head feeds the tail itself");
    for n in 3..20 {
        assert_eq!(cluster.ask(client, &format!("SET a {n}")), "+OK");
    }
    assert_eq!(cluster.electable("links"), 3);
    cluster.cut.clear();
    cluster.run(1500);
    assert_eq!(cluster.ask(client, "SET a 20"), "+OK");
}

#[test]
fn the_tail_answers_like_the_head_when_it_is_asked_to() {
    let (mut cluster, client) = chained("COMMIT chain");
    let [_, _, tail] = order(&cluster);
    let reader = cluster.connect(tail);
    assert_eq!(cluster.ask(reader, "SELECT links"), "+OK");
    assert_eq!(cluster.ask(reader, "CONSISTENCY READ follower SESSION off MAX-STALENESS 0"), "+OK");
    for n in 2..10 {
        assert_eq!(cluster.ask(client, &format!("SET a {n}")), "+OK");
        assert_eq!(cluster.ask(reader, "GET a"), format!("$1 {n}"), "nothing acknowledged is missing");
    }
}

#[test]
fn a_keyspace_becomes_a_chain_and_something_else_again() {
    let (mut cluster, client) = chained("COMMIT majority");
    for (rule, shown) in
        [("chain ACKS 1", "chain"), ("synchronous", "synchronous"), ("chain", "chain"), ("async", "async")]
    {
        assert_eq!(cluster.ask(client, &format!("KEYSPACE ALTER links COMMIT {rule}")), "+OK");
        cluster.run(2500);
        let info = cluster.ask(client, "KEYSPACE INFO links");
        let now = format!("$10 commit-now ${} {shown}", shown.len());
        assert!(info.contains(&now), "{now}: {info}");
        assert_eq!(insists(&mut cluster, client, "INCR n").chars().next(), Some(':'));
    }
    assert_eq!(cluster.ask(client, "GET n"), "$1 4");
}

#[test]
fn followers_feed_followers_and_read_replicas() {
    let mut cluster = serving(5);
    let client = cluster.connect(NodeId(1));
    let create = "KEYSPACE CREATE links SINGLE-LEADER REPLICAS 3 READ-REPLICAS 2 FAN-OUT 1";
    assert_eq!(cluster.ask(client, create), "+OK");
    assert_eq!(cluster.ask(client, "SELECT links"), "+OK");
    assert_eq!(cluster.ask(client, "SET a 1"), "+OK");
    cluster.run(1500);
    let info = cluster.ask(client, "KEYSPACE INFO links");
    assert!(info.contains("$7 fan-out :1") && info.contains("$5 links *5"), "{info}");
    // The first follower dies: everybody behind it is fed on.
    let leader = cluster.leader_of("links").expect("a leader");
    let members = cluster.members_of("links");
    let first = *members.iter().find(|n| **n > leader).unwrap_or(&members[0]);
    cluster.kill(first);
    let writer = cluster.connect(leader);
    assert_eq!(insists(&mut cluster, writer, "SELECT links"), "+OK");
    assert_eq!(insists(&mut cluster, writer, "SET a 2"), "+OK");
    cluster.run(1000);
    for reader in cluster.read_replicas_of("links") {
        let at_reader = cluster.connect(reader);
        assert_eq!(cluster.ask(at_reader, "SELECT links"), "+OK");
        assert_eq!(cluster.ask(at_reader, "CONSISTENCY READ follower SESSION off"), "+OK");
        assert_eq!(cluster.ask(at_reader, "GET a"), "$1 2", "{reader}");
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let mut cluster = serving(3);
    let client = cluster.connect(NodeId(1));
    for (options, words) in [
        ("COMMIT chain ACKS 3", "ACKS must leave"),
        ("FAN-OUT 65", "FAN-OUT must be at most 64"),
        ("FAN-OUT many", "FAN-OUT takes a number"),
        ("COMMIT chain ON-TIMEOUT degrade", "goes with COMMIT semi-sync"),
    ] {
        let reply = cluster.ask(client, &format!("KEYSPACE CREATE bad SINGLE-LEADER {options}"));
        assert!(reply.starts_with("-ERR") && reply.contains(words), "{options}: {reply}");
    }
}
