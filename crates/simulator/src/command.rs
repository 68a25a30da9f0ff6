//! The command line: runs seeds, prints what came of them.

use crate::faults::{Choice, Fault, Strike};
use crate::invariants;
use crate::invariants::ledger::Count;
use crate::network::MS;
use crate::options::{ANOMALIES, Args, STALE_READS, THOUSAND_FOLLOWERS, TOPOLOGIES, Told};
use crate::run::{Outcome, Plan, run};
use crate::scenario::Scenario;
use crate::shrink::shrink;
use crate::verdict::Copies;
use crate::workload;
use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

/// Runs what was asked for. The exit code is 0 only without violations.
pub fn run_command(args: &Args) -> ExitCode {
    if args.list {
        list();
        return ExitCode::SUCCESS;
    }
    if args.scenario == Some(Told::StaleReads) {
        let agree = crate::staleness::tell(args.seed, 20_000, &mut |line| println!("{line}"));
        return if agree { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if args.scenario == Some(Told::Topologies) {
        let agree = crate::topologies::tell(&mut |line| println!("{line}"));
        return if agree { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if args.scenario == Some(Told::Anomalies) {
        let is_clean = crate::anomalies::tell(args.seed, args.seeds, &mut |line| println!("{line}"));
        return if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if args.scenario == Some(Told::ThousandFollowers) {
        crate::followers::tell(args.seed, 1_000, &mut |line| println!("{line}"));
        return ExitCode::SUCCESS;
    }
    if let Some(id) = &args.plant
        && let Err(text) = plant(id)
    {
        eprintln!("{text}");
        return ExitCode::from(2);
    }
    let begin = std::time::Instant::now();
    let total = run_seeds(args);
    let seconds = begin.elapsed().as_secs_f64();
    let hours = total.time as f64 / 3.6e12;
    println!(
        "wall_seconds={seconds:.1} events_per_second={:.0} speed_up={:.0} stranded_copies={} copy_reads={} stale={} age_ms_max={} answers_first={} went_back={} told_lost={} ledger_items={} ledger_acknowledged={} ledger_announced={}",
        total.events as f64 / seconds,
        total.time as f64 / 1e9 / seconds,
        total.stranded,
        total.copies.reads,
        total.copies.stale,
        total.copies.age_ns_max / 1_000_000,
        total.answers_first,
        total.went_back,
        total.told_lost,
        total.ledger.items,
        total.ledger.acknowledged,
        total.ledger.announced
    );
    println!(
        "seeds={} cluster_hours={hours:.2} events={} acked={} lost={} violations={} trace_hash={:016x}",
        total.seeds, total.events, total.acknowledged, total.lost, total.violations, total.hash
    );
    if total.violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Default)]
struct Total {
    seeds: u64,
    events: u64,
    time: u64,
    acknowledged: u64,
    lost: u64,
    stranded: usize,
    ledger: Count,
    copies: Copies,
    answers_first: u64,
    went_back: u64,
    told_lost: u64,
    violations: u64,
    hash: u64,
}

fn plan(args: &Args, seed: u64) -> Plan {
    Plan {
        seed,
        nodes: args.nodes,
        choice: args.faults.clone().unwrap_or(Choice::Swarm),
        skip: args.skip.clone(),
        time: args.time,
        clients: args.clients,
        scenario: match args.scenario {
            Some(Told::Story(scenario)) => Some(scenario),
            Some(Told::ThousandFollowers | Told::StaleReads | Told::Topologies | Told::Anomalies) | None => {
                None
            }
        },
        keyspaces: args.keyspaces.clone(),
        readable: args.trace.is_some() && args.seeds == 1,
    }
}

fn run_seeds(args: &Args) -> Total {
    let next = AtomicU64::new(args.seed);
    let end = args.seed.saturating_add(args.seeds);
    let (send, receive) = mpsc::channel();
    let mut total = Total::default();
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            let (next, send) = (&next, send.clone());
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || send.send(run(&plan(args, seed))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        for outcome in receive {
            total.seeds += 1;
            total.events += outcome.events;
            total.time += outcome.time;
            total.acknowledged += outcome.acknowledged;
            total.lost += outcome.lost;
            total.ledger += outcome.ledger;
            total.stranded += outcome.stranded;
            total.copies += outcome.copies;
            total.answers_first += outcome.answers_first;
            total.went_back += outcome.went_back;
            total.told_lost += outcome.told_lost;
            // A sum does not depend on which thread was first.
            total.hash = total.hash.wrapping_add(outcome.trace_hash);
            let first = total.violations == 0;
            total.violations += u64::from(outcome.violation.is_some());
            if args.first && outcome.violation.is_some() {
                next.store(end, Ordering::Relaxed);
            }
            tell(args, outcome, first);
        }
    });
    total
}

/// Prints what a person has to know about a run.
fn tell(args: &Args, outcome: Outcome, first: bool) {
    if args.json {
        println!("{}", json(&outcome));
    }
    if outcome.violation.is_none() {
        write_trace(args, &outcome);
        if first && outcome.plan.seed == args.seed {
            write_history(args, &outcome);
        }
        return;
    }
    print_failure(&outcome);
    let mut shown = outcome;
    if first && args.shrink {
        shown = shrink(shown);
        println!("shrunk to:");
        print_failure(&shown);
    }
    if first && args.trace.is_some() && shown.trace.is_none() {
        shown = run(&Plan { readable: true, ..shown.plan });
    }
    write_trace(args, &shown);
    if first {
        write_history(args, &shown);
    }
}

fn print_failure(outcome: &Outcome) {
    let Some(violation) = &outcome.violation else { return };
    println!("seed {}: {}: {}", outcome.plan.seed, violation.property, violation.text);
    println!("  repeat with: {}", repeat(&outcome.plan));
    let names: Vec<&str> = outcome.faults.iter().map(|fault| fault.name()).collect();
    println!("  nodes {}, {} operations, faults {}", outcome.nodes, outcome.operations, names.join(","));
    if !outcome.plan.skip.0.is_empty() {
        let strike =
            |(at, it): &(u64, Strike)| format!("{}:{} at {} ms", it.fault.name(), it.number, at / MS);
        let strikes: Vec<String> = outcome.strikes.iter().map(strike).collect();
        println!("  struck: {}", strikes.join(", "));
    }
}

/// The command that runs exactly this again.
pub fn repeat(plan: &Plan) -> String {
    let mut text = format!("tercet sim --seed {} --time {}s", plan.seed, plan.time / 1_000_000_000);
    if let Some(nodes) = plan.nodes {
        text += &format!(" --nodes {nodes}");
    }
    if let Some(clients) = plan.clients {
        text += &format!(" --clients {clients}");
    }
    if let Choice::Only(kinds) = &plan.choice {
        let names: Vec<&str> = kinds.iter().map(|fault| fault.name()).collect();
        text += &format!(" --faults {}", if names.is_empty() { "none".to_owned() } else { names.join(",") });
    }
    if !plan.skip.0.is_empty() {
        text += &format!(" --skip {}", plan.skip);
    }
    if let Some(keyspaces) = &plan.keyspaces {
        text += &format!(" --keyspaces {}", keyspaces.join(","));
    }
    if let Some(scenario) = plan.scenario {
        let name =
            Scenario::ALL.iter().find(|(known, ..)| *known == scenario).map_or("?", |(_, name, _)| name);
        text += &format!(" --scenario {name}");
    }
    text
}

fn write_trace(args: &Args, outcome: &Outcome) {
    if let (Some(path), Some(text)) = (&args.trace, &outcome.trace) {
        let mut text = text.clone();
        for operation in &outcome.history {
            text += &format!("{operation:?}\n");
        }
        if let Err(error) = std::fs::write(path, text) {
            eprintln!("{}: {error}", path.display());
        }
    }
}

/// One line per operation that a judge without knowledge of the cluster understands.
fn write_history(args: &Args, outcome: &Outcome) {
    let Some(path) = &args.history else { return };
    let write = || {
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        for operation in outcome.history.iter().filter_map(|operation| operation.recorded()) {
            checker::format::write(&mut file, &operation)?;
        }
        file.flush()
    };
    if let Err(error) = write() {
        eprintln!("{}: {error}", path.display());
    }
}

fn json(outcome: &Outcome) -> String {
    let names: Vec<String> = outcome.faults.iter().map(|fault| format!("\"{}\"", fault.name())).collect();
    let violation = outcome.violation.as_ref().map_or("null".to_owned(), |v| format!("\"{}\"", v.property));
    format!(
        "{{\"seed\":{},\"nodes\":{},\"faults\":[{}],\"events\":{},\"acked\":{},\"lost\":{},\"violation\":{violation},\"trace_hash\":\"{:016x}\"}}",
        outcome.plan.seed,
        outcome.nodes,
        names.join(","),
        outcome.events,
        outcome.acknowledged,
        outcome.lost,
        outcome.trace_hash
    )
}

/// Every bug that can be planted.
fn planted() -> impl Iterator<Item = &'static data::plant::Planted> {
    use data::plant::{AGREEMENT, ALL, CLUSTERS, LEADERLESS, LISTINGS, MULTI_LEADER, POLICIES, TRANSACTIONS};
    ALL.iter()
        .chain(&LEADERLESS)
        .chain(&POLICIES)
        .chain(&LISTINGS)
        .chain(&CLUSTERS)
        .chain(&AGREEMENT)
        .chain(&MULTI_LEADER)
        .chain(&TRANSACTIONS)
}

fn list() {
    println!("scenarios:");
    for (name, text) in [THOUSAND_FOLLOWERS, STALE_READS, TOPOLOGIES, ANOMALIES] {
        println!("  {name:<20} {text}");
    }
    for (_, name, text) in Scenario::ALL {
        println!("  {name:<20} {text}");
    }
    println!("workloads:");
    for (_, name, text) in
        workload::Kind::ALL.into_iter().chain(workload::quorum::ALL).chain(workload::sites::ALL)
    {
        println!("  {name:<20} {text}");
    }
    println!("faults:");
    for (_, name, every) in Fault::ALL {
        let often =
            if every == 0 { "all the time".to_owned() } else { format!("every {} s", every / 1_000_000_000) };
        println!("  {name:<20} {often} or so");
    }
    println!("invariants:");
    for (name, text) in invariants::ALL {
        println!("  {name:<40} {text}");
    }
    println!("planted bugs:");
    for planted in planted() {
        println!("  {:<20} {}", planted.id, planted.what);
    }
}

/// Plants a bug by its id, in the whole process.
#[cfg(feature = "plant")]
fn plant(id: &str) -> Result<(), String> {
    let mut all = planted();
    let planted = all.find(|planted| planted.id == id);
    let planted = planted.ok_or_else(|| format!("no planted bug {id}: see --list"))?;
    data::plant::set(Some(planted.bug));
    Ok(())
}

#[cfg(not(feature = "plant"))]
fn plant(id: &str) -> Result<(), String> {
    Err(format!("{id} cannot be planted: build with --features simulator/plant"))
}
