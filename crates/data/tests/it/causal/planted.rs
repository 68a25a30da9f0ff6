//! Broken types, one mistake each: the suite must find every one of them, or it proves nothing of the others.

use super::history::{Effect, History, Seen};
use super::keys::{FieldOp, Fields, Key, KeyOp};
use super::members::*;
use super::sequence::{Sequence, SequenceOp};
use super::subjects::*;
use super::world::{Draw, Subject, exhaustive_of, random};
use data::causal::{
    Causal, Context, Counter, Deadlines, List, Maximum, Minter, Object, Payload, RemoveWinsSet, Set,
    Siblings, Store, Text, Write,
};
use data::value::Blob;

/// Short runs, then long ones: what a type under the law goes through.
pub fn is_found<T: Subject>() {
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
