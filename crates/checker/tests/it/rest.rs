//! Banks, staleness, convergence.

use crate::rig::*;
use checker::{Action, Kind, Model, Operation, Settings, judge};

fn balances(seen: &[i64]) -> Action {
    Action::Balances { seen: seen.to_vec() }
}

#[test]
fn accounts_add_up() {
    let history =
        [ok(1, balances(&[60, 40]), 0, 1), ok(2, Action::Transfer, 2, 3), ok(1, balances(&[50, 50]), 4, 5)];
    good(Model::Bank, &history);
    let halfway = [ok(1, balances(&[60, 40]), 0, 1), ok(1, balances(&[50, 40]), 4, 5)];
    bad(Model::Bank, &halfway, Kind::Unbalanced, &[0, 1]);
    let settings = Settings { total: Some(0), ..Settings::default() };
    assert_eq!(judge(&history, Model::Bank, &settings).count(Kind::Unbalanced), 2);
}

#[test]
fn the_age_of_a_read_is_measured_and_bounded() {
    let ms = 1_000_000;
    let history = [
        ok(1, write(1), 0, ms),
        ok(1, write(2), 2 * ms, 3 * ms),
        ok(2, read(2), 4 * ms, 5 * ms),
        ok(2, read(1), 10 * ms, 11 * ms),
    ];
    let ages = |bound_ms: Option<u64>| {
        let settings = Settings { staleness_ns_max: bound_ms.map(|it| it * ms), ..Settings::default() };
        judge(&history, Model::Staleness, &settings)
    };
    let measured = ages(None);
    assert!(measured.is_good());
    assert!(measured.measured.contains(&("age_ns_max", 7 * ms)), "{:?}", measured.measured);
    assert!(measured.measured.contains(&("stale_reads", 1)));
    assert!(ages(Some(7)).is_good());
    let verdict = ages(Some(6));
    assert_eq!((verdict.count(Kind::Stale), &*verdict.violations[0].witnesses), (1, &[0, 1, 3][..]));
}

#[test]
fn copies_agree_in_the_end() {
    let on = |replica, action| Operation { replica: Some(replica), is_final: true, ..ok(9, action, 9, 9) };
    good(Model::Convergence, &[on(1, read(1)), on(2, read(1)), on(3, read(1))]);
    good(Model::Convergence, &[on(1, members(&[1, 2])), on(2, members(&[2, 1]))]);
    bad(Model::Convergence, &[on(1, read(1)), on(2, read(1)), on(3, nothing())], Kind::Diverged, &[0, 2]);
    bad(Model::Convergence, &[on(1, range(&[1, 2])), on(2, range(&[2, 1]))], Kind::Diverged, &[0, 1]);
    let alone = verdict(Model::Convergence, &[on(1, read(1))]);
    assert_eq!(alone.measured, [("keys_with_two_copies", 0)]);
}

#[test]
fn a_model_passes_over_what_is_not_its_own() {
    let history = [ok(1, write(1), 0, 1), ok(1, add(1), 2, 3), ok(1, members(&[]), 4, 5)];
    assert_eq!(verdict(Model::Register, &history).operations(), 1);
    assert_eq!(verdict(Model::Set, &history).operations(), 2);
}
