//! W, R and their kin for one request or one connection, in our words and in those of Cassandra and Riak.
//!
//! | option | of | means |
//! |---|---|---|
//! | `W`, `R` | Dynamo, Riak | a number, `one`, `quorum` or `all` |
//! | `PW`, `PR` | Riak | the same, and stand-ins do not count |
//! | `SLOPPY` | | `on` or `off`: whether stand-ins count |
//! | `LINEARIZABLE` | | the copies agree on each value of the key, one by one |
//! | `CONSISTENCY-LEVEL` | Cassandra | ONE, TWO, THREE, QUORUM, ALL for both; ANY: a stand-in alone is enough for a write |
// catalogue: K3

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use data::leaderless::Policy;
use protocol::leaderless::coordinator::Level;
use wire::number::parse_integer;

/// How many copies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Count {
    Number(u32),
    /// More than half.
    Quorum,
    All,
}

impl Count {
    fn of(self, n: u32) -> u32 {
        match self {
            Count::Number(number) => number,
            Count::Quorum => n / 2 + 1,
            Count::All => n,
        }
    }
    fn parse(text: &str) -> Option<Count> {
        Some(match text {
            "one" => Count::Number(1),
            "two" => Count::Number(2),
            "three" => Count::Number(3),
            "quorum" => Count::Quorum,
            "all" => Count::All,
            _ => Count::Number(u32::try_from(parse_integer(text.as_bytes())?).ok().filter(|n| *n > 0)?),
        })
    }
    fn shown(self) -> String {
        match self {
            Count::Number(number) => format!("{number}"),
            Count::Quorum => "quorum".into(),
            Count::All => "all".into(),
        }
    }
}

/// What was said beside the keyspace's policy.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Levels {
    pub w: Option<Count>,
    pub r: Option<Count>,
    pub sloppy: Option<bool>,
    /// The copies agree on each value of the key.
    pub linearizable: bool,
}

/// The options of this table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Word {
    W,
    R,
    StrictW,
    StrictR,
    Sloppy,
    ConsistencyLevel,
}

impl Levels {
    pub fn is_empty(&self) -> bool {
        *self == Levels::default()
    }
    /// Takes one option in. What is wrong with it, as an error for the client.
    pub fn take(&mut self, word: Word, said: &str, text: &str) -> Result<(), String> {
        let count = || {
            Count::parse(text).ok_or_else(|| {
                format!("ERR {said} takes a number of copies, one, quorum or all, not '{text}'")
            })
        };
        let twice = || Err(format!("ERR option '{said}' is given twice, perhaps under two names"));
        let (w, r, sloppy) = match word {
            Word::W => (Some(count()?), None, None),
            Word::R => (None, Some(count()?), None),
            Word::StrictW => (Some(count()?), None, Some(false)),
            Word::StrictR => (None, Some(count()?), Some(false)),
            Word::Sloppy => match text {
                "on" => (None, None, Some(true)),
                "off" => (None, None, Some(false)),
                _ => return Err(format!("ERR {said} takes on or off, not '{text}'")),
            },
            Word::ConsistencyLevel => match text {
                "any" => (Some(Count::Number(1)), None, Some(true)),
                "one" | "two" | "three" | "quorum" | "all" => (Some(count()?), Some(count()?), None),
                _ => {
                    return Err(format!(
                        "ERR {said} is ONE, TWO, THREE, QUORUM, ALL, or ANY for writes, not '{text}' in this version"
                    ));
                }
            },
        };
        if (w.is_some() && self.w.is_some()) || (r.is_some() && self.r.is_some()) {
            return twice();
        }
        if sloppy.is_some() && self.sloppy.is_some_and(|known| Some(known) != sloppy) {
            return twice();
        }
        *self = Levels { w: w.or(self.w), r: r.or(self.r), sloppy: sloppy.or(self.sloppy), ..*self };
        Ok(())
    }
    /// What was said before, where this says nothing.
    #[must_use]
    pub fn over(self, before: Levels) -> Levels {
        if self.linearizable || (before.linearizable && self == Levels::default()) {
            return Levels { linearizable: true, ..self };
        }
        Levels {
            w: self.w.or(before.w),
            r: self.r.or(before.r),
            sloppy: self.sloppy.or(before.sloppy),
            linearizable: false,
        }
    }
    /// W and R of a request in a keyspace. An error for the client where the keyspace cannot do that.
    pub fn levels(self, policy: &Policy) -> Result<(Level, Level), String> {
        let n = policy.n;
        if self.linearizable && self != (Levels { linearizable: true, ..Levels::default() }) {
            return Err("ERR LINEARIZABLE asks more than half of the copies, whatever the keyspace says: W, R and their kin do not go with it".into());
        }
        let sloppy = self.sloppy.unwrap_or(policy.sloppy);
        if sloppy && !policy.sloppy {
            return Err(
                "ERR this keyspace has no stand-ins (SLOPPY off): a request cannot ask for them".to_string()
            );
        }
        let level = |name: &str, said: Option<Count>, own: u32| {
            let required = said.map_or(own, |count| count.of(n));
            match required <= n {
                true => Ok(Level { required: required as usize, sloppy }),
                false => Err(format!("ERR {name} is at most N, which is {n} in this keyspace")),
            }
        };
        Ok((level("W", self.w, policy.w)?, level("R", self.r, policy.r)?))
    }
    /// Names and values, as they were said.
    pub fn shown(&self) -> Vec<(&'static str, String)> {
        let mut words = Vec::new();
        words.extend(self.w.map(|count| ("w", count.shown())));
        words.extend(self.r.map(|count| ("r", count.shown())));
        words.extend(self.linearizable.then(|| ("linearizable", String::from("on"))));
        words.extend(self.sloppy.map(|on| ("sloppy", String::from(if on { "on" } else { "off" }))));
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(words: &[(Word, &str)]) -> Result<Levels, String> {
        let mut levels = Levels::default();
        for (word, text) in words {
            levels.take(*word, "X", text)?;
        }
        Ok(levels)
    }

    #[test]
    fn words_of_three_systems_become_numbers() {
        let strict = Policy { n: 5, w: 3, r: 3, ..Policy::default() };
        let sloppy = Policy { sloppy: true, ..strict.clone() };
        let required = |words: &[(Word, &str)], policy: &Policy| {
            let (w, r) = said(words)?.levels(policy)?;
            Ok::<_, String>((w.required, r.required, w.sloppy))
        };
        assert_eq!(required(&[], &strict), Ok((3, 3, false)));
        assert_eq!(required(&[(Word::W, "5"), (Word::R, "one")], &strict), Ok((5, 1, false)));
        assert_eq!(required(&[(Word::ConsistencyLevel, "quorum")], &sloppy), Ok((3, 3, true)));
        assert_eq!(required(&[(Word::ConsistencyLevel, "any")], &sloppy), Ok((1, 3, true)));
        assert_eq!(required(&[(Word::StrictW, "all")], &sloppy), Ok((5, 3, false)));
        for (words, policy) in [
            (&[(Word::W, "6")][..], &strict),
            (&[(Word::W, "0")], &strict),
            (&[(Word::ConsistencyLevel, "any")], &strict),
            (&[(Word::Sloppy, "on")], &strict),
            (&[(Word::ConsistencyLevel, "local_quorum")], &strict),
            (&[(Word::W, "1"), (Word::ConsistencyLevel, "one")], &strict),
            (&[(Word::StrictW, "1"), (Word::Sloppy, "on")], &sloppy),
        ] {
            assert!(required(words, policy).is_err(), "{words:?}");
        }
    }
}
