//! A command on one key that lies in no table: its whole value comes in the form of snapshots, and leaves in it.

use crate::call::{Call, CommandError, Ops, Random};
use crate::docs::{keys_of, reads_by_pattern};
use crate::spec::{Class, Spec};
use crate::table_view::TableView;
use alloc::format;
use alloc::vec::Vec;
use data::Operation;
use data::codec::Reader;
use data::table::{Seed, Table};
use data::value::Blob;
use wire::{Protocol, ReplyWriter};

/// What a command leaves of its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Left {
    /// What there was.
    Same,
    /// This, which expires at this time in ms since 1970; no image where there is no key any more.
    Other { image: Option<Blob>, expires_at_ms: Option<i64> },
}

/// The key of a command that can be executed alone.
///
/// # Errors
/// Why it cannot: it waits, it is about no key or several, or it is none that a plain table answers.
pub fn key_alone<'a>(spec: &Spec, args: &[&'a [u8]]) -> Result<&'a [u8], CommandError> {
    if !matches!(spec.class, Class::Read | Class::Write) || spec.run.is_none() {
        return Err(CommandError::new(format!("ERR '{}' cannot be executed on a key by itself", spec.name)));
    }
    if reads_by_pattern(spec, args) {
        return Err(CommandError::new(format!(
            "ERR '{}' reads other keys here: a key is agreed on by itself",
            spec.name
        )));
    }
    let keys = keys_of(spec, args)?;
    let Some((first, others)) = keys.split_first() else {
        return Err(CommandError::new(format!("ERR '{}' is about no single key", spec.name)));
    };
    match others.iter().all(|key| key == first) {
        true => Ok(first),
        false => Err(CommandError::new(format!(
            "ERR '{}' names several keys: each is agreed on by itself",
            spec.name
        ))),
    }
}

/// Executes such a command at a time in ms since 1970 on what its key holds, in the form of [`Table::image`], and appends its reply.
///
/// # Errors
/// What the client is told; nothing was done, and nothing appended.
pub fn execute(
    spec: &Spec,
    args: &[&[u8]],
    image: Option<&[u8]>,
    now_ms: i64,
    random: &mut Random,
    protocol: Protocol,
    reply: &mut Vec<u8>,
) -> Result<Left, CommandError> {
    let key = key_alone(spec, args)?;
    let unreadable = || CommandError::fixed("ERR the key's value cannot be read: nothing was done");
    let Some(run) = spec.run else { return Err(unreadable()) };
    let mut table = Table::new(Seed(0, 0));
    if let Some(image) = image {
        table.load(&mut Reader::new(image)).map_err(|_| unreadable())?;
    }
    let seconds = (now_ms / 1000) as u32;
    let expiry = table.get(key).and_then(|found| found.expires_at_ms);
    let is_expired = expiry.is_some_and(|at_ms| at_ms <= now_ms);
    if is_expired {
        table.apply_committed(&Operation::Expire { key: key.into(), at_ms: now_ms }, seconds);
    }
    let (start, mut ops) = (reply.len(), Ops::new());
    let view = TableView { table: &table, now_ms };
    let result = run(&mut Call {
        args,
        view: &view,
        now_ms,
        random,
        reply: ReplyWriter::new(reply, protocol),
        ops: &mut ops,
    });
    if let Err(error) = result {
        reply.truncate(start);
        return Err(error);
    }
    if ops.is_empty() {
        return Ok(Left::Same);
    }
    ops.iter().for_each(|op| table.apply_committed(op, seconds));
    let mut bytes = Vec::new();
    let image = table.image(key, &mut bytes).then(|| Blob::from(&bytes[..]));
    let expires_at_ms = table.get(key).and_then(|found| found.expires_at_ms);
    Ok(Left::Other { image, expires_at_ms })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find;
    use alloc::string::String;

    struct Key(Option<Blob>);

    impl Key {
        fn ask(&mut self, line: &str, now_ms: i64) -> String {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let (spec, mut reply) = (find(args[0]).expect("a command"), Vec::new());
            match execute(spec, &args, self.0.as_deref(), now_ms, &mut Random(1), Protocol::Resp2, &mut reply)
            {
                Ok(Left::Same) => {}
                Ok(Left::Other { image, .. }) => self.0 = image,
                Err(error) => return error.text().into(),
            }
            String::from_utf8_lossy(&reply).replace("\r\n", " ").trim_end().into()
        }
    }

    #[test]
    fn commands_go_on_from_what_the_one_before_left() {
        let mut key = Key(None);
        for (line, now_ms, wanted) in [
            ("SETNX k 1", 0, ":1"),
            ("SETNX k 2", 0, ":0"),
            ("INCR k", 0, ":2"),
            ("SET k v NX", 0, "$-1"),
            ("SET k 7 XX GET PX 100", 1000, "$1 2"),
            ("PTTL k", 1050, ":50"),
            ("GET k", 1100, "$-1"),
            ("SET k x NX", 1100, "+OK"),
            ("TTL k", 1100, ":-1"),
            ("LPUSH k a", 1100, "WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("GETDEL k", 1100, "$1 x"),
            ("RPUSH k a b c", 0, ":3"),
            ("LSET k 1 z", 0, "+OK"),
            ("LRANGE k 0 -1", 0, "*3 $1 a $1 z $1 c"),
            ("LPOP k 2", 0, "*2 $1 a $1 z"),
            ("DEL k", 0, ":1"),
            ("EXISTS k", 0, ":0"),
        ] {
            assert_eq!(key.ask(line, now_ms), wanted, "{line}");
        }
        assert_eq!(key.0, None);
    }

    #[test]
    fn what_is_not_about_one_key_is_refused() {
        for line in [
            "MSET a 1 b 2",
            "RENAME a b",
            "KEYS *",
            "BLPOP a 0",
            "PING",
            "GETV a",
            "SORT a BY w_*",
            "SORT a GET o_*",
        ] {
            let reply = Key(None).ask(line, 0);
            assert!(reply.starts_with("ERR "), "{line}: {reply}");
        }
        assert_eq!(Key(None).ask("EXISTS a a", 0), ":0");
        assert!(Key(Some(Blob::from(&b"x"[..]))).ask("GET k", 0).starts_with("ERR the key's value"));
    }
}
