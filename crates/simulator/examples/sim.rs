//! The simulator's command line on its own: `cargo run --release -p simulator --example sim -- --seeds 100`.

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    simulator::run_args(&simulator::Args::parse())
}
