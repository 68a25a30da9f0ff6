//! Broken types, one mistake each: the suite must find every one of them, or it proves nothing of the others.

use super::history::{Effect, History, Seen};
use super::keys::{FieldOp, Fields, Key, KeyOp};
use super::sequence::{Sequence, SequenceOp};
use super::subjects::*;
use super::world::{Draw, Subject, exhaustive_of, random};
use data::causal::codec::{Decoder, Encoder, Legend};
use data::causal::{
    Causal, Context, Counter, Deadlines, List, Losers, Mark, Maximum, Minter, Object, Payload, RemoveWinsSet,
    Set, Siblings, Stamp, Store, Text, Write,
};
use data::codec::DecodeError;
use data::value::Blob;

/// Short runs, then long ones: what a type under the law goes through.
fn is_found<T: Subject>() {
    let alphabet = T::alphabet();
    let found = exhaustive_of::<T>(&alphabet, 3)
        .and_then(|_| (0..40).try_for_each(|seed| random::<T>(seed)))
        .and_then(|()| exhaustive_of::<T>(&alphabet[..2], 4).map(|_| ()));
    let what = found.expect_err("the suite lets it pass");
    println!("{}", what.lines().next().unwrap_or_default());
}

/// Makes a subject that differs from another one in what is given, and the test that the suite notices.
macro_rules! broken {
    ($($(#[$doc:meta])* $test:ident: $name:ident of $of:ident, $store:ty, $op:ty { $($method:item)* })*) => {
        $(
            struct $name;
            impl Subject for $name {
                type S = $store;
                type O = $op;
                const CARRIES: bool = $of::CARRIES;
                fn alphabet() -> Vec<$op> {
                    $of::alphabet()
                }
                fn draw(draw: &mut Draw) -> $op {
                    $of::draw(draw)
                }
                fn show(store: &$store) -> String {
                    $of::show(store)
                }
                fn effects(h: &History<$op>, saw: &Seen, op: &$op, n: usize, before: &str) -> Vec<Effect> {
                    $of::effects(h, saw, op, n, before)
                }
                fn expect(history: &History<$op>, seen: &Seen) -> String {
                    $of::expect(history, seen)
                }
                fn judge(history: &History<$op>, seen: &Seen, store: &$store) -> Result<(), String> {
                    $of::judge(history, seen, store)
                }
                $($method)*
            }

            $(#[$doc])*
            #[test]
            fn $test() {
                is_found::<$name>();
            }
        )*
    };
}

/// The delta of the real type.
macro_rules! real_mutate {
    ($of:ident, $store:ty, $op:ty) => {
        fn mutate(store: &$store, write: &mut Write<'_>, op: &$op, n: usize) -> Causal<$store> {
            $of::mutate(store, write, op, n)
        }
    };
}

fn join_with<S: Store>(into: &mut Causal<S>, own: &Context, from: &Causal<S>, theirs: &Context) {
    into.store.join(own, &from.store, theirs, &mut Default::default());
    into.context.merge(&from.context);
}

fn keep_highest<V: Payload>(register: &mut Causal<Siblings<V>>) {
    let Some(highest) = register.store.newest() else { return };
    let lower = register.store.iter().map(|(mark, _)| mark.dot).filter(|dot| *dot != highest.dot);
    let context: Context = lower.collect();
    register.merge(&Causal { store: Siblings::default(), context });
}

broken! {
    /// A set merged by union: what one side has and the other does not is always kept.
    set_by_union: UnionSet of ObservedRemove, Set, SetOp {
        real_mutate!(ObservedRemove, Set, SetOp);
        fn merge(into: &mut Causal<Set>, from: &Causal<Set>) {
            join_with(into, &Context::new(), from, &Context::new());
        }
    }

    /// The receiver's context is forgotten: an old delta brings back what was removed (LL-05).
    resurrection: Resurrecting of ObservedRemove, Set, SetOp {
        real_mutate!(ObservedRemove, Set, SetOp);
        fn merge(into: &mut Causal<Set>, from: &Causal<Set>) {
            join_with(into, &Context::new(), from, &from.context.clone());
        }
    }

    /// A delta's context claims everything below its dots, as a version vector would (ML-12).
    context_without_holes: Vector of ObservedRemove, Set, SetOp {
        fn mutate(store: &Set, write: &mut Write<'_>, op: &SetOp, n: usize) -> Causal<Set> {
            let mut delta = ObservedRemove::mutate(store, write, op, n);
            for (actor, _, last) in delta.context.clone().ranges() {
                delta.context.insert_range(actor, 1, last);
            }
            delta
        }
    }

    /// Adding a member that is there already mints nothing: a concurrent remove takes it (ML-14).
    add_of_what_is_there: LazyAdd of ObservedRemove, Set, SetOp {
        fn mutate(store: &Set, write: &mut Write<'_>, op: &SetOp, n: usize) -> Causal<Set> {
            match op {
                SetOp::Add(member) if store.entry(member.as_bytes()).is_some() => Causal::new(),
                _ => ObservedRemove::mutate(store, write, op, n),
            }
        }
    }

    /// A replica that lost its counter gives out the same dots again: its writes are swallowed (LL-09, LL-10).
    dots_used_twice: Reused of Register, Siblings<Blob>, RegisterOp {
        fn mutate(
            store: &Siblings<Blob>,
            write: &mut Write<'_>,
            op: &RegisterOp,
            n: usize,
        ) -> Causal<Siblings<Blob>> {
            if !store.is_empty() {
                return Register::mutate(store, write, op, n);
            }
            // Nothing held: begins at 1 again.
            let mut minter = Minter::new(write.actor(), 0);
            Register::mutate(store, &mut Write::new(&mut minter, write.mark().stamp), op, n)
        }
    }

    /// Of siblings only the highest is kept where two meet.
    siblings_thinned_out: Thinned of Register, Siblings<Blob>, RegisterOp {
        real_mutate!(Register, Siblings<Blob>, RegisterOp);
        fn merge(into: &mut Causal<Siblings<Blob>>, from: &Causal<Siblings<Blob>>) {
            into.merge(from);
            keep_highest(into);
        }
    }

    /// Deletes forget a counter instead of recording what they saw: increments return after DEL.
    increments_return: Forgetful of Count, Counter, CountOp {
        fn mutate(store: &Counter, write: &mut Write<'_>, op: &CountOp, n: usize) -> Causal<Counter> {
            match op {
                CountOp::Clear => Causal::new(),
                CountOp::Add(_) => Count::mutate(store, write, op, n),
            }
        }
    }

    /// An actor goes on after its copy was let go: its counter starts over, as if all before had been deleted (LL-09).
    copy_let_go: LetGo of Count, Counter, CountOp {
        fn mutate(store: &Counter, write: &mut Write<'_>, op: &CountOp, n: usize) -> Causal<Counter> {
            match op {
                CountOp::Add(_) => Count::mutate(&Counter::default(), write, op, n),
                CountOp::Clear => Count::mutate(store, write, op, n),
            }
        }
    }

    /// A string's SET leaves the increments that it saw.
    set_beside_increments: SetBeside of StringKey, Text, StringOp {
        fn mutate(store: &Text, write: &mut Write<'_>, op: &StringOp, n: usize) -> Causal<Text> {
            match op {
                StringOp::Set(value) => {
                    let seen = Causal { store: Text::default(), context: store.siblings().seen() };
                    Text::write_over(seen, write, blob(value))
                }
                _ => StringKey::mutate(store, write, op, n),
            }
        }
    }

    /// An increment is a write of the sum: of two concurrent ones a single one counts.
    increment_as_write: ReadModifyWrite of StringKey, Text, StringOp {
        fn mutate(store: &Text, write: &mut Write<'_>, op: &StringOp, n: usize) -> Causal<Text> {
            match op {
                StringOp::Add(by) => {
                    let held: i64 = StringKey::show(store).parse().unwrap_or(0);
                    store.write(write, blob(&(held + by).to_string()))
                }
                _ => StringKey::mutate(store, write, op, n),
            }
        }
    }

    /// A remove takes the adds that it saw and leaves no word: concurrent adds win.
    remove_without_a_word: Wordless of RemoveWins, RemoveWinsSet, SetOp {
        fn mutate(store: &RemoveWinsSet, write: &mut Write<'_>, op: &SetOp, n: usize) -> Causal<RemoveWinsSet> {
            match op {
                SetOp::Remove(member) => store.update(member.as_bytes(), |words| words.clear(write)),
                _ => RemoveWins::mutate(store, write, op, n),
            }
        }
    }

    /// A DEL answers the removes too: adds that they had beaten come back.
    delete_answers_removes: Answering of RemoveWins, RemoveWinsSet, SetOp {
        fn mutate(store: &RemoveWinsSet, write: &mut Write<'_>, op: &SetOp, n: usize) -> Causal<RemoveWinsSet> {
            let mut delta = RemoveWins::mutate(store, write, op, n);
            if let SetOp::Clear = op {
                for member in ["a", "b", "c", "d"] {
                    delta.context.merge(&store.add(write, member.as_bytes()).context);
                }
            }
            delta
        }
    }

    /// The last word on an expiry wins, whoever spoke at the same time.
    last_expiry_wins: LastExpiry of Expiries, Deadlines, ExpiryOp {
        real_mutate!(Expiries, Deadlines, ExpiryOp);
        fn merge(into: &mut Causal<Deadlines>, from: &Causal<Deadlines>) {
            into.merge(from);
            keep_highest(into);
        }
    }

    /// A delete of a maximum drops the registers where it arrives: what came before it and what came after differ.
    maximum_dropped: Dropping of Rising, Maximum, RiseOp {
        real_mutate!(Rising, Maximum, RiseOp);
        fn merge(into: &mut Causal<Maximum>, from: &Causal<Maximum>) {
            into.merge(from);
            if !into.store.is_alive() {
                into.store = Maximum::default();
            }
        }
    }

    /// Removing an element of a list drops its place: what hangs on it is lost.
    list_without_places: Placeless of Sequence, List, SequenceOp {
        real_mutate!(Sequence, List, SequenceOp);
        fn merge(into: &mut Causal<List>, from: &Causal<List>) {
            into.merge(from);
            if !into.store.is_alive() {
                into.store = List::default();
            }
        }
    }

    /// An insert goes to the end, wherever its user saw it go.
    list_appends: Appending of Sequence, List, SequenceOp {
        fn mutate(store: &List, write: &mut Write<'_>, op: &SequenceOp, n: usize) -> Causal<List> {
            match op {
                SequenceOp::Insert(_) => Sequence::mutate(store, write, &SequenceOp::PushBack, n),
                _ => Sequence::mutate(store, write, op, n),
            }
        }
    }

    /// HDEL forgets the field with all that its counter knew.
    field_residue_dropped: NoResidue of Fields, Object, FieldOp {
        real_mutate!(Fields, Object, FieldOp);
        fn merge(into: &mut Causal<Object>, from: &Causal<Object>) {
            into.merge(from);
            if !into.store.is_alive() {
                into.store = Object::default();
            }
        }
    }

    /// A key made anew takes over the expiry that lies there.
    stale_expiry: StaleExpiry of Key, Object, KeyOp {
        fn mutate(store: &Object, write: &mut Write<'_>, op: &KeyOp, n: usize) -> Causal<Object> {
            match op {
                KeyOp::Member(member) => {
                    let set = store.as_set().cloned().unwrap_or_default().add(write, member.as_bytes());
                    Causal { store: set.store.into(), context: set.context }
                }
                _ => Key::mutate(store, write, op, n),
            }
        }
    }

    /// A DEL removes the shown type and leaves the hidden one.
    delete_of_what_is_shown: ShownOnly of Key, Object, KeyOp {
        fn mutate(store: &Object, write: &mut Write<'_>, op: &KeyOp, n: usize) -> Causal<Object> {
            let hidden = store.hidden().next().is_some();
            match (op, store.as_text()) {
                (KeyOp::Delete, Some(text)) if hidden => {
                    let seen = text.seen();
                    Causal { store: seen.store.into(), context: seen.context }
                }
                _ => Key::mutate(store, write, op, n),
            }
        }
    }
}

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
        vec![super::history::add("", *by)]
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
