//! Linearizability of registers, told as stories.
// catalogue: A4 A5 C15

use crate::rig::*;
use checker::{Kind, Model, Operation, Settings, judge};

const R: Model = Model::Register;

#[test]
fn what_some_order_explains_is_good() {
    good(R, &[ok(1, write(1), 0, 1), ok(1, read(1), 2, 3)]);
    good(R, &[ok(1, write(1), 0, 5), ok(2, nothing(), 2, 3), ok(2, read(1), 4, 6)]);
    good(R, &[ok(1, write(1), 0, 1), ok(1, write(2), 2, 9), ok(2, read(1), 3, 4), ok(2, read(2), 5, 6)]);
    good(R, &[ok(1, write(1), 0, 1), failed(1, write(2), 2, 3), ok(2, read(1), 4, 5)]);
}

/// The "red envelope": a write made through one node is not there on the node that the reader asks.
#[test]
fn a_read_of_what_was_replaced_is_stale() {
    bad(R, &[ok(1, write(1), 0, 1), ok(2, nothing(), 2, 3)], Kind::Stale, &[0, 1]);
    let history = [ok(1, write(1), 0, 1), ok(1, write(2), 2, 3), ok(2, read(1), 4, 5)];
    bad(R, &history, Kind::Stale, &[0, 1, 2]);
}

#[test]
fn what_the_last_reads_miss_is_lost() {
    let last = Operation { is_final: true, ..ok(2, read(1), 8, 9) };
    bad(R, &[ok(1, write(1), 0, 1), ok(1, write(2), 2, 3), last], Kind::Lost, &[0, 1, 2]);
}

#[test]
fn each_impossible_read_has_its_name() {
    bad(R, &[ok(1, write(1), 0, 1), ok(2, read(7), 2, 3)], Kind::Phantom, &[1]);
    bad(R, &[failed(1, write(1), 0, 1), ok(2, read(1), 2, 3)], Kind::Refused, &[0, 1]);
    bad(R, &[ok(2, read(1), 0, 1), ok(1, write(1), 2, 3)], Kind::Early, &[0, 1]);
}

#[test]
fn reads_that_only_together_are_impossible() {
    // A read after a read of the new value must not see the old one.
    let history = [ok(1, write(1), 0, 1), ok(1, write(2), 2, 9), ok(2, read(2), 3, 4), ok(3, read(1), 5, 6)];
    bad(R, &history, Kind::NotLinearizable, &[0, 2, 3]);
}

#[test]
fn two_swaps_of_one_value_lose_an_update() {
    let history = [ok(1, write(1), 0, 1), ok(1, swap(1, 2), 2, 5), ok(2, swap(1, 3), 2, 6)];
    bad(R, &history, Kind::LostUpdate, &[1, 2]);
    good(R, &[ok(1, write(1), 0, 1), ok(1, swap(1, 2), 2, 5), ok(2, swap(2, 3), 2, 6)]);
    // Nobody may come between a value and what was swapped for it.
    good(R, &[ok(1, write(1), 0, 1), ok(2, write(2), 0, 9), ok(1, swap(1, 3), 4, 5), ok(1, read(3), 6, 7)]);
    bad(R, &[ok(1, write(1), 0, 1), ok(1, swap(1, 3), 2, 3), ok(1, read(1), 4, 5)], Kind::Stale, &[0, 1, 2]);
}

#[test]
fn an_unknown_write_may_happen_late_or_never() {
    let (before, unknown) = (ok(1, write(1), 0, 1), unknown(1, write(2), 2));
    good(R, &[before.clone(), unknown.clone(), ok(2, read(1), 500, 501)]);
    good(R, &[before.clone(), unknown.clone(), ok(2, read(1), 500, 501), ok(2, read(2), 502, 503)]);
    let back = [before, unknown, ok(2, read(2), 5, 6), ok(2, read(1), 7, 8)];
    bad(R, &back, Kind::NotLinearizable, &[0, 2, 3]);
}

#[test]
fn values_that_repeat_are_searched() {
    let good_one =
        [ok(1, write(1), 0, 1), ok(1, write(2), 2, 3), ok(1, write(1), 4, 5), ok(2, read(1), 6, 7)];
    good(R, &good_one);
    let history = [
        ok(1, write(1), 0, 9),
        ok(2, write(2), 0, 9),
        ok(3, write(1), 0, 9),
        ok(4, read(1), 10, 11),
        ok(4, read(2), 12, 13),
    ];
    assert_eq!(kinds(R, &history), [Kind::NotLinearizable]);
    // A deleted key is as at the beginning.
    good(R, &[ok(1, write(1), 0, 1), ok(1, delete(), 2, 3), ok(2, nothing(), 4, 5)]);
    assert_eq!(
        kinds(R, &[ok(1, write(1), 0, 1), ok(1, delete(), 2, 3), ok(2, read(1), 4, 5)]),
        [Kind::Stale]
    );
}

#[test]
fn keys_are_judged_apart() {
    let mut history = vec![ok(1, write(1), 0, 1), ok(2, nothing(), 2, 3)];
    history[1].key = "other".into();
    good(R, &history);
}

#[test]
fn a_search_that_grows_too_large_says_so() {
    // Twelve writers of two values in parallel, then a read pattern that no order gives.
    let mut history: Vec<Operation> = (0..12).map(|n| ok(n, write(n as i64 % 2), 0, 100)).collect();
    history.push(ok(20, read(0), 101, 102));
    history.push(ok(20, read(1), 103, 104));
    let verdict = judge(&history, R, &Settings { states_max: 50, ..Settings::default() });
    assert_eq!((verdict.undecided.len(), verdict.violation_count(), verdict.is_good()), (1, 0, false));
    assert_eq!(kinds(R, &history), [Kind::NotLinearizable]);
}
