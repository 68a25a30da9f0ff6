//! The operations of a Redis load.

use crate::load::{Dialect, Progress};
use crate::resp;

/// What one operation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    Get,
    Set,
    /// One SET for every `gets` GETs.
    Mixed {
        gets: u32,
    },
    /// A SET that counts as done when `WAIT replicas 1000` has answered that so many hold it.
    SetWait {
        replicas: u32,
    },
}

/// One connection's commands. Keys are `key:` and twelve digits: 16 bytes.
pub struct RedisDialect {
    work: Work,
    value: Vec<u8>,
    turn: u32,
    /// `SetWait`: the reply to the SET has been seen, and was no error.
    set_is_ok: Option<bool>,
    /// Commands before the first operation, and how many of them are not answered yet.
    opening: Vec<Vec<String>>,
    opening_left: usize,
}

impl RedisDialect {
    pub fn new(work: Work, value_bytes: usize) -> RedisDialect {
        let value = vec![b'x'; value_bytes];
        RedisDialect { work, value, turn: 0, set_is_ok: None, opening: Vec::new(), opening_left: 0 }
    }

    /// Says this command first on each connection, such as `SELECT`.
    #[must_use]
    pub fn opening(mut self, command: &[&str]) -> RedisDialect {
        self.opening.push(command.iter().map(|word| (*word).to_owned()).collect());
        self
    }

    fn set(&self, key: &[u8], out: &mut Vec<u8>) {
        resp::encode_command(out, &[b"SET".as_slice(), key, &self.value]);
    }
}

/// The name of key number `key`.
pub fn key_name(key: u64) -> [u8; 16] {
    let mut name = *b"key:000000000000";
    let mut rest = key;
    for digit in name[4..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    name
}

impl Dialect for RedisDialect {
    fn open(&mut self, out: &mut Vec<u8>) {
        self.opening.iter().for_each(|command| resp::encode_command(out, command));
        self.opening_left = self.opening.len();
    }

    fn operation(&mut self, key: u64, out: &mut Vec<u8>) {
        let key = key_name(key);
        match self.work {
            Work::Get => resp::encode_command(out, &[b"GET".as_slice(), &key]),
            Work::Set => self.set(&key, out),
            Work::Mixed { gets } => {
                self.turn = (self.turn + 1) % (gets + 1);
                if self.turn == 0 {
                    self.set(&key, out);
                } else {
                    resp::encode_command(out, &[b"GET".as_slice(), &key]);
                }
            }
            Work::SetWait { replicas } => {
                self.set(&key, out);
                resp::encode_command(out, &["WAIT", &replicas.to_string(), "1000"]);
            }
        }
    }

    fn reply(&mut self, input: &[u8], _out: &mut Vec<u8>) -> Result<Progress, String> {
        let Some(reply) = resp::skip(input).map_err(|broken| broken.to_string())? else {
            return Ok(Progress::Partial);
        };
        if self.opening_left > 0 {
            self.opening_left -= 1;
            return match reply.is_error() {
                true => Err("a connection's first command was refused".to_owned()),
                false => Ok(Progress::Part(reply.len)),
            };
        }
        let Work::SetWait { replicas } = self.work else {
            return Ok(Progress::Done { used: reply.len, ok: !reply.is_error() });
        };
        match self.set_is_ok.take() {
            None => {
                self.set_is_ok = Some(!reply.is_error());
                Ok(Progress::Part(reply.len))
            }
            Some(set_is_ok) => {
                let is_held = reply.kind == b':' && reply.integer >= i64::from(replicas);
                Ok(Progress::Done { used: reply.len, ok: set_is_ok && is_held })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_names_have_sixteen_bytes() {
        assert_eq!(&key_name(42), b"key:000000000042");
    }

    #[test]
    fn a_set_with_wait_is_ok_only_when_enough_replicas_hold_it() {
        let mut out = Vec::new();
        for (wait, expected) in [(":1\r\n", true), (":0\r\n", false), ("-ERR no\r\n", false)] {
            let mut dialect = RedisDialect::new(Work::SetWait { replicas: 1 }, 8);
            assert_eq!(dialect.reply(b"+OK\r\n", &mut out), Ok(Progress::Part(5)));
            let done = Progress::Done { used: wait.len(), ok: expected };
            assert_eq!(dialect.reply(wait.as_bytes(), &mut out), Ok(done));
        }
    }

    #[test]
    fn answers_to_the_opening_are_no_operations() {
        let mut out = Vec::new();
        let mut dialect = RedisDialect::new(Work::Set, 1).opening(&["SELECT", "orders"]);
        dialect.open(&mut out);
        assert!(String::from_utf8(out.clone()).unwrap().contains("orders"));
        assert_eq!(dialect.reply(b"+OK\r\n", &mut out), Ok(Progress::Part(5)));
        assert_eq!(dialect.reply(b"+OK\r\n", &mut out), Ok(Progress::Done { used: 5, ok: true }));
        dialect.open(&mut out);
        assert!(dialect.reply(b"-ERR no\r\n", &mut out).is_err());
    }

    #[test]
    fn a_mix_sets_once_in_every_turn() {
        let mut dialect = RedisDialect::new(Work::Mixed { gets: 3 }, 1);
        let mut out = Vec::new();
        (0..8).for_each(|key| dialect.operation(key, &mut out));
        let text = String::from_utf8(out).unwrap();
        assert_eq!((text.matches("SET").count(), text.matches("GET").count()), (2, 6));
    }
}
