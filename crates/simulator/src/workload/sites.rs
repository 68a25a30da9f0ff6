//! What clients of multi-leader keyspaces do beside the counters and sets of leaderless ones: registers, and answers whose
//! causes must be seen wherever they are.

use super::{Command, KEYS_LIVE, Kind, Second, Task, command, single, with_token};
use crate::history::Did;
use crate::random::Random;
use crate::reply::Reply;

/// Kinds of work in multi-leader keyspaces, their names, and what clients of them do.
pub const ALL: [(Kind, &str, &str); 8] = [
    (Kind::SiteRegister, "site-register", "SET and GET of few registers, at any site"),
    (
        Kind::SiteBank,
        "site-bank",
        "transfers in MULTI between counters, and their sum, in MULTI or in a SNAPSHOT",
    ),
    (Kind::SiteTicket, "site-ticket", "INCR of few numbers, of which no two clients may be given the same"),
    (
        Kind::SiteSwap,
        "site-swap",
        "SET with GET of few registers, where a command finds what the one before it left",
    ),
    (
        Kind::SiteRoam,
        "site-roam",
        "INCR and GET of few counters, from site to site, each with its SESSION TOKEN for the next",
    ),
    (Kind::SiteAsk, "site-ask", "INCR of a number of questions"),
    (Kind::SiteAnswer, "site-answer", "GET of that number, then SET of it as the answer"),
    (Kind::SiteObserve, "site-observe", "GET of the answer, then of the number of questions"),
];

/// How registers are called whose every write finds the one before it.
const SWAPPED: &str = "sswapped";

/// Whether writes of this key have one order: where keys have a home, or sites agree to each write.
pub fn is_swapped(key: &str) -> bool {
    key.starts_with(SWAPPED)
}

/// How such numbers are called.
const TICKET: &str = "sticket";

/// Whether the answers to INCR of this key must all differ.
pub fn is_ticket(key: &str) -> bool {
    key.starts_with(TICKET)
}

pub(super) fn begin(kind: Kind, now: u64, unique: i64, random: &mut Random) -> (Task, Vec<Command>) {
    match kind {
        Kind::SiteTicket => {
            let key = format!("{TICKET}{}-{}", now / KEYS_LIVE, random.below(3));
            single(key.clone(), Did::Increment { seen: 0 }, &["INCR", &key])
        }
        Kind::SiteSwap => {
            let key = format!("{SWAPPED}{}-{}", now / KEYS_LIVE, random.below(2));
            let words = ["SET", &key, &unique.to_string(), "GET"];
            single(key.clone(), Did::Write { value: unique }, &words)
        }
        Kind::SiteRoam => {
            let key = format!("sroam{}-{}", now / KEYS_LIVE, random.below(2));
            with_token(match random.below(5) {
                0 | 1 => single(key.clone(), Did::Increment { seen: 0 }, &["INCR", &key]),
                _ => single(key.clone(), Did::Count { seen: 0 }, &["GET", &key]),
            })
        }
        Kind::SiteAsk => single(String::new(), Did::Anything, &["INCR", "{dialogue}question"]),
        Kind::SiteAnswer => {
            let task = Task::new(String::new(), Did::Anything, 1);
            (Task { second: Some(Second::SiteAnswer), ..task }, vec![command(&["GET", "{dialogue}question"])])
        }
        Kind::SiteObserve => {
            let did = Did::Observe { answer: 0, question: 0, copies: false };
            let task = Task::new("dialogue".into(), did, 1);
            (Task { second: Some(Second::SiteQuestion), ..task }, vec![command(&["GET", "{dialogue}answer"])])
        }
        _ => {
            let key = format!("sregister{}-{}", now / KEYS_LIVE, random.below(3));
            match random.below(10) {
                0..=4 => single(key.clone(), Did::Read { value: None }, &["GET", &key]),
                _ => single(key.clone(), Did::Write { value: unique }, &["SET", &key, &unique.to_string()]),
            }
        }
    }
}

/// The questions that were seen are answered.
pub(super) fn answer(replies: &[Reply]) -> Vec<Command> {
    let newest = replies.last().and_then(Reply::number).unwrap_or(0).to_string();
    vec![command(&["SET", "{dialogue}answer", &newest])]
}

/// An answer was seen: its question must be there.
pub(super) fn question(did: &mut Did, replies: &[Reply]) -> Vec<Command> {
    let answer = replies.last().and_then(Reply::number).unwrap_or(0);
    *did = Did::Observe { answer, question: 0, copies: false };
    vec![command(&["GET", "{dialogue}question"])]
}
