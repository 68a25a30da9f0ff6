//! Tercet itself: a whole cluster in one process, or one process per node that can be killed and started again.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Running, ask, is_leader, wait_for};
use crate::process::{Server, TempFolder, free_addresses, free_port_run};
use crate::resp::Value;

/// How long a node may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// `tercet up` puts the ports for its nodes' peers so far above those for clients.
const PEER_PORT_OFFSET: u16 = 10_000;
/// How long a cluster may take until a write is accepted.
const READY_TIMEOUT: Duration = Duration::from_secs(20);

/// One node that keeps nothing on disk.
pub fn alone(program: &Path) -> io::Result<Running> {
    up(program, 1, 1)
}

/// `tercet up --ephemeral` with `nodes` nodes in one process; `address` is the first of them.
pub fn up(program: &Path, nodes: u16, shards: u32) -> io::Result<Running> {
    up_with(program, nodes, &["--ephemeral", "--shards", &shards.to_string()])
}

/// `tercet up` with options of its own; its data, if it keeps any, is under the folder.
pub fn up_with(program: &Path, nodes: u16, options: &[&str]) -> io::Result<Running> {
    let folder = TempFolder::new("up")?;
    let resp_port = free_port_run(2 * nodes, PEER_PORT_OFFSET)?;
    let http_port = resp_port + nodes;
    let mut command = Command::new(program);
    command.args(["up", "--nodes", &nodes.to_string()]).args(options);
    command.args(["--port", &resp_port.to_string(), "--http-port", &http_port.to_string()]);
    command.current_dir(&folder.path);
    let mut server = Server::start(command, &folder.path.join("output"))?;
    let address = SocketAddr::from(([127, 0, 0, 1], resp_port));
    server.wait_until_listening(address, START_TIMEOUT)?;
    wait_until_writable(&[address])
        .map_err(|error| io::Error::new(error.kind(), format!("{error}: {}", server.last_words())))?;
    Ok(Running { servers: vec![server], address, folder })
}

/// Three processes, three data folders, everything at its default: majority, flush always.
pub fn replicated(program: &Path) -> io::Result<Running> {
    let mut cluster = Cluster::found(program, 3)?;
    let leader = cluster.wait_for_leader(READY_TIMEOUT)?;
    let address = cluster.nodes[leader].resp;
    let servers = cluster.nodes.iter_mut().filter_map(|node| node.server.take()).collect();
    Ok(Running { servers, address, folder: cluster.folder })
}

/// One `tercet node` process, running or not.
pub struct Node {
    pub name: String,
    pub resp: SocketAddr,
    pub peer: SocketAddr,
    pub http: SocketAddr,
    pub data: PathBuf,
    /// `None` while it is down.
    pub server: Option<Server>,
    program: PathBuf,
    /// `--founders` or `--join`, and the peers it names.
    origin: (&'static str, String),
    /// The newest message version that it speaks; its own newest with `None`.
    pub message_version: Option<u8>,
    /// Where it stands; nowhere in particular with `None`.
    pub site: Option<String>,
    /// What stands before the program on the command line, such as `ip netns exec NAME`.
    pub launcher: Vec<String>,
    pub environment: Vec<(String, String)>,
    output: PathBuf,
}

impl Node {
    /// Starts the process on its old data; it need not listen yet when this returns.
    pub fn start(&mut self) -> io::Result<()> {
        let mut command = match self.launcher.split_first() {
            Some((launcher, rest)) => {
                let mut command = Command::new(launcher);
                command.args(rest).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.args(["node", "--name", &self.name]).arg("--data").arg(&self.data);
        command.args(["--resp", &self.resp.to_string(), "--peer", &self.peer.to_string()]);
        command.args(["--http", &self.http.to_string(), self.origin.0, &self.origin.1]);
        if let Some(version) = self.message_version {
            command.args(["--message-version", &version.to_string()]);
        }
        if let Some(site) = &self.site {
            command.args(["--site", site]);
        }
        self.server = Some(Server::start(command, &self.output)?);
        Ok(())
    }

    pub fn wait_until_listening(&mut self) -> io::Result<()> {
        let server = self.server.as_mut().ok_or_else(|| io::Error::other("the node is down"))?;
        server.wait_until_listening(self.resp, START_TIMEOUT)
    }

    /// Kills the process at once, as a crash would.
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// Sends a signal to the process; nothing happens while it is down.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        self.server.as_ref().map_or(Ok(()), |server| server.signal(signal))
    }
}

/// For each of so many nodes an address for its peers, for clients, for HTTP.
pub fn free_threes(count: usize) -> io::Result<Vec<[SocketAddr; 3]>> {
    Ok(free_addresses(count * 3)?.chunks_exact(3).map(|three| [three[0], three[1], three[2]]).collect())
}

/// Nodes that founded a cluster together, each a process of its own.
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub program: PathBuf,
    pub folder: TempFolder,
}

impl Cluster {
    /// Starts `count` founders and waits until a write is accepted.
    pub fn found(program: &Path, count: usize) -> io::Result<Cluster> {
        Cluster::found_with(program, count, None)
    }

    /// The same, with nodes that speak at most this message version.
    pub fn found_with(program: &Path, count: usize, version: Option<u8>) -> io::Result<Cluster> {
        Cluster::found_at(program, &free_threes(count)?, &mut |node, _| {
            node.message_version = version;
            Ok(())
        })
    }

    /// The same, one node at each of these sites.
    pub fn found_over(program: &Path, sites: &[&str]) -> io::Result<Cluster> {
        Cluster::found_at(program, &free_threes(sites.len())?, &mut |node, number| {
            node.site = Some(sites[number].to_owned());
            Ok(())
        })
    }

    /// A founder at each three addresses: for its peers, for clients, for HTTP. `prepare` is given each node before it is
    /// started, and its number from 0.
    pub fn found_at(
        program: &Path,
        threes: &[[SocketAddr; 3]],
        prepare: &mut dyn FnMut(&mut Node, usize) -> io::Result<()>,
    ) -> io::Result<Cluster> {
        let folder = TempFolder::new("cluster")?;
        let mut cluster = Cluster { nodes: Vec::new(), program: program.to_owned(), folder };
        let peers: Vec<String> = threes.iter().map(|three| three[0].to_string()).collect();
        for (number, three) in threes.iter().enumerate() {
            let mut node = cluster.new_node(number + 1, *three, ("--founders", peers.join(",")));
            prepare(&mut node, number)?;
            cluster.nodes.push(node);
        }
        for node in &mut cluster.nodes {
            node.start()?;
        }
        for node in &mut cluster.nodes {
            node.wait_until_listening()?;
        }
        wait_until_writable(&cluster.resp_addresses())?;
        Ok(cluster)
    }

    /// Adds a node with an empty disk that joins; it is not started yet.
    pub fn add_joiner(&mut self) -> io::Result<&mut Node> {
        let addresses = free_addresses(3)?;
        self.add_joiner_at([addresses[0], addresses[1], addresses[2]])
    }

    /// The same at these addresses: for its peers, for clients, for HTTP.
    pub fn add_joiner_at(&mut self, three: [SocketAddr; 3]) -> io::Result<&mut Node> {
        let peers: Vec<String> = self.nodes.iter().map(|node| node.peer.to_string()).collect();
        let node = self.new_node(self.nodes.len() + 1, three, ("--join", peers.join(",")));
        self.nodes.push(node);
        let last = self.nodes.len() - 1;
        Ok(&mut self.nodes[last])
    }

    fn new_node(&self, number: usize, addresses: [SocketAddr; 3], origin: (&'static str, String)) -> Node {
        let [peer, resp, http] = addresses;
        let name = format!("n{number}");
        Node {
            resp,
            peer,
            http,
            data: self.folder.path.join(&name),
            server: None,
            program: self.program.clone(),
            origin,
            message_version: None,
            site: None,
            launcher: Vec::new(),
            environment: Vec::new(),
            output: self.folder.path.join(format!("{name}.output")),
            name,
        }
    }

    pub fn resp_addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.resp).collect()
    }

    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(|node| node.server.as_ref().map(Server::pid)).collect()
    }

    /// The number of the node that leads, asked with `ROLE`.
    pub fn wait_for_leader(&self, timeout: Duration) -> io::Result<usize> {
        wait_for("a leader", timeout, || self.leader())
    }

    /// The number of the node that calls itself leader right now.
    pub fn leader(&self) -> Option<usize> {
        self.nodes.iter().position(|node| node.server.is_some() && is_leader(node.resp))
    }

    /// What `tercet ctl status --json` says, asked at any node that runs.
    pub fn status_json(&self) -> io::Result<String> {
        let node = self.nodes.iter().find(|node| node.server.is_some());
        let node = node.ok_or_else(|| io::Error::other("every node is down"))?;
        // Not by `tercet ctl`: a process more on the same cores would be felt by whatever is measured meanwhile.
        match ask(node.resp, &["KEYSPACE", "STATUS"]) {
            Some(Value::Bulk(text)) => String::from_utf8(text).map_err(io::Error::other),
            other => Err(io::Error::other(format!("KEYSPACE STATUS: {other:?}"))),
        }
    }
}

/// Waits until every address accepts a write (by itself or forwarded).
fn wait_until_writable(addresses: &[SocketAddr]) -> io::Result<()> {
    for address in addresses {
        wait_for("a cluster that accepts writes", READY_TIMEOUT, || {
            let reply = ask(*address, &["SET", "tercet:ready", "1"])?;
            (reply == Value::Simple("OK".into())).then_some(())
        })?;
        ask(*address, &["DEL", "tercet:ready"]);
    }
    Ok(())
}
