//! What a write costs the network and the log, by log format: bytes that the leader sends to its follower, and bytes in its log.
//! One client, one write at a time, so that every write is a message of its own; what heartbeats add is measured and taken off.
// catalogue: D1 D4 D6 D8

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::resp::Value;
use crate::servers::tercet::Cluster;
use crate::servers::{Metrics, wait_for};

const FORMATS: [&str; 3] = ["row", "statement", "physical"];
const TIMEOUT: Duration = Duration::from_secs(20);
/// Metrics are made anew every quarter of a second.
const SETTLED: Duration = Duration::from_millis(700);
const WRITES: usize = 1000;

/// One kind of write.
struct Work {
    name: &'static str,
    /// Sent once, before.
    before: Vec<String>,
    write: fn(usize) -> String,
}

fn works() -> Vec<Work> {
    let fields: String = (0..1000).map(|at| format!(" f{at} value{at:05}")).collect();
    let members: String = (0..300).map(|at| format!(" m{at}")).collect();
    vec![
        Work { name: "SET, 10 bytes", before: vec![], write: |at| format!("SET key{at:06} 0123456789") },
        Work {
            name: "SET, 1 KiB",
            before: vec![],
            write: |at| format!("SET big{at:06} {}", "x".repeat(1024)),
        },
        Work { name: "INCR", before: vec![], write: |_| "INCR counter".into() },
        Work {
            name: "APPEND 10 bytes to 64 KiB",
            before: vec![format!("SET text {}", "x".repeat(65_536))],
            write: |_| "APPEND text 0123456789".into(),
        },
        Work {
            name: "HSET, one of 1,000 fields",
            before: vec![format!("HSET hash{fields}")],
            write: |at| format!("HSET hash f{} changed{at:05}", at % 1000),
        },
        Work {
            name: "SADD to 300 members",
            before: vec![format!("SADD set{members}")],
            write: |at| format!("SADD set new{at:06}"),
        },
        Work {
            name: "DEL of 10 keys",
            before: vec![],
            write: |at| match at % 2 {
                0 => format!("MSET{}", (0..10).map(|key| format!(" k{key} v")).collect::<String>()),
                _ => format!("DEL{}", (0..10).map(|key| format!(" k{key}")).collect::<String>()),
            },
        },
    ]
}

/// Bytes for one write.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// What the client sent.
    pub command: f64,
    /// What the leader sent to its follower.
    pub wire: f64,
    /// What the log's entries hold, without their headers.
    pub log: f64,
}

/// What was measured: for each kind of write, the cost in each format.
#[derive(Debug, Default)]
pub struct Report {
    pub rows: Vec<(&'static str, Vec<Cost>)>,
}

/// Measures all kinds of writes in all formats.
///
/// # Errors
/// When a node cannot be started or stops answering.
pub fn measure(tercet: &Path, progress: &mut dyn FnMut(&str)) -> io::Result<Report> {
    let cluster = Cluster::found(tercet, 2)?;
    let mut report = Report { rows: works().iter().map(|work| (work.name, Vec::new())).collect() };
    for format in FORMATS {
        let (resp, http) = create(&cluster, format)?;
        let mut client = Client::connect(resp, TIMEOUT)?;
        call(&mut client, &format!("SELECT {format}"))?;
        for (work, row) in works().iter().zip(&mut report.rows) {
            for line in &work.before {
                call(&mut client, line)?;
            }
            // What goes on without any write: heartbeats, leases.
            let idle = sample(http, format)?;
            let began = Instant::now();
            std::thread::sleep(SETTLED);
            let (before, rested) = (sample(http, format)?, began.elapsed());
            let began = Instant::now();
            let mut command = 0;
            for at in 0..WRITES {
                let line = (work.write)(at);
                command += encoded(&line);
                call(&mut client, &line)?;
            }
            let after = sample(http, format)?;
            let noise = (before.sent - idle.sent) / rested.as_secs_f64() * began.elapsed().as_secs_f64();
            let each = |bytes: f64| bytes / WRITES as f64;
            let cost = Cost {
                command: each(command as f64),
                wire: each(after.sent - before.sent - noise),
                log: each(after.logged - before.logged),
            };
            progress(&format!("{format}: {}: {:.0} bytes on the wire", work.name, cost.wire));
            row.1.push(cost);
        }
    }
    Ok(report)
}

/// Bytes of a command on a client's connection.
fn encoded(line: &str) -> usize {
    let words: Vec<&str> = line.split(' ').collect();
    let head = |number: usize| number.to_string().len() + 3;
    head(words.len()) + words.iter().map(|word| head(word.len()) + word.len() + 2).sum::<usize>()
}

fn call(client: &mut Client, line: &str) -> io::Result<()> {
    let words: Vec<&str> = line.split(' ').collect();
    match client.call(&words).map_err(io::Error::other)? {
        Value::Error(text) => Err(io::Error::other(format!("{}: {text}", words[0]))),
        _ => Ok(()),
    }
}

/// A keyspace of two copies in this format; where its leader serves clients, and metrics.
fn create(cluster: &Cluster, format: &str) -> io::Result<(SocketAddr, SocketAddr)> {
    let line = format!("KEYSPACE CREATE {format} SINGLE-LEADER REPLICAS 2 COMMIT synchronous LOG {format}");
    wait_for("the keyspace", TIMEOUT, || {
        let mut client = Client::connect(cluster.nodes[0].resp, TIMEOUT).ok()?;
        match call(&mut client, &line) {
            Ok(()) => Some(()),
            Err(error) => error.to_string().contains("exists").then_some(()),
        }
    })?;
    wait_for("the keyspace's leader", TIMEOUT, || {
        cluster.nodes.iter().find_map(|node| {
            let mut client = Client::connect(node.resp, TIMEOUT).ok()?;
            call(&mut client, &format!("SELECT {format}")).ok()?;
            let role = client.call(&["ROLE"]).ok()?;
            let leads = role.items().first().and_then(Value::text) == Some("master");
            (leads && call(&mut client, "SET ready 1").is_ok()).then_some((node.resp, node.http))
        })
    })
}

/// Counters of one node.
struct Sample {
    sent: f64,
    logged: f64,
}

fn sample(http: SocketAddr, keyspace: &str) -> io::Result<Sample> {
    std::thread::sleep(SETTLED);
    let metrics = Metrics::of(http)?;
    let keyspace = format!("keyspace=\"{keyspace}\"");
    Ok(Sample {
        sent: metrics.sum("tercet_peer_sent_bytes_total{", "peer="),
        logged: metrics.sum("tercet_log_bytes_total{", &keyspace),
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "bytes of one write: on the wire to one follower (in the log)")?;
        write!(f, "{:<28}{:>10}", "", "command")?;
        FORMATS.iter().try_for_each(|format| write!(f, "{format:>18}"))?;
        writeln!(f)?;
        for (name, costs) in &self.rows {
            write!(f, "{name:<28}{:>10.0}", costs.first().map_or(0.0, |cost| cost.command))?;
            for cost in costs {
                write!(f, "{:>18}", format!("{:.0} ({:.0})", cost.wire, cost.log))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_as_long_as_it_is_on_its_connection() {
        assert_eq!(encoded("SET key 10"), "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$2\r\n10\r\n".len());
    }
}
