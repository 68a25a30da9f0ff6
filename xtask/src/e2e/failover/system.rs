//! What is under test: something with nodes, one of which leads and can be taken away.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use bench::process::{Server, TempFolder, find_program, free_addresses};
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

pub struct TercetCluster(Cluster);

impl TercetCluster {
    pub fn start(program: &Path, version: Option<u8>) -> Result<TercetCluster> {
        Ok(TercetCluster(Cluster::found_with(program, 3, version)?))
    }
}

impl System for TercetCluster {
    fn addresses(&self) -> Vec<SocketAddr> {
        self.0.resp_addresses()
    }
    fn leader(&self) -> Result<usize> {
        Ok(self.0.wait_for_leader(Duration::from_secs(10))?)
    }
    fn kill(&mut self, node: usize) {
        self.0.nodes[node].kill();
    }
    fn start(&mut self, node: usize) -> Result<()> {
        self.0.nodes[node].start()?;
        Ok(self.0.nodes[node].wait_until_listening()?)
    }
    fn signal(&mut self, node: usize, signal: i32) -> Result<()> {
        Ok(self.0.nodes[node].signal(signal)?)
    }
    fn set_message_version(&mut self, node: usize, version: Option<u8>) {
        self.0.nodes[node].message_version = version;
    }
    fn survives_loss_of_leader(&self) -> bool {
        true
    }
    fn wait_until_whole(&mut self, timeout: Duration) -> Result<()> {
        Ok(wait_for("a leader with every follower online", timeout, || {
            let leader = self.0.nodes[self.0.leader()?].resp;
            let followers = self.0.nodes.len() - 1;
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
