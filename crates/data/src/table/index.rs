//! Hash to handles, in hash order.
//!
//! The hash space is cut into segments by the top bits of the hash (a directory finds the segment of a prefix), and each
//! segment into equal ranges of the bits behind them, its buckets. So the buckets, one after the other, cover the hash
//! space in ascending order, and a split or a merge never changes the order of anything. A segment is the unit of growth:
//! a full one is rebuilt with half as many buckets again, or as two, some six to nine hundred keys at a time, which is
//! the longest that any one write waits.
//!
//! A bucket is one cache line: twelve handles, and of each the last eight bits of its hash, so that a look-up touches
//! hardly ever more than one entry. What does not fit goes to a chained bucket of the same segment.

use super::memory::{Handle, prefetch};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// Handles in a bucket: five bytes each and four for the chain fill a cache line.
const SLOTS: usize = 12;
/// Buckets of a segment that has just been split off ...
const SEGMENT_BUCKETS: usize = 64;
/// ... and at most: growing by half and then by a third keeps the buckets at least half full.
const SEGMENT_BUCKETS_MAX: usize = 96;
/// Bits of a hash that choose no bucket, so that every bucket begins at a scan cursor.
const LOW_BITS: u32 = super::CURSOR_SHIFT;
/// Keys per bucket beyond which a segment grows: three quarters full, one bucket in eight is chained then.
const KEYS_PER_BUCKET_MAX: usize = 9;
/// Keys per bucket below which a segment shrinks: less than half of what is left after any growth, so that growing and
/// shrinking never chase each other.
const KEYS_PER_BUCKET_MIN: usize = 2;

/// Names per segment beyond which the directory does not grow. Seeded hashes stay below 4.
const DIRECTORY_PER_SEGMENT_MAX: usize = 64;

/// The number of buckets after this one: 1, 2, 3, 4, 6, 8, 12 ...
fn larger(buckets: usize) -> usize {
    if buckets.is_power_of_two() { buckets + buckets.div_ceil(2) } else { buckets / 3 * 4 }
}
/// The number of buckets before this one.
fn smaller(buckets: usize) -> usize {
    if buckets.is_power_of_two() { (buckets / 4 * 3).max(buckets / 2) } else { buckets / 3 * 2 }
}

/// Invariant: a slot is used when its handle is not 0.
#[derive(Clone, Copy, Default, Debug)]
#[repr(C, align(64))]
struct Bucket {
    tags: [u8; SLOTS],
    /// One more than the number of the chained bucket in the segment's `spill`; 0 for none.
    chain: u32,
    handles: [u32; SLOTS],
}

impl Bucket {
    /// One bit per slot whose tag is this one; unused slots may be among them.
    fn tagged(&self, tag: u8) -> u32 {
        let mut found = 0;
        for (at, mine) in self.tags.iter().enumerate() {
            found |= u32::from(*mine == tag) << at;
        }
        found
    }
}

#[derive(Debug)]
struct Segment {
    buckets: Box<[Bucket]>,
    spill: Vec<Bucket>,
    keys: u32,
    /// Number of top bits that all hashes of the segment share.
    depth: u32,
}

impl Segment {
    fn new(depth: u32, buckets: usize) -> Segment {
        Segment {
            buckets: vec![Bucket::default(); buckets].into_boxed_slice(),
            spill: Vec::new(),
            keys: 0,
            depth,
        }
    }
    fn bucket_of(&self, hash: u64) -> usize {
        let rest = hash << self.depth >> (self.depth + LOW_BITS);
        ((rest * self.buckets.len() as u64) >> self.rest_bits()) as usize
    }
    /// Bits of a hash that choose the bucket: those behind the prefix, the low ones left out.
    fn rest_bits(&self) -> u32 {
        u64::BITS - LOW_BITS - self.depth
    }
    /// The least hash that lies in a bucket, within the segment of `hash`; what follows the last bucket wraps to 0.
    fn begin(&self, hash: u64, bucket: usize) -> u64 {
        let rest = ((bucket as u64) << self.rest_bits()).div_ceil(self.buckets.len() as u64);
        let prefix = hash & !(u64::MAX.checked_shr(self.depth).unwrap_or(0));
        prefix.wrapping_add(rest << LOW_BITS)
    }
    fn bucket(&self, at: Place) -> &Bucket {
        if at.chained { &self.spill[at.bucket as usize] } else { &self.buckets[at.bucket as usize] }
    }
    fn bucket_mut(&mut self, at: Place) -> &mut Bucket {
        if at.chained { &mut self.spill[at.bucket as usize] } else { &mut self.buckets[at.bucket as usize] }
    }
    fn insert(&mut self, hash: u64, handle: Handle) {
        self.keys += 1;
        let mut at = Place { segment: 0, bucket: self.bucket_of(hash) as u32, chained: false, slot: 0 };
        loop {
            let spilled = self.spill.len() as u32;
            let bucket = self.bucket_mut(at);
            if let Some(slot) = bucket.handles.iter().position(|handle| *handle == 0) {
                bucket.handles[slot] = handle.0;
                bucket.tags[slot] = hash as u8;
                return;
            }
            if bucket.chain == 0 {
                bucket.chain = spilled + 1;
                self.spill.push(Bucket::default());
                at = Place { bucket: spilled, chained: true, ..at };
            } else {
                at = Place { bucket: bucket.chain - 1, chained: true, ..at };
            }
        }
    }
    fn handles(&self) -> impl Iterator<Item = Handle> {
        let buckets = self.buckets.iter().chain(&self.spill);
        buckets.flat_map(|bucket| bucket.handles).filter(|handle| *handle != 0).map(Handle)
    }
    fn bytes(&self) -> usize {
        (self.buckets.len() + self.spill.capacity()) * size_of::<Bucket>() + size_of::<Segment>()
    }
}

/// The first `count` bits.
fn top(bits: u64, count: u32) -> usize {
    // Two shifts, for none may be by 64.
    ((bits >> 1) >> (63 - count)) as usize
}

/// Where a handle stands; valid until the next insertion or removal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    segment: u32,
    bucket: u32,
    chained: bool,
    slot: u8,
}

/// What the index asks of the entries: it knows handles only.
pub(super) trait Hashed {
    fn hash_of(&self, handle: Handle) -> u64;
    fn prefetch(&self, handle: Handle);
}

/// Invariant: the directory has 2^depth numbers of segments; those that share a segment are neighbours, and a segment of
/// depth d is named by 2^(depth - d) of them.
#[derive(Debug)]
pub(super) struct Index {
    directory: Vec<u32>,
    depth: u32,
    segments: Vec<Segment>,
    vacant: Vec<u32>,
    keys: usize,
    bytes: usize,
}

impl Default for Index {
    fn default() -> Index {
        let only = Segment::new(0, 1);
        let bytes = only.bytes();
        Index { directory: vec![0], depth: 0, segments: vec![only], vacant: Vec::new(), keys: 0, bytes }
    }
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.keys
    }
    pub(super) fn bytes(&self) -> usize {
        self.bytes + (self.directory.capacity() + self.vacant.capacity()) * size_of::<u32>()
    }
    fn segment_of(&self, hash: u64) -> u32 {
        self.directory[top(hash, self.depth)]
    }
    pub(super) fn prefetch(&self, hash: u64) {
        let segment = &self.segments[self.segment_of(hash) as usize];
        prefetch(&segment.buckets[segment.bucket_of(hash)]);
    }
    /// Shows the handles of the first bucket whose hashes may be this one.
    pub(super) fn likely(&self, hash: u64, mut each: impl FnMut(Handle)) {
        let segment = &self.segments[self.segment_of(hash) as usize];
        let bucket = &segment.buckets[segment.bucket_of(hash)];
        let mut tagged = bucket.tagged(hash as u8);
        while tagged != 0 {
            let slot = tagged.trailing_zeros() as usize;
            tagged &= tagged - 1;
            if bucket.handles[slot] != 0 {
                each(Handle(bucket.handles[slot]));
            }
        }
    }

    /// The first handle under this hash that passes the test, which also sees handles of other hashes.
    pub(super) fn find(&self, hash: u64, mut test: impl FnMut(Handle) -> bool) -> Option<(Place, Handle)> {
        let number = self.segment_of(hash);
        let segment = &self.segments[number as usize];
        let mut at =
            Place { segment: number, bucket: segment.bucket_of(hash) as u32, chained: false, slot: 0 };
        loop {
            let bucket = segment.bucket(at);
            let mut tagged = bucket.tagged(hash as u8);
            while tagged != 0 {
                let slot = tagged.trailing_zeros() as usize;
                tagged &= tagged - 1;
                let handle = bucket.handles[slot];
                if handle != 0 && test(Handle(handle)) {
                    return Some((Place { slot: slot as u8, ..at }, Handle(handle)));
                }
            }
            if bucket.chain == 0 {
                return None;
            }
            at = Place { bucket: bucket.chain - 1, chained: true, ..at };
        }
    }
    /// Puts another handle of the same key in a place.
    pub(super) fn replace(&mut self, at: Place, handle: Handle) {
        self.segments[at.segment as usize].bucket_mut(at).handles[usize::from(at.slot)] = handle.0;
    }
    pub(super) fn insert(&mut self, hash: u64, handle: Handle, entries: &impl Hashed) {
        let number = self.segment_of(hash);
        let segment = &self.segments[number as usize];
        if segment.keys as usize >= KEYS_PER_BUCKET_MAX * segment.buckets.len() {
            self.grow(hash, entries);
        }
        let number = self.segment_of(hash);
        let segment = &mut self.segments[number as usize];
        let before = segment.spill.capacity();
        segment.insert(hash, handle);
        self.bytes += (segment.spill.capacity() - before) * size_of::<Bucket>();
        self.keys += 1;
    }
    pub(super) fn remove(&mut self, hash: u64, at: Place, entries: &impl Hashed) {
        let segment = &mut self.segments[at.segment as usize];
        segment.bucket_mut(at).handles[usize::from(at.slot)] = 0;
        segment.keys -= 1;
        self.keys -= 1;
        self.shrink(hash, entries);
    }

    /// Rebuilds the segment of this hash with more buckets, or as two when it has as many as a segment may.
    fn grow(&mut self, hash: u64, entries: &impl Hashed) {
        let number = self.segment_of(hash);
        let (depth, buckets) = self.shape(number);
        if buckets < SEGMENT_BUCKETS_MAX {
            return self.rebuild(number, depth, larger(buckets), entries);
        }
        if depth == self.depth {
            // Hashes so unlike random ones are chained instead: the directory stays in proportion.
            if self.directory.len() >= DIRECTORY_PER_SEGMENT_MAX * self.segments.len() {
                return;
            }
            self.directory = self.directory.iter().flat_map(|number| [*number, *number]).collect();
            self.depth += 1;
        }
        let mut halves = [depth + 1; 2].map(|depth| Segment::new(depth, SEGMENT_BUCKETS));
        let old = &self.segments[number as usize];
        old.handles().for_each(|handle| entries.prefetch(handle));
        for handle in old.handles() {
            let hash = entries.hash_of(handle);
            halves[top(hash << depth, 1)].insert(hash, handle);
        }
        let [lower, upper] = halves;
        self.put_segment(number, lower);
        let upper_number = self.add_segment(upper);
        let names = 1usize << (self.depth - depth);
        let first = top(hash, self.depth) & !(names - 1);
        self.directory[first + names / 2..first + names].fill(upper_number);
    }

    /// Takes buckets from a sparse region: makes its segment smaller, then merges it with its neighbour.
    fn shrink(&mut self, hash: u64, entries: &impl Hashed) {
        loop {
            let number = self.segment_of(hash);
            let (depth, buckets) = self.shape(number);
            let keys = self.segments[number as usize].keys as usize;
            if keys >= KEYS_PER_BUCKET_MIN * buckets {
                return;
            }
            if depth == 0 || buckets > SEGMENT_BUCKETS {
                if buckets > 1 {
                    self.rebuild(number, depth, smaller(buckets), entries);
                }
                return;
            }
            let names = 1usize << (self.depth - depth);
            let first = top(hash, self.depth) & !(names - 1);
            let buddy_first = first ^ names;
            let buddy = self.directory[buddy_first];
            let buddy_keys = self.segments[buddy as usize].keys as usize;
            if self.shape(buddy).0 != depth || keys + buddy_keys >= 2 * KEYS_PER_BUCKET_MIN * buckets {
                return;
            }
            let mut merged = Segment::new(depth - 1, SEGMENT_BUCKETS);
            for handle in [number, buddy].iter().flat_map(|number| self.segments[*number as usize].handles())
            {
                merged.insert(entries.hash_of(handle), handle);
            }
            self.put_segment(number, merged);
            self.drop_segment(buddy);
            self.directory[buddy_first..buddy_first + names].fill(number);
            self.halve_directory();
        }
    }

    /// Makes the directory as small as the deepest segment allows, once it is far too large.
    fn halve_directory(&mut self) {
        let live = self.segments.len() - self.vacant.len();
        // Looking for the deepest segment costs a pass, so it waits until most of the directory repeats itself.
        if self.directory.len() < 8 * live {
            return;
        }
        let deepest = self.directory.iter().map(|number| self.shape(*number).0).max().unwrap_or(0);
        let step = 1usize << (self.depth - deepest);
        self.directory = self.directory.iter().copied().step_by(step).collect();
        self.depth = deepest;
    }

    /// Depth and number of buckets.
    fn shape(&self, number: u32) -> (u32, usize) {
        let segment = &self.segments[number as usize];
        (segment.depth, segment.buckets.len())
    }
    fn rebuild(&mut self, number: u32, depth: u32, buckets: usize, entries: &impl Hashed) {
        let mut rebuilt = Segment::new(depth, buckets);
        self.segments[number as usize].handles().for_each(|handle| entries.prefetch(handle));
        for handle in self.segments[number as usize].handles() {
            rebuilt.insert(entries.hash_of(handle), handle);
        }
        self.put_segment(number, rebuilt);
    }
    fn put_segment(&mut self, number: u32, segment: Segment) {
        self.bytes = self.bytes + segment.bytes() - self.segments[number as usize].bytes();
        self.segments[number as usize] = segment;
    }
    fn add_segment(&mut self, segment: Segment) -> u32 {
        self.bytes += segment.bytes();
        match self.vacant.pop() {
            Some(number) => {
                self.bytes -= self.segments[number as usize].bytes();
                self.segments[number as usize] = segment;
                number
            }
            None => {
                self.segments.push(segment);
                self.segments.len() as u32 - 1
            }
        }
    }
    fn drop_segment(&mut self, number: u32) {
        let nothing = Segment::new(0, 0);
        self.put_segment(number, nothing);
        self.vacant.push(number);
    }

    /// Where the bucket that covers a hash begins.
    pub(super) fn bucket_begin(&self, hash: u64) -> u64 {
        let segment = &self.segments[self.segment_of(hash) as usize];
        segment.begin(hash, segment.bucket_of(hash))
    }
    /// Shows the handles of the bucket that covers a hash, and tells where the next one begins; `None` after the last.
    pub(super) fn bucket(&self, hash: u64, mut each: impl FnMut(Handle)) -> Option<u64> {
        let segment = &self.segments[self.segment_of(hash) as usize];
        let at = segment.bucket_of(hash);
        let mut bucket = &segment.buckets[at];
        loop {
            bucket.handles.iter().filter(|handle| **handle != 0).for_each(|handle| each(Handle(*handle)));
            if bucket.chain == 0 {
                break;
            }
            bucket = &segment.spill[bucket.chain as usize - 1];
        }
        let next = segment.begin(hash, at + 1);
        (next != 0).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_each_other_both_ways() {
        let mut sizes = vec![1];
        while let Some(last) = sizes.last().filter(|last| **last < SEGMENT_BUCKETS_MAX) {
            sizes.push(larger(*last));
        }
        assert_eq!(sizes, [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96]);
        assert!(sizes.windows(2).all(|pair| smaller(pair[1]) == pair[0]));
    }

    /// Whoever makes all hashes alike gets a slow table, not an endless one.
    #[test]
    fn equal_hashes_are_chained_and_found() {
        struct Alike;
        impl Hashed for Alike {
            fn hash_of(&self, _: Handle) -> u64 {
                7
            }
            fn prefetch(&self, _: Handle) {}
        }
        let mut index = Index::default();
        for n in 1..5_000 {
            index.insert(7, Handle(n), &Alike);
        }
        assert!(index.bytes() < 300_000, "{}", index.bytes());
        for n in 1..5_000 {
            let (place, _) = index.find(7, |handle| handle == Handle(n)).expect("what was inserted is found");
            index.remove(7, place, &Alike);
        }
        assert_eq!(index.len(), 0);
    }

    /// Every hash lies between the beginning of its bucket and that of the next, whatever the shape.
    #[test]
    fn buckets_cover_the_hash_space_in_order() {
        for (depth, buckets) in [(0, 1), (0, 3), (1, 64), (5, 96), (20, 64), (30, 96)] {
            let segment = Segment::new(depth, buckets);
            let mut hash = 1u64;
            for _ in 0..5_000 {
                hash = hash.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = segment.bucket_of(hash);
                let (begin, end) = (segment.begin(hash, at), segment.begin(hash, at + 1));
                assert!(begin <= hash && (hash < end || end == 0), "{hash:x} in {begin:x}..{end:x}");
                assert_eq!((segment.bucket_of(begin), begin % (1 << LOW_BITS)), (at, 0));
                assert_eq!(segment.bucket_of(end.wrapping_sub(1)), at);
            }
        }
    }
}
