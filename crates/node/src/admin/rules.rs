//! KEYSPACE RULE: for keys of a pattern another policy for conflicts, in an order of precedence, and what a new one would make of the
//! conflicts that the inbox knows.
// catalogue: J15

use super::inbox::What;
use crate::inbox::{Ask, Item};
use crate::io::ConnectionId;
use crate::leaderless::function_of;
use crate::message::RULES_SINCE;
use crate::node::{Flow, Node};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use commands::Spec;
use control::Command;
use data::KeyspaceId;
use data::multi_leader::Conflict;
use data::rules::{Rule, RuleChange, rule_of};
use data::value::Blob;
use wire::ReplyWriter;

/// Conflicts that a dry run shows one by one.
const SHOWN_MAX: usize = 100;
/// Conflicts that it looks at: a function may take a millisecond for each, and the node does nothing else meanwhile. A guess.
const TRIED_MAX: usize = 200;

const FORM: &str = "ERR KEYSPACE RULE LIST <name> | SET <name> <pattern> crdt|siblings|merge \"<lua>\" [BEFORE <pattern>] | TRY ... as SET | DROP <name> <pattern>";

/// A rule that is tried: the keyspace's rules as they would be.
pub(super) struct Trial {
    keyspace: KeyspaceId,
    rule: Rule,
    rules: Vec<Rule>,
}

/// What readers see of a conflict that lasts, and whether somebody has to decide.
#[derive(PartialEq, Eq)]
struct Comes {
    policy: &'static str,
    state: &'static str,
    /// Nothing where the winner is no string.
    shown: Option<Blob>,
}

impl Node {
    /// `KEYSPACE RULE ...`.
    pub(super) fn keyspace_rule(
        &mut self,
        connection: ConnectionId,
        spec: &'static Spec,
        args: &[&[u8]],
    ) -> Flow {
        let [subcommand, name, rest @ ..] = args else { return self.reply_error(connection, FORM) };
        let Some(keyspace) = self.keyspace_of(name).map(|it| it.id) else {
            return self.reply_error(connection, "ERR no such keyspace");
        };
        let change = match (&subcommand.to_ascii_lowercase()[..], rest) {
            (b"list", []) => return self.list_rules(connection, keyspace),
            (b"drop", [pattern]) => Ok(RuleChange::Drop { pattern: (*pattern).into() }),
            (b"set" | b"try", [pattern, policy, options @ ..]) => rule_said(pattern, policy, options),
            _ => return self.reply_error(connection, FORM),
        };
        // What would be refused is told at once, and nothing is asked of anybody.
        let planned = change.and_then(|change| {
            let rules = self.map.rules_of(keyspace);
            let rules = change.applied(rules).map_err(|why| format!("ERR {why}"))?;
            self.fit_for_rules(keyspace)?;
            Ok((change, rules))
        });
        let (change, rules) = match planned {
            Ok(planned) => planned,
            Err(error) => return self.reply_error(connection, &error),
        };
        if let RuleChange::Set { rule, .. } = &change {
            if let Some(error) = rule.conflict.function().and_then(|function| self.unfit_function(function)) {
                return self.reply_error(connection, &error);
            }
            if subcommand.eq_ignore_ascii_case(b"try") {
                let trial = Trial { keyspace, rule: rule.clone(), rules };
                let ask = Ask::List { keyspace: Some(keyspace), after: None };
                return self.ask_inboxes(connection, spec, What::Try(trial), ask);
            }
        }
        self.administrate(connection, Command::ChangeRules { keyspace, change })
    }

    /// Whether a keyspace can have rules, and all members can read them.
    fn fit_for_rules(&self, keyspace: KeyspaceId) -> Result<(), String> {
        let merges = self.map.leaderless.contains_key(&keyspace) || self.is_multi_leader(keyspace);
        let policy = self.own_conflict(keyspace);
        if !merges || matches!(policy, Conflict::LastWriteWins | Conflict::Home | Conflict::Block) {
            return Err(format!("ERR {}", data::rules::NO_RULES_HERE));
        }
        let old = |node: &&control::Node| self.versions.get(&node.id).is_some_and(|it| *it < RULES_SINCE);
        match self.map.nodes.values().find(old) {
            None => Ok(()),
            Some(node) => Err(format!(
                "TRYAGAIN node {} runs a version that knows no rules: upgrade it first",
                node.name
            )),
        }
    }

    fn list_rules(&mut self, connection: ConnectionId, keyspace: KeyspaceId) -> Flow {
        let rules = self.map.rules_of(keyspace).to_vec();
        self.reply(connection, |w| {
            w.array(rules.len());
            rules.iter().for_each(|rule| write_rule(rule, w));
        })
    }

    /// What becomes of a conflict under rules and the keyspace's own policy.
    fn comes_to(&self, item: &Item, rules: &[Rule]) -> Comes {
        let conflict = match rule_of(rules, &item.key) {
            Some(rule) => rule.conflict.clone(),
            None => self.own_conflict(item.keyspace),
        };
        let highest = item.versions.first().and_then(|version| version.value.clone());
        let merged = self.merging_by(&conflict).and_then(|merging| merging.of_versions(&item.versions));
        let (state, shown) = match merged {
            Some(Ok(value)) => ("decided", Some(value)),
            Some(Err(_)) => ("open", highest),
            None if conflict == Conflict::Siblings => ("open", highest),
            None => ("decided", highest),
        };
        Comes { policy: conflict.name(), state, shown }
    }

    /// The reply to TRY, from what all nodes within reach know of conflicts, those that are settled too.
    pub(super) fn write_trial<'i>(
        &self,
        trial: &Trial,
        items: impl Iterator<Item = &'i Item>,
        more: bool,
        silent: &[&str],
        w: &mut ReplyWriter<'_>,
    ) {
        let (mut fitting, mut shadowed, mut tried, mut changed) = (0, 0, 0, Vec::new());
        let before = self.map.rules_of(trial.keyspace);
        for item in items.filter(|item| item.keyspace == trial.keyspace && trial.rule.fits(&item.key)) {
            fitting += 1;
            if rule_of(&trial.rules, &item.key).is_none_or(|rule| rule.pattern != trial.rule.pattern) {
                shadowed += 1;
                continue;
            }
            tried += 1;
            if tried > TRIED_MAX {
                continue;
            }
            let (now, then) = (self.comes_to(item, before), self.comes_to(item, &trial.rules));
            if now != then {
                changed.push((item, now, then));
            }
        }
        w.map(7);
        w.bulk(b"rule");
        write_rule(&trial.rule, w);
        for (name, count) in [("conflicts", fitting), ("shadowed", shadowed), ("changed", changed.len())] {
            w.bulk(name.as_bytes());
            w.integer(count as i64);
        }
        w.bulk(b"items");
        w.array(changed.len().min(SHOWN_MAX));
        for (item, now, then) in changed.iter().take(SHOWN_MAX) {
            w.map(6);
            w.bulk(b"id");
            w.bulk(format!("{}", item.id).as_bytes());
            w.bulk(b"key");
            w.bulk(&item.key);
            w.bulk(b"fields");
            w.array(item.path.len());
            item.path.iter().for_each(|field| w.bulk(field));
            w.bulk(b"settled");
            w.boolean(!item.decisions.is_empty());
            for (name, comes) in [(&b"now"[..], now), (b"then", then)] {
                w.bulk(name);
                w.map(3);
                w.bulk(b"policy");
                w.bulk(comes.policy.as_bytes());
                w.bulk(b"state");
                w.bulk(comes.state.as_bytes());
                w.bulk(b"shown");
                match &comes.shown {
                    Some(value) => w.bulk(value),
                    None => w.null(),
                }
            }
        }
        w.bulk(b"more");
        w.boolean(more || tried > TRIED_MAX);
        w.bulk(b"unreachable");
        w.array(silent.len());
        silent.iter().for_each(|name| w.bulk(name.as_bytes()));
    }
}

/// `<policy> ["<lua>"] [BEFORE <pattern>]`.
fn rule_said(pattern: &[u8], policy: &[u8], options: &[&[u8]]) -> Result<RuleChange, String> {
    let text = String::from_utf8_lossy(&policy[..policy.len().min(64)]).to_ascii_lowercase();
    let (conflict, rest) = match (&text[..], options) {
        ("merge", [function, rest @ ..]) => (Conflict::Merge { function: function_of(function)? }, rest),
        ("merge", []) => return Err(format!("ERR {}", data::leaderless::FUNCTION_NEEDED)),
        (name, rest) => match Conflict::named(name) {
            Some(conflict) => (conflict, rest),
            None => return Err(format!("ERR {}", data::rules::NO_RULE)),
        },
    };
    let before = match rest {
        [] => None,
        [word, before] if word.eq_ignore_ascii_case(b"BEFORE") => Some(Blob::from(*before)),
        _ => return Err(FORM.into()),
    };
    Ok(RuleChange::Set { rule: Rule { pattern: pattern.into(), conflict }, before })
}

fn write_rule(rule: &Rule, w: &mut ReplyWriter<'_>) {
    let function = rule.conflict.function();
    w.map(2 + usize::from(function.is_some()));
    w.bulk(b"pattern");
    w.bulk(&rule.pattern);
    w.bulk(b"policy");
    w.bulk(rule.conflict.name().as_bytes());
    if let Some(function) = function {
        w.bulk(b"function");
        w.bulk(function.as_bytes());
    }
}
