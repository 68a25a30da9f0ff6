//! A reader that holds a snapshot open while others write: on each node one reads all accounts over and over, and the sum is that of one
//! moment, although transfers go on all the time. How many there are with and without such readers is shown, not judged.
// catalogue: J16

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bench::client::Client;
use bench::resp::Value;
use bench::servers::tercet::Cluster;
use bench::servers::wait_for;

use super::check;

const TIMEOUT: Duration = Duration::from_secs(5);
const ACCOUNTS: usize = 20_000;
const WRITERS: usize = 4;
const WHILE: Duration = Duration::from_secs(4);
/// Accounts in one reading of a part.
const PART: usize = 500;

pub fn run() -> Result<()> {
    let cluster = Cluster::found(&crate::shell::tercet_binary()?, 3)?;
    cluster.wait_for_leader(Duration::from_secs(10))?;
    let mut client = Client::connect(cluster.nodes[0].resp, TIMEOUT)?;
    wait_for("a write", TIMEOUT, || (client.call(&["SET", "began", "1"]).ok()? == ok()).then_some(()))?;
    for first in (0..ACCOUNTS).step_by(PART) {
        let pairs = (first..first + PART).flat_map(|n| [account(n), "1000".to_owned()]);
        let words: Vec<String> = std::iter::once("MSET".to_owned()).chain(pairs).collect();
        ensure!(client.call(&words)? == ok(), "MSET");
    }
    let alone = transfers(&cluster, || {
        thread::sleep(WHILE);
        Ok(())
    })?;
    let addresses: Vec<_> = cluster.nodes.iter().map(|node| node.resp).collect();
    let mut readings = 0;
    let beside = transfers(&cluster, || {
        let readers = addresses.iter().map(|address| {
            let address = *address;
            thread::spawn(move || read(Client::connect(address, TIMEOUT)?))
        });
        let readers: Vec<_> = readers.collect();
        for reader in readers {
            let reader = reader.join().map_err(|_| anyhow::anyhow!("a reader panicked"))?;
            readings += reader.context("a reader")?;
        }
        Ok(())
    })?;
    check(
        readings > 3,
        &format!("{readings} sums of {ACCOUNTS} accounts in snapshots of three nodes, all right"),
        (),
    )?;
    for address in &addresses {
        let mut client = Client::connect(*address, TIMEOUT)?;
        // A connection that was closed is noticed a moment later.
        wait_for("closed snapshots", TIMEOUT, || {
            let Value::Bulk(info) = client.call(&["INFO", "tercet"]).ok()? else { return None };
            let info = String::from_utf8_lossy(&info).into_owned();
            let kept: Vec<&str> = info.lines().filter(|line| line.starts_with("snapshots_")).collect();
            (kept == ["snapshots_open:0", "snapshots_bytes_kept:0"]).then_some(())
        })?;
    }
    check(true, "nothing is kept for snapshots that are closed", ())?;
    println!("  transfers/s: {alone} alone, {beside} beside three readers that never stop");
    Ok(())
}

/// How many transfers a second are made meanwhile.
fn transfers(cluster: &Cluster, meanwhile: impl FnOnce() -> Result<()>) -> Result<u64> {
    let (ended, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let address = cluster.nodes[writer % cluster.nodes.len()].resp;
            let (ended, done) = (Arc::clone(&ended), Arc::clone(&done));
            thread::spawn(move || -> Result<()> {
                let mut client = Client::connect(address, TIMEOUT)?;
                let mut at = writer * 7919;
                while !ended.load(Ordering::Relaxed) {
                    at = (at * 31 + 17) % ACCOUNTS;
                    let (from, to) = (account(at), account((at * 7 + writer) % ACCOUNTS));
                    client.send(&["MULTI"])?;
                    client.send(&["DECRBY", &from, "3"])?;
                    client.send(&["INCRBY", &to, "3"])?;
                    client.send(&["EXEC"])?;
                    for _ in 0..3 {
                        client.receive()?;
                    }
                    let reply = client.receive()?;
                    ensure!(matches!(&reply, Value::Array(items) if items.len() == 2), "EXEC: {reply:?}");
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
        })
        .collect();
    let begin = Instant::now();
    let outcome = meanwhile();
    let rate = done.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64();
    ended.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??;
    }
    outcome.map(|()| rate as u64)
}

/// Reads all accounts over and over in one snapshot; how often.
fn read(mut client: Client) -> Result<usize> {
    let opened = client.call(&["SNAPSHOT", "OPEN"])?;
    let is_open = |opened: &Value| matches!(opened, Value::Array(items) if items.contains(&Value::Bulk(b"position".to_vec())));
    ensure!(is_open(&opened), "SNAPSHOT OPEN: {opened:?}");
    let (begin, mut readings, mut first) = (Instant::now(), 0, None);
    while begin.elapsed() < WHILE {
        let mut seen = Vec::with_capacity(ACCOUNTS);
        for at in (0..ACCOUNTS).step_by(PART) {
            let names = (at..at + PART).map(account);
            let words: Vec<String> = std::iter::once("MGET".to_owned()).chain(names).collect();
            let Value::Array(items) = client.call(&words)? else { anyhow::bail!("MGET") };
            for item in items {
                let Value::Bulk(text) = item else { anyhow::bail!("an account is missing: {item:?}") };
                seen.push(String::from_utf8(text)?.parse::<i64>()?);
            }
        }
        let sum: i64 = seen.iter().sum();
        ensure!(sum == 1_000 * ACCOUNTS as i64, "the accounts add up to {sum}");
        let first = first.get_or_insert_with(|| seen.clone());
        ensure!(*first == seen, "an account was changed within a snapshot");
        readings += 1;
    }
    let closed = client.call(&["SNAPSHOT", "CLOSE"])?;
    ensure!(closed == ok(), "SNAPSHOT CLOSE: {closed:?}");
    Ok(readings)
}

fn account(n: usize) -> String {
    format!("account{n}")
}

fn ok() -> Value {
    Value::Simple("OK".into())
}
