//! The clients: each asks one thing at a time, once, and writes down what it was told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bench::client::{CallError, Client};
use bench::resp::Value;
use bench::servers::wait_for;

use super::history::{Event, History, Operation, Outcome, Register, list_key, once_key};
use super::judge::FinalState;

/// How long a client waits for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(1_500);
/// A pause between operations: the run is about outcomes, not about load.
const PAUSE: Duration = Duration::from_millis(1);
/// A pause after a refusal or a lost connection: short, since it adds to the measured outage.
const RETRY_PAUSE: Duration = Duration::from_millis(3);

/// How long a node may take to answer when all is over.
const CALM_TIMEOUT: Duration = Duration::from_secs(20);

/// First words of errors that promise "surely not applied".
const REFUSALS: &[&str] =
    &["READONLY", "LOADING", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "NOREPLICAS", "MOVED", "MISCONF"];
/// First words of errors that promise nothing.
const UNKNOWNS: &[&str] = &["INDETERMINATE", "NOQUORUM"];

/// What the clients share.
struct Shared {
    began: Instant,
    is_over: AtomicBool,
    /// The current generation of each client's register, for its readers.
    generations: Vec<AtomicU32>,
    /// When the newest acknowledged write was asked for and answered, microseconds since the run began.
    last_write: Mutex<BTreeMap<u64, u64>>,
    newest_forgotten: AtomicU64,
}

/// Clients under way.
pub struct Workload {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<History>>,
}

impl Workload {
    /// Starts `clients` threads; each prefers one of the addresses and turns to the others when that one fails.
    pub fn start(addresses: &[SocketAddr], clients: u32) -> Workload {
        let shared = Arc::new(Shared {
            began: Instant::now(),
            is_over: AtomicBool::new(false),
            generations: (0..clients).map(|_| AtomicU32::new(0)).collect(),
            last_write: Mutex::default(),
            newest_forgotten: AtomicU64::new(0),
        });
        let start_client = |number| {
            let mut client = OneClient::new(number, addresses.to_vec(), Arc::clone(&shared));
            thread::spawn(move || {
                client.run();
                client.history
            })
        };
        let clients = (0..clients).map(start_client).collect();
        Workload { shared, clients }
    }

    /// Waits for the first acknowledged write that was asked for after `at`; how long after `at` it was answered.
    pub fn wait_for_write_after(&self, at: Instant, timeout: Duration) -> Result<Duration> {
        let at_us = at.duration_since(self.shared.began).as_micros() as u64;
        let answered = wait_for("an acknowledged write", timeout, || {
            let writes = self.shared.last_write.lock().unwrap_or_else(PoisonError::into_inner);
            writes.range(at_us..).map(|(_, answered)| *answered).min()
        })?;
        Ok(Duration::from_micros(answered.saturating_sub(at_us)))
    }

    /// The longest time between two acknowledgements of writes, whosoever, from a little before `at` until `watched` after it.
    pub fn longest_silence(&self, at: Instant, watched: Duration) -> Result<Duration> {
        std::thread::sleep(watched.saturating_sub(at.elapsed()));
        let end_us = self.shared.began.elapsed().as_micros() as u64;
        let from_us = (at.duration_since(self.shared.began).as_micros() as u64).saturating_sub(50_000);
        let mut answers: Vec<u64> = {
            let writes = self.shared.last_write.lock().unwrap_or_else(PoisonError::into_inner);
            writes.range(from_us..).map(|(_, answered)| *answered).collect()
        };
        ensure!(!answers.is_empty(), "no write was acknowledged");
        answers.extend([from_us, end_us]);
        answers.sort_unstable();
        let longest = answers.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        Ok(Duration::from_micros(longest))
    }

    /// Lets every client end its operation and gathers what they know.
    pub fn finish(self) -> History {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let mut whole = History::default();
        for part in self.clients.into_iter().filter_map(|client| client.join().ok()) {
            whole.events.extend(part.events);
            for (words, count) in part.unexpected {
                *whole.unexpected.entry(words).or_default() += count;
            }
        }
        whole
    }
}

struct OneClient {
    number: u32,
    addresses: Vec<SocketAddr>,
    /// Counts connections that failed, so that the next attempt goes elsewhere.
    attempt: usize,
    connection: Option<Client>,
    shared: Arc<Shared>,
    history: History,
    random: u64,
    next_number: u64,
    register_value: i64,
}

impl OneClient {
    fn new(number: u32, addresses: Vec<SocketAddr>, shared: Arc<Shared>) -> OneClient {
        OneClient {
            number,
            addresses,
            attempt: number as usize,
            connection: None,
            shared,
            history: History::default(),
            random: 0x9e37_79b9_7f4a_7c15 ^ (u64::from(number) << 17 | 1),
            next_number: 0,
            register_value: 0,
        }
    }

    fn run(&mut self) {
        while !self.shared.is_over.load(Ordering::Relaxed) {
            let operation = self.next_operation();
            let asked_us = self.now_us();
            let outcome = self.attempt(operation);
            let answered_us = self.now_us();
            self.learn(operation, outcome, asked_us, answered_us);
            self.history.events.push(Event {
                client: self.number,
                operation,
                asked_us,
                answered_us,
                outcome,
            });
            thread::sleep(if matches!(outcome, Outcome::Ok(_)) { PAUSE } else { RETRY_PAUSE });
        }
    }

    fn now_us(&self) -> u64 {
        self.shared.began.elapsed().as_micros() as u64
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    fn next_operation(&mut self) -> Operation {
        self.next_number += 1;
        let number = self.next_number;
        match self.draw(6) {
            0 => Operation::Count,
            1 => Operation::Once { number },
            2 => Operation::Append { number },
            3 => {
                self.register_value += 1;
                Operation::Write { register: self.register_of(self.number), value: self.register_value }
            }
            _ => {
                let owner = self.draw(self.shared.generations.len() as u64) as u32;
                Operation::Read { register: self.register_of(owner) }
            }
        }
    }

    fn register_of(&self, owner: u32) -> Register {
        let generation = self.shared.generations[owner as usize].load(Ordering::Relaxed);
        Register { owner, generation }
    }

    /// Asks once. A connection that failed is not used again.
    fn attempt(&mut self, operation: Operation) -> Outcome {
        if self.connection.is_none() {
            let address = self.addresses[self.attempt % self.addresses.len()];
            match Client::connect(address, ANSWER_TIMEOUT) {
                Ok(connection) => self.connection = Some(connection),
                Err(_) => {
                    self.attempt += 1;
                    return Outcome::Refused;
                }
            }
        }
        let Some(connection) = &mut self.connection else { return Outcome::Refused };
        match connection.call(&command(self.number, operation)) {
            Ok(Value::Error(words)) => self.judge_error(&words),
            Ok(reply) => match answer(&reply) {
                Some(answer) => Outcome::Ok(answer),
                None => {
                    self.note(format!("strange reply {reply:?} to {operation:?}"));
                    Outcome::Unknown
                }
            },
            Err(error) => {
                self.connection = None;
                self.attempt += 1;
                if matches!(error, CallError::NotSent(_)) { Outcome::Refused } else { Outcome::Unknown }
            }
        }
    }

    fn judge_error(&mut self, words: &str) -> Outcome {
        let first = words.split(' ').next().unwrap_or_default();
        if REFUSALS.contains(&first) {
            Outcome::Refused
        } else {
            if !UNKNOWNS.contains(&first) {
                self.note(words.to_owned());
            }
            Outcome::Unknown
        }
    }

    fn note(&mut self, words: String) {
        *self.history.unexpected.entry(words).or_default() += 1;
    }

    fn learn(&mut self, operation: Operation, outcome: Outcome, asked_us: u64, answered_us: u64) {
        match (operation, outcome) {
            (Operation::Read { .. }, _) | (_, Outcome::Refused) => {}
            (_, Outcome::Ok(_)) => self.tell_write(asked_us, answered_us),
            (Operation::Write { .. }, Outcome::Unknown) => {
                self.shared.generations[self.number as usize].fetch_add(1, Ordering::Relaxed);
            }
            (_, Outcome::Unknown) => {}
        }
    }

    /// Remembers acknowledged writes of the last while, for whoever measures an outage.
    fn tell_write(&self, asked_us: u64, answered_us: u64) {
        const REMEMBERED_US: u64 = 60_000_000;
        let mut writes = self.shared.last_write.lock().unwrap_or_else(PoisonError::into_inner);
        writes.entry(asked_us).and_modify(|known| *known = (*known).min(answered_us)).or_insert(answered_us);
        let horizon = answered_us.saturating_sub(REMEMBERED_US);
        if horizon > self.shared.newest_forgotten.load(Ordering::Relaxed) + REMEMBERED_US {
            *writes = writes.split_off(&horizon);
            self.shared.newest_forgotten.store(horizon, Ordering::Relaxed);
        }
    }
}

fn command(client: u32, operation: Operation) -> Vec<String> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    match operation {
        Operation::Count => words(&["INCR", "counter"]),
        Operation::Once { number } => words(&["INCR", &once_key(client, number)]),
        Operation::Append { number } => words(&["RPUSH", &list_key(client), &number.to_string()]),
        Operation::Write { register, value } => words(&["SET", &register.key(), &value.to_string()]),
        Operation::Read { register } => words(&["GET", &register.key()]),
    }
}

/// The number in a reply; 0 for OK and for "no value".
fn answer(reply: &Value) -> Option<i64> {
    match reply {
        Value::Integer(value) => Some(*value),
        Value::Null => Some(0),
        Value::Simple(text) if text == "OK" => Some(0),
        Value::Bulk(_) => reply.text()?.parse().ok(),
        _ => None,
    }
}

/// Reads everything that the history touched, and asks every node for the counter: they must agree.
pub fn read_final_state(addresses: &[SocketAddr], history: &History) -> Result<FinalState> {
    for address in addresses {
        wait_for("an answer of every node", CALM_TIMEOUT, || {
            let mut client = Client::connect(*address, ANSWER_TIMEOUT).ok()?;
            read_number(&mut client, "counter").ok()
        })?;
    }
    let mut reader = Client::connect(addresses[0], Duration::from_secs(10))?;
    let mut end = FinalState::default();
    let mut once = Vec::new();
    for event in &history.events {
        match event.operation {
            Operation::Once { number } => once.push((event.client, number)),
            Operation::Append { .. } => {
                end.lists.entry(event.client).or_default();
            }
            Operation::Write { register, .. } => {
                end.registers.insert(register, 0);
            }
            _ => {}
        }
    }
    end.counter = read_number(&mut reader, "counter")?;
    for (register, value) in &mut end.registers {
        *value = read_number(&mut reader, &register.key())?;
    }
    for (client, items) in &mut end.lists {
        let reply = reader.call(&["LRANGE", &list_key(*client), "0", "-1"])?;
        let number = |item: &Value| item.text().and_then(|text| text.parse().ok());
        *items = reply.items().iter().filter_map(number).collect();
    }
    // In batches: one round trip per key would take longer than the run.
    for batch in once.chunks(500) {
        for (client, number) in batch {
            reader.send(&["GET", &once_key(*client, *number)])?;
        }
        for key in batch {
            let reply = reader.receive()?;
            end.once.insert(*key, answer(&reply).ok_or_else(|| anyhow!("strange reply {reply:?}"))?);
        }
    }
    for address in addresses {
        let mut other = Client::connect(*address, Duration::from_secs(10))?;
        let seen = read_number(&mut other, "counter")?;
        if seen != end.counter {
            bail!("{address} says that the counter is {seen}, {} says {}", addresses[0], end.counter);
        }
    }
    Ok(end)
}

fn read_number(reader: &mut Client, key: &str) -> Result<i64> {
    let reply = reader.call(&["GET", key])?;
    answer(&reply).with_context(|| format!("strange reply {reply:?} to GET {key}"))
}
