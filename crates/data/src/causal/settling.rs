//! Letting recent dots go: a dot that every replica is known to include is recent no more.
//!
//! As long as one replica is away, nothing of what was written since can go, and that may be a million keys. So a copy looks at all of
//! them only when more is known, a part in each turn; what came since it looked is no part of what was known then, unless it
//! came a second time.

use super::context::Context;
use super::shard::ShardCopy;
use alloc::vec::Vec;

/// Places looked at in one turn. A guess: about a millisecond.
const PLACES_MAX: usize = 4096;
/// Places of late dots that are kept one by one; beyond it all places are looked at again. A guess.
const LATE_MAX: usize = 1 << 16;

#[derive(Clone, Default, Debug)]
pub(super) struct Settling {
    /// What every replica includes, as far as was known last.
    stable: Context,
    /// Where a pass over all places goes on.
    from: Option<u64>,
    /// More became known since that pass began: another one follows.
    again: bool,
    /// Places where something came that every replica is known to include.
    late: Vec<u64>,
}

impl Settling {
    /// These dots became recent at a place: perhaps a second time.
    pub fn note_late(&mut self, place: u64, recent: &Context) {
        if !self.stable.meets(recent) {
            return;
        }
        if self.late.len() < LATE_MAX {
            self.late.push(place);
        } else {
            self.begin();
        }
    }
    /// All places are to be looked at.
    pub fn begin(&mut self) {
        self.late.clear();
        self.again = self.from.is_some();
        self.from = self.from.or(Some(0));
    }
}

impl ShardCopy {
    /// Every replica's context includes these dots: where they are recent, they have done their duty. Looks at a part of the keys;
    /// [`ShardCopy::settle_on`] goes on.
    pub fn settle(&mut self, stable: &Context) {
        if self.settling.stable != *stable {
            self.settling.stable = stable.clone();
            self.settling.begin();
        }
        self.settle_on();
    }
    /// Looks at the next part of the keys, if any are left to look at.
    pub fn settle_on(&mut self) {
        let Some(from) = self.settling.from else {
            let rest = self.settling.late.len().saturating_sub(PLACES_MAX);
            let late = self.settling.late.split_off(rest);
            return self.settle_places(&late);
        };
        let places = self.unsettled_from(from, PLACES_MAX);
        self.settle_places(&places);
        let settling = &mut self.settling;
        settling.from = match places.last().filter(|_| places.len() == PLACES_MAX) {
            Some(last) => last.checked_add(1),
            None => None,
        };
        if settling.from.is_none() && core::mem::take(&mut settling.again) {
            settling.from = Some(0);
        }
    }
    fn settle_places(&mut self, places: &[u64]) {
        let stable = core::mem::take(&mut self.settling.stable);
        places.iter().for_each(|place| self.settle_place(*place, &stable));
        self.settling.stable = stable;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::dot::{Actor, Dot};
    use crate::causal::object::Object;
    use crate::causal::step::Step;
    use crate::causal::store::Causal;
    use crate::table::Seed;

    fn dot(counter: u64) -> Dot {
        Dot { actor: Actor::default(), counter }
    }
    fn note(copy: &mut ShardCopy, counter: u64) {
        let key = counter.to_be_bytes().to_vec().into_boxed_slice();
        let delta = Causal { store: Object::default(), context: Context::from_iter([dot(counter)]) };
        copy.apply(&Step::Delta { key, delta });
    }
    fn through(counter: u64) -> Context {
        let mut context = Context::new();
        context.insert_range(Actor::default(), 1, counter);
        context
    }

    #[test]
    fn a_pass_goes_on_turn_by_turn_and_begins_again_when_more_is_known() {
        let mut copy = ShardCopy::new(Seed(1, 2));
        let count = 2 * PLACES_MAX as u64 + 10;
        (1..=count).for_each(|counter| note(&mut copy, counter));
        copy.settle(&through(count));
        assert_eq!(copy.unsettled() as u64, count - PLACES_MAX as u64);
        note(&mut copy, count + 1);
        copy.settle(&through(count + 1));
        (0..3).for_each(|_| copy.settle_on());
        assert_eq!(copy.unsettled(), 0);
        assert!(copy.settling.from.is_none(), "and then there is nothing left to look at");
    }

    #[test]
    fn what_comes_a_second_time_is_let_go_although_no_more_is_known() {
        let mut copy = ShardCopy::new(Seed(1, 2));
        (1..=3).for_each(|counter| note(&mut copy, counter));
        copy.settle(&through(2));
        assert_eq!(copy.unsettled(), 1);
        note(&mut copy, 1);
        note(&mut copy, 4);
        assert_eq!((copy.unsettled(), copy.settling.late.len()), (3, 1));
        copy.settle(&through(2));
        assert_eq!(copy.unsettled(), 2);
        for _ in 0..=LATE_MAX {
            note(&mut copy, 2);
        }
        assert_eq!((copy.unsettled(), copy.settling.late.len()), (3, 0));
        copy.settle_on();
        assert_eq!(copy.unsettled(), 2);
    }
}
