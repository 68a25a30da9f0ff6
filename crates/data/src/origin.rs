//! Who wrote what among sites: stamps (site, epoch, sequence), and vectors of them.
//!
//! The epoch of the site's group is part of the name, so that two leaders of one site, before and after a failover, never
//! give the same stamp to two writes (ML-24). A leader proposes its stamps in order and a log keeps a prefix of what was
//! proposed, so the stamps of one origin that are committed anywhere have no holes; a lost tail is a shorter prefix.
// bugs: ML-24

use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{Epoch, SiteId};
use alloc::collections::BTreeMap;
use core::cmp::Ordering;
use core::fmt;

/// One leader process of one site's group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Origin {
    pub site: SiteId,
    pub epoch: Epoch,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.site, self.epoch)
    }
}

/// One write for ever: the `sequence`-th of its origin, counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WriteStamp {
    pub origin: Origin,
    pub sequence: u64,
}

impl WriteStamp {
    pub fn new(site: u32, epoch: u64, sequence: u64) -> WriteStamp {
        WriteStamp { origin: Origin { site: SiteId(site), epoch: Epoch(epoch) }, sequence }
    }
    pub fn encode(self, writer: &mut Writer<'_>) {
        self.origin.site.encode(writer);
        self.origin.epoch.encode(writer);
        writer.u64(self.sequence);
    }
    /// # Errors
    /// When the bytes are not what [`WriteStamp::encode`] writes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<WriteStamp, DecodeError> {
        let origin = Origin { site: SiteId::decode(reader)?, epoch: Epoch::decode(reader)? };
        let sequence = reader.u64()?;
        if sequence == 0 { Err(DecodeError::Invalid("stamp")) } else { Ok(WriteStamp { origin, sequence }) }
    }
}

impl fmt::Display for WriteStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}:{}", self.origin.site, self.origin.epoch, self.sequence)
    }
}
impl fmt::Debug for WriteStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Per origin how many of its writes are included; one that is not named stands at 0. One pair per failover of a site,
/// about 20 bytes, for as long as the keyspace lives.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct OriginVector {
    sequences: BTreeMap<Origin, u64>,
}

impl OriginVector {
    pub const fn new() -> OriginVector {
        OriginVector { sequences: BTreeMap::new() }
    }
    pub fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }
    pub fn sequence(&self, origin: Origin) -> u64 {
        self.sequences.get(&origin).copied().unwrap_or(0)
    }
    pub fn contains(&self, stamp: WriteStamp) -> bool {
        stamp.sequence <= self.sequence(stamp.origin)
    }
    /// Includes this write and all before it of its origin.
    pub fn raise(&mut self, stamp: WriteStamp) {
        if stamp.sequence > 0 {
            let slot = self.sequences.entry(stamp.origin).or_insert(0);
            *slot = stamp.sequence.max(*slot);
        }
    }
    /// Includes all that the other one does.
    pub fn merge(&mut self, other: &OriginVector) {
        other.iter().for_each(|stamp| self.raise(stamp));
    }
    pub fn covers(&self, other: &OriginVector) -> bool {
        other.iter().all(|stamp| self.contains(stamp))
    }
    /// How many writes this one includes and the other one does not.
    pub fn ahead_of(&self, other: &OriginVector) -> u64 {
        self.iter().map(|stamp| stamp.sequence.saturating_sub(other.sequence(stamp.origin))).sum()
    }
    /// The last write of each origin, ascending.
    pub fn iter(&self) -> impl Iterator<Item = WriteStamp> {
        self.sequences.iter().map(|(origin, sequence)| WriteStamp { origin: *origin, sequence: *sequence })
    }
    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.length(self.sequences.len());
        self.iter().for_each(|stamp| stamp.encode(writer));
    }
    /// # Errors
    /// When the bytes are not what [`OriginVector::encode`] writes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<OriginVector, DecodeError> {
        let mut sequences = BTreeMap::new();
        for stamp in reader.list(WriteStamp::decode)? {
            if sequences.last_key_value().is_some_and(|(last, _)| *last >= stamp.origin) {
                return Err(DecodeError::Invalid("order of origins"));
            }
            sequences.insert(stamp.origin, stamp.sequence);
        }
        Ok(OriginVector { sequences })
    }
}

/// `None` means concurrent.
impl PartialOrd for OriginVector {
    fn partial_cmp(&self, other: &OriginVector) -> Option<Ordering> {
        match (self.covers(other), other.covers(self)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => None,
        }
    }
}

impl FromIterator<WriteStamp> for OriginVector {
    fn from_iter<I: IntoIterator<Item = WriteStamp>>(stamps: I) -> OriginVector {
        let mut vector = OriginVector::new();
        stamps.into_iter().for_each(|stamp| vector.raise(stamp));
        vector
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn vectors_compare_by_inclusion() {
        let vector = |stamps: &[(u32, u64, u64)]| -> OriginVector {
            stamps.iter().map(|(site, epoch, n)| WriteStamp::new(*site, *epoch, *n)).collect()
        };
        let (one, other) = (vector(&[(1, 1, 4), (2, 1, 1)]), vector(&[(1, 1, 3), (1, 2, 1)]));
        assert_eq!(one.partial_cmp(&other), None, "an epoch is an origin of its own");
        assert_eq!((one.ahead_of(&other), other.ahead_of(&one)), (2, 1));
        let mut both = one.clone();
        both.merge(&other);
        assert!(both > one && both > other && both.contains(WriteStamp::new(1, 2, 1)));
        let mut bytes = Vec::new();
        both.encode(&mut Writer::new(&mut bytes));
        assert_eq!(OriginVector::decode(&mut Reader::new(&bytes)), Ok(both));
        for at in 0..bytes.len() {
            assert!(OriginVector::decode(&mut Reader::new(&bytes[..at])).is_err(), "cut at {at}");
        }
    }
}
