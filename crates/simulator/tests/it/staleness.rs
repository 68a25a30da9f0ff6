//! Stale reads: theory and the leaderless machines agree. With fewer reads than the scenario, for it takes a second so.
// catalogue: K4 K7

use simulator::staleness::{CASES, Trio};

#[test]
fn reads_are_stale_as_often_as_predicted() {
    for case in &CASES {
        for after in [0.0, 0.5, 1.5] {
            let counted = Trio::new(7).count(case, after, 2_000);
            // Of independent draws one in ten thousand such intervals misses; the seed is fixed.
            let (low, high) = counted.bounds(3.9);
            let theory = case.predicted(after);
            assert!((low..=high).contains(&theory), "{case:?} {after}: {theory} is not in {low}..{high}");
            let overlaps = case.w + case.r > 3;
            assert_eq!(counted.stale == 0, overlaps, "{case:?} {after}: {counted:?}");
        }
    }
}
