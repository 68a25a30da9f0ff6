//! The encoded form of contexts, deltas and values: small, and the same bytes for the same state.
//!
//! A message begins with a legend, the actors that it names and its oldest stamp. After it an actor is a small number
//! and a stamp the distance from the oldest one, so that a dot with its stamp takes some eight bytes instead of 32.
//! Numbers are LEB128 without padding, keys ascend strictly: what could be written in two ways is refused in one of
//! them.

use super::dot::{Actor, Dot, Mark};
use super::stamp::Stamp;
use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{GroupId, Incarnation, NodeId};
use crate::value::Blob;
use alloc::vec::Vec;

/// Maps within maps are refused beyond this depth, where they are made and where they are read: a reader recurses. A
/// guess; documents are rarely deeper.
pub const DEPTH_MAX: usize = 8;

/// What the writer of a message gathers first.
#[derive(Default)]
pub struct Legend {
    /// Ascending, each once: nearly always one or a few.
    actors: Vec<Actor>,
    oldest: Option<Stamp>,
    newest: Option<Stamp>,
}

impl Legend {
    /// The newest stamp that is named.
    pub fn newest(&self) -> Option<Stamp> {
        self.newest
    }
    pub fn actor(&mut self, actor: Actor) {
        if let Err(at) = self.actors.binary_search(&actor) {
            self.actors.insert(at, actor);
        }
    }
    pub fn stamp(&mut self, stamp: Stamp) {
        self.oldest = Some(self.oldest.map_or(stamp, |oldest| oldest.min(stamp)));
        self.newest = self.newest.max(Some(stamp));
    }
    pub fn mark(&mut self, mark: Mark) {
        self.actor(mark.dot.actor);
        self.stamp(mark.stamp);
    }
}

/// Writes a message behind its legend.
pub struct Encoder<'a, 'b> {
    writer: &'a mut Writer<'b>,
    /// Sorted.
    actors: Vec<Actor>,
    oldest: Stamp,
}

impl<'a, 'b> Encoder<'a, 'b> {
    pub fn new(writer: &'a mut Writer<'b>, legend: Legend) -> Encoder<'a, 'b> {
        let oldest = legend.oldest.unwrap_or_default();
        let mut encoder = Encoder { writer, actors: legend.actors, oldest };
        encoder.number(encoder.actors.len() as u64);
        for at in 0..encoder.actors.len() {
            let Actor { node, incarnation, shard } = encoder.actors[at];
            encoder.number(u64::from(node.0));
            encoder.number(incarnation.0);
            encoder.number(u64::from(shard.0));
        }
        encoder.number(encoder.oldest.0);
        encoder
    }
    pub fn byte(&mut self, value: u8) {
        self.writer.u8(value);
    }
    pub fn number(&mut self, value: u64) {
        self.wide(u128::from(value));
    }
    /// Small absolute values are short.
    pub fn signed(&mut self, value: i128) {
        self.wide(((value << 1) ^ (value >> 127)) as u128);
    }
    fn wide(&mut self, mut value: u128) {
        while value >= 0x80 {
            self.writer.u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.writer.u8(value as u8);
    }
    pub fn float(&mut self, value: f64) {
        self.writer.f64(value);
    }
    pub fn bytes(&mut self, value: &[u8]) {
        self.writer.bytes(value);
    }
    pub fn actor(&mut self, actor: Actor) {
        let at = self.actors.binary_search(&actor).expect("the legend names every actor");
        self.number(at as u64);
    }
    pub fn stamp(&mut self, stamp: Stamp) {
        self.number(stamp.0 - self.oldest.0);
    }
    pub fn dot(&mut self, dot: Dot) {
        self.actor(dot.actor);
        self.number(dot.counter);
    }
    pub fn mark(&mut self, mark: Mark) {
        self.dot(mark.dot);
        self.stamp(mark.stamp);
    }
}

/// Reads what an [`Encoder`] wrote; no input makes it panic.
pub struct Decoder<'a> {
    reader: Reader<'a>,
    actors: Vec<Actor>,
    oldest: Stamp,
    depth: usize,
}

impl<'a> Decoder<'a> {
    pub fn new(reader: Reader<'a>) -> Result<Decoder<'a>, DecodeError> {
        let mut decoder = Decoder { reader, actors: Vec::new(), oldest: Stamp(0), depth: 0 };
        for _ in 0..decoder.count()? {
            let node = NodeId(decoder.narrow()?);
            let incarnation = Incarnation(decoder.number()?);
            let actor = Actor { node, incarnation, shard: GroupId(decoder.narrow()?) };
            if decoder.actors.last().is_some_and(|last| *last >= actor) {
                return Err(DecodeError::Invalid("order of actors"));
            }
            decoder.actors.push(actor);
        }
        decoder.oldest = Stamp(decoder.number()?);
        Ok(decoder)
    }
    /// Everything must have been read, and the legend be the one of what was read.
    pub fn end(&self, legend: &Legend) -> Result<(), DecodeError> {
        let is_exact =
            self.actors.iter().eq(&legend.actors) && self.oldest == legend.oldest.unwrap_or_default();
        if is_exact { self.reader.end() } else { Err(DecodeError::Invalid("legend")) }
    }
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        self.reader.u8()
    }
    pub fn flag(&mut self) -> Result<bool, DecodeError> {
        self.reader.bool()
    }
    pub fn number(&mut self) -> Result<u64, DecodeError> {
        u64::try_from(self.wide()?).map_err(|_| DecodeError::Invalid("number"))
    }
    fn narrow(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.number()?).map_err(|_| DecodeError::Invalid("number"))
    }
    pub fn signed(&mut self) -> Result<i128, DecodeError> {
        let value = self.wide()?;
        Ok((value >> 1) as i128 ^ -((value & 1) as i128))
    }
    fn wide(&mut self) -> Result<u128, DecodeError> {
        let mut value = 0u128;
        for shift in (0..128).step_by(7) {
            let byte = self.reader.u8()?;
            let bits = u128::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                let is_padded = byte == 0 && shift > 0;
                return if is_padded { Err(DecodeError::Invalid("number")) } else { Ok(value) };
            }
        }
        Err(DecodeError::Invalid("number"))
    }
    /// Of items that take at least a byte each: refused before anything is allocated for more than the input holds.
    pub fn count(&mut self) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.number()?).map_err(|_| DecodeError::Truncated)?;
        if count > self.reader.remaining() { Err(DecodeError::Truncated) } else { Ok(count) }
    }
    /// A number that a score or an amount can have.
    pub fn finite(&mut self) -> Result<f64, DecodeError> {
        let value = self.reader.f64()?;
        if value.is_finite() { Ok(value) } else { Err(DecodeError::Invalid("amount")) }
    }
    pub fn float(&mut self) -> Result<f64, DecodeError> {
        self.reader.f64()
    }
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.count()?;
        self.reader.take(length)
    }
    pub fn actor(&mut self) -> Result<Actor, DecodeError> {
        let at = self.number()?;
        let actor = usize::try_from(at).ok().and_then(|at| self.actors.get(at));
        actor.copied().ok_or(DecodeError::Invalid("actor"))
    }
    pub fn stamp(&mut self) -> Result<Stamp, DecodeError> {
        let distance = self.number()?;
        self.oldest.0.checked_add(distance).map(Stamp).ok_or(DecodeError::Invalid("stamp"))
    }
    pub fn dot(&mut self) -> Result<Dot, DecodeError> {
        let dot = Dot { actor: self.actor()?, counter: self.number()? };
        if dot.counter == 0 { Err(DecodeError::Invalid("dot")) } else { Ok(dot) }
    }
    pub fn mark(&mut self) -> Result<Mark, DecodeError> {
        let dot = self.dot()?;
        Ok(Mark { stamp: self.stamp()?, dot })
    }
    /// The key of a map entry, which must lie above the one before.
    pub fn key_after(&mut self, last: Option<&Blob>) -> Result<Blob, DecodeError> {
        let key = self.bytes()?;
        if last.is_some_and(|last| **last >= *key) {
            return Err(DecodeError::Invalid("order of keys"));
        }
        Ok(key.into())
    }
    /// Reads something that may hold others of its kind.
    pub fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        if self.depth >= DEPTH_MAX {
            return Err(DecodeError::Invalid("depth"));
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }
}
