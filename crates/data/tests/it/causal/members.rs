//! Sets and sorted sets under the law, with their operations and meanings.

use super::history::{Effect, History, Seen, add, remove, write};
use super::subjects::{WORDS, listed, word};
use super::world::{Draw, Subject};
use data::causal::{Amount, Causal, RemoveWinsSet, Score, Set, Store, TwoPhaseSet, Write, ZSet};
use std::collections::BTreeSet;

#[derive(Clone, Debug)]
pub enum SetOp {
    Add(&'static str),
    Remove(&'static str),
    Clear,
}

pub fn set_alphabet() -> Vec<SetOp> {
    vec![SetOp::Add("a"), SetOp::Remove("a"), SetOp::Clear]
}
pub fn draw_set(draw: &mut Draw) -> SetOp {
    match draw.below(12) {
        0 => SetOp::Clear,
        1..5 => SetOp::Remove(draw.pick(&WORDS)),
        _ => SetOp::Add(draw.pick(&WORDS)),
    }
}

/// The observed-remove set.
// catalogue: J10
pub struct ObservedRemove;

impl Subject for ObservedRemove {
    type S = Set;
    type O = SetOp;
    fn alphabet() -> Vec<SetOp> {
        set_alphabet()
    }
    fn draw(draw: &mut Draw) -> SetOp {
        draw_set(draw)
    }
    fn mutate(store: &Set, write: &mut Write<'_>, op: &SetOp, _: usize) -> Causal<Set> {
        match op {
            SetOp::Add(member) => store.add(write, member.as_bytes()),
            SetOp::Remove(member) => store.remove(write, member.as_bytes()),
            SetOp::Clear => store.clear(write),
        }
    }
    fn show(store: &Set) -> String {
        listed(store.alive().map(|(member, _)| word(member)))
    }
    fn effects(_: &History<SetOp>, _: &Seen, op: &SetOp, _: usize, _: &str) -> Vec<Effect> {
        vec![match op {
            SetOp::Add(member) => write(*member, ""),
            SetOp::Remove(member) => remove(*member),
            SetOp::Clear => remove(""),
        }]
    }
    fn expect(history: &History<SetOp>, seen: &Seen) -> String {
        listed(history.alive(seen).writes.into_keys().map(Into::into))
    }
}

/// The remove-wins set.
pub struct RemoveWins;

impl Subject for RemoveWins {
    type S = RemoveWinsSet;
    type O = SetOp;
    fn alphabet() -> Vec<SetOp> {
        set_alphabet()
    }
    fn draw(draw: &mut Draw) -> SetOp {
        draw_set(draw)
    }
    fn mutate(store: &RemoveWinsSet, write: &mut Write<'_>, op: &SetOp, _: usize) -> Causal<RemoveWinsSet> {
        match op {
            SetOp::Add(member) => store.add(write, member.as_bytes()),
            SetOp::Remove(member) => store.remove(write, member.as_bytes()),
            SetOp::Clear => store.clear(write),
        }
    }
    fn show(store: &RemoveWinsSet) -> String {
        listed(store.alive().map(|(member, _)| word(member)))
    }
    fn effects(_: &History<SetOp>, _: &Seen, op: &SetOp, _: usize, _: &str) -> Vec<Effect> {
        vec![match op {
            SetOp::Add(member) => write(*member, "added"),
            SetOp::Remove(member) => write(*member, "removed"),
            SetOp::Clear => Effect::Remove { prefix: String::new(), value: Some("added") },
        }]
    }
    /// In the set is what somebody added and nobody removed without an answer.
    fn expect(history: &History<SetOp>, seen: &Seen) -> String {
        let alive = history.alive(seen).writes.into_iter();
        let members = alive.filter(|(_, words)| words.iter().all(|(_, word)| *word == "added"));
        listed(members.map(|(member, _)| member.to_string()))
    }
}

/// The two-phase set.
// catalogue: J11
pub struct TwoPhase;

impl Subject for TwoPhase {
    type S = TwoPhaseSet;
    type O = SetOp;
    fn alphabet() -> Vec<SetOp> {
        set_alphabet()
    }
    fn draw(draw: &mut Draw) -> SetOp {
        match draw.below(30) {
            0 => SetOp::Clear,
            1..4 => SetOp::Remove(draw.pick(&["a", "b", "c", "d", "e", "f", "g", "h"])),
            _ => SetOp::Add(draw.pick(&["a", "b", "c", "d", "e", "f", "g", "h"])),
        }
    }
    fn mutate(store: &TwoPhaseSet, write: &mut Write<'_>, op: &SetOp, _: usize) -> Causal<TwoPhaseSet> {
        match op {
            SetOp::Add(member) => store.add(write, member.as_bytes()),
            SetOp::Remove(member) => store.remove(member.as_bytes()),
            SetOp::Clear => store.clear(write),
        }
    }
    fn show(store: &TwoPhaseSet) -> String {
        listed(store.members().map(|member| word(member)))
    }
    fn effects(_: &History<SetOp>, _: &Seen, _: &SetOp, _: usize, _: &str) -> Vec<Effect> {
        vec![]
    }
    fn expect(history: &History<SetOp>, seen: &Seen) -> String {
        let gone = removed(history, seen);
        let added = seen.iter().filter_map(|event| match history.events[event].operation {
            // An add of what its replica knows as removed is none.
            SetOp::Add(member) if !removed(history, &history.events[event].saw).contains(member) => {
                Some(member)
            }
            _ => None,
        });
        let members: BTreeSet<&str> = added.filter(|member| !gone.contains(*member)).collect();
        listed(members.into_iter().map(Into::into))
    }
}

/// What these events removed for ever: only what their replicas had in the set.
fn removed(history: &History<SetOp>, seen: &Seen) -> BTreeSet<String> {
    let mut removed = BTreeSet::new();
    for event in seen.iter().map(|event| &history.events[event]) {
        let mut before = event.before.split_whitespace();
        match event.operation {
            SetOp::Remove(member) => removed.extend(before.find(|had| *had == member).map(Into::into)),
            SetOp::Clear => removed.extend(before.map(Into::into)),
            SetOp::Add(_) => {}
        }
    }
    removed
}

/// The sorted set.
pub struct Sorted;

#[derive(Clone, Debug)]
pub enum SortedOp {
    Set(&'static str, i64),
    Add(&'static str, i64),
    Remove(&'static str),
    Clear,
}

impl Subject for Sorted {
    type S = ZSet;
    type O = SortedOp;
    fn alphabet() -> Vec<SortedOp> {
        vec![SortedOp::Set("a", 10), SortedOp::Add("a", 1), SortedOp::Remove("a")]
    }
    fn draw(draw: &mut Draw) -> SortedOp {
        let member = draw.pick(&WORDS);
        match draw.below(16) {
            0 => SortedOp::Clear,
            1..5 => SortedOp::Remove(member),
            5..9 => SortedOp::Set(member, draw.below(100) as i64),
            _ => SortedOp::Add(member, draw.below(9) as i64 - 4),
        }
    }
    fn mutate(store: &ZSet, write: &mut Write<'_>, op: &SortedOp, _: usize) -> Causal<ZSet> {
        match op {
            SortedOp::Set(member, score) => {
                ZSet::set(store, write, member.as_bytes(), Score::new(*score as f64).expect("a number"))
            }
            SortedOp::Add(member, by) => {
                store.increment(write, member.as_bytes(), Amount::float(*by as f64).expect("finite"))
            }
            SortedOp::Remove(member) => ZSet::remove(store, write, member.as_bytes()),
            SortedOp::Clear => store.clear(write),
        }
    }
    fn show(store: &ZSet) -> String {
        listed(store.scores().map(|(member, score)| format!("{}={score}", word(member))))
    }
    fn effects(_: &History<SortedOp>, _: &Seen, op: &SortedOp, _: usize, _: &str) -> Vec<Effect> {
        vec![match op {
            SortedOp::Set(member, score) => write(*member, score.to_string()),
            SortedOp::Add(member, by) => add(*member, *by),
            SortedOp::Remove(member) => remove(*member),
            SortedOp::Clear => remove(""),
        }]
    }
    fn expect(history: &History<SortedOp>, seen: &Seen) -> String {
        let alive = history.alive(seen);
        let members = alive.below("").into_iter();
        listed(members.filter_map(|member| Some(format!("{member}={}", alive.text(member)?))))
    }
}
