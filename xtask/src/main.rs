//! What a developer and CI run: `cargo xtask verify` (writes nothing), `fix`, `tidy`, `purity`, `bench`,
//! `e2e`, `sim-nightly`, `sim-slice`, `sim-hash`.

mod bench_command;
mod e2e;
mod purity;
mod shell;
mod sim_hash;
mod sim_nightly;
mod sim_slice;
mod tidy;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Checks, benchmarks and runs of real processes")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Formatting, lints, tidy, purity, all tests: exactly what CI runs. Writes nothing but build output.
    Verify {
        /// Leave out the bounded runs of real processes.
        #[arg(long)]
        no_e2e: bool,
    },
    /// Formats, and applies what clippy can correct by itself.
    Fix,
    /// The project's own rules: arrows between crates, purity, sizes, words, docs.
    Tidy,
    /// Builds the pure crates for a target without an operating system, where one is installed.
    Purity,
    /// Tercet beside the servers that are on the PATH.
    Bench(bench_command::Options),
    /// Every planted bug is found by the simulator; fresh seeds find nothing else. Takes long.
    SimNightly(sim_nightly::Options),
    /// Fixed and fresh seeds of the simulator within a budget of seconds: the part of it that every check runs.
    SimSlice(sim_slice::Options),
    /// The simulator runs seeds alike in debug and release builds.
    SimHash(sim_hash::Options),
    /// Real processes and real clients.
    #[command(subcommand)]
    E2e(e2e::Suite),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Verify { no_e2e } => verify::verify(no_e2e),
        Command::Fix => verify::fix(),
        Command::Tidy => tidy::run(),
        Command::Purity => purity::run(),
        Command::Bench(options) => bench_command::run(&options),
        Command::SimNightly(options) => sim_nightly::run(&options),
        Command::SimSlice(options) => sim_slice::run(&options),
        Command::SimHash(options) => sim_hash::run(&options),
        Command::E2e(suite) => e2e::run(suite),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line with its causes: where in our code it arose helps nobody who reads a failed check.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
