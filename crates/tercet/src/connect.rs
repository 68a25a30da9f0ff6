//! A plain client for the administration command.

use server::StartError;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use wire::Frame;

pub struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    pub fn connect(address: &str) -> Result<Client, StartError> {
        let failed = |error: std::io::Error| StartError::new(format!("cannot connect to {address}: {error}"));
        let stream = TcpStream::connect(address).map_err(failed)?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(failed)?;
        Ok(Client { stream, input: Vec::new() })
    }

    /// Sends a command and reads its reply; an error reply is an error here.
    pub fn call(&mut self, args: &[&str]) -> Result<Frame, StartError> {
        let failed = |error: std::io::Error| StartError::new(format!("the connection failed: {error}"));
        let mut request = Vec::new();
        let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
        wire::frame::encode_command(&mut request, &args);
        self.stream.write_all(&request).map_err(failed)?;
        loop {
            match wire::frame::decode(&self.input) {
                Ok(Some((frame, used))) => {
                    self.input.drain(..used);
                    return match frame.as_error() {
                        Some(text) => Err(StartError::new(String::from_utf8_lossy(text).into_owned())),
                        None => Ok(frame),
                    };
                }
                Ok(None) => {}
                Err(error) => return Err(StartError::new(error.to_string())),
            }
            let mut chunk = [0u8; 16 << 10];
            match self.stream.read(&mut chunk).map_err(failed)? {
                0 => return Err(StartError::new("the server closed the connection")),
                count => self.input.extend_from_slice(&chunk[..count]),
            }
        }
    }

    /// The cluster as KEYSPACE STATUS describes it.
    pub fn status(&mut self) -> Result<serde_json::Value, StartError> {
        let frame = self.call(&["KEYSPACE", "STATUS"])?;
        let bytes = frame.as_bytes().ok_or_else(|| StartError::new("unexpected reply to KEYSPACE STATUS"))?;
        serde_json::from_slice(bytes).map_err(|error| StartError::new(error.to_string()))
    }
}
