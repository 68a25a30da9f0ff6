//! Hash slots of one group: runs of them, for slots move between groups in runs.

use crate::codec::{DecodeError, Reader, Writer};
use crate::slot::{SLOTS, SlotRange};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

/// Invariant: ascending runs that neither meet nor touch.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct SlotSet(Vec<SlotRange>);

impl SlotSet {
    pub fn of(range: SlotRange) -> SlotSet {
        SlotSet(alloc::vec![range])
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Number of slots.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|range| range.len()).sum()
    }
    pub fn first(&self) -> Option<u16> {
        self.0.first().map(|range| range.first)
    }
    pub fn ranges(&self) -> &[SlotRange] {
        &self.0
    }
    pub fn contains(&self, slot: u16) -> bool {
        let at = self.0.partition_point(|range| range.last < slot);
        self.0.get(at).is_some_and(|range| range.first <= slot)
    }
    /// Whether all of a run is in the set.
    pub fn holds(&self, range: SlotRange) -> bool {
        let at = self.0.partition_point(|known| known.last < range.first);
        self.0.get(at).is_some_and(|known| known.first <= range.first && range.last <= known.last)
    }
    pub fn meets(&self, other: &SlotSet) -> bool {
        other.0.iter().any(|range| {
            let at = self.0.partition_point(|known| known.last < range.first);
            self.0.get(at).is_some_and(|known| known.first <= range.last)
        })
    }
    pub fn add(&mut self, range: SlotRange) {
        self.remove(range);
        let at = self.0.partition_point(|known| known.last < range.first);
        self.0.insert(at, range);
        let mut joined: Vec<SlotRange> = Vec::with_capacity(self.0.len());
        for range in &self.0 {
            match joined.last_mut() {
                Some(last) if last.last + 1 == range.first => last.last = range.last,
                _ => joined.push(*range),
            }
        }
        self.0 = joined;
    }
    pub fn remove(&mut self, range: SlotRange) {
        let mut left = Vec::with_capacity(self.0.len() + 1);
        for known in &self.0 {
            if known.last < range.first || range.last < known.first {
                left.push(*known);
                continue;
            }
            if known.first < range.first {
                left.push(SlotRange { first: known.first, last: range.first - 1 });
            }
            if range.last < known.last {
                left.push(SlotRange { first: range.last + 1, last: known.last });
            }
        }
        self.0 = left;
    }
    /// `0-5460,10923-16383`, or `-` of none.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for range in &self.0 {
            let comma = if text.is_empty() { "" } else { "," };
            let _ = write!(text, "{comma}{}-{}", range.first, range.last);
        }
        if text.is_empty() { "-".into() } else { text }
    }
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.list(&self.0, |w, range| range.encode(w));
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<SlotSet, DecodeError> {
        let ranges = r.list(SlotRange::decode)?;
        let apart = |a: &SlotRange, b: &SlotRange| u32::from(a.last) + 1 < u32::from(b.first);
        if !ranges.is_sorted_by(apart) {
            return Err(DecodeError::Invalid("set of slots"));
        }
        Ok(SlotSet(ranges))
    }
}

impl SlotRange {
    /// Number of slots.
    pub fn len(self) -> u32 {
        u32::from(self.last - self.first) + 1
    }
    pub fn is_empty(self) -> bool {
        false
    }
    /// The last `count` slots (1 to all) of the run.
    pub fn tail(self, count: u32) -> SlotRange {
        let count = count.clamp(1, self.len()) as u16;
        SlotRange { first: self.last - (count - 1), last: self.last }
    }
    /// The run between two slots, if it is one.
    pub fn new(first: u16, last: u16) -> Option<SlotRange> {
        (first <= last && last < SLOTS).then_some(SlotRange { first, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: u16, last: u16) -> SlotRange {
        SlotRange::new(first, last).expect("a run")
    }

    #[test]
    fn runs_come_and_go() {
        let mut set = SlotSet::of(SlotRange::ALL);
        set.remove(run(100, 199));
        assert_eq!(set.text(), "0-99,200-16383");
        assert!(set.contains(99) && !set.contains(100) && !set.contains(199) && set.contains(200));
        assert!(set.holds(run(0, 99)) && !set.holds(run(50, 100)) && !set.holds(run(99, 200)));
        assert!(set.meets(&SlotSet::of(run(150, 200))) && !set.meets(&SlotSet::of(run(100, 199))));
        set.add(run(150, 199));
        assert_eq!(set.text(), "0-99,150-16383");
        set.add(run(100, 149));
        assert_eq!(set, SlotSet::of(SlotRange::ALL));
        set.remove(SlotRange::ALL);
        assert_eq!((set.is_empty(), set.count(), set.text().as_str()), (true, 0, "-"));
        assert_eq!(run(5, 9).tail(2), run(8, 9));
    }

    /// Compared with a plain table of all slots.
    #[test]
    fn it_is_a_set() {
        let (mut set, mut plain) = (SlotSet::default(), alloc::vec![false; usize::from(SLOTS)]);
        let mut x = 7u64;
        for step in 0..400 {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let first = (x >> 40) as u16 % SLOTS;
            let range = run(first, (first + (x >> 20) as u16 % 3000).min(SLOTS - 1));
            let adds = step % 3 != 0;
            if adds {
                set.add(range)
            } else {
                set.remove(range)
            }
            plain[usize::from(range.first)..=usize::from(range.last)].fill(adds);
            assert_eq!(set.count() as usize, plain.iter().filter(|it| **it).count());
            assert!((0..SLOTS).step_by(61).all(|slot| set.contains(slot) == plain[usize::from(slot)]));
            let mut bytes = Vec::new();
            set.encode(&mut Writer::new(&mut bytes));
            assert_eq!(SlotSet::decode(&mut Reader::new(&bytes)), Ok(set.clone()));
        }
    }
}
