//! Encoded forms of wishes and what they come to, as nodes send them to each other and logs record them.

use super::{Outcome, Unfit, Wish};
use crate::causal::amount::Amount;
use crate::causal::conflict::Version;
use crate::causal::expiry::Deadline;
use crate::causal::store::Causal;
use crate::causal::zset::Score;
use crate::codec::{DecodeError, Reader, Writer};
use crate::operation::{End, Expiry};
use crate::registers::{REGISTERS, VALUE_MAX};
use crate::value::Blob;
use alloc::vec::Vec;

fn blobs(writer: &mut Writer<'_>, blobs: &[Blob]) {
    writer.list(blobs, |writer, blob| writer.bytes(blob));
}

fn read_blob(reader: &mut Reader<'_>) -> Result<Blob, DecodeError> {
    Ok(reader.bytes()?.into())
}

fn read_blobs(reader: &mut Reader<'_>) -> Result<Vec<Blob>, DecodeError> {
    reader.list(read_blob)
}

fn read_score(reader: &mut Reader<'_>) -> Result<(Blob, Score), DecodeError> {
    let member = read_blob(reader)?;
    let score = reader.f64()?;
    let is_minus_zero = score == 0.0 && score.is_sign_negative();
    let score = Score::new(score).filter(|_| !is_minus_zero).ok_or(DecodeError::Invalid("score"))?;
    Ok((member, score))
}

fn read_point(reader: &mut Reader<'_>) -> Result<(u16, u8), DecodeError> {
    let (at, value) = (reader.u16()?, reader.u8()?);
    let is_one = usize::from(at) < REGISTERS && (1..=VALUE_MAX).contains(&value);
    if is_one { Ok((at, value)) } else { Err(DecodeError::Invalid("register")) }
}

impl Wish {
    pub fn encode(&self, writer: &mut Writer<'_>) {
        match self {
            Wish::Set { value, expiry } => {
                writer.u8(1);
                writer.bytes(value);
                match expiry {
                    Expiry::Keep => writer.u8(0),
                    Expiry::Never => writer.u8(1),
                    Expiry::At(at_ms) => {
                        writer.u8(2);
                        writer.i64(*at_ms);
                    }
                }
            }
            Wish::SetOver { seen, value } => {
                writer.u8(2);
                let mut bytes = Vec::new();
                seen.encode(&mut Writer::new(&mut bytes));
                writer.bytes(&bytes);
                writer.bytes(value);
            }
            Wish::Increment { by } => {
                writer.u8(3);
                by.write(writer);
            }
            Wish::IncrementFloat { by } => {
                writer.u8(4);
                by.write(writer);
            }
            Wish::SetAdd { members } => {
                writer.u8(5);
                blobs(writer, members);
            }
            Wish::SetRemove { members } => {
                writer.u8(6);
                blobs(writer, members);
            }
            Wish::HashSet { fields } => {
                writer.u8(7);
                writer.list(fields, |writer, (field, value)| {
                    writer.bytes(field);
                    writer.bytes(value);
                });
            }
            Wish::HashIncrement { field, by } => {
                writer.u8(8);
                writer.bytes(field);
                by.write(writer);
            }
            Wish::HashIncrementFloat { field, by } => {
                writer.u8(9);
                writer.bytes(field);
                by.write(writer);
            }
            Wish::HashRemove { fields } => {
                writer.u8(10);
                blobs(writer, fields);
            }
            Wish::ZSetSet { members } => {
                writer.u8(11);
                writer.list(members, |writer, (member, score)| {
                    writer.bytes(member);
                    writer.f64(score.value());
                });
            }
            Wish::ZSetIncrement { member, by } => {
                writer.u8(12);
                writer.bytes(member);
                by.write(writer);
            }
            Wish::ZSetRemove { members } => {
                writer.u8(13);
                blobs(writer, members);
            }
            Wish::ListPush { end, elements } => {
                writer.u8(14);
                writer.bool(*end == End::Back);
                blobs(writer, elements);
            }
            Wish::ListInsert { after, pivot, element } => {
                writer.u8(15);
                writer.bool(*after);
                writer.bytes(pivot);
                writer.bytes(element);
            }
            Wish::ListRemove { count, element } => {
                writer.u8(16);
                writer.i64(*count);
                writer.bytes(element);
            }
            Wish::Expire { deadline } => {
                writer.u8(17);
                let at_ms = match deadline {
                    Deadline::At(at_ms) => Some(*at_ms),
                    Deadline::Never => None,
                };
                writer.option(at_ms, Writer::i64);
            }
            Wish::Delete => writer.u8(18),
            Wish::Settle { path, versions, value, by } => {
                writer.u8(19);
                blobs(writer, path);
                writer.list(versions, |writer, version| version.encode(writer));
                writer.option(value.as_ref(), |writer, value| writer.bytes(value));
                writer.bytes(by);
            }
            Wish::Forget { decisions } => {
                writer.u8(20);
                crate::causal::write_context(writer, decisions);
            }
            Wish::Raise { points } => {
                writer.u8(21);
                writer.list(points, |writer, (at, value)| {
                    writer.u16(*at);
                    writer.u8(*value);
                });
            }
        }
    }
    /// # Errors
    /// When the bytes are not what [`Wish::encode`] writes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Wish, DecodeError> {
        Ok(match reader.u8()? {
            1 => {
                let value = read_blob(reader)?;
                let expiry = match reader.u8()? {
                    0 => Expiry::Keep,
                    1 => Expiry::Never,
                    2 => Expiry::At(reader.i64()?),
                    _ => return Err(DecodeError::Invalid("expiry")),
                };
                Wish::Set { value, expiry }
            }
            2 => Wish::SetOver { seen: Causal::decode(reader.bytes()?)?, value: read_blob(reader)? },
            3 => Wish::Increment { by: Amount::read(reader)? },
            4 => Wish::IncrementFloat { by: Amount::read(reader)? },
            5 => Wish::SetAdd { members: read_blobs(reader)? },
            6 => Wish::SetRemove { members: read_blobs(reader)? },
            7 => {
                Wish::HashSet { fields: reader.list(|reader| Ok((read_blob(reader)?, read_blob(reader)?)))? }
            }
            8 => Wish::HashIncrement { field: read_blob(reader)?, by: Amount::read(reader)? },
            9 => Wish::HashIncrementFloat { field: read_blob(reader)?, by: Amount::read(reader)? },
            10 => Wish::HashRemove { fields: read_blobs(reader)? },
            11 => Wish::ZSetSet { members: reader.list(read_score)? },
            12 => Wish::ZSetIncrement { member: read_blob(reader)?, by: Amount::read(reader)? },
            13 => Wish::ZSetRemove { members: read_blobs(reader)? },
            14 => {
                let end = if reader.bool()? { End::Back } else { End::Front };
                Wish::ListPush { end, elements: read_blobs(reader)? }
            }
            15 => {
                let after = reader.bool()?;
                Wish::ListInsert { after, pivot: read_blob(reader)?, element: read_blob(reader)? }
            }
            16 => Wish::ListRemove { count: reader.i64()?, element: read_blob(reader)? },
            17 => {
                let deadline = reader.option(Reader::i64)?.map_or(Deadline::Never, Deadline::At);
                Wish::Expire { deadline }
            }
            18 => Wish::Delete,
            19 => Wish::Settle {
                path: read_blobs(reader)?,
                versions: reader.list(Version::decode)?,
                value: reader.option(read_blob)?,
                by: read_blob(reader)?,
            },
            20 => Wish::Forget { decisions: crate::causal::read_context(reader)? },
            21 => Wish::Raise { points: reader.list(read_point)? },
            _ => return Err(DecodeError::Invalid("wish")),
        })
    }
}

impl Outcome {
    pub fn encode(self, writer: &mut Writer<'_>) {
        match self {
            Outcome::Done => writer.u8(1),
            Outcome::Count(count) => {
                writer.u8(2);
                writer.u64(count);
            }
            Outcome::Scored { added, changed } => {
                writer.u8(3);
                writer.u64(added);
                writer.u64(changed);
            }
            Outcome::Length(length) => {
                writer.u8(4);
                writer.u64(length);
            }
            Outcome::NoPivot => writer.u8(5),
            Outcome::Total(total) => {
                writer.u8(6);
                writer.i64(total);
            }
            Outcome::Number(number) => {
                writer.u8(7);
                writer.f64(number);
            }
        }
    }
    /// # Errors
    /// When the bytes are not what [`Outcome::encode`] writes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Outcome, DecodeError> {
        Ok(match reader.u8()? {
            1 => Outcome::Done,
            2 => Outcome::Count(reader.u64()?),
            3 => Outcome::Scored { added: reader.u64()?, changed: reader.u64()? },
            4 => Outcome::Length(reader.u64()?),
            5 => Outcome::NoPivot,
            6 => Outcome::Total(reader.i64()?),
            7 => {
                let number = reader.f64()?;
                if number.is_nan() {
                    return Err(DecodeError::Invalid("number"));
                }
                Outcome::Number(number)
            }
            _ => return Err(DecodeError::Invalid("outcome")),
        })
    }
}

impl Unfit {
    const ALL: [Unfit; 9] = [
        Unfit::WrongType,
        Unfit::NotInteger,
        Unfit::FieldNotInteger,
        Unfit::NotFloat,
        Unfit::FieldNotFloat,
        Unfit::Overflow,
        Unfit::Infinite,
        Unfit::Siblings,
        Unfit::Linearizable,
    ];

    pub fn encode(self, writer: &mut Writer<'_>) {
        writer.u8(match self {
            Unfit::WrongType => 0,
            Unfit::NotInteger => 1,
            Unfit::FieldNotInteger => 2,
            Unfit::NotFloat => 3,
            Unfit::FieldNotFloat => 4,
            Unfit::Overflow => 5,
            Unfit::Infinite => 6,
            Unfit::Siblings => 7,
            Unfit::Linearizable => 8,
        });
    }
    /// # Errors
    /// When the byte is not what [`Unfit::encode`] writes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Unfit, DecodeError> {
        let at = usize::from(reader.u8()?);
        Unfit::ALL.get(at).copied().ok_or(DecodeError::Invalid("reason"))
    }
}
