//! What `tercet up` may do to its nodes, done to real ones: distances, cuts, pauses, kills.

use crate::client::{bulk, ok};
use crate::rig::{Directory, TestNode, eventually, founders, id_of, leader_of, serving};
use server::Settings;
use server::tryout::{Network, Switch, Tryout};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::Frame;

const MS: Duration = Duration::from_millis(1);

struct Three {
    // Before the directory that it writes to.
    nodes: Vec<(TestNode, Arc<Switch>)>,
    network: Arc<Network>,
    all: Vec<Settings>,
    _directory: Directory,
}

impl Three {
    /// `delay` lies between any two of them, each way.
    fn start(delay: Duration) -> Three {
        let directory = Directory::new();
        let all = founders(3, &directory);
        let network = Arc::new(Network::default());
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            network.set_delay(&all[a].peer, &all[b].peer, delay);
        }
        let nodes = all.iter().map(|settings| begin(settings, &network)).collect();
        let three = Three { nodes, network, all, _directory: directory };
        three.nodes.iter().for_each(|(node, _)| serving(node));
        three
    }

    /// The place of the leader.
    fn leader(&self) -> usize {
        let leads = |(node, _): &(TestNode, _)| leader_of(node) == Some(id_of(node));
        eventually("one of them leads", || self.nodes.iter().position(leads))
    }

    fn cut(&self, node: usize, is_cut: bool) {
        for other in (0..3).filter(|other| *other != node) {
            assert!(self.network.set_cut(&self.all[node].peer, &self.all[other].peer, is_cut));
        }
    }
}

fn begin(settings: &Settings, network: &Arc<Network>) -> (TestNode, Arc<Switch>) {
    let tryout = Tryout { network: Arc::clone(network), switch: Arc::default() };
    let switch = Arc::clone(&tryout.switch);
    (TestNode::start_with(settings.clone(), Some(tryout)), switch)
}

fn took(node: &TestNode, words: &[&str], wanted: &Frame) -> Duration {
    let mut client = node.client();
    let begun = Instant::now();
    assert_eq!(client.call(words), *wanted, "{words:?}");
    begun.elapsed()
}

#[test]
fn a_message_is_under_way_for_half_of_the_round_trip() {
    let three = Three::start(30 * MS);
    let leader = three.leader();
    let far = &three.nodes[(leader + 1) % 3].0;
    // A write waits for one follower; sent by another node it comes from afar, and so does its answer.
    let near = took(&three.nodes[leader].0, &["SET", "k", "near"], &ok());
    let forwarded = took(far, &["SET", "k", "far"], &ok());
    assert!(near >= 60 * MS && forwarded >= 120 * MS, "{near:?} {forwarded:?}");
    // A large value in parts, and what comes behind it, stay in order.
    let large = "x".repeat(1 << 20);
    for _ in 0..3 {
        let mut client = far.client();
        assert_eq!(client.call(&["SET", "large", &large]), ok());
        assert_eq!(client.call(&["SET", "k", "behind"]), ok());
        assert_eq!(client.call(&["GET", "large"]), bulk(&large));
    }
}

#[test]
fn a_leader_that_is_cut_off_acknowledges_nothing_and_follows_when_healed() {
    let three = Three::start(Duration::ZERO);
    let old = three.leader();
    three.cut(old, true);
    let reply = three.nodes[old].0.client().call(&["SET", "k", "lost"]);
    assert!(reply.as_error().is_some(), "{reply:?}");
    let others: Vec<&TestNode> = (0..3).filter(|n| *n != old).map(|n| &three.nodes[n].0).collect();
    let old_id = id_of(&three.nodes[old].0);
    eventually("another leads", || leader_of(others[0]).filter(|id| *id != old_id));
    others.iter().for_each(|node| serving(node));
    assert_eq!(others[1].client().call(&["SET", "k", "kept"]), ok());
    three.cut(old, false);
    eventually("the old leader follows", || {
        let reply = three.nodes[old].0.client().call(&["GET", "k"]);
        (reply == bulk("kept")).then_some(())
    });
}

#[test]
fn a_paused_node_answers_when_it_goes_on() {
    let three = Three::start(Duration::ZERO);
    let place = (three.leader() + 1) % 3;
    let (node, switch) = &three.nodes[place];
    let mut client = node.client();
    assert_eq!(client.call(&["PING"]), Frame::Simple(b"PONG".to_vec()));
    switch.pause();
    std::thread::sleep(20 * MS);
    let other = Arc::clone(switch);
    let resumes = std::thread::spawn(move || {
        std::thread::sleep(300 * MS);
        other.resume();
    });
    let begun = Instant::now();
    assert_eq!(client.call(&["PING"]), Frame::Simple(b"PONG".to_vec()));
    assert!(begun.elapsed() >= 250 * MS, "{:?}", begun.elapsed());
    resumes.join().expect("no panic");
    serving(node);
}

/// Four lives of each node in one process, under load: nothing acknowledged is lost, and no life writes into the next one's log.
#[test]
fn a_killed_node_is_started_again_in_the_same_process() {
    let mut three = Three::start(Duration::ZERO);
    let mut written = 0;
    for round in 0..9 {
        let place = round % 3;
        let mut load = three.nodes[(place + 1) % 3].0.client();
        for _ in 0..50 {
            assert_eq!(load.call(&["SET", &format!("kept:{written}"), "1"]), ok());
            written += 1;
        }
        // What is under way when it dies may be done or not.
        load.send(b"INCR n\r\nINCR n\r\n");
        three.nodes[place].1.kill();
        three.nodes[place].0.outcome().expect("a kill is no error of its node");
        let settings = three.all[place].clone();
        three.nodes[place] = begin(&settings, &three.network);
        serving(&three.nodes[place].0);
    }
    let nodes: Vec<&TestNode> = three.nodes.iter().map(|(node, _)| node).collect();
    for node in nodes {
        let mut client = node.client();
        for n in 0..written {
            assert_eq!(client.call(&["GET", &format!("kept:{n}")]), bulk("1"), "key {n}");
        }
    }
}
