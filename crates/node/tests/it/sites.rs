//! Multi-leader keyspaces on whole nodes: sites that write by themselves, cuts, failovers, restarts, topologies, new sites.
// catalogue: I1 I2 I3 I4 I6 I7 I8 J1 J3 J7 J9 J14 J17 J18
// bugs: ML-01, ML-03, ML-11, ML-24, LL-02, TC-79

use crate::cluster::served;
use crate::rig::{Client, Cluster};
use data::NodeId;

const SITES: [&str; 3] = ["eu", "us", "ap"];

/// So many nodes at three sites, a keyspace with these options, and a client at each node.
pub fn with(nodes: u32, options: &str) -> (Cluster, Vec<Client>) {
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

pub fn insists(cluster: &mut Cluster, client: Client, line: &str, wanted: &str) {
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
pub fn cut(cluster: &mut Cluster, site: &str, is_cut: bool) {
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
        ("KEYSPACE CREATE other MULTI-LEADER CONFLICT ask", "-ERR CONFLICT does not take 'ask'"),
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
    // Of what it wrote at the site that has gone nobody can tell any more, and it does not wait for ever to hear that.
    assert_eq!(cluster.ask(clients[0], "SELECT 0"), "+OK");
    assert!(cluster.ask(clients[0], "WAIT 1 0").starts_with(':'));
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

    let (mut cluster, clients) = with(3, "CONFLICT home FORWARD off");
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

/// What it wrote would be held back by all other sites until that time has come.
#[test]
fn a_leader_whose_clock_jumped_ahead_refuses_to_write() {
    const HOUR: i64 = 3_600_000;
    let (mut cluster, clients) = with(3, "CONFLICT last-write-wins");
    assert_eq!(cluster.ask(clients[0], "SET a 1"), "+OK");
    insists(&mut cluster, clients[1], "GET a", "$1 1");
    cluster.skew_ms.insert(NodeId(1), HOUR);
    let reply = cluster.ask(clients[0], "SET a 2");
    assert!(reply.starts_with("-TRYAGAIN the clock of this site's leader is 3"), "{reply}");
    assert_eq!(cluster.ask(clients[0], "GET a"), "$1 1", "nothing was written");
    // A clock that is behind disturbs the others as little.
    cluster.skew_ms.insert(NodeId(3), -HOUR);
    cluster.run(1000);
    assert_eq!(cluster.ask(clients[1], "SET a 3"), "+OK");
    insists(&mut cluster, clients[0], "GET a", "$1 3");
    cluster.skew_ms.clear();
    cluster.run(1000);
    assert_eq!(cluster.ask(clients[0], "SET a 4"), "+OK");
    // What was heard before goes on: a site that is cut off finds the jump of its clock too.
    cut(&mut cluster, "eu", true);
    assert_eq!(cluster.ask(clients[0], "SET a 5"), "+OK");
    cluster.run(2000);
    cluster.skew_ms.insert(NodeId(1), HOUR);
    assert!(cluster.ask(clients[0], "SET a 6").starts_with("-TRYAGAIN the clock"));
    cluster.run(50);
    cluster.skew_ms.clear();
    cluster.run(50);
    assert_eq!(cluster.ask(clients[0], "SET a 7"), "+OK");
    let info = cluster.ask(clients[0], "INFO sites");
    assert!(info.contains("sites_clock_ahead:2"), "{info}");
    cut(&mut cluster, "eu", false);
    insists(&mut cluster, clients[1], "GET a", "$1 7");
    is_equal(&mut cluster);
}

/// The value behind a name in a reply, as words.
fn field(reply: &str, name: &str) -> String {
    let mut words = reply.split(' ').skip_while(|word| *word != name);
    words.nth(2).unwrap_or_default().to_string()
}

/// Two sites that do not hear each other set a price, 100 and 150, and meet.
fn priced(policy: &str) -> (Cluster, Vec<Client>) {
    let (mut cluster, clients) = with(3, &format!("CONFLICT {policy}"));
    assert_eq!(cluster.ask(clients[0], "SET price 10"), "+OK");
    insists(&mut cluster, clients[1], "GET price", "$2 10");
    cut(&mut cluster, "us", true);
    assert_eq!(cluster.ask(clients[0], "SET price 100"), "+OK");
    cluster.run(20);
    assert_eq!(cluster.ask(clients[1], "SET price 150"), "+OK");
    cluster.run(500);
    cut(&mut cluster, "us", false);
    is_equal(&mut cluster);
    (cluster, clients)
}

fn items_of(list: &str) -> Vec<String> {
    let words: Vec<&str> = list.split(' ').collect();
    words.windows(3).filter(|it| it[0] == "id").map(|it| it[2].to_string()).collect()
}

/// Whatever the policy, all sites show one price, each says the same of the conflict, and a word on it counts everywhere.
#[test]
fn price_at_two_sites_is_told_of_and_settled_anywhere() {
    for (policy, state) in [("crdt", "decided"), ("siblings", "open"), ("last-write-wins", "decided")] {
        let (mut cluster, clients) = priced(policy);
        for client in &clients {
            assert_eq!(
                cluster.ask(*client, "GET price"),
                "$3 150",
                "{policy}: the later stamp, never swapped"
            );
            let list = cluster.ask(*client, "INBOX LIST world");
            assert_eq!(items_of(&list).len(), 1, "{policy}: {list}");
            let reply = cluster.ask(*client, &format!("INBOX GET {}", items_of(&list)[0]));
            assert_eq!((field(&reply, "state"), field(&reply, "policy")), (state.into(), policy.into()));
            assert!(reply.contains("$3 100") && reply.contains("$3 150"), "{reply}");
            assert!(reply.contains("$4 site $2 eu") && reply.contains("$4 site $2 us"), "{reply}");
        }
        let item = items_of(&cluster.ask(clients[0], "INBOX LIST")).remove(0);
        assert_eq!(cluster.ask(clients[2], "CLIENT SETNAME ann"), "+OK");
        assert_eq!(cluster.ask(clients[2], &format!("INBOX RESOLVE {item} VALUE 120")), "+OK");
        is_equal(&mut cluster);
        for client in &clients {
            assert_eq!(cluster.ask(*client, "GET price"), "$3 120", "{policy}");
            let reply = cluster.ask(*client, &format!("INBOX GET {item}"));
            assert_eq!((field(&reply, "state"), field(&reply, "how")), ("settled".into(), "resolved".into()));
            assert!(reply.contains("ann ") && reply.contains("at n3"), "{reply}");
        }
        assert_eq!(cluster.ask(clients[1], &format!("INBOX ACK {item}")), "+OK");
        is_equal(&mut cluster);
        assert!(cluster.ask(clients[0], "INBOX LIST").starts_with("*8 $5 items *0"));
    }
}

/// A write that ends a conflict says what it ended; two words on one conflict are both in its trail, and all sites agree.
#[test]
fn what_ended_a_conflict_stays_in_the_inbox() {
    let (mut cluster, clients) = priced("siblings");
    let item = items_of(&cluster.ask(clients[0], "INBOX LIST")).remove(0);
    cut(&mut cluster, "ap", true);
    assert_eq!(cluster.ask(clients[0], &format!("INBOX RESOLVE {item} KEEP 1")), "+OK");
    assert_eq!(cluster.ask(clients[2], &format!("INBOX RESOLVE {item} KEEP 0")), "+OK");
    assert_eq!(cluster.ask(clients[0], "GET price"), "$3 100");
    assert_eq!(cluster.ask(clients[2], "GET price"), "$3 150");
    cluster.run(500);
    cut(&mut cluster, "ap", false);
    is_equal(&mut cluster);
    let reply = cluster.ask(clients[1], &format!("INBOX GET {item}"));
    assert_eq!(reply.matches("$3 how $8 resolved").count(), 2, "{reply}");
    // The two words are a conflict of their own, which a write ends.
    let items = items_of(&cluster.ask(clients[1], "INBOX LIST"));
    assert_eq!(items.len(), 2, "{items:?}");
    assert_eq!(cluster.ask(clients[1], "SET price 7"), "+OK");
    is_equal(&mut cluster);
    let other = items.iter().find(|it| **it != item).expect("another one");
    let reply = cluster.ask(clients[2], &format!("INBOX GET {other}"));
    assert_eq!((field(&reply, "state"), field(&reply, "how")), ("settled".into(), "overwritten".into()));
    let info = cluster.ask(clients[0], "INFO sites");
    assert!(info.contains("sites_inbox_keys:1"), "{info}");
}

#[test]
fn subscribers_hear_of_conflicts_between_sites_once() {
    let (mut cluster, clients) = with(3, "CONFLICT siblings");
    let listener = cluster.connect(NodeId(3));
    assert_eq!(cluster.ask(listener, "INBOX SUBSCRIBE world"), "*3 $9 subscribe $11 inbox:world :1");
    cut(&mut cluster, "us", true);
    assert_eq!(cluster.ask(clients[0], "SET price 100"), "+OK");
    assert_eq!(cluster.ask(clients[1], "SET price 150"), "+OK");
    cluster.run(500);
    cut(&mut cluster, "us", false);
    is_equal(&mut cluster);
    cluster.run(500);
    let heard = cluster.received(listener);
    assert_eq!(heard.matches("\"state\":\"conflict\"").count(), 1, "{heard}");
}

/// The site that a receipt names.
fn home_of(cluster: &mut Cluster, client: Client, key: &str) -> String {
    let receipt = receipt_of(cluster, client, &format!("SET {key} v"));
    field(&receipt, "site")
}

/// Under `home` any node takes any command; a key's commands are executed at one site, reads too, and it moves while they go on.
// catalogue: J3 J4
#[test]
fn commands_go_to_the_home_of_their_key_and_homes_move_live() {
    let (mut cluster, clients) = with(9, "REPLICAS 3 COMMIT majority CONFLICT home");
    let mut homes = std::collections::BTreeSet::new();
    for n in 0..12 {
        let key = format!("k{n}");
        let of: Vec<String> = clients[..3].iter().map(|it| home_of(&mut cluster, *it, &key)).collect();
        assert!(of.iter().all(|site| *site == of[0]), "one home for all: {of:?}");
        homes.insert(of[0].clone());
    }
    assert_eq!(homes.len(), 3, "slots are divided among the founders");
    // Who holds a write is asked of the group that took it, wherever that is.
    for n in 0..12 {
        let receipt = receipt_of(&mut cluster, clients[n % 9], &format!("SET k{n} w"));
        assert!(receipt.contains("holders *2 ") || receipt.contains("holders *3 "), "{receipt}");
    }
    // One order for each key: whoever reads sees what was acknowledged anywhere.
    for n in 0..30 {
        let (writer, reader) = (clients[n % 9], clients[(n + 1) % 9]);
        assert_eq!(cluster.ask(writer, "INCR n"), format!(":{}", n + 1));
        assert_eq!(cluster.ask(reader, "GET n"), format!("${} {}", (n + 1).to_string().len(), n + 1));
    }
    let from = home_of(&mut cluster, clients[0], "price");
    let to = SITES.iter().find(|site| **site != from).expect("another one");
    let admin = cluster.connect(NodeId(6));
    for n in 0..40 {
        if n == 20 {
            // Behind this reply the old home refuses; the new one may not have heard yet.
            cluster.send(admin, &format!("KEYSPACE MOVE-HOME world price TO {to}"));
        }
        assert_eq!(cluster.ask(clients[n % 9], &format!("SET price {n}")), "+OK");
        let shown = format!("${} {n}", n.to_string().len());
        assert_eq!(cluster.ask(clients[(n + 4) % 9], "GET price"), shown);
    }
    assert_eq!(cluster.received(admin), "+OK");
    assert_eq!(home_of(&mut cluster, clients[0], "price"), *to);
    is_equal(&mut cluster);
    for (key, client) in clients.iter().enumerate().map(|(at, client)| (format!("k{at}"), *client)) {
        let home = home_of(&mut cluster, client, &key);
        let shown = cluster.ask(client, &format!("KEYSPACE HOME world {key}"));
        assert!(shown.contains(&format!("site ${} {home} ", home.len())), "{home}: {shown}");
        assert!(shown.contains("leader $2 n"), "{shown}");
    }
    let shown = cluster.ask(clients[1], "KEYSPACE HOME world price");
    assert!(shown.contains(&format!("site $2 {to} ")), "{to}: {shown}");
    for (line, error) in [
        ("KEYSPACE MOVE-HOME world price", "-ERR KEYSPACE MOVE-HOME"),
        ("KEYSPACE MOVE-HOME world price INTO eu", "-ERR KEYSPACE MOVE-HOME"),
        ("KEYSPACE MOVE-HOME world price TO sa", "-ERR no such site"),
        ("KEYSPACE MOVE-HOME none price TO eu", "-ERR no such keyspace"),
        ("KEYSPACE MOVE-HOME 0 price TO eu", "-ERR keys have a home in"),
        ("KEYSPACE HOME none price", "-ERR no such keyspace"),
        ("KEYSPACE HOME 0 price", "-ERR keys have a home in"),
        ("KEYSPACE HOME world", "-ERR"),
        ("MSET a 1 b 2", "-CROSSSLOT"),
    ] {
        let reply = cluster.ask(clients[0], line);
        assert!(reply.starts_with(error), "{line}: {reply}");
    }
}

/// A home that cannot be reached refuses nobody else's keys; what was sent there is not done elsewhere; what is asked of a copy is answered.
#[test]
fn a_home_out_of_reach_takes_its_keys_along_and_copies_still_answer() {
    let (mut cluster, clients) = with(9, "REPLICAS 3 COMMIT majority CONFLICT home");
    let key_at = |cluster: &mut Cluster, site: &str| {
        let mut keys = (0..64).map(|n| format!("k{n}"));
        keys.find(|key| home_of(cluster, clients[0], key) == site).expect("a key at home there")
    };
    let (near, far) = (key_at(&mut cluster, "eu"), key_at(&mut cluster, "us"));
    is_equal(&mut cluster);
    cut(&mut cluster, "us", true);
    cluster.run(50);
    assert_eq!(cluster.ask(clients[0], &format!("SET {near} 1")), "+OK");
    cluster.send(clients[0], &format!("SET {far} 1"));
    cluster.run(2500);
    let reply = cluster.received(clients[0]);
    assert!(reply.starts_with("-INDETERMINATE") || reply.starts_with("-CLUSTERDOWN"), "{reply}");
    assert_eq!(cluster.ask(clients[0], "CONSISTENCY READ nearest"), "+OK");
    assert_eq!(cluster.ask(clients[0], &format!("GET {far}")), "$1 v");
    cut(&mut cluster, "us", false);
    insists(&mut cluster, clients[1], &format!("SET {far} 2"), "+OK");
    is_equal(&mut cluster);
    assert_eq!(cluster.ask(clients[2], &format!("GET {far}")), "$1 2");
}

/// A write that follows another one at once is at the other sites as soon as that one.
// catalogue: I3
#[test]
fn writes_one_after_the_other_do_not_wait_for_a_timer() {
    let (mut cluster, clients) = with(3, "");
    assert_eq!(cluster.ask(clients[0], "SET a begun"), "+OK");
    insists(&mut cluster, clients[1], "GET a", "$5 begun");
    for n in 0..20 {
        assert_eq!(cluster.ask(clients[0], &format!("SET a {n}")), "+OK");
        let written = cluster.now_ms;
        while cluster.ask(clients[1], "GET a").split(' ').next_back() != Some(&n.to_string()) {
            assert!(cluster.now_ms < written + 100, "write {n} is not there after 100 ms");
            cluster.run(1);
        }
        println!("{n}: {} ms", cluster.now_ms - written);
    }
}
