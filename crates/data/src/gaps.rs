//! What a copy's table lacks of its group's history: entries that it was told to go on without (`COMMIT best-effort`).
//!
//! A gap stands in the copy's log in place of the entries that it covers: one record whose index is the last of them, and whose
//! rolling hash is that of the history through them. So the log goes on behind it as every other copy's does.

use crate::codec::{DecodeError, Reader, Writer};
use crate::{Index, Position};
use alloc::vec::Vec;

/// Ranges that are kept apart. Beyond, the two oldest become one that covers what lies between too.
const RANGES_MAX: usize = 4096;

/// The payload of a `gap` record: the entries from `first` to the record's own index are missing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gap {
    pub first: Index,
    /// The epochs that begin among them.
    pub starts: Vec<Position>,
}

impl Gap {
    pub fn encode(&self, w: &mut Writer<'_>) {
        self.first.encode(w);
        w.list(&self.starts, |w, start| start.encode(w));
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Gap, DecodeError> {
        Ok(Gap { first: Index::decode(r)?, starts: r.list(Position::decode)? })
    }
    /// Whether it can stand between an entry and one at `end`: what it covers is not empty, and the epochs in it ascend from the one
    /// to the other.
    pub fn fits(&self, before: Position, end: Position) -> bool {
        let mut last = before;
        let ascends = self.starts.iter().all(|start| {
            let fits = start.epoch > last.epoch && start.index > last.index && start.index <= end.index;
            last = *start;
            fits
        });
        ascends && self.first == before.index.next() && self.first <= end.index && last.epoch == end.epoch
    }
}

/// Ranges of entries, ascending, and how many those are. Two are equal when the same ranges were noted in the same order.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Gaps {
    ranges: Vec<(Index, Index)>,
    entries: u64,
    /// Of all ranges ever noted: what became one range stays told apart.
    digest: u64,
}

impl Gaps {
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
    /// Entries that are missing.
    pub fn entries(&self) -> u64 {
        self.entries
    }
    /// Equal for equal gaps.
    pub fn digest(&self) -> u64 {
        self.digest
    }
    pub fn ranges(&self) -> &[(Index, Index)] {
        &self.ranges
    }
    /// Whether the ranges cover more than what is missing.
    pub fn is_wide(&self) -> bool {
        self.ranges.iter().map(|(first, last)| last.0 - first.0 + 1).sum::<u64>() > self.entries
    }
    /// The last entry that is missing.
    pub fn end(&self) -> Index {
        self.ranges.last().map_or(Index(0), |(_, last)| *last)
    }
    /// These are missing too; behind all that were before.
    pub fn note(&mut self, first: Index, last: Index) {
        if first > last || first <= self.end() {
            return;
        }
        self.entries += last.0 - first.0 + 1;
        for word in [first.0, last.0] {
            let mixed = (self.digest ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            self.digest = mixed ^ (mixed >> 29);
        }
        match self.ranges.last_mut().filter(|(_, end)| end.next() == first) {
            Some((_, end)) => *end = last,
            None => self.ranges.push((first, last)),
        }
        if self.ranges.len() > RANGES_MAX {
            let (first, _) = self.ranges.remove(0);
            self.ranges[0].0 = first;
        }
    }
    pub fn covers(&self, index: Index) -> bool {
        self.meets(index, index)
    }
    /// Whether any of the entries from the one through the other is in them.
    pub fn meets(&self, first: Index, last: Index) -> bool {
        let at = self.ranges.partition_point(|(_, ended)| *ended < first);
        self.ranges.get(at).is_some_and(|(begun, _)| *begun <= last)
    }
    /// The ranges of these that are in none of the others.
    pub fn without(&self, others: &Gaps) -> Vec<(Index, Index)> {
        let mut left = Vec::new();
        for (first, last) in &self.ranges {
            let mut from = *first;
            let at = others.ranges.partition_point(|(_, ended)| ended < first);
            for (begun, ended) in others.ranges[at..].iter().take_while(|(begun, _)| begun <= last) {
                if from < *begun {
                    left.push((from, begun.previous()));
                }
                from = from.max(ended.next());
            }
            if from <= *last {
                left.push((from, *last));
            }
        }
        left
    }
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.list(&self.ranges, |w, (first, last)| {
            first.encode(w);
            last.encode(w);
        });
        w.u64(self.entries);
        w.u64(self.digest);
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Gaps, DecodeError> {
        let ranges = r.list(|r| Ok((Index::decode(r)?, Index::decode(r)?)))?;
        let sorted = ranges.iter().all(|(first, last)| first <= last)
            && ranges.is_sorted_by(|a: &(Index, Index), b| a.1 < b.0);
        if !sorted || ranges.len() > RANGES_MAX {
            return Err(DecodeError::Invalid("gaps"));
        }
        Ok(Gaps { ranges, entries: r.u64()?, digest: r.u64()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(ranges: &[(u64, u64)]) -> Gaps {
        let mut gaps = Gaps::default();
        ranges.iter().for_each(|(first, last)| gaps.note(Index(*first), Index(*last)));
        gaps
    }
    fn left(of: &[(u64, u64)], without: &[(u64, u64)]) -> Vec<(u64, u64)> {
        gaps(of).without(&gaps(without)).into_iter().map(|(first, last)| (first.0, last.0)).collect()
    }

    #[test]
    fn ranges_are_counted_joined_and_told_apart() {
        let both = gaps(&[(3, 5), (6, 9), (20, 20)]);
        assert_eq!((both.entries(), both.ranges().len(), both.end()), (8, 2, Index(20)));
        assert!(both.covers(Index(3)) && both.covers(Index(20)) && !both.covers(Index(10)));
        let meets = |first, last| both.meets(Index(first), Index(last));
        assert!(
            meets(1, 3) && meets(9, 30) && meets(10, 20) && !meets(1, 2) && !meets(10, 19) && !meets(21, 22)
        );
        assert_ne!(both, gaps(&[(3, 9), (20, 20)]), "two gaps in a row are not one");
        let mut bytes = Vec::new();
        both.encode(&mut Writer::new(&mut bytes));
        assert_eq!(Gaps::decode(&mut Reader::new(&bytes)), Ok(both));
    }

    #[test]
    fn what_one_lacks_and_another_does_not() {
        assert_eq!(left(&[(3, 9)], &[]), [(3, 9)]);
        assert_eq!(left(&[(3, 9)], &[(3, 9)]), []);
        assert_eq!(left(&[(3, 9), (20, 30)], &[(5, 6), (18, 22), (30, 40)]), [(3, 4), (7, 9), (23, 29)]);
    }

    #[test]
    fn too_many_ranges_become_wider_and_stay_counted() {
        let mut many = Gaps::default();
        (1..=5000).for_each(|n| many.note(Index(n * 10), Index(n * 10 + 1)));
        assert_eq!((many.ranges().len(), many.entries(), many.is_wide()), (RANGES_MAX, 10_000, true));
        assert!(many.covers(Index(15)), "what lies between is covered too");
    }

    #[test]
    fn a_gap_stands_where_its_epochs_lead_from_one_entry_to_the_other() {
        let p = Position::new;
        let gap = |first, starts: &[Position]| Gap { first: Index(first), starts: starts.to_vec() };
        assert!(gap(5, &[]).fits(p(2, 4), p(2, 9)));
        assert!(gap(5, &[p(3, 6), p(4, 9)]).fits(p(2, 4), p(4, 9)));
        assert!(!gap(6, &[]).fits(p(2, 4), p(2, 9)), "a hole");
        assert!(!gap(5, &[p(3, 6)]).fits(p(2, 4), p(4, 9)), "an epoch is not told of");
        assert!(!gap(5, &[p(3, 10)]).fits(p(2, 4), p(3, 9)), "it begins behind");
        assert!(!gap(5, &[]).fits(p(2, 4), p(2, 4)), "nothing is missing");
    }
}
