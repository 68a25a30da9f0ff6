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
/// Invariant: ascending in index and vector, the newest at most `EVERY` records old (more once they were thinned out). A
/// function of the log's committed records.
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
    /// Records before `first` are gone.
    pub fn trim(&mut self, first: Index) {
        while self.marks.front().is_some_and(|mark| mark.0.next() < first) {
            self.marks.pop_front();
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
