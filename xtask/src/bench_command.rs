//! `cargo xtask bench`.

use anyhow::Result;
use bench::compare::{Plan, compare};
use bench::{formats, sweep};

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
    let tercet = if options.without_tercet { None } else { Some(shell::tercet_binary()?) };
    let plan = Plan { tercet, quick: options.quick, only: options.only.clone() };
    let report = compare(&plan, &mut |line| eprintln!("{line}"))?;
    println!("{report}");
    Ok(())
}
