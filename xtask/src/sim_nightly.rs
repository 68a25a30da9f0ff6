//! `cargo xtask sim-nightly`: every planted bug is found by the simulator's general run within its budget, and the same runs
//! find nothing where nothing is planted. Writes `docs/internals/planted-bugs.md`.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use data::plant::{AGREEMENT, ALL, CLUSTERS, LEADERLESS, LISTINGS, POLICIES, Planted, TRANSACTIONS};

use crate::shell;

#[derive(clap::Args)]
pub struct Options {
    /// Only these bugs: `SL-08,TC-03`. The table is not written then.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Hunts per bug, each from another first seed.
    #[arg(long, default_value_t = 5)]
    starts: u64,
    /// Seeds of the clean run, which begins at another seed every second; 0 leaves it out.
    #[arg(long, default_value_t = 1000)]
    clean: u64,
    /// Seeds after which a hunt is given up: about ten times the median of those that take longest.
    #[arg(long, default_value_t = 600)]
    budget: u64,
    /// Threads of each run.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

/// Virtual time of one seed of a hunt: long enough for a few elections, short enough to try many mixes of faults.
const TIME: &str = "60s";
/// Far enough apart that no two hunts share a seed.
const STRIDE: u64 = 1_000_000;

/// Bugs of leaderless keyspaces are looked for where there are such, with all that a run draws besides.
const KEYSPACES: &str = "carts,baskets,readings,visits,prices,drafts,offers";
const SITE_KEYSPACES: &str = "world,ring,hubbed,spread";
/// What whole clusters do not show: `cargo test -p protocol --features plant` finds it in the random world of the machines. A
/// refused request hardly ever comes again behind its successor.
const OF_MACHINES: [&str; 1] = ["TC-53"];

/// How one hunt ended.
struct Hunt {
    found: bool,
    seeds: u64,
    seconds: f64,
}

/// All hunts for one bug.
struct Row {
    planted: Planted,
    missed: usize,
    /// Medians over the hunts.
    seeds: u64,
    seconds: f64,
}

pub fn run(options: &Options) -> Result<()> {
    let sim = build()?;
    let wanted = |(planted, _): &(&Planted, _)| {
        options.only.is_empty() || options.only.iter().any(|id| id == planted.id)
    };
    let leaderless = [&LEADERLESS[..], &POLICIES, &LISTINGS, &AGREEMENT, &CLUSTERS].into_iter().flatten();
    let leaderless = leaderless.filter(|planted| !OF_MACHINES.contains(&planted.id));
    let all = ALL.iter().map(|planted| (planted, None));
    let all = all.chain(leaderless.map(|planted| (planted, Some(KEYSPACES))));
    let all = all.chain(TRANSACTIONS.iter().map(|planted| (planted, Some(SITE_KEYSPACES))));
    let mut rows = Vec::new();
    for (planted, among) in all.filter(wanted) {
        let firsts = (0..options.starts.max(1)).map(|at| 1 + at * STRIDE);
        let hunts = firsts.map(|first| hunt(&sim, planted.id, first, among, options));
        let row = row(*planted, &hunts.collect::<Result<Vec<_>>>()?);
        println!("{}", line(&row, options));
        rows.push(row);
    }
    if rows.is_empty() {
        bail!("no planted bug of these names: {}", options.only.join(", "));
    }
    if options.only.is_empty() {
        let path = shell::root().join("docs/internals/planted-bugs.md");
        std::fs::write(&path, page(&rows, options)).with_context(|| path.display().to_string())?;
    }
    if options.clean > 0 {
        clean(&sim, options)?;
    }
    let missed: Vec<&str> = rows.iter().filter(|row| row.missed > 0).map(|row| row.planted.id).collect();
    if !missed.is_empty() {
        bail!("not found within {} seeds by every hunt: {}", options.budget, missed.join(", "));
    }
    Ok(())
}

/// The simulator with the switch for planted bugs.
fn build() -> Result<PathBuf> {
    let features = ["--features", "simulator/plant"];
    let args = ["build", "--quiet", "--release", "--package", "simulator", "--example", "sim"];
    shell::run(shell::cargo(&[&args[..], &features].concat()))?;
    Ok(shell::target().join("release/examples/sim"))
}

/// `among`: the keyspaces that seeds draw from; the general ones otherwise.
fn hunt(sim: &Path, id: &str, first: u64, among: Option<&str>, options: &Options) -> Result<Hunt> {
    let (seed, seeds, jobs) = (first.to_string(), options.budget.to_string(), options.jobs.to_string());
    let args =
        ["--plant", id, "--seed", &seed, "--seeds", &seeds, "--time", TIME, "--jobs", &jobs, "--first"];
    let confined = among.map(|names| ["--keyspaces", names]).unwrap_or_default();
    let args: Vec<&str> = args.into_iter().chain(confined).filter(|word| !word.is_empty()).collect();
    let mut command = shell::command(&sim.to_string_lossy(), &args);
    let output = command.output().with_context(|| format!("cannot start {}", sim.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let number = |name: &str| -> Result<f64> {
        let mut words = text.split_whitespace().filter_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let word = words.next_back().with_context(|| format!("{id}: the run did not say {name}: {text}"))?;
        Ok(word.parse()?)
    };
    Ok(Hunt {
        found: number("violations")? > 0.0,
        seeds: number("seeds")? as u64,
        seconds: number("wall_seconds")?,
    })
}

fn row(planted: Planted, hunts: &[Hunt]) -> Row {
    let mut seeds: Vec<u64> = hunts.iter().map(|hunt| hunt.seeds).collect();
    let mut seconds: Vec<f64> = hunts.iter().map(|hunt| hunt.seconds).collect();
    seeds.sort_unstable();
    seconds.sort_unstable_by(f64::total_cmp);
    let missed = hunts.iter().filter(|hunt| !hunt.found).count();
    Row { planted, missed, seeds: seeds[seeds.len() / 2], seconds: seconds[seconds.len() / 2] }
}

fn line(row: &Row, options: &Options) -> String {
    let Planted { id, what, guard, .. } = row.planted;
    let found = if row.missed == 0 { "yes".to_owned() } else { format!("missed {} times", row.missed) };
    format!(
        "| {id} | {what} | `{guard}` | {found} | {} | {:.1} | {} |",
        row.seeds, row.seconds, options.budget
    )
}

fn page(rows: &[Row], options: &Options) -> String {
    let lines: Vec<String> = rows.iter().map(|row| line(row, options)).collect();
    format!(
        "# Planted bugs\n\n\
        Written by `cargo xtask sim-nightly`; do not edit. Each bug is put back into the product and looked for by the\n\
        simulator's general run (seeds of {TIME}, no fault or workload chosen for it; those of leaderless keyspaces among such keyspaces),\n\
        {} times from different seeds. The\n\
        list of bugs is `crates/data/src/plant.rs`; paths below are under `crates/`. Seconds are those of one machine.\n\n\
        | bug | what is broken | guard | found | seeds (median) | seconds (median) | budget of seeds |\n\
        |---|---|---|---|---|---|---|\n\
        {}\n",
        options.starts,
        lines.join("\n")
    )
}

/// Seeds that nobody tried before, with nothing planted.
fn clean(sim: &Path, options: &Options) -> Result<()> {
    let first = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() * STRIDE;
    let (seed, seeds, jobs) = (first.to_string(), options.clean.to_string(), options.jobs.to_string());
    let args = ["--seed", &seed, "--seeds", &seeds, "--jobs", &jobs];
    shell::run(shell::command(&sim.to_string_lossy(), &args)).context("the clean run found something")
}
