//! Writes replies straight into their wire form: no tree of values between a command and the socket.

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
    fn number(&mut self, prefix: u8, value: i64) {
        let mut digits = [0u8; 20];
        let text = format_integer(value, &mut digits);
        self.buffer.push(prefix);
        self.buffer.extend_from_slice(text);
        self.buffer.extend_from_slice(b"\r\n");
    }
    pub fn ok(&mut self) {
        self.buffer.extend_from_slice(b"+OK\r\n");
    }
    /// A status; must hold no line break.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }
    /// An error: a first word in capitals, then what to do. Line breaks become spaces.
    pub fn error(&mut self, text: &str) {
        self.buffer.push(b'-');
        self.buffer.extend(text.bytes().map(|b| if b == b'\r' || b == b'\n' { b' ' } else { b }));
        self.buffer.extend_from_slice(b"\r\n");
    }
    pub fn integer(&mut self, value: i64) {
        self.number(b':', value);
    }
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.number(b'$', bytes.len() as i64);
        self.buffer.extend_from_slice(bytes);
        self.buffer.extend_from_slice(b"\r\n");
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

/// Decimal digits of an integer, written into the end of `digits`.
pub fn format_integer(value: i64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    &digits[at..]
}

/// The text that Redis gives a double: shortest form that reads back equal, `inf`, `-inf`, `nan`; exponents as in C's `%.17g`.
pub fn format_double(value: f64) -> alloc::string::String {
    use alloc::format;
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0".into() } else { "0".into() };
    }
    let magnitude = if value < 0.0 { -value } else { value };
    if (1e-5..1e17).contains(&magnitude) {
        format!("{value}")
    } else {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    }
}
