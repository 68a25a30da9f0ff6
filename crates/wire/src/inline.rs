//! Splits the line of an inline command into arguments, with the quoting that redis-cli and redis.conf share.
//!
//! Blanks part arguments. Between double quotes `\n \r \t \b \a \xHH` are escapes and any other escaped character is
//! itself; between single quotes only `\'` is. A closing quote must be followed by a blank or the end.

use crate::error::ProtocolError;
use crate::request::Range;
use alloc::vec::Vec;

/// Appends the arguments of `line` to `text`, one behind the other, and where each stands to `ranges`.
/// Every argument is at most as long as its part of the line.
pub(crate) fn split(line: &[u8], text: &mut Vec<u8>, ranges: &mut Vec<Range>) -> Result<(), ProtocolError> {
    let mut rest = skip_blanks(line);
    while !rest.is_empty() {
        let start = text.len();
        rest = argument(rest, text)?;
        ranges.push(Range { start: start as u32, len: (text.len() - start) as u32 });
        rest = skip_blanks(rest);
    }
    Ok(())
}

/// Whether an inline command's first word is that of an HTTP request or of its headers: a browser that was led to this
/// port would otherwise have its request's body executed line by line.
pub(crate) fn is_http(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"post") || word.eq_ignore_ascii_case(b"host:")
}

/// Unescapes the argument at the front of `line` and returns what follows it.
fn argument<'a>(line: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    let mut rest = line;
    while let [byte, after @ ..] = rest {
        match byte {
            b'"' => return closed(double_quoted(after, text)?),
            b'\'' => return closed(single_quoted(after, text)?),
            byte if is_blank(*byte) => break,
            byte => text.push(*byte),
        }
        rest = after;
    }
    Ok(rest)
}

fn double_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [b'"', after @ ..] => return Ok(after),
            [b'\\', b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                text.push(hex(*high) << 4 | hex(*low));
                after
            }
            [b'\\', escaped, after @ ..] => {
                text.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                after
            }
            [byte, after @ ..] => {
                text.push(*byte);
                after
            }
            [] => return Err(ProtocolError::UnbalancedQuotes),
        }
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [b'\'', after @ ..] => return Ok(after),
            [b'\\', b'\'', after @ ..] => {
                text.push(b'\'');
                after
            }
            [byte, after @ ..] => {
                text.push(*byte);
                after
            }
            [] => return Err(ProtocolError::UnbalancedQuotes),
        }
    }
}

fn closed(rest: &[u8]) -> Result<&[u8], ProtocolError> {
    match rest.first() {
        Some(byte) if !is_blank(*byte) => Err(ProtocolError::UnbalancedQuotes),
        _ => Ok(rest),
    }
}

fn skip_blanks(line: &[u8]) -> &[u8] {
    let blanks = line.iter().take_while(|b| is_blank(**b)).count();
    &line[blanks..]
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// The value of a byte that is known to be a hexadecimal digit.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20).wrapping_sub(b'a') + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Vec<Vec<u8>>, ProtocolError> {
        let (mut text, mut ranges) = (Vec::new(), Vec::new());
        split(line.as_bytes(), &mut text, &mut ranges)?;
        Ok(ranges.iter().map(|r| text[r.start as usize..][..r.len as usize].to_vec()).collect())
    }

    #[test]
    fn lines_split_as_redis_splits_them() {
        let table: &[(&str, &[&[u8]])] = &[
            ("", &[]),
            ("  \t ", &[]),
            ("PING", &[b"PING"]),
            (" set  key\tvalue ", &[b"set", b"key", b"value"]),
            (r#"set k "a b""#, &[b"set", b"k", b"a b"]),
            (r#"set k """#, &[b"set", b"k", b""]),
            (r#"set k '' x"#, &[b"set", b"k", b"", b"x"]),
            (r#""\n\r\t\b\a\x00\xfF\"\\\q""#, &[b"\n\r\t\x08\x07\x00\xff\"\\q"]),
            (r#""\xg1\x1""#, &[b"xg1x1"]),
            (r#"'\n\'"'"#, &[b"\\n'\""]),
            (r#"pre"fix""#, &[b"prefix"]),
            (r"back\slash", &[b"back\\slash"]),
        ];
        for (line, expected) in table {
            assert_eq!(words(line).unwrap(), *expected, "{line}");
        }
    }

    #[test]
    fn quotes_must_be_closed_and_followed_by_a_blank() {
        for line in
            [r#"set """key""" v"#, r#"""#, "'", r#""abc"#, r#""abc\"#, r#""abc\""#, "'a'b", r#""a"'b'"#]
        {
            assert_eq!(words(line), Err(ProtocolError::UnbalancedQuotes), "{line}");
        }
    }
}
