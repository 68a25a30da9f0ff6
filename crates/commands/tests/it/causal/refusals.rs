//! What is refused, and that nothing came of it.

use super::rig::{Pair, Replica, SEED};
use commands::causal::{Plan, Setting, plan, table};
use commands::spec;
use data::causal::sealed::{NotGivenOut, seal, unseal};
use data::table::Seed;
use proptest::prelude::*;

const SETTING: Setting = Setting { now_ms: 1_000_000, seed: SEED, is_alone: false };

fn refused(line: &str) -> String {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let spec = spec::find(words[0]).expect("a command");
    match plan(spec, &words, &SETTING) {
        Ok(plan) => panic!("{line}: {plan:?}"),
        Err(error) => error.text().to_owned(),
    }
}

#[test]
fn exclusive_commands_say_what_to_use() {
    for (line, instead) in [
        ("SETNX k v", "use SET"),
        ("SET k v NX", "use SET without them, or GETV and SETV"),
        ("SET k v XX EX 5", "use SET without them, or GETV and SETV"),
        ("SET k v GET", "use SET without them, or GETV and SETV"),
        ("GETSET k v", "use GET, then SET; or GETV and SETV"),
        ("GETDEL k", "use GET, then DEL"),
        ("MSETNX k v", "use MSET"),
        ("HSETNX k f v", "use HSET"),
        ("RENAME k l", "write the new key and delete the old one"),
        ("LPOP k", "read the element and remove it by its value (LREM, SREM, ZREM)"),
        ("BLPOP k 0", "read the element and remove it by its value (LREM, SREM, ZREM)"),
        ("LSET k 0 v", "places move under concurrent writes; use LREM and LINSERT, which name values"),
        ("ZADD k NX 1 m", "use it without them, or ZINCRBY"),
        ("GEOADD k XX 1 1 m", "use it without them, or ZINCRBY"),
        ("EXPIRE k 5 GT", "use it without conditions"),
        ("SORT k STORE l", "use SORT_RO and RPUSH"),
        ("SUNIONSTORE k l", "read, and write the result as a value of its own"),
        ("APPEND k v", "concurrent writes of parts of a string do not merge; use SET, INCR, RPUSH or SADD"),
        ("WATCH k", "each write is one by itself here"),
        ("MULTI", "each write is one by itself here"),
    ] {
        let text = refused(line);
        assert!(text.starts_with("EXCLUSIVE '") && text.ends_with(instead), "{line}: {text}");
    }
    assert!(refused("WAIT 1 0").contains("not available in this keyspace"));
    assert!(refused("SORT k BY w_*").contains("reads keys that nobody named"));
}

#[test]
fn wrong_arguments_are_told_in_the_plain_command_s_words() {
    for (line, text) in [
        ("INCRBY k x", "ERR value is not an integer or out of range"),
        ("DECRBY k -9223372036854775808", "ERR decrement would overflow"),
        ("INCRBYFLOAT k inf", "ERR increment would produce NaN or Infinity"),
        ("HINCRBYFLOAT k f inf", "ERR value is NaN or Infinity"),
        ("SET k v EX 0", "ERR invalid expire time in 'set' command"),
        ("SET k v EX 5 PX 5", "ERR syntax error"),
        ("SETEX k x v", "ERR value is not an integer or out of range"),
        ("MSET k", "ERR wrong number of arguments for 'mset' command"),
        ("HSET k f", "ERR wrong number of arguments for 'hset' command"),
        ("ZADD k 1", "ERR syntax error"),
        ("ZADD k x m", "ERR value is not a valid float"),
        ("ZADD k INCR 1 m 2 n", "ERR INCR option supports a single increment-element pair"),
        ("ZINCRBY k inf m", "ERR an increment must be finite where several replicas write: use ZADD"),
        ("LINSERT k BESIDE a b", "ERR syntax error"),
        ("EXPIRE k 9223372036854775807", "ERR invalid expire time in 'expire' command"),
        ("EXPIRE k 5 NX XX", "ERR NX and XX, GT or LT options at the same time are not compatible"),
        ("SETV k nonsense v", "ERR invalid context: take the one that GETV told"),
    ] {
        if line == "MSET k" || line == "HSET k f" {
            // Too short for the spec: told before anything is planned.
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            assert!(!spec::find(words[0]).expect("a command").arity_fits(words.len()));
            continue;
        }
        assert_eq!(refused(line), text, "{line}");
    }
    assert_eq!(refused("MSET k v l"), "ERR wrong number of arguments for 'mset' command");
    assert_eq!(refused("HSET k f v g"), "ERR wrong number of arguments for 'hset' command");
}

/// The page that tells users names each command that is not about connections and nodes.
#[test]
fn the_page_names_every_command() {
    let page = include_str!("../../../../../docs/internals/causal-commands.md");
    let words: Vec<&str> = page.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    for (name, kind) in table::TABLE {
        let is_told = words.contains(&name.to_ascii_uppercase().as_str());
        assert!(is_told || matches!(kind, table::Kind::Node), "{name} is missing");
    }
}

/// Refused where it would be minted: the rig checks that no dot was spent.
#[test]
fn what_does_not_fit_the_key_changes_nothing() {
    let mut replica = Replica::new(1);
    for line in [
        "SET s abc",
        "SET n 9223372036854775807",
        "SADD t x",
        "HSET h f abc g 1",
        "ZADD z inf m",
        "RPUSH l a",
    ] {
        replica.line(line);
    }
    let before = replica.copy.clone();
    for (line, reply) in [
        ("INCR s", "-ERR value is not an integer or out of range"),
        ("INCRBYFLOAT s 1", "-ERR value is not a valid float"),
        ("INCR n", "-ERR increment or decrement would overflow"),
        ("INCR t", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("SADD h x", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("HDEL t f", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("HINCRBY h f 1", "-ERR hash value is not an integer"),
        ("HINCRBYFLOAT h f 1", "-ERR hash value is not a float"),
        ("LREM z 0 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("LINSERT t BEFORE a b", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("ZADD l 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("GET t", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("GETV t", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ] {
        assert_eq!(replica.line(line), reply, "{line}");
    }
    assert!(replica.copy == before);
}

/// A context that was not given out for this key of this keyspace could claim dots that nobody read, and so delete them.
#[test]
fn contexts_of_other_keys_and_forged_ones_are_refused() {
    let mut pair = Pair::new();
    pair.a.line("SET k v");
    pair.meet();
    let seen = pair.a.object("k").seen_text();
    let context = seal(SEED, b"k", &seen);
    assert_eq!(unseal(SEED, b"k", context.as_bytes()), Ok(seen));
    assert_eq!(unseal(SEED, b"other", context.as_bytes()), Err(NotGivenOut::Foreign));
    assert_eq!(unseal(Seed(5, 7), b"k", context.as_bytes()), Err(NotGivenOut::Foreign));
    assert_eq!(
        pair.a.line(&format!("SETV other {context} v")),
        "-ERR the context was not given out for this key of this keyspace"
    );
    for at in 0..context.len() {
        for digit in [b'0', b'f', b'x'] {
            let mut forged = context.clone().into_bytes();
            if forged[at] == digit {
                continue;
            }
            forged[at] = digit;
            assert!(unseal(SEED, b"k", &forged).is_err(), "digit {at}");
        }
        assert!(unseal(SEED, b"k", &context.as_bytes()[..at]).is_err());
    }
    assert_eq!(unseal(SEED, b"k", &[b'0'; 1 << 20]), Err(NotGivenOut::Malformed));
    let long = [b"cv1_".to_vec(), vec![b'0'; 1 << 20]].concat();
    assert_eq!(unseal(SEED, b"k", &long), Err(NotGivenOut::Malformed));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// Whatever the words are, a line is planned or refused, and what is planned names keys of the line.
    #[test]
    fn any_line_is_planned_or_refused(
        row in 0..table::TABLE.len(),
        words in proptest::collection::vec(
            prop::sample::select(&["a", "b", "1", "-1", "2", "NX", "XX", "GT", "CH", "INCR", "EX", "GET", "STORE", "BY", "inf", "\u{ff}"][..]),
            0..7,
        ),
    ) {
        let name = table::TABLE[row].0;
        let args: Vec<&[u8]> = std::iter::once(name).chain(words).map(str::as_bytes).collect();
        let spec = spec::find(name.as_bytes()).expect("a command");
        if spec.arity_fits(args.len())
            && let Ok(Plan::Write { writes, .. }) = plan(spec, &args, &SETTING)
        {
            let mut keys: Vec<&[u8]> = writes.iter().map(|(key, _)| *key).collect();
            prop_assert!(!keys.is_empty());
            prop_assert!(keys.iter().all(|key| args.contains(key)));
            keys.sort_unstable();
            keys.dedup();
            prop_assert_eq!(keys.len(), writes.len());
        }
    }
}
