//! Which of the 16,384 hash slots a key belongs to: CRC16 (XMODEM) of the key or of its `{tag}`, as in Redis Cluster.

use crate::codec::{DecodeError, Reader, Writer};

pub const SLOTS: u16 = 16_384;

const TABLE: [u16; 256] = table();

/// Remainders of all single bytes for the polynomial x^16 + x^12 + x^5 + 1.
const fn table() -> [u16; 256] {
    let mut table = [0u16; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// CRC16 with polynomial 0x1021, initial value 0, nothing reflected.
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| crc << 8 ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

/// The part of a key that decides its slot: what stands between the first `{` and the next `}`, unless that is empty or
/// either brace is missing; then the whole key.
pub fn hashed_part(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&b| b == b'{') else { return key };
    let tag = &key[open + 1..];
    match tag.iter().position(|&b| b == b'}') {
        None | Some(0) => key,
        Some(close) => &tag[..close],
    }
}

/// The key's slot, below [`SLOTS`].
pub fn slot(key: &[u8]) -> u16 {
    crc16(hashed_part(key)) % SLOTS
}

/// The slots of a shard: a run of them, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SlotRange {
    pub first: u16,
    pub last: u16,
}

impl SlotRange {
    pub const ALL: SlotRange = SlotRange { first: 0, last: SLOTS - 1 };

    pub fn contains(self, slot: u16) -> bool {
        (self.first..=self.last).contains(&slot)
    }
    /// All slots in `shards` (1 to [`SLOTS`]) runs of equal length, as far as that goes.
    pub fn divide(shards: u32) -> impl Iterator<Item = SlotRange> {
        let first = move |shard: u32| (u64::from(shard) * u64::from(SLOTS) / u64::from(shards.max(1))) as u16;
        (0..shards).map(move |shard| SlotRange { first: first(shard), last: first(shard + 1) - 1 })
    }
    pub fn encode(self, w: &mut Writer<'_>) {
        w.u16(self.first);
        w.u16(self.last);
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<SlotRange, DecodeError> {
        let range = SlotRange { first: r.u16()?, last: r.u16()? };
        if range.first > range.last || range.last >= SLOTS {
            return Err(DecodeError::Invalid("range of slots"));
        }
        Ok(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_standard() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(crc16(b""), 0);
    }

    #[test]
    fn every_slot_is_in_exactly_one_shard() {
        for shards in [1, 2, 3, 5, 7, 16, 1000, u32::from(SLOTS)] {
            let ranges: alloc::vec::Vec<_> = SlotRange::divide(shards).collect();
            assert_eq!(ranges.len(), shards as usize);
            assert_eq!((ranges[0].first, ranges[ranges.len() - 1].last), (0, SLOTS - 1));
            assert!(ranges.windows(2).all(|pair| pair[0].last + 1 == pair[1].first), "{shards}");
            assert!(ranges.iter().all(|range| range.first <= range.last));
        }
    }

    #[test]
    fn slots_agree_with_redis_cluster() {
        for (key, expected) in [
            ("foo", 12_182),
            ("bar", 5_061),
            ("hello", 866),
            ("somekey", 11_058),
            ("foo{hash_tag}", 2_515),
            ("", 0),
        ] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }

    #[test]
    fn only_the_first_tag_that_is_whole_and_not_empty_counts() {
        for (key, part) in [
            ("{user1000}.following", "user1000"),
            ("foo{}{bar}", "foo{}{bar}"),
            ("foo{{bar}}zap", "{bar"),
            ("foo{bar}{zap}", "bar"),
            ("foo{bar", "foo{bar"),
            ("}foo{", "}foo{"),
            ("a}b{c}", "c"),
        ] {
            assert_eq!(hashed_part(key.as_bytes()), part.as_bytes(), "{key}");
        }
    }
}
