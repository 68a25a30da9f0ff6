//! How each server is started for a comparison: alone with nothing flushed, or as three replicas that flush always.

mod peers;
pub mod tercet;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::process::{Server, TempFolder, find_program};
use crate::resp::Value;

const METRICS_TIMEOUT: Duration = Duration::from_secs(20);

/// A kind of server that can be compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Contender {
    Tercet(PathBuf),
    Redis(PathBuf),
    Valkey(PathBuf),
    Etcd(PathBuf),
}

impl Contender {
    /// Every other server that is on the PATH.
    pub fn peers() -> Vec<Contender> {
        let redis = find_program("redis-server").map(Contender::Redis);
        let valkey = find_program("valkey-server").map(Contender::Valkey);
        let etcd = find_program("etcd").map(Contender::Etcd);
        [redis, valkey, etcd].into_iter().flatten().collect()
    }

    pub fn name(&self) -> &'static str {
        match self {
            Contender::Tercet(_) => "tercet",
            Contender::Redis(_) => "redis",
            Contender::Valkey(_) => "valkey",
            Contender::Etcd(_) => "etcd",
        }
    }

    /// Starts one server that keeps everything in memory; `None` for a server that cannot.
    pub fn start_alone(&self) -> io::Result<Option<Running>> {
        match self {
            Contender::Tercet(program) => tercet::alone(program).map(Some),
            Contender::Redis(program) | Contender::Valkey(program) => peers::redis_alone(program).map(Some),
            Contender::Etcd(_) => Ok(None),
        }
    }

    /// Starts three replicas that flush every write before they acknowledge it.
    pub fn start_replicated(&self) -> io::Result<Running> {
        match self {
            Contender::Tercet(program) => tercet::replicated(program),
            Contender::Redis(program) | Contender::Valkey(program) => peers::redis_replicated(program),
            Contender::Etcd(program) => peers::etcd_replicated(program),
        }
    }
}

/// Servers under way, with their data.
pub struct Running {
    // Dropped before the folder that they write to.
    pub servers: Vec<Server>,
    /// Where a load goes: the leader.
    pub address: SocketAddr,
    pub folder: TempFolder,
}

impl Running {
    pub fn pids(&self) -> Vec<u32> {
        self.servers.iter().map(Server::pid).collect()
    }
}

/// Asks again until `check` has an answer.
///
/// # Errors
/// After `timeout`, naming what was waited for.
pub fn wait_for<T>(what: &str, timeout: Duration, mut check: impl FnMut() -> Option<T>) -> io::Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(value) = check() {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("waited in vain for {what}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What the server at `address` answers to one command on a fresh connection; `None` when it does not.
pub fn ask(address: SocketAddr, args: &[&str]) -> Option<Value> {
    Client::connect(address, Duration::from_secs(1)).ok()?.call(args).ok()
}

/// One line of `INFO section`.
pub fn info_field(address: SocketAddr, section: &str, field: &str) -> Option<String> {
    let reply = ask(address, &["INFO", section])?;
    let prefix = format!("{field}:");
    reply.text()?.lines().find_map(|line| line.strip_prefix(&prefix)).map(|value| value.trim().to_owned())
}

/// The page of metrics of one node.
pub struct Metrics(String);

impl Metrics {
    /// # Errors
    /// When the node does not answer.
    pub fn of(http: SocketAddr) -> io::Result<Metrics> {
        let mut stream = TcpStream::connect_timeout(&http, METRICS_TIMEOUT)?;
        stream.set_read_timeout(Some(METRICS_TIMEOUT))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        Ok(Metrics(page))
    }
    /// The sum of all lines that begin like this and have this among their labels.
    pub fn sum(&self, name: &str, label: &str) -> f64 {
        let lines = self.0.lines().filter(|line| line.starts_with(name) && line.contains(label));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

/// Whether `ROLE` names the server a leader.
pub fn is_leader(address: SocketAddr) -> bool {
    ask(address, &["ROLE"])
        .and_then(|reply| reply.items().first().and_then(Value::text).map(|role| role == "master"))
        .unwrap_or(false)
}
