//! `cargo xtask sim-slice`: the part of the simulator's runs that fits into every check. First the seeds that everybody runs,
//! then fresh ones, drawn from the sources: every change of the code runs what no run before it has run, and the same code runs
//! the same seeds wherever it is checked. The simulator prints the one command that repeats a failure.

use std::hash::{DefaultHasher, Hash, Hasher};

use anyhow::{Context, Result, bail};

use crate::shell;
use crate::tidy::tree::Tree;

#[derive(clap::Args)]
pub struct Options {
    /// Fresh seeds, beside the fixed ones.
    #[arg(long, default_value_t = 200)]
    fresh: u64,
    /// The first fresh seed; drawn from the sources otherwise.
    #[arg(long)]
    seed: Option<u64>,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { fresh: 200, seed: None, jobs: 2 }
    }
}

/// Seeds that every run begins with.
const FIXED: u64 = 600;
/// Seeds with all three families of replication at three sites that are cut apart; few of the others draw that.
const AT_SITES: u64 = 60;
const SITES: [&str; 6] = [
    "--nodes",
    "6",
    "--faults",
    "sites,site-cut,crash,power-cut,pause,isolate,one-way,clog,slow-link,reset,loss,duplicate,reorder,drift,clock-jump,switchover,restore",
    "--keyspaces",
    "strong,quick,sharded,carts,visits,prices,world,ring,hubbed,spread,quotes,homes,tickets",
];
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
    seeds(1, FIXED, options.jobs, &[])?;
    let first = match options.seed {
        Some(seed) => seed,
        None => drawn(&Tree::read(&shell::root())?),
    };
    seeds(first, options.fresh, options.jobs, &[])?;
    seeds(first, AT_SITES, options.jobs, &SITES)?;
    println!(
        "sim-slice: {FIXED} fixed and {} fresh seeds from {first} on are clean, and {AT_SITES} at sites",
        options.fresh
    );
    Ok(())
}

/// A seed that the code of the product and of the simulator decides.
fn drawn(tree: &Tree) -> u64 {
    let mut hasher = DefaultHasher::new();
    for source in tree.files.iter().filter(|(path, _)| path.starts_with("crates/") && path.ends_with(".rs")) {
        source.hash(&mut hasher);
    }
    // The time of day in seconds has as many digits.
    hasher.finish() % (1 << 31) * STRIDE + OFFSET
}

fn seeds(first: u64, count: u64, jobs: usize, with: &[&str]) -> Result<()> {
    let (seed, seeds, jobs) = (first.to_string(), count.to_string(), jobs.to_string());
    // Short runs: many mixes of faults say more in few minutes than many hours of each.
    let args = ["--seed", &seed, "--seeds", &seeds, "--time", "60s", "--jobs", &jobs];
    let args = [&args[..], with].concat();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_seeds_change_with_the_code_and_with_nothing_else() {
        let seed = |code: &str, page: &str| {
            drawn(&Tree::of(&[("crates/node/src/lib.rs", code), ("docs/page.md", page)]))
        };
        assert_eq!(seed("a", "x"), seed("a", "y"));
        assert_ne!(seed("a", "x"), seed("b", "x"));
        assert_eq!(seed("a", "x") % STRIDE, OFFSET);
    }
}
