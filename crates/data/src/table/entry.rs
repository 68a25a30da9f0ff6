//! What a slot of [`Memory`] holds: one key with its value, expiry and access time.
//!
//! ```text
//! header word   bits 0..32   seconds of the last access
//!                    32..43  length of the key here, 43..54 length of the value here
//!                    54      whether the payload starts with an expiry (8 bytes, ms since 1970)
//!                    55..57  form: text, outside, far
//! payload       [expiry] then
//!   text        key, value
//!   outside     number of the value in `Outside` (4 bytes), key
//!   far         number of key and value in `Outside` (4 bytes)
//! ```
//!
//! A short key with a short string, the common case, is one slot and one or two cache lines.

use super::memory::{Handle, Memory, PAYLOAD_LEN_MAX, slot_words};
use super::outside::{Body, Outside};
use super::{Found, Seed, hash_key};
use crate::value::{Blob, ValueRef};

const EXPIRY_LEN: usize = 8;
const NUMBER_LEN: usize = 4;
const LEN_BITS: u32 = 11;
const _: () = assert!(PAYLOAD_LEN_MAX < 1 << LEN_BITS, "lengths fit the header");

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Text,
    Outside,
    Far,
}

/// The header word, taken apart.
#[derive(Clone, Copy)]
struct Header {
    access: u32,
    key_len: usize,
    value_len: usize,
    expires: bool,
    form: Form,
}

impl Header {
    fn unpack(word: u64) -> Header {
        let len = |at: u32| (word >> at) as usize & ((1 << LEN_BITS) - 1);
        Header {
            access: word as u32,
            key_len: len(32),
            value_len: len(32 + LEN_BITS),
            expires: word >> 54 & 1 == 1,
            form: match word >> 55 & 3 {
                0 => Form::Text,
                1 => Form::Outside,
                _ => Form::Far,
            },
        }
    }
    fn pack(self) -> u64 {
        u64::from(self.access)
            | (self.key_len as u64) << 32
            | (self.value_len as u64) << (32 + LEN_BITS)
            | u64::from(self.expires) << 54
            | (self.form as u64) << 55
    }
    fn expiry_len(self) -> usize {
        if self.expires { EXPIRY_LEN } else { 0 }
    }
    fn expiry(self, payload: &[u8]) -> Option<i64> {
        let expiry = payload.first_chunk::<EXPIRY_LEN>().filter(|_| self.expires);
        expiry.map(|bytes| i64::from_le_bytes(*bytes))
    }
    fn number(self, payload: &[u8]) -> u32 {
        payload[self.expiry_len()..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }
}

/// A value on its way into a slot.
pub(super) enum Content<'a> {
    Text(&'a [u8]),
    Body(Body),
}

/// An entry that was taken out: enough to put it back.
#[derive(Debug)]
pub(super) struct Image {
    /// The key and, unless `body` is there, the text behind it.
    bytes: Blob,
    key_len: usize,
    body: Option<Body>,
    pub(super) expires_at_ms: Option<i64>,
    access: u32,
}

impl Image {
    pub(super) fn key(&self) -> &[u8] {
        &self.bytes[..self.key_len]
    }
}

/// All entries, by handle.
#[derive(Debug)]
pub(super) struct Entries {
    memory: Memory,
    outside: Outside,
    seed: Seed,
}

impl Entries {
    pub(super) fn new(seed: Seed) -> Entries {
        Entries { memory: Memory::default(), outside: Outside::default(), seed }
    }
    pub(super) fn seed(&self) -> Seed {
        self.seed
    }
    pub(super) fn bytes(&self) -> usize {
        self.memory.bytes() + self.outside.bytes()
    }
    pub(super) fn entry_bytes(&self, handle: Handle) -> usize {
        let outside = match self.header(handle).form {
            Form::Text => 0,
            Form::Outside | Form::Far => self.outside.item_bytes(self.number(handle)),
        };
        self.memory.slot_bytes(handle) + outside
    }
    fn header(&self, handle: Handle) -> Header {
        Header::unpack(self.memory.header(handle))
    }
    fn read(&self, handle: Handle) -> (Header, &[u8]) {
        let (header, payload) = self.memory.read(handle);
        (Header::unpack(header), payload)
    }
    /// The number in `outside` of an entry of form outside or far.
    fn number(&self, handle: Handle) -> u32 {
        let (header, payload) = self.read(handle);
        header.number(payload)
    }

    pub(super) fn key(&self, handle: Handle) -> &[u8] {
        let (header, payload) = self.read(handle);
        let start = header.expiry_len();
        match header.form {
            Form::Text => &payload[start..start + header.key_len],
            Form::Outside => &payload[start + NUMBER_LEN..][..header.key_len],
            Form::Far => self.outside.key(header.number(payload)),
        }
    }
    pub(super) fn expires_at_ms(&self, handle: Handle) -> Option<i64> {
        let (header, payload) = self.read(handle);
        header.expiry(payload)
    }
    pub(super) fn found(&self, handle: Handle) -> Found<'_> {
        let (header, payload) = self.read(handle);
        let value = match header.form {
            Form::Text => {
                let start = header.expiry_len() + header.key_len;
                ValueRef::String(&payload[start..start + header.value_len])
            }
            Form::Outside | Form::Far => self.outside.body(header.number(payload)),
        };
        Found { value, expires_at_ms: header.expiry(payload) }
    }
    pub(super) fn touch(&self, handle: Handle, now_seconds: u32) {
        let word = self.memory.header(handle);
        if word as u32 != now_seconds {
            self.memory.set_header(handle, word & !u64::from(u32::MAX) | u64::from(now_seconds));
        }
    }
    pub(super) fn access(&self, handle: Handle) -> u32 {
        self.header(handle).access
    }
    /// Whether the value is a string that [`Entries::edit`] can work on.
    pub(super) fn is_long_text(&self, handle: Handle) -> bool {
        self.header(handle).form != Form::Text && matches!(self.found(handle).value, ValueRef::String(_))
    }

    /// Makes an entry.
    pub(super) fn insert(
        &mut self,
        key: &[u8],
        content: Content<'_>,
        expires_at_ms: Option<i64>,
        access: u32,
    ) -> Handle {
        let expiry_len = if expires_at_ms.is_some() { EXPIRY_LEN } else { 0 };
        let content = match content {
            Content::Text(text) => {
                if let Some(words) = text_words(expiry_len, key, text) {
                    let header = Header {
                        access,
                        key_len: key.len(),
                        value_len: text.len(),
                        expires: expires_at_ms.is_some(),
                        form: Form::Text,
                    };
                    return self.write(words, header, expires_at_ms, [key, text]);
                }
                Body::Text(text.into())
            }
            Content::Body(body) => body,
        };
        let is_far = expiry_len + NUMBER_LEN + key.len() > PAYLOAD_LEN_MAX;
        let number = self.outside.insert(content, is_far.then(|| key.into()));
        let near_key = if is_far { &[] } else { key };
        let header = Header {
            access,
            key_len: near_key.len(),
            value_len: 0,
            expires: expires_at_ms.is_some(),
            form: if is_far { Form::Far } else { Form::Outside },
        };
        // A payload of expiry, number and a near key never exceeds the largest slot.
        let words =
            slot_words(expiry_len + NUMBER_LEN + near_key.len()).unwrap_or(super::memory::SLOT_WORDS_MAX);
        self.write(words, header, expires_at_ms, [&number.to_le_bytes(), near_key])
    }
    fn write(
        &mut self,
        words: usize,
        header: Header,
        expires_at_ms: Option<i64>,
        parts: [&[u8]; 2],
    ) -> Handle {
        let handle = self.memory.allocate(words);
        self.overwrite(handle, header, expires_at_ms, parts);
        handle
    }
    fn overwrite(&mut self, handle: Handle, header: Header, expires_at_ms: Option<i64>, parts: [&[u8]; 2]) {
        self.memory.set_header(handle, header.pack());
        let payload = self.memory.payload_mut(handle);
        let expiry = expires_at_ms.map(i64::to_le_bytes);
        let mut end = 0;
        for part in [expiry.as_ref().map_or(&[][..], |expiry| expiry), parts[0], parts[1]] {
            payload[end..end + part.len()].copy_from_slice(part);
            end += part.len();
        }
    }
    /// Overwrites a short string with another one of about its length; false when the entry has another form or size.
    pub(super) fn set_text_in_place(
        &mut self,
        handle: Handle,
        key: &[u8],
        text: &[u8],
        expires_at_ms: Option<i64>,
        access: u32,
    ) -> bool {
        let old = self.header(handle);
        let expires = expires_at_ms.is_some();
        let expiry_len = if expires { EXPIRY_LEN } else { 0 };
        let old_words = slot_words(old.expiry_len() + old.key_len + old.value_len);
        if old.form != Form::Text || text_words(expiry_len, key, text) != old_words {
            return false;
        }
        let header = Header { access, key_len: key.len(), value_len: text.len(), expires, form: Form::Text };
        if old.expires == expires {
            // The key stands where it stood.
            self.memory.set_header(handle, header.pack());
            let payload = self.memory.payload_mut(handle);
            if let (Some(at), Some(expiry)) = (expires_at_ms, payload.first_chunk_mut()) {
                *expiry = at.to_le_bytes();
            }
            payload[expiry_len + key.len()..][..text.len()].copy_from_slice(text);
        } else {
            self.overwrite(handle, header, expires_at_ms, [key, text]);
        }
        true
    }
    /// Overwrites the expiry of an entry that has one.
    pub(super) fn set_expiry_in_place(&mut self, handle: Handle, at_ms: i64) -> bool {
        let expires = self.header(handle).expires;
        if expires && let Some(expiry) = self.memory.payload_mut(handle).first_chunk_mut() {
            *expiry = at_ms.to_le_bytes();
        }
        expires
    }
    /// Works on a value that lies outside; `None` when it does not.
    pub(super) fn edit<R>(
        &mut self,
        handle: Handle,
        now: u32,
        edit: impl FnOnce(&mut Body) -> R,
    ) -> Option<R> {
        if self.header(handle).form == Form::Text {
            return None;
        }
        self.touch(handle, now);
        let number = self.number(handle);
        Some(self.outside.edit(number, edit))
    }

    /// A copy of a short string's entry.
    pub(super) fn image(&self, handle: Handle) -> Option<Image> {
        let (header, payload) = self.read(handle);
        if header.form != Form::Text {
            return None;
        }
        let start = header.expiry_len();
        Some(Image {
            bytes: payload[start..start + header.key_len + header.value_len].into(),
            key_len: header.key_len,
            body: None,
            expires_at_ms: header.expiry(payload),
            access: header.access,
        })
    }
    /// Takes an entry out; its handle is free afterwards.
    pub(super) fn take(&mut self, handle: Handle) -> Image {
        let image = self.image(handle).unwrap_or_else(|| {
            let near_key: Blob =
                if self.header(handle).form == Form::Far { Blob::default() } else { self.key(handle).into() };
            let (expires_at_ms, access) = (self.expires_at_ms(handle), self.access(handle));
            let (body, far_key) = self.outside.take(self.number(handle));
            let bytes = far_key.unwrap_or(near_key);
            Image { key_len: bytes.len(), bytes, body: Some(body), expires_at_ms, access }
        });
        self.memory.free(handle);
        image
    }
    pub(super) fn remove(&mut self, handle: Handle) {
        if self.header(handle).form != Form::Text {
            self.outside.take(self.number(handle));
        }
        self.memory.free(handle);
    }
    /// Puts an entry back, under another key if one is given.
    pub(super) fn restore(&mut self, image: Image, key: Option<&[u8]>) -> Handle {
        let key = key.unwrap_or(&image.bytes[..image.key_len]);
        let content = match image.body {
            Some(body) => Content::Body(body),
            None => Content::Text(&image.bytes[image.key_len..]),
        };
        self.insert(key, content, image.expires_at_ms, image.access)
    }
}

impl super::index::Hashed for Entries {
    fn hash_of(&self, handle: Handle) -> u64 {
        hash_key(self.seed, self.key(handle))
    }
    fn prefetch(&self, handle: Handle) {
        self.memory.prefetch(handle);
    }
}

/// Words of the slot for a short string; `None` when it must lie outside.
fn text_words(expiry_len: usize, key: &[u8], text: &[u8]) -> Option<usize> {
    let len = expiry_len.checked_add(key.len())?.checked_add(text.len())?;
    if len > PAYLOAD_LEN_MAX { None } else { slot_words(len) }
}
