//! Wishes on their way: what is written is read back, damage is refused, and what does not fit spends no dot.
// bugs: LL-12, LL-24

use super::subjects::blob;
use super::world::{Draw, actor};
use data::causal::{
    Amount, Causal, Deadline, Dot, Kind, Mark, Minter, Object, Outcome, Score, Stamp, Store, Unfit, Version,
    Wish, Write,
};
use data::codec::{Reader, Writer};
use data::operation::End;
use data::{Expiry, causal::SIBLINGS_MAX};

fn score(number: f64) -> Score {
    Score::new(number).expect("a number")
}

fn minted(wishes: &[Wish], now_ms: i64) -> Causal<Object> {
    let mut minter = Minter::new(actor(0), 0);
    let mut state = Causal::<Object>::new();
    for (at, wish) in wishes.iter().enumerate() {
        let mut write = Write::new(&mut minter, Stamp(at as u64 + 1));
        let (delta, _) = wish.mint(&state.store, &mut write, now_ms).expect("it fits");
        state.merge(&delta);
    }
    state
}

/// One of each kind, and more where a kind has several forms.
fn wishes() -> Vec<Wish> {
    let seen = minted(&[Wish::Set { value: blob("v"), expiry: Expiry::Never }], 0).store.seen_text();
    let float = Amount::float(-1.5).expect("finite");
    vec![
        Wish::Set { value: blob("v"), expiry: Expiry::Keep },
        Wish::Set { value: blob(""), expiry: Expiry::At(-7) },
        Wish::SetOver { seen, value: blob("w") },
        Wish::Increment { by: Amount::whole(i64::MIN) },
        Wish::IncrementFloat { by: float },
        Wish::SetAdd { members: vec![blob("a"), blob("b")] },
        Wish::SetRemove { members: vec![blob("a")] },
        Wish::HashSet { fields: vec![(blob("f"), blob("1")), (blob("g"), blob(""))] },
        Wish::HashIncrement { field: blob("f"), by: Amount::whole(3) },
        Wish::HashIncrementFloat { field: blob("f"), by: float },
        Wish::HashRemove { fields: vec![blob("g")] },
        Wish::ZSetSet { members: vec![(blob("m"), score(f64::NEG_INFINITY)), (blob("n"), score(0.5))] },
        Wish::ZSetIncrement { member: blob("m"), by: float },
        Wish::ZSetRemove { members: vec![blob("m")] },
        Wish::ListPush { end: End::Front, elements: vec![blob("x"), blob("y")] },
        Wish::ListPush { end: End::Back, elements: vec![] },
        Wish::ListInsert { after: true, pivot: blob("x"), element: blob("z") },
        Wish::ListRemove { count: -2, element: blob("x") },
        Wish::Expire { deadline: Deadline::At(99) },
        Wish::Expire { deadline: Deadline::Never },
        Wish::Delete,
        Wish::Raise { points: vec![(0, 1), (16_383, 63)] },
        Wish::Settle {
            path: vec![blob("f")],
            versions: vec![Version {
                mark: Mark { stamp: Stamp(7), dot: Dot { actor: actor(1), counter: 3 } },
                value: Some(blob("v")),
                kind: Kind::Last,
            }],
            value: None,
            by: blob("me"),
        },
        Wish::Forget { decisions: [Dot { actor: actor(2), counter: 9 }].into_iter().collect() },
    ]
}

fn encoded(wish: &Wish) -> Vec<u8> {
    let mut bytes = Vec::new();
    wish.encode(&mut Writer::new(&mut bytes));
    bytes
}

fn decoded(bytes: &[u8]) -> Option<Wish> {
    let mut reader = Reader::new(bytes);
    let wish = Wish::decode(&mut reader).ok()?;
    reader.end().ok()?;
    Some(wish)
}

#[test]
fn wishes_survive_the_round_trip_and_damage_is_refused_or_harmless() {
    let mut draw = Draw(9);
    let mut refused = 0;
    for wish in wishes() {
        let bytes = encoded(&wish);
        assert_eq!(decoded(&bytes), Some(wish.clone()));
        for cut in 0..bytes.len() {
            assert_eq!(decoded(&bytes[..cut]), None, "{wish:?} cut at {cut}");
        }
        for _ in 0..500 {
            let mut damaged = bytes.clone();
            let at = draw.below(damaged.len());
            damaged[at] ^= 1 << draw.below(8);
            match decoded(&damaged) {
                // Well formed, and something else: whoever mints it must not fall over.
                Some(other) => {
                    assert_eq!(encoded(&other), damaged);
                    let mut minter = Minter::new(actor(1), 0);
                    let mut write = Write::new(&mut minter, Stamp(50));
                    let object = minted(&wishes()[7..8], 0).store;
                    let _ = other.mint(&object, &mut write, 0);
                }
                None => refused += 1,
            }
        }
    }
    assert!(refused > 1_000, "{refused}");
}

#[test]
fn outcomes_and_reasons_survive_the_round_trip() {
    let outcomes = [
        Outcome::Done,
        Outcome::Count(u64::MAX),
        Outcome::Scored { added: 1, changed: 2 },
        Outcome::Length(7),
        Outcome::NoPivot,
        Outcome::Total(i64::MIN),
        Outcome::Number(f64::INFINITY),
    ];
    for outcome in outcomes {
        let mut bytes = Vec::new();
        outcome.encode(&mut Writer::new(&mut bytes));
        assert_eq!(Outcome::decode(&mut Reader::new(&bytes)), Ok(outcome));
        assert!(Outcome::decode(&mut Reader::new(&bytes[..bytes.len() - 1])).is_err());
    }
    let mut known = 0;
    for byte in 0..=u8::MAX {
        let Ok(unfit) = Unfit::decode(&mut Reader::new(&[byte])) else { continue };
        let mut bytes = Vec::new();
        unfit.encode(&mut Writer::new(&mut bytes));
        assert_eq!(bytes, [byte]);
        known += 1;
    }
    assert_eq!(known, 9);
}

/// What a wish comes to is said before it is minted, and is what its delta does.
#[test]
fn what_is_said_is_what_is_done() {
    for seed in 0..300 {
        let mut draw = Draw(seed);
        let mut minter = Minter::new(actor(0), 0);
        let mut state = Causal::<Object>::new();
        for stamp in 1..25 {
            let wish = draw.pick(&wishes());
            let now_ms = draw.below(200) as i64;
            let before = state.store.plain(now_ms);
            let last = minter.last();
            let said = wish.judge(&state.store, now_ms);
            let mut write = Write::new(&mut minter, Stamp(stamp));
            let outcome = match wish.mint(&state.store, &mut write, now_ms) {
                Ok((delta, outcome)) => {
                    state.merge(&delta);
                    outcome
                }
                Err(unfit) => {
                    assert_eq!(said, Err(unfit));
                    assert_eq!(minter.last(), last, "{wish:?} spent a dot for nothing");
                    continue;
                }
            };
            assert_eq!(said, Ok(outcome));
            let after = state.store.plain(now_ms);
            let length = |plain: &Option<data::value::Value>| {
                plain.as_ref().map_or(0, |value| value.as_ref().len()) as u64
            };
            match (&wish, outcome) {
                (Wish::SetAdd { .. } | Wish::HashSet { .. }, Outcome::Count(new)) => {
                    assert_eq!(length(&after), length(&before) + new);
                }
                (Wish::ZSetSet { .. }, Outcome::Scored { added, .. }) => {
                    assert_eq!(length(&after), length(&before) + added);
                }
                (
                    Wish::SetRemove { .. }
                    | Wish::HashRemove { .. }
                    | Wish::ZSetRemove { .. }
                    | Wish::ListRemove { .. },
                    Outcome::Count(gone),
                ) => assert_eq!(length(&after) + gone, length(&before)),
                (Wish::ListPush { .. } | Wish::ListInsert { .. }, Outcome::Length(now)) => {
                    assert_eq!(length(&after), now);
                }
                (Wish::ListInsert { .. }, Outcome::NoPivot) => assert_eq!(before, after),
                (Wish::Delete, Outcome::Count(was)) => {
                    assert_eq!((after, was), (None, u64::from(before.is_some())));
                }
                (Wish::Raise { points }, Outcome::Count(rose)) => {
                    let maximum = state.store.as_maximum().expect("registers");
                    assert!(points.iter().all(|(at, value)| maximum.register(*at) >= *value));
                    assert_eq!(rose, u64::from(before != after));
                }
                (Wish::Expire { .. }, Outcome::Count(_))
                | (Wish::Set { .. } | Wish::SetOver { .. }, Outcome::Done) => {}
                (
                    Wish::Increment { .. } | Wish::IncrementFloat { .. },
                    Outcome::Total(_) | Outcome::Number(_),
                ) => {
                    let shown =
                        state.store.as_text().and_then(|text| text.shown().map(|shown| shown.into_owned()));
                    let expected = match outcome {
                        Outcome::Total(total) => total.to_string(),
                        Outcome::Number(number) => number.to_string(),
                        _ => unreachable!(),
                    };
                    assert_eq!(shown, Some(expected.into_bytes()));
                }
                (
                    Wish::HashIncrement { .. } | Wish::HashIncrementFloat { .. } | Wish::ZSetIncrement { .. },
                    Outcome::Total(_) | Outcome::Number(_),
                ) => assert!(length(&after) >= length(&before)),
                // Of conflicts; without a policy, and without any, they change nothing.
                (Wish::Settle { .. } | Wish::Forget { .. }, Outcome::Done) => assert_eq!(before, after),
                (wish, outcome) => panic!("{wish:?} came to {outcome:?}"),
            }
        }
    }
}

#[test]
fn versions_are_bounded_and_a_context_that_names_them_makes_room() {
    let mut minter = Minter::new(actor(0), 0);
    let mut state = Causal::<Object>::new();
    let blind = Wish::SetOver { seen: Causal::new(), value: blob("v") };
    for stamp in 0..SIBLINGS_MAX as u64 {
        let (delta, _) =
            blind.mint(&state.store, &mut Write::new(&mut minter, Stamp(stamp)), 0).expect("room");
        state.merge(&delta);
    }
    let refused = blind.mint(&state.store, &mut Write::new(&mut minter, Stamp(99)), 0);
    assert_eq!(refused.map(|_| ()), Err(Unfit::Siblings));
    let knowing = Wish::SetOver { seen: state.store.seen_text(), value: blob("w") };
    let (delta, _) = knowing.mint(&state.store, &mut Write::new(&mut minter, Stamp(100)), 0).expect("room");
    state.merge(&delta);
    assert_eq!(state.store.as_text().map(|text| text.siblings().len()), Some(1));
    assert!(state.store.is_alive());
}
