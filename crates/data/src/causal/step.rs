//! What changes a copy, as its log records it and other copies send it.

use super::context::Context;
use super::object::Object;
use super::shard::{Entry, Held, KeyState};
use super::store::{Causal, decode_store, encode_store};
use super::tree::Span;
use crate::codec::{DecodeError, Reader, Writer};
use crate::value::Blob;
use alloc::vec::Vec;

/// One change of a [`super::ShardCopy`].
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// What one write did.
    Delta { key: Blob, delta: Causal<Object> },
    /// A key as one or several copies know it, and their contexts together.
    Key { entry: Entry, theirs: Context },
    /// All keys of a span as another copy holds them; who is not named is not there.
    Span { span: Span, entries: Vec<Entry>, theirs: Context },
    /// A copy whose objects are all equal to this one's has this context.
    Take { theirs: Context },
    /// A walk over a copy begins; this was its context then.
    Begin { theirs: Context },
    /// The walk has joined all keys of the span, or found them equal.
    Pass { span: Span },
    /// The walk has passed all spans.
    Finish,
    /// The walk came to no end.
    Abandon,
    /// Decisions on conflicts of a key go, so many of them unasked.
    Forget { key: Blob, decisions: Context, dropped: u64 },
    /// A barrier has passed: this residue goes, where it is residue still.
    Collect { dots: Context },
}

impl Step {
    pub fn encode(&self, writer: &mut Writer<'_>) {
        match self {
            Step::Delta { key, delta } => {
                writer.u8(1);
                write_delta(writer, key, delta);
            }
            Step::Key { entry, theirs } => {
                writer.u8(2);
                write_entry(writer, &entry.key, &entry.held);
                write_context(writer, theirs);
            }
            Step::Span { span, entries, theirs } => {
                writer.u8(3);
                span.encode(writer);
                writer.list(entries, |writer, entry| write_entry(writer, &entry.key, &entry.held));
                write_context(writer, theirs);
            }
            Step::Take { theirs } => {
                writer.u8(4);
                write_context(writer, theirs);
            }
            Step::Begin { theirs } => {
                writer.u8(5);
                write_context(writer, theirs);
            }
            Step::Pass { span } => {
                writer.u8(6);
                span.encode(writer);
            }
            Step::Finish => writer.u8(7),
            Step::Abandon => writer.u8(8),
            Step::Forget { key, decisions, dropped } => {
                writer.u8(9);
                writer.bytes(key);
                write_context(writer, decisions);
                writer.u64(*dropped);
            }
            Step::Collect { dots } => {
                writer.u8(10);
                write_context(writer, dots);
            }
        }
    }
    /// # Errors
    /// When the bytes are not what [`Step::encode`] writes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Step, DecodeError> {
        Ok(match reader.u8()? {
            1 => {
                let (key, delta) = read_delta(reader)?;
                Step::Delta { key, delta }
            }
            2 => Step::Key { entry: read_entry(reader)?, theirs: read_context(reader)? },
            3 => {
                let span = Span::decode(reader)?;
                let entries = reader.list(read_entry)?;
                Step::Span { span, entries, theirs: read_context(reader)? }
            }
            4 => Step::Take { theirs: read_context(reader)? },
            5 => Step::Begin { theirs: read_context(reader)? },
            6 => Step::Pass { span: Span::decode(reader)? },
            7 => Step::Finish,
            8 => Step::Abandon,
            9 => Step::Forget {
                key: reader.bytes()?.into(),
                decisions: read_context(reader)?,
                dropped: reader.u64()?,
            },
            10 => Step::Collect { dots: read_context(reader)? },
            _ => return Err(DecodeError::Invalid("step")),
        })
    }
}

impl KeyState {
    pub fn encode(&self, writer: &mut Writer<'_>) {
        write_held(writer, &self.held);
        write_context(writer, &self.context);
    }
    /// # Errors
    /// When the bytes are not what [`KeyState::encode`] writes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<KeyState, DecodeError> {
        Ok(KeyState { held: read_held(reader)?, context: read_context(reader)? })
    }
}

/// Writes something behind its length, which is known only then. Nearly all of it is short: then nothing is moved.
fn framed(writer: &mut Writer<'_>, write: impl FnOnce(&mut Writer<'_>)) {
    let at = writer.buffer.len();
    writer.u8(0);
    write(writer);
    let length = writer.buffer.len() - at - 1;
    if length < 0x80 {
        writer.buffer[at] = length as u8;
    } else {
        let mut head = Vec::new();
        Writer::new(&mut head).length(length);
        writer.buffer.splice(at..=at, head);
    }
}

pub fn write_delta(writer: &mut Writer<'_>, key: &[u8], delta: &Causal<Object>) {
    writer.bytes(key);
    framed(writer, |writer| delta.encode(writer));
}

/// # Errors
/// When the bytes are not what [`write_delta`] writes.
pub fn read_delta(reader: &mut Reader<'_>) -> Result<(Blob, Causal<Object>), DecodeError> {
    Ok((reader.bytes()?.into(), Causal::decode(reader.bytes()?)?))
}

/// Writes a context behind its length.
pub fn write_context(writer: &mut Writer<'_>, context: &Context) {
    framed(writer, |writer| context.encode(writer));
}

/// # Errors
/// When the bytes are not what [`write_context`] writes.
pub fn read_context(reader: &mut Reader<'_>) -> Result<Context, DecodeError> {
    Context::decode(reader.bytes()?)
}

fn write_held(writer: &mut Writer<'_>, held: &Held) {
    framed(writer, |writer| encode_store(&held.object, writer));
    write_context(writer, &held.recent);
}

fn read_held(reader: &mut Reader<'_>) -> Result<Held, DecodeError> {
    Ok(Held { object: decode_store(reader.bytes()?)?, recent: read_context(reader)? })
}

pub(super) fn write_entry(writer: &mut Writer<'_>, key: &[u8], held: &Held) {
    writer.bytes(key);
    write_held(writer, held);
}

impl Entry {
    pub fn encode(&self, writer: &mut Writer<'_>) {
        write_entry(writer, &self.key, &self.held);
    }
    /// # Errors
    /// When the bytes are not what [`Entry::encode`] writes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Entry, DecodeError> {
        read_entry(reader)
    }
}

pub(super) fn read_entry(reader: &mut Reader<'_>) -> Result<Entry, DecodeError> {
    Ok(Entry { key: reader.bytes()?.into(), held: read_held(reader)? })
}
