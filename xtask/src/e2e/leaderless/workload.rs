//! The clients: each asks one thing at a time, once, through any node, and writes down what it was told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bench::client::{CallError, Client};
use bench::resp::Value;

use super::cluster::KEYSPACES;
use super::history::{Did, Event, History, NoQuorum, Outcome, is_agreed};

/// How long a client waits for an answer: a node says INDETERMINATE after one second.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(2_500);
/// A pause between operations: the run is about outcomes, not about load.
const PAUSE: Duration = Duration::from_millis(2);
/// Keys are left behind after so long: a key's history stays short, and so does a set, whose hash costs its size.
const ERA: Duration = Duration::from_secs(2);
/// Writes of a register before it is deleted and the next one begins.
const REGISTER_WRITES: i64 = 8;
/// Elements that a client may still remove.
const REMEMBERED: usize = 40;

/// What stands before every command on a linearizable key.
const AGREED: [&str; 3] = ["WITH", "LINEARIZABLE", "DO"];

/// First words of errors that promise "surely not applied".
const REFUSALS: [&str; 3] = ["TRYAGAIN", "LOADING", "CLUSTERDOWN"];

/// What the clients share.
struct Shared {
    began: Instant,
    is_over: AtomicBool,
    /// Where nodes are: it changes when one is replaced.
    addresses: Mutex<Vec<SocketAddr>>,
    /// The register that each client writes now, for its readers.
    registers: Vec<Mutex<String>>,
    /// When writes were acknowledged, in microseconds since the run began, by keyspace.
    acknowledged: [Mutex<Vec<u64>>; KEYSPACES.len()],
}

pub struct Workload {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<History>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Workload {
    /// Starts `clients` threads; half of them for each keyspace, spread over the nodes.
    pub fn start(addresses: &[SocketAddr], clients: u32) -> Workload {
        let shared = Arc::new(Shared {
            began: Instant::now(),
            is_over: AtomicBool::new(false),
            addresses: Mutex::new(addresses.to_vec()),
            registers: (0..clients).map(|number| Mutex::new(format!("own:{number}:0"))).collect(),
            acknowledged: [const { Mutex::new(Vec::new()) }; KEYSPACES.len()],
        });
        let start = |number| {
            let mut client = OneClient::new(number, Arc::clone(&shared));
            thread::spawn(move || {
                client.run();
                client.history
            })
        };
        let clients = (0..clients).map(start).collect();
        Workload { shared, clients }
    }

    /// The nodes are others now.
    pub fn turn_to(&self, addresses: Vec<SocketAddr>) {
        *locked(&self.shared.addresses) = addresses;
    }
    pub fn now_us(&self) -> u64 {
        self.shared.began.elapsed().as_micros() as u64
    }

    /// The longest time without an acknowledged write of a keyspace, whosoever, since `from_us`.
    pub fn longest_silence(&self, keyspace: usize, from_us: u64) -> Duration {
        let now = self.now_us();
        let mut times: Vec<u64> =
            locked(&self.shared.acknowledged[keyspace]).iter().copied().filter(|at| *at >= from_us).collect();
        times.extend([from_us, now]);
        times.sort_unstable();
        Duration::from_micros(times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0))
    }

    /// Lets every client end its operation and gathers what they know.
    pub fn finish(self) -> History {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let mut whole = History::default();
        self.clients.into_iter().filter_map(|it| it.join().ok()).for_each(|part| whole.merge(part));
        whole
    }
}

/// An answer, or what an error means.
enum Told {
    Reply(Value),
    Refused,
    Unknown,
}

struct OneClient {
    number: u32,
    keyspace: usize,
    /// Counts connections that failed, so that the next attempt goes elsewhere.
    attempt: usize,
    connection: Option<Client>,
    shared: Arc<Shared>,
    history: History,
    random: u64,
    next_element: i64,
    /// What it added and may remove.
    added: Vec<(String, i64)>,
    /// Of its register: how often it began another one, and what it wrote last.
    generation: u32,
    written: i64,
}

impl OneClient {
    fn new(number: u32, shared: Arc<Shared>) -> OneClient {
        OneClient {
            number,
            keyspace: number as usize % KEYSPACES.len(),
            attempt: number as usize,
            connection: None,
            shared,
            history: History::default(),
            random: 0x9e37_79b9_7f4a_7c15 ^ (u64::from(number) << 17 | 1),
            next_element: 0,
            added: Vec::new(),
            generation: 0,
            written: 0,
        }
    }

    fn run(&mut self) {
        while !self.shared.is_over.load(Ordering::Relaxed) {
            let era = self.shared.began.elapsed().as_secs() / ERA.as_secs();
            match self.draw(14) {
                0..=2 => self.add(era),
                3 => self.remove(),
                4 => {
                    let key = format!("set:{era}:{}", self.draw(2));
                    self.read(key, "SMEMBERS", |reply| Some(Did::Members { seen: numbers(reply.items())? }));
                }
                5 | 6 => {
                    let key = format!("counter:{era}:{}", self.draw(2));
                    let told = self.ask(&["INCR", &key]);
                    self.write_ended(key, Did::Increment, told);
                }
                7 => {
                    let key = format!("counter:{era}:{}", self.draw(2));
                    self.read(key, "GET", |reply| Some(Did::Count { seen: number(reply)?.unwrap_or(0) }));
                }
                8 => self.put(era),
                9 | 10 => self.write_own(),
                11 | 12 => self.agree(era),
                _ => {
                    // Of a client of the same keyspace.
                    let clients = self.shared.registers.len() / KEYSPACES.len();
                    let owner = self.draw(clients as u64) as usize * KEYSPACES.len() + self.keyspace;
                    let key = locked(&self.shared.registers[owner]).clone();
                    self.read(key, "GET", |reply| Some(Did::Read { seen: number(reply)? }));
                }
            }
            thread::sleep(PAUSE);
        }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }
    fn next_element(&mut self) -> i64 {
        self.next_element += 1;
        i64::from(self.number) * 10_000_000 + self.next_element
    }

    fn add(&mut self, era: u64) {
        let element = self.next_element();
        let key = format!("set:{era}:{}", element % 2);
        let told = self.ask(&["SADD", &key, &element.to_string()]);
        if self.added.len() == REMEMBERED {
            self.added.remove(0);
        }
        self.added.push((key.clone(), element));
        self.write_ended(key, Did::Add { element }, told);
    }

    /// Removes something that it added, acknowledged or not.
    fn remove(&mut self) {
        if self.added.is_empty() {
            return;
        }
        let at = self.draw(self.added.len() as u64) as usize;
        let (key, element) = self.added.remove(at);
        let told = self.ask(&["SREM", &key, &element.to_string()]);
        let found = matches!(&told.0, Told::Reply(Value::Integer(1)));
        self.write_ended(key, Did::Remove { element, found }, told);
    }

    /// Reads the versions of a register and writes one in their place.
    fn put(&mut self, era: u64) {
        let key = format!("versions:{era}:{}", self.draw(3));
        let (told, asked_us) = self.ask(&["GETV", &key]);
        let Told::Reply(reply) = told else { return };
        let looked = versions(&reply);
        let Some((context, saw)) = looked else { return self.note(format!("GETV: {reply:?}")) };
        self.tell(key.clone(), Did::Look { seen: saw.clone() }, asked_us, Outcome::Ok);
        let value = self.next_element();
        let told = self.ask(&["SETV", &key, &context, &value.to_string()]);
        self.write_ended(key, Did::Put { value, saw }, told);
    }

    /// Writes its own register; after some writes deletes it and begins another one. Where a write's outcome is unknown the register
    /// is given up: nothing that is written later says what became of it.
    fn write_own(&mut self) {
        let key = format!("own:{}:{}", self.number, self.generation);
        // Where a DEL need not meet what it is about, only what it says that it removed is gone: sets show that.
        let (_, _, meets) = KEYSPACES[self.keyspace];
        let is_last = self.written >= REGISTER_WRITES && meets;
        let value = (!is_last).then_some(self.written + 1);
        let told = match value {
            Some(value) => self.ask(&["SET", &key, &value.to_string()]),
            None => self.ask(&["DEL", &key]),
        };
        let outcome = self.write_ended(key, Did::Write { value }, told);
        match outcome {
            Outcome::Ok if !is_last => self.written += 1,
            Outcome::Refused => {}
            Outcome::Ok | Outcome::Unknown => {
                (self.generation, self.written) = (self.generation + 1, 0);
                let next = format!("own:{}:{}", self.number, self.generation);
                *locked(&self.shared.registers[self.number as usize]) = next;
            }
        }
    }

    /// Reads, writes or swaps a linearizable register that all clients of the keyspace share.
    fn agree(&mut self, era: u64) {
        let key = format!("agreed:{era}:{}", self.draw(2));
        let new = self.next_element();
        let value = new.to_string();
        let swap = ["SET", &key, &value, "GET"];
        let (words, did) = match self.draw(3) {
            0 => (&swap[..3], Did::Write { value: Some(new) }),
            1 => (&swap[..], Did::Write { value: Some(new) }),
            _ => (&["GET", &key][..], Did::Read { seen: None }),
        };
        let (told, asked_us) = self.ask(&[&AGREED[..], words].concat());
        let seen = match &told {
            Told::Reply(reply) if reply.text() != Some("OK") => number(reply),
            _ => None,
        };
        let did = match (did, seen) {
            (Did::Read { .. }, Some(seen)) => Did::Read { seen },
            // Nothing is known of a read that failed.
            (Did::Read { .. }, None) => return,
            // Whether it came true is not known, nor what it found.
            (did, None) => did,
            (_, Some(old)) => Did::Swap { old, new },
        };
        self.write_ended(key, did, (told, asked_us));
    }

    fn read(&mut self, key: String, command: &str, did: impl FnOnce(&Value) -> Option<Did>) {
        let (told, asked_us) = self.ask(&[command, &key]);
        if let Told::Reply(reply) = told {
            match did(&reply) {
                Some(did) => self.tell(key, did, asked_us, Outcome::Ok),
                None => self.note(format!("{command}: {reply:?}")),
            }
        }
    }

    fn write_ended(&mut self, key: String, did: Did, (told, asked_us): (Told, u64)) -> Outcome {
        let outcome = match told {
            Told::Reply(_) => Outcome::Ok,
            Told::Refused => Outcome::Refused,
            Told::Unknown => Outcome::Unknown,
        };
        self.tell(key, did, asked_us, outcome);
        outcome
    }

    fn tell(&mut self, key: String, did: Did, asked_us: u64, outcome: Outcome) {
        let answered_us = self.shared.began.elapsed().as_micros() as u64;
        if did.is_write() && outcome == Outcome::Ok {
            locked(&self.shared.acknowledged[self.keyspace]).push(answered_us);
        }
        let (client, keyspace) = (self.number, self.keyspace);
        let event = Event { client, keyspace, key, did, asked_us, answered_us, outcome, is_final: false };
        self.history.events.push(event);
    }
    fn note(&mut self, words: String) {
        *self.history.unexpected.entry(words).or_default() += 1;
    }

    /// Asks once, and says when. A connection that failed is not used again.
    fn ask(&mut self, words: &[&str]) -> (Told, u64) {
        let asked_us = self.shared.began.elapsed().as_micros() as u64;
        if self.connection.is_none() {
            let addresses = locked(&self.shared.addresses).clone();
            let address = addresses[self.attempt % addresses.len()];
            match connect(address, self.keyspace) {
                Ok(connection) => self.connection = Some(connection),
                Err(_) => {
                    self.attempt += 1;
                    return (Told::Refused, asked_us);
                }
            }
        }
        let Some(connection) = &mut self.connection else { return (Told::Refused, asked_us) };
        let told = match connection.call(words) {
            Ok(Value::Error(words)) => self.judge_error(words, asked_us),
            Ok(reply) => Told::Reply(reply),
            Err(error) => {
                self.connection = None;
                self.attempt += 1;
                if matches!(error, CallError::NotSent(_)) { Told::Refused } else { Told::Unknown }
            }
        };
        // Of an agreed key the word may also mean that nobody answered in time.
        let is_write = !["GET", "GETV", "SMEMBERS", AGREED[0]].contains(&words[0]);
        if let Some(last) = self.history.no_quorum.last_mut().filter(|it| it.asked_us == asked_us) {
            last.is_write = is_write;
        }
        (told, asked_us)
    }

    fn judge_error(&mut self, words: String, asked_us: u64) -> Told {
        match words.split(' ').next().unwrap_or_default() {
            "NOQUORUM" => {
                self.history.no_quorum.push(NoQuorum { asked_us, is_write: true, words });
                // Another node may see more.
                (self.connection, self.attempt) = (None, self.attempt + 1);
                Told::Refused
            }
            "INDETERMINATE" => {
                self.history.indeterminate += 1;
                Told::Unknown
            }
            first if REFUSALS.contains(&first) => Told::Refused,
            _ => {
                self.note(words);
                Told::Unknown
            }
        }
    }
}

fn connect(address: SocketAddr, keyspace: usize) -> Result<Client> {
    let mut client = Client::connect(address, ANSWER_TIMEOUT)?;
    let selected = client.call(&["SELECT", KEYSPACES[keyspace].0])?;
    ensure!(selected == Value::Simple("OK".into()), "SELECT: {selected:?}");
    Ok(client)
}

/// A number, or none where there is no value.
fn number(reply: &Value) -> Option<Option<i64>> {
    match reply {
        Value::Null => Some(None),
        Value::Bulk(_) => reply.text()?.parse().ok().map(Some),
        _ => None,
    }
}

fn numbers(items: &[Value]) -> Option<Vec<i64>> {
    items.iter().map(|item| number(item)?).collect()
}

/// The context of a GETV, and what it shows.
fn versions(reply: &Value) -> Option<(String, Vec<i64>)> {
    let [context, seen] = reply.items() else { return None };
    Some((context.text()?.to_owned(), numbers(seen.items())?))
}

/// Reads every key that the history touched, through `address`.
pub fn read_final_state(address: SocketAddr, history: &History, now_us: u64) -> Result<Vec<Event>> {
    let mut keys: BTreeMap<(usize, String), Did> = BTreeMap::new();
    for event in &history.events {
        keys.entry((event.keyspace, event.key.clone())).or_insert_with(|| event.did.clone());
    }
    let mut events = Vec::new();
    let mut connections: Vec<Client> = Vec::new();
    for keyspace in 0..KEYSPACES.len() {
        connections.push(connect(address, keyspace)?);
    }
    for (number_of, ((keyspace, key), did)) in keys.into_iter().enumerate() {
        let command = match did {
            Did::Add { .. } | Did::Remove { .. } | Did::Members { .. } => "SMEMBERS",
            Did::Put { .. } | Did::Look { .. } => "GETV",
            _ => "GET",
        };
        let prefix = if is_agreed(&key) { &AGREED[..] } else { &[] };
        let reply = connections[keyspace].call(&[prefix, &[command, &key]].concat())?;
        let strange = || format!("{command} {key}: {reply:?}");
        let did = match did {
            Did::Add { .. } | Did::Remove { .. } | Did::Members { .. } => {
                Did::Members { seen: numbers(reply.items()).with_context(strange)? }
            }
            Did::Put { .. } | Did::Look { .. } => {
                Did::Look { seen: versions(&reply).with_context(strange)?.1 }
            }
            Did::Increment | Did::Count { .. } => {
                Did::Count { seen: number(&reply).with_context(strange)?.unwrap_or(0) }
            }
            Did::Write { .. } | Did::Swap { .. } | Did::Read { .. } => {
                Did::Read { seen: number(&reply).with_context(strange)? }
            }
        };
        let asked_us = now_us + 2 * number_of as u64;
        let client = u32::MAX;
        let (answered_us, outcome) = (asked_us + 1, Outcome::Ok);
        events.push(Event { client, keyspace, key, did, asked_us, answered_us, outcome, is_final: true });
    }
    Ok(events)
}
