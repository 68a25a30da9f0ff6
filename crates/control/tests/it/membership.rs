//! Nodes come and go; the control group and the groups follow.
// bugs: SL-19, SL-20

use crate::rig::{Rig, n};
use control::{Addresses, Applied, Command};
use data::NodeId;

fn add(rig: &mut Rig, nonce: u64) -> NodeId {
    let addresses = Addresses { peer: format!("10.0.1.{nonce}:7000"), ..Addresses::default() };
    let command = Command::AddNode { nonce, name: "late".into(), addresses, site: String::new() };
    let at = rig.running()[0];
    match rig.ask(at, command) {
        Ok(Applied::Node(node)) => node,
        other => panic!("{other:?}"),
    }
}

fn join(rig: &mut Rig, nonce: u64) -> NodeId {
    let node = add(rig, nonce);
    let map = rig.map();
    rig.join(node, map);
    rig.run_until(3000, "the joiner has started", |rig| {
        rig.map().nodes.get(&node).is_some_and(|node| node.usable())
    });
    node
}

#[test]
fn one_node_alone_founds_and_grows_to_three_voters() {
    let mut rig = Rig::new(1, 1);
    rig.settle();
    let group = rig.group(0);
    let second = join(&mut rig, 5);
    assert_eq!(rig.map().voters, [n(1)], "two voters would tolerate no more than one");
    let third = join(&mut rig, 6);
    rig.run_until(5000, "three voters", |rig| rig.map().voters.len() == 3 && rig.map().outgoing.is_empty());
    assert_eq!(rig.map().view(group).unwrap().members, [n(1), second, third]);
    rig.crash(n(1));
    rig.run_until(3000, "another control leader", |rig| rig.control_leader().is_some_and(|l| l != n(1)));
}

/// Two voters in between, of which one died, once stopped the control plane for good.
#[test]
fn a_death_on_the_way_from_one_voter_to_three_stops_nobody() {
    for seed in 0..10 {
        let mut rig = Rig::new(seed, 1);
        rig.settle();
        let joined = [join(&mut rig, 5), join(&mut rig, 6)];
        let victim = joined[seed as usize % 2];
        rig.run_until(5000, "a vote for one that joined", |rig| rig.map().voters.len() > 1);
        rig.crash(victim);
        rig.run_ms(3000);
        let before = rig.map().version;
        rig.group(1);
        rig.run_until(3000, "the change is complete", |rig| rig.map().outgoing.is_empty());
        assert!(rig.map().version > before);
        assert_eq!(rig.map().voters.len(), 3);
        rig.start(victim);
        rig.run_ms(500);
        assert_eq!(rig.plane(victim).unwrap().map().version, rig.map().version);
    }
}

#[test]
fn asking_to_join_twice_gives_one_number() {
    let mut rig = Rig::new(2, 3);
    rig.settle();
    assert_eq!(add(&mut rig, 9), add(&mut rig, 9));
    assert_ne!(add(&mut rig, 9), add(&mut rig, 10));
}

#[test]
fn a_node_outside_the_control_group_sees_every_change() {
    let mut rig = Rig::new(3, 3);
    rig.settle();
    let fourth = join(&mut rig, 4);
    rig.group(1);
    rig.run_ms(200);
    assert_eq!(rig.plane(fourth).unwrap().map().version, rig.map().version);
    assert!(rig.leased(fourth));
    assert_eq!(rig.map().voters.len(), 3);
    // It finds its way again after a restart, from its own disk.
    rig.crash(fourth);
    rig.start(fourth);
    rig.run_ms(500);
    assert_eq!(rig.plane(fourth).unwrap().map().version, rig.map().version);
}

#[test]
fn a_removed_node_is_relieved_of_everything_and_forgotten() {
    for seed in 0..5 {
        let mut rig = Rig::new(seed, 3);
        rig.settle();
        let group = rig.group(0);
        join(&mut rig, 4);
        rig.run_ms(1000);
        let leaving = rig.map().leader_of(group).unwrap();
        rig.ask(n(2), Command::RemoveNode { node: leaving }).unwrap();
        // The replacement becomes electable when its leader says that it has caught up.
        rig.run_until(5000, "a replacement", |rig| rig.map().view(group).unwrap().members.len() == 4);
        let view = rig.map().view(group).unwrap().clone();
        let map = rig.map();
        let electable = view
            .members
            .iter()
            .map(|node| data::view::Replica { node: *node, incarnation: map.nodes[node].incarnation });
        let leader = view.leader.unwrap();
        let (number, rule, electable) = (view.number, view.rule, electable.collect());
        rig.ask(n(2), Command::ChangeElectable { group, number, leader, rule, electable }).unwrap();
        rig.run_until(6000, "the leadership moves", |rig| {
            rig.map().leader_of(group).is_some_and(|leader| leader != leaving)
        });
        rig.run_until(6000, "the copy goes", |rig| {
            !rig.map().view(group).unwrap().members.contains(&leaving)
        });
        let view = rig.map().view(group).unwrap().clone();
        let electable = view.electable.iter().copied().filter(|replica| replica.node != leaving).collect();
        let (number, rule, leader) = (view.number, view.rule, view.leader.unwrap());
        rig.ask(n(4), Command::ChangeElectable { group, number, leader, rule, electable }).unwrap();
        rig.run_until(8000, "it is forgotten", |rig| !rig.map().nodes.contains_key(&leaving));
        assert_eq!(rig.map().voters.len(), 3);
        assert!(!rig.map().voters.contains(&leaving));
        assert!(rig.led());
    }
}

/// Written anew because older records keep the log: nothing is forgotten by it.
#[test]
fn a_control_log_that_was_written_anew_is_the_same() {
    let mut rig = Rig::new(7, 3);
    rig.settle();
    let group = rig.group(0);
    rig.run_ms(500);
    for id in rig.all() {
        rig.input(id, control::Input::Rewrite);
    }
    rig.run_ms(100);
    for id in rig.all() {
        assert!(rig.disk_records(id).0 <= 3, "{:?}", rig.disk_records(id));
    }
    let before = rig.map();
    rig.all().into_iter().for_each(|id| rig.crash(id));
    rig.all().into_iter().for_each(|id| rig.start(id));
    rig.run_until(4000, "leaders for all", |rig| rig.led() && rig.control_leader().is_some());
    let after = rig.map();
    assert_eq!((&after.keyspaces, &after.voters), (&before.keyspaces, &before.voters));
    assert!(after.view(group).unwrap().epoch > before.view(group).unwrap().epoch);
}

#[test]
fn the_control_log_stays_bounded_and_survives_a_full_restart() {
    let mut rig = Rig::new(6, 3);
    rig.settle();
    let group = rig.group(0);
    for round in 0..1200_u32 {
        let settings = data::keyspace::Settings { timeout_ms: 500 + round, ..Default::default() };
        let keyspace = data::KeyspaceId(0);
        rig.propose(n(1), Command::AlterKeyspace { keyspace, settings });
        if round % 50 == 0 {
            rig.run_ms(20);
        }
    }
    rig.run_ms(1000);
    for id in rig.all() {
        let (count, bytes) = rig.disk_records(id);
        assert!(count < 1500 && bytes < 1_000_000, "{count} records, {bytes} bytes");
    }
    let before = rig.map();
    assert_eq!(before.keyspaces[&data::KeyspaceId(0)].settings.timeout_ms, 1699);
    for id in rig.all() {
        rig.crash(id);
    }
    rig.all().into_iter().for_each(|id| rig.start(id));
    rig.run_until(4000, "leaders for all", |rig| rig.led() && rig.control_leader().is_some());
    let after = rig.map();
    assert_eq!(after.keyspaces, before.keyspaces);
    assert!(after.view(group).unwrap().epoch > before.view(group).unwrap().epoch);
}

/// Whoever comes back leads its share again, and not on the control leader's node where another is equal; what an operator moved
/// stays where it is.
#[test]
fn leaders_spread_over_the_nodes_again_when_one_comes_back() {
    for seed in 0..3 {
        let mut rig = Rig::new(seed, 3);
        rig.settle();
        let groups: Vec<_> = (0..3).map(|keyspace| rig.group(keyspace)).collect();
        let leaders =
            |rig: &Rig| groups.iter().filter_map(|group| rig.map().leader_of(*group)).collect::<Vec<_>>();
        let spread =
            |rig: &Rig| leaders(rig).into_iter().collect::<std::collections::BTreeSet<_>>().len() == 3;
        rig.run_until(20_000, "one each", |rig| spread(rig));
        let victim = rig.all().into_iter().find(|id| Some(*id) != rig.control_leader()).unwrap();
        rig.crash(victim);
        rig.run_until(5000, "leaders without it", |rig| rig.led() && !leaders(rig).contains(&victim));
        rig.start(victim);
        rig.run_until(30_000, "one each again", |rig| spread(rig));
        let moved = rig.map().leader_of(groups[0]).unwrap();
        let target = rig.all().into_iter().find(|id| *id != moved).unwrap();
        let at = rig.running()[0];
        rig.switch(at, groups[0], Some(target)).unwrap();
        rig.run_ms(12_000);
        assert_eq!(rig.map().leader_of(groups[0]), Some(target));
    }
}
