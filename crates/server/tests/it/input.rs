//! What clients send: in pieces, in pipelines, too much, wrong.
// catalogue: B1, B2, B3, B4

use crate::client::{Client, bulk, error_of, ok, pipeline};
use crate::rig::{serving, single};
use std::io::Read;
use std::time::{Duration, Instant};
use wire::Frame;

fn is_closed(mut client: Client) -> bool {
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).is_ok() || client.receive().is_none()
}

#[test]
fn replies_of_a_pipeline_come_in_order() {
    let node = single(|_| {});
    let mut client = node.client();
    let commands: Vec<Vec<String>> = (0..5000)
        .map(|n| vec!["SET".into(), format!("k{n}"), n.to_string()])
        .chain((0..5000).map(|n| vec!["GET".into(), format!("k{n}")]))
        .collect();
    client.send(&pipeline(&commands));
    for n in 0..5000 {
        assert_eq!(client.receive(), Some(ok()), "SET {n}");
    }
    for n in 0..5000 {
        assert_eq!(client.receive(), Some(bulk(&n.to_string())), "GET {n}");
    }
}

#[test]
fn a_command_may_come_byte_by_byte() {
    let node = single(|_| {});
    let mut client = node.client();
    client.stream.set_nodelay(true).expect("an option can be set");
    for byte in b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\r\n\r\n" {
        client.send(&[*byte]);
    }
    assert_eq!(client.receive(), Some(ok()));
    client.send(b"GET k\r\n");
    assert_eq!(client.receive(), Some(bulk("\r\n")));
}

#[test]
fn a_large_value_goes_in_and_out() {
    let node = single(|_| {});
    let value: Vec<u8> = (0..16 << 20).map(|n: u32| (n % 251) as u8).collect();
    let mut client = node.client();
    assert_eq!(client.call_bytes(&[b"SET", b"large", &value]), ok());
    assert_eq!(client.call_bytes(&[b"GET", b"large"]), Frame::Bulk(value));
}

#[test]
fn wrong_input_ends_its_own_connection_only() {
    let node = single(|_| {});
    let mut other = node.client();
    for wrong in [&b"*1\r\n$-7\r\n"[..], b"*99999999999\r\n", b"*1\r\n:1\r\n", b"*1\r\n$99999999999\r\n"] {
        let mut client = node.client();
        client.send(wrong);
        let reply = client.receive().expect("an error says what is wrong");
        assert!(error_of(&reply).starts_with("ERR Protocol error"), "{wrong:?}: {reply:?}");
        assert!(is_closed(client), "{wrong:?}");
        assert_eq!(other.call(&["PING"]), Frame::Simple(b"PONG".to_vec()));
    }
}

#[test]
fn http_on_this_port_is_hung_up_on() {
    let node = single(|_| {});
    let mut client = node.client();
    client.send(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nSET k v\r\n");
    assert!(is_closed(client));
    assert_eq!(node.client().call(&["GET", "k"]), Frame::Null);
}

#[test]
fn before_a_password_only_little_is_taken_in() {
    let node = single(|settings| settings.password = Some("secret".into()));
    let mut client = node.client();
    assert!(error_of(&client.call(&["GET", "k"])).starts_with("NOAUTH"));
    client.send(b"*2\r\n$3\r\nGET\r\n$10000000\r\n");
    let reply = client.receive().expect("an error says what is wrong");
    assert!(error_of(&reply).starts_with("ERR Protocol error"), "{reply:?}");
    assert!(is_closed(client));

    let mut client = node.client();
    assert!(error_of(&client.call(&["AUTH", "wrong"])).starts_with("WRONGPASS"));
    assert_eq!(client.call(&["AUTH", "secret"]), ok());
    assert_eq!(client.call_bytes(&[b"SET", b"k", &vec![b'x'; 10_000_000]]), ok());
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody() {
    let node = single(|_| {});
    let mut client = node.client();
    assert_eq!(client.call_bytes(&[b"SET", b"large", &vec![b'x'; 4 << 20]]), ok());
    let mut deaf = node.client();
    let gets: Vec<Vec<String>> = (0..16).map(|_| vec!["GET".into(), "large".into()]).collect();
    deaf.send(&pipeline(&gets));
    let begun = Instant::now();
    for _ in 0..100 {
        assert_eq!(client.call(&["PING"]), Frame::Simple(b"PONG".to_vec()));
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    for _ in 0..16 {
        assert_eq!(deaf.receive().and_then(|f| f.as_bytes().map(<[u8]>::len)), Some(4 << 20));
    }
}

#[test]
fn beyond_maxclients_one_is_told_and_sent_away() {
    let node = single(|settings| settings.connections_max = 3);
    std::thread::sleep(Duration::from_millis(100));
    let mut kept: Vec<Client> = (0..3).map(|_| node.client()).collect();
    kept.iter_mut().for_each(|client| assert_eq!(client.call(&["PING"]), Frame::Simple(b"PONG".to_vec())));
    let mut refused = node.client();
    let reply = refused.receive().expect("an error says why");
    assert_eq!(error_of(&reply), "ERR max number of clients reached");
    assert!(is_closed(refused));
    drop(kept);
    serving(&node);
}
