//! `tercet sim`: what can be asked for.

use crate::faults::{Choice, Fault, Skip};
use crate::scenario::Scenario;
use clap::Parser;

/// Runs whole clusters in virtual time, under faults, and judges what came of it.
#[derive(Parser, Clone, Debug)]
#[command(name = "sim")]
pub struct Args {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many seeds, one after the other.
    #[arg(long, default_value_t = 1)]
    pub seeds: u64,
    /// Virtual time under faults of each seed: 90s, 10m, 1h.
    #[arg(long, default_value = "6m", value_parser = parse_time)]
    pub time: u64,
    /// A named scenario instead of drawn faults.
    #[arg(long, value_parser = parse_scenario)]
    pub scenario: Option<Told>,
    /// Number of nodes; the seed draws it otherwise.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=32))]
    pub nodes: Option<u32>,
    /// Number of clients; the seed draws it otherwise.
    #[arg(long)]
    pub clients: Option<usize>,
    /// Keyspaces that a seed may draw, divided by commas: strong, wide, synced, cached, pair, trio, all, loose, patient, quick,
    /// sharded, read, chained, long, relayed; leaderless ones: carts, baskets, readings, visits, prices, drafts, offers; multi-leader
    /// ones: world, ring, hubbed, spread, quotes, homes, tenders.
    #[arg(long, value_delimiter = ',')]
    pub keyspaces: Option<Vec<String>>,
    /// `all` kinds, `none`, or names divided by commas; each seed draws its mix otherwise.
    #[arg(long, value_parser = parse_faults)]
    pub faults: Option<Choice>,
    /// Strikes that are left out, by kind and number: `crash:1-3,crash:7`. What --shrink prints.
    #[arg(long, default_value = "")]
    pub skip: Skip,
    /// Plants a known bug (in builds with the feature `plant`).
    #[arg(long)]
    pub plant: Option<String>,
    /// Ends with the first seed that fails.
    #[arg(long)]
    pub first: bool,
    /// Reduces the first failing seed to fewer faults, clients, strikes and less time.
    #[arg(long)]
    pub shrink: bool,
    /// Writes a readable trace of the first seed, or of the first that fails.
    #[arg(long)]
    pub trace: Option<std::path::PathBuf>,
    /// Writes what the clients saw in the first seed, or in the first that fails, for `tercet check`.
    #[arg(long)]
    pub history: Option<std::path::PathBuf>,
    /// One JSON object per seed.
    #[arg(long)]
    pub json: bool,
    /// Lists scenarios, workloads, faults, invariants and planted bugs.
    #[arg(long)]
    pub list: bool,
    /// Threads; each runs whole seeds. As many as cores unless said otherwise.
    #[arg(long, default_value_t = cores())]
    pub jobs: usize,
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn parse_time(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| format!("{text} is no length of time"))?;
    let seconds = match unit {
        "s" | "" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(format!("{unit} is no unit of time: s, m, h")),
    };
    number.checked_mul(seconds * 1_000_000_000).filter(|ns| *ns < 1 << 56).ok_or("too long".to_owned())
}

/// What `--scenario` names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    Story(Scenario),
    /// [`crate::followers`]: the replication machines alone, with so many followers.
    ThousandFollowers,
    /// [`crate::staleness`]: the leaderless machines alone, with known delays.
    StaleReads,
    /// [`crate::topologies`]: the multi-leader machines alone, with known distances.
    Topologies,
    /// [`crate::anomalies`]: the leaderless machines alone, with clients that watch each other.
    Anomalies,
}

/// Its name, and what `--list` says of it.
pub const THOUSAND_FOLLOWERS: (&str, &str) =
    ("thousand-followers", "H1 H2 H3 C18: what 1,000 followers cost under each rule, and the ways out");

/// The same of the other one.
pub const STALE_READS: (&str, &str) =
    ("stale-reads", "K7: how often reads miss an acknowledged write at each W and R, beside the prediction");

/// And of the third.
pub const TOPOLOGIES: (&str, &str) =
    ("topologies", "I9: hops, propagation and tolerated losses of each topology, predicted and measured");

/// And of the fourth.
pub const ANOMALIES: (&str, &str) =
    ("anomalies", "K23: what quorums do not rule out, each shown at its seed, and nothing of what they do");

fn parse_scenario(name: &str) -> Result<Told, String> {
    if name == STALE_READS.0 {
        return Ok(Told::StaleReads);
    }
    if name == TOPOLOGIES.0 {
        return Ok(Told::Topologies);
    }
    if name == ANOMALIES.0 {
        return Ok(Told::Anomalies);
    }
    if name == THOUSAND_FOLLOWERS.0 {
        return Ok(Told::ThousandFollowers);
    }
    Scenario::named(name).map(Told::Story).ok_or_else(|| format!("no scenario {name}: see --list"))
}

fn parse_faults(text: &str) -> Result<Choice, String> {
    match text {
        "all" => Ok(Choice::Only(Fault::ALL.iter().map(|(fault, ..)| *fault).collect())),
        "none" | "" => Ok(Choice::Only(Vec::new())),
        names => {
            let fault = |name| Fault::named(name).ok_or_else(|| format!("no fault {name}: see --list"));
            names.split(',').map(fault).collect::<Result<_, _>>().map(Choice::Only)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read() {
        assert_eq!(parse_time("90s"), Ok(90_000_000_000));
        assert_eq!(parse_time("10m"), Ok(600_000_000_000));
        assert!(parse_time("10d").is_err() && parse_time("x").is_err());
    }
}
