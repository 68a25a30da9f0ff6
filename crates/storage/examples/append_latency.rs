//! How long an append takes until it survives a power cut, on the disk of a given directory.
//!
//! `cargo run --release -p storage --example append_latency -- [directory] [batches]`
//!
//! Compares a plain growing file, a preallocated one, and the log with one, two and four batches in flight; 4 KiB and
//! 64 KiB a batch.

use data::record::{Header, Kind, Record};
use data::{Epoch, GroupId, Index, KeyspaceId, NodeId, RequestId};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use storage::{Disk, Files, Log, LogConfig, Options, Owner, RealDisk, Result, recover};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().unwrap_or_else(|| "append-latency".to_owned());
    let batches = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(2000);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&directory)?);
    println!("{:<34}{:>10}{:>10}{:>10}{:>12}", "", "p50 µs", "p99 µs", "max µs", "batches/s");
    for size in [4 << 10, 64 << 10] {
        file(&disk, size, batches, false)?;
        file(&disk, size, batches, true)?;
        for depth in [1, 2, 4] {
            log(&disk, size, batches, depth)?;
        }
    }
    // What this made is only good for this.
    let _ = std::fs::remove_dir_all(directory);
    Ok(())
}

fn report(name: &str, mut took: Vec<Duration>, whole: Duration) {
    took.sort_unstable();
    let at = |part: usize| took[(took.len() - 1) * part / 100].as_micros();
    let rate = took.len() as f64 / whole.as_secs_f64();
    println!("{name:<34}{:>10}{:>10}{:>10}{rate:>12.0}", at(50), at(99), at(100));
}

/// Append and flush, nothing else.
fn file(disk: &Arc<dyn Disk>, size: usize, batches: usize, preallocate: bool) -> Result<()> {
    let file = disk.create("plain")?;
    if preallocate {
        file.preallocate((size * batches) as u64)?;
    }
    let bytes = vec![7; size];
    let mut took = Vec::with_capacity(batches);
    let start = Instant::now();
    for at in 0..batches {
        let before = Instant::now();
        file.write_at((at * size) as u64, &bytes)?;
        file.flush()?;
        took.push(before.elapsed());
    }
    let kind = if preallocate { "preallocated" } else { "growing" };
    report(&format!("{kind} file, {} KiB", size >> 10), took, start.elapsed());
    disk.remove("plain")
}

/// The log with `depth` flusher threads.
fn log(disk: &Arc<dyn Disk>, size: usize, batches: usize, depth: usize) -> Result<()> {
    let owner = Owner { cluster: 1, node: NodeId(1) };
    let mut found = recover(disk, &Options { owner }, &mut |_, _| {})?;
    let files = Arc::new(Files::new(Arc::clone(disk)));
    let config = LogConfig { owner, process: 1, segment_bytes: 512 << 20 };
    let mut log = Log::open(&files, config, found.take_stream(0))?;
    let record = record(size - 1024);
    let (done, results) = mpsc::channel();
    let mut took = Vec::with_capacity(batches);
    let mut began = vec![Instant::now(); batches + 1];
    let first = log.next_batch();
    let start = Instant::now();
    std::thread::scope(|scope| -> Result<()> {
        let mut queues = Vec::new();
        for _ in 0..depth {
            let (queue, jobs) = mpsc::channel::<storage::WriteJob>();
            let (files, done) = (Arc::clone(&files), done.clone());
            scope.spawn(move || {
                for job in jobs {
                    let result = job.perform(&files);
                    if done.send((job.batch, result)).is_err() {
                        return;
                    }
                }
            });
            queues.push(queue);
        }
        while took.len() < batches {
            while log.in_flight() < depth && ((log.next_batch() - first) as usize) < batches {
                let at = (log.next_batch() - first) as usize;
                began[at] = Instant::now();
                log.append(&record)?;
                if let Some(job) = log.seal_batch(true)? {
                    // Its thread outlives the loop: the queue is open.
                    let _ = queues[at % depth].send(job);
                }
            }
            let Ok((batch, result)) = results.recv() else { break };
            result?;
            let before = log.durable_batch();
            log.completed(batch);
            took.extend((before + 1..=log.durable_batch()).map(|b| began[(b - first) as usize].elapsed()));
        }
        drop(queues);
        Ok(())
    })?;
    report(&format!("log, {} KiB, {depth} in flight", size >> 10), took, start.elapsed());
    for name in disk.list("stream-0")? {
        disk.remove(&format!("stream-0/{name}"))?;
    }
    Ok(())
}

fn record(payload_len: usize) -> Vec<u8> {
    let header = Header {
        kind: Kind::Operations,
        keyspace: KeyspaceId(0),
        group: GroupId(1),
        epoch: Epoch(1),
        index: Index(1),
        commit: Index(0),
        time_ms: 0,
        request: RequestId::NONE,
    };
    let mut bytes = Vec::new();
    Record::write(&mut bytes, &header, 0, |w| w.buffer.resize(w.buffer.len() + payload_len, 7));
    bytes
}
