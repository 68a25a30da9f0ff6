//! The peer port and those who are no peers.
// bugs: X-07

use crate::client::ok;
use crate::rig::{Directory, TestNode, founders, leading, serving, single};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use wire::Frame;

#[test]
fn who_proves_nothing_is_disconnected() {
    let node = single(|_| {});
    let mut silent = TcpStream::connect(&node.settings.peer).expect("the peer port listens");
    silent.set_read_timeout(Some(Duration::from_secs(9))).expect("a time-out can be set");
    let mut nothing = [0u8; 1];
    assert!(matches!(silent.read(&mut nothing), Ok(0)), "a connection that says nothing stays open");
}

#[test]
fn garbage_on_the_peer_port_disturbs_nobody() {
    let node = single(|_| {});
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 70_000], b"TERCETf1\xff\xff\xff\xff"] {
        let mut stream = TcpStream::connect(&node.settings.peer).expect("the peer port listens");
        stream.set_read_timeout(Some(Duration::from_secs(9))).expect("a time-out can be set");
        let _ = stream.write_all(garbage);
        let mut answer = Vec::new();
        // Closed, by whichever word the system has for it.
        let ended = stream.read_to_end(&mut answer);
        assert!(ended.is_ok() || ended.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset));
    }
    assert_eq!(node.client().call(&["PING"]), Frame::Simple(b"PONG".to_vec()));
}

/// Two hundred strangers at once: the oldest go at once, long before their time for a handshake is over, and a member that
/// comes after them gets in.
#[test]
fn strangers_do_not_keep_members_out() {
    let directory = Directory::new();
    let all = founders(3, &directory);
    let mut nodes: Vec<TestNode> = all.iter().cloned().map(TestNode::start).collect();
    nodes.iter().for_each(serving);
    nodes.pop().expect("three nodes").stop().expect("it ends cleanly");

    let connect = |_| TcpStream::connect(&all[0].peer).expect("the peer port listens");
    let mut strangers: Vec<TcpStream> = (0..200).map(connect).collect();
    strangers[0].set_read_timeout(Some(Duration::from_secs(1))).expect("a time-out can be set");
    assert!(matches!(strangers[0].read(&mut [0u8; 1]), Ok(0)), "the oldest stranger is still there");

    nodes.push(TestNode::start(all[2].clone()));
    serving(&nodes[2]);
    let mut client = leading(&nodes).client();
    assert_eq!(client.call(&["SET", "k", "v"]), ok());
    assert_eq!(client.call(&["WAIT", "2", "10000"]).as_integer(), Some(2), "the member did not get in");
}
