//! Reads clients' requests: RESP arrays of bulk strings, and inline commands as a person types them into telnet.
//!
//! The hottest path of the server and its widest attack surface. One pass over the bytes; arguments are kept as ranges
//! of the connection's input buffer and never copied, inline ones apart (they may hold escapes). A command that arrives
//! in many reads is never parsed again from its start: the parser remembers how far it came, so a million arguments in
//! 16 KiB pieces cost what they cost in one. Nothing is allocated on the word of a length, only for what has arrived.

use crate::error::ProtocolError;
use crate::inline;
use alloc::vec::Vec;

/// What one request may take. Everything beyond is a [`ProtocolError`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of one argument.
    pub bulk_len_max: usize,
    /// Arguments of one command, its name included.
    pub args_max: usize,
    /// Bytes of an inline command's line.
    pub inline_len_max: usize,
    /// Bytes of one command from its first to its last: what a client can make its input buffer grow to. At most 4 GiB - 1.
    pub request_len_max: usize,
    /// Whether the client has proven who it is; decides the words of the refusal only.
    pub authenticated: bool,
}

impl Default for Limits {
    /// Redis' own: `proto-max-bulk-len`, its argument count, its inline size and `client-query-buffer-limit`.
    fn default() -> Limits {
        Limits {
            bulk_len_max: 512 << 20,
            args_max: 1024 * 1024,
            inline_len_max: 64 << 10,
            request_len_max: 1 << 30,
            authenticated: true,
        }
    }
}

impl Limits {
    /// Before AUTH, where a password is required: enough for AUTH and HELLO, too little to fill memory with.
    pub fn unauthenticated() -> Limits {
        Limits {
            bulk_len_max: 16_384,
            args_max: 10,
            inline_len_max: 64 << 10,
            request_len_max: 256 << 10,
            authenticated: false,
        }
    }
}

/// What stands at the front of the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// A whole command: [`RequestParser::arguments`] gives its arguments, at least one.
    Command { consumed: usize },
    /// An empty line, `*0` or a negative count: nothing to do and nothing to answer.
    Skip { consumed: usize },
    /// More bytes are needed. `needed` counts them from the front of the input and is greater than what is there: a hint
    /// for growing the buffer, within `request_len_max`, but the client's word only, so grow in steps as bytes arrive.
    Incomplete { needed: usize },
}

/// An argument's place in the input, or in the text of an inline command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub start: u32,
    pub len: u32,
}

/// Ranges kept for the next command; what a huge one needed beyond is given back.
const RANGES_KEPT: usize = 1024;
/// Inline text kept for the next command.
const INLINE_KEPT: usize = 4096;
/// The longest line that holds a 64-bit number, and some: what is longer is refused before its end arrives.
const NUMBER_LEN_MAX: usize = 20;

/// Where in a request the parser stands. Offsets count from the front of the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Nothing of a request was understood yet; up to `scanned` the input holds no line end.
    Start { scanned: usize },
    /// `left` arguments are to come, the next one's `$` at `at`.
    Argument { at: usize, left: usize },
    /// The length of an argument is known: its `len` bytes begin at `at`. `left` counts it.
    Bulk { at: usize, len: usize, left: usize },
}

/// The parser of one connection. Owns what it remembers between reads and the list of ranges, so that neither a command
/// in pieces nor the next command allocates.
///
/// ```text
/// loop {
///     match parser.parse(&buffer[front..], &limits)? {
///         Command { consumed } => {
///             let args: SmallVec<[&[u8]; 8]> = parser.arguments(&buffer[front..]).collect();
///             execute(&args);
///             front += consumed;
///         }
///         Skip { consumed } => front += consumed,
///         Incomplete { .. } => break, // read more behind what is there
///     }
/// }
/// ```
///
/// Invariant: between an `Incomplete` and the next call the input keeps its front: the same bytes and more behind them.
/// The buffer may move in memory. A caller that breaks this gets wrong arguments or an error, never a panic.
#[derive(Debug)]
pub struct RequestParser {
    state: State,
    ranges: Vec<Range>,
    /// The arguments of an inline command, unescaped, one behind the other.
    inline: Vec<u8>,
    is_inline: bool,
}

impl Default for RequestParser {
    fn default() -> Self {
        RequestParser::new()
    }
}

impl RequestParser {
    pub fn new() -> RequestParser {
        RequestParser {
            state: State::Start { scanned: 0 },
            ranges: Vec::new(),
            inline: Vec::new(),
            is_inline: false,
        }
    }

    /// Looks at the front of `input` for one request. After an error the connection must be closed.
    #[inline]
    pub fn parse(&mut self, input: &[u8], limits: &Limits) -> Result<Parsed, ProtocolError> {
        let (at, left) = match self.state {
            State::Start { scanned } => {
                match input.first() {
                    None => return Ok(Parsed::Incomplete { needed: 1 }),
                    Some(b'*') => {}
                    Some(_) => return self.parse_inline(input, scanned, limits),
                }
                match count(input, limits)? {
                    Line::Incomplete => return Ok(Parsed::Incomplete { needed: input.len() + 1 }),
                    Line::Value(left, at) if left > 0 => {
                        self.begin(left as usize);
                        (at, left as usize)
                    }
                    Line::Value(_, consumed) => return Ok(Parsed::Skip { consumed }),
                }
            }
            State::Argument { at, left } => (at, left),
            State::Bulk { at, len, left } => match self.bulk(input, at, len, left, limits)? {
                Step::Next(at) => (at, left - 1),
                Step::Incomplete(needed) => return Ok(Parsed::Incomplete { needed }),
            },
        };
        self.arguments_from(input, at, left, limits)
    }

    /// Whether part of a request has been understood and the rest is awaited.
    pub fn is_within_request(&self) -> bool {
        self.state != State::Start { scanned: 0 }
    }

    /// The arguments of the command that [`Parsed::Command`] announced, of the same `input`, until the next `parse`.
    /// Collect them where the caller likes: a `SmallVec` on the stack costs nothing.
    pub fn arguments<'a>(&'a self, input: &'a [u8]) -> Arguments<'a> {
        Arguments { text: if self.is_inline { &self.inline } else { input }, ranges: self.ranges.iter() }
    }

    fn begin(&mut self, args: usize) {
        if self.ranges.capacity() > RANGES_KEPT {
            self.ranges = Vec::new();
        }
        self.ranges.clear();
        // The count is only the client's word: room for more comes with the arguments themselves.
        self.ranges.reserve(args.min(64));
        self.is_inline = false;
    }

    fn arguments_from(
        &mut self,
        input: &[u8],
        mut at: usize,
        mut left: usize,
        limits: &Limits,
    ) -> Result<Parsed, ProtocolError> {
        while left > 0 {
            match input.get(at) {
                Some(b'$') => {}
                Some(&other) => return Err(ProtocolError::ExpectedBulk(other)),
                None => {
                    self.state = State::Argument { at, left };
                    // The least that every argument takes: `$0`, two line ends.
                    return Ok(Parsed::Incomplete { needed: at.max(input.len()) + 6 });
                }
            }
            let (len, start) = match bulk_len(input, at, limits)? {
                Line::Value(len, start) => (len as usize, start),
                Line::Incomplete => {
                    self.state = State::Argument { at, left };
                    return Ok(Parsed::Incomplete { needed: input.len() + 1 });
                }
            };
            match self.bulk(input, start, len, left, limits)? {
                Step::Next(next) => at = next,
                Step::Incomplete(needed) => return Ok(Parsed::Incomplete { needed }),
            }
            left -= 1;
        }
        self.state = State::Start { scanned: 0 };
        Ok(Parsed::Command { consumed: at })
    }

    /// Takes the argument of `len` bytes at `start`, or remembers that it is awaited.
    #[inline]
    fn bulk(
        &mut self,
        input: &[u8],
        start: usize,
        len: usize,
        left: usize,
        limits: &Limits,
    ) -> Result<Step, ProtocolError> {
        // No overflow: `start` lies within a slice or was checked here before, `len` is below `bulk_len_max`.
        let end = start.saturating_add(len).saturating_add(2);
        // Ranges are 32 bits wide, whatever the limits say.
        if end > limits.request_len_max.min(u32::MAX as usize) {
            return Err(ProtocolError::RequestTooLong);
        }
        match input.get(end - 2..end) {
            Some(b"\r\n") => {
                self.ranges.push(Range { start: start as u32, len: len as u32 });
                Ok(Step::Next(end))
            }
            Some(_) => Err(ProtocolError::BulkNotTerminated),
            None => {
                self.state = State::Bulk { at: start, len, left };
                Ok(Step::Incomplete(end))
            }
        }
    }

    #[cold]
    fn parse_inline(
        &mut self,
        input: &[u8],
        scanned: usize,
        limits: &Limits,
    ) -> Result<Parsed, ProtocolError> {
        let fresh = input.get(scanned..).unwrap_or(&[]);
        let Some(end) = fresh.iter().position(|&b| b == b'\n').map(|at| at + scanned) else {
            if input.len() > limits.inline_len_max {
                return Err(ProtocolError::InlineTooLong);
            }
            self.state = State::Start { scanned: input.len() };
            return Ok(Parsed::Incomplete { needed: input.len() + 1 });
        };
        self.state = State::Start { scanned: 0 };
        if end > limits.inline_len_max {
            return Err(ProtocolError::InlineTooLong);
        }
        let line = &input[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.begin(0);
        self.is_inline = true;
        self.inline.clear();
        self.inline.shrink_to(INLINE_KEPT);
        inline::split(line, &mut self.inline, &mut self.ranges)?;
        match self.arguments(input).next() {
            None => Ok(Parsed::Skip { consumed: end + 1 }),
            Some(first) if inline::is_http(first) => Err(ProtocolError::Http),
            Some(_) => Ok(Parsed::Command { consumed: end + 1 }),
        }
    }
}

/// The arguments of one command, in order.
#[derive(Clone, Debug)]
pub struct Arguments<'a> {
    text: &'a [u8],
    ranges: core::slice::Iter<'a, Range>,
}

impl<'a> Iterator for Arguments<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let range = self.ranges.next()?;
        let start = range.start as usize;
        // Another input than the parsed one may be too short: an empty argument, not a panic.
        Some(self.text.get(start..start + range.len as usize).unwrap_or(&[]))
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ranges.size_hint()
    }
}
impl ExactSizeIterator for Arguments<'_> {}

enum Step {
    /// The argument was taken; what follows begins here.
    Next(usize),
    /// So many bytes must be there before it can be taken.
    Incomplete(usize),
}

enum Line {
    /// The number, and where the next line begins.
    Value(i64, usize),
    Incomplete,
}

/// Reads the count of arguments from the line at the front.
#[inline]
fn count(input: &[u8], limits: &Limits) -> Result<Line, ProtocolError> {
    let line = number_line(input, 1, ProtocolError::MultibulkLength, ProtocolError::MultibulkLineTooLong)?;
    if let Line::Value(count, _) = line
        && count > limits.args_max as i64
    {
        return Err(if limits.authenticated || count > i64::from(i32::MAX) {
            ProtocolError::MultibulkLength
        } else {
            ProtocolError::UnauthenticatedMultibulkLength
        });
    }
    Ok(line)
}

/// Reads the length of the argument whose `$` stands at `at`.
#[inline]
fn bulk_len(input: &[u8], at: usize, limits: &Limits) -> Result<Line, ProtocolError> {
    let line = number_line(input, at + 1, ProtocolError::BulkLength, ProtocolError::BulkLineTooLong)?;
    if let Line::Value(len, _) = line {
        if len < 0 {
            return Err(ProtocolError::BulkLength);
        }
        if len > limits.bulk_len_max as i64 {
            return Err(if limits.authenticated {
                ProtocolError::BulkLength
            } else {
                ProtocolError::UnauthenticatedBulkLength
            });
        }
    }
    Ok(line)
}

/// Reads a canonical decimal number and the line end behind it: digit by digit, since most have one or two.
#[inline]
fn number_line(
    input: &[u8],
    at: usize,
    invalid: ProtocolError,
    endless: ProtocolError,
) -> Result<Line, ProtocolError> {
    // One digit: all counts of common commands and most lengths of keys.
    if let Some(&[digit @ b'0'..=b'9', b'\r', b'\n']) = input.get(at..at + 3) {
        return Ok(Line::Value(i64::from(digit - b'0'), at + 3));
    }
    let rest = input.get(at..).unwrap_or(&[]);
    let mut value = 0u64;
    for (place, &byte) in rest.iter().enumerate().take(NUMBER_LEN_MAX) {
        match byte {
            // Below 20 digits nothing can overflow: 19 nines fit 64 bits.
            b'0'..=b'9' if place < 19 => value = value * 10 + u64::from(byte - b'0'),
            b'0'..=b'9' => return Err(endless),
            b'-' if place == 0 => return negative_line(rest, at, invalid),
            b'\r' => {
                let canonical = place == 1 || (place > 1 && rest[0] != b'0');
                let value = i64::try_from(value).ok().filter(|_| canonical).ok_or(invalid)?;
                return match rest.get(place + 1) {
                    Some(b'\n') => Ok(Line::Value(value, at + place + 2)),
                    Some(_) => Err(invalid),
                    None => Ok(Line::Incomplete),
                };
            }
            _ => return Err(invalid),
        }
    }
    Ok(Line::Incomplete)
}

/// A number below zero: `*-1` is legal and means nothing to do. `rest` begins with the sign.
#[cold]
fn negative_line(rest: &[u8], at: usize, invalid: ProtocolError) -> Result<Line, ProtocolError> {
    let window = &rest[..rest.len().min(NUMBER_LEN_MAX + 2)];
    let Some(end) = window.iter().position(|&b| b == b'\r') else {
        let digits = window[1..].iter().all(u8::is_ascii_digit);
        return if digits && window.len() < NUMBER_LEN_MAX + 2 { Ok(Line::Incomplete) } else { Err(invalid) };
    };
    let value = crate::number::parse_integer(&window[..end]).ok_or(invalid)?;
    match rest.get(end + 1) {
        Some(b'\n') => Ok(Line::Value(value, at + end + 2)),
        Some(_) => Err(invalid),
        None => Ok(Line::Incomplete),
    }
}
