//! `cargo xtask bench`.

use anyhow::Result;
use bench::compare::{Plan, compare};
use bench::leaderless::{metadata, repair, staleness};
use bench::{formats, sites, sweep};

use crate::shell;

#[derive(clap::Args)]
pub struct Options {
    /// Three short rounds instead of five long ones.
    #[arg(long)]
    quick: bool,
    /// Only rows whose name contains one of these words, such as `get`, `p16`, `replicated`.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Compare the other servers with each other.
    #[arg(long)]
    without_tercet: bool,
    /// Commit rules beside each other instead, with so many followers each: `1,2,3,5`.
    #[arg(long, value_delimiter = ',')]
    followers: Vec<usize>,
    /// Bytes of writes on the wire and in the log instead, by log format.
    #[arg(long)]
    formats: bool,
    /// Anti-entropy of a leaderless keyspace instead, so many keys of which differ: `1000000`.
    #[arg(long)]
    repair: Option<u64>,
    /// Stale reads at W 1 and R 1 instead, so many reads for each time: `2000`.
    #[arg(long)]
    staleness: Option<u32>,
    /// What keys of a leaderless keyspace cost beyond name and value instead, before and after so many clients: `100000`.
    #[arg(long)]
    metadata: Option<u64>,
    /// Writes at one, two and three sites instead, for so many seconds each: `10`.
    #[arg(long)]
    sites: Option<u64>,
}

pub fn run(options: &Options) -> Result<()> {
    if options.formats {
        println!("{}", formats::measure(&shell::tercet_binary()?, &mut |line| eprintln!("{line}"))?);
        return Ok(());
    }
    if !options.followers.is_empty() {
        let (tercet, followers) = (shell::tercet_binary()?, options.followers.clone());
        let plan = sweep::Plan { tercet, followers, quick: options.quick };
        println!("{}", sweep::sweep(&plan, &mut |line| eprintln!("{line}"))?);
        return Ok(());
    }
    if let Some(seconds) = options.sites {
        let plan = sites::Plan { tercet: shell::tercet_binary()?, seconds };
        println!("{}", sites::measure(&plan, &mut |line| eprintln!("{line}"))?);
        return Ok(());
    }
    if options.repair.is_some() || options.staleness.is_some() || options.metadata.is_some() {
        return leaderless(options);
    }
    let tercet = if options.without_tercet { None } else { Some(shell::tercet_binary()?) };
    let plan = Plan { tercet, quick: options.quick, only: options.only.clone() };
    let report = compare(&plan, &mut |line| eprintln!("{line}"))?;
    println!("{report}");
    Ok(())
}

fn leaderless(options: &Options) -> Result<()> {
    let tercet = shell::tercet_binary()?;
    let mut progress = |line: &str| eprintln!("{line}");
    if let Some(keys) = options.repair {
        println!("{}", repair::measure(&repair::Plan { tercet: tercet.clone(), keys }, &mut progress)?);
    }
    if let Some(trials) = options.staleness {
        println!(
            "{}",
            staleness::measure(&staleness::Plan { tercet: tercet.clone(), trials }, &mut progress)?
        );
    }
    if let Some(clients) = options.metadata {
        let plan = metadata::Plan { tercet, keys: METADATA_KEYS, clients };
        println!("{}", metadata::measure(&plan, &mut progress)?);
    }
    Ok(())
}

/// Enough for the memory of a process to say something of a key.
const METADATA_KEYS: u64 = 200_000;
