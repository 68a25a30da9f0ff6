//! Five real processes at three sites, each in a network of its own: links between sites are cut in both directions and in one, whole
//! sites are cut off, while clients add, remove, count and write at every site. After each cut all nodes become equal; in the end
//! nothing acknowledged is lost, nothing removed is back, and nothing counts twice.
//!
//! A site that keeps more than half of the control plane's nodes in sight goes on; writes go round a cut link through a third site.
// catalogue: A7 I1 I2 I3 J9 J17
// bugs: ML-01 ML-11 ML-13 ML-14

mod workload;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bench::client::Client;
use bench::resp::Value;
use bench::servers::tercet::Cluster;
use bench::servers::wait_for;
use workload::{Known, Told};

use super::check;
use super::failover::equipment::Networks;

#[derive(clap::Args)]
pub struct Options {
    /// How often something is cut.
    #[arg(long, default_value_t = 8)]
    rounds: usize,
    /// How long each cut lasts, in ms.
    #[arg(long, default_value_t = 4_000)]
    lasts: u64,
}

impl Options {
    /// For a check: each kind of cut once.
    pub fn slice() -> Options {
        Options { rounds: CUTS.len(), lasts: 2_500 }
    }
}

pub const KEYSPACE: &str = "world";
/// Of each node. Two of the three sites hold more than half of them, whichever two.
const SITES: [&str; 5] = ["eu", "us", "ap", "eu", "us"];
const TIMEOUT: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(60);
/// Health before and after a cut, under load.
const HEALTH: Duration = Duration::from_millis(700);

/// What is cut: no packet goes from one of the first sites to one of the second.
struct Cut {
    name: &'static str,
    ways: &'static [(&'static str, &'static str)],
    /// Sites that go on by what the control plane sees; others may, where nobody else could be elected.
    serving: &'static [&'static str],
    /// The site that hears of nothing meanwhile.
    alone: Option<&'static str>,
}

const CUTS: [Cut; 4] = [
    Cut {
        name: "the link eu-us",
        ways: &[("eu", "us"), ("us", "eu")],
        serving: &["eu", "us", "ap"],
        alone: None,
    },
    Cut {
        name: "ap from all",
        ways: &[("eu", "ap"), ("ap", "eu"), ("us", "ap"), ("ap", "us")],
        serving: &["eu", "us"],
        alone: Some("ap"),
    },
    Cut { name: "the way from us to eu", ways: &[("us", "eu")], serving: &["ap"], alone: None },
    Cut {
        name: "eu from all",
        ways: &[("eu", "ap"), ("ap", "eu"), ("us", "eu"), ("eu", "us")],
        serving: &["us", "ap"],
        alone: Some("eu"),
    },
];

pub fn run(options: &Options) -> Result<()> {
    let networks = match Networks::make(SITES.len()) {
        Ok(networks) => networks,
        Err(why) => {
            println!("  skipped, this user may not make networks: {why:#}");
            return Ok(());
        }
    };
    let threes = networks.addresses();
    let cluster = Cluster::found_at(&crate::shell::tercet_binary()?, &threes, &mut |node, number| {
        networks.prepare(node, number);
        node.site = Some(SITES[number].to_owned());
        Ok(())
    })?;
    let line = format!("KEYSPACE CREATE {KEYSPACE} MULTI-LEADER SITES eu,us,ap REPLICAS 2 COMMIT majority");
    let mut client = Client::connect(cluster.nodes[0].resp, TIMEOUT)?;
    let made = client.call(&line.split(' ').collect::<Vec<_>>())?;
    ensure!(made == ok(), "{line}: {made:?}");

    let mut told = Told::default();
    for round in 0..options.rounds {
        let cut = &CUTS[round % CUTS.len()];
        let acknowledged = strike(&cluster, &networks, cut, options.lasts, round, &mut told)?;
        let ended = Instant::now();
        let known = agree(&cluster)?;
        println!(
            "  round {}: {} cut for {} ms; acknowledged meanwhile: {}; equal {:.1} s after the last operation",
            round + 1,
            cut.name,
            options.lasts,
            shown(&acknowledged),
            ended.elapsed().as_secs_f64()
        );
        let silent =
            cut.serving.iter().find(|site| !acknowledged.iter().any(|(of, count)| of == *site && *count > 0));
        ensure!(silent.is_none(), "{silent:?} acknowledged nothing while {} was cut", cut.name);
        let wrong = told.judge(&known);
        check(
            wrong.is_empty(),
            "nothing acknowledged is lost, nothing removed is back, nothing counts twice",
            &wrong,
        )?;
    }
    println!("site-cuts: {} cuts, {}", options.rounds, told.summary());
    check(told.unexpected.is_empty(), "no other errors than those that say what they mean", &told.unexpected)
}

/// Cuts and heals under load; what each site acknowledged while it was cut.
fn strike(
    cluster: &Cluster,
    networks: &Networks,
    cut: &Cut,
    lasts_ms: u64,
    round: usize,
    told: &mut Told,
) -> Result<Vec<(&'static str, u64)>> {
    let mut sites: Vec<&'static str> = SITES.to_vec();
    sites.sort_unstable();
    sites.dedup();
    let load = workload::start(cluster, &SITES, round);
    std::thread::sleep(HEALTH);
    change(networks, cut, true)?;
    let before: Vec<u64> = sites.iter().map(|site| load.acknowledged(site)).collect();
    let half = Duration::from_millis(lasts_ms / 2);
    std::thread::sleep(half);
    let marker = format!("marker:{round}");
    if cut.alone.is_some() {
        write_marker(cluster, &marker)?;
    }
    std::thread::sleep(half);
    if let Some(site) = cut.alone {
        let shown = own_copy(cluster, site, &marker)?;
        check(shown == Value::Null, "a site that is cut off hears nothing of the others", shown)?;
    }
    let after: Vec<u64> = sites.iter().map(|site| load.acknowledged(site)).collect();
    change(networks, cut, false)?;
    std::thread::sleep(HEALTH);
    told.merge(load.finish());
    Ok(sites.into_iter().zip(before.iter().zip(&after).map(|(before, after)| after - before)).collect())
}

/// Writes it at `us`, which is never alone.
fn write_marker(cluster: &Cluster, marker: &str) -> Result<()> {
    let node = SITES.iter().position(|site| *site == "us").context("a node at us")?;
    let written = wait_for("a write at us", LONG, || {
        let mut client = workload::connect(cluster.nodes[node].resp).ok()?;
        (client.call(&["SET", marker, "1"]).ok()? == ok()).then_some(())
    });
    written.map_err(Into::into)
}

/// What a site's first node has in its own copy.
fn own_copy(cluster: &Cluster, site: &str, key: &str) -> Result<Value> {
    let node = SITES.iter().position(|of| *of == site).context("a node there")?;
    let mut client = workload::connect(cluster.nodes[node].resp)?;
    client.call(&["READONLY"])?;
    Ok(client.call(&["GET", key])?)
}

fn change(networks: &Networks, cut: &Cut, is_cut: bool) -> Result<()> {
    let nodes = |site: &str| (0..SITES.len()).filter(|node| SITES[*node] == site).collect::<Vec<_>>();
    for (from, to) in cut.ways {
        for from in nodes(from) {
            for to in nodes(to) {
                networks.change_way(from, to, is_cut).with_context(|| format!("{from} to {to}"))?;
            }
        }
    }
    Ok(())
}

fn shown(acknowledged: &[(&str, u64)]) -> String {
    let all: Vec<String> = acknowledged.iter().map(|(site, count)| format!("{site} {count}")).collect();
    all.join(", ")
}

/// Waits until every node shows the same; what that is.
fn agree(cluster: &Cluster) -> Result<Known> {
    let mut seen = Vec::new();
    let known = wait_for("equal sites", LONG, || {
        seen.clear();
        for node in &cluster.nodes {
            seen.push(Known::read(node.resp).ok()?);
        }
        let first = seen.first()?;
        seen.iter().all(|other| other == first).then(|| first.clone())
    });
    known.with_context(|| {
        let sizes: Vec<String> = seen.iter().map(Known::sizes).collect();
        format!("members, registers and total of each node: {sizes:?}")
    })
}

pub fn ok() -> Value {
    Value::Simple("OK".into())
}
