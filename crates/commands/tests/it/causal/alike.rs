//! A replica that nobody writes beside answers every mergeable and every reading command as a plain keyspace does. Whatever
//! differs only by the order in which members are listed is compared in one order. Numbers stay where doubles are exact: fractions
//! of larger ones come out as doubles give them, in plain keyspaces to the last digit.

use super::rig::Replica;
use crate::harness::Store;
use proptest::prelude::*;

const KEYS: [&str; 4] = ["k", "l", "m", "n"];
const WORDS: [&str; 4] = ["a", "b", "10", "zz"];

fn key() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&KEYS[..])
}
/// Hyperloglogs have keys of their own: here they are a type, and in plain keyspaces strings.
fn log() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["p", "q"][..])
}
fn word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&WORDS[..])
}
fn number() -> impl Strategy<Value = i64> {
    prop_oneof![-3i64..4, Just(1 << 40), Just(-(1 << 40)), Just(7)]
}
fn half() -> impl Strategy<Value = String> {
    (-7i64..8).prop_map(|halves| format!("{}", halves as f64 / 2.0))
}

/// What changes a key.
fn write() -> BoxedStrategy<String> {
    let value = prop::sample::select(&["10", "-3", "abc", "1.5", "1099511627776"][..]);
    prop_oneof![
        (key(), value.clone()).prop_map(|(k, v)| format!("SET {k} {v}")),
        (key(), value.clone(), 1u32..3).prop_map(|(k, v, s)| format!("SET {k} {v} EX {s}")),
        (key(), value.clone()).prop_map(|(k, v)| format!("SET {k} {v} KEEPTTL")),
        (key(), value.clone()).prop_map(|(k, v)| format!("SETEX {k} 1 {v}")),
        (key(), value.clone()).prop_map(|(k, v)| format!("PSETEX {k} 1500 {v}")),
        (key(), key(), value).prop_map(|(k, l, v)| format!("MSET {k} {v} {l} x {k} y")),
        (key(), key()).prop_map(|(k, l)| format!("DEL {k} {l} {k}")),
        key().prop_map(|k| format!("UNLINK {k}")),
        key().prop_map(|k| format!("INCR {k}")),
        key().prop_map(|k| format!("DECR {k}")),
        (key(), number()).prop_map(|(k, n)| format!("INCRBY {k} {n}")),
        (key(), number()).prop_map(|(k, n)| format!("DECRBY {k} {n}")),
        (key(), half()).prop_map(|(k, n)| format!("INCRBYFLOAT {k} {n}")),
        (key(), word(), word()).prop_map(|(k, a, b)| format!("SADD {k} {a} {b} {a}")),
        (key(), word(), word()).prop_map(|(k, a, b)| format!("SREM {k} {a} {b} {a}")),
        (key(), word(), word()).prop_map(|(k, a, b)| format!("HSET {k} {a} 5 {b} abc")),
        (key(), word()).prop_map(|(k, a)| format!("HMSET {k} {a} 5 {a} 6")),
        (key(), word(), word()).prop_map(|(k, a, b)| format!("HDEL {k} {a} {b} {a}")),
        (key(), word(), number()).prop_map(|(k, a, n)| format!("HINCRBY {k} {a} {n}")),
        (key(), word(), half()).prop_map(|(k, a, n)| format!("HINCRBYFLOAT {k} {a} {n}")),
        (key(), word(), half()).prop_map(|(k, a, n)| format!("ZADD {k} {n} {a}")),
        (key(), word(), half()).prop_map(|(k, a, n)| format!("ZADD {k} CH {n} {a} 2 other")),
        (key(), word(), half()).prop_map(|(k, a, n)| format!("ZADD {k} INCR {n} {a}")),
        (key(), word(), half()).prop_map(|(k, a, n)| format!("ZINCRBY {k} {n} {a}")),
        (key(), word(), word()).prop_map(|(k, a, b)| format!("ZREM {k} {a} {b} {a}")),
        (key(), word(), word()).prop_map(|(k, a, b)| format!("RPUSH {k} {a} {b}")),
        (key(), word(), word()).prop_map(|(k, a, b)| format!("LPUSH {k} {a} {b}")),
        (key(), word(), word(), any::<bool>()).prop_map(|(k, a, b, after)| {
            format!("LINSERT {k} {} {a} {b}", if after { "AFTER" } else { "BEFORE" })
        }),
        (key(), -2i64..3, word()).prop_map(|(k, n, a)| format!("LREM {k} {n} {a}")),
        (key(), -1i64..4).prop_map(|(k, s)| format!("EXPIRE {k} {s}")),
        (key(), 100i64..3000).prop_map(|(k, ms)| format!("PEXPIRE {k} {ms}")),
        (key(), 1_699_999_999i64..1_700_000_009).prop_map(|(k, s)| format!("EXPIREAT {k} {s}")),
        key().prop_map(|k| format!("PERSIST {k}")),
        (log(), word(), word()).prop_map(|(k, a, b)| format!("PFADD {k} {a} {b} {a}")),
        log().prop_map(|k| format!("PFADD {k}")),
        (log(), log()).prop_map(|(k, l)| format!("PFMERGE {k} {l} {k}")),
        (log(), 100i64..3000).prop_map(|(k, ms)| format!("PEXPIRE {k} {ms}")),
        log().prop_map(|k| format!("DEL {k}")),
    ]
    .boxed()
}

/// What only means something if nobody else writes meanwhile.
fn exclusive() -> BoxedStrategy<String> {
    let of_key = &["GETDEL", "LPOP", "RPOP", "ZPOPMIN", "ZPOPMAX", "GETEX"][..];
    let end = || prop::sample::select(&["LEFT", "RIGHT"][..]);
    let condition = || prop::sample::select(&["NX", "XX"][..]);
    let store = prop::sample::select(&["SUNIONSTORE", "SINTERSTORE", "SDIFFSTORE"][..]);
    prop_oneof![
        (prop::sample::select(of_key), key()).prop_map(|(name, k)| format!("{name} {k}")),
        (key(), word()).prop_map(|(k, v)| format!("SETNX {k} {v}")),
        (key(), word(), condition()).prop_map(|(k, v, c)| format!("SET {k} {v} {c} GET")),
        (key(), word(), condition()).prop_map(|(k, v, c)| format!("SET {k} {v} {c} PX 700")),
        (key(), word()).prop_map(|(k, v)| format!("GETSET {k} {v}")),
        (key(), key(), word()).prop_map(|(k, l, v)| format!("MSETNX {k} {v} {l} x")),
        (key(), word()).prop_map(|(k, v)| format!("APPEND {k} {v}")),
        (key(), 0u32..12, word()).prop_map(|(k, at, v)| format!("SETRANGE {k} {at} {v}")),
        (key(), 0u32..20).prop_map(|(k, at)| format!("SETBIT {k} {at} 1")),
        (key(), key(), key()).prop_map(|(k, l, m)| format!("BITOP OR {k} {l} {m}")),
        (key(), 500i64..1500).prop_map(|(k, ms)| format!("GETEX {k} PX {ms}")),
        key().prop_map(|k| format!("GETEX {k} PERSIST")),
        (key(), word()).prop_map(|(k, a)| format!("HSETNX {k} {a} 3")),
        (key(), word()).prop_map(|(k, a)| format!("LPUSHX {k} {a} b")),
        (key(), word()).prop_map(|(k, a)| format!("RPUSHX {k} {a} b")),
        (key(), -3i64..3, word()).prop_map(|(k, at, a)| format!("LSET {k} {at} {a}")),
        (key(), -4i64..3, -3i64..4).prop_map(|(k, from, to)| format!("LTRIM {k} {from} {to}")),
        (key(), 1u32..4).prop_map(|(k, count)| format!("RPOP {k} {count}")),
        (key(), key(), end(), end()).prop_map(|(k, l, a, b)| format!("LMOVE {k} {l} {a} {b}")),
        (key(), key()).prop_map(|(k, l)| format!("RPOPLPUSH {k} {l}")),
        (key(), key(), end()).prop_map(|(k, l, a)| format!("LMPOP 2 {k} {l} {a} COUNT 2")),
        (key(), key(), word()).prop_map(|(k, l, a)| format!("SMOVE {k} {l} {a}")),
        key().prop_map(|k| format!("SPOP {k} 99")),
        (store, key(), key(), key()).prop_map(|(name, k, l, m)| format!("{name} {k} {l} {m}")),
        (key(), word(), half(), condition()).prop_map(|(k, a, n, c)| format!("ZADD {k} {c} CH {n} {a}")),
        (key(), word(), half()).prop_map(|(k, a, n)| format!("ZADD {k} GT {n} {a}")),
        (key(), key()).prop_map(|(k, l)| format!("ZUNIONSTORE {k} 2 {k} {l}")),
        (key(), key()).prop_map(|(k, l)| format!("ZRANGESTORE {k} {l} 0 1")),
        key().prop_map(|k| format!("ZREMRANGEBYSCORE {k} -1 1")),
        key().prop_map(|k| format!("ZREMRANGEBYRANK {k} 0 0")),
        (key(), condition()).prop_map(|(k, c)| format!("EXPIRE {k} 2 {c}")),
        (key(), key()).prop_map(|(k, l)| format!("RENAME {k} {l}")),
        (key(), key()).prop_map(|(k, l)| format!("RENAMENX {k} {l}")),
        (key(), key()).prop_map(|(k, l)| format!("COPY {k} {l} REPLACE")),
        (key(), key()).prop_map(|(k, l)| format!("SORT {k} ALPHA STORE {l}")),
    ]
    .boxed()
}

/// What tells of a key.
fn read() -> BoxedStrategy<String> {
    let of_key = prop::sample::select(
        &[
            "GET",
            "STRLEN",
            "TYPE",
            "TTL",
            "PTTL",
            "EXPIRETIME",
            "PEXPIRETIME",
            "SMEMBERS",
            "SCARD",
            "HGETALL",
            "HKEYS",
            "HVALS",
            "HLEN",
            "ZCARD",
            "LLEN",
            "EXISTS",
            "TOUCH",
            "BITCOUNT",
            "SORT_RO",
            "SORT",
            "MGET",
        ][..],
    );
    prop_oneof![
        4 => (of_key, key()).prop_map(|(name, k)| format!("{name} {k}")),
        1 => (key(), key()).prop_map(|(k, l)| format!("MGET {k} {l} {k}")),
        1 => (key(), key()).prop_map(|(k, l)| format!("EXISTS {k} {l} {k}")),
        1 => key().prop_map(|k| format!("GETRANGE {k} 0 1")),
        1 => (key(), word()).prop_map(|(k, a)| format!("SISMEMBER {k} {a}")),
        1 => (key(), word()).prop_map(|(k, a)| format!("SMISMEMBER {k} {a} b")),
        1 => (key(), word()).prop_map(|(k, a)| format!("HGET {k} {a}")),
        1 => (key(), word()).prop_map(|(k, a)| format!("HMGET {k} {a} b")),
        1 => (key(), word()).prop_map(|(k, a)| format!("HEXISTS {k} {a}")),
        1 => (key(), word()).prop_map(|(k, a)| format!("HSTRLEN {k} {a}")),
        1 => (key(), word()).prop_map(|(k, a)| format!("ZSCORE {k} {a}")),
        1 => (key(), word()).prop_map(|(k, a)| format!("ZRANK {k} {a}")),
        1 => (key(), word()).prop_map(|(k, a)| format!("ZREVRANK {k} {a}")),
        1 => key().prop_map(|k| format!("ZRANGE {k} 0 -1 WITHSCORES")),
        1 => key().prop_map(|k| format!("ZRANGEBYSCORE {k} -1 2")),
        1 => key().prop_map(|k| format!("ZCOUNT {k} -1 2")),
        1 => key().prop_map(|k| format!("LRANGE {k} 0 -1")),
        1 => key().prop_map(|k| format!("LINDEX {k} -1")),
        1 => (key(), word()).prop_map(|(k, a)| format!("LPOS {k} {a}")),
        1 => (key(), key()).prop_map(|(k, l)| format!("SINTER {k} {l}")),
        1 => (key(), key()).prop_map(|(k, l)| format!("SUNION {k} {l}")),
        1 => (key(), key()).prop_map(|(k, l)| format!("SDIFF {k} {l}")),
        1 => (key(), key()).prop_map(|(k, l)| format!("ZUNION 2 {k} {l} WITHSCORES")),
        2 => (log(), log()).prop_map(|(k, l)| format!("PFCOUNT {k} {l}")),
        1 => log().prop_map(|k| format!("GET {k}")),
        1 => log().prop_map(|k| format!("PTTL {k}")),
        1 => key().prop_map(|k| format!("OBJECT REFCOUNT {k}")),
    ]
    .boxed()
}

/// The items of a flat array in one order, for commands that promise none.
fn in_one_order(line: &str, reply: &str) -> String {
    let name = line.split(' ').next().unwrap_or_default();
    let is_unordered =
        ["SMEMBERS", "HGETALL", "HKEYS", "HVALS", "SINTER", "SUNION", "SDIFF", "SPOP"].contains(&name);
    match reply.strip_prefix('[').and_then(|items| items.strip_suffix(']')) {
        Some(items) if is_unordered => {
            let mut items: Vec<&str> = items.split(", ").collect();
            items.sort_unstable();
            items.join(", ")
        }
        _ => reply.to_owned(),
    }
}

/// What happens to a few lists, and what they hold then.
fn of_lists() -> BoxedStrategy<String> {
    let end = || prop::sample::select(&["LEFT", "RIGHT"][..]);
    let list = || prop::sample::select(&["k", "l"][..]);
    prop_oneof![
        (list(), word(), word()).prop_map(|(k, a, b)| format!("RPUSH {k} {a} {b} {a}")),
        (list(), word(), word()).prop_map(|(k, a, b)| format!("LPUSH {k} {a} {b}")),
        (list(), 1u32..4).prop_map(|(k, count)| format!("LPOP {k} {count}")),
        (list(), 1u32..4).prop_map(|(k, count)| format!("RPOP {k} {count}")),
        (list(), -3i64..3, word()).prop_map(|(k, at, a)| format!("LSET {k} {at} {a}")),
        (list(), -4i64..3, -3i64..4).prop_map(|(k, from, to)| format!("LTRIM {k} {from} {to}")),
        (list(), list(), end(), end()).prop_map(|(k, l, a, b)| format!("LMOVE {k} {l} {a} {b}")),
        list().prop_map(|k| format!("PEXPIRE {k} 900")),
        list().prop_map(|k| format!("LRANGE {k} 0 -1")),
        list().prop_map(|k| format!("LRANGE {k} 0 -1")),
        list().prop_map(|k| format!("PTTL {k}")),
    ]
    .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn who_writes_alone_has_every_command(
        lines in proptest::collection::vec((prop_oneof![2 => write(), 4 => exclusive(), 2 => read()], 0i64..400), 1..60)
    ) {
        let mut replica = Replica::new(1);
        replica.is_alone = true;
        answers_as_plain(replica, lines)?;
    }
    #[test]
    fn who_writes_alone_takes_elements_from_where_they_are(
        lines in proptest::collection::vec((of_lists(), 0i64..200), 1..60)
    ) {
        let mut replica = Replica::new(1);
        replica.is_alone = true;
        answers_as_plain(replica, lines)?;
    }
    #[test]
    fn a_replica_alone_answers_as_a_plain_keyspace(
        lines in proptest::collection::vec((prop_oneof![3 => write(), 2 => read()], 0i64..400), 1..60)
    ) {
        answers_as_plain(Replica::new(1), lines)?;
    }
}

fn answers_as_plain(mut replica: Replica, lines: Vec<(String, i64)>) -> Result<(), TestCaseError> {
    let (mut plain, mut before) = (Store::default(), Vec::new());
    for (line, later_ms) in lines {
        plain.now_ms += later_ms;
        replica.now_ms = plain.now_ms;
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let expected = plain.execute(&words).reply;
        let reply = replica.execute(&words);
        before.push(format!("{line} -> {expected}"));
        prop_assert_eq!(
            in_one_order(&line, &reply),
            in_one_order(&line, &expected),
            "after\n{}",
            before.join("\n")
        );
    }
    Ok(())
}
