//! The hash tree of a copy: which parts of two copies differ, without sending them.
//!
//! A key's place is a keyed hash of its name; the tree cuts the places into ranges, sixteen in each, four levels deep. A
//! range's summary is the sum of its entries' hashes and their number. So one changed key costs one sum per level, the
//! order of changes does not matter, and equal entries do not cancel as under exclusive or (bugs: LL-20). An entry's
//! hash covers name, dots, value and residue (bugs: LL-19); a change of data and of tree are one call (bugs: LL-21).
//!
//! Source: Merkle, "A Digital Signature Based on a Conventional Encryption Function" (1987); DeCandia et al., "Dynamo"
//! (2007), section 4.7. Sums in place of hashes of hashes: Bellare, Micciancio, "A New Paradigm for Collision-Free
//! Hashing" (1997). Sixty-four bits and a secret seed guard against chance, and against clients that do not know it.
// catalogue: K14 K15

use crate::codec::{DecodeError, Reader, Writer};
use crate::plant::{self, Bug};
use alloc::boxed::Box;

/// Ranges in a range.
pub const FAN_OUT: usize = 16;
/// Levels below the whole. A guess: 65,536 leaves, so that a million keys lie fifteen in a leaf.
pub const DEPTH: u8 = 4;
/// Bits of a place that one level decides.
const BITS: u32 = FAN_OUT.ilog2();
/// Leaves of the whole tree.
pub const LEAVES: u32 = 1 << (BITS * DEPTH as u32);

/// What is compared of a range.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Summary {
    pub entries: u64,
    /// The sum of their hashes, modulo 2^64.
    pub sum: u64,
}

/// Summaries of the ranges in a range, in the order of places.
pub type Summaries = [Summary; FAN_OUT];

impl Summary {
    fn change(&mut self, minus: Option<u64>, plus: Option<u64>) {
        if plant::is(Bug::CombinesByXor) {
            self.sum ^= minus.unwrap_or(0) ^ plus.unwrap_or(0);
        } else {
            self.sum = self.sum.wrapping_sub(minus.unwrap_or(0)).wrapping_add(plus.unwrap_or(0));
        }
        self.entries = self.entries + u64::from(plus.is_some()) - u64::from(minus.is_some());
    }
    /// As another copy is told.
    fn told(self) -> Summary {
        if plant::is(Bug::CombinesByXor) { Summary { entries: 0, ..self } } else { self }
    }
    pub fn encode(self, writer: &mut Writer<'_>) {
        writer.u64(self.entries);
        writer.u64(self.sum);
    }
    /// # Errors
    /// When the input ends.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Summary, DecodeError> {
        Ok(Summary { entries: reader.u64()?, sum: reader.u64()? })
    }
}

/// Places from `first` through `last`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Span {
    pub first: u64,
    pub last: u64,
}

impl Span {
    pub const WHOLE: Span = Span { first: 0, last: u64::MAX };

    pub fn contains(self, place: u64) -> bool {
        (self.first..=self.last).contains(&place)
    }
    pub fn encode(self, writer: &mut Writer<'_>) {
        writer.u64(self.first);
        writer.u64(self.last);
    }
    /// # Errors
    /// When the input ends, or the span does before it begins.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Span, DecodeError> {
        let span = Span { first: reader.u64()?, last: reader.u64()? };
        if span.first <= span.last { Ok(span) } else { Err(DecodeError::Invalid("span")) }
    }
}

/// A node of the tree.
///
/// Invariant: `level <= DEPTH` and `index` is one of the ranges of that level.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Range {
    level: u8,
    index: u32,
}

impl Range {
    pub const WHOLE: Range = Range { level: 0, index: 0 };

    /// The leaf in which a place lies.
    pub fn leaf_of(place: u64) -> Range {
        Range { level: DEPTH, index: (place >> (64 - BITS * u32::from(DEPTH))) as u32 }
    }
    /// The leaf of this number, in the order of places, from 0 to [`LEAVES`] - 1.
    pub fn leaf(index: u32) -> Option<Range> {
        (index < LEAVES).then_some(Range { level: DEPTH, index })
    }
    /// The first and the last leaf in it.
    pub fn leaves(self) -> (u32, u32) {
        let below = BITS * u32::from(DEPTH - self.level);
        (self.index << below, ((self.index + 1) << below) - 1)
    }
    pub fn is_leaf(self) -> bool {
        self.level == DEPTH
    }
    /// Whether the ranges in it are leaves.
    pub fn is_above_leaves(self) -> bool {
        self.level + 1 == DEPTH
    }
    pub fn span(self) -> Span {
        let below = 64 - BITS * u32::from(self.level);
        if below == 64 {
            return Span::WHOLE;
        }
        let first = u64::from(self.index) << below;
        Span { first, last: first | ((1 << below) - 1) }
    }
    /// The ranges in it, of a range that is no leaf.
    pub fn children(self) -> impl DoubleEndedIterator<Item = Range> {
        debug_assert!(!self.is_leaf());
        let (level, first) = (self.level + 1, self.index << BITS);
        (first..first + FAN_OUT as u32).map(move |index| Range { level, index })
    }
    pub fn encode(self, writer: &mut Writer<'_>) {
        writer.u8(self.level);
        writer.u32(self.index);
    }
    /// # Errors
    /// When the input ends or no tree has that range.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Range, DecodeError> {
        let (level, index) = (reader.u8()?, reader.u32()?);
        let exists = level <= DEPTH && u64::from(index) < 1 << (BITS * u32::from(level));
        if exists { Ok(Range { level, index }) } else { Err(DecodeError::Invalid("range")) }
    }
}

/// The ranges in a range that holds something. Those of the last level have no branches below them.
#[derive(Clone, PartialEq, Default, Debug)]
struct Branch {
    summaries: Summaries,
    below: [Option<Box<Branch>>; FAN_OUT],
}

/// Summaries of all ranges. Costs memory only where there are keys.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct HashTree {
    root: Branch,
}

impl HashTree {
    /// An entry at this place had one hash and has another; `None` where it was not, or no longer is.
    pub fn change(&mut self, place: u64, minus: Option<u64>, plus: Option<u64>) {
        if minus == plus {
            return;
        }
        descend(&mut self.root, place, 1, minus, plus);
    }
    /// The summaries of the ranges in `range`; `None` for a leaf.
    pub fn children(&self, range: Range) -> Option<Summaries> {
        if range.is_leaf() {
            return None;
        }
        Some(self.branch(range).map_or(Summaries::default(), |branch| branch.summaries.map(Summary::told)))
    }
    /// Where anything lies in a range that is no leaf.
    fn branch(&self, range: Range) -> Option<&Branch> {
        let first = range.span().first;
        (1..=range.level).try_fold(&self.root, |branch, level| branch.below[child(first, level)].as_deref())
    }
    /// The summary of one range.
    pub fn summary(&self, range: Range) -> Summary {
        if range.level == 0 {
            return self.whole();
        }
        let above = Range { level: range.level - 1, index: range.index >> BITS };
        let at = range.index as usize % FAN_OUT;
        self.branch(above).map_or(Summary::default(), |branch| branch.summaries[at].told())
    }
    /// How much lies in the whole tree.
    pub fn whole(&self) -> Summary {
        let sum = |whole: Summary, part: &Summary| Summary {
            entries: whole.entries + part.entries,
            sum: whole.sum.wrapping_add(part.sum),
        };
        self.root.summaries.iter().fold(Summary::default(), sum)
    }
}

/// Which of a branch's ranges a place lies in.
fn child(place: u64, level: u8) -> usize {
    (place >> (64 - BITS * u32::from(level))) as usize % FAN_OUT
}

fn descend(branch: &mut Branch, place: u64, level: u8, minus: Option<u64>, plus: Option<u64>) {
    let at = child(place, level);
    branch.summaries[at].change(minus, plus);
    if level == DEPTH {
        return;
    }
    descend(branch.below[at].get_or_insert_default(), place, level + 1, minus, plus);
    if branch.summaries[at].entries == 0 {
        branch.below[at] = None;
    }
}
