//! A causal value as a plain one: what commands that read are shown.
//!
//! Members, fields and elements stand in an order that depends on the value alone, so every replica shows the same. Making
//! the plain value costs its size.

use super::list::List;
use super::maximum::Maximum;
use super::object::{Map, Object, Part};
use super::sets::Set;
use crate::registers::Registers;
use crate::value::{self, Blob, Value};
use alloc::boxed::Box;

impl Object {
    /// What a reader sees at this time, in milliseconds since 1970; `None` for a key that is absent or expired. Of several
    /// types or siblings the highest.
    pub fn plain(&self, now_ms: i64) -> Option<Value> {
        self.shown_at(now_ms).and_then(Part::plain)
    }
}

impl Part {
    fn plain(&self) -> Option<Value> {
        Some(match self {
            Part::Text(text) => Value::String(text.shown()?.into()),
            Part::Last(last) => Value::String(last.value()?.clone()),
            Part::Flag(_) => Value::String((*b"1").into()),
            Part::Set(set) => of_members(alive(set)),
            Part::RemoveWinsSet(set) => of_members(set.alive().map(|(member, _)| member)),
            Part::TwoPhaseSet(set) => of_members(set.members()),
            Part::Map(map) => of_map(map)?,
            Part::ZSet(zset) => {
                let mut plain = value::ZSet::new();
                for (member, score) in zset.scores() {
                    // An increment of a score that a concurrent ZADD made infinite the other way comes to no number.
                    plain.set(member, if score.is_nan() { 0.0 } else { score });
                }
                Value::ZSet(Box::new(plain))
            }
            Part::List(list) => of_list(list)?,
            Part::Maximum(maximum) => Value::String(of_maximum(maximum)),
            Part::Decisions(_) | Part::Acceptor(_) => return None,
        })
    }
}

fn alive(set: &Set) -> impl Iterator<Item = &Blob> {
    set.alive().map(|(member, _)| member)
}

fn of_members<'a>(members: impl Iterator<Item = &'a Blob>) -> Value {
    let mut plain = value::Set::new();
    members.for_each(|member| {
        plain.add(member);
    });
    Value::Set(Box::new(plain))
}

/// Fields with a string; a field of another type cannot be told apart by commands on hashes, and stays unseen.
fn of_map(map: &Map) -> Option<Value> {
    let mut plain = value::Hash::new();
    for (name, field) in map.alive() {
        match field.shown() {
            Some(Part::Text(text)) => {
                if let Some(text) = text.shown() {
                    plain.put(name.clone(), text.into());
                }
            }
            Some(Part::Last(last)) => {
                if let Some(value) = last.value() {
                    plain.put(name.clone(), value.clone());
                }
            }
            _ => {}
        }
    }
    (!plain.is_empty()).then(|| Value::Hash(Box::new(plain)))
}

/// The string that holds such registers in a plain keyspace.
fn of_maximum(maximum: &Maximum) -> Blob {
    let mut registers = Registers::default();
    for (at, value) in maximum.registers() {
        registers.raise(at, value);
    }
    registers.to_text().into()
}

/// Nothing while the elements wait for what they hang on.
fn of_list(list: &List) -> Option<Value> {
    let mut plain = value::List::new();
    list.elements().iter().for_each(|element| plain.push_back(element.value));
    (!plain.is_empty()).then(|| Value::List(Box::new(plain)))
}
