//! Mistakes that need a store of their own, or a type under another one's law.

use super::history::{Effect, History, Seen, add};
use super::members::{ObservedRemove, SetOp, TwoPhase};
use super::planted::is_found;
use super::subjects::{LastWins, RegisterOp, blob, word};
use super::world::{Draw, Subject};
use data::causal::codec::{Decoder, Encoder, Legend};
use data::causal::{Causal, Context, Losers, Mark, Set, Stamp, Store, Write};
use data::codec::DecodeError;
use data::value::Blob;

/// A counter that adds up what arrives: twice is twice (ML-11).
#[derive(Clone, PartialEq, Default, Debug)]
struct Adding(i64);

/// A register that takes whatever comes with the same stamp: the order of arrival decides (LL-23).
#[derive(Clone, PartialEq, Default, Debug)]
struct Tieless(Option<(Stamp, Option<Blob>)>);

/// What these two have in common: they are merged by the subject, not by `join`.
macro_rules! plain_store {
    ($name:ident, $encode:item, $decode:item) => {
        impl Store for $name {
            fn join(&mut self, _: &Context, _: &Self, _: &Context, _: &mut Losers) {}
            fn is_bottom(&self) -> bool {
                *self == $name::default()
            }
            fn is_alive(&self) -> bool {
                !self.is_bottom()
            }
            fn newest(&self) -> Option<Mark> {
                None
            }
            fn clear(&self, _: &mut Write<'_>) -> Causal<Self> {
                Causal::new()
            }
            fn note(&self, _: &mut Legend) {}
            $encode
            $decode
        }
    };
}
plain_store!(
    Adding,
    fn encode(&self, encoder: &mut Encoder<'_, '_>) {
        encoder.signed(self.0.into());
    },
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Adding(decoder.signed()? as i64))
    }
);
plain_store!(
    Tieless,
    fn encode(&self, encoder: &mut Encoder<'_, '_>) {
        let (stamp, value) = self.0.clone().unwrap_or_default();
        encoder.number(stamp.0);
        encoder.bytes(value.as_deref().unwrap_or_default());
    },
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let stamp = Stamp(decoder.number()?);
        let value = Some(decoder.bytes()?).filter(|value| !value.is_empty()).map(Into::into);
        Ok(Tieless(Some((stamp, value)).filter(|entry| *entry != Default::default())))
    }
);

struct AddingUp;

impl Subject for AddingUp {
    type S = Adding;
    type O = i64;
    fn alphabet() -> Vec<i64> {
        vec![5, 3]
    }
    fn draw(draw: &mut Draw) -> i64 {
        draw.below(9) as i64
    }
    fn mutate(_: &Adding, _: &mut Write<'_>, by: &i64, _: usize) -> Causal<Adding> {
        Causal { store: Adding(*by), context: Context::new() }
    }
    fn merge(into: &mut Causal<Adding>, from: &Causal<Adding>) {
        into.store.0 += from.store.0;
    }
    fn show(store: &Adding) -> String {
        store.0.to_string()
    }
    fn effects(_: &History<i64>, _: &Seen, by: &i64, _: usize, _: &str) -> Vec<Effect> {
        vec![add("", *by)]
    }
    fn expect(history: &History<i64>, seen: &Seen) -> String {
        history.alive(seen).sum("").unwrap_or(0).to_string()
    }
}

/// +5 and +3 may come to anything.
#[test]
fn counter_by_addition() {
    is_found::<AddingUp>();
}

struct NoTieBreak;

impl Subject for NoTieBreak {
    type S = Tieless;
    type O = RegisterOp;
    fn alphabet() -> Vec<RegisterOp> {
        LastWins::alphabet()
    }
    fn draw(draw: &mut Draw) -> RegisterOp {
        LastWins::draw(draw)
    }
    fn mutate(store: &Tieless, write: &mut Write<'_>, op: &RegisterOp, n: usize) -> Causal<Tieless> {
        let value = match op {
            RegisterOp::Write => Some(blob(&n.to_string())),
            RegisterOp::Clear if store.0.as_ref().is_none_or(|held| held.1.is_none()) => {
                return Causal::new();
            }
            RegisterOp::Clear => None,
        };
        Causal { store: Tieless(Some((write.mark().stamp, value))), context: Context::new() }
    }
    fn merge(into: &mut Causal<Tieless>, from: &Causal<Tieless>) {
        let stamp = |store: &Tieless| store.0.as_ref().map(|entry| entry.0);
        if stamp(&from.store) > stamp(&into.store) {
            into.store = from.store.clone();
        }
    }
    fn show(store: &Tieless) -> String {
        let value = store.0.as_ref().and_then(|entry| entry.1.as_ref());
        value.map_or("none".into(), |value| word(value))
    }
    fn effects(h: &History<RegisterOp>, saw: &Seen, op: &RegisterOp, n: usize, before: &str) -> Vec<Effect> {
        LastWins::effects(h, saw, op, n, before)
    }
    fn expect(history: &History<RegisterOp>, seen: &Seen) -> String {
        LastWins::expect(history, seen)
    }
}

#[test]
fn last_write_without_tie_break() {
    is_found::<NoTieBreak>();
}

/// A set from which members come back, under the rule that they must not.
// catalogue: J11
struct ThirdPhase;

impl Subject for ThirdPhase {
    type S = Set;
    type O = SetOp;
    fn alphabet() -> Vec<SetOp> {
        TwoPhase::alphabet()
    }
    fn draw(draw: &mut Draw) -> SetOp {
        TwoPhase::draw(draw)
    }
    fn mutate(store: &Set, write: &mut Write<'_>, op: &SetOp, n: usize) -> Causal<Set> {
        ObservedRemove::mutate(store, write, op, n)
    }
    fn show(store: &Set) -> String {
        ObservedRemove::show(store)
    }
    fn effects(h: &History<SetOp>, saw: &Seen, op: &SetOp, n: usize, before: &str) -> Vec<Effect> {
        TwoPhase::effects(h, saw, op, n, before)
    }
    fn expect(history: &History<SetOp>, seen: &Seen) -> String {
        TwoPhase::expect(history, seen)
    }
}

#[test]
fn third_phase() {
    is_found::<ThirdPhase>();
}
