//! The payload of a `site` entry: the answer for a retry, if the request has an id, and the record.

use data::codec::{DecodeError, Reader, Writer};
use protocol::multi_leader::Record;

pub(crate) fn write(w: &mut Writer<'_>, answer: Option<&[u8]>, record: &Record) {
    w.option(answer, |w, answer| w.bytes(answer));
    record.encode(w);
}

/// # Errors
/// When the bytes are not what [`write`] writes.
pub fn read(payload: &[u8]) -> Result<(Option<&[u8]>, Record), DecodeError> {
    let r = &mut Reader::new(payload);
    let answer = match r.u8()? {
        0 => None,
        1 => Some(r.bytes()?),
        _ => return Err(DecodeError::Invalid("entry of a site")),
    };
    let rest = r.remaining();
    Ok((answer, Record::decode(r.take(rest)?)?))
}
