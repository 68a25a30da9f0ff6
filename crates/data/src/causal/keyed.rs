//! Entries by name, each a store of its own: members of sets, fields of maps.

use super::codec::{Decoder, Encoder, Legend};
use super::context::Context;
use super::dot::{Mark, Write};
use super::store::{Causal, Losers, Store};
use crate::codec::DecodeError;
use crate::value::Blob;
use alloc::collections::BTreeMap;

/// Entries in the order of their names.
///
/// Invariant: a whole one holds no bottom entry. A delta of a few entries is not whole: it lists what it touches,
/// bottom entries too, and says nothing of the others. So merging it costs what it touches, not what the collection
/// holds.
#[derive(Clone, PartialEq, Debug)]
pub struct Keyed<S> {
    entries: BTreeMap<Blob, S>,
    is_whole: bool,
}

impl<S> Default for Keyed<S> {
    fn default() -> Keyed<S> {
        Keyed { entries: BTreeMap::new(), is_whole: true }
    }
}

impl<S: Store> Keyed<S> {
    /// Entries with something in them, residue too.
    pub fn iter(&self) -> impl Iterator<Item = (&Blob, &S)> {
        self.entries.iter()
    }
    /// Entries that a reader sees.
    pub fn alive(&self) -> impl Iterator<Item = (&Blob, &S)> {
        self.iter().filter(|(_, entry)| entry.is_alive())
    }
    pub fn entry(&self, name: &[u8]) -> Option<&S> {
        self.entries.get(name)
    }
    /// Puts others in the place of entries.
    pub(super) fn replace(&mut self, mut with: impl FnMut(&S) -> Option<S>) {
        for entry in self.entries.values_mut() {
            if let Some(other) = with(entry) {
                *entry = other;
            }
        }
    }
    /// The delta of one entry, made from what is held of it, or from nothing.
    pub fn update(&self, name: &[u8], change: impl FnOnce(&S) -> Causal<S>) -> Causal<Keyed<S>> {
        let delta = match self.entries.get(name) {
            Some(entry) => change(entry),
            None => change(&S::default()),
        };
        delta.map(|entry| Keyed { entries: BTreeMap::from([(name.into(), entry)]), is_whole: false })
    }
}

impl<S: Store> Store for Keyed<S> {
    const MAY_LOSE: bool = S::MAY_LOSE;
    const MAY_REMAIN: bool = S::MAY_REMAIN;

    fn join(&mut self, own: &Context, other: &Self, theirs: &Context, losers: &mut Losers) {
        let nothing = S::default();
        if other.is_whole {
            for (name, entry) in &mut self.entries {
                if !other.entries.contains_key(name) {
                    entry.join(own, &nothing, theirs, losers);
                }
            }
        }
        for (name, entry) in &other.entries {
            if S::MAY_LOSE {
                losers.path.push(name.clone());
            }
            match self.entries.get_mut(name) {
                Some(held) => held.join(own, entry, theirs, losers),
                None => {
                    let mut held = S::default();
                    held.join(own, entry, theirs, losers);
                    self.entries.insert(name.clone(), held);
                }
            }
            if S::MAY_LOSE {
                losers.path.pop();
            }
        }
        if other.is_whole || !self.is_whole {
            self.is_whole |= other.is_whole;
            if self.is_whole {
                self.entries.retain(|_, entry| !entry.is_bottom());
            }
        } else {
            // Only what the delta touched can have become empty.
            for name in other.entries.keys() {
                if self.entries.get(name).is_some_and(Store::is_bottom) {
                    self.entries.remove(name);
                }
            }
        }
    }
    fn is_bottom(&self) -> bool {
        self.entries.is_empty()
    }
    fn is_alive(&self) -> bool {
        self.entries.values().any(Store::is_alive)
    }
    fn newest(&self) -> Option<Mark> {
        self.entries.values().filter_map(Store::newest).max()
    }
    fn clear(&self, write: &mut Write<'_>) -> Causal<Self> {
        let mut cleared = Causal::<Self>::new();
        for (name, entry) in &self.entries {
            let Causal { store, context } = entry.clear(write);
            cleared.context.merge(&context);
            if !store.is_bottom() {
                cleared.store.entries.insert(name.clone(), store);
            }
        }
        cleared
    }
    fn residue(&self, dots: &mut Context) {
        if S::MAY_REMAIN {
            self.entries.values().for_each(|entry| entry.residue(dots));
        }
    }
    fn collect(&mut self, dots: &Context) {
        if S::MAY_REMAIN {
            self.entries.values_mut().for_each(|entry| entry.collect(dots));
            if self.is_whole {
                self.entries.retain(|_, entry| !entry.is_bottom());
            }
        }
    }
    fn note(&self, legend: &mut Legend) {
        self.entries.values().for_each(|entry| entry.note(legend));
    }
    fn encode(&self, encoder: &mut Encoder<'_, '_>) {
        encoder.byte(u8::from(self.is_whole));
        encoder.number(self.entries.len() as u64);
        for (name, entry) in &self.entries {
            encoder.bytes(name);
            entry.encode(encoder);
        }
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let is_whole = decoder.flag()?;
        let mut entries: BTreeMap<Blob, S> = BTreeMap::new();
        for _ in 0..decoder.count()? {
            let name = decoder.key_after(entries.last_key_value().map(|(name, _)| name))?;
            let entry = S::decode(decoder)?;
            if is_whole && entry.is_bottom() {
                return Err(DecodeError::Invalid("empty entry"));
            }
            entries.insert(name, entry);
        }
        Ok(Keyed { entries, is_whole })
    }
}
