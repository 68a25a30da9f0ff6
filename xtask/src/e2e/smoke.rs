//! Unmodified clients against a cluster of three: redis-cli, redis-benchmark, redis-py with RESP3 and RESP2, ioredis.
//!
//! Clients that are not installed are fetched into `target/e2e` from their registries. What cannot be had is skipped
//! with a message, except in CI, where everything must run.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use bench::process::find_program;
use bench::servers::{Contender, tercet};

use crate::shell;

#[derive(clap::Args, Default)]
pub struct Options {
    /// A server that already runs; its data is erased.
    #[arg(long)]
    address: Option<SocketAddr>,
    /// Try the clients themselves on redis-server.
    #[arg(long, conflicts_with = "address")]
    on_redis: bool,
}

const BENCHMARKED: &str = "set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,lrange,mset";

pub fn run(options: &Options) -> Result<()> {
    let running = match options.address {
        Some(_) => None,
        None if options.on_redis => {
            let peers = Contender::peers();
            let redis =
                peers.iter().find(|peer| peer.name() == "redis").context("redis-server is not installed")?;
            redis.start_alone()?
        }
        None => Some(tercet::up(&shell::tercet_binary()?, 3, 1)?),
    };
    let address = options.address.or(running.as_ref().map(|r| r.address)).context("no server to try")?;
    redis_cli(address)?;
    redis_benchmark(address)?;
    for requirements in ["redis-py-8.txt", "redis-py-5.txt"] {
        redis_py(address, requirements, "redis_py_tour.py")?;
    }
    ioredis(address, "ioredis_tour.mjs")?;
    if options.address.is_none() && !options.on_redis {
        cluster_clients()?;
    }
    Ok(())
}

/// Clients of Redis Cluster on a sharded keyspace: sent on by whatever node they ask, and sent away to the right one.
fn cluster_clients() -> Result<()> {
    for forward in ["on", "off"] {
        let running = tercet::up(&shell::tercet_binary()?, 3, 3)?;
        let address = running.address;
        let port = address.port().to_string();
        let alter = ["-p", &port, "KEYSPACE", "ALTER", "0", "FORWARD", forward];
        if !has("redis-cli")? {
            return Ok(());
        }
        let answer = shell::capture(shell::command("redis-cli", &alter))?;
        super::check(answer.trim() == "OK", &format!("three shards, FORWARD {forward}"), answer)?;
        for key in ["foo", "bar", "hello", "somekey"] {
            let answer = shell::capture(shell::command("redis-cli", &["-c", "-p", &port, "INCR", key]))?;
            super::check(answer.trim().ends_with('1'), &format!("redis-cli -c INCR {key}"), answer)?;
        }
        redis_py(address, "redis-py-8.txt", "redis_py_cluster_tour.py")?;
        redis_py(address, "redis-py-5.txt", "redis_py_cluster_tour.py")?;
        ioredis(address, "ioredis_cluster_tour.mjs")?;
    }
    Ok(())
}

/// Whether a program is there; in CI it must be.
fn has(program: &str) -> Result<bool> {
    let found = find_program(program).is_some();
    ensure!(found || std::env::var_os("CI").is_none(), "{program} is not installed");
    if !found {
        println!("  skipped: {program} is not installed");
    }
    Ok(found)
}

fn redis_cli(address: SocketAddr) -> Result<()> {
    if !has("redis-cli")? {
        return Ok(());
    }
    let port = address.port().to_string();
    let ask = |args: &[&str]| shell::capture(shell::command("redis-cli", &[&["-p", &port], args].concat()));
    for (args, expected) in [
        (&["FLUSHALL"][..], "OK"),
        (&["SET", "cli", "1"], "OK"),
        (&["INCR", "cli"], "2"),
        (&["-3", "GET", "cli"], "2"),
        (&["-3", "HSET", "cli:hash", "a", "1"], "1"),
        (&["--scan", "--pattern", "cli:*"], "cli:hash"),
        (&["-n", "3", "DBSIZE"], "0"),
    ] {
        let answer = ask(args)?;
        super::check(answer.trim() == expected, &format!("redis-cli {}", args.join(" ")), answer)?;
    }
    let info = ask(&["INFO", "server"])?;
    super::check(info.contains("redis_version:"), "redis-cli INFO", info)
}

fn redis_benchmark(address: SocketAddr) -> Result<()> {
    if !has("redis-benchmark")? {
        return Ok(());
    }
    for pipeline in ["1", "16"] {
        let port = address.port().to_string();
        let args =
            ["-p", &port, "-t", BENCHMARKED, "-n", "3000", "-c", "20", "-r", "500", "-P", pipeline, "--csv"];
        let table = shell::capture(shell::command("redis-benchmark", &args))?;
        // An error ends redis-benchmark early: every test must have its line.
        let lines = table.lines().filter(|line| line.starts_with('"')).count();
        let what = format!("redis-benchmark -P {pipeline}: {} tests", lines.saturating_sub(1));
        super::check(lines > BENCHMARKED.split(',').count(), &what, table)?;
    }
    Ok(())
}

/// Runs one script of `e2e/smoke` with a version of redis-py; a list of words goes to it.
pub(super) fn redis_py_with(
    address: SocketAddr,
    requirements: &str,
    tour: &str,
    words: &[String],
) -> Result<()> {
    if !has("python3")? {
        return Ok(());
    }
    let venv = work_folder()?.join(requirements.trim_end_matches(".txt"));
    let python = venv.join("bin/python");
    if !venv.join("ready").is_file() {
        shell::run(in_root("python3", &["-m".as_ref(), "venv".as_ref(), &venv]))?;
        let list = shell::root().join("e2e/smoke").join(requirements);
        let args = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"].map(Path::new);
        shell::run(in_root(&python.to_string_lossy(), &[&args[..], &[&list]].concat()))?;
        std::fs::write(venv.join("ready"), "")?;
    }
    let mut command = in_root(&python.to_string_lossy(), &[&Path::new("e2e/smoke").join(tour)]);
    command.args(words).env("TERCET_ADDRESS", address.to_string());
    shell::run(command)
}

fn redis_py(address: SocketAddr, requirements: &str, tour: &str) -> Result<()> {
    redis_py_with(address, requirements, tour, &[])
}

fn ioredis(address: SocketAddr, tour: &str) -> Result<()> {
    if !has("node")? || !has("npm")? {
        return Ok(());
    }
    let folder = work_folder()?.join("ioredis");
    if !folder.join("ready").is_file() {
        std::fs::create_dir_all(&folder)?;
        std::fs::copy(shell::root().join("e2e/smoke/package.json"), folder.join("package.json"))?;
        let mut install = Command::new("npm");
        install.args(["install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel", "error"]);
        install.current_dir(&folder);
        shell::run(install)?;
        std::fs::write(folder.join("ready"), "")?;
    }
    // Modules are looked for beside the script: so it is copied to where they are.
    let script = folder.join(tour);
    std::fs::copy(shell::root().join("e2e/smoke").join(tour), &script)?;
    let mut command = Command::new("node");
    command.arg(&script).env("TERCET_ADDRESS", address.to_string());
    shell::run(command)
}

fn in_root(program: &str, args: &[&Path]) -> Command {
    let mut command = shell::command(program, &[]);
    command.args(args);
    command
}

/// Build output that outlives a run: installed clients.
fn work_folder() -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let folder = shell::root().join(target).join("e2e");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
