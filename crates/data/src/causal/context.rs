//! Dotted contexts: which writes are known, exactly, holes included.
//!
//! Sources: Almeida, Shoker, Baquero, "Delta State Replicated Data Types" (JPDC 2018); Goncalves, Almeida, Baquero,
//! Fonte, "Concise Server-Wide Causality Management for Eventually Consistent Data Stores" (DAIS 2015), from which
//! comes the one context per shard instead of one per key.
//!
//! A dot that a context covers and that the value beside it does not hold was deleted or superseded. Hence the rule
//! on which everything rests: a context must never cover a dot whose write did not reach the values beside it. The
//! context of a delta therefore names single dots, those that it mints and those that it removes, all of its own key;
//! it is never a vector that would also claim what lies below them (ML-12).

use super::codec::{Decoder, Encoder, Legend};
use super::dot::{Actor, Dot};
use super::vector::VersionVector;
use crate::codec::{DecodeError, Reader, Writer};
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

/// Ranges `(first, last)` of counters.
///
/// Invariant: ascending, and a counter that is not included lies between any two. So equal sets are equal values, and
/// an actor without holes takes one pair however many writes it made.
type Ranges = Vec<(u64, u64)>;

/// Fewer ranges than this are merged one by one, more in one pass over both sides. A copy that gets what it lacks in the order of keys
/// has a range for nearly every write, and one more in their middle moves half of them. A guess.
const MERGED_APART: usize = 8;

/// The counters of both.
fn join(ours: &[(u64, u64)], theirs: &[(u64, u64)]) -> Ranges {
    let mut joined: Ranges = Vec::with_capacity(ours.len() + theirs.len());
    let (mut ours, mut theirs) = (ours.iter().peekable(), theirs.iter().peekable());
    loop {
        let next = match (ours.peek(), theirs.peek()) {
            (Some(one), Some(other)) if one.0 <= other.0 => ours.next(),
            (_, Some(_)) => theirs.next(),
            (_, None) => ours.next(),
        };
        let Some((first, last)) = next else { return joined };
        match joined.last_mut().filter(|end| *first <= end.1.saturating_add(1)) {
            Some(end) => end.1 = end.1.max(*last),
            None => joined.push((*first, *last)),
        }
    }
}

/// Whether some counter is in both; quick where the second has few ranges.
fn overlap(many: &[(u64, u64)], few: &[(u64, u64)]) -> bool {
    few.iter().any(|(first, last)| {
        let at = many.partition_point(|range| range.1 < *first);
        many.get(at).is_some_and(|range| range.0 <= *last)
    })
}

/// The counters of the first that the second lacks.
fn subtract(ours: &[(u64, u64)], theirs: &[(u64, u64)]) -> Ranges {
    let mut left = Ranges::new();
    for (first, last) in ours {
        let mut next = Some(*first);
        let at = theirs.partition_point(|range| range.1 < *first);
        for (their_first, their_last) in theirs[at..].iter().take_while(|range| range.0 <= *last) {
            if let Some(first) = next.filter(|first| first < their_first) {
                left.push((first, their_first - 1));
            }
            next = their_last.checked_add(1).filter(|next| next <= last);
        }
        left.extend(next.map(|first| (first, *last)));
    }
    left
}

/// A set of dots.
// catalogue: J8
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Context {
    actors: BTreeMap<Actor, Ranges>,
}

impl Context {
    pub const fn new() -> Context {
        Context { actors: BTreeMap::new() }
    }
    pub fn is_empty(&self) -> bool {
        self.actors.is_empty()
    }
    /// How many dots there are.
    pub fn dots(&self) -> u64 {
        self.ranges().map(|(_, first, last)| last - first + 1).fold(0, u64::saturating_add)
    }
    pub fn contains(&self, dot: Dot) -> bool {
        self.actors.get(&dot.actor).is_some_and(|ranges| {
            let at = ranges.partition_point(|range| range.1 < dot.counter);
            ranges.get(at).is_some_and(|range| range.0 <= dot.counter)
        })
    }
    pub fn insert(&mut self, dot: Dot) {
        self.insert_range(dot.actor, dot.counter, dot.counter);
    }
    /// Includes the counters `first..=last` of an actor. This is what a `skip` does: it closes the hole of dots that
    /// were never used. Counters are at least 1; an empty range changes nothing.
    pub fn insert_range(&mut self, actor: Actor, first: u64, last: u64) {
        let first = first.max(1);
        if last < first {
            return;
        }
        let ranges = self.actors.entry(actor).or_default();
        let from = ranges.partition_point(|range| range.1 < first - 1);
        let to = ranges.partition_point(|range| range.0 <= last.saturating_add(1));
        if from < to {
            let joined = (first.min(ranges[from].0), last.max(ranges[to - 1].1));
            ranges[from] = joined;
            ranges.drain(from + 1..to);
        } else {
            ranges.insert(from, (first, last));
        }
    }
    /// As of [`Bug::PrunesContexts`](crate::plant::Bug): beyond a few actors the first one is forgotten.
    pub(super) fn prune(&mut self) {
        if self.actors.len() > 3 {
            self.actors.pop_first();
        }
    }
    /// Includes all that the other one does.
    pub fn merge(&mut self, other: &Context) {
        for (actor, ranges) in &other.actors {
            match self.actors.get(actor) {
                None => {
                    self.actors.insert(*actor, ranges.clone());
                }
                Some(_) if ranges.len() < MERGED_APART => {
                    ranges.iter().for_each(|range| self.insert_range(*actor, range.0, range.1));
                }
                Some(ours) => {
                    let joined = join(ours, ranges);
                    self.actors.insert(*actor, joined);
                }
            }
        }
    }
    /// Whether all dots of the other one are included.
    pub fn covers(&self, other: &Context) -> bool {
        other.actors.iter().all(|(actor, theirs)| {
            let ours = self.actors.get(actor).map_or(&[][..], Vec::as_slice);
            theirs.iter().all(|range| {
                let at = ours.partition_point(|our| our.1 < range.1);
                ours.get(at).is_some_and(|our| our.0 <= range.0)
            })
        })
    }
    /// The part without holes: per actor, everything up to a counter.
    pub fn vector(&self) -> VersionVector {
        let mut vector = VersionVector::new();
        for (actor, first, last) in self.ranges() {
            if first == 1 {
                vector.raise(actor, last);
            }
        }
        vector
    }
    /// The ranges that are missing below what is included: what anti-entropy asks for, or a `skip` closes.
    pub fn holes(&self) -> impl Iterator<Item = (Actor, u64, u64)> {
        self.actors.iter().flat_map(|(actor, ranges)| {
            let before = core::iter::once(0).chain(ranges.iter().map(|range| range.1));
            before
                .zip(ranges)
                .filter(|(end, range)| end + 1 < range.0)
                .map(|(end, range)| (*actor, end + 1, range.0 - 1))
        })
    }
    /// What both include: of the contexts of all replicas, what everybody has.
    #[must_use]
    pub fn meet(&self, other: &Context) -> Context {
        let mut met = Context::new();
        for (actor, ranges) in &self.actors {
            let mut theirs = other.actors.get(actor).into_iter().flatten().peekable();
            for (first, last) in ranges {
                while let Some((their_first, their_last)) = theirs.peek() {
                    met.insert_range(*actor, *first.max(their_first), *last.min(their_last));
                    // Their range may reach into the next of ours.
                    if their_last > last {
                        break;
                    }
                    theirs.next();
                }
            }
        }
        met
    }
    /// Whether some dot is in both.
    pub fn meets(&self, other: &Context) -> bool {
        let meets = |actor, theirs: &Ranges| self.actors.get(actor).is_some_and(|ours| overlap(ours, theirs));
        other.actors.iter().any(|(actor, theirs)| meets(actor, theirs))
    }
    /// Leaves what the other one does not include.
    pub fn remove(&mut self, other: &Context) {
        self.actors.retain(|actor, ranges| {
            if let Some(theirs) = other.actors.get(actor)
                && overlap(theirs, ranges)
            {
                *ranges = subtract(ranges, theirs);
            }
            !ranges.is_empty()
        });
        self.shed();
    }
    /// An empty map keeps the room of a dozen actors, and each key has one.
    fn shed(&mut self) {
        if self.actors.is_empty() {
            self.actors = BTreeMap::new();
        }
    }
    /// Leaves so many ranges at most: of those who have the most the oldest go first.
    pub fn keep_newest(&mut self, ranges_max: usize) {
        let mut count: usize = self.actors.values().map(Vec::len).sum();
        while count > ranges_max {
            let most = self.actors.iter_mut().max_by_key(|(_, ranges)| ranges.len());
            let Some((actor, ranges)) = most else { return };
            ranges.remove(0);
            count -= 1;
            if ranges.is_empty() {
                let actor = *actor;
                self.actors.remove(&actor);
            }
        }
        self.shed();
    }
    /// All `(actor, first, last)`, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = (Actor, u64, u64)> {
        self.actors.iter().flat_map(|(actor, ranges)| ranges.iter().map(|range| (*actor, range.0, range.1)))
    }

    /// Alone, as copies compare contexts and spread skips.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        let mut legend = Legend::default();
        self.note(&mut legend);
        self.encode_in(&mut Encoder::new(writer, legend));
    }
    /// Reads what [`Context::encode`] wrote, all of the input.
    ///
    /// # Errors
    /// When it is something else.
    pub fn decode(input: &[u8]) -> Result<Context, DecodeError> {
        let mut decoder = Decoder::new(Reader::new(input))?;
        let context = Context::decode_in(&mut decoder)?;
        let mut legend = Legend::default();
        context.note(&mut legend);
        decoder.end(&legend)?;
        Ok(context)
    }

    pub(super) fn note(&self, legend: &mut Legend) {
        self.actors.keys().for_each(|actor| legend.actor(*actor));
    }
    /// Per actor the distances between the ends of its ranges: an actor without holes takes four bytes or so.
    pub(super) fn encode_in(&self, encoder: &mut Encoder<'_, '_>) {
        encoder.number(self.actors.len() as u64);
        for (actor, ranges) in &self.actors {
            encoder.actor(*actor);
            encoder.number(ranges.len() as u64);
            let mut end = 0;
            for (first, last) in ranges {
                encoder.number(first - end);
                encoder.number(last - first);
                end = *last;
            }
        }
    }
    pub(super) fn decode_in(decoder: &mut Decoder<'_>) -> Result<Context, DecodeError> {
        let mut actors = BTreeMap::new();
        for _ in 0..decoder.count()? {
            let actor = decoder.actor()?;
            let mut ranges = vec![];
            let mut end = 0u64;
            for at in 0..decoder.count()? {
                // From the second one on a distance of 1 would touch the range before.
                let distance = decoder.number()?;
                let first = end.checked_add(distance).filter(|_| distance > u64::from(at > 0));
                let first = first.ok_or(DecodeError::Invalid("range of dots"))?;
                let last =
                    first.checked_add(decoder.number()?).ok_or(DecodeError::Invalid("range of dots"))?;
                ranges.push((first, last));
                end = last;
            }
            let is_next = actors.last_key_value().is_none_or(|(last, _)| *last < actor);
            if ranges.is_empty() || !is_next {
                return Err(DecodeError::Invalid("context"));
            }
            actors.insert(actor, ranges);
        }
        Ok(Context { actors })
    }
}

impl FromIterator<Dot> for Context {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Context {
        let mut context = Context::new();
        dots.into_iter().for_each(|dot| context.insert(dot));
        context
    }
}
