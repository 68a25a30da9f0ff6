//! Plain values: what a key holds in a single-leader keyspace.
//!
//! Iteration order is part of the value (insertion order, sorted order), never an accident of hashing: two replicas that
//! applied the same operations list the same members in the same order.

mod hash;
mod list;
mod set;
mod zset;

pub use hash::Hash;
pub use list::List;
pub use set::Set;
pub use zset::{ScoreBound, ZSet};

use crate::codec::{DecodeError, Reader, Writer};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// A member, field, element or value: owned bytes.
pub type Blob = Box<[u8]>;

/// What Redis calls the type of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    String,
    Hash,
    List,
    Set,
    ZSet,
}

impl Kind {
    /// The word that `TYPE` answers.
    pub fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::Hash => "hash",
            Kind::List => "list",
            Kind::Set => "set",
            Kind::ZSet => "zset",
        }
    }
}

/// A whole owned value. Collections are never empty: the key goes with its last member.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    String(Blob),
    Hash(Box<Hash>),
    List(Box<List>),
    Set(Box<Set>),
    ZSet(Box<ZSet>),
}

/// A borrowed view of a value as the table holds it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum ValueRef<'a> {
    String(&'a [u8]),
    Hash(&'a Hash),
    List(&'a List),
    Set(&'a Set),
    ZSet(&'a ZSet),
}

impl Value {
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Value::String(v) => ValueRef::String(v),
            Value::Hash(v) => ValueRef::Hash(v),
            Value::List(v) => ValueRef::List(v),
            Value::Set(v) => ValueRef::Set(v),
            Value::ZSet(v) => ValueRef::ZSet(v),
        }
    }
    /// Reads what [`ValueRef::encode`] wrote; a collection without members is refused.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
        let value = match reader.u8()? {
            0 => Value::String(reader.bytes()?.into()),
            1 => {
                let mut hash = Hash::new();
                for _ in 0..reader.count()? {
                    let field = reader.bytes()?;
                    hash.set(field, reader.bytes()?);
                }
                Value::Hash(Box::new(hash))
            }
            2 => {
                let mut list = List::new();
                for _ in 0..reader.count()? {
                    list.push_back(reader.bytes()?);
                }
                Value::List(Box::new(list))
            }
            3 => {
                let mut set = Set::new();
                for _ in 0..reader.count()? {
                    set.add(reader.bytes()?);
                }
                Value::Set(Box::new(set))
            }
            4 => {
                let mut zset = ZSet::new();
                for _ in 0..reader.count()? {
                    let member = reader.bytes()?;
                    let score = reader.f64()?;
                    if score.is_nan() {
                        return Err(DecodeError::Invalid("score"));
                    }
                    zset.set(member, score);
                }
                Value::ZSet(Box::new(zset))
            }
            _ => return Err(DecodeError::Invalid("value kind")),
        };
        match value {
            Value::String(_) => Ok(value),
            _ if value.as_ref().is_empty() => Err(DecodeError::Invalid("empty collection")),
            _ => Ok(value),
        }
    }
}

impl<'a> ValueRef<'a> {
    pub fn kind(self) -> Kind {
        match self {
            ValueRef::String(_) => Kind::String,
            ValueRef::Hash(_) => Kind::Hash,
            ValueRef::List(_) => Kind::List,
            ValueRef::Set(_) => Kind::Set,
            ValueRef::ZSet(_) => Kind::ZSet,
        }
    }
    /// Members of a collection, bytes of a string.
    pub fn len(self) -> usize {
        match self {
            ValueRef::String(v) => v.len(),
            ValueRef::Hash(v) => v.len(),
            ValueRef::List(v) => v.len(),
            ValueRef::Set(v) => v.len(),
            ValueRef::ZSet(v) => v.len(),
        }
    }
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
    pub fn to_value(self) -> Value {
        match self {
            ValueRef::String(v) => Value::String(v.into()),
            ValueRef::Hash(v) => Value::Hash(Box::new(v.clone())),
            ValueRef::List(v) => Value::List(Box::new(v.clone())),
            ValueRef::Set(v) => Value::Set(Box::new(v.clone())),
            ValueRef::ZSet(v) => Value::ZSet(Box::new(v.clone())),
        }
    }
    /// The form in snapshots, before-images and `Put` operations. Member order is kept.
    pub fn encode(self, writer: &mut Writer<'_>) {
        match self {
            ValueRef::String(v) => {
                writer.u8(0);
                writer.bytes(v);
            }
            ValueRef::Hash(v) => {
                writer.u8(1);
                writer.length(v.len());
                for (field, value) in v.iter() {
                    writer.bytes(field);
                    writer.bytes(value);
                }
            }
            ValueRef::List(v) => {
                writer.u8(2);
                writer.length(v.len());
                for element in v.iter() {
                    writer.bytes(element);
                }
            }
            ValueRef::Set(v) => {
                writer.u8(3);
                writer.length(v.len());
                for member in v.iter() {
                    writer.bytes(member);
                }
            }
            ValueRef::ZSet(v) => {
                writer.u8(4);
                writer.length(v.len());
                // In insertion order of the member index, so that random choice agrees on all replicas.
                for (member, score) in v.iter_members() {
                    writer.bytes(member);
                    writer.f64(score);
                }
            }
        }
    }
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode(&mut Writer::new(&mut bytes));
        bytes
    }
}
