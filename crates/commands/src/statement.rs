//! Which commands a `statement` log may hold as their clients sent them.
//!
//! A command that is executed again on another copy must do there what it did first. So it may look at nothing but its
//! keys, the time of its entry and its own words. Who is not on this list is rewritten: the log gets the operations that it
//! yielded, with absolute times, the members that were drawn and the number that came out. A new command is rewritten until
//! somebody puts it here.
//!
//! | rewritten | because |
//! |---|---|
//! | SPOP | it draws |
//! | SET EX, SET PX, SETEX, PSETEX, EXPIRE, PEXPIRE, GETEX | the end is counted from now; applied again from the ledger it would be another |
//! | INCRBYFLOAT, HINCRBYFLOAT | the log shall say what came out, not how a processor rounds |
//! | SORT ... STORE | BY and GET look at keys that it does not name |
//! | GEOADD, GEOSEARCHSTORE | distances are floating point |
//! | SETV | for keyspaces without a log that is shared; here it is refused |
// catalogue: D1 D2 D3
// bugs: SL-23

use crate::spec::Spec;

/// In the order of their letters.
const AS_THEY_ARE: [&str; 70] = [
    "append",
    "bitfield",
    "bitop",
    "blmove",
    "blmpop",
    "blpop",
    "brpop",
    "brpoplpush",
    "bzmpop",
    "bzpopmax",
    "bzpopmin",
    "copy",
    "decr",
    "decrby",
    "del",
    "expireat",
    "flushdb",
    "getdel",
    "getset",
    "hdel",
    "hincrby",
    "hmset",
    "hset",
    "hsetnx",
    "incr",
    "incrby",
    "linsert",
    "lmove",
    "lmpop",
    "lpop",
    "lpush",
    "lpushx",
    "lrem",
    "lset",
    "ltrim",
    "mset",
    "msetnx",
    "persist",
    "pexpireat",
    "pfadd",
    "pfmerge",
    "rename",
    "renamenx",
    "rpop",
    "rpoplpush",
    "rpush",
    "rpushx",
    "sadd",
    "sdiffstore",
    "setbit",
    "setnx",
    "setrange",
    "sinterstore",
    "smove",
    "srem",
    "sunionstore",
    "unlink",
    "zadd",
    "zdiffstore",
    "zincrby",
    "zinterstore",
    "zmpop",
    "zpopmax",
    "zpopmin",
    "zrangestore",
    "zrem",
    "zremrangebylex",
    "zremrangebyrank",
    "zremrangebyscore",
    "zunionstore",
];

/// Whether the command does the same on every copy that executes it behind the same log, at the time of its entry.
pub fn is_logged_as_it_is(spec: &Spec, args: &[&[u8]]) -> bool {
    match spec.name {
        "set" => !args.iter().skip(3).any(|word| is(word, b"EX") || is(word, b"PX")),
        name => AS_THEY_ARE.binary_search(&name).is_ok(),
    }
}

fn is(word: &[u8], option: &[u8]) -> bool {
    word.eq_ignore_ascii_case(option)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Class, all, find};
    use alloc::vec::Vec;

    #[test]
    fn the_list_is_in_order_and_names_writes() {
        assert!(AS_THEY_ARE.is_sorted_by(|a, b| a < b));
        for name in AS_THEY_ARE {
            let spec = find(name.as_bytes());
            assert!(spec.is_some_and(|it| it.class != Class::Read && it.run.is_some()), "{name}");
        }
    }

    #[test]
    fn whoever_writes_and_is_not_on_the_list_is_rewritten_for_a_reason_that_stands_above() {
        let other = all().filter(|it| matches!(it.class, Class::Write | Class::Blocking));
        let mut rewritten: Vec<&str> =
            other.map(|it| it.name).filter(|name| AS_THEY_ARE.binary_search(name).is_err()).collect();
        rewritten.sort_unstable();
        let known = [
            "expire",
            "geoadd",
            "geosearchstore",
            "getex",
            "hincrbyfloat",
            "incrbyfloat",
            "pexpire",
            "psetex",
            "set",
            "setex",
            "setv",
            "sort",
            "spop",
        ];
        assert_eq!(rewritten, known);
    }

    #[test]
    fn a_relative_end_is_rewritten_and_an_absolute_one_is_not() {
        let as_it_is = |words: &str| {
            let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
            is_logged_as_it_is(find(args[0]).expect("a command"), &args)
        };
        assert!(as_it_is("SET k v") && as_it_is("SET EX PX NX GET") && as_it_is("SET k v PXAT 99"));
        assert!(!as_it_is("SET k v EX 10") && !as_it_is("set k v get px 10"));
        assert!(!as_it_is("EXPIRE k 10") && as_it_is("PEXPIREAT k 10"));
        assert!(!as_it_is("SPOP k") && !as_it_is("INCRBYFLOAT k 0.1"));
    }
}
