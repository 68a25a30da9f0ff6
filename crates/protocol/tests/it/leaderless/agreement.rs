//! Linearizable keys, judged from the outside. Each value is the list of the calls that wrote it, so that what was chosen is one
//! growing list: every answer must be a beginning of it, and no call may see less than what was answered before it began.
// catalogue: K4
// bugs: LL-03

use data::causal::{Ballot, Proposal};
use data::value::Blob;
use std::collections::{BTreeMap, BTreeSet};

/// The calls that made a value.
pub fn calls_in(value: &Proposal) -> Vec<u64> {
    let image = value.image.as_ref().map(|image| std::str::from_utf8(image).expect("text"));
    let words = image.unwrap_or_default().split(',').filter(|word| !word.is_empty());
    words.map(|word| word.parse().expect("a call")).collect()
}

#[derive(Default)]
struct Key {
    /// The longest list that was answered.
    chosen: Vec<u64>,
    /// When a list of which length was answered.
    answered: Vec<(u64, usize)>,
}

#[derive(Default)]
pub struct Agreement {
    keys: BTreeMap<String, Key>,
    /// What each call decided under each ballot: the list that it is answered with.
    decided: BTreeMap<(u64, Ballot), Vec<u64>>,
    /// Calls that were told that nothing was done.
    undone: BTreeSet<u64>,
    pub violation: Option<String>,
    pub answers: u64,
}

impl Agreement {
    fn fail(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }
    /// What a call makes of a value: some leave it as it is.
    pub fn decide(
        &mut self,
        call: u64,
        ballot: Ballot,
        value: &Proposal,
    ) -> Option<(Option<Blob>, Option<i64>)> {
        let mut calls = calls_in(value);
        if call.is_multiple_of(5) {
            self.decided.insert((call, ballot), calls);
            return None;
        }
        calls.push(call);
        let text: Vec<String> = calls.iter().map(u64::to_string).collect();
        self.decided.insert((call, ballot), calls);
        Some((Some(Blob::from(text.join(",").as_bytes())), None))
    }
    /// A call that was made at `called` is answered.
    pub fn agreed(
        &mut self,
        (called, now): (u64, u64),
        call: u64,
        key: &str,
        decided: Ballot,
        value: &Proposal,
    ) {
        self.answers += 1;
        let list = match decided.is_none() {
            true => calls_in(value),
            false => match self.decided.get(&(call, decided)) {
                Some(list) => list.clone(),
                None => {
                    return self
                        .fail(format!("{key}: call {call} is told of {decided:?}, which it never decided"));
                }
            },
        };
        let known = self.keys.entry(key.into()).or_default();
        let before = known.answered.iter().filter(|(at, _)| *at < called).map(|(_, length)| *length).max();
        let (short, long) = match list.len() < known.chosen.len() {
            true => (&list, &known.chosen),
            false => (&known.chosen, &list),
        };
        let wrong = if !long.starts_with(short) {
            Some(format!("{key}: call {call} was answered {list:?} beside {:?}", known.chosen))
        } else if list.len() < before.unwrap_or(0) + usize::from(list.last() == Some(&call)) {
            Some(format!(
                "{key}: call {call} was answered {list:?}, and {before:?} calls had been before it began"
            ))
        } else if let Some(undone) = list.iter().find(|call| self.undone.contains(call)) {
            Some(format!("{key}: {list:?} holds {undone}, which was refused"))
        } else if list.iter().collect::<BTreeSet<_>>().len() < list.len() {
            Some(format!("{key}: {list:?} holds a call twice"))
        } else {
            None
        };
        known.answered.push((now, list.len()));
        if list.len() > known.chosen.len() {
            known.chosen = list;
        }
        wrong.into_iter().for_each(|what| self.fail(what));
    }
    /// A call was told that nothing was done.
    pub fn refused(&mut self, call: u64) {
        self.undone.insert(call);
    }
    /// All copies are equal: what they hold goes on from what was answered.
    pub fn end(&mut self, value: impl Fn(&str) -> Proposal) {
        for (key, known) in &self.keys {
            let held = calls_in(&value(key));
            if !held.starts_with(&known.chosen) {
                self.violation.get_or_insert(format!("in the end {key} is {held:?}, not {:?}", known.chosen));
            }
            if let Some(undone) = held.iter().find(|call| self.undone.contains(call)) {
                self.violation.get_or_insert(format!("in the end {key} holds {undone}, which was refused"));
            }
        }
    }
}
