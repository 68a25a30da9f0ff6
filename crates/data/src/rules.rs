//! Rules of a keyspace: of keys that fit a pattern another policy says what concurrent strings and fields come to.
//!
//! A rule says what readers are shown and whether somebody has to decide; what copies hold is the same under every rule. So rules come
//! and go while the keyspace is in use, and apply to conflicts that there are already.
// catalogue: J15

use crate::causal::{FUNCTION_LEN_MAX, MergeEngine, Merging};
use crate::codec::{DecodeError, Reader, Writer};
use crate::glob;
use crate::multi_leader::Conflict;
use crate::value::Blob;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Rules of one keyspace, and bytes of a pattern. Guesses: every read of a key in conflict goes through them.
pub const RULES_MAX: usize = 64;
pub const PATTERN_LEN_MAX: usize = 256;

pub const TOO_MANY: &str = "a keyspace has at most 64 rules";
pub const PATTERN_BOUNDS: &str = "a pattern has 1 to 256 bytes";
pub const NOT_THERE: &str = "the keyspace has no rule of this pattern";
pub const NO_RULES_HERE: &str = "rules are for keyspaces with CONFLICT crdt, siblings or merge: the others keep one value, or have no conflicts";
pub const NO_RULE: &str = "a rule says crdt, siblings or merge: the other policies are a whole keyspace's";

/// What becomes of conflicts on the keys of a pattern.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// As of KEYS.
    pub pattern: Blob,
    /// One of `Crdt`, `Siblings`, `Merge`.
    pub conflict: Conflict,
}

impl Rule {
    pub fn fits(&self, key: &[u8]) -> bool {
        glob::matches(&self.pattern, key)
    }
    /// # Errors
    /// What contradicts itself, as a sentence for its user.
    pub fn check(&self) -> Result<(), &'static str> {
        if !(1..=PATTERN_LEN_MAX).contains(&self.pattern.len()) {
            return Err(PATTERN_BOUNDS);
        }
        match &self.conflict {
            Conflict::Crdt | Conflict::Siblings => Ok(()),
            Conflict::Merge { function } if function.len() > FUNCTION_LEN_MAX => {
                Err(crate::leaderless::FUNCTION_BOUNDS)
            }
            Conflict::Merge { .. } => Ok(()),
            Conflict::LastWriteWins | Conflict::Home | Conflict::Block => Err(NO_RULE),
        }
    }
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.bytes(&self.pattern);
        match &self.conflict {
            Conflict::Siblings => w.u8(2),
            Conflict::Merge { function } => {
                w.u8(3);
                w.text(function);
            }
            Conflict::Crdt | Conflict::LastWriteWins | Conflict::Home | Conflict::Block => w.u8(1),
        }
    }
    /// # Errors
    /// When it is not what [`Rule::encode`] writes.
    pub fn decode(r: &mut Reader<'_>) -> Result<Rule, DecodeError> {
        let pattern = r.bytes()?.into();
        let conflict = match r.u8()? {
            1 => Conflict::Crdt,
            2 => Conflict::Siblings,
            3 => Conflict::Merge { function: Arc::from(r.text()?) },
            _ => return Err(DecodeError::Invalid("policy of a rule")),
        };
        Ok(Rule { pattern, conflict })
    }
}

/// The rule that holds for a key: the first that fits.
pub fn rule_of<'r>(rules: &'r [Rule], key: &[u8]) -> Option<&'r Rule> {
    rules.iter().find(|rule| rule.fits(key))
}

/// A change of a keyspace's rules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RuleChange {
    /// Puts a rule before the one of this pattern; without it behind all others, or where the one of the same pattern stood.
    Set {
        rule: Rule,
        before: Option<Blob>,
    },
    Drop {
        pattern: Blob,
    },
}

impl RuleChange {
    /// The rules after it.
    ///
    /// # Errors
    /// Why it cannot be made, as a sentence for its user.
    pub fn applied(&self, rules: &[Rule]) -> Result<Vec<Rule>, &'static str> {
        let mut rules = rules.to_vec();
        let place = |rules: &[Rule], pattern: &Blob| rules.iter().position(|rule| rule.pattern == *pattern);
        match self {
            RuleChange::Drop { pattern } => {
                rules.remove(place(&rules, pattern).ok_or(NOT_THERE)?);
            }
            RuleChange::Set { rule, before } => {
                rule.check()?;
                let known = place(&rules, &rule.pattern);
                match before {
                    Some(before) if *before != rule.pattern => {
                        known.map(|at| rules.remove(at));
                        let at = place(&rules, before).ok_or(NOT_THERE)?;
                        rules.insert(at, rule.clone());
                    }
                    _ => match known {
                        Some(at) => rules[at] = rule.clone(),
                        None => rules.push(rule.clone()),
                    },
                }
            }
        }
        if rules.len() > RULES_MAX { Err(TOO_MANY) } else { Ok(rules) }
    }
    pub fn encode(&self, w: &mut Writer<'_>) {
        match self {
            RuleChange::Set { rule, before } => {
                w.u8(1);
                rule.encode(w);
                w.option(before.as_ref(), |w, before| w.bytes(before));
            }
            RuleChange::Drop { pattern } => {
                w.u8(2);
                w.bytes(pattern);
            }
        }
    }
    /// # Errors
    /// When it is not what [`RuleChange::encode`] writes.
    pub fn decode(r: &mut Reader<'_>) -> Result<RuleChange, DecodeError> {
        Ok(match r.u8()? {
            1 => {
                let rule = Rule::decode(r)?;
                RuleChange::Set { rule, before: r.option(|r| Ok(r.bytes()?.into()))? }
            }
            2 => RuleChange::Drop { pattern: r.bytes()?.into() },
            _ => return Err(DecodeError::Invalid("change of rules")),
        })
    }
}

/// Which function merges concurrent strings of a key for its readers, if any.
#[derive(Clone, Default, Debug)]
pub struct Resolvers {
    rules: Vec<(Rule, Option<Merging>)>,
    otherwise: Option<Merging>,
}

impl Resolvers {
    /// `otherwise`: the keyspace's own function.
    pub fn new(engine: &'static dyn MergeEngine, rules: &[Rule], otherwise: Option<&Arc<str>>) -> Resolvers {
        let merging = |function: &Arc<str>| Merging { engine, function: function.clone() };
        let rules = rules.iter().map(|rule| (rule.clone(), rule.conflict.function().map(merging)));
        Resolvers { rules: rules.collect(), otherwise: otherwise.map(merging) }
    }
    pub fn of(&self, key: &[u8]) -> Option<&Merging> {
        match self.rules.iter().find(|(rule, _)| rule.fits(key)) {
            Some((_, merging)) => merging.as_ref(),
            None => self.otherwise.as_ref(),
        }
    }
    /// Whether no key has a function.
    pub fn is_empty(&self) -> bool {
        self.otherwise.is_none() && self.rules.iter().all(|(_, merging)| merging.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str, conflict: Conflict) -> Rule {
        Rule { pattern: pattern.as_bytes().into(), conflict }
    }
    fn patterns(rules: &[Rule]) -> Vec<&str> {
        rules.iter().map(|rule| core::str::from_utf8(&rule.pattern).unwrap_or_default()).collect()
    }
    fn set(rules: &[Rule], pattern: &str, before: Option<&str>) -> Result<Vec<Rule>, &'static str> {
        let before = before.map(|before| before.as_bytes().into());
        RuleChange::Set { rule: rule(pattern, Conflict::Siblings), before }.applied(rules)
    }

    #[test]
    fn the_first_rule_that_fits_holds() {
        let rules = set(&[], "a*", None).and_then(|rules| set(&rules, "*", None)).expect("two rules");
        let rules = set(&rules, "ab*", Some("a*")).expect("three rules");
        assert_eq!(patterns(&rules), ["ab*", "a*", "*"]);
        for (key, wanted) in [("abc", "ab*"), ("ax", "a*"), ("x", "*")] {
            let found = rule_of(&rules, key.as_bytes()).map(|rule| &rule.pattern[..]);
            assert_eq!(found, Some(wanted.as_bytes()), "{key}");
        }
        assert_eq!(rule_of(&[], b"x"), None);
        let moved = set(&rules, "*", Some("ab*")).expect("moved");
        assert_eq!(patterns(&moved), ["*", "ab*", "a*"]);
        let again = set(&moved, "ab*", None).expect("replaced");
        assert_eq!(patterns(&again), ["*", "ab*", "a*"]);
        let dropped = RuleChange::Drop { pattern: b"*".as_slice().into() }.applied(&again).expect("dropped");
        assert_eq!(patterns(&dropped), ["ab*", "a*"]);
    }

    #[test]
    fn what_cannot_be_a_rule_is_named() {
        assert_eq!(set(&[], "", None), Err(PATTERN_BOUNDS));
        assert_eq!(set(&[], &"x".repeat(257), None), Err(PATTERN_BOUNDS));
        assert_eq!(set(&[], "a", Some("b")), Err(NOT_THERE));
        assert_eq!(RuleChange::Drop { pattern: b"a".as_slice().into() }.applied(&[]), Err(NOT_THERE));
        assert_eq!(rule("a", Conflict::LastWriteWins).check(), Err(NO_RULE));
        let many: Vec<Rule> =
            (0..RULES_MAX).map(|at| rule(&alloc::format!("{at}"), Conflict::Crdt)).collect();
        assert_eq!(set(&many, "one more", None), Err(TOO_MANY));
        assert_eq!(set(&many, "one more", Some("3")), Err(TOO_MANY));
        assert!(set(&many, "3", None).is_ok());
    }

    #[test]
    fn changes_travel() {
        let merge = rule("m*", Conflict::Merge { function: "return a.value".into() });
        for change in [
            RuleChange::Set { rule: merge, before: Some(b"x".as_slice().into()) },
            RuleChange::Set { rule: rule("c", Conflict::Crdt), before: None },
            RuleChange::Drop { pattern: b"m*".as_slice().into() },
        ] {
            let mut bytes = Vec::new();
            change.encode(&mut Writer::new(&mut bytes));
            assert_eq!(RuleChange::decode(&mut Reader::new(&bytes)), Ok(change));
            for cut in 0..bytes.len() {
                assert!(RuleChange::decode(&mut Reader::new(&bytes[..cut])).is_err(), "{cut}");
            }
        }
    }
}
