//! Counters and things given out once.

use crate::rig::*;
use checker::{Action, Kind, Model, Operation, Value};

const C: Model = Model::Counter;

fn increment(result: i64) -> Action {
    Action::Increment { by: 1, result: Some(result) }
}
fn by(by: i64) -> Action {
    Action::Increment { by, result: None }
}
fn count(seen: i64) -> Action {
    Action::Count { seen }
}

#[test]
fn a_counter_that_counts_once_is_good() {
    good(C, &[ok(1, increment(1), 0, 1), ok(2, increment(2), 2, 3), ok(1, count(2), 4, 5)]);
    good(C, &[ok(1, increment(2), 0, 5), ok(2, increment(1), 0, 6)]);
    good(C, &[ok(1, increment(1), 0, 1), unknown(2, by(1), 0), ok(1, increment(3), 5, 6)]);
    good(C, &[unknown(2, by(1), 0), ok(1, count(0), 5, 6), ok(1, count(1), 7, 8)]);
    good(C, &[ok(1, by(10), 0, 1), ok(2, by(-4), 2, 9), ok(1, count(10), 3, 4), ok(1, count(6), 10, 11)]);
    good(C, &[failed(1, by(1), 0, 1), ok(1, count(0), 5, 6)]);
}

#[test]
fn each_way_to_miscount_has_its_name() {
    bad(C, &[ok(1, by(1), 0, 1), ok(1, count(0), 2, 3)], Kind::TooLow, &[1]);
    bad(C, &[ok(1, by(1), 0, 1), ok(1, count(2), 2, 3)], Kind::TooHigh, &[1]);
    bad(C, &[failed(1, by(1), 0, 1), ok(1, count(1), 2, 3)], Kind::TooHigh, &[1]);
    bad(C, &[ok(1, by(10), 0, 1), ok(1, by(-4), 2, 3), ok(1, count(5), 4, 5)], Kind::TooLow, &[2]);
    bad(C, &[ok(1, by(10), 0, 1), ok(1, by(-4), 2, 3), ok(1, count(7), 4, 5)], Kind::TooHigh, &[2]);
    bad(C, &[unknown(1, by(1), 0), ok(2, count(1), 1, 2), ok(2, count(0), 3, 4)], Kind::Stale, &[1, 2]);
    let twice = [ok(1, increment(1), 0, 9), ok(2, increment(1), 0, 9)];
    bad(C, &twice, Kind::Duplicated, &[0, 1]);
    let gap = [ok(1, increment(1), 0, 9), ok(2, increment(3), 0, 9)];
    assert_eq!(kinds(C, &gap), [Kind::TooHigh]);
    let back = [ok(1, increment(2), 0, 1), ok(2, increment(1), 2, 3)];
    assert!(kinds(C, &back).contains(&Kind::Stale));
}

#[test]
fn a_copy_that_may_lag_shows_less_and_never_more() {
    let stale = |operation| Operation { is_stale_read: true, ..operation };
    let both = [ok(1, increment(1), 0, 1), ok(1, increment(2), 2, 3)];
    let seen = |count_of: i64| [both[0].clone(), both[1].clone(), stale(ok(2, count(count_of), 4, 5))];
    good(C, &seen(1));
    bad(C, &seen(3), Kind::TooHigh, &[2]);
    let behind = [unknown(1, by(1), 0), stale(ok(2, count(1), 1, 2)), ok(2, count(0), 3, 4)];
    bad(C, &behind, Kind::Stale, &[1, 2]);
}

#[test]
fn numbers_at_the_edge_do_not_overflow() {
    let history = [ok(1, by(i64::MAX), 0, 1), ok(1, by(i64::MAX), 2, 3), ok(1, count(i64::MIN), 4, 5)];
    assert!(kinds(C, &history).contains(&Kind::TooLow));
}

#[test]
fn an_id_is_given_out_once() {
    let issue = |id: &str, client| ok(client, Action::Issue { result: Value::from(id) }, client, client + 1);
    good(Model::Unique, &[issue("a", 1), issue("b", 2)]);
    bad(Model::Unique, &[issue("a", 1), issue("b", 2), issue("a", 3)], Kind::Duplicated, &[0, 2]);
    let unanswered = Operation { status: checker::Status::Info, ..issue("a", 2) };
    good(Model::Unique, &[issue("a", 1), unanswered]);
}
