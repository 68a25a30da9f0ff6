//! What is under test: something with nodes, one of which leads and can be taken away.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bench::client::Client;
use bench::process::{Server, TempFolder, find_program, free_addresses};
use bench::resp::Value;
use bench::servers::tercet::{Cluster, free_threes};
use bench::servers::{info_field, wait_for};

use super::announced::{self, Kept};
use super::equipment::{Networks, SlowDisks, SmallDisks};
use super::fault::Fault;

pub trait System {
    fn addresses(&self) -> Vec<SocketAddr>;
    /// The number of the node that leads now.
    fn leader(&self) -> Result<usize>;
    fn begin(&mut self, fault: Fault, node: usize) -> Result<()>;
    fn end(&mut self, fault: Fault, node: usize) -> Result<()>;
    /// Whether writes come back while it lasts.
    fn survives(&self, fault: Fault) -> bool;
    /// Waits until every node is a full member: only then may the next be taken away.
    fn wait_until_whole(&mut self, timeout: Duration) -> Result<()>;
    /// Whether acknowledged writes may be lost, as long as the ledger says so.
    fn may_lose(&self) -> bool {
        false
    }
    /// What the ledger holds, once no loss is only announced.
    fn ledger(&self, _timeout: Duration) -> Result<Kept> {
        Ok(Kept::default())
    }
}

/// What the nodes speak before they are upgraded.
const OLD_VERSION: u8 = 1;
const SLOW_FLUSH_MICROS: u32 = 300_000;
/// Of a value that helps to fill a disk: the log grows, the memory does not.
const BULK_BYTES: usize = 256 << 10;
const BULKS_MAX: usize = 1000;

pub struct TercetCluster {
    cluster: Cluster,
    commit: String,
    networks: Option<Networks>,
    slow: Option<SlowDisks>,
    small: Option<SmallDisks>,
}

impl TercetCluster {
    /// Three nodes; `commit` is the rule in the words of KEYSPACE ALTER.
    pub fn start(program: &Path, fault: Fault, commit: &str) -> Result<TercetCluster> {
        let version = (fault == Fault::Upgrade).then_some(OLD_VERSION);
        let networks = (fault == Fault::Cut).then(|| Networks::make(3)).transpose()?;
        let slow = (fault == Fault::SlowDisk).then(SlowDisks::make).transpose()?;
        let mut small = (fault == Fault::FullDisk).then(SmallDisks::default);
        let threes = match &networks {
            Some(networks) => networks.addresses(),
            None => free_threes(3)?,
        };
        let cluster = Cluster::found_at(program, &threes, &mut |node, number| {
            node.message_version = version;
            networks.iter().for_each(|networks| networks.prepare(node, number));
            slow.iter().for_each(|slow| slow.prepare(node, number));
            small.iter_mut().try_for_each(|small| small.prepare(node))
        })?;
        let leader = cluster.wait_for_leader(Duration::from_secs(10))?;
        let words = ["KEYSPACE", "ALTER", "0", "COMMIT"].into_iter().chain(commit.split(' '));
        let words: Vec<&str> = words.collect();
        let mut client = Client::connect(cluster.nodes[leader].resp, Duration::from_secs(5))?;
        let reply = client.call(&words)?;
        ensure!(reply == Value::Simple("OK".into()), "{}: {reply:?}", words.join(" "));
        // It counts once the leader has brought everything under it.
        let rule = commit.split(' ').next().unwrap_or_default().to_owned();
        wait_for("the commit rule", Duration::from_secs(10), || {
            let groups = status(&cluster)?["groups"].as_array()?.clone();
            groups.iter().all(|group| group["commit_rule"] == rule.as_str()).then_some(())
        })?;
        Ok(TercetCluster { cluster, commit: commit.to_owned(), networks, slow, small })
    }

    fn switch_over(&self, leader: usize) -> Result<()> {
        let target = &self.cluster.nodes[(leader + 1) % self.cluster.nodes.len()].name;
        let status = status(&self.cluster).context("the state of the cluster")?;
        let group = status["groups"][0]["group"].to_string();
        let mut client = Client::connect(self.cluster.nodes[leader].resp, Duration::from_secs(5))?;
        let reply = client.call(&["KEYSPACE", "SWITCHOVER", &group, target])?;
        ensure!(reply == Value::Simple("OK".into()), "SWITCHOVER {group} {target}: {reply:?}");
        Ok(())
    }

    /// Writes large values until the full disk is felt.
    fn fill_the_log(&self, leader: usize) -> Result<()> {
        let mut client = Client::connect(self.cluster.nodes[leader].resp, Duration::from_secs(2))?;
        let value = vec![b'x'; BULK_BYTES];
        for number in 0..BULKS_MAX {
            let key = format!("bulk:{}", number % 4);
            match client.call(&[b"SET".as_slice(), key.as_bytes(), &value]) {
                Ok(Value::Simple(_)) if self.leader_now() == Some(leader) => {}
                _ => return Ok(()),
            }
        }
        bail!("{} MB were written to a disk without room", (BULKS_MAX * BULK_BYTES) >> 20)
    }

    fn leader_now(&self) -> Option<usize> {
        self.cluster.leader()
    }

    fn start_again(&mut self, node: usize) -> Result<()> {
        self.cluster.nodes[node].start()?;
        Ok(self.cluster.nodes[node].wait_until_listening()?)
    }
}

fn status(cluster: &Cluster) -> Option<serde_json::Value> {
    serde_json::from_str(&cluster.status_json().ok()?).ok()
}

impl System for TercetCluster {
    fn addresses(&self) -> Vec<SocketAddr> {
        self.cluster.resp_addresses()
    }
    fn leader(&self) -> Result<usize> {
        Ok(self.cluster.wait_for_leader(Duration::from_secs(10))?)
    }
    fn begin(&mut self, fault: Fault, node: usize) -> Result<()> {
        match fault {
            Fault::Kill | Fault::Upgrade => self.cluster.nodes[node].kill(),
            Fault::Stop => self.cluster.nodes[node].signal(libc::SIGSTOP)?,
            Fault::Cut => self.networks.as_ref().context("networks")?.cut(node)?,
            Fault::SlowDisk => self.slow.as_ref().context("disks")?.delay(node, SLOW_FLUSH_MICROS)?,
            Fault::FullDisk => {
                self.small.as_ref().context("disks")?.fill(node)?;
                self.fill_the_log(node)?;
            }
            Fault::Switchover => self.switch_over(node)?,
        }
        Ok(())
    }
    fn end(&mut self, fault: Fault, node: usize) -> Result<()> {
        match fault {
            Fault::Kill => self.start_again(node)?,
            Fault::Upgrade => {
                let it = &mut self.cluster.nodes[node];
                it.message_version = if it.message_version.is_some() { None } else { Some(OLD_VERSION) };
                self.start_again(node)?;
            }
            Fault::Stop => self.cluster.nodes[node].signal(libc::SIGCONT)?,
            Fault::Cut => self.networks.as_ref().context("networks")?.heal(node)?,
            Fault::SlowDisk => self.slow.as_ref().context("disks")?.delay(node, 0)?,
            Fault::FullDisk => {
                self.small.as_ref().context("disks")?.empty(node)?;
                self.cluster.nodes[node].kill();
                self.start_again(node)?;
            }
            Fault::Switchover => {}
        }
        Ok(())
    }
    fn survives(&self, fault: Fault) -> bool {
        // Where every copy must hold a write, nothing is written while one is away.
        let all_needed = self.commit.starts_with("synchronous") || self.commit == "semi-sync ACKS 2";
        !all_needed || matches!(fault, Fault::SlowDisk | Fault::Switchover)
    }
    fn wait_until_whole(&mut self, timeout: Duration) -> Result<()> {
        Ok(wait_for("a leader with every follower online", timeout, || {
            let leader = self.cluster.nodes[self.cluster.leader()?].resp;
            let followers = self.cluster.nodes.len() - 1;
            let online = (0..followers).filter(|number| {
                info_field(leader, "replication", &format!("slave{number}"))
                    .is_some_and(|line| line.contains("state=online"))
            });
            (online.count() == followers).then_some(())
        })?)
    }
    fn may_lose(&self) -> bool {
        self.commit.starts_with("async") || self.commit.starts_with("best-effort")
    }
    fn ledger(&self, timeout: Duration) -> Result<Kept> {
        announced::read_ledger(self.cluster.nodes[0].resp, timeout)
    }
}

/// One Redis, with or without a log: shows that the judge finds what is there and nothing else.
pub struct RedisAlone {
    server: Option<Server>,
    address: SocketAddr,
    folder: TempFolder,
    is_flushed: bool,
}

impl RedisAlone {
    pub fn start(is_flushed: bool) -> Result<RedisAlone> {
        let address = free_addresses(1)?[0];
        let mut system = RedisAlone { server: None, address, folder: TempFolder::new("judge")?, is_flushed };
        system.end(Fault::Kill, 0)?;
        Ok(system)
    }
}

impl System for RedisAlone {
    fn addresses(&self) -> Vec<SocketAddr> {
        vec![self.address]
    }
    fn leader(&self) -> Result<usize> {
        Ok(0)
    }
    fn begin(&mut self, fault: Fault, _node: usize) -> Result<()> {
        match (fault, &self.server) {
            (Fault::Kill, _) => self.server = None,
            (Fault::Stop, Some(server)) => server.signal(libc::SIGSTOP)?,
            _ => bail!("one Redis can only be killed and stopped"),
        }
        Ok(())
    }
    fn end(&mut self, _fault: Fault, _node: usize) -> Result<()> {
        if let Some(server) = &self.server {
            // Nobody takes over from a stopped server: only the pause itself is judged.
            std::thread::sleep(Duration::from_millis(500));
            return Ok(server.signal(libc::SIGCONT)?);
        }
        let mut command =
            Command::new(find_program("redis-server").context("redis-server is not installed")?);
        command.args(["--port", &self.address.port().to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--appendonly", if self.is_flushed { "yes" } else { "no" }, "--appendfsync", "always"]);
        command.arg("--dir").arg(&self.folder.path);
        let mut server = Server::start(command, &self.folder.path.join("output"))?;
        server.wait_until_listening(self.address, Duration::from_secs(10))?;
        self.server = Some(server);
        Ok(())
    }
    fn survives(&self, _fault: Fault) -> bool {
        false
    }
    fn wait_until_whole(&mut self, _timeout: Duration) -> Result<()> {
        Ok(())
    }
}
