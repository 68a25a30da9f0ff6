//! Replies as a client reads them: RESP2.

/// One reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Nil,
    Array(Vec<Reply>),
}

/// Why bytes are no reply (yet).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unread {
    /// The rest has not come.
    More,
    /// No server may send this.
    Nonsense,
}

impl Reply {
    /// The reply at the front of `input`, and its length.
    pub fn parse(input: &[u8]) -> Result<(Reply, usize), Unread> {
        let end = input.windows(2).position(|w| w == b"\r\n").ok_or(Unread::More)?;
        let (line, mut used) = (&input[..end], end + 2);
        let (Some(kind), text) = (line.first(), line.get(1..).unwrap_or_default()) else {
            return Err(Unread::Nonsense);
        };
        let text = String::from_utf8_lossy(text).into_owned();
        let number = || text.parse::<i64>().map_err(|_| Unread::Nonsense);
        let reply = match kind {
            b'+' => Reply::Simple(text),
            b'-' => Reply::Error(text),
            b':' => Reply::Integer(number()?),
            b'$' => match usize::try_from(number()?) {
                Err(_) => Reply::Nil,
                Ok(len) => {
                    let bytes = input.get(used..used + len + 2).ok_or(Unread::More)?;
                    used += len + 2;
                    Reply::Bulk(bytes[..len].to_vec())
                }
            },
            b'*' => match usize::try_from(number()?) {
                Err(_) => Reply::Nil,
                Ok(count) => {
                    let mut items = Vec::new();
                    for _ in 0..count {
                        let (item, len) = Reply::parse(&input[used..])?;
                        used += len;
                        items.push(item);
                    }
                    Reply::Array(items)
                }
            },
            _ => return Err(Unread::Nonsense),
        };
        Ok((reply, used))
    }
    pub fn is_ok(&self) -> bool {
        matches!(self, Reply::Simple(text) if text == "OK")
    }
    /// The value of a field of a flat array of names and values.
    pub fn field(&self, name: &str) -> Option<&Reply> {
        let Reply::Array(items) = self else { return None };
        let is_it = |pair: &&[Reply]| matches!(&pair[0], Reply::Bulk(text) if text == name.as_bytes());
        items.chunks_exact(2).find(is_it).map(|pair| &pair[1])
    }
    /// The one element of an array, as of EXEC of one command; the reply itself otherwise.
    pub fn only(&self) -> &Reply {
        match self {
            Reply::Array(items) if items.len() == 1 => &items[0],
            _ => self,
        }
    }
    pub fn error(&self) -> Option<&str> {
        if let Reply::Error(text) = self { Some(text) } else { None }
    }
    /// A number, also one that came as text.
    pub fn number(&self) -> Option<i64> {
        match self {
            Reply::Integer(n) => Some(*n),
            Reply::Bulk(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
            _ => None,
        }
    }
    /// A text that is no error.
    pub fn text(&self) -> Option<String> {
        if let Reply::Bulk(bytes) = self { String::from_utf8(bytes.clone()).ok() } else { None }
    }
    /// Numbers of an array of texts.
    pub fn numbers(&self) -> Option<Vec<i64>> {
        if let Reply::Array(items) = self { items.iter().map(Reply::number).collect() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_whole_or_not_at_all() {
        let bytes = b"*3\r\n:7\r\n$2\r\nab\r\n$-1\r\n+OK\r\n";
        let (reply, used) = Reply::parse(bytes).expect("whole");
        assert_eq!(reply, Reply::Array(vec![Reply::Integer(7), Reply::Bulk(b"ab".to_vec()), Reply::Nil]));
        assert_eq!(&bytes[used..], b"+OK\r\n");
        for cut in 0..used {
            assert_eq!(Reply::parse(&bytes[..cut]), Err(Unread::More), "{cut}");
        }
        assert_eq!(Reply::parse(b"?\r\n"), Err(Unread::Nonsense));
    }
}
