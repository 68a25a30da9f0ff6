//! What one message of a move carries.

use alloc::vec::Vec;
use bytes::Bytes;
use data::codec::{DecodeError, Reader, Writer};
use data::table::Found;
use data::value::Value;
use data::{GroupId, RequestId};

/// Which piece of which copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    pub id: u64,
    pub attempt: u32,
    /// Grows with every new beginning of the target's.
    pub run: u64,
    /// From 1.
    pub number: u64,
}

impl Place {
    fn encode(self, w: &mut Writer<'_>) {
        w.u64(self.id);
        w.u32(self.attempt);
        w.u64(self.run);
        w.u64(self.number);
    }
    fn decode(r: &mut Reader<'_>) -> Result<Place, DecodeError> {
        Ok(Place { id: r.u64()?, attempt: r.u32()?, run: r.u64()?, number: r.u64()? })
    }
}

/// Both messages of a move. The frame has a checksum of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// The leader of `group`, which has the slots, is asked for a piece.
    Pull { group: GroupId, place: Place },
    /// The leader of `group`, which gets the slots, is given one. `body`: items, see [`Items`].
    Given { group: GroupId, place: Place, last: bool, body: Bytes },
    /// There is no such piece (any more): begin a new run.
    BeginAnew { group: GroupId, place: Place },
}

impl Piece {
    pub fn group(&self) -> GroupId {
        match self {
            Piece::Pull { group, .. } | Piece::Given { group, .. } | Piece::BeginAnew { group, .. } => *group,
        }
    }
    pub fn encode(&self, w: &mut Writer<'_>) {
        let mut head = |tag: u8, group: &GroupId, place: &Place| {
            w.u8(tag);
            group.encode(w);
            place.encode(w);
        };
        match self {
            Piece::Pull { group, place } => head(1, group, place),
            Piece::Given { group, place, last, body } => {
                head(2, group, place);
                w.bool(*last);
                w.bytes(body);
            }
            Piece::BeginAnew { group, place } => head(3, group, place),
        }
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Piece, DecodeError> {
        let tag = r.u8()?;
        let (group, place) = (GroupId::decode(r)?, Place::decode(r)?);
        Ok(match tag {
            1 => Piece::Pull { group, place },
            2 => Piece::Given { group, place, last: r.bool()?, body: Bytes::copy_from_slice(r.bytes()?) },
            3 => Piece::BeginAnew { group, place },
            _ => return Err(DecodeError::Invalid("message of a move")),
        })
    }
}

/// One key as it is, or one answer.
#[derive(Debug)]
pub enum Item<'a> {
    Key {
        key: &'a [u8],
        value: Value,
        expires_at_ms: Option<i64>,
    },
    /// Written while the copy was made, and gone.
    Gone {
        key: &'a [u8],
    },
    Answer {
        request: RequestId,
        reply: &'a [u8],
    },
}

pub fn write_key(w: &mut Writer<'_>, key: &[u8], found: Option<Found<'_>>) {
    match found {
        Some(found) => {
            w.u8(1);
            w.bytes(key);
            w.option(found.expires_at_ms, |w, at| w.i64(at));
            found.value.encode(w);
        }
        None => {
            w.u8(2);
            w.bytes(key);
        }
    }
}

pub fn write_answer(w: &mut Writer<'_>, request: RequestId, reply: &[u8]) {
    w.u8(3);
    request.encode(w);
    w.bytes(reply);
}

/// All items of a piece, or none of them.
pub fn items(body: &[u8]) -> Result<Vec<Item<'_>>, DecodeError> {
    let r = &mut Reader::new(body);
    let mut items = Vec::new();
    while !r.is_empty() {
        items.push(match r.u8()? {
            1 => {
                let (key, expires_at_ms) = (r.bytes()?, r.option(|r| r.i64())?);
                Item::Key { key, value: Value::decode(r)?, expires_at_ms }
            }
            2 => Item::Gone { key: r.bytes()? },
            3 => Item::Answer { request: RequestId::decode(r)?, reply: r.bytes()? },
            _ => return Err(DecodeError::Invalid("item of a move")),
        });
    }
    Ok(items)
}
