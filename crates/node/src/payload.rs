//! The payload of an `operations` entry: the answer for a retry, then rows (operation, before image) to the end.

use alloc::vec::Vec;
use data::codec::{DecodeError, Reader, Writer};
use data::operation::{Before, Operation};
use data::slot::slot;

/// Writes the head of a payload: `answer` is there when the request has an id.
pub fn write_head(w: &mut Writer<'_>, answer: Option<&[u8]>) {
    w.option(answer, |w, answer| w.bytes(answer));
}

/// Writes one row.
pub fn write_row(w: &mut Writer<'_>, operation: &Operation<'_>, before: &Before<'_>) {
    operation.encode(w);
    before.encode(w);
}

/// The slots of all keys that a payload changes, one after the other.
pub(crate) fn slots(payload: &[u8]) -> Vec<u16> {
    let rows = Payload::parse(payload).and_then(Payload::rows).unwrap_or_default();
    rows.iter().flat_map(|(operation, _)| operation.keys().map(slot).collect::<Vec<_>>()).collect()
}

pub(crate) fn first_slot(payload: &[u8]) -> Option<u16> {
    slots(payload).first().copied()
}

/// A payload read back.
pub struct Payload<'a> {
    pub answer: Option<&'a [u8]>,
    rows: Reader<'a>,
}

impl<'a> Payload<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Payload<'a>, DecodeError> {
        let mut rows = Reader::new(bytes);
        let answer = rows.option(|r| r.bytes())?;
        Ok(Payload { answer, rows })
    }
    /// The next row, `None` at the end.
    pub fn next_row(&mut self) -> Result<Option<(Operation<'a>, Before<'a>)>, DecodeError> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        Ok(Some((Operation::decode(&mut self.rows)?, Before::decode(&mut self.rows)?)))
    }
    /// All rows, for tests and for consumers of the log.
    pub fn rows(mut self) -> Result<Vec<(Operation<'a>, Before<'a>)>, DecodeError> {
        let mut rows = Vec::new();
        while let Some(row) = self.next_row()? {
            rows.push(row);
        }
        Ok(rows)
    }
}
