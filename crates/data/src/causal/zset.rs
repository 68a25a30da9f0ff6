//! The sorted set: membership as in the observed-remove set; a member's score is a register, of which the highest
//! write is shown, plus what ZINCRBY added.

use super::amount::Amount;
use super::codec::{Decoder, Encoder};
use super::counted::Counted;
use super::dot::Write;
use super::keyed::Keyed;
use super::siblings::Payload;
use super::store::{Causal, Store};
use crate::codec::DecodeError;

/// A score as ZADD sets it: a number, perhaps infinite, never minus zero.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Score(f64);

impl Score {
    /// `None` for what is no number.
    pub fn new(score: f64) -> Option<Score> {
        (!score.is_nan()).then_some(Score(score + 0.0))
    }
    pub fn value(self) -> f64 {
        self.0
    }
}

impl Payload for Score {
    fn encode(&self, encoder: &mut Encoder<'_, '_>) {
        encoder.float(self.0);
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Score, DecodeError> {
        let score = decoder.float()?;
        let is_minus_zero = score == 0.0 && score.is_sign_negative();
        Score::new(score).filter(|_| !is_minus_zero).ok_or(DecodeError::Invalid("score"))
    }
}

pub type ZSet = Keyed<Counted<Score>>;

impl Counted<Score> {
    /// The score that is shown: `None` for a member that is not there.
    pub fn score(&self) -> Option<f64> {
        let base = self.siblings().highest().map(|(_, score)| score.0);
        let added = self.counter().is_alive().then(|| self.counter().value().as_float());
        match (base, added) {
            (None, None) => None,
            (base, added) => Some(base.unwrap_or(0.0) + added.unwrap_or(0.0)),
        }
    }
}

impl ZSet {
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.entry(member)?.score()
    }
    /// Members with scores, in the order of members.
    pub fn scores(&self) -> impl Iterator<Item = (&[u8], f64)> {
        self.iter().filter_map(|(member, entry)| Some((member.as_ref(), entry.score()?)))
    }
    /// ZADD: replaces the score and the increments that are held here.
    pub fn set(&self, write: &mut Write<'_>, member: &[u8], score: Score) -> Causal<ZSet> {
        self.update(member, |entry| entry.write(write, score))
    }
    /// ZINCRBY: adds, whatever others add or set meanwhile. Makes a member of what is none.
    pub fn increment(&self, write: &mut Write<'_>, member: &[u8], by: Amount) -> Causal<ZSet> {
        self.update(member, |entry| entry.add(write, by))
    }
    /// ZREM: takes away what is held here; an increment made meanwhile keeps the member, at what it added.
    pub fn remove(&self, write: &mut Write<'_>, member: &[u8]) -> Causal<ZSet> {
        self.update(member, |entry| entry.clear(write))
    }
}
