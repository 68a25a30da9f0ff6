//! What clients may see, judged from the outside: from calls and answers, and from what disks recorded as minted.
//!
//! Keys are of five kinds. Sets and lists: each member is added once, and removed at most once. Counters: increments of one;
//! some are deleted too. Registers: each value is written once; deletes.
// catalogue: K4 K20
// bugs: LL-04, LL-05, LL-07, LL-08, LL-09, LL-15, LL-16, LL-17, LL-24

use data::NodeId;
use data::causal::{Actor, Causal, Context, Dot, Object, Outcome};
use protocol::leaderless::{ReadReceipt, WriteReceipt};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
struct Member {
    added: Option<u64>,
    remove_called: bool,
    removed: Option<u64>,
    /// A remove that was acknowledged took the add away.
    is_removed: bool,
    dots: Context,
    seen: Option<u64>,
    gone: Option<u64>,
}

/// An increment or a delete of a counter.
struct Counting {
    is_delete: bool,
    called: u64,
    done: Option<u64>,
}

/// What the settings promise.
#[derive(Clone, Copy, Default, Debug)]
pub struct Promise {
    /// Reads see what was acknowledged before they began.
    pub overlap: bool,
    /// Reads do not go back.
    pub monotonic: bool,
}

#[derive(Default)]
pub struct Oracle {
    pub promise: Promise,
    pub violation: Option<String>,
    members: BTreeMap<(String, String), Member>,
    increments: BTreeMap<String, (u64, Vec<u64>)>,
    counts: BTreeMap<String, Vec<(u64, i64)>>,
    /// Of counters that are deleted: when what was called and acknowledged.
    steps: BTreeMap<String, BTreeMap<u64, Counting>>,
    /// What clients were told of counters: totals by the dots of their increments.
    totals: BTreeMap<(String, Actor), BTreeMap<u64, i64>>,
    /// Register writes: dot, the delta's context.
    writes: BTreeMap<String, BTreeMap<Dot, Context>>,
    /// When which dots of a register were acknowledged, and taken away.
    kept: BTreeMap<String, Vec<(u64, Dot)>>,
    taken: BTreeMap<String, Vec<(u64, Context)>>,
    minted: BTreeSet<Dot>,
    /// What each disk ever held, by node, or by stand-in and target.
    disks: BTreeMap<NodeId, Context>,
    hints: BTreeMap<(NodeId, NodeId), Context>,
    pub reads: u64,
    pub writes_done: u64,
    pub sloppy: u64,
    pub repairs: u64,
}

fn dots_of(context: &Context) -> impl Iterator<Item = Dot> {
    context
        .ranges()
        .flat_map(|(actor, first, last)| (first..=last).map(move |counter| Dot { actor, counter }))
}

/// The dots that a delta gave out, by the kind of key.
fn new_dots(key: &str, delta: &Causal<Object>) -> Context {
    let object = &delta.store;
    match key.as_bytes()[0] {
        b'c' | b'd' => delta.context.clone(),
        // A delta of a list brings what it hangs on along.
        b'l' => Context::new(),
        b'r' => object.as_text().map(|text| text.siblings().seen()).unwrap_or_default(),
        _ => {
            let mut dots = Context::new();
            for (_, member) in object.as_set().into_iter().flat_map(|set| set.iter()) {
                dots.merge(&member.seen());
            }
            dots
        }
    }
}

pub fn members_of(object: &Object) -> BTreeSet<String> {
    let members = object.as_set().into_iter().flat_map(|set| set.alive()).map(|(name, _)| name.clone());
    let elements = object.as_list().into_iter().flat_map(|list| list.elements());
    let elements = elements.map(|element| element.value.clone());
    members.chain(elements).map(|name| String::from_utf8_lossy(&name).into_owned()).collect()
}

pub fn count_of(object: &Object) -> i64 {
    let text = object.as_text().and_then(|text| text.shown().map(|shown| shown.into_owned()));
    text.map_or(0, |text| String::from_utf8_lossy(&text).parse().expect("a number"))
}

impl Oracle {
    pub fn new(promise: Promise) -> Oracle {
        Oracle { promise, ..Oracle::default() }
    }
    pub fn fail(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }
    /// A mint became durable.
    pub fn minted(&mut self, node: NodeId, key: &str, delta: &Causal<Object>) {
        for dot in dots_of(&new_dots(key, delta)) {
            if !self.minted.insert(dot) {
                self.fail(format!("{dot} was minted twice"));
            }
            if key.starts_with('r') {
                self.writes.entry(key.into()).or_default().insert(dot, delta.context.clone());
            }
        }
        if key.starts_with('s') {
            for (name, member) in delta.store.as_set().into_iter().flat_map(|set| set.iter()) {
                let name = String::from_utf8_lossy(name).into_owned();
                let known = self.members.entry((key.into(), name)).or_default();
                known.dots.merge(&member.seen());
            }
        }
        self.took(node, &delta.context);
    }
    /// A delta, or a key's state, became durable that brings these dots.
    pub fn took(&mut self, node: NodeId, dots: &Context) {
        self.disks.entry(node).or_default().merge(dots);
    }
    pub fn hinted(&mut self, node: NodeId, target: NodeId, delta: &Causal<Object>) {
        self.hints.entry((node, target)).or_default().merge(&delta.context);
    }
    /// Everybody who is named in a receipt has it on disk, and a strict quorum is one of replicas.
    pub fn receipt(&mut self, receipt: &WriteReceipt, replicas: &[NodeId], strict: bool) {
        let Some(delta) = &receipt.delta else { return self.fail("acknowledged, and no delta".into()) };
        if receipt.acknowledged() < receipt.required {
            self.fail(format!("acknowledged too early: {receipt:?}"));
        }
        if strict && (!receipt.stand_ins.is_empty() || receipt.replicas.iter().any(|n| !replicas.contains(n)))
        {
            self.fail("a stand-in counted for a strict quorum".into());
        }
        let nothing = Context::new();
        for node in &receipt.replicas {
            if !self.disks.get(node).unwrap_or(&nothing).covers(&delta.context) {
                self.fail(format!("{node} acknowledged what its disk does not hold"));
            }
        }
        for pair in &receipt.stand_ins {
            if !self.hints.get(pair).unwrap_or(&nothing).covers(&delta.context) {
                self.fail(format!("{pair:?} acknowledged a hint that is on no disk"));
            }
        }
        self.writes_done += 1;
        self.sloppy += u64::from(receipt.is_sloppy());
    }

    /// What a client was told of its write is what its minter saw when it minted, however often it was asked: each member is
    /// new once, what removed something says so, and each increment of a minter stands above all that it made before.
    pub fn told(&mut self, key: &str, changed: bool, delta: &Causal<Object>, outcome: Option<Outcome>) {
        match outcome {
            Some(Outcome::Count(count)) if count == u64::from(changed) => {}
            Some(Outcome::Done) if key.starts_with('r') => {}
            Some(Outcome::Total(total)) if key.starts_with('c') => {
                let Some(dot) = dots_of(&delta.context).next() else {
                    return self.fail(format!("an increment of {key} has no dot"));
                };
                let totals = self.totals.entry((key.into(), dot.actor)).or_default();
                let below = totals.range(..dot.counter).next_back().is_none_or(|(_, before)| *before < total);
                let above = totals.range(dot.counter + 1..).next().is_none_or(|(_, after)| *after > total);
                totals.insert(dot.counter, total);
                if !below || !above {
                    self.fail(format!("{key} was told to stand at {total} after {dot}, out of order"));
                }
            }
            other => self.fail(format!("a write of {key} was told as {other:?}, changed {changed}")),
        }
    }
    pub fn add_called(&mut self, key: &str, member: &str) {
        self.members.entry((key.into(), member.into())).or_default();
    }
    pub fn added(&mut self, now: u64, key: &str, member: &str) {
        self.members.entry((key.into(), member.into())).or_default().added = Some(now);
    }
    /// A member that is there as far as its writer knows.
    pub fn removable(&self, key: &str, pick: u64) -> Option<String> {
        let here = |((of, _), member): &(&(String, String), &Member)| {
            of == key && member.added.is_some() && !member.remove_called
        };
        let count = self.members.iter().filter(here).count() as u64;
        self.members
            .iter()
            .filter(here)
            .nth(pick.checked_rem(count)? as usize)
            .map(|((_, name), _)| name.clone())
    }
    pub fn remove_called(&mut self, key: &str, member: &str) {
        self.members.entry((key.into(), member.into())).or_default().remove_called = true;
    }
    pub fn removed(
        &mut self,
        now: u64,
        key: &str,
        member: &str,
        delta: &Causal<Object>,
        outcome: Option<Outcome>,
    ) {
        let known = self.members.entry((key.into(), member.into())).or_default();
        known.removed = Some(now);
        known.is_removed = match key.starts_with('l') {
            true => matches!(outcome, Some(Outcome::Count(1..))),
            false => !known.dots.is_empty() && delta.context.covers(&known.dots),
        };
        if self.promise.overlap && !known.is_removed {
            let (dots, delta) = (known.dots.clone(), delta.clone());
            self.fail(format!("a removal of {member} did not see it: {dots:?} {delta:?}"));
        }
    }
    pub fn increment_called(&mut self, key: &str) {
        self.increments.entry(key.into()).or_default().0 += 1;
    }
    pub fn incremented(&mut self, now: u64, key: &str) {
        self.increments.entry(key.into()).or_default().1.push(now);
    }
    pub fn count_called(&mut self, now: u64, key: &str, call: u64, is_delete: bool) {
        let step = Counting { is_delete, called: now, done: None };
        self.steps.entry(key.into()).or_default().insert(call, step);
    }
    pub fn count_done(&mut self, now: u64, key: &str, call: u64) {
        if let Some(step) = self.steps.entry(key.into()).or_default().get_mut(&call) {
            step.done = Some(now);
        }
    }
    /// What a counter that is deleted may show to a read.
    fn bounds(&self, key: &str, called: u64, now: u64) -> (i64, i64) {
        let steps = || self.steps.get(key).into_iter().flat_map(|steps| steps.values());
        let deletes = || steps().filter(move |step| step.is_delete && step.called < now);
        let increments = || steps().filter(move |step| !step.is_delete && step.called < now);
        if !self.promise.overlap {
            return (0, increments().count() as i64);
        }
        // Everything that was acknowledged before a delete that was acknowledged began is gone for ever.
        let gone = deletes().filter(|it| it.done.is_some_and(|at| at < called)).map(|it| it.called).max();
        let gone = gone.unwrap_or(0);
        let most = increments().filter(|step| step.done.is_none_or(|at| at >= gone)).count();
        // What is surely not deleted came after every delete.
        let last = deletes().map(|it| it.done.unwrap_or(u64::MAX)).max().unwrap_or(0);
        let kept = increments().filter(|it| it.called > last && it.done.is_some_and(|at| at < called));
        (kept.count() as i64, most as i64)
    }
    fn read_deleted(&mut self, called: u64, now: u64, key: &str, object: &Object) {
        let (least, most) = self.bounds(key, called, now);
        let value = count_of(object);
        if value < least || value > most {
            self.fail(format!("{key} counts {value}, and {least} to {most} increments are not deleted"));
        }
    }
    /// A write or a delete of a register.
    pub fn wrote(&mut self, now: u64, key: &str, delta: &Causal<Object>) {
        let new = new_dots(key, delta);
        let mut taken = Context::new();
        dots_of(&delta.context).filter(|dot| !new.contains(*dot)).for_each(|dot| taken.insert(dot));
        self.kept.entry(key.into()).or_default().extend(dots_of(&new).map(|dot| (now, dot)));
        self.taken.entry(key.into()).or_default().push((now, taken));
    }

    pub fn read(&mut self, called: u64, now: u64, key: &str, object: &Object, receipt: &ReadReceipt) {
        self.reads += 1;
        self.repairs += receipt.stale.len() as u64;
        match key.as_bytes()[0] {
            b's' | b'l' => self.read_set(called, now, key, object),
            b'd' => self.read_deleted(called, now, key, object),
            b'c' => self.read_counter(called, now, key, object),
            _ => self.read_register(called, key, object),
        }
    }
    fn read_set(&mut self, called: u64, now: u64, key: &str, object: &Object) {
        let shown = members_of(object);
        let Promise { overlap, monotonic } = self.promise;
        let before = |at: Option<u64>| at.is_some_and(|at| at < called);
        let mut wrong = Vec::new();
        for ((of, name), member) in self.members.iter_mut().filter(|((of, _), _)| of == key) {
            let is_shown = shown.contains(name);
            let known = before(member.added) && overlap || before(member.seen) && monotonic;
            if !is_shown && known && !member.remove_called {
                wrong.push(format!("{of}: {name} was acknowledged or shown, and is missing"));
            }
            if is_shown && overlap && before(member.removed) {
                wrong.push(format!("{of}: {name} was removed, and is back"));
            }
            if is_shown && monotonic && before(member.gone) {
                wrong.push(format!("{of}: {name} was shown as removed, and is back"));
            }
            if is_shown {
                member.seen = Some(member.seen.map_or(now, |at| at.min(now)));
            } else if before(member.added) || before(member.seen) {
                member.gone = Some(member.gone.map_or(now, |at| at.min(now)));
            }
        }
        for name in shown {
            if !self.members.contains_key(&(key.to_owned(), name.clone())) {
                wrong.push(format!("{name} was never added"));
            }
        }
        wrong.into_iter().for_each(|what| self.fail(what));
    }
    fn read_counter(&mut self, called: u64, now: u64, key: &str, object: &Object) {
        let value = count_of(object);
        let (attempts, done) = self.increments.entry(key.into()).or_default();
        let (attempts, done) = (*attempts as i64, done.iter().filter(|at| **at < called).count() as i64);
        if value > attempts {
            self.fail(format!("{key} counts {value} of {attempts} increments"));
        }
        let seen = self.counts.entry(key.into()).or_default();
        let newest = seen.iter().filter(|(at, _)| *at < called).map(|(_, value)| *value).max().unwrap_or(0);
        seen.push((now, value));
        if self.promise.overlap && value < done {
            self.fail(format!("{key} counts {value}, and {done} increments were acknowledged"));
        }
        if self.promise.monotonic && value < newest {
            self.fail(format!("{key} counts {value} after {newest}"));
        }
    }
    fn read_register(&mut self, called: u64, key: &str, object: &Object) {
        let shown: Vec<Dot> =
            object.as_text().into_iter().flat_map(|t| t.siblings().iter()).map(|s| s.0.dot).collect();
        let nothing = BTreeMap::new();
        let writes = self.writes.get(key).unwrap_or(&nothing);
        let mut wrong = Vec::new();
        for dot in &shown {
            match writes.get(dot) {
                None => wrong.push(format!("{key}: {dot} is on no disk")),
                Some(context) => {
                    for other in shown.iter().filter(|other| *other != dot && context.contains(**other)) {
                        wrong.push(format!("{key}: {other} is shown beside {dot}, which supersedes it"));
                    }
                }
            }
            let taken = self.taken.get(key).into_iter().flatten();
            if self.promise.overlap && taken.clone().any(|(at, dots)| *at < called && dots.contains(*dot)) {
                wrong.push(format!("{key}: {dot} was superseded or deleted, and is back"));
            }
        }
        wrong.into_iter().for_each(|what| self.fail(what));
    }
    /// All copies are equal and everything is calm: nothing that was acknowledged is missing, nothing is too much.
    pub fn end(&mut self, object: impl Fn(&str) -> Object) {
        let mut wrong = Vec::new();
        for ((key, name), member) in &self.members {
            let is_shown = members_of(&object(key)).contains(name);
            if !is_shown && member.added.is_some() && !member.remove_called {
                wrong.push(format!("in the end {key} lacks {name}, which was acknowledged"));
            }
            if is_shown && member.is_removed {
                wrong.push(format!("in the end {key} holds {name}, which was removed"));
            }
        }
        for (key, (attempts, done)) in &self.increments {
            let value = count_of(&object(key));
            if value > *attempts as i64 || value < done.len() as i64 {
                wrong.push(format!(
                    "in the end {key} counts {value}, of {attempts}, {} acknowledged",
                    done.len()
                ));
            }
        }
        for key in self.steps.keys() {
            let (value, (least, most)) = (count_of(&object(key)), self.bounds(key, u64::MAX, u64::MAX));
            if value < least || value > most {
                wrong.push(format!("in the end {key} counts {value}, and {least} to {most} are not deleted"));
            }
        }
        for (key, kept) in &self.kept {
            let object = object(key);
            let held = object.as_text().map(|text| text.siblings().seen()).unwrap_or_default();
            let taken = self
                .taken
                .get(key)
                .into_iter()
                .flatten()
                .any(|(_, dots)| dots_of(&held).any(|d| dots.contains(d)));
            if taken {
                wrong.push(format!("in the end {key} holds what was superseded or deleted"));
            }
            // A register that nobody ever deletes shows something once a write was acknowledged.
            if key == "r0" && !kept.is_empty() && held.is_empty() {
                wrong.push(format!("in the end {key} is empty"));
            }
        }
        wrong.into_iter().for_each(|what| self.fail(what));
    }
}
