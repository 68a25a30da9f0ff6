//! Figures of leaderless keyspaces, on three processes of one machine.
//!
//! | file | measures |
//! |---|---|
//! | `repair` | how fast a copy that was away gets what differs, and what that moves |
//! | `staleness` | how often a read with R 1 misses a write with W 1, beside what propagation delays predict |
//! | `metadata` | what a key costs beyond its name and value, and whether clients add to it |

pub mod metadata;
pub mod repair;
pub mod staleness;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::process::Server;
use crate::redis_load::key_name;
use crate::resp::Value;
use crate::servers::tercet::Cluster;
use crate::servers::{ask, wait_for};

const TIMEOUT: Duration = Duration::from_secs(20);
/// How long a batch may be tried again.
const FILL_TIMEOUT: Duration = Duration::from_secs(60);
const KEYSPACE: &str = "figures";
const VALUE_BYTES: usize = 64;
/// Keys of one MSET: each is a write by itself.
const BATCH: u64 = 100;
/// Connections that fill: a connection has one command under way.
const FILLERS: u64 = 8;

/// Three nodes with one leaderless keyspace of three copies.
fn found(program: &Path, options: &str) -> io::Result<Cluster> {
    let cluster = Cluster::found(program, 3)?;
    let line = format!("KEYSPACE CREATE {KEYSPACE} LEADERLESS N 3 {options}");
    let words: Vec<&str> = line.split_whitespace().collect();
    wait_for("the keyspace", TIMEOUT, || {
        let reply = ask(cluster.nodes[0].resp, &words)?;
        let exists = matches!(&reply, Value::Error(text) if text.contains("exists"));
        (reply == ok() || exists).then_some(())
    })?;
    for node in &cluster.nodes {
        wait_for("a write through each node", TIMEOUT, || {
            (connect(node.resp).ok()?.call(&["SET", "ready", "1"]).ok()? == ok()).then_some(())
        })?;
    }
    Ok(cluster)
}

fn ok() -> Value {
    Value::Simple("OK".into())
}

fn connect(address: SocketAddr) -> io::Result<Client> {
    let mut client = Client::connect(address, TIMEOUT)?;
    match client.call(&["SELECT", KEYSPACE]).map_err(io::Error::other)? {
        Value::Simple(_) => Ok(client),
        other => Err(io::Error::other(format!("SELECT: {other:?}"))),
    }
}

/// Writes keys `0..keys` through these nodes, with values of one letter.
fn fill(nodes: &[SocketAddr], keys: u64, letter: u8) -> io::Result<()> {
    let part = |number: u64| -> io::Result<()> {
        let mut client = connect(nodes[number as usize % nodes.len()])?;
        let value = [letter; VALUE_BYTES];
        for batch in (number * BATCH..keys).step_by((FILLERS * BATCH) as usize) {
            let names: Vec<[u8; 16]> = (batch..(batch + BATCH).min(keys)).map(key_name).collect();
            let pairs = names.iter().flat_map(|name| [&name[..], &value[..]]);
            let words: Vec<&[u8]> = std::iter::once(&b"MSET"[..]).chain(pairs).collect();
            // What ended without enough answers is written again: the value is the same.
            let deadline = Instant::now() + FILL_TIMEOUT;
            loop {
                let reply = client.call(&words).map_err(io::Error::other)?;
                if reply == ok() {
                    break;
                }
                if Instant::now() > deadline {
                    return Err(io::Error::other(format!(
                        "MSET of {BATCH} keys, again and again: {reply:?}"
                    )));
                }
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..FILLERS).map(|number| scope.spawn(move || part(number))).collect();
        parts.into_iter().try_for_each(|it| it.join().map_err(|_| io::Error::other("a filler fell over"))?)
    })
}

/// What a node says of its copy in INFO: its fields, and the counts of the node.
fn copy_of(address: SocketAddr) -> Option<(BTreeMap<String, String>, BTreeMap<String, u64>)> {
    let reply = ask(address, &["INFO", "leaderless"])?;
    let (mut copy, mut counts) = (None, BTreeMap::new());
    for (name, value) in reply.text()?.lines().filter_map(|line| line.split_once(':')) {
        if name.starts_with("leaderless_shard") {
            let pair = |pair: &str| pair.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned()));
            copy = Some(value.split(',').filter_map(pair).collect());
        } else if let Ok(number) = value.trim().parse() {
            counts.insert(name.to_owned(), number);
        }
    }
    Some((copy?, counts))
}

/// Memory of each process, in bytes.
fn resident_bytes(servers: &[&Server]) -> u64 {
    let pages = |pid: u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        text.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    // SAFETY: sysconf only reads a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(1) as u64;
    servers.iter().filter_map(|server| pages(server.pid())).sum::<u64>() * page
}
