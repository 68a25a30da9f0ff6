//! What happened, and what it should come to: the oracle.
//!
//! It knows events, who saw which of them, and what an operation means; nothing of dots, contexts or joins. An event
//! sees what its replica had seen. What it writes lives until an event that saw it alive takes it away.

use data::causal::Stamp;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Events of one run: as many as fit a [`Seen`].
pub const EVENTS_MAX: usize = 512;
type Bits = [u64; EVENTS_MAX / 64];

/// A set of events, and events of which only the additions are known, as part of a later sum.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Seen {
    whole: Bits,
    sums: Bits,
}

impl Seen {
    pub fn insert(&mut self, event: usize) {
        self.whole[event / 64] |= 1 << (event % 64);
    }
    fn insert_sum(&mut self, event: usize) {
        self.sums[event / 64] |= 1 << (event % 64);
    }
    pub fn contains(&self, event: usize) -> bool {
        self.whole[event / 64] >> (event % 64) & 1 == 1
    }
    pub fn merge(&mut self, other: &Seen) {
        self.whole.iter_mut().zip(other.whole).for_each(|(own, theirs)| *own |= theirs);
        self.sums.iter_mut().zip(other.sums).for_each(|(own, theirs)| *own |= theirs);
    }
    pub fn covers(&self, other: &Seen) -> bool {
        self.whole.iter().zip(other.whole).all(|(own, theirs)| theirs & !own == 0)
    }
    pub fn iter(&self) -> impl Iterator<Item = usize> + use<> {
        ones(self.whole)
    }
}

fn ones(bits: Bits) -> impl Iterator<Item = usize> {
    bits.into_iter().enumerate().flat_map(|(at, mut word)| {
        core::iter::from_fn(move || {
            let bit = word.trailing_zeros() as usize;
            word &= word.checked_sub(1)?;
            Some(at * 64 + bit)
        })
    })
}

/// A part of what an event does. Targets are paths; what is removed is named by the beginning of its path.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Takes the place of the writes and the additions at this target that it saw.
    Write { target: String, value: String },
    /// Counts on top of what is there.
    Add { target: String, amount: i64 },
    /// Takes away what it saw below the prefix; if a value is named, only writes of that value.
    Remove { prefix: String, value: Option<&'static str> },
}

pub fn write(target: impl Into<String>, value: impl Into<String>) -> Effect {
    Effect::Write { target: target.into(), value: value.into() }
}
pub fn add(target: impl Into<String>, amount: i64) -> Effect {
    Effect::Add { target: target.into(), amount }
}
pub fn remove(prefix: impl Into<String>) -> Effect {
    Effect::Remove { prefix: prefix.into(), value: None }
}

/// The `n`-th effect of an event.
pub type Atom = (usize, usize);

#[derive(Clone, Debug)]
pub struct Event<O> {
    pub replica: usize,
    pub stamp: Stamp,
    pub operation: O,
    /// Without the event itself.
    pub saw: Seen,
    /// What its replica showed just before.
    pub before: String,
    pub effects: Vec<Effect>,
    /// What it takes away: exactly what it saw alive.
    kills: Vec<Atom>,
    /// What its delta brings along besides itself: an actor's additions to one target travel as their sum.
    pub carries: Seen,
}

#[derive(Clone, Debug)]
pub struct History<O> {
    /// Shared: runs that begin alike are copied often.
    pub events: Vec<Rc<Event<O>>>,
}

/// What is alive among some events.
pub struct Alive<'h> {
    /// Per target `(rank, value)` of each write; the highest rank is shown.
    pub writes: BTreeMap<&'h str, Vec<(Rank, &'h str)>>,
    /// Per target the additions.
    pub adds: BTreeMap<&'h str, Vec<(Rank, i64)>>,
}

/// Stamp, replica, event.
pub type Rank = (Stamp, usize, usize);

impl<O> History<O> {
    pub fn new() -> History<O> {
        History { events: Vec::new() }
    }
    fn alive_atoms(&self, seen: &Seen) -> BTreeSet<Atom> {
        let mut atoms = BTreeSet::new();
        for event in seen.iter() {
            let effects = self.events[event].effects.iter().enumerate();
            atoms.extend(
                effects.filter(|(_, e)| !matches!(e, Effect::Remove { .. })).map(|(n, _)| (event, n)),
            );
        }
        for event in ones(seen.sums) {
            let effects = self.events[event].effects.iter().enumerate();
            atoms.extend(effects.filter(|(_, e)| matches!(e, Effect::Add { .. })).map(|(n, _)| (event, n)));
        }
        for event in seen.iter() {
            self.events[event].kills.iter().for_each(|atom| {
                atoms.remove(atom);
            });
        }
        atoms
    }
    pub fn rank(&self, event: usize) -> Rank {
        (self.events[event].stamp, self.events[event].replica, event)
    }
    pub fn alive(&self, seen: &Seen) -> Alive<'_> {
        let mut alive = Alive { writes: BTreeMap::new(), adds: BTreeMap::new() };
        for (event, n) in self.alive_atoms(seen) {
            let rank = self.rank(event);
            match &self.events[event].effects[n] {
                Effect::Write { target, value } => {
                    alive.writes.entry(target.as_str()).or_default().push((rank, value.as_str()));
                }
                Effect::Add { target, amount } => {
                    alive.adds.entry(target.as_str()).or_default().push((rank, *amount));
                }
                Effect::Remove { .. } => {}
            }
        }
        alive
    }
    /// Records an event with all that follows from what it saw.
    pub fn push(
        &mut self,
        replica: usize,
        stamp: Stamp,
        operation: O,
        saw: Seen,
        before: String,
        effects: Vec<Effect>,
    ) {
        let alive = self.alive_atoms(&saw);
        let mut kills = BTreeSet::new();
        let mut carries = Seen::default();
        for effect in &effects {
            for atom in &alive {
                if takes_away(effect, &self.events[atom.0].effects[atom.1]) {
                    kills.insert(*atom);
                }
            }
            let Effect::Add { target, .. } = effect else { continue };
            // The sum that travels tells of the same actor's earlier additions, and which of them are gone.
            for event in saw.iter().filter(|event| self.events[*event].replica == replica) {
                for (n, earlier) in self.events[event].effects.iter().enumerate() {
                    if matches!(earlier, Effect::Add { target: t, .. } if t == target) {
                        carries.insert_sum(event);
                        if !alive.contains(&(event, n)) {
                            kills.insert((event, n));
                        }
                    }
                }
            }
        }
        // Who takes away an addition tells of the sum up to it, whatever had become of its parts before.
        for (event, n) in kills.clone() {
            let Effect::Add { target, .. } = &self.events[event].effects[n] else { continue };
            for earlier in (0..event).filter(|e| self.events[*e].replica == self.events[event].replica) {
                let effects = self.events[earlier].effects.iter().enumerate();
                let added =
                    effects.filter(|(_, e)| matches!(e, Effect::Add { target: t, .. } if t == target));
                kills.extend(added.map(|(n, _)| (earlier, n)));
            }
        }
        let kills = kills.into_iter().collect();
        let event = Event { replica, stamp, operation, saw, before, effects, kills, carries };
        self.events.push(Rc::new(event));
    }
}

fn takes_away(effect: &Effect, other: &Effect) -> bool {
    let (Effect::Write { target: theirs, .. } | Effect::Add { target: theirs, .. }) = other else {
        return false;
    };
    match effect {
        Effect::Write { target, .. } => target == theirs,
        Effect::Add { .. } => false,
        Effect::Remove { prefix, value: None } => theirs.starts_with(prefix.as_str()),
        Effect::Remove { prefix, value: Some(only) } => {
            theirs.starts_with(prefix.as_str())
                && matches!(other, Effect::Write { value, .. } if value == only)
        }
    }
}

impl<'h> Alive<'h> {
    pub fn highest(&self, target: &str) -> Option<&'h str> {
        self.writes.get(target)?.iter().max().map(|(_, value)| *value)
    }
    pub fn sum(&self, target: &str) -> Option<i64> {
        self.adds.get(target).map(|adds| adds.iter().map(|(_, amount)| amount).sum())
    }
    /// What a string shows: the highest write, plus the additions where it is a number.
    pub fn text(&self, target: &str) -> Option<String> {
        match (self.highest(target), self.sum(target)) {
            (None, None) => None,
            (Some(value), None) => Some(value.to_string()),
            (None, Some(sum)) => Some(sum.to_string()),
            (Some(value), Some(sum)) => {
                Some(value.parse::<i64>().map_or(value.to_string(), |number| (number + sum).to_string()))
            }
        }
    }
    /// Targets below a prefix with something alive, without the prefix.
    pub fn below(&self, prefix: &str) -> BTreeSet<&'h str> {
        let targets = self.writes.keys().chain(self.adds.keys());
        targets.filter_map(|target| target.strip_prefix(prefix)).collect()
    }
    pub fn newest(&self, prefix: &str) -> Option<Rank> {
        let writes = self.writes.iter().filter(|(t, _)| t.starts_with(prefix)).flat_map(|(_, w)| w);
        let adds = self.adds.iter().filter(|(t, _)| t.starts_with(prefix)).flat_map(|(_, a)| a);
        writes.map(|(rank, _)| *rank).chain(adds.map(|(rank, _)| *rank)).max()
    }
}
