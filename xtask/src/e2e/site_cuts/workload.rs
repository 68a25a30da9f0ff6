//! Clients of each site: each asks one thing at a time, once, of any node of its site, and remembers what it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bench::client::{CallError, Client};
use bench::resp::Value;
use bench::servers::tercet::Cluster;

use super::{KEYSPACE, ok};

const ANSWER_TIMEOUT: Duration = Duration::from_millis(2_500);
/// The run is about outcomes, not about load.
const PAUSE: Duration = Duration::from_millis(3);
const CLIENTS_PER_SITE: usize = 2;
/// First words of errors that promise "surely not applied".
const REFUSALS: [&str; 3] = ["TRYAGAIN", "LOADING", "CLUSTERDOWN"];

/// What a client was told of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Acknowledged,
    Refused,
    Unknown,
}

/// An element of the set that all sites share: added once, and removed perhaps, by one client.
#[derive(Clone, Copy, Debug)]
struct Element {
    added: Outcome,
    removed: Option<Outcome>,
    /// The removal said that it found it.
    found: bool,
}

/// What clients know.
#[derive(Default)]
pub struct Told {
    elements: BTreeMap<String, Element>,
    /// Of each register what was acknowledged last, and what was written behind it and may have come true.
    registers: BTreeMap<String, (i64, BTreeSet<i64>)>,
    counted: i64,
    perhaps_counted: i64,
    operations: [u64; 3],
    pub unexpected: BTreeMap<String, u64>,
}

impl Told {
    pub fn merge(&mut self, other: Told) {
        self.elements.extend(other.elements);
        self.registers.extend(other.registers);
        self.counted += other.counted;
        self.perhaps_counted += other.perhaps_counted;
        for (sum, more) in self.operations.iter_mut().zip(other.operations) {
            *sum += more;
        }
        for (words, count) in other.unexpected {
            *self.unexpected.entry(words).or_default() += count;
        }
    }
    pub fn summary(&self) -> String {
        let [ok, refused, unknown] = self.operations;
        let removed = self.elements.values().filter(|it| it.removed.is_some()).count();
        format!(
            "{} writes ({ok} ok, {refused} refused, {unknown} unknown): {} elements, {removed} of them removed, {} registers, {} increments",
            ok + refused + unknown,
            self.elements.len(),
            self.registers.len(),
            self.counted
        )
    }
    /// What cannot be, of what is shown when all is at rest; the first few.
    pub fn judge(&self, known: &Known) -> Vec<String> {
        let mut wrong = Vec::new();
        for (name, element) in &self.elements {
            let is_there = known.members.contains(name);
            let surely_removed = element.removed == Some(Outcome::Acknowledged)
                && (element.found || element.added == Outcome::Acknowledged);
            let may_be_removed = !matches!(element.removed, None | Some(Outcome::Refused));
            if is_there && (surely_removed || element.added == Outcome::Refused) {
                wrong.push(format!("{name} is there: {element:?}"));
            }
            if !is_there && element.added == Outcome::Acknowledged && !may_be_removed {
                wrong.push(format!("{name} is lost: {element:?}"));
            }
        }
        wrong.extend(known.members.iter().filter(|name| !self.elements.contains_key(*name)).cloned());
        for (name, (acknowledged, perhaps)) in &self.registers {
            let shown = known.registers.get(name).copied().unwrap_or(0);
            if shown != *acknowledged && !perhaps.contains(&shown) {
                wrong.push(format!("{name} shows {shown}, and {acknowledged} was acknowledged last"));
            }
        }
        let possible = self.counted..=self.counted + self.perhaps_counted;
        if !possible.contains(&known.total) {
            wrong.push(format!("{} increments are counted of {possible:?}", known.total));
        }
        wrong.truncate(10);
        wrong
    }
}

/// What a node shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    members: BTreeSet<String>,
    registers: BTreeMap<String, i64>,
    total: i64,
}

impl Known {
    pub fn read(address: SocketAddr) -> Result<Known> {
        let mut client = connect(address)?;
        let text = |value: &Value| value.text().map(str::to_owned);
        let members = client.call(&["SMEMBERS", "members"])?;
        let mut registers = BTreeMap::new();
        for name in client.call(&["KEYS", "register:*"])?.items().iter().filter_map(text) {
            let shown = client.call(&["GET", &name])?;
            registers.insert(name, number(&shown).context("a register")?);
        }
        let total = number(&client.call(&["GET", "total"])?).context("the total")?;
        Ok(Known { members: members.items().iter().filter_map(text).collect(), registers, total })
    }
    pub fn sizes(&self) -> String {
        format!("{} {} {}", self.members.len(), self.registers.len(), self.total)
    }
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Null => Some(0),
        other => other.text()?.parse().ok(),
    }
}

pub fn connect(address: SocketAddr) -> Result<Client> {
    let mut client = Client::connect(address, ANSWER_TIMEOUT)?;
    let selected = client.call(&["SELECT", KEYSPACE])?;
    ensure!(selected == ok(), "SELECT: {selected:?}");
    Ok(client)
}

pub struct Load {
    is_over: Arc<AtomicBool>,
    acknowledged: BTreeMap<&'static str, Arc<AtomicU64>>,
    clients: Vec<JoinHandle<Told>>,
}

impl Load {
    /// Writes that a site's clients have been told are done.
    pub fn acknowledged(&self, site: &str) -> u64 {
        self.acknowledged.get(site).map_or(0, |count| count.load(Ordering::Relaxed))
    }
    pub fn finish(self) -> Told {
        self.is_over.store(true, Ordering::Relaxed);
        let mut told = Told::default();
        self.clients.into_iter().filter_map(|it| it.join().ok()).for_each(|part| told.merge(part));
        told
    }
}

/// Starts the clients of every site.
pub fn start(cluster: &Cluster, sites: &[&'static str], round: usize) -> Load {
    let is_over = Arc::new(AtomicBool::new(false));
    let mut nodes: BTreeMap<&'static str, Vec<SocketAddr>> = BTreeMap::new();
    for (node, site) in cluster.nodes.iter().zip(sites) {
        nodes.entry(*site).or_default().push(node.resp);
    }
    let acknowledged: BTreeMap<&'static str, Arc<AtomicU64>> =
        nodes.keys().map(|site| (*site, Arc::new(AtomicU64::new(0)))).collect();
    let mut clients = Vec::new();
    for (site, addresses) in nodes {
        for number in 0..CLIENTS_PER_SITE {
            let (is_over, acknowledged) = (Arc::clone(&is_over), Arc::clone(&acknowledged[site]));
            let client = OneClient {
                name: format!("{site}-{round}-{number}"),
                addresses: addresses.clone(),
                attempt: number,
                connection: None,
                acknowledged,
                told: Told::default(),
                removable: Vec::new(),
            };
            clients.push(std::thread::spawn(move || client.run(&is_over)));
        }
    }
    Load { is_over, acknowledged, clients }
}

struct OneClient {
    name: String,
    addresses: Vec<SocketAddr>,
    /// Counts connections that failed, so that the next attempt goes elsewhere.
    attempt: usize,
    connection: Option<Client>,
    acknowledged: Arc<AtomicU64>,
    told: Told,
    /// What it added and may remove, acknowledged or not.
    removable: Vec<String>,
}

impl OneClient {
    fn run(mut self, is_over: &AtomicBool) -> Told {
        for step in 0.. {
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            match step % 5 {
                0 | 1 => self.add(step),
                2 => self.remove(),
                3 => self.count(),
                _ => self.set(step),
            }
            std::thread::sleep(PAUSE);
        }
        self.told
    }
    fn add(&mut self, step: i64) {
        let name = format!("{}-{step}", self.name);
        let (added, _) = self.ask(&["SADD", "members", &name]);
        self.told.elements.insert(name.clone(), Element { added, removed: None, found: false });
        self.removable.push(name);
    }
    fn remove(&mut self) {
        // Of what came before, the older half stays.
        let Some(name) = self.removable.pop() else { return };
        let (removed, reply) = self.ask(&["SREM", "members", &name]);
        if let Some(element) = self.told.elements.get_mut(&name) {
            element.removed = Some(removed);
            element.found = reply == Some(Value::Integer(1));
        }
    }
    fn count(&mut self) {
        match self.ask(&["INCR", "total"]).0 {
            Outcome::Acknowledged => self.told.counted += 1,
            Outcome::Unknown => self.told.perhaps_counted += 1,
            Outcome::Refused => {}
        }
    }
    /// A register that it alone writes, always with a greater number.
    fn set(&mut self, step: i64) {
        let name = format!("register:{}", self.name);
        let (outcome, _) = self.ask(&["SET", &name, &step.to_string()]);
        let (acknowledged, perhaps) = self.told.registers.entry(name).or_default();
        match outcome {
            // What was unknown before it may come true behind it: two writes of one client, the first on its way still.
            Outcome::Acknowledged => *acknowledged = step,
            Outcome::Unknown => drop(perhaps.insert(step)),
            Outcome::Refused => {}
        }
    }

    fn ask(&mut self, words: &[&str]) -> (Outcome, Option<Value>) {
        let (outcome, reply) = self.call(words);
        self.told.operations[outcome as usize] += 1;
        if outcome == Outcome::Acknowledged {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        (outcome, reply)
    }
    /// A connection that failed is not used again.
    fn call(&mut self, words: &[&str]) -> (Outcome, Option<Value>) {
        if self.connection.is_none() {
            match connect(self.addresses[self.attempt % self.addresses.len()]) {
                Ok(connection) => self.connection = Some(connection),
                Err(_) => {
                    self.attempt += 1;
                    return (Outcome::Refused, None);
                }
            }
        }
        let Some(connection) = &mut self.connection else { return (Outcome::Refused, None) };
        match connection.call(words) {
            Ok(Value::Error(words)) => (self.judge_error(&words), None),
            Ok(reply) => (Outcome::Acknowledged, Some(reply)),
            Err(error) => {
                (self.connection, self.attempt) = (None, self.attempt + 1);
                let is_sent = !matches!(error, CallError::NotSent(_));
                (if is_sent { Outcome::Unknown } else { Outcome::Refused }, None)
            }
        }
    }
    fn judge_error(&mut self, words: &str) -> Outcome {
        let first = words.split(' ').next().unwrap_or_default();
        if REFUSALS.contains(&first) {
            return Outcome::Refused;
        }
        if first != "INDETERMINATE" {
            *self.told.unexpected.entry(words.to_owned()).or_default() += 1;
        }
        Outcome::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Acknowledged, Refused, Unknown};

    fn told(added: Outcome, removed: Option<Outcome>, found: bool) -> Told {
        let mut told = Told { counted: 3, perhaps_counted: 1, ..Told::default() };
        told.elements.insert("a".into(), Element { added, removed, found });
        told.registers.insert("r".into(), (5, BTreeSet::from([7])));
        told
    }
    fn known(is_there: bool, shown: i64, total: i64) -> Known {
        let members = is_there.then(|| String::from("a")).into_iter().collect();
        Known { members, registers: BTreeMap::from([("r".into(), shown)]), total }
    }

    #[test]
    fn what_is_lost_comes_back_or_counts_twice_is_wrong() {
        let wrong = |told: Told, known: Known| told.judge(&known).len();
        for (added, removed, found, there, gone) in [
            (Acknowledged, None, false, 0, 1),
            (Acknowledged, Some(Refused), false, 0, 1),
            (Acknowledged, Some(Unknown), false, 0, 0),
            (Acknowledged, Some(Acknowledged), true, 1, 0),
            (Unknown, None, false, 0, 0),
            (Unknown, Some(Acknowledged), true, 1, 0),
            (Unknown, Some(Acknowledged), false, 0, 0),
            (Refused, None, false, 1, 0),
        ] {
            let case = || told(added, removed, found);
            assert_eq!((wrong(case(), known(true, 5, 3)), wrong(case(), known(false, 5, 3))), (there, gone));
        }
        let written = |shown, total| wrong(told(Unknown, None, false), known(false, shown, total));
        assert_eq!((written(5, 3), written(7, 4)), (0, 0));
        assert_eq!((written(4, 3), written(0, 3), written(5, 2), written(5, 5)), (1, 1, 1, 1));
        let mut strange = known(false, 5, 3);
        strange.members.insert("b".into());
        assert_eq!(told(Unknown, None, false).judge(&strange), ["b"], "nobody added it");
    }
}
