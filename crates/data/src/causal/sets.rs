//! Sets in three meanings: what an add and a concurrent remove of one member come to.
//!
//! | type | outcome | a removed member |
//! |---|---|---|
//! | [`Set`] | the add wins: a remove takes away only the adds that it saw | comes back with the next add |
//! | [`RemoveWinsSet`] | the remove wins, whichever stamp it has | comes back with an add that saw the remove |
//! | [`TwoPhaseSet`] | the remove wins | never comes back |
//!
//! Sources: Shapiro, Preguica, Baquero, Zawirski, "A comprehensive study of Convergent and Commutative Replicated
//! Data Types" (2011) for the first and the third; the remove-wins set with dots as in Almeida, Shoker, Baquero
//! (2018).

use super::codec::{Decoder, Encoder, Legend};
use super::context::Context;
use super::dot::{Mark, Write};
use super::keyed::Keyed;
use super::siblings::{Payload, Siblings};
use super::store::{Causal, Losers, Store};
use crate::codec::DecodeError;
use crate::plant::{self, Bug};
use crate::value::Blob;
use alloc::collections::{BTreeMap, BTreeSet};

/// The observed-remove set: a member is in it while an add lives that no remove has seen.
///
/// Adding a member again mints a new dot, so that the new add survives a concurrent remove (ML-14).
// catalogue: J10
pub type Set = Keyed<Siblings<()>>;

impl Set {
    pub fn add(&self, write: &mut Write<'_>, member: &[u8]) -> Causal<Set> {
        self.update(member, |adds| match plant::is(Bug::RemovesNewestOnly) {
            true => Siblings::write_over(Context::new(), write, ()),
            false => adds.write(write, ()),
        })
    }
    /// Nothing if the member is not here.
    pub fn remove(&self, write: &mut Write<'_>, member: &[u8]) -> Causal<Set> {
        self.update(member, |adds| match adds.highest().filter(|_| plant::is(Bug::RemovesNewestOnly)) {
            Some((newest, _)) => {
                Causal { store: Siblings::default(), context: Context::from_iter([newest.dot]) }
            }
            None => adds.clear(write),
        })
    }
}

/// What the last word on a member was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Word {
    Added,
    Removed,
}

impl Payload for Word {
    fn encode(&self, encoder: &mut Encoder<'_, '_>) {
        encoder.byte(u8::from(*self == Word::Removed));
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Word, DecodeError> {
        Ok(if decoder.flag()? { Word::Removed } else { Word::Added })
    }
}

/// The words on one member that nobody has answered yet.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Words(Siblings<Word>);

impl Store for Words {
    const MAY_REMAIN: bool = true;

    fn join(&mut self, own: &Context, other: &Self, theirs: &Context, losers: &mut Losers) {
        self.0.join(own, &other.0, theirs, losers);
    }
    fn is_bottom(&self) -> bool {
        self.0.is_bottom()
    }
    /// A single unanswered remove outweighs any number of adds.
    fn is_alive(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|(_, word)| *word == Word::Added)
    }
    fn newest(&self) -> Option<Mark> {
        if self.is_alive() { self.0.newest() } else { None }
    }
    /// Takes away the adds and leaves the removes: they must go on beating adds that have not come here yet.
    fn clear(&self, _: &mut Write<'_>) -> Causal<Self> {
        self.0.clear_where(|word| *word == Word::Added).map(Words)
    }
    /// Removes that no add stands beside: one beside an add goes on beating it until another add answers it.
    fn residue(&self, dots: &mut Context) {
        if self.0.iter().all(|(_, word)| *word == Word::Removed) {
            self.0.iter().for_each(|(mark, _)| dots.insert(mark.dot));
        }
    }
    fn collect(&mut self, dots: &Context) {
        if self.0.iter().all(|(mark, word)| *word == Word::Removed && dots.contains(mark.dot)) {
            self.0 = Siblings::default();
        }
    }
    fn note(&self, legend: &mut Legend) {
        self.0.note(legend);
    }
    fn encode(&self, encoder: &mut Encoder<'_, '_>) {
        self.0.encode(encoder);
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Siblings::decode(decoder).map(Words)
    }
}

/// The remove-wins set. A remove stays as residue until an add answers it.
pub type RemoveWinsSet = Keyed<Words>;

impl RemoveWinsSet {
    /// The add answers every remove that is held here.
    pub fn add(&self, write: &mut Write<'_>, member: &[u8]) -> Causal<RemoveWinsSet> {
        self.update(member, |words| words.0.write(write, Word::Added).map(Words))
    }
    /// Works on absent members too: it beats adds that are on their way.
    pub fn remove(&self, write: &mut Write<'_>, member: &[u8]) -> Causal<RemoveWinsSet> {
        self.update(member, |words| words.0.write(write, Word::Removed).map(Words))
    }
}

/// The two-phase set: each member is added at most once for ever.
///
/// Needs no context: both halves only grow. Invariant: no removed member is among the added.
// catalogue: J11
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TwoPhaseSet {
    /// With the highest mark of its adds.
    added: BTreeMap<Blob, Mark>,
    removed: BTreeSet<Blob>,
}

impl TwoPhaseSet {
    pub fn members(&self) -> impl Iterator<Item = &Blob> {
        self.added.keys()
    }
    pub fn contains(&self, member: &[u8]) -> bool {
        self.added.contains_key(member)
    }
    /// The member was in the set once; adding it again changes nothing.
    pub fn is_removed(&self, member: &[u8]) -> bool {
        self.removed.contains(member)
    }
    pub fn add(&self, write: &mut Write<'_>, member: &[u8]) -> Causal<TwoPhaseSet> {
        if self.is_removed(member) {
            return Causal::new();
        }
        let mark = write.mark();
        let added = BTreeMap::from([(member.into(), mark)]);
        Causal {
            store: TwoPhaseSet { added, removed: BTreeSet::new() },
            context: Context::from_iter([mark.dot]),
        }
    }
    /// Only what is in the set can be removed.
    pub fn remove(&self, member: &[u8]) -> Causal<TwoPhaseSet> {
        let removed = self.added.contains_key(member).then(|| member.into());
        let store = TwoPhaseSet { added: BTreeMap::new(), removed: removed.into_iter().collect() };
        Causal { store, context: Context::new() }
    }
}

impl Store for TwoPhaseSet {
    fn join(&mut self, _: &Context, other: &Self, _: &Context, _: &mut Losers) {
        for member in &other.removed {
            self.added.remove(member);
            if !self.removed.contains(member) {
                self.removed.insert(member.clone());
            }
        }
        for (member, mark) in &other.added {
            if !self.removed.contains(member) {
                let slot = self.added.entry(member.clone()).or_insert(*mark);
                *slot = (*mark).max(*slot);
            }
        }
    }
    fn is_bottom(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
    fn is_alive(&self) -> bool {
        !self.added.is_empty()
    }
    fn newest(&self) -> Option<Mark> {
        self.added.values().max().copied()
    }
    fn clear(&self, _: &mut Write<'_>) -> Causal<Self> {
        let removed = self.added.keys().cloned().collect();
        Causal { store: TwoPhaseSet { added: BTreeMap::new(), removed }, context: Context::new() }
    }
    fn note(&self, legend: &mut Legend) {
        self.added.values().for_each(|mark| legend.mark(*mark));
    }
    fn encode(&self, encoder: &mut Encoder<'_, '_>) {
        encoder.number(self.added.len() as u64);
        for (member, mark) in &self.added {
            encoder.bytes(member);
            encoder.mark(*mark);
        }
        encoder.number(self.removed.len() as u64);
        self.removed.iter().for_each(|member| encoder.bytes(member));
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let mut set = TwoPhaseSet::default();
        for _ in 0..decoder.count()? {
            let member = decoder.key_after(set.added.last_key_value().map(|(member, _)| member))?;
            set.added.insert(member, decoder.mark()?);
        }
        for _ in 0..decoder.count()? {
            let member = decoder.key_after(set.removed.last())?;
            if set.added.contains_key(&member) {
                return Err(DecodeError::Invalid("removed member"));
            }
            set.removed.insert(member);
        }
        Ok(set)
    }
}
