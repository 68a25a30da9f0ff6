//! What clients of leaderless keyspaces do: registers, counters, sets whose members come and go, and keys that do, through any node.

use super::{Command, KEYS_LIVE, Kind, Task, single, with_receipt};
use crate::history::Did;
use crate::random::Random;
use crate::reply::Reply;

/// Kinds of work in leaderless keyspaces, their names, and what clients of them do.
pub const ALL: [(Kind, &str, &str); 6] = [
    (Kind::QuorumRegister, "quorum-register", "SET and GET of few registers, of single requests W 3 or R 3"),
    (Kind::QuorumCounter, "quorum-counter", "INCR and GET of counters; DEL of one of them"),
    (
        Kind::QuorumSet,
        "quorum-set",
        "SADD, SREM of what came before, and SMEMBERS; RPUSH, LPUSH, LREM and LRANGE of a list",
    ),
    (
        Kind::QuorumStrict,
        "quorum-strict",
        "SADD and SMEMBERS under WITH SLOPPY off, each with its RECEIPT, also where a keyspace takes stand-ins",
    ),
    (Kind::QuorumKeys, "quorum-keys", "SET and DEL of keys that come and go, and KEYS"),
    (
        Kind::QuorumAgreed,
        "quorum-agreed",
        "GET, SET, SET GET of registers, RPUSH and LRANGE, ids by INCR, all under WITH LINEARIZABLE",
    ),
];

/// Whether the copies agree on this key's values: it is judged as where one leader orders writes.
pub fn is_agreed(key: &str) -> bool {
    key.starts_with("qagreed")
}

/// A command on such a key.
pub fn agreed(key: String, did: Did, words: &[&str]) -> (Task, Vec<Command>) {
    single(key, did, &[&["WITH", "LINEARIZABLE", "DO"], words].concat())
}

/// Whether every write of this key asks all copies to acknowledge it.
pub fn is_for_all(key: &str) -> bool {
    key.starts_with("qregister-all")
}

/// A function of which the first value is the result.
const NO_MERGE: &str = "return(a.value)";

/// Elements that come, go and come again: few, so that those who add and remove meet. Behind all that come once.
fn returning(now: u64, random: &mut Random) -> i64 {
    (1 << 40) + (now / KEYS_LIVE) as i64 * 16 + random.below(6) as i64
}

/// Whether every request of this key said that stand-ins shall not count.
pub fn is_strict(key: &str) -> bool {
    key.starts_with("qstrict")
}

/// What is removed: one that may come again, or one that was perhaps added lately.
fn removed(now: u64, unique: i64, random: &mut Random) -> i64 {
    match random.chance(500) {
        true => returning(now, random),
        false => (unique - 1 - random.below(60) as i64).max(1),
    }
}

/// An element goes to the set, or the list, that its number says: who removes it knows where it is.
fn set_of(now: u64, element: i64) -> String {
    match element % 3 {
        2 => format!("qlist{}", now / KEYS_LIVE),
        set => format!("qset{}-{set}", now / KEYS_LIVE),
    }
}

/// Whether the elements of this key stand in a list.
pub fn is_list(key: &str) -> bool {
    key.starts_with("qlist")
}

/// Keys that are judged as one set: the history knows them by this name, and each ends with its element.
const NAMES: &str = "qnames";

/// Whether a history's key stands for the names of keys.
pub fn is_names(key: &str) -> bool {
    key.starts_with(NAMES)
}

/// The command that reads them.
pub fn keys_of(names: &str) -> [String; 2] {
    ["KEYS".to_owned(), format!("{names}-*")]
}

/// The elements that the reply to it tells of.
pub fn elements_of(reply: &Reply) -> Option<Vec<i64>> {
    let Reply::Array(items) = reply else { return None };
    items.iter().map(|item| item.text()?.rsplit_once('-')?.1.parse().ok()).collect()
}

pub(super) fn begin(kind: Kind, now: u64, unique: i64, random: &mut Random) -> (Task, Vec<Command>) {
    let (era, value) = (now / KEYS_LIVE, unique.to_string());
    match kind {
        Kind::QuorumCounter => {
            let (key, is_deleted) = match random.below(3) {
                2 => (format!("qdeleted{era}"), true),
                counter => (format!("qcounter{era}-{counter}"), false),
            };
            match random.below(12) {
                0 if is_deleted => single(key.clone(), Did::Clear, &["DEL", &key]),
                0..=3 => single(key.clone(), Did::Count { seen: 0 }, &["GET", &key]),
                _ => single(key.clone(), Did::Increment { seen: 0 }, &["INCR", &key]),
            }
        }
        Kind::QuorumStrict => {
            let key = format!("qstrict{era}");
            let (did, words) = match random.below(2) {
                0 => (Did::Members { seen: Vec::new() }, vec!["SMEMBERS", &key]),
                _ => (Did::Add { element: unique }, vec!["SADD", &key, &value]),
            };
            with_receipt(single(key.clone(), did, &[&["WITH", "SLOPPY", "off", "DO"], &words[..]].concat()))
        }
        Kind::QuorumSet => match random.below(10) {
            0..=3 => {
                let element = if random.chance(500) { unique } else { returning(now, random) };
                let key = set_of(now, element);
                let verb = match (is_list(&key), unique % 2) {
                    (false, _) => "SADD",
                    (true, 0) => "RPUSH",
                    (true, _) => "LPUSH",
                };
                single(key.clone(), Did::Add { element }, &[verb, &key, &element.to_string()])
            }
            4 | 5 => {
                let element = removed(now, unique, random);
                let key = set_of(now, element);
                let did = Did::Remove { element, gone: false };
                match is_list(&key) {
                    true => single(key.clone(), did, &["LREM", &key, "0", &element.to_string()]),
                    false => single(key.clone(), did, &["SREM", &key, &element.to_string()]),
                }
            }
            _ => {
                let (key, did) = (set_of(now, random.below(3) as i64), Did::Members { seen: Vec::new() });
                match is_list(&key) {
                    true => single(key.clone(), did, &["LRANGE", &key, "0", "-1"]),
                    false => single(key.clone(), did, &["SMEMBERS", &key]),
                }
            }
        },
        Kind::QuorumAgreed => {
            let register = format!("qagreed{era}-{}", random.below(2));
            let list = format!("qagreed-list{era}");
            match random.below(10) {
                0..=2 => agreed(register.clone(), Did::Read { value: None }, &["GET", &register]),
                3 | 4 => agreed(register.clone(), Did::Write { value: unique }, &["SET", &register, &value]),
                5 | 6 => {
                    let did = Did::Write { value: unique };
                    agreed(register.clone(), did, &["SET", &register, &value, "GET"])
                }
                7 => agreed(list.clone(), Did::Push { element: unique }, &["RPUSH", &list, &value]),
                8 => agreed(list.clone(), Did::Range { seen: Vec::new() }, &["LRANGE", &list, "0", "-1"]),
                _ => {
                    let ids = format!("qagreed-ids{era}");
                    agreed(ids.clone(), Did::Issue { id: 0 }, &["INCR", &ids])
                }
            }
        }
        Kind::QuorumKeys => {
            let names = format!("{NAMES}{era}");
            match random.below(10) {
                0..=3 => {
                    let element = if random.chance(500) { unique } else { returning(now, random) };
                    let key = format!("{names}-{element}");
                    single(names, Did::Add { element }, &["SET", &key, "1"])
                }
                4 | 5 => {
                    let element = removed(now, unique, random);
                    let did = Did::Remove { element, gone: false };
                    let key = format!("{names}-{element}");
                    single(names, did, &["DEL", &key])
                }
                _ => {
                    let [verb, pattern] = keys_of(&names);
                    single(names, Did::Members { seen: Vec::new() }, &[&verb, &pattern])
                }
            }
        }
        _ if random.chance(5) => {
            let name = format!("unfit{unique}");
            let words = ["KEYSPACE", "CREATE", &name, "LEADERLESS", "CONFLICT", "merge", NO_MERGE];
            single("misused".to_owned(), Did::Misuse, &words)
        }
        _ if random.chance(300) => {
            let key = format!("qregister-all{era}");
            match random.below(2) {
                0 => single(key.clone(), Did::Read { value: None }, &["GET", &key]),
                _ => {
                    let did = Did::Write { value: unique };
                    single(key.clone(), did, &["WITH", "W", "all", "DO", "SET", &key, &value])
                }
            }
        }
        _ => {
            let key = format!("qregister{era}-{}", random.below(3));
            let did = Did::Write { value: unique };
            match random.below(10) {
                0..=3 => single(key.clone(), Did::Read { value: None }, &["GET", &key]),
                4 => single(
                    key.clone(),
                    Did::Read { value: None },
                    &["WITH", "CONSISTENCY-LEVEL", "ALL", "DO", "GET", &key],
                ),
                5 => single(key.clone(), did, &["WITH", "W", "all", "DO", "SET", &key, &value]),
                _ => single(key.clone(), did, &["SET", &key, &value]),
            }
        }
    }
}
