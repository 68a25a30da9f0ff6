//! Hash to handles, in hash order.
//!
//! The hash space is cut into segments by the top bits of the hash (a directory finds the segment of a prefix), and each
//! segment into buckets by the next bits. So the buckets, one after the other, cover the hash space in ascending order,
//! and a split or a merge never changes the order of anything. A segment is the unit of growth: a full one is rebuilt as
//! two, some six hundred keys at a time, which is the longest that any one write waits.
//!
//! A bucket is one cache line: twelve handles, and of each the last eight bits of its hash, so that a look-up touches
//! hardly ever more than one entry. What does not fit goes to a chained bucket of the same segment.

use super::memory::{Handle, prefetch};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// Handles in a bucket: five bytes each and four for the chain fill a cache line.
const SLOTS: usize = 12;
/// A segment has at most 2^6 buckets: rebuilding it takes some 50 us.
const SEGMENT_BITS_MAX: u32 = 6;
/// Keys per bucket beyond which a segment grows: three quarters full, one bucket in eight is chained then.
const KEYS_PER_BUCKET_MAX: usize = 9;
/// Keys per bucket below which a segment shrinks: half of what is left of a bucket after a split, so that growing and
/// shrinking never chase each other.
const KEYS_PER_BUCKET_MIN: usize = 2;

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
    depth: u8,
    /// The segment has 2^bits buckets. Below the maximum only while it is the only segment.
    bits: u8,
}

impl Segment {
    fn new(depth: u32, bits: u32) -> Segment {
        Segment {
            buckets: vec![Bucket::default(); 1 << bits].into_boxed_slice(),
            spill: Vec::new(),
            keys: 0,
            depth: depth as u8,
            bits: bits as u8,
        }
    }
    fn bucket_of(&self, hash: u64) -> usize {
        top(hash << self.depth, self.bits.into())
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
        let only = Segment::new(0, 0);
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
        if segment.keys as usize >= KEYS_PER_BUCKET_MAX << segment.bits {
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

    /// Rebuilds the segment of this hash with twice the buckets: as a larger one while it is the only one, as two after.
    fn grow(&mut self, hash: u64, entries: &impl Hashed) {
        let number = self.segment_of(hash);
        let (depth, bits) = self.shape(number);
        if bits < SEGMENT_BITS_MAX {
            return self.rebuild(number, depth, bits + 1, entries);
        }
        if depth == self.depth {
            self.directory = self.directory.iter().flat_map(|number| [*number, *number]).collect();
            self.depth += 1;
        }
        let mut halves = [Segment::new(depth + 1, bits), Segment::new(depth + 1, bits)];
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

    /// Halves the buckets of a sparse region: merges neighbours, and makes a lonely segment smaller.
    fn shrink(&mut self, hash: u64, entries: &impl Hashed) {
        loop {
            let number = self.segment_of(hash);
            let (depth, bits) = self.shape(number);
            let keys = self.segments[number as usize].keys as usize;
            if keys >= KEYS_PER_BUCKET_MIN << bits {
                return;
            }
            if depth == 0 {
                if bits > 0 {
                    self.rebuild(number, depth, bits - 1, entries);
                }
                return;
            }
            let names = 1usize << (self.depth - depth);
            let first = top(hash, self.depth) & !(names - 1);
            let buddy_first = first ^ names;
            let buddy = self.directory[buddy_first];
            let buddy_keys = self.segments[buddy as usize].keys as usize;
            if self.shape(buddy).0 != depth || keys + buddy_keys >= 2 * (KEYS_PER_BUCKET_MIN << bits) {
                return;
            }
            let mut merged = Segment::new(depth - 1, bits);
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

    fn shape(&self, number: u32) -> (u32, u32) {
        let segment = &self.segments[number as usize];
        (segment.depth.into(), segment.bits.into())
    }
    fn rebuild(&mut self, number: u32, depth: u32, bits: u32, entries: &impl Hashed) {
        let mut rebuilt = Segment::new(depth, bits);
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
        let nothing = Segment { buckets: Box::default(), spill: Vec::new(), keys: 0, depth: 0, bits: 0 };
        self.put_segment(number, nothing);
        self.vacant.push(number);
    }

    /// Where the bucket that covers a hash begins.
    pub(super) fn bucket_begin(&self, hash: u64) -> u64 {
        hash & !(self.width(hash).wrapping_sub(1))
    }
    /// Hashes that the bucket covers; 0 for all of them.
    fn width(&self, hash: u64) -> u64 {
        let (depth, bits) = self.shape(self.segment_of(hash));
        1u64.checked_shl(64 - depth - bits).unwrap_or(0)
    }
    /// Shows the handles of the bucket that covers a hash, and tells where the next one begins; `None` after the last.
    pub(super) fn bucket(&self, hash: u64, mut each: impl FnMut(Handle)) -> Option<u64> {
        let segment = &self.segments[self.segment_of(hash) as usize];
        let mut bucket = &segment.buckets[segment.bucket_of(hash)];
        loop {
            bucket.handles.iter().filter(|handle| **handle != 0).for_each(|handle| each(Handle(*handle)));
            if bucket.chain == 0 {
                break;
            }
            bucket = &segment.spill[bucket.chain as usize - 1];
        }
        let next = self.bucket_begin(hash).wrapping_add(self.width(hash));
        (next != 0).then_some(next)
    }
}
