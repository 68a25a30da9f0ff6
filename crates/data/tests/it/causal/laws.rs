//! Every type obeys the laws: exhaustively over short runs, at random over long ones.

use super::keys::{Fields, Key};
use super::members::*;
use super::sequence::Sequence;
use super::subjects::*;
use super::world::{Subject, exhaustive_of, random};

/// Every run of three operations over the whole alphabet, every run of four over its pairs, and long ones.
fn obeys<T: Subject>(seeds: u64) {
    let alphabet = T::alphabet();
    let mut runs = exhaustive_of::<T>(&alphabet, 3).unwrap_or_else(|what| panic!("{what}"));
    // The last operation is the one that takes away: it meets each of the others.
    let (last, others) = alphabet.split_last().expect("some operations");
    for other in others {
        let pair = [other.clone(), last.clone()];
        runs += exhaustive_of::<T>(&pair, 4).unwrap_or_else(|what| panic!("{what}"));
    }
    assert!(runs > 20_000, "only {runs} runs");
    for seed in 0..seeds {
        random::<T>(seed).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    }
}

macro_rules! laws {
    ($($name:ident: $subject:ty, $seeds:literal;)*) => {
        $(#[test]
        fn $name() {
            obeys::<$subject>($seeds);
        })*

        /// Every run of four operations over the whole alphabets.
        #[test]
        #[ignore = "takes minutes; run with: cargo test --release -p data --test it all_runs_of_four -- --ignored"]
        fn all_runs_of_four() {
            $(exhaustive_of::<$subject>(&<$subject>::alphabet(), 4).unwrap_or_else(|what| panic!("{what}"));)*
        }
    };
}

laws! {
    register_with_siblings: Register, 60;
    flag: EnableWins, 60;
    counter: Count, 60;
    string: StringKey, 60;
    last_write_wins: LastWins, 60;
    observed_remove_set: ObservedRemove, 60;
    remove_wins_set: RemoveWins, 60;
    two_phase_set: TwoPhase, 60;
    sorted_set: Sorted, 60;
    expiry: Expiries, 60;
    maximum: Rising, 60;
    list: Sequence, 60;
    map: Fields, 60;
    key: Key, 60;
}
