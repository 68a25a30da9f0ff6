//! Copies with equal logs are compared: who differs is noticed, not shown, and made anew.
// catalogue: B5
// bugs: TC-40

use crate::rig::{Client, Cluster};
use data::{Index, NodeId};
use node::audit::Pace;

const KEYS: u32 = 200;

/// Three nodes, some keys in the numbered keyspace, and copies that are level and were compared.
fn filled(every_ms: u64) -> (Cluster, NodeId) {
    let mut cluster = Cluster::audited(3, every_ms);
    cluster.run(1000);
    let client = cluster.connect(NodeId(1));
    for n in 0..KEYS {
        assert_eq!(cluster.ask(client, &format!("SET key{n} value{n}")), "+OK");
    }
    cluster.run(2 * every_ms);
    let leader = cluster.leader().expect("a leader");
    (cluster, leader)
}
fn others(leader: NodeId) -> [NodeId; 2] {
    [NodeId(leader.0 % 3 + 1), NodeId((leader.0 + 1) % 3 + 1)]
}
/// Flips a bit of a node's table; the key whose value it was.
fn damage(cluster: &mut Cluster, id: NodeId) -> u32 {
    let group = cluster.group_of("0").expect("a group");
    assert!(cluster.nodes.get_mut(&id).expect("it runs").damage_table(group, 0x1234_5678_9abc_def0));
    let value = |n: &u32| {
        let key = format!("key{n}");
        let node = &cluster.nodes[&id];
        let state = node.group_states().find(|state| state.group == group).expect("a copy");
        let found = state.table.get(key.as_bytes()).expect("the key");
        found.value != data::value::ValueRef::String(format!("value{n}").as_bytes())
    };
    (0..KEYS).find(value).expect("a damaged value")
}
fn is_doubted(cluster: &Cluster, id: NodeId) -> bool {
    cluster.nodes[&id].group_states().any(|state| !state.audit.is_sound())
}
fn told(cluster: &Cluster, id: NodeId, word: &str) -> bool {
    let start = format!("n{} {word}", id.0);
    cluster.story.iter().any(|line| line.contains(&start))
}
fn status(cluster: &mut Cluster, id: NodeId) -> String {
    let client = cluster.connect(id);
    cluster.ask(client, "KEYSPACE STATUS")
}
fn reader(cluster: &mut Cluster, id: NodeId) -> Client {
    let client = cluster.connect(id);
    assert_eq!(cluster.ask(client, "READONLY"), "+OK");
    client
}
fn assert_level(cluster: &Cluster) {
    // The newest audit may be on its way: it changes nothing.
    let states = cluster.states();
    assert!(states.iter().all(|(_, hash)| *hash == states[0].1), "{states:?} {:#?}", cluster.story);
}

#[test]
fn equal_copies_are_compared_and_nobody_is_doubted() {
    let (mut cluster, leader) = filled(100);
    let client = cluster.connect(leader);
    for n in 0..50 {
        cluster.ask(client, &format!("RPUSH list{} a b c", n % 5));
        cluster.ask(client, &format!("ZADD z {n} m{n}"));
        cluster.ask(client, "SPOP set");
        cluster.ask(client, &format!("SADD set {n} {} {}", n + 1, n + 2));
        cluster.run(20);
    }
    cluster.run(500);
    assert_level(&cluster);
    for (id, node) in &cluster.nodes {
        assert!(!is_doubted(&cluster, *id));
        let s = node.statistics();
        let some = if *id == leader { s.audits_made } else { s.audits_compared };
        assert!(some > 10 && s.audits_differed == 0, "{id}: {some}");
    }
    let status = status(&mut cluster, leader);
    assert!(status.contains("\"alarm\":null") && !status.contains("\"doubted\":true"), "{status}");
}

#[test]
fn a_follower_whose_memory_failed_is_noticed_not_shown_and_made_anew() {
    let (mut cluster, leader) = filled(300);
    let [victim, _] = others(leader);
    let key = damage(&mut cluster, victim);
    let right = format!("value{key}");
    // Noticed, and as long as it is doubted a reader of copies is answered by the leader.
    for _ in 0..2000 {
        if is_doubted(&cluster, victim) {
            break;
        }
        cluster.run(1);
    }
    assert!(is_doubted(&cluster, victim), "it is noticed");
    let client = reader(&mut cluster, victim);
    let shown = cluster.ask(client, &format!("GET key{key}"));
    assert!(shown.ends_with(&right), "{shown}");
    cluster.run(10);
    assert!(told(&cluster, victim, "Doubted"), "{:#?}", cluster.story);
    // And made anew from a snapshot of the leader while writes go on.
    let writer = cluster.connect(leader);
    for n in 0..200 {
        assert_eq!(cluster.ask(writer, &format!("SET more{n} {n}")), "+OK");
        cluster.run(10);
    }
    cluster.run(3000);
    assert!(told(&cluster, victim, "Rebuilt"), "{:#?}", cluster.story);
    assert!(!is_doubted(&cluster, victim));
    assert_level(&cluster);
    assert_eq!(cluster.leader(), Some(leader), "the leader was right");
    let shown = cluster.ask(client, &format!("GET key{key}"));
    assert!(shown.ends_with(&right), "{shown}");
}

#[test]
fn what_is_acknowledged_by_a_doubted_copy_counts_for_its_log_is_sound() {
    let (mut cluster, leader) = filled(300);
    let [victim, third] = others(leader);
    cluster.kill(third);
    damage(&mut cluster, victim);
    cluster.run(1500);
    assert!(is_doubted(&cluster, victim), "one against one of three: nobody can tell which is right");
    let client = cluster.connect(leader);
    assert_eq!(cluster.ask(client, "SET during doubt"), "+OK");
    let shown = status(&mut cluster, leader);
    assert!(shown.contains(&format!("{{\"node\":{},\"role\":\"follower\"", victim.0)), "{shown}");
    assert!(shown.contains("\"doubted\":true"), "{shown}");
    // The third comes back and decides.
    cluster.start(third);
    cluster.run(6000);
    assert!(told(&cluster, victim, "Rebuilt"), "{:#?}", cluster.story);
    assert_level(&cluster);
    assert_eq!(cluster.ask(client, "GET during"), "$5 doubt");
}

#[test]
fn a_leader_whose_memory_failed_is_outvoted_hands_over_and_is_made_anew() {
    let (mut cluster, leader) = filled(300);
    let key = damage(&mut cluster, leader);
    cluster.run(8000);
    let new = cluster.leader().expect("a leader");
    assert_ne!(new, leader, "{:#?}", cluster.story);
    assert!(told(&cluster, leader, "Doubted") && told(&cluster, leader, "Rebuilt"), "{:#?}", cluster.story);
    assert!(cluster.nodes.keys().all(|id| !is_doubted(&cluster, *id)), "{:#?}", cluster.story);
    assert_level(&cluster);
    let client = cluster.connect(leader);
    let shown = cluster.ask(client, &format!("GET key{key}"));
    assert!(shown.ends_with(&format!("value{key}")), "{shown}");
}

#[test]
fn a_leader_in_doubt_serves_nobody() {
    let (mut cluster, leader) = filled(300);
    let [victim, third] = others(leader);
    // One against one: the victim is in doubt and nobody can end that. Then it has to lead, alone with the third.
    cluster.kill(third);
    let key = damage(&mut cluster, victim);
    cluster.run(1500);
    assert!(is_doubted(&cluster, victim));
    cluster.kill(leader);
    cluster.start(third);
    let client = cluster.connect(third);
    let mut shown = String::new();
    for _ in 0..20 {
        shown = cluster.ask(client, &format!("GET key{key}"));
        if shown.starts_with('$') {
            break;
        }
        cluster.run(200);
    }
    assert!(shown.ends_with(&format!("value{key}")), "{shown} {:#?}", cluster.story);
    assert_eq!(cluster.leader(), Some(third), "{:#?}", cluster.story);
}

/// A leader raises the doubts of those who were right before they outvote it, and is cut off before it could tell them.
#[test]
fn copies_that_are_all_in_doubt_do_not_hand_leadership_around_for_ever() {
    let (mut cluster, leader) = filled(300);
    let [second, third] = others(leader);
    cluster.hop_ms = 20;
    cluster.run(1000);
    let key = damage(&mut cluster, leader);
    for _ in 0..2000 {
        if is_doubted(&cluster, leader) {
            break;
        }
        cluster.run(1);
    }
    for other in [second, third] {
        cluster.cut.extend([(leader, other), (other, leader)]);
    }
    cluster.run(100);
    assert!(cluster.nodes.keys().all(|id| is_doubted(&cluster, *id)), "{:#?}", cluster.story);
    cluster.run(4000);
    cluster.cut.clear();
    cluster.run(8000);
    assert!(cluster.nodes.keys().all(|id| !is_doubted(&cluster, *id)), "{:#?}", cluster.story);
    assert!(told(&cluster, leader, "Rebuilt"), "{:#?}", cluster.story);
    assert_level(&cluster);
    let led = cluster.leader().expect("a leader");
    let client = cluster.connect(led);
    let shown = cluster.ask(client, &format!("GET key{key}"));
    assert!(shown.ends_with(&format!("value{key}")), "{shown}");
}

#[test]
fn of_two_copies_nobody_can_tell_and_a_restart_reads_the_log_again() {
    let mut cluster = Cluster::audited(2, 300);
    cluster.run(1000);
    let client = cluster.connect(NodeId(1));
    for n in 0..KEYS {
        assert_eq!(cluster.ask(client, &format!("SET key{n} value{n}")), "+OK");
    }
    let leader = cluster.leader().expect("a leader");
    let victim = NodeId(3 - leader.0);
    damage(&mut cluster, victim);
    cluster.run(5000);
    assert!(is_doubted(&cluster, victim) && !told(&cluster, victim, "Rebuilt"));
    assert_eq!(cluster.leader(), Some(leader));
    cluster.kill(victim);
    cluster.start(victim);
    cluster.run(3000);
    assert!(!is_doubted(&cluster, victim), "{:#?}", cluster.story);
    assert_level(&cluster);
}

#[test]
fn nobody_is_compared_while_some_copy_could_not_read_the_entry() {
    let every = std::time::Duration::from_millis(100);
    let mut cluster = Cluster::set_up(3, 3, Pace { every, log_bytes: 1 });
    cluster.run(1000);
    let client = cluster.connect(NodeId(1));
    assert_eq!(cluster.ask(client, "SET a 1"), "+OK");
    cluster.run(1000);
    let last = cluster.states().iter().map(|(index, _)| *index).max();
    cluster.run(30_000);
    assert_eq!(cluster.states().iter().map(|(index, _)| *index).max(), last);
    assert!(last > Some(Index(1)));
}

/// A snapshot of many megabytes takes its time, and more is written meanwhile than memory keeps of the log.
#[test]
fn a_copy_that_is_made_anew_reads_from_its_own_disk_what_memory_no_longer_keeps() {
    let mut cluster = Cluster::audited(3, 20);
    cluster.run(1000);
    let client = cluster.connect(NodeId(1));
    assert_eq!(cluster.ask(client, "SET a 1"), "+OK");
    let leader = cluster.leader().expect("a leader");
    let [victim, _] = others(leader);
    let client = cluster.connect(leader);
    let value = "v".repeat(64 << 10);
    let write = |cluster: &mut Cluster, name: &str| {
        for n in 0..700 {
            cluster.send(client, &format!("SET {name}{n} {value}{n}"));
            cluster.run(1);
        }
    };
    write(&mut cluster, "key");
    cluster.run(500);
    let group = cluster.group_of("0").expect("a group");
    assert!(cluster.nodes.get_mut(&victim).expect("it runs").damage_table(group, 0x1234_5678_9abc_def0));
    for _ in 0..20_000 {
        if is_doubted(&cluster, victim) {
            break;
        }
        cluster.run(1);
    }
    // The snapshot is on its way by now.
    cluster.run(100);
    write(&mut cluster, "other");
    for _ in 0..10_000 {
        if told(&cluster, victim, "Rebuilt") {
            break;
        }
        cluster.run(1);
    }
    assert!(told(&cluster, victim, "Rebuilt"), "{:#?}", cluster.story);
    assert!(cluster.own_reads > 0, "it read its own log");
    cluster.run(1000);
    assert!(!is_doubted(&cluster, victim));
    assert_level(&cluster);
}
