//! What a node refuses to start with, and what it says.
// catalogue: B10; bugs: X-11

use crate::rig::{Directory, TestNode, founders, serving, settings};
use server::Settings;

fn refusal(settings: Settings) -> String {
    TestNode::start(settings).outcome().expect_err("this must not start").to_string()
}

#[test]
fn an_open_address_needs_a_password() {
    let open = Settings { resp: "0.0.0.0:6379".into(), ..settings("n1") };
    assert!(refusal(open).starts_with("protected mode: 0.0.0.0:6379"));
    let open = Settings { peer: "0.0.0.0:7379".into(), ..settings("n1") };
    assert!(refusal(open).starts_with("protected mode: 0.0.0.0:7379"));
}

#[test]
fn a_transfer_rate_of_nothing_is_refused() {
    assert!(refusal(Settings { transfer_rate: 0, ..settings("n1") }).contains("--transfer-rate"));
    assert!(refusal(Settings { site_rate: Some(100), ..settings("n1") }).contains("--site-rate"));
    assert!(refusal(Settings { shards: 0, ..settings("n1") }).contains("--shards"));
}

#[test]
fn an_address_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let told = refusal(Settings { resp: address.clone(), ..settings("n1") });
    assert!(told.starts_with(&format!("cannot listen on {address} (--resp)")), "{told}");
}

/// It once waited for ever, without a word, for an answer from nobody.
#[test]
fn an_empty_node_must_found_or_join() {
    let directory = Directory::new();
    let lost = Settings { founders: Vec::new(), data: Some(directory.0.join("n1")), ..settings("n1") };
    let told = refusal(lost);
    assert!(told.contains("--founders") && told.contains("--join"), "{told}");
    let forgetful = Settings { founders: Vec::new(), ..settings("n1") };
    assert!(refusal(forgetful).contains("--founders"));
}

#[test]
fn after_the_first_start_neither_is_needed() {
    let directory = Directory::new();
    let first = founders(1, &directory).remove(0);
    let node = TestNode::start(first.clone());
    serving(&node);
    node.stop().expect("it ends cleanly");
    let node = TestNode::start(Settings { founders: Vec::new(), ..first });
    serving(&node);
}

#[test]
fn a_directory_of_another_cluster_is_refused() {
    let directory = Directory::new();
    let first = founders(1, &directory).remove(0);
    let node = TestNode::start(first.clone());
    serving(&node);
    node.stop().expect("it ends cleanly");
    let other = Settings { data: first.data.clone(), ..settings("n1") };
    let told = refusal(other);
    assert!(told.contains("belongs to another cluster"), "{told}");
}

#[test]
fn one_directory_is_for_one_node() {
    let directory = Directory::new();
    let first = founders(1, &directory).remove(0);
    let node = TestNode::start(first.clone());
    serving(&node);
    let told = refusal(Settings { data: first.data, ..settings("n2") });
    assert!(told.contains("lock") || told.contains("use"), "{told}");
}

#[test]
fn a_founder_must_be_among_the_founders() {
    let stranger = Settings { founders: vec!["127.0.0.1:1".into()], ..settings("n1") };
    assert!(refusal(stranger).contains("must name this node's own peer address"));
}
