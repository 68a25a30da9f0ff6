//! Registers, counters and their kin under the law, each with its operations and their meaning.

use super::history::{Effect, History, Seen, add, remove, write};
use super::world::{Draw, Subject};
use data::causal::{
    Amount, Causal, Counter, Deadline, Deadlines, Flag, Last, Maximum, Siblings, Store, Text, Write,
};
use data::value::Blob;
use std::collections::{BTreeMap, BTreeSet};

pub fn blob(text: &str) -> Blob {
    text.as_bytes().into()
}
pub fn word(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
pub fn listed(items: impl IntoIterator<Item = String>) -> String {
    items.into_iter().collect::<Vec<_>>().join(" ")
}
pub const WORDS: [&str; 4] = ["a", "b", "c", "d"];

/// The register with siblings: what is shown is every sibling, the highest first.
// catalogue: J8 K12
pub struct Register;

#[derive(Clone, Debug)]
pub enum RegisterOp {
    Write,
    Clear,
}

impl Subject for Register {
    type S = Siblings<Blob>;
    type O = RegisterOp;
    fn alphabet() -> Vec<RegisterOp> {
        vec![RegisterOp::Write, RegisterOp::Clear]
    }
    fn draw(draw: &mut Draw) -> RegisterOp {
        draw.pick(&[RegisterOp::Write, RegisterOp::Write, RegisterOp::Clear])
    }
    fn mutate(store: &Self::S, write: &mut Write<'_>, op: &RegisterOp, n: usize) -> Causal<Self::S> {
        match op {
            RegisterOp::Write => store.write(write, blob(&n.to_string())),
            RegisterOp::Clear => store.clear(write),
        }
    }
    fn show(store: &Self::S) -> String {
        let mut siblings: Vec<_> = store.iter().collect();
        siblings.sort_by_key(|(mark, _)| std::cmp::Reverse(*mark));
        assert_eq!(siblings.first().map(|s| s.0), store.newest());
        listed(siblings.into_iter().map(|(_, value)| word(value)))
    }
    fn effects(_: &History<RegisterOp>, _: &Seen, op: &RegisterOp, n: usize, _: &str) -> Vec<Effect> {
        match op {
            RegisterOp::Write => vec![write("", n.to_string())],
            RegisterOp::Clear => vec![remove("")],
        }
    }
    fn expect(history: &History<RegisterOp>, seen: &Seen) -> String {
        let mut alive = history.alive(seen).writes.remove("").unwrap_or_default();
        alive.sort_by(|a, b| b.cmp(a));
        listed(alive.into_iter().map(|(_, value)| value.to_string()))
    }
}

/// A flag where enabling wins.
pub struct EnableWins;

impl Subject for EnableWins {
    type S = Flag;
    type O = bool;
    fn alphabet() -> Vec<bool> {
        vec![true, false]
    }
    fn draw(draw: &mut Draw) -> bool {
        draw.below(2) == 0
    }
    fn mutate(store: &Flag, write: &mut Write<'_>, op: &bool, _: usize) -> Causal<Flag> {
        if *op { store.write(write, ()) } else { store.clear(write) }
    }
    fn show(store: &Flag) -> String {
        store.is_alive().to_string()
    }
    fn effects(_: &History<bool>, _: &Seen, op: &bool, _: usize, _: &str) -> Vec<Effect> {
        vec![if *op { write("", "") } else { remove("") }]
    }
    fn expect(history: &History<bool>, seen: &Seen) -> String {
        (!history.alive(seen).writes.is_empty()).to_string()
    }
}

/// The counter.
// catalogue: J9
pub struct Count;

#[derive(Clone, Debug)]
pub enum CountOp {
    Add(i64),
    Clear,
}

impl Subject for Count {
    type S = Counter;
    type O = CountOp;
    fn alphabet() -> Vec<CountOp> {
        vec![CountOp::Add(5), CountOp::Add(-3), CountOp::Clear]
    }
    fn draw(draw: &mut Draw) -> CountOp {
        if draw.below(4) == 0 { CountOp::Clear } else { CountOp::Add(draw.below(21) as i64 - 10) }
    }
    fn mutate(store: &Counter, write: &mut Write<'_>, op: &CountOp, _: usize) -> Causal<Counter> {
        match op {
            CountOp::Add(by) => store.add(write, Amount::whole(*by)),
            CountOp::Clear => store.clear(write),
        }
    }
    fn show(store: &Counter) -> String {
        match store.is_alive() {
            true => store.value().as_whole().expect("whole amounts only").to_string(),
            false => "none".into(),
        }
    }
    fn effects(_: &History<CountOp>, _: &Seen, op: &CountOp, _: usize, _: &str) -> Vec<Effect> {
        vec![match op {
            CountOp::Add(by) => add("", *by),
            CountOp::Clear => remove(""),
        }]
    }
    fn expect(history: &History<CountOp>, seen: &Seen) -> String {
        history.alive(seen).sum("").map_or("none".into(), |sum| sum.to_string())
    }
}

/// A string: SET, INCR, DEL.
pub struct StringKey;

#[derive(Clone, Debug)]
pub enum StringOp {
    Set(&'static str),
    Add(i64),
    Clear,
}

impl Subject for StringKey {
    type S = Text;
    type O = StringOp;
    fn alphabet() -> Vec<StringOp> {
        vec![StringOp::Set("10"), StringOp::Add(1), StringOp::Clear]
    }
    fn draw(draw: &mut Draw) -> StringOp {
        match draw.below(6) {
            0 => StringOp::Clear,
            1..3 => StringOp::Set(draw.pick(&["10", "200", "words"])),
            _ => StringOp::Add(draw.below(9) as i64 - 4),
        }
    }
    fn mutate(store: &Text, write: &mut Write<'_>, op: &StringOp, _: usize) -> Causal<Text> {
        match op {
            StringOp::Set(value) => store.write(write, blob(value)),
            StringOp::Add(by) => store.add(write, Amount::whole(*by)),
            StringOp::Clear => store.clear(write),
        }
    }
    fn show(store: &Text) -> String {
        store.shown().map_or("none".into(), |text| word(&text))
    }
    fn effects(_: &History<StringOp>, _: &Seen, op: &StringOp, _: usize, _: &str) -> Vec<Effect> {
        vec![match op {
            StringOp::Set(value) => write("", *value),
            StringOp::Add(by) => add("", *by),
            StringOp::Clear => remove(""),
        }]
    }
    fn expect(history: &History<StringOp>, seen: &Seen) -> String {
        history.alive(seen).text("").unwrap_or("none".into())
    }
}

/// The last-write-wins register; its delete is a write.
// catalogue: J5 J6
pub struct LastWins;

impl Subject for LastWins {
    type S = Last;
    type O = RegisterOp;
    fn alphabet() -> Vec<RegisterOp> {
        Register::alphabet()
    }
    fn draw(draw: &mut Draw) -> RegisterOp {
        Register::draw(draw)
    }
    fn mutate(store: &Last, write: &mut Write<'_>, op: &RegisterOp, n: usize) -> Causal<Last> {
        match op {
            RegisterOp::Write => store.write(write, Some(blob(&n.to_string()))),
            RegisterOp::Clear => store.clear(write),
        }
    }
    fn show(store: &Last) -> String {
        store.value().map_or("none".into(), |value| word(value))
    }
    fn effects(history: &History<RegisterOp>, saw: &Seen, op: &RegisterOp, n: usize, _: &str) -> Vec<Effect> {
        match op {
            RegisterOp::Write => vec![write("", n.to_string())],
            // Nothing there, nothing deleted.
            RegisterOp::Clear if Self::expect(history, saw) == "none" => vec![],
            RegisterOp::Clear => vec![write("", "none")],
        }
    }
    /// The highest of all writes: what it saw does not matter.
    fn expect(history: &History<RegisterOp>, seen: &Seen) -> String {
        let writes = seen.iter().filter_map(|event| match history.events[event].effects.first() {
            Some(Effect::Write { value, .. }) => Some((history.rank(event), value.clone())),
            _ => None,
        });
        writes.max().map_or("none".into(), |(_, value)| value)
    }
}

/// Expiry alone: the longest of the concurrent words, PERSIST above all.
pub struct Expiries;

#[derive(Clone, Debug)]
pub enum ExpiryOp {
    At(i64),
    Persist,
    Clear,
}

impl Subject for Expiries {
    type S = Deadlines;
    type O = ExpiryOp;
    fn alphabet() -> Vec<ExpiryOp> {
        vec![ExpiryOp::At(10), ExpiryOp::At(5), ExpiryOp::Persist]
    }
    fn draw(draw: &mut Draw) -> ExpiryOp {
        match draw.below(8) {
            0 => ExpiryOp::Clear,
            1 => ExpiryOp::Persist,
            _ => ExpiryOp::At(draw.below(1_000) as i64),
        }
    }
    fn mutate(store: &Deadlines, write: &mut Write<'_>, op: &ExpiryOp, _: usize) -> Causal<Deadlines> {
        match op {
            ExpiryOp::At(at_ms) => store.write(write, Deadline::At(*at_ms)),
            ExpiryOp::Persist => store.write(write, Deadline::Never),
            ExpiryOp::Clear => store.clear(write),
        }
    }
    fn show(store: &Deadlines) -> String {
        store.at_ms().map_or("never".into(), |at_ms| at_ms.to_string())
    }
    fn effects(_: &History<ExpiryOp>, _: &Seen, op: &ExpiryOp, _: usize, _: &str) -> Vec<Effect> {
        vec![match op {
            ExpiryOp::At(at_ms) => write("", at_ms.to_string()),
            ExpiryOp::Persist => write("", "never"),
            ExpiryOp::Clear => remove(""),
        }]
    }
    fn expect(history: &History<ExpiryOp>, seen: &Seen) -> String {
        expiry(&history.alive(seen), "")
    }
}

/// The longest word at a target.
pub fn expiry(alive: &super::history::Alive<'_>, target: &str) -> String {
    let words: Vec<Option<i64>> =
        alive.writes.get(target).into_iter().flatten().map(|(_, word)| word.parse().ok()).collect();
    if words.contains(&None) { None } else { words.into_iter().flatten().max() }
        .map_or("never".into(), |at_ms| at_ms.to_string())
}

/// Registers that only rise.
pub struct Rising;

#[derive(Clone, Debug)]
pub enum RiseOp {
    Raise(u16, u8),
    Clear,
}

impl Subject for Rising {
    type S = Maximum;
    type O = RiseOp;
    const CARRIES: bool = false;
    fn alphabet() -> Vec<RiseOp> {
        vec![RiseOp::Raise(1, 4), RiseOp::Raise(2, 3), RiseOp::Clear]
    }
    fn draw(draw: &mut Draw) -> RiseOp {
        match draw.below(8) {
            0 => RiseOp::Clear,
            _ => RiseOp::Raise(draw.below(6) as u16, 1 + draw.below(50) as u8),
        }
    }
    fn mutate(store: &Maximum, write: &mut Write<'_>, op: &RiseOp, _: usize) -> Causal<Maximum> {
        match op {
            RiseOp::Raise(at, value) => store.raise(write, [(*at, *value)]),
            RiseOp::Clear => store.clear(write),
        }
    }
    fn show(store: &Maximum) -> String {
        format!("{} {:?}", store.is_alive(), store.registers())
    }
    fn effects(_: &History<RiseOp>, _: &Seen, op: &RiseOp, _: usize, _: &str) -> Vec<Effect> {
        vec![match op {
            RiseOp::Raise(..) => add("", 1),
            RiseOp::Clear => remove(""),
        }]
    }
    /// An actor's registers are there while one of its writes is, all that it made since it last found them deleted.
    fn expect(history: &History<RiseOp>, seen: &Seen) -> String {
        let mut registers = BTreeMap::new();
        let alive: BTreeSet<usize> =
            history.alive(seen).adds.values().flatten().map(|(rank, _)| rank.2).collect();
        for newest in &alive {
            let replica = history.events[*newest].replica;
            let is_later = |event: &usize| event > newest && history.events[*event].replica == replica;
            if alive.iter().any(is_later) {
                continue;
            }
            // Back to where the actor, writing, saw nothing of its own alive.
            for event in (0..=*newest).rev().filter(|event| history.events[*event].replica == replica) {
                let RiseOp::Raise(at, value) = history.events[event].operation else { continue };
                if seen.contains(event) {
                    let slot = registers.entry(at).or_insert(value);
                    *slot = value.max(*slot);
                }
                let saw = history.alive(&history.events[event].saw).adds;
                let mut own = saw.values().flatten().filter(|(rank, _)| rank.1 == replica);
                if own.next().is_none() {
                    break;
                }
            }
        }
        format!("{} {registers:?}", !alive.is_empty())
    }
}
