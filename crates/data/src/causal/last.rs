//! The last-write-wins register: the highest (stamp, actor) is the value, what it did not see has lost.
//!
//! What lost stays beside the winner until a write that saw it replaces both, so no copy has to be there when the two
//! meet: whichever way a loser takes, it is in the state and every copy tells of it alike (`conflict`; bugs: LL-01).
//! A merge also reports what it let go, for keyspaces that keep their own list.
//!
//! A delete is a write like others. Were it an observed remove, the outcome would depend on whether a replica had
//! dropped a loser before the delete came or after it. So here, and only here, a delete with the higher stamp takes a
//! concurrent write with it; that write is a loser like any other.

use super::codec::{Decoder, Encoder, Legend};
use super::context::Context;
use super::dot::{Mark, Write};
use super::siblings::{Payload, Siblings};
use super::stamp::Stamp;
use super::store::{Causal, Losers, Store};
use crate::codec::DecodeError;
use crate::plant::{self, Bug};
use crate::value::Blob;

/// `None` is a delete.
impl Payload for Option<Blob> {
    fn encode(&self, encoder: &mut Encoder<'_, '_>) {
        encoder.byte(u8::from(self.is_some()));
        self.iter().for_each(|value| encoder.bytes(value));
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Option<Blob>, DecodeError> {
        if decoder.flag()? { Ok(Some(decoder.bytes()?.into())) } else { Ok(None) }
    }
}

/// The highest write ever, and what it did not see. Nothing before the first write.
// catalogue: J5 J6 J7
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Last {
    register: Siblings<Option<Blob>>,
}

impl Last {
    pub fn value(&self) -> Option<&Blob> {
        self.register.highest()?.1.as_ref()
    }
    /// The mark of the highest write, delete or not.
    pub fn mark(&self) -> Option<Mark> {
        self.register.highest().map(|(mark, _)| mark)
    }
    /// The winner and what lost to it, ascending by dot.
    pub fn writes(&self) -> impl Iterator<Item = (Mark, &Option<Blob>)> {
        self.register.iter()
    }
    /// How many of them there are.
    pub fn len(&self) -> usize {
        self.register.len()
    }
    pub fn is_empty(&self) -> bool {
        self.register.is_empty()
    }
    /// What a reader has seen, losers too.
    pub fn seen(&self) -> Context {
        self.register.seen()
    }
    /// Replaces what is held here; `None` deletes it. The write never loses to what it saw, whatever stamp it came
    /// with.
    pub fn write(&self, write: &mut Write<'_>, value: Option<Blob>) -> Causal<Last> {
        self.write_over(self.seen(), Stamp::default(), write, value)
    }
    /// Replaces exactly what a context names. It never loses to what of that is held here, nor to `over`.
    pub fn write_over(
        &self,
        seen: Context,
        over: Stamp,
        write: &mut Write<'_>,
        value: Option<Blob>,
    ) -> Causal<Last> {
        let mut mark = write.mark();
        if plant::is(Bug::StampsByClock) {
            let older = self.writes().filter(|(held, _)| seen.contains(held.dot) && held.stamp <= mark.stamp);
            let seen = older.map(|(held, _)| held.dot).collect();
            return Siblings::one_over(seen, mark, value).map(|register| Last { register });
        }
        let held = self.writes().filter(|(held, _)| seen.contains(held.dot)).map(|(held, _)| held.stamp);
        if let Some(newest) = held.chain((over != Stamp::default()).then_some(over)).max() {
            mark.stamp = mark.stamp.max(newest.next());
        }
        Siblings::one_over(seen, mark, value).map(|register| Last { register })
    }
}

impl Store for Last {
    const MAY_LOSE: bool = true;

    fn join(&mut self, own: &Context, other: &Self, theirs: &Context, losers: &mut Losers) {
        let before = self.register.highest().map(|(mark, value)| (mark, value.clone()));
        let is_new = |mark: Mark| !own.contains(mark.dot);
        if plant::is(Bug::LastArrivalWins) && other.writes().any(|(mark, _)| is_new(mark)) {
            self.register = Siblings::default();
        }
        self.register.join(own, &other.register, theirs, losers);
        let Some((winner, value)) = self.register.highest().map(|(mark, value)| (mark, value.clone())) else {
            return;
        };
        if plant::is(Bug::ReportsNoLosers) {
            self.register = Siblings::one_over(Context::new(), winner, value).store;
            return;
        }
        // Equal values are no conflict (ML-19), nor is what the other side has seen.
        for (mark, lost) in self.register.iter() {
            let came = is_new(mark) && other.writes().any(|(it, _)| it == mark);
            let fell = before.as_ref().is_some_and(|(it, _)| *it == mark);
            if mark != winner && *lost != value && (came || fell) {
                losers.push(mark, lost.clone(), winner);
            }
        }
    }
    fn is_bottom(&self) -> bool {
        self.register.is_bottom()
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
        self.register.note(legend);
    }
    fn encode(&self, encoder: &mut Encoder<'_, '_>) {
        self.register.encode(encoder);
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Last { register: Siblings::decode(decoder)? })
    }
}
