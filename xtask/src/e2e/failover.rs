//! Takes the leader away again and again while clients write and read, then judges what they were told.
//!
//! | file | role |
//! |---|---|
//! | `fault` | how it is taken away, and for how long |
//! | `system` | what is under test: three Tercet nodes, or one Redis to try the judge on |
//! | `equipment` | networks that can be cut, disks that are slow or small |
//! | `workload` | the clients: each operation once, its outcome as the client saw it |
//! | `history` | operations with their times |
//! | `judge` | the history as `checker` reads it, and what that says: lost, doubled, stale |
//! | `announced` | the judge of a commit rule that may lose: what is gone must be in the ledger |
//!
//! The clients never retry: an operation that got no answer is *unknown*, it may have happened or not.
// catalogue: A1 B2 B3 F1-F3
// bugs: SL-01 SL-06 SL-25

mod announced;
pub(super) mod equipment;
mod fault;
mod history;
mod judge;
mod system;
mod workload;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

pub use equipment::can_be_made;
pub use fault::Fault;
use history::{History, Outcome};
use judge::Verdict;
use system::{RedisAlone, System, TercetCluster};
use workload::Workload;

#[derive(clap::Args)]
pub struct Options {
    /// How often the leader is taken away.
    #[arg(long, default_value_t = 20)]
    kills: u32,
    #[arg(long, value_enum, default_value_t = Fault::Kill)]
    mode: Fault,
    /// The commit rule, in the words of KEYSPACE ALTER: `semi-sync ACKS 1`, `synchronous`, ...
    #[arg(long, default_value = "majority")]
    commit: String,
    /// Clients, spread over the nodes.
    #[arg(long, default_value_t = 12)]
    clients: u32,
    /// Where to write the history, for `tercet check`.
    #[arg(long)]
    history: Option<PathBuf>,
    /// Something else to try the judge on.
    #[arg(long, value_enum, default_value_t = Target::Tercet)]
    target: Target,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    Tercet,
    /// One Redis that flushes always: nothing may be lost.
    Redis,
    /// One Redis without a log: the judge must find the loss.
    RedisForgetful,
}

/// After this without an acknowledged write the run has failed.
const OUTAGE_GIVE_UP: Duration = Duration::from_secs(30);
/// How long a node may take to be a full member again.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the ledger may take to hold what an old copy brought back.
const LEDGER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long after the end of a fault silences of the acknowledgements are looked for.
const SILENCE_WATCHED: Duration = Duration::from_secs(1);
const OUTAGE_P50_MAX: Duration = Duration::from_secs(1);
const OUTAGE_MAX: Duration = Duration::from_secs(2);

impl Options {
    pub fn kills(kills: u32) -> Options {
        let commit = "majority".to_owned();
        Options { kills, mode: Fault::Kill, commit, clients: 12, history: None, target: Target::Tercet }
    }
    pub fn stops(kills: u32) -> Options {
        Options { mode: Fault::Stop, ..Options::kills(kills) }
    }
    /// Kills under another commit rule.
    pub fn under(commit: &str, kills: u32) -> Options {
        Options { commit: commit.to_owned(), ..Options::kills(kills) }
    }
    pub fn of(fault: Fault, commit: &str, rounds: u32) -> Options {
        Options { mode: fault, ..Options::under(commit, rounds) }
    }
    pub fn upgrades(kills: u32) -> Options {
        Options { mode: Fault::Upgrade, ..Options::kills(kills) }
    }
}

pub fn run(options: &Options) -> Result<()> {
    let mut system: Box<dyn System> = match options.target {
        Target::Tercet => {
            let program = crate::shell::tercet_binary()?;
            Box::new(TercetCluster::start(&program, options.mode, &options.commit)?)
        }
        Target::Redis => Box::new(RedisAlone::start(true)?),
        Target::RedisForgetful => Box::new(RedisAlone::start(false)?),
    };
    let workload = Workload::start(&system.addresses(), options.clients);
    let disturbed = disturb(system.as_mut(), &workload, options);
    // The history is worth having also when a node did not come back.
    let history = workload.finish();
    let end = disturbed.is_ok().then(|| workload::read_final_state(&system.addresses(), &history));
    let operations = judge::recorded(&history, end.as_ref().and_then(|end| end.as_ref().ok()));
    if let Some(path) = &options.history {
        judge::write(&operations, path).with_context(|| path.display().to_string())?;
    }
    let outages = disturbed.context("the run ended early")?;
    let end = end.transpose()?;
    let verdict = match (system.may_lose(), &end) {
        (true, Some(end)) => announced::judge(&history, end, &system.ledger(LEDGER_TIMEOUT)?),
        _ => judge::judge(&operations),
    };
    let limited = options.mode.takes_the_process() && system.survives(options.mode);
    report(options, &history, &outages, &verdict, limited)
}

/// Takes the leader away as often as asked; returns how long each time no write was acknowledged.
fn disturb(system: &mut dyn System, workload: &Workload, options: &Options) -> Result<Vec<Duration>> {
    let fault = options.mode;
    let mut outages = Vec::new();
    for round in 1..=options.kills {
        system.wait_until_whole(WHOLE_TIMEOUT)?;
        // Uneven pauses, so that the moment is not always the same one after a recovery.
        std::thread::sleep(Duration::from_millis(400 + u64::from(round) * 137 % 600));
        let victim = match fault {
            Fault::Upgrade => (round as usize - 1) % system.addresses().len(),
            _ => system.leader()?,
        };
        let at = Instant::now();
        system.begin(fault, victim)?;
        if !system.survives(fault) {
            std::thread::sleep(fault.lasts());
            system.end(fault, victim)?;
        }
        let outage = match fault.takes_the_process() {
            true => workload
                .wait_for_write_after(at, OUTAGE_GIVE_UP)
                .with_context(|| format!("no write was acknowledged after round {round}"))?,
            // It may go on for a while, and feel its end too: what counts is the longest silence.
            false => Duration::ZERO,
        };
        if system.survives(fault) {
            std::thread::sleep(fault.lasts().saturating_sub(at.elapsed()));
            system.end(fault, victim)?;
        }
        let outage = match fault.takes_the_process() {
            true => outage,
            false => workload.longest_silence(at, at.elapsed() + SILENCE_WATCHED)?,
        };
        println!("  round {round}: node {} away, no write for {} ms", victim + 1, outage.as_millis());
        outages.push(outage);
    }
    system.wait_until_whole(WHOLE_TIMEOUT)?;
    std::thread::sleep(Duration::from_millis(500));
    Ok(outages)
}

/// `limited`: somebody takes over, so that an outage must be short.
fn report(
    options: &Options,
    history: &History,
    outages: &[Duration],
    verdict: &Verdict,
    limited: bool,
) -> Result<()> {
    for report in &verdict.reports {
        println!("  {}", report.replace('\n', "\n  "));
    }
    for (words, count) in &history.unexpected {
        println!("  unexpected error, {count} times: {words}");
    }
    let mut sorted = outages.to_vec();
    sorted.sort();
    let p50 = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    let max = sorted.last().copied().unwrap_or_default();
    let count = |outcome: fn(&Outcome) -> bool| history.events.iter().filter(|e| outcome(&e.outcome)).count();
    println!(
        "failover {} under {}: {} rounds, {} operations ({} ok, {} refused, {} unknown), \
         {} lost, {} doubled, {} stale, {} other; write outage p50 {} ms, max {} ms",
        options.mode.name(),
        options.commit,
        outages.len(),
        history.events.len(),
        count(|o| matches!(o, Outcome::Ok(_))),
        count(|o| *o == Outcome::Refused),
        count(|o| *o == Outcome::Unknown),
        verdict.lost,
        verdict.doubled,
        verdict.stale,
        verdict.other,
        p50.as_millis(),
        max.as_millis(),
    );
    ensure!(verdict.violations() == 0, "{} violations", verdict.violations());
    ensure!(history.events.len() > 100, "hardly anything was asked: the run shows nothing");
    if limited && options.target == Target::Tercet {
        ensure!(p50 <= OUTAGE_P50_MAX, "write outage p50 above {} ms", OUTAGE_P50_MAX.as_millis());
        ensure!(max <= OUTAGE_MAX, "write outage above {} ms", OUTAGE_MAX.as_millis());
    }
    Ok(())
}
