//! Rules that need a story rather than a law.

use super::subjects::{blob, word};
use super::world::actor;
use data::causal::{
    Amount, Causal, Counter, Deadline, Kind, Last, Minter, Object, Score, SetPolicy, Siblings, Stamp, Store,
    Text, Write,
};
use data::{Expiry, operation::End, value::Blob};

struct Replica<S> {
    minter: Minter,
    state: Causal<S>,
}

impl<S: Store> Replica<S> {
    fn new(at: usize) -> Replica<S> {
        Replica { minter: Minter::new(actor(at), 0), state: Causal::new() }
    }
    fn act(&mut self, stamp: u64, change: impl FnOnce(&S, &mut Write<'_>) -> Causal<S>) -> Causal<S> {
        let delta = change(&self.state.store, &mut Write::new(&mut self.minter, Stamp(stamp)));
        assert_eq!(self.state.merge(&delta), [], "one's own write lets nothing go");
        delta
    }
}

fn shown(object: &Object) -> String {
    object.as_text().and_then(|text| text.shown()).map_or("none".into(), |text| word(&text))
}

/// Two sites set a price at once: both end at the same one, and the other lies in the inbox (J1, J7).
// catalogue: J1 J5 J7
#[test]
fn what_last_write_wins_lets_go_is_reported_once_it_meets() {
    let (mut eu, mut us) = (Replica::<Last>::new(0), Replica::<Last>::new(1));
    let low = eu.act(7, |last, write| last.write(write, Some(blob("100"))));
    let high = us.act(9, |last, write| last.write(write, Some(blob("150"))));
    let lost = eu.state.merge(&high);
    assert_eq!(lost.len(), 1);
    assert_eq!(
        (lost[0].value.clone(), lost[0].mark.stamp, lost[0].winner.stamp),
        (Some(blob("100")), Stamp(7), Stamp(9))
    );
    assert_eq!(us.state.merge(&low), lost, "named alike by whoever finds it");
    assert_eq!(eu.state, us.state);
    // Again, and as a state: known already.
    assert_eq!(eu.state.merge(&low), []);
    assert_eq!(eu.state.merge(&us.state.clone()), []);
    // What a write saw it does not take by surprise; its stamp is above, whatever its clock said.
    let over = eu.act(1, |last, write| last.write(write, Some(blob("200"))));
    assert_eq!(us.state.merge(&over), []);
    assert_eq!(us.state.store.value(), Some(&blob("200")));
    // Equal values are no conflict (ML-19).
    let same = eu.act(20, |last, write| last.write(write, Some(blob("300"))));
    us.act(21, |last, write| last.write(write, Some(blob("300"))));
    assert_eq!(us.state.merge(&same), []);
    // A delete can lose, and win.
    let gone = eu.act(30, |last, write| last.write(write, None));
    us.act(31, |last, write| last.write(write, Some(blob("400"))));
    let lost = us.state.merge(&gone);
    assert_eq!((lost.len(), lost[0].value.clone()), (1, None));
}

/// In a map the report says which field.
#[test]
fn what_is_let_go_in_a_field_is_reported_with_its_path() {
    let (mut a, mut b) = (Replica::<Object>::new(0), Replica::<Object>::new(1));
    let path = [&b"cart"[..], b"price"];
    let price =
        |value: &'static [u8]| move |object: &Object, write: &mut Write<'_>| object.set_last(write, 0, value);
    let (mut low, mut high) = (price(b"100"), price(b"150"));
    let low = a.act(7, |object, write| object.hash_update(write, 0, &path, &mut low).expect("not deep"));
    b.act(9, |object, write| object.hash_update(write, 0, &path, &mut high).expect("not deep"));
    let lost = b.state.merge(&low);
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0].path, [blob("cart"), blob("price")]);
    assert_eq!(lost[0].value, Some(blob("100")));
}

/// A write with an explicit context replaces what its reader saw, and nothing that came since.
// catalogue: K10
#[test]
fn an_explicit_context_replaces_exactly_what_was_read() {
    let mut a = Replica::<Object>::new(0);
    a.act(1, |object, write| object.set(write, 0, b"10", Expiry::Never));
    a.act(2, |object, write| object.increment(write, 0, Amount::whole(1)));
    let seen = a.state.store.seen_text();
    a.act(3, |object, write| object.increment(write, 0, Amount::whole(5)));
    assert_eq!(shown(&a.state.store), "16");
    let mut b = Replica::<Object>::new(1);
    let echoed = b.act(4, |_, write| Object::set_over(seen, write, b"100"));
    a.state.merge(&echoed);
    assert_eq!(shown(&a.state.store), "105", "the increment that the reader did not see survives");
    // A context from before another write leaves that one beside it.
    let stale = Causal::<Text>::new();
    let blind = b.act(5, |_, write| Object::set_over(stale, write, b"7"));
    a.state.merge(&blind);
    assert_eq!(a.state.store.as_text().map(|text| text.siblings().len()), Some(2));
}

/// Fifty blind writers make fifty siblings; whoever reads them and writes leaves one (LL-12).
#[test]
fn siblings_of_blind_writers_end_with_one_that_saw_them() {
    let mut a = Replica::<Siblings<Blob>>::new(0);
    for n in 0..50 {
        a.act(n, |_, write| Siblings::write_over(Default::default(), write, blob(&n.to_string())));
    }
    assert_eq!(a.state.store.len(), 50);
    a.act(60, |register, write| register.write(write, blob("one")));
    assert_eq!(a.state.store.len(), 1);
}

/// SET of a text and SADD at once: both are kept, the later one is shown, SET or DEL ends it.
#[test]
fn types_in_conflict_are_both_kept() {
    let (mut a, mut b) = (Replica::<Object>::new(0), Replica::<Object>::new(1));
    let text = a.act(5, |object, write| object.set(write, 0, b"x", Expiry::Never));
    let set = b.act(6, |object, write| object.set_add(write, 0, SetPolicy::ObservedRemove, &[b"m"]));
    a.state.merge(&set);
    b.state.merge(&text);
    for replica in [&a, &b] {
        let object = &replica.state.store;
        assert_eq!(object.shown().map(|part| part.kind()), Some(Kind::Set));
        assert_eq!(object.hidden().map(|part| part.kind()).collect::<Vec<_>>(), [Kind::Text]);
    }
    let again = a.act(7, |object, write| object.set(write, 0, b"y", Expiry::Never));
    b.state.merge(&again);
    assert_eq!(b.state.store.shown().map(|part| part.kind().name()), Some("string"));
    assert_eq!(b.state.store.hidden().count(), 0);
}

/// EXPIRE and PERSIST at once: the key stays. An expired key is hidden and a PERSIST from before still counts.
#[test]
fn an_expired_key_is_hidden_not_deleted() {
    let (mut a, mut b) = (Replica::<Object>::new(0), Replica::<Object>::new(1));
    let set = a.act(1, |object, write| object.set(write, 0, b"x", Expiry::At(100)));
    b.state.merge(&set);
    assert!(a.state.store.is_shown(99) && !a.state.store.is_shown(100));
    let persist = b.act(2, |object, write| object.expire(write, 50, Deadline::Never));
    let sooner = a.act(3, |object, write| object.expire(write, 50, Deadline::At(60)));
    a.state.merge(&persist);
    b.state.merge(&sooner);
    assert!(a.state.store.is_shown(1_000) && a.state == b.state);
    // A later word replaces both.
    a.act(4, |object, write| object.expire(write, 50, Deadline::At(60)));
    assert!(!a.state.store.is_shown(60));
    // Who writes to what has expired begins anew.
    a.act(5, |object, write| object.increment(write, 70, Amount::whole(1)));
    assert_eq!(shown(&a.state.store), "1");
    assert!(a.state.store.is_shown(1_000_000));
}

/// Counts are exact where doubles are not, and fractions add up the same everywhere.
#[test]
fn amounts_add_up() {
    let mut a = Replica::<Counter>::new(0);
    let mut b = Replica::<Counter>::new(1);
    let float = |value| Amount::float(value).expect("finite");
    let deltas = [
        a.act(1, |counter, write| counter.add(write, Amount::whole(i64::MAX))),
        b.act(1, |counter, write| counter.add(write, Amount::whole(i64::MAX))),
        a.act(2, |counter, write| counter.add(write, float(0.1))),
        b.act(2, |counter, write| counter.add(write, float(0.2))),
        b.act(3, |counter, write| counter.add(write, float(-0.2))),
    ];
    let mut forward = Causal::<Counter>::new();
    deltas.iter().for_each(|delta| drop(forward.merge(delta)));
    let mut backward = Causal::<Counter>::new();
    deltas.iter().rev().for_each(|delta| drop(backward.merge(delta)));
    assert_eq!(forward, backward);
    assert_eq!(forward.store.value().as_whole(), None);
    let back = a.act(4, |counter, write| counter.add(write, float(-0.1)));
    forward.merge(&back);
    assert_eq!(forward.store.value().as_whole(), Some(2 * i128::from(i64::MAX)));
    assert_eq!((Amount::float(f64::INFINITY), Amount::float(f64::NAN)), (None, None));
    assert_eq!(Amount::float(-0.0), Some(Amount::ZERO));
    let largest = float(f64::MAX);
    assert!(
        largest.plus(largest).as_float().is_finite()
            && largest.plus(largest).minus(largest).as_float() >= 0.0
    );
    // A deleted counter leaves no fraction behind when it starts over.
    a.act(5, |counter, write| counter.add(write, float(1e18)));
    a.act(6, |counter, write| counter.clear(write));
    a.act(7, |counter, write| counter.add(write, float(0.5)));
    assert_eq!(a.state.store.value().as_float(), 0.5);
}

/// What every mutator of a key does when nobody else writes: what Redis does.
#[test]
fn a_single_writer_sees_redis() {
    let mut a = Replica::<Object>::new(0);
    let mut n = 0;
    let mut act = |change: &dyn Fn(&Object, &mut Write<'_>) -> Causal<Object>| {
        n += 1;
        a.act(n, change);
        a.state.store.clone()
    };
    // A field or member named twice: the last one counts, and leaves no sibling.
    let object = act(&|object, write| object.hash_set(write, 0, &[(b"f", b"1"), (b"g", b"x"), (b"f", b"2")]));
    let field = |object: &Object, name: &[u8]| shown(object.as_map().unwrap().entry(name).unwrap());
    assert_eq!((field(&object, b"f"), field(&object, b"g")), ("2".into(), "x".into()));
    let object = act(&|object, write| object.hash_increment(write, 0, b"f", Amount::whole(40)));
    assert_eq!(field(&object, b"f"), "42");
    let object = act(&|object, write| object.hash_remove(write, &[b"f", b"g", b"none"]));
    assert!(!object.is_shown(0), "the key goes with its last field");
    let score = |score| Score::new(score).expect("a number");
    let object =
        act(&|object, write| object.zset_set(write, 0, &[(b"m", score(1.5)), (b"i", score(f64::INFINITY))]));
    assert_eq!(object.shown().map(|part| part.kind().name()), Some("zset"));
    let object = act(&|object, write| object.zset_increment(write, 0, b"m", Amount::float(1.0).unwrap()));
    let scores: Vec<(&[u8], f64)> = object.as_zset().unwrap().scores().collect();
    assert_eq!(scores, [(&b"i"[..], f64::INFINITY), (b"m", 2.5)]);
    let object = act(&|object, write| object.zset_remove(write, &[b"m"]));
    assert_eq!(object.as_zset().unwrap().score(b"m"), None);
    act(&|object, write| object.delete(write));
    let object = act(&|object, write| object.list_push(write, 0, End::Front, &[b"a", b"b"]));
    assert_eq!(super::sequence::values(object.as_list().unwrap()), ["b", "a"]);
    let object = act(&|object, write| object.list_insert(write, 0, 1, &[b"x"]));
    assert_eq!(super::sequence::values(object.as_list().unwrap()), ["b", "x", "a"]);
    let object = act(&|object, _| {
        let dots: Vec<_> = object.as_list().unwrap().elements()[..2].iter().map(|e| e.mark.dot).collect();
        object.list_remove(&dots)
    });
    assert_eq!(super::sequence::values(object.as_list().unwrap()), ["a"]);
    let object = act(&|object, write| object.set(write, 0, b"text", Expiry::Never));
    assert_eq!((shown(&object), object.hidden().count()), ("text".into(), 0));
    let object = act(&|object, write| object.set(write, 0, b"longer text", Expiry::Keep));
    assert_eq!(shown(&object), "longer text");
    act(&|object, write| object.delete(write));
    let object = act(&|object, write| object.raise(write, 0, &[(3, 7), (3, 2), (9, 1)]));
    assert_eq!(object.as_maximum().unwrap().registers().into_iter().collect::<Vec<_>>(), [(3, 7), (9, 1)]);
    act(&|object, write| object.delete(write));
    for policy in [SetPolicy::ObservedRemove, SetPolicy::RemoveWins, SetPolicy::TwoPhase] {
        let object = act(&|object, write| object.set_add(write, 0, policy, &[b"m", b"m", b"k"]));
        assert_eq!(object.shown().map(|part| part.kind().name()), Some("set"));
        let object = act(&|object, write| object.set_remove(write, policy, &[b"m", b"k"]));
        assert!(!object.is_shown(0), "{policy:?}");
        act(&|object, write| object.set_add(write, 0, policy, &[b"m"]));
        let object = act(&|object, write| object.delete(write));
        assert!(!object.is_shown(0), "{policy:?}");
    }
    let object = act(&|object, write| object.enable(write, 0));
    assert!(object.as_flag().is_some_and(Store::is_alive));
    let object = act(&|object, write| object.disable(write));
    assert!(!object.is_shown(0));
}
