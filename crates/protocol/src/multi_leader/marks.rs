//! Where in the site's log which writes stand: for whoever tells a vector, the place to go on from.

use super::record::Record;
use alloc::collections::VecDeque;
use data::{Index, OriginVector};

/// Records between two marks. A guess: a resumption reads that many in vain at most, a mark takes some hundred bytes.
const EVERY: u64 = 64;
/// Marks that are kept; beyond it every second one goes. A guess.
const MARKS_MAX: usize = 4096;

/// Vectors of the log at some of its indices.
///
/// Invariant: never empty, ascending in index and vector, the newest at most `EVERY` records old (more once they were thinned out).
#[derive(Clone, Debug)]
pub struct Marks {
    marks: VecDeque<(Index, OriginVector)>,
    last: Index,
    vector: OriginVector,
    every: u64,
}

impl Marks {
    /// Of a log whose records through `last`, which a snapshot stands for, include `vector`.
    pub fn new(last: Index, vector: OriginVector) -> Marks {
        Marks { marks: [(last, vector.clone())].into(), last, vector, every: EVERY }
    }
    /// All that is committed here.
    pub fn vector(&self) -> &OriginVector {
        &self.vector
    }
    /// What a peer must have before the log can serve it.
    pub fn oldest(&self) -> &OriginVector {
        self.marks.front().map_or(&self.vector, |mark| &mark.1)
    }
    /// The last committed record.
    pub fn last(&self) -> Index {
        self.last
    }
    /// The next committed record.
    pub fn note(&mut self, index: Index, record: &Record) {
        self.last = self.last.max(index);
        record.raise(&mut self.vector);
        let newest = self.marks.back().map_or(Index(0), |mark| mark.0);
        if index.0 >= newest.0 + self.every {
            self.marks.push_back((index, self.vector.clone()));
        }
        if self.marks.len() > MARKS_MAX {
            let mut at = 0;
            self.marks.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.every *= 2;
        }
    }
    /// Marks where the log stands now: through this entry, of whatever kind, it holds no more than is known here.
    pub fn set(&mut self, through: Index) {
        self.last = self.last.max(through);
        if self.marks.back().is_none_or(|mark| mark.0 < self.last) {
            self.marks.push_back((self.last, self.vector.clone()));
        }
    }
    /// Records before `first` are gone. What is yet to come can be sent to whoever has all of now: were there no mark, a peer
    /// that copied the state would find the next write beyond the log again, for ever where writes come all the time.
    pub fn trim(&mut self, first: Index) {
        while self.marks.front().is_some_and(|mark| mark.0.next() < first) {
            self.marks.pop_front();
        }
        if self.marks.is_empty() {
            self.set(self.last);
        }
    }
    /// The last index that surely holds nothing beyond the vector, so that sending goes on behind it. Nothing when the log no
    /// longer reaches back so far.
    pub fn find(&self, theirs: &OriginVector) -> Option<Index> {
        let behind = self.marks.partition_point(|(_, vector)| theirs.covers(vector));
        if theirs.covers(&self.vector) {
            return Some(self.last);
        }
        behind.checked_sub(1).map(|at| self.marks[at].0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;
    use alloc::vec::Vec;
    use data::{Epoch, Origin, SiteId, WriteStamp};

    use crate::multi_leader::record::{Change, SiteWrite};

    fn write(sequence: u64) -> Record {
        let stamp = WriteStamp { origin: Origin { site: SiteId(1), epoch: Epoch(1) }, sequence };
        Record::Write(Arc::new(SiteWrite { stamp, causes: Vec::new(), change: Change::Deltas(Vec::new()) }))
    }
    fn through(sequence: u64) -> OriginVector {
        let mut vector = OriginVector::new();
        (1..=sequence).for_each(|sequence| write(sequence).raise(&mut vector));
        vector
    }

    /// A peer copied the state, and another write came before it said so.
    #[test]
    fn who_copied_what_the_log_lacks_goes_on_from_there_whatever_comes_meanwhile() {
        let mut marks = Marks::new(Index(0), OriginVector::new());
        (1..=10).for_each(|number| marks.note(Index(number), &write(number)));
        marks.trim(Index(5));
        assert_eq!((marks.oldest(), marks.find(&through(9))), (&through(10), None));
        (11..=20).for_each(|number| marks.note(Index(number), &write(number)));
        assert_eq!((marks.oldest(), marks.find(&through(12))), (&through(10), Some(Index(10))));
    }

    #[test]
    fn a_mark_that_was_set_outlives_those_before_it() {
        let mut marks = Marks::new(Index(0), OriginVector::new());
        marks.set(Index(5));
        marks.note(Index(6), &write(1));
        marks.trim(Index(2));
        assert_eq!(marks.find(&OriginVector::new()), Some(Index(5)), "nobody lacks what is before it");
    }
}
