//! An entry in physical format: every key that it changed, as it is behind it, in the bytes of the engine.
//!
//! ```text
//! size  field
//!    8  digest of the key's image before the entry, 0 if it was absent
//!    1  whether the key is there behind it
//!    -  its image (key, expiry, value: as in snapshots), or the key alone
//! ```
//!
//! Nothing is executed and nothing is looked up: a copy puts the bytes in place. That ties it to the engine's format, whose number
//! every entry carries. A value costs its whole length, however small the change.
// catalogue: D4 D5

use alloc::vec::Vec;
use data::codec::{DecodeError, Reader, Writer};
use data::log_format::ENGINE_FORMAT;
use data::operation::{Expiry, Operation};
use data::table::Table;
use data::value::Value;

#[derive(Clone)]
pub struct Images<'a> {
    /// Every key went first.
    pub flushed: bool,
    images: Reader<'a>,
}

/// A key behind the entry.
pub struct Image<'a> {
    pub key: &'a [u8],
    /// [`Table::image_digest`] before the entry.
    pub before: u64,
    /// What it holds, and until when; nothing if it is gone.
    pub value: Option<(Value, Option<i64>)>,
}

pub(crate) fn write_start(w: &mut Writer<'_>, flushed: bool) {
    w.u16(ENGINE_FORMAT);
    w.bool(flushed);
}

pub(crate) fn write_image(out: &mut Vec<u8>, table: &Table, key: &[u8], before: u64) {
    let mut w = Writer::new(out);
    w.u64(before);
    w.bool(true);
    let there = out.len();
    if !table.image(key, out) {
        out[there - 1] = 0;
        Writer::new(out).bytes(key);
    }
}

impl<'a> Images<'a> {
    /// An entry of another format's number is not read: its bytes may mean anything.
    pub(super) fn parse(mut r: Reader<'a>) -> Result<Images<'a>, DecodeError> {
        if r.u16()? != ENGINE_FORMAT {
            return Err(DecodeError::Invalid("number of the engine's format"));
        }
        Ok(Images { flushed: r.bool()?, images: r })
    }
    /// The next image, `None` at the end.
    pub fn next_image(&mut self) -> Result<Option<Image<'a>>, DecodeError> {
        let r = &mut self.images;
        if r.is_empty() {
            return Ok(None);
        }
        let (before, there) = (r.u64()?, r.bool()?);
        let key = r.bytes()?;
        if !there {
            return Ok(Some(Image { key, before, value: None }));
        }
        let expires_at_ms = r.option(|r| r.i64())?;
        Ok(Some(Image { key, before, value: Some((Value::decode(r)?, expires_at_ms)) }))
    }
    pub fn all(mut self) -> Result<Vec<Image<'a>>, DecodeError> {
        let mut images = Vec::new();
        while let Some(image) = self.next_image()? {
            images.push(image);
        }
        Ok(images)
    }
}

impl<'a> Image<'a> {
    /// The operation that puts it in place.
    pub fn operation(&self) -> Operation<'a> {
        let key = self.key.into();
        match &self.value {
            None => Operation::Delete { key },
            Some((value, expires_at_ms)) => {
                let expiry = expires_at_ms.map_or(Expiry::Never, Expiry::At);
                Operation::Put { key, value: value.clone(), expiry }
            }
        }
    }
    /// What the key holds behind the entry, if that is a string: of a set or list nobody can tell what is new in it.
    pub(super) fn written(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        match &self.value {
            Some((Value::String(text), _)) => Vec::from([(self.key.to_vec(), text.to_vec())]),
            _ => Vec::new(),
        }
    }
}
