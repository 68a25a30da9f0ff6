//! The little of the Redis protocol that a client under test needs: write commands, measure or read replies.
//!
//! Kept apart from the `wire` crate on purpose: a load generator and a judge that share the parser of the
//! system they look at would also share its mistakes.

use std::fmt;

/// How deep a reply may be nested before the stream counts as broken.
const DEPTH_MAX: usize = 32;

/// Appends one command in the form that every Redis server reads.
pub fn encode_command<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: &[A]) {
    push_header(out, b'*', args.len());
    for arg in args {
        let arg = arg.as_ref();
        push_header(out, b'$', arg.len());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

fn push_header(out: &mut Vec<u8>, prefix: u8, len: usize) {
    out.push(prefix);
    out.extend_from_slice(len.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// What [`skip`] found at the front of a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Skipped {
    /// Bytes that the reply takes.
    pub len: usize,
    /// Its first byte: `b'-'` and `b'!'` are errors.
    pub kind: u8,
    /// The number of a `:` reply, else 0.
    pub integer: i64,
}

impl Skipped {
    pub fn is_error(&self) -> bool {
        matches!(self.kind, b'-' | b'!')
    }
}

/// The bytes are no reply of the Redis protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stream is not a reply of the Redis protocol")
    }
}

impl std::error::Error for Broken {}

/// Measures the first whole reply of `input`; `None` when its end has not arrived yet.
///
/// # Errors
/// [`Broken`] when the bytes cannot begin a reply.
pub fn skip(input: &[u8]) -> Result<Option<Skipped>, Broken> {
    let Some(&kind) = input.first() else { return Ok(None) };
    let mut at = 0;
    let mut outstanding = 1u64;
    let mut integer = 0;
    while outstanding > 0 {
        let Some(line) = line_at(input, at) else { return Ok(None) };
        let (&prefix, text) = line.split_first().ok_or(Broken)?;
        let start = at;
        at += line.len() + 2;
        outstanding -= 1;
        match prefix {
            b'+' | b'-' | b'_' | b'#' | b',' | b'(' => {}
            b':' if start == 0 => integer = parse_integer(text)?,
            b':' => {}
            b'$' | b'!' | b'=' => {
                let len = parse_integer(text)?;
                if len >= 0 {
                    at = at.checked_add(len as usize + 2).ok_or(Broken)?;
                    if at > input.len() {
                        return Ok(None);
                    }
                }
            }
            b'*' | b'~' | b'>' => outstanding += parse_integer(text)?.max(0) as u64,
            // A map counts pairs; an attribute is also followed by the reply that it belongs to.
            b'%' => outstanding += parse_integer(text)?.max(0) as u64 * 2,
            b'|' => outstanding += parse_integer(text)?.max(0) as u64 * 2 + 1,
            _ => return Err(Broken),
        }
    }
    Ok(Some(Skipped { len: at, kind, integer }))
}

/// The line that begins at `at`, without its line break.
fn line_at(input: &[u8], at: usize) -> Option<&[u8]> {
    let rest = input.get(at..)?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    Some(&rest[..end])
}

fn parse_integer(text: &[u8]) -> Result<i64, Broken> {
    std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).ok_or(Broken)
}

/// A reply as a value, for tests that look inside.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    Null,
    Simple(String),
    /// First word and text as the server sent them.
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    Push(Vec<Value>),
    Boolean(bool),
    Double(f64),
    /// A number of any size, as its digits.
    Big(String),
}

impl Value {
    /// The text of a simple or bulk string.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Simple(text) => Some(text),
            Value::Bulk(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }
    pub fn integer(&self) -> Option<i64> {
        match self {
            Value::Integer(value) => Some(*value),
            _ => None,
        }
    }
    /// The items of an array, a set or a push.
    pub fn items(&self) -> &[Value] {
        match self {
            Value::Array(items) | Value::Set(items) | Value::Push(items) => items,
            _ => &[],
        }
    }
}

/// Reads the first whole reply of `input` and says how many bytes it took; `None` when its end has not arrived yet.
///
/// # Errors
/// [`Broken`] when the bytes are no reply, or are nested deeper than any reply of ours.
pub fn parse(input: &[u8]) -> Result<Option<(Value, usize)>, Broken> {
    parse_nested(input, 0, DEPTH_MAX)
}

fn parse_nested(input: &[u8], at: usize, depth: usize) -> Result<Option<(Value, usize)>, Broken> {
    let Some(line) = line_at(input, at) else { return Ok(None) };
    let (&prefix, text) = line.split_first().ok_or(Broken)?;
    let after = at + line.len() + 2;
    let words = || String::from_utf8_lossy(text).into_owned();
    let plain = |value| Ok(Some((value, after)));
    match prefix {
        b'+' => plain(Value::Simple(words())),
        b'-' => plain(Value::Error(words())),
        b':' => plain(Value::Integer(parse_integer(text)?)),
        b'_' => plain(Value::Null),
        b'#' => plain(Value::Boolean(text == b"t")),
        b',' => plain(Value::Double(words().parse().map_err(|_| Broken)?)),
        b'(' => plain(Value::Big(words())),
        b'$' | b'!' | b'=' => parse_blob(input, prefix, parse_integer(text)?, after),
        b'*' | b'~' | b'>' | b'%' | b'|' => {
            let count = parse_integer(text)?;
            if count < 0 {
                return plain(Value::Null);
            }
            parse_aggregate(input, prefix, count as usize, after, depth)
        }
        _ => Err(Broken),
    }
}

fn parse_blob(input: &[u8], prefix: u8, len: i64, at: usize) -> Result<Option<(Value, usize)>, Broken> {
    if len < 0 {
        return Ok(Some((Value::Null, at)));
    }
    let end = at.checked_add(len as usize).ok_or(Broken)?;
    let Some(after) = end.checked_add(2).filter(|&after| after <= input.len()) else { return Ok(None) };
    let bytes = &input[at..end];
    let value = match prefix {
        b'!' => Value::Error(String::from_utf8_lossy(bytes).into_owned()),
        // The first four bytes of a verbatim string name its format.
        b'=' => Value::Bulk(bytes.get(4..).unwrap_or_default().to_vec()),
        _ => Value::Bulk(bytes.to_vec()),
    };
    Ok(Some((value, after)))
}

fn parse_aggregate(
    input: &[u8],
    prefix: u8,
    count: usize,
    mut at: usize,
    depth: usize,
) -> Result<Option<(Value, usize)>, Broken> {
    let depth = depth.checked_sub(1).ok_or(Broken)?;
    let total = if matches!(prefix, b'%' | b'|') { count.checked_mul(2).ok_or(Broken)? } else { count };
    let mut items = Vec::new();
    for _ in 0..total {
        let Some((item, after)) = parse_nested(input, at, depth)? else { return Ok(None) };
        items.push(item);
        at = after;
    }
    let value = match prefix {
        b'~' => Value::Set(items),
        b'>' => Value::Push(items),
        b'%' => {
            let mut pairs = Vec::with_capacity(count);
            let mut items = items.into_iter();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                pairs.push((key, value));
            }
            Value::Map(pairs)
        }
        // What an attribute says is not looked at: the reply behind it counts.
        b'|' => return parse_nested(input, at, depth),
        _ => Value::Array(items),
    };
    Ok(Some((value, at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLIES: &[&[u8]] = &[
        b"+OK\r\n",
        b"-ERR no\r\n",
        b":12\r\n",
        b"$3\r\na\r\n\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"*2\r\n*1\r\n:1\r\n$1\r\nx\r\n",
        b"%1\r\n+k\r\n~2\r\n:1\r\n#t\r\n",
        b">2\r\n+a\r\n,1.5\r\n",
        b"=8\r\ntxt:abcd\r\n",
        b"|1\r\n+ttl\r\n:3\r\n+OK\r\n",
    ];

    #[test]
    fn skip_and_parse_agree_and_wait_for_the_last_byte() {
        for reply in REPLIES {
            let mut stream = reply.to_vec();
            stream.extend_from_slice(b"+next\r\n");
            assert_eq!(skip(&stream).unwrap().unwrap().len, reply.len(), "{reply:?}");
            assert_eq!(parse(&stream).unwrap().unwrap().1, reply.len(), "{reply:?}");
            for cut in 0..reply.len() {
                assert_eq!(skip(&reply[..cut]), Ok(None), "{reply:?} cut at {cut}");
                assert_eq!(parse(&reply[..cut]), Ok(None), "{reply:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn nonsense_and_deep_nesting_are_broken() {
        assert_eq!(skip(b"HTTP/1.1 200 OK\r\n"), Err(Broken));
        assert_eq!(parse(b"$x\r\n"), Err(Broken));
        assert_eq!(parse(&b"*1\r\n".repeat(DEPTH_MAX + 1)), Err(Broken));
    }

    #[test]
    fn a_command_is_an_array_of_bulk_strings() {
        let mut out = Vec::new();
        encode_command(&mut out, &["SET", "k", ""]);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n");
    }
}
