//! What is under test: something with nodes, one of which leads and can be taken away.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bench::client::Client;
use bench::process::{Server, TempFolder, find_program, free_addresses};
use bench::resp::Value;
use bench::servers::tercet::Cluster;
use bench::servers::{info_field, wait_for};

pub trait System {
    fn addresses(&self) -> Vec<SocketAddr>;
    /// The number of the node that leads now.
    fn leader(&self) -> Result<usize>;
    fn kill(&mut self, node: usize);
    fn start(&mut self, node: usize) -> Result<()>;
    fn signal(&mut self, node: usize, signal: i32) -> Result<()>;
    /// The newest message version that the node speaks from its next start on; its own newest with `None`.
    fn set_message_version(&mut self, node: usize, version: Option<u8>);
    /// Whether somebody else takes over; if not, writes come back only when the leader does.
    fn survives_loss_of_leader(&self) -> bool;
    /// Waits until every node is a full member: only then may the next be taken away.
    fn wait_until_whole(&mut self, timeout: Duration) -> Result<()>;
}

pub struct TercetCluster {
    cluster: Cluster,
    /// Every copy must hold a write: nothing is written while one is away.
    all_needed: bool,
}

impl TercetCluster {
    /// Three nodes; `commit` is the rule in the words of KEYSPACE ALTER.
    pub fn start(program: &Path, version: Option<u8>, commit: &str) -> Result<TercetCluster> {
        let cluster = Cluster::found_with(program, 3, version)?;
        let leader = cluster.wait_for_leader(Duration::from_secs(10))?;
        let words = ["KEYSPACE", "ALTER", "0", "COMMIT"].into_iter().chain(commit.split(' '));
        let words: Vec<&str> = words.collect();
        let mut client = Client::connect(cluster.nodes[leader].resp, Duration::from_secs(5))?;
        let reply = client.call(&words)?;
        ensure!(reply == Value::Simple("OK".into()), "{}: {reply:?}", words.join(" "));
        // It counts once the leader has brought everything under it.
        let rule = commit.split(' ').next().unwrap_or_default().to_owned();
        wait_for("the commit rule", Duration::from_secs(10), || {
            let status: serde_json::Value = serde_json::from_str(&cluster.status_json().ok()?).ok()?;
            let groups = status["groups"].as_array()?;
            groups.iter().all(|group| group["commit_rule"] == rule.as_str()).then_some(())
        })?;
        let all_needed = rule == "synchronous" || commit == "semi-sync ACKS 2";
        Ok(TercetCluster { cluster, all_needed })
    }
}

impl System for TercetCluster {
    fn addresses(&self) -> Vec<SocketAddr> {
        self.cluster.resp_addresses()
    }
    fn leader(&self) -> Result<usize> {
        Ok(self.cluster.wait_for_leader(Duration::from_secs(10))?)
    }
    fn kill(&mut self, node: usize) {
        self.cluster.nodes[node].kill();
    }
    fn start(&mut self, node: usize) -> Result<()> {
        self.cluster.nodes[node].start()?;
        Ok(self.cluster.nodes[node].wait_until_listening()?)
    }
    fn signal(&mut self, node: usize, signal: i32) -> Result<()> {
        Ok(self.cluster.nodes[node].signal(signal)?)
    }
    fn set_message_version(&mut self, node: usize, version: Option<u8>) {
        self.cluster.nodes[node].message_version = version;
    }
    fn survives_loss_of_leader(&self) -> bool {
        !self.all_needed
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
        System::start(&mut system, 0)?;
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
    fn kill(&mut self, _node: usize) {
        self.server = None;
    }
    fn start(&mut self, _node: usize) -> Result<()> {
        if self.server.is_some() {
            return Ok(());
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
    fn signal(&mut self, _node: usize, signal: i32) -> Result<()> {
        if let Some(server) = &self.server {
            server.signal(signal)?;
        }
        // Nobody takes over from a stopped server: it goes on at once, and only the pause itself is judged.
        if signal == libc::SIGSTOP {
            std::thread::sleep(Duration::from_millis(500));
            return self.signal(0, libc::SIGCONT);
        }
        Ok(())
    }
    fn set_message_version(&mut self, _node: usize, _version: Option<u8>) {}
    fn survives_loss_of_leader(&self) -> bool {
        false
    }
    fn wait_until_whole(&mut self, _timeout: Duration) -> Result<()> {
        Ok(())
    }
}
