//! Reads replies, RESP2 and RESP3 alike: for clients, the administration tool, tests and the load generator.
//!
//! No recursion on the input's word: nesting is bounded by [`DEPTH_MAX`], so decoding, comparing and dropping a decoded
//! frame use a bounded stack. Room is made for what has arrived, not for what a length announces. Attributes are read
//! and left out: nobody may depend on them (ARCHITECTURE: receipts are asked for, never attached). The streamed forms of
//! RESP3 (`$?`, `*?`), which no server sends, are refused.

use crate::error::ProtocolError;
use crate::reply::{Protocol, ReplyWriter, push_one_line};
pub use crate::token::DEPTH_MAX;
use crate::token::{Aggregate, Leaf, Nesting, Token, token};
use alloc::string::String;
use alloc::vec::Vec;

/// One reply, owned.
#[derive(Clone, PartialEq, Debug)]
pub enum Frame {
    Simple(Vec<u8>),
    /// An error line; also RESP3's error with a length.
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    /// No value: `_`, `$-1` or `*-1`.
    Null,
    Array(Vec<Frame>),
    Map(Vec<(Frame, Frame)>),
    Set(Vec<Frame>),
    Push(Vec<Frame>),
    Double(f64),
    Boolean(bool),
    /// Decimal digits, perhaps signed.
    BigNumber(Vec<u8>),
    Verbatim {
        format: [u8; 3],
        text: Vec<u8>,
    },
}

impl Frame {
    /// The text of an error.
    pub fn as_error(&self) -> Option<&[u8]> {
        match self {
            Frame::Error(text) => Some(text),
            _ => None,
        }
    }
    /// The bytes of any kind of string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Frame::Simple(bytes) | Frame::Bulk(bytes) | Frame::Verbatim { text: bytes, .. } => Some(bytes),
            _ => None,
        }
    }
    /// Any kind of string, for people: what is not UTF-8 is replaced.
    pub fn as_text(&self) -> Option<String> {
        self.as_bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Frame::Integer(value) => Some(*value),
            _ => None,
        }
    }
    /// The items of an array, set or push.
    pub fn as_items(&self) -> Option<&[Frame]> {
        match self {
            Frame::Array(items) | Frame::Set(items) | Frame::Push(items) => Some(items),
            _ => None,
        }
    }

    /// Appends the frame in the form of `protocol`. Recursive: for frames that were decoded or are as shallow.
    pub fn encode(&self, buffer: &mut Vec<u8>, protocol: Protocol) {
        let mut writer = ReplyWriter::new(buffer, protocol);
        match self {
            Frame::Simple(text) => put_leaf(&mut writer, Leaf::Simple(text)),
            Frame::Error(text) => put_leaf(&mut writer, Leaf::Error(text)),
            Frame::Integer(value) => writer.integer(*value),
            Frame::Bulk(bytes) => writer.bulk(bytes),
            Frame::Null => writer.null(),
            Frame::Double(value) => writer.double(*value),
            Frame::Boolean(value) => writer.boolean(*value),
            Frame::BigNumber(digits) => put_leaf(&mut writer, Leaf::BigNumber(digits)),
            Frame::Verbatim { format, text } => put_leaf(&mut writer, Leaf::Verbatim(*format, text)),
            Frame::Array(items) => {
                writer.array(items.len());
                items.iter().for_each(|item| item.encode(buffer, protocol));
            }
            Frame::Set(items) => {
                writer.set(items.len());
                items.iter().for_each(|item| item.encode(buffer, protocol));
            }
            Frame::Push(items) => {
                writer.push(items.len());
                items.iter().for_each(|item| item.encode(buffer, protocol));
            }
            Frame::Map(pairs) => {
                writer.map(pairs.len());
                for (key, value) in pairs {
                    key.encode(buffer, protocol);
                    value.encode(buffer, protocol);
                }
            }
        }
    }
}

/// Appends a value without parts in the form that the writer's protocol gives it.
pub(crate) fn put_leaf(writer: &mut ReplyWriter<'_>, leaf: Leaf<'_>) {
    let resp3 = writer.protocol == Protocol::Resp3;
    let buffer = &mut *writer.buffer;
    match leaf {
        Leaf::Simple(text) => put_line(buffer, b'+', text),
        Leaf::Error(text) | Leaf::BulkError(text) => put_line(buffer, b'-', text),
        Leaf::Integer(value) => writer.integer(value),
        Leaf::Null => writer.null(),
        Leaf::Boolean(value) => writer.boolean(value),
        // The text as it came: digits are not rounded on the way.
        Leaf::Double(_, text) if resp3 => put_line(buffer, b',', text),
        Leaf::BigNumber(digits) if resp3 => put_line(buffer, b'(', digits),
        Leaf::Verbatim(format, text) if resp3 => {
            writer.blob_header(b'=', text.len() + 4);
            writer.buffer.extend_from_slice(&format);
            writer.buffer.push(b':');
            writer.buffer.extend_from_slice(text);
            writer.buffer.extend_from_slice(b"\r\n");
        }
        Leaf::Bulk(bytes) | Leaf::Double(_, bytes) | Leaf::BigNumber(bytes) | Leaf::Verbatim(_, bytes) => {
            writer.bulk(bytes);
        }
    }
}

fn put_line(buffer: &mut Vec<u8>, prefix: u8, text: &[u8]) {
    buffer.push(prefix);
    push_one_line(buffer, text);
    buffer.extend_from_slice(b"\r\n");
}

/// Decodes the reply at the front of `input` and says how many bytes it took; `None` while it is not whole.
///
/// Starts from the front each time: a caller that reads large replies in many pieces asks a [`ReplyScanner`] first.
pub fn decode(input: &[u8]) -> Result<Option<(Frame, usize)>, ProtocolError> {
    let mut builder = Builder::default();
    let mut at = 0;
    while let Some((token, next)) = token(input, at)? {
        at = next;
        if let Some(frame) = builder.push(token)? {
            return Ok(Some((frame, at)));
        }
    }
    Ok(None)
}

/// The length of the reply at the front of `input`, without building it; `None` while it is not whole.
pub fn skip(input: &[u8]) -> Result<Option<usize>, ProtocolError> {
    ReplyScanner::default().scan(input)
}

/// Finds the end of a reply that arrives in pieces, each byte looked at once (but for a line or string that is cut).
#[derive(Clone, Default, Debug)]
pub struct ReplyScanner {
    at: usize,
    nesting: Nesting,
}

impl ReplyScanner {
    /// `input` begins with the reply and, since the last call, has only grown at its end. Gives the reply's length once
    /// it is whole and is then ready for the next reply.
    pub fn scan(&mut self, input: &[u8]) -> Result<Option<usize>, ProtocolError> {
        while let Some((token, next)) = token(input, self.at)? {
            self.at = next;
            if self.nesting.advance(&token)? {
                self.at = 0;
                return Ok(Some(next));
            }
        }
        Ok(None)
    }
}

/// Appends a command as a client sends it.
pub fn encode_command(buffer: &mut Vec<u8>, args: &[&[u8]]) {
    let mut writer = ReplyWriter::new(buffer, Protocol::Resp2);
    writer.array(args.len());
    for arg in args {
        writer.bulk(arg);
    }
}

/// Rewrites the RESP3 reply at the front of `resp3` in its RESP2 form, as Redis would have answered a RESP2 client, and
/// says how many bytes it took. For stored answers that are asked for again over the other version.
///
/// A null becomes a null string: RESP3 does not tell whether it stood for an array. Attributes go.
/// On an error `out` is as it was.
pub fn downgrade(resp3: &[u8], out: &mut Vec<u8>) -> Result<usize, ProtocolError> {
    let start = out.len();
    let taken = rewrite(resp3, out);
    if taken.is_err() {
        out.truncate(start);
    }
    taken
}

fn rewrite(resp3: &[u8], out: &mut Vec<u8>) -> Result<usize, ProtocolError> {
    let mut writer = ReplyWriter::new(out, Protocol::Resp2);
    let mut nesting = Nesting::default();
    let mut at = 0;
    while let Some((token, next)) = token(resp3, at)? {
        at = next;
        if !nesting.is_within_attribute() {
            match token {
                Token::Open { aggregate: Aggregate::Attribute, .. } => {}
                Token::Open { items, .. } => writer.array(items as usize),
                Token::Leaf(leaf) => put_leaf(&mut writer, leaf),
            }
        }
        if nesting.advance(&token)? {
            return Ok(at);
        }
    }
    Err(ProtocolError::Truncated)
}

/// Puts frames together from steps, with a stack of its own.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
}

/// An aggregate whose items are arriving.
struct Open {
    aggregate: Aggregate,
    left: u64,
    items: Vec<Frame>,
}

impl Builder {
    /// Takes one step; gives the reply when it was the last.
    fn push(&mut self, token: Token<'_>) -> Result<Option<Frame>, ProtocolError> {
        let frame = match token {
            Token::Leaf(leaf) => from_leaf(leaf),
            Token::Open { aggregate, items: left } if left > 0 => {
                if self.open.len() == DEPTH_MAX {
                    return Err(ProtocolError::TooDeep);
                }
                self.open.push(Open { aggregate, left, items: Vec::with_capacity(left.min(16) as usize) });
                return Ok(None);
            }
            Token::Open { aggregate, .. } => match close(aggregate, Vec::new()) {
                Some(frame) => frame,
                None => return Ok(None),
            },
        };
        Ok(self.item(frame))
    }

    fn item(&mut self, mut frame: Frame) -> Option<Frame> {
        while let Some(mut open) = self.open.pop() {
            open.items.push(frame);
            open.left -= 1;
            if open.left > 0 {
                self.open.push(open);
                return None;
            }
            frame = close(open.aggregate, open.items)?;
        }
        Some(frame)
    }
}

/// The aggregate of these items; `None` for an attribute, which is dropped.
fn close(aggregate: Aggregate, items: Vec<Frame>) -> Option<Frame> {
    Some(match aggregate {
        Aggregate::Array => Frame::Array(items),
        Aggregate::Set => Frame::Set(items),
        Aggregate::Push => Frame::Push(items),
        Aggregate::Map => {
            let mut pairs = Vec::with_capacity(items.len() / 2);
            let mut items = items.into_iter();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                pairs.push((key, value));
            }
            Frame::Map(pairs)
        }
        Aggregate::Attribute => return None,
    })
}

fn from_leaf(leaf: Leaf<'_>) -> Frame {
    match leaf {
        Leaf::Simple(text) => Frame::Simple(text.to_vec()),
        Leaf::Error(text) | Leaf::BulkError(text) => Frame::Error(text.to_vec()),
        Leaf::Integer(value) => Frame::Integer(value),
        Leaf::Bulk(bytes) => Frame::Bulk(bytes.to_vec()),
        Leaf::Null => Frame::Null,
        Leaf::Double(value, _) => Frame::Double(value),
        Leaf::Boolean(value) => Frame::Boolean(value),
        Leaf::BigNumber(digits) => Frame::BigNumber(digits.to_vec()),
        Leaf::Verbatim(format, text) => Frame::Verbatim { format, text: text.to_vec() },
    }
}
