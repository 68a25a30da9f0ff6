//! Messages between sites as bytes.

use super::claims::{OpenClaims, Unclaimed};
use super::message::{Message, Status};
use super::record::{SiteWrite, Staged};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use data::causal::{read_context, write_context};
use data::codec::{DecodeError, Reader, Writer};
use data::{Epoch, OriginVector, SiteId};

impl Status {
    fn encode(&self, w: &mut Writer<'_>) {
        self.epoch.encode(w);
        w.u64(self.number);
        w.u64(self.version);
        self.vector.encode(w);
        w.length(self.hears.len());
        self.hears.iter().for_each(|site| site.encode(w));
        w.bool(self.is_ready);
        w.bool(self.is_beyond_log);
        w.option(self.stopped_by_ms, |w, by_ms| w.i64(by_ms));
    }
    fn decode(r: &mut Reader<'_>) -> Result<Status, DecodeError> {
        Ok(Status {
            epoch: Epoch::decode(r)?,
            number: r.u64()?,
            version: r.u64()?,
            vector: OriginVector::decode(r)?,
            hears: r.list(SiteId::decode)?.into_iter().collect(),
            is_ready: r.bool()?,
            is_beyond_log: r.bool()?,
            stopped_by_ms: r.option(|r| r.i64())?,
            claims: None,
        })
    }
}

impl Message {
    /// Whether its receiver would propose something to its log.
    pub fn writes(&self) -> bool {
        matches!(
            self,
            Message::Writes { .. }
                | Message::CopyBegun { .. }
                | Message::CopyPart { .. }
                | Message::Claim { .. }
        )
    }
    pub fn encode(&self, w: &mut Writer<'_>) {
        match self {
            Message::Status(status) => {
                // Claims are told in keyspaces that all members know.
                w.u8(if status.claims.is_some() { 8 } else { 1 });
                status.encode(w);
                if let Some(claims) = &status.claims {
                    w.u64(claims.next);
                    w.length(claims.open.len());
                    claims.open.iter().for_each(|number| w.u64(*number));
                }
            }
            Message::Writes { writes } => {
                w.u8(2);
                w.list(writes, |w, write| write.encode(w));
            }
            Message::CopyAsk { ask } => {
                w.u8(3);
                w.u64(*ask);
            }
            Message::CopyBegun { ask, copy, context, vector } => {
                w.u8(4);
                w.u64(*ask);
                w.u64(*copy);
                write_context(w, context);
                vector.encode(w);
            }
            Message::CopyPartAsk { copy, first } => {
                w.u8(5);
                w.u64(*copy);
                w.u64(*first);
            }
            Message::CopyPart { copy, part } => {
                w.u8(6);
                w.u64(*copy);
                part.encode(w);
            }
            Message::CopyGone { copy } => {
                w.u8(7);
                w.u64(*copy);
            }
            Message::Claim { epoch, number, places, seen } => {
                w.u8(9);
                epoch.encode(w);
                w.u64(*number);
                w.list(places, |w, place| w.u64(*place));
                seen.encode(w);
            }
            Message::Agreed { epoch, number } => {
                w.u8(10);
                epoch.encode(w);
                w.u64(*number);
            }
            Message::Refused { epoch, number, why } => {
                w.u8(11);
                epoch.encode(w);
                w.u64(*number);
                encode_unclaimed(*why, w);
            }
        }
    }
    /// # Errors
    /// When the bytes are not what [`Message::encode`] writes.
    pub fn decode(r: &mut Reader<'_>) -> Result<Message, DecodeError> {
        Ok(match r.u8()? {
            1 => Message::Status(Box::new(Status::decode(r)?)),
            2 => Message::Writes { writes: writes(r)? },
            3 => Message::CopyAsk { ask: r.u64()? },
            4 => Message::CopyBegun {
                ask: r.u64()?,
                copy: r.u64()?,
                context: read_context(r)?,
                vector: OriginVector::decode(r)?,
            },
            5 => Message::CopyPartAsk { copy: r.u64()?, first: r.u64()? },
            6 => Message::CopyPart { copy: r.u64()?, part: Box::new(Staged::decode(r)?) },
            7 => Message::CopyGone { copy: r.u64()? },
            8 => {
                let status = Status::decode(r)?;
                let (next, open) = (r.u64()?, r.list(|r| r.u64())?.into_iter().collect());
                let claims = Some(OpenClaims { next, open });
                Message::Status(Box::new(Status { claims, ..status }))
            }
            9 => {
                let (epoch, number, places) = (Epoch::decode(r)?, r.u64()?, r.list(|r| r.u64())?);
                if !places.is_sorted_by(|one, next| one < next) {
                    return Err(DecodeError::Invalid("order of places"));
                }
                Message::Claim { epoch, number, places, seen: OriginVector::decode(r)? }
            }
            10 => Message::Agreed { epoch: Epoch::decode(r)?, number: r.u64()? },
            11 => Message::Refused { epoch: Epoch::decode(r)?, number: r.u64()?, why: decode_unclaimed(r)? },
            _ => return Err(DecodeError::Invalid("message between sites")),
        })
    }
}

/// Only what a site says to another one.
fn encode_unclaimed(why: Unclaimed, w: &mut Writer<'_>) {
    match why {
        Unclaimed::Held { by } => {
            w.u8(1);
            by.encode(w);
        }
        Unclaimed::Unseen { at } => {
            w.u8(2);
            at.encode(w);
        }
        Unclaimed::Joining | Unclaimed::TooFew { .. } | Unclaimed::Full | Unclaimed::TooLarge => w.u8(3),
    }
}
fn decode_unclaimed(r: &mut Reader<'_>) -> Result<Unclaimed, DecodeError> {
    Ok(match r.u8()? {
        1 => Unclaimed::Held { by: SiteId::decode(r)? },
        2 => Unclaimed::Unseen { at: SiteId::decode(r)? },
        3 => Unclaimed::Full,
        _ => return Err(DecodeError::Invalid("why a claim was refused")),
    })
}

fn writes(r: &mut Reader<'_>) -> Result<Vec<Arc<SiteWrite>>, DecodeError> {
    r.list(|r| Ok(Arc::new(SiteWrite::decode(r)?)))
}

#[cfg(test)]
mod tests {
    use super::super::record::Change;
    use super::*;
    use data::WriteStamp;
    use data::causal::{Context, Span};

    #[test]
    fn messages_are_read_as_they_were_written_and_cut_ones_are_refused() {
        let stamp = WriteStamp::new(2, 3, 4);
        let vector: OriginVector = [stamp].into_iter().collect();
        let change = Change::HandOver { slot: 7, to: SiteId(3), move_number: 2 };
        let write = Arc::new(SiteWrite { stamp, causes: [WriteStamp::new(1, 1, 9)].into(), change });
        let span = Span { first: 5, last: 9 };
        let part = Staged { span, entries: Vec::new(), homes: [(7, SiteId(3), 2)].into(), bytes: 40 };
        let status = Status {
            epoch: Epoch(3),
            number: 9,
            version: 2,
            vector: vector.clone(),
            hears: [SiteId(1), SiteId(3)].into(),
            is_ready: true,
            is_beyond_log: false,
            stopped_by_ms: Some(61_000),
            claims: None,
        };
        let claims = OpenClaims { next: 9, open: [3, 7].into() };
        let claiming = Status { claims: Some(claims), ..status.clone() };
        let (epoch, number, seen) = (Epoch(3), 7, vector.clone());
        let refused = |why| Message::Refused { epoch, number, why };
        let messages = [
            Message::Status(Box::new(status)),
            Message::Writes { writes: [write].into() },
            Message::CopyAsk { ask: 3 },
            Message::CopyBegun { ask: 3, copy: 4, context: Context::new(), vector },
            Message::CopyPartAsk { copy: 4, first: 5 },
            Message::CopyPart { copy: 4, part: Box::new(part) },
            Message::CopyGone { copy: 4 },
            Message::Status(Box::new(claiming)),
            Message::Claim { epoch, number, places: [2, 9].into(), seen },
            Message::Agreed { epoch, number },
            refused(Unclaimed::Held { by: SiteId(2) }),
            refused(Unclaimed::Unseen { at: SiteId(3) }),
        ];
        for message in messages {
            let mut bytes = Vec::new();
            message.encode(&mut Writer::new(&mut bytes));
            assert_eq!(Message::decode(&mut Reader::new(&bytes)), Ok(message));
            for at in 0..bytes.len() {
                assert!(Message::decode(&mut Reader::new(&bytes[..at])).is_err(), "cut at {at}");
            }
        }
    }
}
