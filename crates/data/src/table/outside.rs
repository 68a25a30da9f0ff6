//! Values that do not fit a slot: collections and long strings, by number.

use crate::value::{Blob, Hash, List, Set, Value, ValueRef, ZSet};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// A value as the table owns it. Strings can grow in place.
#[derive(Debug)]
pub(super) enum Body {
    Text(Vec<u8>),
    Hash(Box<Hash>),
    List(Box<List>),
    Set(Box<Set>),
    ZSet(Box<ZSet>),
}

impl Body {
    fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Body::Text(v) => ValueRef::String(v),
            Body::Hash(v) => ValueRef::Hash(v),
            Body::List(v) => ValueRef::List(v),
            Body::Set(v) => ValueRef::Set(v),
            Body::ZSet(v) => ValueRef::ZSet(v),
        }
    }
    fn bytes(&self) -> usize {
        match self {
            Body::Text(v) => v.capacity(),
            Body::Hash(v) => v.bytes() + size_of::<Hash>(),
            Body::List(v) => v.bytes() + size_of::<List>(),
            Body::Set(v) => v.bytes() + size_of::<Set>(),
            Body::ZSet(v) => v.bytes() + size_of::<ZSet>(),
        }
    }
}

impl From<Value> for Body {
    fn from(value: Value) -> Body {
        match value {
            Value::String(v) => Body::Text(v.into_vec()),
            Value::Hash(v) => Body::Hash(v),
            Value::List(v) => Body::List(v),
            Value::Set(v) => Body::Set(v),
            Value::ZSet(v) => Body::ZSet(v),
        }
    }
}

#[derive(Debug)]
struct Item {
    body: Body,
    /// The key, when it does not fit a slot either.
    key: Option<Blob>,
}

impl Item {
    fn bytes(&self) -> usize {
        self.body.bytes() + self.key.as_ref().map_or(0, |key| key.len())
    }
}

/// Items of a chunk. Chunks never move, so adding an item never copies all of them.
const CHUNK_LEN: usize = 1024;

#[derive(Default, Debug)]
pub(super) struct Outside {
    chunks: Vec<Vec<Option<Item>>>,
    vacant: Vec<u32>,
    bytes: usize,
}

impl Outside {
    /// Bytes of all values, and of the list of them.
    pub(super) fn bytes(&self) -> usize {
        let lists: usize = self.vacant.capacity() * size_of::<u32>();
        self.bytes + lists + self.chunks.len() * CHUNK_LEN * size_of::<Option<Item>>()
    }
    /// Numbers given out, vacant ones included.
    fn len(&self) -> usize {
        self.chunks.len().saturating_sub(1) * CHUNK_LEN + self.chunks.last().map_or(0, Vec::len)
    }
    fn item(&self, number: u32) -> &Item {
        let item = self.chunks[number as usize / CHUNK_LEN][number as usize % CHUNK_LEN].as_ref();
        item.expect("a slot names a value that is there")
    }
    fn slot(&mut self, number: u32) -> &mut Option<Item> {
        &mut self.chunks[number as usize / CHUNK_LEN][number as usize % CHUNK_LEN]
    }
    pub(super) fn item_bytes(&self, number: u32) -> usize {
        self.item(number).bytes() + size_of::<Option<Item>>()
    }
    pub(super) fn body(&self, number: u32) -> ValueRef<'_> {
        self.item(number).body.as_ref()
    }
    pub(super) fn key(&self, number: u32) -> &[u8] {
        self.item(number).key.as_deref().unwrap_or(&[])
    }
    pub(super) fn insert(&mut self, body: Body, key: Option<Blob>) -> u32 {
        let item = Item { body, key };
        self.bytes += item.bytes();
        if let Some(number) = self.vacant.pop() {
            *self.slot(number) = Some(item);
            return number;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK_LEN) {
            self.chunks.push(Vec::with_capacity(CHUNK_LEN));
        }
        let number = self.len() as u32;
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(Some(item));
        }
        number
    }
    pub(super) fn edit<R>(&mut self, number: u32, edit: impl FnOnce(&mut Body) -> R) -> R {
        let item = self.slot(number).as_mut().expect("a slot names a value that is there");
        let before = item.bytes();
        let result = edit(&mut item.body);
        let after = item.bytes();
        self.bytes = self.bytes + after - before;
        result
    }
    pub(super) fn take(&mut self, number: u32) -> (Body, Option<Blob>) {
        let item = self.slot(number).take().expect("a slot names a value that is there");
        self.bytes -= item.bytes();
        self.vacant.push(number);
        if self.len() == self.vacant.len() {
            *self = Outside::default();
        }
        (item.body, item.key)
    }
}
