//! Runs of real processes and real clients, as named suites; CI runs a bounded slice of each.

mod bad_input;
mod conformance;
mod degrade;
mod disk_full;
mod drill;
mod failover;
mod faults;
mod join;
mod leaderless;
mod ledger;
mod requests;
mod reshard;
mod restore;
mod sessions;
mod site_cuts;
mod sites;
mod smoke;
mod snapshots;
mod tryout;

use anyhow::Result;
use clap::Subcommand;

#[derive(Subcommand)]
pub enum Suite {
    /// redis-cli, redis-benchmark, redis-py 8 and 5, ioredis against `tercet up`.
    Smoke(smoke::Options),
    /// Kills or stops the leader under load; no acknowledged write may be lost, none applied twice, no read stale.
    Failover(failover::Options),
    /// Every way to take the leader away, under every commit rule: what is lost is what the rule announces, and in the ledger.
    Faults(faults::Options),
    /// Five nodes with leaderless keyspaces are killed, paused, cut off, restarted, replaced and wiped under load.
    Leaderless(leaderless::Options),
    /// A node with an empty disk joins a loaded cluster.
    Join(join::Options),
    /// What no server should be asked: it answers with a clear error and goes on.
    BadInput(bad_input::Options),
    /// One node's disk is full: the service goes on.
    DiskFull,
    /// Semi-sync that may be degraded goes on without its followers, recorded and announced.
    Degrade,
    /// Writes under their clients' own ids, sent again through kills of the leader; WITH and CONSISTENCY.
    Requests(requests::Options),
    /// What async lost is in the ledger, and only that; it is applied again.
    Ledger,
    /// A site is lost: what the copy at the recovery site said would be missing, beside what was.
    Drill,
    /// A node is started with an old backup of its data: it is noticed.
    Restore,
    /// A keyspace in use gets more shards and fewer, under load of a stock cluster client.
    Reshard(reshard::Options),
    /// A session that moves to a node that was held back reads what it wrote.
    Sessions,
    /// Readers hold snapshots open on three nodes while others write: each shows one moment.
    Snapshots,
    /// Three sites write by themselves, one is away, a leader is killed: all become equal, nothing is lost or counted twice.
    Sites,
    /// Sites in networks of their own are cut off from each other under load, and become equal after each cut.
    SiteCuts(site_cuts::Options),
    /// `tercet up` as a newcomer tries it: sites that are far apart, a conflict, a crash, a pause.
    Tryout,
    /// Commands and the replies that Redis documents for them.
    Conformance(conformance::Options),
}

impl Suite {
    /// What CI runs, quickest first.
    pub fn ci_slices() -> Vec<Suite> {
        vec![
            Suite::Conformance(conformance::Options::default()),
            Suite::Smoke(smoke::Options::default()),
            Suite::BadInput(bad_input::Options::default()),
            Suite::Tryout,
            Suite::Failover(failover::Options::kills(3)),
            Suite::Failover(failover::Options::stops(1)),
            Suite::Failover(failover::Options::upgrades(4)),
            Suite::Failover(failover::Options::under("semi-sync ACKS 1", 2)),
            Suite::Failover(failover::Options::under("synchronous", 2)),
            Suite::Faults(faults::Options::slice()),
            Suite::Join(join::Options { keys: 50_000 }),
            Suite::DiskFull,
            Suite::Restore,
            Suite::Degrade,
            Suite::Requests(requests::Options::kills(3)),
            Suite::Reshard(reshard::Options::default()),
            Suite::Sessions,
            Suite::Snapshots,
            Suite::Ledger,
            Suite::Leaderless(leaderless::Options::slice()),
            Suite::Drill,
            Suite::Sites,
            Suite::SiteCuts(site_cuts::Options::slice()),
        ]
    }

    pub fn name(&self) -> &'static str {
        match self {
            Suite::Smoke(_) => "smoke",
            Suite::Failover(_) => "failover",
            Suite::Faults(_) => "faults",
            Suite::Join(_) => "join",
            Suite::Leaderless(_) => "leaderless",
            Suite::BadInput(_) => "bad-input",
            Suite::DiskFull => "disk-full",
            Suite::Restore => "restore",
            Suite::Degrade => "degrade",
            Suite::Requests(_) => "requests",
            Suite::Reshard(_) => "reshard",
            Suite::Sessions => "sessions",
            Suite::Snapshots => "snapshots",
            Suite::Ledger => "ledger",
            Suite::Drill => "drill",
            Suite::Sites => "sites",
            Suite::SiteCuts(_) => "site-cuts",
            Suite::Tryout => "tryout",
            Suite::Conformance(_) => "conformance",
        }
    }
}

/// Runs one suite.
///
/// # Errors
/// When something that it looks at is wrong, or cannot be started.
pub fn run(suite: Suite) -> Result<()> {
    match suite {
        Suite::Smoke(options) => smoke::run(&options),
        Suite::Failover(options) => failover::run(&options),
        Suite::Faults(options) => faults::run(&options),
        Suite::Join(options) => join::run(&options),
        Suite::Leaderless(options) => leaderless::run(&options),
        Suite::BadInput(options) => bad_input::run(&options),
        Suite::DiskFull => disk_full::run(),
        Suite::Restore => restore::run(),
        Suite::Degrade => degrade::run(),
        Suite::Requests(options) => requests::run(&options),
        Suite::Reshard(options) => reshard::run(&options),
        Suite::Sessions => sessions::run(),
        Suite::Snapshots => snapshots::run(),
        Suite::Ledger => ledger::run(),
        Suite::Drill => drill::run(),
        Suite::Sites => sites::run(),
        Suite::SiteCuts(options) => site_cuts::run(&options),
        Suite::Tryout => tryout::run(),
        Suite::Conformance(options) => conformance::run(&options),
    }
}

/// A check by name; the first that fails ends a suite.
///
/// # Errors
/// When `holds` is false: the message is `what` and `details`.
pub fn check(holds: bool, what: &str, details: impl std::fmt::Debug) -> Result<()> {
    anyhow::ensure!(holds, "{what}: {details:?}");
    println!("  ok: {what}");
    Ok(())
}
