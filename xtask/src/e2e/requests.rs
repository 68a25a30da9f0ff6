//! Clients that put their own ids on writes and send them again, to any node, until they are answered, while leaders are killed:
//! everything happened once. Then what else one request may ask for, on real sockets.
// catalogue: B3 C5 C10 C12 C13
// bugs: SL-25

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bench::client::Client;
use bench::resp::Value;
use bench::servers::tercet::Cluster;
use bench::servers::wait_for;

use super::check;

#[derive(clap::Args)]
pub struct Options {
    /// How often the leader is killed.
    #[arg(long, default_value_t = 10)]
    pub kills: u32,
    #[arg(long, default_value_t = 8)]
    clients: u32,
}

impl Options {
    pub fn kills(kills: u32) -> Options {
        Options { kills, clients: 8 }
    }
}

const TIMEOUT: Duration = Duration::from_secs(5);
/// A client gives an operation up that was not answered for so long.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn run(options: &Options) -> Result<()> {
    let mut cluster = Cluster::found(&crate::shell::tercet_binary()?, 3)?;
    cluster.wait_for_leader(Duration::from_secs(10))?;
    wishes(&cluster)?;
    let (done, again) = through_kills(&mut cluster, options)?;
    check(again > 0, &format!("{again} of {done} writes were sent more than once"), ())?;
    println!("requests: {} kills, {done} writes under ids, each happened once", options.kills);
    Ok(())
}

/// WITH, CONSISTENCY and the table of answers, on every node.
fn wishes(cluster: &Cluster) -> Result<()> {
    let mut clients = Vec::new();
    for address in cluster.resp_addresses() {
        clients.push(Client::connect(address, TIMEOUT)?);
    }
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let number = |value: &Value| value.integer();
    for (n, client) in clients.iter_mut().enumerate() {
        let again = client.call(&words("WITH REQUEST tour:1 DO INCR once"))?;
        check(
            number(&again) == Some(1),
            &format!("node {}: a duplicate is answered as the first was", n + 1),
            again,
        )?;
        let other = client.call(&words("WITH REQUEST tour:1 DO INCR other"))?;
        check(starts(&other, "ERR another command"), "the same id with another command is an error", other)?;
        let both = client.call(&words("WITH RECEIPT COMMIT synchronous LEVEL applied DO INCR all"))?;
        let receipt = both.items().get(1).map(text_of).unwrap_or_default();
        let told = both.items().first().and_then(number) == Some(n as i64 + 1)
            && receipt.contains("outcome committed")
            && receipt.matches("level applied").count() == 3
            && receipt.contains("asked COMMIT synchronous LEVEL applied");
        check(told, "WITH RECEIPT: the reply, and who applied it", &receipt)?;
        ensure!(starts(&client.call(&words("CONSISTENCY ACKS all TIMEOUT 700"))?, "OK"));
        let shown = text_of(&client.call(&words("CONSISTENCY"))?);
        check(shown == "COMMIT in-sync-set TIMEOUT 700", "CONSISTENCY shows what holds", &shown)?;
        check(starts(&client.call(&words("SET a 1"))?, "OK"), "and writes go on under it", ())?;
        let unknown = client.call(&words("WITH NOSUCH 1 DO SET wrong 1"))?;
        check(starts(&unknown, "ERR unknown option 'NOSUCH'"), "an unknown option is named", unknown)?;
        ensure!(client.call(&words("EXISTS wrong other"))?.integer() == Some(0));
        let keys = text_of(&client.call(&words("COMMAND GETKEYS WITH ACKS 1 RECEIPT DO MSET x 1 y 2"))?);
        check(keys == "x y", "GETKEYS finds the keys behind DO", &keys)?;
    }
    Ok(())
}

fn starts(value: &Value, text: &str) -> bool {
    matches!(value, Value::Error(it) | Value::Simple(it) if it.starts_with(text))
}

/// A reply as words.
fn text_of(value: &Value) -> String {
    if !value.items().is_empty() {
        return value.items().iter().map(text_of).collect::<Vec<_>>().join(" ");
    }
    match value {
        Value::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Simple(text) | Value::Error(text) => text.clone(),
        other => other.integer().map_or_else(String::new, |number| number.to_string()),
    }
}

/// What one client did: its results, and how many of its writes were sent more than once.
#[derive(Default)]
struct Work {
    counts: Vec<i64>,
    elements: Vec<String>,
    again: u64,
}

fn through_kills(cluster: &mut Cluster, options: &Options) -> Result<(usize, u64)> {
    let (addresses, stop) = (cluster.resp_addresses(), Arc::new(AtomicBool::new(false)));
    let workers: Vec<JoinHandle<Result<Work>>> = (0..options.clients)
        .map(|id| {
            let (addresses, stop) = (addresses.clone(), Arc::clone(&stop));
            std::thread::spawn(move || work(id, &addresses, &stop))
        })
        .collect();
    let killed = kill_leaders(cluster, options.kills);
    stop.store(true, Ordering::Relaxed);
    let mut all = Work::default();
    for worker in workers {
        let work = worker.join().map_err(|_| anyhow::anyhow!("a client fell over"))??;
        all.counts.extend(work.counts);
        all.elements.extend(work.elements);
        all.again += work.again;
    }
    killed?;
    let mut client = Client::connect(addresses[0], TIMEOUT)?;
    let count = client.call(&["GET", "counter"])?;
    let count = text_of(&count).parse::<usize>().context("a counter")?;
    check(count == all.counts.len(), "the counter counted every INCR once", (count, all.counts.len()))?;
    all.counts.sort_unstable();
    let expected: Vec<i64> = (1..=count as i64).collect();
    check(all.counts == expected, "and no two were told the same number", ())?;
    let list = client.call(&["LRANGE", "list", "0", "-1"])?;
    let mut list: Vec<String> = list.items().iter().map(text_of).collect();
    list.sort();
    all.elements.sort();
    check(list == all.elements, "the list has every element once", (list.len(), all.elements.len()))?;
    Ok((count + list.len(), all.again))
}

fn kill_leaders(cluster: &mut Cluster, kills: u32) -> Result<()> {
    for round in 1..=kills {
        std::thread::sleep(Duration::from_millis(600 + u64::from(round) * 137 % 500));
        let leader = cluster.wait_for_leader(Duration::from_secs(20))?;
        cluster.nodes[leader].kill();
        std::thread::sleep(Duration::from_millis(700));
        cluster.nodes[leader].start()?;
        cluster.nodes[leader].wait_until_listening()?;
        println!("  round {round}: node {} killed and started again", leader + 1);
    }
    wait_for("a leader in the end", Duration::from_secs(20), || cluster.leader())?;
    Ok(())
}

/// Increments and pushes under ids of its own until it is told to stop; every one is sent until it is answered.
fn work(id: u32, addresses: &[SocketAddr], stop: &AtomicBool) -> Result<Work> {
    let (mut work, mut client, mut place) = (Work::default(), None, id as usize);
    let mut sequence = 0u64;
    while !stop.load(Ordering::Relaxed) {
        sequence += 1;
        let (request, element) = (format!("client-{id}:{sequence}"), format!("{id}-{sequence}"));
        let push = sequence.is_multiple_of(3);
        let inner: &[&str] = if push { &["RPUSH", "list", &element] } else { &["INCR", "counter"] };
        let line: Vec<&str> = ["WITH", "REQUEST", &request, "DO"].iter().chain(inner).copied().collect();
        let (begun, mut sent) = (Instant::now(), 0);
        let result = loop {
            ensure!(begun.elapsed() < PATIENCE, "{line:?} was not answered in {PATIENCE:?}");
            if client.is_none() {
                place += 1;
                client = Client::connect(addresses[place % addresses.len()], Duration::from_secs(2)).ok();
            }
            let Some(open) = &mut client else {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            sent += 1;
            match open.call(&line) {
                Ok(value) if value.integer().is_some() => break value.integer().unwrap_or_default(),
                Ok(Value::Error(text)) if text.starts_with("REQUESTOLD") || text.starts_with("ERR") => {
                    anyhow::bail!("{line:?}: {text}");
                }
                // Whatever it says, the next one is asked the same.
                Ok(_) | Err(_) => {
                    client = None;
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        };
        work.again += u64::from(sent > 1);
        if push {
            work.elements.push(element.clone())
        } else {
            work.counts.push(result)
        }
        // Now and then a write that was answered is sent again, elsewhere.
        if sequence.is_multiple_of(17) {
            let other = addresses[(place + 1) % addresses.len()];
            if let Ok(mut other) = Client::connect(other, Duration::from_secs(2))
                && let Ok(Value::Integer(again)) = other.call(&line)
            {
                ensure!(again == result, "{line:?} was answered {result}, and then {again}");
            }
        }
    }
    Ok(work)
}
