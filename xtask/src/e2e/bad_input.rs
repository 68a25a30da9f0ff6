//! What no server should be asked. Each case ends with a clear error or a closed connection, and another client that
//! was connected all the while is served as if nothing had happened.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use bench::client::Client;
use bench::process::{Server, TempFolder, free_addresses};
use bench::resp::Value;
use bench::servers::tercet::{Cluster, up};

use super::check;

#[derive(clap::Args, Default)]
pub struct Options {
    /// A server that already runs: only what can be tried on a connection is tried there.
    #[arg(long)]
    address: Option<SocketAddr>,
}

const TIMEOUT: Duration = Duration::from_secs(3);

/// What must come back.
enum Expected {
    /// An error that begins so; the connection goes on.
    Error(&'static str),
    /// An error that begins so, then the connection is closed.
    ErrorAndClose(&'static str),
    /// The connection is closed; what is said before does not matter.
    Close,
}

use Expected::{Close, Error, ErrorAndClose};

struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    expected: Expected,
}

fn cases() -> Vec<Case> {
    let case = |name, bytes: &[u8], expected| Case { name, bytes: bytes.to_vec(), expected };
    vec![
        case("a count that is no number", b"*x\r\n", ErrorAndClose("ERR Protocol error")),
        case("a negative bulk length", b"*1\r\n$-5\r\nPING\r\n", ErrorAndClose("ERR Protocol error")),
        case("a bulk without its mark", b"*1\r\nPING\r\n", ErrorAndClose("ERR Protocol error")),
        case("more arguments than memory", b"*9999999999\r\n", ErrorAndClose("ERR Protocol error")),
        case("a bulk of 9 EB", b"*1\r\n$9223372036854775807\r\n", ErrorAndClose("ERR Protocol error")),
        case(
            "a number past 64 bits",
            b"*1\r\n$99999999999999999999\r\n",
            ErrorAndClose("ERR Protocol error"),
        ),
        case("HTTP on the command port", b"POST /set HTTP/1.1\r\nHost: x\r\n\r\n", Close),
        case("an endless inline line", &vec![b'a'; 1 << 20], Close),
        case("an unbalanced quote", b"SET \"a\r\n", ErrorAndClose("ERR Protocol error")),
        case("deep nesting", &b"*1\r\n".repeat(100_000), ErrorAndClose("ERR Protocol error")),
        case("an unknown command", b"*1\r\n$7\r\nNOTHING\r\n", Error("ERR unknown command")),
        case("wrong arity", b"*1\r\n$3\r\nGET\r\n", Error("ERR wrong number of arguments")),
        case("bytes as a command", b"*1\r\n$4\r\n\x00\xff\r\n\r\n", Error("ERR unknown command")),
        case("a wrong type", b"*2\r\n$4\r\nLLEN\r\n$6\r\nstring\r\n", Error("WRONGTYPE")),
        case("a number out of range", b"*2\r\n$4\r\nINCR\r\n$3\r\nmax\r\n", Error("ERR")),
        case("an unknown protocol version", b"*2\r\n$5\r\nHELLO\r\n$1\r\n9\r\n", Error("NOPROTO")),
        case("an unknown database", b"*2\r\n$6\r\nSELECT\r\n$9\r\n999999999\r\n", Error("ERR")),
    ]
}

pub fn run(options: &Options) -> Result<()> {
    if let Some(address) = options.address {
        return try_connections(address);
    }
    let mut running = up(&crate::shell::tercet_binary()?, 1, 1)?;
    try_connections(running.address)?;
    let ended = running.servers[0].wait(Duration::ZERO)?;
    check(ended.is_none(), "the server is still the same process", ended)?;
    refuse_unknown_setting()?;
    refuse_data_of_another_cluster()
}

/// Every case on a connection of its own, with a witness who must not notice.
fn try_connections(address: SocketAddr) -> Result<()> {
    let mut witness = Client::connect(address, TIMEOUT)?;
    witness.call(&["SET", "string", "kept"])?;
    witness.call(&["SET", "max", &i64::MAX.to_string()])?;
    let mut failed = 0;
    for case in cases() {
        if let Err(error) = try_case(address, &case) {
            failed += 1;
            println!("  FAILED: {}: {error:#}", case.name);
        }
        let kept = witness.call(&["GET", "string"])?;
        check(kept == Value::Bulk(b"kept".to_vec()), &format!("served after {}", case.name), kept)?;
    }
    abandon_connections(address)?;
    let pong = witness.call(&["PING"])?;
    check(pong == Value::Simple("PONG".into()), "served after 200 half-sent commands", pong)?;
    anyhow::ensure!(failed == 0, "{failed} cases failed");
    Ok(())
}

fn try_case(address: SocketAddr, case: &Case) -> Result<()> {
    let mut client = Client::connect(address, TIMEOUT)?;
    // The server may close before everything is sent: that is an answer too.
    let sent = client.send_raw(&case.bytes);
    let begins = |reply: &Value, text: &str| matches!(reply, Value::Error(words) if words.starts_with(text));
    match case.expected {
        Close => {
            anyhow::ensure!(client.is_closed_by_server(), "the connection stays open ({sent:?})");
            Ok(())
        }
        Error(text) => {
            let reply = client.receive()?;
            anyhow::ensure!(begins(&reply, text), "expected `{text}`, got {reply:?}");
            let pong = client.call(&["PING"])?;
            anyhow::ensure!(
                pong == Value::Simple("PONG".into()),
                "the connection is of no use after it: {pong:?}"
            );
            Ok(())
        }
        ErrorAndClose(text) => {
            // A reset may overtake the error when unread bytes are left: only a wrong answer counts against it.
            if let Ok(reply) = client.receive() {
                anyhow::ensure!(begins(&reply, text), "expected `{text}`, got {reply:?}");
            }
            anyhow::ensure!(client.is_closed_by_server(), "the connection stays open");
            Ok(())
        }
    }
}

/// Clients that say half a word and vanish.
fn abandon_connections(address: SocketAddr) -> Result<()> {
    for length in 0..200 {
        let mut client = Client::connect(address, TIMEOUT)?;
        let whole = b"*3\r\n$3\r\nSET\r\n$6\r\nstring\r\n$100\r\nbroken";
        client.send_raw(&whole[..length % whole.len()])?;
    }
    Ok(())
}

/// A file with a setting that nobody knows ends the start with its name.
fn refuse_unknown_setting() -> Result<()> {
    let folder = TempFolder::new("setting")?;
    let file = folder.path.join("tercet.toml");
    std::fs::write(&file, "flush_allways = true\n")?;
    let addresses = free_addresses(3)?;
    let mut command = Command::new(crate::shell::tercet_binary()?);
    command.args([
        "node",
        "--name",
        "n1",
        "--resp",
        &addresses[0].to_string(),
        "--http",
        &addresses[1].to_string(),
    ]);
    command.args(["--peer", &addresses[2].to_string(), "--founders", &addresses[2].to_string()]);
    command.arg("--data").arg(folder.path.join("data")).arg("--config").arg(&file);
    let mut server = Server::start(command, &folder.path.join("output"))?;
    expect_refusal(&mut server, "flush_allways", "an unknown setting is named")
}

/// A node never starts on another cluster's data.
fn refuse_data_of_another_cluster() -> Result<()> {
    let program = crate::shell::tercet_binary()?;
    let mut first = Cluster::found(&program, 1)?;
    let mut second = Cluster::found(&program, 1)?;
    first.nodes[0].kill();
    second.nodes[0].kill();
    let strange = first.nodes[0].data.clone();
    std::fs::remove_dir_all(&second.nodes[0].data)?;
    std::fs::rename(strange, &second.nodes[0].data)?;
    second.nodes[0].start()?;
    let server = second.nodes[0].server.as_mut().context("not started")?;
    expect_refusal(server, "cluster", "the data of another cluster is refused")
}

fn expect_refusal(server: &mut Server, word: &str, what: &str) -> Result<()> {
    let status = server.wait(Duration::from_secs(10))?;
    let words = server.last_words();
    check(status.is_some_and(|status| !status.success()) && words.contains(word), what, words)?;
    let panicked = server.last_words().contains("panicked");
    check(!panicked, "without a panic", server.last_words())
}
