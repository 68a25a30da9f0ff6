//! What commands do to their keys, in the words of Redis 7's key specifications.
//!
//! `RO` only reads, `RW` reads and changes, `OW` overwrites, `RM` removes; `access` shows the value to the client, `insert`,
//! `update` and `delete` say what may happen to it.

use crate::spec::{Flags, Keys, Spec};

pub(super) type Access = &'static [&'static str];

const METADATA: Access = &["RO"];
const READ: Access = &["RO", "access"];
const INSERT: Access = &["RW", "insert"];
const UPDATE: Access = &["RW", "update"];
const READ_UPDATE: Access = &["RW", "access", "update"];
const VARIABLE: Access = &["RW", "access", "update", "variable_flags"];
const TRIM: Access = &["RW", "delete"];
const TAKE: Access = &["RW", "access", "delete"];
const REMOVE: Access = &["RM", "delete"];
const PUT: Access = &["OW", "update"];
const PUT_NEW: Access = &["OW", "insert"];

/// What a command does to its first key, and to its other keys where that is something else.
pub(super) fn access(spec: &Spec) -> (Access, Option<Access>) {
    match spec.name {
        "sort" => (READ, Some(PUT)),
        "copy" => (READ, Some(PUT)),
        "rename" => (TAKE, Some(PUT)),
        "renamenx" => (TAKE, Some(PUT_NEW)),
        "lmove" | "blmove" | "rpoplpush" | "brpoplpush" | "smove" => (TAKE, Some(INSERT)),
        "bitop" => (PUT, Some(READ)),
        name if name.ends_with("store") => (PUT, Some(READ)),
        _ => (one(spec), None),
    }
}

fn one(spec: &Spec) -> Access {
    match spec.name {
        "exists" | "touch" | "type" | "strlen" | "hlen" | "hexists" | "hstrlen" | "llen" | "scard"
        | "sismember" | "zcard" | "watch" => METADATA,
        "set" | "bitfield" | "with" => VARIABLE,
        "setnx" | "msetnx" => PUT_NEW,
        "setex" | "psetex" | "mset" => PUT,
        "del" | "unlink" => REMOVE,
        "append" | "hsetnx" | "lpush" | "rpush" | "lpushx" | "rpushx" | "linsert" | "sadd" => INSERT,
        "setrange" | "expire" | "pexpire" | "expireat" | "pexpireat" | "persist" | "hset" | "hmset"
        | "lset" | "zadd" | "geoadd" => UPDATE,
        "hdel" | "lrem" | "ltrim" | "srem" | "zrem" | "zremrangebyrank" | "zremrangebyscore"
        | "zremrangebylex" => TRIM,
        "getdel" => TAKE,
        name if name.contains("pop") => TAKE,
        _ if spec.flags.has(Flags::WRITE) => READ_UPDATE,
        _ if spec.keys == Keys::None => METADATA,
        _ => READ,
    }
}
