//! What a command does to the data: small, deterministic, with absolute times and no randomness.
//!
//! A command reads and yields operations; the leader logs them, and every replica applies them with the same function
//! ([`crate::table::Table::apply`]). An operation never fails: what does not fit the value it meets is a broken invariant.

use crate::codec::{DecodeError, Reader, Writer};
use crate::value::{Value, ValueRef};
use alloc::borrow::Cow;
use alloc::vec::Vec;

pub type Bytes<'a> = Cow<'a, [u8]>;

/// What a write does to the key's expiry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expiry {
    /// The key keeps the expiry it has, if any.
    Keep,
    /// The key never expires.
    Never,
    /// The key expires at this wall time in milliseconds since 1970.
    At(i64),
}

/// Which end of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Front,
    Back,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Operation<'a> {
    /// The key becomes a string with this value, whatever it was.
    Set {
        key: Bytes<'a>,
        value: Bytes<'a>,
        expiry: Expiry,
    },
    /// The key becomes this whole value, whatever it was (RENAME, COPY, the STORE forms).
    Put {
        key: Bytes<'a>,
        value: Value,
        expiry: Expiry,
    },
    /// The key goes, if it is there.
    Delete {
        key: Bytes<'a>,
    },
    /// The key goes because its time came, if it is there and its expiry is not after `at_ms`. Only the leader says so.
    Expire {
        key: Bytes<'a>,
        at_ms: i64,
    },
    /// The key's expiry is replaced; `None` removes it.
    ExpireAt {
        key: Bytes<'a>,
        at_ms: Option<i64>,
    },
    /// Bytes are written into a string at an offset; a gap is filled with zeros; a missing key starts empty.
    StringWrite {
        key: Bytes<'a>,
        offset: u64,
        bytes: Bytes<'a>,
    },
    /// Adds to a string that holds a decimal integer; a missing key counts as 0. The expiry stays.
    CounterAdd {
        key: Bytes<'a>,
        delta: i64,
    },
    HashSet {
        key: Bytes<'a>,
        fields: Vec<(Bytes<'a>, Bytes<'a>)>,
    },
    HashRemove {
        key: Bytes<'a>,
        fields: Vec<Bytes<'a>>,
    },
    /// Adds to a field that holds a decimal integer; a missing field counts as 0.
    HashCounterAdd {
        key: Bytes<'a>,
        field: Bytes<'a>,
        delta: i64,
    },
    /// Elements are pushed one after the other: the last one ends up at the very end.
    ListPush {
        key: Bytes<'a>,
        end: End,
        elements: Vec<Bytes<'a>>,
    },
    ListPop {
        key: Bytes<'a>,
        end: End,
        count: u64,
    },
    ListSet {
        key: Bytes<'a>,
        at: u64,
        element: Bytes<'a>,
    },
    /// Inserts before the place `at`.
    ListInsert {
        key: Bytes<'a>,
        at: u64,
        element: Bytes<'a>,
    },
    /// Removes the elements at these places, which ascend.
    ListRemove {
        key: Bytes<'a>,
        places: Vec<u64>,
    },
    SetAdd {
        key: Bytes<'a>,
        members: Vec<Bytes<'a>>,
    },
    SetRemove {
        key: Bytes<'a>,
        members: Vec<Bytes<'a>>,
    },
    ZSetAdd {
        key: Bytes<'a>,
        members: Vec<(Bytes<'a>, f64)>,
    },
    /// Adds to a member's score; a missing member counts as 0.
    ZSetIncrement {
        key: Bytes<'a>,
        member: Bytes<'a>,
        by: f64,
    },
    ZSetRemove {
        key: Bytes<'a>,
        members: Vec<Bytes<'a>>,
    },
    /// `from` takes the name `to`, value and expiry; what `to` held goes.
    Rename {
        from: Bytes<'a>,
        to: Bytes<'a>,
    },
    /// The whole keyspace becomes empty.
    Flush,
}

impl Operation<'_> {
    /// The keys that the operation changes; two for a rename, none for a flush.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        use Operation as O;
        let (first, second): (Option<&[u8]>, Option<&[u8]>) = match self {
            O::Set { key, .. }
            | O::Put { key, .. }
            | O::Delete { key }
            | O::Expire { key, .. }
            | O::ExpireAt { key, .. }
            | O::StringWrite { key, .. }
            | O::CounterAdd { key, .. }
            | O::HashSet { key, .. }
            | O::HashRemove { key, .. }
            | O::HashCounterAdd { key, .. }
            | O::ListPush { key, .. }
            | O::ListPop { key, .. }
            | O::ListSet { key, .. }
            | O::ListInsert { key, .. }
            | O::ListRemove { key, .. }
            | O::SetAdd { key, .. }
            | O::SetRemove { key, .. }
            | O::ZSetAdd { key, .. }
            | O::ZSetIncrement { key, .. }
            | O::ZSetRemove { key, .. } => (Some(key), None),
            O::Rename { from, to } => (Some(from), Some(to)),
            O::Flush => (None, None),
        };
        first.into_iter().chain(second)
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        use Operation as O;
        let item = |w: &mut Writer<'_>, b: &Bytes<'_>| w.bytes(b);
        match self {
            O::Set { key, value, expiry } => {
                w.u8(1);
                w.bytes(key);
                w.bytes(value);
                encode_expiry(w, *expiry);
            }
            O::Put { key, value, expiry } => {
                w.u8(2);
                w.bytes(key);
                value.as_ref().encode(w);
                encode_expiry(w, *expiry);
            }
            O::Delete { key } => {
                w.u8(3);
                w.bytes(key);
            }
            O::Expire { key, at_ms } => {
                w.u8(4);
                w.bytes(key);
                w.i64(*at_ms);
            }
            O::ExpireAt { key, at_ms } => {
                w.u8(5);
                w.bytes(key);
                w.option(*at_ms, |w, at| w.i64(at));
            }
            O::StringWrite { key, offset, bytes } => {
                w.u8(6);
                w.bytes(key);
                w.u64(*offset);
                w.bytes(bytes);
            }
            O::CounterAdd { key, delta } => {
                w.u8(7);
                w.bytes(key);
                w.i64(*delta);
            }
            O::HashSet { key, fields } => {
                w.u8(8);
                w.bytes(key);
                w.list(fields, |w, (field, value)| {
                    w.bytes(field);
                    w.bytes(value);
                });
            }
            O::HashRemove { key, fields } => {
                w.u8(9);
                w.bytes(key);
                w.list(fields, item);
            }
            O::HashCounterAdd { key, field, delta } => {
                w.u8(10);
                w.bytes(key);
                w.bytes(field);
                w.i64(*delta);
            }
            O::ListPush { key, end, elements } => {
                w.u8(11);
                w.bytes(key);
                encode_end(w, *end);
                w.list(elements, item);
            }
            O::ListPop { key, end, count } => {
                w.u8(12);
                w.bytes(key);
                encode_end(w, *end);
                w.u64(*count);
            }
            O::ListSet { key, at, element } => {
                w.u8(13);
                w.bytes(key);
                w.u64(*at);
                w.bytes(element);
            }
            O::ListInsert { key, at, element } => {
                w.u8(14);
                w.bytes(key);
                w.u64(*at);
                w.bytes(element);
            }
            O::ListRemove { key, places } => {
                w.u8(15);
                w.bytes(key);
                w.list(places, |w, at| w.u64(*at));
            }
            O::SetAdd { key, members } => {
                w.u8(16);
                w.bytes(key);
                w.list(members, item);
            }
            O::SetRemove { key, members } => {
                w.u8(17);
                w.bytes(key);
                w.list(members, item);
            }
            O::ZSetAdd { key, members } => {
                w.u8(18);
                w.bytes(key);
                w.list(members, |w, (member, score)| {
                    w.bytes(member);
                    w.f64(*score);
                });
            }
            O::ZSetIncrement { key, member, by } => {
                w.u8(19);
                w.bytes(key);
                w.bytes(member);
                w.f64(*by);
            }
            O::ZSetRemove { key, members } => {
                w.u8(20);
                w.bytes(key);
                w.list(members, item);
            }
            O::Rename { from, to } => {
                w.u8(21);
                w.bytes(from);
                w.bytes(to);
            }
            O::Flush => w.u8(22),
        }
    }

    /// Reads an operation; the bytes it names stay borrowed from the input.
    pub fn decode<'a>(r: &mut Reader<'a>) -> Result<Operation<'a>, DecodeError> {
        use Operation as O;
        let tag = r.u8()?;
        if tag == 22 {
            return Ok(O::Flush);
        }
        let key = r.cow()?;
        Ok(match tag {
            1 => O::Set { key, value: r.cow()?, expiry: decode_expiry(r)? },
            2 => O::Put { key, value: Value::decode(r)?, expiry: decode_expiry(r)? },
            3 => O::Delete { key },
            4 => O::Expire { key, at_ms: r.i64()? },
            5 => O::ExpireAt { key, at_ms: r.option(|r| r.i64())? },
            6 => O::StringWrite { key, offset: r.u64()?, bytes: r.cow()? },
            7 => O::CounterAdd { key, delta: r.i64()? },
            8 => O::HashSet { key, fields: r.list(|r| Ok((r.cow()?, r.cow()?)))? },
            9 => O::HashRemove { key, fields: r.list(|r| r.cow())? },
            10 => O::HashCounterAdd { key, field: r.cow()?, delta: r.i64()? },
            11 => O::ListPush { key, end: decode_end(r)?, elements: r.list(|r| r.cow())? },
            12 => O::ListPop { key, end: decode_end(r)?, count: r.u64()? },
            13 => O::ListSet { key, at: r.u64()?, element: r.cow()? },
            14 => O::ListInsert { key, at: r.u64()?, element: r.cow()? },
            15 => O::ListRemove { key, places: decode_places(r)? },
            16 => O::SetAdd { key, members: r.list(|r| r.cow())? },
            17 => O::SetRemove { key, members: r.list(|r| r.cow())? },
            18 => O::ZSetAdd { key, members: r.list(|r| Ok((r.cow()?, decode_score(r)?)))? },
            19 => O::ZSetIncrement { key, member: r.cow()?, by: decode_score(r)? },
            20 => O::ZSetRemove { key, members: r.list(|r| r.cow())? },
            21 => O::Rename { from: key, to: r.cow()? },
            _ => return Err(DecodeError::Invalid("operation")),
        })
    }
}

fn encode_expiry(w: &mut Writer<'_>, expiry: Expiry) {
    match expiry {
        Expiry::Keep => w.u8(0),
        Expiry::Never => w.u8(1),
        Expiry::At(at_ms) => {
            w.u8(2);
            w.i64(at_ms);
        }
    }
}
fn decode_expiry(r: &mut Reader<'_>) -> Result<Expiry, DecodeError> {
    Ok(match r.u8()? {
        0 => Expiry::Keep,
        1 => Expiry::Never,
        2 => Expiry::At(r.i64()?),
        _ => return Err(DecodeError::Invalid("expiry")),
    })
}
fn decode_score(r: &mut Reader<'_>) -> Result<f64, DecodeError> {
    let score = r.f64()?;
    if score.is_nan() { Err(DecodeError::Invalid("score")) } else { Ok(score) }
}
fn decode_places(r: &mut Reader<'_>) -> Result<Vec<u64>, DecodeError> {
    let places = r.list(|r| r.u64())?;
    if places.is_sorted_by(|a, b| a < b) { Ok(places) } else { Err(DecodeError::Invalid("order of places")) }
}
fn encode_end(w: &mut Writer<'_>, end: End) {
    w.u8(match end {
        End::Front => 0,
        End::Back => 1,
    });
}
fn decode_end(r: &mut Reader<'_>) -> Result<End, DecodeError> {
    match r.u8()? {
        0 => Ok(End::Front),
        1 => Ok(End::Back),
        _ => Err(DecodeError::Invalid("end of list")),
    }
}

/// The image that a row carries beside an operation: what the changed key held before it.
///
/// Values beyond [`BEFORE_BYTES_MAX`] are named by kind and length only: a log that copied a list of millions for each
/// DEL would be all images.
#[derive(Clone, PartialEq, Debug)]
pub enum Before<'a> {
    /// The key did not exist (or the operation touches no key).
    Absent,
    /// A string's bytes, or the touched element's, with the key's expiry.
    Bytes { bytes: Bytes<'a>, expires_at_ms: Option<i64> },
    /// A collection, or too large to copy: kind, number of members or bytes, expiry.
    Summary { kind: u8, len: u64, expires_at_ms: Option<i64> },
}

/// A guess: one flush of 4 KiB costs as much as one of a byte.
pub const BEFORE_BYTES_MAX: usize = 4096;

impl<'a> Before<'a> {
    /// The image of what a key holds now.
    pub fn of(found: Option<(ValueRef<'a>, Option<i64>)>) -> Before<'a> {
        match found {
            None => Before::Absent,
            Some((ValueRef::String(bytes), expires_at_ms)) if bytes.len() <= BEFORE_BYTES_MAX => {
                Before::Bytes { bytes: Cow::Borrowed(bytes), expires_at_ms }
            }
            Some((value, expires_at_ms)) => {
                Before::Summary { kind: value.kind() as u8, len: value.len() as u64, expires_at_ms }
            }
        }
    }
    pub fn encode(&self, w: &mut Writer<'_>) {
        match self {
            Before::Absent => w.u8(0),
            Before::Bytes { bytes, expires_at_ms } => {
                w.u8(1);
                w.bytes(bytes);
                w.option(*expires_at_ms, |w, at| w.i64(at));
            }
            Before::Summary { kind, len, expires_at_ms } => {
                w.u8(2);
                w.u8(*kind);
                w.u64(*len);
                w.option(*expires_at_ms, |w, at| w.i64(at));
            }
        }
    }
    pub fn decode(r: &mut Reader<'a>) -> Result<Before<'a>, DecodeError> {
        Ok(match r.u8()? {
            0 => Before::Absent,
            1 => Before::Bytes { bytes: r.cow()?, expires_at_ms: r.option(|r| r.i64())? },
            2 => Before::Summary { kind: r.u8()?, len: r.u64()?, expires_at_ms: r.option(|r| r.i64())? },
            _ => return Err(DecodeError::Invalid("before image")),
        })
    }
}
