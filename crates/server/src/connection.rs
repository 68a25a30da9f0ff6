//! One client's socket and its buffers.

use mio::net::TcpStream;
use node::ConnectionId;
use std::io::{ErrorKind, Read, Write};
use wire::RequestParser;

/// Bytes read from one client per turn at most: a client that sends without end shares the core with the others.
const READ_PER_TURN: usize = 1 << 20;
const READ_STEP: usize = 16 << 10;
/// Replies that wait for a client that does not read: beyond, it is disconnected.
pub const OUTPUT_BYTES_MAX: usize = 256 << 20;
/// Buffers that grew beyond this are given back once they are empty.
const BUFFER_KEPT: usize = 64 << 10;

pub struct Connection {
    pub id: ConnectionId,
    pub stream: TcpStream,
    pub parser: RequestParser,
    pub input: Vec<u8>,
    /// Bytes at the front of `input` that are used up.
    pub used: usize,
    pub output: Vec<u8>,
    written: usize,
    /// Close once the output is written.
    pub closing: bool,
    /// The socket takes no more for now: it is registered for writing.
    pub blocked: bool,
    /// There may be more to read than was read.
    pub more: bool,
}

impl Connection {
    pub fn new(id: ConnectionId, stream: TcpStream) -> Connection {
        let _ = stream.set_nodelay(true);
        Connection {
            id,
            stream,
            parser: RequestParser::new(),
            input: Vec::new(),
            used: 0,
            output: Vec::new(),
            written: 0,
            closing: false,
            blocked: false,
            more: false,
        }
    }

    /// Reads what is there. `Ok(false)`: the client has closed its side.
    pub fn read(&mut self) -> std::io::Result<bool> {
        if self.used > 0 {
            self.input.drain(..self.used);
            self.used = 0;
        }
        let end = self.input.len() + READ_PER_TURN;
        self.more = false;
        loop {
            let len = self.input.len();
            if len >= end {
                self.more = true;
                return Ok(true);
            }
            // Large requests grow the buffer by what is already there, so that bytes are copied a few times only.
            let step = READ_STEP.max(len.min(READ_PER_TURN));
            self.input.reserve(step);
            let spare = self.input.spare_capacity_mut();
            // SAFETY: a byte slice over uninitialised memory is only written to by `read`, and `set_len` below covers just
            // what was written.
            let spare =
                unsafe { std::slice::from_raw_parts_mut(spare.as_mut_ptr().cast::<u8>(), spare.len()) };
            let room = spare.len();
            match self.stream.read(spare) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    // SAFETY: `read` has initialised `count` bytes behind the old length.
                    unsafe { self.input.set_len(len + count) };
                    if count < room {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes what it can.
    pub fn write(&mut self) -> std::io::Result<()> {
        self.blocked = false;
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.written = 0;
        if self.output.capacity() > BUFFER_KEPT {
            self.output = Vec::new();
        }
        Ok(())
    }

    /// Gives back a buffer that one large request had grown.
    pub fn settle(&mut self) {
        if self.used == self.input.len() {
            self.input.clear();
            self.used = 0;
            if self.input.capacity() > BUFFER_KEPT {
                self.input = Vec::new();
            }
        }
    }
    pub fn pending_output(&self) -> usize {
        self.output.len() - self.written
    }
}
