//! W 1 and R 1: how often does a read so long after an acknowledged write miss it? Predicted from delays, then counted.
//!
//! The write is acknowledged when one copy has it on disk; then its delta goes to the others. A reader whose node holds a copy is
//! answered by that copy, so a read sent t after the acknowledgement is stale when the delta takes longer than t: P(stale at t) =
//! P(delay > t). The delays are taken by readers that ask again and again until they see the write; the counted reads are others, each of
//! which asks once. The two kinds take turns, so that both meet the same machine.
//!
//! On one machine a delta outruns a client that turns to another node, so in calm there may be nothing to see: the exact distribution with
//! known delays is the simulator's (`tercet sim --scenario stale-reads`). While others write, deltas queue behind theirs.
//!
//! Source: Bailis et al., "Probabilistically Bounded Staleness for Practical Partial Quorums" (VLDB 2012), where the read's own
//! way is one more delay: here it is the same in both kinds, so it cancels.
// catalogue: K7

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{connect, fill, found, ok};
use crate::client::Client;
use crate::resp::Value;
use crate::servers::tercet::Cluster;

/// When the counted reads are sent after the acknowledgement, in microseconds.
const AFTER_US: [u64; 9] = [0, 50, 100, 200, 400, 800, 1_600, 5_000, 20_000];
/// What others write meanwhile.
const KEYS_OF_OTHERS: u64 = 20_000;
/// After so long without the write something else is wrong.
const SEEN_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub struct Plan {
    pub tercet: PathBuf,
    /// Writes of each kind, for each time.
    pub trials: u32,
}

/// Measures, in calm and while others write; a table of each.
///
/// # Errors
/// When a node cannot be started, or a write is not acknowledged.
pub fn measure(plan: &Plan, progress: &mut dyn FnMut(&str)) -> io::Result<String> {
    let cluster = found(&plan.tercet, "W 1 R 1 READ-REPAIR off")?;
    let calm = one(plan, "nobody else writes", &cluster, progress)?;
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                fill(&[cluster.nodes[0].resp], KEYS_OF_OTHERS, b'o')?;
            }
            io::Result::Ok(())
        });
        let busy = one(plan, "others fill the store", &cluster, progress);
        is_over.store(true, Ordering::Relaxed);
        others.join().map_err(|_| io::Error::other("a writer fell over"))??;
        Ok(calm + &busy?)
    })
}

fn one(plan: &Plan, name: &str, cluster: &Cluster, progress: &mut dyn FnMut(&str)) -> io::Result<String> {
    let mut writer = connect(cluster.nodes[0].resp)?;
    let mut readers = [connect(cluster.nodes[1].resp)?, connect(cluster.nodes[2].resp)?];
    let (mut delays_us, mut stale) = (Vec::new(), [0u32; AFTER_US.len()]);
    let mut value = 0u64;
    for round in 0..plan.trials {
        for (at, after_us) in AFTER_US.into_iter().enumerate() {
            let reader = &mut readers[(round as usize + at) % 2];
            value += 1;
            let acknowledged = write(&mut writer, value)?;
            delays_us.push(delay_us(reader, value, acknowledged)?);
            value += 1;
            let acknowledged = write(&mut writer, value)?;
            // Sleeping would be too coarse.
            while acknowledged.elapsed() < Duration::from_micros(after_us) {
                std::hint::spin_loop();
            }
            stale[at] += u32::from(!sees(reader, value)?);
        }
        if (round + 1) % 500 == 0 {
            progress(&format!("staleness, {name}: round {} of {}", round + 1, plan.trials));
        }
    }
    Ok(table(plan, name, &delays_us, &stale))
}

/// Writes; when that was acknowledged.
fn write(writer: &mut Client, value: u64) -> io::Result<Instant> {
    let deadline = Instant::now() + SEEN_TIMEOUT;
    loop {
        let reply = writer.call(&["SET", "register", &value.to_string()]).map_err(io::Error::other)?;
        match &reply {
            reply if *reply == ok() => return Ok(Instant::now()),
            Value::Error(words) if is_overloaded(words) && Instant::now() < deadline => {}
            other => return Err(io::Error::other(format!("SET: {other:?}"))),
        }
    }
}

/// Too much is under way, or ran out of time: it is asked again.
fn is_overloaded(error: &str) -> bool {
    ["INDETERMINATE", "NOQUORUM", "TRYAGAIN"].iter().any(|word| error.starts_with(word))
}

fn sees(reader: &mut Client, value: u64) -> io::Result<bool> {
    let deadline = Instant::now() + SEEN_TIMEOUT;
    loop {
        let reply = reader.call(&["GET", "register"]).map_err(io::Error::other)?;
        match &reply {
            Value::Bulk(_) | Value::Null => return Ok(reply.text() == Some(&value.to_string())),
            Value::Error(words) if is_overloaded(words) && Instant::now() < deadline => {}
            other => return Err(io::Error::other(format!("GET: {other:?}"))),
        }
    }
}

/// From the acknowledgement to the middle between the last question that missed the write and the first that saw it, in microseconds;
/// 0 where the first question saw it.
fn delay_us(reader: &mut Client, value: u64, acknowledged: Instant) -> io::Result<f64> {
    let mut missed = None;
    loop {
        let asked = acknowledged.elapsed();
        if sees(reader, value)? {
            let us = |it: Duration| it.as_nanos() as f64 / 1e3;
            return Ok(missed.map_or(0.0, |missed| (us(missed) + us(asked)) / 2.0));
        }
        if asked > SEEN_TIMEOUT {
            return Err(io::Error::other("a write does not come to the other copies"));
        }
        missed = Some(asked);
    }
}

/// Half the width of what chance explains of a share, three standard deviations.
fn chance(share: f64, trials: f64) -> f64 {
    3.0 * (share * (1.0 - share) / trials).sqrt() + 1.0 / trials
}

fn table(plan: &Plan, name: &str, delays_us: &[f64], stale: &[u32; AFTER_US.len()]) -> String {
    let mut text = format!(
        "stale reads at W 1, R 1, {name}, {} of each\n  {:>10} {:>11} {:>10} {:>10}\n",
        plan.trials, "after µs", "predicted", "counted", "chance ±"
    );
    for (after_us, stale) in AFTER_US.into_iter().zip(stale) {
        let late = delays_us.iter().filter(|delay| **delay > after_us as f64).count();
        let predicted = late as f64 / delays_us.len().max(1) as f64;
        let trials = f64::from(plan.trials.max(1));
        let counted = f64::from(*stale) / trials;
        let apart = if (predicted - counted).abs() > chance(predicted, trials) { "  APART" } else { "" };
        text.push_str(&format!(
            "  {after_us:>10} {:>10.2}% {:>9.2}% {:>9.2}%{apart}\n",
            predicted * 100.0,
            counted * 100.0,
            chance(predicted, trials) * 100.0
        ));
    }
    let mut sorted = delays_us.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted.get((sorted.len() as f64 * share) as usize).copied().unwrap_or(0.0);
    text.push_str(&format!(
        "Predicted: the share of {} propagation delays that were longer; p50 {:.0} µs, p90 {:.0} µs, p99 {:.0} µs.\n",
        sorted.len(),
        at(0.5),
        at(0.9),
        at(0.99)
    ));
    text
}
