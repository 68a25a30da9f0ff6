//! Three nodes: any takes any command, the death of one loses nothing, a restart finds everything.
// catalogue: E1, L7

use crate::client::{bulk, ok};
use crate::rig::{Directory, TestNode, eventually, founders, id_of, leader_of, leading, serving};

#[test]
fn any_node_takes_any_command() {
    let directory = Directory::new();
    let nodes: Vec<TestNode> = founders(3, &directory).into_iter().map(TestNode::start).collect();
    nodes.iter().for_each(serving);
    for (n, node) in nodes.iter().enumerate() {
        assert_eq!(node.client().call(&["SET", &format!("key:{n}"), &format!("value:{n}")]), ok());
    }
    for node in &nodes {
        for n in 0..3 {
            assert_eq!(node.client().call(&["GET", &format!("key:{n}")]), bulk(&format!("value:{n}")));
        }
    }
}

#[test]
fn a_stopped_leader_is_replaced_and_what_it_acknowledged_is_there() {
    let directory = Directory::new();
    let mut nodes: Vec<TestNode> = founders(3, &directory).into_iter().map(TestNode::start).collect();
    nodes.iter().for_each(serving);
    let mut client = nodes[0].client();
    for n in 0..200 {
        assert_eq!(client.call(&["SET", &format!("kept:{n}"), "1"]), ok());
    }
    let leader = id_of(leading(&nodes));
    let place = nodes.iter().position(|node| id_of(node) == leader).expect("it is one of them");
    nodes.remove(place).stop().expect("it ends cleanly");

    let survivor = &nodes[0];
    eventually("another leads", || leader_of(survivor).filter(|id| *id != leader));
    serving(survivor);
    let mut client = survivor.client();
    for n in 0..200 {
        assert_eq!(client.call(&["GET", &format!("kept:{n}")]), bulk("1"), "key {n}");
    }
}

#[test]
fn a_second_start_finds_everything() {
    let directory = Directory::new();
    let all = founders(3, &directory);
    let nodes: Vec<TestNode> = all.iter().cloned().map(TestNode::start).collect();
    nodes.iter().for_each(serving);
    assert_eq!(nodes[1].client().call(&["SET", "greeting", "hello"]), ok());
    assert_eq!(nodes[0].client().call(&["RPUSH", "list", "a", "b"]).as_integer(), Some(2));
    for node in nodes {
        node.stop().expect("it ends cleanly");
    }

    let nodes: Vec<TestNode> = all.into_iter().map(TestNode::start).collect();
    nodes.iter().for_each(serving);
    assert_eq!(nodes[2].client().call(&["GET", "greeting"]), bulk("hello"));
    assert_eq!(
        nodes[0].client().call(&["LRANGE", "list", "0", "-1"]).as_items(),
        Some(&[bulk("a"), bulk("b")][..])
    );
}

#[test]
fn a_cluster_that_keeps_nothing_replicates_all_the_same() {
    let directory = Directory::new();
    let mut all = founders(3, &directory);
    all.iter_mut().for_each(|node| node.data = None);
    let nodes: Vec<TestNode> = all.into_iter().map(TestNode::start).collect();
    nodes.iter().for_each(serving);
    assert_eq!(nodes[0].client().call(&["SET", "k", "v"]), ok());
    assert_eq!(nodes[2].client().call(&["GET", "k"]), bulk("v"));
    let mut client = leading(&nodes).client();
    assert_eq!(client.call(&["SET", "k", "w"]), ok());
    assert_eq!(client.call(&["WAIT", "2", "10000"]).as_integer(), Some(2));
}

// catalogue: B6 G2 G3
#[test]
fn a_session_that_moves_with_its_token_reads_what_it_wrote_from_copies() {
    let directory = Directory::new();
    let nodes: Vec<TestNode> = founders(3, &directory).into_iter().map(TestNode::start).collect();
    nodes.iter().for_each(serving);
    let text = |frame: &wire::Frame| match frame {
        wire::Frame::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => panic!("no text: {other:?}"),
    };
    let mut token = String::new();
    let mut from_copies = 0;
    for n in 0..60 {
        let value = n.to_string();
        let mut writer = nodes[n % 3].client();
        if !token.is_empty() {
            assert_eq!(writer.call(&["SESSION", "RESUME", &token]), ok());
        }
        assert_eq!(writer.call(&["SET", "comment", &value]), ok());
        token = text(&writer.call(&["SESSION", "TOKEN"]));
        let mut reader = nodes[(n + 1) % 3].client();
        assert_eq!(reader.call(&["CONSISTENCY", "READ", "follower", "MAX-STALENESS", "1000"]), ok());
        assert_eq!(reader.call(&["SESSION", "RESUME", &token]), ok());
        assert_eq!(reader.call(&["GET", "comment"]), bulk(&value));
        let receipt = reader.call(&["RECEIPT"]);
        from_copies += usize::from(receipt.as_items().is_some_and(|items| items.contains(&bulk("follower"))));
    }
    assert!(from_copies > 10, "{from_copies} reads came from copies");
}
