//! One step of reading a reply: a value without parts, or the opening of an aggregate. Decoding, skipping and
//! downgrading walk over these steps with a stack of their own, so that no input can nest deeper than they allow.

use crate::error::ProtocolError;
use crate::number::parse_integer;
use alloc::vec::Vec;

/// How deep aggregates may lie in each other. A guess with room: Redis' own replies nest below ten.
pub const DEPTH_MAX: usize = 128;
/// Bytes of one string of a reply: `proto-max-bulk-len` of a server at its default.
pub const BULK_LEN_MAX: usize = 512 << 20;
/// Bytes of a one-line value (status, error, number). A guess: error lines of servers stay below a kilobyte.
pub const LINE_LEN_MAX: usize = 64 << 10;
/// Items that one aggregate may announce; nothing is allocated for them before they arrive.
const ITEMS_MAX: i64 = 1 << 32;

/// A value without parts, borrowed from the input.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Leaf<'a> {
    Simple(&'a [u8]),
    Error(&'a [u8]),
    Integer(i64),
    Bulk(&'a [u8]),
    Null,
    /// The number and its text.
    Double(f64, &'a [u8]),
    Boolean(bool),
    BigNumber(&'a [u8]),
    BulkError(&'a [u8]),
    Verbatim([u8; 3], &'a [u8]),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Aggregate {
    Array,
    Map,
    Set,
    Push,
    /// What stands in front of a value to annotate it: not an item itself.
    Attribute,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Token<'a> {
    Leaf(Leaf<'a>),
    /// `items` values follow: keys and values both counted.
    Open {
        aggregate: Aggregate,
        items: u64,
    },
}

/// Reads the step at `at` and says where the next begins; `None` while it is not whole.
pub(crate) fn token(input: &[u8], at: usize) -> Result<Option<(Token<'_>, usize)>, ProtocolError> {
    let Some(&first) = input.get(at) else { return Ok(None) };
    if !b"+-:$*_,#(!=%~>|".contains(&first) {
        return Err(ProtocolError::UnknownReply(first));
    }
    let Some((text, next)) = line(input, at + 1)? else { return Ok(None) };
    let leaf = |leaf| Ok(Some((Token::Leaf(leaf), next)));
    match first {
        b'+' => leaf(Leaf::Simple(text)),
        b'-' => leaf(Leaf::Error(text)),
        b':' => leaf(Leaf::Integer(integer(text)?)),
        b'_' if text.is_empty() => leaf(Leaf::Null),
        b'#' => match text {
            b"t" => leaf(Leaf::Boolean(true)),
            b"f" => leaf(Leaf::Boolean(false)),
            _ => Err(ProtocolError::InvalidReply("boolean")),
        },
        b',' => leaf(Leaf::Double(double(text)?, text)),
        b'(' if is_big_number(text) => leaf(Leaf::BigNumber(text)),
        b'$' | b'!' | b'=' => blob(input, first, text, next),
        b'*' if text == b"-1" => leaf(Leaf::Null),
        b'*' | b'%' | b'~' | b'>' | b'|' => Ok(Some((open(first, text)?, next))),
        b'_' => Err(ProtocolError::InvalidReply("null")),
        _ => Err(ProtocolError::InvalidReply("big number")),
    }
}

/// The text from `at` to the line's end, and where the next line begins.
fn line(input: &[u8], at: usize) -> Result<Option<(&[u8], usize)>, ProtocolError> {
    let rest = input.get(at..).unwrap_or(&[]);
    let Some(end) = rest.iter().take(LINE_LEN_MAX + 1).position(|&b| b == b'\r' || b == b'\n') else {
        return if rest.len() > LINE_LEN_MAX { Err(ProtocolError::InvalidReply("line")) } else { Ok(None) };
    };
    match &rest[end..] {
        [b'\r', b'\n', ..] => Ok(Some((&rest[..end], at + end + 2))),
        [b'\r'] => Ok(None),
        _ => Err(ProtocolError::InvalidReply("line end")),
    }
}

fn blob<'a>(
    input: &'a [u8],
    first: u8,
    text: &[u8],
    start: usize,
) -> Result<Option<(Token<'a>, usize)>, ProtocolError> {
    if first == b'$' && text == b"-1" {
        return Ok(Some((Token::Leaf(Leaf::Null), start)));
    }
    let len = parse_integer(text)
        .and_then(|len| usize::try_from(len).ok())
        .filter(|len| *len <= BULK_LEN_MAX)
        .ok_or(ProtocolError::InvalidReply("string length"))?;
    let Some(rest) = input.get(start..).filter(|rest| rest.len() >= len + 2) else { return Ok(None) };
    if &rest[len..len + 2] != b"\r\n" {
        return Err(ProtocolError::InvalidReply("string end"));
    }
    let bytes = &rest[..len];
    let leaf = match (first, bytes) {
        (b'$', _) => Leaf::Bulk(bytes),
        (b'!', _) => Leaf::BulkError(bytes),
        (_, [a, b, c, b':', text @ ..]) => Leaf::Verbatim([*a, *b, *c], text),
        _ => return Err(ProtocolError::InvalidReply("verbatim string")),
    };
    Ok(Some((Token::Leaf(leaf), start + len + 2)))
}

fn open(first: u8, text: &[u8]) -> Result<Token<'static>, ProtocolError> {
    let count = parse_integer(text)
        .filter(|count| (0..=ITEMS_MAX).contains(count))
        .ok_or(ProtocolError::InvalidReply("aggregate length"))? as u64;
    let (aggregate, items) = match first {
        b'%' => (Aggregate::Map, count * 2),
        b'~' => (Aggregate::Set, count),
        b'>' => (Aggregate::Push, count),
        b'|' => (Aggregate::Attribute, count * 2),
        _ => (Aggregate::Array, count),
    };
    Ok(Token::Open { aggregate, items })
}

fn integer(text: &[u8]) -> Result<i64, ProtocolError> {
    let digits = match text {
        [b'+', digits @ ..] if digits.first() != Some(&b'-') => digits,
        text => text,
    };
    parse_integer(digits).ok_or(ProtocolError::InvalidReply("integer"))
}

fn double(text: &[u8]) -> Result<f64, ProtocolError> {
    core::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(ProtocolError::InvalidReply("double"))
}

fn is_big_number(text: &[u8]) -> bool {
    let digits = match text {
        [b'-' | b'+', digits @ ..] => digits,
        digits => digits,
    };
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// How many values are still to come, level by level. `within_attribute` levels hold what annotates and is not a value.
#[derive(Clone, Default, Debug)]
pub(crate) struct Nesting {
    levels: Vec<Level>,
    attributes: usize,
}

#[derive(Clone, Debug)]
struct Level {
    left: u64,
    is_attribute: bool,
}

impl Nesting {
    /// Takes one step into account; true when the reply is whole.
    pub fn advance(&mut self, token: &Token<'_>) -> Result<bool, ProtocolError> {
        if let Token::Open { aggregate, items } = *token {
            let is_attribute = aggregate == Aggregate::Attribute;
            if items > 0 {
                if self.levels.len() == DEPTH_MAX {
                    return Err(ProtocolError::TooDeep);
                }
                self.attributes += usize::from(is_attribute);
                self.levels.push(Level { left: items, is_attribute });
                return Ok(false);
            }
            if is_attribute {
                return Ok(false);
            }
        }
        Ok(self.close())
    }
    /// A value ended: every level that it was the last of ends with it. True when none is left.
    fn close(&mut self) -> bool {
        while let Some(level) = self.levels.last_mut() {
            level.left -= 1;
            if level.left > 0 {
                return false;
            }
            let was_attribute = level.is_attribute;
            self.levels.pop();
            if was_attribute {
                // The annotated value itself is still to come.
                self.attributes -= 1;
                return false;
            }
        }
        true
    }
    pub fn is_within_attribute(&self) -> bool {
        self.attributes > 0
    }
}
