//! Dots, vectors, contexts and the hybrid clock.

use super::world::{Draw, actor};
use data::WallInterval;
use data::causal::{Context, Dot, HybridClock, Minter, Stamp, TooFarAhead, VersionVector};
use data::codec::Writer;
use std::cmp::Ordering;
use std::collections::BTreeSet;

fn vector(counters: [u64; 3]) -> VersionVector {
    let mut vector = VersionVector::new();
    (0..3).for_each(|at| vector.raise(actor(at), counters[at]));
    vector
}

/// The vectors of the articles: [3,2,2] is newer than [2,2,2]; beside [2,3,2] it is a conflict.
// catalogue: K11 K12
#[test]
fn vectors_are_ordered_or_concurrent() {
    let table = [
        ([3, 2, 2], [2, 2, 2], Some(Ordering::Greater)),
        ([2, 2, 2], [3, 2, 2], Some(Ordering::Less)),
        ([3, 2, 2], [3, 2, 2], Some(Ordering::Equal)),
        ([3, 2, 2], [2, 3, 2], None),
        ([1, 0, 0], [0, 0, 0], Some(Ordering::Greater)),
        ([1, 0, 0], [0, 1, 0], None),
    ];
    for (a, b, expected) in table {
        assert_eq!(vector(a).partial_cmp(&vector(b)), expected, "{a:?} {b:?}");
        let mut sum = vector(a);
        sum.merge(&vector(b));
        assert!(sum >= vector(a) && sum >= vector(b));
        let met = vector(a).meet(&vector(b));
        assert!(met <= vector(a) && met <= vector(b));
    }
    assert!(vector([3, 2, 2]).contains(Dot { actor: actor(0), counter: 3 }));
    assert!(!vector([3, 2, 2]).contains(Dot { actor: actor(1), counter: 3 }));
    assert!(!vector([3, 2, 2]).contains(Dot { actor: actor(1), counter: 0 }));
}

fn model(dots: &BTreeSet<(usize, u64)>) -> Context {
    dots.iter().map(|(at, counter)| Dot { actor: actor(*at), counter: *counter }).collect()
}

/// A context is a set of dots, whatever was inserted in which order.
#[test]
fn contexts_are_sets() {
    for seed in 0..300 {
        let mut draw = Draw(seed);
        let mut sets = [BTreeSet::new(), BTreeSet::new()];
        let mut contexts = [Context::new(), Context::new()];
        for _ in 0..draw.below(12) {
            let (which, at) = (draw.below(2), draw.below(2));
            let first = draw.below(20) as u64;
            let last = (first + draw.below(5) as u64).saturating_sub(1);
            contexts[which].insert_range(actor(at), first, last);
            sets[which].extend((first.max(1)..=last).map(|counter| (at, counter)));
        }
        for which in 0..2 {
            assert_eq!(contexts[which], model(&sets[which]), "equal sets are equal values");
            for at in 0..2 {
                for counter in 0..30 {
                    let dot = Dot { actor: actor(at), counter };
                    assert_eq!(contexts[which].contains(dot), sets[which].contains(&(at, counter)));
                }
                let prefix = (1..).take_while(|counter| sets[which].contains(&(at, *counter))).count();
                assert_eq!(contexts[which].vector().counter(actor(at)), prefix as u64);
            }
            let mut written = Vec::new();
            contexts[which].encode(&mut Writer::new(&mut written));
            assert_eq!(Context::decode(&written), Ok(contexts[which].clone()));
            assert!((0..written.len()).all(|cut| Context::decode(&written[..cut]).is_err()));
            // A skip closes the holes.
            let mut closed = contexts[which].clone();
            for (actor, first, last) in contexts[which].holes() {
                assert!((first..=last).all(|counter| !contexts[which].contains(Dot { actor, counter })));
                closed.insert_range(actor, first, last);
            }
            assert_eq!(closed.holes().count(), 0);
            assert!(
                closed
                    .ranges()
                    .all(|(actor, first, last)| first == 1 && closed.vector().counter(actor) == last)
            );
        }
        let [a, b] = &contexts;
        assert_eq!(a.covers(b), sets[0].is_superset(&sets[1]));
        let mut sum = a.clone();
        sum.merge(b);
        assert_eq!(sum, model(&sets[0].union(&sets[1]).copied().collect()));
        let both: BTreeSet<_> = sets[0].intersection(&sets[1]).copied().collect();
        assert_eq!(a.meet(b), model(&both));
        assert_eq!(a.meets(b), !both.is_empty());
        let mut rest = a.clone();
        rest.remove(b);
        assert_eq!(rest, model(&sets[0].difference(&sets[1]).copied().collect()));
    }
}

/// Counters at the very end are no reason to panic.
#[test]
fn the_highest_counters_are_counters() {
    let mut context = Context::new();
    context.insert_range(actor(0), u64::MAX, u64::MAX);
    context.insert_range(actor(0), 1, u64::MAX - 2);
    assert_eq!(context.holes().collect::<Vec<_>>(), [(actor(0), u64::MAX - 1, u64::MAX - 1)]);
    context.insert_range(actor(0), 1, u64::MAX);
    assert_eq!(context.ranges().collect::<Vec<_>>(), [(actor(0), 1, u64::MAX)]);
}

/// After a restart that knows only a reserved bound, the minter goes on above it and says what to skip.
#[test]
fn a_minter_that_restarts_skips() {
    let mut minter = Minter::new(actor(0), 0);
    assert_eq!((minter.mint().counter, minter.mint().counter), (1, 2));
    assert_eq!(minter.skip_to(2), None);
    assert_eq!(minter.skip_to(100), Some(3..=100));
    assert_eq!((minter.mint().counter, minter.last()), (101, 101));
}

fn wall(ms: i64) -> WallInterval {
    WallInterval { earliest_ms: ms - 5, latest_ms: ms + 5 }
}

/// Whatever the wall clock does, stamps grow, and lie above all that was read (LL-01, LL-02).
#[test]
fn the_clock_never_goes_below_what_was_read() {
    let mut clock = HybridClock::new(Stamp(0), 1_000);
    let first = clock.mint(wall(10_000)).expect("in time");
    assert_eq!(first.ms(), 10_000);
    let frozen = clock.mint(wall(10_000)).expect("in time");
    let back = clock.mint(wall(9_500)).expect("within the bound");
    assert!(first < frozen && frozen < back && back.ms() == 10_000);
    clock.observe(Stamp::from_ms(10_900), wall(10_000)).expect("within the bound");
    let above = clock.mint(wall(10_000)).expect("within the bound");
    assert!(above > Stamp::from_ms(10_900));
    assert_eq!(clock.mint(wall(20_000)).expect("in time").ms(), 20_000, "and follows the wall again");
    // 65,536 writes within a millisecond borrow from the next one.
    let mut busy = HybridClock::new(Stamp(0), 1_000);
    let stamps: Vec<Stamp> = (0..70_000).map(|_| busy.mint(wall(1)).expect("within the bound")).collect();
    assert!(stamps.is_sorted_by(|a, b| a < b));
}

/// A stamp from a wild clock is refused and leaves no trace; a clock that was set back by far mints nothing.
#[test]
fn stamps_too_far_ahead_are_refused() {
    let mut clock = HybridClock::new(Stamp(0), 1_000);
    let hour_ahead = Stamp::from_ms(3_600_000);
    assert_eq!(clock.observe(hour_ahead, wall(0)), Err(TooFarAhead { by_ms: 3_599_995 }));
    assert_eq!(clock.observe(Stamp(u64::MAX), wall(0)).map_err(|e| e.by_ms > 1_000), Err(true));
    assert_eq!(clock.last(), Stamp(0));
    assert!(clock.mint(wall(50)).is_ok_and(|stamp| stamp.ms() == 50));
    let mut ahead = HybridClock::new(hour_ahead, 1_000);
    assert!(ahead.mint(wall(0)).is_err());
    assert_eq!(ahead.last(), hour_ahead);
    assert!(ahead.mint(wall(3_600_000)).is_ok());
}
