//! The generator: one thread, N connections, each with at most one batch of P operations under way.
//!
//! [`Pace::Closed`], like redis-benchmark: a connection sends its next batch when the last one is answered. So a slow server
//! is offered less; the latencies say how long a client waited, not how a fixed rate would have fared. [`Pace::Open`] offers
//! a fixed rate whatever the server does, and counts latency from the time at which an operation was due.

mod ticker;

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::process::Usage;
use ticker::Ticker;

/// A protocol as the generator sees it. One value per connection.
pub trait Dialect {
    /// Appends what must be sent before the first operation.
    fn open(&mut self, _out: &mut Vec<u8>) {}
    /// Appends one operation that uses key `key`.
    fn operation(&mut self, key: u64, out: &mut Vec<u8>);
    /// Reads from the front of `input`; may append what the protocol wants answered at once.
    ///
    /// # Errors
    /// A sentence when the stream makes no sense: the run ends.
    fn reply(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Progress, String>;
}

/// What [`Dialect::reply`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// More bytes are needed.
    Partial,
    /// That many bytes belong to an operation that is not complete, or to none.
    Part(usize),
    /// That many bytes end one operation.
    Done { used: usize, ok: bool },
}

/// How a run is driven.
#[derive(Clone, Debug)]
pub struct Load {
    /// Connections are spread over these in turn.
    pub addresses: Vec<SocketAddr>,
    pub connections: usize,
    /// Operations sent together.
    pub pipeline: usize,
    pub pace: Pace,
    /// Keys are drawn evenly from `0..keys`, or taken in turn.
    pub keys: u64,
    pub key_order: KeyOrder,
    /// Not counted: connections, tables and caches get warm.
    pub warm_up: Duration,
    /// What is counted.
    pub stop: Stop,
    /// Server processes whose CPU time and disk writes are summed.
    pub pids: Vec<u32>,
    pub seed: u64,
}

/// When operations are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// The next batch follows the last one's answers.
    Closed,
    /// So many batches per second, over all connections in turn; answers are not waited for.
    Open { per_second: u32 },
}

/// Which key comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyOrder {
    Random,
    /// Each key once, then from the start again: to fill a store.
    Sequential,
}

/// When a run ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    After(Duration),
    Operations(u64),
}

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub operations: u64,
    /// Operations that the server refused.
    pub errors: u64,
    pub seconds: f64,
    /// Time from sending a batch to each of its replies.
    pub latency_p50: Duration,
    pub latency_p99: Duration,
    pub latency_max: Duration,
    pub usage: Usage,
}

impl Outcome {
    /// Answered operations per second.
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.operations as f64 / self.seconds } else { 0.0 }
    }
    /// Server CPU time per operation over all its processes, microseconds; also CPU seconds per million operations.
    pub fn cpu_micros(&self) -> f64 {
        if self.operations > 0 { self.usage.cpu_seconds * 1e6 / self.operations as f64 } else { 0.0 }
    }
    /// Bytes that the servers wrote to storage per operation.
    pub fn written_bytes(&self) -> f64 {
        if self.operations > 0 { self.usage.written_bytes as f64 / self.operations as f64 } else { 0.0 }
    }
}

/// Longest silence of a server before a run is given up.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Latencies are kept in microseconds up to a minute.
const LATENCY_MICROS_MAX: u64 = 60_000_000;
const TICK: Token = Token(usize::MAX);

struct Connection<D> {
    stream: TcpStream,
    dialect: D,
    out: Vec<u8>,
    sent: usize,
    input: Vec<u8>,
    consumed: usize,
    /// When each operation under way was sent.
    under_way: VecDeque<Instant>,
}

/// Drives one run.
///
/// # Errors
/// When a connection cannot be made or breaks, the protocol is violated, or the server falls silent.
pub fn run<D: Dialect>(load: &Load, mut dialect: impl FnMut(usize) -> D) -> io::Result<Outcome> {
    let mut generator = Generator::connect(load, &mut dialect)?;
    generator.drive()?;
    Ok(generator.outcome())
}

struct Generator<'a, D> {
    load: &'a Load,
    poll: Poll,
    connections: Vec<Connection<D>>,
    random: u64,
    next_key: u64,
    latencies: Histogram<u64>,
    operations: u64,
    errors: u64,
    /// Set when the warm-up is over.
    measured_from: Option<(Instant, Usage)>,
    measured_to: Option<(Instant, Usage)>,
    /// Of an open loop.
    ticker: Option<Ticker>,
    next_connection: usize,
}

impl<'a, D: Dialect> Generator<'a, D> {
    fn connect(load: &'a Load, dialect: &mut impl FnMut(usize) -> D) -> io::Result<Generator<'a, D>> {
        let poll = Poll::new()?;
        let mut connections = Vec::with_capacity(load.connections);
        for number in 0..load.connections {
            let address = load.addresses[number % load.addresses.len()];
            let stream = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)?;
            let mut connection = Connection {
                stream,
                dialect: dialect(number),
                out: Vec::new(),
                sent: 0,
                input: Vec::new(),
                consumed: 0,
                under_way: VecDeque::new(),
            };
            connection.dialect.open(&mut connection.out);
            connections.push(connection);
        }
        let ticker = match load.pace {
            Pace::Closed => None,
            Pace::Open { per_second } => Some(Ticker::start(&poll, TICK, per_second)?),
        };
        let latencies = Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3).map_err(io::Error::other)?;
        Ok(Generator {
            load,
            poll,
            connections,
            random: load.seed | 1,
            next_key: 0,
            latencies,
            operations: 0,
            errors: 0,
            measured_from: None,
            measured_to: None,
            ticker,
            next_connection: 0,
        })
    }

    fn drive(&mut self) -> io::Result<()> {
        let started = Instant::now();
        for number in 0..self.connections.len() {
            if self.ticker.is_none() {
                self.send_batch(number, Instant::now())?;
            }
        }
        let mut events = Events::with_capacity(self.connections.len().max(16));
        let mut last_reply = Instant::now();
        while self.measured_to.is_none() {
            self.poll.poll(&mut events, Some(Duration::from_millis(100))).or_else(ignore_interrupt)?;
            let now = Instant::now();
            if self.measured_from.is_none() && now.duration_since(started) >= self.load.warm_up {
                self.measured_from = Some((now, Usage::of(&self.load.pids)));
            }
            let before = self.operations;
            for event in &events {
                let number = event.token().0;
                if event.token() == TICK {
                    self.send_due()?;
                    continue;
                }
                if event.is_writable() {
                    self.flush(number)?;
                }
                if event.is_readable() || event.is_read_closed() {
                    self.receive(number)?;
                }
            }
            let now = Instant::now();
            if self.operations != before || self.measured_from.is_none() {
                last_reply = now;
            } else if now.duration_since(last_reply) > SILENCE_MAX {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the server stopped answering"));
            }
            self.end_if_due(now);
        }
        Ok(())
    }

    fn end_if_due(&mut self, now: Instant) {
        let Some((from, _)) = self.measured_from else { return };
        let is_due = match self.load.stop {
            Stop::After(time) => now.duration_since(from) >= time,
            Stop::Operations(count) => self.operations >= count,
        };
        if is_due {
            self.measured_to = Some((now, Usage::of(&self.load.pids)));
        }
    }

    /// Sends what is due in an open loop.
    fn send_due(&mut self) -> io::Result<()> {
        while let Some(due) = self.ticker.as_mut().and_then(|ticker| ticker.next_due(Instant::now())) {
            self.next_connection = (self.next_connection + 1) % self.connections.len();
            self.send_batch(self.next_connection, due)?;
        }
        Ok(())
    }

    fn send_batch(&mut self, number: usize, since: Instant) -> io::Result<()> {
        for _ in 0..self.load.pipeline {
            let key = self.draw_key();
            let connection = &mut self.connections[number];
            connection.dialect.operation(key, &mut connection.out);
        }
        let connection = &mut self.connections[number];
        connection.under_way.extend(std::iter::repeat_n(since, self.load.pipeline));
        self.flush(number)
    }

    fn draw_key(&mut self) -> u64 {
        let keys = self.load.keys.max(1);
        match self.load.key_order {
            KeyOrder::Sequential => {
                self.next_key += 1;
                (self.next_key - 1) % keys
            }
            KeyOrder::Random => {
                // xorshift64: even enough to spread keys, and the same in every run of one seed.
                self.random ^= self.random << 13;
                self.random ^= self.random >> 7;
                self.random ^= self.random << 17;
                self.random % keys
            }
        }
    }

    fn flush(&mut self, number: usize) -> io::Result<()> {
        let connection = &mut self.connections[number];
        while connection.sent < connection.out.len() {
            match connection.stream.write(&connection.out[connection.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => connection.sent += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        connection.out.clear();
        connection.sent = 0;
        Ok(())
    }

    /// Reads until the socket is empty, and sends the next batch when the last one is answered.
    fn receive(&mut self, number: usize) -> io::Result<()> {
        let mut chunk = [0u8; 64 * 1024];
        loop {
            let connection = &mut self.connections[number];
            match connection.stream.read(&mut chunk) {
                Ok(0) => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the server closed a connection",
                    ));
                }
                Ok(n) => {
                    connection.input.extend_from_slice(&chunk[..n]);
                    self.take_replies(number)?;
                    // A short read means that the socket is empty; if more came meanwhile, an event will say so.
                    if n < chunk.len() {
                        return Ok(());
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn take_replies(&mut self, number: usize) -> io::Result<()> {
        let now = Instant::now();
        loop {
            let connection = &mut self.connections[number];
            let rest = &connection.input[connection.consumed..];
            match connection.dialect.reply(rest, &mut connection.out).map_err(io::Error::other)? {
                Progress::Partial => break,
                Progress::Part(used) => connection.consumed += used,
                Progress::Done { used, ok } => {
                    connection.consumed += used;
                    let sent_at = connection
                        .under_way
                        .pop_front()
                        .ok_or_else(|| io::Error::other("a reply to a question that was not asked"))?;
                    self.count(now.duration_since(sent_at), ok);
                }
            }
        }
        let connection = &mut self.connections[number];
        connection.input.drain(..connection.consumed);
        connection.consumed = 0;
        let next = connection.under_way.is_empty() && self.ticker.is_none();
        if next { self.send_batch(number, now) } else { self.flush(number) }
    }

    fn count(&mut self, latency: Duration, ok: bool) {
        if self.measured_from.is_none() {
            return;
        }
        self.operations += 1;
        self.errors += u64::from(!ok);
        self.latencies.saturating_record((latency.as_micros() as u64).max(1));
    }

    fn outcome(&self) -> Outcome {
        let (seconds, usage) = match (self.measured_from, self.measured_to) {
            (Some((from, before)), Some((to, after))) => {
                (to.duration_since(from).as_secs_f64(), after.since(before))
            }
            _ => (0.0, Usage::default()),
        };
        let quantile = |q| Duration::from_micros(self.latencies.value_at_quantile(q));
        Outcome {
            operations: self.operations,
            errors: self.errors,
            seconds,
            latency_p50: quantile(0.5),
            latency_p99: quantile(0.99),
            latency_max: Duration::from_micros(self.latencies.max()),
            usage,
        }
    }
}

fn ignore_interrupt(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) }
}
