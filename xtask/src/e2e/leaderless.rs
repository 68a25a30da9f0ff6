//! Five real processes with leaderless keyspaces, strict and sloppy: nodes are killed, paused, cut off, restarted, replaced and wiped
//! while clients add, remove, count, write, agree and resolve through any of them. Then what they were told is judged.
//!
//! | file | role |
//! |---|---|
//! | `cluster` | the nodes, the faults, and what each copy says of itself |
//! | `workload` | the clients: each operation once, its outcome as the client saw it |
//! | `history` | operations with their times, and how the checkers read them |
//! | `versions` | the judge of concurrent values |
//!
//! Strict quorums meet, and repair holds answers back: so every set element, counter and register of one writer is judged as if one
//! copy held it, by the checkers. In the sloppy keyspace only the reads after the end of all faults are. Linearizable registers, which all
//! clients of a keyspace read, write and swap, are judged in both.
// catalogue: K1 K3 K4 K5 K9 K16 K17 K18 K20
// bugs: LL-01 LL-03 LL-04 LL-05 LL-06 LL-09 LL-16 LL-18

mod cluster;
mod history;
mod versions;
mod workload;

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use checker::{Model, Settings};
use cluster::{Fault, FiveNodes, KEYSPACES};
use history::{Did, Event, History, Outcome};
use workload::Workload;

use super::check;
use super::failover::equipment::Networks;

#[derive(clap::Args)]
pub struct Options {
    /// How often something is done to the nodes.
    #[arg(long, default_value_t = 14)]
    rounds: u32,
    /// Only these, in turn; all when empty.
    #[arg(long, value_enum, value_delimiter = ',')]
    faults: Vec<Fault>,
    /// Clients, half of them in each keyspace.
    #[arg(long, default_value_t = 12)]
    clients: u32,
    /// Where to write the history, for `tercet check`.
    #[arg(long)]
    history: Option<PathBuf>,
}

impl Options {
    /// For a check: some tens of seconds.
    pub fn slice() -> Options {
        let faults = vec![Fault::Kill, Fault::Cut, Fault::Wipe, Fault::Pause];
        Options { rounds: 4, faults, clients: 12, history: None }
    }
}

/// Health between two faults.
const HEALTH: Duration = Duration::from_millis(1_200);
/// How long copies may take to become equal without being read: two walks by each over the others, and room.
const EQUAL_TIMEOUT: Duration = Duration::from_secs(90);
/// One node's fault takes no writes away from all clients: a coordinator asks somebody else after a fifth of a second.
const SILENCE_MAX: Duration = Duration::from_secs(2);
const SHOWN: usize = 10;

/// When a fault was under way, in microseconds of the run.
type Spell = (u64, u64);

pub fn run(options: &Options) -> Result<()> {
    let mut faults = if options.faults.is_empty() { Fault::ALL.to_vec() } else { options.faults.clone() };
    if faults.contains(&Fault::Cut)
        && let Err(why) = Networks::make(1).map(drop)
    {
        println!("  cut: skipped, this user may not: {why:#}");
        faults.retain(|fault| *fault != Fault::Cut);
    }
    let mut nodes = FiveNodes::start(&crate::shell::tercet_binary()?, faults.contains(&Fault::Cut))?;
    let workload = Workload::start(&nodes.addresses(), options.clients);
    let spells = disturb(&mut nodes, &workload, &faults, options.rounds);
    // The history is worth having also when a node did not come back.
    let end_us = workload.now_us();
    let mut history = workload.finish();
    let healed = Instant::now();
    let equal = spells.and_then(|spells| {
        let lines = nodes.wait_until_equal(EQUAL_TIMEOUT)?;
        lines.iter().for_each(|line| println!("  {line}"));
        println!("  equal {:.1} s after the last operation", healed.elapsed().as_secs_f64());
        Ok(spells)
    });
    // All copies are equal: what one node shows the others do too.
    let last = workload::read_final_state(nodes.addresses()[0], &history, end_us + 3_000_000);
    if let Ok(last) = &last {
        history.events.extend(last.iter().cloned());
    }
    if let Some(path) = &options.history {
        write(&history, path).with_context(|| path.display().to_string())?;
    }
    let spells = equal?;
    last?;
    judge(&history, &spells)
}

/// Does one thing after the other to the nodes; returns when.
fn disturb(nodes: &mut FiveNodes, workload: &Workload, faults: &[Fault], rounds: u32) -> Result<Vec<Spell>> {
    let mut spells = Vec::new();
    std::thread::sleep(HEALTH);
    for round in 0..rounds {
        let fault = faults[round as usize % faults.len()];
        let victim = nodes.victim(round);
        let from = workload.now_us();
        let name = nodes.begin(fault, victim).with_context(|| format!("{} begins", fault.name()))?;
        std::thread::sleep(fault.lasts(round));
        nodes.end(fault, victim).with_context(|| format!("{} of {name} ends", fault.name()))?;
        workload.turn_to(nodes.addresses());
        nodes.wait_until_whole().with_context(|| format!("after {} of {name}", fault.name()))?;
        spells.push((from, workload.now_us()));
        std::thread::sleep(HEALTH);
        let silences: Vec<Duration> =
            (0..KEYSPACES.len()).map(|keyspace| workload.longest_silence(keyspace, from)).collect();
        let shown: Vec<String> = KEYSPACES
            .iter()
            .zip(&silences)
            .map(|((name, ..), silence)| format!("{name} {} ms", silence.as_millis()))
            .collect();
        println!(
            "  round {}: {} of {name}; longest without an acknowledged write: {}",
            round + 1,
            fault.name(),
            shown.join(", ")
        );
        let must_serve = fault != Fault::TwoKilled;
        ensure!(!must_serve || silences.iter().all(|it| *it <= SILENCE_MAX), "silence above {SILENCE_MAX:?}");
    }
    Ok(spells)
}

fn judge(history: &History, spells: &[Spell]) -> Result<()> {
    let mut violations = 0;
    for (number, (name, _, meets)) in KEYSPACES.into_iter().enumerate() {
        let of: Vec<&Event> = history.events.iter().filter(|it| it.keyspace == number).collect();
        let judged = |event: &&&Event| meets || event.is_final || event.did.is_write() || event.is_agreed();
        let operations: Vec<checker::Operation> = of
            .iter()
            .filter(judged)
            .filter_map(|event| history::recorded(&as_promised(event, meets), name))
            .collect();
        for model in [Model::Set, Model::Counter, Model::Register] {
            let verdict = checker::judge(&operations, model, &Settings::default());
            let report = verdict.report(&operations, SHOWN, |at| format!("operation {}", at + 1));
            println!("  {name}: {}", report.replace('\n', "\n  "));
            violations += verdict.counts.values().sum::<u64>() + verdict.undecided.len() as u64;
        }
        let found = versions::judge(&of, meets);
        let puts = of.iter().filter(|it| matches!(it.did, Did::Put { .. })).count();
        println!("  {name}: versions: {puts} puts, {} violations", found.len());
        found.iter().take(SHOWN).for_each(|text| println!("    {text}"));
        violations += found.len() as u64;
    }
    let count = |outcome| history.events.iter().filter(|event| event.outcome == outcome).count();
    for (words, count) in &history.unexpected {
        println!("  unexpected, {count} times: {words}");
    }
    let too_few = judge_refusals(history, spells);
    println!(
        "leaderless: {} faults, {} operations ({} ok, {} refused, {} unknown, of these {} INDETERMINATE), {} NOQUORUM, {violations} violations",
        spells.len(),
        history.events.len(),
        count(Outcome::Ok),
        count(Outcome::Refused),
        count(Outcome::Unknown),
        history.indeterminate,
        history.no_quorum.len(),
    );
    check(
        history.events.len() > 500,
        "enough was asked for the run to show something",
        history.events.len(),
    )?;
    check(history.unexpected.is_empty(), "no other errors than those that say what they mean", ())?;
    check(
        too_few.is_empty(),
        "writes are refused for too few copies only while a fault is under way",
        &too_few,
    )?;
    check(violations == 0, "no judge found a violation", violations)
}

/// In a sloppy keyspace a removal that found nothing says nothing: what it is about may lie with a stand-in.
fn as_promised(event: &Event, meets: bool) -> Event {
    let mut event = event.clone();
    if matches!(event.did, Did::Remove { found: false, .. }) && !meets && event.outcome == Outcome::Ok {
        event.outcome = Outcome::Unknown;
    }
    event
}

/// NOQUORUM to a write says who is connected: in health all are. A read that ran out of time says the same word.
fn judge_refusals(history: &History, spells: &[Spell]) -> Vec<String> {
    // Links are dialled again within a second.
    const GRACE_US: u64 = 1_500_000;
    let struck = |at: u64| spells.iter().any(|(from, to)| (*from..*to + GRACE_US).contains(&at));
    let in_health = history.no_quorum.iter().filter(|it| it.is_write && !struck(it.asked_us));
    in_health.map(|it| format!("at {} us: {}", it.asked_us, it.words)).collect()
}

fn write(history: &History, path: &Path) -> Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    let names: BTreeMap<usize, &str> = KEYSPACES.iter().map(|(name, ..)| *name).enumerate().collect();
    for event in &history.events {
        let meets = KEYSPACES[event.keyspace].2;
        let judged = meets || event.is_final || event.did.is_write() || event.is_agreed();
        let operation = history::recorded(&as_promised(event, meets), names[&event.keyspace]);
        if let Some(operation) = operation.filter(|_| judged) {
            checker::format::write(&mut file, &operation)?;
        }
    }
    Ok(file.flush()?)
}
