//! Anti-entropy: a copy was away while others wrote, and gets what it lacks without being read.
//!
//! Two cases. *Missed*: it has nothing of the keys. *Overwritten*: it has an older version of each, so that counts of keys say nothing
//! and only sums do. Strict quorums, so that no hints carry anything.
// catalogue: K14 K15

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{VALUE_BYTES, copy_of, fill, found};
use crate::redis_load::key_name;
use crate::servers::tercet::Cluster;
use crate::servers::wait_for;

/// How long a repair may take.
const REPAIR_TIMEOUT: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(25);
const AWAY: usize = 2;

#[derive(Clone, Debug)]
pub struct Plan {
    pub tercet: PathBuf,
    /// Keys that differ.
    pub keys: u64,
}

struct Repaired {
    case: &'static str,
    seconds: f64,
    /// Keys that came with walks, on all nodes together.
    keys_walked: u64,
    /// Bytes that walks took on all nodes together.
    bytes: u64,
}

/// Runs both cases; a table.
///
/// # Errors
/// When a node cannot be started, or the copies do not become equal.
pub fn measure(plan: &Plan, progress: &mut dyn FnMut(&str)) -> io::Result<String> {
    let mut cluster = found(&plan.tercet, "W 2 R 2")?;
    let mut cases = Vec::new();
    for (case, letter) in [("missed", b'a'), ("overwritten", b'b')] {
        cluster.nodes[AWAY].kill();
        let others = [cluster.nodes[0].resp, cluster.nodes[1].resp];
        let began = Instant::now();
        fill(&others, plan.keys, letter)?;
        progress(&format!("{case}: {} keys written in {:.1} s", plan.keys, began.elapsed().as_secs_f64()));
        cases.push(repair(&mut cluster, case)?);
        progress(&format!("{case}: equal after {:.1} s", cases.last().map_or(0.0, |it| it.seconds)));
    }
    Ok(table(plan, &cases))
}

fn walked(cluster: &Cluster) -> Option<(u64, u64)> {
    let mut sums = (0, 0);
    for node in cluster.nodes.iter().filter(|node| node.server.is_some()) {
        let (_, counts) = copy_of(node.resp)?;
        sums.0 += counts.get("leaderless_keys_walked")?;
        sums.1 += counts.get("leaderless_bytes_walked")?;
    }
    Some(sums)
}

fn repair(cluster: &mut Cluster, case: &'static str) -> io::Result<Repaired> {
    let before = walked(cluster).ok_or_else(|| io::Error::other("INFO of the others"))?;
    cluster.nodes[AWAY].start()?;
    cluster.nodes[AWAY].wait_until_listening()?;
    let fields = |names: [&str; 2]| {
        let of = |node: usize| {
            let (copy, _) = copy_of(cluster.nodes[node].resp)?;
            Some(names.map(|name| copy.get(name).cloned().unwrap_or_default()))
        };
        Some([of(0)?, of(1)?, of(AWAY)?])
    };
    wait_for("the copy", REPAIR_TIMEOUT, || copy_of(cluster.nodes[AWAY].resp).map(drop))?;
    let began = Instant::now();
    wait_for("equal copies", REPAIR_TIMEOUT, || {
        let [one, other, away] = fields(["sum", "keys"])?;
        std::thread::sleep(POLL);
        (one == away && other == away).then_some(())
    })?;
    let seconds = began.elapsed().as_secs_f64();
    // A walk tells what it cost when it ends.
    wait_for("equal contexts and no walk", REPAIR_TIMEOUT, || {
        let [one, other, away] = fields(["context", "walking"])?;
        (one == away && other == away && away[1] == "no").then_some(())
    })?;
    let after = walked(cluster).ok_or_else(|| io::Error::other("INFO of all"))?;
    Ok(Repaired { case, seconds, keys_walked: after.0 - before.0, bytes: after.1 - before.1 })
}

fn table(plan: &Plan, cases: &[Repaired]) -> String {
    let difference = plan.keys * (key_name(0).len() + VALUE_BYTES) as u64;
    let mb = |bytes: u64| bytes as f64 / 1e6;
    let mut text = format!(
        "anti-entropy, {} keys of {} bytes differ: {:.1} MB\n  {:<12} {:>9} {:>9} {:>12} {:>10} {:>8}\n",
        plan.keys,
        difference / plan.keys.max(1),
        mb(difference),
        "copy has",
        "seconds",
        "keys/s",
        "keys moved",
        "MB moved",
        "x",
    );
    for it in cases {
        text.push_str(&format!(
            "  {:<12} {:>9.2} {:>9.0} {:>12} {:>10.1} {:>8.2}\n",
            it.case,
            it.seconds,
            plan.keys as f64 / it.seconds,
            it.keys_walked,
            mb(it.bytes),
            it.bytes as f64 / difference as f64,
        ));
    }
    text.push_str("Moved: sums and keys of all walks, both ways, with what keeps versions; the difference: names and values alone.\n");
    text
}
