//! `verify` is what CI runs and writes nothing; `fix` may write.

use anyhow::{Result, bail};

use crate::e2e::{self, Suite};
use crate::{purity, shell, sim_slice, tidy};

/// Checks everything, cheapest first.
pub fn verify(no_e2e: bool) -> Result<()> {
    shell::run(shell::cargo(&["fmt", "--all", "--check"]))?;
    tidy::run()?;
    purity::run()?;
    shell::run(shell::cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    shell::run(shell::cargo(&["test", "--quiet", "--workspace"]))?;
    if no_e2e {
        println!("verify: passed, without runs of real processes");
        return Ok(());
    }
    shell::run(shell::cargo(&["build", "--quiet", "--release"]))?;
    println!("== sim-slice");
    sim_slice::run(&sim_slice::Options::default())?;
    let mut failed = Vec::new();
    for suite in Suite::ci_slices() {
        let name = suite.name();
        println!("== e2e {name}");
        if let Err(error) = e2e::run(suite) {
            println!("e2e {name}: FAILED: {error:#}");
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("failed: e2e {}", failed.join(", "));
    }
    println!("verify: passed");
    Ok(())
}

/// Formats, and applies clippy's machine-applicable suggestions.
pub fn fix() -> Result<()> {
    let clippy = ["clippy", "--workspace", "--all-targets", "--fix", "--allow-dirty", "--allow-staged"];
    shell::run(shell::cargo(&clippy))?;
    shell::run(shell::cargo(&["fmt", "--all"]))
}
