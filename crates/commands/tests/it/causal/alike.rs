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
    let is_unordered = ["SMEMBERS", "HGETALL", "HKEYS", "HVALS", "SINTER", "SUNION", "SDIFF"].contains(&name);
    match reply.strip_prefix('[').and_then(|items| items.strip_suffix(']')) {
        Some(items) if is_unordered => {
            let mut items: Vec<&str> = items.split(", ").collect();
            items.sort_unstable();
            items.join(", ")
        }
        _ => reply.to_owned(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn a_replica_alone_answers_as_a_plain_keyspace(
        lines in proptest::collection::vec((prop_oneof![3 => write(), 2 => read()], 0i64..400), 1..60)
    ) {
        let (mut plain, mut replica) = (Store::default(), Replica::new(1));
        let mut before: Vec<String> = Vec::new();
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
    }
}
