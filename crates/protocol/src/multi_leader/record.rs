//! What lies in a site's log: writes of all sites, and copies of other sites' state.

use super::claims::ClaimId;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use data::causal::{Causal, Context, Entry, Object, Span, Stamp, Step, read_delta, write_delta};
use data::codec::{DecodeError, Reader, Writer};
use data::value::Blob;
use data::{OriginVector, SiteId, WriteStamp};

/// What one write does, everywhere.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// One command, or one EXEC: all of it or nothing.
    Deltas(Vec<(Blob, Causal<Object>)>),
    /// The home of a slot gives it away. `move_number` counts the moves of this slot.
    HandOver { slot: u16, to: SiteId, move_number: u64 },
}

/// One write with its name and its causes.
#[derive(Clone, PartialEq, Debug)]
pub struct SiteWrite {
    pub stamp: WriteStamp,
    /// What its origin held when it was made, as far as that grew since the origin's write before: whoever has applied that one
    /// has applied its causes (bugs: ML-04).
    pub causes: Vec<WriteStamp>,
    pub change: Change,
}

impl SiteWrite {
    /// About what it takes in memory and in messages.
    pub fn bytes(&self) -> u64 {
        let mut bytes = Vec::new();
        self.encode(&mut Writer::new(&mut bytes));
        bytes.len() as u64
    }
    /// The newest time in it: what the clock of whoever takes it over must have observed.
    pub fn newest(&self) -> Option<Stamp> {
        match &self.change {
            Change::Deltas(deltas) => deltas.iter().filter_map(|(_, delta)| delta.newest_stamp()).max(),
            Change::HandOver { .. } => None,
        }
    }
    pub fn encode(&self, writer: &mut Writer<'_>) {
        self.stamp.encode(writer);
        writer.list(&self.causes, |writer, cause| cause.encode(writer));
        match &self.change {
            Change::Deltas(deltas) => {
                writer.u8(0);
                writer.list(deltas, |writer, (key, delta)| write_delta(writer, key, delta));
            }
            Change::HandOver { slot, to, move_number } => {
                writer.u8(1);
                writer.u16(*slot);
                to.encode(writer);
                writer.u64(*move_number);
            }
        }
    }
    /// # Errors
    /// When the bytes are not what [`SiteWrite::encode`] writes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<SiteWrite, DecodeError> {
        let stamp = WriteStamp::decode(reader)?;
        let causes = reader.list(WriteStamp::decode)?;
        let change = match reader.u8()? {
            0 => Change::Deltas(reader.list(read_delta)?),
            1 => Change::HandOver {
                slot: reader.u16()?,
                to: SiteId::decode(reader)?,
                move_number: reader.u64()?,
            },
            _ => return Err(DecodeError::Invalid("change")),
        };
        Ok(SiteWrite { stamp, causes, change })
    }
}

/// A part of another site's frozen state: all that it holds in a span of places.
#[derive(Clone, PartialEq, Debug)]
pub struct Staged {
    pub span: Span,
    pub entries: Vec<Entry>,
    /// Homes of slots that were moved, `(slot, home, move number)`; in the last part only.
    pub homes: Vec<(u16, SiteId, u64)>,
    /// About what it takes.
    pub bytes: u64,
}

impl Staged {
    pub fn encode(&self, writer: &mut Writer<'_>) {
        let step = Step::Span { span: self.span, entries: self.entries.clone(), theirs: Context::new() };
        step.encode(writer);
        writer.list(&self.homes, |writer, (slot, home, number)| {
            writer.u16(*slot);
            home.encode(writer);
            writer.u64(*number);
        });
        writer.u64(self.bytes);
    }
    /// # Errors
    /// When the bytes are not what [`Staged::encode`] writes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Staged, DecodeError> {
        let Step::Span { span, entries, .. } = Step::decode(reader)? else {
            return Err(DecodeError::Invalid("part of a copy"));
        };
        let homes = reader.list(|reader| Ok((reader.u16()?, SiteId::decode(reader)?, reader.u64()?)))?;
        Ok(Staged { span, entries, homes, bytes: reader.u64()? })
    }
}

/// One entry of a site's log.
#[derive(Clone, PartialEq, Debug)]
pub enum Record {
    /// Of this site or of another one.
    Write(Arc<SiteWrite>),
    /// A copy of another site's state begins; what was staged of an earlier one is dropped.
    CopyBegin {
        from: SiteId,
        copy: u64,
        context: Context,
        vector: OriginVector,
    },
    CopyPart(Box<Staged>),
    /// All parts are here: the copy is joined with what this site holds, in one step.
    CopyEnd {
        vector: OriginVector,
    },
    /// This site agreed to another one's writing keys at these places.
    Claim {
        id: ClaimId,
        places: Vec<u64>,
    },
    /// These claims are over.
    Unclaim {
        claims: Vec<ClaimId>,
    },
}

/// Kinds of records, as they lie in front of each.
const WRITE: u8 = 60;
const COPY_BEGIN: u8 = 61;
const COPY_PART: u8 = 62;
const COPY_END: u8 = 63;
const CLAIM: u8 = 64;
const UNCLAIM: u8 = 65;

impl Record {
    /// Includes what the log holds once this record is in it.
    pub fn raise(&self, vector: &mut OriginVector) {
        match self {
            Record::Write(write) => vector.raise(write.stamp),
            Record::CopyEnd { vector: copied } => vector.merge(copied),
            Record::CopyBegin { .. }
            | Record::CopyPart(_)
            | Record::Claim { .. }
            | Record::Unclaim { .. } => {}
        }
    }
    pub fn encode(&self, writer: &mut Writer<'_>) {
        match self {
            Record::Write(write) => {
                writer.u8(WRITE);
                write.encode(writer);
            }
            Record::CopyBegin { from, copy, context, vector } => {
                writer.u8(COPY_BEGIN);
                from.encode(writer);
                writer.u64(*copy);
                let mut bytes = Vec::new();
                context.encode(&mut Writer::new(&mut bytes));
                writer.bytes(&bytes);
                vector.encode(writer);
            }
            Record::CopyPart(part) => {
                writer.u8(COPY_PART);
                part.encode(writer);
            }
            Record::CopyEnd { vector } => {
                writer.u8(COPY_END);
                vector.encode(writer);
            }
            Record::Claim { id, places } => {
                writer.u8(CLAIM);
                id.encode(writer);
                writer.list(places, |writer, place| writer.u64(*place));
            }
            Record::Unclaim { claims } => {
                writer.u8(UNCLAIM);
                writer.list(claims, |writer, id| id.encode(writer));
            }
        }
    }
    /// Reads all of the input.
    ///
    /// # Errors
    /// When it is not what [`Record::encode`] writes.
    pub fn decode(input: &[u8]) -> Result<Record, DecodeError> {
        let reader = &mut Reader::new(input);
        let record = match reader.u8()? {
            WRITE => Record::Write(Arc::new(SiteWrite::decode(reader)?)),
            COPY_BEGIN => Record::CopyBegin {
                from: SiteId::decode(reader)?,
                copy: reader.u64()?,
                context: Context::decode(reader.bytes()?)?,
                vector: OriginVector::decode(reader)?,
            },
            COPY_PART => Record::CopyPart(Box::new(Staged::decode(reader)?)),
            COPY_END => Record::CopyEnd { vector: OriginVector::decode(reader)? },
            CLAIM => {
                Record::Claim { id: ClaimId::decode(reader)?, places: reader.list(|reader| reader.u64())? }
            }
            UNCLAIM => Record::Unclaim { claims: reader.list(ClaimId::decode)? },
            _ => return Err(DecodeError::Invalid("record of a multi-leader shard")),
        };
        reader.end()?;
        Ok(record)
    }
}
