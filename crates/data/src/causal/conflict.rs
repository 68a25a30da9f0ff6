//! Writes that did not know of each other: which of a key's values are in conflict, and what became of those that were.
//!
//! A conflict needs no message and no list of its own. While it lasts it is in the value: siblings, the losers of a
//! last-write-wins register, values of other types. A write that ends it takes along what it ended, as a **decision**
//! in the same delta; decisions lie beside the key's value, merge like its other parts, and are repaired, walked and handed on
//! with it. So copies that are equal tell the same, whoever of them met the conflict (bugs: LL-01, ML-07).
//!
//! A conflict's name is made of its key and of the dots that compete, so every copy gives it the same one, and it
//! stays the same when the conflict has become a decision.
// catalogue: J7 J14 N8

use super::codec::{Decoder, Encoder, Legend};
use super::context::Context;
use super::dot::{Dot, Mark, Write};
use super::last::Last;
use super::object::{Kind, Object, Part};
use super::siblings::{Payload, Siblings};
use super::store::{Causal, Losers, Store};
use crate::codec::{DecodeError, Reader, Writer};
use crate::plant::{self, Bug};
use crate::table::Seed;
use crate::value::Blob;
use alloc::vec::Vec;
use siphasher::sip::SipHasher13;

/// Decisions that one key keeps, and bytes of them; the oldest go, and the next one tells how many. Guesses: they travel
/// with the key, and a hot one shall not become dear.
const DECISIONS_MAX: usize = 64;
const DECISION_BYTES_MAX: usize = 32 << 10;

/// One of the values in conflict.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version {
    pub mark: Mark,
    /// Of a string. `None` for a delete, and for a collection.
    pub value: Option<Blob>,
    pub kind: Kind,
}

impl Version {
    fn differs(&self, other: &Version) -> bool {
        self.borrowed().differs(&other.borrowed())
    }
    pub fn borrowed(&self) -> Rival<'_> {
        Rival { mark: self.mark, value: self.value.as_ref(), kind: self.kind }
    }
    pub fn encode(&self, writer: &mut Writer<'_>) {
        let Dot { actor, counter } = self.mark.dot;
        writer.u64(self.mark.stamp.0);
        actor.node.encode(writer);
        actor.incarnation.encode(writer);
        actor.shard.encode(writer);
        writer.u64(counter);
        writer.u8(self.kind as u8);
        writer.option(self.value.as_ref(), |writer, value| writer.bytes(value));
    }
    /// # Errors
    /// When the bytes are not what [`Version::encode`] writes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Version, DecodeError> {
        let stamp = super::stamp::Stamp(reader.u64()?);
        let actor = super::dot::Actor {
            node: crate::NodeId::decode(reader)?,
            incarnation: crate::Incarnation::decode(reader)?,
            shard: crate::GroupId::decode(reader)?,
        };
        let dot = Dot { actor, counter: reader.u64()? };
        let kind = Kind::of(reader.u8()?).ok_or(DecodeError::Invalid("type of value"))?;
        let value = reader.option(|reader| Ok(reader.bytes()?.into()))?;
        if dot.counter == 0 {
            return Err(DecodeError::Invalid("dot"));
        }
        Ok(Version { mark: Mark { stamp, dot }, value, kind })
    }
}

/// A [`Version`] where it lies: values are large, and most of those that are looked at are not told of.
#[derive(Clone, Copy, Debug)]
pub struct Rival<'a> {
    pub mark: Mark,
    pub value: Option<&'a Blob>,
    pub kind: Kind,
}

impl Rival<'_> {
    /// Whether a reader could tell them apart.
    fn differs(&self, other: &Rival<'_>) -> bool {
        let is_string = |rival: &Rival<'_>| matches!(rival.kind, Kind::Text | Kind::Last);
        self.value != other.value || is_string(self) != is_string(other) || !is_string(self)
    }
    pub fn cloned(&self) -> Version {
        Version { mark: self.mark, value: self.value.cloned(), kind: self.kind }
    }
}

/// Values of one key, or of one field, that did not know of each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// The fields of the maps on the way to it.
    pub path: Vec<Blob>,
    /// The highest mark first: what is shown, or the winner.
    pub versions: Vec<Version>,
}

/// What a conflict is called: the same on every copy, while it lasts and afterwards.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConflictId(pub u64);

impl ConflictId {
    /// `path`: the fields of the maps on the way to it; `dots`: of those that compete, in any order.
    pub fn new<'p>(
        seed: Seed,
        key: &[u8],
        path: impl ExactSizeIterator<Item = &'p Blob>,
        dots: impl Iterator<Item = Dot>,
    ) -> ConflictId {
        let mut dots: Vec<Dot> = dots.collect();
        dots.sort();
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.bytes(key);
        writer.length(path.len());
        path.for_each(|field| writer.bytes(field));
        for Dot { actor, counter } in dots {
            actor.node.encode(&mut writer);
            actor.incarnation.encode(&mut writer);
            actor.shard.encode(&mut writer);
            writer.u64(counter);
        }
        // Another seed than the hashes of entries and of places.
        ConflictId(SipHasher13::new_with_keys(seed.0 ^ 0x636f_6e66, seed.1).hash(&bytes))
    }
}

/// How a conflict ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum How {
    /// By a write that saw it.
    Overwritten,
    /// By a delete that saw it.
    Deleted,
    /// By somebody who was asked to: their name.
    Resolved { by: Blob },
}

/// What became of a conflict. Who minted it and when is told by its mark.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    pub path: Vec<Blob>,
    pub how: How,
    /// What ended, the highest first.
    pub versions: Vec<Version>,
    /// Decisions of this key that had to make room, this one's and all before it.
    pub dropped: u64,
}

impl Decision {
    /// About what it takes in memory.
    pub fn bytes(&self) -> usize {
        let path: usize = self.path.iter().map(|field| field.len()).sum();
        let versions: usize = self
            .versions
            .iter()
            .map(|version| 48 + version.value.as_ref().map_or(0, |value| value.len()))
            .sum();
        64 + path + versions
    }
    fn note(&self, legend: &mut Legend) {
        self.versions.iter().for_each(|version| legend.mark(version.mark));
    }
}

impl Payload for Decision {
    fn encode(&self, encoder: &mut Encoder<'_, '_>) {
        encoder.number(self.path.len() as u64);
        self.path.iter().for_each(|field| encoder.bytes(field));
        match &self.how {
            How::Overwritten => encoder.byte(1),
            How::Deleted => encoder.byte(2),
            How::Resolved { by } => {
                encoder.byte(3);
                encoder.bytes(by);
            }
        }
        encoder.number(self.dropped);
        encoder.number(self.versions.len() as u64);
        for version in &self.versions {
            encoder.mark(version.mark);
            encoder.byte(version.kind as u8);
            version.value.encode(encoder);
        }
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Decision, DecodeError> {
        let path = (0..decoder.count()?).map(|_| Ok(decoder.bytes()?.into())).collect::<Result<_, _>>()?;
        let how = match decoder.byte()? {
            1 => How::Overwritten,
            2 => How::Deleted,
            3 => How::Resolved { by: decoder.bytes()?.into() },
            _ => return Err(DecodeError::Invalid("decision")),
        };
        let dropped = decoder.number()?;
        let mut versions = Vec::new();
        for _ in 0..decoder.count()? {
            let mark = decoder.mark()?;
            let kind = Kind::of(decoder.byte()?).ok_or(DecodeError::Invalid("type of value"))?;
            versions.push(Version { mark, value: Option::decode(decoder)?, kind });
        }
        Ok(Decision { path, how, versions, dropped })
    }
}

/// The decisions of one key: no value, so nobody sees them but the inbox, and neither SET nor DEL takes them away.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Decisions {
    entries: Siblings<Decision>,
}

impl Decisions {
    /// Ascending by dot.
    pub fn iter(&self) -> impl Iterator<Item = (Mark, &Decision)> {
        self.entries.iter()
    }
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
    pub fn bytes(&self) -> usize {
        self.iter().map(|(_, decision)| decision.bytes()).sum()
    }
    /// Lets decisions go.
    pub fn forget(dots: Context) -> Causal<Object> {
        Causal { store: Object::from(Decisions::default()), context: dots }
    }
}

impl Store for Decisions {
    fn join(&mut self, own: &Context, other: &Self, theirs: &Context, losers: &mut Losers) {
        self.entries.join(own, &other.entries, theirs, losers);
    }
    fn is_bottom(&self) -> bool {
        self.entries.is_bottom()
    }
    fn is_alive(&self) -> bool {
        false
    }
    fn newest(&self) -> Option<Mark> {
        None
    }
    fn clear(&self, _: &mut Write<'_>) -> Causal<Self> {
        Causal::new()
    }
    fn note(&self, legend: &mut Legend) {
        self.entries.note(legend);
        self.iter().for_each(|(_, decision)| decision.note(legend));
    }
    fn encode(&self, encoder: &mut Encoder<'_, '_>) {
        self.entries.encode(encoder);
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Decisions { entries: Siblings::decode(decoder)? })
    }
}

impl Object {
    /// What of this key is in conflict, fields of maps too.
    pub fn conflicts(&self) -> Vec<Conflict> {
        let mut found = Vec::new();
        self.each_conflict(&mut |path, rivals| {
            let path = path.iter().map(|field| (*field).clone()).collect();
            found.push(Conflict { path, versions: rivals.iter().map(Rival::cloned).collect() });
        });
        found
    }
    /// The same, each with the fields on the way to it and the highest mark first; nothing is copied.
    pub fn each_conflict<'a>(&'a self, each: &mut dyn FnMut(&[&'a Blob], Vec<Rival<'a>>)) {
        self.find_conflicts(&mut Vec::new(), each);
    }
    /// False where there is surely neither conflict nor decision. Asked at every change, so no value is looked at.
    pub(super) fn may_conflict(&self) -> bool {
        let mut alive = 0;
        self.parts().iter().any(|part| {
            alive += usize::from(!matches!(part, Part::Decisions(_)) && part.is_alive());
            alive > 1
                || match part {
                    Part::Text(text) => text.siblings().len() > 1,
                    Part::Last(last) => last.len() > 1,
                    Part::Map(map) => map.iter().any(|(_, field)| field.may_conflict()),
                    Part::Decisions(_) => true,
                    _ => false,
                }
        })
    }
    fn find_conflicts<'a>(
        &'a self,
        path: &mut Vec<&'a Blob>,
        each: &mut dyn FnMut(&[&'a Blob], Vec<Rival<'a>>),
    ) {
        let rivals = self.rivals();
        if let [highest, rest @ ..] = &rivals[..]
            && rest.iter().any(|rival| rival.differs(highest))
        {
            each(path, rivals);
        }
        for (field, object) in self.as_map().into_iter().flat_map(|map| map.iter()) {
            path.push(field);
            object.find_conflicts(path, each);
            path.pop();
        }
    }
    /// The values of this key that compete, the highest first; usually one.
    fn rivals(&self) -> Vec<Rival<'_>> {
        let mut rivals: Vec<Rival<'_>> = Vec::new();
        // One part is the rule, and asking a collection for its mark is a walk over it.
        let is_mixed = self.parts().iter().filter(|part| part.is_alive()).nth(1).is_some();
        for part in self.parts() {
            let kind = part.kind();
            match part {
                Part::Text(text) => rivals.extend(text.siblings().iter().map(|(mark, value)| Rival {
                    mark,
                    value: Some(value),
                    kind,
                })),
                // A delete alone competes with nothing.
                Part::Last(last) if last.is_alive() || last.len() > 1 => rivals
                    .extend(last.writes().map(|(mark, value)| Rival { mark, value: value.as_ref(), kind })),
                Part::Last(_) | Part::Decisions(_) => {}
                _ if !is_mixed => {}
                _ => rivals.extend(part.newest().map(|mark| Rival { mark, value: None, kind })),
            }
        }
        rivals.sort_by_key(|rival| core::cmp::Reverse(rival.mark));
        rivals
    }
    /// Whether several writes of one value met: no conflict, and counted apart (bugs: ML-19).
    pub fn is_agreed(&self) -> bool {
        match &self.rivals()[..] {
            [highest, rest @ ..] => !rest.is_empty() && rest.iter().all(|rival| !rival.differs(highest)),
            [] => false,
        }
    }
    /// The bytes of its decisions.
    pub fn decision_bytes(&self) -> usize {
        self.as_decisions().map_or(0, Decisions::bytes)
    }

    /// The delta, and beside it what became of the conflicts that it ends.
    #[must_use]
    pub(super) fn and_decided(
        &self,
        delta: Causal<Object>,
        how: &How,
        write: &mut Write<'_>,
    ) -> Causal<Object> {
        let mut delta = delta;
        if plant::is(Bug::EndsUnrecorded) {
            return delta;
        }
        for Conflict { path, versions } in self.conflicts() {
            let is_ended = |version: &&Version| delta.context.contains(version.mark.dot);
            let ended: Vec<Version> = versions.iter().filter(is_ended).cloned().collect();
            // Whoever replaces what alone was shown ends nothing.
            if ended.iter().any(|version| version.differs(&versions[0])) {
                delta = delta.and(&self.decide(path, how.clone(), ended, write));
            }
        }
        delta
    }
    /// Adds one decision.
    pub(super) fn decide(
        &self,
        path: Vec<Blob>,
        how: How,
        versions: Vec<Version>,
        write: &mut Write<'_>,
    ) -> Causal<Object> {
        let mark = write.mark();
        let mut decision = Decision { path, how, versions, dropped: 0 };
        let mut held: Vec<(Mark, &Decision)> =
            self.as_decisions().into_iter().flat_map(Decisions::iter).collect();
        held.sort_by_key(|(mark, _)| core::cmp::Reverse(*mark));
        let most = held.iter().map(|(_, decision)| decision.dropped).max().unwrap_or(0);
        // The newest ones stay, as far as they fit beside this one.
        let mut bytes = decision.bytes();
        let fitting = held.iter().take(DECISIONS_MAX - 1).take_while(|(_, decision)| {
            bytes += decision.bytes();
            bytes <= DECISION_BYTES_MAX
        });
        let displaced: Context = held.iter().skip(fitting.count()).map(|(mark, _)| mark.dot).collect();
        decision.dropped = most + displaced.ranges().map(|(_, first, last)| last - first + 1).sum::<u64>();
        Siblings::one_over(displaced, mark, decision).map(|entries| Object::from(Decisions { entries }))
    }
    /// Somebody says what the versions come to: `None` for nothing. What came since then stays beside it.
    pub(super) fn settle(
        &self,
        versions: &[Version],
        value: Option<&Blob>,
        is_last: bool,
        write: &mut Write<'_>,
    ) -> Causal<Object> {
        let of = |kind: Kind| -> Context {
            versions.iter().filter(|version| version.kind == kind).map(|version| version.mark.dot).collect()
        };
        let (texts, lasts) = (of(Kind::Text), of(Kind::Last));
        let mut settled = Causal { store: Object::from(super::counted::Text::default()), context: texts };
        let others = |part: &&Part| {
            !matches!(part.kind(), Kind::Text | Kind::Last)
                && versions.iter().any(|version| version.kind == part.kind())
        };
        for part in self.parts().iter().filter(others) {
            settled = settled.and(&part.clear(write));
        }
        let newest = versions.iter().map(|version| version.mark.stamp).max().unwrap_or_default();
        let nothing = Last::default();
        let last = self.as_last().unwrap_or(&nothing);
        let written = match value {
            _ if is_last => last.write_over(lasts, newest, write, value.cloned()).map(Object::from),
            value => {
                let gone = Causal { store: Object::from(Last::default()), context: lasts };
                match value {
                    Some(value) => gone.and(
                        &super::counted::Text::write_over(Causal::new(), write, value.clone())
                            .map(Object::from),
                    ),
                    None => gone,
                }
            }
        };
        settled.and(&written)
    }
}
