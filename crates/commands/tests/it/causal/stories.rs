//! What concurrent commands come to, read like stories: two replicas, each with its own clients, then both meet.
// catalogue: J8 J9 J10 J14 K10 K12
// bugs: LL-12, LL-24, ML-11, ML-14

use super::rig::{Pair, Replica};
use commands::causal::OnSiblings;
use data::causal::SIBLINGS_MAX;

#[test]
fn increments_of_two_sides_add_up() {
    let mut pair = Pair::new();
    assert_eq!(pair.a.line("INCRBY c 5"), ":5");
    assert_eq!(pair.b.line("INCRBY c 3"), ":3");
    pair.meet();
    assert_eq!(pair.line("GET c"), "\"8\"");
    // Each reply is as its replica sees it.
    assert_eq!(pair.a.line("INCR c"), ":9");
    assert_eq!(pair.b.line("INCR c"), ":9");
    pair.meet();
    assert_eq!(pair.line("GET c"), "\"10\"");
}

#[test]
fn an_increment_survives_a_set_that_did_not_see_it() {
    let mut pair = Pair::new();
    pair.a.line("INCRBY c 5");
    pair.meet();
    pair.a.line("SET c 100");
    pair.b.line("INCR c");
    pair.meet();
    // The total of the other side's actor was seen as five: one more came.
    assert_eq!(pair.line("GET c"), "\"101\"");
}

#[test]
fn an_add_wins_over_a_remove_that_did_not_see_it() {
    let mut pair = Pair::new();
    assert_eq!(pair.a.line("SADD s x y"), ":2");
    pair.meet();
    assert_eq!(pair.a.line("SREM s x y"), ":2");
    assert_eq!(pair.b.line("SADD s x"), ":0");
    pair.meet();
    assert_eq!(pair.line("SMEMBERS s"), "[\"x\"]");
}

#[test]
fn fields_and_scores_merge_one_by_one() {
    let mut pair = Pair::new();
    pair.a.line("HSET h name ann visits 1");
    pair.a.line("ZADD z 10 ann 20 bob");
    pair.meet();
    pair.a.line("HINCRBY h visits 2");
    pair.a.line("ZINCRBY z 5 ann");
    pair.b.line("HINCRBY h visits 4");
    pair.b.line("HDEL h name");
    pair.b.line("ZINCRBY z 1 ann");
    pair.b.line("ZREM z bob");
    pair.meet();
    assert_eq!(pair.line("HGETALL h"), "[\"visits\", \"7\"]");
    assert_eq!(pair.line("ZRANGE z 0 -1 WITHSCORES"), "[\"ann\", \"16\"]");
}

#[test]
fn pushed_runs_stand_one_behind_the_other_and_a_removal_takes_what_it_saw() {
    let mut pair = Pair::new();
    assert_eq!(pair.a.line("RPUSH l a b"), ":2");
    pair.meet();
    pair.a.line("RPUSH l a1 a2");
    pair.b.line("RPUSH l b1 b2");
    pair.meet();
    assert_eq!(pair.line("LRANGE l 0 -1"), "[\"a\", \"b\", \"a1\", \"a2\", \"b1\", \"b2\"]");
    assert_eq!(pair.a.line("LREM l 0 a"), ":1");
    assert_eq!(pair.b.line("LPUSH l a"), ":7");
    assert_eq!(pair.b.line("LINSERT l AFTER b c"), ":8");
    pair.meet();
    assert_eq!(pair.line("LRANGE l 0 2"), "[\"a\", \"b\", \"c\"]");
    assert_eq!(pair.a.line("LINSERT l BEFORE nobody x"), ":-1");
}

#[test]
fn of_concurrent_expiries_the_longest_holds_and_none_deletes() {
    let mut pair = Pair::new();
    pair.a.line("SET k v");
    pair.meet();
    assert_eq!(pair.a.line("EXPIRE k -1"), ":1");
    assert_eq!(pair.a.line("GET k"), "nil");
    assert_eq!(pair.a.line("PERSIST k"), ":0");
    assert_eq!(pair.b.line("EXPIRE k 100"), ":1");
    pair.meet();
    assert_eq!(pair.line("TTL k"), ":100");
    assert_eq!(pair.line("GET k"), "\"v\"");
    assert_eq!(pair.a.line("PERSIST k"), ":1");
    pair.meet();
    assert_eq!(pair.line("TTL k"), ":-1");
}

/// Two values that nobody ordered: a plain read shows the highest, GETV both, and SETV with its context ends both, but nothing that
/// came later.
#[test]
fn a_write_that_echoes_its_context_supersedes_what_it_saw_and_nothing_else() {
    let mut pair = Pair::new();
    pair.a.line("SET price 150");
    pair.b.stamp = 10;
    pair.b.line("SET price 100");
    pair.meet();
    assert_eq!(pair.line("GET price"), "\"100\"");
    let read = pair.line("GETV price");
    assert!(read.ends_with("[\"100\", \"150\"]]"), "{read}");
    let context = read.split('"').nth(1).expect("a context").to_owned();

    // Meanwhile somebody else writes, having seen both.
    assert_eq!(pair.a.line("SET price 200"), "+OK");
    assert_eq!(pair.b.line(&format!("SETV price {context} 300")), "+OK");
    pair.meet();
    let read = pair.line("GETV price");
    assert!(read.ends_with("[\"300\", \"200\"]]"), "{read}");

    // The old context again: it names neither of the two.
    assert_eq!(pair.a.line(&format!("SETV price {context} 400")), "+OK");
    assert!(pair.a.line("GETV price").ends_with("[\"400\", \"300\", \"200\"]]"));
    // The newest context ends all.
    let read = pair.a.line("GETV price");
    let context = read.split('"').nth(1).expect("a context").to_owned();
    pair.a.line(&format!("SETV price {context} 500"));
    pair.meet();
    assert!(pair.line("GETV price").ends_with("[\"500\"]]"));
}

/// Read where the key was not there, a context names nothing: who writes with it first makes the key, who comes second a sibling.
#[test]
fn a_context_of_nothing_makes_siblings_of_what_it_did_not_see() {
    let mut replica = Replica::new(1);
    let read = replica.line("GETV k");
    assert!(read.ends_with("\", []]"), "{read}");
    let context = read.split('"').nth(1).expect("a context").to_owned();
    replica.line(&format!("SETV k {context} one"));
    replica.line(&format!("SETV k {context} two"));
    assert!(replica.line("GETV k").ends_with("[\"two\", \"one\"]]"));
}

#[test]
fn clients_that_never_look_cannot_pile_up_versions_without_end() {
    let mut replica = Replica::new(1);
    let read = replica.line("GETV k");
    let context = read.split('"').nth(1).expect("a context").to_owned();
    for at in 0..SIBLINGS_MAX {
        assert_eq!(replica.line(&format!("SETV k {context} {at}")), "+OK", "{at}");
    }
    let refused = replica.line(&format!("SETV k {context} more"));
    assert!(refused.starts_with("-CONFLICT the key has as many versions"), "{refused}");
    // Whoever has looked may write.
    let read = replica.line("GETV k");
    let context = read.split('"').nth(1).expect("a context").to_owned();
    assert_eq!(replica.line(&format!("SETV k {context} resolved")), "+OK");
    assert!(replica.line("GETV k").ends_with("[\"resolved\"]]"));
}

/// What was written over an expired key is seen: the expiry that had passed goes with what it hid.
#[test]
fn a_key_that_expired_is_made_anew() {
    for write in ["SET k new", "INCR k", "SADD k new", "RPUSH k new", "SETV"] {
        let mut pair = Pair::new();
        pair.a.line("SET k 1 PX 10");
        pair.meet();
        (pair.a.now_ms, pair.b.now_ms) = (pair.a.now_ms + 11, pair.b.now_ms + 11);
        let read = pair.line("GETV k");
        assert!(read.ends_with("\", []]"), "{read}");
        let context = read.split('"').nth(1).expect("a context").to_owned();
        pair.a.line(&write.replace("SETV", &format!("SETV k {context} new")));
        pair.meet();
        assert_eq!(pair.line("EXISTS k"), ":1", "{write}");
        assert_eq!(pair.line("TTL k"), ":-1", "{write}");
        if write == "SETV" {
            assert!(pair.line("GETV k").ends_with("[\"new\"]]"));
        }
    }
}

/// Members have no lasting places: a scan that went on by them could leave out who stayed.
#[test]
fn a_scan_shows_a_collection_in_one_step() {
    let mut replica = Replica::new(1);
    for at in 0..300 {
        replica.line(&format!("HSET h f{at} v"));
        replica.line(&format!("SADD s f{at}"));
        replica.line(&format!("ZADD z 1 f{at}"));
    }
    for (line, items) in [
        ("HSCAN h 0", 600),
        ("HSCAN h 0 COUNT 1 NOVALUES", 300),
        ("SSCAN s 0", 300),
        ("ZSCAN z 0 COUNT 2", 600),
    ] {
        let reply = replica.line(line);
        assert!(reply.starts_with("[\"0\", ["), "{line}: {reply}");
        assert_eq!(reply.matches(", ").count(), items, "{line}");
    }
    assert_eq!(replica.line("SSCAN s 0 COUNT"), "-ERR syntax error");
}

#[test]
fn increments_count_in_every_version() {
    let mut pair = Pair::new();
    pair.a.line("SET c 10");
    pair.b.stamp = 10;
    pair.b.line("SET c words");
    pair.b.line("SET c 20");
    pair.meet();
    pair.a.line("INCRBY c 3");
    pair.meet();
    assert_eq!(pair.line("GET c"), "\"23\"");
    assert!(pair.line("GETV c").ends_with("[\"23\", \"13\"]]"));
}

#[test]
fn what_is_not_shown_is_a_conflict() {
    let mut pair = Pair::new();
    pair.a.line("SET k old");
    pair.meet();
    assert_eq!(pair.a.object("k").conflicts(), []);
    pair.a.line("SET k ours");
    pair.b.stamp += 10;
    pair.b.line("SET k theirs");
    pair.meet();
    let conflicts = pair.b.object("k").conflicts();
    assert_eq!(conflicts, pair.a.object("k").conflicts());
    let values: Vec<_> = conflicts[0].versions.iter().map(|version| version.value.as_deref()).collect();
    assert_eq!(values, [Some(&b"theirs"[..]), Some(b"ours")]);
    // A reader who asked to be told is.
    pair.a.on_siblings = OnSiblings::Error;
    assert!(pair.a.line("GET k").starts_with("-CONFLICT a key has 2 versions"));
    assert!(pair.a.line("GETV k").ends_with("[\"theirs\", \"ours\"]]"));
}

#[test]
fn two_types_of_one_key_are_both_kept() {
    let mut pair = Pair::new();
    pair.a.line("SADD k x");
    pair.b.stamp = 10;
    pair.b.line("RPUSH k y");
    pair.meet();
    assert_eq!(pair.line("TYPE k"), "+list");
    assert!(pair.a.line("SADD k z").starts_with("-WRONGTYPE"));
    let conflicts = pair.a.object("k").conflicts();
    let kinds: Vec<_> = conflicts[0].versions.iter().map(|version| version.kind.name()).collect();
    assert_eq!(kinds, ["list", "set"]);
    pair.a.line("DEL k");
    pair.meet();
    assert_eq!(pair.line("TYPE k"), "+none");
}
