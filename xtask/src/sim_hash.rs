//! `cargo xtask sim-hash`: the same seeds give the same runs in debug and in release builds. A test cannot ask that, for
//! `cargo test` builds one profile.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use crate::shell;

#[derive(clap::Args)]
pub struct Options {
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Virtual time of each seed.
    #[arg(long, default_value = "3s")]
    time: String,
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

pub fn run(options: &Options) -> Result<()> {
    let (debug, release) = (hashes(options, false)?, hashes(options, true)?);
    let differ: Vec<&u64> =
        debug.iter().filter(|(seed, hash)| release.get(seed) != Some(hash)).map(|(seed, _)| seed).collect();
    if !differ.is_empty() || debug.len() != release.len() {
        bail!("debug and release builds run these seeds differently: {differ:?}");
    }
    println!("sim-hash: {} seeds run alike in debug and release builds", debug.len());
    Ok(())
}

/// Trace hashes by seed.
fn hashes(options: &Options, release: bool) -> Result<BTreeMap<u64, String>> {
    let mut args = vec!["build", "--quiet", "--package", "simulator", "--example", "sim"];
    args.extend(release.then_some("--release"));
    shell::run(shell::cargo(&args))?;
    let sim = shell::target().join(if release { "release" } else { "debug" }).join("examples/sim");
    let (seed, seeds, jobs) = (options.seed.to_string(), options.seeds.to_string(), options.jobs.to_string());
    let args = ["--json", "--seed", &seed, "--seeds", &seeds, "--time", &options.time, "--jobs", &jobs];
    // A seed that fails fails in both builds: what it found is not the question here.
    let output = shell::command(&sim.to_string_lossy(), &args).output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut hashes = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let run: serde_json::Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let (seed, hash) = (run["seed"].as_u64(), run["trace_hash"].as_str());
        let (seed, hash) = seed.zip(hash).with_context(|| line.to_owned())?;
        hashes.insert(seed, hash.to_owned());
    }
    if hashes.len() as u64 != options.seeds {
        bail!("{} of {} seeds ran: {}", hashes.len(), options.seeds, String::from_utf8_lossy(&output.stderr));
    }
    Ok(hashes)
}
