//! CONFLICT block: a majority of the sites agrees to a write before it is made, and of two writes of a key that do not know of each
//! other one is refused.
// catalogue: J2
// bugs: TC-85, TC-86, TC-87

use crate::rig::{Client, Cluster};
use crate::sites::{cut, insists, with};
use data::RequestId;
use node::PeerMessage;
use node::message::ForwardOutcome;

fn exec(cluster: &mut Cluster, client: Client, lines: &[&str]) -> String {
    assert_eq!(cluster.ask(client, "MULTI"), "+OK");
    for line in lines {
        assert_eq!(cluster.ask(client, line), "+QUEUED", "{line}");
    }
    cluster.ask(client, "EXEC")
}

#[test]
fn every_write_sees_the_one_before_it() {
    let (mut cluster, clients) = with(3, "CONFLICT block");
    // One after the other, from site to site: each either saw all before it, or was refused.
    let (mut told, mut refused) = (Vec::new(), 0);
    for turn in 0..60 {
        let reply = cluster.ask(clients[turn % 3], "INCR n");
        match reply.strip_prefix(':') {
            Some(number) => told.push(number.parse::<u64>().expect("a number")),
            None => {
                assert!(reply.starts_with("-CONFLICT"), "{reply}");
                refused += 1;
            }
        }
        cluster.run(if turn % 2 == 0 { 0 } else { 20 });
    }
    let numbers: Vec<u64> = (1..=told.len() as u64).collect();
    assert_eq!(told, numbers, "{refused} refused");
    assert!(told.len() > 20);
    for client in &clients {
        insists(&mut cluster, *client, "GET n", &format!("${} {}", told.len().to_string().len(), told.len()));
    }
}

#[test]
fn of_two_writers_at_the_same_moment_one_is_refused() {
    let (mut cluster, clients) = with(3, "CONFLICT block");
    for round in 0..30 {
        let keys = [format!("k{round}"), format!("k{round}"), format!("other{round}")];
        for ((client, key), value) in clients.iter().zip(&keys).zip(["100", "150", "7"]) {
            cluster.send(*client, &format!("SET {key} {value}"));
        }
        cluster.run(1_500);
        let replies: Vec<String> = clients.iter().map(|client| cluster.received(*client)).collect();
        let done = replies[..2].iter().filter(|reply| *reply == "+OK").count();
        assert!(done <= 1, "{replies:?}");
        assert!(
            replies[..2].iter().all(|reply| reply == "+OK" || reply.starts_with("-CONFLICT")),
            "{replies:?}"
        );
        assert_eq!(replies[2], "+OK", "another key is not concerned");
        let wanted = match replies.iter().position(|reply| reply == "+OK") {
            Some(0) => "$3 100",
            Some(1) => "$3 150",
            _ => "$-1",
        };
        for client in &clients {
            insists(&mut cluster, *client, &format!("GET k{round}"), wanted);
        }
    }
    let inbox = cluster.ask(clients[0], "INBOX LIST world");
    assert!(!inbox.contains("k1"), "there is nothing to settle: {inbox}");
}

#[test]
fn a_site_that_is_cut_off_takes_no_writes() {
    let (mut cluster, clients) = with(9, "REPLICAS 3 COMMIT majority CONFLICT block");
    assert_eq!(cluster.ask(clients[0], "SET a 1"), "+OK");
    insists(&mut cluster, clients[1], "GET a", "$1 1");
    // What was agreed is let go a moment after the write is there.
    cluster.run(500);
    cut(&mut cluster, "us", true);
    // At first for want of answers, then because nobody is there; never in doubt.
    for _ in 0..6 {
        let reply = cluster.ask(clients[1], "SET a us");
        assert!(reply.starts_with("-NOREPLICAS 2 sites must agree"), "{reply}");
        cluster.run(800);
    }
    assert_eq!(cluster.ask(clients[1], "GET a"), "$1 1", "what it has is still read");
    assert_eq!(cluster.ask(clients[0], "SET a eu"), "+OK", "two of three agree");
    assert_eq!(cluster.ask(clients[2], "SET b ap"), "+OK");
    cut(&mut cluster, "us", false);
    insists(&mut cluster, clients[1], "GET a", "$2 eu");
    insists(&mut cluster, clients[1], "SET a us", "+OK");
}

/// What a site agreed to outlives its leader, and what a dead leader had claimed is claimed no more.
#[test]
fn agreements_outlive_leaders_and_claims_do_not() {
    let (mut cluster, clients) = with(9, "REPLICAS 3 COMMIT majority CONFLICT block");
    let (mut last, mut done) = (0, 0);
    for round in 0..12 {
        let writers = [clients[round % 9], clients[(round + 4) % 9]];
        for client in writers {
            cluster.send(client, "INCR n");
        }
        // In the midst of it the leader of a site dies.
        cluster.run(if round % 3 == 0 { 1 } else { 4 });
        let at = cluster.nodes.keys().copied().nth(round % 9).expect("a node");
        if at == clients[0].node || writers.iter().any(|client| client.node == at) {
            cluster.run(3_000);
        } else {
            cluster.kill(at);
            cluster.run(3_000);
            cluster.start(at);
            cluster.run(3_000);
        }
        for client in writers {
            let reply = cluster.received(client);
            if let Some(number) = reply.strip_prefix(':').and_then(|it| it.parse::<u64>().ok()) {
                assert!(number > last, "{number} behind {last}: {reply}");
                last = number;
                done += 1;
            }
        }
    }
    assert!(done > 3, "{done}");
    // Nothing stays claimed.
    let client = cluster.connect(clients[0].node);
    assert_eq!(cluster.ask(client, "SELECT world"), "+OK");
    let mut reply = String::new();
    for _ in 0..50 {
        reply = cluster.ask(client, "SET n 0");
        if reply == "+OK" {
            return;
        }
        cluster.run(200);
    }
    panic!("{reply}");
}

/// A write that its leader has executed is answered when it is sent again, whatever the sites agree to by then.
#[test]
fn what_was_executed_needs_no_second_claim() {
    let (mut cluster, clients) = with(6, "REPLICAS 2 COMMIT majority CONFLICT block");
    assert_eq!(cluster.ask(clients[0], "INCR n"), ":1");
    let claims = |cluster: &mut Cluster, client: Client| {
        let info = cluster.ask(client, "INFO sites");
        let count = info.split("sites_claims:").nth(1).expect("counted").split_whitespace().next();
        count.and_then(|it| it.parse::<u64>().ok()).expect("a number")
    };
    let asked = [clients[0], clients[3]].map(|client| claims(&mut cluster, client));
    let (leader, follower) = if asked[0] > 0 { (clients[0], clients[3]) } else { (clients[3], clients[0]) };
    let before = claims(&mut cluster, leader);
    let (process, mut again) = (cluster.process_of(follower.node), 0);
    for round in 0..40 {
        cluster.send(follower, "INCR n");
        cluster.run(1 + round);
        let reply = cluster.received(follower);
        if reply.is_empty() {
            again += 1;
            for sequence in 0..200 {
                let request = RequestId { origin: follower.node, process, sequence };
                let outcome = ForwardOutcome::NotLeader;
                cluster.deliver(leader.node, follower.node, PeerMessage::Answer { request, outcome });
            }
            cluster.run(1_000);
            assert_eq!(cluster.received(follower), format!(":{}", round + 2));
        } else {
            assert_eq!(reply, format!(":{}", round + 2));
        }
    }
    assert!(again > 3, "{again}");
    assert_eq!(claims(&mut cluster, leader), before + 40, "one for each");
}

/// What a transaction watched, read and wrote has one order at all sites: compare and set.
#[test]
fn a_watched_transaction_compares_and_sets_across_sites() {
    let (mut cluster, clients) = with(3, "CONFLICT block");
    insists(&mut cluster, clients[0], "SET {b}alance 10", "+OK");
    insists(&mut cluster, clients[1], "GET {b}alance", "$2 10");
    assert_eq!(cluster.ask(clients[0], "WATCH {b}alance"), "+OK");
    assert_eq!(exec(&mut cluster, clients[1], &["DECRBY {b}alance 4", "SADD {b}ooked us"]), "*2 :6 :1");
    let reply = exec(&mut cluster, clients[0], &["DECRBY {b}alance 9"]);
    assert!(reply == "*-1" || reply.starts_with("-CONFLICT"), "{reply}");
    insists(&mut cluster, clients[0], "GET {b}alance", "$1 6");
    // What follows a write on its connection comes behind it.
    cluster.pipeline(clients[2], &["SET p 1", "GET p", "INCR p", "GET p"]);
    cluster.run(2_000);
    assert_eq!(cluster.received(clients[2]), "+OK $1 1 :2 $1 2");
    cluster.pipeline(clients[1], &["WITH RECEIPT DO SET r 1", "GET r", "MULTI", "INCR r", "EXEC", "GET r"]);
    cluster.run(2_000);
    let replies = cluster.received(clients[1]);
    assert!(replies.starts_with("*2 +OK") && replies.ends_with("$1 1 +OK +QUEUED *1 :2 $1 2"), "{replies}");
}

#[test]
fn what_does_not_go_with_it_is_refused() {
    let (mut cluster, clients) = with(3, "CONFLICT block");
    for line in ["KEYSPACE ALTER world SITES eu,us", "KEYSPACE ALTER world COMMIT async"] {
        let reply = cluster.ask(clients[0], line);
        assert!(reply.contains("CONFLICT block"), "{line}: {reply}");
    }
    let reply = cluster.ask(clients[0], "KEYSPACE CREATE loose MULTI-LEADER COMMIT async CONFLICT block");
    assert!(reply.contains("needs a commit rule that loses nothing"), "{reply}");
    assert_eq!(cluster.ask(clients[0], "KEYSPACE ALTER world TOPOLOGY circular"), "+OK");
    insists(&mut cluster, clients[2], "SET a 1", "+OK");
    let sheet = cluster.ask(clients[0], "KEYSPACE SHEET world");
    assert!(sheet.contains("one is refused with CONFLICT"), "{sheet}");
}
