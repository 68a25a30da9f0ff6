//! What must hold at every site, judged from the outside: from what was written where, and what each log was given. It knows
//! who had seen what from the logs themselves, and nothing of vectors, causes, dots and contexts.
//!
//! Keys by their first letter: `c` counters (increments, deletes), `s` sets, `r` registers (values written once, deletes).
// catalogue: I1 I3 J5 J6 J7 J9 J10 J17
// bugs: ML-01, ML-04, ML-06, ML-11, ML-12, ML-15, ML-24

use data::causal::Mark;
use data::{SiteId, WriteStamp};
use protocol::multi_leader::{Change, Exchange, Policy, Record, Report};
use std::collections::{BTreeMap, BTreeSet};

/// A set of writes by their numbers.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Bits(Vec<u64>);

impl Bits {
    pub fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }
    pub fn insert(&mut self, at: usize) {
        if self.0.len() <= at / 64 {
            self.0.resize(at / 64 + 1, 0);
        }
        self.0[at / 64] |= 1 << (at % 64);
    }
    pub fn without(&self, other: &Bits) -> Vec<usize> {
        (0..self.0.len() * 64).filter(|at| self.has(*at) && !other.has(*at)).collect()
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    Increment(i64),
    Add(String),
    Remove(String),
    Set(String),
    Delete,
    HandOver,
    /// Something that the oracle does not follow.
    Other,
}

#[derive(Clone, Debug)]
pub struct Written {
    pub stamp: WriteStamp,
    pub acts: Vec<(String, Act)>,
    /// What its site held, proposed writes included.
    pub seen: Bits,
    pub is_acknowledged: bool,
    /// Under last-write-wins, by key.
    marks: BTreeMap<String, Mark>,
}

#[derive(Default)]
pub struct Oracle {
    pub violation: Option<String>,
    pub written: Vec<Written>,
    by_stamp: BTreeMap<WriteStamp, usize>,
    by_key: BTreeMap<String, Vec<usize>>,
    /// What each log was given, and what of it is committed.
    newest: BTreeMap<SiteId, Bits>,
    pub committed: BTreeMap<SiteId, Bits>,
    /// Values that were reported as lost.
    lost: BTreeSet<String>,
    is_last_write_wins: bool,
    /// Writes of a key must follow one another.
    is_in_order: bool,
    pub applied: u64,
    pub copied: u64,
}

impl Oracle {
    pub fn new(policy: Policy) -> Oracle {
        Oracle {
            is_last_write_wins: policy == Policy::LastWriteWins,
            is_in_order: matches!(policy, Policy::Home | Policy::Block),
            ..Oracle::default()
        }
    }
    pub fn fail(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }
    pub fn newest(&mut self, site: SiteId) -> &mut Bits {
        self.newest.entry(site).or_default()
    }
    /// A site accepted a client's write.
    pub fn wrote(&mut self, site: SiteId, stamp: WriteStamp, acts: Vec<(String, Act)>) -> usize {
        let number = self.written.len();
        let seen = self.newest(site).clone();
        if self.by_stamp.insert(stamp, number).is_some() {
            self.fail(format!("{stamp} names two writes"));
        }
        for (key, _) in &acts {
            let before = self.by_key.entry(key.clone()).or_default();
            let unseen = before.iter().find(|at| !seen.has(**at) && self.written[**at].is_acknowledged);
            if self.is_in_order
                && let Some(unseen) = unseen
            {
                let other = self.written[*unseen].stamp;
                self.violation
                    .get_or_insert(format!("{stamp} of {key} did not see {other}, which was acknowledged"));
            }
            before.push(number);
        }
        self.written.push(Written { stamp, acts, seen, is_acknowledged: false, marks: BTreeMap::new() });
        number
    }
    /// A record goes into a site's log. Returns the keys that it changes.
    pub fn proposed(&mut self, site: SiteId, record: &Record) -> BTreeSet<String> {
        match record {
            Record::Write(write) => {
                let Some(number) = self.by_stamp.get(&write.stamp).copied() else {
                    self.fail(format!("{site} applies {}, which nobody wrote", write.stamp));
                    return BTreeSet::new();
                };
                if self.newest(site).has(number) {
                    self.fail(format!("{site} applies {} twice", write.stamp));
                }
                if let Change::Deltas(deltas) = &write.change {
                    for (key, delta) in deltas {
                        if let Some(mark) = delta.store.as_last().and_then(|last| last.mark()) {
                            let key = String::from_utf8_lossy(key).into_owned();
                            self.written[number].marks.insert(key, mark);
                        }
                    }
                }
                self.take(site, number);
                self.applied += 1;
                self.written[number].acts.iter().map(|(key, _)| key.clone()).collect()
            }
            Record::CopyEnd { vector } => {
                self.copied += 1;
                let copied: Vec<usize> = self
                    .by_stamp
                    .iter()
                    .filter(|(stamp, _)| vector.contains(**stamp))
                    .map(|it| *it.1)
                    .collect();
                let new: Vec<usize> =
                    copied.into_iter().filter(|number| !self.newest[&site].has(*number)).collect();
                new.iter().for_each(|number| self.newest(site).insert(*number));
                new.iter().for_each(|number| self.take(site, *number));
                self.by_key.keys().cloned().collect()
            }
            Record::CopyBegin { .. }
            | Record::CopyPart(_)
            | Record::Claim { .. }
            | Record::Unclaim { .. } => BTreeSet::new(),
        }
    }
    fn take(&mut self, site: SiteId, number: usize) {
        self.newest(site).insert(number);
        let write = &self.written[number];
        if let Some(missing) = write.seen.without(&self.newest[&site]).first() {
            let (effect, cause) = (write.stamp, self.written[*missing].stamp);
            self.fail(format!("{site} has {effect} before {cause}, which its writer had seen"));
        }
    }
    /// Returns the number of the site's own write that is committed by it.
    pub fn commit(&mut self, site: SiteId, record: &Record) {
        let committed = self.committed.entry(site).or_default();
        match record {
            Record::Write(write) => {
                if let Some(number) = self.by_stamp.get(&write.stamp) {
                    committed.insert(*number);
                }
            }
            Record::CopyEnd { vector } => {
                for (_, number) in self.by_stamp.iter().filter(|(stamp, _)| vector.contains(**stamp)) {
                    committed.insert(*number);
                }
            }
            Record::CopyBegin { .. }
            | Record::CopyPart(_)
            | Record::Claim { .. }
            | Record::Unclaim { .. } => {}
        }
    }
    pub fn acknowledge(&mut self, stamp: WriteStamp) {
        if let Some(number) = self.by_stamp.get(&stamp) {
            self.written[*number].is_acknowledged = true;
        }
    }
    pub fn report(&mut self, report: &Report) {
        if let Report::Lost(lost) = report
            && let Some(value) = &lost.lost.value
        {
            self.lost.insert(String::from_utf8_lossy(value).into_owned());
        }
    }

    /// Writes of a key that a site holds and that none of the others there had seen and taken away.
    fn alive(
        &self,
        held: &Bits,
        key: &str,
        matters: impl Fn(&Act) -> bool,
        takes: impl Fn(&Act, &Act) -> bool,
    ) -> Vec<&Act> {
        let here: Vec<&Written> = self
            .by_key
            .get(key)
            .into_iter()
            .flatten()
            .filter(|at| held.has(**at))
            .map(|at| &self.written[*at])
            .collect();
        let acts = |write: &'_ Written| -> Vec<Act> {
            write.acts.iter().filter(|(name, _)| name == key).map(|(_, act)| act.clone()).collect()
        };
        let mut alive = Vec::new();
        for write in &here {
            let number = self.by_stamp[&write.stamp];
            for (_, act) in write.acts.iter().filter(|(name, act)| name == key && matters(act)) {
                let taken =
                    |by: &&Written| by.seen.has(number) && acts(by).iter().any(|other| takes(other, act));
                if !here.iter().any(&taken) {
                    alive.push(act);
                }
            }
        }
        alive
    }
    /// The site shows what follows from the writes in its log.
    pub fn check(&mut self, site: SiteId, exchange: &Exchange, keys: &BTreeSet<String>) {
        let held = self.newest(site).clone();
        for key in keys {
            let object = exchange.state().copy().object(key.as_bytes());
            let (shown, expected) = match key.as_bytes()[0] {
                b'c' if self.is_last_write_wins => continue,
                b'c' => {
                    let takes = |by: &Act, _: &Act| *by == Act::Delete;
                    let alive = self.alive(&held, key, |act| matches!(act, Act::Increment(_)), takes);
                    let sum: i64 =
                        alive.iter().map(|act| if let Act::Increment(by) = act { *by } else { 0 }).sum();
                    let text = object.and_then(|object| object.as_text()?.shown().map(|it| it.into_owned()));
                    let shown = text.map_or("0".into(), |text| String::from_utf8_lossy(&text).into_owned());
                    (shown, sum.to_string())
                }
                b's' => {
                    let takes = |by: &Act, act: &Act| match (by, act) {
                        (Act::Remove(gone), Act::Add(member)) => gone == member,
                        (by, _) => *by == Act::Delete,
                    };
                    let alive = self.alive(&held, key, |act| matches!(act, Act::Add(_)), takes);
                    let names: BTreeSet<&str> = alive
                        .iter()
                        .filter_map(|act| if let Act::Add(it) = act { Some(&**it) } else { None })
                        .collect();
                    let members: BTreeSet<String> = object
                        .and_then(|object| object.as_set())
                        .into_iter()
                        .flat_map(|set| set.alive())
                        .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
                        .collect();
                    (format!("{members:?}"), format!("{names:?}"))
                }
                b'r' if self.is_last_write_wins => {
                    let here = self.by_key.get(key).into_iter().flatten().filter(|at| held.has(**at));
                    let highest = here.filter_map(|at| self.written[*at].marks.get(key)).max();
                    let shown = object.and_then(|object| object.as_last()?.mark());
                    (format!("{shown:?}"), format!("{:?}", highest.copied()))
                }
                b'r' => {
                    let takes = |by: &Act, _: &Act| matches!(by, Act::Set(_) | Act::Delete);
                    let alive = self.alive(&held, key, |act| matches!(act, Act::Set(_)), takes);
                    let values: BTreeSet<&str> = alive
                        .iter()
                        .filter_map(|act| if let Act::Set(it) = act { Some(&**it) } else { None })
                        .collect();
                    let siblings: BTreeSet<String> = object
                        .and_then(|object| object.as_text())
                        .into_iter()
                        .flat_map(|text| text.siblings().iter())
                        .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
                        .collect();
                    (format!("{siblings:?}"), format!("{values:?}"))
                }
                _ => continue,
            };
            if shown != expected {
                self.fail(format!("{site} shows {key} as {shown}; what it holds makes {expected}"));
            }
        }
    }
    /// All sites are equal by now. Whatever was acknowledged is everywhere, unless only sites that are lost had it, and
    /// whatever lost under last-write-wins was reported.
    pub fn end(&mut self, sites: &[SiteId], may_lose: impl Fn(&Written) -> bool) {
        let Some(first) = sites.first() else { return };
        let held = self.committed.get(first).cloned().unwrap_or_default();
        for site in sites {
            if !self.committed.get(site).cloned().unwrap_or_default().without(&held).is_empty() {
                self.fail(format!("{site} holds more than {first}"));
            }
        }
        for (number, write) in self.written.iter().enumerate() {
            if write.is_acknowledged && !held.has(number) && !may_lose(write) {
                self.violation.get_or_insert(format!("{} was acknowledged and is gone", write.stamp));
            }
        }
        if self.is_last_write_wins {
            self.all_losers_reported(&held);
        }
        if self.is_in_order {
            self.none_concurrent(&held);
        }
    }
    /// Of two writes of a key one had seen the other, acknowledged or not.
    fn none_concurrent(&mut self, held: &Bits) {
        for (key, numbers) in &self.by_key {
            let numbers: Vec<usize> = numbers.iter().copied().filter(|number| held.has(*number)).collect();
            for (at, one) in numbers.iter().enumerate() {
                let knows = |a: usize, b: usize| self.written[a].seen.has(b);
                let other =
                    numbers[at + 1..].iter().find(|other| !knows(*one, **other) && !knows(**other, *one));
                if let Some(other) = other {
                    let (one, other) = (self.written[*one].stamp, self.written[*other].stamp);
                    self.violation
                        .get_or_insert(format!("{one} and {other} of {key} did not see each other"));
                }
            }
        }
    }
    /// A value is replaced by a write that had it before its eyes, or it is in the inbox.
    fn all_losers_reported(&mut self, held: &Bits) {
        for (key, numbers) in self.by_key.iter().filter(|(key, _)| key.starts_with('r')) {
            let numbers: Vec<usize> = numbers.iter().copied().filter(|number| held.has(*number)).collect();
            let mark = |number: &usize| self.written[*number].marks.get(key).copied();
            let winner =
                |seen: &Bits| numbers.iter().filter(|number| seen.has(**number)).max_by_key(|it| mark(it));
            let replaced: BTreeSet<usize> =
                numbers.iter().filter_map(|number| winner(&self.written[*number].seen).copied()).collect();
            for number in &numbers {
                let value = self.written[*number].acts.iter().find_map(|(name, act)| match act {
                    Act::Set(value) if name == key => Some(value),
                    _ => None,
                });
                let Some(value) = value else { continue };
                if Some(number) != winner(held) && !replaced.contains(number) && !self.lost.contains(value) {
                    let stamp = self.written[*number].stamp;
                    self.violation
                        .get_or_insert(format!("{value} of {key}, {stamp}, lost and nobody was told"));
                }
            }
        }
    }
}
