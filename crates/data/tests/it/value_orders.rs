//! Sorted sets agree with a sorted vector; removed members go back to their places.

use data::value::{Hash, List, ScoreBound, Set, ZSet};
use proptest::collection::vec;
use proptest::prelude::*;

fn name(n: u16) -> Vec<u8> {
    n.to_be_bytes().to_vec()
}

fn sorted(zset: &ZSet) -> Vec<(Vec<u8>, f64)> {
    let mut pairs: Vec<_> = zset.iter_members().map(|(m, s)| (m.to_vec(), s)).collect();
    pairs.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
    pairs
}

fn owned<'a>(pairs: impl Iterator<Item = (&'a [u8], f64)>) -> Vec<(Vec<u8>, f64)> {
    pairs.map(|(m, s)| (m.to_vec(), s)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn ranges_and_ranks_are_those_of_the_sorted_order(
        changes in vec((0..900u16, -20..20i32, 0..5u8), 1..1500),
        from in 0..900usize,
        len in 0..600usize,
    ) {
        let mut zset = ZSet::new();
        for (member, score, action) in changes {
            if action == 0 {
                zset.remove(&name(member));
            } else {
                zset.set(&name(member), f64::from(score));
            }
        }
        let wanted = sorted(&zset);
        prop_assert_eq!(&owned(zset.iter()), &wanted);
        let end = (from + len).min(wanted.len());
        let part = &wanted[from.min(end)..end];
        prop_assert_eq!(&owned(zset.range(from, from + len)), part);
        let backwards: Vec<_> = part.iter().rev().cloned().collect();
        prop_assert_eq!(&owned(zset.range(from, from + len).rev()), &backwards);
        for (rank, (member, score)) in wanted.iter().enumerate().step_by(7) {
            prop_assert_eq!(zset.rank(member), Some(rank));
            prop_assert_eq!(zset.score(member), Some(*score));
        }
        for score in -21..21 {
            let score = f64::from(score);
            let below = wanted.iter().filter(|(_, s)| *s < score).count();
            let upto = wanted.iter().filter(|(_, s)| *s <= score).count();
            prop_assert_eq!(zset.rank_of_score(ScoreBound::Including(score)), below);
            prop_assert_eq!(zset.rank_of_score(ScoreBound::Excluding(score)), upto);
        }
    }

    #[test]
    fn removed_members_go_back_to_their_places(removals in vec(0..40u16, 1..40)) {
        let (mut hash, mut set, mut zset) = (Hash::new(), Set::new(), ZSet::new());
        for n in 0..40 {
            hash.set(&name(n), b"v");
            set.add(&name(n));
            zset.set(&name(n), f64::from(n % 5));
        }
        let order = |h: &Hash, s: &Set, z: &ZSet| {
            let hash: Vec<_> = h.iter().map(|(f, _)| f.to_vec()).collect();
            let set: Vec<_> = s.iter().map(<[u8]>::to_vec).collect();
            (hash, set, owned(z.iter_members()), owned(z.iter()))
        };
        let before = order(&hash, &set, &zset);
        let mut removed = Vec::new();
        for n in removals {
            if let (Some(h), Some(s), Some(z)) = (hash.remove(&name(n)), set.remove(&name(n)), zset.remove(&name(n))) {
                removed.push((h, s, z));
            }
        }
        while let Some((h, s, z)) = removed.pop() {
            hash.restore(h.0, h.1, h.2);
            set.restore(s.0, s.1);
            zset.restore(z.0, z.1, z.2);
        }
        prop_assert_eq!(order(&hash, &set, &zset), before);
    }

    #[test]
    fn list_removals_are_taken_back(len in 1..30usize, places in prop::collection::btree_set(0..30usize, 0..20)) {
        let mut list = List::new();
        (0..len as u16).for_each(|n| list.push_back(&name(n)));
        let before: Vec<_> = list.iter().map(<[u8]>::to_vec).collect();
        let places: Vec<_> = places.into_iter().collect();
        let removed = list.remove_all(places.iter().copied());
        let kept: Vec<_> = before.iter().enumerate().filter(|(at, _)| !places.contains(at)).map(|(_, e)| e.clone()).collect();
        prop_assert_eq!(list.iter().map(<[u8]>::to_vec).collect::<Vec<_>>(), kept);
        list.restore(removed);
        prop_assert_eq!(list.iter().map(<[u8]>::to_vec).collect::<Vec<_>>(), before);
    }
}

#[test]
fn negative_zero_is_zero() {
    let mut zset = ZSet::new();
    zset.set(b"a", -0.0);
    zset.set(b"b", 0.0);
    assert_eq!(zset.iter().map(|(m, _)| m).collect::<Vec<_>>(), [b"a", b"b"]);
    assert_eq!(zset.rank_of_score(ScoreBound::Including(0.0)), 0);
    assert_eq!(zset.rank_of_score(ScoreBound::Including(-0.0)), 0);
}

#[test]
fn accounted_bytes_follow_the_members() {
    let (mut hash, mut set, mut zset, mut list) = (Hash::new(), Set::new(), ZSet::new(), List::new());
    for n in 0..1000 {
        hash.set(&name(n), &[0; 100]);
        hash.set(&name(n), &[0; 10]);
        set.add(&name(n));
        zset.set(&name(n), 1.0);
        zset.set(&name(n), 2.0);
        list.push_back(&name(n));
    }
    assert!(hash.bytes() > 12_000 && hash.bytes() < 200_000);
    assert!(set.bytes() > 2_000 && zset.bytes() > 2_000 && list.bytes() > 2_000);
    for n in 0..1000 {
        hash.remove(&name(n));
        zset.remove(&name(n));
    }
    // Only capacity is left: the payload has gone to zero without passing it.
    assert!(hash.bytes() < 200_000 && zset.bytes() < 300_000);
}
