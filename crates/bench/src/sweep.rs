//! Tercet beside itself, in one run: what each commit rule, and each W and R, costs with more and more copies, and what reads of
//! followers spare the leader. Every rule is a keyspace of the same cluster, one process per node; the rules take turns in every round.
// catalogue: B9 C16 C18 K6 K7 K24

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::client::Client;
use crate::compare::{Cell, KEYS, Report, Table, VALUE_BYTES};
use crate::load::{self, KeyOrder, Load, Outcome, Pace, Stop};
use crate::process::Server;
use crate::redis_load::{RedisDialect, Work};
use crate::resp::Value;
use crate::servers::tercet::Cluster;
use crate::servers::wait_for;

/// The name of each rule's keyspace, and the rule in the words of KEYSPACE CREATE. The first is what the others are compared with.
const RULES: [(&str, &str); 6] = [
    ("async", "async"),
    ("semi", "semi-sync ACKS 1"),
    ("majority", "majority"),
    ("in-sync", "in-sync-set"),
    ("synchron", "synchronous"),
    ("chain", "chain"),
];
/// Leaderless keyspaces beside them, with as many copies; the numbers behind the name are W and R, 0 for more than half.
const QUORUMS: [(&str, usize, usize); 3] = [("w1r1", 1, 1), ("quorum", 0, 0), ("all", usize::MAX, 1)];
/// Where more than half are asked, once more with its clients spread over all nodes: any of them coordinates.
const SPREAD: (&str, &str) = ("spread", "quorum");
const CLIENTS: [usize; 2] = [1, 64];
const READERS: usize = 48;
const TIMEOUT: Duration = Duration::from_secs(20);

/// What to sweep over.
#[derive(Clone, Debug)]
pub struct Plan {
    pub tercet: PathBuf,
    /// Numbers of followers.
    pub followers: Vec<usize>,
    /// Shorter runs and fewer rounds: for a look, not for a record.
    pub quick: bool,
}

/// Runs the plan; `progress` is told a line now and then.
///
/// # Errors
/// When a node cannot be started or stops answering.
pub fn sweep(plan: &Plan, progress: &mut dyn FnMut(&str)) -> io::Result<Report> {
    let mut report = Report::default();
    for followers in &plan.followers {
        let cluster = Cluster::found(&plan.tercet, followers + 1)?;
        let mut leaders = Vec::new();
        for (name, rule) in RULES {
            let words =
                format!("KEYSPACE CREATE {name} SINGLE-LEADER REPLICAS {} COMMIT {rule}", followers + 1);
            leaders.push(create(&cluster, name, &words)?);
        }
        for (name, w, r) in QUORUMS {
            let n = followers + 1;
            let number = |wanted: usize| if wanted == 0 { n / 2 + 1 } else { wanted.min(n) };
            let (w, r) = (number(w), number(r));
            leaders.push(create(
                &cluster,
                name,
                &format!("KEYSPACE CREATE {name} LEADERLESS N {n} W {w} R {r}"),
            )?);
        }
        let names = RULES.iter().map(|(name, _)| *name).chain(QUORUMS.iter().map(|(name, ..)| *name));
        let names: Vec<&'static str> = names.chain([SPREAD.0]).collect();
        for (work, word) in [(Work::Set, "set"), (Work::Get, "get")] {
            for clients in CLIENTS {
                let name = format!("{word}, {followers} followers, {clients} clients");
                let mut run = |number: usize, round| {
                    let (addresses, keyspace) = match names[number] {
                        name if name == SPREAD.0 => (cluster.resp_addresses(), SPREAD.1),
                        name => (vec![leaders[number]], name),
                    };
                    let load = Load {
                        addresses,
                        connections: clients,
                        pids: cluster.pids(),
                        ..timed(plan.quick, round)
                    };
                    let keyspace = ["SELECT", keyspace];
                    load::run(&load, |_| RedisDialect::new(work, VALUE_BYTES).opening(&keyspace))
                };
                report.tables.push(in_turns(&name, &names, plan.quick, progress, &mut run)?);
                // What nobody leads has no such parts, nor have reads.
                let measured = if work == Work::Set { RULES.len() } else { 0 };
                for (leader, rule) in leaders.iter().zip(&names).take(measured) {
                    let parts = latency_parts(*leader, rule)?;
                    progress(&format!("{name}: {rule} waited, median in us: {parts}"));
                }
            }
        }
    }
    report.tables.push(readers(plan, progress)?);
    Ok(report)
}

/// Where the time of a keyspace's last writes went, as its leader measured it: the median of each part.
// catalogue: C17
fn latency_parts(leader: SocketAddr, keyspace: &str) -> io::Result<String> {
    let info =
        Client::connect(leader, TIMEOUT)?.call(&["KEYSPACE", "INFO", keyspace]).map_err(io::Error::other)?;
    let fields = info.items().chunks_exact(2);
    let mut parts = fields.filter(|pair| pair[0].text() == Some("latency-parts")).map(|pair| pair[1].items());
    let median = |line: &Value| {
        let mut words = line.text()?.split(' ');
        let part = words.next()?;
        Some(format!("{part} {}", words.find_map(|word| word.strip_prefix("p50-us="))?))
    };
    let parts: Vec<String> = parts.next().unwrap_or_default().iter().filter_map(median).collect();
    Ok(parts.join(", "))
}

/// Reads at the leader beside reads at all three copies; the CPU time is that of the leader alone.
// catalogue: A2
fn readers(plan: &Plan, progress: &mut dyn FnMut(&str)) -> io::Result<Table> {
    let cluster = Cluster::found(&plan.tercet, 3)?;
    let leader = create(&cluster, "read", "KEYSPACE CREATE read SINGLE-LEADER REPLICAS 3 COMMIT majority")?;
    let keyspace = ["SELECT", "read"];
    let fill = Load {
        addresses: vec![leader],
        connections: 8,
        pipeline: 64,
        key_order: KeyOrder::Sequential,
        stop: Stop::Operations(KEYS),
        ..timed(plan.quick, 0)
    };
    load::run(&fill, |_| RedisDialect::new(Work::Set, VALUE_BYTES).opening(&keyspace))?;
    let at = |node: &crate::servers::tercet::Node| node.resp == leader;
    let pids: Vec<u32> = cluster
        .nodes
        .iter()
        .filter(|node| at(node))
        .filter_map(|node| node.server.as_ref().map(Server::pid))
        .collect();
    let mut run = |number: usize, round| {
        let (addresses, preference) = match number {
            0 => (vec![leader], "leader"),
            _ => (cluster.resp_addresses(), "follower"),
        };
        let load = Load {
            addresses,
            connections: READERS,
            pipeline: 16,
            pids: pids.clone(),
            ..timed(plan.quick, round)
        };
        let reads = ["CONSISTENCY", "READ", preference];
        load::run(&load, |_| RedisDialect::new(Work::Get, 0).opening(&keyspace).opening(&reads))
    };
    in_turns("get p16, CPU of the leader alone", &["leader", "copies"], plan.quick, progress, &mut run)
}

/// Runs each contender once in every round.
fn in_turns(
    name: &str,
    contenders: &[&'static str],
    is_quick: bool,
    progress: &mut dyn FnMut(&str),
    run: &mut dyn FnMut(usize, u64) -> io::Result<Outcome>,
) -> io::Result<Table> {
    let rounds = if is_quick { 3 } else { 5 };
    let mut cells: Vec<Cell> = contenders.iter().map(|server| Cell { server, rounds: Vec::new() }).collect();
    for round in 0..rounds {
        // Every second round goes backwards, so that none always runs behind the same neighbour.
        let count = contenders.len();
        for at in 0..count {
            let number = if round % 2 == 0 { at } else { count - 1 - at };
            let outcome = run(number, round)?;
            progress(&format!(
                "{name}, round {} of {rounds}: {} {:.0}/s",
                round + 1,
                contenders[number],
                outcome.rate()
            ));
            cells[number].rounds.push(outcome);
        }
    }
    Ok(Table { name: name.to_owned(), cells })
}

fn timed(is_quick: bool, round: u64) -> Load {
    Load {
        addresses: Vec::new(),
        connections: 1,
        pipeline: 1,
        pace: Pace::Closed,
        keys: KEYS,
        key_order: KeyOrder::Random,
        warm_up: Duration::from_millis(if is_quick { 200 } else { 500 }),
        stop: Stop::After(Duration::from_millis(if is_quick { 700 } else { 2_000 })),
        pids: Vec::new(),
        seed: 0x9e37_79b9_7f4a_7c15 + round,
    }
}

/// Makes a keyspace and waits until its leader takes writes, or any node where nobody leads; that node's address.
fn create(cluster: &Cluster, name: &str, words: &str) -> io::Result<SocketAddr> {
    let ok = Value::Simple("OK".into());
    let words: Vec<&str> = words.split(' ').collect();
    wait_for("the keyspace", TIMEOUT, || {
        let reply = Client::connect(cluster.nodes[0].resp, TIMEOUT).ok()?.call(&words).ok()?;
        let exists = matches!(&reply, Value::Error(text) if text.contains("exists"));
        (reply == ok || exists).then_some(())
    })?;
    wait_for("the keyspace's leader", TIMEOUT, || {
        cluster.nodes.iter().find_map(|node| {
            let mut client = Client::connect(node.resp, TIMEOUT).ok()?;
            client.call(&["SELECT", name]).ok()?;
            let role = client.call(&["ROLE"]).ok()?;
            let leads =
                words.contains(&"LEADERLESS") || role.items().first().and_then(Value::text) == Some("master");
            let mut written = || client.call(&["SET", "ready", "1"]).ok();
            (leads && written()? == ok).then_some(node.resp)
        })
    })
}
