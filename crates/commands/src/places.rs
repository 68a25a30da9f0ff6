//! Places in a sequence as clients write them: from 0, or from -1 at the end backwards.

use core::ops::Range;

/// The places from `start` to `stop`, both included, of a sequence of `len`; empty as `0..0`.
pub(crate) fn span(start: i64, stop: i64, len: usize) -> Range<usize> {
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let from = if start < 0 { start.saturating_add(len).max(0) } else { start };
    let last = if stop < 0 { stop.saturating_add(len) } else { stop.min(len - 1) };
    if from > last { 0..0 } else { from as usize..last as usize + 1 }
}

/// The place that an index names in a sequence of `len`, if there is one.
pub(crate) fn place(index: i64, len: usize) -> Option<usize> {
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let at = if index < 0 { index.checked_add(len)? } else { index };
    (0..len).contains(&at).then_some(at as usize)
}

/// `LIMIT offset count` within a span: a negative offset leaves nothing, a negative count takes all.
/// `backwards` counts from the upper end.
pub(crate) fn limited(span: Range<usize>, offset: i64, count: i64, backwards: bool) -> Range<usize> {
    let Ok(offset) = usize::try_from(offset) else { return 0..0 };
    let left = span.len().saturating_sub(offset);
    let taken = usize::try_from(count).map_or(left, |count| count.min(left));
    if taken == 0 {
        return 0..0;
    }
    if backwards {
        let end = span.end - offset;
        end - taken..end
    } else {
        let start = span.start + offset;
        start..start + taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// Indices around a short sequence, and the extremes of the type.
    fn index() -> impl Strategy<Value = i64> {
        prop_oneof![8 => -12i64..12, 1 => Just(i64::MIN), 1 => Just(i64::MAX), 1 => any::<i64>()]
    }

    proptest! {
        #[test]
        fn a_span_is_every_place_between_its_ends(start in index(), stop in index(), len in 0usize..10) {
            let resolved = |i: i64| if i < 0 { i128::from(i) + len as i128 } else { i128::from(i) };
            let expected: Vec<usize> = (0..len)
                .filter(|at| resolved(start) <= *at as i128 && *at as i128 <= resolved(stop))
                .collect();
            prop_assert_eq!(span(start, stop, len).collect::<Vec<_>>(), expected);
        }

        #[test]
        fn a_place_is_what_a_slice_would_give(index in index(), len in 0usize..10) {
            let at = span(index, index, len);
            // A lone index below the start is nowhere, while a span that begins there is clamped to the start.
            let expected = if i128::from(index) < -(len as i128) { None } else { at.into_iter().next() };
            prop_assert_eq!(place(index, len), expected);
        }

        #[test]
        fn a_limit_skips_and_takes(from in 0usize..5, len in 0usize..8, offset in index(), count in index(), backwards: bool) {
            let mut walked: Vec<usize> = (from..from + len).collect();
            if backwards {
                walked.reverse();
            }
            let mut expected: Vec<usize> = match usize::try_from(offset) {
                Ok(offset) => walked.into_iter().skip(offset).take(usize::try_from(count).unwrap_or(usize::MAX)).collect(),
                Err(_) => Vec::new(),
            };
            expected.sort_unstable();
            prop_assert_eq!(limited(from..from + len, offset, count, backwards).collect::<Vec<_>>(), expected);
        }
    }
}
