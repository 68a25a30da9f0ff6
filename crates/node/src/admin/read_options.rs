//! READ, MAX-STALENESS and SESSION: how reads are answered, for a connection (CONSISTENCY) or for one request.
// catalogue: B6 G1

use crate::io::ConnectionId;
use crate::node::{Flow, Node};
use crate::reads::{ReadFrom, ReadOptions};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use wire::number::parse_integer;

/// An hour: who may read older than that needs no bound.
const STALENESS_MS_MAX: i64 = 3_600_000;

/// Takes an option and its value, if the option is about reads. Says so, or what is wrong with the value, as an error for the
/// client.
pub(super) fn take(options: &mut ReadOptions, name: &[u8], value: &[u8]) -> Result<bool, String> {
    let said = |word: &str| value.eq_ignore_ascii_case(word.as_bytes());
    let wrong = |takes: &str| {
        let shown = String::from_utf8_lossy(&value[..value.len().min(64)]).into_owned();
        Err(format!(
            "ERR {} takes {takes}, not '{shown}'",
            String::from_utf8_lossy(name).to_ascii_uppercase()
        ))
    };
    if name.eq_ignore_ascii_case(b"READ") {
        let all = [ReadFrom::Leader, ReadFrom::Follower, ReadFrom::Nearest];
        match all.into_iter().find(|from| said(from.name())) {
            Some(from) => options.from = from,
            None => return wrong("leader, follower or nearest"),
        }
    } else if name.eq_ignore_ascii_case(b"MAX-STALENESS") {
        options.staleness_max = match parse_integer(value) {
            _ if said("none") => None,
            Some(ms) if (0..=STALENESS_MS_MAX).contains(&ms) => Some(Duration::from_millis(ms as u64)),
            _ => return wrong("milliseconds, at most an hour, or none"),
        };
    } else if name.eq_ignore_ascii_case(b"SESSION") {
        options.session = match (said("on"), said("off")) {
            (true, _) => true,
            (_, true) => false,
            _ => return wrong("on or off"),
        };
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// The options that are not as they are at first, as they are said.
pub(super) fn shown(options: &ReadOptions) -> Vec<(&'static str, String)> {
    let mut words = Vec::new();
    let first = ReadOptions::default();
    if options.from != first.from {
        words.push(("READ", options.from.name().into()));
    }
    if let Some(bound) = options.staleness_max {
        words.push(("MAX-STALENESS", format!("{}", bound.as_millis())));
    }
    if options.session != first.session {
        words.push(("SESSION", if options.session { "on" } else { "off" }.into()));
    }
    words
}

/// Takes the options about reads out of a list; the others are left, in their order.
pub(super) fn take_all<'w>(options: &mut ReadOptions, words: &[&'w [u8]]) -> Result<Vec<&'w [u8]>, String> {
    let mut others = Vec::new();
    let mut rest = words;
    while let [name, behind @ ..] = rest {
        rest = behind;
        if let [value, behind @ ..] = behind
            && !commands::with::is_flag(name)
        {
            rest = behind;
            if !take(options, name, value)? {
                others.extend([*name, *value]);
            }
        } else {
            others.push(*name);
        }
    }
    Ok(others)
}

impl Node {
    /// READONLY and READWRITE: the same in Redis's words.
    pub(super) fn read_mode(&mut self, connection: ConnectionId, from: ReadFrom) -> Flow {
        if let Some(session) = self.sessions.get_mut(connection) {
            session.read_as(ReadOptions { from, ..session.reads });
        }
        self.reply(connection, |w| w.ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<ReadOptions, String> {
        let mut options = ReadOptions::default();
        for pair in words.chunks_exact(2) {
            if !take(&mut options, pair[0].as_bytes(), pair[1].as_bytes())? {
                return Err("not about reads".into());
            }
        }
        Ok(options)
    }

    #[test]
    fn options_about_reads_are_taken_and_others_left() {
        let bound = Some(Duration::from_millis(250));
        let all = read(&["READ", "follower", "max-staleness", "250", "Session", "OFF"]);
        assert_eq!(all, Ok(ReadOptions { from: ReadFrom::Follower, staleness_max: bound, session: false }));
        assert_eq!(read(&["MAX-STALENESS", "5", "MAX-STALENESS", "none"]), Ok(ReadOptions::default()));
        assert_eq!(read(&["COMMIT", "async"]), Err("not about reads".into()));
        for wrong in
            [["READ", "any"], ["MAX-STALENESS", "-1"], ["MAX-STALENESS", "3600001"], ["SESSION", "1"]]
        {
            assert!(read(&wrong).is_err_and(|error| error.starts_with("ERR ")), "{wrong:?}");
        }
    }
}
