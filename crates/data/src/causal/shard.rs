//! What one copy of a shard holds: its keys under one context, and the hash tree over them.
//!
//! A copy changes by [`Step`]s alone, and what it holds is a function of the steps: they are what its log records, and
//! a restart takes them again.
//!
//! # What is known of a key
//!
//! The context says which dots the copy held, not of which keys they were. A reader that puts two copies together needs
//! more: a copy that never heard of a write must be told that it was removed, or it will show it when it comes late, from a third
//! copy or a hint. So a key keeps beside its object the dots of the deltas that arrived for it, its *recent* dots,
//! until every replica's context is known to cover them ([`ShardCopy::settle`]). A key that was deleted leaves a stub
//! of recent dots for that long, and nothing after it.
//!
//! # Taking over another copy's context
//!
//! It says "covered and absent is deleted" of every key, so it holds only after every key was joined. A walk over
//! another copy joins range after range, while others bring older values of ranges that are done. Hence between
//! [`Step::Begin`] and [`Step::Finish`] the ranges that were passed are joined under both contexts already; only at the end does
//! the copy's own grow by the other one.
// bugs: LL-05, LL-06, LL-10, LL-17, LL-19, LL-21

use super::conflict::Decisions;
use super::context::Context;
use super::disputes::{Disputes, Look};
use super::moment::CopyMoment;
use super::object::Object;
use super::settling::Settling;
use super::stamp::Stamp;
use super::step::Step;
use super::store::{Causal, Losers, Lost, Store};
use super::tree::{HashTree, Span};
use crate::Index;
use crate::codec::{DecodeError, Reader, Writer};
use crate::moments::Moments;
use crate::plant::{self, Bug};
use crate::table::Seed;
use crate::value::Blob;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use siphasher::sip::SipHasher13;

/// Ranges of recent dots that one key keeps at most; beyond it the oldest go, and a replica that missed a write and its
/// removal may then show what it missed until anti-entropy has passed. A guess: 64 KiB, thousands of changes of one key
/// while a replica is away.
const RECENT_RANGES_MAX: usize = 4096;

/// What is held of a key.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Held {
    pub object: Object,
    /// Dots of this key, held or removed, that some replica perhaps does not know.
    pub recent: Context,
}

/// A key on its way to another copy.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    pub key: Blob,
    pub held: Held,
}

/// A key as one copy knows it, for a reader who puts several together.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct KeyState {
    pub held: Held,
    /// The copy's whole context.
    pub context: Context,
}

impl KeyState {
    /// Takes over what another copy knows of the same key.
    pub fn join(&mut self, other: &KeyState) {
        let nothing = Context::new();
        let (own, theirs) = match plant::is(Bug::RepairsByUnion) {
            true => (&nothing, &nothing),
            false => (&self.context, &other.context),
        };
        self.held.object.join(own, &other.held.object, theirs, &mut Losers::default());
        self.held.recent.merge(&other.held.recent);
        self.context.merge(&other.context);
    }
    /// Whether this copy lacks something of what several know together: a value, a removal, or the word that there was
    /// something that is removed.
    pub fn lacks(&self, together: &KeyState) -> bool {
        self.held.object != together.held.object || !self.context.covers(&together.held.recent)
    }
}

/// A walk over another copy that is not finished.
#[derive(Clone, PartialEq, Debug)]
struct Taking {
    theirs: Context,
    /// This copy's context and theirs.
    both: Context,
    /// Ends of the passed spans by their beginnings; no two touch.
    passed: BTreeMap<u64, u64>,
}

impl Taking {
    fn has_passed(&self, place: u64) -> bool {
        self.passed.range(..=place).next_back().is_some_and(|(_, last)| *last >= place)
    }
    fn pass(&mut self, span: Span) {
        let Span { mut first, mut last } = span;
        while let Some((begin, end)) = self.passed.range(..=last.saturating_add(1)).next_back() {
            let (begin, end) = (*begin, *end);
            if end.saturating_add(1) < first {
                break;
            }
            (first, last) = (first.min(begin), last.max(end));
            self.passed.remove(&begin);
        }
        self.passed.insert(first, last);
    }
}

/// One copy of a shard.
///
/// Invariant: the tree and the disputes are those of the objects; `unsettled` are the places of keys with recent dots, `residue`
/// counts what is left of deletes there, `alive` keys with a value; no key is kept that has neither value, residue nor recent dots.
#[derive(Clone, Debug)]
pub struct ShardCopy {
    seed: Seed,
    /// By place; nearly always one key at each.
    keys: BTreeMap<u64, Vec<(Blob, Held)>>,
    context: Context,
    tree: HashTree,
    unsettled: BTreeSet<u64>,
    pub(super) settling: Settling,
    /// How much residue lies at a place.
    residue: BTreeMap<u64, u64>,
    newest: Stamp,
    taking: Option<Taking>,
    disputes: Disputes,
    alive: u64,
    moments: Moments<Held>,
}

impl ShardCopy {
    /// An empty copy. The seed is the keyspace's, the same in all copies.
    pub fn new(seed: Seed) -> ShardCopy {
        ShardCopy {
            seed,
            keys: BTreeMap::new(),
            context: Context::new(),
            tree: HashTree::default(),
            unsettled: BTreeSet::new(),
            settling: Settling::default(),
            residue: BTreeMap::new(),
            newest: Stamp(0),
            taking: None,
            disputes: Disputes::default(),
            alive: 0,
            moments: Moments::default(),
        }
    }
    /// Begins to keep the state of now for readers, under an id that was never used before; `index` is that of the newest log
    /// entry in it.
    pub fn open_moment(&mut self, id: u64, index: Index) {
        self.moments.open(id, index, self.alive as usize);
    }
    pub fn close_moment(&mut self, id: u64) {
        self.moments.close(id);
    }
    /// `None`: it was closed; or it ended, as too much was changed since.
    pub fn moment(&self, id: u64) -> Option<CopyMoment<'_>> {
        self.moments.get(id).map(|moment| CopyMoment::new(self, moment))
    }
    /// Bytes that are kept for moments, about.
    pub fn moment_bytes(&self) -> usize {
        self.moments.bytes()
    }
    /// What readers see at a place is about to change.
    fn before_change(&mut self, place: u64) {
        if self.moments.is_empty() {
            return;
        }
        let bucket = self.keys.get(&place).map_or(&[][..], |bucket| bucket);
        let bytes = |(key, held): &(Blob, Held)| key.len() + super::store::encoded_len(&held.object);
        self.moments.before_change(place, || bucket.iter().map(bytes).sum(), || bucket.to_vec());
    }
    /// Every dot that this copy ever held.
    pub fn context(&self) -> &Context {
        &self.context
    }
    pub fn tree(&self) -> &HashTree {
        &self.tree
    }
    /// The newest stamp that any step brought.
    pub fn newest(&self) -> Stamp {
        self.newest
    }
    /// Where in the tree a key lies.
    pub fn place(&self, key: &[u8]) -> u64 {
        // Another seed than the hashes of entries: a key's place says nothing of them.
        SipHasher13::new_with_keys(self.seed.0 ^ 0x706c_6163_6573, self.seed.1).hash(key)
    }
    pub fn held(&self, key: &[u8]) -> Option<&Held> {
        let bucket = self.keys.get(&self.place(key))?;
        bucket.iter().find(|(name, _)| **name == *key).map(|(_, held)| held)
    }
    pub fn object(&self, key: &[u8]) -> Option<&Object> {
        self.held(key).map(|held| &held.object)
    }
    /// What a reader is told of a key.
    pub fn state(&self, key: &[u8]) -> KeyState {
        KeyState { held: self.held(key).cloned().unwrap_or_default(), context: self.context.clone() }
    }
    /// Keys whose places lie in the span, stubs too, in the order of places.
    pub fn entries(&self, span: Span) -> impl Iterator<Item = (u64, &Blob, &Held)> {
        let buckets = self.keys.range(span.first..=span.last);
        buckets.flat_map(|(place, bucket)| bucket.iter().map(|(key, held)| (*place, key, held)))
    }
    /// Keys that hold a value or residue.
    pub fn len(&self) -> u64 {
        self.tree.whole().entries
    }
    /// Keys with a value, those whose expiry has passed too.
    pub fn alive(&self) -> u64 {
        self.alive
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Keys with recent dots.
    pub fn unsettled(&self) -> usize {
        self.unsettled.len()
    }
    /// A hash of the context under the keyspace's seed: of equal contexts the same.
    pub fn context_hash(&self) -> u64 {
        let mut bytes = Vec::new();
        self.context.encode(&mut Writer::new(&mut bytes));
        SipHasher13::new_with_keys(self.seed.0, self.seed.1).hash(&bytes)
    }

    /// Keys that are in conflict, or were and say what became of it, in the order of places; others perhaps among them.
    pub fn disputed(&self) -> impl Iterator<Item = (&Blob, &Object)> {
        let buckets = self.disputes.places.iter().filter_map(|place| self.keys.get(place));
        buckets.flatten().map(|(key, held)| (key, &held.object)).filter(|(_, object)| object.may_conflict())
    }
    /// Bytes of all decisions, about.
    pub fn decision_bytes(&self) -> u64 {
        self.disputes.bytes
    }
    /// Decisions that went because there was no room, or because of their age.
    pub fn dropped_decisions(&self) -> u64 {
        self.disputes.dropped
    }
    /// As it was written down: see [`ShardCopy::dropped_decisions`].
    pub fn note_dropped(&mut self, dropped: u64) {
        self.disputes.dropped = dropped;
    }
    /// Times that concurrent writes of one value met here: no conflicts (bugs: ML-19). A restart forgets them.
    pub fn agreed(&self) -> u64 {
        self.disputes.agreed
    }
    /// Keys of which the inbox has something new to tell since it was asked the last time; not necessarily all of them.
    pub fn take_news(&mut self) -> Vec<Blob> {
        self.disputes.take_news()
    }

    /// Returns what last-write-wins let go, for keyspaces that list it themselves.
    pub fn apply(&mut self, step: &Step) -> Vec<Lost> {
        let mut losers = Losers::default();
        match step {
            Step::Delta { key, delta } => self.delta(key, delta, &mut losers),
            Step::Key { entry, theirs } => {
                let place = self.place(&entry.key);
                self.join(place, &entry.key, &entry.held, theirs, &mut losers);
                self.learn(&entry.held.recent);
            }
            Step::Span { span, entries, theirs } => self.span(*span, entries, theirs, &mut losers),
            Step::Take { theirs } => self.learn(theirs),
            Step::Begin { theirs } => {
                if plant::is(Bug::TakesContextEarly) {
                    self.learn(theirs);
                }
                let mut both = self.context.clone();
                both.merge(theirs);
                self.taking = Some(Taking { theirs: theirs.clone(), both, passed: BTreeMap::new() });
            }
            Step::Pass { span } => {
                if let Some(taking) = &mut self.taking {
                    taking.pass(*span);
                }
            }
            Step::Finish => {
                // A walk that did not come to its end, as none does that a crash cut off, proves nothing.
                if let Some(taking) = self.taking.take_if(|it| it.passed.get(&0) == Some(&u64::MAX)) {
                    self.learn(&taking.theirs);
                }
                self.taking = None;
            }
            Step::Abandon => self.taking = None,
            Step::Forget { key, decisions, dropped } => {
                self.delta(key, &Decisions::forget(decisions.clone()), &mut losers);
                self.disputes.dropped += dropped;
            }
            Step::Collect { dots } => self.collect(dots),
        }
        losers.lost
    }
    /// How much is kept only so that deletes stay deletes.
    pub fn residue_count(&self) -> u64 {
        self.residue.values().sum()
    }
    /// The dots of all of it.
    pub fn residue(&self) -> Context {
        let mut dots = Context::new();
        for (_, held) in self.residue.keys().filter_map(|place| self.keys.get(place)).flatten() {
            held.object.residue(&mut dots);
        }
        dots
    }
    fn collect(&mut self, dots: &Context) {
        let places: Vec<u64> = self.residue.keys().copied().collect();
        for place in places {
            self.before_change(place);
            let Some(bucket) = self.keys.get_mut(&place) else { continue };
            for (key, held) in bucket.iter_mut() {
                let minus = hash_of(self.seed, key, &held.object);
                held.object.collect(dots);
                let plus = hash_of(self.seed, key, &held.object);
                self.tree.change(place, minus, plus);
            }
            bucket.retain(|(_, held)| !is_nothing(held));
            if bucket.is_empty() {
                self.keys.remove(&place);
            }
            self.count_residue(place);
        }
    }
    fn count_residue(&mut self, place: u64) {
        let mut dots = Context::new();
        for (_, held) in self.keys.get(&place).into_iter().flatten() {
            held.object.residue(&mut dots);
        }
        match dots.dots() {
            0 => self.residue.remove(&place),
            count => self.residue.insert(place, count),
        };
    }
    /// Places with recent dots, from one on.
    pub(super) fn unsettled_from(&self, from: u64, places_max: usize) -> Vec<u64> {
        self.unsettled.range(from..).take(places_max).copied().collect()
    }
    /// Lets the recent dots at a place go that are in `stable`.
    pub(super) fn settle_place(&mut self, place: u64, stable: &Context) {
        let Some(bucket) = self.keys.get_mut(&place) else { return };
        bucket.iter_mut().for_each(|(_, held)| held.recent.remove(stable));
        bucket.retain(|(_, held)| !is_nothing(held));
        if bucket.iter().all(|(_, held)| held.recent.is_empty()) {
            self.unsettled.remove(&place);
        }
        if bucket.is_empty() {
            self.keys.remove(&place);
        }
    }
    /// Lets all recent dots go, where nobody puts copies together key by key: sites exchange whole writes and whole
    /// copies.
    pub fn settle_all(&mut self) {
        self.settling = Settling::default();
        for place in core::mem::take(&mut self.unsettled) {
            let Some(bucket) = self.keys.get_mut(&place) else { continue };
            bucket.iter_mut().for_each(|(_, held)| held.recent = Context::new());
            bucket.retain(|(_, held)| !is_nothing(held));
            if bucket.is_empty() {
                self.keys.remove(&place);
            }
        }
    }

    fn delta(&mut self, key: &[u8], delta: &Causal<Object>, losers: &mut Losers) {
        if let Some(stamp) = delta.newest_stamp() {
            self.newest = self.newest.max(stamp);
        }
        let mut context = delta.context.clone();
        if plant::is(Bug::MergesOverHoles) {
            delta.context.ranges().for_each(|(actor, _, last)| context.insert_range(actor, 1, last));
        }
        let held = Held { object: delta.store.clone(), recent: context.clone() };
        self.join(self.place(key), key, &held, &context, losers);
        self.learn(&context);
    }
    fn span(&mut self, span: Span, entries: &[Entry], theirs: &Context, losers: &mut Losers) {
        if self.keys.range(span.first..=span.last).next().is_some() {
            let named: BTreeSet<&[u8]> = entries.iter().map(|entry| &*entry.key).collect();
            let held = self.entries(span).filter(|(_, key, _)| !named.contains(&***key));
            let unnamed: Vec<(u64, Blob)> = held.map(|(place, key, _)| (place, key.clone())).collect();
            let nothing = Held::default();
            unnamed.iter().for_each(|(place, key)| self.join(*place, key, &nothing, theirs, losers));
        }
        // Each of these dots is of one key, so the others can be joined before it is noted.
        let mut learned = Context::new();
        for entry in entries {
            let place = self.place(&entry.key);
            // A sender with another seed would put a key where it is not looked for.
            if span.contains(place) {
                self.join(place, &entry.key, &entry.held, theirs, losers);
                learned.merge(&entry.held.recent);
            }
        }
        self.learn(&learned);
    }
    /// Every key was joined with a copy that has this context.
    fn learn(&mut self, theirs: &Context) {
        self.context.merge(theirs);
        if plant::is(Bug::PrunesContexts) {
            self.context.prune();
        }
        if let Some(taking) = &mut self.taking {
            taking.both.merge(theirs);
        }
    }
    /// Whoever calls it has the recent dots of what came [learned](ShardCopy::learn) afterwards.
    fn join(&mut self, place: u64, key: &[u8], incoming: &Held, theirs: &Context, losers: &mut Losers) {
        self.before_change(place);
        let forgotten = Context::new();
        let own = match &self.taking {
            _ if plant::is(Bug::TakesLateForNew) => &forgotten,
            Some(taking) if taking.has_passed(place) => &taking.both,
            _ => &self.context,
        };
        self.newest = self.newest.max(incoming.object.newest_write().map_or(Stamp(0), |mark| mark.stamp));
        let bucket = self.keys.entry(place).or_default();
        let at = match bucket.iter().position(|(name, _)| **name == *key) {
            Some(at) => at,
            None => {
                // There is hardly ever another one.
                bucket.reserve_exact(1);
                bucket.push((key.into(), Held::default()));
                bucket.len() - 1
            }
        };
        let held = &mut bucket[at].1;
        let (minus, before) = (hash_of(self.seed, key, &held.object), Look::of(&held.object));
        let was_alive = held.object.is_alive();
        held.object.join(own, &incoming.object, theirs, losers);
        self.alive += u64::from(held.object.is_alive());
        self.alive -= u64::from(was_alive);
        let (plus, after) = (hash_of(self.seed, key, &held.object), Look::of(&held.object));
        if (before.is_disputed || after.is_disputed) && minus != plus {
            let name = bucket[at].0.clone();
            let is_disputed = bucket.iter().any(|(_, held)| held.object.may_conflict());
            self.disputes.change(place, &name, before, after, is_disputed);
        }
        let held = &mut bucket[at].1;
        held.recent.merge(&incoming.recent);
        held.recent.keep_newest(RECENT_RANGES_MAX);
        if held.recent.is_empty() {
            if is_nothing(held) {
                bucket.swap_remove(at);
            }
        } else {
            self.unsettled.insert(place);
            self.settling.note_late(place, &incoming.recent);
        }
        if bucket.is_empty() {
            self.keys.remove(&place);
        }
        let is_first = minus.is_none() || plus.is_none();
        if is_first || !plant::is(Bug::HashesFirstOnly) {
            self.tree.change(place, minus, plus);
        }
        self.count_residue(place);
    }

    /// An empty copy under a context: every key of it is still to be [replaced](ShardCopy::replace).
    pub fn with(seed: Seed, newest: Stamp, context: Context) -> ShardCopy {
        ShardCopy { newest, context, ..ShardCopy::new(seed) }
    }
    pub fn seed(&self) -> Seed {
        self.seed
    }
    /// Whether a walk over another copy is under way.
    pub fn is_taking(&self) -> bool {
        self.taking.is_some()
    }
    /// The keys at the beginning of a span, about so many bytes of them and all that lie at one place, and how far they
    /// reach.
    pub fn part(&self, span: Span, bytes_max: usize) -> (Span, Vec<Entry>) {
        let mut entries: Vec<(u64, Entry)> = Vec::new();
        let mut bytes = 0;
        for (place, key, held) in self.entries(span) {
            let before = entries.last().map(|(place, _)| *place);
            if bytes > bytes_max
                && let Some(before) = before.filter(|before| *before < place)
            {
                let part = Span { first: span.first, last: before };
                return (part, entries.into_iter().map(|(_, entry)| entry).collect());
            }
            bytes += key.len() + super::store::encoded_len(&held.object) + 16;
            entries.push((place, Entry { key: key.clone(), held: held.clone() }));
        }
        (span, entries.into_iter().map(|(_, entry)| entry).collect())
    }
    /// What a span holds is exactly this, whatever it was: it was written down so, under this copy's context of that moment.
    pub fn replace(&mut self, span: Span, entries: &[Entry]) {
        let places: Vec<u64> = self.keys.range(span.first..=span.last).map(|(place, _)| *place).collect();
        for place in places {
            self.before_change(place);
            for (key, held) in self.keys.remove(&place).unwrap_or_default() {
                self.tree.change(place, hash_of(self.seed, &key, &held.object), None);
                self.alive -= u64::from(held.object.is_alive());
                let (before, after) = (Look::of(&held.object), Look::of(&Object::default()));
                self.disputes.change(place, &key, before, after, false);
            }
            self.unsettled.remove(&place);
            self.residue.remove(&place);
        }
        for Entry { key, held } in entries {
            let place = self.place(key);
            if !span.contains(place) || is_nothing(held) {
                continue;
            }
            self.before_change(place);
            self.newest = self.newest.max(held.object.newest_write().map_or(Stamp(0), |mark| mark.stamp));
            self.tree.change(place, None, hash_of(self.seed, key, &held.object));
            self.alive += u64::from(held.object.is_alive());
            if !held.recent.is_empty() {
                self.unsettled.insert(place);
                self.settling.note_late(place, &held.recent);
            }
            let (before, after) = (Look::of(&Object::default()), Look::of(&held.object));
            let is_disputed = after.is_disputed || self.disputes.places.contains(&place);
            self.disputes.change(place, key, before, after, is_disputed);
            let bucket = self.keys.entry(place).or_default();
            bucket.reserve_exact(1);
            bucket.push((key.clone(), held.clone()));
            self.count_residue(place);
        }
    }

    /// The whole copy, for a snapshot. A walk that is under way begins anew.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.u64(self.newest.0);
        super::step::write_context(writer, &self.context);
        let count = self.keys.values().map(Vec::len).sum();
        writer.length(count);
        for (_, key, held) in self.entries(Span::WHOLE) {
            super::step::write_entry(writer, key, held);
        }
    }
    /// Reads what [`ShardCopy::encode`] wrote under the same seed, all of the input.
    ///
    /// # Errors
    /// When it is something else.
    pub fn decode(seed: Seed, input: &[u8]) -> Result<ShardCopy, DecodeError> {
        let reader = &mut Reader::new(input);
        let mut copy = ShardCopy::new(seed);
        copy.newest = Stamp(reader.u64()?);
        let context = super::step::read_context(reader)?;
        for _ in 0..reader.count()? {
            let Entry { key, held } = super::step::read_entry(reader)?;
            if copy.held(&key).is_some() || is_nothing(&held) {
                return Err(DecodeError::Invalid("entry"));
            }
            copy.join(copy.place(&key), &key, &held, &Context::new(), &mut Losers::default());
        }
        copy.context = context;
        reader.end()?;
        Ok(copy)
    }
}

/// Equal copies hold the same objects under the same context; what is still recent to them may differ.
impl PartialEq for ShardCopy {
    fn eq(&self, other: &ShardCopy) -> bool {
        let objects = |copy: &ShardCopy| -> Vec<(Blob, Object)> {
            let entries = copy.entries(Span::WHOLE).filter(|(_, _, held)| !held.object.is_bottom());
            let mut objects: Vec<_> =
                entries.map(|(_, key, held)| (key.clone(), held.object.clone())).collect();
            objects.sort_by(|a, b| a.0.cmp(&b.0));
            objects
        };
        self.context == other.context && objects(self) == objects(other)
    }
}

fn is_nothing(held: &Held) -> bool {
    held.recent.is_empty() && held.object.is_bottom()
}

/// What a key adds to the hash of its range; `None` for one that holds nothing.
fn hash_of(seed: Seed, key: &[u8], object: &Object) -> Option<u64> {
    if object.is_bottom() {
        return None;
    }
    let hash = |bytes: &[u8]| SipHasher13::new_with_keys(seed.0, seed.1).hash(bytes);
    if plant::is(Bug::HashesKeysOnly) {
        return Some(hash(key));
    }
    if plant::is(Bug::CombinesByXor) {
        // Of the value alone, so that there are equal ones.
        return Some(hash(&object.as_text().and_then(|text| text.shown()).unwrap_or_default()));
    }
    Some(object.state_hash(seed, key))
}
