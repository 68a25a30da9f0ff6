//! Five nodes with two leaderless keyspaces, and what is done to them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bench::client::Client;
use bench::resp::Value;
use bench::servers::tercet::{Cluster, free_threes};
use bench::servers::{ask, wait_for};
use clap::ValueEnum;

use crate::e2e::failover::equipment::Networks;

/// Name, options of KEYSPACE CREATE, and whether a read meets every write that was acknowledged before it.
pub const KEYSPACES: [(&str, &str, bool); 2] =
    [("strict", "N 3 W 2 R 2", true), ("sloppy", "N 3 W 2 R 2 SLOPPY on", false)];

const NODES: usize = 5;
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a cluster may take to hold all copies again, and a node to leave.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Fault {
    /// SIGKILL, then start again.
    Kill,
    /// SIGSTOP for a tenth of a second to some seconds, then SIGCONT.
    Pause,
    /// No packet between a node and the others; clients reach all of them.
    Cut,
    /// Told to end (SIGTERM), then started again.
    Restart,
    /// A node that runs is removed from the cluster; a new one joins.
    Replace,
    /// A node is killed and its data directory removed; the machine joins as a new node.
    Wipe,
    /// Two copies of the strict keyspace are killed at once: it must refuse, and name how many are alive.
    TwoKilled,
}

impl Fault {
    pub const ALL: [Fault; 7] = [
        Fault::Kill,
        Fault::Pause,
        Fault::Cut,
        Fault::Restart,
        Fault::Replace,
        Fault::Wipe,
        Fault::TwoKilled,
    ];
    pub fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill",
            Fault::Pause => "pause",
            Fault::Cut => "cut",
            Fault::Restart => "restart",
            Fault::Replace => "replace",
            Fault::Wipe => "wipe",
            Fault::TwoKilled => "two-killed",
        }
    }
    /// From its beginning to its end, in this round; the rest of the round is spent in health.
    pub fn lasts(self, round: u32) -> Duration {
        let ms = match self {
            Fault::Kill | Fault::Wipe => 700,
            Fault::Pause => [100, 600, 2_500][round as usize % 3],
            Fault::Cut => 3_000,
            Fault::TwoKilled => 500,
            Fault::Restart | Fault::Replace => 0,
        };
        Duration::from_millis(ms)
    }
}

/// What one node says of one copy that it holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copy {
    pub node: String,
    pub fields: BTreeMap<String, String>,
}

impl Copy {
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

pub struct FiveNodes {
    cluster: Cluster,
    networks: Option<Networks>,
    /// Places in `cluster.nodes` of those that are part of it.
    live: Vec<usize>,
}

impl FiveNodes {
    /// With networks that can be cut where a cut is wanted.
    pub fn start(program: &Path, with_networks: bool) -> Result<FiveNodes> {
        let networks = with_networks.then(|| Networks::make(NODES)).transpose()?;
        let threes = match &networks {
            Some(networks) => networks.addresses(),
            None => free_threes(NODES)?,
        };
        let cluster = Cluster::found_at(program, &threes, &mut |node, number| {
            networks.iter().for_each(|networks| networks.prepare(node, number));
            Ok(())
        })?;
        let nodes = FiveNodes { cluster, networks, live: (0..NODES).collect() };
        for (name, options, _) in KEYSPACES {
            let line = format!("KEYSPACE CREATE {name} LEADERLESS {options}");
            let words: Vec<&str> = line.split(' ').collect();
            let reply = Client::connect(nodes.addresses()[0], CALL_TIMEOUT)?.call(&words)?;
            ensure!(reply == Value::Simple("OK".into()), "{line}: {reply:?}");
        }
        nodes.wait_until_whole()?;
        Ok(nodes)
    }

    /// Where clients may go.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.live.iter().map(|at| self.cluster.nodes[*at].resp).collect()
    }
    fn name(&self, at: usize) -> String {
        self.cluster.nodes[at].name.clone()
    }
    /// A node that may be taken away in this round, as a place in the cluster.
    pub fn victim(&self, round: u32) -> usize {
        self.live[round as usize * 2 % self.live.len()]
    }
    fn other(&self, than: usize) -> SocketAddr {
        let at = self.live.iter().find(|at| **at != than).copied().unwrap_or(than);
        self.cluster.nodes[at].resp
    }

    /// Begins a fault at a node; who was struck, for the report.
    pub fn begin(&mut self, fault: Fault, victim: usize) -> Result<String> {
        let name = self.name(victim);
        match fault {
            Fault::Kill => self.cluster.nodes[victim].kill(),
            Fault::Pause => self.cluster.nodes[victim].signal(libc::SIGSTOP)?,
            Fault::Cut => self.networks.as_ref().context("networks")?.cut(self.space(victim))?,
            Fault::Restart => {
                self.cluster.nodes[victim].signal(libc::SIGTERM)?;
                let server = self.cluster.nodes[victim].server.as_mut().context("it ran")?;
                let ended = server.wait(Duration::from_secs(10))?;
                ensure!(ended.is_some(), "{name} did not end when it was told to");
                self.cluster.nodes[victim].kill();
            }
            Fault::Replace => self.remove(victim, true)?,
            Fault::Wipe => {
                self.cluster.nodes[victim].kill();
                std::fs::remove_dir_all(&self.cluster.nodes[victim].data)?;
            }
            Fault::TwoKilled => {
                let both = self.two_copies()?;
                let names: Vec<String> = both.iter().map(|at| self.name(*at)).collect();
                both.iter().for_each(|at| self.cluster.nodes[*at].kill());
                self.must_refuse(both)?;
                return Ok(names.join(" and "));
            }
        }
        Ok(name)
    }

    pub fn end(&mut self, fault: Fault, victim: usize) -> Result<()> {
        match fault {
            Fault::Kill | Fault::Restart => self.start_again(victim)?,
            Fault::Pause => self.cluster.nodes[victim].signal(libc::SIGCONT)?,
            Fault::Cut => self.networks.as_ref().context("networks")?.heal(self.space(victim))?,
            Fault::Replace => self.join_in_place_of(victim)?,
            Fault::Wipe => {
                self.remove(victim, false)?;
                self.join_in_place_of(victim)?;
            }
            Fault::TwoKilled => {
                let down: Vec<usize> =
                    self.live.iter().copied().filter(|at| self.cluster.nodes[*at].server.is_none()).collect();
                down.into_iter().try_for_each(|at| self.start_again(at))?;
            }
        }
        Ok(())
    }

    fn start_again(&mut self, at: usize) -> Result<()> {
        self.cluster.nodes[at].start()?;
        Ok(self.cluster.nodes[at].wait_until_listening()?)
    }

    /// Which of the networks a node stands in: whoever replaces it stands there too.
    fn space(&self, at: usize) -> usize {
        let peer = self.cluster.nodes[at].peer;
        self.cluster.nodes.iter().position(|node| node.peer == peer).unwrap_or(at)
    }

    /// Takes a node out of the cluster for good. One that runs stays until its places in all rings are taken.
    fn remove(&mut self, at: usize, is_running: bool) -> Result<()> {
        let (name, other) = (self.name(at), self.other(at));
        wait_for("the removal of a node", WHOLE_TIMEOUT, || {
            let reply = ask(other, &["KEYSPACE", "REMOVE-NODE", &name])?;
            let gone = matches!(&reply, Value::Error(words) if words.contains("no such node") || words.contains("unknown node"));
            (reply == Value::Simple("OK".into()) || gone).then_some(())
        })?;
        self.live.retain(|live| *live != at);
        if is_running {
            wait_for("another in the place of the node that leaves", WHOLE_TIMEOUT, || {
                self.rings(other)?
                    .iter()
                    .all(|(members, joining)| !members.contains(&name) && joining.is_empty())
                    .then_some(())
            })?;
        }
        self.cluster.nodes[at].kill();
        if self.cluster.nodes[at].data.exists() {
            std::fs::remove_dir_all(&self.cluster.nodes[at].data)?;
        }
        Ok(())
    }

    /// The machine of a node that left comes back with an empty disk.
    fn join_in_place_of(&mut self, at: usize) -> Result<()> {
        let old = &self.cluster.nodes[at];
        let three = [old.peer, old.resp, old.http];
        let space = self.space(at);
        let joiner = self.cluster.add_joiner_at(three)?;
        self.networks.iter().for_each(|networks| networks.prepare(joiner, space));
        joiner.start()?;
        joiner.wait_until_listening()?;
        self.live.push(self.cluster.nodes.len() - 1);
        Ok(())
    }

    /// Members of each ring, and who joins it, as one node knows them.
    fn rings(&self, address: SocketAddr) -> Option<Vec<(Vec<String>, Vec<String>)>> {
        let mut rings = Vec::new();
        for (name, ..) in KEYSPACES {
            let info = ask(address, &["KEYSPACE", "INFO", name])?;
            for ring in field(&info, "rings")?.items() {
                let names = |of| Some(field(ring, of)?.items().iter().filter_map(text).collect());
                rings.push((names("replicas")?, names("joining")?));
            }
        }
        Some(rings)
    }

    /// Two holders of the strict keyspace's ring.
    fn two_copies(&self) -> Result<Vec<usize>> {
        let rings = self.rings(self.addresses()[0]).context("rings")?;
        let (members, _) = rings.first().context("a ring")?;
        let at = |name: &String| self.live.iter().copied().find(|at| self.name(*at) == *name);
        let both: Vec<usize> = members.iter().filter_map(at).take(2).collect();
        ensure!(both.len() == 2, "of {members:?} only {both:?} are known");
        Ok(both)
    }

    /// With one copy of three alive the strict keyspace says that it has too few; the other one has stand-ins if it is as lucky.
    // catalogue: K9 K16
    fn must_refuse(&self, down: Vec<usize>) -> Result<()> {
        let up = self.live.iter().find(|at| !down.contains(at)).context("a node")?;
        let mut client = Client::connect(self.cluster.nodes[*up].resp, CALL_TIMEOUT)?;
        client.call(&["SELECT", KEYSPACES[0].0])?;
        let refused =
            wait_for("NOQUORUM", Duration::from_secs(3), || match client.call(&["SET", "probe", "1"]) {
                Ok(Value::Error(words)) if words.starts_with("NOQUORUM") => Some(words),
                _ => None,
            })?;
        ensure!(refused.starts_with("NOQUORUM 2 ") && refused.contains(" 1 can be reached"), "{refused}");
        println!("  ok: two of three copies down: {refused}");
        Ok(())
    }

    /// What each node says of its copies; nothing while one does not answer.
    pub fn copies(&self) -> Option<Vec<Copy>> {
        let mut copies = Vec::new();
        for at in &self.live {
            let node = &self.cluster.nodes[*at];
            let reply = ask(node.resp, &["INFO", "leaderless"])?;
            for line in reply.text()?.lines().filter(|line| line.starts_with("leaderless_shard")) {
                let (_, values) = line.split_once(':')?;
                let pair = |pair: &str| pair.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned()));
                copies.push(Copy {
                    node: node.name.clone(),
                    fields: values.split(',').filter_map(pair).collect(),
                });
            }
        }
        Some(copies)
    }

    /// All copies that the rings name are there and answer: only then may the next fault come.
    pub fn wait_until_whole(&self) -> Result<()> {
        let whole = wait_for("all copies", WHOLE_TIMEOUT, || {
            let copies = self.copies()?;
            let ready = |name: &str| {
                let of = copies.iter().filter(|it| it.field("keyspace") == name && it.field("copy") == "yes");
                of.filter(|it| it.field("ready") == "yes").count() == 3
            };
            let joined = self.addresses().iter().all(|address| {
                self.rings(*address).is_some_and(|rings| rings.iter().all(|(_, joining)| joining.is_empty()))
            });
            (KEYSPACES.iter().all(|(name, ..)| ready(name)) && joined).then_some(())
        });
        whole.with_context(|| format!("{:?}", self.copies()))
    }

    /// Waits until the copies of each keyspace hold the same under the same context, and no hint is left; one line per keyspace.
    pub fn wait_until_equal(&self, timeout: Duration) -> Result<Vec<String>> {
        let equal = wait_for("equal copies", timeout, || {
            let copies = self.copies()?;
            let mut lines = Vec::new();
            for (name, ..) in KEYSPACES {
                let of: Vec<&Copy> = copies.iter().filter(|it| it.field("keyspace") == name).collect();
                let held: Vec<&&Copy> = of.iter().filter(|it| it.field("copy") == "yes").collect();
                let first = held.first()?;
                let same = |what: &str| held.iter().all(|it| it.field(what) == first.field(what));
                let no_hints = of.iter().all(|it| it.field("hints") == "0");
                if held.len() != 3 || !no_hints || !["keys", "sum", "context"].into_iter().all(same) {
                    return None;
                }
                lines.push(format!(
                    "{name}: 3 copies of {} keys, sum {}",
                    first.field("keys"),
                    first.field("sum")
                ));
            }
            Some(lines)
        });
        equal.with_context(|| format!("{:#?}", self.copies()))
    }
}

/// A field of a map in RESP2: names and values in turn.
fn field<'v>(map: &'v Value, name: &str) -> Option<&'v Value> {
    map.items().chunks_exact(2).find(|pair| pair[0].text() == Some(name)).map(|pair| &pair[1])
}

fn text(value: &Value) -> Option<String> {
    value.text().map(str::to_owned)
}
