//! Every fault under every commit rule, each on a cluster of its own. A rule passes when what it announces is all that is lost: nothing
//! under most; under `async` and `best-effort` what is in the ledger.
// catalogue: A1 C2 C9 C14 C19 C20 F3 F6

use anyhow::{Context, Result, ensure};

use super::failover::{self, Fault};

#[derive(clap::Args)]
pub struct Options {
    /// How often each fault strikes.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Only these; all when empty.
    #[arg(long, value_enum, value_delimiter = ',')]
    faults: Vec<Fault>,
    /// Only these, in the words of KEYSPACE ALTER; all when empty.
    #[arg(long, value_delimiter = ',')]
    commit: Vec<String>,
}

const FAULTS: [Fault; 6] =
    [Fault::Kill, Fault::Stop, Fault::Cut, Fault::SlowDisk, Fault::FullDisk, Fault::Switchover];
const RULES: [&str; 8] = [
    "best-effort",
    "async",
    "semi-sync ACKS 1",
    "semi-sync ACKS 2",
    "majority",
    "in-sync-set",
    "synchronous",
    "chain",
];

impl Options {
    /// For a check: what other suites of the same check do not do.
    pub fn slice() -> Options {
        let faults = vec![Fault::Cut, Fault::SlowDisk, Fault::FullDisk, Fault::Switchover];
        Options { rounds: 1, faults, commit: vec!["async".into(), "majority".into(), "chain".into()] }
    }
}

pub fn run(options: &Options) -> Result<()> {
    let faults = if options.faults.is_empty() { FAULTS.to_vec() } else { options.faults.clone() };
    let rules: Vec<&str> = match options.commit.is_empty() {
        true => RULES.to_vec(),
        false => options.commit.iter().map(String::as_str).collect(),
    };
    let mut failed = Vec::new();
    for fault in faults {
        if let Err(why) = failover::can_be_made(fault) {
            println!("  {}: skipped, this user may not: {why:#}", fault.name());
            continue;
        }
        for rule in &rules {
            let run = failover::run(&failover::Options::of(fault, rule, options.rounds));
            if let Err(error) = run.with_context(|| format!("{} under {rule}", fault.name())) {
                println!("  FAILED: {error:#}");
                failed.push(format!("{} under {rule}", fault.name()));
            }
        }
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}
