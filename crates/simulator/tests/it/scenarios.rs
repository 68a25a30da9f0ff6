//! The named scenarios hold, and do what they are named after.
//!
//! catalogue: A4 C2 C8 F3 F5 G6

use crate::reproducible::plan;
use simulator::history::{Did, Operation};
use simulator::run::{Outcome, Plan, run};
use simulator::scenario::Scenario;

fn play(scenario: Scenario) -> Outcome {
    let outcome = run(&Plan { scenario: Some(scenario), clients: None, ..plan(6, 1) });
    assert!(outcome.violation.is_none(), "{scenario:?}: {:?}", outcome.violation);
    assert!(outcome.acknowledged > 100, "{scenario:?} did only {}", outcome.acknowledged);
    outcome
}

// catalogue: F3
#[test]
fn two_sides_of_a_split_never_both_acknowledge() {
    assert_eq!(play(Scenario::SplitBrain).lost, 0);
}

// catalogue: C2
#[test]
fn async_loses_what_the_dead_leader_alone_had_and_majority_nothing() {
    // The verdict of the keyspace under majority is part of `play`; what is counted as lost is of the one under async.
    assert!(play(Scenario::AsyncLossWindow).lost > 0);
}

// catalogue: C2
#[test]
fn what_async_loses_lies_in_the_ledger() {
    let outcome = play(Scenario::AsyncLossWindow);
    assert!(outcome.ledger.items >= outcome.lost, "{} lost, {:?}", outcome.lost, outcome.ledger);
}

// catalogue: C8
#[test]
fn a_phantom_of_semi_sync_is_lost_with_both_its_copies_and_announced() {
    // The keyspace that waits for two acknowledgements lost nothing: that is part of `play`.
    let outcome = play(Scenario::SemiSyncPhantom);
    assert!(outcome.lost > 0 && outcome.ledger.announced > 0, "{} lost, {:?}", outcome.lost, outcome.ledger);
}

// catalogue: F5
#[test]
fn the_loss_of_async_spans_no_more_than_the_lag_that_is_allowed() {
    // The bound is part of `play`; here that there was something to bound.
    let outcome = play(Scenario::BoundedLoss);
    assert!(
        outcome.lost > 0 && outcome.ledger.items >= outcome.lost,
        "{} lost, {:?}",
        outcome.lost,
        outcome.ledger
    );
}

// catalogue: G6
#[test]
fn copies_show_an_answer_before_its_question_and_leaders_and_tokens_never() {
    // That leaders do not, nor copies behind the answer's token, is part of `play`.
    let outcome = play(Scenario::AnswerBeforeQuestion);
    assert!(outcome.answers_first > 10, "{} answers came first", outcome.answers_first);
    let leaders = |it: &&Operation| matches!(it.did, Did::Observe { copies: false, .. });
    assert!(outcome.history.iter().filter(leaders).count() > 100);
    let signed = outcome
        .history
        .iter()
        .filter(|it| it.key == "signed" && it.outcome == simulator::history::Outcome::Ok);
    assert!(signed.count() > 100);
}

// catalogue: G2 G3 G6
#[test]
fn a_session_that_moves_loses_its_comment_and_goes_back_in_time_only_without_its_token() {
    for scenario in [Scenario::LostOwnComment, Scenario::TimeBackwards] {
        // That a session with its token does neither is part of `play`.
        let outcome = play(scenario);
        assert!(outcome.went_back > 0, "{scenario:?}: {} reads went back", outcome.went_back);
        let with_token = |it: &&Operation| it.place.roamed == Some(true) && it.place.from_copy;
        let count = outcome.history.iter().filter(with_token).count();
        assert!(count > 50, "{scenario:?}: {count} reads from copies with a token");
    }
}

// catalogue: A4
#[test]
fn told_stories_hold() {
    for scenario in [Scenario::RedEnvelope, Scenario::LostOwnComment, Scenario::TimeBackwards] {
        assert_eq!(play(scenario).lost, 0);
    }
}
