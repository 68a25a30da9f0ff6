//! Arithmetic of quorums, without protocol types.

/// The largest value that at least `count` of `values` reach; `whole` when none is needed, the default (nothing) when
/// there are too few. Sorts `values` in place.
pub fn reached_by<T: Copy + Ord + Default>(values: &mut [T], count: usize, whole: T) -> T {
    if count == 0 {
        return whole;
    }
    if values.len() < count {
        return T::default();
    }
    values.sort_unstable_by(|a, b| b.cmp(a));
    values[count - 1]
}

#[cfg(test)]
mod tests {
    use super::reached_by;

    #[test]
    fn the_kth_largest_is_reached_by_k() {
        let cases: &[(&[u64], usize, u64)] = &[
            (&[], 0, 99),
            (&[], 1, 0),
            (&[5], 1, 5),
            (&[5, 7], 1, 7),
            (&[5, 7], 2, 5),
            (&[3, 9, 1], 2, 3),
            (&[3, 9, 1], 4, 0),
        ];
        for (values, count, expected) in cases {
            let mut values = values.to_vec();
            assert_eq!(reached_by(&mut values, *count, 99), *expected, "{values:?} by {count}");
        }
    }
}
