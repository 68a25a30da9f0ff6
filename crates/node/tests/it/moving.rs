//! Slots that move between the groups of a keyspace that is in use.
//!
//! catalogue: A8 H4
//! bugs: X-01

use crate::rig::{Client, Cluster};
use data::{GroupId, NodeId, SlotSet};
use std::collections::BTreeMap;

fn serving(count: u32, options: &str) -> Cluster {
    let mut cluster = Cluster::new(count);
    for _ in 0..100 {
        cluster.run(50);
        let client = cluster.connect(NodeId(1));
        if cluster.ask(client, &format!("KEYSPACE CREATE s SINGLE-LEADER {options}")) == "+OK" {
            cluster.run(200);
            return cluster;
        }
    }
    panic!("the cluster never served:\n{}", cluster.story.join("\n"));
}

fn client_of(cluster: &mut Cluster, node: NodeId) -> Client {
    let client = cluster.connect(node);
    assert_eq!(cluster.ask(client, "SELECT s"), "+OK");
    client
}

/// As the node with the newest map knows it: the groups, what they own, and who leads them.
fn groups(cluster: &Cluster) -> BTreeMap<GroupId, (SlotSet, Option<NodeId>)> {
    let map = cluster.nodes.values().map(|node| node.map()).max_by_key(|map| map.version).expect("a node");
    let keyspace = map.keyspace_named("s").expect("made").id;
    let its = map.groups_of(keyspace);
    its.map(|group| (group.view.group, (group.slots.clone(), map.leader_of(group.view.group)))).collect()
}

fn is_moving(cluster: &Cluster) -> bool {
    cluster.nodes.values().any(|node| !node.map().moves.is_empty() || !node.map().dividing.is_empty())
}

fn settle(cluster: &mut Cluster) {
    for _ in 0..2_000 {
        if !is_moving(cluster) {
            return;
        }
        cluster.run(10);
    }
    panic!("the move never ended:\n{}", cluster.story.join("\n"));
}

/// Keys on the tables of one group's copies that belong to others.
fn strays(cluster: &Cluster) -> usize {
    let mut strays = 0;
    for node in cluster.nodes.values() {
        for state in node.group_states().filter(|state| state.keyspace.name == "s") {
            let Some(owned) = node.map().groups.get(&state.group).map(|it| &it.slots) else { continue };
            let mut cursor = 0;
            loop {
                cursor = state.table.scan(cursor, &mut |key, _| {
                    strays += usize::from(!owned.contains(data::slot::slot(key)));
                });
                if cursor == 0 {
                    break;
                }
            }
        }
    }
    strays
}

/// A write that is sent until it is not refused. Whether it was acknowledged.
fn incr(cluster: &mut Cluster, client: Client, key: &str) -> bool {
    for _ in 0..100 {
        let reply = cluster.ask(client, &format!("INCR {key}"));
        if reply.starts_with(':') {
            return true;
        }
        if !["-TRYAGAIN", "-CLUSTERDOWN", "-NOREPLICAS"].iter().any(|word| reply.starts_with(word)) {
            assert!(reply.starts_with("-INDETERMINATE"), "{reply}");
            return false;
        }
        cluster.run(20);
    }
    panic!("never served:\n{}", cluster.story.join("\n"));
}

fn number(reply: &str) -> i64 {
    reply.split(' ').next_back().and_then(|text| text.trim_start_matches(':').parse().ok()).unwrap_or(0)
}

#[test]
fn slots_move_while_both_groups_serve_and_nothing_is_lost() {
    let mut cluster = serving(3, "SHARDS 2");
    let client = client_of(&mut cluster, NodeId(3));
    for n in 0..400 {
        let expiry = if n % 10 == 0 { " PX 600000" } else { "" };
        assert_eq!(cluster.ask(client, &format!("SET key{n} {n}{expiry}")), "+OK");
    }
    assert_eq!(cluster.ask(client, "RPUSH list a b c"), ":3");
    let before: Vec<GroupId> = groups(&cluster).into_keys().collect();
    let order = format!("KEYSPACE MOVE-SLOTS s 0-4095 TO {}", before[1].0);
    assert_eq!(cluster.ask(client, &order), "+OK");
    let status = cluster.ask(client, "KEYSPACE STATUS");
    assert!(status.contains("\"phase\":\"copying\""), "{status}");
    let mut round = 0;
    while is_moving(&cluster) || round == 0 {
        round += 1;
        for n in (0..400).step_by(7) {
            assert_eq!(cluster.ask(client, &format!("SET key{n} {round}")), "+OK", "round {round}");
            assert_eq!(
                cluster.ask(client, &format!("GET key{}", n + 1)),
                format!("${} {}", (n + 1).to_string().len(), n + 1).replace("$3 400", "$-1")
            );
        }
        let size = cluster.ask(client, "DBSIZE");
        assert!(size == ":401" || size.starts_with("-TRYAGAIN"), "{size}");
        cluster.run(3);
        assert!(round < 500);
    }
    cluster.run(200);
    let after = groups(&cluster);
    assert_eq!(
        (after[&before[0]].0.text(), after[&before[1]].0.text()),
        ("4096-8191".into(), "0-4095,8192-16383".into())
    );
    for node in 1..=3 {
        let client = client_of(&mut cluster, NodeId(node));
        assert_eq!(cluster.ask(client, "DBSIZE"), ":401");
        for n in 0..400 {
            let value = if n % 7 == 0 { round } else { n };
            assert_eq!(
                cluster.ask(client, &format!("GET key{n}")),
                format!("${} {value}", value.to_string().len())
            );
            let expires = number(&cluster.ask(client, &format!("PTTL key{n}"))) > 0;
            assert_eq!(expires, n % 10 == 0 && n % 7 != 0, "key{n}");
        }
        assert_eq!(cluster.ask(client, "LRANGE list 0 -1"), "*3 $1 a $1 b $1 c");
    }
    assert_eq!(strays(&cluster), 0);
    // And back.
    assert_eq!(cluster.ask(client, &format!("KEYSPACE MOVE-SLOTS s 0-4095 TO {}", before[0].0)), "+OK");
    settle(&mut cluster);
    assert_eq!(cluster.ask(client, "DBSIZE"), ":401");
    assert_eq!(groups(&cluster)[&before[0]].0.text(), "0-8191");
}

/// At every moment of a move the leader of either end may die.
#[test]
fn a_move_goes_on_after_the_failover_of_either_end_at_any_moment() {
    let mut crossed = 0;
    let padding = "x".repeat(20_000);
    for at_ms in [0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 60, 70] {
        for source_dies in [true, false] {
            let mut cluster = serving(5, "SHARDS 2 REPLICAS 3");
            let ends = groups(&cluster);
            let (from, to) = (*ends.keys().next().expect("two"), *ends.keys().next_back().expect("two"));
            let leader = |group| ends[&group].1.expect("led");
            let victim = leader(if source_dies { from } else { to });
            let free = (1..=5).map(NodeId).find(|n| *n != leader(from) && *n != leader(to)).expect("five");
            let client = client_of(&mut cluster, free);
            let key = (0..)
                .map(|n| format!("n{n}"))
                .find(|key| ends[&from].0.contains(data::slot::slot(key.as_bytes())));
            let key = key.expect("some key");
            for n in 0..150 {
                assert_eq!(cluster.ask(client, &format!("SET key{n} {n}{padding}")), "+OK");
            }
            assert_eq!(cluster.ask(client, &format!("KEYSPACE MOVE-SLOTS s 0-8191 TO {}", to.0)), "+OK");
            let (mut sure, mut tried) = (0, 0);
            let first = client_of(&mut cluster, free);
            cluster.send(first, &format!("INCR {key}"));
            tried += 1;
            for _ in 0..at_ms {
                cluster.run(1);
            }
            if !is_moving(&cluster) {
                continue;
            }
            crossed += 1;
            cluster.kill(victim);
            for _ in 0..20 {
                sure += i64::from(incr(&mut cluster, client, &key));
                tried += 1;
                cluster.run(10);
            }
            settle(&mut cluster);
            cluster.start(victim);
            cluster.run(2_000);
            sure += i64::from(cluster.received(first).starts_with(':'));
            let story = cluster.story.join("\n");
            let value = number(&cluster.ask(client, &format!("GET {key}")));
            assert!(
                (sure..=tried).contains(&value),
                "{at_ms} {source_dies}: {sure} {value} {tried}\n{story}"
            );
            assert_eq!(cluster.ask(client, "DBSIZE"), ":151", "{at_ms} {source_dies}\n{story}");
            for n in 0..150 {
                let bytes = n.to_string().len() + padding.len();
                assert_eq!(cluster.ask(client, &format!("GET key{n}")), format!("${bytes} {n}{padding}"));
            }
            assert!(groups(&cluster)[&from].0.is_empty());
            assert_eq!(strays(&cluster), 0);
        }
    }
    assert!(crossed >= 16, "the moves were too short to be met: {crossed}");
}

#[test]
fn a_keyspace_in_use_gets_more_shards_and_fewer() {
    let mut cluster = serving(3, "SHARDS 1");
    let client = client_of(&mut cluster, NodeId(2));
    for n in 0..300 {
        assert_eq!(cluster.ask(client, &format!("SET key{n} {n}")), "+OK");
    }
    for (shards, count) in [(3, 300), (2, 301), (5, 302), (1, 303)] {
        assert_eq!(cluster.ask(client, &format!("KEYSPACE ALTER s SHARDS {shards}")), "+OK");
        let mut turns = 0;
        while is_moving(&cluster) || turns == 0 {
            assert!(incr(&mut cluster, client, "key7"));
            cluster.run(20);
            turns += 1;
            assert!(turns < 2_000, "{:?}\n{}", groups(&cluster), cluster.story.join("\n"));
        }
        cluster.run(300);
        let after = groups(&cluster);
        let counts: Vec<u32> = after.values().map(|(slots, _)| slots.count()).collect();
        assert_eq!(counts.len(), shards as usize, "{counts:?}");
        assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
        assert_eq!(cluster.ask(client, "DBSIZE"), format!(":{count}"));
        assert_eq!(cluster.ask(client, &format!("SET more{shards} 1")), "+OK");
        assert_eq!(strays(&cluster), 0);
    }
    assert_eq!(cluster.ask(client, "MSET foo 1 bar 2"), "+OK", "one shard takes any keys together");
}

/// catalogue: C4
#[test]
fn answers_travel_watches_break_and_whoever_waits_is_answered_by_the_new_owner() {
    let mut cluster = serving(3, "SHARDS 2");
    let ends: Vec<GroupId> = groups(&cluster).into_keys().collect();
    let client = client_of(&mut cluster, NodeId(1));
    // Slot 12182 is the second group's.
    assert_eq!(cluster.ask(client, "WITH REQUEST app:1 DO INCR foo"), ":1");
    let watcher = client_of(&mut cluster, NodeId(2));
    assert_eq!(cluster.ask(watcher, "WATCH foo"), "+OK");
    let waiter = client_of(&mut cluster, NodeId(3));
    cluster.send(waiter, "BLPOP list{foo} 0");
    cluster.run(50);
    assert_eq!(cluster.ask(client, &format!("KEYSPACE MOVE-SLOTS s 12000-12999 TO {}", ends[0].0)), "+OK");
    settle(&mut cluster);
    assert_eq!(cluster.ask(client, "WITH REQUEST app:1 DO INCR foo"), ":1", "it was done");
    assert_eq!(cluster.ask(client, "GET foo"), "$1 1");
    assert_eq!(cluster.ask(watcher, "MULTI"), "+OK");
    assert_eq!(cluster.ask(watcher, "INCR foo"), "+QUEUED");
    assert_eq!(cluster.ask(watcher, "EXEC"), "*-1", "what was watched is another group's now");
    assert_eq!(cluster.received(waiter), "");
    assert_eq!(cluster.ask(client, "RPUSH list{foo} a"), ":1");
    cluster.run(100);
    assert_eq!(cluster.received(waiter), "*2 $9 list{foo} $1 a");
    assert_eq!(cluster.ask(client, "EXISTS list{foo}"), ":0");
}

/// catalogue: B3
#[test]
fn clients_of_redis_cluster_are_sent_to_the_new_owner() {
    let mut cluster = serving(3, "SHARDS 3 FORWARD off");
    let before = groups(&cluster);
    let owner = |all: &BTreeMap<GroupId, (SlotSet, Option<NodeId>)>| {
        let its = all.iter().find(|(_, (slots, _))| slots.contains(12_182)).expect("every slot");
        (*its.0, its.1.1.expect("led"))
    };
    let (from, old) = owner(&before);
    let to = *before.keys().find(|group| **group != from).expect("three");
    let client = client_of(&mut cluster, old);
    assert_eq!(cluster.ask(client, "SET foo 1"), "+OK");
    assert_eq!(cluster.ask(client, "ASKING"), "+OK");
    assert_eq!(cluster.ask(client, &format!("KEYSPACE MOVE-SLOTS s 12182 TO {}", to.0)), "+OK");
    let mut moved = String::new();
    for _ in 0..200 {
        let reply = cluster.ask(client, "INCR foo");
        if !reply.starts_with(':') {
            moved = reply;
            break;
        }
        cluster.run(5);
    }
    let (now, new) = owner(&groups(&cluster));
    assert_eq!(now, to);
    let address = cluster.nodes[&old].map().nodes[&new].addresses.resp.clone();
    assert_eq!(moved, format!("-MOVED 12182 {address}"));
    let client = client_of(&mut cluster, new);
    assert!(cluster.ask(client, "GET foo").starts_with('$'));
    settle(&mut cluster);
    let shards = cluster.ask(client, "CLUSTER SLOTS");
    assert!(shards.contains(":12182 :12182"), "{shards}");
}

#[test]
fn what_cannot_be_moved_is_refused_and_a_move_can_be_given_up() {
    let mut cluster = serving(3, "SHARDS 2");
    let ends: Vec<u32> = groups(&cluster).into_keys().map(|group| group.0).collect();
    let client = client_of(&mut cluster, NodeId(1));
    for n in 0..100 {
        assert_eq!(cluster.ask(client, &format!("SET key{n} {n}")), "+OK");
    }
    let (one, two) = (ends[0], ends[1]);
    for (order, why) in [
        (format!("s 0-9 TO {one}"), "-ERR the slots must all be in one other shard"),
        (format!("s 8000-9000 TO {two}"), "-ERR the slots must all be in one other shard"),
        (format!("s 9-0 TO {two}"), "-ERR slots are given as first-last"),
        (format!("s 0-16384 TO {two}"), "-ERR slots are given as first-last"),
        ("s 0-9 TO 999".into(), "-ERR no such group in this keyspace"),
        ("nosuch 0-9 TO 1".into(), "-ERR no such keyspace"),
        ("s 0-9".into(), "-ERR KEYSPACE MOVE-SLOTS"),
    ] {
        let reply = cluster.ask(client, &format!("KEYSPACE MOVE-SLOTS {order}"));
        assert!(reply.starts_with(why), "{order}: {reply}");
    }
    // The two leaders cannot reach each other: it does not end by itself.
    let leaders: Vec<NodeId> = groups(&cluster).values().filter_map(|(_, leader)| *leader).collect();
    cluster.cut.insert((leaders[0], leaders[1]));
    assert_eq!(cluster.ask(client, &format!("KEYSPACE MOVE-SLOTS s 0-99 TO {two}")), "+OK");
    let again = cluster.ask(client, &format!("KEYSPACE MOVE-SLOTS s 200-299 TO {two}"));
    assert!(again.starts_with("-ERR a shard takes part in one move at a time"), "{again}");
    assert_eq!(
        cluster.ask(client, "KEYSPACE CANCEL-MOVE 77"),
        "-ERR no such move: KEYSPACE STATUS lists them"
    );
    assert_eq!(cluster.ask(client, "KEYSPACE CANCEL-MOVE 0"), "+OK");
    cluster.cut.clear();
    settle(&mut cluster);
    assert_eq!(groups(&cluster)[&GroupId(one)].0.text(), "0-8191");
    assert_eq!(cluster.ask(client, "DBSIZE"), ":100");
}

/// FLUSHDB of one group must not delete what is on its way there while its owner still has it, and nothing may be left by it.
#[test]
fn a_flush_in_the_middle_of_a_move_leaves_nothing() {
    for wait_ms in [0, 3, 6, 9, 12, 15, 20, 30] {
        let mut cluster = serving(3, "SHARDS 2");
        let ends: Vec<GroupId> = groups(&cluster).into_keys().collect();
        let client = client_of(&mut cluster, NodeId(1));
        for n in 0..200 {
            assert_eq!(cluster.ask(client, &format!("SET key{n} {n}")), "+OK");
        }
        assert_eq!(cluster.ask(client, &format!("KEYSPACE MOVE-SLOTS s 0-8191 TO {}", ends[1].0)), "+OK");
        cluster.run(wait_ms);
        let mut reply = cluster.ask(client, "FLUSHDB");
        for _ in 0..50 {
            if reply == "+OK" {
                break;
            }
            assert!(reply.starts_with("-TRYAGAIN") || reply.starts_with("-INDETERMINATE"), "{reply}");
            cluster.run(20);
            reply = cluster.ask(client, "FLUSHDB");
        }
        settle(&mut cluster);
        assert_eq!((reply.as_str(), cluster.ask(client, "DBSIZE").as_str()), ("+OK", ":0"), "{wait_ms}");
    }
}

/// What left a copy by its log is elsewhere for a reader after a restart too, from the log or from a snapshot.
// catalogue: H4
#[test]
fn a_copy_that_gave_keys_away_needs_the_map_that_says_so_after_a_restart() {
    for snapshot_log_bytes in [1 << 30, 1_000] {
        let mut cluster = serving(3, "SHARDS 2");
        cluster.snapshot_log_bytes = snapshot_log_bytes;
        for id in 1..=3 {
            cluster.kill(NodeId(id));
            cluster.start(NodeId(id));
            cluster.run(3_000);
        }
        let client = client_of(&mut cluster, NodeId(3));
        for n in 0..200 {
            assert_eq!(cluster.ask(client, &format!("SET key{n} {n}")), "+OK");
        }
        let (giver, taker) = {
            let all: Vec<GroupId> = groups(&cluster).into_keys().collect();
            (all[0], all[1])
        };
        assert_eq!(cluster.ask(client, &format!("KEYSPACE MOVE-SLOTS s 0-4095 TO {}", taker.0)), "+OK");
        settle(&mut cluster);
        let moved_at = cluster.nodes[&NodeId(3)].map().moved_at;
        for n in 0..200 {
            assert_eq!(cluster.ask(client, &format!("SET key{n} {n}")), "+OK");
        }
        cluster.run(1_000);
        for id in 1..=3 {
            cluster.kill(NodeId(id));
            cluster.start(NodeId(id));
            cluster.run(3_000);
            let node = &cluster.nodes[&NodeId(id)];
            let state = node.group_states().find(|state| state.group == giver).expect("a copy");
            assert!(
                state.map_needed > 0 && state.map_needed <= moved_at,
                "{} of {moved_at}",
                state.map_needed
            );
        }
    }
}

/// What a session saw goes with its slots: it hears of it when an election of their new group drops them.
// bugs: SL-05
#[test]
fn a_session_is_told_when_the_new_group_loses_what_moved() {
    let mut cluster = serving(5, "SHARDS 2 COMMIT async");
    let before = groups(&cluster);
    let (from, to) = (*before.keys().next().expect("two"), *before.keys().nth(1).expect("two"));
    let electable = cluster.nodes[&NodeId(1)]
        .map()
        .view(to)
        .expect("known")
        .electable
        .iter()
        .map(|it| it.node)
        .collect::<Vec<NodeId>>();
    let leader = before[&to].1.expect("a leader");
    let followers: Vec<NodeId> = electable.iter().copied().filter(|node| *node != leader).collect();
    let others: Vec<NodeId> = (1..=5).map(NodeId).filter(|node| !electable.contains(node)).collect();
    let session = client_of(&mut cluster, others[0]);
    let key = (0..).map(|n| format!("key{n}")).find(|key| {
        let slot = data::slot::slot(key.as_bytes());
        slot < 4096 && before[&from].0.contains(slot)
    });
    let key = key.expect("a key");
    assert_eq!(cluster.ask(session, &format!("SET {key} kept")), "+OK");
    assert_eq!(cluster.ask(session, "CONSISTENCY READ follower"), "+OK");
    let token = |cluster: &mut Cluster, client| {
        cluster.ask(client, "SESSION TOKEN").split(' ').nth(1).expect("a token").to_string()
    };
    let early = token(&mut cluster, session);
    assert_eq!(cluster.ask(session, &format!("SESSION RESUME {early}")), "+OK");
    let stranger = client_of(&mut cluster, others[0]);
    assert_eq!(cluster.ask(stranger, "CONSISTENCY READ follower"), "+OK");
    cluster.run(500);

    // One copy of their new group has not heard of the slots, and it alone is left of it.
    cluster.behind.insert(followers[1]);
    assert_eq!(cluster.ask(session, &format!("KEYSPACE MOVE-SLOTS s 0-4095 TO {}", to.0)), "+OK");
    settle(&mut cluster);
    assert_eq!(cluster.ask(session, &format!("GET {key}")), "$4 kept");
    let late = token(&mut cluster, session);
    cluster.kill(leader);
    cluster.kill(followers[0]);
    cluster.behind.clear();
    cluster.run(3000);

    let told = cluster.ask(session, &format!("GET {key}"));
    assert!(told.starts_with("-TOKENLOST "), "{told}");
    for token in [early, late] {
        let other = client_of(&mut cluster, others[1]);
        let told = cluster.ask(other, &format!("SESSION RESUME {token}"));
        assert!(told.starts_with("-TOKENLOST "), "{told}");
    }
    // Who saw nothing has lost nothing, and who begins anew goes on.
    assert_eq!(cluster.ask(stranger, &format!("GET {key}")), "$-1");
    assert_eq!(cluster.ask(session, "SESSION RESET"), "+OK");
    for _ in 0..2 {
        assert_eq!(cluster.ask(session, &format!("GET {key}")), "$-1");
        let token = token(&mut cluster, session);
        assert_eq!(cluster.ask(session, &format!("SESSION RESUME {token}")), "+OK");
    }
}
