//! Registers that only rise, as those of a hyperloglog: merging takes the maximum of each.
//!
//! A maximum cannot be taken apart again, so each actor keeps registers of its own, and a delete takes those of an
//! actor whole: up to the dot that it saw. What an actor raised while somebody else deleted survives, together with
//! what the same actor had raised before; a hyperloglog may then count what was deleted, and never misses what was
//! not.

use super::codec::{Decoder, Encoder, Legend};
use super::context::Context;
use super::dot::{Actor, Dot, Mark, Write};
use super::stamp::Stamp;
use super::store::{Causal, Losers, Store};
use crate::codec::DecodeError;
use alloc::collections::BTreeMap;

/// What one actor raised.
///
/// Invariant: `base <= last`, and `seen_last` is 0 or within `base..=last`. Registers stay while a delete hides them,
/// until the actor starts over: which of the two came first must not matter.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Share {
    /// Counter of the first write that the registers include. All before it is deleted.
    base: u64,
    /// Counter and stamp of the last one.
    last: u64,
    stamp: Stamp,
    /// The write up to which deletes have seen; 0 for none.
    seen_last: u64,
    /// Never zero.
    registers: BTreeMap<u16, u8>,
}

impl Share {
    fn is_alive(&self) -> bool {
        self.last > self.seen_last
    }
    fn join(&mut self, other: &Share) {
        if other.base != self.base {
            if other.base > self.base {
                *self = other.clone();
            }
            return;
        }
        if other.last > self.last {
            (self.last, self.stamp) = (other.last, other.stamp);
        }
        self.seen_last = self.seen_last.max(other.seen_last);
        raise(&mut self.registers, &other.registers);
    }
}

fn raise(registers: &mut BTreeMap<u16, u8>, by: &BTreeMap<u16, u8>) {
    for (at, value) in by {
        let slot = registers.entry(*at).or_insert(*value);
        *slot = (*value).max(*slot);
    }
}

#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Maximum {
    shares: BTreeMap<Actor, Share>,
}

impl Maximum {
    /// The registers that stand above zero.
    pub fn registers(&self) -> BTreeMap<u16, u8> {
        let mut registers = BTreeMap::new();
        for share in self.shares.values().filter(|share| share.is_alive()) {
            raise(&mut registers, &share.registers);
        }
        registers
    }
    /// How high one register stands.
    pub fn register(&self, at: u16) -> u8 {
        let alive = self.shares.values().filter(|share| share.is_alive());
        alive.filter_map(|share| share.registers.get(&at)).copied().max().unwrap_or(0)
    }
    /// Raises registers to these values at least. Also where they stand that high already: what was raised here
    /// survives a delete that did not see it.
    pub fn raise(
        &self,
        write: &mut Write<'_>,
        points: impl IntoIterator<Item = (u16, u8)>,
    ) -> Causal<Maximum> {
        let Mark { stamp, dot } = write.mark();
        // A share that knows later dots of this actor is not its own work: never go below its base.
        let own = self.shares.get(&dot.actor);
        let held = own.filter(|share| share.is_alive() && share.last < dot.counter);
        let mut registers = BTreeMap::new();
        for (at, value) in points.into_iter().filter(|point| point.1 > 0) {
            raise(&mut registers, &BTreeMap::from([(at, value)]));
        }
        let share = Share {
            base: held.map_or(dot.counter, |held| held.base),
            last: dot.counter,
            stamp,
            seen_last: held.map_or(0, |held| held.seen_last),
            registers,
        };
        let store = Maximum { shares: BTreeMap::from([(dot.actor, share)]) };
        Causal { store, context: Context::from_iter([dot]) }
    }
}

impl Store for Maximum {
    const MAY_REMAIN: bool = true;

    fn join(&mut self, _: &Context, other: &Self, _: &Context, _: &mut Losers) {
        for (actor, share) in &other.shares {
            match self.shares.get_mut(actor) {
                Some(own) => own.join(share),
                None => {
                    self.shares.insert(*actor, share.clone());
                }
            }
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
        let alive = self.shares.iter().filter(|(_, share)| share.is_alive());
        let shares = alive.map(|(actor, share)| {
            let Share { base, last, stamp, .. } = *share;
            (*actor, Share { base, last, stamp, seen_last: last, registers: BTreeMap::new() })
        });
        Causal { store: Maximum { shares: shares.collect() }, context: Context::new() }
    }
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
            // 0 for none, else how far above the base, plus one.
            encoder.number(share.seen_last.checked_sub(share.base).map_or(0, |above| above + 1));
            encoder.number(share.registers.len() as u64);
            let mut next = 0;
            for (at, value) in &share.registers {
                encoder.number(u64::from(*at) - next);
                encoder.byte(*value);
                next = u64::from(*at) + 1;
            }
        }
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        const INVALID: DecodeError = DecodeError::Invalid("share");
        let mut shares: BTreeMap<Actor, Share> = BTreeMap::new();
        for _ in 0..decoder.count()? {
            let actor = decoder.actor()?;
            let base = decoder.number()?;
            let last = base.checked_add(decoder.number()?).filter(|_| base > 0).ok_or(INVALID)?;
            let stamp = decoder.stamp()?;
            let seen_last = match decoder.number()?.checked_sub(1) {
                None => 0,
                Some(above) => base.checked_add(above).filter(|seen| *seen <= last).ok_or(INVALID)?,
            };
            let mut registers = BTreeMap::new();
            let mut next = 0u64;
            for _ in 0..decoder.count()? {
                let at = decoder.number()?.checked_add(next).and_then(|at| u16::try_from(at).ok());
                let (at, value) = (at.ok_or(INVALID)?, decoder.byte()?);
                if value == 0 {
                    return Err(INVALID);
                }
                registers.insert(at, value);
                next = u64::from(at) + 1;
            }
            if shares.last_key_value().is_some_and(|(before, _)| *before >= actor) {
                return Err(DecodeError::Invalid("order of actors"));
            }
            shares.insert(actor, Share { base, last, stamp, seen_last, registers });
        }
        Ok(Maximum { shares })
    }
}
