//! Servers side by side: the same load on each in turn, several rounds, medians, and ratios within a round.
//!
//! Absolute figures drift with the hour, on any machine; a ratio of two runs that followed each other holds.

mod report;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::etcd_load::EtcdDialect;
use crate::load::{self, KeyOrder, Load, Outcome, Pace, Stop};
use crate::redis_load::{RedisDialect, Work};
use crate::servers::{Contender, Running};

pub use report::{Cell, Report, Table};

/// Keys that a store is filled with, and that loads draw from.
pub(crate) const KEYS: u64 = 100_000;
pub(crate) const VALUE_BYTES: usize = 64;
/// Clients of the rows with one server: what redis-benchmark takes by itself.
const CLIENTS_ALONE: usize = 50;

/// What to compare, and how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `None` compares the others only.
    pub tercet: Option<PathBuf>,
    /// Shorter runs and fewer rounds: for a look, not for a record.
    pub quick: bool,
    /// Rows whose name contains one of these words; all when empty.
    pub only: Vec<String>,
}

/// A row of the comparison: one load.
struct Row {
    name: String,
    setting: Setting,
    work: Work,
    clients: usize,
    pipeline: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Setting {
    /// One server, everything in memory, nothing flushed.
    Alone,
    /// Three replicas; a write counts when a majority (or one replica of Redis's) has it.
    Replicated,
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (word, work) in [("get", Work::Get), ("set", Work::Set)] {
        for pipeline in [1, 16, 64] {
            let name = format!("{word} p{pipeline}");
            rows.push(Row { name, setting: Setting::Alone, work, clients: CLIENTS_ALONE, pipeline });
        }
    }
    for clients in [1, 64, 256] {
        let name = format!("replicated set, {clients} clients");
        rows.push(Row { name, setting: Setting::Replicated, work: Work::Set, clients, pipeline: 1 });
    }
    rows
}

/// Runs the plan; `progress` is told a line now and then.
///
/// # Errors
/// When a server cannot be started or stops answering.
pub fn compare(plan: &Plan, progress: &mut dyn FnMut(&str)) -> io::Result<Report> {
    let mut contenders: Vec<Contender> = plan.tercet.iter().cloned().map(Contender::Tercet).collect();
    contenders.extend(Contender::peers());
    let chosen: Vec<Row> = rows().into_iter().filter(|row| is_chosen(&row.name, &plan.only)).collect();
    let mut report = Report::default();
    for setting in [Setting::Alone, Setting::Replicated] {
        let rows: Vec<&Row> = chosen.iter().filter(|row| row.setting == setting).collect();
        if rows.is_empty() {
            continue;
        }
        let mut running = Vec::new();
        for contender in &contenders {
            let started = match setting {
                Setting::Alone => contender.start_alone()?,
                Setting::Replicated => Some(contender.start_replicated()?),
            };
            running.extend(started.map(|servers| (contender.clone(), servers)));
        }
        for row in rows {
            report.tables.push(run_row(row, &running, plan.quick, progress)?);
        }
    }
    Ok(report)
}

fn is_chosen(name: &str, only: &[String]) -> bool {
    only.is_empty() || only.iter().any(|word| name.contains(word.as_str()))
}

fn run_row(
    row: &Row,
    running: &[(Contender, Running)],
    is_quick: bool,
    progress: &mut dyn FnMut(&str),
) -> io::Result<Table> {
    if row.work == Work::Get {
        for (contender, servers) in running {
            drive(contender, servers, &fill(servers))?;
        }
    }
    let rounds = if is_quick { 3 } else { 5 };
    let mut outcomes: Vec<Vec<Outcome>> = vec![Vec::new(); running.len()];
    for round in 0..rounds {
        // Every second round goes backwards, so that no server always runs behind the same neighbour.
        let order: Vec<usize> =
            if round % 2 == 0 { (0..running.len()).collect() } else { (0..running.len()).rev().collect() };
        for number in order {
            let (contender, servers) = &running[number];
            let load = Load {
                addresses: vec![servers.address],
                connections: row.clients,
                pipeline: row.pipeline,
                pace: Pace::Closed,
                keys: KEYS,
                key_order: KeyOrder::Random,
                warm_up: Duration::from_millis(if is_quick { 200 } else { 500 }),
                stop: Stop::After(Duration::from_millis(if is_quick { 700 } else { 3_000 })),
                pids: servers.pids(),
                seed: 0x9e37_79b9_7f4a_7c15 + round as u64,
            };
            let outcome = drive_work(contender, row, &load)?;
            progress(&format!(
                "{}, round {} of {rounds}: {} {:.0}/s",
                row.name,
                round + 1,
                contender.name(),
                outcome.rate()
            ));
            outcomes[number].push(outcome);
        }
    }
    let cells =
        running.iter().zip(outcomes).map(|((c, _), rounds)| Cell { server: c.name(), rounds }).collect();
    Ok(Table { name: row.name.clone(), cells })
}

/// Every key once, so that a GET finds something.
fn fill(servers: &Running) -> Load {
    Load {
        addresses: vec![servers.address],
        connections: 8,
        pipeline: 64,
        pace: Pace::Closed,
        keys: KEYS,
        key_order: KeyOrder::Sequential,
        warm_up: Duration::ZERO,
        stop: Stop::Operations(KEYS),
        pids: Vec::new(),
        seed: 1,
    }
}

fn drive(contender: &Contender, servers: &Running, load: &Load) -> io::Result<Outcome> {
    let row = Row {
        name: String::new(),
        setting: Setting::Alone,
        work: Work::Set,
        clients: 0,
        pipeline: load.pipeline,
    };
    drive_work(contender, &row, &Load { addresses: vec![servers.address], ..load.clone() })
}

/// The same promise from everybody: where three replicas run, Redis needs `WAIT 1` for it.
fn drive_work(contender: &Contender, row: &Row, load: &Load) -> io::Result<Outcome> {
    let needs_wait = row.setting == Setting::Replicated;
    match contender {
        Contender::Etcd(_) => {
            let authority = load.addresses[0].to_string();
            load::run(load, |_| EtcdDialect::new(authority.clone(), VALUE_BYTES))
        }
        Contender::Redis(_) | Contender::Valkey(_) if needs_wait => {
            load::run(load, |_| RedisDialect::new(Work::SetWait { replicas: 1 }, VALUE_BYTES))
        }
        _ => load::run(load, |_| RedisDialect::new(row.work, VALUE_BYTES)),
    }
}
