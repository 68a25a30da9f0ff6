//! Writes replies straight into their wire form: no tree of values between a command and the socket.

use crate::number::parse_integer;
pub use crate::number::{format_double, format_integer};
use alloc::vec::Vec;

/// Which version of the Redis protocol a connection speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

/// Appends one reply after the other to a caller-owned buffer, in the form that `protocol` asks for.
///
/// The caller announces the length of an aggregate and then writes that many items.
pub struct ReplyWriter<'a> {
    pub buffer: &'a mut Vec<u8>,
    pub protocol: Protocol,
}

impl<'a> ReplyWriter<'a> {
    pub fn new(buffer: &'a mut Vec<u8>, protocol: Protocol) -> ReplyWriter<'a> {
        ReplyWriter { buffer, protocol }
    }
    fn is_resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }
    fn line(&mut self, prefix: u8, text: &[u8]) {
        self.buffer.push(prefix);
        self.buffer.extend_from_slice(text);
        self.buffer.extend_from_slice(b"\r\n");
    }
    fn one_line(&mut self, prefix: u8, text: &str) {
        self.buffer.push(prefix);
        push_one_line(self.buffer, text.as_bytes());
        self.buffer.extend_from_slice(b"\r\n");
    }
    fn number(&mut self, prefix: u8, value: i64) {
        let mut digits = [0u8; 20];
        let text = format_integer(value, &mut digits);
        self.buffer.push(prefix);
        self.buffer.extend_from_slice(text);
        self.buffer.extend_from_slice(b"\r\n");
    }
    /// The line in front of a string of `len` bytes.
    pub(crate) fn blob_header(&mut self, prefix: u8, len: usize) {
        self.number(prefix, len as i64);
    }
    pub fn ok(&mut self) {
        self.buffer.extend_from_slice(b"+OK\r\n");
    }
    /// A status. Line breaks become spaces: a client's text can never end the line early.
    pub fn simple(&mut self, text: &str) {
        self.one_line(b'+', text);
    }
    /// An error: a first word in capitals, then what to do. Line breaks become spaces.
    pub fn error(&mut self, text: &str) {
        self.one_line(b'-', text);
    }
    pub fn integer(&mut self, value: i64) {
        self.number(b':', value);
    }
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.number(b'$', bytes.len() as i64);
        self.buffer.extend_from_slice(bytes);
        self.buffer.extend_from_slice(b"\r\n");
    }
    /// An integer as a bulk string: what GET answers for a counter.
    pub fn bulk_integer(&mut self, value: i64) {
        let mut digits = [0u8; 20];
        self.bulk(format_integer(value, &mut digits));
    }
    /// A text that RESP3 clients may show as it is (INFO, CLIENT LIST); a bulk string in RESP2.
    pub fn verbatim(&mut self, text: &str) {
        if self.is_resp3() {
            self.number(b'=', text.len() as i64 + 4);
            self.buffer.extend_from_slice(b"txt:");
            self.buffer.extend_from_slice(text.as_bytes());
            self.buffer.extend_from_slice(b"\r\n");
        } else {
            self.bulk(text.as_bytes());
        }
    }
    /// "No value" in place of a bulk string.
    pub fn null(&mut self) {
        self.buffer.extend_from_slice(if self.is_resp3() { b"_\r\n" } else { b"$-1\r\n" });
    }
    /// "No value" in place of an array (EXEC aborted, BLPOP timed out).
    pub fn null_array(&mut self) {
        self.buffer.extend_from_slice(if self.is_resp3() { b"_\r\n" } else { b"*-1\r\n" });
    }
    pub fn array(&mut self, len: usize) {
        self.number(b'*', len as i64);
    }
    /// A map of `pairs` pairs: keys and values in turn follow. A flat array in RESP2.
    pub fn map(&mut self, pairs: usize) {
        if self.is_resp3() { self.number(b'%', pairs as i64) } else { self.number(b'*', pairs as i64 * 2) }
    }
    /// A map whose pairs are counted as they are written: for replies that grow.
    pub fn fields(&mut self, write: impl FnOnce(&mut Fields<'_, 'a>)) {
        let start = self.buffer.len();
        let mut fields = Fields { writer: self, pairs: 0 };
        write(&mut fields);
        let pairs = fields.pairs;
        let mut header = Vec::new();
        ReplyWriter::new(&mut header, self.protocol).map(pairs);
        self.buffer.splice(start..start, header);
    }
    /// An array of bulk strings.
    pub fn list<Text: AsRef<[u8]>>(&mut self, texts: &[Text]) {
        self.array(texts.len());
        texts.iter().for_each(|text| self.bulk(text.as_ref()));
    }
    pub fn set(&mut self, len: usize) {
        self.number(if self.is_resp3() { b'~' } else { b'*' }, len as i64);
    }
    /// An out-of-band message (publish/subscribe). An array in RESP2.
    pub fn push(&mut self, len: usize) {
        self.number(if self.is_resp3() { b'>' } else { b'*' }, len as i64);
    }
    /// A boolean in RESP3, 1 or 0 in RESP2.
    pub fn boolean(&mut self, value: bool) {
        if self.is_resp3() {
            self.buffer.extend_from_slice(if value { b"#t\r\n" } else { b"#f\r\n" });
        } else {
            self.integer(i64::from(value));
        }
    }
    /// A double in RESP3, its shortest decimal text as a bulk string in RESP2.
    pub fn double(&mut self, value: f64) {
        let text = format_double(value);
        if self.is_resp3() { self.line(b',', text.as_bytes()) } else { self.bulk(text.as_bytes()) }
    }
}

/// A map under way: see [`ReplyWriter::fields`].
pub struct Fields<'w, 'a> {
    writer: &'w mut ReplyWriter<'a>,
    pairs: usize,
}

impl<'a> Fields<'_, 'a> {
    /// The caller writes one value behind the name.
    pub fn field(&mut self, name: &str) -> &mut ReplyWriter<'a> {
        self.pairs += 1;
        self.writer.bulk(name.as_bytes());
        self.writer
    }
    pub fn text(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.field(name).bulk(value.as_ref());
    }
    pub fn integer(&mut self, name: &str, value: impl Into<i64>) {
        self.field(name).integer(value.into());
    }
}

/// Whether these bytes are whole replies, none of them cut short or with items that it does not announce: of one that is
/// not, a client waits for the rest for ever, or takes the rest for the next.
pub fn is_whole(mut bytes: &[u8]) -> bool {
    let mut awaited = 0;
    while let Some(&kind) = bytes.first() {
        let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else { return false };
        let line = &bytes[1..end];
        bytes = &bytes[end + 2..];
        awaited = u64::max(awaited, 1) - 1;
        let items = match kind {
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => continue,
            b'$' | b'=' | b'!' | b'*' | b'%' | b'~' | b'>' if line == b"-1" => continue,
            _ => match parse_integer(line).and_then(|len| usize::try_from(len).ok()) {
                Some(len) => len,
                None => return false,
            },
        };
        match kind {
            b'$' | b'=' | b'!' => match bytes.split_at_checked(items.saturating_add(2)) {
                Some((text, rest)) if text.ends_with(b"\r\n") => bytes = rest,
                _ => return false,
            },
            b'*' | b'~' | b'>' => awaited += items as u64,
            b'%' => awaited += items as u64 * 2,
            _ => return false,
        }
    }
    awaited == 0
}

/// Appends `text` with its line breaks turned into spaces.
pub(crate) fn push_one_line(buffer: &mut Vec<u8>, text: &[u8]) {
    buffer.extend(text.iter().map(|&b| if b == b'\r' || b == b'\n' { b' ' } else { b }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_as_they_are_written() {
        for (protocol, head) in [(Protocol::Resp2, &b"*6\r\n"[..]), (Protocol::Resp3, b"%3\r\n")] {
            let mut bytes = b"+before\r\n".to_vec();
            ReplyWriter::new(&mut bytes, protocol).fields(|f| {
                f.text("name", "a");
                f.integer("id", 7u32);
                f.field("inner").fields(|f| f.field("list").list(&["x", "y"]));
            });
            assert!(bytes[9..].starts_with(head) && is_whole(&bytes), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_reply_is_whole_when_it_holds_what_it_announces() {
        let whole: [&[u8]; 7] = [
            b"",
            b"+OK\r\n:1\r\n",
            b"$-1\r\n*-1\r\n_\r\n",
            b"$2\r\n\r\n\r\n",
            b"*0\r\n",
            b"%1\r\n+a\r\n*2\r\n:1\r\n#t\r\n",
            b">2\r\n,1.5\r\n~1\r\n=5\r\ntxt:a\r\n",
        ];
        for bytes in whole {
            assert!(is_whole(bytes), "{}", bytes.escape_ascii());
            // Cut anywhere within its last item it is not.
            if bytes.len() > 4 {
                assert!(!is_whole(&bytes[..bytes.len() - 1]), "{}", bytes.escape_ascii());
            }
        }
        let torn: [&[u8]; 6] =
            [b"*2\r\n:1\r\n", b"%1\r\n+a\r\n", b"$3\r\nab\r\n", b"$1\r\nab\r\n", b"?\r\n", b"*x\r\n"];
        for bytes in torn {
            assert!(!is_whole(bytes), "{}", bytes.escape_ascii());
        }
    }

    fn written(protocol: Protocol, write: impl FnOnce(&mut ReplyWriter<'_>)) -> Vec<u8> {
        let mut buffer = Vec::new();
        write(&mut ReplyWriter::new(&mut buffer, protocol));
        buffer
    }

    #[test]
    fn every_reply_has_its_form_in_both_versions() {
        type Write = fn(&mut ReplyWriter<'_>);
        let table: &[(Write, &str, &str)] = &[
            (|w| w.ok(), "+OK\r\n", "+OK\r\n"),
            (|w| w.simple("QUEUED"), "+QUEUED\r\n", "+QUEUED\r\n"),
            (|w| w.integer(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"),
            (|w| w.bulk(b""), "$0\r\n\r\n", "$0\r\n\r\n"),
            (|w| w.bulk(b"a\r\nb"), "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n"),
            (|w| w.bulk_integer(-12), "$3\r\n-12\r\n", "$3\r\n-12\r\n"),
            (|w| w.verbatim("hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"),
            (|w| w.null(), "$-1\r\n", "_\r\n"),
            (|w| w.null_array(), "*-1\r\n", "_\r\n"),
            (|w| w.array(3), "*3\r\n", "*3\r\n"),
            (|w| w.map(3), "*6\r\n", "%3\r\n"),
            (|w| w.set(3), "*3\r\n", "~3\r\n"),
            (|w| w.push(3), "*3\r\n", ">3\r\n"),
            (|w| w.boolean(true), ":1\r\n", "#t\r\n"),
            (|w| w.boolean(false), ":0\r\n", "#f\r\n"),
            (|w| w.double(3.0), "$1\r\n3\r\n", ",3\r\n"),
            (|w| w.double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n"),
        ];
        for (write, resp2, resp3) in table {
            assert_eq!(written(Protocol::Resp2, write), resp2.as_bytes());
            assert_eq!(written(Protocol::Resp3, write), resp3.as_bytes());
        }
    }

    #[test]
    fn a_line_break_in_an_error_or_status_cannot_forge_a_second_reply() {
        let forged = "ERR no such\r\n+OK\nx";
        assert_eq!(written(Protocol::Resp2, |w| w.error(forged)), b"-ERR no such  +OK x\r\n");
        assert_eq!(written(Protocol::Resp2, |w| w.simple(forged)), b"+ERR no such  +OK x\r\n");
    }
}
