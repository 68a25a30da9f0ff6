//! Multi-leader keyspaces on whole nodes: sites that write by themselves, cuts, failovers, restarts, topologies, new sites.
// catalogue: I1 I2 I3 I4 I6 I7 I8 J1 J3 J9 J17
// bugs: ML-01, ML-03, ML-11, ML-24

use crate::cluster::served;
use crate::rig::{Client, Cluster};
use data::NodeId;

const SITES: [&str; 3] = ["eu", "us", "ap"];

/// So many nodes at three sites, a keyspace with these options, and a client at each node.
fn with(nodes: u32, options: &str) -> (Cluster, Vec<Client>) {
    let mut cluster = served(Cluster::at_sites(nodes, &SITES));
    let client = cluster.connect(NodeId(1));
    let line = format!("KEYSPACE CREATE world MULTI-LEADER {options}");
    assert_eq!(cluster.ask(client, line.trim_end()), "+OK");
    cluster.run(300);
    let clients = clients_of(&mut cluster, nodes);
    (cluster, clients)
}

fn clients_of(cluster: &mut Cluster, nodes: u32) -> Vec<Client> {
    let clients: Vec<Client> = (1..=nodes).map(|node| cluster.connect(NodeId(node))).collect();
    for client in &clients {
        assert_eq!(cluster.ask(*client, "SELECT world"), "+OK");
    }
    clients
}

fn receipt_of(cluster: &mut Cluster, client: Client, line: &str) -> String {
    cluster.send(client, &format!("WITH RECEIPT DO {line}"));
    cluster.run(300);
    cluster.received(client)
}

fn insists(cluster: &mut Cluster, client: Client, line: &str, wanted: &str) {
    let mut reply = String::new();
    for _ in 0..150 {
        reply = cluster.ask(client, line);
        if reply == wanted {
            return;
        }
        cluster.run(100);
    }
    panic!("{line}: {reply}, not {wanted}\n{}", cluster.story.join("\n"));
}

/// Cuts a site off, or brings it back.
fn cut(cluster: &mut Cluster, site: &str, is_cut: bool) {
    let nodes: Vec<NodeId> = cluster.nodes.keys().copied().collect();
    for a in &nodes {
        for b in &nodes {
            if (cluster.site_of(*a) == site) != (cluster.site_of(*b) == site) {
                match is_cut {
                    true => cluster.cut.insert((*a, *b)),
                    false => cluster.cut.remove(&(*a, *b)),
                };
            }
        }
    }
}

/// What all copies hold in the end is equal.
fn is_equal(cluster: &mut Cluster) {
    let mut why = String::new();
    for _ in 0..200 {
        cluster.run(100);
        let states: Vec<_> = cluster.nodes.values().flat_map(|node| node.site_states()).collect();
        let first = states.first().expect("a copy").state;
        let same = |state: &&node::sites::SiteGroupState<'_>| {
            state.state.vector() == first.vector() && state.state.copy().tree() == first.copy().tree()
        };
        if states.iter().all(|state| same(&state)) {
            return;
        }
        why = format!("{:?}", states.iter().map(|it| (it.name, it.state.vector())).collect::<Vec<_>>());
    }
    panic!("{why}\n{}", cluster.story.join("\n"));
}

#[test]
fn each_site_writes_by_itself_and_all_see_it() {
    let (mut cluster, clients) = with(3, "");
    assert_eq!(cluster.ask(clients[0], "SET a 1"), "+OK");
    insists(&mut cluster, clients[1], "GET a", "$1 1");
    insists(&mut cluster, clients[2], "GET a", "$1 1");
    for client in &clients {
        for _ in 0..5 {
            assert!(cluster.ask(*client, "INCR n").starts_with(':'));
        }
        assert_eq!(cluster.ask(*client, &format!("SADD s m{}", client.node.0)), ":1");
    }
    for client in &clients {
        insists(&mut cluster, *client, "GET n", "$2 15");
        insists(&mut cluster, *client, "SCARD s", ":3");
    }
    assert!(cluster.ask(clients[0], "SETNX a 1").starts_with("-EXCLUSIVE"));
    assert!(cluster.ask(clients[0], "MULTI").starts_with("-EXCLUSIVE"));
    assert!(cluster.ask(clients[0], "INCR s").starts_with("-WRONGTYPE"));
    is_equal(&mut cluster);
}

/// An id is known to the log of one site: what was sent again at another one was done a second time.
#[test]
fn a_request_of_a_client_is_refused_where_only_one_site_would_know_it() {
    let (mut cluster, clients) = with(3, "");
    for client in &clients {
        let reply = cluster.ask(*client, "WITH REQUEST app:42 DO INCR n");
        assert!(reply.starts_with("-ERR REQUEST does not go with multi-leader keyspaces"), "{reply}");
        assert!(cluster.ask(*client, "WITH LEVEL flushed DO INCR m").starts_with(':'));
    }
    assert_eq!(cluster.ask(clients[0], "GET n"), "$-1");
    let sheet = cluster.ask(clients[0], "KEYSPACE SHEET world");
    assert!(sheet.contains("WITH REQUEST is refused"), "{sheet}");
}

#[test]
fn sites_that_are_cut_off_go_on_and_come_together_again() {
    let (mut cluster, clients) = with(9, "REPLICAS 3 COMMIT majority");
    assert_eq!(cluster.ask(clients[0], "SET price 10"), "+OK");
    insists(&mut cluster, clients[1], "GET price", "$2 10");
    cut(&mut cluster, "us", true);
    assert_eq!(cluster.ask(clients[0], "SET price 100"), "+OK");
    for _ in 0..20 {
        assert!(cluster.ask(clients[0], "INCR n").starts_with(':'));
    }
    // A site that is alone serves while its leader lives.
    assert_eq!(cluster.ask(clients[1], "SET price 150"), "+OK");
    for _ in 0..30 {
        assert!(cluster.ask(clients[1], "INCR n").starts_with(':'));
    }
    cluster.run(4000);
    cut(&mut cluster, "us", false);
    for client in &clients[..3] {
        insists(&mut cluster, *client, "GET n", "$2 50");
    }
    is_equal(&mut cluster);
    // Never swapped: what one site shows all do.
    let prices: Vec<String> = clients[..3].iter().map(|client| cluster.ask(*client, "GET price")).collect();
    assert!(prices.iter().all(|price| *price == prices[0] && price != "$2 10"), "{prices:?}");
}

#[test]
fn a_failover_within_a_site_loses_and_doubles_nothing() {
    let (mut cluster, clients) = with(9, "REPLICAS 3 COMMIT majority");
    let map = cluster.nodes[&NodeId(1)].map().clone();
    let eu = map.multi_leader.values().next().expect("it").site_named("eu").expect("eu").groups[0];
    let leader = map.leader_of(eu).expect("a leader");
    let other = clients.iter().find(|it| cluster.site_of(it.node) == "eu" && it.node != leader).copied();
    let other = other.expect("a follower");
    for _ in 0..10 {
        assert!(cluster.ask(other, "INCR n").starts_with(':'));
    }
    cluster.kill(leader);
    insists(&mut cluster, other, "INCR n", ":11");
    cluster.start(leader);
    for client in clients.iter().filter(|it| it.node != leader) {
        insists(&mut cluster, *client, "GET n", "$2 11");
    }
    is_equal(&mut cluster);
    // Everybody at once: the disks have it.
    let nodes: Vec<NodeId> = cluster.nodes.keys().copied().collect();
    nodes.iter().for_each(|node| cluster.kill(*node));
    nodes.iter().for_each(|node| cluster.start(*node));
    cluster.run(3000);
    let clients = clients_of(&mut cluster, 9);
    for client in clients {
        insists(&mut cluster, client, "GET n", "$2 11");
    }
}

#[test]
fn topologies_change_live_and_go_round_who_is_away() {
    let (mut cluster, clients) = with(3, "TOPOLOGY circular");
    assert_eq!(cluster.ask(clients[0], "SET a 1"), "+OK");
    insists(&mut cluster, clients[2], "GET a", "$1 1");
    assert_eq!(cluster.ask(clients[0], "KEYSPACE ALTER world TOPOLOGY star:us"), "+OK");
    assert_eq!(cluster.ask(clients[2], "SET a 2"), "+OK");
    insists(&mut cluster, clients[0], "GET a", "$1 2");
    // The hub is away.
    cut(&mut cluster, "us", true);
    assert_eq!(cluster.ask(clients[0], "SET a 3"), "+OK");
    insists(&mut cluster, clients[2], "GET a", "$1 3");
    let info = cluster.ask(clients[0], "KEYSPACE INFO world");
    assert!(info.contains("$6 detour $3 yes") || info.contains("$4 link $4 away"), "{info}");
    cut(&mut cluster, "us", false);
    insists(&mut cluster, clients[1], "GET a", "$1 3");
    for (line, error) in [
        ("KEYSPACE ALTER world TOPOLOGY star:sa", "-ERR TOPOLOGY names a site"),
        ("KEYSPACE ALTER world TOPOLOGY mesh", "-ERR TOPOLOGY is"),
        ("KEYSPACE ALTER world CONFLICT home", "-ERR CONFLICT of a keyspace stays"),
        ("KEYSPACE ALTER world SHARDS 2", "-ERR a multi-leader keyspace keeps"),
        ("KEYSPACE CREATE other MULTI-LEADER SITES eu,sa", "-ERR no node is at a site"),
        ("KEYSPACE CREATE other MULTI-LEADER SITES eu,eu", "-ERR SITES names a site twice"),
        ("KEYSPACE CREATE other MULTI-LEADER CONFLICT block", "-ERR CONFLICT does not take 'block'"),
        ("KEYSPACE CREATE other MULTI-LEADER CONFLICT home COMMIT async", "-ERR CONFLICT home needs"),
        ("KEYSPACE CREATE other MULTI-LEADER SITE eu", "-ERR SITE does not go with"),
    ] {
        let reply = cluster.ask(clients[0], line);
        assert!(reply.starts_with(error), "{line}: {reply}");
    }
    is_equal(&mut cluster);
}

#[test]
fn a_site_that_comes_later_copies_another_one_and_one_that_goes_is_forgotten() {
    let (mut cluster, clients) = with(3, "SITES eu,us");
    for n in 0..40 {
        assert_eq!(cluster.ask(clients[n % 2], &format!("SET k{n} {n}")), "+OK");
    }
    // A node elsewhere sends its clients' commands to one of the sites.
    assert_eq!(cluster.ask(clients[2], "SET far 1"), "+OK");
    let receipt = receipt_of(&mut cluster, clients[2], "SET far 2");
    assert!(receipt.contains("$4 site $2 "), "{receipt}");
    assert_eq!(cluster.ask(clients[0], "KEYSPACE ALTER world SITES eu,us,ap"), "+OK");
    insists(&mut cluster, clients[2], "GET k39", "$2 39");
    assert_eq!(cluster.ask(clients[2], "INCR n"), ":1");
    insists(&mut cluster, clients[0], "GET n", "$1 1");
    is_equal(&mut cluster);
    let receipt = receipt_of(&mut cluster, clients[2], "SET near 1");
    assert!(receipt.contains("$4 site $2 ap $5 stamp $"), "{receipt}");
    assert_eq!(cluster.ask(clients[0], "KEYSPACE ALTER world SITES us,ap"), "+OK");
    cluster.run(300);
    assert_eq!(cluster.ask(clients[1], "INCR n"), ":2");
    insists(&mut cluster, clients[2], "GET n", "$1 2");
    insists(&mut cluster, clients[0], "GET n", "$1 2");
}

#[test]
fn snapshots_stand_for_the_log_and_a_site_that_was_away_for_long_copies() {
    let mut cluster = Cluster::at_sites(3, &SITES);
    cluster.snapshot_log_bytes = 4096;
    let mut cluster = served(cluster);
    let client = cluster.connect(NodeId(1));
    assert_eq!(cluster.ask(client, "KEYSPACE CREATE world MULTI-LEADER"), "+OK");
    cluster.run(300);
    let clients = clients_of(&mut cluster, 3);
    cut(&mut cluster, "ap", true);
    for n in 0..400 {
        assert!(cluster.ask(clients[0], "INCR n").starts_with(':'));
        if n % 10 == 0 {
            assert_eq!(cluster.ask(clients[2], &format!("SET k{n} v")), "+OK");
        }
    }
    cluster.run(1000);
    cut(&mut cluster, "ap", false);
    insists(&mut cluster, clients[2], "GET n", "$3 400");
    insists(&mut cluster, clients[0], "GET k390", "$1 v");
    is_equal(&mut cluster);
    cluster.kill(NodeId(1));
    cluster.start(NodeId(1));
    cluster.run(3000);
    let again = cluster.connect(NodeId(1));
    assert_eq!(cluster.ask(again, "SELECT world"), "+OK");
    insists(&mut cluster, again, "GET n", "$3 400");
    assert_eq!(cluster.ask(again, "INCR n"), ":401");
    insists(&mut cluster, clients[1], "GET n", "$3 401");
}

#[test]
fn policies_settle_what_is_concurrent() {
    let (mut cluster, clients) = with(3, "CONFLICT last-write-wins");
    assert_eq!(cluster.ask(clients[0], "SET a 5"), "+OK");
    assert_eq!(cluster.ask(clients[0], "INCR a"), ":6");
    assert_eq!(cluster.ask(clients[0], "HSET h f 1 g 2"), ":2");
    insists(&mut cluster, clients[1], "GET a", "$1 6");
    cut(&mut cluster, "us", true);
    assert_eq!(cluster.ask(clients[1], "SET a early"), "+OK");
    cluster.run(50);
    assert_eq!(cluster.ask(clients[0], "SET a late"), "+OK");
    cut(&mut cluster, "us", false);
    for client in &clients {
        insists(&mut cluster, *client, "GET a", "$4 late");
    }
    is_equal(&mut cluster);

    let (mut cluster, clients) = with(3, "CONFLICT home");
    let replies: Vec<String> = clients.iter().map(|client| cluster.ask(*client, "SET a 1")).collect();
    assert_eq!(replies.iter().filter(|reply| *reply == "+OK").count(), 1, "{replies:?}");
    assert_eq!(
        replies.iter().filter(|reply| reply.starts_with("-HOME the key is at home at site")).count(),
        2
    );
    for client in &clients {
        insists(&mut cluster, *client, "GET a", "$1 1");
    }
}

#[test]
fn shards_of_a_keyspace_have_groups_in_each_site() {
    let (mut cluster, clients) = with(3, "SHARDS 3");
    for n in 0..30 {
        assert_eq!(cluster.ask(clients[n % 3], &format!("SET k{n} {n}")), "+OK");
    }
    for n in 0..30 {
        insists(
            &mut cluster,
            clients[(n + 1) % 3],
            &format!("GET k{n}"),
            &format!("${} {n}", n.to_string().len()),
        );
    }
    assert!(cluster.ask(clients[0], "MSET k1 a k2 b").starts_with("-CROSSSLOT"));
    assert_eq!(cluster.ask(clients[0], "MSET {k}1 a {k}2 b"), "+OK");
    let sheet = cluster.ask(clients[0], "KEYSPACE SHEET world");
    assert!(sheet.contains("multi-leader, sites ap,eu,us"), "{sheet}");
}
