//! `tercet up`: a whole cluster in one process, each node with threads of its own. Node i listens on the given port + i.

mod cluster;
mod distances;

use crate::connect::Client;
use crate::node_command::{SNAPSHOT_LOG_BYTES, TRANSFER_RATE, stop_on_signals};
use crate::tryout;
use clap::Args;
use cluster::{Cluster, Place};
use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
pub use distances::duration;
use server::{MESSAGE_VERSION_MAX, Settings, StartError};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

#[derive(Args)]
pub struct Up {
    /// Nodes of the cluster. [default: 3, or one at each of the --sites if these are more]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=9))]
    nodes: Option<u16>,
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
    /// How far the sites are from each other, as round trips: eu-us=80ms,eu-ap=200ms. Messages between their nodes take
    /// half of it, each way; other nodes are side by side.
    #[arg(long, value_delimiter = ',')]
    rtt: Vec<String>,
}

/// Peer ports lie so far above the RESP ports, as in a Redis cluster.
const PEER_PORT_OFFSET: u16 = 10_000;
const READY_WITHIN: Duration = Duration::from_secs(30);
const NODES_MAX: u16 = 9;

/// By pair of sites.
type RoundTrips = BTreeMap<(String, String), Duration>;

/// What one node is told at every start.
pub struct NodePlan {
    pub name: String,
    pub site: String,
    pub resp: String,
    pub http: String,
    pub peer: String,
}

impl Up {
    pub fn run(self) -> Result<(), StartError> {
        distances::check_sites(&self.sites, self.count()).map_err(StartError::new)?;
        let trips = self.round_trips()?;
        let (shards, ports) =
            (self.shards, (0..self.count()).filter_map(|n| self.port.checked_add(n)).collect());
        let stop = stop_on_signals()?;
        let cluster = Cluster::start(self, Arc::clone(&stop))?;
        if let Err(error) = wait_until_ready(&cluster, shards, &stop) {
            stop.store(true, Ordering::Relaxed);
            // What kept a node from starting says more than "not ready".
            return cluster.join().and(Err(error));
        }
        let (sender, asked) = channel();
        let ports: Vec<u16> = ports;
        // The cluster is as good without it.
        let desk = tryout::open(&ports, &sender);
        drop(sender);
        if let Err(error) = &desk {
            eprintln!("tercet: `tercet ctl` cannot cut, kill or pause here: {error}");
        }
        if !stop.load(Ordering::Relaxed) {
            show(&cluster.nodes, &trips)?;
        }
        cluster.serve(&asked)
    }

    fn count(&self) -> u16 {
        self.nodes.unwrap_or_else(|| u16::try_from(self.sites.len()).unwrap_or(u16::MAX).clamp(3, NODES_MAX))
    }

    fn round_trips(&self) -> Result<RoundTrips, StartError> {
        distances::round_trips(&self.sites, &self.rtt).map_err(StartError::new)
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
        let port = port.or_else(|| self.port.checked_add(n)?.checked_sub(PEER_PORT_OFFSET));
        port.map(|port| format!("127.0.0.1:{port}"))
            .ok_or_else(|| StartError::new("--port is too high for so many nodes"))
    }

    fn plans(&self) -> Result<Vec<NodePlan>, StartError> {
        let too_high = || StartError::new("--port or --http-port is too high for so many nodes");
        let address = |port: u16, n| port.checked_add(n).map(|port| format!("127.0.0.1:{port}"));
        let plan = |n| {
            Ok(NodePlan {
                name: format!("n{}", n + 1),
                site: self.site(n),
                resp: address(self.port, n).ok_or_else(too_high)?,
                http: address(self.http_port, n).ok_or_else(too_high)?,
                peer: self.peer(n)?,
            })
        };
        (0..self.count()).map(plan).collect()
    }

    fn settings(&self, plan: &NodePlan) -> Result<Settings, StartError> {
        Ok(Settings {
            name: plan.name.clone(),
            data: (!self.ephemeral).then(|| self.data.join(&plan.name)),
            resp: plan.resp.clone(),
            peer: plan.peer.clone(),
            http: plan.http.clone(),
            site: plan.site.clone(),
            founders: (0..self.count()).map(|n| self.peer(n)).collect::<Result<_, _>>()?,
            join: Vec::new(),
            password: None,
            secret: String::new(),
            connections_max: 10_000,
            snapshot_log_bytes: SNAPSHOT_LOG_BYTES,
            transfer_rate: TRANSFER_RATE,
            site_rate: None,
            message_version: MESSAGE_VERSION_MAX,
            shards: self.shards,
        })
    }
}

/// Ready is: a write to the first keyspace succeeds.
fn wait_until_ready(cluster: &Cluster, wanted: u32, stop: &AtomicBool) -> Result<(), StartError> {
    let deadline = Instant::now() + READY_WITHIN;
    while !stop.load(Ordering::Relaxed) {
        if cluster.has_one_ended() {
            return Err(StartError::new("a node could not start"));
        }
        let written = Client::connect(&cluster.nodes[0].plan.resp).and_then(|mut client| {
            client.call(&["DEL", "tercet:ready"])?;
            groups_in_use(&mut client)
        });
        match written {
            Ok(shards) if shards == wanted as usize => return Ok(()),
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

/// Groups of keyspace 0; none before its first use.
fn groups_in_use(client: &mut Client) -> Result<usize, StartError> {
    let status = client.status()?;
    let groups = status["groups"].as_array().into_iter().flatten();
    Ok(groups.filter(|group| group["keyspace"] == "0").count())
}

fn show(nodes: &[Place], trips: &RoundTrips) -> Result<(), StartError> {
    let first = &nodes[0].plan.resp;
    let status = Client::connect(first)?.status()?;
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
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(["node", "site", "RESP", "HTTP", "role"]);
    for Place { plan, .. } in nodes {
        let leads = id_of(&plan.name).is_some_and(|id| leaders.contains(&id));
        let role = if leads { "leader" } else { "follower" };
        let site = if plan.site.is_empty() { "-" } else { &plan.site };
        table.add_row([&plan.name, site, &plan.resp, &format!("http://{}", plan.http), role]);
    }
    println!("{table}");
    for ((a, b), rtt) in trips {
        println!("{a} and {b} are {} ms apart, there and back", rtt.as_secs_f64() * 1000.0);
    }
    let (host, port) = first.rsplit_once(':').unwrap_or((first, ""));
    println!("Try:  redis-cli -h {host} -p {port} SET greeting hello");
    println!("      redis-cli -h {host} -p {port} RECEIPT");
    if nodes.iter().any(|node| node.plan.site != nodes[0].plan.site) {
        println!("      redis-cli -h {host} -p {port} KEYSPACE CREATE world PRESET active-active");
        println!("      tercet ctl --connect {first} cut {}", nodes[0].plan.site);
    }
    Ok(())
}
