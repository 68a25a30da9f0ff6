//! The one binary: `tercet up` for a newcomer, `tercet node` for production, `tercet ctl` for administration,
//! `tercet sim` to see it survive, `tercet check` to judge what clients saw.

mod check;
mod connect;
mod ctl;
mod node_command;
mod tryout;
mod up;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Chosen by the benchmark: it made SET in pipelines about a tenth faster than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "tercet", version, about = "A replicated store that any Redis client can use.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A whole cluster in this process: for a first look and for tests.
    Up(up::Up),
    /// One node of a production cluster.
    Node(node_command::NodeCommand),
    /// Looks at a cluster and changes it.
    Ctl(ctl::Ctl),
    /// Judges a recorded history of client operations.
    Check(check::Check),
    /// Simulates whole clusters under faults, from a seed.
    Sim(simulator::Args),
}

/// A command whose output goes into `head` ends with it, as others do. Servers must not: their clients close connections.
fn end_with_the_reader() -> std::io::Result<()> {
    let always = Arc::new(AtomicBool::new(true));
    signal_hook::flag::register_conditional_default(signal_hook::consts::SIGPIPE, always).map(drop)
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    if matches!(command, Command::Ctl(_) | Command::Check(_) | Command::Sim(_))
        && let Err(error) = end_with_the_reader()
    {
        eprintln!("tercet: {error}");
    }
    let outcome = match command {
        Command::Up(up) => up.run(),
        Command::Node(node) => node.run(),
        Command::Ctl(ctl) => ctl.run(),
        Command::Check(check) => return check.run(),
        Command::Sim(args) => return simulator::run_args(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tercet: {error}");
            ExitCode::from(2)
        }
    }
}
