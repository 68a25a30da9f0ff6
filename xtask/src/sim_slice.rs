//! `cargo xtask sim-slice`: the part of the simulator's runs that fits into every check. First the seeds that everybody runs,
//! then fresh ones for as long as the budget lasts: so a run can find what no run before it has found. The simulator prints
//! the one command that repeats a failure.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::shell;

#[derive(clap::Args)]
pub struct Options {
    /// Seconds for fresh seeds, beside the build and the fixed ones.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The first fresh seed; the time of day in seconds otherwise.
    #[arg(long)]
    seed: Option<u64>,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { seconds: 60, seed: None, jobs: 2 }
    }
}

/// Seeds that every run begins with.
const FIXED: u64 = 600;
/// Fresh seeds between two looks at the clock.
const CHUNK: u64 = 20;
/// Apart from the seeds of the nightly run, which begin at multiples of a million.
const STRIDE: u64 = 1_000_000;
const OFFSET: u64 = 500_000;

pub fn run(options: &Options) -> Result<()> {
    shell::run(shell::cargo(&[
        "build",
        "--quiet",
        "--release",
        "--package",
        "simulator",
        "--example",
        "sim",
    ]))?;
    seeds(1, FIXED, options.jobs)?;
    let drawn = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() * STRIDE + OFFSET;
    let first = options.seed.unwrap_or(drawn);
    let (begin, budget) = (Instant::now(), Duration::from_secs(options.seconds));
    let mut next = first;
    while begin.elapsed() < budget {
        seeds(next, CHUNK, options.jobs)?;
        next += CHUNK;
    }
    println!("sim-slice: {FIXED} fixed and {} fresh seeds from {first} on are clean", next - first);
    Ok(())
}

fn seeds(first: u64, count: u64, jobs: usize) -> Result<()> {
    let (seed, seeds, jobs) = (first.to_string(), count.to_string(), jobs.to_string());
    // Short runs: many mixes of faults say more in few minutes than many hours of each.
    let args = ["--seed", &seed, "--seeds", &seeds, "--time", "60s", "--jobs", &jobs];
    let sim = shell::target().join("release/examples/sim");
    let mut command = shell::command(&sim.to_string_lossy(), &args);
    let output = command.output().with_context(|| format!("cannot start {}", sim.display()))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("the simulator found something in seeds {first} to {}:\n{text}{errors}", first + count - 1);
    }
    Ok(())
}
