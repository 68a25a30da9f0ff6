//! A batch: the records that one write puts into a segment, of any number of groups.
//!
//! ```text
//! offset  size  field
//!      0     4  magic
//!      4     4  length of the whole batch, trailer included
//!      8     8  number of the batch in its stream, from 1
//!     16     8  durable_through: highest batch known flushed, with all before it, when this one was made
//!     24     4  the sector of the data region where it begins
//!     28     4  length of the records
//!     32     4  number of records
//!     36     4  checksum of the trailer
//!     40     4  zero
//!     44     4  checksum of the 44 bytes before
//!     48     -  records, one behind the other
//!      -   4xk  trailer: for each sector that holds bytes of records, the checksum of those bytes
//! ```
//!
//! All checksums start from the segment's binding. The trailer lets a reader judge each sector by itself: see `segment`
//! for what follows from a sector that is zero, right or neither.

use crate::disk::SECTOR;
use crate::segment::{checked, is_zero};
use bytes::Bytes;
use data::codec::{DecodeError, Reader, Writer};
use data::record::{HEADER_LEN, RECORD_LEN_MAX};
use data::{GroupId, codec};

pub const BATCH_HEADER_LEN: usize = 48;
const MAGIC: u32 = u32::from_le_bytes(*b"btch");
/// A batch holds at least one record of the largest size, and not much more: its length fits 32 bits by far.
pub const BATCH_LEN_MAX: usize = RECORD_LEN_MAX + (64 << 20);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    pub len: u32,
    pub batch: u64,
    pub durable_through: u64,
    pub sector: u32,
    /// Bytes of records, from [`BATCH_HEADER_LEN`] on.
    pub records_len: u32,
    pub count: u32,
    trailer_crc: u32,
    /// Checksum of this header.
    pub crc: u32,
}

impl BatchHeader {
    /// The header in these bytes, when it is whole and fits its place; what else they are is the caller's question.
    pub fn decode(bytes: &[u8], binding: u32) -> Option<BatchHeader> {
        let bytes = bytes.get(..BATCH_HEADER_LEN)?;
        if !checked(bytes, binding) {
            return None;
        }
        let header = BatchHeader::fields(bytes).ok()?;
        let fits =
            BATCH_HEADER_LEN + header.records_len as usize + header.trailer_len() == header.len as usize;
        fits.then_some(header)
    }
    fn fields(bytes: &[u8]) -> Result<BatchHeader, DecodeError> {
        let mut r = Reader::new(bytes);
        if r.u32()? != MAGIC {
            return Err(DecodeError::Invalid("magic"));
        }
        let len = r.u32()?;
        let (batch, durable_through) = (r.u64()?, r.u64()?);
        let (sector, records_len, count, trailer_crc) = (r.u32()?, r.u32()?, r.u32()?, r.u32()?);
        r.u32()?;
        Ok(BatchHeader {
            len,
            batch,
            durable_through,
            sector,
            records_len,
            count,
            trailer_crc,
            crc: r.u32()?,
        })
    }
    fn trailer_len(&self) -> usize {
        checksums(self.records_len as usize) * 4
    }
    pub fn sectors(&self) -> u32 {
        sectors(self.len as usize)
    }
}

/// Sectors that a batch of so many bytes takes.
pub fn sectors(len: usize) -> u32 {
    len.div_ceil(SECTOR) as u32
}
/// Length of a batch with so many bytes of records.
pub fn batch_len(records_len: usize) -> usize {
    BATCH_HEADER_LEN + records_len + checksums(records_len) * 4
}
fn checksums(records_len: usize) -> usize {
    (BATCH_HEADER_LEN + records_len).div_ceil(SECTOR)
}
/// The part of a sector of the batch that holds bytes of records.
fn covered(sector: usize, records_len: usize) -> (usize, usize) {
    let end = ((sector + 1) * SECTOR).min(BATCH_HEADER_LEN + records_len);
    ((sector * SECTOR).max(BATCH_HEADER_LEN), end)
}

/// Where and when a batch is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    pub batch: u64,
    pub durable_through: u64,
    pub sector: u32,
    pub binding: u32,
}

/// Turns a buffer (room for the header, then records) into the bytes of a batch, in place. Returns them with the header's
/// checksum, which goes to the second place.
pub fn seal(mut buffer: Vec<u8>, count: u32, place: Place) -> (Bytes, u32) {
    let records_len = buffer.len() - BATCH_HEADER_LEN;
    for sector in 0..checksums(records_len) {
        let (from, to) = covered(sector, records_len);
        let crc = crc32c::crc32c_append(place.binding, &buffer[from..to]);
        buffer.extend_from_slice(&crc.to_le_bytes());
    }
    let trailer_crc = crc32c::crc32c_append(place.binding, &buffer[BATCH_HEADER_LEN + records_len..]);
    let mut header = Vec::with_capacity(BATCH_HEADER_LEN);
    let mut w = Writer::new(&mut header);
    w.u32(MAGIC);
    w.u32(buffer.len() as u32);
    w.u64(place.batch);
    w.u64(place.durable_through);
    w.u32(place.sector);
    w.u32(records_len as u32);
    w.u32(count);
    w.u32(trailer_crc);
    w.u32(0);
    let crc = crc32c::crc32c_append(place.binding, w.buffer);
    w.u32(crc);
    buffer[..BATCH_HEADER_LEN].copy_from_slice(&header);
    (Bytes::from(buffer), crc)
}

/// What became of a batch whose header is whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    Whole,
    /// At least one sector is all zero though it should not be: what a power cut leaves of an unflushed write.
    Lost,
    /// A sector is neither zero nor right: its offset in the batch. No power cut does that.
    Damaged(usize),
}

/// Judges every sector of a batch. `bytes` are as many of its bytes as the file has; `header` was decoded from them.
pub fn examine(header: &BatchHeader, bytes: &[u8], binding: u32) -> Verdict {
    let records_len = header.records_len as usize;
    let trailer = bytes.get(BATCH_HEADER_LEN + records_len..header.len as usize);
    let Some(trailer) = trailer else { return Verdict::Lost };
    if crc32c::crc32c_append(binding, trailer) != header.trailer_crc {
        let first = (BATCH_HEADER_LEN + records_len) / SECTOR;
        let lost = (first..header.sectors() as usize).any(|s| is_zero(sector_of(bytes, s)));
        return if lost { Verdict::Lost } else { Verdict::Damaged(BATCH_HEADER_LEN + records_len) };
    }
    let mut verdict = Verdict::Whole;
    for (sector, crc) in trailer.chunks_exact(4).enumerate() {
        let (from, to) = covered(sector, records_len);
        if crc32c::crc32c_append(binding, &bytes[from..to]).to_le_bytes() == crc {
            continue;
        }
        if !is_zero(sector_of(bytes, sector)) {
            return Verdict::Damaged(sector * SECTOR);
        }
        verdict = Verdict::Lost;
    }
    verdict
}

fn sector_of(bytes: &[u8], sector: usize) -> &[u8] {
    let from = (sector * SECTOR).min(bytes.len());
    &bytes[from..(from + SECTOR).min(bytes.len())]
}

/// The groups that have records in a damaged batch, when every record's own header lies in sectors that are right.
pub fn groups_of(header: &BatchHeader, bytes: &[u8], binding: u32) -> Option<Vec<GroupId>> {
    let end = BATCH_HEADER_LEN + header.records_len as usize;
    let trailer = bytes.get(end..header.len as usize)?;
    if crc32c::crc32c_append(binding, trailer) != header.trailer_crc {
        return None;
    }
    let right = |sector: usize| {
        let (from, to) = covered(sector, header.records_len as usize);
        trailer.get(sector * 4..sector * 4 + 4)
            == Some(&crc32c::crc32c_append(binding, &bytes[from..to]).to_le_bytes()[..])
    };
    let mut groups = Vec::new();
    let mut at = BATCH_HEADER_LEN;
    while at < end {
        if at + HEADER_LEN > end || !(at / SECTOR..=(at + HEADER_LEN - 1) / SECTOR).all(right) {
            return None;
        }
        let (len, group) = record_extent(&bytes[at..at + HEADER_LEN]).ok()?;
        if !groups.contains(&group) {
            groups.push(group);
        }
        at += len.max(HEADER_LEN);
    }
    Some(groups)
}

/// Length and group of the record with this header: offsets 0 and 16 of `data::record`.
fn record_extent(header: &[u8]) -> Result<(usize, GroupId), codec::DecodeError> {
    let mut r = Reader::new(header);
    let len = r.u32()? as usize;
    r.take(12)?;
    Ok((len, GroupId::decode(&mut r)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { batch: 4, durable_through: 2, sector: 0, binding: 77 };

    fn sealed(records_len: usize) -> Vec<u8> {
        let mut buffer = vec![0; BATCH_HEADER_LEN];
        buffer.extend((0..records_len).map(|i| (i % 250) as u8 + 1));
        let (bytes, crc) = seal(buffer, 1, PLACE);
        let mut bytes = bytes.to_vec();
        assert_eq!(bytes.len(), batch_len(records_len));
        bytes.resize(sectors(bytes.len()) as usize * SECTOR, 0);
        let header = BatchHeader::decode(&bytes, 77).expect("whole");
        assert_eq!((header.batch, header.durable_through, header.crc), (4, 2, crc));
        bytes
    }

    fn verdict(bytes: &[u8]) -> Option<Verdict> {
        BatchHeader::decode(bytes, 77).map(|h| examine(&h, bytes, 77))
    }

    // bugs: SL-13
    #[test]
    fn a_flip_is_damage_and_a_lost_sector_is_loss() {
        for len in [1, 80, 460, 464, 465, 511, 513, 1500, 70_000] {
            let good = sealed(len);
            assert_eq!(verdict(&good), Some(Verdict::Whole));
            for at in (0..batch_len(len)).step_by(if len > 5000 { 37 } else { 1 }) {
                let mut bytes = good.clone();
                bytes[at] ^= 0x10;
                let found = verdict(&bytes);
                assert!(matches!(found, None | Some(Verdict::Damaged(_))), "{len} {at} {found:?}");
                assert_eq!(found.is_none(), at < BATCH_HEADER_LEN);
            }
            for sector in 1..good.len() / SECTOR {
                let mut bytes = good.clone();
                bytes[sector * SECTOR..][..SECTOR].fill(0);
                assert_eq!(verdict(&bytes), Some(Verdict::Lost));
            }
            // What lies behind the batch is nobody's.
            let mut bytes = good.clone();
            bytes[batch_len(len)..].fill(9);
            assert_eq!(verdict(&bytes), Some(Verdict::Whole));
        }
    }

    #[test]
    fn nothing_in_a_header_makes_the_reader_panic() {
        let mut buffer = vec![0; BATCH_HEADER_LEN];
        for seed in 0..200u32 {
            let mut w = Vec::new();
            let mut writer = Writer::new(&mut w);
            writer.u32(MAGIC);
            for field in 0..10 {
                writer.u32(seed.wrapping_mul(0x9e37_79b9).rotate_left(field * 3));
            }
            let crc = crc32c::crc32c_append(77, writer.buffer);
            writer.u32(crc);
            buffer[..BATCH_HEADER_LEN].copy_from_slice(&w);
            if let Some(header) = BatchHeader::decode(&buffer, 77) {
                examine(&header, &buffer, 77);
            }
        }
    }
}
