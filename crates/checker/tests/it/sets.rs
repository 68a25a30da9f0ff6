//! Sets and lists.

use crate::rig::*;
use checker::{Kind, Model};

const S: Model = Model::Set;

#[test]
fn a_set_that_keeps_everything_is_good() {
    good(
        S,
        &[
            ok(1, add(1), 0, 1),
            ok(1, add(2), 2, 9),
            ok(2, members(&[1]), 3, 4),
            ok(2, members(&[1, 2]), 5, 6),
        ],
    );
    good(S, &[ok(1, add(1), 0, 1), ok(1, remove(1), 2, 3), ok(2, members(&[]), 4, 5)]);
    good(S, &[unknown(1, add(1), 0), ok(2, members(&[]), 2, 3), ok(2, members(&[1]), 4, 5)]);
    good(
        S,
        &[
            ok(1, add(1), 0, 1),
            unknown(1, remove(1), 2),
            ok(2, members(&[1]), 4, 5),
            ok(2, members(&[]), 6, 7),
        ],
    );
}

#[test]
fn each_way_to_be_wrong_has_its_name() {
    bad(S, &[ok(1, add(1), 0, 1), ok(2, members(&[]), 2, 3)], Kind::Lost, &[0, 1]);
    bad(
        S,
        &[unknown(1, add(1), 0), ok(2, members(&[1]), 1, 2), ok(2, members(&[]), 3, 4)],
        Kind::Vanished,
        &[1, 2],
    );
    let late = [ok(1, add(1), 0, 1), ok(2, members(&[]), 2, 3), ok(2, members(&[1]), 4, 5)];
    bad(S, &late, Kind::Stale, &[0, 1, 2]);
    let back = [ok(1, add(1), 0, 1), ok(1, remove(1), 2, 3), ok(2, members(&[1]), 4, 5)];
    bad(S, &back, Kind::Resurrected, &[0, 1, 2]);
    bad(S, &[ok(1, add(1), 0, 1), ok(2, members(&[1, 7]), 2, 3)], Kind::Phantom, &[1]);
    bad(S, &[failed(1, add(1), 0, 1), ok(2, members(&[1]), 2, 3)], Kind::Refused, &[0, 1]);
    bad(S, &[ok(2, members(&[1]), 0, 1), ok(1, add(1), 2, 3)], Kind::Early, &[0, 1]);
    bad(S, &[ok(1, add(1), 0, 1), ok(2, members(&[1, 1]), 2, 3)], Kind::Duplicated, &[1]);
}

#[test]
fn gone_and_back_without_an_add_is_found_by_the_search() {
    let history = [
        ok(1, add(1), 0, 1),
        unknown(1, remove(1), 2),
        ok(2, members(&[]), 4, 5),
        ok(2, members(&[1]), 6, 7),
    ];
    assert_eq!(kinds(S, &history), [Kind::NotLinearizable]);
}

#[test]
fn lists_have_an_order() {
    let (one, two) = (ok(1, append(1), 0, 1), ok(1, append(2), 2, 3));
    good(S, &[one.clone(), two.clone(), ok(2, range(&[1, 2]), 4, 5)]);
    bad(S, &[one.clone(), two.clone(), ok(2, range(&[2, 1]), 4, 5)], Kind::Reordered, &[0, 1, 2]);
    bad(S, &[one, two, ok(2, range(&[2]), 4, 5)], Kind::Lost, &[0, 2]);
    // Appends that overlap may stand either way, but the same way for all.
    let (three, four) = (ok(1, append(3), 0, 9), ok(2, append(4), 0, 9));
    good(S, &[three.clone(), four.clone(), ok(2, range(&[4, 3]), 10, 11)]);
    let history = [three, four, ok(2, range(&[4, 3]), 10, 11), ok(3, range(&[3, 4]), 10, 11)];
    assert_eq!(kinds(S, &history), [Kind::Rearranged]);
}
