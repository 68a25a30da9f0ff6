//! `tercet up`: a whole cluster in one process, each node with threads of its own. Node i listens on the given port + i.

use crate::connect::Client;
use crate::node_command::{SNAPSHOT_LOG_BYTES, TRANSFER_RATE, stop_on_signals};
use clap::Args;
use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use server::{Handle, MESSAGE_VERSION_MAX, Settings, StartError, Status};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

#[derive(Args)]
pub struct Up {
    /// Nodes of the cluster.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    nodes: u16,
    /// RESP port of the first node.
    #[arg(long, default_value_t = 6379)]
    port: u16,
    /// HTTP port of the first node.
    #[arg(long, default_value_t = 8379)]
    http_port: u16,
    /// Where the nodes keep their data.
    #[arg(long, default_value = "tercet-data", conflicts_with = "ephemeral")]
    data: PathBuf,
    /// Groups that the slots of each numbered keyspace are divided among: of the first start, when the cluster is founded.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    shards: u32,
    /// Keep nothing on disk.
    #[arg(long)]
    ephemeral: bool,
    /// Names of sites, divided by commas: the first node is at the first, the next at the second, and so on in turn.
    #[arg(long, value_delimiter = ',')]
    sites: Vec<String>,
}

/// Peer ports lie so far above the RESP ports, as in a Redis cluster.
const PEER_PORT_OFFSET: u16 = 10_000;
const READY_WITHIN: Duration = Duration::from_secs(30);

struct Running {
    name: String,
    resp: String,
    http: String,
    thread: JoinHandle<Result<(), StartError>>,
}

impl Up {
    pub fn run(self) -> Result<(), StartError> {
        let stop = stop_on_signals()?;
        let founders: Vec<String> = (0..self.nodes).map(|n| self.peer(n)).collect::<Result<_, _>>()?;
        let mut running = Vec::new();
        for n in 0..self.nodes {
            running.push(self.start(n, &founders, &stop)?);
        }
        let first = running[0].resp.clone();
        match self.wait_until_ready(&mut running, &stop) {
            Ok(()) => {}
            Err(error) => {
                stop.store(true, Ordering::Relaxed);
                // What kept a node from starting says more than "not ready".
                return join(running).and(Err(error));
            }
        }
        if !stop.load(Ordering::Relaxed) {
            show(&running)?;
            let (host, port) = first.rsplit_once(':').unwrap_or((&first, ""));
            println!("Try:  redis-cli -h {host} -p {port} SET greeting hello");
            println!("      redis-cli -h {host} -p {port} RECEIPT");
        }
        join(running)
    }

    fn site(&self, n: u16) -> String {
        match self.sites.len() {
            0 => String::new(),
            count => self.sites[usize::from(n) % count].clone(),
        }
    }

    fn peer(&self, n: u16) -> Result<String, StartError> {
        let port = self.port.checked_add(n).and_then(|port| port.checked_add(PEER_PORT_OFFSET));
        // Above 55,535 there is no port left 10,000 higher: then as far below.
        let port = port.or(self.port.checked_add(n).map(|port| port - PEER_PORT_OFFSET));
        port.map(|port| format!("127.0.0.1:{port}"))
            .ok_or_else(|| StartError::new("--port is too high for so many nodes"))
    }

    fn start(&self, n: u16, founders: &[String], stop: &Arc<AtomicBool>) -> Result<Running, StartError> {
        let name = format!("n{}", n + 1);
        let too_high = || StartError::new("--port or --http-port is too high for so many nodes");
        let resp = format!("127.0.0.1:{}", self.port.checked_add(n).ok_or_else(too_high)?);
        let http = format!("127.0.0.1:{}", self.http_port.checked_add(n).ok_or_else(too_high)?);
        let settings = Settings {
            name: name.clone(),
            data: (!self.ephemeral).then(|| self.data.join(&name)),
            resp: resp.clone(),
            peer: self.peer(n)?,
            http: http.clone(),
            site: self.site(n),
            founders: founders.to_vec(),
            join: Vec::new(),
            password: None,
            secret: String::new(),
            connections_max: 10_000,
            snapshot_log_bytes: SNAPSHOT_LOG_BYTES,
            transfer_rate: TRANSFER_RATE,
            message_version: MESSAGE_VERSION_MAX,
            shards: self.shards,
        };
        let status = Arc::new(Mutex::new(Status::default()));
        server::http::start(&http, Arc::clone(&status))?;
        let handle = Handle { stop: Arc::clone(stop), status };
        let thread = std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || server::run(settings, handle))
            .map_err(|error| StartError::new(error.to_string()))?;
        Ok(Running { name, resp, http, thread })
    }

    /// Ready is: a write to the first keyspace succeeds.
    fn wait_until_ready(&self, running: &mut [Running], stop: &AtomicBool) -> Result<(), StartError> {
        let deadline = Instant::now() + READY_WITHIN;
        while !stop.load(Ordering::Relaxed) {
            if running.iter().any(|node| node.thread.is_finished()) {
                return Err(StartError::new("a node could not start"));
            }
            let written = Client::connect(&running[0].resp).and_then(|mut client| {
                client.call(&["DEL", "tercet:ready"])?;
                groups_in_use(&mut client)
            });
            match written {
                Ok(shards) if shards == self.shards as usize => return Ok(()),
                Ok(shards) if shards > 0 => {
                    return Err(StartError::new(format!(
                        "keyspace 0 of this data has {shards} shards: start with --shards {shards}, or with another --data"
                    )));
                }
                Ok(_) | Err(_) => {}
            }
            if Instant::now() >= deadline {
                return Err(StartError::new("the cluster did not become ready within 30 s"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// Groups of keyspace 0; none before its first use.
fn groups_in_use(client: &mut Client) -> Result<usize, StartError> {
    let status = client.status()?;
    let groups = status["groups"].as_array().into_iter().flatten();
    Ok(groups.filter(|group| group["keyspace"] == "0").count())
}

fn show(running: &[Running]) -> Result<(), StartError> {
    let status = Client::connect(&running[0].resp)?.status()?;
    let leaders: Vec<u64> = status["groups"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|group| group["leader"].as_u64())
        .collect();
    let id_of = |name: &str| {
        let mut nodes = status["nodes"].as_array().into_iter().flatten();
        nodes.find(|node| node["name"] == name).and_then(|node| node["id"].as_u64())
    };
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(["node", "RESP", "HTTP", "role"]);
    for node in running {
        let leads = id_of(&node.name).is_some_and(|id| leaders.contains(&id));
        let role = if leads { "leader" } else { "follower" };
        table.add_row([&node.name, &node.resp, &format!("http://{}", node.http), role]);
    }
    println!("{table}");
    Ok(())
}

/// Waits for every node; the first error is the cluster's.
fn join(running: Vec<Running>) -> Result<(), StartError> {
    let mut outcome = Ok(());
    for node in running {
        let ended =
            node.thread.join().unwrap_or_else(|_| Err(StartError::new(format!("{} panicked", node.name))));
        if let Err(error) = ended {
            outcome = outcome.and(Err(StartError::new(format!("{}: {error}", node.name))));
        }
    }
    outcome
}
