//! The last-write-wins register: the highest (stamp, actor) is the value, what lost goes to the inbox.
//!
//! A delete is a write like others. Were it an observed remove, the outcome would depend on whether a replica had
//! dropped a loser before the delete came or after it. So here, and only here, a delete with the higher stamp takes a
//! concurrent write with it; that write is reported like any other loser (LL-01).

use super::codec::{Decoder, Encoder, Legend};
use super::context::Context;
use super::dot::{Mark, Write};
use super::store::{Causal, Losers, Store};
use crate::codec::DecodeError;
use crate::plant::{self, Bug};
use crate::value::Blob;

/// The highest write ever, `None` being a delete. Nothing before the first write.
// catalogue: J5 J6 J7
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Last {
    entry: Option<(Mark, Option<Blob>)>,
}

impl Last {
    pub fn value(&self) -> Option<&Blob> {
        self.entry.as_ref()?.1.as_ref()
    }
    /// The mark of the highest write, delete or not.
    pub fn mark(&self) -> Option<Mark> {
        self.entry.as_ref().map(|entry| entry.0)
    }
    /// Replaces what is held here; `None` deletes it. The write never loses to what it saw, whatever stamp it came
    /// with.
    pub fn write(&self, write: &mut Write<'_>, value: Option<Blob>) -> Causal<Last> {
        let mut mark = write.mark();
        let mut context = Context::from_iter([mark.dot]);
        if let Some(seen) = self.mark() {
            mark.stamp = mark.stamp.max(seen.stamp.next());
            context.insert(seen.dot);
        }
        Causal { store: Last { entry: Some((mark, value)) }, context }
    }
}

impl Store for Last {
    const MAY_LOSE: bool = true;

    fn join(&mut self, own: &Context, other: &Self, theirs: &Context, losers: &mut Losers) {
        let Some((incoming, value)) = &other.entry else { return };
        let Some((held, held_value)) = &mut self.entry else {
            self.entry = other.entry.clone();
            return;
        };
        // Equal values are no conflict (ML-19), nor is what the other side has seen.
        let differ = value != held_value && !plant::is(Bug::ReportsNoLosers);
        let comes_last = plant::is(Bug::LastArrivalWins) && !own.contains(incoming.dot);
        if *incoming > *held || comes_last {
            let loser = core::mem::replace(held_value, value.clone());
            if differ && !theirs.contains(held.dot) {
                losers.push(*held, loser, *incoming);
            }
            *held = *incoming;
        } else if *incoming < *held && differ && !own.contains(incoming.dot) {
            losers.push(*incoming, value.clone(), *held);
        }
    }
    fn is_bottom(&self) -> bool {
        self.entry.is_none()
    }
    fn is_alive(&self) -> bool {
        self.value().is_some()
    }
    fn newest(&self) -> Option<Mark> {
        self.value().and(self.mark())
    }
    fn clear(&self, write: &mut Write<'_>) -> Causal<Self> {
        if self.is_alive() { self.write(write, None) } else { Causal::new() }
    }
    fn note(&self, legend: &mut Legend) {
        self.mark().into_iter().for_each(|mark| legend.mark(mark));
    }
    fn encode(&self, encoder: &mut Encoder<'_, '_>) {
        let Some((mark, value)) = &self.entry else { return encoder.byte(0) };
        encoder.byte(if value.is_some() { 2 } else { 1 });
        encoder.mark(*mark);
        value.iter().for_each(|value| encoder.bytes(value));
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let entry = match decoder.byte()? {
            0 => None,
            1 => Some((decoder.mark()?, None)),
            2 => Some((decoder.mark()?, Some(decoder.bytes()?.into()))),
            _ => return Err(DecodeError::Invalid("last write")),
        };
        Ok(Last { entry })
    }
}
