//! Puts through etcd's own protocol, gRPC over HTTP/2, so that etcd is not charged for its JSON gateway.
//!
//! Only what a closed loop with one call per connection needs: requests are written with literal headers, answers
//! are judged by their shape (a call that failed carries no data frame), header compression is never decoded.

use crate::load::{Dialect, Progress};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER_BYTES: usize = 9;
/// Longer frames than the protocol's default are a sign that we lost the thread.
const FRAME_BYTES_MAX: usize = 16_384;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// One connection that puts values of a fixed size, one call at a time.
pub struct EtcdDialect {
    authority: String,
    value: Vec<u8>,
    next_stream: u32,
    has_data: bool,
}

impl EtcdDialect {
    /// `authority` is the host and port, as the HTTP header wants it.
    pub fn new(authority: String, value_bytes: usize) -> EtcdDialect {
        EtcdDialect { authority, value: vec![b'x'; value_bytes], next_stream: 1, has_data: false }
    }

    fn header_block(&self) -> Vec<u8> {
        let mut block = vec![0x83, 0x86]; // :method POST, :scheme http, both from the static table.
        push_literal(&mut block, Name::Indexed(4), b"/etcdserverpb.KV/Put");
        push_literal(&mut block, Name::Indexed(1), self.authority.as_bytes());
        push_literal(&mut block, Name::Indexed(31), b"application/grpc");
        push_literal(&mut block, Name::New(b"te"), b"trailers");
        block
    }
}

enum Name {
    /// An entry of the static table: `:authority` 1, `:path` 4, `content-type` 31.
    Indexed(u8),
    New(&'static [u8]),
}

/// A header field that neither side adds to its table; strings stay under 127 bytes and unpacked.
fn push_literal(block: &mut Vec<u8>, name: Name, value: &[u8]) {
    match name {
        Name::Indexed(index) if index < 15 => block.push(index),
        Name::Indexed(index) => block.extend([15, index - 15]),
        Name::New(text) => {
            block.extend([0, text.len() as u8]);
            block.extend_from_slice(text);
        }
    }
    block.push(value.len() as u8);
    block.extend_from_slice(value);
}

fn push_frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend([kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// A `PutRequest` with its gRPC prefix: field 1 is the key, field 2 the value.
fn put_message(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut fields = Vec::new();
    for (tag, bytes) in [(0x0a, key), (0x12, value)] {
        fields.push(tag);
        push_varint(&mut fields, bytes.len());
        fields.extend_from_slice(bytes);
    }
    let mut message = vec![0];
    message.extend_from_slice(&(fields.len() as u32).to_be_bytes());
    message.extend_from_slice(&fields);
    message
}

fn push_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

impl Dialect for EtcdDialect {
    fn open(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(PREFACE);
        push_frame(out, SETTINGS, 0, 0, &[]);
        // Answers are small, but many: open the connection's window once, as far as the protocol allows.
        push_frame(out, WINDOW_UPDATE, 0, 0, &0x7000_0000u32.to_be_bytes());
    }

    fn operation(&mut self, key: u64, out: &mut Vec<u8>) {
        let block = self.header_block();
        push_frame(out, HEADERS, END_HEADERS, self.next_stream, &block);
        let message = put_message(&crate::redis_load::key_name(key), &self.value);
        push_frame(out, DATA, END_STREAM, self.next_stream, &message);
        self.next_stream += 2;
    }

    fn reply(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Progress, String> {
        let Some(header) = input.first_chunk::<FRAME_HEADER_BYTES>() else { return Ok(Progress::Partial) };
        let [a, b, c, kind, flags, _stream @ ..] = *header;
        let len = u32::from_be_bytes([0, a, b, c]) as usize;
        if len > FRAME_BYTES_MAX {
            return Err(format!("etcd sent a frame of {len} bytes"));
        }
        let used = FRAME_HEADER_BYTES + len;
        let Some(payload) = input.get(FRAME_HEADER_BYTES..used) else { return Ok(Progress::Partial) };
        match kind {
            DATA => self.has_data = true,
            SETTINGS if flags & ACK == 0 => push_frame(out, SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => push_frame(out, PING, ACK, 0, payload),
            GOAWAY => return Err("etcd closed the connection".into()),
            RST_STREAM => return Ok(Progress::Done { used, ok: std::mem::take(&mut self.has_data) }),
            _ => {}
        }
        let ends = matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
        Ok(if ends {
            Progress::Done { used, ok: std::mem::take(&mut self.has_data) }
        } else {
            Progress::Part(used)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        push_frame(&mut out, kind, flags, 1, payload);
        out
    }

    #[test]
    fn a_call_without_data_has_failed() {
        let mut dialect = EtcdDialect::new("h:1".into(), 1);
        let mut out = Vec::new();
        let trailers = frame(HEADERS, END_HEADERS | END_STREAM, b"x");
        assert_eq!(dialect.reply(&trailers, &mut out), Ok(Progress::Done { used: 10, ok: false }));
        assert_eq!(dialect.reply(&frame(DATA, 0, b"12345"), &mut out), Ok(Progress::Part(14)));
        assert_eq!(dialect.reply(&trailers, &mut out), Ok(Progress::Done { used: 10, ok: true }));
        assert!(out.is_empty());
    }

    #[test]
    fn settings_and_pings_are_answered() {
        let mut dialect = EtcdDialect::new("h:1".into(), 1);
        let mut out = Vec::new();
        dialect.reply(&frame(SETTINGS, 0, &[]), &mut out).unwrap();
        dialect.reply(&frame(PING, 0, b"12345678"), &mut out).unwrap();
        assert_eq!(out.len(), FRAME_HEADER_BYTES * 2 + 8);
        assert_eq!(out[4] & ACK, ACK);
    }

    #[test]
    fn a_long_value_has_a_length_of_two_bytes() {
        let message = put_message(b"k", &[b'v'; 300]);
        assert_eq!(message[0], 0);
        assert_eq!(&message[5..8], &[0x0a, 1, b'k']);
        assert_eq!(&message[8..11], &[0x12, 0xac, 0x02]);
    }
}
