//! Builds the pure crates for a target without an operating system: what they must not use is not there to be linked.

use anyhow::Result;

use crate::shell;
use crate::tidy::PURE_CRATES;

/// Targets whose standard library is `core` and `alloc` only.
const BARE_TARGETS: &[&str] = &["thumbv7em-none-eabihf", "x86_64-unknown-none", "aarch64-unknown-none"];

pub fn run() -> Result<()> {
    let installed =
        shell::capture(shell::command("rustup", &["target", "list", "--installed"])).unwrap_or_default();
    let Some(target) = BARE_TARGETS.iter().find(|target| installed.lines().any(|line| line == **target))
    else {
        println!(
            "purity: the build for a bare target is skipped, none of {} is installed; `#![no_std]` is still checked",
            BARE_TARGETS.join(", ")
        );
        return Ok(());
    };
    // `node` sees `control`, whose consensus library wants the standard library: it is checked by its lints only.
    for name in PURE_CRATES.iter().filter(|name| **name != "node") {
        shell::run(shell::cargo(&["build", "--quiet", "--lib", "--package", name, "--target", target]))?;
    }
    Ok(())
}
