//! Members with scores: by member in insertion order, by (score, member) in sorted order.
//!
//! The sorted order is a list of sorted chunks: a rank is found by adding chunk lengths, an insertion moves at most one
//! chunk, and a walk is a walk over slices.

use crate::table::Seeded;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;
use indexmap::IndexMap;

/// Entries of one chunk at most; it is split in two halves beyond. A guess: half a page of pointers.
const CHUNK_LEN_MAX: usize = 256;

/// Two pointers with lengths to the shared member, two scores, the stored hash, a place in the index, and the two
/// counters and the allocator's share of the member's block.
const MEMBER_OVERHEAD: usize = 88;

/// One end of a score range.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum ScoreBound {
    Including(f64),
    Excluding(f64),
}

#[derive(Clone, Debug)]
struct Ranked {
    score: f64,
    member: Arc<[u8]>,
}

fn compare(a_score: f64, a: &[u8], b_score: f64, b: &[u8]) -> Ordering {
    a_score.total_cmp(&b_score).then_with(|| a.cmp(b))
}

/// Invariant: `chunks` holds exactly the pairs of `scores`, sorted by (score, member), no chunk empty unless it is the
/// only one. Scores are never NaN, and -0.0 is stored as 0.0.
#[derive(Clone, Debug)]
pub struct ZSet {
    scores: IndexMap<Arc<[u8]>, f64, Seeded>,
    chunks: Vec<Vec<Ranked>>,
    /// Bytes of all members.
    payload: usize,
}

impl Default for ZSet {
    fn default() -> ZSet {
        ZSet { scores: IndexMap::default(), chunks: vec![Vec::new()], payload: 0 }
    }
}

impl ZSet {
    pub fn new() -> ZSet {
        ZSet::default()
    }
    pub fn len(&self) -> usize {
        self.scores.len()
    }
    pub fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.scores.get(member).copied()
    }
    /// The member at a place in insertion order (for random choice and cursors): `at < len`.
    pub fn member_at(&self, at: usize) -> Option<(&[u8], f64)> {
        self.scores.get_index(at).map(|(m, s)| (m.as_ref(), *s))
    }
    /// All pairs in insertion order.
    pub fn iter_members(&self) -> impl DoubleEndedIterator<Item = (&[u8], f64)> + ExactSizeIterator {
        self.scores.iter().map(|(m, s)| (m.as_ref(), *s))
    }
    /// All pairs by (score, member).
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], f64)> {
        self.chunks.iter().flatten().map(|r| (r.member.as_ref(), r.score))
    }
    /// Pairs of ranks `from..to` by (score, member), clamped to the set. Finding the first one costs a step per chunk.
    pub fn range(&self, from: usize, to: usize) -> impl DoubleEndedIterator<Item = (&[u8], f64)> {
        let to = to.min(self.len());
        let from = from.min(to);
        let (first, skip) = self.chunk_of(from);
        let (last, end) = self.chunk_of(to);
        let chunks = self.chunks.get(first..=last).unwrap_or(&[]);
        chunks.iter().enumerate().flat_map(move |(at, chunk)| {
            let low = if at == 0 { skip } else { 0 };
            let high = if first + at == last { end } else { chunk.len() };
            chunk.get(low..high).unwrap_or(&[]).iter().map(|r| (r.member.as_ref(), r.score))
        })
    }
    /// The chunk that holds a rank and the place in it; behind the last pair, the end of the last chunk.
    fn chunk_of(&self, rank: usize) -> (usize, usize) {
        let mut rest = rank;
        for (at, chunk) in self.chunks.iter().enumerate() {
            if rest < chunk.len() {
                return (at, rest);
            }
            rest -= chunk.len();
        }
        let last = self.chunks.len() - 1;
        (last, self.chunks[last].len())
    }
    /// Number of members before this one by (score, member).
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        let score = self.score(member)?;
        Some(self.partition(|r| compare(r.score, &r.member, score, member).is_lt()))
    }
    /// Number of members whose score lies below the bound: below `Including(s)` are the scores `< s`, below
    /// `Excluding(s)` the scores `<= s`.
    pub fn rank_of_score(&self, bound: ScoreBound) -> usize {
        match bound {
            ScoreBound::Including(score) => self.partition(|r| r.score < score),
            ScoreBound::Excluding(score) => self.partition(|r| r.score <= score),
        }
    }
    /// Number of leading members for which the test holds; the test must be true for a prefix of the sorted order and
    /// false for the rest. Serves the lexical ranges.
    pub fn partition_members(&self, mut test: impl FnMut(&[u8], f64) -> bool) -> usize {
        self.partition(|r| test(&r.member, r.score))
    }
    /// Sets a member's score and returns the old one. NaN is the caller's error.
    pub fn set(&mut self, member: &[u8], score: f64) -> Option<f64> {
        debug_assert!(!score.is_nan(), "a score is a number");
        let score = if score == 0.0 { 0.0 } else { score };
        if let Some(slot) = self.scores.get_mut(member) {
            let old = core::mem::replace(slot, score);
            if old.to_bits() != score.to_bits()
                && let Some(member) = self.unrank(member, old)
            {
                self.enrank(member, score);
            }
            return Some(old);
        }
        let member: Arc<[u8]> = member.into();
        self.payload += member.len();
        self.scores.insert(Arc::clone(&member), score);
        self.enrank(member, score);
        None
    }
    /// Removes a member and returns the place it had in insertion order, the member and its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<(usize, Arc<[u8]>, f64)> {
        let (at, member, score) = self.scores.swap_remove_full(member)?;
        self.payload -= member.len();
        self.unrank(&member, score);
        Some((at, member, score))
    }
    /// Undoes [`ZSet::remove`].
    pub fn restore(&mut self, at: usize, member: Arc<[u8]>, score: f64) {
        self.payload += member.len();
        let (end, _) = self.scores.insert_full(Arc::clone(&member), score);
        if at < end {
            self.scores.swap_indices(at, end);
        }
        self.enrank(member, score);
    }
    /// Estimate of the memory taken, in bytes.
    pub fn bytes(&self) -> usize {
        self.payload + self.scores.capacity() * MEMBER_OVERHEAD
    }

    fn partition(&self, mut before: impl FnMut(&Ranked) -> bool) -> usize {
        let chunk_at = self.chunks.partition_point(|chunk| chunk.last().is_some_and(&mut before));
        let passed: usize = self.chunks[..chunk_at].iter().map(Vec::len).sum();
        passed + self.chunks.get(chunk_at).map_or(0, |chunk| chunk.partition_point(before))
    }
    fn enrank(&mut self, member: Arc<[u8]>, score: f64) {
        let before = |r: &Ranked| compare(r.score, &r.member, score, &member).is_lt();
        let at = self.chunks.partition_point(|c| c.last().is_some_and(before)).min(self.chunks.len() - 1);
        let chunk = &mut self.chunks[at];
        let place = chunk.partition_point(before);
        chunk.insert(place, Ranked { score, member });
        if chunk.len() > CHUNK_LEN_MAX {
            let upper = chunk.split_off(CHUNK_LEN_MAX / 2);
            self.chunks.insert(at + 1, upper);
        }
    }
    fn unrank(&mut self, member: &[u8], score: f64) -> Option<Arc<[u8]>> {
        let before = |r: &Ranked| compare(r.score, &r.member, score, member).is_lt();
        let at = self.chunks.partition_point(|c| c.last().is_some_and(before));
        let chunk = self.chunks.get_mut(at)?;
        let place = chunk.partition_point(before);
        debug_assert!(
            chunk.get(place).is_some_and(|r| *r.member == *member),
            "the ranked pairs are exactly the scored ones"
        );
        if place >= chunk.len() {
            return None;
        }
        let removed = chunk.remove(place);
        if chunk.is_empty() && self.chunks.len() > 1 {
            self.chunks.remove(at);
        }
        Some(removed.member)
    }
}

impl PartialEq for ZSet {
    fn eq(&self, other: &ZSet) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}
