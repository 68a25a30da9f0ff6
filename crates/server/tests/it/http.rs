//! What machines that watch are told.

use crate::client::ok;
use crate::rig::{eventually, single};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("HTTP listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn health_and_readiness() {
    let node = single(|_| {});
    let _http = server::http::start(&node.settings.http, node.status()).expect("a free port");
    assert!(get(&node.settings.http, "/healthz").starts_with("HTTP/1.1 200"));
    eventually("ready", || get(&node.settings.http, "/readyz").starts_with("HTTP/1.1 200").then_some(()));
    assert!(get(&node.settings.http, "/nothing").starts_with("HTTP/1.1 404"));
}

/// Prometheus wants the samples of one metric together, behind its type, and each name once.
#[test]
fn metrics_are_grouped_and_typed() {
    let node = single(|_| {});
    let _http = server::http::start(&node.settings.http, node.status()).expect("a free port");
    assert_eq!(node.client().call(&["SET", "k", "v"]), ok());
    let text = eventually("a key is counted", || {
        let text = get(&node.settings.http, "/metrics");
        text.contains("redis_db_keys{db=\"0\"} 1").then_some(text)
    });
    let (_, body) = text.split_once("\r\n\r\n").expect("a body");
    let mut seen = BTreeSet::new();
    let mut current = "";
    for line in body.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            current = typed.split(' ').next().unwrap_or_default();
            assert!(seen.insert(current), "{current} twice");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            // A histogram has three kinds of samples under its name.
            let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let name = of_histogram.filter(|base| *base == current).unwrap_or(name);
            assert_eq!(name, current, "a sample among those of another metric: {line}");
            assert!(line.rsplit(' ').next().is_some_and(|v| v.parse::<f64>().is_ok()), "{line}");
        }
    }
    for expected in [
        "redis_up",
        "redis_instance_info",
        "redis_connected_clients",
        "redis_connected_slaves",
        "redis_commands_processed_total",
        "redis_memory_used_bytes",
        "redis_db_keys",
        "tercet_group_role",
        "tercet_group_epoch",
        "tercet_group_commit_index",
        "tercet_group_waiting_replies",
        "tercet_elections_won_total",
    ] {
        assert!(seen.contains(expected), "{expected} is missing");
    }
}
