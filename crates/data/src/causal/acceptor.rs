//! The state of a Paxos acceptor for one key, where a client asked for a linearizable one: what its copy promised, and the
//! newest value that it knows to have been proposed.
//!
//! It lies beside the causal parts of the key, so it is persisted, walked, repaired and hashed with them, and it merges: the
//! higher promise holds, and the value with the higher ballot. Both are safe. A promise that somebody else gave binds a copy
//! to more than it has to keep; a value that was proposed under the higher ballot follows from every value that was chosen
//! before (`crates/protocol/src/leaderless/proposer.rs`). Nothing here is a dot: clocks and contexts say nothing about it.

use super::codec::{Decoder, Encoder, Legend};
use super::context::Context;
use super::dot::{Mark, Write};
use super::store::{Causal, Losers, Store};
use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{NodeId, Process};
use crate::value::Blob;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Writes that a value names as its newest ones, so that a proposer can tell whether its own is among them. A guess: more
/// than fail at a time under one key.
pub const HISTORY_MAX: usize = 8;

/// Names one proposal for ever. The default one is lower than all others, and no proposal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Ballot {
    pub counter: u64,
    pub node: NodeId,
    pub process: Process,
}

impl Ballot {
    pub fn is_none(self) -> bool {
        self == Ballot::default()
    }
    pub fn encode(self, writer: &mut Writer<'_>) {
        writer.u64(self.counter);
        self.node.encode(writer);
        self.process.encode(writer);
    }
    /// # Errors
    /// When the bytes are not what [`Ballot::encode`] writes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Ballot, DecodeError> {
        Ok(Ballot {
            counter: reader.u64()?,
            node: NodeId::decode(reader)?,
            process: Process::decode(reader)?,
        })
    }
    fn put(self, encoder: &mut Encoder<'_, '_>) {
        encoder.number(self.counter);
        encoder.number(u64::from(self.node.0));
        encoder.number(self.process.0);
    }
    fn take(decoder: &mut Decoder<'_>) -> Result<Ballot, DecodeError> {
        let counter = decoder.number()?;
        let node = u32::try_from(decoder.number()?).map_err(|_| DecodeError::Invalid("node"))?;
        Ok(Ballot { counter, node: NodeId(node), process: Process(decoder.number()?) })
    }
}

/// A value that was proposed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Proposal {
    /// None before the first one.
    pub ballot: Ballot,
    /// The key, its value and expiry as snapshots hold them; nothing where there is no such key.
    pub image: Option<Blob>,
    /// When it expires, in ms since 1970.
    pub expires_at_ms: Option<i64>,
    /// The newest writes that it is made of, the last one at the end, at most [`HISTORY_MAX`]: each the ballot under which it
    /// was proposed first.
    pub history: Vec<Ballot>,
}

impl Proposal {
    /// Whether the key was ever written this way.
    pub fn is_written(&self) -> bool {
        !self.history.is_empty()
    }
    /// Whether a write that was built on `basis` (its last one; none for the first) would be named here, were it one of those
    /// that this is made of.
    pub fn would_name(&self, basis: Option<&Ballot>) -> bool {
        self.history.len() < HISTORY_MAX || basis.is_some_and(|basis| self.history.contains(basis))
    }
    /// The next value, written under this ballot.
    #[must_use]
    pub fn followed(&self, ballot: Ballot, image: Option<Blob>, expires_at_ms: Option<i64>) -> Proposal {
        let mut history = self.history.clone();
        history.push(ballot);
        history.drain(..history.len().saturating_sub(HISTORY_MAX));
        Proposal { ballot, image, expires_at_ms, history }
    }
    /// About what it takes in memory and in messages.
    pub fn bytes(&self) -> usize {
        self.image.as_ref().map_or(0, |image| image.len()) + 20 * (self.history.len() + 2)
    }
}

/// One copy's part in the agreement on a key.
// catalogue: K4
// bugs: LL-03
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Acceptor {
    /// Nothing below it is accepted any more.
    pub promised: Ballot,
    pub accepted: Box<Proposal>,
}

impl Proposal {
    pub fn encode(&self, writer: &mut Writer<'_>) {
        self.ballot.encode(writer);
        writer.option(self.image.as_ref(), |writer, image| writer.bytes(image));
        writer.option(self.expires_at_ms, |writer, at_ms| writer.i64(at_ms));
        writer.list(&self.history, |writer, ballot| ballot.encode(writer));
    }
    /// # Errors
    /// When the bytes are not what [`Proposal::encode`] writes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Proposal, DecodeError> {
        let ballot = Ballot::decode(reader)?;
        let image = reader.option(|reader| Ok(reader.bytes()?.into()))?;
        let expires_at_ms = reader.option(|reader| reader.i64())?;
        let history = reader.list(Ballot::decode)?;
        if history.len() > HISTORY_MAX || (ballot.is_none() && (image.is_some() || !history.is_empty())) {
            return Err(DecodeError::Invalid("proposal"));
        }
        Ok(Proposal { ballot, image, expires_at_ms, history })
    }
}

impl Store for Acceptor {
    fn join(&mut self, _: &Context, other: &Self, _: &Context, _: &mut Losers) {
        self.promised = self.promised.max(other.promised);
        if other.accepted.ballot > self.accepted.ballot {
            self.accepted = other.accepted.clone();
        }
    }
    fn is_bottom(&self) -> bool {
        self.promised.is_none() && self.accepted.ballot.is_none()
    }
    fn is_alive(&self) -> bool {
        self.accepted.image.is_some()
    }
    fn newest(&self) -> Option<Mark> {
        None
    }
    /// What was agreed on is changed by agreement alone.
    fn clear(&self, _: &mut Write<'_>) -> Causal<Self> {
        Causal::new()
    }
    fn note(&self, _: &mut Legend) {}
    fn encode(&self, encoder: &mut Encoder<'_, '_>) {
        let Proposal { ballot, image, expires_at_ms, history } = &*self.accepted;
        self.promised.put(encoder);
        ballot.put(encoder);
        encoder.byte(u8::from(image.is_some()));
        image.iter().for_each(|image| encoder.bytes(image));
        encoder.byte(u8::from(expires_at_ms.is_some()));
        expires_at_ms.iter().for_each(|at_ms| encoder.signed(i128::from(*at_ms)));
        encoder.number(history.len() as u64);
        history.iter().for_each(|ballot| ballot.put(encoder));
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let promised = Ballot::take(decoder)?;
        let ballot = Ballot::take(decoder)?;
        let image = if decoder.flag()? { Some(decoder.bytes()?.into()) } else { None };
        let expires_at_ms = match decoder.flag()? {
            true => Some(i64::try_from(decoder.signed()?).map_err(|_| DecodeError::Invalid("expiry"))?),
            false => None,
        };
        let count = decoder.count()?;
        if count > HISTORY_MAX || (ballot.is_none() && (image.is_some() || count > 0)) {
            return Err(DecodeError::Invalid("proposal"));
        }
        let history = (0..count).map(|_| Ballot::take(decoder)).collect::<Result<_, _>>()?;
        Ok(Acceptor { promised, accepted: Box::new(Proposal { ballot, image, expires_at_ms, history }) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::{Object, decode_store, encode_store};

    fn ballot(counter: u64) -> Ballot {
        Ballot { counter, node: NodeId(1), process: Process(1) }
    }
    fn acceptor(promised: u64, accepted: u64) -> Acceptor {
        let first = Proposal::default();
        let image = Some(Blob::from(&b"image"[..]));
        let accepted = if accepted == 0 { first } else { first.followed(ballot(accepted), image, Some(-3)) };
        Acceptor { promised: ballot(promised), accepted: Box::new(accepted) }
    }

    #[test]
    fn merging_takes_the_higher_promise_and_the_higher_ballot_in_any_order() {
        let states: Vec<Acceptor> = (0..4).flat_map(|p| (0..4).map(move |a| acceptor(p, a))).collect();
        let join = |a: &Acceptor, b: &Acceptor| {
            let mut joined = Object::from(a.clone());
            joined.join(&Context::new(), &Object::from(b.clone()), &Context::new(), &mut Losers::default());
            joined
        };
        for a in &states {
            assert_eq!(join(a, a), Object::from(a.clone()));
            for b in &states {
                assert_eq!(join(a, b), join(b, a));
                let joined = join(a, b);
                let joined = joined.as_acceptor().expect("there");
                assert!(joined.promised >= a.promised && joined.accepted.ballot >= a.accepted.ballot);
            }
        }
    }

    #[test]
    fn its_encoded_form_reads_back_and_no_other_value_is_taken() {
        for state in [acceptor(3, 0), acceptor(3, 2), Acceptor::default()] {
            let mut bytes = Vec::new();
            encode_store(&state, &mut Writer::new(&mut bytes));
            assert_eq!(decode_store::<Acceptor>(&bytes), Ok(state));
            for cut in 0..bytes.len() {
                assert!(decode_store::<Acceptor>(&bytes[..cut]).is_err());
            }
        }
    }

    #[test]
    fn a_value_names_its_newest_writes_and_says_when_it_cannot_tell() {
        let mut value = Proposal::default();
        assert!(value.would_name(None) && !value.is_written());
        for counter in 1..=HISTORY_MAX as u64 + 2 {
            value = value.followed(ballot(counter), None, None);
        }
        assert_eq!(value.history.len(), HISTORY_MAX);
        assert!(value.would_name(Some(&ballot(5))));
        assert!(!value.would_name(Some(&ballot(2))) && !value.would_name(None));
    }
}
