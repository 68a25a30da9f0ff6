//! The counter: per actor what it has added and how much of that deletes have seen; the value is the sum of the
//! differences.
//!
//! An actor's total is told by its dot, so what arrives twice or late changes nothing (ML-11, LL-24). A delete cannot
//! just forget the totals that it saw: an increment made concurrently by the same actor carries the whole total, and
//! what was deleted would come back with it. So a delete records, per actor, which total it saw. The record goes when
//! the actor, having seen the delete, adds again: it starts over from zero at a new base.

use super::amount::Amount;
use super::codec::{Decoder, Encoder, Legend};
use super::context::Context;
use super::dot::{Actor, Dot, Mark, Write};
use super::stamp::Stamp;
use super::store::{Causal, Losers, Store};
use crate::codec::DecodeError;
use crate::plant::{self, Bug};
use alloc::collections::BTreeMap;

/// What one actor added.
///
/// Invariant: `base <= last`, and `seen_last` is 0 or within `base..=last`. `total` is a function of the actor and
/// `last`, `seen` of the actor and `seen_last`.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Share {
    /// Counter of the first increment that `total` includes. All before it is deleted.
    base: u64,
    /// Counter and stamp of the last one.
    last: u64,
    stamp: Stamp,
    total: Amount,
    /// The increment up to which deletes have seen; 0 for none.
    seen_last: u64,
    seen: Amount,
}

impl Share {
    fn is_alive(&self) -> bool {
        self.last > self.seen_last
    }
    fn join(&mut self, other: &Share) {
        if other.base != self.base {
            // Its actor started over only after it had seen everything older deleted.
            if other.base > self.base {
                *self = *other;
            }
            return;
        }
        if plant::is(Bug::CountsAgain) && other.last == self.last && other.seen_last == 0 {
            self.total = self.total.plus(Amount::whole(1));
        }
        if other.last > self.last {
            (self.last, self.stamp, self.total) = (other.last, other.stamp, other.total);
        }
        if other.seen_last > self.seen_last {
            (self.seen_last, self.seen) = (other.seen_last, other.seen);
        }
    }
}

/// A counter, apart from any register that it adds to.
// catalogue: J9
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Counter {
    shares: BTreeMap<Actor, Share>,
}

impl Counter {
    /// The sum of what no delete has seen, in the order of actors: floating sums are the same on every replica.
    pub fn value(&self) -> Amount {
        let alive = self.shares.values().filter(|share| share.is_alive());
        alive.fold(Amount::ZERO, |sum, share| sum.plus(share.total.minus(share.seen)))
    }
    /// How many actors have added or been deleted: the counter's size.
    pub fn actors(&self) -> usize {
        self.shares.len()
    }
    /// A delta that removes every increment that is held here, and no other.
    pub fn seen(&self) -> Causal<Counter> {
        let alive = self.shares.iter().filter(|(_, share)| share.is_alive());
        let shares = alive
            .map(|(actor, share)| (*actor, Share { seen_last: share.last, seen: share.total, ..*share }));
        Causal { store: Counter { shares: shares.collect() }, context: Context::new() }
    }
    pub fn add(&self, write: &mut Write<'_>, amount: Amount) -> Causal<Counter> {
        let Mark { stamp, dot } = write.mark();
        let share = match self.shares.get(&dot.actor) {
            // A share that knows later dots of this actor is not its own work: never go below its base.
            Some(share) if share.is_alive() && share.last < dot.counter => {
                Share { last: dot.counter, stamp, total: share.total.plus(amount), ..*share }
            }
            _ => {
                let (base, last) = (dot.counter, dot.counter);
                Share { base, last, stamp, total: amount, seen_last: 0, seen: Amount::ZERO }
            }
        };
        Causal {
            store: Counter { shares: BTreeMap::from([(dot.actor, share)]) },
            context: Context::from_iter([dot]),
        }
    }
}

impl Store for Counter {
    const MAY_REMAIN: bool = true;

    fn join(&mut self, _: &Context, other: &Self, _: &Context, _: &mut Losers) {
        for (actor, share) in &other.shares {
            self.shares.entry(*actor).and_modify(|own| own.join(share)).or_insert(*share);
        }
        if plant::is(Bug::ForgetsSeen) {
            self.shares.retain(|_, share| share.is_alive());
        }
    }
    fn is_bottom(&self) -> bool {
        self.shares.is_empty()
    }
    fn is_alive(&self) -> bool {
        self.shares.values().any(Share::is_alive)
    }
    fn newest(&self) -> Option<Mark> {
        let alive = self.shares.iter().filter(|(_, share)| share.is_alive());
        alive
            .map(|(actor, share)| Mark {
                stamp: share.stamp,
                dot: Dot { actor: *actor, counter: share.last },
            })
            .max()
    }
    fn clear(&self, _: &mut Write<'_>) -> Causal<Self> {
        self.seen()
    }
    /// Shares that deletes have seen whole. Their actors start over at a new base, whether they are kept or not.
    fn residue(&self, dots: &mut Context) {
        for (actor, share) in self.shares.iter().filter(|(_, share)| !share.is_alive()) {
            dots.insert(Dot { actor: *actor, counter: share.last });
        }
    }
    fn collect(&mut self, dots: &Context) {
        self.shares.retain(|actor, share| {
            share.is_alive() || !dots.contains(Dot { actor: *actor, counter: share.last })
        });
    }
    fn note(&self, legend: &mut Legend) {
        for (actor, share) in &self.shares {
            legend.actor(*actor);
            legend.stamp(share.stamp);
        }
    }
    fn encode(&self, encoder: &mut Encoder<'_, '_>) {
        encoder.number(self.shares.len() as u64);
        for (actor, share) in &self.shares {
            encoder.actor(*actor);
            encoder.number(share.base);
            encoder.number(share.last - share.base);
            encoder.stamp(share.stamp);
            share.total.encode(encoder);
            // What deletes saw: nothing, all, or something in between.
            if share.seen_last == 0 {
                encoder.byte(0);
            } else if !share.is_alive() {
                encoder.byte(1);
            } else {
                encoder.byte(2);
                encoder.number(share.seen_last - share.base);
                share.seen.encode(encoder);
            }
        }
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let mut shares: BTreeMap<Actor, Share> = BTreeMap::new();
        for _ in 0..decoder.count()? {
            let actor = decoder.actor()?;
            let base = decoder.number()?;
            let last = base
                .checked_add(decoder.number()?)
                .filter(|_| base > 0)
                .ok_or(DecodeError::Invalid("share"))?;
            let stamp = decoder.stamp()?;
            let total = Amount::decode(decoder)?;
            let (seen_last, seen) = match decoder.byte()? {
                0 => (0, Amount::ZERO),
                1 => (last, total),
                2 => {
                    let seen_last = base.checked_add(decoder.number()?).filter(|seen| *seen < last);
                    (seen_last.ok_or(DecodeError::Invalid("share"))?, Amount::decode(decoder)?)
                }
                _ => return Err(DecodeError::Invalid("share")),
            };
            if shares.last_key_value().is_some_and(|(before, _)| *before >= actor) {
                return Err(DecodeError::Invalid("order of actors"));
            }
            shares.insert(actor, Share { base, last, stamp, total, seen_last, seen });
        }
        Ok(Counter { shares })
    }
}
