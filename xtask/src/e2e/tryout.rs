//! What a newcomer does in the first two minutes: three sites in one process, far apart; a conflict that arises behind a cut and is
//! told of; a node that crashes, one that is paused. And what must not work: the same power over a production node.
// catalogue: I1 I4 I5 J17

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bench::client::Client;
use bench::resp::Value;
use bench::servers::tercet::{Cluster, up_with};
use bench::servers::wait_for;

use super::check;

const TIMEOUT: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(30);
/// Between any two sites, there and back.
const RTT_MS: u64 = 150;
/// A local write is answered well within the way to the next site: a disk's flush, on a machine that does other things too.
const LOCAL_MS_MAX: u64 = RTT_MS / 2;
const PRICE: &str = "price";

struct Tried {
    program: PathBuf,
    first: SocketAddr,
}

pub fn run() -> Result<()> {
    let program = crate::shell::tercet_binary()?;
    refuses_bad_distances(&program)?;
    refuses_production(&program)?;
    let rtt = format!("eu-us={RTT_MS}ms,eu-ap={RTT_MS}ms,us-ap={RTT_MS}ms");
    let running = up_with(&program, 3, &["--data", "data", "--sites", "eu,us,ap", "--rtt", &rtt])?;
    let tried = Tried { program, first: running.address };
    wait_for("the cluster to be ready to be tried", LONG, || {
        tried.ctl(&["heal"]).err()?.contains("nothing was cut").then_some(())
    })?;

    let mut asked = Client::connect(tried.address(0), TIMEOUT)?;
    let made = asked.call(&["KEYSPACE", "CREATE", "world", "PRESET", "active-active"])?;
    ensure!(made == ok(), "{made:?}");
    let mut sites = (0..3).map(|node| tried.select(node, "world")).collect::<Result<Vec<_>>>()?;
    conflict(&tried, &mut sites)?;
    distances(&tried, &mut sites)?;
    crash(&tried, &mut sites)?;
    pause(&tried, &mut sites)
}

/// Both sides write behind a cut; healed, all see one result and the inbox has both.
fn conflict(tried: &Tried, sites: &mut [Client]) -> Result<()> {
    ensure!(sites[0].call(&["SET", PRICE, "90"])? == ok(), "the price is set");
    shown_everywhere(sites, "90")?;
    check(true, "a write is seen at all sites", RTT_MS)?;
    // From all others: between two alone, writes would go round through the third within seconds.
    tried.ctl(&["cut", "eu"]).map_err(anyhow::Error::msg)?;
    std::thread::sleep(Duration::from_millis(2 * RTT_MS));
    for (site, price) in [(0, "100"), (1, "150")] {
        ensure!(sites[site].call(&["SET", PRICE, price])? == ok(), "a cut-off site writes");
    }
    std::thread::sleep(Duration::from_millis(4 * RTT_MS));
    let seen =
        (sites[0].call(&["GET", PRICE])?, sites[1].call(&["GET", PRICE])?, sites[2].call(&["GET", PRICE])?);
    let apart = (bulk("100"), bulk("150"), bulk("150"));
    check(seen == apart, "behind a cut both sides write and go apart", &seen)?;
    tried.ctl(&["heal", "eu"]).map_err(anyhow::Error::msg)?;
    // The write with the later time.
    shown_everywhere(sites, "150")?;
    check(true, "healed, all sites show the same", "150")?;
    for site in sites.iter_mut() {
        let told = wait_for("the conflict in the inbox", LONG, || {
            let mut listed = Vec::new();
            words(&site.call(&["INBOX", "LIST", "world"]).ok()?, &mut listed);
            [PRICE, "100", "150"].iter().all(|word| listed.iter().any(|it| it == word)).then_some(())
        });
        told.context("every site tells of the conflict, with both prices")?;
    }
    check(true, "the inbox tells of the conflict at each site", "100 150")
}

/// A local write is local; one that belongs to another site takes the way there and back.
fn distances(tried: &Tried, sites: &mut [Client]) -> Result<()> {
    let mut local = Vec::new();
    for n in 0..21 {
        let begun = Instant::now();
        ensure!(sites[0].call(&["SET", &format!("local:{n}"), "1"])? == ok(), "a local write");
        local.push(begun.elapsed());
    }
    local.sort_unstable();
    let median = local[local.len() / 2];
    check(
        median < Duration::from_millis(LOCAL_MS_MAX),
        "a local write does not wait for another site",
        median,
    )?;

    let made = sites[0].call(&["KEYSPACE", "CREATE", "homes", "MULTI-LEADER", "CONFLICT", "home"])?;
    ensure!(made == ok(), "{made:?}");
    let mut eu = tried.select(0, "homes")?;
    let (mut own, mut far) = (Vec::new(), Vec::new());
    for n in 0..12 {
        let key = format!("account:{n}");
        set_when_led(&mut eu, &key)?;
        let begun = Instant::now();
        ensure!(eu.call(&["SET", &key, "1"])? == ok(), "a write to a key that has a home");
        let took = begun.elapsed();
        let reply = eu.call(&["RECEIPT"])?;
        let mut told = Vec::new();
        words(&reply, &mut told);
        let site = told.iter().position(|word| word == "site").and_then(|at| told.get(at + 1));
        let site = site.with_context(|| format!("a receipt names the site: {told:?}"))?;
        if site == "eu" { &mut own } else { &mut far }.push(took);
    }
    ensure!(!own.is_empty() && !far.is_empty(), "keys are at home at several sites: {own:?} {far:?}");
    own.sort_unstable();
    far.sort_unstable();
    let (least, median) = (far[0], far[far.len() / 2]);
    check(
        own[own.len() / 2] < Duration::from_millis(LOCAL_MS_MAX),
        "a key that is at home here is written here",
        &own,
    )?;
    let is_once = least >= Duration::from_millis(RTT_MS) && median < Duration::from_millis(2 * RTT_MS);
    check(is_once, "a key that is at home elsewhere takes the round trip, once", &far)
}

/// A node dies as in a crash; what it acknowledged is there when it is back.
fn crash(tried: &Tried, sites: &mut [Client]) -> Result<()> {
    let mut us = tried.select(1, "world")?;
    for n in 0..50 {
        ensure!(us.call(&["SADD", "kept", &n.to_string()])? == Value::Integer(1), "a member is added");
    }
    tried.ctl(&["kill", "n2"]).map_err(anyhow::Error::msg)?;
    let gone = Client::connect(tried.address(1), Duration::from_secs(1)).is_err();
    check(gone, "a killed node is gone", tried.address(1))?;
    ensure!(sites[2].call(&["SADD", "kept", "while it was down"])? == Value::Integer(1), "the others go on");
    tried.ctl(&["start", "n2"]).map_err(anyhow::Error::msg)?;
    sites[1] = tried.select(1, "world")?;
    for site in sites.iter_mut() {
        wait_for("all that was acknowledged", LONG, || {
            (site.call(&["SCARD", "kept"]).ok()? == Value::Integer(51)).then_some(())
        })?;
    }
    check(true, "started again it has all that it acknowledged, and what it missed", 51)
}

fn pause(tried: &Tried, sites: &mut [Client]) -> Result<()> {
    tried.ctl(&["pause", "n3", "--for", "700ms"]).map_err(anyhow::Error::msg)?;
    let begun = Instant::now();
    let answered = sites[2].call(&["PING"])?;
    let took = begun.elapsed();
    check(took >= Duration::from_millis(400), "a paused node answers when it goes on", (answered, took))?;
    let refusal = tried.ctl(&["resume", "n3"]).err().unwrap_or_default();
    check(refusal.contains("n3 is not paused"), "what cannot be done is refused with its reason", refusal)
}

fn refuses_bad_distances(program: &Path) -> Result<()> {
    for (options, why) in [
        (&["--sites", "eu,us", "--rtt", "eu-us=fast"][..], "is no duration"),
        (&["--sites", "eu,us", "--rtt", "eu-ap=80ms"], "is no pair of sites"),
        (&["--rtt", "eu-us=80ms"], "goes with --sites"),
        (&["--nodes", "2", "--sites", "eu,us,ap"], "no node is left for ap"),
    ] {
        let output = Command::new(program).arg("up").arg("--ephemeral").args(options).output()?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success() && told.contains(why), "tercet up {options:?}: {told}");
    }
    check(true, "distances that mean nothing are refused before anything starts", ())
}

/// `tercet node` has no such power over itself, whoever asks.
fn refuses_production(program: &Path) -> Result<()> {
    let cluster = Cluster::found(program, 1)?;
    let tried = Tried { program: program.to_owned(), first: cluster.nodes[0].resp };
    for words in [&["kill", "n1"][..], &["cut", "n1"], &["pause", "n1"], &["start", "n1"]] {
        let refusal = tried.ctl(words).err().unwrap_or_default();
        ensure!(refusal.contains("no node of a cluster that `tercet up` runs"), "{words:?}: {refusal}");
    }
    let lives = Client::connect(tried.first, TIMEOUT)?.call(&["PING"])?;
    check(
        lives == Value::Simple("PONG".into()),
        "a production node can be neither killed nor cut off this way",
        lives,
    )
}

impl Tried {
    fn address(&self, node: u16) -> SocketAddr {
        SocketAddr::new(self.first.ip(), self.first.port() + node)
    }

    /// What `tercet ctl` says; its complaint where it fails.
    fn ctl(&self, words: &[&str]) -> Result<String, String> {
        let mut command = Command::new(&self.program);
        command.args(["ctl", "--connect", &self.first.to_string()]).args(words);
        let output = command.output().map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// A connection that uses the keyspace.
    fn select(&self, node: u16, keyspace: &str) -> Result<Client> {
        let opened = wait_for("the keyspace", LONG, || {
            let mut client = Client::connect(self.address(node), TIMEOUT).ok()?;
            let is_there = client.call(&["SELECT", keyspace]).ok()? == ok();
            // Its group at this site may not have a leader yet.
            (is_there && !matches!(client.call(&["EXISTS", "nothing"]).ok()?, Value::Error(_)))
                .then_some(client)
        });
        opened.map_err(Into::into)
    }
}

fn set_when_led(client: &mut Client, key: &str) -> Result<()> {
    let set = wait_for("a home that takes writes", LONG, || {
        (client.call(&["SET", key, "0"]).ok()? == ok()).then_some(())
    });
    set.map_err(Into::into)
}

fn shown_everywhere(sites: &mut [Client], price: &str) -> Result<()> {
    let mut seen = Vec::new();
    wait_for("the price at all sites", LONG, || {
        seen = sites.iter_mut().map(|site| site.call(&["GET", PRICE]).ok()).collect();
        seen.iter().all(|it| *it == Some(bulk(price))).then_some(())
    })
    .with_context(|| format!("{seen:?}"))
}

/// All texts of a reply, from its beginning to its end.
fn words(reply: &Value, found: &mut Vec<String>) {
    found.extend(reply.text().map(str::to_owned));
    reply.items().iter().for_each(|item| words(item, found));
    if let Value::Map(pairs) = reply {
        for (key, value) in pairs {
            words(key, found);
            words(value, found);
        }
    }
}

fn ok() -> Value {
    Value::Simple("OK".into())
}

fn bulk(text: &str) -> Value {
    Value::Bulk(text.into())
}
