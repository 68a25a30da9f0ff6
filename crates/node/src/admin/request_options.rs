//! What one request may ask for, in the words of WITH and CONSISTENCY, and the words of other systems for the same.
// catalogue: C7, C11, C12, C13

use crate::leaderless::levels::{Levels, Word};
use crate::options::{ClientRequest, Options};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use data::NodeId;
use data::keyspace::{CommitRule, Level};
use protocol::single_leader::{Asked, Who};
use wire::number::parse_integer;

pub(super) const BAD_ID: &str =
    "ERR a request id is client:sequence: 1 to 64 printable bytes without spaces, and a number that grows";
/// As for a keyspace.
const TIMEOUT_MS_MAX: u32 = 600_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Name {
    Commit,
    Acks,
    Level,
    Timeout,
    Replicas,
    Receipt,
    Request,
    /// Of leaderless keyspaces, said by its name alone.
    Linearizable,
    /// MySQL's number of replicas that acknowledge.
    SemiSyncCount,
    /// PostgreSQL's one word for rule and level.
    SynchronousCommit,
    /// Of leaderless keyspaces.
    Quorum(Word),
}

/// Every name of every option, in lower case.
const NAMES: [(&str, Name); 20] = [
    ("commit", Name::Commit),
    ("acks", Name::Acks),
    ("level", Name::Level),
    ("timeout", Name::Timeout),
    ("replicas", Name::Replicas),
    ("receipt", Name::Receipt),
    ("request", Name::Request),
    ("linearizable", Name::Linearizable),
    ("rpl_semi_sync_master_timeout", Name::Timeout),
    ("rpl_semi_sync_source_timeout", Name::Timeout),
    ("rpl_semi_sync_master_wait_for_slave_count", Name::SemiSyncCount),
    ("rpl_semi_sync_source_wait_for_replica_count", Name::SemiSyncCount),
    ("synchronous_commit", Name::SynchronousCommit),
    ("synchronous_standby_names", Name::Replicas),
    ("w", Name::Quorum(Word::W)),
    ("r", Name::Quorum(Word::R)),
    ("pw", Name::Quorum(Word::StrictW)),
    ("pr", Name::Quorum(Word::StrictR)),
    ("sloppy", Name::Quorum(Word::Sloppy)),
    ("consistency-level", Name::Quorum(Word::ConsistencyLevel)),
];

/// The option of a name, in any case.
pub(super) fn named(word: &[u8]) -> Option<Name> {
    NAMES.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes())).map(|(_, option)| *option)
}

/// What options add up to.
#[derive(PartialEq, Debug, Default)]
pub(super) struct Said {
    pub options: Options,
    pub receipt: bool,
}

/// Kafka's word for a number of copies, or a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Acks {
    All,
    Count(u32),
}

/// The options as they come; what they mean together is known at the end.
#[derive(Default)]
struct Draft {
    commit: Option<CommitRule>,
    acks: Option<Acks>,
    semi_sync: Option<u32>,
    replicas: Option<Who>,
    level: Option<Level>,
    timeout_ms: Option<u32>,
    synchronous_commit: Option<(Who, Option<Level>)>,
    receipt: bool,
    client: Option<ClientRequest>,
    levels: Levels,
}

/// Reads options up to their end. `node` knows nodes by name. The first thing that is wrong, as an error for the client.
pub(super) fn parse(words: &[&[u8]], node: &dyn Fn(&[u8]) -> Option<NodeId>) -> Result<Said, String> {
    let mut draft = Draft::default();
    let mut rest = words;
    while let Some((word, behind)) = rest.split_first() {
        let shown = || String::from_utf8_lossy(&word[..word.len().min(64)]).into_owned();
        let Some(name) = named(word) else { return Err(format!("ERR unknown option '{}'", shown())) };
        if let Some(flag) = draft.flag(name) {
            *flag = true;
            rest = behind;
            continue;
        }
        let Some((value, behind)) = behind.split_first() else {
            return Err(format!("ERR option '{}' needs a value", shown()));
        };
        draft.take(name, &shown(), value, node)?;
        rest = behind;
    }
    draft.finish()
}

/// Sets what may be set once.
fn once<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("ERR option '{name}' is given twice")),
    }
}

impl Draft {
    /// What an option without a value sets.
    fn flag(&mut self, name: Name) -> Option<&mut bool> {
        match name {
            Name::Receipt => Some(&mut self.receipt),
            Name::Linearizable => Some(&mut self.levels.linearizable),
            _ => None,
        }
    }
    fn take(
        &mut self,
        name: Name,
        said: &str,
        value: &[u8],
        node: &dyn Fn(&[u8]) -> Option<NodeId>,
    ) -> Result<(), String> {
        let text = String::from_utf8_lossy(&value[..value.len().min(1024)]).to_ascii_lowercase();
        let wrong = || format!("ERR {said} does not take '{text}' in this version");
        let number = || parse_integer(value).and_then(|number| u32::try_from(number).ok());
        match name {
            Name::Commit => once(&mut self.commit, said, commit_rule(&text).ok_or_else(wrong)?),
            Name::Acks => {
                let acks = match &text[..] {
                    "all" | "-1" => Acks::All,
                    _ => Acks::Count(number().ok_or_else(|| format!("ERR {said} takes a number or all"))?),
                };
                once(&mut self.acks, said, acks)
            }
            Name::Level => once(&mut self.level, said, level(&text).ok_or_else(wrong)?),
            Name::Timeout => match number() {
                Some(ms) if (1..=TIMEOUT_MS_MAX).contains(&ms) => once(&mut self.timeout_ms, said, ms),
                _ => Err(format!("ERR {said} must be between 1 and {TIMEOUT_MS_MAX} ms")),
            },
            Name::Replicas => once(&mut self.replicas, said, replicas(value, node)?),
            Name::Request => {
                once(&mut self.client, said, ClientRequest::parse(value).ok_or_else(|| String::from(BAD_ID))?)
            }
            Name::SemiSyncCount => match number() {
                Some(count) if count > 0 => once(&mut self.semi_sync, said, count),
                _ => Err(format!("ERR {said} takes a number above 0")),
            },
            Name::SynchronousCommit => {
                once(&mut self.synchronous_commit, said, synchronous_commit(&text).ok_or_else(wrong)?)
            }
            Name::Quorum(word) => self.levels.take(word, said, &text),
            Name::Receipt | Name::Linearizable => Ok(()),
        }
    }

    fn finish(self) -> Result<Said, String> {
        let mut level = self.level;
        let said = self.commit.is_some() || self.acks.is_some() || self.semi_sync.is_some();
        if said && self.replicas.is_some() {
            return Err(
                "ERR REPLICAS says who shall hold the write: COMMIT and ACKS do not go with it".into()
            );
        }
        let mut who = match (self.commit, self.acks) {
            (_, Some(Acks::Count(_))) if self.semi_sync.is_some() => {
                return Err("ERR ACKS is given twice, under two names".into());
            }
            (None, None) => {
                self.semi_sync.map_or(Who::Keyspace, |acks| Who::Rule(CommitRule::SemiSync { acks }))
            }
            (None, Some(Acks::Count(0))) => Who::Nobody,
            (None, Some(Acks::Count(1))) => Who::Rule(CommitRule::Async),
            (None, Some(Acks::All)) => Who::Rule(CommitRule::InSyncSet { minimum: 0 }),
            (None, Some(Acks::Count(_))) => {
                return Err(
                    "ERR ACKS alone is 0, 1 (the leader) or all: with COMMIT semi-sync it counts followers"
                        .into(),
                );
            }
            (Some(CommitRule::SemiSync { .. }), acks) => {
                let acks = match (acks, self.semi_sync) {
                    (Some(Acks::Count(count)), _) if count > 0 => count,
                    (None, count) => count.unwrap_or(1),
                    _ => return Err("ERR COMMIT semi-sync takes ACKS above 0".into()),
                };
                Who::Rule(CommitRule::SemiSync { acks })
            }
            (Some(rule), None) if self.semi_sync.is_none() => Who::Rule(rule),
            (Some(_), _) => return Err("ERR ACKS goes with COMMIT semi-sync, or alone".into()),
        };
        if let Some((rule, its_level)) = self.synchronous_commit {
            if level.is_some() {
                return Err("ERR synchronous_commit says the level: LEVEL does not go with it".into());
            }
            level = its_level;
            who = if who == Who::Keyspace { rule } else { who };
        }
        let who = self.replicas.unwrap_or(who);
        let asked = Asked { who, level, timeout_ms: self.timeout_ms };
        let asked = (asked != Asked::default()).then_some(asked);
        let options = Options { asked, client: self.client, levels: self.levels };
        Ok(Said { options, receipt: self.receipt })
    }
}

fn commit_rule(text: &str) -> Option<CommitRule> {
    Some(match text {
        "best-effort" => CommitRule::BestEffort,
        "async" => CommitRule::Async,
        "semi-sync" => CommitRule::SemiSync { acks: 0 },
        "majority" => CommitRule::Majority,
        "in-sync-set" => CommitRule::InSyncSet { minimum: 0 },
        "synchronous" => CommitRule::Synchronous,
        _ => return None,
    })
}

fn level(text: &str) -> Option<Level> {
    [Level::Received, Level::Flushed, Level::Applied].into_iter().find(|level| level.name() == text)
}

/// PostgreSQL waits for one standby unless their names say otherwise.
pub(super) fn synchronous_commit(text: &str) -> Option<(Who, Option<Level>)> {
    let one = Who::Rule(CommitRule::SemiSync { acks: 1 });
    Some(match text {
        "off" => (Who::Nobody, None),
        "local" => (Who::Rule(CommitRule::Async), Some(Level::Flushed)),
        "remote_write" => (one, Some(Level::Received)),
        "on" => (one, Some(Level::Flushed)),
        "remote_apply" => (one, Some(Level::Applied)),
        _ => return None,
    })
}

/// Nodes by name, as in PostgreSQL's `synchronous_standby_names`: `FIRST n (a, b)`, `ANY n (a, b)`, `n (a, b)`, `a, b`.
fn replicas(value: &[u8], node: &dyn Fn(&[u8]) -> Option<NodeId>) -> Result<Who, String> {
    const FORM: &str = "ERR REPLICAS is FIRST n (name, ...), ANY n (name, ...) or names";
    let text = core::str::from_utf8(value).ok().filter(|text| text.len() <= 4096).ok_or(FORM)?.trim();
    let (head, list) = match text.split_once('(') {
        Some((head, list)) => (head.trim(), list.strip_suffix(')').ok_or(FORM)?),
        None => ("FIRST 1", text),
    };
    let words: Vec<&str> = head.split_ascii_whitespace().collect();
    let (any, count) = match &words[..] {
        [count] => (false, *count),
        [word, count] if word.eq_ignore_ascii_case("FIRST") => (false, *count),
        [word, count] if word.eq_ignore_ascii_case("ANY") => (true, *count),
        _ => return Err(FORM.into()),
    };
    let count = parse_integer(count.as_bytes()).and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
    let mut nodes = Vec::new();
    for name in list.split(',') {
        let name = name.trim();
        let name = name.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or(name);
        let found = node(name.as_bytes()).ok_or_else(|| format!("ERR REPLICAS: no such node '{name}'"))?;
        if nodes.contains(&found) {
            return Err(format!("ERR REPLICAS names '{name}' twice"));
        }
        nodes.push(found);
    }
    if count == 0 || count as usize > nodes.len() {
        return Err(format!("ERR REPLICAS: of {} nodes it takes 1 to {0}", nodes.len()));
    }
    Ok(if any { Who::Any { count, nodes } } else { Who::First { count, nodes } })
}

/// The same again as options and values.
pub(super) fn shown(asked: &Asked, name: &dyn Fn(NodeId) -> String) -> Vec<(&'static str, String)> {
    let list = |kind: &str, count: &u32, nodes: &[NodeId]| {
        let names: Vec<String> = nodes.iter().map(|node| name(*node)).collect();
        vec![("REPLICAS", format!("{kind} {count} ({})", names.join(",")))]
    };
    let mut words = match &asked.who {
        Who::Keyspace => Vec::new(),
        Who::Nobody => vec![("ACKS", String::from("0"))],
        Who::Rule(rule @ CommitRule::SemiSync { acks }) => {
            vec![("COMMIT", rule.name().to_string()), ("ACKS", acks.to_string())]
        }
        Who::Rule(rule) => vec![("COMMIT", rule.name().to_string())],
        Who::First { count, nodes } => list("FIRST", count, nodes),
        Who::Any { count, nodes } => list("ANY", count, nodes),
    };
    words.extend(asked.level.map(|level| ("LEVEL", level.name().to_string())));
    words.extend(asked.timeout_ms.map(|ms| ("TIMEOUT", ms.to_string())));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &[u8]) -> Option<NodeId> {
        let digit = name.strip_prefix(b"n").filter(|rest| rest.len() == 1)?;
        (b'1'..=b'9').contains(&digit[0]).then(|| NodeId(u32::from(digit[0] - b'0')))
    }
    /// Words are divided by blanks, and `~` stands for a blank within one.
    fn read(line: &str) -> Result<Said, String> {
        let words: Vec<String> =
            line.split(' ').filter(|it| !it.is_empty()).map(|it| it.replace('~', " ")).collect();
        let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        parse(&words, &node)
    }
    fn again(line: &str) -> Result<String, String> {
        let asked = read(line)?.options.asked.unwrap_or_default();
        let words = shown(&asked, &|node| format!("n{}", node.0));
        Ok(words.into_iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(" "))
    }

    // catalogue: C7, C11, C12, C13
    #[test]
    fn options_and_their_other_names_mean_one_thing() {
        for (line, meant) in [
            ("", ""),
            ("COMMIT majority", "COMMIT majority"),
            ("commit semi-sync", "COMMIT semi-sync ACKS 1"),
            ("ACKS 2 COMMIT semi-sync LEVEL applied", "COMMIT semi-sync ACKS 2 LEVEL applied"),
            ("COMMIT in-sync-set TIMEOUT 250", "COMMIT in-sync-set TIMEOUT 250"),
            ("COMMIT synchronous", "COMMIT synchronous"),
            ("ACKS 0", "ACKS 0"),
            ("ACKS 1", "COMMIT async"),
            ("ACKS all", "COMMIT in-sync-set"),
            ("ACKS -1", "COMMIT in-sync-set"),
            ("rpl_semi_sync_master_timeout 1000", "TIMEOUT 1000"),
            ("RPL_SEMI_SYNC_SOURCE_TIMEOUT 10", "TIMEOUT 10"),
            ("rpl_semi_sync_source_wait_for_replica_count 2", "COMMIT semi-sync ACKS 2"),
            ("rpl_semi_sync_master_wait_for_slave_count 1 COMMIT semi-sync", "COMMIT semi-sync ACKS 1"),
            ("synchronous_commit off", "ACKS 0"),
            ("synchronous_commit local", "COMMIT async LEVEL flushed"),
            ("synchronous_commit remote_write", "COMMIT semi-sync ACKS 1 LEVEL received"),
            ("synchronous_commit on", "COMMIT semi-sync ACKS 1 LEVEL flushed"),
            ("synchronous_commit remote_apply", "COMMIT semi-sync ACKS 1 LEVEL applied"),
            ("synchronous_commit remote_apply COMMIT majority", "COMMIT majority LEVEL applied"),
            ("synchronous_commit on synchronous_standby_names n2", "REPLICAS FIRST 1 (n2) LEVEL flushed"),
            ("REPLICAS FIRST~1~(n2,n3)", "REPLICAS FIRST 1 (n2,n3)"),
            ("REPLICAS any~2~(n2,~\"n3\",n4)", "REPLICAS ANY 2 (n2,n3,n4)"),
            ("REPLICAS 2(n3,n2)", "REPLICAS FIRST 2 (n3,n2)"),
            ("REPLICAS n3,n2", "REPLICAS FIRST 1 (n3,n2)"),
        ] {
            assert_eq!(again(line), Ok(meant.into()), "{line}");
        }
        let both = read("RECEIPT REQUEST app:7").expect("read");
        assert!(both.receipt && both.options.client.is_some() && both.options.asked.is_none());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, why) in [
            ("NOSUCH 1", "unknown option 'NOSUCH'"),
            ("COMMIT", "'COMMIT' needs a value"),
            ("COMMIT chain", "COMMIT does not take 'chain'"),
            ("LEVEL written", "LEVEL does not take 'written'"),
            ("COMMIT majority COMMIT async", "'COMMIT' is given twice"),
            ("COMMIT majority ACKS 1", "ACKS goes with COMMIT semi-sync"),
            ("COMMIT semi-sync ACKS 0", "above 0"),
            ("COMMIT semi-sync ACKS all", "above 0"),
            ("ACKS 2", "ACKS alone is 0, 1"),
            ("ACKS x", "ACKS takes a number or all"),
            ("TIMEOUT 0", "between 1 and 600000"),
            ("TIMEOUT 1 rpl_semi_sync_source_timeout 2", "given twice"),
            ("REPLICAS n2 COMMIT majority", "do not go with it"),
            ("REPLICAS FIRST~3~(n2,n3)", "of 2 nodes it takes 1 to 2"),
            ("REPLICAS FIRST~0~(n2)", "it takes 1 to 1"),
            ("REPLICAS ANY~1~(n2", "REPLICAS is FIRST n"),
            ("REPLICAS SOME~1~(n2)", "REPLICAS is FIRST n"),
            ("REPLICAS nine", "no such node 'nine'"),
            ("REPLICAS n2,n2", "twice"),
            ("REQUEST app", "client:sequence"),
            ("synchronous_commit maybe", "does not take 'maybe'"),
            ("synchronous_commit on LEVEL applied", "LEVEL does not go with it"),
        ] {
            let error = read(line).expect_err(line);
            assert!(error.starts_with("ERR ") && error.contains(why), "{line}: {error}");
        }
    }
}
