//! Session guarantees, with and without positions.
// catalogue: A4 G2

use crate::rig::*;
use checker::{Kind, Model, Operation};

const S: Model = Model::Session;

fn at(operation: Operation, index: u64) -> Operation {
    Operation { index: Some(index), ..operation }
}

#[test]
fn another_session_may_lag_behind() {
    good(S, &[ok(1, write(1), 0, 1), ok(2, nothing(), 2, 3), ok(2, read(1), 4, 5)]);
    // Not linearizable, and yet no session sees anything move back.
    let lag = [ok(1, write(1), 0, 1), ok(1, write(2), 2, 3), ok(1, read(2), 4, 5), ok(2, read(1), 6, 7)];
    good(S, &lag);
    assert_eq!(kinds(Model::Register, &lag), [Kind::Stale]);
}

/// What was asked of a copy that may lag is no matter of linearizability, and one of sessions all the same.
#[test]
fn a_stale_read_is_held_against_its_session_only() {
    let stale = |value, start, end| Operation { is_stale_read: true, ..ok(2, read(value), start, end) };
    let writes = [ok(1, write(1), 0, 1), ok(1, write(2), 2, 3)];
    let late = [writes.clone().to_vec(), vec![stale(1, 4, 5), stale(1, 6, 7), stale(2, 8, 9)]].concat();
    good(S, &late);
    assert!(kinds(Model::Register, &late).is_empty());
    let back = [writes.to_vec(), vec![stale(2, 4, 5), stale(1, 6, 7)]].concat();
    bad(S, &back, Kind::MonotonicReads, &[0, 1, 2, 3]);
    bad(S, &[failed(1, write(1), 0, 1), stale(1, 2, 3)], Kind::Refused, &[0, 1]);
    bad(S, &[stale(1, 2, 3), ok(1, write(1), 4, 5)], Kind::Early, &[0, 1]);
}

#[test]
fn a_session_reads_its_writes() {
    bad(S, &[ok(1, write(1), 0, 1), ok(1, nothing(), 2, 3)], Kind::ReadYourWrites, &[0, 1]);
    let history = [ok(1, write(1), 0, 1), ok(1, write(2), 2, 3), ok(1, read(1), 4, 5)];
    bad(S, &history, Kind::ReadYourWrites, &[0, 1, 2]);
    // What may not have happened need not be seen.
    good(S, &[unknown(1, write(1), 0), ok(1, nothing(), 2, 3)]);
}

/// The sender hands the session on to the reader, as with a token: the envelope must be there.
#[test]
fn a_session_that_is_handed_on_reads_its_writes() {
    let reader = Operation { session: 1, ..ok(2, nothing(), 2, 3) };
    bad(S, &[ok(1, write(1), 0, 1), reader.clone()], Kind::ReadYourWrites, &[0, 1]);
    // Handed on before the write had ended: nothing is promised.
    let early = Operation { start: 0, ..reader };
    good(S, &[ok(1, write(1), 0, 1), early]);
}

#[test]
fn reads_do_not_go_back() {
    let history = [ok(1, write(1), 0, 1), ok(2, read(1), 2, 3), ok(2, nothing(), 4, 5)];
    bad(S, &history, Kind::MonotonicReads, &[0, 1, 2]);
    let history = [
        ok(1, write(1), 0, 1),
        ok(3, write(2), 0, 1),
        ok(2, read(1), 2, 3),
        ok(2, read(2), 4, 5),
        ok(2, read(1), 6, 7),
    ];
    bad(S, &history, Kind::MonotonicReads, &[2, 3, 4]);
}

#[test]
fn positions_show_writes_out_of_order() {
    let (one, two) = (ok(1, write(1), 0, 1), ok(1, write(2), 2, 3));
    good(S, &[at(one.clone(), 5), at(two.clone(), 6)]);
    bad(S, &[at(one, 6), at(two, 5)], Kind::MonotonicWrites, &[0, 1]);
}

#[test]
fn what_follows_a_read_stands_behind_it() {
    let (one, two) = (ok(1, write(1), 0, 1), ok(2, write(2), 4, 5));
    let seen = ok(2, read(1), 2, 3);
    good(S, &[at(one.clone(), 5), seen.clone(), at(two.clone(), 6)]);
    bad(S, &[at(one, 6), seen, at(two, 5)], Kind::WritesFollowReads, &[1, 2]);
}

#[test]
fn a_read_at_a_position_shows_the_log_up_to_it() {
    let (one, two) = (at(ok(1, write(1), 0, 1), 5), at(ok(1, write(2), 2, 3), 6));
    good(S, &[one.clone(), two.clone(), at(ok(2, read(1), 4, 5), 5), at(ok(2, read(2), 6, 7), 9)]);
    good(S, &[one.clone(), two.clone(), at(ok(2, nothing(), 4, 5), 4)]);
    bad(S, &[one, two, at(ok(2, read(1), 4, 5), 6)], Kind::ConsistentPrefix, &[1, 2]);
}

#[test]
fn swaps_that_took_each_other_are_no_order() {
    let history = [ok(1, swap(2, 1), 0, 9), ok(2, swap(1, 2), 0, 9)];
    assert_eq!(kinds(S, &history), [Kind::NotLinearizable]);
}

#[test]
fn an_invented_value_is_a_phantom_here_too() {
    bad(S, &[ok(1, read(1), 0, 1)], Kind::Phantom, &[0]);
}
