//! What each command is where several replicas write. A test holds it against the list of all commands: none is forgotten.

use super::write::{self, Line, Writes};
use crate::call::CommandError;

/// Makes the wishes of a command line.
pub type Make = for<'l, 'k, 'a> fn(&'l Line<'k, 'a>) -> Result<Writes<'a>, CommandError>;

#[derive(Clone, Copy)]
pub enum Kind {
    /// The plain command answers, over what was read.
    Read,
    /// Mergeable.
    Write(Make),
    /// Reads some keys, and writes what they come to into another one.
    Merge,
    /// Refused, with what to use instead.
    Exclusive(&'static str),
    /// Not made for such keyspaces yet, or without a meaning in them: why.
    Missing(&'static str),
    /// About all keys: whoever holds them knows how many copies that takes.
    Names,
    /// About connections, nodes and the cluster.
    Node,
}

const POP: Kind = Kind::Exclusive("read the element and remove it by its value (LREM, SREM, ZREM)");
const STORE: Kind = Kind::Exclusive("read, and write the result as a value of its own");
const PLACE: Kind =
    Kind::Exclusive("places move under concurrent writes; use LREM and LINSERT, which name values");
const BYTES: Kind =
    Kind::Exclusive("concurrent writes of parts of a string do not merge; use SET, INCR, RPUSH or SADD");
const RENAME: Kind = Kind::Exclusive("write the new key and delete the old one");
const RANGE: Kind = Kind::Exclusive("read the range and remove its members by ZREM");
const AT_ONCE: Kind = Kind::Exclusive("each write is one by itself here");

use Kind::{Exclusive, Merge, Missing, Names, Node, Read, Write};

/// By name.
pub const TABLE: &[(&str, Kind)] = &[
    ("append", BYTES),
    ("asking", Node),
    ("auth", Node),
    ("bitcount", Read),
    ("bitfield", BYTES),
    ("bitfield_ro", Read),
    ("bitop", STORE),
    ("bitpos", Read),
    ("blmove", POP),
    ("blmpop", POP),
    ("blpop", POP),
    ("brpop", POP),
    ("brpoplpush", POP),
    ("bzmpop", POP),
    ("bzpopmax", POP),
    ("bzpopmin", POP),
    ("changes", Node),
    ("client", Node),
    ("cluster", Node),
    ("command", Node),
    ("config", Node),
    ("consistency", Node),
    ("copy", RENAME),
    ("dbsize", Names),
    ("decr", Write(write::decr)),
    ("decrby", Write(write::decrby)),
    ("del", Write(write::del)),
    ("discard", AT_ONCE),
    ("echo", Node),
    ("exec", AT_ONCE),
    ("exists", Read),
    ("expire", Write(write::expire)),
    ("expireat", Write(write::expire)),
    ("expiretime", Read),
    ("flushall", Node),
    ("flushdb", Names),
    ("geoadd", Write(write::zadd)),
    ("geodist", Read),
    ("geohash", Read),
    ("geopos", Read),
    ("geosearch", Read),
    ("geosearchstore", STORE),
    ("get", Read),
    ("getbit", Read),
    ("getdel", Exclusive("use GET, then DEL")),
    ("getex", Exclusive("use GET, and EXPIRE or PERSIST")),
    ("getrange", Read),
    ("getset", Exclusive("use GET, then SET; or GETV and SETV")),
    ("getv", Read),
    ("hdel", Write(write::hdel)),
    ("hello", Node),
    ("hexists", Read),
    ("hget", Read),
    ("hgetall", Read),
    ("hincrby", Write(write::hincrby)),
    ("hincrbyfloat", Write(write::hincrbyfloat)),
    ("hkeys", Read),
    ("hlen", Read),
    ("hmget", Read),
    ("hmset", Write(write::blind_ok)),
    ("hrandfield", Read),
    ("hscan", Read),
    ("hset", Write(write::blind_integer)),
    ("hsetnx", Exclusive("use HSET")),
    ("hstrlen", Read),
    ("hvals", Read),
    ("inbox", Node),
    ("incr", Write(write::incr)),
    ("incrby", Write(write::incrby)),
    ("incrbyfloat", Write(write::incrbyfloat)),
    ("info", Node),
    ("keys", Names),
    ("keyspace", Node),
    ("lcs", Read),
    ("ledger", Node),
    ("lindex", Read),
    ("linsert", Write(write::linsert)),
    ("llen", Read),
    ("lmove", POP),
    ("lmpop", POP),
    ("lolwut", Node),
    ("lpop", POP),
    ("lpos", Read),
    ("lpush", Write(write::blind_integer)),
    ("lpushx", Exclusive("use LPUSH")),
    ("lrange", Read),
    ("lrem", Write(write::lrem)),
    ("lset", PLACE),
    ("ltrim", PLACE),
    ("memory", Read),
    ("mget", Read),
    ("mset", Write(write::blind_ok)),
    ("msetnx", Exclusive("use MSET")),
    ("multi", AT_ONCE),
    ("object", Read),
    ("persist", Write(write::persist)),
    ("pexpire", Write(write::expire)),
    ("pexpireat", Write(write::expire)),
    ("pexpiretime", Read),
    ("pfadd", Write(write::pfadd)),
    ("pfcount", Read),
    ("pfmerge", Merge),
    ("ping", Node),
    ("psetex", Write(write::blind_ok)),
    ("psubscribe", Node),
    ("pttl", Read),
    ("publish", Node),
    ("pubsub", Node),
    ("punsubscribe", Node),
    ("quit", Node),
    ("randomkey", Names),
    ("readonly", Node),
    ("readwrite", Node),
    ("receipt", Node),
    ("rename", RENAME),
    ("renamenx", RENAME),
    ("reset", Node),
    ("role", Node),
    ("rpop", POP),
    ("rpoplpush", POP),
    ("rpush", Write(write::blind_integer)),
    ("rpushx", Exclusive("use RPUSH")),
    ("sadd", Write(write::blind_integer)),
    ("scan", Names),
    ("scard", Read),
    ("sdiff", Read),
    ("sdiffstore", STORE),
    ("select", Node),
    ("session", Node),
    ("set", Write(write::set)),
    ("setbit", BYTES),
    ("setex", Write(write::blind_ok)),
    ("setnx", Exclusive("use SET")),
    ("setrange", BYTES),
    ("setv", Write(write::setv)),
    ("shutdown", Node),
    ("sinter", Read),
    ("sintercard", Read),
    ("sinterstore", STORE),
    ("sismember", Read),
    ("smembers", Read),
    ("smismember", Read),
    ("smove", Exclusive("use SADD, then SREM")),
    ("snapshot", Node),
    ("sort", Read),
    ("sort_ro", Read),
    ("spop", POP),
    ("srandmember", Read),
    ("srem", Write(write::srem)),
    ("sscan", Read),
    ("strlen", Read),
    ("subscribe", Node),
    ("substr", Read),
    ("sunion", Read),
    ("sunionstore", STORE),
    ("time", Node),
    ("touch", Read),
    ("ttl", Read),
    ("type", Read),
    ("unlink", Write(write::del)),
    ("unsubscribe", Node),
    ("unwatch", AT_ONCE),
    ("wait", Missing("a write says itself how many hold it: see RECEIPT")),
    ("waitaof", Missing("a write says itself how many hold it: see RECEIPT")),
    ("watch", AT_ONCE),
    ("with", Node),
    ("zadd", Write(write::zadd)),
    ("zcard", Read),
    ("zcount", Read),
    ("zdiff", Read),
    ("zdiffstore", STORE),
    ("zincrby", Write(write::zincrby)),
    ("zinter", Read),
    ("zintercard", Read),
    ("zinterstore", STORE),
    ("zlexcount", Read),
    ("zmpop", POP),
    ("zmscore", Read),
    ("zpopmax", POP),
    ("zpopmin", POP),
    ("zrandmember", Read),
    ("zrange", Read),
    ("zrangebylex", Read),
    ("zrangebyscore", Read),
    ("zrangestore", STORE),
    ("zrank", Read),
    ("zrem", Write(write::zrem)),
    ("zremrangebylex", RANGE),
    ("zremrangebyrank", RANGE),
    ("zremrangebyscore", RANGE),
    ("zrevrange", Read),
    ("zrevrangebylex", Read),
    ("zrevrangebyscore", Read),
    ("zrevrank", Read),
    ("zscan", Read),
    ("zscore", Read),
    ("zunion", Read),
    ("zunionstore", STORE),
];

/// What a command is; its name in lower case, as its spec has it.
pub fn kind_of(name: &str) -> Option<Kind> {
    let at = TABLE.binary_search_by_key(&name, |(name, _)| name).ok()?;
    Some(TABLE[at].1)
}

/// Whether a reading command shows a collection in steps, each by the places of its members.
pub(super) fn shows_in_steps(name: &str) -> bool {
    matches!(name, "hscan" | "sscan" | "zscan")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{self, Class};

    #[test]
    fn every_command_is_planned_or_refused_with_a_reason() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
        for spec in spec::all() {
            let kind = kind_of(spec.name).unwrap_or_else(|| panic!("{} is missing in the table", spec.name));
            match kind {
                Kind::Read => assert!(spec.run.is_some(), "{}", spec.name),
                Kind::Write(_) | Kind::Merge => assert_eq!(spec.class, Class::Write, "{}", spec.name),
                Kind::Exclusive(reason) | Kind::Missing(reason) => assert!(!reason.is_empty()),
                Kind::Names => assert_eq!(spec.keys, crate::Keys::None, "{}", spec.name),
                Kind::Node => assert_eq!(spec.class, Class::Node, "{}", spec.name),
            }
        }
        for (name, _) in TABLE {
            assert!(spec::find(name.as_bytes()).is_some(), "{name} is no command");
        }
    }
}
