//! A bounded search for an order that explains the steps of one register whose values repeat.
//!
//! Source: Wing and Gong, "Testing and Verifying Concurrent Objects" (1993): take away, one after the other, steps that
//! began before every remaining step ended. Lowe, "Testing for linearizability" (2017): what is left to do depends only on
//! the set of steps taken and the state, so no such pair is visited twice. Three things keep the number of pairs small:
//!
//! - A read of what is there now is taken at once: it hinders nobody.
//! - A write of unknown outcome is taken only right before somebody who sees its value: if an order exists, so does one in
//!   which all others are left out. Of several alike, the one that began first is taken first: it fits wherever another does.
//! - What was taken is kept as the first step not taken and a bitset of those behind it; all before it are taken.
//!
//! *Invariant:* the answer depends on nothing but the steps and the bound.

use crate::operation::NEVER;
use crate::register::Step;
use std::collections::{BTreeMap, HashSet};

/// What a search found out.
pub(crate) enum Answer {
    Explained,
    /// There is no order. The best attempt placed so many steps; then this one (its place in the history) had to come next
    /// and could not.
    Broken {
        placed: usize,
        stuck: usize,
    },
    /// The bound was reached.
    GivenUp,
}

/// Steps of unknown outcome that do the same, by their starts.
struct Group {
    needs: Option<u32>,
    leaves: u32,
    starts: Vec<u64>,
    used: u32,
}

#[derive(Clone, Copy)]
enum Move {
    Certain(usize),
    Unknown(usize),
}

/// A move that was made, and how it was before.
struct Frame {
    made: Move,
    state: State,
    /// Where to go on looking for another move; nowhere after a read that was taken at once.
    next: Option<usize>,
}

#[derive(Clone, Copy)]
struct State {
    /// The first certain step that is not taken.
    first: usize,
    value: u32,
    /// The value is of unknown outcome and nobody has seen it yet.
    is_fresh: bool,
}

struct Search<'a> {
    /// By their starts.
    certain: &'a [Step],
    is_taken: Vec<bool>,
    groups: Vec<Group>,
    /// Groups of which something is used, and how much.
    used: BTreeMap<u32, u32>,
    state: State,
    frames: Vec<Frame>,
    placed: usize,
    best: Option<(usize, usize)>,
}

/// Looks for an order, from value 0. A step whose end is [`NEVER`] may be left out.
pub(crate) fn explain(steps: &[Step], states_max: usize) -> Answer {
    let mut certain: Vec<Step> = steps.iter().filter(|step| step.end < NEVER).copied().collect();
    certain.sort_by_key(|step| (step.start, step.end, step.at));
    let mut search = Search {
        is_taken: vec![false; certain.len()],
        groups: groups(steps),
        certain: &certain,
        used: BTreeMap::new(),
        state: State { first: 0, value: 0, is_fresh: false },
        frames: Vec::new(),
        placed: 0,
        best: None,
    };
    search.run(states_max)
}

/// Steps of unknown outcome whose value somebody sees.
fn groups(steps: &[Step]) -> Vec<Group> {
    let is_unknown = |step: &&Step| step.end == NEVER;
    let mut wanted: Vec<u32> = steps.iter().filter(|it| it.end < NEVER).filter_map(|it| it.needs).collect();
    let mut by_value: BTreeMap<u32, Vec<&Step>> = BTreeMap::new();
    for step in steps.iter().filter(is_unknown) {
        by_value.entry(step.leaves.unwrap_or_default()).or_default().push(step);
    }
    let mut groups: BTreeMap<(u32, Option<u32>), Vec<u64>> = BTreeMap::new();
    while let Some(value) = wanted.pop() {
        for step in by_value.remove(&value).into_iter().flatten() {
            wanted.extend(step.needs);
            groups.entry((value, step.needs)).or_default().push(step.start);
        }
    }
    let group = |((leaves, needs), mut starts): ((u32, Option<u32>), Vec<u64>)| {
        starts.sort_unstable();
        Group { needs, leaves, starts, used: 0 }
    };
    groups.into_iter().map(group).collect()
}

impl Search<'_> {
    fn run(&mut self, states_max: usize) -> Answer {
        let mut visited: HashSet<Box<[u32]>> = HashSet::new();
        let mut from = Some(0);
        loop {
            if self.state.first == self.certain.len() {
                return Answer::Explained;
            }
            if visited.len() >= states_max {
                return Answer::GivenUp;
            }
            let window = self.window();
            if from == Some(0)
                && let Some(read) = self.read_at_once(window)
            {
                self.make(Move::Certain(read), None);
                continue;
            }
            match from.and_then(|from| self.next(window, from)) {
                Some((made, at)) => {
                    self.make(made, Some(at + 1));
                    from = if visited.insert(self.fingerprint()) { Some(0) } else { self.take_back() };
                }
                None => {
                    self.remember_best();
                    if self.frames.is_empty() {
                        let (placed, stuck) = self.best.unwrap_or_default();
                        return Answer::Broken { placed, stuck };
                    }
                    from = self.take_back();
                }
            }
        }
    }

    /// One past the last certain step that may come next, and until when what comes next must have begun.
    fn window(&self) -> (usize, u64) {
        let (mut until, mut at) = (NEVER, self.state.first);
        while at < self.certain.len() && self.certain[at].start <= until {
            if !self.is_taken[at] {
                until = until.min(self.certain[at].end);
            }
            at += 1;
        }
        // Steps that were passed before the smallest end was known may begin after it.
        while at > self.state.first && self.certain[at - 1].start > until {
            at -= 1;
        }
        (at, until)
    }

    fn open(&self, window: (usize, u64)) -> impl Iterator<Item = (usize, &Step)> {
        let places = self.state.first..window.0;
        places.filter(|at| !self.is_taken[*at]).map(|at| (at, &self.certain[at]))
    }

    fn read_at_once(&self, window: (usize, u64)) -> Option<usize> {
        let value = Some(self.state.value);
        self.open(window).find(|(_, it)| it.leaves.is_none() && it.needs == value).map(|(at, _)| at)
    }

    /// The next move among the numbered ones: first the certain steps of the window, then the groups.
    fn next(&self, window: (usize, u64), from: usize) -> Option<(Move, usize)> {
        let first = self.state.first;
        let count = window.0 - first;
        let value = self.state.value;
        let may_follow = |needs: Option<u32>| match needs {
            Some(needed) => needed == value,
            None => !self.state.is_fresh,
        };
        let certain = |at: &usize| !self.is_taken[first + at] && may_follow(self.certain[first + at].needs);
        if let Some(at) = (from..count).find(certain) {
            return Some((Move::Certain(first + at), at));
        }
        let unknown = |group: &usize| {
            let it = &self.groups[*group];
            let has_begun = it.starts.get(it.used as usize).is_some_and(|start| *start <= window.1);
            has_begun && it.leaves != value && may_follow(it.needs) && self.is_wanted(it.leaves, window)
        };
        let group = (from.saturating_sub(count)..self.groups.len()).find(unknown)?;
        Some((Move::Unknown(group), count + group))
    }

    /// Whether somebody who may come right after would see the value.
    fn is_wanted(&self, value: u32, window: (usize, u64)) -> bool {
        self.open(window).any(|(_, step)| step.needs == Some(value))
            || self.groups.iter().any(|group| group.needs == Some(value))
    }

    fn make(&mut self, made: Move, next: Option<usize>) {
        self.frames.push(Frame { made, state: self.state, next });
        match made {
            Move::Certain(at) => {
                self.is_taken[at] = true;
                self.placed += 1;
                self.state.is_fresh = false;
                self.state.value = self.certain[at].leaves.unwrap_or(self.state.value);
                while self.is_taken.get(self.state.first) == Some(&true) {
                    self.state.first += 1;
                }
            }
            Move::Unknown(group) => {
                self.groups[group].used += 1;
                self.used.insert(group as u32, self.groups[group].used);
                self.state.is_fresh = true;
                self.state.value = self.groups[group].leaves;
            }
        }
    }

    /// Takes the last move back; where to look for another in its place.
    fn take_back(&mut self) -> Option<usize> {
        let frame = self.frames.pop()?;
        self.state = frame.state;
        match frame.made {
            Move::Certain(at) => {
                self.is_taken[at] = false;
                self.placed -= 1;
            }
            Move::Unknown(group) => {
                self.groups[group].used -= 1;
                match self.groups[group].used {
                    0 => self.used.remove(&(group as u32)),
                    used => self.used.insert(group as u32, used),
                };
            }
        }
        frame.next
    }

    /// The steps taken and the state, each pair in one form.
    fn fingerprint(&self) -> Box<[u32]> {
        let (window, _) = self.window();
        let State { first, value, is_fresh } = self.state;
        let mut words = vec![first as u32, value, u32::from(is_fresh)];
        let (mut word, mut bit) = (0, 0);
        for at in first..window {
            word |= u32::from(self.is_taken[at]) << bit;
            bit += 1;
            if bit == 32 {
                words.push(word);
                (word, bit) = (0, 0);
            }
        }
        words.push(word);
        // The window depends only on `first` and the bits: what follows cannot be taken for a part of it.
        words.extend(self.used.iter().flat_map(|(group, used)| [*group, *used]));
        words.into_boxed_slice()
    }

    fn remember_best(&mut self) {
        if self.best.is_some_and(|(placed, _)| placed >= self.placed) {
            return;
        }
        let open = (self.state.first..self.certain.len()).filter(|at| !self.is_taken[*at]);
        let soonest = open.take_while(|at| self.certain[*at].start <= self.window().1);
        if let Some(at) = soonest.min_by_key(|at| self.certain[*at].end) {
            self.best = Some((self.placed, self.certain[at].at));
        }
    }
}
