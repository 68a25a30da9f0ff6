//! A log segment: a preallocated file that is filled once, from front to back, and never written over.
//!
//! ```text
//! offset        size      what
//!      0         512      header, first copy
//!    512         512      watermark, even writes
//!   4096         512      header, second copy
//!   4608         512      watermark, odd writes
//!   8192  slots x 32      identity table: the second place of every batch (rounded up to 4096)
//!      -    capacity      batches (see `batch`), each beginning on a sector of 512 bytes
//! ```
//!
//! All of it is zeros before its first write, and no sector of the data region is written twice. The header is written
//! together with the segment's first batch.
//!
//! # Torn tail or corruption
//!
//! After a power cut a write that nobody was told of may be there, partly there or absent: it must be cut, and the node
//! must start. A batch that *was* flushed and is not whole must never be cut (SL-13): the copy is rebuilt from its peers.
//! The identity of batch *n* travels in the same flush as its data, so its presence alone proves nothing: one of the two
//! may have reached the medium without the other. Two things tell the cases apart.
//!
//! 1. *Proof.* Every batch, every identity slot, every segment header and every watermark carries `durable_through`: the
//!    highest batch that was known flushed, with all before it, when this was written. It is written after the fact, so
//!    it is true wherever it is found. A batch at or below the highest one found anywhere in the stream, and not whole,
//!    is **corruption**. So every flushed batch is proven by the first thing that is written after it.
//! 2. *What tearing cannot do.* A sector is written whole or not at all, and each data sector once, over zeros. So a power
//!    cut leaves every data sector either all zero or right. Each batch carries a checksum for every one of its sectors.
//!    A sector that is neither zero nor right was **damaged**. If the batch's identity is in the table (even damaged
//!    there), the batch had been written on purpose, and damage in it is corruption, proven flushed or not. If the
//!    identity is absent the batch was never flushed, for both go out in one flush, and it is cut.
//!
//! What is left: the batches that nothing written later covers, that is what was in flight together with the last batch,
//! can be lost silently only if whole sectors turn to zero after the flush, or the medium lies about the flush. The
//! watermark narrows this: an idle log writes it a moment after its last batch ([`crate::Log::mark_job`]), and so does a
//! clean shutdown. Two independent faults (a slot erased and its data damaged) can also hide a last batch.
//!
//! A hole may be followed by whole batches, for several are in flight at once. They say `durable_through` below the hole,
//! were never acknowledged (acknowledgements follow the contiguous prefix), and are cut with it. After every start the log
//! goes on in a new segment, whose header is flushed first and names the first batch it holds: whatever older segments
//! hold from there on is void for ever, and everything below is proven.

use crate::disk::{SECTOR, join};
use data::NodeId;
use data::codec::{DecodeError, Reader, Writer};

pub const FORMAT: u32 = 1;
pub const HEADERS: [u64; 2] = [0, 4096];
pub const MARKS: [u64; 2] = [512, 4608];
const TABLE: u64 = 8192;
const PAGE: u64 = 4096;
const HEADER_LEN: usize = 72;
const MARK_LEN: usize = 16;
pub const SLOT_LEN: usize = 32;
const HEADER_MAGIC: u64 = u64::from_le_bytes(*b"tercetsg");
const MARK_MAGIC: u32 = u32::from_le_bytes(*b"mark");
/// One slot per so many bytes of data. A guess between the smallest batch (512) and a busy log's (16 KiB and more): a
/// segment of tiny batches is full when its table is.
const DATA_PER_SLOT: u64 = 2048;

/// Whose log it is. Checked at every start, so that a directory never serves two clusters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    pub cluster: u64,
    pub node: NodeId,
}

/// Where things lie in a segment file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    pub slots: u32,
    /// Bytes of the data region.
    pub capacity: u64,
}

impl Shape {
    pub fn new(capacity: u64) -> Shape {
        let capacity = capacity.next_multiple_of(PAGE);
        let slots = (capacity / DATA_PER_SLOT).clamp(4, 1 << 20) as u32;
        Shape { slots, capacity }
    }
    pub fn slot_offset(&self, slot: u64) -> u64 {
        TABLE + slot * SLOT_LEN as u64
    }
    pub fn table_len(&self) -> usize {
        self.slots as usize * SLOT_LEN
    }
    pub fn data_start(&self) -> u64 {
        (TABLE + self.table_len() as u64).next_multiple_of(PAGE)
    }
    pub fn file_len(&self) -> u64 {
        self.data_start() + self.capacity
    }
    /// File offset of a sector of the data region.
    pub fn sector_offset(&self, sector: u32) -> u64 {
        self.data_start() + u64::from(sector) * SECTOR as u64
    }
    /// Sectors of the data region.
    pub fn sectors(&self) -> u64 {
        self.capacity / SECTOR as u64
    }
}

/// What is found where a header, slot or watermark may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found<T> {
    /// Zeros: never written, or the write was lost.
    Absent,
    /// Neither zeros nor anything that was ever written here.
    Damaged,
    /// Whole, but of this newer format.
    Newer(u32),
    Here(T),
}

impl<T> Found<T> {
    pub fn here(self) -> Option<T> {
        if let Found::Here(value) = self { Some(value) } else { None }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    pub owner: Owner,
    pub stream: u32,
    /// Number of the segment in its stream, from 1, never used twice.
    pub sequence: u64,
    /// The run of the process that wrote it: orders the segments of different streams.
    pub process: u64,
    /// The first batch in it.
    pub base: u64,
    pub durable_through: u64,
    pub shape: Shape,
}

impl Header {
    pub fn encode(&self) -> Vec<u8> {
        let mut buffer = Vec::with_capacity(HEADER_LEN);
        let mut w = Writer::new(&mut buffer);
        w.u64(HEADER_MAGIC);
        w.u32(FORMAT);
        w.u32(self.stream);
        w.u64(self.owner.cluster);
        w.u32(self.owner.node.0);
        w.u32(self.shape.slots);
        w.u64(self.sequence);
        w.u64(self.process);
        w.u64(self.base);
        w.u64(self.durable_through);
        // In pages: a capacity of 600 MiB and more fits.
        w.u32((self.shape.capacity / PAGE) as u32);
        let crc = crc32c::crc32c(w.buffer);
        w.u32(crc);
        buffer
    }
    /// `bytes` begin at the header's place.
    pub fn decode(bytes: &[u8]) -> Found<Header> {
        let Some(bytes) = bytes.get(..HEADER_LEN) else { return Found::Absent };
        if is_zero(bytes) {
            return Found::Absent;
        }
        if !checked(bytes, 0) {
            return Found::Damaged;
        }
        Header::fields(bytes).unwrap_or(Found::Damaged)
    }
    fn fields(bytes: &[u8]) -> Result<Found<Header>, DecodeError> {
        let mut r = Reader::new(bytes);
        if r.u64()? != HEADER_MAGIC {
            return Ok(Found::Damaged);
        }
        let format = r.u32()?;
        if format != FORMAT {
            return Ok(Found::Newer(format));
        }
        let stream = r.u32()?;
        let owner = Owner { cluster: r.u64()?, node: NodeId(r.u32()?) };
        let slots = r.u32()?;
        Ok(Found::Here(Header {
            owner,
            stream,
            sequence: r.u64()?,
            process: r.u64()?,
            base: r.u64()?,
            durable_through: r.u64()?,
            shape: Shape { slots, capacity: u64::from(r.u32()?) * PAGE },
        }))
    }
    /// Start value of every checksum in this segment: bytes of another segment never pass for its own.
    pub fn binding(&self) -> u32 {
        binding(self.owner, self.stream, self.sequence)
    }
}

pub fn binding(owner: Owner, stream: u32, sequence: u64) -> u32 {
    let mut crc = crc32c::crc32c(&owner.cluster.to_le_bytes());
    crc = crc32c::crc32c_append(crc, &owner.node.0.to_le_bytes());
    crc = crc32c::crc32c_append(crc, &stream.to_le_bytes());
    crc32c::crc32c_append(crc, &sequence.to_le_bytes())
}

/// A batch's identity in the second place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot {
    pub batch: u64,
    pub durable_through: u64,
    /// Where it begins, in sectors of the data region.
    pub sector: u32,
    /// Length in bytes.
    pub len: u32,
    /// Checksum of the batch's header.
    pub crc: u32,
}

impl Slot {
    pub fn encode(&self, binding: u32) -> Vec<u8> {
        let mut buffer = Vec::with_capacity(SLOT_LEN);
        let mut w = Writer::new(&mut buffer);
        w.u64(self.batch);
        w.u64(self.durable_through);
        w.u32(self.sector);
        w.u32(self.len);
        w.u32(self.crc);
        let crc = crc32c::crc32c_append(binding, w.buffer);
        w.u32(crc);
        buffer
    }
    pub fn decode(bytes: &[u8], binding: u32) -> Found<Slot> {
        let Some(bytes) = bytes.get(..SLOT_LEN) else { return Found::Absent };
        if is_zero(bytes) {
            return Found::Absent;
        }
        if !checked(bytes, binding) {
            return Found::Damaged;
        }
        Slot::fields(bytes).map_or(Found::Damaged, Found::Here)
    }
    fn fields(bytes: &[u8]) -> Result<Slot, DecodeError> {
        let mut r = Reader::new(bytes);
        Ok(Slot {
            batch: r.u64()?,
            durable_through: r.u64()?,
            sector: r.u32()?,
            len: r.u32()?,
            crc: r.u32()?,
        })
    }
}

/// The bytes of a watermark.
pub fn encode_mark(durable_through: u64, binding: u32) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(MARK_LEN);
    let mut w = Writer::new(&mut buffer);
    w.u32(MARK_MAGIC);
    w.u64(durable_through);
    let crc = crc32c::crc32c_append(binding, w.buffer);
    w.u32(crc);
    buffer
}

/// The watermark in these bytes, if there is a whole one.
pub fn decode_mark(bytes: &[u8], binding: u32) -> Option<u64> {
    let bytes = bytes.get(..MARK_LEN)?;
    if !checked(bytes, binding) {
        return None;
    }
    let mut r = Reader::new(bytes);
    if r.u32().ok()? == MARK_MAGIC { r.u64().ok() } else { None }
}

/// Whether the last four bytes are the checksum of those before.
pub(crate) fn checked(bytes: &[u8], seed: u32) -> bool {
    bytes
        .split_last_chunk::<4>()
        .is_some_and(|(body, crc)| crc32c::crc32c_append(seed, body) == u32::from_le_bytes(*crc))
}

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| *b == 0)
}

/// The directory of a stream.
pub fn stream_dir(stream: u32) -> String {
    format!("stream-{stream}")
}
/// The stream whose directory this is.
pub fn stream_of(name: &str) -> Option<u32> {
    name.strip_prefix("stream-")?.parse().ok()
}
pub fn segment_path(stream: u32, sequence: u64) -> String {
    join(&stream_dir(stream), &format!("{sequence:020}.segment"))
}
/// The number of the segment with this file name.
pub fn sequence_of(name: &str) -> Option<u64> {
    name.strip_suffix(".segment")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        owner: Owner { cluster: 7, node: NodeId(3) },
        stream: 1,
        sequence: 9,
        process: 4,
        base: 100,
        durable_through: 99,
        shape: Shape { slots: 8, capacity: 16384 },
    };

    #[test]
    fn nothing_overlaps() {
        for capacity in [1, 4096, 16384, 64 << 20, 700 << 20] {
            let shape = Shape::new(capacity);
            assert!(shape.capacity >= capacity && shape.capacity.is_multiple_of(PAGE));
            assert!(shape.slot_offset(u64::from(shape.slots)) <= shape.data_start());
            assert_eq!(shape.sector_offset(shape.sectors() as u32), shape.file_len());
        }
        assert_eq!(HEADER.encode().len(), HEADER_LEN);
    }

    // bugs: SL-13
    #[test]
    fn every_flip_of_header_slot_and_watermark_shows() {
        let slot = Slot { batch: 5, durable_through: 3, sector: 2, len: 700, crc: 1 };
        let header = HEADER.encode();
        assert_eq!(Header::decode(&header), Found::Here(HEADER));
        assert_eq!(Slot::decode(&slot.encode(1), 1), Found::Here(slot));
        assert_eq!(decode_mark(&encode_mark(5, 1), 1), Some(5));
        for at in 0..header.len() {
            let mut bytes = header.clone();
            bytes[at] ^= 1;
            assert_eq!(Header::decode(&bytes), Found::Damaged);
        }
        for at in 0..SLOT_LEN {
            let mut bytes = slot.encode(1);
            bytes[at] ^= 1;
            assert_eq!(Slot::decode(&bytes, 1), Found::Damaged);
        }
        for at in 0..MARK_LEN {
            let mut bytes = encode_mark(5, 1);
            bytes[at] ^= 1;
            assert_eq!(decode_mark(&bytes, 1), None);
        }
    }

    #[test]
    fn bytes_of_another_segment_do_not_pass() {
        let other = Header { sequence: 10, ..HEADER };
        let slot = Slot { batch: 5, durable_through: 3, sector: 2, len: 700, crc: 1 };
        assert_eq!(Slot::decode(&slot.encode(other.binding()), HEADER.binding()), Found::Damaged);
        assert_eq!(sequence_of("00000000000000000009.segment"), Some(9));
        assert_eq!(stream_of(&stream_dir(12)), Some(12));
    }
}
