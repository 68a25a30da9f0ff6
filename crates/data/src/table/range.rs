//! Sums over ranges of keys, by which copies are compared: a keyed sum with a count per range of the hash space.
//!
//! A range is walked when it is asked for. No write keeps a sum up to date: a running sum would say what was written, the walk
//! says what the memory holds now, and that is the question. The index stands in hash order, so a range costs what lies in it.

use super::{Seed, Table, hash_key, snapshot};
use crate::codec::{DecodeError, Reader, Writer};
use alloc::vec::Vec;

/// The keys whose hash begins with the `bits` bits `prefix`; all of them for no bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct HashRange {
    /// *Invariant:* at most [`HashRange::BITS_MAX`], and `prefix` has no more.
    bits: u8,
    prefix: u32,
}

/// What lies in a range: the number of keys, and the sum of the hashes of all of them with their values, orders and expiries.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RangeSum {
    pub keys: u64,
    pub sum: u64,
}

impl HashRange {
    /// A million ranges. A guess: no table of this design has more than some billion keys.
    pub const BITS_MAX: u8 = 20;

    /// The range of this prefix; what is too much of either is cut off.
    pub fn new(bits: u8, prefix: u32) -> HashRange {
        let bits = bits.min(HashRange::BITS_MAX);
        HashRange { bits, prefix: prefix & ((1 << bits) - 1) }
    }
    pub fn bits(self) -> u8 {
        self.bits
    }
    /// The range behind this one, the first one behind the last, where there are `2^bits` of them.
    pub fn next(self, bits: u8) -> HashRange {
        let bits = bits.min(HashRange::BITS_MAX);
        let end = (u64::from(self.prefix) + 1) << HashRange::BITS_MAX >> self.bits;
        HashRange::new(bits, (end << bits >> HashRange::BITS_MAX) as u32)
    }
    /// Whether this range holds all of the other one.
    pub fn covers(self, other: HashRange) -> bool {
        self.bits <= other.bits && other.prefix >> (other.bits - self.bits) == self.prefix
    }
    pub fn holds(self, hash: u64) -> bool {
        hash.checked_shr(64 - u32::from(self.bits)).unwrap_or(0) == u64::from(self.prefix)
    }
    fn first_hash(self) -> u64 {
        u64::from(self.prefix).checked_shl(64 - u32::from(self.bits)).unwrap_or(0)
    }
    pub fn encode(self, w: &mut Writer<'_>) {
        w.u8(self.bits);
        w.u32(self.prefix);
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<HashRange, DecodeError> {
        let (bits, prefix) = (r.u8()?, r.u32()?);
        let range = HashRange::new(bits, prefix);
        if range == (HashRange { bits, prefix }) {
            Ok(range)
        } else {
            Err(DecodeError::Invalid("range of keys"))
        }
    }
}

impl core::fmt::Display for HashRange {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} of {}", u64::from(self.prefix) + 1, 1u64 << self.bits)
    }
}

impl RangeSum {
    pub fn encode(self, w: &mut Writer<'_>) {
        w.u64(self.keys);
        w.u64(self.sum);
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<RangeSum, DecodeError> {
        Ok(RangeSum { keys: r.u64()?, sum: r.u64()? })
    }
    fn add(&mut self, seed: Seed, encoded: &[u8]) {
        self.keys += 1;
        self.sum = self.sum.wrapping_add(hash_key(seed, encoded));
    }
}

impl Table {
    /// How many bits cut this table into ranges of about so many keys and bytes, whichever makes more of them.
    pub fn range_bits(&self, keys: usize, bytes: usize) -> u8 {
        let ranges = (self.len() / keys.max(1)).max(self.bytes() / bytes.max(1));
        (usize::BITS - ranges.leading_zeros()).min(u32::from(HashRange::BITS_MAX)) as u8
    }
    /// The sum over one range, from what the memory holds at this moment. Costs what lies in the range.
    pub fn range_sum(&self, range: HashRange) -> RangeSum {
        let (mut sum, mut bytes) = (RangeSum::default(), Vec::new());
        let mut from = Some(range.first_hash());
        while let Some(at) = from.filter(|at| range.holds(*at)) {
            from = self.store.step(at, &mut |key, found| {
                // The last bucket may reach beyond the range.
                if range.holds(self.hash(key)) {
                    bytes.clear();
                    snapshot::encode_key(&mut bytes, key, found);
                    sum.add(self.seed, &bytes);
                }
            });
        }
        sum
    }
    /// Changes a bit of some short or long string that `draw` names, as failing memory would; whether there was one. A counter
    /// stays a counter. For simulators: nothing else may change a table behind the back of its log.
    pub fn damage(&mut self, draw: u64) -> bool {
        let Some((key, found)) = self.random(draw) else { return false };
        let crate::value::ValueRef::String(text) = found.value else { return false };
        let counter = super::apply::parse_decimal(text);
        let mut damaged = text.to_vec();
        let Some(last) = damaged.last_mut() else { return false };
        *last ^= 1;
        let other = super::apply::parse_decimal(&damaged);
        let safe = match (counter, other) {
            (None, None) => true,
            // What is added to it later fits both.
            (Some(one), Some(_)) => one.unsigned_abs() < 1 << 60,
            _ => false,
        };
        let key = key.to_vec();
        if safe {
            let hash = self.hash(&key);
            self.store.overwrite_text(hash, &key, &damaged);
        }
        safe
    }
}
