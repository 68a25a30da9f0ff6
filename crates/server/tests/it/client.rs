//! A client that does nothing by itself: no retries, no reconnects.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use wire::Frame;
use wire::frame::{decode, encode_command};

pub struct Client {
    pub stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    pub fn connect(address: &str) -> Client {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out can be set");
        Client { stream, input: Vec::new() }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// The next reply; `None` when the server closed the connection.
    pub fn receive(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, used)) = decode(&self.input).expect("replies are well formed") {
                self.input.drain(..used);
                return Some(frame);
            }
            let mut chunk = [0u8; 64 << 10];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(count) => self.input.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no reply: {error}"),
            }
        }
    }

    pub fn call(&mut self, args: &[&str]) -> Frame {
        let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
        self.call_bytes(&args)
    }
    pub fn call_bytes(&mut self, args: &[&[u8]]) -> Frame {
        let mut request = Vec::new();
        encode_command(&mut request, args);
        self.send(&request);
        self.receive().expect("a reply")
    }
}

/// Many commands as the bytes of one pipeline.
pub fn pipeline(commands: &[Vec<String>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for command in commands {
        let args: Vec<&[u8]> = command.iter().map(|arg| arg.as_bytes()).collect();
        encode_command(&mut bytes, &args);
    }
    bytes
}

pub fn ok() -> Frame {
    Frame::Simple(b"OK".to_vec())
}
pub fn bulk(text: &str) -> Frame {
    Frame::Bulk(text.as_bytes().to_vec())
}
pub fn error_of(frame: &Frame) -> String {
    String::from_utf8_lossy(frame.as_error().unwrap_or_default()).into_owned()
}
