//! Sorted sets: members with scores, ordered by (score, member).

mod add;
mod algebra;
mod blocking;
mod interval;
mod pop;
mod random;
mod range;
mod read;
mod remove;

pub(crate) use add::{Conditions, add};
pub(crate) use range::store;

use crate::call::{CommandError, View};
use crate::describe::Family;
use crate::spec::{Flags, Keys, Spec};
use data::value::{ValueRef, ZSet};
use wire::{Protocol, ReplyWriter};

const ZSET: Family = Family("sorted-set");
const GROWS_FAST: Flags = Flags::DENYOOM.and(Flags::FAST);
const FAST: Flags = Flags::FAST;
const GROWS: Flags = Flags::DENYOOM;
const TWO_KEYS: Keys = Keys::Range { first: 1, last: 2, step: 1 };
const KEYS_THEN_TIMEOUT: Keys = Keys::Range { first: 1, last: -2, step: 1 };

pub const SPECS: &[Spec] = &[
    ZSET.write("zadd", -4, add::zadd).flags(GROWS_FAST).docs(
        "1.2.0",
        "O(N*log(M)), N members added, M there",
        "Adds members with scores, or changes their scores.",
    ),
    ZSET.write("zincrby", 4, add::zincrby).flags(GROWS_FAST).docs(
        "1.2.0",
        "O(log(N)), N members of the set",
        "Adds to the score of a member.",
    ),
    ZSET.write("zrem", -3, remove::zrem).flags(FAST).docs(
        "1.2.0",
        "O(M*log(N)), M members removed, N there",
        "Removes members; the set goes with its last one.",
    ),
    ZSET.write("zremrangebyrank", 4, remove::zremrangebyrank).docs(
        "2.0.0",
        "O(M*log(N)), M members removed, N there",
        "Removes the members between two ranks.",
    ),
    ZSET.write("zremrangebyscore", 4, remove::zremrangebyscore).docs(
        "1.2.0",
        "O(M*log(N)), M members removed, N there",
        "Removes the members between two scores.",
    ),
    ZSET.write("zremrangebylex", 4, remove::zremrangebylex).docs(
        "2.8.9",
        "O(M*log(N)), M members removed, N there",
        "Removes the members between two names, all of one score.",
    ),
    ZSET.read("zcard", 2, read::zcard).flags(FAST).docs("1.2.0", "O(1)", "Counts the members."),
    ZSET.read("zscore", 3, read::zscore).flags(FAST).docs("1.2.0", "O(1)", "Answers the score of a member."),
    ZSET.read("zmscore", -3, read::zmscore).flags(FAST).docs(
        "6.2.0",
        "O(N), N members asked",
        "Answers the scores of several members.",
    ),
    ZSET.read("zrank", -3, read::zrank).flags(FAST).docs(
        "2.0.0",
        "O(log(N)), N members of the set",
        "Answers the rank of a member, the lowest score first.",
    ),
    ZSET.read("zrevrank", -3, read::zrevrank).flags(FAST).docs(
        "2.0.0",
        "O(log(N)), N members of the set",
        "Answers the rank of a member, the highest score first.",
    ),
    ZSET.read("zcount", 4, read::zcount).flags(FAST).docs(
        "2.0.0",
        "O(log(N)), N members of the set",
        "Counts the members between two scores.",
    ),
    ZSET.read("zlexcount", 4, read::zlexcount).flags(FAST).docs(
        "2.8.9",
        "O(log(N)), N members of the set",
        "Counts the members between two names, all of one score.",
    ),
    ZSET.read("zscan", -3, read::zscan).docs(
        "2.8.0",
        "O(1) a step, O(N) a walk",
        "Walks through members and scores step by step.",
    ),
    ZSET.read("zrange", -4, range::zrange).docs(
        "1.2.0",
        "O(log(N)+M), M members answered",
        "Answers the members between two ranks, scores or names.",
    ),
    ZSET.write("zrangestore", -5, range::zrangestore).flags(GROWS).keys(TWO_KEYS).docs(
        "6.2.0",
        "O(log(N)+M*log(M)), M members stored",
        "Stores the members between two ranks, scores or names.",
    ),
    ZSET.read("zrevrange", -4, range::zrevrange).docs(
        "1.2.0",
        "O(log(N)+M), M members answered",
        "Answers the members between two ranks, the highest score first.",
    ),
    ZSET.read("zrangebyscore", -4, range::zrangebyscore).docs(
        "1.0.5",
        "O(log(N)+M), M members answered",
        "Answers the members between two scores.",
    ),
    ZSET.read("zrevrangebyscore", -4, range::zrevrangebyscore).docs(
        "2.2.0",
        "O(log(N)+M), M members answered",
        "Answers the members between two scores, the highest first.",
    ),
    ZSET.read("zrangebylex", -4, range::zrangebylex).docs(
        "2.8.9",
        "O(log(N)+M), M members answered",
        "Answers the members between two names, all of one score.",
    ),
    ZSET.read("zrevrangebylex", -4, range::zrevrangebylex).docs(
        "2.8.9",
        "O(log(N)+M), M members answered",
        "Answers the members between two names, the last first.",
    ),
    ZSET.write("zpopmin", -2, pop::zpopmin).flags(FAST).docs(
        "5.0.0",
        "O(M*log(N)), M members answered",
        "Takes the members with the lowest scores.",
    ),
    ZSET.write("zpopmax", -2, pop::zpopmax).flags(FAST).docs(
        "5.0.0",
        "O(M*log(N)), M members answered",
        "Takes the members with the highest scores.",
    ),
    ZSET.write("zmpop", -4, pop::zmpop)
        .flags(Flags::MOVABLEKEYS)
        .keys(Keys::Counted { count_at: 1, also: 0 })
        .docs(
            "7.0.0",
            "O(K+M*log(N)), K keys, M members answered",
            "Takes members from the first of several sorted sets that exists.",
        ),
    ZSET.blocking("bzpopmin", -3, blocking::bzpopmin)
        .flags(Flags::NOSCRIPT.and(Flags::FAST))
        .keys(KEYS_THEN_TIMEOUT)
        .docs("5.0.0", "O(K+log(N)), K keys", "Takes the member with the lowest score, waiting for one."),
    ZSET.blocking("bzpopmax", -3, blocking::bzpopmax)
        .flags(Flags::NOSCRIPT.and(Flags::FAST))
        .keys(KEYS_THEN_TIMEOUT)
        .docs("5.0.0", "O(K+log(N)), K keys", "Takes the member with the highest score, waiting for one."),
    ZSET.blocking("bzmpop", -5, blocking::bzmpop)
        .flags(Flags::MOVABLEKEYS)
        .keys(Keys::Counted { count_at: 2, also: 0 })
        .docs("7.0.0", "O(K+M*log(N)), K keys, M members answered", "ZMPOP that waits for a member."),
    ZSET.read("zrandmember", -2, random::zrandmember).docs(
        "6.2.0",
        "O(N), N members answered",
        "Answers members at random.",
    ),
    ZSET.read("zunion", -3, algebra::zunion)
        .flags(Flags::MOVABLEKEYS)
        .keys(Keys::Counted { count_at: 1, also: 0 })
        .docs(
            "6.2.0",
            "O(N*log(N)), N members in all",
            "Answers the members of any of the sets, scores combined.",
        ),
    ZSET.read("zinter", -3, algebra::zinter)
        .flags(Flags::MOVABLEKEYS)
        .keys(Keys::Counted { count_at: 1, also: 0 })
        .docs(
            "6.2.0",
            "O(N*K+M*log(M)), N members of the smallest, K sets",
            "Answers the members that all sets share, scores combined.",
        ),
    ZSET.read("zdiff", -3, algebra::zdiff)
        .flags(Flags::MOVABLEKEYS)
        .keys(Keys::Counted { count_at: 1, also: 0 })
        .docs(
            "6.2.0",
            "O(N*K+M*log(M)), N members of the first, K sets",
            "Answers the members of the first set that no other has.",
        ),
    ZSET.read("zintercard", -3, algebra::zintercard)
        .flags(Flags::MOVABLEKEYS)
        .keys(Keys::Counted { count_at: 1, also: 0 })
        .docs(
            "7.0.0",
            "O(N*K), N members of the smallest, K sets",
            "Counts the members that all sets share.",
        ),
    ZSET.write("zunionstore", -4, algebra::zunionstore)
        .flags(Flags::DENYOOM.and(Flags::MOVABLEKEYS))
        .keys(Keys::Counted { count_at: 2, also: 1 })
        .docs(
            "2.0.0",
            "O(N*log(N)), N members in all",
            "Stores the members of any of the sets, scores combined.",
        ),
    ZSET.write("zinterstore", -4, algebra::zinterstore)
        .flags(Flags::DENYOOM.and(Flags::MOVABLEKEYS))
        .keys(Keys::Counted { count_at: 2, also: 1 })
        .docs(
            "2.0.0",
            "O(N*K+M*log(M)), N members of the smallest, K sets",
            "Stores the members that all sets share, scores combined.",
        ),
    ZSET.write("zdiffstore", -4, algebra::zdiffstore)
        .flags(Flags::DENYOOM.and(Flags::MOVABLEKEYS))
        .keys(Keys::Counted { count_at: 2, also: 1 })
        .docs(
            "6.2.0",
            "O(N*K+M*log(M)), N members of the first, K sets",
            "Stores the members of the first set that no other has.",
        ),
];

/// The sorted set under a key; `None` when the key is missing.
pub(crate) fn zset_at<'v>(view: &'v dyn View, key: &[u8]) -> Result<Option<&'v ZSet>, CommandError> {
    match view.get(key).map(|found| found.value) {
        None => Ok(None),
        Some(ValueRef::ZSet(zset)) => Ok(Some(zset)),
        Some(_) => Err(CommandError::WRONG_TYPE),
    }
}

/// Begins a list of members, or of members with scores: in turn in RESP2, a pair each in RESP3.
fn begin_members(reply: &mut ReplyWriter<'_>, count: usize, with_scores: bool) {
    let flat = with_scores && reply.protocol == Protocol::Resp2;
    reply.array(if flat { count * 2 } else { count });
}

fn show_member(reply: &mut ReplyWriter<'_>, member: &[u8], score: f64, with_scores: bool) {
    if with_scores && reply.protocol == Protocol::Resp3 {
        reply.array(2);
    }
    reply.bulk(member);
    if with_scores {
        reply.double(score);
    }
}
