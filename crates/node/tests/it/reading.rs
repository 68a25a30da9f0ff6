//! Reads that need not go to the leader: sessions that move with their token, copies of a bounded age, read replicas.
//!
//! catalogue: B6 G1 G2 G3 G5

use crate::cluster::serving;
use crate::rig::{Client, Cluster};
use bytes::Bytes;
use data::{NodeId, Position, RequestId};
use node::PeerMessage;
use node::message::ForwardOutcome;

fn leader_and_follower(cluster: &Cluster) -> (NodeId, NodeId) {
    let leader = cluster.leader().expect("a leader");
    (leader, NodeId(leader.0 % 3 + 1))
}

fn role(cluster: &mut Cluster, client: Client) -> String {
    let receipt = cluster.ask(client, "RECEIPT");
    let mut words = receipt.split(' ').skip_while(|word| *word != "role").skip(2);
    words.next().unwrap_or_default().to_string()
}

/// The number behind a name in a receipt; nothing when it is unknown.
fn number(receipt: &str, name: &str) -> Option<i64> {
    let value = receipt.split(' ').skip_while(|word| *word != name).nth(1)?;
    value.strip_prefix(':')?.parse().ok()
}

fn token(cluster: &mut Cluster, client: Client) -> String {
    let reply = cluster.ask(client, "SESSION TOKEN");
    reply.split(' ').nth(1).unwrap_or_else(|| panic!("no token: {reply}")).to_string()
}

// catalogue: G2 G3
#[test]
fn a_session_that_moves_reads_its_own_write_while_the_copy_is_held_back() {
    let mut cluster = serving(3);
    let (leader, follower) = leader_and_follower(&cluster);
    let writer = cluster.connect(leader);
    assert_eq!(cluster.ask(writer, "SET comment first"), "+OK");
    cluster.run(100);
    cluster.behind.insert(follower);
    assert_eq!(cluster.ask(writer, "SET comment second"), "+OK");
    let token = token(&mut cluster, writer);

    let stranger = cluster.connect(follower);
    assert_eq!(cluster.ask(stranger, "READONLY"), "+OK");
    assert_eq!(
        cluster.ask(stranger, "GET comment"),
        "$5 first",
        "whoever has no token sees the copy as it is"
    );
    let reader = cluster.connect(follower);
    assert_eq!(cluster.ask(reader, "CONSISTENCY READ follower"), "+OK");
    assert_eq!(cluster.ask(reader, &format!("SESSION RESUME {token}")), "+OK");
    assert_eq!(cluster.ask(reader, "GET comment"), "$6 second");
    assert_eq!(role(&mut cluster, reader), "forwarded");
    // What it read there it does not lose, and neither does whoever goes on from it.
    let next = self::token(&mut cluster, reader);
    let third = cluster.connect(follower);
    assert_eq!(cluster.ask(third, "READONLY"), "+OK");
    assert_eq!(cluster.ask(third, &format!("SESSION RESUME {next}")), "+OK");
    assert_eq!(cluster.ask(third, "GET comment"), "$6 second");

    cluster.behind.clear();
    cluster.run(600);
    assert_eq!(cluster.ask(reader, "GET comment"), "$6 second");
    assert_eq!(role(&mut cluster, reader), "follower");
}

/// A copy that is a moment behind is waited for: the leader need not answer.
#[test]
fn a_copy_that_is_a_moment_behind_is_waited_for() {
    let mut cluster = serving(3);
    let (leader, follower) = leader_and_follower(&cluster);
    let writer = cluster.connect(leader);
    let reader = cluster.connect(follower);
    assert_eq!(cluster.ask(reader, "READONLY"), "+OK");
    for n in 0..20 {
        assert_eq!(cluster.ask(writer, &format!("SET a {n}")), "+OK");
        let token = token(&mut cluster, writer);
        assert_eq!(cluster.ask(reader, &format!("SESSION RESUME {token}")), "+OK");
        assert_eq!(cluster.ask(reader, "GET a"), format!("${} {n}", n.to_string().len()));
        assert_eq!(role(&mut cluster, reader), "follower");
    }
    assert!(cluster.nodes[&follower].statistics().reads_parked > 0);
}

#[test]
fn a_token_waits_for_the_commands_before_it() {
    let mut cluster = serving(3);
    let (_, follower) = leader_and_follower(&cluster);
    let (client, reader) = (cluster.connect(follower), cluster.connect(follower));
    assert_eq!(cluster.ask(client, "READONLY"), "+OK");
    cluster.send(client, "SET a 1");
    cluster.send(client, "GET a");
    cluster.send(client, "SESSION TOKEN");
    assert_eq!(cluster.received(client), "");
    cluster.run(200);
    let replies = cluster.received(client);
    assert!(replies.starts_with("+OK $1 1 $"), "{replies}");
    let token = replies.rsplit(' ').next().unwrap_or_default();
    assert_eq!(cluster.ask(reader, "READONLY"), "+OK");
    assert_eq!(cluster.ask(reader, &format!("SESSION RESUME {token}")), "+OK");
    assert_eq!(cluster.ask(reader, "GET a"), "$1 1");
}

/// The refusal of a node that was asked earlier arrives again before the leader's answer.
// catalogue: G2
#[test]
fn an_answer_counts_whatever_was_heard_of_its_request_before() {
    let mut cluster = serving(3);
    let (leader, follower) = leader_and_follower(&cluster);
    let third = (1..=3).map(NodeId).find(|id| *id != leader && *id != follower).expect("three nodes");
    let process = cluster.process_of(follower);
    for from in [third, leader] {
        let writer = cluster.connect(follower);
        let before = token(&mut cluster, writer);
        cluster.send(writer, "SET a 1");
        for sequence in 0..100 {
            let request = RequestId { origin: follower, process, sequence };
            let outcome = ForwardOutcome::NotLeader;
            cluster.deliver(from, follower, PeerMessage::Answer { request, outcome });
        }
        cluster.run(50);
        assert_eq!(cluster.received(writer), "+OK");
        let receipt = cluster.ask(writer, "RECEIPT");
        assert!(receipt.contains(&format!("node $2 n{}", leader.0)), "{receipt}");
        assert_ne!(token(&mut cluster, writer), before, "the session has seen its own write");
    }
}

/// A leader was followed by another one that lacks what a session saw, and the node in between has not heard of it: what it is told
/// waits until it can say what was lost.
// bugs: SL-05
#[test]
fn an_answer_waits_until_the_election_before_it_is_known() {
    let mut cluster = serving(3);
    let (leader, follower) = leader_and_follower(&cluster);
    let process = cluster.process_of(follower);
    let reader = cluster.connect(follower);
    assert_eq!(cluster.ask(reader, "SET a 1"), "+OK");
    let token = token(&mut cluster, reader);
    assert_eq!(cluster.ask(reader, &format!("SESSION RESUME {token}")), "+OK");
    cluster.send(reader, "GET a");
    let told = |cluster: &mut Cluster, seen: Position| {
        for sequence in 0..100 {
            let request = RequestId { origin: follower, process, sequence };
            let bytes = Bytes::from_static(b"$-1\r\n");
            let outcome = ForwardOutcome::Reply { bytes, position: Position::default(), seen: Some(seen) };
            cluster.deliver(leader, follower, PeerMessage::Answer { request, outcome });
        }
    };
    told(&mut cluster, Position::new(1000, 1));
    assert_eq!(cluster.received(reader), "", "nobody knows what epoch 1000 kept");
    // The leader that this node knows answers too.
    cluster.run(50);
    assert_eq!(cluster.received(reader), "$1 1");

    // And where nobody else does, the time is over at some time.
    cluster.cut.insert((leader, follower));
    cluster.send(reader, "GET a");
    told(&mut cluster, Position::new(1000, 1));
    cluster.run(3000);
    let late = cluster.received(reader);
    assert!(late.starts_with("-TRYAGAIN this node has not heard"), "{late}");
}

// bugs: SL-05
#[test]
fn a_session_whose_history_is_lost_is_told_and_never_goes_back_in_silence() {
    let mut cluster = serving(3);
    let client = cluster.connect(NodeId(1));
    assert_eq!(cluster.ask(client, "KEYSPACE CREATE quick SINGLE-LEADER COMMIT async"), "+OK");
    assert_eq!(cluster.ask(client, "SELECT quick"), "+OK");
    assert_eq!(cluster.ask(client, "SET a kept"), "+OK");
    cluster.run(200);
    let leader = cluster.leader_of("quick").expect("a leader");
    let others: Vec<NodeId> = (1..=3).map(NodeId).filter(|n| *n != leader).collect();
    let writer = cluster.connect(leader);
    assert_eq!(cluster.ask(writer, "SELECT quick"), "+OK");
    let early = token(&mut cluster, writer);
    cluster.behind.extend(others.iter().copied());
    assert_eq!(cluster.ask(writer, "SET a lost"), "+OK");
    let late = token(&mut cluster, writer);
    let survivor = cluster.connect(others[0]);
    assert_eq!(cluster.ask(survivor, "SELECT quick"), "+OK");
    assert_eq!(cluster.ask(survivor, &format!("SESSION RESUME {late}")), "+OK", "it is there still");
    cluster.kill(leader);
    cluster.behind.clear();
    cluster.run(3000);

    let lost = cluster.ask(survivor, "GET a");
    assert!(lost.starts_with("-TOKENLOST "), "{lost}");
    assert!(cluster.ask(survivor, "GET a").starts_with("-TOKENLOST "), "once told is not enough");
    assert!(cluster.ask(survivor, "SET a new").starts_with("-TOKENLOST "), "nothing was done");
    // However far the log has grown since, the position is not reached by its number.
    let other = cluster.connect(others[1]);
    assert_eq!(cluster.ask(other, "SELECT quick"), "+OK");
    for n in 0..20 {
        assert_eq!(cluster.ask(other, &format!("SET b {n}")), "+OK");
    }
    let refused = cluster.ask(other, &format!("SESSION RESUME {late}"));
    assert!(refused.starts_with("-TOKENLOST "), "{refused}");
    assert_eq!(cluster.ask(other, &format!("SESSION RESUME {early}")), "+OK");
    assert_eq!(cluster.ask(other, "GET a"), "$4 kept");
    assert_eq!(cluster.ask(survivor, "SESSION RESET"), "+OK");
    assert_eq!(cluster.ask(survivor, "GET a"), "$4 kept");
}

#[test]
fn what_is_no_token_of_this_cluster_changes_nothing() {
    let mut cluster = serving(1);
    let client = cluster.connect(NodeId(1));
    assert_eq!(cluster.ask(client, "SET a 1"), "+OK");
    let good = token(&mut cluster, client);
    let foreign = protocol::session::Positions::default().token(7, &Default::default()).expect("short");
    for bad in ["x", "ts1_", &good[..good.len() - 1], &foreign, &good.replace("ts1_", "ts2_")] {
        let refused = cluster.ask(client, &format!("SESSION RESUME {bad}"));
        assert!(refused.starts_with("-TOKENINVALID "), "{bad}: {refused}");
    }
    assert_eq!(token(&mut cluster, client), good);
    for bad in ["CONSISTENCY READ any", "CONSISTENCY READ", "CONSISTENCY READ follower LEVEL x", "SESSION NO"]
    {
        assert!(cluster.ask(client, bad).starts_with("-ERR "), "{bad}");
    }
}

/// A node that restarted alone knows an old map: it may take for its own what moved away since.
// catalogue: G2 H4
#[test]
fn a_token_keeps_what_its_session_knew_of_the_map() {
    let mut cluster = serving(1);
    let client = cluster.connect(NodeId(1));
    let id = cluster.nodes[&NodeId(1)].map().cluster;
    let mut known = protocol::session::Positions::default();
    known.note(data::id::CONTROL_GROUP, data::Position::new(1, 1_000_000));
    assert_eq!(
        cluster
            .ask(client, &format!("SESSION RESUME {}", known.token(id, &Default::default()).expect("short"))),
        "+OK"
    );
    assert_eq!(cluster.ask(client, "CONSISTENCY READ follower"), "+OK");
    let handed_on = token(&mut cluster, client);
    let (handed_on, _) = protocol::session::Positions::from_token(handed_on.as_bytes(), id).expect("a token");
    assert_eq!(handed_on.newest_epoch(data::id::CONTROL_GROUP), data::Epoch(1));
}

// catalogue: G1
#[test]
fn a_bound_of_staleness_is_proved_or_the_leader_answers() {
    let mut cluster = serving(3);
    let (leader, follower) = leader_and_follower(&cluster);
    let writer = cluster.connect(leader);
    let reader = cluster.connect(follower);
    assert_eq!(cluster.ask(writer, "SET a old"), "+OK");
    cluster.run(100);
    assert_eq!(cluster.ask(reader, "CONSISTENCY READ follower SESSION off MAX-STALENESS 100"), "+OK");
    for _ in 0..20 {
        assert_eq!(cluster.ask(reader, "GET a"), "$3 old");
        let receipt = cluster.ask(reader, "RECEIPT");
        assert!(receipt.contains("$4 role $8 follower"), "{receipt}");
        assert!(number(&receipt, "staleness-ms-max").is_some_and(|ms| ms <= 100), "{receipt}");
        cluster.run(30);
    }
    cluster.behind.insert(follower);
    assert_eq!(cluster.ask(writer, "SET a new"), "+OK");
    // Not older than it may be, yet.
    assert_eq!(cluster.ask(reader, "GET a"), "$3 old");
    cluster.run(200);
    assert_eq!(cluster.ask(reader, "GET a"), "$3 new");
    assert_eq!(role(&mut cluster, reader), "forwarded");
    assert_eq!(cluster.ask(reader, "CONSISTENCY MAX-STALENESS none"), "+OK");
    assert_eq!(cluster.ask(reader, "GET a"), "$3 old");
    // A copy that nobody can prove anything of answers nobody who asks for a bound.
    for other in (1..=3).map(NodeId).filter(|n| *n != follower) {
        cluster.cut.insert((other, follower));
    }
    assert_eq!(cluster.ask(reader, "CONSISTENCY MAX-STALENESS 150"), "+OK");
    let refused = cluster.ask(reader, "GET a");
    assert!(refused.starts_with("-TRYAGAIN") || refused.starts_with("-CLUSTERDOWN"), "{refused}");
}

// catalogue: G1
#[test]
fn a_bound_of_nothing_reads_from_a_copy_what_a_leader_would_show() {
    let mut cluster = serving(3);
    let (leader, follower) = leader_and_follower(&cluster);
    let writer = cluster.connect(leader);
    let reader = cluster.connect(follower);
    assert_eq!(cluster.ask(reader, "CONSISTENCY READ nearest SESSION off MAX-STALENESS 0"), "+OK");
    for n in 0..20 {
        assert_eq!(cluster.ask(writer, &format!("SET a {n}")), "+OK");
        assert_eq!(cluster.ask(reader, "GET a"), format!("${} {n}", n.to_string().len()));
    }
    assert!(cluster.nodes[&follower].statistics().reads_from_copies > 10);
}

// bugs: SL-21
#[test]
fn a_copy_that_is_still_being_made_is_not_shown() {
    let mut cluster = serving(3);
    let (leader, follower) = leader_and_follower(&cluster);
    let writer = cluster.connect(leader);
    assert_eq!(cluster.ask(writer, "SET a 1"), "+OK");
    cluster.run(100);
    cluster.kill(follower);
    assert_eq!(cluster.ask(writer, "SET a 2"), "+OK");
    cluster.behind.insert(follower);
    cluster.start(follower);
    cluster.run(500);
    let reader = cluster.connect(follower);
    assert_eq!(cluster.ask(reader, "READONLY"), "+OK");
    assert_eq!(cluster.ask(reader, "GET a"), "$1 2");
    assert_eq!(role(&mut cluster, reader), "forwarded");
    cluster.behind.clear();
    cluster.run(1000);
    assert_eq!(cluster.ask(reader, "GET a"), "$1 2");
    assert_eq!(role(&mut cluster, reader), "follower");
}

// catalogue: G5
#[test]
fn a_read_replica_is_read_and_never_counted() {
    let mut cluster = serving(5);
    let client = cluster.connect(NodeId(1));
    assert_eq!(cluster.ask(client, "KEYSPACE CREATE far SINGLE-LEADER REPLICAS 3 READ-REPLICAS 1"), "+OK");
    assert_eq!(cluster.ask(client, "SELECT far"), "+OK");
    assert_eq!(cluster.ask(client, "SET a 1"), "+OK");
    cluster.run(300);
    let members = cluster.members_of("far");
    let reader = *cluster.read_replicas_of("far").first().expect("a read replica");
    assert_eq!((members.len(), cluster.electable("far"), members.contains(&reader)), (3, 3, false));
    let at_reader = cluster.connect(reader);
    assert_eq!(cluster.ask(at_reader, "SELECT far"), "+OK");
    assert_eq!(cluster.ask(at_reader, "READONLY"), "+OK");
    assert_eq!(cluster.ask(at_reader, "GET a"), "$1 1");
    assert_eq!(role(&mut cluster, at_reader), "follower");
    assert_eq!(cluster.ask(at_reader, "SET a 2"), "+OK");
    assert_eq!(
        cluster.ask(at_reader, "WAIT 3 200"),
        ":2",
        "two followers there are, and a read replica is none"
    );

    // With two of three members gone it makes no majority, and leads nothing.
    let leader = cluster.leader_of("far").expect("a leader");
    let gone: Vec<NodeId> =
        members.iter().copied().filter(|n| *n != leader && *n != NodeId(1)).take(2).collect();
    for node in gone.iter().filter(|_| gone.len() == 2) {
        cluster.kill(*node);
    }
    if gone.len() == 2 {
        let writer = cluster.connect(leader);
        assert_eq!(cluster.ask(writer, "SELECT far"), "+OK");
        let refused = cluster.ask(writer, "SET a 3");
        assert!(refused.starts_with("-NOREPLICAS") || refused.starts_with("-INDETERMINATE"), "{refused}");
        for node in gone {
            cluster.start(node);
        }
        cluster.run(2000);
    }

    // Their number changes live; without its copy the node answers nothing by itself.
    let client = cluster.connect(NodeId(1));
    assert_eq!(cluster.ask(client, "KEYSPACE ALTER far READ-REPLICAS 2"), "+OK");
    cluster.run(1000);
    assert_eq!(cluster.read_replicas_of("far").len(), 2);
    assert_eq!(cluster.electable("far"), 3);
    assert_eq!(cluster.ask(client, "KEYSPACE ALTER far READ-REPLICAS 0"), "+OK");
    cluster.run(1000);
    assert!(cluster.read_replicas_of("far").is_empty());
    assert!(cluster.ask(at_reader, "GET a").starts_with('$'));
    assert_eq!(role(&mut cluster, at_reader), "forwarded");
}
