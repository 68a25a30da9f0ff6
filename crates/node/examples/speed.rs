//! Time per command of one node, without sockets and disk: `cargo run --release -p node --example speed`.
//!
//! Catches a slow path before the network hides it. The figures of a release come from the benchmark.

// An example is no part of the pure crate: it measures by the clock.
#![allow(clippy::disallowed_types)]

use control::{Addresses, Founded};
use data::{Incarnation, Instant, NodeId, Now, Process, WallInterval};
use node::{Config, ConnectionId, Input, Node, Output, Restored};
use std::time::Instant as Clock;

fn now(start: Clock) -> Now {
    let nanos = start.elapsed().as_nanos() as u64 + 1;
    let wall = 1_700_000_000_000 + nanos as i64 / 1_000_000;
    Now { instant: Instant(nanos), wall: WallInterval { earliest_ms: wall, latest_ms: wall } }
}

/// Ends the turn and says at once that everything is durable.
fn turn(node: &mut Node, start: Clock, connection: ConnectionId, sink: &mut Vec<u8>) {
    let mut outputs = Vec::new();
    node.end_turn(now(start), &mut outputs);
    let persisted = outputs.iter().filter_map(|output| match output {
        Output::Persist { token, .. } => Some(*token),
        _ => None,
    });
    if let Some(token) = persisted.max() {
        node.step(now(start), Input::Persisted { token, durable: token });
        node.end_turn(now(start), &mut Vec::new());
    }
    let mut ready = Vec::new();
    node.take_ready(&mut ready);
    sink.clear();
    node.take_replies(connection, sink);
}

fn main() {
    let start = Clock::now();
    let control = control::Config {
        node: NodeId(1),
        name: "n1".into(),
        process: Process(1),
        incarnation: Incarnation(1),
        addresses: Addresses::default(),
        site: String::new(),
        founded: Some(Founded::new(vec![("here:1".into(), 1)])),
        shards: 1,
        seed: 1,
        timings: control::Timings::default(),
    };
    let config = Config {
        node: NodeId(1),
        name: "n1".into(),
        incarnation: Incarnation(1),
        process: Process(1),
        control,
        lease: protocol::lease::Timings::default(),
        password: None,
        connections_max: 10,
        seed: 1,
        snapshot_log_bytes: usize::MAX,
        transfer_bytes_per_second: 32 << 20,
        site_bytes_per_second: None,
        merge_engine: &merging::Lua,
        engine_format: data::log_format::ENGINE_FORMAT,
        audit: Default::default(),
        version: "speed",
    };
    let mut node = Node::new(config, Restored::default(), now(start)).expect("no records");
    let connection = ConnectionId(1);
    let (address, local) = (String::new(), String::new());
    node.step(now(start), Input::Connected { connection, address, local });
    let mut sink = Vec::new();
    while sink != b"+OK\r\n" {
        std::thread::sleep(std::time::Duration::from_millis(5));
        node.step(now(start), Input::Tick);
        node.request(now(start), connection, &[b"SET", b"key:000000000000", b"x"]);
        turn(&mut node, start, connection, &mut sink);
    }
    let keys: Vec<Vec<u8>> = (0..200_000u32)
        .map(|n| format!("key:{:012}", n.wrapping_mul(2_654_435_761) % 200_000).into_bytes())
        .collect();
    let value = [b'v'; 64];
    for pipeline in [1usize, 16] {
        for (name, write) in [("SET", true), ("GET", false), ("SET", true), ("GET", false)] {
            let began = Clock::now();
            for batch in keys.chunks(pipeline) {
                let at = now(start);
                for key in batch {
                    if write {
                        node.request(at, connection, &[b"SET", key, &value]);
                    } else {
                        node.request(at, connection, &[b"GET", key]);
                    }
                }
                turn(&mut node, start, connection, &mut sink);
            }
            let nanos = began.elapsed().as_nanos() / keys.len() as u128;
            println!("{name} pipeline {pipeline}: {nanos} ns per command");
        }
    }
}
