//! A plain blocking connection for tests: one command, one reply, nothing retried behind the caller's back.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::resp::{self, Value};

/// Why no reply came.
#[derive(Debug)]
pub enum CallError {
    /// The command surely did not reach the server: nothing of it was sent.
    NotSent(io::Error),
    /// The command was sent, at least in part: it may or may not have happened.
    Unknown(io::Error),
}

impl CallError {
    /// What the socket said.
    pub fn io(&self) -> &io::Error {
        match self {
            CallError::NotSent(error) | CallError::Unknown(error) => error,
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::NotSent(error) => write!(f, "not sent: {error}"),
            CallError::Unknown(error) => write!(f, "sent, no reply: {error}"),
        }
    }
}

impl std::error::Error for CallError {}

static PASSWORD: OnceLock<String> = OnceLock::new();

/// From now on every connection of this process says this password first: servers on addresses that others reach have one.
pub fn use_password(password: &str) {
    let _ = PASSWORD.set(password.to_owned());
}

/// A connection to one server. After an error it must be dropped: replies and commands no longer match.
pub struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    /// How long a reply may take.
    timeout: Duration,
}

impl Client {
    /// Connects within `timeout`; every later reply must come within `timeout` too.
    pub fn connect(address: SocketAddr, timeout: Duration) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(timeout))?;
        let mut client = Client { stream, input: Vec::new(), timeout };
        if let Some(password) = PASSWORD.get() {
            client.call(&["AUTH", password]).map_err(io::Error::other)?;
        }
        Ok(client)
    }

    /// Sends one command and waits for its reply.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Value, CallError> {
        self.send(args)?;
        self.receive().map_err(CallError::Unknown)
    }

    /// Sends one command without waiting.
    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<(), CallError> {
        let mut out = Vec::with_capacity(64);
        resp::encode_command(&mut out, args);
        self.send_raw(&out)
    }

    /// Sends bytes as they are, well formed or not.
    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<(), CallError> {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(0) => return Err(CallError::Unknown(io::ErrorKind::WriteZero.into())),
                Ok(n) => sent += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if sent == 0 => return Err(CallError::NotSent(e)),
                Err(e) => return Err(CallError::Unknown(e)),
            }
        }
        Ok(())
    }

    /// Waits for the next reply.
    ///
    /// # Errors
    /// `TimedOut` when it did not come in time, `UnexpectedEof` when the server closed the connection,
    /// `InvalidData` when it sent something else than a reply.
    pub fn receive(&mut self) -> io::Result<Value> {
        let deadline = Instant::now() + self.timeout;
        loop {
            match resp::parse(&self.input) {
                Ok(Some((value, used))) => {
                    self.input.drain(..used);
                    return Ok(value);
                }
                Ok(None) => self.fill(deadline)?,
                Err(broken) => return Err(io::Error::new(io::ErrorKind::InvalidData, broken)),
            }
        }
    }

    /// Whether the server closes the connection within the time-out, whatever it says before.
    pub fn is_closed_by_server(&mut self) -> bool {
        let deadline = Instant::now() + self.timeout;
        loop {
            match self.fill(deadline) {
                Ok(()) => self.input.clear(),
                Err(error) => return error.kind() != io::ErrorKind::TimedOut,
            }
        }
    }

    fn fill(&mut self, deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut chunk = [0u8; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                self.input.extend_from_slice(&chunk[..n]);
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(()),
            // A read time-out is reported as `WouldBlock` on Unix.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::TimedOut.into()),
            Err(e) => Err(e),
        }
    }
}
