//! What the sheet of a leaderless keyspace says is left, can be seen; what it says is ruled out, cannot.
// catalogue: K4 K19 K20 K23

use simulator::anomalies::{Anomaly, RULED_OUT, STRICT, Setting, trial};

#[test]
fn the_seeds_of_the_sheet_show_their_anomalies() {
    let first = |anomaly: Anomaly| {
        let is_shown = |seed: &u64| trial(Setting::that_allows(anomaly), *seed).story(anomaly).is_some();
        (anomaly.name(), (1..1_000).find(is_shown))
    };
    assert_eq!(Anomaly::ALL.map(first), Anomaly::ALL.map(|anomaly| (anomaly.name(), Some(anomaly.seed()))));
}

#[test]
fn strict_quorums_that_overlap_show_none() {
    for seed in 1..=300 {
        let history = trial(STRICT, seed);
        for anomaly in RULED_OUT {
            let story = history.story(anomaly);
            assert!(
                story.is_none(),
                "{} at seed {seed}:\n{}",
                anomaly.name(),
                story.unwrap_or_default().join("\n")
            );
        }
    }
}
