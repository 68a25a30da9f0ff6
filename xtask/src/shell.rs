//! The workspace folder, and programs run in it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The root of the workspace.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// A command that runs in the root of the workspace.
pub fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    command
}

/// The cargo that runs us, so that tool-chain choices carry over.
pub fn cargo(args: &[&str]) -> Command {
    command(&env::var("CARGO").unwrap_or_else(|_| "cargo".into()), args)
}

/// Runs to the end, output going through.
///
/// # Errors
/// When it cannot be started or ends with a failure.
pub fn run(mut command: Command) -> Result<()> {
    let shown = describe(&command);
    println!("== {shown}");
    let status = command.status().with_context(|| format!("cannot start: {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// Runs to the end and returns what it printed.
///
/// # Errors
/// When it cannot be started or ends with a failure.
pub fn capture(mut command: Command) -> Result<String> {
    let shown = describe(&command);
    let output = command.output().with_context(|| format!("cannot start: {shown}"))?;
    if !output.status.success() {
        bail!("{shown}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    root().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// The release binary: `TERCET_BIN`, else where `cargo build --release` puts it.
///
/// # Errors
/// When there is no such file; the message says how to build it.
pub fn tercet_binary() -> Result<PathBuf> {
    let path = match env::var_os("TERCET_BIN") {
        Some(path) => PathBuf::from(path),
        None => target().join("release/tercet"),
    };
    if !path.is_file() {
        bail!("{} is not there: run `cargo build --release`, or set TERCET_BIN", path.display());
    }
    Ok(path)
}
