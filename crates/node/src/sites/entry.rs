//! The payload of a `site` entry: the answer for a retry, if the request has an id, and the record.

use data::codec::{DecodeError, Reader, Writer};
use protocol::multi_leader::Record;

/// The record of a `site` entry, for whoever looks at logs from outside; nothing when it is none.
pub fn record_of(payload: &[u8]) -> Option<Record> {
    read(payload).ok().map(|(_, record)| record)
}

pub(crate) fn write(w: &mut Writer<'_>, answer: Option<&[u8]>, record: &Record) {
    w.option(answer, |w, answer| w.bytes(answer));
    record.encode(w);
}

/// # Errors
/// When the bytes are not what [`write`] writes.
pub(crate) fn read(payload: &[u8]) -> Result<(Option<&[u8]>, Record), DecodeError> {
    let r = &mut Reader::new(payload);
    let answer = match r.u8()? {
        0 => None,
        1 => Some(r.bytes()?),
        _ => return Err(DecodeError::Invalid("entry of a site")),
    };
    let rest = r.remaining();
    Ok((answer, Record::decode(r.take(rest)?)?))
}
