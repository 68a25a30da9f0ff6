//! Sets and lists: what was added is there in every later read, once, until it is taken away, and nothing else is.
//!
//! Each element is judged by itself: whole reads are not held against each other, except for the order within a list.
//! What one read alone makes impossible is found exactly, and so is what several reads of an element make impossible: by
//! the moment from which it is known to be there, or, where it was also taken away, by a search like that of a register
//! with the values "absent" and "present".

use crate::model::{Key, Settings};
use crate::operation::{Action, NEVER, Operation, Status, Value};
use crate::register::Step;
use crate::search::{self, Answer};
use crate::verdict::{Kind, Verdict};
use crate::versions::later;
use std::collections::BTreeMap;

const ABSENT: u32 = 0;
const PRESENT: u32 = 1;

/// What happened to one element.
#[derive(Default)]
struct Element {
    adds: Vec<usize>,
    removes: Vec<usize>,
    refused: Option<usize>,
    /// Reads that saw it, in the order of their starts.
    seen: Vec<usize>,
}

/// The end of an operation, where what never ended did so after everything.
fn end(operation: &Operation) -> u64 {
    if operation.status == Status::Info { NEVER } else { operation.end }
}

pub(crate) fn check(key: &Key<'_>, settings: &Settings, verdict: &mut Verdict) {
    let mut elements: BTreeMap<&Value, Element> = BTreeMap::new();
    let mut reads: Vec<(usize, &[Value])> = Vec::new();
    let mut is_list = false;
    for (at, operation) in key.operations() {
        match &operation.action {
            Action::Add { element } | Action::Append { element } => {
                let it = elements.entry(element).or_default();
                match operation.status {
                    Status::Fail => it.refused = Some(at),
                    _ => it.adds.push(at),
                }
            }
            Action::Remove { element } if operation.may_have_happened() => {
                elements.entry(element).or_default().removes.push(at);
            }
            Action::Members { seen } | Action::Range { seen } if operation.is_ok() => {
                is_list |= matches!(operation.action, Action::Range { .. });
                reads.push((at, seen));
            }
            _ => {}
        }
    }
    for (at, seen) in &reads {
        for value in *seen {
            elements.entry(value).or_default().seen.push(*at);
        }
    }
    for (value, element) in &mut elements {
        Judge { key, value, element, reads: &reads, settings }.check(verdict);
    }
    if is_list {
        order(key, &elements, &reads, verdict);
    }
}

struct Judge<'a, 'k> {
    key: &'a Key<'k>,
    value: &'a Value,
    element: &'a mut Element,
    reads: &'a [(usize, &'k [Value])],
    settings: &'a Settings,
}

impl Judge<'_, '_> {
    fn of(&self, at: usize) -> &Operation {
        &self.key.history[at]
    }

    fn found(&self, verdict: &mut Verdict, kind: Kind, witnesses: &[usize], text: &str) {
        verdict.found(kind, self.key.name, witnesses, format!("{} {text}", self.value));
    }

    /// Reports the first contradiction about the element.
    fn check(self, verdict: &mut Verdict) {
        if let Some(twice) = self.element.seen.windows(2).find(|pair| pair[0] == pair[1]) {
            let witnesses = [twice[0]];
            self.found(verdict, Kind::Duplicated, &witnesses, "is there twice");
            self.element.seen.dedup();
        }
        if self.invented(verdict) || self.resurrected(verdict) || self.absent(verdict) {
            return;
        }
        if !self.element.removes.is_empty() {
            self.search(verdict);
        }
    }

    /// Whether a read saw it although nobody can have added it by then.
    fn invented(&self, verdict: &mut Verdict) -> bool {
        let Some(&seen) = self.element.seen.first() else { return false };
        // Adds stand in the order of their starts.
        match (self.element.adds.first(), self.element.refused) {
            (Some(&add), _) => {
                let begun = self.of(add).start;
                let Some(&early) = self.element.seen.iter().find(|read| self.of(**read).end < begun) else {
                    return false;
                };
                self.found(verdict, Kind::Early, &[early, add], "is there before it was added");
            }
            (None, Some(add)) => self.found(verdict, Kind::Refused, &[add, seen], "was refused and is there"),
            (None, None) => self.found(verdict, Kind::Phantom, &[seen], "is there and was never added"),
        }
        true
    }

    /// Whether a read saw it although every add that can explain that was surely followed by a remove.
    fn resurrected(&self, verdict: &mut Verdict) -> bool {
        for &read in &self.element.seen {
            if let Err((add, remove)) = self.explain(read, &self.element.adds, &self.element.removes, false) {
                let witnesses: Vec<usize> = add.into_iter().chain([remove, read]).collect();
                self.found(verdict, Kind::Resurrected, &witnesses, "was taken away and is there");
                return true;
            }
        }
        false
    }

    /// Whether a read missed it although it was surely there.
    fn absent(&self, verdict: &mut Verdict) -> bool {
        let mut seen = self.element.seen.iter().peekable();
        let known = self.known();
        for &(read, _) in self.reads {
            if seen.next_if(|it| **it == read).is_some() {
                continue;
            }
            let start = self.of(read).start;
            let proof = match known {
                _ if !self.element.removes.is_empty() => {
                    self.explain(read, &self.element.removes, &self.element.adds, true).err().map(|it| it.1)
                }
                Some((since, proof)) if since < start => Some(proof),
                _ => None,
            };
            let Some(proof) = proof else { continue };
            let end = self.of(read).end;
            let is_acknowledged = self.element.adds.iter().any(|at| self.of(*at).is_ok());
            match self.element.seen.iter().find(|it| self.of(**it).start > end) {
                _ if !is_acknowledged => {
                    self.found(verdict, Kind::Vanished, &[proof, read], "was seen and is gone")
                }
                Some(&again) if self.element.removes.is_empty() => self.found(
                    verdict,
                    Kind::Stale,
                    &[proof, read, again],
                    "is missing, though it was there before and is later",
                ),
                _ => self.found(verdict, Kind::Lost, &[proof, read], "was there and is gone"),
            }
            return true;
        }
        false
    }

    /// From when on it was surely there, and by which operation; for what is never taken away.
    fn known(&self) -> Option<(u64, usize)> {
        let adds = self.element.adds.iter().filter(|at| self.of(**at).is_ok());
        adds.chain(&self.element.seen).map(|at| (self.of(*at).end, *at)).min()
    }

    /// Looks for an operation among `causes` (or, if `is_first`, the beginning) after which no acknowledged one of
    /// `hindrances` surely came before the read. Otherwise the last cause and what hinders it.
    fn explain(
        &self,
        read: usize,
        causes: &[usize],
        hindrances: &[usize],
        is_first: bool,
    ) -> Result<(), (Option<usize>, usize)> {
        let read = self.of(read);
        let possible = causes.iter().copied().filter(|at| self.of(*at).start <= read.end);
        let best = possible.max_by_key(|at| end(self.of(*at)));
        let since = match best {
            Some(cause) => later(end(self.of(cause))),
            None if is_first => 0,
            None => return Ok(()),
        };
        let hinders = |at: &usize| {
            let it = self.of(*at);
            it.is_ok() && later(it.start) > since && it.end < read.start
        };
        hindrances.iter().copied().find(hinders).map_or(Ok(()), |at| Err((best, at)))
    }

    /// Whether some order explains all that was done to the element and seen of it.
    fn search(&self, verdict: &mut Verdict) {
        let step = |at: usize, needs, leaves| {
            let it = self.of(at);
            let end = if it.is_ok() { later(it.end) } else { NEVER };
            Step { at, start: later(it.start), end, needs, leaves }
        };
        let mut steps: Vec<Step> = Vec::new();
        steps.extend(self.element.adds.iter().map(|at| step(*at, None, Some(PRESENT))));
        steps.extend(self.element.removes.iter().map(|at| step(*at, None, Some(ABSENT))));
        let mut seen = self.element.seen.iter().peekable();
        for &(read, _) in self.reads {
            let is_there = seen.next_if(|it| **it == read).is_some();
            steps.push(step(read, Some(if is_there { PRESENT } else { ABSENT }), None));
        }
        match search::explain(&steps, self.settings.states_max) {
            Answer::Explained => {}
            Answer::GivenUp => verdict.undecided.push(self.key.name.clone()),
            Answer::Broken { stuck, .. } => self.found(
                verdict,
                Kind::NotLinearizable,
                &[stuck],
                "is there and is not, in no possible order",
            ),
        }
    }
}

/// Lists: an element does not stand behind one whose append began after its own had ended, and two reads agree about the
/// order of what both saw.
fn order(
    key: &Key<'_>,
    elements: &BTreeMap<&Value, Element>,
    reads: &[(usize, &[Value])],
    verdict: &mut Verdict,
) {
    let Some((longest, all)) = reads.iter().max_by_key(|(_, seen)| seen.len()) else { return };
    let places: BTreeMap<&Value, usize> =
        all.iter().enumerate().map(|(place, value)| (value, place)).collect();
    for (read, seen) in reads {
        let mut latest: Option<(u64, usize)> = None;
        let mut furthest = 0;
        for value in *seen {
            if let Some(&place) = places.get(value) {
                if place < furthest {
                    let text = format!("{value} stands elsewhere among its neighbours in another read");
                    verdict.found(Kind::Rearranged, key.name, &[*longest, *read], text);
                    break;
                }
                furthest = place;
            }
            let Some(&append) = elements.get(value).and_then(|element| element.adds.first()) else {
                continue;
            };
            let it = &key.history[append];
            if let Some((start, before)) = latest
                && it.is_ok()
                && it.end < start
            {
                let text = format!("{value} stands behind what was appended later");
                verdict.found(Kind::Reordered, key.name, &[append, before, *read], text);
                break;
            }
            latest = latest.max(Some((it.start, append)));
        }
    }
}
