//! The payload of an entry that changes data. Its first byte says its format and whether an answer for a retry follows:
//!
//! ```text
//! row        0 or 1   [answer]   rows (operation, before image) to the end
//! statement  2 or 3   [answer]   digest of the rows that came of it (8 bytes), steps to the end
//! physical   4 or 5   [answer]   number of the engine's format (2 bytes), whether all keys went first (1), images to the end
//! ```
//!
//! So an item of the ledger, which holds nothing but a payload, needs no more to be read.

pub(crate) mod physical;
pub(crate) mod statement;

use alloc::vec::Vec;
use data::LogFormat;
use data::codec::{DecodeError, Reader, Writer};
use data::operation::{Before, Operation};
use data::slot::slot;
use smallvec::SmallVec;

pub use physical::{Image, Images};
pub use statement::{Statement, Step};

/// Writes the head of a payload: `answer` is there when the request has an id.
pub fn write_head(w: &mut Writer<'_>, format: LogFormat, answer: Option<&[u8]>) {
    let tag = match format {
        LogFormat::Row => 0,
        LogFormat::Statement => 2,
        LogFormat::Physical => 4,
    };
    w.u8(tag + u8::from(answer.is_some()));
    if let Some(answer) = answer {
        w.bytes(answer);
    }
}

/// Writes one row.
pub fn write_row(w: &mut Writer<'_>, operation: &Operation<'_>, before: &Before<'_>) {
    operation.encode(w);
    before.encode(w);
}

/// The slots of all keys that a payload changes, one after the other.
pub(crate) fn slots(payload: &[u8]) -> Vec<u16> {
    let Ok(payload) = Payload::parse(payload) else { return Vec::new() };
    match payload.changes {
        Changes::Rows(rows) => {
            let rows = rows.all().unwrap_or_default();
            rows.iter().flat_map(|(operation, _)| operation.keys().map(slot).collect::<Vec<_>>()).collect()
        }
        Changes::Statement(statement) => {
            let mut slots = Vec::new();
            let steps = statement.all().unwrap_or_default();
            steps.iter().for_each(|step| step.each_key(&mut |key| slots.push(slot(key))));
            slots
        }
        Changes::Images(images) => {
            images.all().unwrap_or_default().iter().map(|image| slot(image.key)).collect()
        }
    }
}

pub(crate) fn first_slot(payload: &[u8]) -> Option<u16> {
    slots(payload).first().copied()
}

/// A payload read back.
pub struct Payload<'a> {
    pub answer: Option<&'a [u8]>,
    pub changes: Changes<'a>,
}

/// What an entry holds, by its format.
pub enum Changes<'a> {
    Rows(Rows<'a>),
    Statement(Statement<'a>),
    Images(Images<'a>),
}

impl<'a> Payload<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Payload<'a>, DecodeError> {
        let mut r = Reader::new(bytes);
        let tag = r.u8()?;
        let answer = if tag & 1 == 1 { Some(r.bytes()?) } else { None };
        let changes = match tag >> 1 {
            0 => Changes::Rows(Rows(r)),
            1 => Changes::Statement(Statement::parse(r)?),
            2 => Changes::Images(Images::parse(r)?),
            _ => return Err(DecodeError::Invalid("log format of an entry")),
        };
        Ok(Payload { answer, changes })
    }
    /// The values that the entry writes into strings, sets and lists, each with its key, as far as its format tells: for judges
    /// and consumers of the log.
    pub fn written(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        match &self.changes {
            Changes::Rows(rows) => {
                let rows = rows.clone().all().unwrap_or_default();
                rows.iter().flat_map(|(operation, _)| written_by(operation)).collect()
            }
            Changes::Statement(statement) => {
                let steps = statement.clone().all().unwrap_or_default();
                steps.iter().flat_map(Step::written).collect()
            }
            Changes::Images(images) => {
                let images = images.clone().all().unwrap_or_default();
                images.iter().flat_map(Image::written).collect()
            }
        }
    }
}

/// The rows of an entry in row format.
#[derive(Clone)]
pub struct Rows<'a>(Reader<'a>);

impl<'a> Rows<'a> {
    /// The next row, `None` at the end.
    pub fn next_row(&mut self) -> Result<Option<(Operation<'a>, Before<'a>)>, DecodeError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        Ok(Some((Operation::decode(&mut self.0)?, Before::decode(&mut self.0)?)))
    }
    pub fn all(mut self) -> Result<Vec<(Operation<'a>, Before<'a>)>, DecodeError> {
        let mut rows = Vec::new();
        while let Some(row) = self.next_row()? {
            rows.push(row);
        }
        Ok(rows)
    }
}

/// What an operation writes into a string, a set or a list.
fn written_by(operation: &Operation<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    use Operation as O;
    let (key, values): (&[u8], SmallVec<[&[u8]; 1]>) = match operation {
        O::Set { key, value, .. } => (key, [&value[..]].into_iter().collect()),
        O::SetAdd { key, members } => (key, members.iter().map(|it| &it[..]).collect()),
        O::ListPush { key, elements, .. } => (key, elements.iter().map(|it| &it[..]).collect()),
        _ => return Vec::new(),
    };
    values.into_iter().map(|value| (key.to_vec(), value.to_vec())).collect()
}
